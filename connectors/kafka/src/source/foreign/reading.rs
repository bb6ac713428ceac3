//! The thread that reads: what has arrived, topic by topic, then a boundary.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{
    Checkpoint, Error, ErrorKind, Feed, KafkaPosition, Position, Result, SnapshotState, TableState,
    TableStatus, failpoint,
};

use super::super::Until;
use super::super::link::BRIEF;
use super::super::outlet::{End, Tally};
use super::desk::Desk;
use super::lane::Lane;
use super::opening::{self, Opening};
use super::topic::Topic;
use super::topics::Found;
use super::{STEP, numbers};
use crate::topics::bounds_within;

/// The thread's whole state.
pub(in crate::source) struct Reading {
    pub(super) desk: Desk,
    pub(super) topics: Vec<Topic>,
    /// The last boundary: places of topics that are not read any more stay in it.
    pub(super) at: Checkpoint,
    /// Whether the sink has none yet.
    pub(super) first: bool,
    /// The topic that the next step begins with.
    pub(super) turn: usize,
    /// When a boundary was sent, and the cluster asked for its topics.
    pub(super) said: Duration,
    pub(super) asked: Duration,
    /// Since when topics are not there that were.
    pub(super) missing: BTreeMap<String, u32>,
}

/// How long something is waited for where nothing has arrived.
const WAIT: Duration = Duration::from_millis(50);
/// The cluster is asked this often for its topics, and where they end.
const BEAT: Duration = Duration::from_secs(10);
/// Ends that are asked for between two steps, at most.
const ENDS: usize = 8;
/// A topic that so many answers in a row do not name is gone: brokers learn one after the other.
const LOOKS: u32 = 3;

impl Reading {
    /// Reads until the end; what ends it is the last thing sent.
    pub(in crate::source) fn run(mut self) {
        let outcome = self.read();
        self.desk.out.end(outcome);
    }

    fn read(&mut self) -> Result<(), End> {
        self.desk.options.stats.connected.set(1);
        if let Until::Again(places) = self.desk.options.until.clone() {
            return self.again(&places);
        }
        if self.first {
            // What is committed from now on has a beginning that is known.
            self.boundary()?;
        }
        let goals = self.goals();
        loop {
            self.desk.look(Duration::ZERO)?;
            let moved = self.step()?;
            if moved {
                self.boundary()?;
            }
            if self.desk.options.until == Until::CaughtUp && self.has_reached(&goals) {
                self.tell();
                return Ok(());
            }
            self.ask()?;
            if !moved {
                self.tell();
                self.desk.look(WAIT)?;
            }
        }
    }

    /// Takes what has arrived; whether a place has moved.
    fn step(&mut self) -> Result<bool, End> {
        let count = self.topics.len();
        let mut room = STEP;
        for turn in 0..count {
            let at = (self.turn + turn) % count;
            if let Some(topic) = self.topics.get_mut(at) {
                topic.bring(&mut room, &mut self.desk)?;
            }
            if room == 0 {
                // Where it was not read to its end the others come first.
                self.turn = at + 1;
                break;
            }
        }
        Ok(self.lanes().any(|lane| self.place(lane) != Some(&lane.place)))
    }

    /// Where each lane ended when the source was opened.
    fn goals(&self) -> BTreeMap<(Arc<str>, i32), i64> {
        self.lanes().map(|lane| ((Arc::clone(&lane.topic), lane.number), lane.end)).collect()
    }

    fn has_reached(&self, goals: &BTreeMap<(Arc<str>, i32), i64>) -> bool {
        self.lanes().filter(|lane| lane.is_running()).all(|lane| {
            goals.get(&(Arc::clone(&lane.topic), lane.number)).is_none_or(|goal| lane.place.offset >= *goal)
        })
    }

