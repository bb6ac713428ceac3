//! Over Kafka: what `capture` and `load` cost with the broker on the same cores, and how long a change takes.

use std::path::Path;
use std::time::{Duration, Instant};

use lakeward_test_support::kafka::{Kafka, Record};
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::registry::SchemaRegistry;
use lakeward_test_support::{Measured, Pipeline, Place, Signal, measure, python, wait_until};
use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::json;

use super::{pipeline, rows_in};

/// Bytes of a record of [`producer`]: those of the workload's rows in Avro.
pub(super) const RECORD_BYTES: &str = "239";
pub(super) const TOPIC_PARTITIONS: u32 = 4;

/// The settings of a form of records.
type Settings = fn(&SchemaRegistry) -> serde_json::Value;

/// Forms of records: the topics' prefix, what `capture` and `load` are called, the settings.
pub(super) const FORMATS: [(&str, [&str; 2], Settings); 2] = [
    ("json", ["capture, debezium-json", "load, debezium-json"], |_| json!({ "format": "debezium-json" })),
    (
        "avro",
        ["capture, avro", "load, avro"],
        |registry| json!({ "format": "avro", "schema_registry": { "url": registry.url() } }),
    ),
];

/// A pipeline of the binlog's changes over `kafka`, under topics of its own.
pub(super) fn over(server: &MySql, kafka: &Kafka, prefix: &str, format: &serde_json::Value) -> Pipeline {
    let mut pipeline = pipeline(server, &["shop.*"], &Place::Folder);
    let mut transport = json!({
        "brokers": kafka.brokers(), "topic_prefix": prefix, "topics": { "partitions": TOPIC_PARTITIONS },
    });
    let settings = transport.as_object_mut().expect("it is an object");
    settings.extend(format.as_object().expect("a format is an object").clone());
    pipeline.config["transport"] = json!({ "kafka": transport });
    pipeline
}

/// Kafka's own measuring tool: records without content, not in transactions.
pub(super) fn producer(kafka: &Kafka, records: u64) -> Measured {
    kafka.create_topic("limit", i32::try_from(TOPIC_PARTITIONS).expect("few"), &[]);
    let mut command = kafka.java("org.apache.kafka.tools.ProducerPerformance", "512m");
    command.args(["--topic", "limit", "--throughput", "-1", "--record-size", RECORD_BYTES]);
    command.args(["--num-records", &records.to_string(), "--producer-props"]);
    command.args([
        &format!("bootstrap.servers={}", kafka.brokers()),
        "acks=all",
        "linger.ms=20",
        "batch.size=200000",
    ]);
    let measured = measure(&command);
    kafka.delete_topic("limit");
    measured
}

pub(super) fn capture(pipeline: &Pipeline) -> Measured {
    measure(&pipeline.command(&["capture", "--until-caught-up"]))
}

/// Fails unless every row event is in the lake.
pub(super) fn load(pipeline: &Pipeline, rows: u64) -> Measured {
    let measured = measure(&pipeline.command(&["load", "--until-caught-up"]));
    assert_eq!(rows_in(&pipeline.lake()), rows, "row events in the lake");
    measured
}

/// Makes room: what a topic holds stays in the memory that the system caches files in.
pub(super) fn delete_topics(kafka: &Kafka, prefix: &str) {
    for topic in kafka.topics() {
        if topic.starts_with(&format!("{prefix}.shop.")) {
            kafka.delete_topic(&topic);
        }
    }
}

/// Row changes a second, and how long they go on.
const PACE: u64 = 2_000;
const SECONDS: u64 = 20;
/// Rows of a transaction.
const TRANSACTION: u64 = 10;

/// Prints how long changes take from their commit on the source to a reader of their topic, and to the lake.
pub(super) fn latency(server: &MySql, kafka: &Kafka) {
    server.sql("CREATE DATABASE pace; CREATE TABLE pace.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100), n INT)");
    let mut pipeline = over(server, kafka, "pace", &json!({}));
    pipeline.config["tables"]["include"] = json!(["pace.*"]);
    pipeline.config["start"] = "latest".into();
    pipeline.config["lake"]["commit"]["interval"] = "5s".into();
    let mut run = pipeline.start(&["run"]);
    let own = "pace.__lakeward.checkpoints";
    // From here on changes are captured; a first one makes the topic.
    let is_checkpoint = |record: &Record| record.key.as_deref() == Some(b"checkpoint");
    wait_until("the first checkpoint", Duration::from_secs(60), || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        let there = kafka.topics().iter().any(|name| name == own);
        (there && kafka.read(own).iter().any(is_checkpoint)).then_some(())
    });
    let mut conn = server.conn();
    insert(&mut conn, 1);
    let topic = "pace.pace.t";
    wait_until("the topic", Duration::from_secs(60), || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        kafka.topics().iter().any(|name| name == topic).then_some(())
    });
    let rows = PACE * SECONDS;
    let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    let seen = std::thread::scope(|scope| {
        let arguments = [kafka.brokers(), topic.to_owned(), (rows + 1).to_string()];
        let reader = scope.spawn(move || {
            python(&script("latency_topic.py"), &arguments.each_ref().map(String::as_str), "")
        });
        let begun = Instant::now();
        for transaction in 0..rows / TRANSACTION {
            let due = Duration::from_micros(transaction * TRANSACTION * 1_000_000 / PACE);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            insert(&mut conn, TRANSACTION);
        }
        reader.join().expect("the reader ends")
    });
    run.signal(Signal::Term);
    run.succeed(Duration::from_secs(60));
    let lake = python(&script("latency_lake.py"), &[&pipeline.lake().display().to_string()], "");
    println!(
        "\nlatency at {PACE} rows/s, ms\n  commit -> topic  {}  commit -> lake (interval 5 s)  {}",
        seen, lake
    );
}

fn insert(conn: &mut Conn, rows: u64) {
    let values: Vec<String> = (0..rows).map(|n| format!("(REPEAT('v', 40), {n})")).collect();
    conn.query_drop(format!("INSERT INTO pace.t (v, n) VALUES {}", values.join(", ")))
        .expect("rows are taken");
}
