//! Which checkpoint of the capturing side is gone to next.
//!
//! Counts in a checkpoint are cumulative, so any later one covers all before it, and those in between may be
//! passed over: here to bound memory, in the topic by compaction. What is kept: the newest, always, and
//! of the others so many that no step is longer than it has to be. A step takes as many checkpoints as fit
//! [`STEP`] events: small ones are put together, so that batches are large, and a large backlog is committed on
//! the way.

use std::collections::{BTreeMap, VecDeque};

use lakeward_core::KafkaPosition;

use crate::checkpoints::CaptureCheckpoint;

/// Events of one step, where checkpoints are close enough.
const STEP: u64 = 64 * 1024;
/// Checkpoints that wait, at most.
const KEPT: usize = 64;

/// How many events each topic partition has, by topic.
pub(crate) type Counts = BTreeMap<String, BTreeMap<i32, u64>>;

/// Checkpoints that were read and not reached, in order.
#[derive(Default)]
pub(super) struct Targets {
    waiting: VecDeque<CaptureCheckpoint>,
    /// The number of the newest one seen.
    newest: u64,
}

impl Targets {
    /// Takes up the next one of the topic. One that is not newer than those before is a copy.
    pub(super) fn push(&mut self, checkpoint: CaptureCheckpoint) {
        if checkpoint.number <= self.newest {
            return;
        }
        self.newest = checkpoint.number;
        if self.waiting.len() >= KEPT {
            // Every second one goes; what they cover is covered by those after them.
            let mut odd = false;
            self.waiting.retain(|_| {
                odd = !odd;
                odd
            });
        }
        self.waiting.push_back(checkpoint);
    }

    /// Takes back one that was gone to: topic partitions that came since must reach it, too.
    pub(super) fn take_back(&mut self, reached: CaptureCheckpoint) {
        self.waiting.push_front(reached);
    }

    /// The number of the newest one seen; 0 before the first.
    pub(super) fn newest_number(&self) -> u64 {
        self.newest
    }

    /// The next one to go to from `here`, whose topic partitions are all that is read; it is kept out of the
    /// list from then on, and so are all before it. `floor`: the greatest number that one of them has reached.
    pub(super) fn next(&mut self, here: &KafkaPosition, floor: u64) -> Option<CaptureCheckpoint> {
        let legal = |checkpoint: &CaptureCheckpoint| checkpoint.number >= floor;
        let mut chosen = None;
        for (place, checkpoint) in self.waiting.iter().enumerate().filter(|(_, one)| legal(one)) {
            let far = behind(here, &checkpoint.events) > STEP;
            if far && chosen.is_some() {
                break;
            }
            chosen = Some(place);
            if far {
                break;
            }
        }
        self.waiting.drain(..=chosen?).next_back()
    }
}

/// Events of the topic partitions of `here` that lie between it and `counts`, but for those that stand still.
fn behind(here: &KafkaPosition, counts: &Counts) -> u64 {
    let running = here.iter().filter(|(_, _, place)| place.stopped.is_none());
    running.map(|(topic, number, place)| count(counts, topic, number).saturating_sub(place.events)).sum()
}

/// Events of one topic partition.
pub(crate) fn count(counts: &Counts, topic: &str, number: i32) -> u64 {
    counts.get(topic).and_then(|numbers| numbers.get(&number)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lakeward_core::{Checkpoint, Position, TopicPartitionPosition};

    use super::*;

    fn captured(number: u64, events: u64) -> CaptureCheckpoint {
        let position = Position::Kafka(KafkaPosition::default());
        let checkpoint = Checkpoint {
            position,
            next_seq: 1,
            commit_us: None,
            retired: 0,
            prepared: Vec::new(),
            requests: Vec::new(),
            tables: Arc::default(),
        };
        let events = BTreeMap::from([("t".to_owned(), BTreeMap::from([(0, events), (1, 7)]))]);
        CaptureCheckpoint { format: 1, pipeline: "p".into(), number, checkpoint, events, modes: None }
    }

    fn here(events: u64) -> KafkaPosition {
        let place = TopicPartitionPosition { events, ..TopicPartitionPosition::default() };
        KafkaPosition { topics: BTreeMap::from([("t".to_owned(), BTreeMap::from([(0, place)]))]) }
    }

    fn step(targets: &mut Targets, events: u64, floor: u64) -> Option<u64> {
        targets.next(&here(events), floor).map(|checkpoint| checkpoint.number)
    }

    #[test]
    fn small_checkpoints_are_put_together_and_a_large_one_is_a_step_of_its_own() {
        let mut targets = Targets::default();
        for (number, events) in [(1, 10), (2, STEP), (3, STEP + 1), (4, 9 * STEP), (5, 9 * STEP)] {
            targets.push(captured(number, events));
        }
        assert_eq!(step(&mut targets, 0, 0), Some(2));
        assert_eq!(step(&mut targets, STEP, 2), Some(3));
        assert_eq!(step(&mut targets, STEP + 1, 3), Some(4));
        assert_eq!(step(&mut targets, 9 * STEP, 4), Some(5));
        assert_eq!(step(&mut targets, 9 * STEP, 5), None);
    }

    #[test]
    fn a_topic_partition_that_stands_still_makes_no_step_shorter() {
        let mut targets = Targets::default();
        (1..=5).for_each(|number| targets.push(captured(number, 9 * STEP + number)));
        let mut here = here(0);
        let stopped =
            TopicPartitionPosition { stopped: Some("why".into()), ..TopicPartitionPosition::default() };
        here.topics.insert("t".to_owned(), BTreeMap::from([(0, stopped)]));
        assert_eq!(targets.next(&here, 0).map(|checkpoint| checkpoint.number), Some(5));
    }

    #[test]
    fn none_is_gone_to_below_what_was_reached() {
        let mut targets = Targets::default();
        (1..=5).for_each(|number| targets.push(captured(number, number)));
        targets.push(captured(3, 3));
        assert_eq!(step(&mut targets, 0, 6), None);
        assert_eq!(step(&mut targets, 0, 2), Some(5));
        assert_eq!(targets.newest_number(), 5);
    }

    #[test]
    fn one_that_was_reached_is_gone_to_again_where_topic_partitions_came() {
        let mut targets = Targets::default();
        targets.push(captured(1, 10));
        let reached = targets.next(&here(0), 0).unwrap();
        assert_eq!(step(&mut targets, 10, 1), None);
        targets.take_back(reached);
        assert_eq!(step(&mut targets, 10, 1), Some(1));
    }

    #[test]
    fn the_newest_of_any_number_is_kept() {
        let mut targets = Targets::default();
        for number in 1..=10_000 {
            targets.push(captured(number, number * STEP));
            assert!(targets.waiting.len() <= KEPT);
        }
        assert_eq!(targets.waiting.back().map(|newest| newest.number), Some(10_000));
        assert_eq!(step(&mut targets, 0, 0), Some(1), "the first is kept, too");
    }
}
