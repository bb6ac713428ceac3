//! A file that takes rows: gathers small batches, encodes them one step behind on another thread,
//! and at its end becomes a [`FileEntry`].

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::{ChangeBatch, Error, ErrorKind, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::budget::{Budget, Held};
use super::column_stats::column_stats;
use super::encoder::{Begin, Encoder};
use super::shape::Shape;
use super::upload::UploadHandle;
use crate::commit::record::FileEntry;
use crate::layout::Partition;

/// Rows that are gathered before they are encoded.
const GATHER_ROWS: usize = 8192;
/// Bytes that are gathered at most.
const GATHER_BYTES: usize = 2 << 20;

/// What decides which rows may go into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) version: u32,
    pub(super) before: bool,
    pub(super) partition: Partition,
    /// On a repair, the lost file whose rows these are.
    pub(super) lost: Option<usize>,
}

/// What is known of the rows a file has taken.
#[derive(Clone, Debug)]
struct Taken {
    rows: u64,
    seq: (i64, i64),
    topic_partitions: BTreeMap<i32, (i64, i64)>,
    commit_us: (i64, i64),
}

impl Slot {
    /// Whether rows of both have the same columns.
    pub(super) fn is_of_shape_of(&self, other: &Slot) -> bool {
        (self.version, self.before) == (other.version, other.before)
    }
}

enum Encoding {
    /// Nothing was encoded yet.
    Before(Box<Begin>),
    Idle(Box<Encoder>),
    /// A step runs on another thread.
    Busy(JoinHandle<Result<Box<Encoder>>>),
    /// A step failed, and so has the file.
    Failed,
}

/// A file that takes rows.
pub(super) struct OpenFile {
    pub(super) slot: Slot,
    shape: Arc<Shape>,
    folder: String,
    encoding: Encoding,
    /// Size after the last step that has ended.
    encoded: usize,
    gathered: Vec<ChangeBatch>,
    gathered_rows: usize,
    gathered_held: Held,
    taken: Option<Taken>,
    upload: UploadHandle,
    cores: Arc<Semaphore>,
}

impl OpenFile {
    pub(super) fn new(
        slot: Slot,
        folder: String,
        begin: Begin,
        upload: UploadHandle,
        budget: &Arc<Budget>,
        cores: Arc<Semaphore>,
    ) -> Self {
        OpenFile {
            slot,
            shape: Arc::clone(&begin.shape),
            folder,
            encoding: Encoding::Before(Box::new(begin)),
            encoded: 0,
            gathered: Vec::new(),
            gathered_rows: 0,
            gathered_held: budget.hold(0),
            taken: None,
            upload,
            cores,
        }
    }

    /// Takes rows. Encodes what is gathered once that is enough, while the next rows are made.
    pub(super) async fn take(&mut self, batch: ChangeBatch, bytes: usize) -> Result<()> {
        let Some(rows) = Taken::of(&batch) else { return Ok(()) };
        self.taken = Some(match self.taken.take() {
            Some(taken) => taken.and(rows),
            None => rows,
        });
        self.gathered_rows += batch.rows.num_rows();
        self.gathered.push(batch);
        self.gathered_held.set(self.gathered_held.bytes() + bytes);
        if self.gathered_rows >= GATHER_ROWS || self.gathered_held.bytes() >= GATHER_BYTES {
            self.encode().await?;
        }
        Ok(())
    }

    /// Memory it holds but for the step that runs.
    pub(super) fn memory(&self) -> usize {
        let encoder = match &self.encoding {
            Encoding::Idle(encoder) => encoder.memory(),
            Encoding::Before(_) | Encoding::Busy(_) | Encoding::Failed => 0,
        };
        encoder + self.gathered_held.bytes()
    }

    /// Size of what was encoded, were it ended now, but for the step that runs.
    pub(super) fn size(&self) -> usize {
        self.encoded
    }

    /// Whether ending its row group would give memory back.
    pub(super) fn has_open_rows(&self) -> bool {
        match &self.encoding {
            Encoding::Idle(encoder) => encoder.has_open_row_group() || self.gathered_rows > 0,
            Encoding::Before(_) => self.gathered_rows > 0,
            Encoding::Busy(_) | Encoding::Failed => false,
        }
    }

