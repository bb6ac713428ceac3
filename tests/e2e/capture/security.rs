//! TLS and login, rights, and secrets that never appear.

use std::path::Path;

use lakeward_test_support::Pipeline;
use lakeward_test_support::kafka::{Kafka, PASSWORD, USER};
use lakeward_test_support::mysql::MySql;
use serde_json::{Value, json};

use super::{LIMIT, captures, over, stops, topics};
use crate::traffic::{burst, server_with_tables};
use crate::world::{finish, set};

const REFUSED: i32 = 31;

fn secured(server: &MySql, kafka: &Kafka, sasl: Value) -> Pipeline {
    let mut pipeline = over(server, kafka);
    pipeline.environment.push(("KAFKA_PASSWORD".into(), PASSWORD.into()));
    set(&mut pipeline, "transport/kafka/brokers", kafka.sasl_brokers());
    set(&mut pipeline, "transport/kafka/tls", json!({ "ca": kafka.ca() }));
    set(&mut pipeline, "transport/kafka/sasl", sasl);
    pipeline
}

fn password(mechanism: &str) -> Value {
    json!({ "mechanism": mechanism, "username": USER, "password": "${env:KAFKA_PASSWORD}" })
}

/// An unsecured token, as the broker's own validator takes it: two parts in base64, and no signature.
fn token_command(folder: &Path) -> Value {
    let script = folder.join("token.sh");
    let text = "#!/bin/sh\nnow=$(date +%s)\nend=$((now + 3600))\n\
                part() { printf %s \"$1\" | base64 -w0 | tr '+/' '-_' | tr -d =; }\n\
                echo \"$(part '{\"alg\":\"none\"}').$(part \"{\\\"sub\\\":\\\"lakeward\\\",\\\"iat\\\":$now,\\\"exp\\\":$end}\"). ${end}000\"\n";
    std::fs::write(&script, text).expect("the folder is writable");
    json!({ "mechanism": "oauthbearer", "token_command": ["sh", script] })
}

#[test]
fn every_login_works_and_none_is_shown() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut random = lakeward_test_support::Random::new(1);
    burst(&server, &mut random, 5);
    // First, as it makes the topics, too.
    let folder = lakeward_test_support::Scratch::new("token");
    let pipeline = secured(&server, &kafka, token_command(folder.path()));
    captures(&pipeline);
    pipeline.start(&["load", "--until-caught-up"]).succeed(LIMIT);
    let told = finish(&pipeline, &["check"]).stdout;
    assert!(told.contains("ok       kafka.transaction_timeout"), "settings are asked for: {told}");
    for mechanism in ["plain", "scram-sha-256", "scram-sha-512"] {
        burst(&server, &mut random, 5);
        let mut pipeline = secured(&server, &kafka, password(mechanism));
        set(&mut pipeline, "log", json!({ "level": "trace" }));
        let ended = captures(&pipeline);
        assert!(!ended.printed().contains(PASSWORD), "the password is shown");
    }
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "transport/kafka/brokers", kafka.tls_brokers());
    set(&mut pipeline, "transport/kafka/tls", json!({ "ca": kafka.ca() }));
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

#[test]
fn a_refused_login_and_an_untrusted_certificate_stop_at_once() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = secured(&server, &kafka, password("scram-sha-512"));
    pipeline.environment.push(("KAFKA_PASSWORD".into(), "hunter2-wrong".into()));
    let ended = stops(&pipeline, REFUSED, &["KafkaAuth", "transport.kafka"]);
    assert!(!ended.printed().contains("hunter2-wrong"), "{}", ended.printed());
    let mut pipeline = secured(&server, &kafka, password("plain"));
    set(&mut pipeline, "transport/kafka/tls", json!({ "ca": kafka.wrong_ca() }));
    stops(&pipeline, REFUSED, &["certificate"]);
}

#[test]
fn a_right_that_is_denied_is_told() {
    let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let (server, kafka) = (server_with_tables(), Kafka::with(&[("authorizer.class.name", authorizer)]));
    burst(&server, &mut lakeward_test_support::Random::new(1), 5);
    let mut pipeline = secured(&server, &kafka, password("plain"));
    let user = format!("User:{USER}");
    let grant = |more: &[&str]| {
        let mut arguments = vec!["--add", "--allow-principal", &user];
        arguments.extend_from_slice(more);
        kafka.acls(&arguments);
    };
    stops(&pipeline, REFUSED, &["KafkaDenied", "topic"]);
    let told = finish(&pipeline, &["check"]).stdout;
    for denied in [
        "ERROR    kafka.rights: the Kafka cluster denies a right on a topic (asked for topics) (topic shop.__lakeward.checkpoints \
         and 4 more)",
        "warning  kafka.rights: the Kafka cluster denies a right on a consumer group",
    ] {
        assert!(told.contains(denied), "no {denied} in: {told}");
    }
    grant(&["--operation", "All", "--topic", "shop.", "--resource-pattern-type", "prefixed"]);
    stops(&pipeline, REFUSED, &["KafkaDenied", "transactional id", "lakeward-shop"]);
    grant(&["--operation", "Write", "--operation", "Describe", "--transactional-id", "lakeward-shop"]);
    grant(&["--operation", "Read", "--group", "lakeward-shop"]);
    let told = finish(&pipeline, &["check"]).stdout;
    assert!(told.contains("ok       kafka.rights"), "{told}");
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
    // It may read, and not join.
    set(&mut pipeline, "transport/kafka/load", json!({ "group": "workers" }));
    grant(&["--operation", "Read", "--group", "workers-reader"]);
    let ended = finish(&pipeline, &["load", "--until-caught-up"]);
    super::tells(&ended, REFUSED, &["KafkaDenied", "group: workers", "transport.kafka.load.group"]);
}
