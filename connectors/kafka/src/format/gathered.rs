//! Rows of one table version that were read from records, until they are taken as a batch.
//!
//! A record that fails leaves nothing behind: its row is levelled in all columns, and left out when the batch
//! is made.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use lakeward_core::{ChangeBatch, ChangeMeta, Error, ErrorKind, Op, Result};

use super::columns::Columns;
use super::layout::Layout;
use super::unreadable;

/// The rows.
pub(crate) struct Gathered {
    pub(crate) layout: Arc<Layout>,
    pub(crate) rows: Columns,
    /// Previous images, where they are wanted.
    pub(crate) before: Option<Columns>,
    pub(crate) meta: ChangeMeta,
    /// Rows of the columns, those of records that failed included.
    pub(crate) count: usize,
    failed: Vec<usize>,
}

impl Gathered {
    pub(crate) fn new(layout: Arc<Layout>, want_before: bool) -> Result<Gathered> {
        let columns = || {
            let codecs = layout.fields.iter().map(|field| field.codec);
            Columns::new(Arc::clone(&layout.schema.arrow), codecs)
        };
        let (rows, before) = (columns()?, want_before.then(columns).transpose()?);
        Ok(Gathered { layout, rows, before, meta: ChangeMeta::default(), count: 0, failed: Vec::new() })
    }

    /// Ends a row whose values were taken, of which `outcome` says whether all is well. Its origin is noted
    /// only then.
    pub(crate) fn end(&mut self, op: Op, seq: i64, outcome: Result<()>) -> Result<()> {
        if let Some(before) = &mut self.before {
            before.level(self.count + 1);
        }
        match &outcome {
            Ok(()) => {
                self.meta.op.push(op);
                self.meta.seq.push(seq);
            }
            Err(_) => {
                self.rows.level(self.count + 1);
                self.failed.push(self.count);
            }
        }
        self.count += 1;
        outcome
    }

    /// Whether the row at hand has a value in every column; one by one, as the rare answer is no.
    pub(crate) fn must_be_whole(&self) -> Result<()> {
        let lacking = self.layout.fields.iter().enumerate();
        for (column, field) in lacking {
            if self.rows.len(column) != self.count + 1 {
                return Err(unreadable(format!("the row lacks column `{}`", field.name)));
            }
        }
        Ok(())
    }

    /// Memory of what was gathered, about.
    pub(crate) fn bytes(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |before| before.bytes(self.count));
        self.rows.bytes(self.count) + before + 9 * self.count
    }

    /// What was gathered, as a batch; `None` if nothing was.
    pub(crate) fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        if self.count == 0 {
            return Ok(None);
        }
        let failed = std::mem::take(&mut self.failed);
        let kept = BooleanArray::from_iter((0..self.count).map(|row| Some(!failed.contains(&row))));
        let kept = (!failed.is_empty()).then_some(kept);
        self.count = 0;
        let batch = |columns: &mut Columns| -> Result<RecordBatch> {
            let all = columns.finish()?;
            match &kept {
                None => Ok(all),
                Some(kept) => filter_record_batch(&all, kept).map_err(|error| {
                    Error::new(ErrorKind::Bug, "rows that failed cannot be left out").caused_by(error)
                }),
            }
        };
        let rows = batch(&mut self.rows)?;
        let before = self.before.as_mut().map(batch).transpose()?;
        let meta = std::mem::take(&mut self.meta);
        if meta.op.is_empty() {
            return Ok(None);
        }
        Ok(Some(ChangeBatch { schema: Arc::clone(&self.layout.schema), rows, before, meta }))
    }
}
