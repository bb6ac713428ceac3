//! Turns events into the feed: batches, marks and boundaries, with their numbers.
//!
//! Guarantees:
//! - *Numbers are dense and deterministic.* `next_seq` moves only when a row or mark of an active
//!   table is taken, in the order of the log; which tables are active depends on the log alone and on
//!   the checkpoint. So from one checkpoint the same events get the same numbers, however they are
//!   cut into batches.
//! - *A boundary never cuts a transaction*: [`Decoder::boundary`] is reached only where the assembler
//!   is between two transactions, after everything gathered was sent.
//! - *A broken link doubles nothing.* [`Decoder::break_off`] sends all rows gathered, remembers the
//!   number that would come next and goes back to the end of the last whole transaction: numbers,
//!   table states and all. The transaction is read again from its beginning; by determinism its rows
//!   get the numbers they had; rows below the remembered number are dropped, as they were sent. If
//!   another transaction comes in its place (a failover that lost it), the run ends, and the sink
//!   drops what was staged since the last checkpoint.
//! - *Bounded memory*: rows gathered are sent when they pass the limit, the queue is bounded.

mod batches;
mod changes;
mod chunks;
mod draft;
mod living;
mod place;
mod prepared;
mod proofs;
pub(crate) mod reading;
mod replay;
mod requests;
mod rows;
mod snapshots;
mod statements;
mod structures;
mod vanished;
pub(crate) mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::stats::SourceStats;
use lakeward_core::{
    Answer, BinlogPosition, Clock, Error, ErrorKind, Feed, GtidSet, Origin, Position, PreparedXa, Result,
    SchemaChange, TableFilter, TableId, TypeOptions, failpoint,
};
use uuid::Uuid;

use super::answers::KeyAnswers;
use super::beside::Beside;
use super::tables::Tables;
use super::truth::CatalogTruth;
use super::{OnError, OnTruncate};
use crate::binlog::event::Event;
use crate::binlog::payload::Payload;
use crate::binlog::stream::Place;
use crate::binlog::transaction::{Assembler, Step};
use lakeward_core::queue::{Closed, Sender};
pub(super) use place::is_at_or_after;
use prepared::Prepared;
use replay::Replay;
use rows::Mapped;

/// Rows of one table that are sent together at most.
const BATCH_ROWS: usize = 16_384;
/// Bytes of one table's rows that are sent together, about.
const BATCH_BYTES: usize = 8 << 20;
/// Rows after which the end of a transaction becomes a boundary at once.
const BOUNDARY_ROWS: usize = 65_536;
/// Time after which it does: so that batches are large while there is a backlog, and nobody waits where there is none.
const BOUNDARY_TIME: Duration = Duration::from_millis(100);
const BOUNDARY_TIME_LIVE: Duration = Duration::from_millis(10);
/// A transaction that was committed so short a time ago is no part of a backlog.
const LIVE_US: i64 = 1_000_000;
/// What a schema, mark or boundary counts in the queue, so that none of them waits there without
/// bound while the sink is slow.
const SMALL_BYTES: usize = 4 << 10;
/// Table maps remembered.
const MAPS: usize = 4_096;

/// Why the reader ends.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The bounded run has reached its end.
    Done,
    /// Nobody listens any more.
    Closed,
    /// An error.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

impl From<Closed> for Halt {
    fn from(Closed: Closed) -> Self {
        Halt::Closed
    }
}

pub(crate) type Outcome<T = ()> = std::result::Result<T, Halt>;

/// Choices that do not change during a run.
pub(super) struct Settings {
    pub(super) filter: TableFilter,
    pub(super) types: TypeOptions,
    /// Names that no column of a table may have.
    pub(super) reserved: Vec<String>,
    pub(super) before_images: bool,
    pub(super) on_error: OnError,
    pub(super) truncate: OnTruncate,
    /// Statements that change tables are told.
    pub(super) schema_changes: bool,
    pub(super) max_event: u64,
    /// Bytes of rows gathered over all tables.
    pub(super) gather_bytes: usize,
    pub(super) original_commit_time: bool,
    /// How long the server keeps its binlogs, in seconds; `None` where that is not known.
    pub(super) kept_seconds: Option<u64>,
    /// The server stores names in lower case.
    pub(super) lower_case_names: bool,
    /// Rows that foreign keys change are logged.
    pub(super) logs_cascades: bool,
    /// Tables may be read, where their rows are not in the log.
    pub(super) snapshots: bool,
    /// The run ends when all snapshots have ended.
    pub(super) ends_when_read: bool,
    /// Bytes of chunks that are read or wait for their release.
    pub(super) chunk_bytes: usize,
    /// Bytes that a chunk is meant to have, and that the keys recorded for one table may have.
    pub(super) chunk_goal_bytes: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stats: Arc<SourceStats>,
}

