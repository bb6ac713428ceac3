//! What Debezium has beside the topics of tables: which transaction an event belongs to, where transactions begin and
//! end, and heartbeats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lakeward_test_support::kafka::{Kafka, Record};
use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::registry::SchemaRegistry;
use lakeward_test_support::{Pipeline, Random, Signal, seed, wait_until};
use serde_json::{Value, json};

use super::consumers::{Form, Isolation, by_python};
use super::{LIMIT, captures, over, stops, topics, wait_for_checkpoints};
use crate::load::over_kafka;
use crate::traffic::{Traffic, assert_lake_is_source, burst, create_tables, server_with_tables};
use crate::world::{ended, finish, folder, server_with, set, view};

const TRANSACTIONS: &str = "shop.transaction";
const HEARTBEATS: &str = "__debezium-heartbeat.shop";

fn with_transactions(server: &MySql, kafka: &Kafka) -> Pipeline {
    let mut pipeline = over(server, kafka);
    set(&mut pipeline, "transport/kafka/provide_transaction_metadata", true);
    pipeline
}

/// Events of a transaction: for each, its number, its place among all, its table and its place there.
type Members = Vec<(i64, i64, String, i64)>;

/// The transactions that change events name. Marks, and rows that were read, name none.
fn members(kafka: &Kafka) -> BTreeMap<String, Members> {
    let mut found = BTreeMap::<String, Members>::new();
    for topic in topics(kafka).tables() {
        for record in kafka.read(&topic).iter().filter(|record| record.value.is_some()) {
            let (event, seq) =
                (record.json(), record.header("seq").expect("a number").parse().expect("a number"));
            let block = &event["transaction"];
            let is_alone = event["op"] == "r" || event["op"] == "t";
            assert_eq!(block.is_null(), is_alone, "{topic}: {event}");
            if !is_alone {
                let id = block["id"].as_str().expect("an id").to_owned();
                assert!(event["source"]["gtid"].as_str().is_none_or(|gtid| gtid == id), "{event}");
                let number = |name: &str| block[name].as_i64().expect("a number");
                let table = topic.strip_prefix("shop.").expect("the prefix").to_owned();
                let place = (seq, number("total_order"), table, number("data_collection_order"));
                found.entry(id).or_default().push(place);
            }
        }
    }
    found
}

