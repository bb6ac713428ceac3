//! What a pipeline must know to go on, stored only together with the data it covers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Answer, Position, TableId};

/// Position, next sequence number and table states, as of a boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where the source resumes.
    pub position: Position,
    /// The number the next change event gets.
    pub next_seq: i64,
    /// Commit time of the last transaction before `position` on the server we read, microseconds
    /// UTC; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_us: Option<i64>,
    /// Numbers that no event bears: reserved for the mark of a snapshot that was then cancelled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retired: i64,
    /// What became of requests, while they may still stand in the sink ([`crate::request`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Answer>,
    /// XA transactions before `position` that no transaction before it decides, in the order in which they were
    /// prepared; those that touch very many tables left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<PreparedXa>,
    /// Every table seen so far. Shared: a source yields many checkpoints between two changes of it.
    #[serde(with = "table_list")]
    pub tables: Arc<BTreeMap<TableId, TableState>>,
}

/// An XA transaction of the source that is prepared: its rows are in the log, and nobody sees them before its COMMIT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedXa {
    /// Its name, as the log writes it.
    pub xid: String,
    /// The tables that it touches, captured or not.
    pub tables: Vec<TableId>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Checkpoint {
    /// Numbers below `next_seq` that no event bears yet, or ever: those of marks to come, and retired
    /// ones. `next_seq` less these counts the events.
    pub fn without_event(&self) -> i64 {
        let mut marks = 0;
        for state in self.tables.values() {
            if let SnapshotState::Open(Snapshot { mark: Some(_), .. }) = &state.snapshot {
                marks += 1;
            }
        }
        marks + self.retired
    }

    /// How many change events lie between `from` and this checkpoint: by topic partitions, where the
    /// position is of Kafka (those that this one names), else by the numbers given. `None` if it is no
    /// later place of the same kind.
    pub fn events_since(&self, from: &Checkpoint) -> Option<u64> {
        match (&self.position, &from.position) {
            (Position::Kafka(here), Position::Kafka(from)) => here.events_since(from),
            (Position::Binlog(_), Position::Binlog(_)) => {
                let events = |at: &Checkpoint| at.next_seq.checked_sub(at.without_event());
                events(self)?.checked_sub(events(from)?)?.try_into().ok()
            }
            (Position::Kafka(_), Position::Binlog(_)) | (Position::Binlog(_), Position::Kafka(_)) => None,
        }
    }

    /// The time up to which all that the server committed is covered, microseconds UTC; `None` where that
    /// cannot be told. Over topic partitions it is that of the one which is furthest behind.
    pub fn complete_to_us(&self) -> Option<i64> {
        match &self.position {
            Position::Binlog(_) => self.commit_us,
            Position::Kafka(at) => at.iter().map(|(_, _, place)| place.commit_us).min().flatten(),
        }
    }

    /// This checkpoint brought forward by `part`, which covers some topic partitions only: their places are
    /// those of `part`; all else is of whichever of the two the source made later. A part of another kind
    /// covers everything, and takes its place.
    #[must_use]
    pub fn with(&self, part: &Checkpoint) -> Checkpoint {
        let (Position::Kafka(here), Position::Kafka(there)) = (&self.position, &part.position) else {
            return part.clone();
        };
        let position = Position::Kafka(here.clone().with(there));
        let later = if part.next_seq >= self.next_seq { part } else { self };
        Checkpoint { position, ..later.clone() }
    }
}

/// What is known of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// The version in force at the checkpoint (0: none seen yet). Its structure is stored with the
    /// lake's schemas.
    pub schema_version: u32,
    /// Whether its changes are captured.
    pub status: TableStatus,
    /// Whether the rows that were there before its changes are in the lake.
    #[serde(default, skip_serializing_if = "SnapshotState::is_not_asked")]
    pub snapshot: SnapshotState,
    /// Events that no mark voids are deletes which have the key's columns alone ([`crate::keys`]): with
    /// another key they would delete nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted_by_key: bool,
    /// The source has dropped the table, and nothing has come under its name since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// Whether the rows that were in a table before its changes were captured are in the lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SnapshotState {
    /// They were never asked for (`snapshot.mode: no_data`).
    #[default]
    NotAsked,
    /// Some of them may be, and no more is asked for: their reading was given up, or only a part of them
    /// was read.
    Partial,
    /// They are, or the table began empty.
    Done,
    /// They are being read.
    Open(Snapshot),
}

impl SnapshotState {
    fn is_not_asked(&self) -> bool {
        *self == SnapshotState::NotAsked
    }
}

