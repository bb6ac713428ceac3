//! The MySQL source: one thread reads, decodes and batches; the async side takes the feed.
//!
//! ```text
//! server --ServerStream--> Decoder (Assembler, tables, builders) --queue--> MysqlSource::next
//!        --ChunkThread---> (by turns, see `turns`)
//! ```
//! The thread blocks in reads of at most one heartbeat, so it sees within that time that nobody
//! listens any more; those that read chunks see it after one SELECT. They are joined when the source is
//! dropped. Memory: an eighth of the budget each waits in the queue, is gathered in builders, and is
//! held by chunks that are read or wait for their release; beside them stands one event, held at most
//! three times (packet, event, rows of it).

mod answers;
mod beside;
pub(crate) mod decoder;
mod reader;
mod start;
mod statement;
mod tables;
mod truth;
pub(crate) mod turns;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use lakeward_core::stats::SourceStats;
use lakeward_core::{
    BinlogPosition, ByteSize, Clock, Error, ErrorKind, Feed, GtidSet, LivingKeys, Request, Result, Resume,
    Source, TableFilter, TypeOptions,
};

use crate::config::MysqlConfig;
use crate::snapshot::SnapshotOptions;
use answers::KeyAnswers;
use lakeward_core::queue::{self, Receiver};

/// Failpoints of this crate: before a connection is made, before an event is taken, before a
/// boundary is sent; of snapshots: before a window opens, before it is asked how a table is read,
/// before rows are read, before it is noted what they or the plan have seen, before they are released; of living keys: before they are asked for, before the
/// deletes of a TRUNCATE are sent, before keys are looked up, before what was missing is deleted.
pub const FAILPOINTS: &[&str] = &[
    "mysql.connect",
    "mysql.event",
    "mysql.boundary",
    "mysql.snapshot.window",
    "mysql.snapshot.plan",
    "mysql.snapshot.read",
    "mysql.snapshot.seen",
    "mysql.snapshot.release",
    "mysql.keys.ask",
    "mysql.keys.delete",
    "mysql.keys.lookup",
    "mysql.keys.release",
];

/// Where a pipeline without a checkpoint begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest change that the server still has.
    Earliest,
    /// After all changes that the server has now.
    Latest,
    /// After these transactions.
    Gtid(GtidSet),
    /// At an event of a binlog file, between two transactions.
    FileOffset {
        /// File name.
        file: String,
        /// Offset of the first event.
        offset: u64,
    },
}

/// Where a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nowhere.
    Forever,
    /// At the position that the server has when the source opens.
    CaughtUp,
    /// At a boundary at or after this position.
    Position(BinlogPosition),
}

/// What an error about one table's data stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// That table; the others go on.
    #[default]
    StopTable,
    /// The pipeline.
    StopPipeline,
}

/// What a TRUNCATE of a captured table becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTruncate {
    /// A mark (`t`): all earlier events of the table are void.
    #[default]
    Mark,
    /// A `d` for each key that lives in the lake. What came before is committed, and the stream waits
    /// while the lake is read for its keys. A table without a key gets the mark.
    Deletes,
}

/// What a source needs to open.
pub struct MysqlOptions {
    /// The server.
    pub config: MysqlConfig,
    /// Tables to capture.
    pub tables: TableFilter,
    /// Mapping of types.
    pub types: TypeOptions,
    /// Names that the sink has for itself: a table that gets a column of such a name, in any case, stops.
    pub reserved: Vec<String>,
    /// Whether batches hold previous images.
    pub before_images: bool,
    /// Whether statements that change tables are told ([`Feed::SchemaChange`]).
    pub schema_changes: bool,
    /// Where a pipeline without a checkpoint begins.
    pub start: Start,
    /// Where the run ends.
    pub until: Until,
    /// What the sink has.
    pub resume: Resume,
    /// Memory for what is read and not yet taken.
    pub memory: ByteSize,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Seeds the server id, our uuid and the jitter of reconnects.
    pub seed: u64,
    /// Counters to fill.
    pub stats: Arc<SourceStats>,
    /// What an error about one table stops.
    pub on_error: OnError,
    /// What a TRUNCATE becomes.
    pub truncate: OnTruncate,
    /// When and how the rows that are there are read.
    pub snapshot: SnapshotOptions,
}

/// Requests that stand in the sink, on their way to the reader thread.
pub(crate) struct Standing {
    requests: Mutex<Vec<Request>>,
    /// Counts the lists.
    version: AtomicU64,
}

impl Standing {
    fn new(requests: Vec<Request>) -> Standing {
        Standing { requests: Mutex::new(requests), version: AtomicU64::new(1) }
    }

    fn set(&self, requests: Vec<Request>) {
        let mut list = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *list = requests;
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Changes with the list.
    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    fn get(&self) -> (u64, Vec<Request>) {
        let list = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version(), list.clone())
    }
}

/// A stream of change events from a MySQL server.
pub struct MysqlSource {
    feed: Receiver<Result<Feed>>,
    threads: Vec<JoinHandle<()>>,
    standing: Arc<Standing>,
    answers: Arc<KeyAnswers>,
}

impl MysqlSource {
    /// Connects, checks server and position, and begins to read. Blocks for as long as that takes;
    /// call it off the async threads. Errors of a first connection are not retried.
    pub fn open(options: MysqlOptions) -> Result<MysqlSource> {
        let limit = usize::try_from(options.memory.0 / 8).unwrap_or(usize::MAX);
        let (sender, feed) = queue::queue(limit);
        let standing = Arc::new(Standing::new(options.resume.requests.clone()));
        let answers = Arc::new(KeyAnswers::default());
        let reader = reader::Reader::open(options, Arc::new(sender), standing.clone(), answers.clone())?;
        let chunk_threads = reader.chunk_threads();
        // Dropped on an error below, it ends those that were started.
        let mut source = MysqlSource { feed, threads: Vec::new(), standing, answers };
        source.spawn("mysql-binlog", move || reader.run())?;
        for thread in chunk_threads {
            source.spawn("mysql-chunks", move || thread.run())?;
        }
        Ok(source)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot start thread {name}")).caused_by(error)
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Source for MysqlSource {
    async fn next(&mut self) -> Result<Option<Feed>> {
        match self.feed.next().await {
            Some(item) => item.map(Some),
            // The reader thread has ended or is about to, and the others follow.
            None => {
                let panicked = |thread: JoinHandle<()>| thread.join().is_err();
                match self.threads.drain(..).map(panicked).fold(false, |any, this| any | this) {
                    true => Err(Error::new(ErrorKind::Bug, "a thread of the source panicked")),
                    false => Ok(None),
                }
            }
        }
    }

    fn requests(&mut self, standing: Vec<Request>) {
        self.standing.set(standing);
    }

    fn keys(&mut self, asked: u64, answer: Result<LivingKeys>) {
        self.answers.set(asked, answer);
    }
}

impl Drop for MysqlSource {
    fn drop(&mut self) {
        self.feed.close();
        for thread in self.threads.drain(..) {
            // A panic of the thread concerns nobody any more.
            let _ended = thread.join();
        }
    }
}