/// Places are dense, in the order of the source; each transaction is told once, by a begin and then an end that counts
/// its events.
fn assert_transactions(kafka: &Kafka) -> BTreeMap<String, Members> {
    let mut found = members(kafka);
    let mut told = BTreeMap::<String, Vec<Value>>::new();
    for record in kafka.read(TRANSACTIONS) {
        let value = record.json();
        let key: Value = serde_json::from_slice(record.key.as_deref().expect("a key")).expect("JSON");
        assert_eq!(key, json!({ "id": value["id"] }));
        told.entry(value["id"].as_str().expect("an id").to_owned()).or_default().push(value);
    }
    assert_eq!(told.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (id, members) in &mut found {
        members.sort_unstable();
        let mut in_table = BTreeMap::<&str, i64>::new();
        for (at, (seq, total, table, place)) in members.iter().enumerate() {
            assert_eq!(*total, i64::try_from(at).unwrap() + 1, "{id}: {seq}");
            assert_eq!(*seq, members[0].0 + i64::try_from(at).unwrap(), "{id}: other numbers between");
            let expected = in_table.entry(table).or_default();
            *expected += 1;
            assert_eq!(place, expected, "{id}: {seq} of {table}");
        }
        let counts: Vec<Value> = in_table
            .iter()
            .map(|(table, count)| json!({ "data_collection": table, "event_count": count }))
            .collect();
        let [begin, end] = told[id].as_slice() else { panic!("{id} is told as {:?}", told[id]) };
        assert_eq!((&begin["status"], &end["status"]), (&json!("BEGIN"), &json!("END")), "{id}");
        assert_eq!((&begin["event_count"], &begin["data_collections"]), (&Value::Null, &Value::Null));
        assert_eq!(end["event_count"], members.len(), "{id}");
        assert_eq!(end["data_collections"], json!(counts), "{id}");
        assert_eq!(begin["ts_ms"], end["ts_ms"]);
    }
    found
}

#[test]
fn a_transaction_is_told_whole_whatever_its_size_and_its_tables() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    server.sql("INSERT INTO shop.carts (id, n) VALUES (7, 1), (8, 1)");
    let mut pipeline = with_transactions(&server, &kafka);
    pipeline.config.as_object_mut().unwrap().remove("start");
    set(&mut pipeline, "snapshot", json!({ "mode": "initial" }));
    set(
        &mut pipeline,
        "transport/kafka/topics",
        json!({ "partitions": 3, "config": { "retention.ms": 86_400_000, "cleanup.policy": "compact,delete" } }),
    );
    captures(&pipeline);
    assert_eq!(kafka.partitions(TRANSACTIONS), 1);
    assert_eq!(kafka.topic_setting(TRANSACTIONS, "retention.ms").as_deref(), Some("86400000"));
    assert_eq!(kafka.topic_setting(TRANSACTIONS, "cleanup.policy").as_deref(), Some("delete"));
    assert!(members(&kafka).is_empty(), "rows that are there come from no transaction");
    // Many batches of three tables, changed keys among them.
    server.sql(
        "START TRANSACTION; \
         INSERT INTO shop.customers (id, n) WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r \
         WHERE i < 900) SELECT a.i * 1000 + b.i, 1 FROM r AS a JOIN r AS b ON b.i <= 60; \
         INSERT INTO shop.orders (region, id, n) VALUES ('de', 1, 1), ('de', 2, 1); \
         UPDATE shop.customers SET id = id + 5000000, n = n + 1 WHERE id < 20000; \
         DELETE FROM shop.carts WHERE id = 7; \
         UPDATE shop.orders SET n = n + 1 WHERE id = 2; \
         COMMIT",
    );
    server.sql("INSERT INTO shop.carts (id, n) VALUES (9, 1)");
    captures(&pipeline);
    let found = assert_transactions(&kafka);
    let sizes: BTreeSet<usize> = found.values().map(Vec::len).collect();
    let changed_keys = 19 * 60 * 2;
    assert_eq!(sizes, BTreeSet::from([1, 54_000 + changed_keys + 2 + 1 + 1]));
    topics(&kafka).assert_whole();
}

#[test]
fn without_gtids_a_transaction_is_named_by_where_it_begins() {
    let server = server_with(MySqlOptions { gtid: false, ..MySqlOptions::default() });
    create_tables(&server);
    let kafka = Kafka::start();
    let pipeline = with_transactions(&server, &kafka);
    server.sql(
        "START TRANSACTION; INSERT INTO shop.carts (id, n) VALUES (1, 1); DELETE FROM shop.carts; COMMIT",
    );
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1), (2, 1)");
    captures(&pipeline);
    let file = server.rows("SHOW BINARY LOG STATUS")[0][0].clone().expect("a file");
    let events = server.rows(&format!("SHOW BINLOG EVENTS IN '{file}'"));
    let begins = events.iter().filter(|event| event[5].as_deref() == Some("BEGIN"));
    let begins: BTreeSet<String> =
        begins.map(|event| format!("file={file},pos={}", event[1].as_deref().expect("a place"))).collect();
    assert_eq!(begins.len(), 2);
    assert_eq!(assert_transactions(&kafka).into_keys().collect::<BTreeSet<_>>(), begins);
}

