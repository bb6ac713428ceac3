//! What a config may say.

use super::*;

fn read(text: &str) -> Result<Kafka> {
    let config: KafkaConfig = serde_json::from_str(text).expect(text);
    config.checked("shop")
}

#[test]
fn the_smallest_config_has_the_documented_defaults() {
    let kafka = read(r#"{ "brokers": "a:9092" }"#).unwrap();
    assert_eq!((kafka.prefix.as_str(), kafka.topics.create), ("shop", true));
    assert_eq!(kafka.commit_interval, Duration::from_millis(30));
    assert_eq!(kafka.transaction_timeout, Duration::from_secs(900));
}

fn refused(inner: &str, words: &[&str]) {
    let text = format!(r#"{{ "brokers": "a:9092", {inner} }}"#);
    let error = read(&text).expect_err(inner);
    let shown = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Config);
    for word in words {
        assert!(shown.contains(word), "`{word}` is not in: {shown}");
    }
    assert!(!shown.contains("hunter2"), "a secret is shown: {shown}");
}

#[test]
fn a_property_that_exactly_once_rests_on_is_refused_with_its_remedy() {
    for name in [
        "enable.idempotence",
        "acks",
        "transactional.id",
        "isolation.level",
        "partitioner",
        "linger.ms",
        "client.rack",
        "max.partition.fetch.bytes",
        "session.timeout.ms",
    ] {
        refused(&format!(r#""properties": {{ "{name}": "hunter2" }}"#), &[name, "To mend it"]);
    }
    refused(r#""properties": { "compresion.type": "hunter2" }"#, &["compresion.type", "does not know"]);
    refused(r#""properties": { "compression.type": "hunter2" }"#, &["compression.type"]);
    read(r#"{ "brokers": "a", "properties": { "compression.type": "lz4", "batch.size": 1000, "socket.keepalive.enable": true } }"#)
        .unwrap();
}

#[test]
fn a_login_is_whole_or_refused() {
    refused(r#""sasl": { "mechanism": "plain", "username": "a" }"#, &["password"]);
    refused(r#""sasl": { "mechanism": "oauthbearer", "password": "hunter2" }"#, &["token_command"]);
    refused(r#""tls": { "cert": "/a" }"#, &["key"]);
    let kafka = read(
        r#"{ "brokers": "a", "sasl": { "mechanism": "scram-sha-512", "username": "u", "password": "hunter2" } }"#,
    );
    assert!(!format!("{:?}", kafka.unwrap()).contains("hunter2"));
}

#[test]
fn what_has_no_effect_on_topics_of_others_is_refused_for_them() {
    for (key, setting) in [
        ("provide_transaction_metadata", r#""provide_transaction_metadata": true"#),
        ("heartbeat_interval", r#""heartbeat_interval": "10s""#),
        ("include_schema_changes", r#""include_schema_changes": true"#),
        ("topics", r#""topics": { "partitions": 3 }"#),
        ("commit_interval", r#""commit_interval": "1s""#),
        ("transaction_timeout", r#""transaction_timeout": "1m""#),
        ("load.session_timeout", r#""load": { "session_timeout": "3s" }"#),
    ] {
        read(&format!(r#"{{ "brokers": "a", {setting} }}"#)).expect(setting);
        refused(
            &format!(r#""written_by": "debezium", {setting}"#),
            &[&format!("key transport.kafka.{key}"), "no effect"],
        );
    }
    read(r#"{ "brokers": "a", "written_by": "debezium", "load": { "dead_letter": "x" } }"#).unwrap();
}

#[test]
fn a_record_key_has_columns() {
    refused(r#""message_key_columns": { "shop.a": [] }"#, &["shop.a", "message_key_columns"]);
}

#[test]
fn prefixes_and_times_are_checked() {
    refused(r#""topic_prefix": "a/b""#, &["a/b"]);
    refused(r#""topic_prefix": """#, &["topic_prefix"]);
    refused(r#""transaction_timeout": "90ms""#, &["transaction_timeout"]);
    refused(r#""commit_interval": "60s", "transaction_timeout": "60s""#, &["commit_interval"]);
    assert_eq!(read(r#"{ "brokers": "a", "topic_prefix": "a.b-C_1" }"#).unwrap().prefix, "a.b-C_1");
}
