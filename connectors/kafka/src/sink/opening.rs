//! What happens when the sink opens, in this order: the checkpoint topic is there; `init_transactions`; the checkpoint
//! topic is read to its end; the topics have what was counted; those beside the tables' are there; this writer's name is
//! put.
//!
//! The order matters: after `init_transactions` no older writer can add to what is then read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Result, Resume};
use rdkafka::producer::ThreadedProducer;
use tokio::runtime::Handle;

use super::SinkOptions;
use super::beside::Beside;
use super::delivery::Deliveries;
use super::transaction::{Transactions, transactional_id};
use super::writer::{Writer, WriterParts};
use crate::checkpoints::{self, CaptureCheckpoint, Found};
use crate::client::{Reader, unmade};
use crate::format::Encoder;
use crate::requests::Standing;
use crate::topics::{self, Admin, checkpoint_topic, request_topic};

/// What to do about a topic that is not what it was.
pub(super) const LOST_REMEDY: &str = "if its events are not needed any more, begin a new pipeline: another `name` and \
                                      `topic_prefix`; a topic that was deleted does not come back";

/// A topic that the brokers do not name is looked for so often, after such a pause.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(500);

/// Whether nothing was ever captured for the pipeline.
pub(super) fn is_new(options: &SinkOptions) -> Result<bool> {
    let reader = options.kafka.reader(&options.clock)?;
    let topic = checkpoint_topic(&options.kafka.prefix);
    if !topics::partitions(&reader)?.contains_key(&topic) {
        return Ok(true);
    }
    let found = checkpoints::read(&reader, &topic, 0, &options.pipeline, options.clock.as_ref())?;
    has_those_modes(options, &found)?;
    Ok(found.last.is_none())
}

/// Records of the topics are all of one format. Asked before the claim, too: who is refused must not end another one.
fn has_those_modes(options: &SinkOptions, found: &Found) -> Result<()> {
    let modes = found.last.as_ref().and_then(|last| last.modes.as_ref());
    modes.map_or(Ok(()), |modes| options.kafka.format.modes().are_those_of(modes))
}

/// Opens the topics for this process.
pub(super) fn opened(options: SinkOptions, runtime: Handle) -> Result<(Writer, Standing, Resume)> {
    let clock = Arc::clone(&options.clock);
    let kafka = &options.kafka;
    let encoder = Encoder::new(&kafka.format, &kafka.prefix, Arc::clone(&clock))?;
    let reader = Arc::new(kafka.reader(&clock)?);
    let admin = Admin::new(kafka, &clock, runtime)?;
    own_topics(&options, &reader, &admin)?;
    let mut transactions = Transactions::new(producer(&options)?, &reader, &options);
    transactions.init()?;
    lakeward_core::failpoint::hit("kafka.open.fenced")?;
    let topic = checkpoint_topic(&kafka.prefix);
    let found = checkpoints::read(&reader, &topic, 0, &options.pipeline, clock.as_ref())?;
    has_those_modes(&options, &found)?;
    if let Some(last) = &found.last {
        nothing_lost(&reader, last)?;
    }
    let mut standing = Standing::new(kafka, &clock)?;
    let resume = Resume {
        checkpoint: found.last.as_ref().map(|last| last.checkpoint.clone()),
        schemas: found.named()?,
        requests: standing.read()?,
    };
    let Found { last, schemas, .. } = found;
    transactions.number = last.as_ref().map_or(0, |last| last.number);
    let beside = Beside::open(&options, &reader, &admin)?;
    let parts = WriterParts { transactions, encoder, beside, reader, admin, last, stored: schemas };
    let mut writer = Writer::new(options, parts);
    writer.claim()?;
    lakeward_core::failpoint::hit("kafka.open.claimed")?;
    Ok((writer, standing, resume))
}

