//! The client as a reader of change events: its properties, and which of its errors end the source.
//!
//! The client goes on by itself after passing errors, for ever; only what no waiting mends is an error here.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{Clock, Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::client::{Reader, explained};
use crate::config::Kafka;

/// Fetched ahead for one topic partition, at least and at most.
const AHEAD: (u64, u64) = (64 * 1024, 8 * 1024 * 1024);

/// How long a question between two events may take: whoever stops the source waits for the answer.
pub(super) const BRIEF: Duration = Duration::from_secs(5);

/// What mends topics that are not what they were.
pub(super) const BEGIN_ANEW: &str =
    "give the pipeline another `name`, `topic_prefix` and prefix in `lake.url`, which takes a new snapshot";

/// What mends it that retention has removed records that are not in the lake.
pub(crate) const OVERTAKEN: &str = "let the topics keep more than the lake may be behind (`retention.ms`, `retention.bytes`); then begin \
     anew: another `name` and prefix in `lake.url`, and topics that begin with a new snapshot (of `capture`: another \
     `topic_prefix`; of Debezium: new topics)";

/// Makes a reader that fetches at most `ahead` bytes for each topic partition before they are asked for.
pub(super) fn reader(kafka: &Kafka, clock: &Arc<dyn Clock>, group: &str, ahead: u64) -> Result<Reader> {
    let ahead = ahead.clamp(AHEAD.0, AHEAD.1);
    let (half, half_kib) = ((ahead / 2).to_string(), (ahead / 2048).to_string());
    let mut client = kafka.client()?;
    for (key, value) in [
        // The client wants one; it is never joined here, and places are ours.
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // A place that is gone is an error, never another place.
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
        ("check.crcs", "true"),
        ("queued.max.messages.kbytes", &half_kib),
        ("fetch.message.max.bytes", &half),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "100"),
        // A topic that comes later is found soon.
        ("topic.metadata.refresh.interval.ms", "10000"),
    ] {
        client.set(key, value);
    }
    kafka.made(&client, clock)
}

/// What an error of the client stops; `None` where the client goes on by itself.
pub(super) fn trouble(reader: &Reader, error: &KafkaError) -> Option<Error> {
    let of = |kind, message: &str| Some(Error::new(kind, message).caused_by(error.clone()));
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
            of(ErrorKind::PositionLost, "the place to go on from is not in the topic any more")
                .map(|error| error.remedy(OVERTAKEN))
        }
        Some(Code::BadMessage | Code::InvalidMessage | Code::InvalidMessageSize) => {
            of(ErrorKind::UnreadableRecord, "records in Kafka are damaged")
        }
        Some(_) | None => match error {
            KafkaError::MessageConsumptionFatal(_) => {
                of(ErrorKind::KafkaUnreachable, "the Kafka client has given up")
            }
            _ => {
                let explained = explained("records", error, reader.context().trouble());
                (explained.policy() != Policy::Retry).then_some(explained)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use lakeward_core::clock::SystemClock;

    use super::*;
    use crate::config::KafkaConfig;

    #[test]
    fn a_place_that_retention_overtook_under_a_running_reader_is_told_with_its_remedy() {
        let config: KafkaConfig = serde_json::from_str(r#"{ "brokers": "127.0.0.1:1" }"#).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let reader = reader(&config.checked("p").unwrap(), &clock, "g", 0).unwrap();
        let told = trouble(&reader, &KafkaError::MessageConsumption(Code::OffsetOutOfRange)).unwrap();
        assert_eq!(told.kind(), ErrorKind::PositionLost);
        assert!(told.to_string().contains("`retention.ms`, `retention.bytes`"), "{told}");
    }
}
