//! Whether topics keep events until the lake has them.
//!
//! What waits is what the lake lacks: by the counts of capture's newest checkpoint, where there is one, else by offsets. How
//! old it is tells the brokers' index of times, in half of what the topic keeps: while a warning can still help. Retention by
//! size has no age; there, half of the records that are kept must not wait.

use std::time::Duration;

use lakeward_core::{Clock, Error, Finding, KafkaPosition, Result, TopicPartitionPosition};
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{ANSWER, Reader, explained};
use crate::source::{Counts, OVERTAKEN, count, lacks};
use crate::topics::{Admin, bounds};

const SUBJECT: &str = "kafka.retention";
/// Retention below which a sink that is down over a night loses events.
const SHORT: Duration = Duration::from_hours(24);
/// What is advised, at least.
const LONG: Duration = Duration::from_hours(7 * 24);

/// What the lake has of the topics.
#[derive(Clone, Copy)]
pub(super) struct Sink<'a> {
    pub(super) reader: &'a Reader,
    pub(super) clock: &'a dyn Clock,
    /// How far the lake is; `None` if it does not tell.
    pub(super) lake: Option<&'a KafkaPosition>,
    /// Events that the newest checkpoint counts; `None` where the topics have none.
    pub(super) counts: Option<&'a Counts>,
}

/// What bounds how much a topic keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    Time(Duration),
    Bytes(u64),
}

/// What a topic keeps.
struct Kept {
    time: Option<Duration>,
    bytes: Option<u64>,
}

/// How far the lake is behind in one topic partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lag {
    /// No more than it may be.
    Fine,
    /// What waits is about to be removed, by this limit.
    Near(Limit),
    /// Records were removed that it lacks.
    Overtaken,
}

impl Sink<'_> {
    /// Compares what `topic` keeps with what waits in its `partitions` topic partitions.
    pub(super) fn compared(&self, topic: &str, partitions: usize, admin: &Admin) -> Vec<Finding> {
        let setting = |name: &str| admin.setting(topic, name)?.parse().ok();
        let kept = Kept {
            time: setting("retention.ms").map(Duration::from_millis),
            bytes: setting("retention.bytes"),
        };
        let mut findings =
            Vec::from_iter(kept.time.filter(|time| *time < SHORT).map(|time| short(topic, time)));
        match self.lag(topic, partitions, &kept) {
            Ok(Lag::Fine) => {}
            Ok(Lag::Near(limit)) => findings.push(near(topic, limit)),
            Ok(Lag::Overtaken) => findings.push(overtaken(topic)),
            Err(error) => findings.push(super::failed(SUBJECT, &error)),
        }
        findings
    }

    fn lag(&self, topic: &str, partitions: usize, kept: &Kept) -> Result<Lag> {
        let Some(lake) = self.lake else { return Ok(Lag::Fine) };
        let numbers = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
        let mut worst = Lag::Fine;
        for number in numbers {
            worst = worst.max(self.lag_of((topic, number), lake.get(topic, number), kept)?);
        }
        Ok(worst)
    }

    fn lag_of(&self, at: (&str, i32), known: Option<&TopicPartitionPosition>, kept: &Kept) -> Result<Lag> {
        let (first, end) = bounds(self.reader, at.0, at.1)?;
        let (offset, events) = known.map_or((0, 0), |place| (place.offset, place.events));
        let waits = match self.counts {
            Some(counts) => count(counts, at.0, at.1) > events,
            None => offset < end,
        };
        if !waits {
            return Ok(Lag::Fine);
        }
        if is_overtaken(known, first, self.counts.is_some()) {
            return Ok(Lag::Overtaken);
        }
        if let Some(time) = kept.time
            && offset < self.first_after(at, time / 2)?.unwrap_or(end)
        {
            return Ok(Lag::Near(Limit::Time(time)));
        }
        let many = first > 0 && offset - first < (end - first) / 2;
        Ok(kept.bytes.filter(|_| many).map_or(Lag::Fine, |bytes| Lag::Near(Limit::Bytes(bytes))))
    }

    /// The offset of the first record that is not older than `age`; `None` if there is none.
    fn first_after(&self, (topic, number): (&str, i32), age: Duration) -> Result<Option<i64>> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let time = Offset::Offset((self.clock.unix_micros() / 1000).saturating_sub(age).max(0));
        let failed = |error| -> Error {
            let explained = explained("the offset at a time", &error, self.reader.context().trouble());
            explained.at("topic partition", format!("{topic}/{number}"))
        };
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(topic, number, time).map_err(failed)?;
        let told = self.reader.offsets_for_times(asked, ANSWER).map_err(failed)?;
        let told = told.elements().first().map(|element| (element.error(), element.offset()));
        match told {
            Some((Ok(()), Offset::Offset(offset))) => Ok(Some(offset)),
            Some((Err(error), _)) => Err(failed(error)),
            Some((Ok(()), _)) | None => Ok(None),
        }
    }
}

/// Whether `load`, which lacks events, stops at a topic partition that begins at `first`. `counted`: capture counts its events;
/// topics of others are read from where they begin when nothing of them is in the lake, and else from its place exactly.
fn is_overtaken(known: Option<&TopicPartitionPosition>, first: i64, counted: bool) -> bool {
    match known {
        Some(place) if counted => lacks(place, first),
        Some(place) => first > place.offset,
        None => counted && first > 0,
    }
}

/// The command that raises a limit.
fn raise(topic: &str, limit: Limit) -> String {
    let setting = match limit {
        Limit::Time(time) => format!("retention.ms={}", LONG.max(time.saturating_mul(2)).as_millis()),
        Limit::Bytes(bytes) => format!("retention.bytes={}", bytes.saturating_mul(2)),
    };
    format!("kafka-configs.sh --alter --topic {topic} --add-config {setting}")
}

fn short(topic: &str, kept: Duration) -> Finding {
    let message = format!("{topic} keeps events for {kept:?}: a sink that is down for longer loses them");
    Finding::warning(SUBJECT, message).fix(raise(topic, Limit::Time(kept)))
}

fn near(topic: &str, limit: Limit) -> Finding {
    let message = format!(
        "events of {topic} wait for the lake since more than half of what the topic keeps: soon they are removed unread"
    );
    Finding::warning(SUBJECT, message)
        .fix(format!("start `lakeward load`, or more of them; or {}", raise(topic, limit)))
}

fn overtaken(topic: &str) -> Finding {
    let message = format!(
        "retention has removed records of {topic} that the lake does not have: `load` stops there (12)"
    );
    Finding::error(SUBJECT, message).fix(OVERTAKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_alone_is_missed_only_in_topics_of_others() {
        let place = TopicPartitionPosition { offset: 10, events: 7, ..TopicPartitionPosition::default() };
        let told = |first, counted| is_overtaken(Some(&place), first, counted);
        assert_eq!([told(10, true), told(11, true), told(12, true)], [false, false, true]);
        assert_eq!([told(10, false), told(11, false)], [false, true]);
        assert_eq!([is_overtaken(None, 1, true), is_overtaken(None, 1, false)], [true, false]);
    }

    #[test]
    fn the_limit_that_is_near_is_the_one_to_raise() {
        let fix = |limit| near("t", limit).fix.unwrap_or_default();
        assert!(fix(Limit::Bytes(1_000)).ends_with("--topic t --add-config retention.bytes=2000"));
        assert!(fix(Limit::Time(SHORT)).ends_with("--topic t --add-config retention.ms=604800000"));
        assert!(fix(Limit::Time(LONG)).ends_with("--topic t --add-config retention.ms=1209600000"));
    }
}
