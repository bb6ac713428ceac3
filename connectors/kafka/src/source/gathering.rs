//! Events of one table on their way into a batch.
//!
//! A batch holds events of one table version, in the order given. A record that cannot be decoded leaves those before
//! it as they are.

use std::sync::Arc;

use lakeward_core::{ChangeBatch, Op, Result, TableSchema};

use super::record::Event;
use crate::format::{Decoder, Received, TableDecoder};

/// Rows of a batch, at most.
pub(super) const ROWS: usize = 8 * 1024;
/// Bytes of a batch, about.
pub(super) const BYTES: usize = 4 * 1024 * 1024;

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
        self.decoder.push(&Received { key: event.record.key(), value: event.value(), op, seq })
    }

    /// Whether it is time to hand it on.
    pub(super) fn is_full(&self) -> bool {
        self.decoder.rows() >= ROWS || self.decoder.bytes() >= self.limit
    }

    /// What was gathered since the last time; `None` if nothing.
    pub(super) fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        self.decoder.finish()
    }
}
