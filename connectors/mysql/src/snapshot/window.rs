//! The window of a chunk: why rows that are read while the stream runs never overtake it.
//!
//! # The argument
//!
//! The stream yields transactions in the order of the log. A chunk is read in three steps:
//! 1. *Open*, between two transactions of the stream: everything gathered is sent, `G` is noted (the
//!    transactions yielded so far), and from here on the keys of all changes of the table are recorded.
//! 2. *Read*, on the reading connection: wait until `G` is executed there, SELECT the range, then note
//!    `H`, what is executed now.
//! 3. *Release*, between two transactions of the stream, once it has yielded all of `H`: rows whose key
//!    was recorded are dropped, the others get numbers and go out.
//!
//! Take a row that is released, and a transaction `T` that changed its key.
//! - *`T` was yielded before the window opened.* Then `T` is in `G`, and so executed on the server that
//!   was read before the SELECT began. A transaction enters `gtid_executed` after the storage engine
//!   has committed it, so the SELECT saw `T`: the row is at least as new as `T`.
//! - *`T` is yielded while the window is open.* Then its key was recorded, and the row is not released.
//!   The stream has the key, in the right order, whatever the SELECT saw.
//! - *`T` is yielded after the release.* Then its event has a higher number than the row and wins, as
//!   it must: the row is as old as `T` or older.
//!
//! So for each key the event with the highest number is the newest, for any moment at which `T` became
//! visible. In particular this holds where the log is ahead of what a SELECT sees: with semi-synchronous
//! replication in AFTER_SYNC mode a transaction is yielded seconds before it is visible, and is then in
//! `G` and waited for, or recorded; with `binlog_order_commits=OFF` transactions become visible in
//! another order than the log's, which no step relies on: sets are compared, never an order.
//! A row that the SELECT did not see, as it was deleted, is not released; its `d` event is yielded
//! before (and then the key is void in the lake), recorded, or comes later.
//!
//! `H` is not needed for that. It keeps the lake from showing a row that is newer than everything else
//! in it: a checkpoint with the row also covers all transactions that were executed when the SELECT
//! ended. (A transaction that is just being committed may be seen by the SELECT and not be in `H` yet;
//! its row is then a moment ahead of its event, which follows.) And it decides about structures: an
//! ALTER that the SELECT saw the result of has left `gtid_executed` behind when its lock was released,
//! so it is in `H` and is yielded before the release. [`Decoder::structure_touched`] voids all windows
//! of the table then. So the structure that a chunk was read with is the table's at its release.
//!
//! *An XA transaction* is in the log twice: its rows when it is prepared, and its COMMIT. SELECTs see it only from the
//! latter on, so for it `T` is both together; what a COMMIT makes visible is read after it
//! (`crate::source::decoder::prepared`).
//!
//! *On a replica* all of step 2 happens on the replica, whose `gtid_executed` holds the same names of
//! transactions. `H` is cut to those that the source has, as the stream never yields the others. With
//! AFTER_SYNC a replica may be ahead of the source's own `gtid_executed`; such a row is a moment ahead.
//!
//! *Purged transactions* are left out of `H`: those of the server whose log is read come in no stream any more.
//! They were yielded (the server keeps a log that it sends, and a stream that lacks others is refused), or an
//! operator named them (`SET GLOBAL gtid_purged = '+…'`) and they are in no log: what they did is not logged, as
//! no window could tell.
//!
//! *After a failover* the stream goes on at another server, which has all that was yielded, but may lack a
//! transaction of `H` that was never yielded: its rows must not be released, and waiting for it would never end.
//! So all windows are void where a stream begins at another server ([`Decoder::stream_begins`]), and what is read
//! from then on is read on links that are opened from then on. Step 2 may go from one link to another while it
//! waits for `G`: all of it that counts happens on the last one.
//!
//! *Without GTIDs* step 2 is: lock the table for reading, note the end `P` of the log, open a consistent
//! view in the reading session, unlock. The lock waits for every transaction that changed the table
//! until it is committed and visible, and lets no other begin: the view holds exactly the table's
//! changes before `P`. So what was yielded before the window opened is in the view (it lies before `P`
//! and had the table locked), and the rest is as above, with the end of the log after the SELECT in the
//! place of `H`: it lies behind `P`, and behind whatever altered the table before it was described.
//!
//! *Broken links.* A transaction of which rows were sent before the link broke is read again, and those
//! rows are not sent again: they were recorded by the windows that were open then. A window that opened
//! between would not have them, so none opens, and nothing is released, until the transaction is whole
//! ([`Decoder::is_between`]). After a crash there are no windows: chunks that were not released are read
//! again in new ones.
//!
//! *Keys are compared by bytes*, as values of the lake, never by collation. That suffices: a change of a
//! row is in the log with the bytes of its key before and after, so the bytes that the SELECT saw are
//! recorded if their row was changed at all. (Keys with zero or partial dates that the policy makes NULL
//! are one key here, as they are in the lake.)
//!
//! Unknown: a change that is never logged (refused elsewhere), a replica that was written to, a transaction that
//! a SELECT saw an instant before it was in `H` and that a failover lost in that instant.
//!
//! [`Decoder::stream_begins`]: crate::source
//! [`Decoder::structure_touched`]: crate::source
//! [`Decoder::is_between`]: crate::source

