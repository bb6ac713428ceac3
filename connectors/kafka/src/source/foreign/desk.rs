//! What every step of the reading uses: the way to the sink, the client, the signs to end.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::queue::Sender;
use lakeward_core::{ChangeBatch, Error, ErrorKind, Feed, Op, Result};
use rdkafka::consumer::Consumer;

use super::super::dead_letters::DeadLetters;
use super::super::desk::End;
use super::super::link::trouble;
use super::ForeignOptions;
use super::topics::{Found, find};
use crate::client::{Reader, explained};
use crate::topics::usable;

/// How long a question between two events may take.
const ANSWER: Duration = Duration::from_secs(5);
/// What an item that holds no rows counts in the queue.
const SMALL: usize = 1024;

/// What the steps share.
pub(super) struct Desk {
    pub(super) options: ForeignOptions,
    pub(super) sender: Sender<Result<Feed>>,
    /// The client of the lanes.
    pub(super) reader: Arc<Reader>,
    /// Where records go that cannot be read, if not nowhere.
    pub(super) dead_letters: Option<DeadLetters>,
}

impl Desk {
    /// Hands something on.
    pub(super) fn send(&self, feed: Feed) -> Result<(), End> {
        let bytes = match &feed {
            Feed::Batch(batch) => batch.bytes(),
            Feed::Schema(_) | Feed::Mark(_) | Feed::SchemaChange(_) | Feed::Boundary(_) | Feed::Keys(_) => {
                SMALL
            }
        };
        self.sender.send(Ok(feed), bytes)?;
        Ok(())
    }

    /// Counts the events of a batch.
    pub(super) fn count(&self, batch: &ChangeBatch) {
        for op in [Op::Create, Op::Update, Op::Delete, Op::Read, Op::Truncate] {
            let events = batch.meta.op.iter().filter(|one| **one == op).count();
            if events > 0 {
                self.options.stats.rows.add(&(batch.schema.table.clone(), op.letter()), events as u64);
            }
        }
    }

    /// The first offset of a topic partition, and the one after its last visible record.
    pub(super) fn bounds(&self, topic: &str, number: i32) -> Result<(i64, i64)> {
        self.reader.fetch_watermarks(topic, number, ANSWER).map_err(|error| {
            explained("a topic partition's offsets", &error, self.reader.context().trouble())
                .at("topic partition", format!("{topic}/{number}"))
        })
    }

    /// The topics that are read, as the cluster has them now.
    pub(super) fn topics(&self) -> Result<Found> {
        let metadata = self
            .reader
            .fetch_metadata(None, ANSWER)
            .map_err(|error| explained("the topics", &error, self.reader.context().trouble()))?;
        find(&usable(&metadata), &self.options.kafka.prefix, &self.options.tables)
    }

    /// Whether to go on: somebody listens, no error stands. Waits as long as `wait` for what the client says.
    pub(super) fn look(&self, wait: Duration) -> Result<(), End> {
        self.sender.check()?;
        let mut wait = wait;
        // Everything of the lanes comes through their own queues; here is what the client says beside.
        while let Some(said) = self.reader.poll(wait) {
            wait = Duration::ZERO;
            match said {
                Ok(_) => {
                    let message = "a record came beside its topic partition's queue";
                    return Err(Error::new(ErrorKind::Bug, message).into());
                }
                Err(error) => {
                    if let Some(stops) = trouble(&self.reader, &error) {
                        return Err(stops.into());
                    }
                    tracing::debug!(%error, "the Kafka client tells; it goes on by itself");
                    self.options.stats.connected.set(0);
                }
            }
        }
        Ok(())
    }
}
