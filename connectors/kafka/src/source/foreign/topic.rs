//! One topic, which is one table: its lanes, one after the other, and the versions that they share.
//!
//! A record that cannot be decoded stops its lane, where it does not go to the dead-letter topic; the other lanes go
//! on. A TRUNCATE among several lanes stops them all, and so does a topic that was given more topic partitions: then
//! nobody can tell which event is newer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Feed, Result, TableMark, TableSchema, failpoint};
use tracing::error;

use super::super::dead_letters::{Letter, Verdict, judge};
use super::super::gathering::{BYTES, ROWS};
use super::super::outlet::End;
use super::super::partition_queue::Record;
use super::desk::Desk;
use super::lane::Lane;
use super::numbers;
use crate::debezium::{Pushed, Versions};

/// Our lanes of one topic.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) lanes: Vec<Lane>,
    pub(super) versions: Versions,
    /// The newest version that the lake's checkpoint names: it and all before it are decided there.
    decided: u32,
    /// Versions that the sink was given in this run.
    given: BTreeSet<u32>,
    taken: u64,
}

/// A look at the world comes after so many records.
const LOOK_EVERY: u64 = 256;
/// How long the record at which a lane stood still is waited for, before the others of its topic are read.
const TRIED_AGAIN: Duration = Duration::from_secs(10);
/// What the other lanes of a topic say that stands still.
pub(super) const WITH_THE_TOPIC: &str = "it stands still with its topic: another topic partition says why";

impl Topic {
    /// A topic that goes on with these lanes, where the lake has decided the versions up to `decided`.
    pub(super) fn new(name: Arc<str>, mut lanes: Vec<Lane>, versions: Versions, decided: u32) -> Topic {
        // What stopped a whole topic is met before anything else of it is read.
        lanes.sort_by_key(|lane| (!lane.tried_again, lane.number));
        Topic { name, lanes, versions, decided, given: BTreeSet::new(), taken: 0 }
    }

    /// Whether its numbers ascend in each of its topic partitions alone.
    fn has_several(&self) -> bool {
        self.lanes.len() > 1
    }

    /// Takes what has arrived, as far as `room` goes.
    pub(super) fn bring(&mut self, room: &mut usize, desk: &mut Desk) -> Result<(), End> {
        for index in 0..self.lanes.len() {
            self.bring_lane(index, i64::MAX, room, desk)?;
        }
        Ok(())
    }

    /// Takes what has arrived of one lane before offset `end`.
    pub(super) fn bring_lane(
        &mut self,
        index: usize,
        end: i64,
        room: &mut usize,
        desk: &mut Desk,
    ) -> Result<(), End> {
        while *room > 0 {
            let lane = self.lane(index)?;
            if !lane.is_running() || lane.place.offset >= end {
                break;
            }
            let wait = if std::mem::take(&mut lane.tried_again) { TRIED_AGAIN } else { Duration::ZERO };
            match lane.head(wait, &desk.reader)? {
                Some(offset) if offset < end => self.take(index, desk)?,
                Some(_) | None => break,
            }
            *room -= 1;
        }
        self.flush(index, desk)
    }

    fn take(&mut self, index: usize, desk: &mut Desk) -> Result<(), End> {
        failpoint::hit("kafka.load.event")?;
        self.taken += 1;
        if self.taken.is_multiple_of(LOOK_EVERY) {
            desk.look(Duration::ZERO)?;
        }
        let record = self.lane(index)?.take()?;
        loop {
            match self.push(index, &record) {
                Ok(Pushed::Row) => break,
                Ok(Pushed::Turn) => self.flush(index, desk)?,
                Ok(Pushed::Mark(mark)) => return self.mark(index, record.offset(), mark, desk),
                Err(error) => return self.reject(index, &record, error, desk),
            }
        }
        let limit = usize::try_from(desk.options.memory.0 / 8).unwrap_or(usize::MAX).min(BYTES);
        let lane = self.lane(index)?;
        lane.pass(record.offset());
        match lane.reader.rows() >= ROWS || lane.reader.bytes() >= limit {
            true => self.flush(index, desk),
            false => Ok(()),
        }
    }

