//! One table's topic as the writer sees it: its topic partitions, and how many change events each has.

use std::sync::Arc;

use lakeward_core::TableId;
use rdkafka::message::{Header, OwnedHeaders};

use super::delivery::Place;
use super::murmur2::topic_partition;

/// Rows without a key that follow each other go to one topic partition, so many at a time.
const KEYLESS_RUN: i64 = 1024;

/// A table's topic.
pub(super) struct Lane {
    pub(super) table: TableId,
    /// The table, as other topics name it.
    pub(super) name: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) places: Vec<Arc<Place>>,
    /// Events by topic partition: committed ones, and those of the open transaction.
    pub(super) events: Vec<u64>,
    /// The version header of what comes now.
    pub(super) version: String,
    /// The largest record that the topic takes, where that is known.
    pub(super) max_bytes: Option<u64>,
}

impl Lane {
    /// `events` may name fewer topic partitions than there are now.
    pub(super) fn new(
        table: TableId,
        topic: &str,
        count: usize,
        events: &[u64],
        max_bytes: Option<u64>,
    ) -> Lane {
        let (name, topic): (Arc<str>, Arc<str>) = (table.to_string().into(), topic.into());
        let events: Vec<u64> = (0..count).map(|number| events.get(number).copied().unwrap_or(0)).collect();
        let place = |(number, events): (usize, &u64)| {
            Arc::new(Place::new(Arc::clone(&topic), i32::try_from(number).unwrap_or(i32::MAX), *events))
        };
        let places = events.iter().enumerate().map(place).collect();
        Lane { table, name, topic, places, events, version: String::new(), max_bytes }
    }

    /// The topic has `count` topic partitions by now.
    pub(super) fn grow(&mut self, count: usize) {
        let grown = Lane::new(self.table.clone(), &self.topic, count, &self.events, self.max_bytes);
        // The places that are known keep what they know of their offsets.
        self.places.extend(grown.places.into_iter().skip(self.events.len()));
        self.events = grown.events;
    }

    /// The topic partition of a row: that of its key.
    pub(super) fn of(&self, key: Option<&[u8]>, seq: i64) -> usize {
        match key {
            Some(key) => topic_partition(key, self.places.len()),
            None => usize::try_from(seq / KEYLESS_RUN).unwrap_or(0) % self.places.len().max(1),
        }
    }
}

/// The headers of an event.
pub(super) fn headers(
    op: &str,
    seq: &str,
    version: &str,
    gtid: Option<&str>,
    reason: Option<&str>,
) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(5);
    let named = [
        ("op", Some(op)),
        ("seq", Some(seq)),
        ("version", Some(version)),
        ("gtid", gtid),
        ("reason", reason),
    ];
    for (key, value) in named {
        if value.is_some() {
            headers = headers.insert(Header { key, value });
        }
    }
    headers
}
