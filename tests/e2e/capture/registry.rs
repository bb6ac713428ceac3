//! A real schema registry: schemas evolve with their tables, what it refuses is told with its remedy, and while it is
//! away capture waits and loses nothing.

use std::time::Duration;

use lakeward_test_support::http_faults::{Fault, HttpFaults, Rule};
use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::registry::{Front, PASSWORD, SchemaRegistry, USER, at};
use lakeward_test_support::tcp_proxy::{TcpProxy, Wire};
use lakeward_test_support::{Pipeline, Random, seed, wait_until};
use serde_json::{Value, json};

use super::consumers::{Form, Isolation, by_python, events};
use super::view::{TABLES, Topics, assert_history};
use super::{LIMIT, captures, over, stops, wait_for_checkpoints};
use crate::traffic::{Traffic, burst, server_with_tables};
use crate::world::{finish, server, set, stop};

/// The registry refuses.
const REFUSED: i32 = 35;

/// A pipeline that writes Avro into topics of this prefix, with schemas in the registry at this address. The registry is
/// that of all tests: each has a prefix of its own.
fn avro(server: &MySql, kafka: &Kafka, prefix: &str, url: String) -> Pipeline {
    let mut pipeline = over(server, kafka);
    set(&mut pipeline, "transport/kafka/topic_prefix", prefix);
    set(&mut pipeline, "transport/kafka/format", "avro");
    set(&mut pipeline, "transport/kafka/schema_registry", json!({ "url": url }));
    pipeline
}

/// The same, with login and certificates.
fn secured(server: &MySql, kafka: &Kafka, prefix: &str, front: &Front) -> Pipeline {
    let mut pipeline = avro(server, kafka, prefix, front.url());
    pipeline.environment.push(("REGISTRY_PASSWORD".into(), PASSWORD.into()));
    let registry = json!({ "url": front.url(), "username": USER, "password": "${env:REGISTRY_PASSWORD}",
                           "ca": front.ca() });
    set(&mut pipeline, "transport/kafka/schema_registry", registry);
    set(&mut pipeline, "log", json!({ "level": "trace" }));
    pipeline
}

/// Each event of the traffic is there once, as Python's reader of Avro sees it.
fn assert_source(server: &MySql, kafka: &Kafka, prefix: &str) {
    let registry = SchemaRegistry::shared().url();
    for (table, _) in TABLES {
        let topic = format!("{prefix}.shop.{table}");
        let seen = by_python(kafka, &topic, Isolation::Committed, Form::Avro(&registry));
        assert_history(server, table, &events(&seen));
    }
}

#[test]
fn schemas_evolve_with_their_table_and_old_records_stay_readable() {
    const TOPIC: &str = "evolving.shop.evolving";
    let (server, kafka, registry) = (server(), Kafka::start(), SchemaRegistry::shared());
    let pipeline = avro(&server, &kafka, "evolving", registry.url());
    let steps = [
        "CREATE DATABASE shop; CREATE TABLE shop.evolving (id INT PRIMARY KEY, n INT NOT NULL, gone VARCHAR(9)); \
         INSERT INTO shop.evolving VALUES (1, -1, 'old')",
        "ALTER TABLE shop.evolving ADD COLUMN more INT NOT NULL DEFAULT 5, ADD COLUMN maybe DATETIME(6) FIRST; \
         INSERT INTO shop.evolving (id, n, gone, more) VALUES (2, -2, 'old', 6)",
        "ALTER TABLE shop.evolving DROP COLUMN gone; INSERT INTO shop.evolving (id, n, more) VALUES (3, -3, 7)",
        "ALTER TABLE shop.evolving MODIFY COLUMN n BIGINT NOT NULL; \
         INSERT INTO shop.evolving (id, n, more) VALUES (4, -9000000000, 8); DELETE FROM shop.evolving WHERE id = 1",
    ];
    for (number, step) in (1..).zip(steps) {
        server.sql(step);
        captures(&pipeline);
        if number == 1 {
            for part in ["key", "value"] {
                registry.set_compatibility(&format!("{TOPIC}-{part}"), "BACKWARD");
            }
        }
        let versions = registry.ask("GET", &format!("subjects/{TOPIC}-value/versions"), None);
        assert_eq!(versions.as_array().map(Vec::len), Some(number), "{step}: {versions}");
    }
    let keys = registry.ask("GET", &format!("subjects/{TOPIC}-key/versions"), None);
    assert_eq!(keys.as_array().map(Vec::len), Some(1), "the key never changed: {keys}");
    // Each by its own schema.
    let own = by_python(&kafka, TOPIC, Isolation::Committed, Form::Avro(&registry.url()));
    let value = |records: &[Value], id: i64, op: &str| {
        let of_row = |record: &&Value| record["key"]["id"] == id && record["value"]["op"] == op;
        records.iter().find(of_row).unwrap_or_else(|| panic!("no {op} of {id}"))["value"].clone()
    };
    assert_eq!(value(&own, 1, "c")["after"], json!({ "id": 1, "n": -1, "gone": "old" }));
    assert_eq!(
        value(&own, 4, "c")["after"],
        json!({ "maybe": null, "id": 4, "n": -9_000_000_000_i64, "more": 8 })
    );
    let ids: std::collections::BTreeSet<u64> =
        own.iter().filter_map(|record| record["schema"].as_u64()).collect();
    assert_eq!(ids.len(), 4, "a schema for each structure");
    // All by the newest one: what came later is null in old records, and what went is gone.
    let newest = by_python(&kafka, TOPIC, Isolation::Committed, Form::NewestAvro(&registry.url()));
    assert_eq!(newest.len(), own.len());
    assert_eq!(value(&newest, 1, "c")["after"], json!({ "maybe": null, "id": 1, "n": -1, "more": null }));
    assert_eq!(value(&newest, 2, "c")["after"], json!({ "maybe": null, "id": 2, "n": -2, "more": 6 }));
    assert_eq!(value(&newest, 1, "d")["before"], json!({ "maybe": null, "id": 1, "n": -1, "more": 5 }));
}

