//! One Kafka transaction after another, and what their errors mean.
//!
//! Guarantee: `commit` returns only when the brokers have decided that all of it stands. Every other end is an error
//! after which the producer is of no use: the brokers settle what is open when the next one opens, or by their timeout.
//!
//! A producer that the brokers do not know any more is told by them in several ways, and for two reasons: another writer
//! has opened the topics, or its transaction took too long and was given up. Which one it was, the time says, and after
//! that the checkpoint topic: the last `writer` there ([`Transactions::fenced`]). Only the first reason ends a writer
//! for good.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lakeward_core::{Clock, Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{Producer, ThreadedProducer};

use super::SinkOptions;
use super::delivery::{Deliveries, Failure};
use crate::client::{self, Reader, explained};
use crate::config::Kafka;
use crate::{checkpoints, topics};

/// How long one try of a call of a transaction may take.
const TRY: Duration = Duration::from_secs(10);
/// How long one look at the records under way waits.
const LOOK: Duration = Duration::from_millis(100);
/// The part of the records under way that must be done with until there is room again: one of so many.
const ROOM_PART: u64 = 8;
/// While no record is taken, the topics are looked at so often; one that is missing twice in a row ends the run.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(3);
/// How long such a look waits for its answer.
const SHORT: Duration = Duration::from_secs(1);
/// How long the brokers may take no record, or do not tell the outcome of a commit, before the run begins anew.
const PATIENCE: Duration = Duration::from_secs(120);

/// Transactions that stood still until their time was over, since which checkpoint and how often: outlives a sink.
#[derive(Debug, Default)]
pub struct StoodStill(Mutex<(u64, u32)>);

/// So often in a row a transaction may stand still: what is told as that once more takes too long by itself.
const STANDS_STILL: u32 = 2;

impl StoodStill {
    /// Notes one after checkpoint `number`; whether another try may help.
    fn again(&self, number: u64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = if state.0 == number { state.1.saturating_add(1) } else { 1 };
        *state = (number, times);
        times <= STANDS_STILL
    }
}

/// The producer with its transactions.
pub(super) struct Transactions {
    pub(super) producer: ThreadedProducer<Deliveries>,
    kafka: Kafka,
    pipeline: String,
    clock: Arc<dyn Clock>,
    writer: uuid::Uuid,
    stood_still: Arc<StoodStill>,
    reader: Arc<Reader>,
    /// The last checkpoint's number.
    pub(super) number: u64,
    begun: Option<Begun>,
}

/// An open transaction.
struct Begun {
    at: Duration,
    /// When something of it was last done, and the longest time in which nothing was.
    moved: Duration,
    stood_still: Duration,
    /// Topics of tables that it writes to; when they were last looked at, and the one that was missing then.
    topics: BTreeSet<Arc<str>>,
    looked: Duration,
    missing: Option<Arc<str>>,
}

impl Transactions {
    pub(super) fn new(
        producer: ThreadedProducer<Deliveries>,
        reader: &Arc<Reader>,
        options: &SinkOptions,
    ) -> Self {
        Transactions {
            producer,
            kafka: options.kafka.clone(),
            pipeline: options.pipeline.clone(),
            clock: Arc::clone(&options.clock),
            writer: options.writer,
            stood_still: Arc::clone(&options.stood_still),
            reader: Arc::clone(reader),
            number: 0,
            begun: None,
        }
    }

    /// Keeps older writers of the pipeline from ever writing again, and settles what they left open.
    pub(super) fn init(&self) -> Result<()> {
        let begun = self.clock.elapsed();
        loop {
            let Err(error) = self.producer.init_transactions(TRY) else { return Ok(()) };
            let again = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
            let trouble = self.producer.context().context().trouble();
            let explained = explained("the claim of the transactional id", &error, trouble);
            let late = self.clock.elapsed().saturating_sub(begun) > TRY * 2;
            if !again || late || explained.kind() != ErrorKind::KafkaUnreachable {
                return Err(match error.rdkafka_error_code() {
                    Some(code) if is_fence(code) => explained_fence(),
                    _ => explained.at("transactional id", transactional_id(&self.kafka)),
                });
            }
        }
    }

