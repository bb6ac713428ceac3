//! Snapshots and requests go over Kafka, too.

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{seed, wait_patiently};

use super::{LIMIT, captures, over, topics, wait_for_checkpoints};
use crate::traffic::{Traffic, burst, server_with_tables};
use crate::world::{ended, finish, set, stop};

fn with_snapshots(
    server: &lakeward_test_support::mysql::MySql,
    kafka: &Kafka,
) -> lakeward_test_support::Pipeline {
    let mut pipeline = over(server, kafka);
    set(&mut pipeline, "snapshot", serde_json::json!({ "mode": "initial" }));
    if let Some(config) = pipeline.config.as_object_mut() {
        config.remove("start");
    }
    pipeline
}

#[test]
fn whole_tables_travel_over_kafka_while_they_change() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    burst(&server, &mut lakeward_test_support::Random::new(seed()), 300);
    server.sql("FLUSH BINARY LOGS");
    let pipeline = with_snapshots(&server, &kafka);
    let traffic = Traffic::start(&server, seed() ^ 7, Duration::from_millis(10));
    let mut run = pipeline.start(&["capture"]);
    wait_for_checkpoints(&topics(&kafka), &mut run, 3);
    run.kill();
    traffic.finish();
    captures(&pipeline);
    topics(&kafka).assert_latest(&server);
}

#[test]
fn requests_are_answered_once_and_what_kafka_cannot_tell_is_refused() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    burst(&server, &mut lakeward_test_support::Random::new(seed()), 50);
    let pipeline = with_snapshots(&server, &kafka);
    let early = finish(&pipeline, &["snapshot", "shop.customers"]);
    super::tells(&early, 2, &["not committed anything"]);
    captures(&pipeline);
    let mut run = pipeline.start(&["capture"]);
    wait_for_checkpoints(&topics(&kafka), &mut run, 0);
    let whole = ended(&mut pipeline.start(&["snapshot", "shop.customers"]), LIMIT);
    super::tells(&whole, 0, &["being read anew"]);
    wait_patiently("the mark", LIMIT, || {
        topics(&kafka).events("shop.shop.customers").iter().any(|event| event.op == "t").then_some(())
    });
    let part = ended(&mut pipeline.start(&["snapshot", "shop.orders", "--where", "id > 5"]), LIMIT);
    super::tells(&part, 4, &["Kafka"]);
    wait_patiently("no request to stand", LIMIT, || (topics(&kafka).requests() == 0).then_some(()));
    stop(&mut run);
    captures(&pipeline);
    topics(&kafka).assert_latest(&server);
}
