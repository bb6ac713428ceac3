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

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::stats::SourceStats;
use lakeward_core::{
    BinlogPosition, ChangeBatch, Checkpoint, Clock, Error, ErrorKind, Feed, GtidSet, MarkReason, Origin,
    OriginRun, Position, Result, TableFilter, TableId, TableMark, TableSchema, TypeOptions, failpoint,
};
use uuid::Uuid;

use super::OnError;
use super::queue::{Closed, Sender};
use super::statement::{self, Effect};
use super::tables::Tables;
use super::truth::CatalogTruth;
use crate::binlog::event::{Event, Rotate};
use crate::binlog::payload::Payload;
use crate::binlog::query::Query;
use crate::binlog::stream::Place;
use crate::binlog::table_map::{self, TableMap, same_columns};
use crate::binlog::transaction::{Assembler, Step};
use crate::ddl::Statement;
use crate::rows::{BatchBuilder, RowLayout, RowsEvent};

/// Rows of one table that are sent together at most.
const BATCH_ROWS: usize = 16_384;
/// Bytes of one table's rows that are sent together, about.
const BATCH_BYTES: usize = 8 << 20;
/// Rows after which the end of a transaction becomes a boundary at once.
const BOUNDARY_ROWS: usize = 65_536;
/// Time after which it does.
const BOUNDARY_TIME: Duration = Duration::from_millis(100);
/// What a schema, mark or boundary counts in the queue, so that none of them waits there without
/// bound while the sink is slow.
const SMALL_BYTES: usize = 4 << 10;
/// Table maps remembered.
const MAPS: usize = 4_096;

/// Why the reader ends.
#[derive(Debug)]
pub(super) enum Halt {
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

pub(super) type Outcome<T = ()> = std::result::Result<T, Halt>;

/// Choices that do not change during a run.
pub(super) struct Settings {
    pub(super) filter: TableFilter,
    pub(super) types: TypeOptions,
    pub(super) before_images: bool,
    pub(super) on_error: OnError,
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
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stats: Arc<SourceStats>,
}

/// Where a run begins.
pub(super) struct Begin {
    pub(super) position: BinlogPosition,
    pub(super) next_seq: i64,
    pub(super) commit_us: Option<i64>,
    pub(super) tables: Tables,
    /// Events of the file before this offset are passed over; they are read only because the server
    /// cannot begin later, or for their GTIDs.
    pub(super) pass_until: Option<u64>,
}

/// A table map seen.
struct Mapped {
    bytes: Vec<u8>,
    /// The captured table; `None` for all others.
    table: Option<usize>,
    /// The last transaction that repeated it.
    transaction: u64,
}

/// A transaction that is read again.
struct Replay {
    /// Rows below this number were sent.
    sent_below: i64,
    /// What names the transaction: its GTID, or where there are none its place.
    name: String,
}

/// See the module.
pub(super) struct Decoder {
    settings: Settings,
    out: Sender<Result<Feed>>,
    assembler: Assembler,
    pub(super) tables: Tables,
    maps: HashMap<u64, Mapped>,
    pub(super) truth: Option<CatalogTruth>,
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
    /// Counts transactions, to know what belongs to the open one.
    transaction: u64,
    /// The server has not yet said where the stream begins.
    stream_begins: bool,
    /// Offset of the event at hand.
    event_offset: u64,
    /// Offset of the first event of the transaction at hand.
    began_at: u64,
    origin: Option<Origin>,
    /// Tables stopped by the open transaction.
    stopped_now: Vec<usize>,
    replay: Option<Replay>,
    pass_until: Option<u64>,
    gathered_bytes: usize,
    rows_since_boundary: usize,
    last_boundary: Duration,
    until: Option<BinlogPosition>,
}

impl Decoder {
    pub(super) fn new(
        settings: Settings,
        begin: Begin,
        until: Option<BinlogPosition>,
        truth: Option<CatalogTruth>,
        out: Sender<Result<Feed>>,
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
            server_uuid: begin.position.server_uuid,
            done: place.clone(),
            place,
            gtids: begin.position.gtid_set,
            next_seq: begin.next_seq,
            done_seq: begin.next_seq,
            commit_us: begin.commit_us,
            transaction: 1,
            stream_begins: true,
            event_offset: 0,
            began_at: 0,
            origin: None,
            stopped_now: Vec::new(),
            replay: None,
            pass_until: begin.pass_until,
            gathered_bytes: 0,
            rows_since_boundary: 0,
            until,
        }
    }

