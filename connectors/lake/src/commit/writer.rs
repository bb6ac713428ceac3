//! The commit protocol: claim, decide, show, repair. Staging is done by `files`; this module says
//! when what is staged becomes true, and when it may be dropped.
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
    Checkpoint, Error, ErrorKind, LostFile, LostRange, Opened, Result, Resume, Scope, Snapshot,
    SnapshotState, TableId, TableSchema, failpoint,
};
use uuid::Uuid;

use super::log::Log;
use super::record::{Entry, FileEntry, Record, Repairs};
use super::show::{abort_revoked, show, show_tail};
use super::tables;
use crate::columns::{IncompatibleChange, LakeVersion};
use crate::objects::Store;

/// Whose log it is, and who writes.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The pipeline.
    pub pipeline: String,
    /// Unique to this process: no other process, ever, may claim with it.
    pub writer: Uuid,
    /// Whether other pipelines may write into the same table folders.
    pub shared_tables: bool,
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
    store: Arc<S>,
    log: Log<S>,
    options: WriterOptions,
    epoch: u64,
    /// The last record seen: ours, once the claim stands.
    last: u64,
    checkpoint: Option<Checkpoint>,
    shown_through: u64,
    /// Lost files by record, until a repair of them is shown.
    unrepaired: BTreeMap<u64, Vec<FileEntry>>,
    /// Versions that records have decided, as far as they were needed.
    versions: BTreeMap<(TableId, u32), Arc<LakeVersion>>,
    /// Versions that the next commit must decide.
    new_versions: BTreeMap<(TableId, u32), Arc<LakeVersion>>,
    owned: BTreeSet<TableId>,
    /// From before a put until the files of its record are shown, or the put is known to be refused.
    unsettled: bool,
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
            let unrepaired = show_tail(&*store, &options, &tail).await?;
            let last = tail.last();
            let number = last.map_or(0, |last| last.number) + 1;
            let shown_through = shown_through(&unrepaired, number - 1);
            let checkpoint = last.and_then(Record::checkpoint).cloned();
            let entry = Entry::Claim { checkpoint, writer: options.writer };
            let (claim, body) = Record::new(&options.pipeline, number, number, shown_through, entry)?;
            if log.put(&claim, &body).await?.is_none() {
                break (tail, unrepaired, claim, body);
            }
        };
        log.prove_conditional(&claim, &body).await?;
        abort_revoked(&*store, &options.pipeline, claim.number, &tail).await;
        log.hint(claim.number).await;
        options.stats.record.set(i64::try_from(claim.number).unwrap_or(i64::MAX));
        let mut writer = Writer {
            log,
            epoch: claim.number,
            last: claim.number,
            checkpoint: claim.checkpoint().cloned(),
            shown_through: claim.shown_through,
            unrepaired,
            versions: BTreeMap::new(),
            new_versions: BTreeMap::new(),
            owned: BTreeSet::new(),
            unsettled: false,
            store,
            options,
        };
        let lost = writer.lost_ranges().await?;
        let resume = Resume {
            schemas: writer.schemas_of(writer.checkpoint.clone()).await?,
            checkpoint: writer.checkpoint.clone(),
            requests: Vec::new(),
        };
        Ok((writer, Opened { resume, lost }))
    }

    /// The epoch of this writer.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The checkpoint that the lake is at.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
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
    /// is decided by the next commit.
    ///
    /// # Errors
    /// `LakeOwned` if the table's folder is another pipeline's; `TableChanged` if a column changed its
    /// kind and that is to be refused; `Bug` if the number was given to another structure; and the
    /// store's.
    pub async fn version(&mut self, schema: &Arc<TableSchema>) -> Result<Arc<LakeVersion>> {
        let table = &schema.table;
        if !self.options.shared_tables && !self.owned.contains(table) {
            tables::refuse_owned(&*self.store, &self.options.pipeline, table).await?;
        }
        if let Some(known) = self.known_version(table, schema.version).await? {
            if !known.table.same_structure(schema) {
                let message =
                    format!("version {} of the table was given to another structure", schema.version);
                return Err(bug(&message).at("table", table));
            }
            return Ok(known);
        }
        // A version without rows may never have come here: the last one that did counts.
        let mut before = None;
        for number in (1..schema.version).rev() {
            before = self.known_version(table, number).await?;
            if before.is_some() {
                break;
            }
        }
        let own = TableSchema::clone(schema);
        let version = match before {
            None => LakeVersion::of_own_names(own),
            Some(before) => {
                let taken: Vec<&str> = self.options.taken_names.iter().map(String::as_str).collect();
                LakeVersion::after(&before, own, &taken, self.options.incompatible_change)?
            }
        };
        let version = Arc::new(version);
        self.new_versions.insert((table.clone(), schema.version), Arc::clone(&version));
        Ok(version)
    }

    /// A version that a record has decided, or that the next one must; `None` if neither.
    async fn known_version(&mut self, table: &TableId, number: u32) -> Result<Option<Arc<LakeVersion>>> {
        let name = (table.clone(), number);
        if let Some(known) = self.versions.get(&name).or_else(|| self.new_versions.get(&name)) {
            return Ok(Some(Arc::clone(known)));
        }
        let stored = tables::version(&*self.store, &self.options.pipeline, table, number).await?;
        Ok(stored.map(|stored| {
            let stored = Arc::new(stored);
            self.versions.insert(name, Arc::clone(&stored));
            stored
        }))
    }

    /// Decides and shows `files` together with the checkpoint `to` and the versions that are new.
    ///
    /// # Errors
    /// `Fenced`: another writer has claimed the pipeline, and nothing of this was decided.
    /// `LakeOwned`, `Bug`: nothing was tried. Any other: the outcome is open; drop the writer, and
    /// drop what is staged only if [`Writer::may_discard`].
    pub async fn commit(&mut self, files: Vec<FileEntry>, to: Checkpoint) -> Result<()> {
        if !self.unrepaired.is_empty() {
            return Err(bug("a commit was asked for before the lost files were repaired"));
        }
        if files.is_empty() && self.new_versions.is_empty() && self.checkpoint.as_ref() == Some(&to) {
            return Ok(());
        }
        self.check_range(&files, &to)?;
        self.check_versions(&files, &to)?;
        let schemas = self.new_versions.values().map(|version| LakeVersion::clone(version)).collect();
        let entry = Entry::Commit { from: self.checkpoint.clone(), to, schemas, files, repairs: None };
        self.decide(entry).await?;
        self.versions.append(&mut self.new_versions);
        Ok(())
    }

    /// Decides and shows `files` in place of those that record `number` lost. The checkpoint stays.
    ///
    /// # Errors
    /// `LostUpload` if the rows read again are not those that were lost; else as
    /// [`Writer::commit`].
    pub async fn repair(&mut self, number: u64, files: Vec<FileEntry>) -> Result<()> {
        let lost = self.lost_files(number);
        let (Some(checkpoint), false) = (self.checkpoint.clone(), lost.is_empty()) else {
            return Err(bug("a repair was asked for where nothing is lost").at("record", number));
        };
        if rows_by_table(lost) != rows_by_table(&files) {
            let message = "the rows read again are not those that were lost: another count";
            return Err(unrepairable(message, number, lost));
        }
        let repairs =
            Repairs { record: number, lost: lost.iter().map(|file| file.upload.key.clone()).collect() };
        let (from, to, schemas) = (Some(checkpoint.clone()), checkpoint, Vec::new());
        let lost = self.unrepaired.remove(&number);
        let decided = self.decide(Entry::Commit { from, to, schemas, files, repairs: Some(repairs) }).await;
        if decided.is_err() {
            self.unrepaired.extend(lost.map(|lost| (number, lost)));
        }
        decided
    }

    /// `error`, or `Fenced` if that is why it happened: a newer writer aborts what we stage.
    pub async fn explain(&self, error: Error) -> Error {
        let explained = matches!(error.kind(), ErrorKind::LakeUnreachable | ErrorKind::Fenced);
        if explained || matches!(error.scope(), Scope::Table(_)) {
            return error;
        }
        match self.log.record(self.last + 1).await {
            Ok(Some(other)) if other.epoch > self.epoch && !self.unsettled => {
                self.lost_to(&other).caused_by(error)
            }
            // It cannot be told now; the next `open` will.
            Err(unreachable) if unreachable.kind() == ErrorKind::LakeUnreachable => {
                unreachable.caused_by(error)
            }
            _ => error,
        }
    }

    /// The decision, and what follows from it.
    async fn decide(&mut self, entry: Entry) -> Result<()> {
        if self.unsettled {
            return Err(bug("a commit was asked for after one with an open outcome"));
        }
        let Entry::Commit { files, schemas, to, .. } = &entry else {
            return Err(bug("a claim is no decision"));
        };
        self.own_tables(files).await?;
        let number = self.last + 1;
        let (files, schemas, to) = (files.clone(), schemas.clone(), to.clone());
        let (record, body) =
            Record::new(&self.options.pipeline, number, self.epoch, self.shown_through, entry)?;
        self.unsettled = true;
        if let Some(other) = self.log.put(&record, &body).await? {
            self.unsettled = false;
            return Err(self.lost_to(&other));
        }
        self.last = number;
        self.checkpoint = Some(to);
        self.options.stats.commits.add(1);
        self.options.stats.record.set(i64::try_from(number).unwrap_or(i64::MAX));
        failpoint::hit("lake.show.before")?;
        let lost = show(&*self.store, &self.options, &schemas, files).await?;
        if !lost.is_empty() {
            // Passing: the next `open` hands the range out to be read again.
            let message = "uploads vanished between their decision and their showing; opening anew to repair";
            return Err(Error::new(ErrorKind::LakeUnreachable, message)
                .at("record", number)
                .at("files", lost.len()));
        }
        failpoint::hit("lake.show.after")?;
        self.shown_through = shown_through(&self.unrepaired, number);
        self.unsettled = false;
        self.log.hint_sometimes(number).await;
        Ok(())
    }

    fn lost_to(&self, other: &Record) -> Error {
        if other.epoch > self.epoch {
            let message =
                format!("epoch {} of the pipeline has taken over from epoch {}", other.epoch, self.epoch);
            return Error::new(ErrorKind::Fenced, message)
                .at("pipeline", &self.options.pipeline)
                .at("record", other.number)
                .remedy("let one process only run this pipeline; nothing is lost or doubled");
        }
        Error::new(
            ErrorKind::LakeCorrupt,
            format!("a record of epoch {} stands where epoch {} should go on", other.epoch, self.epoch),
        )
        .at("object", self.log.key(other.number))
        .remedy("find out who wrote it; lakeward puts no such record")
    }

    async fn own_tables(&mut self, files: &[FileEntry]) -> Result<()> {
        if self.options.shared_tables {
            return Ok(());
        }
        let tables: BTreeSet<&TableId> = files.iter().map(|file| &file.table).collect();
        for table in tables {
            if !self.owned.contains(table) {
                tables::own(&*self.store, &self.options.pipeline, table).await?;
                self.owned.insert(table.clone());
            }
        }
        Ok(())
    }

    /// The numbers between the two checkpoints are dense but for those that no event bears, so the files
    /// must hold exactly as many rows as there are events: a batch that got lost on the way here is
    /// noticed before anything is decided.
    fn check_range(&self, files: &[FileEntry], to: &Checkpoint) -> Result<()> {
        let from = self.checkpoint.as_ref();
        let outside = |file: &&FileEntry| {
            let (first, last) = file.seq;
            let early = from.is_some_and(|from| first < from.next_seq && !is_reserved_mark(from, file));
            first > last || last >= to.next_seq || early
        };
        if let Some(file) = files.iter().find(outside) {
            return Err(bug("a file has numbers outside of its commit").at("key", &file.upload.key));
        }
        let Some(from) = from else { return Ok(()) };
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        if to.events_since(from) != Some(rows) {
            let message = format!("{rows} rows came for the numbers {} to {}", from.next_seq, to.next_seq);
            return Err(bug(&message));
        }
        Ok(())
    }

    /// Every version that the record names must have been decided, or be decided by it.
    fn check_versions(&self, files: &[FileEntry], to: &Checkpoint) -> Result<()> {
        let known = |table: &TableId, version: u32| {
            let name = (table.clone(), version);
            version == 0 || self.versions.contains_key(&name) || self.new_versions.contains_key(&name)
        };
        let of_files = files.iter().map(|file| (&file.table, file.schema_version));
        let of_tables = to.tables.iter().map(|(table, state)| (table, state.schema_version));
        match of_files.chain(of_tables).find(|(table, version)| !known(table, *version)) {
            Some((table, version)) => {
                Err(bug(&format!("version {version} is committed but was never given")).at("table", table))
            }
            None => Ok(()),
        }
    }

    async fn schemas_of(&mut self, checkpoint: Option<Checkpoint>) -> Result<Vec<Arc<TableSchema>>> {
        let Some(checkpoint) = checkpoint else { return Ok(Vec::new()) };
        let versions = tables::versions_of(&*self.store, &self.options.pipeline, &checkpoint).await?;
        let structures = versions.iter().map(|version| Arc::new(version.table.clone())).collect();
        for version in versions {
            self.versions.insert((version.table.table.clone(), version.table.version), version);
        }
        Ok(structures)
    }

    async fn lost_ranges(&mut self) -> Result<Vec<LostRange>> {
        let mut ranges = Vec::new();
        for (number, files) in self.unrepaired.clone() {
            let (from, to) = self.range_of(number).await?;
            let Some(from) = from else {
                let message = "files of the pipeline's first commit are lost; where it began is not recorded";
                return Err(unrepairable(message, number, &files));
            };
            let schemas = self.schemas_of(Some(from.clone())).await?;
            let files = files.into_iter().map(|file| LostFile {
                key: file.upload.key,
                table: file.table,
                seq: file.seq,
                commit_us: file.commit_us,
            });
            ranges.push(LostRange { record: number, from, to, schemas, files: files.collect() });
        }
        Ok(ranges)
    }

    /// The range whose rows the files of record `number` hold: for a repair, that of the record which
    /// lost them first.
    async fn range_of(&self, mut number: u64) -> Result<(Option<Checkpoint>, Checkpoint)> {
        loop {
            match self.log.record(number).await?.map(|record| record.entry) {
                Some(Entry::Commit { from, to, repairs: None, .. }) => return Ok((from, to)),
                Some(Entry::Commit { repairs: Some(repairs), .. }) if repairs.record < number => {
                    number = repairs.record;
                }
                Some(Entry::Commit { .. } | Entry::Claim { .. }) | None => {
                    return Err(bug("the range of lost files is not known").at("record", number));
                }
            }
        }
    }
}

