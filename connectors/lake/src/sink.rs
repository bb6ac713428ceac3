//! The lake as a [`Sink`]: files are staged by [`Files`], decided and shown by [`Writer`].
//!
//! After an error the sink takes nothing more; [`Sink::close`] then drops what is staged, unless a
//! decision may be under way that names it. Those uploads stay, and the next `open` shows or aborts them.

use std::sync::Arc;

use lakeward_core::error::Policy;
use lakeward_core::stats::LakeStats;
use lakeward_core::{
    ByteSize, ChangeBatch, Checkpoint, Clock, Error, ErrorKind, KeysAsked, LivingKeys, LostRange, Opened,
    Request, Result, Sink, TableMark, TableSchema,
};
use uuid::Uuid;

use crate::commit::log::Log;
use crate::commit::record::FileEntry;
pub use crate::commit::shared::{Gone, Sharing, Worker};
use crate::commit::writer::{Writer, WriterOptions};
use crate::config::Lake;
use crate::files::{Files, FilesOptions};
use crate::keys;
use crate::objects::lake_store::{LakeStore, PATIENCE, StoreOptions};
use crate::objects::{OpenUpload, Store};
use crate::requests::Standing;

/// What a [`LakeSink`] is made from.
#[derive(Clone)]
pub struct SinkOptions {
    /// The lake.
    pub lake: Lake,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Memory that staging may hold.
    pub memory: ByteSize,
    /// For time limits and the time of the last commit.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub stats: Arc<LakeStats>,
    /// Unique to this process: two processes with one identity could take each other's claim for
    /// their own. Draw it at random; it is no seed to be repeated.
    pub writer: Uuid,
    /// Whether other processes write into the pipeline beside this one.
    pub sharing: Sharing,
    /// Whether the source derives table versions from what it reads, and so must be told all that it has seen.
    pub derived_versions: bool,
}

/// A lake that takes change events.
pub struct LakeSink<S: Store = LakeStore> {
    store: Arc<S>,
    options: SinkOptions,
    /// `None` where the log is shared: what is asked of such a pipeline stands in Kafka.
    requests: Option<Arc<Standing<S>>>,
    state: State<S>,
}

enum State<S: Store> {
    New,
    Open(Box<Run<S>>),
    /// An operation failed or was cancelled: only closing is left.
    Broken(Box<Run<S>>),
    Closed,
}

/// What an open sink holds.
struct Run<S: Store> {
    writer: Writer<S>,
    files: Files<S>,
    /// The record whose lost rows are being read again, and the end of its range.
    repairing: Option<(u64, Checkpoint)>,
    /// Files that were sealed for a commit that failed.
    undecided: Vec<FileEntry>,
}

impl LakeSink<LakeStore> {
    /// The sink for the lake that the options name. Nothing is read or written yet.
    ///
    /// # Errors
    /// `Config` if it cannot be told where the store is.
    pub async fn new(options: SinkOptions) -> Result<Self> {
        let store = LakeStore::open(
            &options.lake,
            StoreOptions {
                clock: Arc::clone(&options.clock),
                stats: Arc::clone(&options.stats),
                writer: options.writer,
                patience: PATIENCE,
            },
        )
        .await?;
        Ok(LakeSink::over(Arc::new(store), options))
    }
}

impl<S: Store> LakeSink<S> {
    /// The sink over a store that is there already.
    pub fn over(store: Arc<S>, options: SinkOptions) -> Self {
        let requests = (!options.sharing.is_shared()).then(|| {
            Arc::new(Standing::new(Arc::clone(&store), &options.pipeline, Arc::clone(&options.stats)))
        });
        LakeSink { store, options, requests, state: State::New }
    }

    /// Takes the run out, so that an operation that fails or is cancelled leaves a broken sink.
    fn take(&mut self) -> Result<Box<Run<S>>> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(run) => Ok(run),
            other => {
                self.state = other;
                Err(Error::new(ErrorKind::Bug, "the lake was used before it was opened, or after an error"))
            }
        }
    }

    /// Puts the run back, broken if the operation failed.
    async fn put_back<T>(&mut self, run: Box<Run<S>>, outcome: Result<T>) -> Result<T> {
        match outcome {
            Ok(done) => {
                self.state = State::Open(run);
                Ok(done)
            }
            Err(error) => {
                let error = run.writer.explain(error).await;
                self.state = State::Broken(run);
                Err(error)
            }
        }
    }

    fn tell_how_far(&self, writer: &Writer<S>) {
        if let Some(complete_to_us) = writer.checkpoint().and_then(Checkpoint::complete_to_us) {
            self.options.stats.complete_to_us.set(complete_to_us);
        }
    }
}

impl<S: Store> Run<S> {
    async fn schema(&mut self, schema: Arc<TableSchema>) -> Result<()> {
        self.files.refuse_taken_names(&schema)?;
        let version = self.writer.version(&schema).await?;
        self.files.version(version);
        Ok(())
    }

    async fn commit(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let files = self.files.seal().await?;
        self.undecided = files.clone();
        match self.repairing.take() {
            Some((record, to)) => {
                self.files.keep_only(None);
                if checkpoint != to {
                    return Err(Error::new(ErrorKind::Bug, "a repair does not end where its range ends")
                        .at("record", record));
                }
                self.writer.repair(record, files).await?;
            }
            None => {
                self.writer.commit(files, checkpoint).await?;
            }
        }
        self.undecided.clear();
        Ok(())
    }

