//! Other people's consumers read our records, in both formats; what a transaction that was given up left behind is
//! there, and seen only by who asks for it.

use std::collections::BTreeSet;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::registry::SchemaRegistry;
use lakeward_test_support::{Pipeline, Random, seed, wait_until};
use serde_json::{Value, json};

use super::consumers::{Console, Form, Isolation, by_python, events};
use super::view::{TABLES, assert_history};
use super::{LIMIT, captures, over, topics};
use crate::traffic::{burst, server_with_tables};
use crate::world::{PIPELINE, set};

/// A capture, two that are killed inside a transaction when events of every table have arrived, and one that is not.
fn capture_after_aborts(server: &MySql, kafka: &Kafka, prefix: &str, pipeline: &mut Pipeline) {
    set(pipeline, "transport/kafka/commit_interval", "5m");
    let mut random = Random::new(seed());
    burst(server, &mut random, 60);
    captures(pipeline);
    let written = |table: &str| {
        by_python(kafka, &format!("{prefix}.shop.{table}"), Isolation::Uncommitted, Form::Unread).len()
    };
    for _ in 0..2 {
        let before: Vec<usize> = TABLES.iter().map(|(table, _)| written(table)).collect();
        burst(server, &mut random, 60);
        let mut run = pipeline.start(&["capture"]);
        for ((table, _), before) in TABLES.iter().zip(before) {
            wait_until(table, LIMIT, || {
                assert!(run.ended().is_none(), "capture ended: {}", run.printed());
                (written(table) > before).then_some(())
            });
        }
        run.kill();
    }
    captures(pipeline);
}

/// All that was committed is among what else was written, and is not all of it.
fn assert_more(all: &[(i64, i64)], committed: &[(i64, i64)]) {
    let all: BTreeSet<_> = all.iter().collect();
    let missing: Vec<_> = committed.iter().filter(|place| !all.contains(place)).collect();
    assert!(missing.is_empty(), "committed, and not seen by who sees all: {missing:?}");
    assert!(all.len() > committed.len(), "no record of an aborted transaction is there");
}

fn place(record: &Value) -> (i64, i64) {
    (record["partition"].as_i64().expect("a number"), record["offset"].as_i64().expect("a number"))
}

#[test]
fn plain_consumers_read_our_json_and_see_what_is_committed() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    capture_after_aborts(&server, &kafka, PIPELINE, &mut over(&server, &kafka));
    topics(&kafka).assert_source(&server);
    let topic = "shop.shop.customers";
    let parsed = |bytes: &Option<Vec<u8>>| {
        bytes.as_deref().map_or(Value::Null, |bytes| serde_json::from_slice(bytes).expect("JSON"))
    };
    let ours: Vec<(i64, i64, Value, Value)> = kafka
        .read(topic)
        .iter()
        .map(|record| (record.partition.into(), record.offset, parsed(&record.key), parsed(&record.value)))
        .collect();
    let python = |isolation| by_python(&kafka, topic, isolation, Form::Json);
    let whole = |record: &Value| {
        let (partition, offset) = place(record);
        (partition, offset, record["key"].clone(), record["value"].clone())
    };
    let seen: Vec<_> = python(Isolation::Committed).iter().map(whole).collect();
    assert!(seen == ours, "confluent-kafka");
    let committed: Vec<(i64, i64)> =
        ours.iter().map(|(partition, offset, ..)| (*partition, *offset)).collect();
    let all: Vec<(i64, i64)> = python(Isolation::Uncommitted).iter().map(place).collect();
    assert_more(&all, &committed);
    // What was given up comes before what was committed instead: it would take the place of a record that is due.
    let consoles = [(Isolation::Committed, ours.len()), (Isolation::Uncommitted, all.len())]
        .map(|(isolation, count)| Console::start(&kafka, topic, isolation, count));
    let [seen, all_by_java] = consoles.map(Console::finish);
    assert!(seen == ours, "the console consumer: {} records, not {}", seen.len(), ours.len());
    let all_by_java: Vec<(i64, i64)> =
        all_by_java.iter().map(|(partition, offset, ..)| (*partition, *offset)).collect();
    assert_eq!(all_by_java, all, "the console consumer, uncommitted");
}

#[test]
fn pythons_avro_consumer_reads_our_records_and_schemas_and_sees_what_is_committed() {
    // The registry is that of all tests.
    const PREFIX: &str = "interop";
    let (server, kafka, registry) = (server_with_tables(), Kafka::start(), SchemaRegistry::shared());
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "transport/kafka/topic_prefix", PREFIX);
    set(&mut pipeline, "transport/kafka/format", "avro");
    set(&mut pipeline, "transport/kafka/schema_registry", json!({ "url": registry.url() }));
    capture_after_aborts(&server, &kafka, PREFIX, &mut pipeline);
    let url = registry.url();
    for (table, key) in TABLES {
        let topic = format!("{PREFIX}.shop.{table}");
        let committed = by_python(&kafka, &topic, Isolation::Committed, Form::Avro(&url));
        for record in committed.iter().filter(|record| record["value"]["op"] != "t") {
            let names: BTreeSet<&str> =
                record["key"].as_object().expect("a key").keys().map(String::as_str).collect();
            assert_eq!(names, key.iter().copied().collect(), "{record}");
        }
        assert_history(&server, table, &events(&committed));
        let all = by_python(&kafka, &topic, Isolation::Uncommitted, Form::Avro(&url));
        let place = |records: &[Value]| records.iter().map(place).collect::<Vec<_>>();
        assert_more(&place(&all), &place(&committed));
    }
    let subjects = registry.ask("GET", "subjects", None);
    let mut subjects: Vec<&str> = subjects
        .as_array()
        .expect("a list")
        .iter()
        .map(|subject| subject.as_str().expect("a name"))
        .filter(|subject| subject.starts_with(PREFIX))
        .collect();
    subjects.sort_unstable();
    let tables = ["carts", "customers", "orders"];
    let expected: Vec<String> = tables
        .iter()
        .flat_map(|table| ["key", "value"].map(|part| format!("{PREFIX}.shop.{table}-{part}")))
        .collect();
    assert_eq!(subjects, expected);
}
