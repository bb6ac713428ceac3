//! The records of the commit log as they are stored (JSON; `schemas/commit-record.schema.json`).
//!
//! `hash` is the last field and covers the stored bytes before it, exactly as they lie in the store:
//! a damaged record is told without trusting any of its fields, and by any program in two lines.
//! Two records are equal if and only if their hashes are; a claim names the process that put it, so
//! two processes racing for one number never put equal records.

use std::collections::BTreeMap;

use bytes::Bytes;
use lakeward_core::{Checkpoint, Error, ErrorKind, Position, Result, TableId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::columns::LakeVersion;
use crate::objects::{Part, Upload};

/// Version of the stored form. A reader refuses a greater one. A record bears the least version that has
/// all it says: 1 knows one writer at a time and positions in a binlog, 2 also [`Record::workers`] and
/// positions in topic partitions.
pub const FORMAT: u32 = 2;

/// One record: `log/<number>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// At most [`FORMAT`].
    pub format: u32,
    /// The pipeline it belongs to.
    pub pipeline: String,
    /// Its number; equals the name of its object.
    pub number: u64,
    /// The epoch of its writer: the number of the claim that writer put.
    pub epoch: u64,
    /// Every record up to this number has all its files visible.
    pub shown_through: u64,
    /// Who may put the record after this one without a claim: the workers that share the log, by epoch.
    /// Empty where it is not shared; then that is the writer of this record alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<Worker>,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// SHA-256, in hexadecimal, of the stored bytes before `,"hash":`: tells our own put from
    /// another's, and a damaged record from a whole one.
    pub hash: String,
}

/// A writer that shares the log with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its epoch.
    pub epoch: u64,
    /// The process that claimed it.
    pub writer: Uuid,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "few are held at a time")]
pub enum Entry {
    /// A writer takes the epoch `number`. It revokes all lower ones but those of [`Record::workers`].
    Claim {
        /// The pipeline's checkpoint, unchanged; `None` before the first commit.
        checkpoint: Option<Checkpoint>,
        /// The process that claims, unique to it: without it the claims of two processes racing for
        /// one number would be equal, and the loser would take the winner's for its own.
        writer: Uuid,
    },
    /// Files and the checkpoint that they bring the lake to.
    Commit {
        /// The checkpoint it goes on from: that of the record before.
        from: Option<Checkpoint>,
        /// The checkpoint it brings the lake to. A repair leaves it where it was.
        to: Checkpoint,
        /// Table versions that no record before named. They are decided here, and copied into the
        /// lake's schema folder when the record is shown.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        schemas: Vec<LakeVersion>,
        /// The files.
        files: Vec<FileEntry>,
        /// Set on a repair: what the files replace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repairs: Option<Repairs>,
    },
}

/// What the files of a repair replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repairs {
    /// The record whose files were lost.
    pub record: u64,
    /// The keys of those files; none of them is in the lake.
    pub lost: Vec<String>,
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
    /// The same of each topic partition, where `_seq` ascends in these alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "by_number")]
    pub topic_partitions: BTreeMap<i32, (i64, i64)>,
    /// Earliest and latest `_commit_ts`, µs UTC.
    pub commit_us: (i64, i64),
    /// Per column: name, nulls, and least and greatest value as text where they are short.
    pub columns: Vec<ColumnStats>,
}

/// Keys of JSON are text, and stay so where a value is held back until its kind is known (a flattened record).
fn by_number<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<i32, (i64, i64)>, D::Error> {
    let ranges = BTreeMap::<String, (i64, i64)>::deserialize(deserializer)?;
    let number = |text: String| text.parse().map_err(serde::de::Error::custom);
    ranges.into_iter().map(|(text, range)| Ok((number(text)?, range))).collect()
}

/// Statistics of one column of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// Column name in the lake.
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

const HASH_FIELD: &[u8] = b",\"hash\":\"";
const HASH_END: &[u8] = b"\"}";
const HASH_LEN: usize = 64;

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn corrupt(number: u64, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::LakeCorrupt, message)
        .at("record", number)
        .remedy("restore the record's object from a version or backup; lakeward never rewrites one")
}

