//! What the stream tells snapshots: which tables must be read, that rows must be read anew, that a
//! structure moved, that a table lost its rows.
//!
//! Guarantee: an active table of which the lake lacks changes is read anew, whole. That holds for one that was
//! left out of the captured tables for a while, as well: what left is noted in the checkpoint
//! ([`TableStatus::LeftOut`]) by the first run that does not capture it, so a later run knows that it comes
//! back. (Where that first run commits nothing, no change was passed over either.)
//!
//! [`TableStatus::LeftOut`]: lakeward_core::TableStatus::LeftOut

use lakeward_core::stats::SnapshotPhase;
use lakeward_core::{
    Error, ErrorKind, Feed, MarkReason, Origin, Result, Snapshot, SnapshotCause, SnapshotState, TableId,
    TableMark,
};

use super::{Decoder, Outcome, SMALL_BYTES};
use crate::snapshot::SnapshotMode;

impl Decoder {
    /// Opens the snapshots that the mode asks for at the beginning of a run, over the captured tables
    /// that the server has. `lost`: the changes since the checkpoint are gone.
    pub(in crate::source) fn begin_snapshots(
        &mut self,
        captured: &[TableId],
        mode: SnapshotMode,
        lost: bool,
    ) -> Outcome {
        for table in captured {
            self.meet(table)?;
        }
        for at in 0..self.tables.len() {
            self.compare_with_filter(at)?;
        }
        self.settings.stats.tables_stopped.set(self.tables.stopped() as i64);
        for at in 0..self.tables.len() {
            let table = self.tables.get(at)?;
            let state = table.snapshot.clone();
            match (&state, mode) {
                _ if !table.is_active() => {}
                _ if lost => {
                    // What happened to its structure is lost, too.
                    self.doubt(at)?;
                    self.open_anew(at, SnapshotCause::Needed)?;
                }
                (
                    SnapshotState::Done | SnapshotState::Partial | SnapshotState::NotAsked,
                    SnapshotMode::Always,
                ) => self.open_anew(at, asked_of(&state))?,
                (SnapshotState::NotAsked, _) if self.settings.snapshots => {
                    let table = table.id.to_string();
                    tracing::info!(table, "the rows from before its changes were never read: they are now");
                    self.open_anew(at, SnapshotCause::First)?;
                }
                (SnapshotState::Partial, _) if self.settings.snapshots => {
                    let table = table.id.to_string();
                    tracing::warn!(
                        table,
                        "its earlier rows are not all in the lake: the reading was given up, or was one of a part; \
                         `lakeward snapshot {table}` reads them"
                    );
                }
                // Told again, and gone on with.
                _ => self.set_snapshot(at, state)?,
            }
        }
        self.done_seq = self.next_seq;
        Ok(())
    }

    /// Notes that a table of the checkpoint is not captured any more, or is captured again.
    fn compare_with_filter(&mut self, at: usize) -> Outcome {
        let table = self.tables.get(at)?;
        let (id, left_out) = (table.id.clone(), table.is_left_out());
        match (self.settings.filter.captures(&id), left_out) {
            (true, false) | (false, true) => Ok(()),
            (false, false) => {
                tracing::warn!(table = %id, "it is not captured any more; captured again, it is read anew");
                self.give_up(at)?;
                Ok(self.tables.leave_out(at)?)
            }
            (true, true) => {
                tracing::warn!(table = %id, "it was left out for a while: its changes in between are missing");
                self.tables.activate(at)?;
                // What happened to its structure was not followed either.
                self.doubt(at)?;
                match self.reread(at) {
                    Ok(()) => Ok(()),
                    Err(error) => self.stop_table(at, error.at("reason", "it was left out for a while")),
                }
            }
        }
    }

    /// A captured table that the stream names. One that is met for the first time had rows before,
    /// unless the stream has passed its CREATE: they are read.
    pub(super) fn meet(&mut self, table: &TableId) -> Result<usize> {
        if let Some(at) = self.tables.find(table) {
            return Ok(at);
        }
        let at = self.tables.find_or_add(table);
        if self.settings.snapshots {
            self.set_snapshot(at, SnapshotState::Open(Snapshot::default()))?;
        }
        Ok(at)
    }

    /// Whether all of a table's rows will be read, and no plan of that reading is made yet: whatever the
    /// stream yields of the table until a plan is asked for is in what will be read. So rows whose structure
    /// cannot be known (before the catalog was read, where the log does not name columns) need not stop it.
    /// What is passed over while a plan is out voids that plan ([`super::reading::Reading::passed_over`]): its
    /// greatest key may be older than they are.
    pub(super) fn is_all_to_come(&self, at: usize) -> Result<bool> {
        Ok(match &self.tables.get(at)?.snapshot {
            SnapshotState::Open(open) => open.plan.is_none() && open.condition.is_none(),
            SnapshotState::Done | SnapshotState::Partial | SnapshotState::NotAsked => false,
        })
    }

    /// The rows that the lake has of a table are not the table's rows any more (another table took its
    /// name, its rows were rewritten unlogged): they are read anew, all of them, and a mark with a
    /// number reserved now voids the earlier ones once that is done. Call it between the events of the
    /// statement that causes it; the number is given in the order of the log.
    pub(super) fn reread(&mut self, at: usize) -> Result<()> {
        let table = self.tables.get(at)?;
        let id = table.id.clone();
        let waits = matches!(&table.snapshot, SnapshotState::Open(open) if open.paused);
        if !self.settings.snapshots {
            return Err(Error::new(
                ErrorKind::TableChanged,
                "its rows must be read anew, and snapshots are off (snapshot.mode: no_data)",
            )
            .of_table(&id)
            .remedy(format!("lakeward resume {id}")));
        }
        self.open_anew(at, SnapshotCause::Needed)?;
        if waits {
            // Who let it wait goes on when it suits them.
            self.set_paused(&id, true)?;
        }
        Ok(())
    }

