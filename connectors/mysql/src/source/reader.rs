//! The reader thread: connects, feeds the decoder, and connects again when the link breaks.
//!
//! Guarantee: every way out is told. The bounded end closes the queue after its last boundary; an
//! error that does not pass is sent as the last item; a passing one leads to a new connection after a
//! pause that doubles up to [`PAUSE_MAX`], with jitter so that many readers do not return at once.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::stats::SourceStats;
use lakeward_core::{ByteSize, Command, Error, ErrorKind, Feed, Request, Result, TableId, failpoint};
use mysql::Conn;
use uuid::Uuid;

use super::answers::KeyAnswers;
use super::decoder::{Decoder, Halt, Outcome, Settings};
use super::start::{self, FIRST_OFFSET};
use super::statement;
use super::truth::{CatalogTruth, Outside};
use super::turns::Turns;
use super::{MysqlOptions, OnError, Standing};
use crate::binlog::stream::{EventStream, From, Replica, ServerStream};
use crate::catalog::{self, Cascade};
use crate::config::{CommitTime, MysqlConfig};
use crate::connection::{Purpose, connect};
use crate::preflight;
use crate::server::{ServerFacts, free_server_id};
use crate::session::run;
use crate::snapshot::SnapshotMode;
use crate::snapshot::chunks::{ChunkThread, Common};
use crate::snapshot::link::named;
use lakeward_core::queue::Sender;

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a request is left alone of which the server did not tell whether it can be carried out.
const REST: Duration = Duration::from_secs(5);

/// What the server says of a request's table and condition.
enum Look {
    Fit,
    Refused(String),
    /// Nothing now: another holds the table, or the link broke.
    Untold(Error),
}

/// The state of the reader thread.
pub(super) struct Reader {
    turns: Arc<Turns>,
    out: Arc<Sender<Result<Feed>>>,
    stats: Arc<SourceStats>,
    config: MysqlConfig,
    replica: Replica,
    random: u64,
    /// Whether the place where a new pipeline begins is told before anything is read.
    tells_start: bool,
    /// Captured tables that the server had.
    captured: Vec<TableId>,
    /// The changes since the checkpoint are gone.
    lost: bool,
    /// Nothing says that the run begins just where it was opened, and not a little later.
    may_move: bool,
    chunks: Arc<Common>,
    standing: Arc<Standing>,
    /// The list of requests that was served last.
    served: u64,
    /// Requests were left, and are looked at again then.
    look_again: Option<Duration>,
    /// Bytes of table maps above which the stream is opened anew.
    held_bytes_max: u64,
}

