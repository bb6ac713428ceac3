//! From MySQL over Kafka to the lake: the lake is the source, whatever is killed, and however many workers there are.

mod bounded;
mod crash;
mod debezium;
mod faults;
mod growth;
mod outage;
mod places;
mod registry;
mod snapshots;
mod workers;

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Lakeward, Pipeline, wait_until};
use serde_json::json;

use crate::world::{Ended, ended, folder, restless, set, view};

/// How long a step may take on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(180);

/// A broker on which a worker that died is noticed soon.
pub(crate) fn broker() -> Kafka {
    Kafka::with(&[("group.min.session.timeout.ms", "500")])
}

/// Makes a pipeline go over `kafka`, in three topic partitions for each table.
pub(crate) fn over_kafka(pipeline: &mut Pipeline, kafka: &Kafka) {
    set(
        pipeline,
        "transport",
        json!({ "kafka": {
        "brokers": kafka.brokers(),
        // The largest values of the type suite.
        "topics": { "partitions": 3, "config": { "max.message.bytes": 30_000_000 } },
        "properties": { "message.max.bytes": 30_000_000 },
        "load": { "session_timeout": "2s" },
    } }),
    );
    restless(pipeline);
}

/// A pipeline of the database `shop` over `kafka` into a folder.
fn over(server: &MySql, kafka: &Kafka) -> Pipeline {
    let mut pipeline = folder(server);
    over_kafka(&mut pipeline, kafka);
    pipeline
}

/// Captures to the position that the server has now.
fn capture(pipeline: &Pipeline) {
    pipeline.start(&["capture", "--until-caught-up"]).succeed(LIMIT);
}

/// Loads what is captured; must end with this code.
fn loads_with(pipeline: &Pipeline, code: i32, words: &[&str]) -> Ended {
    let ended = ended(&mut pipeline.start(&["load", "--until-caught-up"]), LIMIT);
    assert_eq!(ended.code, Some(code), "{}", ended.printed());
    for word in words {
        assert!(ended.printed().contains(word), "no {word} in: {}", ended.printed());
    }
    ended
}

/// Captures and loads all that there is now.
fn catch_up(pipeline: &Pipeline) {
    capture(pipeline);
    loads_with(pipeline, 0, &[]);
}

/// Events of a topic partition that the lake has.
fn events_in_lake(pipeline: &Pipeline, topic: &str, number: i32) -> u64 {
    let checkpoint = view(pipeline).checkpoint().unwrap_or_default();
    checkpoint["position"]["kafka"][topic][number.to_string()]["events"].as_u64().unwrap_or(0)
}

/// Waits until the lake has so many records more than it had.
fn wait_for_records(pipeline: &Pipeline, run: &mut Lakeward, more: usize) {
    let before = view(pipeline).record_count();
    wait_until("records in the lake", LIMIT, || {
        assert!(run.ended().is_none(), "the worker ended: {}", run.printed());
        (view(pipeline).record_count() >= before + more).then_some(())
    });
}