#[test]
fn transactions_are_told_once_whenever_capture_is_killed() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = with_transactions(&server, &kafka);
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(3));
    let mut random = Random::new(seed ^ 1);
    for name in [
        "kafka.topic.create",
        "kafka.write",
        "kafka.commit.send",
        "kafka.commit.before",
        "kafka.commit.after",
    ] {
        let nth = if name == "kafka.topic.create" { 3 } else { 1 + random.below(30) };
        let failpoint = format!("{name}=kill@{nth}");
        let mut run = pipeline.start_with_failpoints(&["capture"], &failpoint);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9), "{failpoint}");
    }
    traffic.finish();
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
    assert!(assert_transactions(&kafka).len() > 20);
}

fn beat(record: &Record) -> i64 {
    let key: Value = serde_json::from_slice(record.key.as_deref().expect("a key")).expect("JSON");
    assert_eq!(key, json!({ "serverName": "shop" }));
    record.json()["ts_ms"].as_i64().expect("a time")
}

fn beats(kafka: &Kafka) -> Vec<i64> {
    match kafka.topics().iter().any(|topic| topic == HEARTBEATS) {
        true => kafka.read(HEARTBEATS).iter().map(beat).collect(),
        false => Vec::new(),
    }
}

#[test]
fn heartbeats_come_while_nothing_changes_and_while_much_does() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "transport/kafka/heartbeat_interval", "700ms");
    server.sql("INSERT INTO shop.customers (id, n) VALUES (1, 1)");
    let mut run = pipeline.start(&["capture"]);
    let wait_for_beats = |run: &mut lakeward_test_support::Lakeward, more: usize| {
        let before = beats(&kafka).len();
        wait_until("heartbeats", LIMIT, || {
            assert!(run.ended().is_none(), "capture ended: {}", run.printed());
            (beats(&kafka).len() >= before + more).then_some(())
        });
    };
    wait_for_beats(&mut run, 5);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    wait_for_beats(&mut run, 5);
    traffic.finish();
    run.signal(Signal::Kill);
    assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
    let seen = beats(&kafka);
    for pair in seen.windows(2) {
        // Not before its time; and at it, for all that this machine does besides.
        assert!((690..10_000).contains(&(pair[1] - pair[0])), "{seen:?}");
    }
    // Without the setting there are none, and its end was their end.
    pipeline.config["transport"]["kafka"].as_object_mut().unwrap().remove("heartbeat_interval");
    captures(&pipeline);
    assert_eq!(beats(&kafka), seen);
    topics(&kafka).assert_source(&server);
}

#[test]
fn topics_beside_those_of_tables_are_named_and_required_as_they_are() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let mut pipeline = with_transactions(&server, &kafka);
    set(&mut pipeline, "transport/kafka/heartbeat_interval", "1s");
    set(&mut pipeline, "transport/kafka/topics", json!({ "create": false }));
    for own in ["shop.__lakeward.checkpoints", "shop.__lakeward.requests"] {
        kafka.create_topic(own, 1, &[("cleanup.policy", "compact")]);
    }
    for table in ["customers", "orders", "carts"] {
        kafka.create_topic(&format!("shop.shop.{table}"), 2, &[]);
    }
    let check = finish(&pipeline, &["check"]).printed();
    assert!(check.contains(TRANSACTIONS) && check.contains(HEARTBEATS), "{check}");
    stops(&pipeline, 32, &[TRANSACTIONS, "topics.create"]);
    kafka.create_topic(TRANSACTIONS, 3, &[]);
    stops(&pipeline, 32, &[HEARTBEATS, "topics.create"]);
    kafka.create_topic(HEARTBEATS, 1, &[]);
    burst(&server, &mut Random::new(seed()), 30);
    captures(&pipeline);
    assert_transactions(&kafka);
    // As Java's producers place keys: begin and end of one transaction are together.
    let mut places = BTreeMap::<Vec<u8>, BTreeSet<i32>>::new();
    for record in kafka.read(TRANSACTIONS) {
        places.entry(record.key.expect("a key")).or_default().insert(record.partition);
    }
    assert!(places.values().all(|of_one| of_one.len() == 1));
    assert!(places.values().flatten().collect::<BTreeSet<_>>().len() > 1);
    set(&mut pipeline, "transport/kafka/heartbeat_interval", "0s");
    stops(&pipeline, 2, &["transport.kafka.heartbeat_interval"]);
}

