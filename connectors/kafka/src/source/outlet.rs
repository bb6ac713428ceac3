//! The way out of a reading, of capture's topics or of others': what it hands on, what it tells of itself, and how
//! it ends.
//!
//! Every event that is handed on is counted here, and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::queue::{Closed, Sender};
use lakeward_core::stats::{KafkaSourceStats, Lag, SourceStats};
use lakeward_core::{Error, ErrorKind, Feed, Op, Result, TableId, TopicPartitionPosition};

use super::link::trouble;
use crate::client::Reader;

/// What an item that holds no rows counts in the queue.
const SMALL: usize = 1024;

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

/// See the module.
pub(super) struct Outlet {
    sender: Sender<Result<Feed>>,
    stats: Arc<SourceStats>,
    kafka_stats: Arc<KafkaSourceStats>,
}

impl Outlet {
    pub(super) fn new(
        sender: Sender<Result<Feed>>,
        stats: &Arc<SourceStats>,
        kafka_stats: &Arc<KafkaSourceStats>,
    ) -> Outlet {
        Outlet { sender, stats: Arc::clone(stats), kafka_stats: Arc::clone(kafka_stats) }
    }

    /// Hands something on.
    pub(super) fn send(&self, feed: Feed) -> Result<(), End> {
        let bytes = match &feed {
            Feed::Batch(batch) => {
                self.count(&batch.schema.table, &batch.meta.op);
                batch.bytes()
            }
            Feed::Mark(mark) => {
                self.count(mark.table(), &[Op::Truncate]);
                SMALL
            }
            Feed::Schema(_) | Feed::SchemaChange(_) | Feed::Boundary(_) | Feed::Keys(_) => SMALL,
        };
        self.sender.send(Ok(feed), bytes)?;
        Ok(())
    }

    fn count(&self, table: &TableId, ops: &[Op]) {
        for op in [Op::Create, Op::Update, Op::Delete, Op::Read, Op::Truncate] {
            let events = ops.iter().filter(|one| **one == op).count();
            if events > 0 {
                self.stats.rows.add(&(table.clone(), op.letter()), events as u64);
            }
        }
    }

    /// Whether to go on: somebody listens, and the client says nothing that ends the reading. Waits as long as `wait`
    /// for what the client says.
    pub(super) fn look(&self, reader: &Reader, mut wait: Duration) -> Result<(), End> {
        self.sender.check()?;
        // Everything of the lanes comes through their own queues; here is what the client says beside.
        while let Some(said) = reader.poll(wait) {
            wait = Duration::ZERO;
            match said {
                Ok(_) => {
                    let message = "a record came beside its topic partition's queue";
                    return Err(Error::new(ErrorKind::Bug, message).into());
                }
                Err(error) => {
                    if let Some(stops) = trouble(reader, &error) {
                        return Err(stops.into());
                    }
                    tracing::debug!(%error, "the Kafka client tells; it goes on by itself");
                    self.stats.connected.set(0);
                }
            }
        }
        Ok(())
    }

    /// Tells how far the lanes are; whether at the end of all.
    pub(super) fn tell(&self, tally: Tally) -> bool {
        let Tally { lags, records, bytes, behind } = tally;
        self.kafka_stats.records.add(records);
        self.kafka_stats.bytes.add(bytes);
        self.stats.events.add(records);
        self.stats.bytes.add(bytes);
        self.kafka_stats.lags.set(lags);
        behind == 0
    }

    /// The reading has ended; what ended it is the last thing sent.
    pub(super) fn end(&self, outcome: Result<(), End>) {
        match outcome {
            Ok(()) | Err(End::Closed) => {}
            Err(End::Failed(error)) => {
                // Nobody may listen any more.
                let _sent = self.sender.send(Err(error), 0);
            }
        }
        self.stats.connected.set(0);
    }
}

/// How far lanes are, and what they received since that was told last.
#[derive(Default)]
pub(super) struct Tally {
    lags: BTreeMap<(String, i32), Lag>,
    records: u64,
    bytes: u64,
    behind: u64,
}

impl Tally {
    /// Adds a lane: its topic partition, its place, the events it is behind, and the records and bytes received.
    pub(super) fn add(
        &mut self,
        (topic, number): (&str, i32),
        place: &TopicPartitionPosition,
        behind: u64,
        (records, bytes): (u64, u64),
    ) {
        self.behind += behind;
        self.records += records;
        self.bytes += bytes;
        let lag = Lag {
            events: behind,
            offset: place.offset,
            dead_letters: place.dead_letters,
            stopped: place.stopped.clone(),
        };
        self.lags.insert((topic.to_owned(), number), lag);
    }
}