/// Where a run begins.
pub(super) struct Begin {
    pub(super) position: BinlogPosition,
    pub(super) next_seq: i64,
    pub(super) commit_us: Option<i64>,
    pub(super) retired: i64,
    pub(super) requests: Vec<Answer>,
    pub(super) prepared: Vec<PreparedXa>,
    pub(super) tables: Tables,
    /// Events of the file before this offset are passed over; they are read only because the server
    /// cannot begin later, or for their GTIDs.
    pub(super) pass_until: Option<u64>,
}

/// Where a run ends.
#[derive(Default)]
pub(super) struct End {
    pub(super) position: Option<BinlogPosition>,
    /// Only when the snapshots that are open have ended, too.
    pub(super) waits_for_snapshots: bool,
}

/// See the module.
pub(crate) struct Decoder {
    settings: Settings,
    out: Arc<Sender<Result<Feed>>>,
    assembler: Assembler,
    pub(super) tables: Tables,
    maps: HashMap<u64, Mapped>,
    pub(super) truth: Option<CatalogTruth>,
    beside: Beside,
    pub(super) server_uuid: Uuid,
    place: Place,
    /// End of the last whole transaction.
    done: Place,
    /// Transactions before `done`, where the server has GTIDs.
    gtids: Option<GtidSet>,
    next_seq: i64,
    /// `next_seq` at `done`.
    done_seq: i64,
    commit_us: Option<i64>,
    /// Numbers that no event bears ([`lakeward_core::Checkpoint::retired`]).
    retired: i64,
    /// What became of requests ([`lakeward_core::Checkpoint::requests`]).
    requests: Vec<Answer>,
    prepared: Prepared,
    /// Counts transactions, to know what belongs to the open one.
    transaction: u64,
    /// The server has not yet said where the stream begins.
    stream_begins: bool,
    /// Offset of the event at hand.
    event_offset: u64,
    /// Offset of the first event of the transaction at hand.
    began_at: u64,
    /// Offset of the event that opened it.
    opened_at: Option<u64>,
    origin: Option<Origin>,
    /// Tables stopped by the open transaction.
    stopped_now: Vec<usize>,
    replay: Option<Replay>,
    pass_until: Option<u64>,
    gathered_bytes: usize,
    rows_since_boundary: usize,
    last_boundary: Duration,
    until: Option<BinlogPosition>,
    /// Also the snapshots must have ended there.
    until_waits: bool,
    next_ticket: u64,
    /// Bytes of rows that wait for their release.
    waiting_bytes: usize,
    /// A table with enough rows to be sent, once the event at hand is done with.
    full: Option<usize>,
    answers: Arc<KeyAnswers>,
    next_question: u64,
    /// The question for living keys that is open.
    question: Option<u64>,
    /// Tables without a key whose mark is to be reserved when the stream comes to their view.
    views: usize,
    /// What statements of the transaction at hand do, until it is whole.
    changes: Vec<SchemaChange>,
}

impl Decoder {
    pub(super) fn new(
        settings: Settings,
        begin: Begin,
        until: End,
        truth: Option<CatalogTruth>,
        out: Arc<Sender<Result<Feed>>>,
        answers: Arc<KeyAnswers>,
    ) -> Decoder {
        let place = Place { file: begin.position.file.as_str().into(), offset: begin.position.offset };
        settings.stats.tables_stopped.set(begin.tables.stopped() as i64);
        Decoder {
            assembler: Assembler::new(settings.original_commit_time, settings.lower_case_names),
            last_boundary: settings.clock.elapsed(),
            settings,
            out,
            tables: begin.tables,
            maps: HashMap::new(),
            truth,
            beside: Beside::default(),
            server_uuid: begin.position.server_uuid,
            done: place.clone(),
            place,
            gtids: begin.position.gtid_set,
            next_seq: begin.next_seq,
            done_seq: begin.next_seq,
            commit_us: begin.commit_us,
            retired: begin.retired,
            requests: begin.requests,
            prepared: Prepared::after(begin.prepared),
            transaction: 1,
            stream_begins: true,
            event_offset: 0,
            began_at: 0,
            opened_at: None,
            origin: None,
            stopped_now: Vec::new(),
            replay: None,
            pass_until: begin.pass_until,
            gathered_bytes: 0,
            rows_since_boundary: 0,
            until: until.position,
            until_waits: until.waits_for_snapshots,
            next_ticket: 0,
            waiting_bytes: 0,
            full: None,
            answers,
            next_question: 0,
            question: None,
            views: 0,
            changes: Vec::new(),
        }
    }

    /// Whether chunks may begin and be handed over here: no transaction is open, and none is to be read
    /// again or passed over.
    pub(super) fn is_between(&self) -> bool {
        self.assembler.is_between() && self.replay.is_none() && self.pass_until.is_none()
    }

