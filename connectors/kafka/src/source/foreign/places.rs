//! Where reading begins in a topic partition.
//!
//! Guarantee: no record between the lake's place and the first one read is passed over.
//! Why: reading begins at the lake's offset exactly, or is refused. Whether records that retention has removed held
//! events nobody can tell here; so all of them count as lost. A place is after all that is visible when its topic
//! partition was read to its end, so what is removed later had nothing before it that was not read.

use lakeward_core::{Error, ErrorKind, Result, TopicPartitionPosition};

use super::super::link::OVERTAKEN;

/// The place to begin at, where the lake has `known` and the topic partition goes from `first` to `end`.
pub(super) fn judged(
    known: Option<&TopicPartitionPosition>,
    (first, end): (i64, i64),
) -> Result<TopicPartitionPosition> {
    let Some(known) = known else {
        return Ok(TopicPartitionPosition { offset: first, ..TopicPartitionPosition::default() });
    };
    if known.offset < first {
        let message = format!(
            "retention has removed records that are not in the lake: they begin at offset {}, the topic at {first}",
            known.offset
        );
        return Err(Error::new(ErrorKind::PositionLost, message).remedy(OVERTAKEN));
    }
    if known.offset > end {
        let message = format!("the lake is at offset {}, and the topic ends at {end}", known.offset);
        return Err(Error::new(ErrorKind::TopicLost, message).remedy(MADE_ANEW));
    }
    // What stopped it is tried again.
    Ok(TopicPartitionPosition { stopped: None, ..known.clone() })
}

/// What mends a topic that is not the one it was.
pub(super) const MADE_ANEW: &str = "the topic was made anew: load it by a new pipeline (another `name` and `lake.url`), after a new \
     snapshot by Debezium";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> TopicPartitionPosition {
        TopicPartitionPosition { offset, events: 2, ..TopicPartitionPosition::default() }
    }

    #[test]
    fn a_place_is_gone_on_from_exactly_or_refused() {
        let kind = |known: i64, bounds| judged(Some(&at(known)), bounds).map_err(|error| error.kind());
        assert_eq!(kind(7, (0, 9)), Ok(at(7)));
        assert_eq!(kind(7, (7, 7)), Ok(at(7)));
        assert_eq!(kind(7, (8, 9)), Err(ErrorKind::PositionLost));
        assert_eq!(kind(7, (0, 6)), Err(ErrorKind::TopicLost));
        assert_eq!(judged(None, (5, 9)).unwrap().offset, 5);
        let stopped = TopicPartitionPosition { stopped: Some("x".into()), ..at(7) };
        assert_eq!(judged(Some(&stopped), (0, 9)).unwrap(), at(7));
    }
}
