//! The checkpoint topic: capture's checkpoints, the table versions that they name, and who captures.
//!
//! Guarantee: a reader of committed records that has read to the end holds the pipeline's last checkpoint and every
//! table version that it names. Why: each record is written in the same Kafka transaction as the events it covers, a
//! version not later than the first checkpoint that names it; the topic is compacted, which keeps the last record of
//! each key. There is one topic partition, so the order is one.
//!
//! | key | value |
//! |---|---|
//! | `checkpoint` | [`CaptureCheckpoint`] |
//! | `schema/<database>/<table>/<version>`, escaped | [`TableSchema`] |
//! | `writer` | [`Writer`]: the process that captures; written once when it opens, and of no concern to readers of events |

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Checkpoint, Clock, Error, ErrorKind, Result, TableId, TableSchema};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::{self, ANSWER, Reader, explained};
use crate::format::Modes;
use crate::topics::bounds;

/// The key of checkpoints.
pub const CHECKPOINT_KEY: &str = "checkpoint";
/// The key of the process that captures.
pub const WRITER_KEY: &str = "writer";
/// What the keys of table versions begin with.
pub const SCHEMA_KEY: &str = "schema/";
/// The form of [`CaptureCheckpoint`] that this version writes.
pub const FORMAT: u32 = 1;

/// How long the client may pass over records of aborted transactions, of which it tells nothing, between two others.
const ABORTED: Duration = Duration::from_mins(10);

/// One checkpoint of the capturing side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureCheckpoint {
    /// [`FORMAT`].
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// 1, 2, 3 … per pipeline.
    pub number: u64,
    /// The source's checkpoint.
    pub checkpoint: Checkpoint,
    /// Cumulative count of change events, by topic and topic partition. It names every topic partition of a topic
    /// that has events.
    pub events: BTreeMap<String, BTreeMap<i32, u64>>,
    /// How values are written, in all records of the pipeline; `None` where a version wrote it that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<Modes>,
}

/// The process that captures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Drawn at random for each opening.
    pub id: Uuid,
    /// Its pipeline.
    pub pipeline: String,
}

/// The key of a table version.
pub fn schema_key(table: &TableId, version: u32) -> String {
    format!("{SCHEMA_KEY}{}/{}/{version}", escaped(&table.database), escaped(&table.table))
}

/// Percent-encoded but for letters, digits, `_` and `-`.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _written = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// One record of the topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A checkpoint.
    Checkpoint(Box<CaptureCheckpoint>),
    /// A table version.
    Schema(Arc<TableSchema>),
    /// Who captures.
    Writer(Writer),
}

impl Entry {
    /// Reads a record of `pipeline`.
    ///
    /// # Errors
    /// `UnreadableRecord` for what is not understood, and `Config` for another pipeline's.
    pub fn read(key: Option<&[u8]>, value: Option<&[u8]>, pipeline: &str) -> Result<Entry> {
        let strange = |what: &str| {
            Error::new(ErrorKind::UnreadableRecord, format!("the checkpoint topic holds {what}"))
                .remedy("let nothing but `lakeward` of this pipeline write to it")
        };
        let (Some(key), Some(value)) = (key, value) else {
            return Err(strange("a record without key or value"));
        };
        let unread = |error: serde_json::Error| strange("a record that cannot be read").caused_by(error);
        let (entry, owner) = match std::str::from_utf8(key) {
            Ok(CHECKPOINT_KEY) => {
                let checkpoint: CaptureCheckpoint = serde_json::from_slice(value).map_err(unread)?;
                if checkpoint.format != FORMAT {
                    let newer = strange("a checkpoint of another version of lakeward")
                        .at("format", checkpoint.format);
                    return Err(newer.remedy("run the newest of the versions in use"));
                }
                let owner = checkpoint.pipeline.clone();
                (Entry::Checkpoint(Box::new(checkpoint)), Some(owner))
            }
            Ok(WRITER_KEY) => {
                let writer: Writer = serde_json::from_slice(value).map_err(unread)?;
                let owner = writer.pipeline.clone();
                (Entry::Writer(writer), Some(owner))
            }
            Ok(name) if name.starts_with(SCHEMA_KEY) => {
                (Entry::Schema(Arc::new(serde_json::from_slice(value).map_err(unread)?)), None)
            }
            Ok(_) | Err(_) => return Err(strange("a record with an unknown key")),
        };
        match owner {
            Some(owner) if owner != pipeline => {
                Err(Error::new(ErrorKind::Config, format!("the topics belong to the pipeline `{owner}`"))
                    .remedy("give each pipeline a `transport.kafka.topic_prefix` of its own"))
            }
            Some(_) | None => Ok(entry),
        }
    }
}