    /// Stops a table before the run begins.
    pub(super) fn refuse(&mut self, table: &TableId, error: Error) -> Result<()> {
        let (at, error) = (self.tables.find_or_add(table), requests::resumable(error, table));
        if !self.tables.get(at)?.is_stopped() {
            tracing::error!(table = %table, kind = error.kind().name(), "table stopped: {error}");
            let position = Position::Binlog(self.position());
            self.tables.stop(at, &error, position)?;
            self.settings.stats.tables_stopped.set(self.tables.stopped() as i64);
        }
        Ok(())
    }

    /// Takes an event.
    pub(super) fn event(&mut self, event: Event<'_>) -> Outcome {
        failpoint::hit("mysql.event")?;
        self.settings.stats.events.add(1);
        self.settings.stats.bytes.add(event.header.size.into());
        self.event_offset = self.place.offset;
        let is_between = self.assembler.is_between();
        if is_between {
            self.began_at = self.event_offset;
        }
        self.place.pass(&event.header);
        if is_between && self.views > 0 {
            // Where the event begins; what the server left out before it is ours already.
            let moved = self.place.offset.saturating_sub(self.event_offset).min(event.header.size.into());
            let begins = Place { file: self.place.file.clone(), offset: self.place.offset - moved };
            self.reach_views(&begins)?;
        }
        let step = self.assembler.accept(event).map_err(|error| self.located(error))?;
        match step {
            Step::Payload(body) => self.payload(body),
            step => self.step(step),
        }?;
        self.send_full()
    }

    fn send_full(&mut self) -> Outcome {
        self.full.take().map_or(Ok(()), |at| self.flush_table(at))
    }

    fn payload(&mut self, body: &[u8]) -> Outcome {
        self.event_offset = self.place.offset;
        let mut payload =
            Payload::open(body, self.settings.max_event).map_err(|error| self.located(error))?;
        while let Some(event) = payload.next_event().map_err(|error| self.located(error))? {
            let step = self.assembler.accept_inner(event).map_err(|error| self.located(error))?;
            self.step(step)?;
            if self.full.is_some() {
                // While the rows wait for the sink, a very large event is not held beside them.
                payload.let_go();
                self.send_full()?;
            }
        }
        Ok(self.assembler.payload_ended().map_err(|error| self.located(error))?)
    }

    fn step(&mut self, step: Step<'_>) -> Outcome {
        if self.assembler.is_open() {
            self.opened_at.get_or_insert(self.event_offset);
        }
        match step {
            Step::Nothing => Ok(()),
            Step::PassedOver(name) => {
                self.settings.stats.passed_over.add(&name, 1);
                Ok(())
            }
            Step::Rotate { to, artificial } => {
                self.rotate(to, artificial);
                Ok(())
            }
            Step::PreviousGtids(set) => {
                // Only where we read a file for its GTIDs: elsewhere ours hold more.
                if self.pass_until.is_some()
                    && let Some(gtids) = &mut self.gtids
                {
                    gtids.union(&set);
                }
                self.pass_to_start();
                Ok(())
            }
            Step::Heartbeat => self.heartbeat(),
            Step::TableMap(event) => self.table_map(&event),
            Step::Rows(event) => self.rows(&event),
            Step::Statement { query, statement, whole } => {
                self.statement(&query, &statement)?;
                if whole { self.ended() } else { Ok(()) }
            }
            Step::RolledBackTo => self.rolled_back(),
            Step::RolledBack => {
                self.rolled_back()?;
                self.ended()
            }
            Step::Ended => self.ended(),
            Step::Prepared => self.prepared(),
            Step::Decided { xid, committed } => self.decided(&xid, committed),
            Step::Payload(_) => {
                Err(Error::new(ErrorKind::CorruptEvent, "nested compressed transactions").into())
            }
        }
    }

    /// Settles what became of a step about one table: its errors stop it.
    fn settle(&mut self, at: usize, outcome: Result<()>) -> Outcome {
        let Err(error) = outcome else { return Ok(()) };
        let table = self.tables.get(at)?.id.clone();
        let error = self.located(error.of_table(&table));
        match (error.policy(), self.settings.on_error) {
            (lakeward_core::error::Policy::StopTable, OnError::StopTable) => {}
            _ => return Err(error.into()),
        }
        let error = requests::resumable(error, &table);
        tracing::error!(table = %table, kind = error.kind().name(), "table stopped: {error}");
        let position = Position::Binlog(self.position());
        self.tables.stop(at, &error, position)?;
        self.structure_touched(at)?;
        self.stopped_now.push(at);
        self.settings.stats.tables_stopped.set(self.tables.stopped() as i64);
        Ok(())
    }

    pub(super) fn located(&self, error: Error) -> Error {
        error.at("position", format!("{}:{}", self.place.file, self.event_offset))
    }

    /// Says where the event begins that did not come.
    pub(super) fn located_next(&self, error: Error) -> Error {
        error.at("position", format!("{}:{}", self.place.file, self.place.offset))
    }
}
