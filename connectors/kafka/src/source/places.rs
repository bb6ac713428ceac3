//! Where reading begins: the place that the lake has of each topic partition, if it is still there.
//!
//! Guarantee: no event between the lake's place and the first one read is passed over.
//! Why: reading begins at the lake's offset exactly. Where the topic begins after it (retention has overtaken the
//! lake), the newest checkpoint tells whether an event was in between: its counts cover every event that is committed,
//! and what was deleted was committed before the topic's beginning was asked for. If there are events to come, and the
//! topic begins just one offset later, what lay there was no event: the lake's place is after the last one of a Kafka
//! transaction (and its tombstone, `lane`), whose marker follows. Were it one all the same, the lane would count one too
//! few, and say so. Where the topic ends before the place, it is another topic of the same name.

use std::collections::BTreeSet;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, KafkaPosition, Result, TopicPartitionPosition};

use super::link::{BEGIN_ANEW, OVERTAKEN};
use super::targets::{Counts, count};
use crate::client::Reader;
use crate::topics::{bounds, partitions};

/// The place to begin at in one topic partition, whose place in the lake is `known`.
pub(super) fn place(
    reader: &Reader,
    (topic, number): (&str, i32),
    known: Option<&TopicPartitionPosition>,
    counts: &Counts,
) -> Result<TopicPartitionPosition> {
    let (first, end) = bounds(reader, topic, number)?;
    judged(known, (first, end), count(counts, topic, number))
        .map_err(|error| error.at("topic partition", format!("{topic}/{number}")))
}

/// `captured`: events that the newest checkpoint counts.
pub(super) fn judged(
    known: Option<&TopicPartitionPosition>,
    (first, end): (i64, i64),
    captured: u64,
) -> Result<TopicPartitionPosition> {
    // What stopped it is tried again.
    let mut place = TopicPartitionPosition { stopped: None, ..known.cloned().unwrap_or_default() };
    if place.offset < first {
        if captured > place.events && known.is_none_or(|known| lacks(known, first)) {
            let message = format!(
                "retention has removed records that are not in the lake: they begin at offset {}, the topic at {first}",
                place.offset
            );
            return Err(Error::new(ErrorKind::PositionLost, message)
                .at("events not in the lake, at most", captured.saturating_sub(place.events))
                .remedy(OVERTAKEN));
        }
        place.offset = first;
    }
    if place.offset > end || captured < place.events {
        let message = format!(
            "the lake has {} events, up to offset {}; capture counts {captured}, and the topic ends at {end}",
            place.events, place.offset
        );
        return Err(Error::new(ErrorKind::TopicLost, message)
            .remedy(format!("the topic was made anew: {BEGIN_ANEW}")));
    }
    Ok(place)
}

/// Whether records that the lake, which is at `place`, may need were there before the topic's beginning, `first`.
pub(crate) fn lacks(place: &TopicPartitionPosition, first: i64) -> bool {
    let marker = place.events > 0 && place.stopped.is_none();
    first > place.offset.saturating_add(i64::from(marker))
}

/// Looks at a topic so often before it is taken for gone: brokers learn of new ones one after the other.
const LOOKS: u32 = 5;

/// The topics of `counts` that are there. One that is not must be in the lake, which is at `here`, as a whole.
pub(super) fn existing(reader: &Reader, here: &KafkaPosition, counts: &Counts) -> Result<BTreeSet<String>> {
    let mut looks = 0;
    loop {
        let (there, gone) = there(reader, counts)?;
        let missing = |topic: &&String| -> u64 {
            let numbers = counts.get(*topic).into_iter().flatten();
            numbers
                .map(|(number, count)| {
                    count.saturating_sub(here.get(topic, *number).map_or(0, |place| place.events))
                })
                .sum()
        };
        let Some(topic) = gone.iter().find(|topic| missing(topic) > 0) else { return Ok(there) };
        looks += 1;
        if looks == LOOKS {
            let message =
                format!("a topic is gone, and {} events of it are not in the lake", missing(&topic));
            return Err(Error::new(ErrorKind::TopicLost, message).at("topic", topic).remedy(BEGIN_ANEW));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The topics of `counts` that are there, and those that are not.
pub(super) fn there(reader: &Reader, counts: &Counts) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let all = partitions(reader)?;
    Ok(counts.keys().cloned().partition(|topic| all.contains_key(topic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, events: u64) -> TopicPartitionPosition {
        TopicPartitionPosition { offset, events, ..TopicPartitionPosition::default() }
    }

    fn kind(known: Option<&TopicPartitionPosition>, bounds: (i64, i64), captured: u64) -> Option<ErrorKind> {
        judged(known, bounds, captured).err().map(|error| error.kind())
    }

    #[test]
    fn what_retention_removed_is_missed_only_where_it_held_events() {
        assert_eq!(judged(Some(&at(10, 7)), (0, 20), 9).unwrap(), at(10, 7));
        assert_eq!(judged(Some(&at(10, 7)), (15, 20), 7).unwrap(), at(15, 7));
        assert_eq!(judged(None, (15, 20), 0).unwrap(), at(15, 0));
        assert_eq!(kind(Some(&at(10, 7)), (15, 20), 8), Some(ErrorKind::PositionLost));
        assert_eq!(kind(None, (1, 20), 8), Some(ErrorKind::PositionLost));
    }

    #[test]
    fn the_marker_of_the_last_transaction_is_not_missed() {
        assert_eq!(judged(Some(&at(10, 7)), (11, 20), 8).unwrap(), at(11, 7));
        assert_eq!(kind(Some(&at(10, 7)), (12, 20), 8), Some(ErrorKind::PositionLost));
        let stopped = TopicPartitionPosition { stopped: Some("x".into()), ..at(10, 7) };
        assert_eq!(
            kind(Some(&stopped), (11, 20), 8),
            Some(ErrorKind::PositionLost),
            "it stopped at an event"
        );
        assert_eq!(kind(Some(&at(0, 0)), (1, 20), 8), Some(ErrorKind::PositionLost), "nothing was read");
    }

    #[test]
    fn a_topic_that_was_made_anew_is_told() {
        assert_eq!(kind(Some(&at(10, 7)), (0, 9), 7), Some(ErrorKind::TopicLost));
        assert_eq!(kind(Some(&at(10, 7)), (0, 20), 6), Some(ErrorKind::TopicLost));
    }

    #[test]
    fn what_stopped_it_is_tried_again() {
        let stopped = TopicPartitionPosition { stopped: Some("x".into()), ..at(10, 7) };
        assert_eq!(judged(Some(&stopped), (0, 20), 7).unwrap(), at(10, 7));
    }
}