    /// Waits until no step runs.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if let Encoding::Busy(step) = &mut self.encoding {
            let outcome = step.await;
            self.encoding = Encoding::Failed;
            let bug = |error| Error::new(ErrorKind::Bug, "an encoding step ended early").caused_by(error);
            let encoder = match outcome.map_err(bug).and_then(|encoded| encoded) {
                Ok(encoder) => encoder,
                Err(error) => return Err(self.why(error).await),
            };
            self.encoded = encoder.size();
            self.encoding = Encoding::Idle(encoder);
        }
        Ok(())
    }

    /// Why writing failed: where the upload broke off, that is the reason, and it tells why.
    async fn why(&mut self, error: Error) -> Error {
        self.upload.dropped().await.err().unwrap_or(error)
    }

    /// Begins to encode what is gathered, after the step before it.
    async fn encode(&mut self) -> Result<()> {
        self.settle().await?;
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_rows = 0;
        let nothing_held = self.gathered_held.split_off();
        let held = std::mem::replace(&mut self.gathered_held, nothing_held);
        self.step(move |encoding| {
            let encoder = match encoding {
                Encoding::Before(begin) => Box::new(Encoder::begin(*begin, gathered)?),
                Encoding::Idle(mut encoder) => {
                    encoder.write(gathered)?;
                    encoder
                }
                Encoding::Busy(_) | Encoding::Failed => return Err(used_after_failure()),
            };
            drop(held);
            Ok(encoder)
        })
        .await
    }

    /// Encodes what is gathered and ends the row group, on another thread.
    pub(super) async fn end_row_group(&mut self) -> Result<()> {
        if self.gathered_rows > 0 {
            self.encode().await?;
        }
        self.settle().await?;
        self.step(|encoding| match encoding {
            Encoding::Idle(mut encoder) => {
                encoder.end_row_group()?;
                Ok(encoder)
            }
            Encoding::Before(_) | Encoding::Busy(_) | Encoding::Failed => Err(used_after_failure()),
        })
        .await?;
        self.settle().await
    }

    /// Starts a step on a thread for blocking work, as soon as a core is free.
    async fn step(
        &mut self,
        work: impl FnOnce(Encoding) -> Result<Box<Encoder>> + Send + 'static,
    ) -> Result<()> {
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let core =
            core.map_err(|error| Error::new(ErrorKind::Bug, "no cores to encode on").caused_by(error))?;
        let encoding = std::mem::replace(&mut self.encoding, Encoding::Failed);
        self.encoding = Encoding::Busy(tokio::task::spawn_blocking(move || {
            let done = work(encoding);
            drop(core);
            done
        }));
        Ok(())
    }

    /// Encodes the rest, sends it, seals the upload.
    pub(super) async fn close(mut self) -> Result<FileEntry> {
        let written = self.finish().await;
        let (written, taken) = match written {
            Ok(written) => written,
            Err(error) => return Err(self.why(error).await),
        };
        let (upload, parts) = self.upload.sealed().await?;
        Ok(FileEntry {
            upload,
            parts,
            table: self.shape.table().table.clone(),
            schema_version: self.shape.table().version,
            partition: self.folder,
            bytes: written.bytes,
            rows: taken.rows,
            seq: taken.seq,
            topic_partitions: taken.topic_partitions,
            commit_us: taken.commit_us,
            columns: column_stats(&self.shape, &written.metadata, &written.nulls),
        })
    }

    async fn finish(&mut self) -> Result<(super::encoder::Written, Taken)> {
        if self.gathered_rows > 0 {
            self.encode().await?;
        }
        self.settle().await?;
        let Encoding::Idle(encoder) = std::mem::replace(&mut self.encoding, Encoding::Failed) else {
            return Err(used_after_failure());
        };
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let written = tokio::task::spawn_blocking(move || {
            let written = encoder.finish();
            drop(core);
            written
        });
        let bug = |error| Error::new(ErrorKind::Bug, "an encoding step ended early").caused_by(error);
        let written = written.await.map_err(bug)??;
        self.taken.take().map(|taken| (written, taken)).ok_or_else(used_after_failure)
    }

    /// Drops the file and waits until its upload is gone.
    pub(super) async fn discard(mut self) -> Result<()> {
        let settled = self.settle().await;
        self.encoding = Encoding::Failed;
        self.upload.dropped().await.and(settled)
    }
}

fn used_after_failure() -> Error {
    Error::new(ErrorKind::Bug, "a file was used after it had failed")
}

impl Taken {
    /// Of a batch; `None` if it has no rows.
    fn of(batch: &ChangeBatch) -> Option<Self> {
        let seq = (*batch.meta.seq.first()?, *batch.meta.seq.last()?);
        let commits = || batch.meta.origins.iter().map(|run| run.origin.commit_us);
        let commit_us = (commits().min()?, commits().max()?);
        let topic_partitions = batch.meta.topic_partition.map(|number| (number, seq)).into_iter().collect();
        Some(Taken { rows: batch.rows.num_rows() as u64, seq, topic_partitions, commit_us })
    }

    fn and(mut self, later: Self) -> Self {
        for (number, range) in later.topic_partitions {
            let both = self.topic_partitions.get(&number).map_or(range, |here| wider(*here, range));
            self.topic_partitions.insert(number, both);
        }
        Taken {
            rows: self.rows + later.rows,
            seq: wider(self.seq, later.seq),
            commit_us: wider(self.commit_us, later.commit_us),
            ..self
        }
    }
}

fn wider(one: (i64, i64), other: (i64, i64)) -> (i64, i64) {
    (one.0.min(other.0), one.1.max(other.1))
}
