//! The decoder's side of chunks: windows opened, rows released. Why a released row is never stale is
//! told in [`crate::snapshot::window`].
//!
//! Guarantees beside that: a chunk and the plan that says so leave in one boundary, so a chunk is in the
//! lake if and only if its checkpoint says so; rows get their numbers when they are released, densely;
//! rows that wait are bounded ([`super::Settings::chunk_bytes`]), as nothing is begun above that.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, new_null_array};
use lakeward_core::{
    ChangeBatch, ChangeMeta, Feed, Op, Origin, OriginRun, Result, Snapshot, SnapshotCause, SnapshotPlan,
    SnapshotState, TableId, TableSchema, failpoint,
};

use super::reading::{FIRST_CHUNK_ROWS, Found, Outcome as FoundOutcome, Task, Ticket};
use super::replay::from_seq;
use super::structures::{Fills, succeed};
use super::{Decoder, Outcome, is_at_or_after};
use crate::binlog::table_map::same_columns;
use crate::schema::Definition;
use crate::snapshot::link::{Covered, Seen};
use crate::snapshot::plan::Ranges;
use crate::snapshot::read::{Piece, SELECT_LIMIT};
use crate::snapshot::spacing::Spacing;
use crate::snapshot::window::{KeyBytes, unrecorded};

/// How long the SELECT of a chunk is meant to take.
const CHUNK_TIME: Duration = Duration::from_secs(1);
/// How long a table is left alone after trouble with it.
const REST: Duration = Duration::from_millis(500);
/// How long it is left alone at most where it is put off again and again.
const REST_MAX: Duration = Duration::from_secs(30);
/// How often a table is put off before that is a warning: after two minutes.
const LONG: u32 = 8;
/// Rows of a chunk at most.
const CHUNK_ROWS_MAX: u64 = 1_000_000;

impl Decoder {
    /// Opens a window for the next thing to read; `None` where nothing is to be begun now.
    pub(crate) fn next_ticket(&mut self) -> Outcome<Option<Ticket>> {
        if !self.has_room() {
            return Ok(None);
        }
        self.compare_parts()?;
        let now = self.settings.clock.elapsed();
        let mut best: Option<(usize, usize)> = None;
        for (at, table) in self.tables.iter_mut().enumerate() {
            let SnapshotState::Open(open) = &table.snapshot else { continue };
            if open.paused || !table.is_active() || table.reading.asked || now < table.reading.not_before {
                continue;
            }
            let out = table.reading.open.len();
            if best.is_none_or(|(_, fewest)| out < fewest) && table.reading.has_more(open) {
                best = Some((at, out));
            }
        }
        match best {
            Some((at, _)) => self.open_window(at).map(Some),
            None => Ok(None),
        }
    }

    /// Whether one more chunk fits beside those that wait and those that are being read.
    fn has_room(&self) -> bool {
        let out: usize =
            self.tables.iter().map(|t| t.reading.open.len().saturating_sub(t.reading.back.len())).sum();
        let goal = self.settings.chunk_goal_bytes;
        self.waiting_bytes + (out + 1) * goal <= self.settings.chunk_bytes
    }

    fn open_window(&mut self, at: usize) -> Outcome<Ticket> {
        failpoint::hit("mysql.snapshot.window")?;
        self.flush_table(at)?;
        let id = self.next_ticket;
        self.next_ticket += 1;
        let (yielded, now) = (self.gtids.clone(), self.settings.clock.elapsed());
        let table = self.tables.get_mut(at)?;
        let SnapshotState::Open(open) = &table.snapshot else {
            return Err(bug("a window of a table that is not read").into());
        };
        let reading = &mut table.reading;
        let task = match &open.plan {
            None => Task::Plan,
            Some(plan) if plan.key.is_empty() => Task::Whole,
            Some(plan) => {
                let ranges = reading.ranges.get_or_insert_with(|| Ranges::of(plan));
                let rows = if reading.chunk_rows == 0 { FIRST_CHUNK_ROWS } else { reading.chunk_rows };
                match (ranges.claim(id), &mut reading.comparison) {
                    (Some(range), _) => {
                        let cut = reading.spacing.and_then(|spacing| spacing.cut(&range, rows));
                        if let Some(cut) = &cut {
                            ranges.cut(id, Some(cut.to.clone()));
                        }
                        let (is_cut, range) = (cut.is_some(), cut.unwrap_or(range));
                        Task::Chunk { range, is_cut, rows, key: plan.key.clone() }
                    }
                    (None, Some(comparison)) => {
                        let schema = comparison.schema.clone();
                        let keys = comparison.claim(id).ok_or_else(|| bug("no key is left"))?;
                        Task::Lookup { keys, schema }
                    }
                    (None, None) => return Err(bug("no range is left").into()),
                }
            }
        };
        reading.asked = matches!(task, Task::Plan | Task::Whole);
        reading.passed_over = false;
        reading.open.insert(id, reading.recording.open());
        reading.counted_to.get_or_insert(now);
        let (table_id, condition, era) = (table.id.clone(), open.condition.clone(), reading.era);
        let state = table.snapshot.clone();
        self.set_snapshot(at, state)?;
        let server = self.server_uuid;
        Ok(Ticket { table: table_id, at, id, era, server, yielded, condition, task })
    }

