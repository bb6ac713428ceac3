//! The commit protocol: claim, decide, show, repair. Staging is done by `files`; this module says
//! when what is staged becomes true, and when it may be dropped. What is said here is of one writer at a
//! time; `shared` says what changes, and why it still holds, where several share a log.
//!
//! # The guarantee
//! The checkpoint and the files of a commit become durable in one step, the put of one record. The
//! checkpoints of the log form one chain; every row of the range between two of them is visible
//! exactly once, or is about to be made so by the next `open`; nothing is visible that no record
//! names; a writer that was revoked decides nothing.
//!
//! # What the store owes us
//! (a) `put_if_absent` creates at most one object per key, whatever races, and an object never changes;
//! `open` proves it on the claim itself and refuses a store that does not. (b) An upload is an upload,
//! a visible object, or gone; `show` moves it from the first to the second at once. (c) Reads see what
//! was put before. Answers may get lost, and a put may land long after its caller gave up.
//!
//! # Why it holds
//! *One chain.* A writer knows a last record L and puts only at L + 1, only if absent, and has read
//! every record up to L since its claim. So the log is dense, and the order of records is the order in
//! which they were decided. Each commit goes on `from` the checkpoint of L, by construction.
//!
//! *Revoked is revoked.* Let f be a claim above e, e's writer paused anywhere (SIGSTOP, a lost link, a
//! put on its way). Whatever e's writer puts, or has put, is for its own L + 1.
//! If that number is at most f, a record stands there (the log is dense up to f): the put is refused,
//! however late it lands, and the writer reads the record, sees another epoch, and stops: `Fenced`.
//! If its put landed before claim f, it stands below f: f's writer lost that number, read the record,
//! and went on from it. It cannot be above f: to have L >= f it must have read f, and then it stops.
//!
//! *Two claims at one number.* The claims hold the identity of their processes, so the one refused
//! does not take the other's claim for its own.
//!
//! *Nothing decided is aborted.* Staged files are dropped at three places only: by their writer when
//! no put that names them was ever tried; by their writer when another record stands at the number its
//! put was for, so that it never can stand; and by the writer of claim f, for epochs below f, when f
//! stands. All records below f are then known, f's writer has shown their files before it claimed, and
//! by the paragraph before none below can be decided any more. After a put whose outcome is unknown,
//! nothing is dropped, not on shutdown either ([`Writer::may_discard`]).
//!
//! *Nothing doubles.* A file's key holds the epoch and a count, so it belongs to one attempt at one
//! commit; a range staged again by a later writer has other keys, and the earlier ones are named by no
//! record. Showing is repeatable by anybody: it moves the one upload of that key.
//!
//! # Crash by crash (a crash also stands for an error after which the sink is dropped)
//! | where | what stands | the next `open` |
//! |---|---|---|
//! | before the claim's put | the log as it was; perhaps more files shown | goes on from the log |
//! | claim put, answer lost | the claim | repeats the put: refused, same hash: ours. Another process: claims above it |
//! | after the claim | the claim; leftovers of old epochs | claims above; aborts leftovers |
//! | while staging | uploads that no record names | aborts them after its claim; the source reads the range again |
//! | owner put | the pipeline owns a folder without files | takes it again, or somebody reads that it is owned |
//! | before the decision's put | as while staging | as while staging |
//! | decision on its way | either, until it lands or the claim takes its number | the claim's put settles which: see *revoked is revoked* |
//! | decided, answer lost | the record | repeated by the writer: same hash: ours; by the next `open`: shows it |
//! | decided, not or partly shown | the record, uploads, some visible files | shows schemas and files above `shown_through` |
//! | shown, not told | all visible | shows again: nothing to do |
//! | in a repair | as in a commit: the lost record stays above `shown_through` until its repair is decided | repairs it again, or shows the repair |
//!
//! # Lost uploads
//! Where `show` finds neither upload nor object, the record stays above `shown_through` and its lost
//! files are handed out as [`LostRange`]. Their rows are read again and decided by a repair: a record
//! that leaves the checkpoint where it is and names the lost keys, which are shown no more. If files of
//! the repair get lost in turn, they are repaired the same way, over the range of the first record.
//!
//! # Unknown
//! A store for which (b) is untrue, where an upload can be gone before its object is seen, would make
//! a repair double rows; `s3` therefore looks several times before it says that a file is lost. A lake
//! whose objects are deleted or rewritten by others is outside of the guarantee; damage to records is
//! noticed and stops the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lakeward_core::stats::LakeStats;
use lakeward_core::{
    Checkpoint, Error, ErrorKind, Opened, Position, Result, Resume, Scope, Snapshot, SnapshotState, TableId,
    TableSchema,
};
use uuid::Uuid;