/// Whether a file holds the mark whose number was reserved before `from`.
fn is_reserved_mark(from: &Checkpoint, file: &FileEntry) -> bool {
    match from.tables.get(&file.table).map(|state| &state.snapshot) {
        Some(SnapshotState::Open(Snapshot { mark: Some(mark), .. })) => file.seq == (*mark, *mark),
        Some(SnapshotState::Open(_) | SnapshotState::NotAsked | SnapshotState::Done) | None => false,
    }
}

fn bug(message: &str) -> Error {
    Error::new(ErrorKind::Bug, message)
}

fn unrepairable(message: &str, number: u64, lost: &[FileEntry]) -> Error {
    let keys: Vec<&str> = lost.iter().map(|file| file.upload.key.as_str()).collect();
    let first = lost.iter().map(|file| file.seq.0).min().unwrap_or(0);
    let last = lost.iter().map(|file| file.seq.1).max().unwrap_or(0);
    Error::new(ErrorKind::LostUpload, message)
        .at("record", number)
        .at("seq", format!("{first} to {last}"))
        .at("keys", keys.join(" "))
}

fn shown_through(unrepaired: &BTreeMap<u64, Vec<FileEntry>>, last: u64) -> u64 {
    unrepaired.keys().next().map_or(last, |first| first.saturating_sub(1))
}

fn rows_by_table(files: &[FileEntry]) -> BTreeMap<&TableId, u64> {
    let mut rows = BTreeMap::new();
    for file in files {
        *rows.entry(&file.table).or_insert(0) += file.rows;
    }
    rows
}