/// Makes the topics of the pipeline's own state, if they are not there.
fn own_topics(options: &SinkOptions, reader: &Reader, admin: &Admin) -> Result<()> {
    let (kafka, clock) = (&options.kafka, options.clock.as_ref());
    let there = topics::partitions(reader)?;
    for topic in [checkpoint_topic(&kafka.prefix), request_topic(&kafka.prefix)] {
        let count = match there.get(&topic) {
            Some(count) => *count,
            None if kafka.topics.create => {
                lakeward_core::failpoint::hit("kafka.topic.create")?;
                admin.create_own(&topic, &kafka.topics)?;
                topics::shown(reader, &topic, clock)?
            }
            None => return Err(topics::missing_own(&topic)),
        };
        if let Some(policy) = admin.setting(&topic, "cleanup.policy").filter(|policy| policy != "compact") {
            let message =
                "a topic of the pipeline's state is not compacted: its records would be removed by their age";
            return Err(Error::new(ErrorKind::Config, message)
                .at("topic", &topic)
                .at("cleanup.policy", policy)
                .remedy(topics::to_compact(&topic)));
        }
        if count != 1 {
            let message =
                format!("a topic of the pipeline's state has {count} topic partitions; it must have one");
            return Err(Error::new(ErrorKind::Config, message)
                .at("topic", topic)
                .remedy("delete it and create it with one, before the pipeline's first start"));
        }
    }
    Ok(())
}

/// The topics have at least the events that were counted: each takes an offset, so fewer offsets are fewer events.
fn nothing_lost(reader: &Reader, last: &CaptureCheckpoint) -> Result<()> {
    let there = with_events(reader, last)?;
    for (topic, events) in &last.events {
        let lost = |what: &str| Error::new(ErrorKind::TopicLost, what).at("topic", topic).remedy(LOST_REMEDY);
        let written = events.values().any(|count| *count > 0);
        let count = match there.get(topic) {
            Some(count) => i32::try_from(*count).unwrap_or(i32::MAX),
            // Made, and deleted before anything was written: it is made again.
            None if !written => continue,
            None => return Err(lost("a topic with captured events is gone")),
        };
        for (number, events) in events.iter().filter(|(_, events)| **events > 0) {
            if *number >= count {
                return Err(
                    lost("a topic has fewer topic partitions than it had").at("topic partition", number)
                );
            }
            let end = topics::bounds(reader, topic, *number)?.1;
            if u64::try_from(end).unwrap_or(0) < *events {
                return Err(lost("a topic was made anew: it has fewer records than were written")
                    .at("topic partition", number)
                    .at("end", end)
                    .at("events", events));
            }
        }
    }
    Ok(())
}

/// The topics that are there; one with events that is not is looked for again for a while.
fn with_events(reader: &Reader, last: &CaptureCheckpoint) -> Result<BTreeMap<String, usize>> {
    let counted = || last.events.iter().filter(|(_, events)| events.values().any(|count| *count > 0));
    let mut looks = 0;
    loop {
        let there = topics::partitions(reader)?;
        looks += 1;
        if looks == LOOKS || counted().all(|(topic, _)| there.contains_key(topic)) {
            return Ok(there);
        }
        std::thread::sleep(LOOK);
    }
}

/// The part of the memory that records in the client's queue may take: three of eight.
const QUEUE_PART: (u64, u64) = (3, 8);
/// What the client keeps of a record beside its key and value: its own description, and the headers.
const RECORD_EXTRA: u64 = 1024;
/// How long a record may wait for others to be sent with: a compromise between delay and size of batches.
const LINGER_MS: &str = "5";

fn producer(options: &SinkOptions) -> Result<ThreadedProducer<Deliveries>> {
    let kafka = &options.kafka;
    let mut client = kafka.client()?;
    let timeout = kafka.transaction_timeout.as_millis().to_string();
    let budget = options.memory.0 * QUEUE_PART.0 / QUEUE_PART.1;
    for (name, value) in [
        ("transactional.id", transactional_id(kafka)),
        ("enable.idempotence", "true".to_owned()),
        ("transaction.timeout.ms", timeout.clone()),
        ("message.timeout.ms", timeout),
        ("linger.ms", LINGER_MS.to_owned()),
        ("queue.buffering.max.kbytes", (budget / 1024).clamp(1024, 2_000_000).to_string()),
        ("queue.buffering.max.messages", (budget / RECORD_EXTRA).clamp(1000, 10_000_000).to_string()),
        // A topic that is not seen so long after it was made is taken for missing.
        ("topic.metadata.propagation.max.ms", "10000".to_owned()),
    ] {
        client.set(name, value);
    }
    if !kafka.properties.contains_key("compression.type")
        && !kafka.properties.contains_key("compression.codec")
    {
        client.set("compression.type", "lz4");
    }
    let deliveries = Deliveries::new(kafka.context(&options.clock));
    client.create_with_context(deliveries).map_err(|error| unmade(&error))
}
