//! The threads that read chunks: a ticket from the decoder, the questions to the server, the rows back.
//!
//! Guarantees: a ticket ends in exactly one way (handed over, given back, its table stopped), so nothing
//! of a table is left behind unread; an error about one table stops that table, a passing one is tried
//! again after a pause; no lock and no transaction is held beyond one SELECT, but for the view of a table
//! without a key, which is open until the stream has come to its place and all rows went out: it is opened
//! only where the stream is close to the end of the log ([`CLOSE`]); a thread ends within a few seconds of the run ([`super::read::SELECT_LIMIT`]).

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use lakeward_core::error::Policy;
use lakeward_core::stats::SourceStats;
use lakeward_core::{Clock, Error, ErrorKind, Feed, Result, TableSchema, TypeOptions, failpoint};

use super::SnapshotOptions;
use super::link::{Covered, Described};
use super::lookup;
use super::pace::Pace;
use super::plan::Range;
use super::read::{self, Piece, Trouble};
use super::sight::{Opened, Sight};
use crate::config::MysqlConfig;
use crate::source::decoder::reading::{Found, Outcome as FoundOutcome, Task, Ticket};
use crate::source::decoder::view::Taken;
use crate::source::decoder::{Halt, Outcome};
use crate::source::turns::Turns;
use lakeward_core::queue::Sender;

/// How long a thread without work sleeps.
const IDLE: Duration = Duration::from_millis(200);
/// How long one sleeps after a passing error.
const PAUSE: Duration = Duration::from_secs(1);
/// How long rows of a view wait for the stream before they look again.
const LOOK: Duration = Duration::from_millis(20);

/// The stream is close to the end of the log if it comes within this time to where that was.
const CLOSE: Duration = Duration::from_secs(5);

/// What all threads share.
pub(crate) struct Common {
    pub(crate) turns: Arc<Turns>,
    pub(crate) out: Arc<Sender<Result<Feed>>>,
    pub(crate) source: MysqlConfig,
    pub(crate) options: SnapshotOptions,
    pub(crate) types: TypeOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<SourceStats>,
    /// Bytes above which a chunk is given up.
    pub(crate) chunk_bytes_max: usize,
}

/// One thread.
pub(crate) struct ChunkThread {
    common: Arc<Common>,
    sight: Sight,
    pace: Pace,
}

/// What is read of it after the lock is of a later moment than the lock.
fn without_views(ticket: &Ticket) -> Error {
    let message =
        "the table has no key, and its engine has no transactions: its rows cannot be read as of one moment";
    Error::new(ErrorKind::SourceUnsupported, message).of_table(&ticket.table).remedy(format!(
        "ALTER TABLE {0} ENGINE = InnoDB, or give it a primary key; then lakeward resume {0}",
        ticket.table
    ))
}

impl ChunkThread {
    /// The `lane`-th thread; the first one goes on where others wait.
    pub(crate) fn new(common: Arc<Common>, lane: u32) -> Self {
        let sight = Sight::new(common.clone());
        let pace = Pace::new(lane, &common.options);
        ChunkThread { common, sight, pace }
    }

    /// Reads until the run ends; the body of the thread.
    pub(crate) fn run(mut self) {
        loop {
            let pause = match self.next() {
                Ok(pause) => pause,
                Err(Halt::Failed(error)) if error.policy() == Policy::Retry => {
                    tracing::warn!(kind = error.kind().name(), "reading rows failed: {error}; trying again");
                    self.sight.drop_links();
                    PAUSE
                }
                Err(Halt::Failed(error)) => {
                    // Nobody may be listening any more.
                    let _told = self.common.out.send(Err(error), 0);
                    return;
                }
                Err(Halt::Closed | Halt::Done) => return,
            };
            if self.common.turns.has_ended() || self.common.out.pause(pause).is_err() {
                return;
            }
        }
    }