    /// Begins one, if none is open.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.begun.is_none() {
            self.producer.begin_transaction().map_err(|error| self.broken(&error))?;
            let now = self.clock.elapsed();
            self.begun = Some(Begun {
                at: now,
                moved: now,
                stood_still: Duration::ZERO,
                topics: BTreeSet::new(),
                looked: now,
                missing: None,
            });
        }
        Ok(())
    }

    /// The open one writes to this topic.
    pub(super) fn writes_to(&mut self, topic: &Arc<str>) {
        if let Some(begun) = self.begun.as_mut().filter(|begun| !begun.topics.contains(topic)) {
            begun.topics.insert(Arc::clone(topic));
        }
    }

    /// Something of the open one was done. An error if it took too long by now, or a record was not written.
    pub(super) fn stands(&mut self) -> Result<()> {
        let now = self.clock.elapsed();
        if let Some(begun) = &mut self.begun {
            begun.stood_still = begun.stood_still.max(now.saturating_sub(begun.moved));
            begun.moved = now;
            begun.missing = None;
        }
        self.waits()
    }

    /// The same where nothing was done; the brokers may be silent for a while.
    fn waits(&mut self) -> Result<()> {
        if let Some(failure) = self.producer.context().failure() {
            return Err(self.unwritten(failure));
        }
        let Some(begun) = &self.begun else { return Ok(()) };
        let now = self.clock.elapsed();
        if now.saturating_sub(begun.at) >= self.kafka.transaction_timeout {
            return Err(self.too_long());
        }
        if now.saturating_sub(begun.moved) > PATIENCE {
            let late = KafkaError::MessageConsumption(Code::OperationTimedOut);
            let trouble = self.producer.context().context().trouble();
            return Err(explained("the writing of records", &late, trouble));
        }
        self.topics_are_there()
    }

    /// The client waits for a topic that is gone as for brokers that are away. Asked only while nothing goes on; what
    /// has become of the topic, the next opening tells.
    fn topics_are_there(&mut self) -> Result<()> {
        let now = self.clock.elapsed();
        let Some(begun) = &mut self.begun else { return Ok(()) };
        if now.saturating_sub(begun.moved.max(begun.looked)) < LOOK_FOR_TOPICS {
            return Ok(());
        }
        client::hear(&self.reader);
        let answer = self.reader.fetch_metadata(None, SHORT);
        begun.looked = self.clock.elapsed();
        // Who does not answer now is asked later.
        let Ok(metadata) = answer else { return Ok(()) };
        let there = topics::usable(&metadata);
        let missing = begun.topics.iter().find(|topic| !there.contains_key(topic.as_ref())).cloned();
        let before = std::mem::replace(&mut begun.missing, missing.clone());
        match missing.filter(|topic| before.as_ref() == Some(topic)) {
            Some(topic) => Err(not_there().at("topic", topic)),
            None => Ok(()),
        }
    }

    /// Waits for room in the client's queue, which is full: for much of it, as to be woken for each record costs more
    /// than the record itself.
    pub(super) fn wait_for_room(&mut self) -> Result<()> {
        let open = self.producer.context().open();
        self.producer.context().wait_for(open - open.div_ceil(ROOM_PART), LOOK);
        if self.producer.context().open() < open { self.stands() } else { self.waits() }
    }

    /// Waits until the brokers have all records of the open one. The library's own way to wait looks every 100 ms.
    fn settle(&mut self) -> Result<()> {
        let mut open = self.producer.context().open();
        // The client counts a record until its delivery report is dropped, a moment after we heard of it.
        while self.producer.in_flight_count() > 0 {
            self.producer.context().wait_for(0, LOOK);
            match self.producer.context().open() {
                0 => {
                    std::thread::yield_now();
                    self.waits()?;
                }
                left if left < open => {
                    open = left;
                    self.stands()?;
                }
                _ => self.waits()?,
            }
        }
        Ok(())
    }

    /// Makes all of the open one stand.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.settle()?;
        let asked = self.clock.elapsed();
        loop {
            let Err(error) = self.producer.commit_transaction(TRY) else {
                self.begun = None;
                self.producer.context().context().trouble().is_over();
                return Ok(());
            };
            let again = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
            if !again {
                return Err(self.broken(&error));
            }
            tracing::debug!(%error, "the outcome of a commit is not known yet; asking again");
            if self.clock.elapsed().saturating_sub(asked) > PATIENCE {
                let trouble = self.producer.context().context().trouble();
                return Err(explained("the outcome of a commit", &error, trouble));
            }
        }
    }

    /// Gives up the open one.
    pub(super) fn abort(&mut self) {
        if self.begun.take().is_some() {
            self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
            if let Err(error) = self.producer.abort_transaction(TRY) {
                tracing::debug!(%error, "an open transaction could not be given up; the brokers do");
            }
        }
    }

    /// What an error of the producer means. It is of no use after it.
    pub(super) fn broken(&mut self, error: &KafkaError) -> Error {
        let code = error.rdkafka_error_code();
        if code.is_some_and(is_fence) || self.is_fenced() {
            return self.fenced();
        }
        if let Some(failure) = self.producer.context().failure() {
            return self.unwritten(failure);
        }
        // The brokers have more ways to refuse a writer than the client knows: giving up asks them again.
        let aborted = self.producer.abort_transaction(TRY);
        let refused = aborted.err().and_then(|error| error.rdkafka_error_code()).is_some_and(is_fence);
        if refused || self.is_fenced() {
            return self.fenced();
        }
        told_later(explained("a transaction", error, self.producer.context().context().trouble()))
    }

    fn is_fenced(&self) -> bool {
        self.producer.client().fatal_error().is_some_and(|(code, _)| is_fence(code))
    }

    /// Why the brokers do not know this producer any more. They give up no transaction before its time is over, so until
    /// then it is another writer. After that, the last name in the checkpoint topic tells.
    fn fenced(&self) -> Error {
        let open_for = |begun: &Begun| self.clock.elapsed().saturating_sub(begun.at);
        if self.begun.as_ref().map(open_for).unwrap_or_default() < self.kafka.transaction_timeout {
            return explained_fence();
        }
        match self.is_another_writer_there() {
            Ok(false) => self.too_long(),
            Ok(true) => explained_fence(),
            // It cannot be told now. To begin anew could fence the newer one, so this one ends.
            Err(error) => explained_fence().caused_by(error),
        }
    }

    /// An error if another writer has put its name: what it wrote since is not known here.
    pub(super) fn refuse_fenced(&self) -> Result<()> {
        match self.is_another_writer_there()? {
            false => Ok(()),
            true => Err(explained_fence()),
        }
    }

    /// By the last name in the checkpoint topic.
    fn is_another_writer_there(&self) -> Result<bool> {
        let topic = topics::checkpoint_topic(&self.kafka.prefix);
        let reader = self.kafka.reader(&self.clock)?;
        let found = checkpoints::read(&reader, &topic, 0, &self.pipeline, self.clock.as_ref())?;
        Ok(found.writer.is_some_and(|last| last.id != self.writer))
    }

    /// A transaction took longer than it may. If that is because nothing went on for a good part of the time (this
    /// process or the brokers stood still), another try may help; else it never will.
    fn too_long(&self) -> Error {
        let limit = self.kafka.transaction_timeout;
        let begun = self.begun.as_ref();
        let since = |begun: &Begun| begun.stood_still.max(self.clock.elapsed().saturating_sub(begun.moved));
        if begun.map(since).unwrap_or_default() > limit / 2 && self.stood_still.again(self.number) {
            let message = "a transaction stood still until its time was over; it is read and written again";
            return Error::new(ErrorKind::KafkaUnreachable, message);
        }
        let message =
            "a transaction of the source was not written within the time that a Kafka transaction may take";
        Error::new(ErrorKind::TransactionTooLarge, message).at("limit", format!("{limit:?}")).remedy(
            "raise `transport.kafka.transaction_timeout`, and the brokers' transaction.max.timeout.ms with it; nothing \
             of it is visible to readers of committed records",
        )
    }

    fn unwritten(&mut self, failure: Failure) -> Error {
        let (topic, number, key, bytes, error) = match failure {
            Failure::WentBack { topic, number, offset, last } => {
                return Error::new(ErrorKind::TopicLost, "a topic was made anew while it was written to")
                    .at("topic", topic)
                    .at("topic partition", number)
                    .at("offset", offset)
                    .at("after", last)
                    .remedy(crate::sink::opening::LOST_REMEDY);
            }
            Failure::Unwritten { topic, number, key, bytes, error } => (topic, number, key, bytes, error),
        };
        let code = error.rdkafka_error_code();
        if code.is_some_and(is_fence) {
            return self.fenced();
        }
        let explained = match code {
            Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize) => {
                too_large(bytes).at("key", shown(key.as_deref()))
            }
            // The client gives a record up after the time of its transaction.
            Some(Code::MessageTimedOut) => {
                let late =
                    Error::new(ErrorKind::KafkaUnreachable, "the brokers took no records for too long");
                late.caused_by(error)
            }
            _ => {
                let trouble = self.producer.context().context().trouble();
                told_later(explained("the writing of a record", &error, trouble))
            }
        };
        explained.at("topic", topic).at("topic partition", number)
    }
}

