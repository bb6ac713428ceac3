//! Encodes the change batches of one file. Runs off the async threads; one step at a time.
//!
//! A row group gathers in column writers until it is large enough. A batch with a very large value is a
//! row group of its own, whose columns are written and let go one after the other.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use lakeward_core::{ChangeBatch, Error, ErrorKind, Result};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::writer::SerializedFileWriter;

use super::budget::{Budget, Held};
use super::encodings;
use super::large_values::{self, has_large_value};
use super::part_buffer::PartBuffer;
use super::shape::Shape;
use super::upload::Pieces;
use crate::config::FileOptions;

/// Memory that each column of an open row group may hold beside what the Parquet writer reports:
/// the tables of its compressor, the bit packer's buffer of 1 MiB. An upper bound in practice:
/// 200 tables under a budget of 256 MiB stay 60 MiB below it (`parquet_cost tables`, with freed
/// buffers given back to the system at once).
const COLUMN_STANDING: usize = 1 << 20;
/// Greatest number of rows of a row group.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Batches smaller than this are joined first: each costs the writer a few microseconds.
const JOIN_BELOW: usize = 1024;

/// What an encoder needs to begin.
pub(super) struct Begin {
    pub(super) shape: Arc<Shape>,
    pub(super) options: Arc<FileOptions>,
    /// Key-value metadata of the file.
    pub(super) told: Vec<(&'static str, String)>,
    pub(super) part_size: usize,
    pub(super) budget: Arc<Budget>,
    pub(super) pieces: Pieces,
}

/// A Parquet file that is being written.
pub(super) struct Encoder {
    file: SerializedFileWriter<PartBuffer>,
    columns: ArrowRowGroupWriterFactory,
    /// The open row group's columns; empty where none is open.
    open: Vec<ArrowColumnWriter>,
    open_rows: usize,
    /// Greatest encoded size of a row group.
    row_group_size: usize,
    shape: Arc<Shape>,
    /// Nulls of each of the table's own columns.
    nulls: Vec<u64>,
    /// Its open row group's share of the budget.
    held: Held,
}

/// What is known of a file that was written to its end.
pub(super) struct Written {
    pub(super) metadata: ParquetMetaData,
    pub(super) nulls: Vec<u64>,
    pub(super) bytes: u64,
}

impl Encoder {
    /// Begins a file with its first batches, from which encodings are chosen.
    pub(super) fn begin(begin: Begin, first: Vec<ChangeBatch>) -> Result<Self> {
        let Begin { shape, options, told, part_size, budget, pieces } = begin;
        let batches = joined(&shape, first)?;
        let told = told.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
        let properties = {
            let empty = RecordBatch::new_empty(Arc::clone(&shape.arrow));
            let sample = batches.iter().max_by_key(|batch| batch.num_rows()).unwrap_or(&empty);
            encodings::properties(&shape, &options, told, sample)
        };
        let parts = PartBuffer::new(part_size, &budget, pieces);
        let schema = ArrowSchemaConverter::new()
            .with_coerce_types(true)
            .schema_root("lakeward")
            .convert(&shape.arrow)
            .map_err(|error| failed(&shape, error))?;
        let file = SerializedFileWriter::new(parts, schema.root_schema_ptr(), Arc::new(properties))
            .map_err(|error| failed(&shape, error))?;
        let mut encoder = Encoder {
            columns: ArrowRowGroupWriterFactory::new(&file, Arc::clone(&shape.arrow)),
            file,
            open: Vec::new(),
            open_rows: 0,
            row_group_size: options.row_group_size,
            nulls: vec![0; shape.table().columns.len()],
            shape,
            held: budget.hold(0),
        };
        encoder.write_all(batches)?;
        Ok(encoder)
    }

    /// Encodes batches of the file's shape.
    pub(super) fn write(&mut self, batches: Vec<ChangeBatch>) -> Result<()> {
        let batches = joined(&self.shape, batches)?;
        self.write_all(batches)
    }

    fn write_all(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        for batch in batches {
            for (nulls, column) in self.nulls.iter_mut().zip(batch.columns()) {
                *nulls += column.null_count() as u64;
            }
            if is_large(&batch) {
                self.end_row_group()?;
                self.write_row_group(batch).map_err(|error| failed(&self.shape, error))?;
            } else {
                self.gather(&batch).map_err(|error| failed(&self.shape, error))?;
            }
            self.account();
            if self.open_size() >= self.row_group_size || self.open_rows >= ROW_GROUP_ROWS {
                self.end_row_group()?;
            }
        }
        Ok(())
    }

