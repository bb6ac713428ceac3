//! Change events of one table and one schema version, as Arrow arrays: the only form in which rows
//! move between parts.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::{TableId, TableSchema};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Inserted.
    Create,
    /// Updated, with its key unchanged.
    Update,
    /// Deleted.
    Delete,
    /// Read by a snapshot or an extraction.
    Read,
    /// All earlier events of the table are void.
    Truncate,
}

impl Op {
    /// Its letter in `_op`.
    pub const fn letter(self) -> &'static str {
        match self {
            Op::Create => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Read => "r",
            Op::Truncate => "t",
        }
    }
}

/// Where on the source a run of consecutive rows comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Commit time on the server we read, microseconds since 1970-01-01 UTC. It places the row in
    /// its partition; order is `seq` alone.
    pub commit_us: i64,
    /// The transaction's GTID, where the server has them.
    pub gtid: Option<Arc<str>>,
    /// Binlog file of the event.
    pub file: Arc<str>,
    /// Offset of the event in `file` (inside a compressed transaction: of the whole payload's end).
    pub offset: u64,
    /// `server_id` of the server where the transaction began; 0 for what comes from no transaction.
    pub server_id: u32,
    /// The server's thread that made the change; `None` where the log does not tell it.
    pub thread: Option<u32>,
    /// Where its transaction began. `None` for what comes from none (rows of a snapshot, marks), and for rows that were
    /// read from records.
    pub began: Option<Began>,
}

/// Where a transaction of the source began. Its rows have the numbers from `seq` on, without gaps, over all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// The number of its first row.
    pub seq: i64,
    /// Offset in the origin's file; no other transaction begins there.
    pub offset: u64,
}

/// `rows` consecutive rows of a batch that share an origin and whose numbers within their event ascend by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRun {
    /// How many rows; never 0.
    pub rows: usize,
    /// The number of the first one within its event, from 0. Both halves of an update that changes the key
    /// have the number of the update. Rows of a snapshot come from no event: 0.
    pub first_row: u32,
    /// Where they come from.
    pub origin: Origin,
}

impl OriginRun {
    /// The part of it that begins `skip` rows later and has `rows` rows.
    #[must_use]
    pub fn part(&self, skip: usize, rows: usize) -> OriginRun {
        let skipped = u32::try_from(skip).unwrap_or(u32::MAX);
        OriginRun { rows, first_row: self.first_row.saturating_add(skipped), origin: self.origin.clone() }
    }
}

/// What is known of each row beside its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeMeta {
    /// What happened, one per row.
    pub op: Vec<Op>,
    /// The sequence number, one per row, strictly ascending within a batch and over the batches of
    /// a table (of one topic partition, where they name it).
    pub seq: Vec<i64>,
    /// The topic partition that the rows are of, where a table's numbers ascend in each of its topic
    /// partitions alone and not over all of them; then every batch of the table names one. A table that has
    /// one order names none.
    pub topic_partition: Option<i32>,
    /// Origins, run-length encoded; their rows add up to `op.len()`.
    pub origins: Vec<OriginRun>,
}

/// Change events of one table and one schema version.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// Table, version, columns, key.
    pub schema: Arc<TableSchema>,
    /// One column per table column: the image that stands after the change (for `d`: the last one).
    pub rows: RecordBatch,
    /// Previous images where asked for, same length; a row is all null where there is none.
    pub before: Option<RecordBatch>,
    /// Op, sequence, origin.
    pub meta: ChangeMeta,
}

impl ChangeBatch {
    /// The rows from `start` on, `rows` of them: shares the arrays. Both lie within it.
    #[must_use]
    pub fn slice(&self, start: usize, rows: usize) -> ChangeBatch {
        let end = start + rows;
        let mut at = 0;
        let mut origins = Vec::new();
        for run in &self.meta.origins {
            let (from, to) = (at.max(start), (at + run.rows).min(end));
            if from < to {
                origins.push(run.part(from - at, to - from));
            }
            at += run.rows;
        }
        let part = |of: &RecordBatch| of.slice(start, rows);
        ChangeBatch {
            schema: Arc::clone(&self.schema),
            rows: part(&self.rows),
            before: self.before.as_ref().map(part),
            meta: ChangeMeta {
                op: self.meta.op.iter().skip(start).take(rows).copied().collect(),
                seq: self.meta.seq.iter().skip(start).take(rows).copied().collect(),
                topic_partition: self.meta.topic_partition,
                origins,
            },
        }
    }

    /// Memory held by its arrays, in bytes.
    pub fn bytes(&self) -> usize {
        let arrays = |batch: &RecordBatch| batch.get_array_memory_size();
        arrays(&self.rows) + self.before.as_ref().map_or(0, arrays) + self.meta.op.len() * 9
    }
}

/// Why all earlier events of a table are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkReason {
    /// TRUNCATE TABLE in the log.
    Truncate,
    /// A whole re-read of the table ended.
    Reread,
}

/// A `t` event: all earlier events of the table are void.
#[derive(Clone, Debug)]
pub struct TableMark {
    /// The table's version when it was made.
    pub schema: Arc<TableSchema>,
    /// Its number.
    pub seq: i64,
    /// Where it comes from.
    pub origin: Origin,
    /// Why.
    pub reason: MarkReason,
}

impl TableMark {
    /// The table it voids.
    pub fn table(&self) -> &TableId {
        &self.schema.table
    }
}