    fn push(&mut self, index: usize, record: &Record) -> Result<Pushed> {
        let lane = self.lanes.get_mut(index).ok_or_else(not_there)?;
        let seq = numbers::of(record.offset(), lane.number)?;
        lane.reader.push(record.key(), record.value().unwrap_or_default(), seq, &mut self.versions)
    }

    fn mark(&mut self, index: usize, offset: i64, mark: TableMark, desk: &mut Desk) -> Result<(), End> {
        if self.has_several() {
            return self.halt(index, offset, desk);
        }
        self.flush(index, desk)?;
        self.give(&mark.schema, desk)?;
        desk.out.send(Feed::Mark(mark))?;
        self.lane(index)?.pass(offset);
        Ok(())
    }

    /// A TRUNCATE whose place among the events of the other lanes nobody knows.
    fn halt(&mut self, index: usize, offset: i64, desk: &mut Desk) -> Result<(), End> {
        let reason = "a TRUNCATE in a topic with several topic partitions: which of their events come after it is not \
                      known";
        let remedy = "exclude the table, and load it by a new pipeline after a new snapshot by Debezium into a topic with \
                      one topic partition; or leave TRUNCATEs out there (Debezium's `skipped.operations`)";
        let told = Error::new(ErrorKind::UnreadableRecord, reason)
            .at("topic partition", self.lane(index)?.name())
            .at("offset", offset)
            .remedy(remedy);
        if desk.options.stop_all {
            return Err(told.into());
        }
        self.flush(index, desk)?;
        error!(kind = told.kind().name(), "a topic is stopped; the others go on: {told}");
        let lanes = self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_running());
        let reason = format!("{reason}; {remedy}");
        lanes.for_each(|(at, lane)| lane.stop(if at == index { &reason } else { WITH_THE_TOPIC }));
        Ok(())
    }

    /// Hands on what a lane has gathered.
    fn flush(&mut self, index: usize, desk: &mut Desk) -> Result<(), End> {
        let several = self.has_several();
        let lane = self.lane(index)?;
        let finished = lane.reader.finish().map_err(|error| error.at("topic partition", lane.name()))?;
        let Some(mut batch) = finished else { return Ok(()) };
        batch.meta.topic_partition = several.then_some(lane.number);
        self.give(&batch.schema, desk)?;
        if let Some(last) = batch.meta.origins.iter().map(|run| run.origin.commit_us).max() {
            let stats = &desk.options.stats.last_commit_us;
            stats.set(stats.get().max(last));
        }
        desk.out.send(Feed::Batch(batch))
    }

    /// Hands on the versions that must be known before `schema` is used, itself the last.
    fn give(&mut self, schema: &TableSchema, desk: &Desk) -> Result<(), End> {
        let number = schema.version;
        let above = if number <= self.decided { number.saturating_sub(1) } else { self.decided };
        for version in self.versions.known() {
            if (above < version.version && version.version <= number) && self.given.insert(version.version) {
                desk.out.send(Feed::Schema(Arc::clone(version)))?;
            }
        }
        Ok(())
    }

    /// The newest version that the sink has; `None`: none.
    pub(super) fn newest_given(&self) -> Option<u32> {
        self.given.last().copied().max(Some(self.decided)).filter(|version| *version > 0)
    }

    /// A record that cannot be decoded, whatever is tried: its lane stops there. What only fails now ends the source.
    fn reject(&mut self, index: usize, record: &Record, error: Error, desk: &mut Desk) -> Result<(), End> {
        match error.kind() {
            ErrorKind::UnreadableRecord | ErrorKind::RegistryRefused => {}
            // Of the source server, the registry or the config, not of the record.
            _ => return Err(error.into()),
        }
        let lane = self.lane(index)?;
        let letter = Letter { topic: &lane.topic, number: lane.number, record };
        match judge(desk.dead_letters.as_mut(), &letter, &error, desk.options.stop_all)? {
            Verdict::Aside => lane.put_aside(record.offset()),
            Verdict::Stops => lane.stop(error.message()),
        }
        Ok(())
    }

    fn lane(&mut self, index: usize) -> Result<&mut Lane> {
        self.lanes.get_mut(index).ok_or_else(not_there)
    }
}

fn not_there() -> Error {
    Error::new(ErrorKind::Bug, "a lane is not there")
}