use std::collections::{HashSet, VecDeque};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};
use lakeward_core::{Error, ErrorKind, Result, TableSchema};

/// Columns of a key with their types in the lake: keys are comparable where these are equal.
type Shape = Vec<(String, DataType)>;

/// Turns key columns into bytes that are equal where the values are.
pub(crate) struct KeyBytes {
    shape: Shape,
    places: Vec<usize>,
    converter: RowConverter,
}

impl KeyBytes {
    /// For the key of `schema`; `None` for a table without one.
    pub(crate) fn of(schema: &TableSchema) -> Result<Option<KeyBytes>> {
        if schema.key.is_empty() {
            return Ok(None);
        }
        let shape: Shape = schema
            .key
            .iter()
            .filter_map(|at| schema.arrow.fields().get(*at))
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect();
        let fields = shape.iter().map(|(_, data_type)| SortField::new(data_type.clone())).collect();
        let converter = RowConverter::new(fields).map_err(unconverted)?;
        Ok(Some(KeyBytes { shape, places: schema.key.clone(), converter }))
    }

    /// The keys of a batch of rows.
    pub(crate) fn keys(&self, rows: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> =
            self.places.iter().filter_map(|at| rows.columns().get(*at)).cloned().collect();
        self.converter.convert_columns(&columns).map_err(unconverted)
    }
}

#[cold]
fn unconverted(error: ArrowError) -> Error {
    Error::new(ErrorKind::Bug, "keys cannot be turned into bytes").caused_by(error)
}

/// The keys that the stream changed in a table while windows are open.
#[derive(Default)]
pub(crate) struct Recording {
    by: Option<KeyBytes>,
    /// Each with the number of batches before it.
    batches: VecDeque<(u64, Rows)>,
    count: u64,
    bytes: usize,
    /// Windows that opened before this many batches do not have all keys.
    whole_from: u64,
}

impl Recording {
    /// A window opens: what is recorded from here on counts for it.
    pub(crate) fn open(&self) -> u64 {
        self.count
    }

    /// Records the keys of a batch.
    pub(crate) fn record(&mut self, schema: &TableSchema, rows: &RecordBatch) -> Result<()> {
        let same = |by: &KeyBytes| {
            by.places == schema.key
                && by.shape.iter().zip(&schema.key).all(|((name, data_type), at)| {
                    schema
                        .arrow
                        .fields()
                        .get(*at)
                        .is_some_and(|f| f.name() == name && f.data_type() == data_type)
                })
        };
        if !self.by.as_ref().is_some_and(same) {
            // Keys of another shape, or none: what was recorded cannot be compared with them.
            self.batches.clear();
            self.bytes = 0;
            self.whole_from = self.count + u64::from(self.by.is_some() || schema.key.is_empty());
            self.by = KeyBytes::of(schema)?;
        }
        self.count += 1;
        if let Some(by) = &self.by {
            let keys = by.keys(rows)?;
            self.bytes += keys.size();
            self.batches.push_back((self.count - 1, keys));
        }
        Ok(())
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// No window that opened before `oldest` is left.
    pub(crate) fn forget_before(&mut self, oldest: u64) {
        while self.batches.front().is_some_and(|(at, _)| *at < oldest) {
            if let Some((_, keys)) = self.batches.pop_front() {
                self.bytes = self.bytes.saturating_sub(keys.size());
            }
        }
    }

    /// The keys recorded for a window that opened at `since`, to be compared with those of `by`; `None`
    /// if they are not comparable, and the chunk must be read again.
    pub(crate) fn since(&self, since: u64, by: &KeyBytes) -> Option<HashSet<Row<'_>>> {
        let nothing = self.count == since;
        if !nothing && (since < self.whole_from || self.by.as_ref().is_none_or(|own| own.shape != by.shape)) {
            return None;
        }
        let later = self.batches.iter().filter(|(at, _)| *at >= since);
        Some(later.flat_map(|(_, keys)| keys.iter()).collect())
    }
}

