//! A part of a table that was read anew: what vanished from the server unseen is deleted.
//!
//! Once the part's chunks are in, the keys that live in the lake are asked for, class by class, and looked
//! up on the server, some at a time; those that it does not have become `d` events. The condition is the
//! server's and says nothing here: a key that is nowhere in the table is gone, whatever the condition; a
//! key that is there stays, within the part or not.
//!
//! # Why no row is deleted that is there
//! A lookup is a task of the chunk threads with the window of a chunk ([`crate::snapshot::window`]). Take
//! a key that the lookup does not find, and a transaction `T` that writes a row with it.
//! - *`T` was yielded before the window opened.* Then `T` is in `G`, so the lookup saw it and all of `G`:
//!   the row is gone by a later transaction, or unseen. If that later one was yielded before the window
//!   opened too, the lake has its `d`, and one more says the same.
//! - *`T` is yielded while the window is open.* Its key was recorded, and is left alone.
//! - *`T` is yielded after the release.* Its event has a higher number than the `d`, and wins.
//!
//! None of this asks when the keys were read from the lake; keys from before the window are enough: a row
//! that came later than they did is not missing from the server unseen, as nobody knew it. So they are
//! those of a commit, and the commit's checkpoint was yielded before any window that looks them up.
//!
//! # Why what vanished before the request is deleted
//! Its key lives in the lake when the keys are read, unless the stream deleted it meanwhile. It is found
//! nowhere, and recorded only if the stream changes it during the window: then the stream has it. Keys
//! whose newest event is younger than the request need no lookup: that event says that the row was there.
//! Keys are compared by the bytes of the lake, so a row whose key is equal only by collation does not
//! stand for another.
//!
//! One question is open at a time, and who asked it may be gone before the answer comes; then the next one asks
//! ([`Decoder::close_question`]). So no part waits for another that is not compared any more.
//!
//! Nothing of this is in the checkpoint: a run that goes on begins with the keys again, and what is
//! deleted already lives no more.
//!
//! Unknown: keys with zero or partial dates that are NULL in the lake are not looked up; that is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use lakeward_core::{
    Error, ErrorKind, KeyClass, LivingKeys, Op, Result, SnapshotState, TableSchema, failpoint,
};

use super::living::deleted;
use super::reading::{Task, Ticket};
use super::{Decoder, Outcome};
use crate::snapshot::link::Seen;
use crate::snapshot::lookup::Missing;
use crate::snapshot::window::{KeyBytes, unrecorded};
use crate::source::tables::Table;

/// Keys that are looked up together at first, and at most.
const KEYS: usize = 1_000;

/// How far a table's keys are compared with the server's.
pub(super) struct Comparison {
    /// The version whose key is meant.
    pub(super) schema: Arc<TableSchema>,
    /// The class to ask for next; `None`: all were asked for.
    next: Option<KeyClass>,
    /// The question that is open.
    asked: Option<u64>,
    /// Keys to be looked up.
    keys: VecDeque<RecordBatch>,
    /// Keys of tickets that are not released.
    out: BTreeMap<u64, RecordBatch>,
    /// How many are looked up together.
    at_once: usize,
    deleted: usize,
}

impl Comparison {
    fn new(schema: Arc<TableSchema>) -> Self {
        let next = Some(KeyClass::default());
        let (keys, out) = (VecDeque::new(), BTreeMap::new());
        Comparison { schema, next, asked: None, keys, out, at_once: KEYS, deleted: 0 }
    }

    /// Whether a lookup can begin.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The keys of a new ticket.
    pub(super) fn claim(&mut self, ticket: u64) -> Option<RecordBatch> {
        let first = self.keys.pop_front()?;
        let count = first.num_rows().min(self.at_once);
        if count < first.num_rows() {
            self.keys.push_front(first.slice(count, first.num_rows() - count));
        }
        let claimed = first.slice(0, count);
        self.out.insert(ticket, claimed.clone());
        Some(claimed)
    }

    /// The keys of a ticket were not looked up after all.
    pub(super) fn give_back(&mut self, ticket: u64, too_large: bool) {
        let Some(keys) = self.out.remove(&ticket) else { return };
        if too_large {
            self.at_once = (keys.num_rows() / 4).max(1);
        }
        self.keys.push_front(keys);
    }

    /// All tickets are void.
    pub(super) fn void(&mut self) {
        self.keys.extend(std::mem::take(&mut self.out).into_values());
    }

    fn is_idle(&self) -> bool {
        self.keys.is_empty() && self.out.is_empty() && self.asked.is_none()
    }

    /// Whether it is of the version in force.
    fn is_of(&self, table: &Table) -> bool {
        table.schema.as_ref().is_some_and(|schema| schema.version == self.schema.version)
    }
}

/// Whether a table's part is read, and its keys are being compared.
fn is_compared(table: &Table) -> bool {
    let SnapshotState::Open(open) = &table.snapshot else { return false };
    let is_read = table.reading.ranges.as_ref().is_some_and(|ranges| ranges.all_read());
    open.condition.is_some() && !open.paused && table.is_active() && is_read
}