    pub(super) fn out(&self) -> &Sender<Result<Feed>> {
        &self.out
    }

    pub(super) fn stats(&self) -> &SourceStats {
        &self.settings.stats
    }

    /// The end of the last whole transaction.
    pub(super) fn position(&self) -> BinlogPosition {
        BinlogPosition {
            server_uuid: self.server_uuid,
            file: self.done.file.to_string(),
            offset: self.done.offset,
            gtid_set: self.gtids.clone(),
        }
    }

    /// Where the next stream is to begin, and whether the GTIDs before that are still to be gathered.
    pub(super) fn resume_from(&self) -> (BinlogPosition, bool) {
        (self.position(), self.pass_until.is_some() && self.gtids.is_some())
    }

    /// A stream begins at [`Decoder::position`]: at `offset` of its file, with what lies between
    /// passed over.
    pub(super) fn stream_begins(&mut self, server_uuid: Uuid, offset: u64) {
        if server_uuid != self.server_uuid {
            // Another server's files; the first event says where we stand in them.
            self.server_uuid = server_uuid;
            self.done = Place { file: "".into(), offset };
        }
        self.place = Place { file: self.done.file.clone(), offset };
        self.stream_begins = true;
        if offset < self.done.offset && self.gtids.is_none() {
            self.pass_until = Some(self.done.offset);
        }
    }

    /// Stops a table before the run begins.
    pub(super) fn refuse(&mut self, table: &TableId, error: Error) -> Result<()> {
        let at = self.tables.find_or_add(table);
        if self.tables.get(at)?.is_active() {
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
        if self.assembler.is_between() {
            self.began_at = self.event_offset;
        }
        self.place.pass(&event.header);
        let step = self.assembler.accept(event).map_err(|error| self.located(error))?;
        match step {
            Step::Payload(body) => self.payload(body),
            step => self.step(step),
        }
    }

    fn payload(&mut self, body: &[u8]) -> Outcome {
        self.event_offset = self.place.offset;
        let mut payload =
            Payload::open(body, self.settings.max_event).map_err(|error| self.located(error))?;
        while let Some(event) = payload.next_event().map_err(|error| self.located(error))? {
            let step = self.assembler.accept_inner(event).map_err(|error| self.located(error))?;
            self.step(step)?;
        }
        Ok(self.assembler.payload_ended().map_err(|error| self.located(error))?)
    }

    fn step(&mut self, step: Step<'_>) -> Outcome {
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
            Step::Payload(_) => {
                Err(Error::new(ErrorKind::CorruptEvent, "nested compressed transactions").into())
            }
        }
    }

    fn rotate(&mut self, to: Rotate, artificial: bool) {
        let begins = std::mem::replace(&mut self.stream_begins, false);
        let is_another = *self.place.file != *to.file;
        if is_another {
            self.maps.clear();
            self.pass_until = None;
        }
        self.place = Place { file: to.file.into(), offset: to.offset };
        // Where the server begins to send may lie before what we have. Later it names another file
        // only when it has sent all of the one before; a server that crashed wrote no rotation there.
        if !artificial || (!begins && is_another) || self.done.file.is_empty() {
            self.done = self.place.clone();
        }
    }

    /// Whether the place where we begin is reached.
    fn pass_to_start(&mut self) {
        if self.pass_until.is_some_and(|until| self.place.offset >= until) {
            self.pass_until = None;
            self.done = self.place.clone();
        }
    }

    fn heartbeat(&mut self) -> Outcome {
        // A boundary would cut the transaction that is still to be read again: rows of it were sent.
        if !self.assembler.is_between() || self.pass_until.is_some() || self.replay.is_some() {
            return Ok(());
        }
        // What lies between is no transaction: the beginning of a file, its end.
        if self.place.file == self.done.file {
            self.done.offset = self.done.offset.max(self.place.offset);
        }
        self.settings.stats.caught_up_us.set(self.settings.clock.unix_micros());
        self.boundary()?;
        if self.has_reached_until() { Err(Halt::Done) } else { Ok(()) }
    }

