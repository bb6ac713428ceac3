//! Records to change batches and marks.

use std::sync::Arc;

use lakeward_core::{ChangeBatch, MarkReason, Result, TableMark, TableSchema};

use super::gathered::Gathered;
use super::json::read::{JsonReader, source_of};
use super::layout::Layout;
use super::{FormatOptions, Received};

/// Reads records; one per process.
pub struct Decoder {
    options: FormatOptions,
    want_before: bool,
}

impl Decoder {
    /// A decoder of records that were written with `options`.
    ///
    /// # Errors
    /// `Config` if records with these settings have lost values.
    pub fn new(options: &FormatOptions) -> Result<Decoder> {
        options.exact()?;
        Ok(Decoder { options: options.clone(), want_before: false })
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
        let layout = Arc::new(Layout::new(&schema, &self.options)?);
        Ok(TableDecoder { gathered: Gathered::new(layout, self.want_before)?, reader: JsonReader::default() })
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
        Ok(TableMark { schema: Arc::clone(schema), seq, origin: source_of(value)?, reason })
    }
}

/// Gathers records of one table version.
pub struct TableDecoder {
    gathered: Gathered,
    reader: JsonReader,
}

impl TableDecoder {
    /// Takes a record. One that fails leaves nothing behind.
    ///
    /// # Errors
    /// `UnreadableRecord` says what is wrong with it.
    pub fn push(&mut self, record: &Received<'_>) -> Result<()> {
        self.reader.push(record, &mut self.gathered)
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
