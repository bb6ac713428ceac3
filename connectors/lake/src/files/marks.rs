//! Marks: rows whose table columns are null.
//!
//! The mark of a statement takes its number in order and its place among the rows. That of a whole re-read
//! has a number that was reserved before rows that are written already: it is alone in its file, so that
//! what is said of the order within files stays true, and so that the file can be made again alone.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use lakeward_core::{
    ChangeBatch, ChangeMeta, Error, ErrorKind, LostFile, MarkReason, Op, OriginRun, Result, TableMark,
};

use super::Files;
use crate::objects::Store;

impl<S: Store> Files<S> {
    /// Takes a mark: a row whose table columns are null.
    pub async fn mark(&mut self, mark: TableMark) -> Result<()> {
        let lane = self.lane(&mark.schema, None)?;
        let before = lane.shape.as_ref().is_some_and(|shape| shape.before);
        match mark.reason {
            MarkReason::Truncate => {
                let batch = marked(mark, before)?;
                lane.take_numbers(&batch)?;
                self.route(batch).await?;
            }
            MarkReason::Reread => self.write_alone(marked(mark, before)?).await?,
        }
        self.stay_in_budget().await
    }

    /// Writes a batch of one row into a file of its own.
    async fn write_alone(&mut self, batch: ChangeBatch) -> Result<()> {
        let (table, bytes) = (batch.schema.table.clone(), batch.bytes());
        let (Some(&seq), Some(run)) = (batch.meta.seq.first(), batch.meta.origins.first()) else {
            return Ok(());
        };
        let partition = self.layout.partition(run.origin.commit_us);
        let lost = match &self.lost {
            None => None,
            Some(lost) => {
                let of_it = |file: &LostFile| file.seq == (seq, seq);
                let Some(at) = lost.get(&table).and_then(|files| files.iter().position(of_it)) else {
                    return Ok(());
                };
                Some(at)
            }
        };
        let mut file = self.begin(&table, partition, lost, seq)?;
        file.take(batch, bytes).await?;
        self.closing.spawn(file.close());
        self.reap()
    }
}

/// A mark as a batch of one row.
fn marked(mark: TableMark, before: bool) -> Result<ChangeBatch> {
    let columns =
        mark.schema.arrow.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let rows = RecordBatch::try_new(Arc::clone(&mark.schema.arrow), columns).map_err(|error| {
        Error::new(ErrorKind::Bug, "a mark does not fit its table version").caused_by(error)
    })?;
    let meta = ChangeMeta {
        op: vec![Op::Truncate],
        seq: vec![mark.seq],
        topic_partition: None,
        origins: vec![OriginRun { rows: 1, first_row: 0, origin: mark.origin }],
    };
    Ok(ChangeBatch { schema: mark.schema, before: before.then(|| rows.clone()), rows, meta })
}
