//! What other people's consumers see of a topic: Python's client, with and without its reader of Avro, and the console
//! consumer of Kafka itself.

use std::path::Path;
use std::process::{Child, Stdio};

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::python;
use serde_json::Value;

use super::view::Event;

const CONSUMER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/python/consume.py");

/// Which records a consumer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Those that were committed.
    Committed,
    /// Those of transactions that were given up, too.
    Uncommitted,
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        }
    }
}

/// How Python reads keys and values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    /// Not at all: where they are is all that is asked for.
    Unread,
    Json,
    /// Avro, by the schema that each record names in the registry of this address.
    Avro(&'a str),
    /// Avro, by the newest schemas of the topic.
    NewestAvro(&'a str),
}

/// What Python's client sees: `{ partition, offset, schema, key, value, headers }`, in order.
pub(super) fn by_python(kafka: &Kafka, topic: &str, isolation: Isolation, form: Form<'_>) -> Vec<Value> {
    let brokers = kafka.brokers();
    let mut arguments = vec![brokers.as_str(), topic, isolation.name()];
    match form {
        Form::Unread => arguments.push("unread"),
        Form::Json => {}
        Form::Avro(registry) => arguments.push(registry),
        Form::NewestAvro(registry) => arguments.extend([registry, "latest"]),
    }
    let printed = python(Path::new(CONSUMER), &arguments, "");
    printed.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// The events among such records.
pub(super) fn events(records: &[Value]) -> Vec<Event> {
    let event = |record: &Value| {
        let header =
            |name: &str| record["headers"][name].as_str().unwrap_or_else(|| panic!("no {name}: {record}"));
        let (value, op) = (&record["value"], header("op").to_owned());
        assert_eq!(value["op"], op.as_str());
        Event {
            partition: i32::try_from(record["partition"].as_i64().expect("a number"))
                .expect("a small number"),
            seq: header("seq").parse().expect("a number"),
            row: if op == "d" { &value["before"] } else { &value["after"] }.clone(),
            op,
        }
    };
    let mut events: Vec<Event> =
        records.iter().filter(|record| !record["value"].is_null()).map(event).collect();
    events.sort_by_key(|event| event.seq);
    events
}

/// A console consumer that runs.
pub(super) struct Console(Child);

impl Console {
    /// Starts one that reads the first `count` records of `topic`, and ends earlier when nothing more comes.
    pub(super) fn start(kafka: &Kafka, topic: &str, isolation: Isolation, count: usize) -> Console {
        let mut java = kafka.java("org.apache.kafka.tools.consumer.ConsoleConsumer", "128m");
        java.args(["--bootstrap-server", &kafka.brokers(), "--topic", topic, "--from-beginning"]);
        java.args(["--max-messages", &count.to_string(), "--timeout-ms", "60000"]);
        java.args(["--isolation-level", isolation.name()]);
        for property in ["print.partition=true", "print.offset=true", "print.key=true", "print.value=true"] {
            java.args(["--formatter-property", property]);
        }
        Console(java.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("java starts"))
    }

    /// What it printed of records of JSON, in order: topic partition, offset, key, value.
    pub(super) fn finish(self) -> Vec<(i64, i64, Value, Value)> {
        let output = self.0.wait_with_output().expect("java ends");
        let printed = String::from_utf8(output.stdout).expect("it prints UTF-8");
        let number = |part: &str, name: &str| -> i64 {
            let part = part.strip_prefix(name).unwrap_or_else(|| panic!("no {name} in {part:?}"));
            part.parse().expect("a number")
        };
        let json = |part: &str| serde_json::from_str(part).unwrap_or_else(|error| panic!("{error}: {part}"));
        let record = |line: &str| {
            let parts: Vec<&str> = line.split('\t').collect();
            let [partition, offset, key, value] = parts[..] else { panic!("{line:?}") };
            (number(partition, "Partition:"), number(offset, "Offset:"), json(key), json(value))
        };
        let told = printed.lines().filter(|line| line.starts_with("Partition:"));
        let mut records: Vec<_> = told.map(record).collect();
        records.sort_by_key(|(partition, offset, ..)| (*partition, *offset));
        records
    }
}
