//! The client as a reader: its properties, and what its errors mean.
//!
//! The client goes on by itself after passing errors, for ever; only what no waiting mends is an error here.

use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

/// What the client tells between records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context;

impl ClientContext for Context {}
impl ConsumerContext for Context {}

/// The client of this crate that reads.
pub(crate) type Reader = BaseConsumer<Context>;

/// How long a question to the brokers may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// Fetched ahead for one topic partition, at least and at most.
const AHEAD: (u64, u64) = (64 * 1024, 8 * 1024 * 1024);

/// Makes a reader that fetches at most `ahead` bytes for each topic partition before they are asked for.
pub(crate) fn reader(client: &ClientConfig, group: &str, ahead: u64) -> Result<Reader> {
    let half = (ahead.clamp(AHEAD.0, AHEAD.1) / 2).to_string();
    let half_kib = (ahead.clamp(AHEAD.0, AHEAD.1) / 2048).to_string();
    let mut client = client.clone();
    for (key, value) in [
        // Positions are ours; the group is never joined by this client.
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // A place that is gone is an error, never another place.
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
        ("check.crcs", "true"),
        ("allow.auto.create.topics", "false"),
        ("queued.max.messages.kbytes", &half_kib),
        ("fetch.message.max.bytes", &half),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "100"),
        // A topic that comes later is found soon.
        ("topic.metadata.refresh.interval.ms", "10000"),
    ] {
        client.set(key, value);
    }
    client.create_with_context(Context).map_err(|error| {
        Error::new(ErrorKind::Config, "the Kafka client cannot be made").caused_by(error).remedy(
            "correct `transport.kafka`: the message names the property",
        )
    })
}

/// What an error of the client stops; `None` where the client goes on by itself.
pub(crate) fn trouble(error: &KafkaError) -> Option<Error> {
    let code = error.rdkafka_error_code();
    let (kind, message) = match code {
        Some(
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId,
        ) => (ErrorKind::TopicLost, "a topic that is read is gone"),
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
            (ErrorKind::PositionLost, "the place to go on from is not in the topic any more")
        }
        Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            (ErrorKind::KafkaDenied, "the Kafka cluster denies a right")
        }
        Some(Code::BadMessage | Code::InvalidMessage | Code::InvalidMessageSize) => {
            (ErrorKind::UnreadableRecord, "records in Kafka are damaged")
        }
        Some(_) | None => match error {
            KafkaError::MessageConsumptionFatal(_) => (ErrorKind::KafkaUnreachable, "the Kafka client has given up"),
            _ => return None,
        },
    };
    Some(Error::new(kind, message).caused_by(error.clone()))
}

/// An answer that did not come.
pub(crate) fn unanswered(what: &'static str) -> impl Fn(KafkaError) -> Error {
    move |error| match trouble(&error) {
        Some(stops) => stops.at("asked for", what),
        None => {
            Error::new(ErrorKind::KafkaUnreachable, "the Kafka cluster did not answer").at("asked for", what).caused_by(error)
        }
    }
}

/// How many topic partitions a topic has; `None` where it does not exist.
pub(crate) fn topic_partitions(reader: &Reader, topic: &str) -> Result<Option<i32>> {
    let metadata = metadata(reader, topic)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(Code::from) {
        None => Ok(i32::try_from(found.partitions().len()).ok()),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
        Some(code) => Err(unanswered("a topic's metadata")(KafkaError::MetadataFetch(code)).at("topic", topic)),
    }
}

fn metadata(reader: &Reader, topic: &str) -> Result<Metadata> {
    reader.fetch_metadata(Some(topic), ANSWER).map_err(unanswered("a topic's metadata"))
}

/// The first offset of a topic partition, and the one after the last that is visible.
pub(crate) fn bounds(reader: &Reader, topic: &str, number: i32) -> Result<(i64, i64)> {
    reader
        .fetch_watermarks(topic, number, ANSWER)
        .map_err(|error| unanswered("a topic partition's offsets")(error).at("topic partition", format!("{topic}/{number}")))
}