/// The rows whose key was not recorded.
pub(crate) fn unrecorded(rows: RecordBatch, keys: &Rows, recorded: &HashSet<Row<'_>>) -> Result<RecordBatch> {
    if recorded.is_empty() || !keys.iter().any(|key| recorded.contains(&key)) {
        return Ok(rows);
    }
    let kept: BooleanArray = keys.iter().map(|key| Some(!recorded.contains(&key))).collect();
    filter_record_batch(&rows, &kept)
        .map_err(|error| Error::new(ErrorKind::Bug, "rows cannot be filtered").caused_by(error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, Int32Array, StringArray};
    use lakeward_core::{Column, ColumnType, TableId, TypeOptions};

    use super::*;

    fn schema(key: &[usize]) -> TableSchema {
        let column = |name: &str, ty| Column::new(name, ty, false);
        let columns = vec![
            column("a", ColumnType::Int { width: 4, unsigned: false, display_one: false }),
            column("b", ColumnType::Text { collation: 255 }),
        ];
        TableSchema::new(TableId::new("d", "t"), 1, columns, key.to_vec(), TypeOptions::default())
    }

    fn rows(schema: &TableSchema, rows: &[(i32, &str)]) -> RecordBatch {
        let a = Int32Array::from_iter_values(rows.iter().map(|row| row.0));
        let b = StringArray::from_iter_values(rows.iter().map(|row| row.1));
        RecordBatch::try_new(schema.arrow.clone(), vec![Arc::new(a), Arc::new(b)]).unwrap()
    }

    fn kept(schema: &TableSchema, recording: &Recording, since: u64, batch: RecordBatch) -> Option<Vec<i32>> {
        let by = KeyBytes::of(schema).unwrap().unwrap();
        let keys = by.keys(&batch).unwrap();
        let left = unrecorded(batch, &keys, &recording.since(since, &by)?).unwrap();
        let a = left.column(0).as_any().downcast_ref::<Int32Array>().unwrap();
        Some(a.values().to_vec())
    }

    #[test]
    fn rows_of_keys_recorded_since_the_window_opened_are_dropped_and_no_others() {
        for key in [&[0usize][..], &[1, 0]] {
            let schema = schema(key);
            let mut recording = Recording::default();
            recording.record(&schema, &rows(&schema, &[(1, "x")])).unwrap();
            let since = recording.open();
            recording.record(&schema, &rows(&schema, &[(2, "x"), (3, "y")])).unwrap();
            recording.record(&schema, &rows(&schema, &[(5, "x")])).unwrap();
            let chunk = rows(&schema, &[(1, "x"), (2, "x"), (3, "x"), (4, "x"), (5, "x")]);
            let expected = if key.len() == 1 { vec![1, 4] } else { vec![1, 3, 4] };
            assert_eq!(kept(&schema, &recording, since, chunk), Some(expected));
        }
    }

    #[test]
    fn a_window_in_which_nothing_changed_keeps_all_rows() {
        let schema = schema(&[0]);
        let recording = Recording::default();
        let chunk = rows(&schema, &[(1, "x"), (2, "x")]);
        assert_eq!(kept(&schema, &recording, recording.open(), chunk), Some(vec![1, 2]));
    }

    #[test]
    fn keys_that_were_not_recorded_or_have_another_shape_void_the_window() {
        let (by_a, none) = (schema(&[0]), schema(&[]));
        let mut recording = Recording::default();
        let since = recording.open();
        recording.record(&none, &rows(&none, &[(1, "x")])).unwrap();
        assert_eq!(kept(&by_a, &recording, since, rows(&by_a, &[(1, "x")])), None);
        let since = recording.open();
        recording.record(&by_a, &rows(&by_a, &[(1, "x")])).unwrap();
        assert_eq!(kept(&by_a, &recording, since, rows(&by_a, &[(1, "x"), (2, "x")])), Some(vec![2]));
        let by_b = schema(&[1]);
        assert_eq!(kept(&by_b, &recording, since, rows(&by_b, &[(1, "x")])), None);
    }

    #[test]
    fn what_no_window_needs_is_forgotten() {
        let schema = schema(&[0]);
        let mut recording = Recording::default();
        for n in 0..10 {
            recording.record(&schema, &rows(&schema, &[(n, "x")])).unwrap();
        }
        let (all, oldest) = (recording.bytes(), 8);
        recording.forget_before(oldest);
        assert!(recording.bytes() < all / 3);
        assert_eq!(kept(&schema, &recording, oldest, rows(&schema, &[(7, "x"), (8, "x")])), Some(vec![7]));
    }
}
