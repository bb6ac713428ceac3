//! Records to change batches and marks.

use std::sync::Arc;

use lakeward_core::{ChangeBatch, MarkReason, Result, TableMark, TableSchema};

use super::avro::read::AvroReader;
use super::gathered::Gathered;
use super::json::read::JsonReader;
use super::layout::Layout;
use super::{FormatOptions, Received, avro, encoder, json};
use crate::registry::Registry;

/// Reads records; one per process.
pub struct Decoder {
    options: FormatOptions,
    want_before: bool,
    /// Of `avro`.
    registry: Option<Arc<Registry>>,
}

impl Decoder {
    /// A decoder of records that were written with `options`.
    ///
    /// # Errors
    /// `Config` if records with these settings have lost values.
    pub fn new(options: &FormatOptions) -> Result<Decoder> {
        options.exact()?;
        let registry = encoder::registry(options)?.map(Arc::new);
        Ok(Decoder { options: options.clone(), want_before: false, registry })
    }

    /// Whether batches have previous images, as the pipeline's `before_images` says. Default: not.
    #[must_use]
    pub fn with_before(mut self, wanted: bool) -> Decoder {
        self.want_before = wanted;
        self
    }

    /// A decoder of the records that bear this table version.
    ///
    /// # Errors
    /// `Config` if the settings name columns that the table does not have.
    pub fn table(&self, schema: Arc<TableSchema>) -> Result<TableDecoder> {
        let layout = Layout::new(&schema, &self.options)?;
        let reader = match &self.registry {
            Some(registry) => Reader::Avro(AvroReader::new(Arc::clone(registry))),
            None => Reader::Json(JsonReader::new(&layout)),
        };
        TableDecoder::new(layout, reader, self.want_before)
    }

    /// The mark of a record's value.
    ///
    /// # Errors
    /// `UnreadableRecord` if the value is no envelope.
    pub fn mark(
        &self,
        schema: &Arc<TableSchema>,
        value: &[u8],
        seq: i64,
        reason: MarkReason,
    ) -> Result<TableMark> {
        let origin = match &self.registry {
            Some(registry) => avro::read::source_of(registry, value)?,
            None => json::read::source_of(value)?,
        };
        Ok(TableMark { schema: Arc::clone(schema), seq, origin, reason })
    }
}

/// Gathers records of one table version.
pub struct TableDecoder {
    gathered: Gathered,
    reader: Reader,
}

/// Reads records of one form.
pub(super) enum Reader {
    Json(JsonReader),
    Avro(AvroReader),
}

impl TableDecoder {
    pub(super) fn new(layout: Layout, reader: Reader, want_before: bool) -> Result<TableDecoder> {
        Ok(TableDecoder { gathered: Gathered::new(Arc::new(layout), want_before)?, reader })
    }

    /// Takes a record. One that fails leaves nothing behind. For `avro` it asks the registry for a schema
    /// that was not seen yet, and waits for it.
    ///
    /// # Errors
    /// `UnreadableRecord` says what is wrong with it; `RegistryUnreachable`, `RegistryRefused`.
    pub fn push(&mut self, record: &Received<'_>) -> Result<()> {
        match &mut self.reader {
            Reader::Json(reader) => reader.push(record, &mut self.gathered),
            Reader::Avro(reader) => reader.push(record, &mut self.gathered),
        }
    }

    /// Rows gathered so far.
    pub fn rows(&self) -> usize {
        self.gathered.meta.op.len()
    }

    /// Their memory, about.
    pub fn bytes(&self) -> usize {
        self.gathered.bytes()
    }

    /// What was pushed, in order; `None` if nothing was.
    ///
    /// # Errors
    /// `Bug` if the values do not form arrays.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        self.gathered.finish()
    }
}
