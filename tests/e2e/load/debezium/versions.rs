//! Structures that change, and topics that come later.

use std::time::Duration;

use lakeward_test_support::debezium_to_kafka::{DebeziumToKafka, Records};
use lakeward_test_support::registry::SchemaRegistry;
use lakeward_test_support::{Random, seed, wait_patiently};
use serde_json::json;

use super::super::{LIMIT, broker, loads_with};
use super::{PARTITIONS, PREFIX, assert_lake_is_source, create_topics, over, topic, wait_for_debezium};
use crate::lake::Reader;
use crate::traffic::{Traffic, burst_without_truncate, server_with_tables};
use crate::world::{stop, view};

fn versions_of(pipeline: &lakeward_test_support::Pipeline, table: &str) -> usize {
    let folder = pipeline.lake().join("_lakeward/shop/schemas/shop").join(table);
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Changes structures while all goes on; there are as many versions as structures.
fn structures_change(records: Records<'_>) {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, PARTITIONS);
    let pipeline = over(&server, &kafka, records);
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, records);
    let mut random = Random::new(seed());
    let alters = [
        "ALTER TABLE shop.customers ADD COLUMN extra VARCHAR(20) DEFAULT 'x'",
        // Back to a structure that was there before.
        "ALTER TABLE shop.customers DROP COLUMN extra",
        "ALTER TABLE shop.orders ADD COLUMN first INT FIRST",
    ];
    burst_without_truncate(&server, &mut random, 60);
    for (place, alter) in alters.iter().enumerate() {
        // Half of the rows before the change are read before it, and half of them after.
        // Without schemas a column that is gone is known from what was loaded alone.
        if place != 1 || matches!(records, Records::Json) {
            wait_for_debezium(&server, &kafka, &mut debezium);
            loads_with(&pipeline, 0, &[]);
        }
        burst_without_truncate(&server, &mut random, 40);
        server.sql(alter);
        server.sql("UPDATE shop.orders SET n = n + 1 WHERE id < 200");
        server.sql("UPDATE shop.customers SET n = n + 1 WHERE id < 200");
        wait_for_debezium(&server, &kafka, &mut debezium);
    }
    loads_with(&pipeline, 0, &[]);
    assert_eq!((versions_of(&pipeline, "customers"), versions_of(&pipeline, "orders")), (2, 2));
    for _ in 0..3 {
        server.sql("UPDATE shop.customers SET n = n + 1");
        server.sql("UPDATE shop.orders SET n = n + 1, first = n");
    }
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 0, &[]);
    assert_eq!((versions_of(&pipeline, "customers"), versions_of(&pipeline, "orders")), (2, 2));
    assert_lake_is_source(&server, &kafka, &pipeline);
}

#[test]
fn structures_change_in_json_with_schemas() {
    structures_change(Records::JsonWithSchemas);
}

#[test]
fn structures_change_in_json_without_schemas() {
    structures_change(Records::Json);
}

#[test]
fn structures_change_in_avro() {
    structures_change(Records::Avro(SchemaRegistry::shared()));
}

#[test]
fn a_topic_that_comes_later_is_read_by_a_process_that_runs() {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, PARTITIONS);
    let pipeline = over(&server, &kafka, Records::JsonWithSchemas);
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, Records::JsonWithSchemas);
    let traffic = Traffic::without_truncate(&server, seed(), Duration::from_millis(20));
    let mut load = pipeline.start(&["load"]);
    super::super::wait_for_records(&pipeline, &mut load, 2);
    kafka.create_topic(&topic("late"), 2, &[]);
    server.sql("CREATE TABLE shop.late (id INT PRIMARY KEY, v INT)");
    server.sql("INSERT INTO shop.late VALUES (1, 1), (2, 2), (3, 3)");
    wait_patiently("rows of the new topic", LIMIT, || {
        debezium.must_run();
        assert!(load.ended().is_none(), "{}", load.printed());
        let records = view(&pipeline).records();
        let files = records.iter().flat_map(|record| record["files"].as_array().into_iter().flatten());
        let of_late = files.filter(|file| file["table"] == json!(["shop", "late"]));
        (of_late.filter_map(|file| file["rows"].as_u64()).sum::<u64>() == 3).then_some(())
    });
    traffic.finish();
    stop(&mut load);
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 0, &[]);
    let late = &view(&pipeline).events(Reader::Duckdb)[&("shop".into(), "late".into())];
    assert_eq!(late.rows.len(), 3);
    assert_lake_is_source(&server, &kafka, &pipeline);
}