impl Record {
    /// A record with its hash, and the bytes to store.
    ///
    /// # Errors
    /// `Bug` if it cannot be written as JSON.
    pub fn new(
        pipeline: &str,
        number: u64,
        epoch: u64,
        shown_through: u64,
        workers: Vec<Worker>,
        entry: Entry,
    ) -> Result<(Record, Bytes)> {
        let bug = |message: &str| Error::new(ErrorKind::Bug, message).at("record", number);
        let pipeline = pipeline.to_owned();
        let hash = String::new();
        let format = if workers.is_empty() && !is_of_kafka(&entry) { 1 } else { FORMAT };
        let mut record = Record { format, pipeline, number, epoch, shown_through, workers, entry, hash };
        let mut body = serde_json::to_vec(&record)
            .map_err(|error| bug("the record cannot be written as JSON").caused_by(error))?;
        let tail = HASH_FIELD.len() + HASH_END.len();
        let hashed = body.len().checked_sub(tail).ok_or_else(|| bug("the record is too short"))?;
        body.truncate(hashed);
        record.hash = hex_sha256(&body);
        body.extend_from_slice(HASH_FIELD);
        body.extend_from_slice(record.hash.as_bytes());
        body.extend_from_slice(HASH_END);
        Ok((record, body.into()))
    }

    /// The record whose object `number` of `pipeline` holds `body`.
    ///
    /// # Errors
    /// `LakeCorrupt` if it is damaged, of a newer format, of another pipeline or of another number.
    pub fn read(pipeline: &str, number: u64, body: &[u8]) -> Result<Record> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |error| corrupt(number, "the commit record is damaged").caused_by(error);
        let Format { format } = serde_json::from_slice(body).map_err(damaged)?;
        if format > FORMAT {
            let message = format!("the commit record has format {format}; this program knows {FORMAT}");
            return Err(Error::new(ErrorKind::LakeCorrupt, message)
                .at("record", number)
                .remedy("run the version of lakeward that wrote it, or a later one"));
        }
        let tail = HASH_FIELD.len() + HASH_LEN + HASH_END.len();
        let (hashed, tail) = body
            .len()
            .checked_sub(tail)
            .and_then(|at| body.split_at_checked(at))
            .ok_or_else(|| corrupt(number, "the commit record is cut off"))?;
        let hash = hex_sha256(hashed);
        if tail.strip_prefix(HASH_FIELD).and_then(|tail| tail.strip_suffix(HASH_END)) != Some(hash.as_bytes())
        {
            return Err(corrupt(number, "the commit record is damaged: its hash does not fit its bytes"));
        }
        let record: Record = serde_json::from_slice(body).map_err(damaged)?;
        if record.pipeline != pipeline {
            let message = format!("the commit record belongs to pipeline `{}`", record.pipeline);
            return Err(corrupt(number, message).at("pipeline", pipeline));
        }
        if record.number != number {
            return Err(corrupt(
                number,
                format!("the commit record says that it is number {}", record.number),
            ));
        }
        Ok(record)
    }

    /// The pipeline's checkpoint once this record stands.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        match &self.entry {
            Entry::Claim { checkpoint, .. } => checkpoint.as_ref(),
            Entry::Commit { to, .. } => Some(to),
        }
    }

    /// Whether the writer of `epoch`, which claimed at or below this record, is not revoked by then.
    pub fn admits(&self, epoch: u64) -> bool {
        match self.workers.as_slice() {
            [] => self.epoch == epoch,
            workers => workers.iter().any(|worker| worker.epoch == epoch),
        }
    }

    /// Whether it makes nothing visible.
    pub fn shows_nothing(&self) -> bool {
        match &self.entry {
            Entry::Claim { .. } => true,
            Entry::Commit { files, schemas, .. } => files.is_empty() && schemas.is_empty(),
        }
    }

    /// It without its files and schemas: all that the record after it is checked against.
    #[must_use]
    pub fn bare(mut self) -> Self {
        if let Entry::Commit { files, schemas, .. } = &mut self.entry {
            files.clear();
            schemas.clear();
        }
        self
    }

    /// Checks that it may stand right after `before`: the chain of checkpoints goes on unbroken,
    /// and no writer puts a record after a claim that revoked it.
    ///
    /// # Errors
    /// `LakeCorrupt`.
    pub fn follows(&self, before: Option<&Record>) -> Result<()> {
        let number = before.map_or(0, |before| before.number) + 1;
        if self.number != number {
            return Err(corrupt(self.number, format!("the commit record should be number {number}")));
        }
        let (from, legal_epoch) = match &self.entry {
            Entry::Claim { checkpoint, .. } => (checkpoint, self.epoch == self.number),
            Entry::Commit { from, .. } => (from, before.is_some_and(|before| before.admits(self.epoch))),
        };
        if !legal_epoch || !self.admits(self.epoch) {
            let epoch_before = before.map_or(0, |before| before.epoch);
            let message = format!("a record of epoch {} stands after epoch {epoch_before}", self.epoch);
            return Err(corrupt(self.number, message));
        }
        if !self.keeps_workers(before) {
            return Err(corrupt(self.number, "the record names other workers than the one before it"));
        }
        if from.as_ref() != before.and_then(Record::checkpoint) {
            return Err(corrupt(self.number, "the record does not go on from the checkpoint before it"));
        }
        if self.shown_through >= self.number
            || self.shown_through < before.map_or(0, |before| before.shown_through)
        {
            return Err(corrupt(self.number, format!("`shown_through` cannot be {}", self.shown_through)));
        }
        Ok(())
    }

    /// Whether its workers are those of the record before: a claim adds its own, and leaves others out.
    fn keeps_workers(&self, before: Option<&Record>) -> bool {
        let before = before.map_or([].as_slice(), |before| before.workers.as_slice());
        match &self.entry {
            Entry::Claim { writer, .. } => {
                let own = Worker { epoch: self.epoch, writer: *writer };
                self.workers.iter().all(|worker| *worker == own || before.contains(worker))
            }
            Entry::Commit { .. } => self.workers == before,
        }
    }
}

