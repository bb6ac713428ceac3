//! From MySQL to Kafka: every event once, whatever is killed.

mod beside;
mod bounded;
mod check;
mod consumers;
mod crash;
mod debezium;
mod faults;
mod interop;
mod limits;
mod registry;
mod requests;
mod schema_changes;
mod security;
mod topics;
mod view;
mod writers;

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Lakeward, Pipeline, wait_patiently};
use serde_json::json;

use crate::world::{Ended, ended, folder, set};
use view::Topics;

/// How long a step may take on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(120);

/// A pipeline of the database `shop` over `kafka`.
fn over(server: &MySql, kafka: &Kafka) -> Pipeline {
    let mut pipeline = folder(server);
    set(
        &mut pipeline,
        "transport",
        json!({ "kafka": {
        "brokers": kafka.brokers(),
        "topics": { "partitions": 3 },
    } }),
    );
    set(&mut pipeline, "source/mysql/heartbeat", "1s");
    set(&mut pipeline, "source/mysql/read_timeout", "3s");
    pipeline
}

/// The topics of [`over`].
fn topics(kafka: &Kafka) -> Topics<'_> {
    Topics { kafka, prefix: crate::world::PIPELINE }
}

/// The last checkpoint of the source; null before the first.
pub(crate) fn last_checkpoint(kafka: &Kafka) -> serde_json::Value {
    topics(kafka).checkpoint().map(|captured| captured["checkpoint"].clone()).unwrap_or_default()
}

/// Captures up to the position that the server has now; must end with this code.
fn captures_with(pipeline: &Pipeline, code: i32) -> Ended {
    let ended = ended(&mut pipeline.start(&["capture", "--until-caught-up"]), LIMIT);
    assert_eq!(ended.code, Some(code), "{}", ended.printed());
    ended
}

/// Captures up to the position that the server has now.
fn captures(pipeline: &Pipeline) -> Ended {
    captures_with(pipeline, 0)
}

/// `capture` must end by itself with this code and these words.
fn stops(pipeline: &Pipeline, code: i32, words: &[&str]) -> Ended {
    let ended = ended(&mut pipeline.start(&["capture"]), LIMIT);
    tells(&ended, code, words);
    ended
}

fn tells(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.printed());
    for word in words {
        assert!(ended.printed().contains(word), "no {word} in: {}", ended.printed());
    }
}

/// Waits until the running capture has committed `more` checkpoints than there were.
fn wait_for_checkpoints(topics: &Topics<'_>, run: &mut Lakeward, more: u64) {
    let begun = topics.checkpoint_number();
    wait_patiently("checkpoints", LIMIT, || {
        assert!(run.ended().is_none(), "capture ended: {}", run.printed());
        (topics.checkpoint_number() >= begun + more).then_some(())
    });
}