    /// The open transaction is whole.
    fn ended(&mut self) -> Outcome {
        let passed = self.is_passed_over();
        let transaction = self.assembler.transaction();
        if let (Some(gtids), Some(gtid)) = (&mut self.gtids, &transaction.gtid) {
            gtids.insert(gtid);
        }
        self.done = self.place.clone();
        self.transaction += 1;
        self.origin = None;
        if passed {
            if let Some(until) = self.pass_until.filter(|until| self.place.offset > *until) {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "start offset {until} lies inside a transaction, which ends at {}",
                        self.place.offset
                    ),
                )
                .remedy("start at the end of a transaction, as SHOW BINLOG EVENTS shows it")
                .into());
            }
            self.pass_to_start();
            return Ok(());
        }
        self.commit_us = Some(transaction.commit_us);
        self.settings.stats.transactions.add(1);
        self.settings.stats.last_commit_us.set(transaction.commit_us);
        self.done_seq = self.next_seq;
        self.stopped_now.clear();
        if self.replay.as_ref().is_some_and(|replay| self.next_seq >= replay.sent_below) {
            self.flush()?;
            self.replay = None;
        } else if let Some(replay) = &self.replay {
            return Err(lost_transaction(&replay.name).into());
        }
        let reached = self.has_reached_until();
        let due = self.rows_since_boundary >= BOUNDARY_ROWS
            || self.settings.clock.elapsed().saturating_sub(self.last_boundary) >= BOUNDARY_TIME;
        if due || reached {
            self.boundary()?;
        }
        if reached { Err(Halt::Done) } else { Ok(()) }
    }

    /// Whether the transaction at hand lies before the place where we begin.
    fn is_passed_over(&self) -> bool {
        self.pass_until.is_some_and(|until| self.began_at < until)
    }

    /// Whether a bounded run is at its end.
    pub(super) fn has_reached_until(&self) -> bool {
        let Some(until) = self.until.as_ref().filter(|_| self.pass_until.is_none()) else { return false };
        if until.server_uuid == self.server_uuid && is_at_or_after(&self.done, until) {
            return true;
        }
        match (&until.gtid_set, &self.gtids) {
            (Some(until), Some(gtids)) if !until.is_empty() => until.is_subset_of(gtids),
            _ => false,
        }
    }

    /// Sends everything gathered, then a boundary.
    pub(super) fn boundary(&mut self) -> Outcome {
        failpoint::hit("mysql.boundary")?;
        self.flush()?;
        self.last_boundary = self.settings.clock.elapsed();
        self.rows_since_boundary = 0;
        self.settings.stats.headroom_seconds.set(self.headroom());
        let checkpoint = Checkpoint {
            position: Position::Binlog(self.position()),
            next_seq: self.next_seq,
            commit_us: self.commit_us,
            tables: self.tables.states(),
        };
        Ok(self.out.send(Ok(Feed::Boundary(checkpoint)), SMALL_BYTES)?)
    }

    /// Seconds until the server may purge what was not read yet; -1 where that is not known.
    fn headroom(&self) -> i64 {
        let kept = self.settings.kept_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let behind =
            self.commit_us.map(|commit| (self.settings.clock.unix_micros() - commit).max(0) / 1_000_000);
        match (kept, behind) {
            (Some(kept), Some(behind)) => (kept - behind).max(0),
            _ => -1,
        }
    }

    /// The stream broke: back to the end of the last whole transaction.
    pub(super) fn break_off(&mut self) -> Outcome {
        self.flush()?;
        let sent_below = self.next_seq.max(self.replay.as_ref().map_or(i64::MIN, |replay| replay.sent_below));
        if sent_below > self.done_seq {
            let name = match self.replay.take() {
                Some(replay) if self.next_seq == self.done_seq => replay.name,
                _ => self.transaction_name(),
            };
            self.replay = Some(Replay { sent_below, name });
        }
        for table in std::mem::take(&mut self.stopped_now) {
            self.tables.unstop(table)?;
        }
        self.next_seq = self.done_seq;
        self.transaction += 1;
        self.origin = None;
        self.maps.clear();
        self.assembler.reset();
        Ok(())
    }

    fn transaction_name(&self) -> String {
        match &self.assembler.transaction().gtid {
            Some(gtid) => gtid.to_string(),
            None => format!("{}:{}", self.done.file, self.done.offset),
        }
    }

    fn table_map(&mut self, event: &Event<'_>) -> Outcome {
        if self.is_passed_over() {
            return Ok(());
        }
        let id = table_map::table_id(event)?;
        let transaction = self.transaction;
        if let Some(known) = self.maps.get_mut(&id).filter(|known| known.bytes == event.body) {
            known.transaction = transaction;
            return Ok(());
        }
        let name = table_map::table_name(event).map_err(|error| self.located(error))?;
        let table = match self.settings.filter.captures(&name) {
            true => Some(self.tables.find_or_add(&name)),
            false => None,
        };
        if let Some(table) =
            table.filter(|table| self.tables.get(*table).is_ok_and(|table| table.is_active()))
        {
            self.flush_table(table)?;
            let bound = self.bind(table, event);
            self.settle(table, bound)?;
        }
        if self.maps.len() >= MAPS {
            self.maps.retain(|_, map| map.transaction == transaction);
        }
        self.maps.insert(id, Mapped { bytes: event.body.to_vec(), table, transaction });
        Ok(())
    }

    /// Gets a table ready for the rows of a new table map.
    fn bind(&mut self, at: usize, event: &Event<'_>) -> Result<()> {
        let map = TableMap::parse(event)?;
        if !map.unknown_fields.is_empty() {
            self.settings.stats.passed_over.add(&"TableMapField", map.unknown_fields.len() as u64);
        }
        let schema = match self.tables.get(at)?.schema.clone() {
            Some(schema) => {
                known_structure(&map, &schema)?;
                schema
            }
            None => self.first_version(at, &map)?,
        };
        let layout = RowLayout::new(&map.columns, schema)?;
        let builder =
            BatchBuilder::new(Arc::new(layout), self.settings.before_images, self.settings.stats.clone());
        self.tables.get_mut(at)?.builder = Some(builder);
        Ok(())
    }

    /// A table is seen for the first time: its version 1.
    fn first_version(&mut self, at: usize, map: &TableMap) -> Result<Arc<TableSchema>> {
        let position = self.position();
        let in_log = map.structure()?;
        let from_catalog = match &mut self.truth {
            Some(truth) => truth.structure(&map.table, in_log.as_ref(), &position)?,
            None => None,
        };
        let structure = from_catalog.or(in_log).ok_or_else(|| {
            Error::new(ErrorKind::TableChanged, "the log does not name the table's columns")
                .of_table(&map.table)
                .remedy("SET PERSIST binlog_row_metadata = FULL, and begin after that")
        })?;
        let schema =
            TableSchema::new(map.table.clone(), 1, structure.columns, structure.key, self.settings.types);
        map.check(&schema)?;
        let schema = Arc::new(schema);
        self.tables.set_schema(at, schema.clone())?;
        Ok(schema)
    }

    fn rows(&mut self, event: &Event<'_>) -> Outcome {
        if self.is_passed_over() {
            return Ok(());
        }
        let rows = RowsEvent::parse(event.header.code, event.post_header, event.body)
            .map_err(|error| self.located(error))?;
        /// Names no table: it only ends a statement.
        const DUMMY: u64 = 0xff_ffff;
        let mapped = self.maps.get(&rows.table_id).filter(|map| map.transaction == self.transaction);
        let Some(mapped) = mapped else {
            if rows.table_id == DUMMY && rows.rows.is_empty() {
                return Ok(());
            }
            let error = Error::new(ErrorKind::CorruptEvent, "row changes of a table that no table map names");
            return Err(self.located(error).into());
        };
        let Some(at) = mapped.table else { return Ok(()) };
        self.follow_replay()?;
        let table = self.tables.get_mut(at)?;
        if !table.is_active() {
            self.settings.stats.events_of_stopped.add(&table.id, 1);
            return Ok(());
        }
        if self.assembler.transaction().xa {
            let error = Error::new(ErrorKind::XaTransaction, "an XA transaction changes the table")
                .remedy("keep XA transactions away from captured tables; then read the table anew");
            return self.settle(at, Err(error));
        }
        let origin = self.origin();
        let table = self.tables.get_mut(at)?;
        table.touched = self.transaction;
        let Some(builder) = table.builder.as_mut() else {
            return Err(Error::new(ErrorKind::Bug, "rows before their layout").of_table(&table.id).into());
        };
        let (rows_before, bytes_before) = (builder.rows(), builder.bytes());
        let pushed = builder.push(&rows, &origin, &mut self.next_seq);
        let (gathered, bytes) = (builder.rows(), builder.bytes());
        self.rows_since_boundary += gathered - rows_before;
        self.gathered_bytes = (self.gathered_bytes + bytes).saturating_sub(bytes_before);
        if gathered >= BATCH_ROWS || bytes >= BATCH_BYTES {
            self.flush_table(at)?;
        } else if self.gathered_bytes >= self.settings.gather_bytes {
            self.flush()?;
        }
        self.settle(at, pushed)
    }

    /// Rows of a transaction that is read again must be those of the same transaction.
    fn follow_replay(&mut self) -> Outcome {
        match &self.replay {
            Some(replay) if self.transaction_name() != replay.name => {
                Err(lost_transaction(&replay.name).into())
            }
            _ => Ok(()),
        }
    }

    fn origin(&mut self) -> Origin {
        let transaction = self.assembler.transaction();
        let origin = self.origin.get_or_insert_with(|| Origin {
            commit_us: transaction.commit_us,
            gtid: transaction.gtid.as_ref().map(|gtid| gtid.to_string().into()),
            file: self.place.file.clone(),
            offset: 0,
        });
        origin.offset = self.event_offset;
        origin.clone()
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
        tracing::error!(table = %table, kind = error.kind().name(), "table stopped: {error}");
        let position = Position::Binlog(self.position());
        self.tables.stop(at, &error, position)?;
        self.stopped_now.push(at);
        self.settings.stats.tables_stopped.set(self.tables.stopped() as i64);
        Ok(())
    }

    /// Rows of the open transaction that were taken are void: their tables cannot go on.
    fn rolled_back(&mut self) -> Outcome {
        for at in 0..self.tables.len() {
            let table = self.tables.get(at)?;
            if table.touched == self.transaction && table.is_active() {
                let error = Error::new(
                    ErrorKind::UnloggedChange,
                    "the log takes back rows of a transaction that mixes storage engines",
                )
                .remedy("keep tables that are not InnoDB out of such transactions; then read the table anew");
                self.settle(at, Err(error))?;
            }
        }
        Ok(())
    }

    fn statement(&mut self, query: &Query<'_>, statement: &Statement) -> Outcome {
        if self.is_passed_over() {
            return Ok(());
        }
        let candidates = match statement::names_are_open(statement) {
            true => self.candidates()?,
            false => Vec::new(),
        };
        let effects =
            statement::effects(statement, &self.settings.filter, self.settings.logs_cascades, &candidates);
        let mut outcome = "ignored";
        for effect in effects {
            outcome = match effect {
                Effect::Made { table, surely } => {
                    self.made(&table, surely)?;
                    "followed"
                }
                Effect::Void { table, dropped } => {
                    self.void(&table, dropped)?;
                    "followed"
                }
                Effect::VoidDatabase(database) => {
                    let of_it = |table: &&super::tables::Table| *table.id.database == *database;
                    let tables: Vec<TableId> =
                        self.tables.iter().filter(of_it).map(|t| t.id.clone()).collect();
                    for table in tables {
                        self.void(&table, true)?;
                    }
                    "followed"
                }
                Effect::Stop { table, error, even_unseen } => {
                    // A table that was never seen has no rows that could be wrong, unless rows came
                    // with the statement.
                    let at = match self.tables.find(&table) {
                        None if even_unseen => Some(self.tables.find_or_add(&table)),
                        found => found,
                    };
                    let Some(at) = at.filter(|at| self.tables.get(*at).is_ok_and(|t| t.is_active())) else {
                        if let Some(truth) = &mut self.truth {
                            truth.forget(&table);
                        }
                        continue;
                    };
                    self.settle(at, Err(error.at("statement", statement::excerpt(&query.sql))))?;
                    "stopped"
                }
            };
        }
        self.settings.stats.ddl.add(&outcome, 1);
        Ok(())
    }

    /// Captured tables that a statement may mean whose names are not known: seen, named in the
    /// filter, or on the server.
    fn candidates(&self) -> Result<Vec<TableId>> {
        let mut tables: Vec<TableId> = self.tables.iter().map(|table| table.id.clone()).collect();
        tables.extend(self.settings.filter.named());
        if let Some(truth) = &self.truth {
            tables.extend(truth.captured()?);
        }
        tables.sort();
        tables.dedup();
        Ok(tables)
    }

    /// A table was made, `surely` or unless it was there. Where we know a structure under its name, the
    /// new one must be the same; a log that names columns tells so with the rows, else the catalog does.
    fn made(&mut self, table: &TableId, surely: bool) -> Outcome {
        let position = self.position();
        let Some(truth) = &mut self.truth else { return Ok(()) };
        truth.forget(table);
        let Some(at) = self.tables.find(table) else { return Ok(()) };
        let table = self.tables.get_mut(at)?;
        let was_dropped = std::mem::replace(&mut table.dropped, false);
        let Some(known) = table.schema.clone().filter(|_| table.is_active()) else { return Ok(()) };
        if !surely && !was_dropped {
            return Ok(());
        }
        let outcome = truth.confirm(&known, &position);
        self.settle(at, outcome)
    }

    /// A table lost all its rows: TRUNCATE, or DROP (one made again under its name begins empty).
    fn void(&mut self, table: &TableId, dropped: bool) -> Outcome {
        if let Some(truth) = self.truth.as_mut().filter(|_| dropped) {
            truth.forget(table);
        }
        let Some(at) = self.tables.find(table) else { return Ok(()) };
        let table = self.tables.get_mut(at)?;
        table.dropped |= dropped;
        let Some(schema) = table.schema.clone().filter(|_| table.is_active()) else { return Ok(()) };
        self.follow_replay()?;
        self.flush_table(at)?;
        let mark =
            TableMark { schema, seq: self.next_seq, origin: self.origin(), reason: MarkReason::Truncate };
        self.announce(at)?;
        self.next_seq += 1;
        self.rows_since_boundary += 1;
        let sent = self.replay.as_ref().is_some_and(|replay| mark.seq < replay.sent_below);
        if !sent {
            self.settings.stats.rows.add(&(mark.table().clone(), "t"), 1);
            self.out.send(Ok(Feed::Mark(mark)), SMALL_BYTES)?;
        }
        Ok(())
    }

    /// Sends what is gathered of all tables.
    fn flush(&mut self) -> Outcome {
        (0..self.tables.len()).try_for_each(|at| self.flush_table(at))
    }

    fn flush_table(&mut self, at: usize) -> Outcome {
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
        self.announce(at)?;
        for op in [lakeward_core::Op::Create, lakeward_core::Op::Update, lakeward_core::Op::Delete] {
            let count = batch.meta.op.iter().filter(|found| **found == op).count();
            if count > 0 {
                self.settings.stats.rows.add(&(batch.schema.table.clone(), op.letter()), count as u64);
            }
        }
        let bytes = batch.bytes();
        Ok(self.out.send(Ok(Feed::Batch(batch)), bytes)?)
    }

    /// Sends a table's version before its first rows in this run.
    fn announce(&mut self, at: usize) -> Outcome {
        let table = self.tables.get_mut(at)?;
        if let Some(schema) = table.schema.clone().filter(|_| !table.announced) {
            table.announced = true;
            self.out.send(Ok(Feed::Schema(schema)), SMALL_BYTES)?;
        }
        Ok(())
    }

    fn located(&self, error: Error) -> Error {
        error.at("position", format!("{}:{}", self.place.file, self.event_offset))
    }
}

