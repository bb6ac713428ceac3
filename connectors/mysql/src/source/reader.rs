//! The reader thread: connects, feeds the decoder, and connects again when the link breaks.
//!
//! Guarantee: every way out is told. The bounded end closes the queue after its last boundary; an
//! error that does not pass is sent as the last item; a passing one leads to a new connection after a
//! pause that doubles up to [`PAUSE_MAX`], with jitter so that many readers do not return at once.

use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{Error, ErrorKind, Feed, Result, TableId, failpoint};
use uuid::Uuid;

use super::decoder::{Decoder, Halt, Outcome, Settings};
use super::queue::Sender;
use super::start::{self, FIRST_OFFSET};
use super::truth::CatalogTruth;
use super::{MysqlOptions, OnError};
use crate::binlog::stream::{EventStream, From, Replica, ServerStream};
use crate::catalog::{self, Cascade};
use crate::config::{CommitTime, MysqlConfig};
use crate::connection::{Purpose, connect};
use crate::preflight;
use crate::server::{ServerFacts, free_server_id};

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The state of the reader thread.
pub(super) struct Reader {
    decoder: Decoder,
    config: MysqlConfig,
    replica: Replica,
    random: u64,
    /// Whether the place where a new pipeline begins is told before anything is read.
    tells_start: bool,
}

impl Reader {
    /// Connects, checks, and settles where to begin and to end.
    pub(super) fn open(options: MysqlOptions, out: Sender<Result<Feed>>) -> Result<Reader> {
        let mut conn = connect(&options.config, Purpose::Questions)?;
        let is_new = options.resume.checkpoint.is_none();
        preflight::refuse(&mut conn, &options.tables, is_new)?;
        let facts = ServerFacts::read(&mut conn)?;
        facts.refuse_unfit()?;
        let begin = start::begin(&mut conn, &facts, &options)?;
        let tells_start = is_new && begin.pass_until.is_none();
        if begin.pass_until.is_none() {
            start::refuse_lost(&mut conn, &facts, &begin.position)?;
        }
        let until = start::end(&mut conn, &facts, &options.until)?;
        let refused = match facts.logs_cascades() {
            true => Vec::new(),
            false => unlogged(catalog::cascades(&mut conn, &options.tables)?),
        };
        let server_id = match options.config.server_id {
            Some(id) => id,
            None => free_server_id(&mut conn, &facts, options.seed)?,
        };
        drop(conn);
        let MysqlOptions {
            config, tables, types, before_images, memory, clock, seed, stats, on_error, ..
        } = options;
        let mut random = seed;
        let replica = Replica {
            server_id,
            uuid: Uuid::from_u64_pair(next_random(&mut random), next_random(&mut random)),
            heartbeat: config.heartbeat.0,
        };
        let truth = CatalogTruth::new(config.clone(), tables.clone(), replica, types, facts.full_metadata());
        let settings = Settings {
            filter: tables,
            types,
            before_images,
            on_error,
            max_event: config.max_event.0,
            gather_bytes: usize::try_from(memory.0 / 8).unwrap_or(usize::MAX),
            original_commit_time: config.commit_time == CommitTime::Original,
            kept_seconds: facts.kept_seconds(),
            lower_case_names: facts.names_ignore_case(),
            logs_cascades: facts.logs_cascades(),
            clock,
            stats,
        };
        let mut decoder = Decoder::new(settings, begin, until, Some(truth), out);
        for (table, error) in refused {
            match on_error {
                OnError::StopTable => decoder.refuse(&table, error)?,
                OnError::StopPipeline => return Err(error),
            }
        }
        Ok(Reader { decoder, config, replica, random, tells_start })
    }

    /// Reads to the end; the body of the thread.
    pub(super) fn run(mut self) {
        let halt = match self.read() {
            Ok(()) => return,
            Err(halt) => halt,
        };
        self.decoder.stats().connected.set(0);
        if let Halt::Failed(error) = halt {
            // Nobody may be listening any more.
            let _told = self.decoder.out().send(Err(error), 0);
        }
    }

    fn read(&mut self) -> Outcome {
        let mut pause = PAUSE_MIN;
        let is_done = self.decoder.has_reached_until();
        if is_done || self.tells_start {
            self.decoder.boundary()?;
        }
        if is_done {
            return Err(Halt::Done);
        }
        loop {
            let before = self.decoder.stats().transactions.get();
            let Err(halt) = self.stream();
            let Halt::Failed(error) = halt else { return Err(halt) };
            self.decoder.stats().connected.set(0);
            if !passes(&error) {
                return Err(error.into());
            }
            tracing::warn!(kind = error.kind().name(), "the stream broke: {error}");
            self.decoder.break_off()?;
            if self.decoder.stats().transactions.get() != before {
                pause = PAUSE_MIN;
            }
            let jitter = next_random(&mut self.random) % 1000;
            let jittered = pause.mul_f64(0.5 + jitter as f64 / 1000.0);
            self.decoder.out().pause(jittered)?;
            pause = (pause * 2).min(PAUSE_MAX);
            self.decoder.stats().reconnects.add(1);
        }
    }

    /// Connects and reads until something ends it.
    fn stream(&mut self) -> Outcome<std::convert::Infallible> {
        failpoint::hit("mysql.connect")?;
        let mut stream = self.connect()?;
        self.decoder.stats().connected.set(1);
        loop {
            let Some(event) = stream.next().map_err(|error| self.decoder.located(error))? else {
                return Err(Error::new(ErrorKind::SourceUnreachable, "the stream ended").into());
            };
            self.decoder.event(event)?;
            self.decoder.out().check()?;
        }
    }

    fn connect(&mut self) -> Result<ServerStream> {
        let mut conn = connect(&self.config, Purpose::Questions)?;
        let facts = ServerFacts::read(&mut conn)?;
        facts.refuse_unfit()?;
        let (from, offset) = match self.decoder.resume_from() {
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
        self.decoder.stream_begins(facts.uuid, offset);
        Ok(stream)
    }
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
    cascades
        .into_iter()
        .map(|cascade| {
            let error = Error::new(
                ErrorKind::UnloggedChange,
                format!(
                    "the foreign key {} changes its rows when {} changes, and the server does not log that",
                    cascade.constraint, cascade.parent
                ),
            )
            .of_table(&cascade.child)
            .remedy("change the foreign key to RESTRICT, or leave the table out (tables.exclude)");
            (cascade.child, error)
        })
        .collect()
}

/// SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