use super::decide::Change;
use super::log::Log;
use super::lost::{self, rows_by_table, unrepairable};
use super::places::{Begun, Events, merged, same_kind};
use super::record::{Entry, FileEntry, Record, Repairs};
use super::shared::{self, Sharing};
use super::show::{abort_revoked, show_tail};
use super::shown::Shown;
use super::tables;
use super::versions::Versions;
use crate::columns::{IncompatibleChange, LakeVersion};
use crate::objects::Store;

/// Whose log it is, and who writes.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The pipeline.
    pub pipeline: String,
    /// Unique to this process: no other process, ever, may claim with it.
    pub writer: Uuid,
    /// Who may write beside it.
    pub sharing: Sharing,
    /// Whether other pipelines may write into the same table folders.
    pub shared_tables: bool,
    /// Whether `open` tells every version of each table, and not only that which the checkpoint names.
    pub all_versions: bool,
    /// What becomes of a column that changes its kind.
    pub incompatible_change: IncompatibleChange,
    /// Names that no column of the lake gets: of added columns and of partition folders.
    pub taken_names: Vec<String>,
    /// Counts what is decided and shown.
    pub stats: Arc<LakeStats>,
}

/// A writer that has claimed its pipeline.
#[derive(Debug)]
pub struct Writer<S> {
    pub(super) store: Arc<S>,
    pub(super) log: Log<S>,
    pub(super) options: WriterOptions,
    pub(super) epoch: u64,
    /// The last record seen, bare: our claim at first.
    pub(super) last: Record,
    /// Where the next commit goes on from.
    pub(super) begun: Begun,
    pub(super) shown: Shown,
    /// Lost files by record, until a repair of them is shown.
    pub(super) unrepaired: BTreeMap<u64, Vec<FileEntry>>,
    pub(super) versions: Versions,
    pub(super) owned: BTreeSet<TableId>,
    /// From before a put until the files of its record are shown, or the put is known to be refused.
    pub(super) unsettled: bool,
}

impl<S: Store> Writer<S> {
    /// Reads the log, shows what is decided, and claims the pipeline.
    ///
    /// # Errors
    /// `LakeCorrupt`, `LakeUnsuited`, `LostUpload` for a loss that cannot be repaired, and the
    /// store's; then nothing is claimed, or a claim without a writer stands, which harms nobody.
    pub async fn open(store: Arc<S>, options: WriterOptions) -> Result<(Self, Opened)> {
        let log = Log::new(Arc::clone(&store), &options.pipeline);
        let (tail, unrepaired, claim, body) = loop {
            let tail = log.tail().await?;
            options.sharing.refuse_other_kind(&options.pipeline, tail.last())?;
            let unrepaired = show_tail(&*store, &options, &tail).await?;
            let last = tail.last();
            let number = last.map_or(0, |last| last.number) + 1;
            let shown_through = shown_through(&unrepaired, number - 1);
            let checkpoint = last.and_then(Record::checkpoint).cloned();
            let workers = options.sharing.workers(options.writer, number, last).await;
            let entry = Entry::Claim { checkpoint, writer: options.writer };
            let (claim, body) =
                Record::new(&options.pipeline, number, number, shown_through, workers, entry)?;
            if log.put(&claim, &body).await?.is_none() {
                break (tail, unrepaired, claim, body);
            }
        };
        log.prove_conditional(&claim, &body).await?;
        abort_revoked(&*store, &options.pipeline, &claim, &tail).await;
        log.hint(claim.number).await;
        options.stats.record.set(i64::try_from(claim.number).unwrap_or(i64::MAX));
        let checkpoint = claim.checkpoint().cloned();
        let mut versions = Versions::default();
        let resume = Resume {
            schemas: versions.of_checkpoint(&*store, &options, checkpoint.as_ref()).await?,
            checkpoint: checkpoint.clone(),
            requests: Vec::new(),
        };
        let lost = lost::ranges(&*store, &log, &options, &unrepaired, &mut versions).await?;
        let opened = Opened { resume, lost, epoch: claim.number };
        let mut shown = Shown::new(claim.shown_through);
        let in_tail = tail.iter().map(|record| record.number).chain([claim.number]);
        in_tail.filter(|number| !unrepaired.contains_key(number)).for_each(|number| shown.add(number));
        let writer = Writer {
            log,
            epoch: claim.number,
            last: claim,
            begun: Begun::new(checkpoint),
            shown,
            unrepaired,
            versions,
            owned: BTreeSet::new(),
            unsettled: false,
            store,
            options,
        };
        Ok((writer, opened))
    }