fn is_of_kafka(entry: &Entry) -> bool {
    let checkpoint = match entry {
        Entry::Claim { checkpoint, .. } => checkpoint.as_ref(),
        Entry::Commit { to, .. } => Some(to),
    };
    matches!(checkpoint.map(|checkpoint| &checkpoint.position), Some(Position::Kafka(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> (Record, Bytes) {
        let entry = Entry::Claim { checkpoint: None, writer: Uuid::from_u128(7) };
        Record::new("p", 1, 1, 0, Vec::new(), entry).unwrap()
    }

    #[test]
    fn a_record_comes_back_as_it_was_stored() {
        let (record, body) = claim();
        assert_eq!(Record::read("p", 1, &body).unwrap(), record);
        record.follows(None).unwrap();
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let (_, body) = claim();
        for at in 0..body.len() {
            let mut flipped = body.to_vec();
            flipped[at] ^= 1;
            let error = Record::read("p", 1, &flipped).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LakeCorrupt, "byte {at}");
            assert_eq!(Record::read("p", 1, &body[..at]).unwrap_err().kind(), ErrorKind::LakeCorrupt);
        }
    }

    #[test]
    fn a_foreign_record_is_refused() {
        let (_, body) = claim();
        assert!(Record::read("q", 1, &body).unwrap_err().to_string().contains("pipeline `p`"));
        assert!(Record::read("p", 2, &body).unwrap_err().to_string().contains("number 1"));
    }

    #[test]
    fn claims_of_two_processes_differ() {
        let other = Entry::Claim { checkpoint: None, writer: Uuid::from_u128(8) };
        assert_ne!(Record::new("p", 1, 1, 0, Vec::new(), other).unwrap().0.hash, claim().0.hash);
    }

    #[test]
    fn a_commit_of_a_revoked_writer_is_refused() {
        let (first, _) = claim();
        let entry = Entry::Claim { checkpoint: None, writer: Uuid::from_u128(8) };
        let (second, _) = Record::new("p", 2, 2, 1, Vec::new(), entry).unwrap();
        second.follows(Some(&first)).unwrap();
        let late = Entry::Claim { checkpoint: None, writer: Uuid::from_u128(7) };
        let (late, _) = Record::new("p", 3, 1, 2, Vec::new(), late).unwrap();
        assert!(late.follows(Some(&second)).unwrap_err().to_string().contains("epoch 1"));
    }
}