/// Both formats, loaded by the lake's own reader; Avro also by another's, with the schemas of the registry.
#[test]
fn the_lake_is_the_source_with_all_of_it_switched_on() {
    let (server, registry) = (server_with_tables(), SchemaRegistry::shared());
    let mut random = Random::new(seed());
    for format in ["debezium-json", "avro"] {
        let kafka = crate::load::broker();
        let mut pipeline = folder(&server);
        over_kafka(&mut pipeline, &kafka);
        set(&mut pipeline, "transport/kafka/provide_transaction_metadata", true);
        set(&mut pipeline, "transport/kafka/heartbeat_interval", "200ms");
        if format == "avro" {
            set(&mut pipeline, "transport/kafka/format", format);
            // That of all tests; no other has its schemas there under this pipeline's prefix.
            set(&mut pipeline, "transport/kafka/schema_registry", json!({ "url": registry.url() }));
        }
        let mut run = pipeline.start(&["capture"]);
        burst(&server, &mut random, 60);
        wait_for_checkpoints(&topics(&kafka), &mut run, 5);
        burst(&server, &mut random, 60);
        run.signal(Signal::Kill);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
        captures(&pipeline);
        let loaded = ended(&mut pipeline.start(&["load", "--until-caught-up"]), LIMIT);
        assert_eq!(loaded.code, Some(0), "{}", loaded.printed());
        assert_lake_is_source(&server, &view(&pipeline));
        if format == "avro" {
            assert_avro(&kafka, registry);
        } else {
            assert_transactions(&kafka);
        }
    }
}

fn assert_avro(kafka: &Kafka, registry: &SchemaRegistry) {
    let address = registry.url();
    let read = |topic: &str| by_python(kafka, topic, Isolation::Committed, Form::Avro(&address));
    let mut counts = BTreeMap::<String, Vec<(i64, i64)>>::new();
    for topic in topics(kafka).tables() {
        for record in read(&topic).iter().filter(|record| record["value"].is_object()) {
            let block = &record["value"]["transaction"];
            let Some(id) = block["id"].as_str() else { continue };
            let number = |name: &str| block[name].as_i64().expect("a number");
            counts
                .entry(id.to_owned())
                .or_default()
                .push((number("total_order"), number("data_collection_order")));
        }
    }
    let told = read(TRANSACTIONS);
    assert_eq!(told.len(), counts.len() * 2);
    for record in &told {
        let (value, id) = (&record["value"], record["key"]["id"].as_str().expect("an id"));
        let places = counts.get_mut(id).expect("a transaction with events");
        places.sort_unstable();
        let total: Vec<i64> = places.iter().map(|(total, _)| *total).collect();
        assert_eq!(total, (1..=i64::try_from(places.len()).unwrap()).collect::<Vec<_>>(), "{id}");
        match value["status"].as_str() {
            Some("BEGIN") => {
                assert_eq!((&value["event_count"], &value["data_collections"]), (&Value::Null, &Value::Null))
            }
            Some("END") => {
                assert_eq!(value["event_count"], places.len(), "{id}");
                let of_tables = value["data_collections"].as_array().expect("counts").iter();
                let sum: i64 = of_tables.map(|table| table["event_count"].as_i64().expect("a count")).sum();
                assert_eq!(sum, i64::try_from(places.len()).unwrap(), "{id}");
            }
            other => panic!("{other:?}"),
        }
        assert!(value["ts_ms"].is_i64());
    }
    let beats = read(HEARTBEATS);
    assert!(!beats.is_empty());
    for record in beats {
        assert_eq!(record["key"], json!({ "serverName": "shop" }));
        assert!(record["value"]["ts_ms"].is_i64());
    }
}
