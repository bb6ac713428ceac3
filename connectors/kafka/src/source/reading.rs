//! The thread that reads: from one checkpoint of capture to the next, topic by topic.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Checkpoint, Feed, KafkaPosition, Position, Result, failpoint};
use tracing::info;

use super::Until;
use super::desk::Desk;
use super::growth::grown;
use super::lane::Lane;
use super::outlet::{End, Tally};
use super::targets::{Counts, Targets, count};
use super::topic::Topic;
use crate::checkpoints::CaptureCheckpoint;

/// The thread's whole state.
pub(super) struct Reading {
    pub(super) desk: Desk,
    pub(super) topics: Vec<Topic>,
    pub(super) targets: Targets,
    /// What the newest checkpoint counts.
    pub(super) counts: Counts,
    /// No boundary was sent yet, and the sink has none.
    pub(super) first: bool,
    /// The checkpoint that was gone to last.
    pub(super) reached: Option<CaptureCheckpoint>,
    /// The last boundary, and when it was sent.
    pub(super) last: Option<Checkpoint>,
    pub(super) said: Duration,
}

/// How long a new checkpoint is waited for between two looks.
const WAIT: Duration = Duration::from_millis(50);
/// A source that has nothing new says so this often, if the cluster answers.
const BEAT: Duration = Duration::from_secs(10);

impl Reading {
    /// Reads until the end; what ends it is the last thing sent.
    pub(super) fn run(mut self) {
        let outcome = self.read();
        self.desk.out.end(outcome);
    }

    fn read(&mut self) -> Result<(), End> {
        self.desk.options.stats.connected.set(1);
        if let Until::Again(places) = self.desk.options.until.clone() {
            return self.again(&places);
        }
        loop {
            self.desk.look()?;
            self.grow()?;
            if self.first && !self.topics.is_empty() {
                // What is committed from now on has a beginning that is known.
                self.boundary(&beginning())?;
            }
            let (here, floor) = (self.here(), self.floor());
            if let Some(target) = self.targets.next(&here, floor) {
                self.step(&target)?;
                self.reached = Some(target);
                continue;
            }
            self.tell();
            match self.desk.options.until {
                // Nothing was captured yet: that is an end, too.
                Until::CaughtUp if self.first => return self.boundary(&beginning()),
                Until::CaughtUp => return Ok(()),
                Until::Forever | Until::Again(_) => self.wait()?,
            }
        }
    }

    /// Takes up topics that are new. What the last checkpoint counts of them is due at once.
    fn grow(&mut self) -> Result<(), End> {
        let new = grown(&mut self.desk, &self.counts)?;
        if !new.is_empty() {
            info!(topics = new.len(), "topics are new, and read from now on");
            self.topics.extend(new);
            if let Some(reached) = self.reached.take() {
                self.targets.take_back(reached);
            }
        }
        Ok(())
    }

    /// Goes to a checkpoint and says so.
    fn step(&mut self, target: &CaptureCheckpoint) -> Result<(), End> {
        for lane in self.lanes() {
            if lane.place.stopped.is_none() {
                lane.go_to(count(&target.events, &lane.topic, lane.number))?;
            }
        }
        let next_seq = target.checkpoint.next_seq;
        self.bring(next_seq)?;
        let Reading { topics, desk, .. } = self;
        let lanes = topics.iter_mut().flat_map(|topic| &mut topic.lanes);
        for lane in lanes.filter(|lane| lane.place.stopped.is_none()) {
            lane.pass_tombstone(&desk.reader)?;
            lane.place.checkpoint = target.number;
            lane.place.commit_us = target.checkpoint.commit_us;
            lane.reached(next_seq);
        }
        for (table, state) in target.checkpoint.tables.iter() {
            self.desk.give(table, state.schema_version)?;
        }
        let stats = &self.desk.options.stats;
        if let Some(commit_us) = target.checkpoint.commit_us {
            stats.last_commit_us.set(commit_us);
        }
        // Whatever the client told meanwhile: what was due has come.
        stats.connected.set(1);
        self.boundary(&target.checkpoint)
    }

    fn bring(&mut self, next_seq: i64) -> Result<(), End> {
        for topic in &mut self.topics {
            topic.bring(next_seq, &mut self.desk)?;
        }
        Ok(())
    }

