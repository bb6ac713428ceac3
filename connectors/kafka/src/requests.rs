//! Requests to a pipeline as records of the request topic ([`lakeward_core::request`] tells their way).
//!
//! The key is the request's id, the value the request. Anybody may write one; capture alone removes it, by a tombstone
//! in the same Kafka transaction as the checkpoint that answers it: so a request is there until its answer is, and
//! never after. A record that is no request is told in the log, once, and never obeyed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lakeward_core::{Answer, Checkpoint, Clock, Command, Error, ErrorKind, Request, Result};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, error::KafkaError};
use tokio::runtime::Handle;

use crate::checkpoints::{Entry, read_records};
use crate::client::{ANSWER, Context, Reader, explained, unmade};
use crate::config::Kafka;
use crate::topics::{self, Admin, checkpoint_topic, request_topic};

/// The requests that stand, followed from the beginning of the topic.
pub struct Standing {
    reader: Reader,
    topic: String,
    clock: Arc<dyn Clock>,
    next: i64,
    standing: BTreeMap<String, Request>,
    told: BTreeSet<i64>,
}

impl Standing {
    /// Those of `kafka`'s pipeline; nothing is read yet.
    ///
    /// # Errors
    /// `Config`.
    pub fn new(kafka: &Kafka, clock: &Arc<dyn Clock>) -> Result<Standing> {
        Ok(Standing {
            reader: kafka.reader(clock)?,
            topic: request_topic(&kafka.prefix),
            clock: Arc::clone(clock),
            next: 0,
            standing: BTreeMap::new(),
            told: BTreeSet::new(),
        })
    }

    /// Reads on to the end: all requests that stand, in the order of asking. Waits for the cluster.
    ///
    /// # Errors
    /// The cluster's.
    pub fn read(&mut self) -> Result<Vec<Request>> {
        let Standing { reader, topic, clock, next, standing, told } = self;
        read_records(reader, topic, *next, clock.as_ref(), &mut |offset, key, value| {
            *next = offset.saturating_add(1);
            match parsed(key, value) {
                Ok((id, Some(request))) => drop(standing.insert(id, request)),
                Ok((id, None)) => drop(standing.remove(&id)),
                Err(error) if told.insert(offset) => {
                    let error = error.at("topic", &*topic).at("offset", offset);
                    tracing::error!(kind = error.kind().name(), "{error}");
                }
                Err(_) => {}
            }
            Ok(())
        })?;
        Ok(standing.values().cloned().collect())
    }
}

/// Why `command` cannot be carried out over Kafka, if so: after a part of a table is read anew, what vanished from it is
/// deleted, and that asks for the keys that live in the lake.
pub fn refused(command: &Command) -> Option<&'static str> {
    match command {
        Command::Snapshot { condition: Some(_), .. } => {
            Some("asks for a part of a table, and over Kafka nobody can tell which keys live in the lake")
        }
        Command::Snapshot { condition: None, .. }
        | Command::Resume { .. }
        | Command::Pause { .. }
        | Command::Continue { .. }
        | Command::Cancel { .. } => None,
    }
}