    /// The epoch of this writer.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The checkpoint that the lake is at, as far as this writer has seen.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.last.checkpoint()
    }

    /// Whether what is staged may be dropped: no put is under way that could decide it.
    pub fn may_discard(&self) -> bool {
        !self.unsettled
    }

    /// The files that record `number` lost, if it did.
    pub fn lost_files(&self, number: u64) -> &[FileEntry] {
        self.unrepaired.get(&number).map_or(&[], Vec::as_slice)
    }

    /// Takes note of a table version; gives it as the lake has it. One that no record has decided yet
    /// is decided by the next commit. Where the log is shared, each worker must be given all versions of a
    /// table up to the one that it has rows of, in their order.
    ///
    /// # Errors
    /// `LakeOwned` if the table's folder is another pipeline's; `TableChanged` if a column changed its
    /// kind and that is to be refused; `Bug` if the number was given to another structure, or comes after
    /// others decided greater ones; and the store's.
    pub async fn version(&mut self, schema: &Arc<TableSchema>) -> Result<Arc<LakeVersion>> {
        let table = &schema.table;
        if !self.options.shared_tables
            && !self.owned.contains(table)
            && tables::refuse_owned(&*self.store, &self.options.pipeline, table).await?
        {
            self.owned.insert(table.clone());
        }
        self.versions.take(&*self.store, &self.options, self.last.checkpoint(), schema).await
    }

    /// Decides and shows `files` together with the place `part` that they bring the lake to, and the
    /// versions that are new. Over Kafka, `part` names the topic partitions of this writer alone.
    ///
    /// # Errors
    /// `Fenced`: another writer has claimed the pipeline, and nothing of this was decided. `Rebalanced`:
    /// another worker was faster with one of the topic partitions or versions, or took this one for gone,
    /// and nothing was decided. `LakeOwned`, `Config`, `Bug`: nothing was tried. Any other: the outcome is
    /// open; drop the writer, and drop what is staged only if [`Writer::may_discard`].
    pub async fn commit(&mut self, files: Vec<FileEntry>, part: Checkpoint) -> Result<()> {
        if !self.unrepaired.is_empty() {
            return Err(bug("a commit was asked for before the lost files were repaired"));
        }
        same_kind(&self.options.pipeline, self.checkpoint(), &part.position)?;
        let is_new = Some(&merged(self.checkpoint(), &part)) != self.checkpoint();
        if files.is_empty() && self.versions.to_decide().is_empty() && !is_new {
            return Ok(());
        }
        self.check_range(&files, &part)?;
        self.versions.check(&files, &part)?;
        self.show_others().await?;
        self.decide(Change { files, part: Some(part), repairs: None }).await
    }

    /// Decides and shows `files` in place of those that record `number` lost. The checkpoint stays.
    ///
    /// # Errors
    /// `LostUpload` if the rows read again are not those that were lost; else as
    /// [`Writer::commit`].
    pub async fn repair(&mut self, number: u64, files: Vec<FileEntry>) -> Result<()> {
        let lost = self.lost_files(number);
        if self.checkpoint().is_none() || lost.is_empty() {
            return Err(bug("a repair was asked for where nothing is lost").at("record", number));
        }
        if rows_by_table(lost) != rows_by_table(&files) {
            let message = "the rows read again are not those that were lost: another count";
            return Err(unrepairable(message, number, lost));
        }
        let repairs =
            Repairs { record: number, lost: lost.iter().map(|file| file.upload.key.clone()).collect() };
        self.decide(Change { files, part: None, repairs: Some(repairs) }).await?;
        self.unrepaired.remove(&number);
        self.shown.add(number);
        Ok(())
    }

    /// `error`, or `Fenced` or `Rebalanced` if that is why it happened: who revokes us aborts what we stage.
    pub async fn explain(&self, error: Error) -> Error {
        let explained =
            matches!(error.kind(), ErrorKind::LakeUnreachable | ErrorKind::Fenced | ErrorKind::Rebalanced);
        if explained || matches!(error.scope(), Scope::Table(_)) {
            return error;
        }
        let mut number = self.last.number + 1;
        loop {
            match self.log.record(number).await {
                Ok(Some(other)) if !self.unsettled => match self.revoked_by(&other) {
                    Some(revoked) => return revoked.caused_by(error),
                    None => number += 1,
                },
                // It cannot be told now; the next `open` will.
                Err(unreachable) if unreachable.kind() == ErrorKind::LakeUnreachable => {
                    return unreachable.caused_by(error);
                }
                Ok(_) | Err(_) => return error,
            }
        }
    }

    pub(super) fn revoked_by(&self, other: &Record) -> Option<Error> {
        shared::revoked(&self.options.pipeline, &self.options.sharing, self.epoch, other)
    }

    /// The numbers between the two checkpoints are dense but for those that no event bears, so the files
    /// must hold exactly as many rows as there are events: a batch that got lost on the way here is
    /// noticed before anything is decided.
    fn check_range(&self, files: &[FileEntry], part: &Checkpoint) -> Result<()> {
        let from = self.begun.checkpoint();
        let outside = |file: &&FileEntry| {
            let (first, last) = file.seq;
            first > last || last >= part.next_seq || from.is_some_and(|from| is_early(from, file))
        };
        if let Some(file) = files.iter().find(outside) {
            return Err(bug("a file has numbers outside of its commit").at("key", &file.upload.key));
        }
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        match self.begun.events(part) {
            Events::Are(events) if events != rows => {
                let message = format!("{rows} rows came where {events} events were counted");
                Err(bug(&message).at("next number", part.next_seq).at("position", &part.position))
            }
            Events::GoBack => Err(bug("a commit would go back").at("position", &part.position)),
            Events::Are(_) | Events::Unknown => Ok(()),
        }
    }
}

/// Whether a file has numbers that were given before `from`. Over Kafka they come as each topic partition
/// does: only their count is checked.
fn is_early(from: &Checkpoint, file: &FileEntry) -> bool {
    match from.position {
        Position::Binlog(_) => file.seq.0 < from.next_seq && !is_reserved_mark(from, file),
        _ => false,
    }
}

/// Whether a file holds the mark whose number was reserved before `from`.
fn is_reserved_mark(from: &Checkpoint, file: &FileEntry) -> bool {
    match from.tables.get(&file.table).map(|state| &state.snapshot) {
        Some(SnapshotState::Open(Snapshot { mark: Some(mark), .. })) => file.seq == (*mark, *mark),
        Some(
            SnapshotState::Open(_) | SnapshotState::NotAsked | SnapshotState::Partial | SnapshotState::Done,
        )
        | None => false,
    }
}

pub(super) fn bug(message: &str) -> Error {
    Error::new(ErrorKind::Bug, message)
}

fn shown_through(unrepaired: &BTreeMap<u64, Vec<FileEntry>>, last: u64) -> u64 {
    unrepaired.keys().next().map_or(last, |first| first.saturating_sub(1))
}
