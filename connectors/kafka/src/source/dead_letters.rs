//! Records that cannot be read, put aside where the config names a topic for them.
//!
//! Guarantee: such a record is in the dead-letter topic before a boundary passes it, so before any commit does. After
//! a crash between the two it is read again, and stands there twice; it is never missing. No more of them are on their way
//! than a batch has rows: beyond its limit the client would take none, as it counts those whose delivery nobody asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{Clock, Error, ErrorKind, Result, failpoint};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use tracing::{error, warn};

use super::gathering::{BYTES, ROWS};
use super::partition_queue::Record;
use crate::client::{Context, explained, unmade};
use crate::config::Kafka;
use crate::topics::no_dead_letter;

/// How long the brokers may take to have all of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the client hears: above all the first record that was not written.
struct Callbacks {
    client: Context,
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for Callbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.client.generate_oauth_token(config)
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}

/// A record that is put aside, and where it stands.
pub(super) struct Letter<'a> {
    pub(super) topic: &'a str,
    pub(super) number: i32,
    pub(super) record: &'a Record,
}

impl Letter<'_> {
    /// All headers of the record, as they were; a name that is no text as far as it is one.
    fn headers(&self) -> OwnedHeaders {
        self.record.headers().fold(OwnedHeaders::new(), |all, (name, value)| {
            all.insert(Header { key: &String::from_utf8_lossy(name), value })
        })
    }
}

/// What becomes of a record that cannot be read, whatever is tried.
pub(super) enum Verdict {
    /// It is in the dead-letter topic, or on its way there.
    Aside,
    /// Its topic partition stands still there.
    Stops,
}

/// Judges a record that cannot be read for the reason of `error`. What only fails now ends the source, and so does
/// every error where `stop_all` is set.
pub(super) fn judge(
    dead_letters: Option<&mut DeadLetters>,
    letter: &Letter<'_>,
    error: &Error,
    stop_all: bool,
) -> Result<Verdict> {
    let mut told = Error::new(error.kind(), error.message().to_owned())
        .at("topic partition", format!("{}/{}", letter.topic, letter.number))
        .at("offset", letter.record.offset());
    if let Some(remedy) = error.remedy_text() {
        told = told.remedy(remedy);
    }
    // A registry that lets nobody in says nothing of the record.
    if error.policy() == Policy::Retry || error.kind() == ErrorKind::RegistryRefused {
        return Err(told);
    }
    if let Some(dead_letters) = dead_letters {
        dead_letters.write(letter, &told)?;
        return Ok(Verdict::Aside);
    }
    if stop_all {
        return Err(told);
    }
    error!(kind = told.kind().name(), "a topic partition is stopped; the others go on: {told}");
    Ok(Verdict::Stops)
}

/// The dead-letter topic.
pub(super) struct DeadLetters {
    producer: BaseProducer<Callbacks>,
    topic: String,
    /// How many may be on their way, and their bytes.
    letters: usize,
    bytes: usize,
}

impl DeadLetters {
    /// The one that the config names.
    pub(super) fn open(kafka: &Kafka, clock: &Arc<dyn Clock>) -> Result<Option<DeadLetters>> {
        let Some(topic) = kafka.load.dead_letter.clone() else { return Ok(None) };
        let mut client = kafka.client()?;
        client.set("enable.idempotence", "true").set("acks", "all");
        client.set("message.timeout.ms", PATIENCE.as_millis().to_string());
        let callbacks = Callbacks { client: kafka.context(clock), failed: Mutex::new(None) };
        let producer = client.create_with_context(callbacks).map_err(|error| unmade(&error))?;
        Ok(Some(DeadLetters { producer, topic, letters: 0, bytes: 0 }))
    }

    /// Writes a record as it was, with headers that say where it comes from and what is wrong with it.
    pub(super) fn write(&mut self, letter: &Letter<'_>, why: &Error) -> Result<()> {
        warn!(
            kind = why.kind().name(),
            dead_letter = self.topic,
            "a record cannot be read and is put aside: {why}"
        );
        let record = letter.record;
        let added = [
            ("lakeward.error", why.message().to_owned()),
            ("lakeward.topic", letter.topic.to_owned()),
            ("lakeward.partition", letter.number.to_string()),
            ("lakeward.offset", record.offset().to_string()),
        ];
        let headers = added
            .iter()
            .fold(letter.headers(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        let mut copy = BaseRecord::<[u8], [u8], ()>::to(&self.topic).headers(headers);
        copy.key = record.key();
        copy.payload = record.value();
        self.producer.send(copy).map_err(|(error, _)| self.explained(&error))?;
        self.letters += 1;
        self.bytes += record.len();
        match self.letters >= ROWS || self.bytes >= BYTES {
            true => self.settle(),
            false => Ok(()),
        }
    }

    /// Waits until the brokers have all of them.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.letters == 0 {
            return Ok(());
        }
        failpoint::hit("kafka.load.dead_letter")?;
        self.producer.flush(PATIENCE).map_err(|error| self.explained(&error))?;
        let failed = self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failed {
            Some(error) => Err(self.explained(&error)),
            None => {
                (self.letters, self.bytes) = (0, 0);
                Ok(())
            }
        }
    }

    fn explained(&self, error: &KafkaError) -> Error {
        if let Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize) =
            error.rdkafka_error_code()
        {
            let message =
                "a record that cannot be read is, with its reason, larger than the dead-letter topic takes";
            return Error::new(ErrorKind::MessageTooLarge, message).at("topic", &self.topic).remedy(
                "raise that topic's `max.message.bytes` above those of the tables' topics, and `transport.kafka.properties: { \
                 message.max.bytes: … }` with it",
            );
        }
        let told = explained("a dead letter", error, self.producer.context().client.trouble());
        match told.kind() {
            ErrorKind::TopicLost => no_dead_letter(&self.topic),
            _ => told.at("topic", &self.topic),
        }
    }
}