    /// A chunk is cut behind `to` (`None`: it is the whole range); `false` if it is void.
    pub(crate) fn cut(&mut self, ticket: &Ticket, to: Option<Vec<String>>) -> Outcome<bool> {
        let reading = &mut self.tables.get_mut(ticket.at)?.reading;
        let valid = reading.era == ticket.era;
        if let Some(ranges) = reading.ranges.as_mut().filter(|_| valid) {
            ranges.cut(ticket.id, to);
        }
        Ok(valid)
    }

    /// What a thread found: released at once if the stream has yielded all that it saw, else at a
    /// boundary to come.
    pub(crate) fn hand_over(&mut self, ticket: Ticket, found: Found) -> Outcome {
        let reading = &mut self.tables.get_mut(ticket.at)?.reading;
        if reading.era != ticket.era {
            return Ok(());
        }
        let due = self.has_yielded(&found.seen.covered);
        self.waiting_bytes += found.bytes();
        let reading = &mut self.tables.get_mut(ticket.at)?.reading;
        reading.put_off = 0;
        reading.back.push((ticket, found));
        if due { self.boundary() } else { Ok(()) }
    }

    /// A thread could not do what it was asked; it is asked again after a while, for less at a time if
    /// that was too much.
    pub(crate) fn give_back(&mut self, ticket: &Ticket, too_large: bool) -> Outcome {
        let now = self.settings.clock.elapsed();
        let reading = &mut self.tables.get_mut(ticket.at)?.reading;
        if reading.era != ticket.era {
            return Ok(());
        }
        if let (true, Task::Chunk { rows, .. }) = (too_large, &ticket.task) {
            reading.chunk_rows = (rows / 4).max(1);
            reading.spacing = None;
        }
        if !too_large {
            reading.not_before = now + REST;
        }
        reading.asked &= matches!(ticket.task, Task::Chunk { .. } | Task::Lookup { .. });
        if let Task::Whole = ticket.task {
            reading.void();
        }
        if let Some(ranges) = &mut reading.ranges {
            ranges.give_back(ticket.id);
        }
        if let Some(comparison) = &mut reading.comparison {
            comparison.give_back(ticket.id, too_large);
        }
        reading.close(ticket.id);
        Ok(())
    }

    /// A thread is not to do now what it was asked: each time it is asked again later, as a try may harm others.
    pub(crate) fn put_off(&mut self, ticket: &Ticket, why: &str) -> Outcome {
        self.give_back(ticket, false)?;
        let now = self.settings.clock.elapsed();
        let reading = &mut self.tables.get_mut(ticket.at)?.reading;
        reading.put_off += 1;
        let rest = REST_MAX.min(REST * 2u32.saturating_pow(reading.put_off));
        reading.not_before = now + rest;
        match reading.put_off < LONG {
            true => tracing::info!(table = %ticket.table, "{why}; again in {} s", rest.as_secs()),
            false => tracing::warn!(
                table = %ticket.table,
                times = reading.put_off,
                "{why}; again in {} s: its rows are not read meanwhile",
                rest.as_secs()
            ),
        }
        Ok(())
    }

