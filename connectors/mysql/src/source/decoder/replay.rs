//! A link that breaks inside a transaction: back to its beginning, and its rows sent once all the same.

use lakeward_core::{ChangeBatch, Error, ErrorKind};

use super::{Decoder, Outcome};

/// A transaction that is read again.
pub(super) struct Replay {
    /// Rows below this number were sent.
    pub(super) sent_below: i64,
    /// What names the transaction: its GTID, or where there are none its place.
    pub(super) name: String,
}

impl Decoder {
    /// The stream broke: back to the end of the last whole transaction.
    pub(in crate::source) fn break_off(&mut self) -> Outcome {
        self.flush()?;
        self.changes.clear();
        self.prepared.close();
        let sent_below = self.next_seq.max(self.replay.as_ref().map_or(i64::MIN, |replay| replay.sent_below));
        if sent_below > self.done_seq {
            let name = match self.replay.take() {
                Some(replay) if self.next_seq == self.done_seq => replay.name,
                _ => self.transaction_name(),
            };
            self.replay = Some(Replay { sent_below, name });
        }
        for table in std::mem::take(&mut self.stopped_now) {
            self.tables.activate(table)?;
        }
        self.next_seq = self.done_seq;
        self.transaction += 1;
        self.opened_at = None;
        self.origin = None;
        self.maps.clear();
        self.assembler.reset();
        Ok(())
    }

    pub(super) fn transaction_name(&self) -> String {
        match &self.assembler.transaction().gtid {
            Some(gtid) => gtid.to_string(),
            None => format!("{}:{}", self.done.file, self.done.offset),
        }
    }

    /// Rows of a transaction that is read again must be those of the same transaction.
    pub(super) fn follow_replay(&mut self) -> Outcome {
        match &self.replay {
            Some(replay) if self.transaction_name() != replay.name => {
                Err(lost_transaction(&replay.name).into())
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn lost_transaction(name: &str) -> Error {
    Error::new(
        ErrorKind::SourceLineage,
        format!("the server no longer has transaction {name}, of which rows were read before the link broke"),
    )
    .remedy("start again: what was read of it is not committed and will be dropped")
}

/// The rows of a batch from `seq` on.
pub(super) fn from_seq(batch: ChangeBatch, seq: i64) -> Option<ChangeBatch> {
    let skip = batch.meta.seq.partition_point(|own| *own < seq);
    let rows = batch.meta.seq.len() - skip;
    if skip == 0 || rows == 0 {
        return (rows > 0).then_some(batch);
    }
    let ChangeBatch { schema, rows: columns, before, mut meta } = batch;
    meta.op.drain(..skip);
    meta.seq.drain(..skip);
    let mut left = skip;
    meta.origins = meta
        .origins
        .into_iter()
        .filter_map(|run| {
            let dropped = left.min(run.rows);
            left -= dropped;
            (run.rows > dropped).then(|| run.part(dropped, run.rows - dropped))
        })
        .collect();
    Some(ChangeBatch {
        schema,
        rows: columns.slice(skip, rows),
        before: before.map(|before| before.slice(skip, rows)),
        meta,
    })
}
