//! The number of an event: `(offset + 1) × 4096 + topic partition`.
//!
//! Guarantee: events of a topic have different numbers, above 0; those of a topic partition ascend; read again, an
//! event has the same one. From a number its record is found: `_seq / 4096 - 1`, `_seq % 4096`.
//! Above 0, as readers take 0 for "before all events".

use lakeward_core::{Error, ErrorKind, Result};

/// Topic partitions that a topic may have.
pub(super) const TOPIC_PARTITIONS: i32 = 4096;

/// The number of the event at `offset` of topic partition `number`, which is below [`TOPIC_PARTITIONS`].
///
/// # Errors
/// `Config` for an offset that leaves no room.
pub(super) fn of(offset: i64, number: i32) -> Result<i64> {
    above(offset).checked_add(i64::from(number)).filter(|seq| *seq < i64::MAX && *seq > 0).ok_or_else(|| {
        Error::new(ErrorKind::Config, "the offset is too large to make a number of it")
            .at("offset", offset)
            .remedy("let Debezium write into a new topic, and load that by a new pipeline")
    })
}

/// A number above those of all events before `offset`, in any topic partition.
pub(super) fn above(offset: i64) -> i64 {
    offset.saturating_add(1).saturating_mul(i64::from(TOPIC_PARTITIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_in_a_topic_partition_and_differ_between_them() {
        let all: Vec<i64> = (0..3)
            .flat_map(|offset| [0, 1, TOPIC_PARTITIONS - 1].map(|number| of(offset, number).unwrap()))
            .collect();
        assert!(all.is_sorted_by(|one, other| one < other) && all[0] > 0, "{all:?}");
        assert_eq!((all[4] / 4096 - 1, all[4] % 4096), (1, 1));
        assert!(above(3) > *all.last().unwrap() && above(2) <= of(2, 0).unwrap());
    }

    #[test]
    fn an_offset_without_room_is_refused() {
        let most = i64::MAX / 4096 - 2;
        assert!(of(most, TOPIC_PARTITIONS - 1).is_ok());
        for offset in [most + 2, i64::MAX] {
            assert_eq!(of(offset, 4095).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
