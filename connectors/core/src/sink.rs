//! What every sink takes, and how a run resumes from it.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    ChangeBatch, Checkpoint, KeysAsked, LivingKeys, Request, Result, SchemaChange, TableMark, TableSchema,
};

/// Where a run goes on, as the sink has it: the only home of a pipeline's position.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The last checkpoint committed; `None` for a new pipeline.
    pub checkpoint: Option<Checkpoint>,
    /// The structure of each table version that the checkpoint names; and of those before it, where the
    /// source must know them to find its versions again.
    pub schemas: Vec<Arc<TableSchema>>,
    /// Requests that stand in the sink, in the order of asking. A source begins with them, so that a
    /// bounded run carries them out.
    pub requests: Vec<Request>,
}

/// A committed range whose data vanished before it became visible; to be read again.
#[derive(Clone, Debug)]
pub struct LostRange {
    /// The number of the commit record.
    pub record: u64,
    /// Where the range begins.
    pub from: Checkpoint,
    /// Where it ends.
    pub to: Checkpoint,
    /// Table versions that `from` names; where the source must find its versions again, all that were given
    /// up to `to`.
    pub schemas: Vec<Arc<TableSchema>>,
    /// The files that are gone.
    pub files: Vec<LostFile>,
}

/// One file of a [`LostRange`].
#[derive(Clone, Debug)]
pub struct LostFile {
    /// Its key in the lake.
    pub key: String,
    /// Its table.
    pub table: crate::TableId,
    /// Lowest and highest `seq` in it.
    pub seq: (i64, i64),
    /// The same of each topic partition, where numbers ascend in these alone; else empty.
    pub topic_partitions: std::collections::BTreeMap<i32, (i64, i64)>,
    /// Earliest and latest commit time in it. All rows of the table (of a topic partition) within both ranges
    /// are its own, but for the mark of a whole re-read, which is alone in its file.
    pub commit_us: (i64, i64),
}

impl LostFile {
    /// Lowest and highest `seq` in it of rows that name this topic partition, or none; `None`: it has no such
    /// rows.
    pub fn seq_of(&self, topic_partition: Option<i32>) -> Option<(i64, i64)> {
        match topic_partition {
            Some(number) => self.topic_partitions.get(&number).copied(),
            None => self.topic_partitions.is_empty().then_some(self.seq),
        }
    }
}

/// What a sink found when it opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Where to go on.
    pub resume: Resume,
    /// What must be read again first, oldest first. Empty almost always.
    pub lost: Vec<LostRange>,
    /// The number under which the sink knows this run; 0 where it numbers none.
    pub epoch: u64,
}

/// Takes change events and makes them durable together with a checkpoint, exactly once.
///
/// Nothing that was written becomes visible before `commit` returns or a later `open` finishes it.
pub trait Sink: Send {
    /// Whether nothing was ever written for the pipeline. Reads only; may be called before `open`.
    fn is_new(&mut self) -> impl Future<Output = Result<bool>> + Send;

    /// Claims the sink for this process (fencing older ones), finishes what was decided, and tells
    /// where to go on. Called once, before what follows.
    fn open(&mut self) -> impl Future<Output = Result<Opened>> + Send;

    /// Takes a table version; called before the first batch of that version in this run.
    fn schema(&mut self, schema: Arc<TableSchema>) -> impl Future<Output = Result<()>> + Send;

    /// Takes change events; they may belong to an open transaction. Memory stays within the sink's
    /// budget: this waits, or stages data, rather than hold more.
    fn write(&mut self, batch: ChangeBatch) -> impl Future<Output = Result<()>> + Send;

    /// Takes a mark.
    fn mark(&mut self, mark: TableMark) -> impl Future<Output = Result<()>> + Send;

    /// Takes what a statement does. A sink that has no place for it drops it: it follows versions by
    /// [`Sink::schema`], and no number is given to a statement.
    fn schema_change(&mut self, _change: SchemaChange) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Makes everything written since the last commit durable, together with `checkpoint`.
    ///
    /// On `Ok` the data is decided and visible. On `Err` the outcome may be either: the sink must
    /// be dropped, and the next `open` tells. Lost answers are settled inside.
    fn commit(&mut self, checkpoint: Checkpoint) -> impl Future<Output = Result<()>> + Send;

    /// How long until it wants a commit though nothing may have changed: one of the last checkpoint once more.
    /// `None`: it never does.
    fn wants_commit_in(&self) -> Option<Duration> {
        None
    }

    /// Begins the repair of `lost`: what follows, up to `commit(lost.to)`, is its range read again;
    /// the sink keeps the rows of its lost files only and drops the rest.
    fn repair(&mut self, lost: LostRange) -> impl Future<Output = Result<()>> + Send;

    /// Requests that stand in the sink now, in the order of asking. Reads only, and apart from all
    /// else that the sink does: the future is waited for beside the other methods. One that cannot be
    /// read is told in the log and left out.
    ///
    /// A request is removed after the commit of a checkpoint that answers it, and by `open` where that
    /// did not happen; never earlier.
    fn requests(&self) -> impl Future<Output = Result<Vec<Request>>> + Send + 'static;

    /// The keys of a table that live in what was committed when this was called ([`crate::keys`]). Reads
    /// only, and apart from all else that the sink does, as [`Sink::requests`].
    ///
    /// An error of policy `StopTable`: the keys of this table cannot be told, whenever it is asked.
    fn keys(&self, asked: KeysAsked) -> impl Future<Output = Result<LivingKeys>> + Send + 'static;

    /// Drops what is staged and undecided, waits for what is under way. Called last, once, also after an
    /// error; it may be cancelled, and is never needed for correctness.
    fn close(&mut self) -> impl Future<Output = Result<()>> + Send;
}
