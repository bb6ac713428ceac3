//! Topics that are missing, deleted, made anew, or grow.

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{seed, wait_patiently, wait_until};

use super::{LIMIT, captures, captures_with, over, stops, tells, topics, wait_for_checkpoints};
use crate::traffic::{Traffic, burst, server_with_tables};
use crate::world::{ended, set};

const LOST: i32 = 32;
const DATA: &str = "shop.shop.customers";

#[test]
fn a_topic_is_made_as_the_config_says() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = over(&server, &kafka);
    set(
        &mut pipeline,
        "transport/kafka/topics",
        serde_json::json!({
            "partitions": 5, "replication": 1, "config": { "retention.ms": 86_400_000, "cleanup.policy": "compact,delete" },
        }),
    );
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1)");
    captures(&pipeline);
    assert_eq!(kafka.partitions(DATA), 5);
    assert_eq!(kafka.topic_setting(DATA, "retention.ms").as_deref(), Some("86400000"));
    assert_eq!(
        kafka.topic_setting("shop.__lakeward.checkpoints", "cleanup.policy").as_deref(),
        Some("compact")
    );
    set(&mut pipeline, "transport/kafka/topics/config", serde_json::json!({ "retention.ms": "a while" }));
    server.sql("CREATE TABLE shop.later (id INT PRIMARY KEY); INSERT INTO shop.later VALUES (1)");
    stops(&pipeline, 2, &["shop.shop.later", "transport.kafka.topics"]);
}

#[test]
fn a_missing_topic_that_is_not_to_be_made_is_named() {
    let (server, kafka) = (server_with_tables(), Kafka::with(&[("auto.create.topics.enable", "true")]));
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "transport/kafka/topics", serde_json::json!({ "create": false }));
    stops(&pipeline, LOST, &["shop.__lakeward.checkpoints", "topics.create"]);
    for own in ["shop.__lakeward.checkpoints", "shop.__lakeward.requests"] {
        kafka.create_topic(own, 1, &[("cleanup.policy", "compact")]);
    }
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1)");
    stops(&pipeline, LOST, &[DATA, "shop.customers"]);
    for table in ["customers", "orders", "carts"] {
        kafka.create_topic(&format!("shop.shop.{table}"), 2, &[]);
    }
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

#[test]
fn a_topic_that_was_deleted_or_made_anew_stops_the_next_start() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1), (2, 1), (3, 1)");
    captures(&pipeline);
    kafka.delete_topic(DATA);
    tells(&captures_with(&pipeline, LOST), LOST, &[DATA, "gone"]);
    kafka.create_topic(DATA, 3, &[]);
    tells(&captures_with(&pipeline, LOST), LOST, &[DATA, "made anew"]);
}

/// What capture knew of its topics is gone with it; their events are not, and must not come a second time.
#[test]
fn a_pipeline_without_its_checkpoints_does_not_begin_anew_in_the_same_topics() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1), (2, 1), (3, 1)");
    captures(&pipeline);
    let before = topics(&kafka).events(DATA).len();
    kafka.delete_topic("shop.__lakeward.checkpoints");
    server.sql("INSERT INTO shop.customers (id, n) VALUES (4, 1)");
    tells(&captures_with(&pipeline, LOST), LOST, &[DATA, "no checkpoint", "topic_prefix"]);
    assert_eq!(topics(&kafka).events(DATA).len(), before);
}

/// Captures live until `does` does something to a topic; that must stop it.
fn stops_by(does: impl FnOnce(&Kafka)) {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), std::time::Duration::from_millis(5));
    let mut run = pipeline.start(&["capture"]);
    wait_patiently("events", LIMIT, || {
        let checkpoint = topics(&kafka).checkpoint()?;
        let counts = checkpoint["events"].get(DATA)?.as_object()?.clone();
        (counts.len() == 3 && counts.values().all(|count| count.as_u64() > Some(5))).then_some(())
    });
    does(&kafka);
    let before = traffic.transactions();
    wait_until("changes after that", LIMIT, || (traffic.transactions() > before + 50).then_some(()));
    traffic.finish();
    // Before brokers that do not answer are given up, after two minutes.
    let ended = ended(&mut run, std::time::Duration::from_secs(100));
    tells(&ended, LOST, &[DATA]);
}

#[test]
fn a_topic_that_is_deleted_under_a_running_capture_stops_it() {
    stops_by(|kafka| kafka.delete_topic(DATA));
}

/// A broker forgets what a producer wrote with the topic, and would take its records as if nothing had been.
#[test]
fn a_topic_that_is_made_anew_under_a_running_capture_stops_it() {
    stops_by(|kafka| {
        kafka.delete_topic(DATA);
        kafka.create_topic(DATA, 3, &[]);
    });
}

/// The client that writes learns of topic partitions later than the one that asks for them.
#[test]
fn a_topic_that_grows_under_a_running_capture_is_used() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), std::time::Duration::from_millis(5));
    let mut run = pipeline.start(&["capture"]);
    wait_for_checkpoints(&topics(&kafka), &mut run, 2);
    kafka.add_partitions(DATA, 6);
    wait_patiently("events in new topic partitions", LIMIT, || {
        assert!(run.ended().is_none(), "capture ended: {}", run.printed());
        (3..6).all(|number| kafka.offsets(DATA, number).1 > 0).then_some(())
    });
    traffic.finish();
    run.kill();
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

#[test]
fn a_topic_of_the_pipelines_state_that_is_not_compacted_is_refused() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    kafka.create_topic("shop.__lakeward.checkpoints", 1, &[("cleanup.policy", "delete")]);
    stops(&pipeline, 2, &["shop.__lakeward.checkpoints", "cleanup.policy=compact"]);
}

/// Keys move when a topic grows; every event is there once all the same, before and after, with its number.
#[test]
fn a_topic_that_grows_is_told_and_used() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let mut random = lakeward_test_support::Random::new(seed());
    burst(&server, &mut random, 60);
    captures(&pipeline);
    kafka.add_partitions(DATA, 6);
    burst(&server, &mut random, 60);
    let told = captures(&pipeline);
    assert!(told.printed().contains("6 topic partitions"), "{}", told.printed());
    topics(&kafka).assert_source(&server);
    let events = topics(&kafka).events(DATA);
    assert!(events.iter().any(|event| event.partition >= 3), "the new topic partitions are used");
    let mut run = pipeline.start(&["capture"]);
    burst(&server, &mut random, 5);
    wait_for_checkpoints(&topics(&kafka), &mut run, 1);
    run.kill();
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}