/// A snapshot of a table that is not at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// The number reserved for the mark that ends it: all events below it are void then. `None` where
    /// the lake holds no earlier event of the table, and for a part of a table.
    pub mark: Option<i64>,
    /// Why they are read: what is true when the reading is given up depends on it.
    pub cause: SnapshotCause,
    /// SQL condition of a part; `None`: the whole table.
    pub condition: Option<String>,
    /// Reading waits until it is continued.
    pub paused: bool,
    /// What was settled when reading began; `None` before.
    pub plan: Option<SnapshotPlan>,
}

/// Why a table's rows are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotCause {
    /// The rows from before the table's changes are not all in the lake: given up, they never are.
    /// (Also what was stored before causes were.)
    #[default]
    First,
    /// It was asked for, of a table that the lake has whole: given up, the lake still has it.
    Asked,
    /// The lake lacks changes of the table, or has rows that are not its any more: it cannot be given up.
    Needed,
}

/// A key as SQL literals, one for each of its columns, as the server wrote them: it alone compares
/// them.
pub type KeyBound = Vec<String>;

/// How a table is read, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotPlan {
    /// Columns of the key by which it is read, in order, those that descend with ` DESC`; empty for a table
    /// without one.
    pub key: Vec<String>,
    /// The greatest key when reading began; `None`: the table was empty.
    pub last: Option<KeyBound>,
    /// All rows up to this key, itself included, are in the lake; `None`: none yet.
    pub through: Option<KeyBound>,
    /// Ranges beyond `through` that are in the lake: each from a key (excluded) to a key (included).
    pub beyond: Vec<(KeyBound, KeyBound)>,
    /// Rows read so far.
    pub rows: u64,
    /// The server's estimate of the table's rows, or of those the condition asks for.
    pub estimated_rows: Option<u64>,
    /// Time that was spent on reading them, over all runs: with `rows`, their rate.
    pub reading_ms: u64,
}

/// Whether a table's changes are captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TableStatus {
    /// They are.
    Active,
    /// They are not: the table is not among those that the pipeline captures (`tables.include`) any more.
    /// What the lake has of it stays. Captured again, it is read anew: its changes in between are missing.
    LeftOut,
    /// They are not, since `at`; none of its events takes a number.
    Stopped {
        /// The kind of error, [`crate::ErrorKind::name`].
        kind: String,
        /// What happened.
        message: String,
        /// How to mend it.
        remedy: Option<String>,
        /// The first change that was not taken.
        at: Position,
    },
}

/// JSON has no maps with pairs as keys: stored as a list, sorted by table.
mod table_list {
    use super::{Arc, BTreeMap, Deserialize, Serialize, TableId, TableState};

    #[derive(Serialize, Deserialize)]
    struct Entry<S> {
        table: TableId,
        #[serde(flatten)]
        state: S,
    }