    /// Records what goes out of a table, for the windows that are open.
    pub(super) fn record(&mut self, at: usize, batch: &ChangeBatch) -> Result<()> {
        let (limit, now) = (self.settings.chunk_goal_bytes, self.settings.clock.elapsed());
        let reading = &mut self.tables.get_mut(at)?.reading;
        if reading.open.is_empty() {
            return Ok(());
        }
        reading.recording.record(&batch.schema, &batch.rows)?;
        if reading.recording.bytes() > limit {
            reading.chunk_rows = (reading.chunk_rows / 4).max(1);
            // While the stream or a replica is behind, the next window would fill up as fast, however small it is.
            reading.filled_up = reading.filled_up.saturating_add(1);
            let rest = REST_MAX.min(REST * reading.filled_up);
            reading.not_before = now + rest;
            tell_of_filled_up(&batch.schema.table, reading.filled_up, rest);
            self.structure_touched(at)?;
        }
        Ok(())
    }

    /// Whether everything that rows can have seen was yielded.
    pub(crate) fn has_yielded(&self, covered: &Covered) -> bool {
        match (covered, &self.gtids) {
            (Covered::Gtids(seen), Some(yielded)) => seen.is_subset_of(yielded),
            (Covered::Gtids(_), None) => false,
            (Covered::Log(end), _) => end.server_uuid == self.server_uuid && is_at_or_after(&self.done, end),
        }
    }

    /// Releases what is due. Only between two transactions, after everything gathered was sent.
    pub(super) fn release(&mut self) -> Outcome {
        for at in 0..self.tables.len() {
            let reading = &self.tables.get(at)?.reading;
            if reading.back.is_empty() {
                continue;
            }
            let mut waiting = std::mem::take(&mut self.tables.get_mut(at)?.reading.back).into_iter();
            while let Some((ticket, found)) = waiting.next() {
                let void = self.tables.get(at)?.reading.era != ticket.era;
                if !void && !self.has_yielded(&found.seen.covered) {
                    self.tables.get_mut(at)?.reading.back.push((ticket, found));
                    continue;
                }
                self.waiting_bytes = self.waiting_bytes.saturating_sub(found.bytes());
                let released = if void { Ok(()) } else { self.release_one(ticket, found) };
                if released.is_err() {
                    // Where the error passes, what was out of the table is read again.
                    let reading = &mut self.tables.get_mut(at)?.reading;
                    reading.back.extend(waiting);
                    reading.void();
                    return released;
                }
            }
        }
        Ok(())
    }

    fn release_one(&mut self, ticket: Ticket, found: Found) -> Outcome {
        failpoint::hit("mysql.snapshot.release")?;
        let at = ticket.at;
        if let FoundOutcome::NoTable = found.outcome {
            return self.end_snapshot(at);
        }
        self.adopt(at, &found.schema)?;
        if !self.tables.get(at)?.is_active() {
            return Ok(());
        }
        if let FoundOutcome::OtherKey = found.outcome {
            // A statement that changed it would have voided the ticket. What went out by the key that the plan
            // has may be told apart wrongly.
            tracing::warn!(table = %ticket.table, "its key is not the one it is read by; its rows are read anew");
            self.open_anew(at, SnapshotCause::Needed)?;
            self.done_seq = self.next_seq;
            return Ok(());
        }
        if self.tables.get(at)?.reading.era != ticket.era {
            return Ok(());
        }
        // Its window held all that came.
        self.tables.get_mut(at)?.reading.filled_up = 0;
        match found.outcome {
            FoundOutcome::NoTable | FoundOutcome::OtherKey => Ok(()),
            FoundOutcome::Missing(missing) => self.release_missing(&ticket, &found.seen, &missing),
            FoundOutcome::Plan { key, last, estimated_rows } => {
                self.planned(&ticket, SnapshotPlan { key, last, estimated_rows, ..SnapshotPlan::default() })
            }
            FoundOutcome::Rows(pieces) => {
                self.release_rows(&ticket, &found.schema, &found.seen, pieces, found.took)
            }
        }
    }

    /// The structure that rows were read with is the table's here: where the stream does not know it
    /// yet, it is the next version. A table that cannot have it stops, and what is read of it is void.
    pub(super) fn adopt(&mut self, at: usize, found: &TableSchema) -> Outcome {
        self.tables.set_there(at)?;
        let known = self.tables.get(at)?.schema.clone();
        let same = |schema: &TableSchema| {
            let sure = !schema.groundwork.unsure;
            sure && same_columns(&schema.columns, &found.columns) && schema.key == found.key
        };
        if known.as_deref().is_some_and(same) {
            return Ok(());
        }
        self.flush_table(at)?;
        let version = known.as_ref().map_or(1, |schema| schema.version + 1);
        let table = self.tables.get(at)?.id.clone();
        tracing::info!(table = %table, version, "the table's structure is taken from the catalog");
        let mut structure = Definition::of(found);
        if !self.settings.schema_changes {
            structure.undeclare();
        }
        if let Some(known) = &known {
            succeed(&mut structure, Some(&Definition::of(known)), true, &Fills::new());
        }
        let structure = match self.suited(&table, structure) {
            Ok(structure) => structure,
            Err(error) => return self.stop_table(at, error),
        };
        let schema = structure.version(table, version, self.settings.types);
        self.tables.set_schema(at, Arc::new(schema))?;
        self.tables.get_mut(at)?.builder = None;
        self.maps.retain(|_, map| map.table != Some(at));
        // The next checkpoint names it, also where the table is empty.
        self.announce(at)
    }