    /// Reads a range again, exactly to its end.
    fn again(&mut self, to: &KafkaPosition) -> Result<(), End> {
        let waits = self.desk.options.clock.elapsed();
        for at in 0..self.topics.len() {
            let lanes = self.topics.get(at).map_or(0, |topic| topic.lanes.len());
            for index in 0..lanes {
                self.lane_again(at, index, to, waits)?;
            }
        }
        if let Some(dead_letters) = &mut self.desk.dead_letters {
            dead_letters.settle()?;
        }
        let end = Checkpoint { position: Position::Kafka(to.clone()), ..self.at.clone() };
        self.desk.out.send(Feed::Boundary(end))
    }

    fn lane_again(
        &mut self,
        at: usize,
        index: usize,
        to: &KafkaPosition,
        since: Duration,
    ) -> Result<(), End> {
        let mut heard = since;
        loop {
            let Some(topic) = self.topics.get_mut(at) else { return Ok(()) };
            let Some(lane) = topic.lanes.get(index) else { return Ok(()) };
            let Some(goal) = to.get(&lane.topic, lane.number) else { return Ok(()) };
            let before = lane.place.offset;
            let mut room = usize::MAX;
            topic.bring_lane(index, goal.offset, &mut room, &mut self.desk)?;
            let Some(lane) = topic.lanes.get_mut(index) else { return Ok(()) };
            let beyond = lane.is_running()
                && lane.head(Duration::ZERO, &self.desk.reader)?.is_some_and(|offset| offset >= goal.offset);
            if !lane.is_running() || lane.place.offset >= goal.offset || beyond {
                let counts = (lane.place.events, lane.place.dead_letters);
                if counts == (goal.events, goal.dead_letters) {
                    return Ok(());
                }
                let message = "a range that is read again has other records than before";
                return Err(Error::new(ErrorKind::TopicLost, message)
                    .at("topic partition", lane.name())
                    .at("offset", lane.place.offset)
                    .into());
            }
            let now = self.desk.options.clock.elapsed();
            if lane.place.offset > before {
                heard = now;
            }
            if now.saturating_sub(heard) > PATIENCE {
                let message = "records that are read again do not come";
                return Err(Error::new(ErrorKind::KafkaUnreachable, message)
                    .at("topic partition", lane.name())
                    .into());
            }
            self.desk.look(WAIT)?;
        }
    }

    fn boundary(&mut self) -> Result<(), End> {
        if let Some(dead_letters) = &mut self.desk.dead_letters {
            dead_letters.settle()?;
        }
        failpoint::hit("kafka.load.boundary")?;
        self.note();
        self.said = self.desk.options.clock.elapsed();
        self.desk.out.send(Feed::Boundary(self.at.clone()))?;
        self.tell();
        Ok(())
    }

    /// Brings the checkpoint to where the lanes are.
    fn note(&mut self) {
        let Position::Kafka(position) = &mut self.at.position else { return };
        for lane in self.topics.iter().flat_map(|topic| &topic.lanes) {
            let place = lane.place.clone();
            self.at.next_seq = self.at.next_seq.max(numbers::above(place.offset));
            position.topics.entry(lane.topic.to_string()).or_default().insert(lane.number, place);
        }
        for topic in &self.topics {
            let (Some(table), Some(version)) = (topic.versions.table(), topic.newest_given()) else {
                continue;
            };
            if self.at.tables.get(table).is_none_or(|state| state.schema_version != version) {
                Arc::make_mut(&mut self.at.tables).insert(table.clone(), active(version));
            }
        }
        let last = self.desk.options.stats.last_commit_us.get();
        self.at.commit_us = self.at.commit_us.max((last > 0).then_some(last));
    }

    /// Asks, now and then, which topics there are and where they end; says that all is well.
    fn ask(&mut self) -> Result<(), End> {
        let now = self.desk.options.clock.elapsed();
        if now.saturating_sub(self.asked) > BEAT {
            self.asked = now;
            match self.desk.topics() {
                Ok(found) => {
                    self.desk.options.stats.connected.set(1);
                    self.take_up(found)?;
                    if now.saturating_sub(self.said) > BEAT {
                        self.boundary()?;
                    }
                }
                Err(error) => self.unanswered(error)?,
            }
        }
        self.ask_ends(now)
    }