    /// Does one thing, or waits for one to do; how long to pause after it.
    fn next(&mut self) -> Outcome<Duration> {
        let now = self.common.clock.elapsed();
        if let Some(link) = self.sight.reading_link()
            && self.pace.is_to_wait(link, now)?
        {
            return Ok(IDLE);
        }
        let turns = self.common.turns.clone();
        let Some(ticket) = turns.find(IDLE, |decoder| decoder.next_ticket())? else {
            return Ok(Duration::ZERO);
        };
        self.sight.follow(&ticket);
        let done = match &ticket.task {
            Task::Plan => self.plan(&ticket),
            Task::Chunk { range, is_cut, rows, key } => self.chunk(&ticket, range, *is_cut, *rows, key),
            Task::Whole => self.whole(&ticket),
            Task::Lookup { keys, schema } => self.lookup(&ticket, keys, schema),
        };
        match done {
            Ok(Some(found)) => turns.between(|decoder| decoder.hand_over(ticket, found))?,
            Ok(None) => {}
            Err(trouble) => self.trouble(&ticket, trouble)?,
        }
        turns.tell_more();
        Ok(Duration::ZERO)
    }

    /// The ticket's end where it was not served.
    fn trouble(&mut self, ticket: &Ticket, trouble: Trouble) -> Outcome {
        self.sight.drop_links();
        let turns = &self.common.turns;
        match trouble {
            Trouble::TooLarge => turns.between(|decoder| decoder.give_back(ticket, true)),
            Trouble::NotKnown(how) if ticket.condition.is_some() => {
                let error = Error::new(
                    ErrorKind::TableChanged,
                    format!("its condition does not hold any more: {how}"),
                );
                turns.between(|decoder| decoder.put_off_or_stop(ticket, error.of_table(&ticket.table)))
            }
            Trouble::Moved(how) | Trouble::NotKnown(how) => {
                tracing::info!(table = %ticket.table, "its rows are to be read again: {how}");
                turns.between(|decoder| decoder.give_back(ticket, false))
            }
            Trouble::Later(why) => turns.between(|decoder| decoder.put_off(ticket, why)),
            Trouble::NotYet(error) => turns.between(|decoder| decoder.put_off_or_stop(ticket, error)),
            Trouble::Halted(halt @ (Halt::Closed | Halt::Done)) => Err(halt),
            Trouble::Halted(Halt::Failed(error)) | Trouble::Failed(error) => match error.policy() {
                Policy::Retry => {
                    turns.between(|decoder| decoder.give_back(ticket, false))?;
                    Err(error.into())
                }
                Policy::StopTable => turns.between(|decoder| decoder.stop_reading(ticket, error)),
                Policy::StopPipeline if is_about_table(&error) => {
                    turns.between(|decoder| decoder.stop_reading(ticket, error))
                }
                Policy::StopPipeline => Err(error.into()),
            },
        }
    }

    fn plan(&mut self, ticket: &Ticket) -> Result<Option<Found>, Trouble> {
        failpoint::hit("mysql.snapshot.plan")?;
        let opened = self.sight.open(ticket)?;
        let Some(described) = self.sight.describe(&ticket.table)? else {
            return self.missing(ticket, opened).map(Some);
        };
        let schema = self.schema(ticket, &described);
        if schema.key.is_empty() {
            self.sight.may_lock(ticket, "the table has no key")?;
        }
        let link = self.sight.link()?;
        let last = match schema.key.is_empty() {
            true => None,
            false => read::greatest_key(&mut link.conn, &schema, &described)?,
        };
        let estimated_rows = link.estimated_rows(&ticket.table, ticket.condition.as_deref())?;
        failpoint::hit("mysql.snapshot.seen")?;
        let seen = self.sight.close(opened)?;
        let outcome = FoundOutcome::Plan { key: described.key.columns(), last, estimated_rows };
        Ok(Some(Found { schema, seen, outcome, took: Duration::ZERO }))
    }