/// What the topic holds at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The last checkpoint.
    pub last: Option<CaptureCheckpoint>,
    /// Every table version.
    pub schemas: BTreeMap<(TableId, u32), Arc<TableSchema>>,
    /// Who opened it last.
    pub writer: Option<Writer>,
    /// The place after the last record.
    pub end: i64,
}

impl Found {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Checkpoint(checkpoint) => self.last = Some(*checkpoint),
            Entry::Writer(writer) => self.writer = Some(writer),
            Entry::Schema(schema) => {
                self.schemas.insert((schema.table.clone(), schema.version), schema);
            }
        }
    }

    /// The structures of the versions that the last checkpoint names.
    ///
    /// # Errors
    /// `UnreadableRecord` if one is not there.
    pub fn named(&self) -> Result<Vec<Arc<TableSchema>>> {
        let tables = self.last.iter().flat_map(|last| last.checkpoint.tables.iter());
        let seen = tables.filter(|(_, state)| state.schema_version > 0);
        let structure = |(table, state): (&TableId, &lakeward_core::TableState)| {
            let key = (table.clone(), state.schema_version);
            self.schemas.get(&key).cloned().ok_or_else(|| {
                Error::new(ErrorKind::UnreadableRecord, "the checkpoint topic lacks a table version")
                    .of_table(table)
                    .at("version", state.schema_version)
                    .remedy("set `cleanup.policy=compact` on it; what it lost does not come back by itself")
            })
        };
        seen.map(structure).collect()
    }
}

/// How long one look for records waits.
const LOOK: Duration = Duration::from_millis(100);

/// Reads the topic, which exists, from `from` to its end.
///
/// # Errors
/// The cluster's, and those of [`Entry::read`].
pub fn read(reader: &Reader, topic: &str, from: i64, pipeline: &str, clock: &dyn Clock) -> Result<Found> {
    let mut found = Found { end: from, ..Found::default() };
    read_records(reader, topic, from, clock, &mut |offset, key, value| {
        found.end = offset.saturating_add(1);
        let entry = Entry::read(key, value, pipeline);
        found.take(entry.map_err(|error| error.at("topic", topic).at("offset", offset))?);
        Ok(())
    })?;
    Ok(found)
}

/// What takes a record: its offset, key and value.
pub(crate) type Take<'a> = dyn FnMut(i64, Option<&[u8]>, Option<&[u8]>) -> Result<()> + 'a;

/// Reads the committed records of a topic of one topic partition, from `from` to the end that it has now. Where somebody
/// writes all the while, the client may never say that it is at the end: the place is known before.
pub(crate) fn read_records(
    reader: &Reader,
    topic: &str,
    from: i64,
    clock: &dyn Clock,
    take: &mut Take<'_>,
) -> Result<()> {
    read_assigned(reader, (topic, 0), from, clock, &mut |offset, key, value| {
        take(offset, key, value).map(ControlFlow::Continue)
    })
}

