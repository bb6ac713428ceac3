//! What is larger or takes longer than Kafka allows stops with what mends it, and nothing of it is seen.

use lakeward_test_support::kafka::Kafka;

use super::{captures, over, stops, topics};
use crate::traffic::server_with_tables;
use crate::world::set;

const TOO_LARGE: i32 = 36;

#[test]
fn an_event_larger_than_a_record_may_be_is_named() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = over(&server, &kafka);
    server.sql("INSERT INTO shop.orders VALUES ('de', 4711, 1, 'small', 'new')");
    captures(&pipeline);
    server.sql(
        "ALTER TABLE shop.orders MODIFY note LONGTEXT; INSERT INTO shop.orders VALUES ('de', 4712, 1, REPEAT('x', 3000000), 'new')",
    );
    stops(&pipeline, TOO_LARGE, &["shop.orders", "4712", "message.max.bytes", "max.message.bytes"]);
    set(&mut pipeline, "transport/kafka/properties", serde_json::json!({ "message.max.bytes": 10_000_000 }));
    // The client may send it, and the topic does not take it.
    stops(&pipeline, TOO_LARGE, &["shop.orders", "4712", "max.message.bytes"]);
    kafka.set_topic("shop.shop.orders", "max.message.bytes", "10000000");
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

/// A source transaction that cannot be sent in the time that a Kafka transaction may take stops at once, with the
/// setting to raise; what was sent of it is never seen.
#[test]
fn a_transaction_longer_than_allowed_stops_and_is_not_seen() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = over(&server, &kafka);
    // Slow brokers: what the transaction takes does not depend on the machine.
    let quota = |change: &str, bytes: &str| {
        kafka.tool(
            "kafka.admin.ConfigCommand",
            &["--alter", change, bytes, "--entity-type", "clients", "--entity-default"],
        );
    };
    quota("--add-config", "producer_byte_rate=4000000");
    server.sql(
        "SET SESSION cte_max_recursion_depth = 10000000;
         INSERT INTO shop.carts WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600000) \
         SELECT i, 1, NULL FROM n",
    );
    set(&mut pipeline, "transport/kafka/transaction_timeout", "1s");
    stops(&pipeline, TOO_LARGE, &["transaction_timeout", "transaction.max.timeout.ms"]);
    assert!(topics(&kafka).events("shop.shop.carts").is_empty());
    quota("--delete-config", "producer_byte_rate");
    set(&mut pipeline, "transport/kafka/transaction_timeout", "10m");
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

#[test]
fn a_timeout_above_what_the_brokers_allow_is_told() {
    let (server, kafka) = (server_with_tables(), Kafka::with(&[("transaction.max.timeout.ms", "60000")]));
    let pipeline = over(&server, &kafka);
    stops(&pipeline, 2, &["transaction_timeout", "transaction.max.timeout.ms"]);
}

/// A mark has no key, and a compacted topic takes no record without one.
#[test]
fn a_truncate_over_a_compacted_topic_is_told() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = over(&server, &kafka);
    let topics = serde_json::json!({ "partitions": 1, "config": { "cleanup.policy": "compact" } });
    set(&mut pipeline, "transport/kafka/topics", topics);
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1); TRUNCATE TABLE shop.customers");
    stops(&pipeline, 2, &["compacted", "cleanup.policy", "shop.shop.customers"]);
}