    fn chunk(
        &mut self,
        ticket: &Ticket,
        range: &Range,
        is_cut: bool,
        rows: u64,
        key: &[String],
    ) -> Result<Option<Found>, Trouble> {
        let opened = self.sight.open(ticket)?;
        let Some(described) = self.sight.describe(&ticket.table)? else {
            return self.missing(ticket, opened).map(Some);
        };
        let schema = self.schema(ticket, &described);
        if described.key.columns() != key {
            let seen = self.sight.close(opened)?;
            return Ok(Some(Found { schema, seen, outcome: FoundOutcome::OtherKey, took: Duration::ZERO }));
        }
        let link = self.sight.link()?;
        let mut range = range.clone();
        if !is_cut {
            let to = read::cut(&mut link.conn, &schema, &described, &range, rows)?;
            if !self.common.turns.between(|decoder| decoder.cut(ticket, to.clone()))? {
                return Err(Trouble::Moved("the chunk is void".to_owned()));
            }
            self.common.turns.tell_more();
            range.to = to.unwrap_or(range.to);
        }
        failpoint::hit("mysql.snapshot.read")?;
        // What a distance of keys cut may hold any number of rows.
        let most = if is_cut { u64::MAX } else { rows };
        let sql = read::chunk_sql(&schema, &described, &range, most, ticket.condition.as_deref());
        let begun = self.common.clock.elapsed();
        let common = &self.common;
        let piece_bytes = read::PIECE_BYTES.min(common.chunk_bytes_max);
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        read::rows(&mut link.conn, &schema, &sql, piece_bytes, &common.stats, |piece| {
            if common.turns.has_ended() {
                return Err(Halt::Closed.into());
            }
            bytes += piece.bytes();
            if bytes > common.chunk_bytes_max && most > 1 {
                return Err(Trouble::TooLarge);
            }
            pieces.push(piece);
            Ok(())
        })?;
        let took = common.clock.elapsed().saturating_sub(begun);
        failpoint::hit("mysql.snapshot.seen")?;
        let seen = self.sight.close(opened)?;
        Ok(Some(Found { schema, seen, outcome: FoundOutcome::Rows(pieces), took }))
    }

    /// Looks up which of the keys the server does not have.
    fn lookup(
        &mut self,
        ticket: &Ticket,
        keys: &RecordBatch,
        schema: &Arc<TableSchema>,
    ) -> Result<Option<Found>, Trouble> {
        let opened = self.sight.open(ticket)?;
        let Some(described) = self.sight.describe(&ticket.table)? else {
            return self.missing(ticket, opened).map(Some);
        };
        let found = self.schema(ticket, &described);
        let key = lookup::key_of(&found);
        if key.arrow != keys.schema() {
            return Err(Trouble::Moved(format!("its key is not that of version {}", schema.version)));
        }
        failpoint::hit("mysql.keys.lookup")?;
        let begun = self.common.clock.elapsed();
        let link = self.sight.link()?;
        let missing = lookup::missing(&mut link.conn, &key, &described, keys, &self.common.stats)?;
        let took = self.common.clock.elapsed().saturating_sub(begun);
        let seen = self.sight.close(opened)?;
        Ok(Some(Found { schema: found, seen, outcome: FoundOutcome::Missing(missing), took }))
    }