#[test]
fn an_incompatible_change_is_refused_and_the_remedy_mends_it() {
    const TOPIC: &str = "incompatible.shop.evolving";
    let (server, kafka, registry) = (server(), Kafka::start(), SchemaRegistry::shared());
    let pipeline = avro(&server, &kafka, "incompatible", registry.url());
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.evolving (id INT PRIMARY KEY, n INT); \
         INSERT INTO shop.evolving VALUES (1, 1)",
    );
    captures(&pipeline);
    let subject = format!("{TOPIC}-value");
    // Who reads by the old schema must be able to read on: not from INT to BIGINT.
    registry.set_compatibility(&subject, "FORWARD");
    server.sql(
        "ALTER TABLE shop.evolving MODIFY COLUMN n BIGINT; INSERT INTO shop.evolving VALUES (2, 3000000000)",
    );
    let remedy = format!("config/{subject}");
    stops(&pipeline, REFUSED, &["RegistryRefused", &subject, "not compatible", "NONE", &remedy]);
    registry.set_compatibility(&subject, "NONE");
    captures(&pipeline);
    let seen = by_python(&kafka, TOPIC, Isolation::Committed, Form::Avro(&registry.url()));
    let rows: Vec<&Value> = seen.iter().map(|record| &record["value"]["after"]["n"]).collect();
    assert_eq!(rows, [&json!(1), &json!(3_000_000_000_i64)]);
}

/// It is away when capture starts, and when a table changes; changes go on meanwhile.
#[test]
fn capture_waits_for_a_registry_that_is_away_and_loses_nothing() {
    const PREFIX: &str = "away";
    let (server, kafka, registry) = (server_with_tables(), Kafka::start(), SchemaRegistry::shared());
    let proxy = TcpProxy::start(registry.port());
    let pipeline = avro(&server, &kafka, PREFIX, at(&format!("http://127.0.0.1:{}", proxy.port())));
    let topics = Topics { kafka: &kafka, prefix: PREFIX };
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(40));
    proxy.set(Wire::Refuse);
    let mut run = pipeline.start(&["capture"]);
    run.wait_for("RegistryUnreachable", LIMIT);
    proxy.set(Wire::Pass);
    wait_for_checkpoints(&topics, &mut run, 2);
    proxy.set(Wire::Refuse);
    proxy.cut();
    server.sql(
        "ALTER TABLE shop.orders ADD COLUMN more INT INVISIBLE; \
         ALTER TABLE shop.customers ADD COLUMN more INT INVISIBLE",
    );
    let before = run.printed().matches("RegistryUnreachable").count();
    wait_until("the registry to be missed", LIMIT, || {
        assert!(run.ended().is_none(), "capture ended: {}", run.printed());
        (run.printed().matches("RegistryUnreachable").count() > before).then_some(())
    });
    proxy.set(Wire::Pass);
    wait_for_checkpoints(&topics, &mut run, 3);
    traffic.finish();
    stop(&mut run);
    captures(&pipeline);
    assert_source(&server, &kafka, PREFIX);
}

