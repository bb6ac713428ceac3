//! The MySQL source: one thread reads, decodes and batches; the async side takes the feed.
//!
//! ```text
//! server --ServerStream--> Decoder (Assembler, tables, builders) --queue--> MysqlSource::next
//! ```
//! The thread blocks in reads of at most one heartbeat, so it sees within that time that nobody
//! listens any more; it is joined when the source is dropped. Memory: a quarter of the budget waits
//! in the queue, an eighth is gathered in builders; beside them stands one event, held at most three
//! times (packet, event, rows of it).

mod decoder;
mod queue;
mod reader;
mod start;
mod statement;
mod tables;
mod truth;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::JoinHandle;

use lakeward_core::stats::SourceStats;
use lakeward_core::{
    BinlogPosition, ByteSize, Clock, Error, ErrorKind, Feed, GtidSet, Result, Resume, Source, TableFilter,
    TypeOptions,
};

use crate::config::MysqlConfig;
use queue::Receiver;

/// Failpoints of this crate: before a connection is made, before an event is taken, before a
/// boundary is sent.
pub const FAILPOINTS: &[&str] = &["mysql.connect", "mysql.event", "mysql.boundary"];

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

/// What a source needs to open.
pub struct MysqlOptions {
    /// The server.
    pub config: MysqlConfig,
    /// Tables to capture.
    pub tables: TableFilter,
    /// Mapping of types.
    pub types: TypeOptions,
    /// Whether batches hold previous images.
    pub before_images: bool,
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
}

/// A stream of change events from a MySQL server.
pub struct MysqlSource {
    feed: Receiver<Result<Feed>>,
    reader: Option<JoinHandle<()>>,
}

impl MysqlSource {
    /// Connects, checks server and position, and begins to read. Blocks for as long as that takes;
    /// call it off the async threads. Errors of a first connection are not retried.
    pub fn open(options: MysqlOptions) -> Result<MysqlSource> {
        let limit = usize::try_from(options.memory.0 / 4).unwrap_or(usize::MAX);
        let (sender, feed) = queue::queue(limit);
        let reader = reader::Reader::open(options, sender)?;
        let thread = std::thread::Builder::new()
            .name("mysql-binlog".to_owned())
            .spawn(move || reader.run())
            .map_err(|error| Error::new(ErrorKind::Io, "cannot start the reader thread").caused_by(error))?;
        Ok(MysqlSource { feed, reader: Some(thread) })
    }
}

impl Source for MysqlSource {
    async fn next(&mut self) -> Result<Option<Feed>> {
        match self.feed.next().await {
            Some(item) => item.map(Some),
            // The thread has let go of the queue: it has ended, or is about to.
            None => match self.reader.take().map(JoinHandle::join) {
                Some(Err(_)) => Err(Error::new(ErrorKind::Bug, "the reader thread panicked")),
                Some(Ok(())) | None => Ok(None),
            },
        }
    }
}

impl Drop for MysqlSource {
    fn drop(&mut self) {
        self.feed.close();
        if let Some(reader) = self.reader.take() {
            // A panic of the thread concerns nobody any more.
            let _ended = reader.join();
        }
    }
}