    fn planned(&mut self, ticket: &Ticket, plan: SnapshotPlan) -> Outcome {
        let at = ticket.at;
        let table = self.tables.get_mut(at)?;
        table.reading.asked = false;
        table.reading.close(ticket.id);
        if table.reading.passed_over {
            // Rows that came after the greatest key was read would be in no range. The structure is known
            // by now, so none is passed over while it is asked for again.
            tracing::debug!(table = %ticket.table, "rows were passed over meanwhile; the plan is made again");
            return Ok(());
        }
        let SnapshotState::Open(open) = table.snapshot.clone() else { return Ok(()) };
        if plan.last.is_none() && !plan.key.is_empty() && open.condition.is_none() {
            // Empty: whatever came later is in the log. Of a part, the lake may still have rows.
            return self.end_snapshot(at);
        }
        Ok(self.set_snapshot(at, SnapshotState::Open(Snapshot { plan: Some(plan), ..open }))?)
    }

    fn release_rows(
        &mut self,
        ticket: &Ticket,
        schema: &TableSchema,
        seen: &Seen,
        pieces: Vec<Piece>,
        took: Duration,
    ) -> Outcome {
        let at = ticket.at;
        let Some(by) = KeyBytes::of(schema)? else { return Err(bug("a chunk without a key").into()) };
        let reading = &mut self.tables.get_mut(at)?.reading;
        let since = reading.open.get(&ticket.id).copied().unwrap_or(0);
        // Taken out, as what is sent is recorded by nobody.
        let recording = std::mem::take(&mut reading.recording);
        let Some(recorded) = recording.since(since, &by) else {
            self.tables.get_mut(at)?.reading.recording = recording;
            return self.give_back(ticket, false);
        };
        let (mut read, mut bytes) = (0u64, 0);
        for piece in pieces {
            read += piece.rows.num_rows() as u64;
            bytes += piece.bytes();
            let rows = match &piece.keys {
                Some(keys) => unrecorded(piece.rows, keys, &recorded)?,
                None => return Err(bug("rows of a chunk without keys").into()),
            };
            self.send_between(at, Op::Read, rows, seen.at_us)?;
        }
        drop(recorded);
        let bytes_goal = self.settings.chunk_goal_bytes;
        let now = self.settings.clock.elapsed();
        let table = self.tables.get_mut(at)?;
        table.reading.recording = recording;
        let spent = table.reading.spent(now);
        table.reading.close(ticket.id);
        if let Task::Chunk { rows, is_cut, .. } = ticket.task {
            // Where the server did not count them, the rows that were meant are no measure.
            let asked = if is_cut && read > 0 { read } else { rows };
            table.reading.chunk_rows = next_size(asked, read, bytes, bytes_goal, took);
        }
        let SnapshotState::Open(mut open) = table.snapshot.clone() else { return Ok(()) };
        let (Some(ranges), Some(plan)) = (table.reading.ranges.as_mut(), open.plan.as_mut()) else {
            return Err(bug("a chunk without a plan").into());
        };
        if let Some(range) = ranges.being_read(ticket.id).filter(|_| open.condition.is_none()) {
            table.reading.spacing = Spacing::found(table.reading.spacing, schema, range, read);
        }
        ranges.read(ticket.id);
        ranges.note(plan);
        plan.rows += read;
        plan.reading_ms += spent;
        // A part is then compared with the lake.
        let ends = ranges.all_read() && open.condition.is_none();
        self.set_snapshot(at, SnapshotState::Open(open))?;
        if ends { self.end_snapshot(at) } else { Ok(()) }
    }