fn parsed(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(String, Option<Request>)> {
    let wrong = |why: &str| {
        Error::new(ErrorKind::UnreadableRecord, format!("a request {why}, and is not carried out"))
            .remedy("ask again with the version of lakeward that captures")
    };
    let id = key.and_then(|key| std::str::from_utf8(key).ok()).ok_or_else(|| wrong("has no id"))?;
    let Some(value) = value else { return Ok((id.to_owned(), None)) };
    let request: Request =
        serde_json::from_slice(value).map_err(|error| wrong("cannot be read").caused_by(error))?;
    if request.id != id {
        return Err(wrong("bears another id"));
    }
    if let Some(why) = refused(&request.command) {
        return Err(wrong(why));
    }
    Ok((id.to_owned(), Some(request)))
}

/// A request that was written, and where its answer will stand.
pub struct Asked {
    reader: Reader,
    topic: String,
    pipeline: String,
    clock: Arc<dyn Clock>,
    id: String,
    next: i64,
}

/// Writes `request` to `pipeline`. Waits for the cluster: belongs on a thread of its own.
///
/// # Errors
/// The cluster's; `TopicLost` where the pipeline never ran and topics are not to be made.
pub fn ask(
    kafka: &Kafka,
    pipeline: &str,
    request: &Request,
    clock: &Arc<dyn Clock>,
    runtime: Handle,
) -> Result<Asked> {
    let reader = kafka.reader(clock)?;
    let (requests, answers) = (request_topic(&kafka.prefix), checkpoint_topic(&kafka.prefix));
    let there = topics::partitions(&reader)?;
    if !there.contains_key(&requests) {
        if !kafka.topics.create {
            return Err(topics::missing(&requests));
        }
        Admin::new(kafka, clock, runtime)?.create_own(&requests, &kafka.topics)?;
        topics::shown(&reader, &requests, clock.as_ref())?;
    }
    // Before the request stands: its answer lies above.
    let next = if there.contains_key(&answers) { topics::bounds(&reader, &answers, 0)?.1 } else { 0 };
    write(kafka, clock, &requests, request)?;
    Ok(Asked {
        reader,
        topic: answers,
        pipeline: pipeline.to_owned(),
        clock: Arc::clone(clock),
        id: request.id.clone(),
        next,
    })
}

/// Hears whether the one record was written.
struct Hears {
    context: Context,
    outcome: std::sync::Mutex<Option<KafkaError>>,
}

impl ClientContext for Hears {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
        self.context.generate_oauth_token(config)
    }
}

impl ProducerContext for Hears {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut outcome = self.outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *outcome = Some(error.clone());
        }
    }
}

fn write(kafka: &Kafka, clock: &Arc<dyn Clock>, topic: &str, request: &Request) -> Result<()> {
    let mut client = kafka.client()?;
    client.set("enable.idempotence", "true").set("message.timeout.ms", ANSWER.as_millis().to_string());
    let hears = Hears { context: kafka.context(clock), outcome: std::sync::Mutex::default() };
    let producer: ThreadedProducer<Hears> =
        client.create_with_context(hears).map_err(|error| unmade(&error))?;
    let body = serde_json::to_vec(request)
        .map_err(|error| Error::new(ErrorKind::Bug, "a request cannot be written").caused_by(error))?;
    let record = BaseRecord::to(topic).key(&request.id).payload(&body).partition(0);
    let sent = producer.send(record).map_err(|(error, _)| error).and_then(|()| producer.flush(ANSWER * 2));
    let outcome = producer.context().outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match sent.err().or(outcome) {
        None => Ok(()),
        Some(error) => {
            Err(explained("the writing of a request", &error, producer.context().context.trouble())
                .at("topic", topic))
        }
    }
}

impl Asked {
    /// The answer, and the checkpoint that holds it; `None` while there is none. Waits for the cluster.
    ///
    /// # Errors
    /// The cluster's.
    pub fn answer(&mut self) -> Result<Option<(Answer, Checkpoint)>> {
        if !topics::partitions(&self.reader)?.contains_key(&self.topic) {
            return Ok(None);
        }
        let Asked { reader, topic, pipeline, clock, id, next } = self;
        let mut answered = None;
        // Every checkpoint is looked at: an answer stands in those only that were written until capture saw that the
        // request is gone.
        read_records(reader, topic, *next, clock.as_ref(), &mut |offset, key, value| {
            *next = offset.saturating_add(1);
            if let Entry::Checkpoint(captured) = Entry::read(key, value, pipeline)?
                && let Some(answer) = captured.checkpoint.requests.iter().find(|answer| answer.id == *id)
            {
                answered = Some((answer.clone(), captured.checkpoint.clone()));
            }
            Ok(())
        })?;
        Ok(answered)
    }
}

/// Requests that stand now.
///
/// # Errors
/// The cluster's.
pub fn standing(kafka: &Kafka, clock: &Arc<dyn Clock>) -> Result<Vec<Request>> {
    let mut standing = Standing::new(kafka, clock)?;
    match topics::partitions(&standing.reader)?.contains_key(&standing.topic) {
        true => standing.read(),
        false => Ok(Vec::new()),
    }
}
