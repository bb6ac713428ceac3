//! The checkpoint topic as a reader follows it: capture's checkpoints in order, and every table version.
//!
//! Guarantee: a checkpoint is handed out after all table versions that it and the events before it name.
//! Why: they are written in one transaction with it, or in an earlier one, and are never removed; compaction keeps the
//! last record of each key at its place, in order. Of checkpoints, which all have one key, compaction may keep the last
//! alone: that one counts everything before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Clock, Error, ErrorKind, Result, TableId, TableSchema};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::link::{self, trouble};
use crate::checkpoints::{CaptureCheckpoint, Entry};
use crate::client::{ANSWER, Reader};
use crate::config::Kafka;
use crate::topics::{bounds, checkpoint_topic, data_topic, partitions};

/// Memory for records of it that are fetched ahead.
const AHEAD: u64 = 1024 * 1024;
/// How long a bounded run waits for transactions under way when it begins.
const UNDER_WAY: Duration = Duration::from_secs(15);

/// The topic, followed from its beginning.
pub(super) struct Captured {
    reader: Reader,
    topic: String,
    pipeline: String,
    /// Table versions by the topic of their table.
    versions: BTreeMap<String, BTreeMap<u32, Arc<TableSchema>>>,
    /// Gives the topic of a table.
    prefix: String,
    /// After the last record seen.
    next: i64,
    at_end: bool,
}

impl Captured {
    /// Begins to follow it. It may not exist yet.
    pub(super) fn open(
        kafka: &Kafka,
        clock: &Arc<dyn Clock>,
        group: &str,
        pipeline: &str,
    ) -> Result<Captured> {
        let reader = link::reader(kafka, clock, group, AHEAD)?;
        let mut captured = Captured {
            reader,
            topic: checkpoint_topic(&kafka.prefix),
            pipeline: pipeline.to_owned(),
            versions: BTreeMap::new(),
            prefix: kafka.prefix.clone(),
            next: 0,
            at_end: false,
        };
        captured.begin()?;
        Ok(captured)
    }

    /// Reads on from the last record seen. What the client told of its place before is void.
    fn begin(&mut self) -> Result<()> {
        let mut places = TopicPartitionList::new();
        let from = if self.next == 0 { Offset::Beginning } else { Offset::Offset(self.next) };
        self.at_end = false;
        places.add_partition_offset(&self.topic, 0, from).and_then(|()| self.reader.assign(&places)).map_err(
            |error| Error::new(ErrorKind::Bug, "the checkpoint topic cannot be read").caused_by(error),
        )
    }

    /// Its name.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The client that reads it.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> Result<bool> {
        Ok(partitions(&self.reader)?.contains_key(&self.topic))
    }

    /// Reads what is there, to its end. `all`: what is under way when this is called, too, if its end comes soon.
    pub(super) fn read_to_end(
        &mut self,
        all: Option<&Kafka>,
        clock: &Arc<dyn Clock>,
        take: &mut dyn FnMut(CaptureCheckpoint),
    ) -> Result<()> {
        let end = match all {
            Some(kafka) => uncommitted_end(kafka, clock, &self.topic)?,
            None => 0,
        };
        let begun = clock.elapsed();
        loop {
            // Asked before the reading begins anew, so that its end is not below this one.
            let visible_end = bounds(&self.reader, &self.topic, 0)?.1;
            self.begin()?;
            self.read_until(visible_end, clock, take)?;
            if visible_end >= end || clock.elapsed().saturating_sub(begun) > UNDER_WAY {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }

    /// To `end`, or where the client says that nothing more is there: under a live writer it may never say so.
    fn read_until(
        &mut self,
        end: i64,
        clock: &Arc<dyn Clock>,
        take: &mut dyn FnMut(CaptureCheckpoint),
    ) -> Result<()> {
        let mut heard = clock.elapsed();
        while !self.at_end && self.next < end {
            match self.poll(POLL)? {
                Some(checkpoint) => {
                    take(checkpoint);
                    heard = clock.elapsed();
                }
                None if clock.elapsed().saturating_sub(heard) > ANSWER => {
                    return Err(Error::new(
                        ErrorKind::KafkaUnreachable,
                        "the checkpoint topic cannot be read to its end",
                    )
                    .at("topic", &self.topic));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The next checkpoint; `None` if none came in the time given.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<Option<CaptureCheckpoint>> {
        let mut wait = wait;
        loop {
            let (key, value, offset) = match self.reader.poll(wait) {
                None => return Ok(None),
                Some(Ok(message)) => {
                    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                    (owned(message.key()), owned(message.payload()), message.offset())
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.at_end = true;
                    return Ok(None);
                }
                Some(Err(error)) => match trouble(&self.reader, &error) {
                    // Capture did not run yet, or is about to make it.
                    Some(gone) if gone.kind() == ErrorKind::TopicLost => return Ok(None),
                    Some(stops) => return Err(stops.at("topic", &self.topic)),
                    None => return Ok(None),
                },
            };
            wait = Duration::ZERO;
            self.next = offset.saturating_add(1);
            let taken = self.take(key.as_deref(), value.as_deref());
            if let Some(checkpoint) =
                taken.map_err(|error| error.at("topic", &self.topic).at("offset", offset))?
            {
                return Ok(Some(checkpoint));
            }
        }
    }

    fn take(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<CaptureCheckpoint>> {
        match Entry::read(key, value, &self.pipeline)? {
            Entry::Checkpoint(checkpoint) => Ok(Some(*checkpoint)),
            Entry::Schema(schema) => {
                let topic = data_topic(&self.prefix, &schema.table);
                self.versions.entry(topic).or_default().insert(schema.version, schema);
                Ok(None)
            }
            Entry::Writer(_) => Ok(None),
        }
    }

    /// A version of the table whose topic this is.
    pub(super) fn version(&self, topic: &str, version: u32) -> Option<&Arc<TableSchema>> {
        self.versions.get(topic)?.get(&version)
    }

    /// The versions of `table` in this range, in order.
    pub(super) fn versions_of(&self, table: &TableId, above: u32, to: u32) -> Vec<Arc<TableSchema>> {
        let versions = self.versions.get(&data_topic(&self.prefix, table));
        let range = above.saturating_add(1)..=to;
        versions
            .into_iter()
            .flat_map(|versions| versions.iter())
            .filter(|(n, _)| range.contains(n))
            .map(|(_, v)| Arc::clone(v))
            .collect()
    }

    /// Whether the cluster answers.
    pub(super) fn answers(&self) -> bool {
        match self.next {
            // Before capture ran the topic may not be there.
            0 => self.reader.fetch_metadata(None, HEARTBEAT).is_ok(),
            _ => self.reader.fetch_watermarks(&self.topic, 0, HEARTBEAT).is_ok(),
        }
    }
}

/// How long a single look for records waits.
const POLL: Duration = Duration::from_millis(100);
/// How long the sign of life of the cluster may take.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Where the topic ends, records of open transactions among them.
fn uncommitted_end(kafka: &Kafka, clock: &Arc<dyn Clock>, topic: &str) -> Result<i64> {
    let mut client = kafka.client()?;
    client.set("isolation.level", "read_uncommitted");
    let reader = kafka.made(&client, clock)?;
    Ok(bounds(&reader, topic, 0)?.1)
}