impl Reader {
    /// Connects, checks, and settles where to begin and to end.
    pub(super) fn open(
        options: MysqlOptions,
        out: Arc<Sender<Result<Feed>>>,
        standing: Arc<Standing>,
        answers: Arc<KeyAnswers>,
    ) -> Result<Reader> {
        let mut conn = connect(&options.config, Purpose::Questions)?;
        let is_new = options.resume.checkpoint.is_none();
        preflight::refuse(&mut conn, &options.tables, is_new)?;
        let facts = ServerFacts::read(&mut conn)?;
        facts.refuse_unfit()?;
        let mut begin = start::begin(&mut conn, &facts, &options)?;
        let tells_start = is_new && begin.pass_until.is_none();
        let mut lost = false;
        if begin.pass_until.is_none()
            && let Err(error) = start::refuse_lost(&mut conn, &facts, &begin.position)
        {
            if !is_lost_and_read_anew(&error, options.snapshot.mode) {
                return Err(error);
            }
            tracing::warn!("{error}; all tables are read anew (snapshot.mode: when_needed)");
            begin.position = start::newest(&mut conn, &facts)?;
            // Nobody knows what was decided, and prepared anew, in what is lost.
            begin.prepared.clear();
            lost = true;
        }
        let captured = tables_to_read(&mut conn, &options)?;
        let may_move = match options.snapshot.mode {
            SnapshotMode::NoData => false,
            SnapshotMode::Initial
            | SnapshotMode::InitialOnly
            | SnapshotMode::WhenNeeded
            | SnapshotMode::Always => tells_start || lost,
        };
        let until = start::end(&mut conn, &facts, &options.until)?;
        let refused = match facts.logs_cascades() {
            true => Vec::new(),
            false => unlogged(catalog::cascades(&mut conn, &options.tables)?),
        };
        let server_id = match options.config.server_id {
            Some(id) => id,
            None => free_server_id(&mut conn, &facts, options.seed)?,
        };
        let kept_seconds = preflight::kept_seconds(&mut conn, &facts)?;
        drop(conn);
        let held_bytes_max = options.memory.0 / 8;
        let settings = settings(&options, &facts, kept_seconds);
        let declares = options.schema_changes;
        let MysqlOptions { config, tables, types, clock, seed, stats, on_error, snapshot, .. } = options;
        let mut random = seed;
        let replica = Replica {
            server_id,
            uuid: Uuid::from_u64_pair(next_random(&mut random), next_random(&mut random)),
            heartbeat: config.heartbeat.0,
        };
        let full = facts.full_metadata();
        let outside = Outside { out: out.clone(), stats: stats.clone() };
        let truth =
            CatalogTruth::new(config.clone(), tables.clone(), replica, types, full, declares, outside);
        let chunk_bytes_max = 2 * settings.chunk_goal_bytes;
        let mut decoder = Decoder::new(settings, begin, until, Some(truth), out.clone(), answers);
        for (table, error) in refused {
            match on_error {
                OnError::StopTable => decoder.refuse(&table, error)?,
                OnError::StopPipeline => return Err(error),
            }
        }
        let turns = Arc::new(Turns::new(decoder));
        let common = Common {
            turns: turns.clone(),
            out: out.clone(),
            source: config.clone(),
            options: snapshot,
            types,
            clock,
            stats: stats.clone(),
            chunk_bytes_max,
        };
        let chunks = Arc::new(common);
        Ok(Reader {
            turns,
            out,
            stats,
            config,
            replica,
            random,
            tells_start,
            captured,
            lost,
            may_move,
            chunks,
            standing,
            served: 0,
            look_again: None,
            held_bytes_max,
        })
    }

    /// The threads that read chunks.
    pub(super) fn chunk_threads(&self) -> Vec<ChunkThread> {
        let lanes = 0..self.chunks.options.parallelism.max(1);
        lanes.map(|lane| ChunkThread::new(self.chunks.clone(), lane)).collect()
    }

    /// Reads to the end; the body of the thread.
    pub(super) fn run(mut self) {
        let Err(halt) = self.read();
        self.turns.end();
        self.stats.connected.set(0);
        if let Halt::Failed(error) = halt {
            // Nobody may be listening any more.
            let _told = self.out.send(Err(error), 0);
        }
        self.out.end();
    }

    fn read(&mut self) -> Outcome<Infallible> {
        let mut pause = PAUSE_MIN;
        let tells_start = self.tells_start;
        let (captured, mode) = (std::mem::take(&mut self.captured), self.chunks.options.mode);
        self.turns.stream(|decoder| {
            decoder.begin_snapshots(&captured, mode, self.lost)?;
            decoder.prove_tables(self.may_move)
        })?;
        self.serve_requests()?;
        self.turns.stream(|decoder| {
            let is_done = decoder.has_reached_until();
            if is_done || tells_start {
                decoder.boundary()?;
            }
            if is_done { Err(Halt::Done) } else { Ok(()) }
        })?;
        loop {
            let before = self.stats.transactions.get();
            let Err(halt) = self.stream();
            let Halt::Failed(error) = halt else { return Err(halt) };
            self.stats.connected.set(0);
            if !passes(&error) {
                return Err(self.read_anew(error).into());
            }
            tracing::warn!(kind = error.kind().name(), "the stream broke: {error}");
            self.turns.stream(Decoder::break_off)?;
            if self.stats.transactions.get() != before {
                pause = PAUSE_MIN;
            }
            let jitter = next_random(&mut self.random) % 1000;
            let jittered = pause.mul_f64(0.5 + jitter as f64 / 1000.0);
            self.out.pause(jittered)?;
            pause = (pause * 2).min(PAUSE_MAX);
            self.stats.reconnects.add(1);
        }
    }