    fn ask_ends(&mut self, now: Duration) -> Result<(), End> {
        let mut left = ENDS;
        for lane in self.topics.iter_mut().flat_map(|topic| &mut topic.lanes) {
            if left == 0 || now.saturating_sub(lane.asked) <= BEAT {
                continue;
            }
            left -= 1;
            lane.asked = now;
            match bounds_within(&self.desk.reader, &lane.topic, lane.number, BRIEF) {
                Ok(bounds) => lane.told(bounds, &self.desk.reader)?,
                // What does not answer now is asked again.
                Err(error) if error.policy() == Policy::Retry => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn unanswered(&self, error: Error) -> Result<(), End> {
        if error.policy() != Policy::Retry {
            return Err(error.into());
        }
        self.desk.options.stats.connected.set(0);
        Ok(())
    }

    /// Takes up topics that are new; notices those that are gone, or were given more topic partitions.
    fn take_up(&mut self, found: Found) -> Result<(), End> {
        for topic in &self.topics {
            let name = topic.name.to_string();
            match found.get(&name) {
                Some(count) => {
                    self.missing.remove(&name);
                    if *count != i32::try_from(topic.lanes.len()).unwrap_or(i32::MAX) {
                        opening::refuse_fewer(&name, topic.lanes.len(), *count)?;
                        if !opening::is_halted(topic) {
                            // What becomes of it is judged where the source is opened.
                            let message = "a topic was given more topic partitions";
                            return Err(Error::new(ErrorKind::Rebalanced, message).at("topic", name).into());
                        }
                    }
                }
                None => {
                    let looks = self.missing.entry(name.clone()).or_insert(0);
                    *looks += 1;
                    if *looks >= LOOKS {
                        return Err(opening::gone(&name).into());
                    }
                }
            }
        }
        let known: Vec<Arc<str>> = self.topics.iter().map(|topic| Arc::clone(&topic.name)).collect();
        let new: Found =
            found.into_iter().filter(|(name, _)| !known.iter().any(|one| **one == **name)).collect();
        if self.desk.options.until == Until::Forever && !new.is_empty() {
            let Position::Kafka(known) = &self.at.position else { return Ok(()) };
            let more =
                Opening { options: &self.desk.options, reader: &self.desk.reader, known }.topics(&new)?;
            tracing::info!(topics = more.len(), "new topics are read");
            self.topics.extend(more);
            self.boundary()?;
        }
        Ok(())
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.topics.iter().flat_map(|topic| &topic.lanes)
    }

    /// Its place at the last boundary.
    fn place(&self, lane: &Lane) -> Option<&lakeward_core::TopicPartitionPosition> {
        match &self.at.position {
            Position::Kafka(position) => position.get(&lane.topic, lane.number),
            _ => None,
        }
    }

    /// Tells how far each lane is.
    fn tell(&mut self) {
        let mut tally = Tally::default();
        for lane in self.topics.iter_mut().flat_map(|topic| &mut topic.lanes) {
            let received = lane.received();
            tally.add((&lane.topic, lane.number), &lane.place, lane.behind(), received);
        }
        let at_end = self.desk.out.tell(tally);
        let options = &self.desk.options;
        if at_end && options.stats.connected.get() == 1 {
            options.stats.caught_up_us.set(options.clock.unix_micros());
        }
    }
}

/// How long records that were there may take to come again.
const PATIENCE: Duration = Duration::from_mins(2);

/// A table whose events are loaded: nobody tells whether its earlier rows are among them.
fn active(schema_version: u32) -> TableState {
    TableState {
        schema_version,
        status: TableStatus::Active,
        snapshot: SnapshotState::NotAsked,
        deleted_by_key: false,
        dropped: false,
    }
}
