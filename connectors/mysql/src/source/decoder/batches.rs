//! From the builders to the queue.

use lakeward_core::{Feed, Op};

use super::replay::from_seq;
use super::{Decoder, Outcome, SMALL_BYTES};

impl Decoder {
    /// Sends what is gathered of all tables.
    pub(super) fn flush(&mut self) -> Outcome {
        (0..self.tables.len()).try_for_each(|at| self.flush_table(at))
    }

    pub(super) fn flush_table(&mut self, at: usize) -> Outcome {
        let Some(builder) = self.tables.get_mut(at)?.builder.as_mut() else { return Ok(()) };
        if builder.rows() == 0 {
            return Ok(());
        }
        self.gathered_bytes = self.gathered_bytes.saturating_sub(builder.bytes());
        let Some(batch) = builder.finish()? else { return Ok(()) };
        let batch = match &self.replay {
            Some(replay) => from_seq(batch, replay.sent_below),
            None => Some(batch),
        };
        let Some(batch) = batch else { return Ok(()) };
        self.record(at, &batch)?;
        self.announce(at)?;
        for op in [Op::Create, Op::Update, Op::Delete] {
            let count = batch.meta.op.iter().filter(|found| **found == op).count();
            if count > 0 {
                self.settings.stats.rows.add(&(batch.schema.table.clone(), op.letter()), count as u64);
            }
        }
        let bytes = batch.bytes();
        Ok(self.out.send(Ok(Feed::Batch(batch)), bytes)?)
    }

    /// Sends a table's version before its first rows in this run.
    pub(super) fn announce(&mut self, at: usize) -> Outcome {
        let table = self.tables.get_mut(at)?;
        if let Some(schema) = table.schema.clone().filter(|_| !table.announced) {
            table.announced = true;
            self.out.send(Ok(Feed::Schema(schema)), SMALL_BYTES)?;
        }
        Ok(())
    }
}