    /// Opens a snapshot of the whole table, whatever was before.
    pub(super) fn open_anew(&mut self, at: usize, cause: SnapshotCause) -> Result<()> {
        // A number that was reserved before does not serve: events that came since are void, too.
        self.retire_snapshot(at)?;
        // Where no event of the table was seen there is nothing to void.
        let has_events = self.tables.get(at)?.schema.is_some();
        let mark = has_events.then(|| self.reserve());
        self.settings.stats.snapshots.remove(&self.tables.get(at)?.id);
        self.set_snapshot(at, SnapshotState::Open(Snapshot { mark, cause, ..Snapshot::default() }))
    }

    /// An open snapshot is not gone on with, as what it was to void is void otherwise. The number that was
    /// reserved for its mark stays unused.
    pub(super) fn retire_snapshot(&mut self, at: usize) -> Result<()> {
        let table = self.tables.get_mut(at)?;
        table.reading.restart();
        if let SnapshotState::Open(Snapshot { mark, .. }) = &table.snapshot {
            self.retired += i64::from(mark.is_some());
            self.set_snapshot(at, SnapshotState::Done)?;
        }
        Ok(())
    }

    /// A number for a mark to come.
    pub(super) fn reserve(&mut self) -> i64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// A statement touched a table's structure or voided its rows: chunks that are being read of it
    /// are void, and read again.
    pub(in crate::source) fn structure_touched(&mut self, at: usize) -> Result<()> {
        self.tables.get_mut(at)?.reading.void();
        Ok(())
    }

    /// All rows of a table from here on are in the log: its snapshot, if one is open, is at its end. The
    /// mark that was reserved for it is written.
    pub(super) fn end_snapshot(&mut self, at: usize) -> Outcome {
        let table = self.tables.get_mut(at)?;
        table.reading.restart();
        let (mark, state) = match &table.snapshot {
            // A part of a table of which the lake lacks others.
            SnapshotState::Open(open) if open.condition.is_some() => (open.mark, given_up(open.cause)),
            SnapshotState::Open(open) => (open.mark, SnapshotState::Done),
            SnapshotState::NotAsked | SnapshotState::Partial | SnapshotState::Done => {
                (None, SnapshotState::Done)
            }
        };
        if let Some(seq) = mark {
            let schema = table.schema.clone().ok_or_else(|| {
                Error::new(ErrorKind::Bug, "a mark was reserved for a table that was never seen")
            })?;
            self.flush_table(at)?;
            self.announce(at)?;
            let origin = self.origin_here(self.settings.clock.unix_micros());
            self.settings.stats.rows.add(&(schema.table.clone(), "t"), 1);
            let mark = TableMark { schema, seq, origin, reason: MarkReason::Reread };
            self.tables.set_deleted_by_key(at, false)?;
            self.rows_since_boundary += 1;
            self.out.send(Ok(Feed::Mark(mark)), SMALL_BYTES)?;
        }
        Ok(self.set_snapshot(at, state)?)
    }

    /// Sets how far a table's snapshot is, and tells it.
    pub(in crate::source) fn set_snapshot(&mut self, at: usize, state: SnapshotState) -> Result<()> {
        let begun_us = self.settings.clock.unix_micros();
        let table = self.tables.get(at)?;
        let reading = table.reading.asked || !table.reading.open.is_empty();
        let told = &self.settings.stats.snapshots;
        match (&state, &table.snapshot) {
            (SnapshotState::Open(open), _) => told.update(&table.id, |count| {
                if let Some(plan) = &open.plan {
                    if count.since_us == 0 {
                        (count.since_us, count.rows_before) = (begun_us, plan.rows);
                    }
                    (count.rows, count.estimated_rows) = (plan.rows, plan.estimated_rows);
                }
                count.phase = match (open.paused, reading || open.plan.is_some()) {
                    (true, _) => SnapshotPhase::Paused,
                    (false, true) => SnapshotPhase::Reading,
                    (false, false) => SnapshotPhase::Waiting,
                };
            }),
            (SnapshotState::Done | SnapshotState::Partial, SnapshotState::Open(_)) => {
                told.update(&table.id, |count| count.phase = SnapshotPhase::Done);
            }
            (SnapshotState::Done | SnapshotState::Partial | SnapshotState::NotAsked, _) => {}
        }
        self.tables.set_snapshot(at, state)
    }

    /// An origin for what comes from no transaction: the place where the stream stands.
    pub(super) fn origin_here(&self, commit_us: i64) -> Origin {
        let (file, offset) = (self.done.file.clone(), self.done.offset);
        Origin { commit_us, file, offset, ..Origin::default() }
    }

    /// Whether no snapshot is left that would still go on.
    pub(super) fn snapshots_settled(&self) -> bool {
        self.tables.iter().all(|table| match &table.snapshot {
            SnapshotState::Open(open) => open.paused || !table.is_active(),
            SnapshotState::NotAsked | SnapshotState::Partial | SnapshotState::Done => true,
        })
    }
}

/// Why a table is read that is read on demand.
pub(super) fn asked_of(before: &SnapshotState) -> SnapshotCause {
    match before {
        SnapshotState::Done => SnapshotCause::Asked,
        SnapshotState::NotAsked | SnapshotState::Partial => SnapshotCause::First,
        SnapshotState::Open(open) => open.cause,
    }
}

/// What is true of a table when a reading ends before its end.
pub(super) fn given_up(cause: SnapshotCause) -> SnapshotState {
    match cause {
        SnapshotCause::Asked => SnapshotState::Done,
        SnapshotCause::First | SnapshotCause::Needed => SnapshotState::Partial,
    }
}