    fn repair(&mut self, lost: LostRange) -> Result<()> {
        if self.writer.lost_files(lost.record).is_empty() || self.repairing.is_some() {
            return Err(
                Error::new(ErrorKind::Bug, "nothing of this record is lost").at("record", lost.record)
            );
        }
        self.files.keep_only(Some(&lost.files));
        self.repairing = Some((lost.record, lost.to));
        Ok(())
    }

    /// Drops what is staged and surely undecided.
    async fn close(mut self, store: &S) -> Result<()> {
        let mut outcome = self.files.discard().await;
        if self.writer.may_discard() {
            for file in self.undecided {
                let upload = OpenUpload { key: file.upload.key, upload_id: file.upload.upload_id };
                outcome = outcome.and(store.abort(&upload).await);
            }
        }
        outcome
    }
}

impl<S: Store> Sink for LakeSink<S> {
    async fn is_new(&mut self) -> Result<bool> {
        Ok(Log::new(Arc::clone(&self.store), &self.options.pipeline).end().await? == 0)
    }

    async fn open(&mut self) -> Result<Opened> {
        if !matches!(self.state, State::New) {
            return Err(Error::new(ErrorKind::Bug, "the lake was opened twice"));
        }
        let options = WriterOptions {
            pipeline: self.options.pipeline.clone(),
            writer: self.options.writer,
            sharing: self.options.sharing.clone(),
            shared_tables: self.options.lake.shared_tables,
            all_versions: self.options.derived_versions,
            incompatible_change: self.options.lake.incompatible_change,
            taken_names: self.options.lake.taken_names(),
            stats: Arc::clone(&self.options.stats),
        };
        let (writer, mut opened) = Box::pin(Writer::open(Arc::clone(&self.store), options)).await?;
        self.tell_how_far(&writer);
        if let Some(requests) = &self.requests {
            if let Some(checkpoint) = writer.checkpoint() {
                requests.remove(&checkpoint.requests).await;
            }
            opened.resume.requests = requests.read().await?;
        }
        let files = FilesOptions {
            layout: self.options.lake.layout,
            files: self.options.lake.files.clone(),
            memory: self.options.memory,
            pipeline: self.options.pipeline.as_str().into(),
            epoch: writer.epoch(),
            stats: Arc::clone(&self.options.stats),
        };
        let files = Files::new(files, Arc::clone(&self.store));
        let run = Run { writer, files, repairing: None, undecided: Vec::new() };
        self.state = State::Open(Box::new(run));
        Ok(opened)
    }

    async fn schema(&mut self, schema: Arc<TableSchema>) -> Result<()> {
        let mut run = self.take()?;
        let outcome = Box::pin(run.schema(schema)).await;
        if matches!(&outcome, Err(error) if error.policy() == Policy::StopTable) {
            // Nothing was taken up of this table; the others go on.
            self.state = State::Open(run);
            return outcome;
        }
        self.put_back(run, outcome).await
    }

    async fn write(&mut self, batch: ChangeBatch) -> Result<()> {
        let mut run = self.take()?;
        let outcome = Box::pin(run.files.write(batch)).await;
        self.put_back(run, outcome).await
    }

    async fn mark(&mut self, mark: TableMark) -> Result<()> {
        let mut run = self.take()?;
        let outcome = Box::pin(run.files.mark(mark)).await;
        self.put_back(run, outcome).await
    }

    async fn commit(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let mut run = self.take()?;
        let answers = checkpoint.requests.clone();
        let outcome = Box::pin(run.commit(checkpoint)).await;
        self.tell_how_far(&run.writer);
        self.put_back(run, outcome).await?;
        if let Some(requests) = &self.requests {
            requests.remove(&answers).await;
        }
        Ok(())
    }

    async fn repair(&mut self, lost: LostRange) -> Result<()> {
        let mut run = self.take()?;
        let outcome = run.repair(lost);
        self.put_back(run, outcome).await
    }

    fn requests(&self) -> impl Future<Output = Result<Vec<Request>>> + Send + 'static {
        let requests = self.requests.clone();
        async move {
            match requests {
                Some(requests) => requests.read().await,
                None => Ok(Vec::new()),
            }
        }
    }

    fn keys(&self, asked: KeysAsked) -> impl Future<Output = Result<LivingKeys>> + Send + 'static {
        let columns = &self.options.lake.files.columns;
        let reading = match &self.state {
            State::Open(_) if self.options.sharing.is_shared() => {
                let message = "keys were asked for of a log that is shared: each worker has some of the rows";
                Err(Error::new(ErrorKind::Bug, message))
            }
            State::Open(run) => {
                let reading = keys::Reading {
                    store: Arc::clone(&self.store),
                    pipeline: self.options.pipeline.clone(),
                    seq: columns.seq.clone(),
                    op: columns.op.clone(),
                    next_seq: run.writer.checkpoint().map_or(i64::MIN, |checkpoint| checkpoint.next_seq),
                };
                Ok((reading, run.files.lend()))
            }
            State::New | State::Broken(_) | State::Closed => {
                Err(Error::new(ErrorKind::Bug, "keys were asked for of a lake that is not open"))
            }
        };
        async move {
            let (reading, memory) = reading?;
            reading.living(asked, memory).await
        }
    }

    async fn close(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(run) => Box::pin(run.close(&self.store)).await,
            State::Broken(run) => {
                // The first error is told already; a newer writer may have dropped all of it.
                if let Err(error) = Box::pin(run.close(&self.store)).await {
                    tracing::warn!(%error, "what was staged could not be dropped; the next start does");
                }
                Ok(())
            }
            State::New | State::Closed => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
