//! Topics that the real Debezium wrote, into the lake: the lake is the source, whatever is killed and in whatever form
//! the records are.

mod broken;
mod crash;
mod forms;
mod versions;

use std::collections::BTreeMap;

use lakeward_test_support::debezium_to_kafka::{DebeziumToKafka, Records};
use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Pipeline, wait_patiently};
use serde_json::json;

use super::LIMIT;
use crate::expected::{self, Cell, Mapping};
use crate::lake::{Name, Reader, assert_latest_is};
use crate::traffic::{TABLES, assert_histories};
use crate::world::{folder, restless, set, utc, view};

/// Debezium's `topic.prefix`.
const PREFIX: &str = "dbz";
/// Topic partitions of each topic.
const PARTITIONS: i32 = 3;

/// Topics of the writer's tables, and of the table that ends what a test waits for.
fn create_topics(kafka: &Kafka, partitions: i32) {
    for table in TABLES.iter().map(|(table, ..)| *table).chain(["ends"]) {
        kafka.create_topic(&topic(table), partitions, &[]);
    }
}

fn topic(table: &str) -> String {
    format!("{PREFIX}.shop.{table}")
}

/// A pipeline of Debezium's topics into a folder.
fn over(server: &MySql, kafka: &Kafka, records: Records<'_>) -> Pipeline {
    let mut pipeline = folder(server);
    let mut transport = json!({
        "brokers": kafka.brokers(),
        "topic_prefix": PREFIX,
        "written_by": "debezium",
    });
    match records {
        Records::Json => {}
        Records::JsonWithSchemas => transport["schemas"] = true.into(),
        Records::Avro(registry) => {
            transport["format"] = "avro".into();
            transport["schema_registry"] = json!({ "url": registry.url() });
        }
    }
    set(&mut pipeline, "transport", json!({ "kafka": transport }));
    restless(&mut pipeline);
    pipeline
}

/// Waits until Debezium has written all that the server has now.
fn wait_for_debezium(server: &MySql, kafka: &Kafka, debezium: &mut DebeziumToKafka) {
    server.sql("CREATE TABLE IF NOT EXISTS shop.ends (id INT PRIMARY KEY AUTO_INCREMENT)");
    server.sql("INSERT INTO shop.ends VALUES ()");
    let last = server.value("SELECT MAX(id) FROM shop.ends");
    let ends = topic("ends");
    wait_patiently("Debezium to write all", LIMIT, || {
        debezium.must_run();
        let found = kafka.read(&ends).into_iter().filter_map(|record| record.key).any(|key| {
            // Whatever the form: a small number as text, or as Avro's zigzag varint behind the frame.
            let text = String::from_utf8_lossy(&key).contains(&format!("\"id\":{last}}}"));
            let number: u8 = last.parse().expect("few ends");
            text || (key.len() == 6 && key[0] == 0 && key[5] == number * 2)
        });
        found.then_some(())
    });
}

/// Fails unless the lake holds exactly what the writer did: every file is named and there, each number is the place of
/// a record, every row's history has each of its changes once, the latest state is the source's.
fn assert_lake_is_source(server: &MySql, kafka: &Kafka, pipeline: &Pipeline) {
    let view = view(pipeline);
    view.assert_all_named();
    let events = view.events(Reader::Duckdb);
    for (table, key, _) in TABLES {
        let name: Name = ("shop".into(), (*table).to_owned());
        let mut events = events.get(&name).cloned().unwrap_or_default();
        events.rows = alike(events.rows);
        let mut source = expected::rows(&mut utc(server), "shop", table, Mapping::default());
        source.rows = alike(source.rows);
        let written: BTreeMap<i64, bool> = kafka
            .read(&topic(table))
            .into_iter()
            .filter(|record| record.value.is_some())
            .map(|record| ((record.offset + 1) * 4096 + i64::from(record.partition), true))
            .collect();
        assert_eq!(events.seqs(), written.into_keys().collect::<Vec<_>>(), "{table}: each record once");
        if events.rows.is_empty() {
            assert!(source.rows.is_empty(), "{table} is not in the lake");
            continue;
        }
        assert_histories(&name, &by_place(events.clone()), key);
        assert_latest_is(&name, &events, key, source);
    }
}

/// Rows whose JSON documents have no spaces: Debezium writes those of the log anew, and those of its snapshot as MySQL
/// prints them.
fn alike(mut rows: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    for cell in rows.iter_mut().flatten().flatten().filter(|cell| cell.starts_with("s:{")) {
        *cell = cell.replace("\": ", "\":");
    }
    rows
}

/// Events in the order of their topic partitions: that of each key.
fn by_place(mut events: crate::lake::Events) -> crate::lake::Events {
    let seqs = events.seqs();
    let mut rows: Vec<_> = seqs.into_iter().zip(std::mem::take(&mut events.rows)).collect();
    rows.sort_by_key(|(seq, _)| (seq % 4096, *seq));
    events.rows = rows.into_iter().map(|(_, row)| row).collect();
    events
}
