//! Each form in which Debezium writes: latest state and the history of each key, over restarts.

use lakeward_test_support::debezium_to_kafka::{DebeziumToKafka, Records};
use lakeward_test_support::registry::SchemaRegistry;
use lakeward_test_support::{Random, seed};

use super::super::{broker, loads_with};
use super::{PARTITIONS, PREFIX, assert_lake_is_source, create_topics, over, wait_for_debezium};
use crate::traffic::{burst_without_truncate, server_with_tables};
use crate::world::{finish, set};

fn the_lake_is_the_source(records: Records<'_>) {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, PARTITIONS);
    let mut random = Random::new(seed());
    // A part of it is read by Debezium's snapshot.
    burst_without_truncate(&server, &mut random, 60);
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, records);
    let pipeline = over(&server, &kafka, records);
    for _ in 0..3 {
        burst_without_truncate(&server, &mut random, 60);
        wait_for_debezium(&server, &kafka, &mut debezium);
        loads_with(&pipeline, 0, &[]);
        assert_lake_is_source(&server, &kafka, &pipeline);
    }
    loads_with(&pipeline, 0, &[]);
    assert_lake_is_source(&server, &kafka, &pipeline);
    let check = finish(&pipeline, &["check"]);
    assert_eq!(check.code, Some(0), "{}", check.printed());
    assert!(check.stdout.contains("topics of included tables"), "{}", check.printed());
    let status = finish(&pipeline, &["status"]);
    assert!(
        status.stdout.contains("topic partitions") && !status.stdout.contains("server"),
        "{}",
        status.printed()
    );
}

#[test]
fn json_with_schemas() {
    the_lake_is_the_source(Records::JsonWithSchemas);
}

#[test]
fn json_without_schemas() {
    the_lake_is_the_source(Records::Json);
}

#[test]
fn avro() {
    the_lake_is_the_source(Records::Avro(SchemaRegistry::shared()));
}

#[test]
fn what_only_capture_can_is_refused_and_lakes_are_not_mixed() {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, 1);
    let mut random = Random::new(seed());
    burst_without_truncate(&server, &mut random, 10);
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, Records::JsonWithSchemas);
    let mut pipeline = over(&server, &kafka, Records::JsonWithSchemas);
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 0, &[]);
    for command in [&["capture"][..], &["run"], &["snapshot", "shop.orders"], &["resume", "shop.orders"]] {
        let refused = finish(&pipeline, command);
        assert_eq!(refused.code, Some(2), "{command:?}: {}", refused.printed());
        assert!(refused.printed().contains("written_by"), "{}", refused.printed());
    }
    set(&mut pipeline, "transport/kafka/written_by", "lakeward");
    loads_with(&pipeline, 2, &["topics that Debezium wrote"]);
    set(&mut pipeline, "transport/kafka/topic_prefix", "shop");
    finish(&pipeline, &["capture", "--until-caught-up"]);
    // The other way round: what capture wrote, and a lake that was filled from it.
    let mut own = over(&server, &kafka, Records::Json);
    set(&mut own, "transport/kafka", serde_json::json!({ "brokers": kafka.brokers() }));
    set(&mut own, "transport/kafka/topic_prefix", "shop");
    loads_with(&own, 0, &[]);
    set(&mut own, "transport/kafka/written_by", "debezium");
    loads_with(&own, 2, &["`lakeward capture` wrote"]);
    set(&mut own, "name", "other");
    loads_with(&own, 2, &["written by `lakeward capture`"]);
}
