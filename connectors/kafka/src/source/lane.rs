//! One topic partition that is read: its own queue, its place, and the proof that nothing of it is missed.
//!
//! Guarantee: the events taken are the committed change events of the topic partition from the place on, each once, in
//! order, and of a checkpoint exactly those that it counts.
//! Why: the queue gives every visible record after the place once and in order (`read_committed`: those of aborted
//! transactions are not there). Events of a checkpoint have numbers below its next number, those after it do not; both
//! are looked at, so a count that is too high or too low is an error (the mark of a re-read has a number reserved
//! earlier and is counted alone).
//!
//! Memory: the client fetches ahead up to its limit for each topic partition and waits. Nothing is asked of a queue before
//! it is needed, so a topic partition that is far ahead of the others costs no more than that.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Result, TopicPartitionPosition};
use rdkafka::error::KafkaError;

use super::link::{BEGIN_ANEW, trouble};
use super::partition_queue::PartitionQueue;
use super::record::{Event, Told};
use crate::client::Reader;

/// A topic partition that is read.
pub(super) struct Lane {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    queue: PartitionQueue,
    /// Before the next event that was not taken.
    pub(super) place: TopicPartitionPosition,
    /// How many events the place has once the checkpoint that is gone to is reached.
    goal: u64,
    head: Option<Event>,
    /// The number of the last event taken, and the next number of the last checkpoint reached: what follows is not
    /// below either.
    floor: i64,
    records: u64,
    bytes: u64,
}

/// What was found at the head of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// An event is there; what its headers say.
    Is(Told),
    /// A record that nobody can say anything of.
    Unreadable,
    /// Nothing arrived in the time given.
    NotYet,
}

impl Lane {
    pub(super) fn new(
        topic: Arc<str>,
        number: i32,
        queue: PartitionQueue,
        place: TopicPartitionPosition,
    ) -> Lane {
        let goal = place.events;
        Lane { topic, number, queue, place, goal, head: None, floor: i64::MIN, records: 0, bytes: 0 }
    }

    /// Sets how many events there are at the checkpoint that is gone to.
    pub(super) fn go_to(&mut self, goal: u64) -> Result<()> {
        if goal < self.place.events {
            let message = format!("{goal} events are counted, and {} were read", self.place.events);
            return Err(self.lost(message));
        }
        self.goal = goal;
        Ok(())
    }

    /// Whether more of its events belong to that checkpoint.
    pub(super) fn is_wanted(&self) -> bool {
        self.place.stopped.is_none() && self.place.events < self.goal
    }

    /// The checkpoint is reached: every later event has this number or a greater one.
    pub(super) fn reached(&mut self, next_seq: i64) {
        self.floor = self.floor.max(next_seq);
    }

    /// Passes what follows the events due and is none, as far as it is there: the tombstone of the last one.
    pub(super) fn pass_tombstone(&mut self, reader: &Reader) -> Result<()> {
        self.head(Duration::ZERO, reader).map(drop)
    }

    /// What comes next, waited for as long as `wait`.
    pub(super) fn head(&mut self, wait: Duration, reader: &Reader) -> Result<Head> {
        let mut wait = wait;
        while self.head.is_none() {
            match self.queue.next(wait) {
                None => return Ok(Head::NotYet),
                Some(Ok(record)) => {
                    self.records += 1;
                    let (offset, bytes) = (record.offset(), record.len());
                    self.head = Event::of(record);
                    match self.head {
                        Some(_) => self.bytes += bytes as u64,
                        // The next place is after it, whoever asks.
                        None => self.place.offset = offset.saturating_add(1),
                    }
                }
                // More may come at once.
                Some(Err(KafkaError::PartitionEOF(_))) => wait = wait.min(LOOK),
                Some(Err(error)) => match trouble(reader, &error) {
                    Some(stops) => {
                        return Err(stops.at("topic partition", self.name()).at("offset", self.place.offset));
                    }
                    None => return Ok(Head::NotYet),
                },
            }
        }
        match &self.head {
            Some(Event { told: Ok(told), .. }) => Ok(Head::Is(*told)),
            Some(Event { told: Err(_), .. }) => Ok(Head::Unreadable),
            None => Ok(Head::NotYet),
        }
    }

    /// Takes the event at the head for the checkpoint whose next number is `next_seq`.
    pub(super) fn take(&mut self, next_seq: i64) -> Result<Event> {
        let event = self
            .head
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Bug, "an event was taken that is not there"))?;
        if let Ok(told) = &event.told {
            if told.seq >= next_seq {
                let message = format!(
                    "event {} follows, and {} events before {next_seq} are missing",
                    told.seq,
                    self.goal.saturating_sub(self.place.events)
                );
                return Err(self.lost(message));
            }
            if !told.is_reserved() {
                if told.seq < self.floor {
                    let message = format!("event {} comes after {} was reached", told.seq, self.floor);
                    return Err(self.lost(message));
                }
                self.floor = told.seq.saturating_add(1);
            }
        }
        Ok(event)
    }

    /// An event that was taken is passed.
    pub(super) fn pass(&mut self, offset: i64) {
        self.place.offset = offset.saturating_add(1);
        self.place.events = self.place.events.saturating_add(1);
    }

    /// A record that was taken is passed, and is no event that capture counts.
    pub(super) fn pass_stranger(&mut self, offset: i64) {
        self.place.offset = offset.saturating_add(1);
    }

    /// An event that was taken is passed, but not for the sink.
    pub(super) fn put_aside(&mut self, offset: i64) {
        self.pass(offset);
        self.place.dead_letters = self.place.dead_letters.saturating_add(1);
    }

    /// An event that was taken stays where it is, and so does the lane: at that record, past what is no event before it.
    pub(super) fn stop(&mut self, offset: i64, reason: &str) {
        self.place.offset = offset;
        self.place.stopped = Some(reason.to_owned());
    }

    /// Up to where the client has read it, as far as is known: nothing visible lies between the place and there.
    pub(super) fn read_to(&self) -> i64 {
        self.queue.end().unwrap_or(0).max(self.place.offset)
    }

    /// Records and bytes since the last call.
    pub(super) fn received(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.records), std::mem::take(&mut self.bytes))
    }

    /// As errors name it.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.topic, self.number)
    }

    /// Events that were counted are not there, or others are.
    pub(super) fn lost(&self, message: String) -> Error {
        Error::new(ErrorKind::TopicLost, message)
            .at("topic partition", self.name())
            .at("offset", self.place.offset)
            .remedy(format!("the topic was made anew, truncated, or written to by others: {BEGIN_ANEW}"))
    }
}

/// After the end of a topic partition: records that are on their way come at once.
const LOOK: Duration = Duration::from_millis(100);
