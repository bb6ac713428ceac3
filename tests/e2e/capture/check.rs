//! `lakeward check` and `status` of a pipeline over Kafka.

use lakeward_test_support::kafka::Kafka;
use serde_json::Value;

use super::{captures, over};
use crate::traffic::server_with_tables;
use crate::world::{finish, set};

fn findings(printed: &str) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(printed).expect("check prints JSON");
    let of = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().expect("findings").iter();
    findings.map(|finding| (of(finding, "level"), of(finding, "subject"), of(finding, "message"))).collect()
}

#[test]
fn check_covers_the_brokers() {
    let (server, mut kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "transport/kafka/topics/config", serde_json::json!({ "retention.ms": 3_600_000 }));
    let has = |found: &[(String, String, String)], level: &str, subject: &str, words: &str| {
        let seen = found.iter().any(|(l, s, message)| l == level && s == subject && message.contains(words));
        assert!(seen, "no {level} {subject} with {words}: {found:?}");
    };
    let before = findings(&finish(&pipeline, &["check", "--json"]).stdout);
    has(&before, "ok", "kafka.brokers", "1 brokers");
    has(&before, "ok", "kafka.transaction_timeout", "900s");
    has(&before, "ok", "kafka.topics", "will be made");
    assert!(kafka.topics().is_empty(), "check made topics");
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1)");
    captures(&pipeline);
    let after = findings(&finish(&pipeline, &["check", "--json"]).stdout);
    has(&after, "ok", "kafka.checkpoint", "number");
    has(&after, "warning", "kafka.retention", "shop.shop.customers");
    has(&after, "ok", "kafka.rights", "lakeward-shop");
    set(&mut pipeline, "transport/kafka/transaction_timeout", "20m");
    set(&mut pipeline, "transport/kafka/time_precision_mode", "connect");
    set(&mut pipeline, "transport/kafka/message_key_columns", serde_json::json!({ "shop.order": ["id"] }));
    set(&mut pipeline, "transport/kafka/load", serde_json::json!({ "dead_letter": "bad" }));
    set(&mut pipeline, "transport/kafka/topics", serde_json::json!({ "create": false }));
    server.sql("CREATE TABLE shop.later (id INT PRIMARY KEY)");
    let wrong = findings(&finish(&pipeline, &["check", "--json"]).stdout);
    has(&wrong, "error", "kafka.transaction_timeout", "transaction.max.timeout.ms");
    has(&wrong, "error", "kafka.topics", "shop.shop.later");
    has(&wrong, "warning", "kafka.format", "time_precision_mode");
    has(&wrong, "warning", "kafka.format", "shop.order,");
    has(&wrong, "error", "kafka.load.dead_letter", "bad");
    let refused = finish(&pipeline, &["run"]);
    assert_eq!(refused.code, Some(2), "{}", refused.printed());
    assert!(refused.printed().contains("transport.kafka.time_precision_mode"), "{}", refused.printed());
    kafka.kill9();
    let away = findings(&finish(&pipeline, &["check", "--json"]).stdout);
    has(&away, "error", "kafka.brokers", "");
}

#[test]
fn status_tells_how_far_the_topics_are() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let new = finish(&pipeline, &["status"]);
    super::tells(&new, 0, &["nothing was captured yet"]);
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1), (2, 1)");
    captures(&pipeline);
    super::tells(
        &finish(&pipeline, &["status"]),
        0,
        &["2 change events", "behind    0 transactions", "3 captured"],
    );
    let json: Value = serde_json::from_str(&finish(&pipeline, &["status", "--json"]).stdout).unwrap();
    assert_eq!(json["kafka"]["events"], 2);
}
