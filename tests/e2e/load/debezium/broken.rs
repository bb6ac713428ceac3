//! What cannot be loaded exactly is told, and never passed over.

use lakeward_test_support::debezium_to_kafka::{DebeziumToKafka, Records};
use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Pipeline, Random, seed};

use super::super::{broker, loads_with};
use super::{PARTITIONS, PREFIX, assert_lake_is_source, create_topics, over, topic, wait_for_debezium};
use crate::lake::Reader;
use crate::traffic::{burst_without_truncate, server_with_tables};
use crate::world::{finish, set, view};

const RECORDS: Records<'_> = Records::JsonWithSchemas;

/// Servers with something of the writer in the topics, and all of that in the lake.
fn loaded(partitions: i32) -> (MySql, Kafka, DebeziumToKafka, Pipeline, Random) {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, partitions);
    let mut random = Random::new(seed());
    burst_without_truncate(&server, &mut random, 40);
    let pipeline = over(&server, &kafka, RECORDS);
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, RECORDS);
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 0, &[]);
    (server, kafka, debezium, pipeline, random)
}

#[test]
fn a_record_of_a_stranger_stops_its_topic_partition_or_is_put_aside() {
    let (server, kafka, mut debezium, mut pipeline, mut random) = loaded(PARTITIONS);
    let customers = topic("customers");
    let end = kafka.offsets(&customers, 1).1;
    kafka.write(&customers, 1, Some(b"key"), Some(b"no envelope"), &[]);
    burst_without_truncate(&server, &mut random, 60);
    wait_for_debezium(&server, &kafka, &mut debezium);
    let place = format!("offset {end}");
    loads_with(&pipeline, 6, &[&format!("{customers}/1"), &place]);
    let status = finish(&pipeline, &["status"]);
    assert!(status.stdout.contains(&place), "{}", status.printed());
    let at = view(&pipeline).checkpoint().unwrap()["position"]["kafka"].clone();
    assert_eq!(at[&customers]["1"]["offset"].as_i64(), Some(end), "{at}");
    assert_eq!(at[&customers]["0"]["offset"].as_i64(), Some(kafka.offsets(&customers, 0).1), "{at}");
    // Nothing is doubled when it is tried again.
    loads_with(&pipeline, 6, &[&place]);
    kafka.create_topic("dead", 1, &[]);
    set(&mut pipeline, "transport/kafka/load/dead_letter", "dead");
    loads_with(&pipeline, 0, &[]);
    let dead = kafka.read("dead");
    assert_eq!((dead.len(), dead[0].header("lakeward.offset")), (1, Some(&*end.to_string())));
    let mut events = view(&pipeline).events(Reader::Duckdb);
    let events = events.remove(&("shop".into(), "customers".into())).unwrap();
    let written = kafka.read(&customers).into_iter().filter(|record| record.value.is_some()).count();
    assert_eq!(events.rows.len(), written - 1);
}

#[test]
fn a_truncate_is_a_mark_in_one_topic_partition_and_stops_a_topic_with_several() {
    for partitions in [1, PARTITIONS] {
        let (server, kafka) = (server_with_tables(), broker());
        create_topics(&kafka, partitions);
        let mut random = Random::new(seed());
        burst_without_truncate(&server, &mut random, 60);
        let pipeline = over(&server, &kafka, RECORDS);
        let mut debezium =
            DebeziumToKafka::with(&server, &kafka, PREFIX, RECORDS, &[("skipped.operations", "none")]);
        wait_for_debezium(&server, &kafka, &mut debezium);
        server.sql("TRUNCATE TABLE shop.orders");
        burst_without_truncate(&server, &mut random, 60);
        wait_for_debezium(&server, &kafka, &mut debezium);
        if partitions == 1 {
            loads_with(&pipeline, 0, &[]);
            assert_lake_is_source(&server, &kafka, &pipeline);
            continue;
        }
        loads_with(&pipeline, 6, &["TRUNCATE", &topic("orders"), "To mend it"]);
        let rows = || {
            let mut events = view(&pipeline).events(Reader::Duckdb);
            events.remove(&("shop".into(), "orders".into())).map_or(0, |events| events.rows.len())
        };
        // Tried again, nothing more of the topic is taken.
        let before = rows();
        loads_with(&pipeline, 6, &["TRUNCATE"]);
        assert_eq!(rows(), before);
    }
}

#[test]
fn a_topic_with_more_topic_partitions_stands_still() {
    let (server, kafka, mut debezium, pipeline, mut random) = loaded(2);
    kafka.add_partitions(&topic("orders"), 4);
    burst_without_truncate(&server, &mut random, 60);
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 6, &["more topic partitions", &topic("orders"), "To mend it"]);
    let at = view(&pipeline).checkpoint().unwrap()["position"]["kafka"].clone();
    assert_eq!(at[topic("orders")].as_object().unwrap().len(), 2, "{at}");
    assert!(at[topic("carts")]["0"]["stopped"].is_null(), "{at}");
}

#[test]
fn retention_that_overtook_the_lake_is_told_and_what_is_loaded_may_go() {
    let (server, kafka, mut debezium, pipeline, mut random) = loaded(PARTITIONS);
    // All of it is in the lake.
    kafka.delete_records(&topic("customers"));
    loads_with(&pipeline, 0, &[]);
    burst_without_truncate(&server, &mut random, 60);
    wait_for_debezium(&server, &kafka, &mut debezium);
    kafka.delete_records(&topic("customers"));
    loads_with(&pipeline, 12, &["retention", "let the topics keep more", &topic("customers")]);
}

#[test]
fn a_topic_that_is_gone_or_made_anew_is_told() {
    let (_server, kafka, debezium, pipeline, _) = loaded(1);
    drop(debezium);
    kafka.delete_topic(&topic("orders"));
    loads_with(&pipeline, 32, &[&topic("orders")]);
    kafka.create_topic(&topic("orders"), 1, &[]);
    loads_with(&pipeline, 32, &[&topic("orders"), "made anew"]);
}