    /// Reads a range again, exactly to its end.
    fn again(&mut self, to: &KafkaPosition) -> Result<(), End> {
        for lane in self.lanes() {
            if let Some(place) = to.get(&lane.topic, lane.number) {
                lane.go_to(place.events)?;
            }
        }
        self.bring(i64::MAX)?;
        if let Some(dead_letters) = &mut self.desk.dead_letters {
            dead_letters.settle()?;
        }
        let end = Checkpoint { position: Position::Kafka(to.clone()), ..beginning() };
        for lane in self.lanes() {
            let place = to.get(&lane.topic, lane.number);
            if place.is_some_and(|place| {
                (place.events, place.dead_letters) != (lane.place.events, lane.place.dead_letters)
            }) {
                return Err(lane
                    .lost("a range that is read again has other records than before".to_owned())
                    .into());
            }
        }
        self.desk.out.send(Feed::Boundary(end))
    }

    fn boundary(&mut self, captured: &Checkpoint) -> Result<(), End> {
        if let Some(dead_letters) = &mut self.desk.dead_letters {
            dead_letters.settle()?;
        }
        failpoint::hit("kafka.load.boundary")?;
        let checkpoint = Checkpoint { position: Position::Kafka(self.here()), ..captured.clone() };
        self.first = false;
        self.last = Some(checkpoint.clone());
        self.said = self.desk.options.clock.elapsed();
        self.desk.out.send(Feed::Boundary(checkpoint))?;
        self.tell();
        Ok(())
    }

    /// Waits for a new checkpoint; says now and then that all is well.
    fn wait(&mut self) -> Result<(), End> {
        let mut wait = WAIT;
        while let Some(checkpoint) = self.desk.captured.poll(wait)? {
            wait = Duration::ZERO;
            self.take_up(checkpoint);
        }
        let clock = &self.desk.options.clock;
        if clock.elapsed().saturating_sub(self.said) > BEAT {
            self.said = clock.elapsed();
            let answers = self.desk.captured.answers();
            self.desk.options.stats.connected.set(i64::from(answers));
            if answers {
                self.beat()?;
            }
        }
        Ok(())
    }

    /// Says the last boundary again; where capture never ran, where reading began.
    fn beat(&mut self) -> Result<(), End> {
        match (self.last.clone(), self.desk.options.resume.checkpoint.clone()) {
            (Some(last), _) => Ok(self.desk.out.send(Feed::Boundary(last))?),
            (None, from) => self.boundary(&from.unwrap_or_else(beginning)),
        }
    }

    fn take_up(&mut self, checkpoint: CaptureCheckpoint) {
        let known = &self.counts;
        let new: Vec<String> =
            checkpoint.events.keys().filter(|topic| !known.contains_key(*topic)).cloned().collect();
        self.desk
            .options
            .kafka_stats
            .captured_checkpoint
            .set(i64::try_from(checkpoint.number).unwrap_or(i64::MAX));
        self.counts.clone_from(&checkpoint.events);
        self.targets.push(checkpoint);
        if !new.is_empty() {
            // The group must give them out, to whomever.
            self.desk.options.membership.want_more(new);
        }
    }

    fn lanes(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.topics.iter_mut().flat_map(|topic| topic.lanes.iter_mut())
    }

    /// Where every lane is.
    fn here(&self) -> KafkaPosition {
        let mut here = KafkaPosition::default();
        for lane in self.topics.iter().flat_map(|topic| &topic.lanes) {
            here.topics.entry(lane.topic.to_string()).or_default().insert(lane.number, lane.place.clone());
        }
        here
    }

    /// No checkpoint below the one that some lane has reached can be gone to.
    fn floor(&self) -> u64 {
        let lanes = self.topics.iter().flat_map(|topic| &topic.lanes);
        lanes.map(|lane| lane.place.checkpoint).max().unwrap_or(0)
    }

    /// Tells how far each lane is.
    fn tell(&mut self) {
        let mut tally = Tally::default();
        let counts = std::mem::take(&mut self.counts);
        for lane in self.lanes() {
            let behind = count(&counts, &lane.topic, lane.number).saturating_sub(lane.place.events);
            let received = lane.received();
            tally.add((&lane.topic, lane.number), &lane.place, behind, received);
        }
        self.counts = counts;
        let at_end = self.desk.out.tell(tally);
        let options = &self.desk.options;
        if at_end && options.stats.connected.get() == 1 {
            options.stats.caught_up_us.set(options.clock.unix_micros());
        }
    }
}

/// A checkpoint before all events.
fn beginning() -> Checkpoint {
    Checkpoint {
        position: Position::Kafka(KafkaPosition::default()),
        next_seq: FIRST_SEQ,
        commit_us: None,
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::default(),
    }
}

/// The number of a pipeline's first change event.
const FIRST_SEQ: i64 = 1;
