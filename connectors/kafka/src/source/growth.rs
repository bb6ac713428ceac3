//! Topics that come while others are read: taken up between two steps, with nothing opened anew.
//!
//! Guarantee: a topic partition that is added here begins at its first event, and no event of its table was handed on
//! before it by this source.
//! Why: only those of topics are added of which neither the lake had a place when the source opened, nor this source
//! reads anything. So their table's numbers begin with them, however far the others are; and the checkpoint that was
//! reached last is gone to again, for them alone. Everything else that the group changes (a share that is taken
//! away, or one that others read before) ends the source, since only the lake can say where that is by now. Whether
//! another worker has brought events of the new topic meanwhile, the commit log notices, as for any stale share.
//!
//! Memory: the client fetches ahead for each topic partition. The reader is made for more of them than there are
//! ([`room`]); once they are as many, the source is opened anew, with less for each.

use lakeward_core::{ErrorKind, KafkaPosition, Result};

use super::desk::Desk;
use super::opening::lanes;
use super::outlet::End;
use super::targets::Counts;
use super::topic::Topic;
use crate::group::{Assignment, TopicPartitions};

/// Topic partitions that a reader is made for, at least.
const ROOM: usize = 24;

/// For how many topic partitions a reader is made that begins with `ours` of them.
pub(super) fn room(ours: usize) -> usize {
    ours.saturating_mul(2).max(ROOM)
}

/// The topics to add, if the group has given out new ones.
pub(super) fn grown(desk: &mut Desk, counts: &Counts) -> Result<Vec<Topic>, End> {
    let Some(now) = desk.regrouped() else { return Ok(Vec::new()) };
    let Some(new) = added(&desk.assignment.ours, &now, &desk.known, desk.room) else {
        return Err(desk.rebalanced().into());
    };
    match lanes(&desk.reader, &new, &KafkaPosition::default(), counts) {
        Ok(topics) => {
            desk.assignment = now;
            Ok(topics)
        }
        // Others may have brought what is gone from there; where the lake is by now, the next opening asks.
        Err(error) if matches!(error.kind(), ErrorKind::PositionLost | ErrorKind::TopicLost) => {
            Err(desk.rebalanced().into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What is ours beyond `before`; `None` if it cannot be added to that.
fn added(
    before: &TopicPartitions,
    now: &Assignment,
    known: &KafkaPosition,
    room: usize,
) -> Option<TopicPartitions> {
    let is_read = |topic: &str| before.iter().any(|(read, _)| read == topic);
    let is_new = |topic: &str| !known.topics.contains_key(topic) && !is_read(topic);
    let new: TopicPartitions = now.ours.difference(before).cloned().collect();
    let fits = now.ours.is_superset(before) && now.ours.len() <= room;
    (fits && new.iter().all(|(topic, _)| is_new(topic))).then_some(new)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lakeward_core::TopicPartitionPosition;

    use super::*;

    fn of(list: &[(&str, i32)]) -> TopicPartitions {
        list.iter().map(|(topic, number)| ((*topic).to_owned(), *number)).collect()
    }

    fn added_to_a(now: &[(&str, i32)], room: usize) -> Option<TopicPartitions> {
        let place = BTreeMap::from([(0, TopicPartitionPosition::default())]);
        let known = KafkaPosition { topics: BTreeMap::from([("others".to_owned(), place)]) };
        let now = Assignment { generation: 2, ours: of(now) };
        added(&of(&[("a", 0)]), &now, &known, room)
    }

    #[test]
    fn topics_that_nobody_read_are_added_and_nothing_else_is() {
        assert_eq!(added_to_a(&[("a", 0)], 24), Some(of(&[])));
        assert_eq!(added_to_a(&[("a", 0), ("b", 0), ("b", 2)], 24), Some(of(&[("b", 0), ("b", 2)])));
        for now in [&[("b", 0)][..], &[("a", 0), ("a", 1)], &[("a", 0), ("others", 1)]] {
            assert_eq!(added_to_a(now, 24), None, "{now:?}");
        }
        assert_eq!(added_to_a(&[("a", 0), ("b", 0), ("b", 1)], 2), None, "memory is shared out for two");
    }
}
