//! One topic partition that is read: its own queue and its place.
//!
//! Guarantee: the records taken are the visible ones from the place on, each once, in order; and where the place is
//! set to an end of the topic partition, all visible records before it were taken.
//! Why: the queue gives every visible record after the offset it was begun at, once and in order. An end of the topic
//! partition is noted *before* fetching begins (at the start, or by a seek to the place); so when the client then says
//! that it is at the end, it is at that one or at a later one. Without this the place would stay before the markers of
//! transactions, and look overtaken once retention removes them.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Result, TopicPartitionPosition};
use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::super::link::trouble;
use super::super::partition_queue::{PartitionQueue, Record};
use super::places::MADE_ANEW;
use crate::client::{Reader, explained};
use crate::debezium;

/// How long the client may take to seek.
const SEEK: Duration = Duration::from_secs(5);

/// A topic partition that is read.
pub(super) struct Lane {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    queue: PartitionQueue,
    /// Before the next record that was not taken.
    pub(super) place: TopicPartitionPosition,
    pub(super) reader: debezium::Reader,
    head: Option<Record>,
    /// The last end that is known.
    pub(super) end: i64,
    /// What came since fetching began is before this end, until the client says that it is at one.
    noted: Option<i64>,
    /// When its end was asked for last.
    pub(super) asked: Duration,
    /// Records since then.
    since_asked: u64,
    /// It stood still at its place, and is tried again.
    pub(super) tried_again: bool,
    records: u64,
    bytes: u64,
}

impl Lane {
    /// A lane that goes on at `place`; fetching has not begun, and `end` is known.
    pub(super) fn new(
        (topic, number): (Arc<str>, i32),
        queue: PartitionQueue,
        place: TopicPartitionPosition,
        end: i64,
        reader: debezium::Reader,
    ) -> Lane {
        Lane {
            topic,
            number,
            queue,
            place,
            reader,
            head: None,
            end,
            noted: Some(end),
            asked: Duration::ZERO,
            since_asked: 0,
            tried_again: false,
            records: 0,
            bytes: 0,
        }
    }

    /// Whether anything is to be read of it.
    pub(super) fn is_running(&self) -> bool {
        self.place.stopped.is_none()
    }

    /// The offset of the next change event, waited for as long as `wait`; `None` if none came.
    pub(super) fn head(&mut self, wait: Duration, client: &Reader) -> Result<Option<i64>> {
        let mut wait = wait;
        while self.head.is_none() {
            let record = match self.queue.next(wait) {
                None => return Ok(None),
                Some(Ok(record)) => record,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    if let Some(end) = self.noted.take() {
                        self.place.offset = self.place.offset.max(end);
                        self.end = self.end.max(end);
                    }
                    wait = Duration::ZERO;
                    continue;
                }
                Some(Err(error)) => match trouble(client, &error) {
                    Some(stops) => {
                        return Err(stops.at("topic partition", self.name()).at("offset", self.place.offset));
                    }
                    None => return Ok(None),
                },
            };
            let offset = record.offset();
            if offset < self.place.offset {
                let text =
                    format!("a record at offset {offset} comes after {} was passed", self.place.offset);
                return Err(Error::new(ErrorKind::TopicLost, text)
                    .at("topic partition", self.name())
                    .remedy(MADE_ANEW));
            }
            self.records += 1;
            self.since_asked += 1;
            self.end = self.end.max(offset.saturating_add(1));
            match record.value() {
                // A tombstone: the next place is after it.
                None => self.place.offset = offset.saturating_add(1),
                Some(_) => {
                    self.bytes += record.len() as u64;
                    self.head = Some(record);
                }
            }
        }
        Ok(self.head.as_ref().map(Record::offset))
    }

    /// Takes the record at the head.
    pub(super) fn take(&mut self) -> Result<Record> {
        self.head.take().ok_or_else(|| Error::new(ErrorKind::Bug, "a record was taken that is not there"))
    }

    /// An event that was taken is passed.
    pub(super) fn pass(&mut self, offset: i64) {
        self.place.offset = offset.saturating_add(1);
        self.place.events = self.place.events.saturating_add(1);
    }

    /// An event that was taken is passed, but not for the sink.
    pub(super) fn put_aside(&mut self, offset: i64) {
        self.pass(offset);
        self.place.dead_letters = self.place.dead_letters.saturating_add(1);
    }

    /// It stands still at its place.
    pub(super) fn stop(&mut self, reason: &str) {
        self.head = None;
        self.place.stopped = Some(reason.to_owned());
    }

    /// It is known now where it begins and ends.
    pub(super) fn told(&mut self, (first, end): (i64, i64), client: &Reader) -> Result<()> {
        let idle = std::mem::take(&mut self.since_asked) == 0 && self.head.is_none() && self.is_running();
        self.end = end;
        if end < self.place.offset {
            let text = format!("the lake is at offset {}, and the topic ends at {end}", self.place.offset);
            return Err(Error::new(ErrorKind::TopicLost, text)
                .at("topic partition", self.name())
                .remedy(MADE_ANEW));
        }
        if idle && first <= self.place.offset && self.place.offset < end {
            // Nothing visible may lie before the end. Records that were fetched and not taken come again.
            self.noted = Some(end);
            self.queue.forget();
            let place = Offset::Offset(self.place.offset);
            client.seek(&self.topic, self.number, place, SEEK).map_err(|error| {
                explained("a place", &error, client.context().trouble()).at("topic partition", self.name())
            })?;
        }
        Ok(())
    }

    /// Offsets between its place and its end.
    pub(super) fn behind(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.place.offset)).unwrap_or(0)
    }

    /// Records and bytes since the last call.
    pub(super) fn received(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.records), std::mem::take(&mut self.bytes))
    }

    /// As errors name it.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.topic, self.number)
    }
}
