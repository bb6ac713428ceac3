//! What a pipeline must know to go on, stored only together with the data it covers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Position, TableId};

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
    /// Every table seen so far. Shared: a source yields many checkpoints between two changes of it.
    #[serde(with = "table_list")]
    pub tables: Arc<BTreeMap<TableId, TableState>>,
}

/// What is known of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// The version in force at the checkpoint (0: none seen yet). Its structure is stored with the
    /// lake's schemas.
    pub schema_version: u32,
    /// Whether its changes are captured.
    pub status: TableStatus,
}

/// Whether a table's changes are captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TableStatus {
    /// They are.
    Active,
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
        let tables = [
            (TableId::new("a.b", "c"), TableState { schema_version: 2, status: TableStatus::Active }),
            (TableId::new("a", "b.c"), TableState { schema_version: 0, status: stopped }),
        ];
        let checkpoint =
            Checkpoint { position, next_seq: i64::MAX, commit_us: Some(-1), tables: Arc::new(tables.into()) };
        let text = serde_json::to_string(&checkpoint).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), checkpoint);
    }
}
