//! Other consumers: what a transaction that was given up left behind is not seen by them.

use std::process::Command;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{python, seed};

use super::{LIMIT, captures, over, topics};
use crate::traffic::{burst, server_with_tables};
use crate::world::ended;

const CONSUMER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/python/consume.py");

#[test]
fn plain_consumers_see_committed_events_only() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let mut random = lakeward_test_support::Random::new(seed());
    for _ in 0..3 {
        burst(&server, &mut random, 40);
        let mut run = pipeline.start_with_failpoints(&["capture"], "kafka.commit.before=kill@1");
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
    }
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
    let topic = "shop.shop.customers";
    let ours: Vec<(i32, i64)> =
        topics(&kafka).kafka.read(topic).iter().map(|record| (record.partition, record.offset)).collect();
    let seen = python(std::path::Path::new(CONSUMER), &[&kafka.brokers(), topic], "");
    let seen: Vec<(i32, i64)> = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen, ours, "confluent-kafka");
    let mut java: Command = kafka.java("org.apache.kafka.tools.consumer.ConsoleConsumer", "128m");
    java.args([
        "--bootstrap-server",
        &kafka.brokers(),
        "--topic",
        topic,
        "--from-beginning",
        "--timeout-ms",
        "15000",
    ]);
    java.args(["--isolation-level", "read_committed", "--formatter-property", "print.partition=true"]);
    java.args(["--formatter-property", "print.offset=true", "--formatter-property", "print.value=false"]);
    let output = java.output().expect("java starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |line: &str, name: &str| {
        let part = line.split('\t').find_map(|part| part.strip_prefix(name));
        part.unwrap_or_else(|| panic!("no {name} in {line:?}")).trim().parse::<i64>().expect(line)
    };
    let told = text.lines().filter(|line| line.contains("Partition:"));
    let place = |line: &str| (i32::try_from(number(line, "Partition:")).unwrap(), number(line, "Offset:"));
    let mut seen: Vec<(i32, i64)> = told.map(place).collect();
    seen.sort_unstable();
    assert_eq!(seen, ours, "the console consumer: {}", String::from_utf8_lossy(&output.stderr));
}
