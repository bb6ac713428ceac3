//! `load` of Avro: it waits for a registry that is away, and stops at one that refuses it.

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::registry::{Front, SchemaRegistry, USER, at};
use lakeward_test_support::tcp_proxy::{TcpProxy, Wire};
use lakeward_test_support::{Lakeward, Pipeline, Random, seed, wait_until};
use serde_json::json;

use super::{LIMIT, broker, capture, loads_with, over, wait_for_records};
use crate::traffic::{assert_lake_is_source, burst, server_with_tables};
use crate::world::{set, stop, view};

/// The registry refuses.
const REFUSED: i32 = 35;

/// A pipeline of Avro. The registry is that of all tests: each has a prefix of its own.
fn avro(server: &MySql, kafka: &Kafka, prefix: &str, url: String) -> Pipeline {
    let mut pipeline = over(server, kafka);
    set(&mut pipeline, "transport/kafka/topic_prefix", prefix);
    set(&mut pipeline, "transport/kafka/format", "avro");
    ask_at(&mut pipeline, url);
    pipeline
}

fn ask_at(pipeline: &mut Pipeline, url: String) {
    set(pipeline, "transport/kafka/schema_registry", json!({ "url": url }));
}

/// Waits until it says once more that the registry is away.
fn misses_the_registry(load: &mut Lakeward, before: usize) {
    wait_until("the registry to be missed", LIMIT, || {
        assert!(load.ended().is_none(), "load ended: {}", load.printed());
        (load.printed().matches("RegistryUnreachable").count() > before).then_some(())
    });
}

/// It is away when load starts, and when records come whose schema it has not seen.
#[test]
fn load_waits_for_a_registry_that_is_away_and_loses_nothing() {
    let (server, kafka, registry) = (server_with_tables(), broker(), SchemaRegistry::shared());
    let proxy = TcpProxy::start(registry.port());
    let mut pipeline = avro(&server, &kafka, "load_away", registry.url());
    let mut random = Random::new(seed());
    burst(&server, &mut random, 40);
    capture(&pipeline);
    let through_proxy = at(&format!("http://127.0.0.1:{}", proxy.port()));
    ask_at(&mut pipeline, through_proxy.clone());
    proxy.set(Wire::Refuse);
    let mut load = pipeline.start(&["load"]);
    misses_the_registry(&mut load, 0);
    proxy.set(Wire::Pass);
    wait_for_records(&pipeline, &mut load, 2);
    proxy.set(Wire::Refuse);
    proxy.cut();
    let before = load.printed().matches("RegistryUnreachable").count();
    server.sql("ALTER TABLE shop.customers ADD COLUMN more INT INVISIBLE");
    burst(&server, &mut random, 40);
    ask_at(&mut pipeline, registry.url());
    capture(&pipeline);
    misses_the_registry(&mut load, before);
    proxy.set(Wire::Pass);
    wait_for_records(&pipeline, &mut load, 1);
    stop(&mut load);
    ask_at(&mut pipeline, through_proxy);
    loads_with(&pipeline, 0, &[]);
    assert_lake_is_source(&server, &view(&pipeline));
}

/// What it refuses is no record: none is put aside, none is lost.
#[test]
fn a_registry_that_refuses_the_login_stops_load_and_puts_no_record_aside() {
    let (server, kafka, registry) = (server_with_tables(), broker(), SchemaRegistry::shared());
    let front = Front::start(registry);
    let mut pipeline = avro(&server, &kafka, "load_login", registry.url());
    burst(&server, &mut Random::new(seed()), 40);
    capture(&pipeline);
    kafka.create_topic("aside", 1, &[]);
    set(&mut pipeline, "transport/kafka/load/dead_letter", "aside");
    let secured =
        json!({ "url": front.url(), "username": USER, "password": "hunter2-wrong", "ca": front.ca() });
    set(&mut pipeline, "transport/kafka/schema_registry", secured);
    let refused = loads_with(&pipeline, REFUSED, &["RegistryRefused", "401", "schema_registry.username"]);
    assert!(!refused.printed().contains("hunter2-wrong"), "{}", refused.printed());
    assert!(kafka.read("aside").is_empty(), "records were put aside");
    ask_at(&mut pipeline, registry.url());
    loads_with(&pipeline, 0, &[]);
    assert!(kafka.read("aside").is_empty(), "records were put aside");
    assert_lake_is_source(&server, &view(&pipeline));
}