    /// Connects and reads until something ends it.
    fn stream(&mut self) -> Outcome<Infallible> {
        failpoint::hit("mysql.connect")?;
        let mut stream = self.connect()?;
        self.stats.connected.set(1);
        loop {
            let event = match stream.next() {
                Ok(Some(event)) => event,
                Ok(None) => return Err(Error::new(ErrorKind::SourceUnreachable, "the stream ended").into()),
                Err(error) => return self.turns.stream(|decoder| Err(decoder.located_next(error).into())),
            };
            self.turns.stream(|decoder| decoder.event(event))?;
            self.out.check()?;
            self.serve_requests()?;
            if stream.held_bytes() > self.held_bytes_max
                && self.turns.stream(|decoder| Ok(decoder.may_begin_here()))?
            {
                tracing::debug!("many tables were opened since the file began; the stream is opened anew");
                drop(stream);
                self.turns.stream(Decoder::break_off)?;
                stream = self.connect()?;
                self.stats.reconnects.add(1);
            }
        }
    }

    /// Has requests carried out that came since the last time, or were left then, where the stream is between two
    /// transactions.
    fn serve_requests(&mut self) -> Outcome {
        let is_due = self.look_again.is_some_and(|at| self.chunks.clock.elapsed() >= at);
        if self.standing.version() == self.served && !is_due {
            return Ok(());
        }
        let (version, standing) = self.standing.get();
        let open = self.turns.stream(|decoder| {
            let is_open = |request: &Request| !decoder.is_answered(request);
            Ok(decoder.is_between().then(|| standing.iter().map(is_open).collect::<Vec<bool>>()))
        })?;
        let Some(open) = open else { return Ok(()) };
        let checked = self.checked(standing, &open)?;
        let is_left = checked.len() < open.len();
        self.turns.stream(|decoder| decoder.carry_out(&checked))?;
        self.served = version;
        self.look_again = is_left.then(|| self.chunks.clock.elapsed() + REST);
        Ok(())
    }

    /// Requests, each with why the server refuses its table or condition; without those of which it did not tell.
    fn checked(&self, standing: Vec<Request>, open: &[bool]) -> Result<Vec<(Request, Option<String>)>> {
        let (mut checked, mut left) = (Vec::new(), BTreeSet::new());
        for (request, is_open) in standing.into_iter().zip(open) {
            // What is asked of one table is carried out in its order.
            let waits = left.contains(request.command.table());
            match is_open {
                false => checked.push((request, None)),
                true if waits => {}
                true => match self.look_at(&request.command)? {
                    Look::Fit => checked.push((request, None)),
                    Look::Refused(why) => checked.push((request, Some(why))),
                    Look::Untold(error) => {
                        let seconds = REST.as_secs();
                        tracing::warn!(
                            request = request.id,
                            "{}: again in {seconds} s: {error}",
                            request.command
                        );
                        left.insert(request.command.table().clone());
                    }
                },
            }
        }
        Ok(checked)
    }

    /// Asks the server whether it takes a table and a condition. The stream stands still meanwhile, so a lock of the
    /// table is not waited for.
    fn look_at(&self, command: &Command) -> Result<Look> {
        let (table, condition) = match command {
            Command::Snapshot { table, condition } => (table, condition.as_deref()),
            Command::Resume { table } => (table, None),
            Command::Pause { .. } | Command::Continue { .. } | Command::Cancel { .. } => {
                return Ok(Look::Fit);
            }
        };
        let mut conn = connect(&self.config, Purpose::Questions)?;
        run(&mut conn, "SET @@SESSION.lock_wait_timeout = 1")?;
        let only = condition.map_or_else(String::new, |condition| format!(" WHERE ({condition}\n)"));
        Ok(match run(&mut conn, &format!("SELECT 1 FROM {}{only} LIMIT 0", named(table))) {
            Err(error) if error.policy() == Policy::Retry => Look::Untold(error),
            Err(error) => Look::Refused(error.message().to_owned()),
            Ok(()) => Look::Fit,
        })
    }

    /// Where a lost position is made good by reading all tables anew, the run is to begin again.
    fn read_anew(&self, error: Error) -> Error {
        match is_lost_and_read_anew(&error, self.chunks.options.mode) {
            true => Error::new(ErrorKind::SourceUnreachable, "the position was lost").caused_by(error),
            false => error,
        }
    }

