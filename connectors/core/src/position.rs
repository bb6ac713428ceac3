//! Where a source resumes.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::GtidSet;

/// Where a source resumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Position {
    /// A place between two transactions of a MySQL server's binlog.
    Binlog(BinlogPosition),
    /// Places in topic partitions.
    Kafka(KafkaPosition),
}

/// Places in topic partitions of a Kafka cluster: by topic, by number of the topic partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KafkaPosition {
    /// The places; a topic partition that is not here was not read yet.
    #[serde(deserialize_with = "by_number")]
    pub topics: BTreeMap<String, BTreeMap<i32, TopicPartitionPosition>>,
}

/// Keys of JSON are text, and stay so where a value is held back until its kind is known (a tagged enum).
fn by_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, BTreeMap<i32, TopicPartitionPosition>>, D::Error> {
    let topics = BTreeMap::<String, BTreeMap<String, TopicPartitionPosition>>::deserialize(deserializer)?;
    let numbered = |places: BTreeMap<String, TopicPartitionPosition>| {
        let number = |text: String| text.parse::<i32>().map_err(D::Error::custom);
        places.into_iter().map(|(text, place)| Ok((number(text)?, place))).collect::<Result<_, D::Error>>()
    };
    topics.into_iter().map(|(topic, places)| Ok((topic, numbered(places)?))).collect()
}

/// How far one topic partition was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPartitionPosition {
    /// The offset to go on from.
    pub offset: i64,
    /// How many change events lie before it: tombstones, transaction markers and the records of aborted
    /// transactions take offsets and are none.
    pub events: u64,
    /// The number of the capturing side's checkpoint whose events of this topic partition are all before
    /// it; 0 where nobody numbers checkpoints.
    pub checkpoint: u64,
    /// The commit time of that checkpoint's last transaction, microseconds UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_us: Option<i64>,
    /// Of `events`, those whose records could not be decoded: they are in the dead-letter topic, and not in
    /// the lake.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dead_letters: u64,
    /// Why the record at `offset` is not passed: nothing of this topic partition is read until that is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TopicPartitionPosition {
    /// How many events before this place are in the sink.
    fn delivered(&self) -> u64 {
        self.events.saturating_sub(self.dead_letters)
    }
}

impl KafkaPosition {
    /// Every topic partition with its place.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, &TopicPartitionPosition)> {
        let places = |(topic, partitions)| (topic, partitions);
        self.topics.iter().map(places).flat_map(|(topic, partitions): (&String, &BTreeMap<_, _>)| {
            partitions.iter().map(move |(number, place)| (topic.as_str(), *number, place))
        })
    }

    /// The place in one topic partition; `None` where nothing of it was read.
    pub fn get(&self, topic: &str, number: i32) -> Option<&TopicPartitionPosition> {
        self.topics.get(topic)?.get(&number)
    }

    /// Change events for the sink in the topic partitions of `self` since `from`, which may name others, too;
    /// `None` if one of them went back.
    pub fn events_since(&self, from: &KafkaPosition) -> Option<u64> {
        self.iter().try_fold(0_u64, |sum, (topic, number, place)| {
            let before = from.get(topic, number).map_or(0, TopicPartitionPosition::delivered);
            sum.checked_add(place.delivered().checked_sub(before)?)
        })
    }

    /// Topic partitions that are stopped, and why.
    pub fn stopped(&self) -> impl Iterator<Item = (&str, i32, &TopicPartitionPosition, &str)> {
        self.iter().filter_map(|(topic, number, place)| {
            place.stopped.as_deref().map(|reason| (topic, number, place, reason))
        })
    }

    /// Whether the places are in topics that capture wrote, whose checkpoints have numbers from 1 on, or in
    /// others' topics, where there are none. `None`: they do not tell, as all of them are at their beginning, or
    /// stand still before the first checkpoint.
    pub fn is_of_capture(&self) -> Option<bool> {
        let telling = |place: &TopicPartitionPosition| {
            place.checkpoint > 0 || (place.events > 0 && place.stopped.is_none())
        };
        let places = self.iter().map(|(_, _, place)| place).filter(|place| telling(place));
        places.map(|place| place.checkpoint > 0).reduce(|one, other| one || other)
    }

    /// `self` with the places of `part` in it.
    #[must_use]
    pub fn with(mut self, part: &KafkaPosition) -> KafkaPosition {
        for (topic, number, place) in part.iter() {
            self.topics.entry(topic.to_owned()).or_default().insert(number, place.clone());
        }
        self
    }
}

/// A place between two transactions of a MySQL server's binlog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPosition {
    /// The server whose `file` and `offset` these are.
    pub server_uuid: Uuid,
    /// Binlog file name, as `SHOW BINARY LOGS` shows it.
    pub file: String,
    /// Byte offset of the next event in `file`; 64 bits, as a file can pass 4 GiB.
    pub offset: u64,
    /// All transactions before this place, where the server has GTIDs on: they decide the resume,
    /// and `file:offset` is then only for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid_set: Option<GtidSet>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Binlog(position) => position.fmt(f),
            Position::Kafka(position) => position.fmt(f),
        }
    }
}

impl fmt::Display for KafkaPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkpoints = || self.iter().map(|(_, _, place)| place.checkpoint);
        let events: u64 = self.iter().map(|(_, _, place)| place.events).sum();
        write!(f, "{events} events of {} topic partitions", self.iter().count())?;
        match (checkpoints().min(), checkpoints().max()) {
            (Some(1..), Some(high)) if checkpoints().min() == Some(high) => write!(f, ", checkpoint {high}"),
            (Some(low), Some(high @ 1..)) => write!(f, ", checkpoints {low} to {high}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)?;
        match &self.gtid_set {
            Some(set) if !set.is_empty() => write!(f, " [{set}]"),
            _ => Ok(()),
        }
    }
}