/// The pipeline's identity towards the brokers: what it fences others by.
pub(super) fn transactional_id(kafka: &Kafka) -> String {
    format!("lakeward-{}", kafka.prefix)
}

/// A topic that the brokers do not know is gone, or was not told to one of them yet: the next opening tells which.
fn told_later(error: Error) -> Error {
    match error.kind() {
        ErrorKind::TopicLost => not_there().caused_by(error),
        _ => error,
    }
}

fn not_there() -> Error {
    Error::new(ErrorKind::KafkaUnreachable, "a topic that is written to is not there")
}

fn is_fence(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

fn explained_fence() -> Error {
    Error::new(ErrorKind::Fenced, "another process captures this pipeline by now")
        .remedy("run one `lakeward capture` for each pipeline")
}

/// A record that is larger than the cluster takes.
pub(super) fn too_large(bytes: usize) -> Error {
    Error::new(ErrorKind::MessageTooLarge, "a change event is larger than a record may be")
        .at("bytes", bytes)
        .remedy(
            "raise the topic's `max.message.bytes`, and `transport.kafka.properties: { message.max.bytes: … }` with it; \
             or lower `batch.size` there, if the record alone is small enough",
        )
}

/// Most of a key that is shown.
const KEY_SHOWN: usize = 200;

/// A record's key, for an operator.
pub(super) fn shown(key: Option<&[u8]>) -> String {
    let Some(key) = key else { return "none".to_owned() };
    String::from_utf8_lossy(key.get(..KEY_SHOWN).unwrap_or(key)).into_owned()
}
