//! The columns of a file: the table's own, then those that lakeward adds.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int8Type, Int32Type, Schema, SchemaRef, TimeUnit};
use lakeward_core::{ChangeBatch, ChangeMeta, Error, ErrorKind, Op, Result, TableSchema};

use crate::columns::LakeVersion;
use crate::config::MetaColumns;

/// The columns of a file.
pub(super) struct Shape {
    /// The table's version.
    pub(super) version: Arc<LakeVersion>,
    /// Whether previous images are in it.
    pub(super) before: bool,
    /// Arrow schema of the batches given to the Parquet writer. Values that repeat in runs are
    /// dictionaries here; in the file they are plain strings.
    pub(super) arrow: SchemaRef,
}

const OPS: [Op; 5] = [Op::Create, Op::Update, Op::Delete, Op::Read, Op::Truncate];

fn dictionary(key: DataType) -> DataType {
    DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8))
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl Shape {
    pub(super) fn new(version: Arc<LakeVersion>, before: bool, names: &MetaColumns) -> Self {
        let own = version.fields();
        let mut fields: Vec<Field> = own.iter().map(|field| Field::clone(field)).collect();
        fields.extend([
            Field::new(&names.op, dictionary(DataType::Int8), false),
            Field::new(&names.seq, DataType::Int64, false),
            Field::new(&names.commit_ts, utc(), false),
            Field::new(&names.gtid, dictionary(DataType::Int32), true),
            Field::new(&names.binlog, dictionary(DataType::Int32), false),
            Field::new(&names.schema, DataType::Int32, false),
        ]);
        if before {
            fields.push(Field::new(&names.before, DataType::Struct(own), true));
        }
        Shape { version, before, arrow: Arc::new(Schema::new(fields)) }
    }

    /// The table's version on the source.
    pub(super) fn table(&self) -> &TableSchema {
        &self.version.table
    }

    /// The file's columns for a batch of this shape.
    pub(super) fn columns(&self, batch: ChangeBatch) -> Result<RecordBatch> {
        let (_, mut columns, _) = batch.rows.into_parts();
        columns.extend(self.added(&batch.meta)?);
        if let (true, Some(before)) = (self.before, batch.before) {
            columns.push(images(before, self.version.fields(), &batch.meta.op)?);
        }
        RecordBatch::try_new(Arc::clone(&self.arrow), columns).map_err(|error| self.malformed(error))
    }

    /// The added columns, in the order of [`Shape::new`]. Strings are made once per run of rows.
    fn added(&self, meta: &ChangeMeta) -> Result<[ArrayRef; 6]> {
        let rows = meta.op.len();
        let mut commit = Vec::with_capacity(rows);
        let mut gtid_keys: Vec<Option<i32>> = Vec::with_capacity(rows);
        let mut binlog_keys: Vec<i32> = Vec::with_capacity(rows);
        let (mut gtids, mut places): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
        for run in &meta.origins {
            let origin = &run.origin;
            let gtid = match &origin.gtid {
                None => None,
                Some(gtid) => {
                    if gtids.last() != Some(&&**gtid) {
                        gtids.push(gtid);
                    }
                    Some(last_key(gtids.len()))
                }
            };
            places.push(format!("{}:{}", origin.file, origin.offset));
            commit.resize(commit.len() + run.rows, origin.commit_us);
            gtid_keys.resize(gtid_keys.len() + run.rows, gtid);
            binlog_keys.resize(binlog_keys.len() + run.rows, last_key(places.len()));
        }
        let ops = Int8Array::from_iter_values(meta.op.iter().map(|op| *op as i8));
        let letters = StringArray::from_iter_values(OPS.iter().map(|op| op.letter()));
        let strings = |values: StringArray| Arc::new(values) as ArrayRef;
        let wrong = |error| self.malformed(error);
        let version = i32::try_from(self.table().version)
            .map_err(|error| Error::new(ErrorKind::Bug, "a table version is too large").caused_by(error))?;
        Ok([
            Arc::new(DictionaryArray::<Int8Type>::try_new(ops, strings(letters)).map_err(wrong)?),
            Arc::new(Int64Array::from(meta.seq.clone())),
            Arc::new(TimestampMicrosecondArray::from(commit).with_timezone("UTC")),
            Arc::new(
                DictionaryArray::<Int32Type>::try_new(
                    Int32Array::from(gtid_keys),
                    strings(StringArray::from_iter_values(gtids)),
                )
                .map_err(wrong)?,
            ),
            Arc::new(
                DictionaryArray::<Int32Type>::try_new(
                    Int32Array::from(binlog_keys),
                    strings(StringArray::from_iter_values(places)),
                )
                .map_err(wrong)?,
            ),
            Arc::new(Int32Array::from(vec![version; rows])),
        ])
    }

    fn malformed(&self, error: arrow::error::ArrowError) -> Error {
        Error::new(ErrorKind::Bug, "a change batch does not fit its table version")
            .at("table", &self.table().table)
            .at("version", self.table().version)
            .caused_by(error)
    }
}

/// The key of the last of `values` dictionary values. A batch has fewer than 2^31 runs: its row
/// offsets are 32 bits wide.
fn last_key(values: usize) -> i32 {
    i32::try_from(values.saturating_sub(1)).unwrap_or(i32::MAX)
}

/// Previous images as one column: null where there is none, which the op tells for all but
/// deletes; a delete has one if any of its values is there.
fn images(before: RecordBatch, fields: Fields, ops: &[Op]) -> Result<ArrayRef> {
    let there = |row: usize| before.columns().iter().any(|column| column.is_valid(row));
    let present: NullBuffer = ops
        .iter()
        .enumerate()
        .map(|(row, op)| match op {
            Op::Update => true,
            Op::Delete => there(row),
            Op::Create | Op::Read | Op::Truncate => false,
        })
        .collect::<Vec<bool>>()
        .into();
    let (_, columns, _) = before.into_parts();
    StructArray::try_new(fields, columns, Some(present))
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| Error::new(ErrorKind::Bug, "previous images are malformed").caused_by(error))
}