    /// Encodes a batch into the open row group.
    fn gather(&mut self, batch: &RecordBatch) -> parquet::errors::Result<()> {
        if self.open.is_empty() {
            self.open = self.columns.create_column_writers(self.file.flushed_row_groups().len())?;
        }
        self.open_rows += batch.num_rows();
        let mut writers = self.open.iter_mut();
        for (field, column) in self.shape.arrow.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, column)? {
                let writer = writers.next().ok_or_else(too_many_leaves)?;
                writer.write(&leaf)?;
            }
        }
        Ok(())
    }

    /// Writes a batch as a row group of its own, and lets go of each column once it is encoded.
    fn write_row_group(&mut self, batch: RecordBatch) -> parquet::errors::Result<()> {
        let writers = self.columns.create_column_writers(self.file.flushed_row_groups().len())?;
        let mut places = writers.into_iter().zip(self.file.schema_descr().columns().to_vec());
        let properties = Arc::clone(self.file.properties());
        self.file.inner_mut().expect(usize::MAX);
        let mut group = self.file.next_row_group()?;
        let (schema, columns, _) = batch.into_parts();
        for (field, column) in schema.fields().iter().zip(columns) {
            let leaves = compute_leaves(field, &column)?;
            let (parent, children) = match column.as_struct_opt() {
                Some(images) => (images.nulls().cloned(), images.columns().to_vec()),
                None => (None, vec![Arc::clone(&column)]),
            };
            drop(column);
            for (child, leaf) in children.into_iter().zip(leaves) {
                let (mut writer, described) = places.next().ok_or_else(too_many_leaves)?;
                if has_large_value(&child) {
                    let codec = properties.compression(described.path());
                    drop(leaf);
                    let (chunk, close) = large_values::chunk(&child, parent.as_ref(), described, codec)?;
                    drop(child);
                    group.append_column(&chunk, close)?;
                } else {
                    writer.write(&leaf)?;
                    writer.close()?.append_to_row_group(&mut group)?;
                }
            }
        }
        group.close()?;
        Ok(())
    }

    /// Ends the open row group, which gives its memory back but for a part that is not full.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        let room = self.open_size();
        self.file.inner_mut().expect(room);
        self.flush().map_err(|error| failed(&self.shape, error))?;
        self.account();
        Ok(())
    }

    fn flush(&mut self) -> parquet::errors::Result<()> {
        if !self.open.is_empty() {
            self.open_rows = 0;
            let mut group = self.file.next_row_group()?;
            for writer in std::mem::take(&mut self.open) {
                writer.close()?.append_to_row_group(&mut group)?;
            }
            group.close()?;
        }
        Ok(self.file.flush()?)
    }

    /// Ends the file and sends its last part.
    pub(super) fn finish(mut self) -> Result<Written> {
        self.end_row_group()?;
        let metadata = self.file.finish().map_err(|error| failed(&self.shape, error))?;
        let bytes = self.file.bytes_written() as u64;
        self.file.inner_mut().end().map_err(|error| failed(&self.shape, error.into()))?;
        Ok(Written { metadata, nulls: self.nulls, bytes })
    }

    /// Size of the file, were it ended now, in bytes.
    pub(super) fn size(&self) -> usize {
        self.file.bytes_written() + self.open_size()
    }

    fn open_size(&self) -> usize {
        self.open.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    /// Whether a row group is open.
    pub(super) fn has_open_row_group(&self) -> bool {
        !self.open.is_empty()
    }

    /// Memory it holds, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.held.bytes() + self.file.inner().memory()
    }

    fn account(&mut self) {
        let columns = self.open.len() * COLUMN_STANDING;
        let values: usize = self.open.iter().map(ArrowColumnWriter::memory_size).sum();
        self.held.set(values.max(self.open_size()) + columns);
    }
}

fn too_many_leaves() -> ParquetError {
    ParquetError::General("a batch has more columns than its file".to_owned())
}

/// Whether a value of the batch is large.
fn is_large(batch: &RecordBatch) -> bool {
    batch.columns().iter().any(|column| match column.as_struct_opt() {
        Some(images) => images.columns().iter().any(|child| has_large_value(child)),
        None => has_large_value(column),
    })
}

/// The file's columns for these batches; small ones joined.
fn joined(shape: &Shape, batches: Vec<ChangeBatch>) -> Result<Vec<RecordBatch>> {
    let columns: Vec<RecordBatch> =
        batches.into_iter().map(|batch| shape.columns(batch)).collect::<Result<_>>()?;
    let rows: usize = columns.iter().map(RecordBatch::num_rows).sum();
    if columns.len() < 2 || rows / columns.len() >= JOIN_BELOW || columns.iter().any(is_large) {
        return Ok(columns);
    }
    concat_batches(&shape.arrow, &columns)
        .map(|one| vec![one])
        .map_err(|error| Error::new(ErrorKind::Bug, "change batches could not be joined").caused_by(error))
}

fn failed(shape: &Shape, error: ParquetError) -> Error {
    Error::new(ErrorKind::Bug, "a Parquet file could not be written")
        .at("table", &shape.table().table)
        .at("version", shape.table().version)
        .caused_by(error)
}
