//! Exactly once over SIGKILL at every failpoint and at random times, and with a second process.

use std::time::{Duration, Instant};

use lakeward_test_support::debezium_to_kafka::{DebeziumToKafka, Records};
use lakeward_test_support::{Lister, Random, Signal, seed, wait_until};

use super::super::crash::{ONCE, failpoints};
use super::super::{LIMIT, broker, loads_with, wait_for_records};
use super::{PARTITIONS, PREFIX, assert_lake_is_source, create_topics, over, wait_for_debezium};
use crate::traffic::{Traffic, burst_without_truncate, server_with_tables};
use crate::world::{ended, times, view};

#[test]
fn killed_at_every_failpoint() {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, PARTITIONS);
    let pipeline = over(&server, &kafka, Records::JsonWithSchemas);
    let lister = Lister::start(pipeline.lake());
    let traffic = Traffic::without_truncate(&server, seed(), Duration::from_millis(5));
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, Records::JsonWithSchemas);
    let mut tables = 0_u32;
    for name in failpoints() {
        let nth = if ONCE.contains(&name) { 1 } else { 3 };
        let failpoint = format!("{name}=kill@{nth}");
        let mut run = pipeline.start_with_failpoints(&["load"], &failpoint);
        let (begun, known) = (Instant::now(), tables);
        wait_until(&failpoint, LIMIT, || {
            // A new table now and then: the steps that come before a table's first file.
            let made = tables - known;
            if begun.elapsed() > Duration::from_secs(3 * (u64::from(made) + 1)) && made < 4 {
                tables += 1;
                kafka.create_topic(&super::topic(&format!("more{tables}")), 1, &[]);
                server.sql(&format!("CREATE TABLE shop.more{tables} (id INT PRIMARY KEY)"));
                server.sql(&format!("INSERT INTO shop.more{tables} VALUES (1)"));
            }
            debezium.must_run();
            run.ended()
        });
        assert!(run.was_killed(), "{failpoint}: {}", run.printed());
    }
    traffic.finish();
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 0, &[]);
    lister.finish();
    assert_lake_is_source(&server, &kafka, &pipeline);
}

#[test]
fn killed_at_random_times() {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, PARTITIONS);
    let pipeline = over(&server, &kafka, Records::JsonWithSchemas);
    let lister = Lister::start(pipeline.lake());
    let seed = seed();
    let traffic = Traffic::without_truncate(&server, seed, Duration::from_millis(4));
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, Records::JsonWithSchemas);
    let mut random = Random::new(seed ^ 1);
    for kill in 1..=times(8) {
        let mut load = pipeline.start(&["load"]);
        if kill % 2 == 0 {
            wait_for_records(&pipeline, &mut load, 2);
        }
        let (start, lifetime) = (Instant::now(), Duration::from_millis(20 + random.below(1_500)));
        wait_until("the time of the kill", LIMIT, || {
            assert!(load.ended().is_none(), "load {kill} ended by itself: {}", load.printed());
            (start.elapsed() >= lifetime).then_some(())
        });
        load.signal(Signal::Kill);
        assert_eq!(ended(&mut load, LIMIT).signal, Some(9));
    }
    traffic.finish();
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 0, &[]);
    lister.finish();
    assert_lake_is_source(&server, &kafka, &pipeline);
}

#[test]
fn files_that_vanished_before_they_were_visible_are_read_again() {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, PARTITIONS);
    let pipeline = over(&server, &kafka, Records::JsonWithSchemas);
    let mut random = Random::new(seed());
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, Records::JsonWithSchemas);
    for round in 0..3 {
        burst_without_truncate(&server, &mut random, 150);
        // A structure that is new in the range that is read again.
        server.sql(&format!("ALTER TABLE shop.customers ADD COLUMN more{round} INT"));
        burst_without_truncate(&server, &mut random, 150);
        wait_for_debezium(&server, &kafka, &mut debezium);
        if round == 0 {
            loads_with(&pipeline, 0, &[]);
            continue;
        }
        let mut killed =
            pipeline.start_with_failpoints(&["load", "--until-caught-up"], "lake.show.before=kill@1");
        assert_eq!(ended(&mut killed, LIMIT).signal, Some(9));
        let staged = pipeline.lake().join("_lakeward/shop/staged");
        std::fs::remove_dir_all(&staged).unwrap_or_else(|error| panic!("{}: {error}", staged.display()));
        let repaired = loads_with(&pipeline, 0, &["reading it again"]);
        let records = view(&pipeline).records();
        let repairs = records.iter().filter(|record| record["repairs"].is_object()).count();
        assert_eq!(repairs, round, "{}", repaired.printed());
    }
    assert_lake_is_source(&server, &kafka, &pipeline);
}

#[test]
fn a_second_process_fences_the_first() {
    let (server, kafka) = (server_with_tables(), broker());
    create_topics(&kafka, PARTITIONS);
    let pipeline = over(&server, &kafka, Records::JsonWithSchemas);
    let traffic = Traffic::without_truncate(&server, seed(), Duration::from_millis(5));
    let mut debezium = DebeziumToKafka::start(&server, &kafka, PREFIX, Records::JsonWithSchemas);
    let mut first = pipeline.start(&["load"]);
    wait_for_records(&pipeline, &mut first, 3);
    let mut second = pipeline.start(&["load"]);
    let fenced = ended(&mut first, LIMIT);
    assert_eq!(fenced.code, Some(25), "{}", fenced.printed());
    wait_for_records(&pipeline, &mut second, 3);
    traffic.finish();
    // One that has nothing to commit would not notice a third.
    second.signal(Signal::Kill);
    assert_eq!(ended(&mut second, LIMIT).signal, Some(9));
    wait_for_debezium(&server, &kafka, &mut debezium);
    loads_with(&pipeline, 0, &[]);
    assert_lake_is_source(&server, &kafka, &pipeline);
}