    /// Sends events that come of no transaction, with their numbers.
    pub(super) fn send_between(&mut self, at: usize, op: Op, rows: RecordBatch, at_us: i64) -> Outcome {
        let origin = self.origin_here(at_us);
        self.send_rows(at, op, rows, origin)?;
        // Between two transactions: these numbers are given for good.
        self.done_seq = self.next_seq;
        Ok(())
    }

    /// Sends events of one kind and origin, with their numbers.
    pub(super) fn send_rows(&mut self, at: usize, op: Op, rows: RecordBatch, origin: Origin) -> Outcome {
        let count = rows.num_rows();
        if count == 0 {
            return Ok(());
        }
        self.announce(at)?;
        let table = self.tables.get(at)?;
        let Some(schema) = table.schema.clone() else { return Err(bug("rows without a version").into()) };
        let before = self.settings.before_images.then(|| nulls(&schema, count)).transpose()?;
        let first = self.next_seq;
        self.next_seq += i64::try_from(count).unwrap_or(i64::MAX);
        let meta = ChangeMeta {
            op: vec![op; count],
            seq: (first..self.next_seq).collect(),
            topic_partition: None,
            origins: vec![OriginRun { rows: count, first_row: 0, origin }],
        };
        self.rows_since_boundary += count;
        let batch = ChangeBatch { schema, rows, before, meta };
        let batch = match &self.replay {
            Some(replay) => from_seq(batch, replay.sent_below),
            None => Some(batch),
        };
        let Some(batch) = batch else { return Ok(()) };
        let count = batch.meta.op.len() as u64;
        self.settings.stats.rows.add(&(batch.schema.table.clone(), op.letter()), count);
        let bytes = batch.bytes();
        Ok(self.out.send(Ok(Feed::Batch(batch)), bytes)?)
    }
}

fn tell_of_filled_up(table: &TableId, times: u32, rest: Duration) {
    let rest = rest.as_secs_f32();
    match times < LONG {
        true => {
            tracing::info!(%table, "more changes come than fit while chunks are read; smaller ones in {rest} s")
        }
        false => tracing::warn!(
            %table,
            times,
            "more changes come while a chunk is read than `memory` has room for; again in {rest} s, its rows are not read \
             meanwhile. The stream is behind, or snapshot.replica is: let them catch up, raise `memory`, or take \
             snapshot.replica out"
        ),
    }
}

/// The rows of the next chunk, so that it takes about a second and fits its share of memory. It grows
/// slowly and shrinks at once.
fn next_size(asked: u64, read: u64, bytes: usize, bytes_goal: usize, took: Duration) -> u64 {
    if read == 0 {
        // Everything in the range was deleted, or a condition leaves it out.
        return match took < CHUNK_TIME / 2 {
            true => (asked * 2).min(CHUNK_ROWS_MAX),
            false => asked,
        };
    }
    let by_time = CHUNK_TIME.as_secs_f64() / took.as_secs_f64().max(1e-3);
    let by_bytes = bytes_goal as f64 / bytes.max(1) as f64;
    let factor = by_time.min(by_bytes).clamp(0.1, 4.0);
    ((asked as f64 * factor) as u64).clamp(1, CHUNK_ROWS_MAX)
}

fn nulls(schema: &TableSchema, rows: usize) -> Result<RecordBatch> {
    let arrays = schema.arrow.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
    RecordBatch::try_new(schema.arrow.clone(), arrays)
        .map_err(|error| bug("no previous images").caused_by(error))
}

fn bug(what: &str) -> lakeward_core::Error {
    lakeward_core::Error::new(lakeward_core::ErrorKind::Bug, what)
}

const _: () = assert!(CHUNK_TIME.as_millis() * 2 < SELECT_LIMIT.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_towards_a_second_or_their_bytes_and_shrink_at_once() {
        let ms = Duration::from_millis;
        assert_eq!(next_size(1_000, 1_000, 1_000, 1 << 20, ms(10)), 4_000, "slowly up");
        assert_eq!(next_size(1_000, 1_000, 1 << 19, 1 << 20, ms(10)), 2_000, "the bytes' goal");
        assert_eq!(next_size(1_000, 1_000, 1_000, 1 << 20, ms(4_000)), 250, "a second");
        assert_eq!(next_size(1, 1, 1 << 30, 1 << 20, ms(10)), 1, "never nothing");
        assert_eq!(next_size(1_000, 0, 0, 1 << 20, ms(10)), 2_000, "nothing was there");
    }
}