/// Whether the rows of a map can be read under the version in force.
fn known_structure(map: &TableMap, schema: &TableSchema) -> Result<()> {
    let remedy = "this version does not follow structure changes: begin a new pipeline for the table";
    map.check(schema).map_err(|error| error.remedy(remedy))?;
    match map.structure()? {
        Some(now) if !same_columns(&now.columns, &schema.columns) || now.key != schema.key => {
            Err(Error::new(
                ErrorKind::TableChanged,
                format!("the names, types or key of the columns are not those of version {}", schema.version),
            )
            .remedy(remedy))
        }
        _ => Ok(()),
    }
}

fn lost_transaction(name: &str) -> Error {
    Error::new(
        ErrorKind::SourceLineage,
        format!("the server no longer has transaction {name}, of which rows were read before the link broke"),
    )
    .remedy("start again: what was read of it is not committed and will be dropped")
}

/// The rows of a batch from `seq` on.
fn from_seq(batch: ChangeBatch, seq: i64) -> Option<ChangeBatch> {
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
            (run.rows > dropped).then(|| OriginRun { rows: run.rows - dropped, origin: run.origin })
        })
        .collect();
    Some(ChangeBatch {
        schema,
        rows: columns.slice(skip, rows),
        before: before.map(|before| before.slice(skip, rows)),
        meta,
    })
}

/// Whether a place is at or after another in the order of one server's files; `false` where their
/// names do not tell (`binlog.999999` comes before `binlog.1000000`).
pub(super) fn is_at_or_after(place: &Place, other: &BinlogPosition) -> bool {
    let split = |file: &str| {
        file.rsplit_once('.').and_then(|(base, n)| Some((base.to_owned(), n.parse::<u64>().ok()?)))
    };
    match (split(&place.file), split(&other.file)) {
        (Some((base, n)), Some((other_base, m))) => {
            base == other_base && (n, place.offset) >= (m, other.offset)
        }
        _ => false,
    }
}
