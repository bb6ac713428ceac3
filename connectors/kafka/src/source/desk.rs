//! What every step of the reading uses: the way to the sink, the signs to end, versions and decoders.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::queue::{Closed, Sender};
use lakeward_core::{Error, ErrorKind, Feed, KafkaPosition, Op, Result, TableId};
use rdkafka::consumer::Consumer;

use super::captured::Captured;
use super::dead_letters::DeadLetters;
use super::lane::Lane;
use super::link::trouble;
use super::versions::Versions;
use super::{KafkaOptions, Until};
use crate::client::{Reader, explained};
use crate::format::Decoder;
use crate::group::Assignment;

/// Why the reading ends.
pub(super) enum End {
    /// Nobody listens any more.
    Closed,
    /// An error; the last thing that is said.
    Failed(Error),
}

impl From<Closed> for End {
    fn from(_: Closed) -> End {
        End::Closed
    }
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Failed(error)
    }
}

/// What the steps share.
pub(super) struct Desk {
    pub(super) options: KafkaOptions,
    pub(super) sender: Sender<Result<Feed>>,
    pub(super) captured: Captured,
    pub(super) decoder: Decoder,
    pub(super) versions: Versions,
    /// The client of the lanes.
    pub(super) reader: Arc<Reader>,
    /// Where records go that cannot be read, if not nowhere.
    pub(super) dead_letters: Option<DeadLetters>,
    /// What is read, and the generation of the group's word for it.
    pub(super) assignment: Assignment,
    /// Where the lake was when the source opened.
    pub(super) known: KafkaPosition,
    /// For how many topic partitions `reader` is made.
    pub(super) room: usize,
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

    /// Hands on the versions that must be known before version `number` of `table` is used.
    pub(super) fn give(&mut self, table: &TableId, number: u32) -> Result<(), End> {
        for schema in self.versions.due(&self.captured, table, number)? {
            self.send(Feed::Schema(schema))?;
        }
        Ok(())
    }

    /// Counts events of a table.
    pub(super) fn count(&self, table: &TableId, ops: &[Op]) {
        for op in [Op::Create, Op::Update, Op::Delete, Op::Read, Op::Truncate] {
            let events = ops.iter().filter(|one| **one == op).count();
            if events > 0 {
                self.options.stats.rows.add(&(table.clone(), op.letter()), events as u64);
            }
        }
    }

    /// The first offset of a lane's topic partition, and the one after its last visible record. Whoever stops the
    /// source waits for the answer, so it has seconds.
    pub(super) fn bounds(&self, lane: &Lane) -> Result<(i64, i64)> {
        let asked = self.reader.fetch_watermarks(&lane.topic, lane.number, ANSWER);
        asked.map_err(|error| {
            explained("a topic partition's offsets", &error, self.reader.context().trouble())
                .at("topic partition", lane.name())
        })
    }

    /// Whether to go on: somebody listens, the topic partitions are still ours, no error stands.
    pub(super) fn look(&self) -> Result<(), End> {
        self.sender.check()?;
        if let Some(now) = self.regrouped()
            && !now.ours.is_superset(&self.assignment.ours)
        {
            return Err(self.rebalanced().into());
        }
        // Everything of the lanes comes through their own queues; here is what the client says beside.
        while let Some(said) = self.reader.poll(Duration::ZERO) {
            match said {
                Ok(_) => {
                    return Err(Error::new(
                        ErrorKind::Bug,
                        "a record came beside its topic partition's queue",
                    )
                    .into());
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

impl Desk {
    /// What is ours by now, where the group has changed that since it was last taken up.
    pub(super) fn regrouped(&self) -> Option<Assignment> {
        let membership = &self.options.membership;
        match self.options.until {
            Until::Again(_) => None,
            Until::Forever | Until::CaughtUp => {
                (membership.generation() != self.assignment.generation).then(|| membership.assignment())
            }
        }
    }

    /// Our topic partitions are others than those that are read: both ends are to be opened anew.
    pub(super) fn rebalanced(&self) -> Error {
        self.options.kafka_stats.rebalances.add(1);
        Error::new(ErrorKind::Rebalanced, "the topic partitions of this worker have changed")
    }
}

/// How long a question between two events may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What an item that holds no rows counts in the queue.
const SMALL: usize = 1024;
