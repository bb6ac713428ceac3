//! How far the reading of a table's rows is in this run: what is out, what came back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use lakeward_core::{BinlogPosition, GtidSet, KeyBound, Snapshot, TableId, TableSchema};
use uuid::Uuid;

use super::vanished::Comparison;
use crate::snapshot::link::Seen;
use crate::snapshot::lookup::Missing;
use crate::snapshot::plan::{Range, Ranges};
use crate::snapshot::read::Piece;
use crate::snapshot::spacing::Spacing;
use crate::snapshot::window::Recording;

/// Rows of the first chunk of a table; the next ones are as large as time and memory allow.
pub(super) const FIRST_CHUNK_ROWS: u64 = 2_000;

/// What is asked of a thread, with the window that was opened for it.
pub(crate) struct Ticket {
    pub(crate) table: TableId,
    /// The table's place.
    pub(super) at: usize,
    pub(super) id: u64,
    /// [`Reading::era`] when it was given.
    pub(super) era: u64,
    /// The server that the stream came from.
    pub(crate) server: Uuid,
    /// What the stream had yielded.
    pub(crate) yielded: Option<GtidSet>,
    /// Only rows for which it holds.
    pub(crate) condition: Option<String>,
    pub(crate) task: Task,
}

/// What a thread is to do.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Settle how the table is read.
    Plan,
    /// Read a chunk of about so many rows.
    Chunk {
        /// The range from whose beginning it is to be cut, or the chunk itself.
        range: Range,
        is_cut: bool,
        rows: u64,
        /// The columns by which the table is read ([`lakeward_core::SnapshotPlan::key`]).
        key: Vec<String>,
    },
    /// Read the whole table in one consistent view.
    Whole,
    /// Look up which of these keys the server does not have.
    Lookup {
        keys: RecordBatch,
        /// The version whose key they are of.
        schema: Arc<TableSchema>,
    },
}

/// What a thread found.
pub(crate) struct Found {
    /// The structure that it was read with, its version not settled.
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) seen: Seen,
    pub(crate) outcome: Outcome,
    /// How long the SELECT took.
    pub(crate) took: Duration,
}

/// See [`Found`].
pub(crate) enum Outcome {
    /// The server does not have the table.
    NoTable,
    /// How the table is read.
    Plan { key: Vec<String>, last: Option<KeyBound>, estimated_rows: Option<u64> },
    /// The table has another key than its plan says.
    OtherKey,
    /// The rows of a chunk.
    Rows(Vec<Piece>),
    /// Keys that the server does not have.
    Missing(Missing),
}

impl Found {
    pub(super) fn bytes(&self) -> usize {
        match &self.outcome {
            Outcome::NoTable | Outcome::Plan { .. } | Outcome::OtherKey => 0,
            Outcome::Missing(missing) => missing.keys.get_array_memory_size(),
            Outcome::Rows(pieces) => pieces.iter().map(Piece::bytes).sum(),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(in crate::source) struct Reading {
    /// Raised whenever everything that is out is void.
    pub(super) era: u64,
    /// A plan, or the whole table, is being asked for.
    pub(super) asked: bool,
    /// Rows were passed over ([`super::Decoder::is_all_to_come`]) since the plan was asked for: it may
    /// not have seen them.
    pub(super) passed_over: bool,
    pub(super) ranges: Option<Ranges>,
    /// Rows of the next chunk; 0 before the first.
    pub(super) chunk_rows: u64,
    /// Of an integer key, once a chunk was read.
    pub(super) spacing: Option<Spacing>,
    pub(super) recording: Recording,
    /// Of a part: what lives in the lake, once all is read.
    pub(super) comparison: Option<Comparison>,
    /// Of a part that was asked for in this run: the number that came next then.
    pub(super) since: Option<i64>,
    /// Tickets that are out or came back and are not released, with where their windows began.
    pub(super) open: BTreeMap<u64, u64>,
    /// What came back, until the stream has yielded what it saw.
    pub(super) back: Vec<(Ticket, Found)>,
    /// While something is out: up to when the time of reading is counted.
    pub(super) counted_to: Option<Duration>,
    /// Nothing is begun before, after trouble.
    pub(super) not_before: Duration,
    /// How often it was put off since something of it was read.
    pub(super) put_off: u32,
    /// How often more came for its windows than is recorded, since one was released.
    pub(super) filled_up: u32,
    /// A table without a key is being read as of there: the number of its mark is reserved when the
    /// stream comes there.
    pub(super) view_at: Option<BinlogPosition>,
    /// The mark is reserved: rows of the view may go out.
    pub(super) view_reached: bool,
}

impl Reading {
    /// Whether something is to be begun of a snapshot.
    pub(super) fn has_more(&mut self, open: &Snapshot) -> bool {
        let Some(plan) = &open.plan else { return true };
        if plan.key.is_empty() {
            return true;
        }
        let ranges = self.ranges.get_or_insert_with(|| Ranges::of(plan));
        ranges.has_more() || self.comparison.as_ref().is_some_and(Comparison::has_keys)
    }

    /// Everything that is out is void. What came back is dropped at the next boundary.
    pub(in crate::source) fn void(&mut self) {
        self.era += 1;
        self.asked = false;
        if let Some(ranges) = &mut self.ranges {
            ranges.void();
        }
        self.spacing = None;
        if let Some(comparison) = &mut self.comparison {
            comparison.void();
        }
        self.recording = Recording::default();
        self.open.clear();
        self.counted_to = None;
        self.view_at = None;
        self.view_reached = false;
    }

    /// Also what was planned is void.
    pub(in crate::source) fn restart(&mut self) {
        self.void();
        self.ranges = None;
        self.comparison = None;
        self.since = None;
    }

    /// The window of a ticket is closed.
    pub(super) fn close(&mut self, ticket: u64) {
        self.open.remove(&ticket);
        let oldest = self.open.values().min().copied().unwrap_or(u64::MAX);
        self.recording.forget_before(oldest);
        if self.open.is_empty() {
            self.counted_to = None;
        }
    }

    /// Milliseconds of reading that were not counted yet.
    pub(super) fn spent(&mut self, now: Duration) -> u64 {
        let since = self.counted_to.replace(now).unwrap_or(now);
        u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX)
    }
}
