//! The records of the commit log as they are stored (JSON; `schemas/commit-record.schema.json`).

use lakeward_core::{Checkpoint, TableId};
use serde::{Deserialize, Serialize};

use crate::objects::{Part, Upload};

/// Version of the stored form. A reader refuses a greater one.
pub const FORMAT: u32 = 1;

/// One record: `log/<number>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// The pipeline it belongs to.
    pub pipeline: String,
    /// Its number; equals the name of its object.
    pub number: u64,
    /// The epoch of its writer: the number of the claim that writer put.
    pub epoch: u64,
    /// Every record up to this number has all its files visible.
    pub shown_through: u64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// SHA-256 over the record without this field: tells our own put from another's, and a
    /// damaged record from a whole one.
    pub hash: String,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A writer takes the epoch `number` and revokes lower ones.
    Claim {
        /// The pipeline's checkpoint, unchanged; `None` before the first commit.
        checkpoint: Option<Checkpoint>,
    },
    /// Files and the checkpoint that they bring the lake to.
    Commit {
        /// The checkpoint it goes on from.
        from: Option<Checkpoint>,
        /// The checkpoint it brings the lake to.
        to: Checkpoint,
        /// The files.
        files: Vec<FileEntry>,
        /// Set on a repair: the record whose lost files these replace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repairs: Option<u64>,
    },
}

/// One file of a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its invisible object: key, upload id, `lakeward-id`.
    #[serde(flatten)]
    pub upload: Upload,
    /// Its parts.
    pub parts: Vec<Part>,
    /// Its table.
    pub table: TableId,
    /// The version of its rows.
    pub schema_version: u32,
    /// Its partition folder, as `dt=2026-11-21/hr=05`.
    pub partition: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Lowest and highest `_seq`.
    pub seq: (i64, i64),
    /// Earliest and latest `_commit_ts`, µs UTC.
    pub commit_us: (i64, i64),
    /// Per column: name, nulls, and least and greatest value as text where they are short.
    pub columns: Vec<ColumnStats>,
}

/// Statistics of one column of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// Column name.
    pub name: String,
    /// Null values.
    pub nulls: u64,
    /// Least value as text, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// Greatest value as text, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
}