    pub(super) fn serialize<S: serde::Serializer>(
        tables: &Arc<BTreeMap<TableId, TableState>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tables.iter().map(|(table, state)| Entry { table: table.clone(), state }))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<BTreeMap<TableId, TableState>>, D::Error> {
        let entries = Vec::<Entry<TableState>>::deserialize(deserializer)?;
        Ok(Arc::new(entries.into_iter().map(|entry| (entry.table, entry.state)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BinlogPosition;

    #[test]
    fn a_checkpoint_comes_back_as_it_was_stored() {
        let position = Position::Binlog(BinlogPosition {
            server_uuid: "11111111-1111-1111-1111-111111111111".parse().unwrap(),
            file: "binlog.000001".into(),
            offset: 1 << 40,
            gtid_set: Some("11111111-1111-1111-1111-111111111111:1-5:tag:2".parse().unwrap()),
        });
        let stopped = TableStatus::Stopped {
            kind: "TableChanged".into(),
            message: "m".into(),
            remedy: None,
            at: position.clone(),
        };
        let plan = SnapshotPlan {
            key: vec!["id".into()],
            last: Some(vec!["9".into()]),
            beyond: vec![(vec!["3".into()], vec!["5".into()])],
            ..SnapshotPlan::default()
        };
        let open = SnapshotState::Open(Snapshot { mark: Some(7), plan: Some(plan), ..Snapshot::default() });
        let tables = [
            (
                TableId::new("a.b", "c"),
                TableState {
                    schema_version: 2,
                    status: TableStatus::Active,
                    snapshot: open,
                    deleted_by_key: true,
                    dropped: true,
                },
            ),
            (
                TableId::new("a", "b.c"),
                TableState {
                    schema_version: 0,
                    status: stopped,
                    snapshot: SnapshotState::NotAsked,
                    deleted_by_key: false,
                    dropped: false,
                },
            ),
        ];
        let checkpoint = Checkpoint {
            position,
            next_seq: i64::MAX,
            commit_us: Some(-1),
            retired: 1,
            requests: vec![Answer::done("a"), Answer::refused("b", "no such table")],
            prepared: vec![PreparedXa { xid: "x".into(), tables: vec![TableId::new("a", "b.c")] }],
            tables: Arc::new(tables.into()),
        };
        assert_eq!(checkpoint.without_event(), 2);
        let text = serde_json::to_string(&checkpoint).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), checkpoint);
    }

    fn of_kafka(next_seq: i64, places: &[(i32, i64, u64)]) -> Checkpoint {
        let mut position = crate::KafkaPosition::default();
        for (number, offset, events) in places {
            let place =
                crate::TopicPartitionPosition { offset: *offset, events: *events, ..Default::default() };
            position.topics.entry("t".into()).or_default().insert(*number, place);
        }
        let (position, tables) = (Position::Kafka(position), Arc::default());
        Checkpoint {
            position,
            next_seq,
            commit_us: None,
            retired: 0,
            requests: Vec::new(),
            prepared: Vec::new(),
            tables,
        }
    }

    #[test]
    fn events_are_counted_by_topic_partition_and_parts_put_together() {
        let from = of_kafka(10, &[(0, 5, 4), (1, 9, 7)]);
        let part = of_kafka(8, &[(1, 20, 10), (2, 3, 2)]);
        assert_eq!(part.events_since(&from), Some(3 + 2));
        assert_eq!(of_kafka(12, &[(0, 4, 3)]).events_since(&from), None);
        assert_eq!(from.with(&part), of_kafka(10, &[(0, 5, 4), (1, 20, 10), (2, 3, 2)]));
        assert_eq!(part.with(&from).events_since(&from), Some(2));
        let text = serde_json::to_string(&from).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), from);
        // Also where it is held back, as in a table's state or a record of the lake.
        let at = from.position;
        let stopped = TableStatus::Stopped { kind: "k".into(), message: "m".into(), remedy: None, at };
        let text = serde_json::to_string(&stopped).unwrap();
        assert_eq!(serde_json::from_str::<TableStatus>(&text).unwrap(), stopped);
    }

    #[test]
    fn the_lake_is_complete_as_far_as_the_topic_partition_that_is_furthest_behind() {
        let mut at = of_kafka(10, &[(0, 5, 4), (1, 9, 7)]);
        let commit_us = |at: &mut Checkpoint, number, us| {
            let Position::Kafka(position) = &mut at.position else { return };
            position.topics.get_mut("t").unwrap().get_mut(&number).unwrap().commit_us = us;
        };
        at.commit_us = Some(9);
        commit_us(&mut at, 0, Some(7));
        assert_eq!(at.complete_to_us(), None);
        commit_us(&mut at, 1, Some(8));
        assert_eq!(at.complete_to_us(), Some(7));
    }

    #[test]
    fn places_tell_whether_capture_wrote_the_topics() {
        let of = |places: &[(u64, bool)]| {
            let place = |(number, (checkpoint, stopped)): (usize, &(u64, bool))| {
                let (checkpoint, stopped) = (*checkpoint, stopped.then(|| "why".to_owned()));
                let place =
                    crate::TopicPartitionPosition { events: 1, checkpoint, stopped, ..Default::default() };
                (i32::try_from(number).unwrap(), place)
            };
            let places = places.iter().enumerate().map(place).collect();
            crate::KafkaPosition { topics: [("t".to_owned(), places)].into() }.is_of_capture()
        };
        assert_eq!(of(&[(0, false), (0, true)]), Some(false));
        assert_eq!(of(&[(0, true), (4, false)]), Some(true));
        assert_eq!(of(&[(0, true)]), None);
        assert_eq!(of(&[]), None);
        // The first commit of a worker: nothing is read yet.
        let Position::Kafka(beginning) = of_kafka(1, &[(0, 3, 0), (1, 0, 0)]).position else { panic!() };
        assert_eq!(beginning.is_of_capture(), None);
    }

    #[test]
    fn a_state_stored_before_there_were_snapshots_is_read() {
        let old = r#"{ "schema_version": 1, "status": { "state": "active" } }"#;
        let state: TableState = serde_json::from_str(old).unwrap();
        assert_eq!(state.snapshot, SnapshotState::NotAsked);
        assert!(!state.deleted_by_key && !state.dropped);
    }

    #[test]
    fn a_snapshot_stored_before_causes_were_is_read() {
        let old = r#"{ "state": "open", "mark": 3, "condition": null, "paused": false, "plan": null }"#;
        let state: SnapshotState = serde_json::from_str(old).unwrap();
        assert_eq!(state, SnapshotState::Open(Snapshot { mark: Some(3), ..Snapshot::default() }));
    }
}
