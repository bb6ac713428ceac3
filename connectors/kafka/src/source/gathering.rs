//! Events of one table on their way into a batch.
//!
//! A batch holds events of one table version, in the order given. A record that cannot be decoded leaves those before
//! it as they are.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::error::ArrowError;
use lakeward_core::{ChangeBatch, Error, ErrorKind, Op, Result, TableSchema};

use super::record::Event;
use crate::format::{Decoder, Received, TableDecoder};

/// Rows of a batch, at most.
const ROWS: usize = 8 * 1024;
/// Bytes of a batch, about.
const BYTES: usize = 4 * 1024 * 1024;

/// What was gathered of one table version.
pub(super) struct Gathering {
    schema: Arc<TableSchema>,
    decoder: TableDecoder,
    limit: usize,
}

impl Gathering {
    /// Nothing yet. A batch takes up to `memory` bytes, about.
    pub(super) fn new(decoder: &Decoder, schema: &Arc<TableSchema>, memory: usize) -> Result<Gathering> {
        let decoder = decoder.table(Arc::clone(schema))?;
        Ok(Gathering { schema: Arc::clone(schema), decoder, limit: memory.min(BYTES) })
    }

    /// The version it is of.
    pub(super) fn version(&self) -> u32 {
        self.schema.version
    }

    /// Adds an event. An error is of its record alone.
    pub(super) fn push(&mut self, event: &Event, seq: i64, op: Op) -> Result<()> {
        self.decoder.push(&Received { key: event.key.as_deref(), value: &event.value, op, seq })
    }

    /// Whether it is time to hand it on.
    pub(super) fn is_full(&self) -> bool {
        self.decoder.rows() >= ROWS || self.decoder.bytes() >= self.limit
    }

    /// What was gathered since the last time; `None` if nothing. `before`: whether previous images are wanted.
    pub(super) fn finish(&mut self, before: bool) -> Result<Option<ChangeBatch>> {
        let Some(mut batch) = self.decoder.finish()? else { return Ok(None) };
        batch.before = match (before, batch.before.take()) {
            (false, _) => None,
            (true, Some(images)) => Some(images),
            (true, None) => Some(no_images(&batch).map_err(|error| {
                Error::new(ErrorKind::Bug, "empty images cannot be made").of_table(&self.schema.table).caused_by(error)
            })?),
        };
        Ok(Some(batch))
    }
}

fn no_images(batch: &ChangeBatch) -> std::result::Result<RecordBatch, ArrowError> {
    let (schema, rows) = (&batch.schema.arrow, batch.rows.num_rows());
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
    RecordBatch::try_new(Arc::clone(schema), columns)
}