    /// Reads a table without a key. [`crate::source::decoder::view`] tells why that is exact.
    fn whole(&mut self, ticket: &Ticket) -> Result<Option<Found>, Trouble> {
        self.sight.may_lock(ticket, "the table has no key")?;
        if !self.is_close_to_the_end(ticket)? {
            return Err(Trouble::Later("the stream is behind, and a view would be open until it is not"));
        }
        let turns = self.common.turns.clone();
        if !self.sight.source()?.has_views(&ticket.table)? {
            return Err(without_views(ticket).into());
        }
        let before = self.sight.source()?.describe(&ticket.table)?;
        let (held, ()) = turns.hold(|_| Ok(()))?;
        let seen = self.sight.lock(ticket)?;
        turns.between(|decoder| decoder.view_opened(ticket, &seen.covered))?;
        drop(held);
        let Some(described) = self.sight.link()?.describe(&ticket.table)? else {
            return Err(Trouble::Moved("it is gone".to_owned()));
        };
        // The same before the lock and after it: so it was while the view was opened.
        if before.is_none_or(|before| before.structure != described.structure) {
            return Err(Trouble::Moved("its structure is another one now".to_owned()));
        }
        let schema = self.schema(ticket, &described);
        if !schema.key.is_empty() {
            let seen = self.sight.close(Opened::View(seen))?;
            return Ok(Some(Found { schema, seen, outcome: FoundOutcome::OtherKey, took: Duration::ZERO }));
        }
        failpoint::hit("mysql.snapshot.read")?;
        let sql = read::whole_sql(&schema);
        let outcome = FoundOutcome::Rows(Vec::new());
        let found = Found { schema: schema.clone(), seen, outcome, took: Duration::ZERO };
        let common = &self.common;
        let link = self.sight.link()?;
        read::rows(&mut link.conn, &schema, &sql, read::PIECE_BYTES, &common.stats, |piece| {
            let mut piece: Option<Piece> = Some(piece);
            wait_for_view(common, || turns.between(|decoder| decoder.take_view(ticket, &found, &mut piece)))
        })?;
        crate::session::run(&mut link.conn, "COMMIT")?;
        wait_for_view(common, || turns.between(|decoder| decoder.view_ended(ticket, &found)))?;
        Ok(None)
    }

    /// Whether the stream comes to the present end of the log soon.
    fn is_close_to_the_end(&mut self, ticket: &Ticket) -> Result<bool, Trouble> {
        let common = self.common.clone();
        let Common { turns, clock, out, .. } = &*common;
        let source = self.sight.source()?;
        let end = match ticket.yielded {
            Some(_) => Covered::Gtids(source.logged()?.0),
            None => source.end_of_log()?.covered,
        };
        let begun = clock.elapsed();
        while !turns.between(|decoder| Ok(decoder.has_yielded(&end)))? {
            if clock.elapsed().saturating_sub(begun) > CLOSE {
                return Ok(false);
            }
            out.pause(LOOK).map_err(Halt::from)?;
        }
        Ok(true)
    }

    fn schema(&self, ticket: &Ticket, described: &Described) -> Arc<TableSchema> {
        Arc::new(described.structure.clone().version(ticket.table.clone(), 0, self.common.types))
    }

    fn missing(&mut self, ticket: &Ticket, opened: Opened) -> Result<Found, Trouble> {
        let seen = self.sight.close(opened)?;
        self.sight.refuse_replica_without(&ticket.table)?;
        let schema = TableSchema::new(ticket.table.clone(), 0, Vec::new(), Vec::new(), self.common.types);
        Ok(Found { schema: Arc::new(schema), seen, outcome: FoundOutcome::NoTable, took: Duration::ZERO })
    }
}

/// Waits until the stream has come to a view, and `step` is done.
fn wait_for_view(common: &Common, mut step: impl FnMut() -> Outcome<Taken>) -> Result<(), Trouble> {
    loop {
        match step()? {
            Taken::Sent => return Ok(()),
            Taken::Void => return Err(Trouble::Moved("the view is void".to_owned())),
            Taken::NotYet => common.out.pause(LOOK).map_err(Halt::from)?,
        }
    }
}

/// Whether an error that would stop the pipeline is about the one table that was read: it lacks a
/// grant, or the server refuses a statement about it.
fn is_about_table(error: &Error) -> bool {
    matches!(error.scope(), lakeward_core::Scope::Table(_))
        || matches!(error.kind(), ErrorKind::SourceGrant | ErrorKind::SourceUnsupported)
}