impl Decoder {
    /// Goes on with the comparison of parts whose chunks are all in. Only between two transactions.
    pub(super) fn compare_parts(&mut self) -> Outcome {
        self.close_question();
        for at in 0..self.tables.len() {
            if is_compared(self.tables.get(at)?) {
                self.compare_part(at)?;
            }
        }
        Ok(())
    }

    /// A question whose asker is not compared any more (it was given up, stopped, paused, or begun again with
    /// another version) is not waited for: others could not ask. Its answer, should it still come, is passed by.
    fn close_question(&mut self) {
        let asks = |table: &Table, question: u64| {
            let comparison = table.reading.comparison.as_ref().filter(|_| is_compared(table));
            comparison.is_some_and(|comparison| comparison.asked == Some(question) && comparison.is_of(table))
        };
        let (tables, before) = (&self.tables, self.question);
        self.question = before.filter(|question| tables.iter().any(|table| asks(table, *question)));
        if self.question.is_none() {
            self.answers.forget();
        }
    }

    fn compare_part(&mut self, at: usize) -> Outcome {
        let (open_question, table) = (self.question, self.tables.get_mut(at)?);
        let Some(schema) = table.schema.clone() else { return Ok(()) };
        let since = table.reading.since.unwrap_or(i64::MAX);
        let is_of = table.reading.comparison.as_ref().is_some_and(|known| known.is_of(table));
        let known = table.reading.comparison.take().filter(|_| is_of);
        let comparison = table.reading.comparison.insert(known.unwrap_or_else(|| {
            tracing::info!(table = %schema.table, "the part is read; its keys are compared with the lake's");
            Comparison::new(schema.clone())
        }));
        // Another question may have taken the place of ours.
        comparison.asked = comparison.asked.filter(|asked| open_question == Some(*asked));
        if let Some(asked) = comparison.asked {
            return match self.keys_told(asked) {
                None => Ok(()),
                Some(told) => self.compare_with(at, told),
            };
        }
        if !comparison.is_idle() {
            return Ok(());
        }
        match (comparison.next, open_question) {
            (None, _) => {
                tracing::info!(table = %schema.table, deleted = comparison.deleted, "the part is compared");
                self.end_snapshot(at)?;
                self.boundary()
            }
            (Some(_), Some(_)) => Ok(()),
            (Some(class), None) => {
                self.boundary()?;
                let asked = self.ask_for_keys(&schema, class, since)?;
                let reading = &mut self.tables.get_mut(at)?.reading;
                if let Some(comparison) = &mut reading.comparison {
                    comparison.asked = Some(asked);
                }
                Ok(())
            }
        }
    }

    /// Takes up a class of keys.
    fn compare_with(&mut self, at: usize, told: Result<LivingKeys>) -> Outcome {
        let table = self.tables.get_mut(at)?;
        match (told, &mut table.reading.comparison) {
            (Ok(LivingKeys { keys, next }), Some(comparison)) => {
                comparison.asked = None;
                comparison.next = next;
                comparison.keys.extend(keys);
                Ok(())
            }
            (Ok(_), None) => Ok(()),
            (Err(error), _) => {
                let table = table.id.clone();
                tracing::error!(%table, "the part cannot be compared with the lake, and is given up: {error}");
                self.give_up(at)?;
                self.boundary()
            }
        }
    }

    /// Deletes the keys that a lookup did not find.
    pub(super) fn release_missing(&mut self, ticket: &Ticket, seen: &Seen, missing: &Missing) -> Outcome {
        failpoint::hit("mysql.keys.release")?;
        let at = ticket.at;
        let table = self.tables.get_mut(at)?;
        let (Some(schema), Task::Lookup { schema: of, .. }) = (table.schema.clone(), &ticket.task) else {
            return Err(Error::new(ErrorKind::Bug, "keys of no table").into());
        };
        if of.version != schema.version {
            return self.give_back(ticket, false);
        }
        let Some(by) = KeyBytes::of(&schema)? else {
            return Err(Error::new(ErrorKind::Bug, "keys of a table without one").into());
        };
        let rows = deleted(&schema, &missing.keys)?;
        let keys = by.keys(&rows)?;
        let reading = &mut table.reading;
        let since = reading.open.get(&ticket.id).copied().unwrap_or(0);
        let Some(recorded) = reading.recording.since(since, &by) else {
            return self.give_back(ticket, false);
        };
        let rows = unrecorded(rows, &keys, &recorded)?;
        drop(recorded);
        if missing.unknown > 0 {
            tracing::warn!(
                table = %schema.table,
                keys = missing.unknown,
                "keys with zero dates, which are NULL in the lake, cannot be looked up and are left as they are"
            );
        }
        reading.close(ticket.id);
        if let Some(comparison) = &mut reading.comparison {
            comparison.out.remove(&ticket.id);
            comparison.deleted += rows.num_rows();
        }
        if rows.num_rows() > 0 {
            self.tables.set_deleted_by_key(at, true)?;
        }
        self.send_between(at, Op::Delete, rows, seen.at_us)
    }
}
