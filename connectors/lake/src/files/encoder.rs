//! Encodes the change batches of one file. Runs off the async threads; one step at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use lakeward_core::{ChangeBatch, Error, ErrorKind, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};

use super::budget::{Budget, Held};
use super::encodings;
use super::part_buffer::PartBuffer;
use super::shape::Shape;
use super::upload::Pieces;
use crate::config::FileOptions;

/// Memory that each column of an open row group may hold beside what the Parquet writer reports:
/// the tables of its compressor, the bit packer's buffer of 1 MiB. An upper bound in practice:
/// 200 tables under a budget of 256 MiB stay 60 MiB below it (`parquet_cost tables`, with freed
/// buffers given back to the system at once).
const COLUMN_STANDING: usize = 1 << 20;
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
    writer: ArrowWriter<PartBuffer>,
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
    pub(super) fn begin(begin: Begin, first: &[ChangeBatch]) -> Result<Self> {
        let Begin { shape, options, told, part_size, budget, pieces } = begin;
        let batches = joined(&shape, first)?;
        let empty = RecordBatch::new_empty(Arc::clone(&shape.arrow));
        let sample = batches.iter().max_by_key(|batch| batch.num_rows()).unwrap_or(&empty);
        let told = told.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
        let properties = encodings::properties(&shape, &options, told, sample);
        let parts = PartBuffer::new(part_size, &budget, pieces);
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_schema_root("lakeward".to_owned())
            // Readers take types from Parquet's own; ours holds dictionaries that are not there.
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(parts, Arc::clone(&shape.arrow), options)
            .map_err(|error| failed(&shape, error))?;
        let nulls = vec![0; shape.table.columns.len()];
        let mut encoder = Encoder { writer, shape, nulls, held: budget.hold(0) };
        encoder.write_all(&batches)?;
        Ok(encoder)
    }

    /// Encodes batches of the file's shape.
    pub(super) fn write(&mut self, batches: &[ChangeBatch]) -> Result<()> {
        let batches = joined(&self.shape, batches)?;
        self.write_all(&batches)
    }

    fn write_all(&mut self, batches: &[RecordBatch]) -> Result<()> {
        for batch in batches {
            for (nulls, column) in self.nulls.iter_mut().zip(batch.columns()) {
                *nulls += column.null_count() as u64;
            }
            let room = self.writer.in_progress_size();
            self.writer.inner_mut().expect(room);
            self.writer.write(batch).map_err(|error| failed(&self.shape, error))?;
            self.account();
        }
        Ok(())
    }

    /// Ends the open row group, which gives its memory back but for a part that is not full.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        let room = self.writer.in_progress_size();
        self.writer.inner_mut().expect(room);
        self.writer
            .flush()
            .and_then(|()| Ok(self.writer.sync()?))
            .map_err(|error| failed(&self.shape, error))?;
        self.account();
        Ok(())
    }

    /// Ends the file and sends its last part.
    pub(super) fn finish(mut self) -> Result<Written> {
        self.end_row_group()?;
        let metadata = self.writer.finish().map_err(|error| failed(&self.shape, error))?;
        let bytes = self.writer.bytes_written() as u64;
        self.writer.inner_mut().end().map_err(|error| failed(&self.shape, error.into()))?;
        Ok(Written { metadata, nulls: self.nulls, bytes })
    }

    /// Size of the file, were it ended now, in bytes.
    pub(super) fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Whether a row group is open.
    pub(super) fn has_open_row_group(&self) -> bool {
        self.writer.in_progress_rows() > 0
    }

    /// Memory it holds, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.held.bytes() + self.writer.inner().memory()
    }

    fn account(&mut self) {
        let open = if self.has_open_row_group() {
            let columns = self.shape.leaves() * COLUMN_STANDING;
            self.writer.memory_size().max(self.writer.in_progress_size()) + columns
        } else {
            0
        };
        self.held.set(open);
    }
}

/// The file's columns for these batches; small ones joined.
fn joined(shape: &Shape, batches: &[ChangeBatch]) -> Result<Vec<RecordBatch>> {
    let columns: Vec<RecordBatch> =
        batches.iter().map(|batch| shape.columns(batch)).collect::<Result<_>>()?;
    let rows: usize = columns.iter().map(RecordBatch::num_rows).sum();
    if columns.len() < 2 || rows / columns.len() >= JOIN_BELOW {
        return Ok(columns);
    }
    concat_batches(&shape.arrow, &columns)
        .map(|one| vec![one])
        .map_err(|error| Error::new(ErrorKind::Bug, "change batches could not be joined").caused_by(error))
}

fn failed(shape: &Shape, error: ParquetError) -> Error {
    Error::new(ErrorKind::Bug, "a Parquet file could not be written")
        .at("table", &shape.table.table)
        .at("version", shape.table.version)
        .caused_by(error)
}