    fn connect(&mut self) -> Outcome<ServerStream> {
        let mut conn = connect(&self.config, Purpose::Questions)?;
        let facts = ServerFacts::read(&mut conn)?;
        facts.refuse_unfit()?;
        let resume_from = self.turns.stream(|decoder| Ok(decoder.resume_from()))?;
        let (from, offset) = match resume_from {
            // GTIDs of a file are being gathered: from its beginning, by name.
            (position, true) => (file_start(&position.file), FIRST_OFFSET),
            (position, false) => {
                start::refuse_lost(&mut conn, &facts, &position)?;
                match (position.gtid_set, u32::try_from(position.offset)) {
                    (Some(set), _) => (From::GtidSet(set), position.offset),
                    (None, Ok(offset)) => (From::File { file: position.file, offset }, offset.into()),
                    // The request has 32 bits for the offset: from the file's beginning, passing over.
                    (None, Err(_)) => (file_start(&position.file), FIRST_OFFSET),
                }
            }
        };
        drop(conn);
        let conn = connect(&self.config, Purpose::Stream)?;
        let stream = ServerStream::open(conn, &from, self.replica, self.config.max_event.0)?;
        self.turns.stream(|decoder| {
            decoder.stream_begins(facts.uuid, offset);
            Ok(())
        })?;
        Ok(stream)
    }
}

/// The captured tables that the server has, where rows are read at all.
fn tables_to_read(conn: &mut Conn, options: &MysqlOptions) -> Result<Vec<TableId>> {
    match options.snapshot.mode {
        SnapshotMode::NoData => Ok(Vec::new()),
        SnapshotMode::Initial
        | SnapshotMode::InitialOnly
        | SnapshotMode::WhenNeeded
        | SnapshotMode::Always => {
            let mut visible: Vec<TableId> = catalog::visible_tables(conn)?.into_keys().collect();
            for (key, pattern) in options.tables.idle(&visible) {
                tracing::warn!(key, pattern, "a pattern matches no table; `lakeward check` tells more");
            }
            visible.retain(|table| options.tables.captures(table));
            Ok(visible)
        }
    }
}

fn settings(options: &MysqlOptions, facts: &ServerFacts, kept_seconds: Option<u64>) -> Settings {
    let (config, snapshot, memory) = (&options.config, &options.snapshot, options.memory);
    Settings {
        filter: options.tables.clone(),
        types: options.types,
        reserved: options.reserved.clone(),
        before_images: options.before_images,
        on_error: options.on_error,
        truncate: options.truncate,
        schema_changes: options.schema_changes,
        max_event: config.max_event.0,
        gather_bytes: share(memory, 8),
        original_commit_time: config.commit_time == CommitTime::Original,
        kept_seconds,
        lower_case_names: facts.names_ignore_case(),
        logs_cascades: facts.logs_cascades(),
        snapshots: snapshot.mode != SnapshotMode::NoData,
        ends_when_read: snapshot.mode == SnapshotMode::InitialOnly,
        chunk_bytes: share(memory, 8),
        chunk_goal_bytes: share(memory, 8) / (2 * snapshot.parallelism.max(1) as usize),
        clock: options.clock.clone(),
        stats: options.stats.clone(),
    }
}

fn share(memory: ByteSize, of: u64) -> usize {
    usize::try_from(memory.0 / of).unwrap_or(usize::MAX)
}

/// Whether what is missing in the log is made good by reading all tables anew.
fn is_lost_and_read_anew(error: &Error, mode: SnapshotMode) -> bool {
    error.kind() == ErrorKind::PositionLost && mode == SnapshotMode::WhenNeeded
}

fn file_start(file: &str) -> From {
    From::File { file: file.to_owned(), offset: FIRST_OFFSET as u32 }
}

/// Whether trying again may help.
fn passes(error: &Error) -> bool {
    match error.policy() {
        Policy::Retry => true,
        Policy::StopTable | Policy::StopPipeline => false,
    }
}

/// Child tables whose rows change without a trace in the log.
fn unlogged(cascades: Vec<Cascade>) -> Vec<(TableId, Error)> {
    let refused = |cascade: Cascade| (cascade.child.clone(), statement::unlogged_cascade(&cascade));
    cascades.into_iter().map(refused).collect()
}

/// SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
