//! The key columns of one file, read in stretches.
//!
//! Only pages of the columns that are asked for are fetched, a few at a time: what is held does not grow
//! with the file. Row groups that a mark voids as a whole are passed over, by their statistics.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use bytes::Bytes;
use bytes::buf::{Buf, Reader};
use lakeward_core::{Error, ErrorKind, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use tokio::runtime::Handle;

use super::columns::Columns;
use super::living::Living;
use crate::objects::{Store, Stretch};

/// Rows that are decoded together.
const ROWS: usize = 4096;
/// Bytes that are fetched together.
const BLOCK: u64 = 512 << 10;
/// More than the header of a page has.
const HEADER: u64 = 16 << 10;
/// Stretches that are kept: of a few columns, which are read by turns.
const BLOCKS: usize = 6;

/// A file. All of it waits for the store: it is not for the async threads.
pub(super) struct KeyFile<S> {
    bytes: Arc<Stretches<S>>,
    metadata: ArrowReaderMetadata,
    /// The version of its rows.
    pub(super) version: u32,
}

/// The bytes of an object, as far as they were needed lately.
pub(super) struct Stretches<S> {
    store: Arc<S>,
    runtime: Handle,
    key: String,
    size: u64,
    /// Those at its end.
    end: Bytes,
    /// Others with their offsets, the latest first.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

impl<S: Store> KeyFile<S> {
    /// Reads what it tells of itself.
    pub(super) fn open(bytes: Stretches<S>) -> Result<Self> {
        let bytes = Arc::new(bytes);
        let metadata = ArrowReaderMetadata::load(&Shared(Arc::clone(&bytes)), ArrowReaderOptions::new());
        let metadata = metadata.map_err(|error| unreadable(&bytes.key, error))?;
        let told = metadata.metadata().file_metadata().key_value_metadata();
        let version = told.into_iter().flatten().find(|told| told.key == "lakeward.version");
        let version = version.and_then(|told| told.value.as_ref()?.parse().ok()).ok_or_else(|| {
            Error::new(ErrorKind::LakeCorrupt, "a file of the lake does not tell its version")
                .at("key", &bytes.key)
        })?;
        Ok(KeyFile { bytes, metadata, version })
    }

    /// Notes its events. That they lack the key is an error, unless a mark voids them.
    pub(super) fn read(&self, columns: &Columns, living: &mut Living) -> Result<()> {
        let metadata = self.metadata.clone();
        let groups = metadata.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| !is_void(group, &columns.seq, living)).map(|(at, _)| at);
        let groups: Vec<usize> = groups.collect();
        if groups.is_empty() {
            return Ok(());
        }
        let Some(key) = &columns.key else { return Err(living.no_such_key(&self.bytes.key)) };
        let names: Vec<&String> = key.iter().chain([&columns.seq, &columns.op]).collect();
        let schema = metadata.metadata().file_metadata().schema_descr_ptr();
        let roots = schema.root_schema().get_fields().iter().enumerate();
        let roots = roots.filter(|(_, field)| names.iter().any(|name| *name == field.name()));
        let mask = ProjectionMask::roots(&schema, roots.map(|(at, _)| at));
        let reader = Shared(Arc::clone(&self.bytes));
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(reader, metadata)
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(ROWS)
            .build()
            .map_err(|error| unreadable(&self.bytes.key, error))?;
        for batch in batches {
            let batch = batch.map_err(|error| unreadable(&self.bytes.key, error.into()))?;
            let column = |name: &String| {
                batch.column_by_name(name).cloned().ok_or_else(|| {
                    let message = format!("a file of the lake lacks the column {name}");
                    Error::new(ErrorKind::LakeCorrupt, message).at("key", &self.bytes.key)
                })
            };
            let keys: Vec<ArrayRef> = key.iter().map(column).collect::<Result<_>>()?;
            let as_type = |name: &String, ty: &DataType| {
                cast(&column(name)?, ty).map_err(|error| unreadable(&self.bytes.key, error.into()))
            };
            let (seq, op) =
                (as_type(&columns.seq, &DataType::Int64)?, as_type(&columns.op, &DataType::Utf8)?);
            living.note(&keys, seq.as_primitive::<Int64Type>(), op.as_string::<i32>())?;
        }
        Ok(())
    }
}

/// What Parquet's error means: the store's own, where it is that.
fn unreadable(key: &str, error: ParquetError) -> Error {
    let corrupt = Error::new(ErrorKind::LakeCorrupt, "a file of the lake cannot be read")
        .at("key", key)
        .remedy("restore it from a version or backup");
    match error {
        ParquetError::External(error) => match error.downcast::<Error>() {
            Ok(of_store) => *of_store,
            Err(error) => corrupt.caused_by(error),
        },
        error => corrupt.caused_by(error),
    }
}

/// Whether the mark that is known voids all of a row group.
fn is_void(group: &RowGroupMetaData, seq: &str, living: &Living) -> bool {
    let column = group.columns().iter().find(|column| column.column_path().string() == seq);
    match column.and_then(|column| column.statistics()) {
        Some(Statistics::Int64(statistics)) => statistics.max_opt().is_some_and(|last| *last < living.mark()),
        Some(_) | None => false,
    }
}

impl<S: Store> Stretches<S> {
    /// Those of the object `key`, whose `end` was fetched.
    pub(super) fn new(store: Arc<S>, runtime: Handle, key: String, size: u64, end: Bytes) -> Self {
        Stretches { store, runtime, key, size, end, blocks: Mutex::default() }
    }

    /// At least `least` bytes from `offset` on, or those that there are; up to `most`.
    fn at(&self, offset: u64, least: u64, most: u64) -> Result<Bytes> {
        let end = self.size - self.end.len() as u64;
        if offset >= end {
            let from = usize::try_from(offset - end).unwrap_or(usize::MAX).min(self.end.len());
            return Ok(self.end.slice(from..));
        }
        let wanted = least.min(self.size - offset);
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let has =
            |(from, block): &&(u64, Bytes)| *from <= offset && offset + wanted <= *from + block.len() as u64;
        if let Some((from, block)) = blocks.iter().find(has) {
            return Ok(block.slice(usize::try_from(offset - from).unwrap_or(usize::MAX)..));
        }
        let bytes = most.max(wanted).min(self.size - offset);
        let read = self.store.get_stretch(&self.key, Stretch::From { offset, bytes });
        let (block, _) = self.runtime.block_on(read)?.ok_or_else(|| {
            Error::new(ErrorKind::LakeUnreachable, "a file vanished while it was read").at("key", &self.key)
        })?;
        blocks.truncate(BLOCKS - 1);
        blocks.push_front((offset, block.clone()));
        Ok(block)
    }
}

/// What Parquet reads from.
struct Shared<S>(Arc<Stretches<S>>);

impl<S: Store> Length for Shared<S> {
    fn len(&self) -> u64 {
        self.0.size
    }
}

impl<S: Store> ChunkReader for Shared<S> {
    type T = Reader<Bytes>;

    /// Is asked for the headers of pages, which are small.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Reader<Bytes>> {
        let read = self.0.at(start, HEADER, BLOCK);
        read.map(Buf::reader).map_err(|error| ParquetError::External(Box::new(error)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let read = self.0.at(start, length as u64, BLOCK);
        let read = read.map_err(|error| ParquetError::External(Box::new(error)))?;
        match read.len() >= length {
            true => Ok(read.slice(..length)),
            false => Err(ParquetError::EOF(format!("{} of {length} bytes at {start}", read.len()))),
        }
    }
}