#[test]
fn a_wrong_login_at_the_registry_is_told_at_once_and_no_password_is_shown() {
    const PREFIX: &str = "login";
    let (server, kafka, registry) = (server_with_tables(), Kafka::start(), SchemaRegistry::shared());
    let front = Front::start(registry);
    burst(&server, &mut Random::new(seed()), 20);
    let mut pipeline = secured(&server, &kafka, PREFIX, &front);
    pipeline.environment.push(("REGISTRY_PASSWORD".into(), "hunter2-wrong".into()));
    let refused =
        stops(&pipeline, REFUSED, &["RegistryRefused", "401", "schema_registry.username and password"]);
    assert!(!refused.printed().contains("hunter2-wrong"), "{}", refused.printed());
    pipeline.environment.pop();
    let done = captures(&pipeline);
    let encoded = "bGFrZXdhcmQ6"; // `lakeward:` in base64, as the header has it.
    for secret in [PASSWORD, encoded] {
        assert!(!done.printed().contains(secret), "the password is shown");
        assert!(!refused.printed().contains(secret), "the password is shown");
    }
    assert_source(&server, &kafka, PREFIX);
}

#[test]
fn a_registry_behind_a_private_ca_is_trusted_by_it_alone() {
    const PREFIX: &str = "private";
    let (server, kafka, registry) = (server_with_tables(), Kafka::start(), SchemaRegistry::shared());
    let front = Front::start(registry);
    burst(&server, &mut Random::new(seed()), 20);
    let mut pipeline = secured(&server, &kafka, PREFIX, &front);
    for ca in [json!(front.wrong_ca()), Value::Null] {
        set(&mut pipeline, "transport/kafka/schema_registry/ca", ca);
        stops(&pipeline, REFUSED, &["RegistryRefused", "certificate", "schema_registry.ca"]);
    }
    set(&mut pipeline, "transport/kafka/schema_registry/ca", json!(front.ca()));
    captures(&pipeline);
    assert_source(&server, &kafka, PREFIX);
}

#[test]
fn check_covers_the_registry() {
    const PREFIX: &str = "checked";
    let (server, kafka, registry) = (server_with_tables(), Kafka::start(), SchemaRegistry::shared());
    let front = Front::start(registry);
    let check = |pipeline: &Pipeline| {
        let printed = finish(pipeline, &["check", "--json"]).printed();
        assert!(!printed.contains(PASSWORD), "the password is shown");
        let from = printed.find('{').expect("check prints JSON");
        let report: Value = serde_json::from_str(&printed[from..]).expect("check prints JSON");
        let of_registry = |finding: &&Value| finding["subject"] == "kafka.schema_registry";
        let findings = report["findings"].as_array().expect("findings").iter();
        let finding = findings.clone().find(of_registry).expect("a finding of the registry");
        (finding["level"].as_str().expect("a level").to_owned(), finding.to_string())
    };
    let is = |(level, finding): (String, String), expected: &str, words: &str| {
        assert!(level == expected && finding.contains(words), "no {expected} with {words}: {finding}");
    };
    let mut pipeline = secured(&server, &kafka, PREFIX, &front);
    set(&mut pipeline, "log", json!({ "level": "error" }));
    is(check(&pipeline), "ok", " subjects");
    pipeline.environment.push(("REGISTRY_PASSWORD".into(), "hunter2-wrong".into()));
    is(check(&pipeline), "error", "schema_registry.username and password");
    pipeline.environment.pop();
    set(&mut pipeline, "transport/kafka/schema_registry/ca", json!(front.wrong_ca()));
    is(check(&pipeline), "error", "certificate");
    drop(front);
    is(check(&pipeline), "error", "does not answer");
    // An address that is none of a registry's interface.
    let root = format!("http://127.0.0.1:{}", registry.port());
    is(check(&avro(&server, &kafka, PREFIX, root)), "error", "/apis/ccompat/v7");
}

/// As with `auto.register.schemas=false`, and with accounts that may read alone.
#[test]
fn a_schema_that_is_there_need_not_be_registered() {
    const PREFIX: &str = "known";
    let (server, kafka, registry) = (server_with_tables(), Kafka::start(), SchemaRegistry::shared());
    burst(&server, &mut Random::new(seed()), 10);
    captures(&avro(&server, &kafka, PREFIX, registry.url()));
    let front = HttpFaults::start(registry.port());
    let fault = Fault::Answer(403, "Forbidden");
    front.add(Rule { method: "POST", target: "/versions".to_owned(), after: 0, times: usize::MAX, fault });
    let port = front.endpoint().rsplit(':').next().expect("an address has a port").to_owned();
    let pipeline = avro(&server, &kafka, PREFIX, at(&format!("http://127.0.0.1:{port}")));
    burst(&server, &mut Random::new(seed() ^ 1), 10);
    captures(&pipeline);
    assert_source(&server, &kafka, PREFIX);
    server.sql("CREATE TABLE shop.unknown (id INT PRIMARY KEY); INSERT INTO shop.unknown VALUES (1)");
    stops(&pipeline, REFUSED, &["RegistryRefused", "known.shop.unknown", "register"]);
    assert!(front.fired() > 0);
}