/// The offset of a committed record of a topic partition, if it has any.
///
/// # Errors
/// The cluster's.
pub(crate) fn any_committed(
    reader: &Reader,
    topic: &str,
    number: i32,
    clock: &dyn Clock,
) -> Result<Option<i64>> {
    let mut any = None;
    read_assigned(reader, (topic, number), 0, clock, &mut |offset, _, _| {
        any = Some(offset);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(any)
}

type TakeUntil<'a> = dyn FnMut(i64, Option<&[u8]>, Option<&[u8]>) -> Result<ControlFlow<()>> + 'a;

fn read_assigned(
    reader: &Reader,
    place: (&str, i32),
    from: i64,
    clock: &dyn Clock,
    take: &mut TakeUntil<'_>,
) -> Result<()> {
    let read = read_place(reader, place, from, clock, take);
    // Or the client would fetch on, for nobody.
    let left = reader.unassign().map_err(|error| {
        Error::new(ErrorKind::Bug, "a topic cannot be left").at("topic", place.0).caused_by(error)
    });
    read.and(left)
}

fn read_place(
    reader: &Reader,
    (topic, number): (&str, i32),
    from: i64,
    clock: &dyn Clock,
    take: &mut TakeUntil<'_>,
) -> Result<()> {
    client::hear(reader);
    let mut places = TopicPartitionList::new();
    let place = if from == 0 { Offset::Beginning } else { Offset::Offset(from) };
    let assigned = places.add_partition_offset(topic, number, place).and_then(|()| reader.assign(&places));
    assigned.map_err(|error| {
        Error::new(ErrorKind::Bug, "a topic cannot be read").at("topic", topic).caused_by(error)
    })?;
    let (_, end) = bounds(reader, topic, number)?;
    let mut next = from;
    let (mut heard, mut answered) = (clock.elapsed(), clock.elapsed());
    while next < end {
        match reader.poll(LOOK) {
            Some(Ok(message)) => {
                heard = clock.elapsed();
                answered = heard;
                next = message.offset().saturating_add(1);
                if take(message.offset(), message.key(), message.payload())?.is_break() {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => {
                let error = explained("the records of a topic", &error, reader.context().trouble());
                // What waiting mends, the client mends.
                if error.kind() != ErrorKind::KafkaUnreachable {
                    return Err(error.at("topic", topic));
                }
            }
            None => {}
        }
        let now = clock.elapsed();
        if now.saturating_sub(answered) > ANSWER {
            // The client passes over aborted records without a word: it may be these as long as the cluster answers.
            bounds(reader, topic, number)?;
            answered = clock.elapsed();
        }
        if now.saturating_sub(heard) > ABORTED {
            let late = KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::OperationTimedOut);
            return Err(
                explained("the records of a topic", &late, reader.context().trouble()).at("topic", topic)
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_versions_are_escaped_and_unknown_keys_are_refused() {
        assert_eq!(schema_key(&TableId::new("a/b", "ö"), 3), "schema/a%2Fb/%C3%B6/3");
        let refused = |key: &[u8], value: &[u8]| Entry::read(Some(key), Some(value), "p").unwrap_err();
        assert_eq!(refused(b"other", b"{}").kind(), ErrorKind::UnreadableRecord);
        assert_eq!(refused(b"checkpoint", b"{}").kind(), ErrorKind::UnreadableRecord);
        assert_eq!(
            Entry::read(Some(b"schema/a/b/1"), None, "p").unwrap_err().kind(),
            ErrorKind::UnreadableRecord
        );
        let writer = Writer { id: Uuid::nil(), pipeline: "q".into() };
        let foreign = refused(b"writer", &serde_json::to_vec(&writer).unwrap());
        assert_eq!(foreign.kind(), ErrorKind::Config);
        assert!(foreign.to_string().contains("`q`"));
        let own = Entry::read(Some(b"writer"), Some(&serde_json::to_vec(&writer).unwrap()), "q").unwrap();
        assert_eq!(own, Entry::Writer(writer));
    }
}
