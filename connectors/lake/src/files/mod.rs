//! Writes change events into staged, invisible Parquet files.
//!
//! What holds, and why:
//! - *Order*: rows of a table are taken in the order of their `seq`; each goes into the open file of
//!   its version and partition. So within a file rows ascend, and the files of one table, version and
//!   partition have disjoint ranges of `seq`; those of two partitions may interleave. The mark of a whole
//!   re-read has a number that was reserved before rows written already, so it is alone in its file.
//!   Where batches name a topic partition, numbers ascend in each of these alone. All of this then holds for
//!   the rows of each topic partition, which go through the same open files in their order; so an entry says
//!   the range of each, and the rows of a file are found again by these.
//! - *Few files*: a table has at most [`OPEN_PARTITIONS`] files open. At the turn of an hour commit times
//!   of neighbours in the log, and of rows that a snapshot reads meanwhile, go back and forth by a little;
//!   two open files take that without a new file at each step. A new version begins new files.
//! - *Whole*: [`Files::seal`] returns only after every part of every file is sent and the store
//!   called it durable; each row written since the last seal is in exactly one of its entries.
//! - *Invisible*: nothing here shows a file; that is the commit's part, after it has decided.
//! - *Bounded*: gathered batches, open row groups, part buffers and parts under way count against
//!   one budget. Over it, the file that holds most ends its row group, or is closed where that
//!   gives nothing back; then `write` waits for uploads. A batch with a very large row is encoded before
//!   `write` returns, and held twice meanwhile ([`large_values`]).
//!
//! After an error only [`Files::discard`] may follow: rows may be missing from what is staged.
//! Futures of these methods must be awaited to their end; a dropped one counts as an error.

mod budget;
mod column_stats;
mod cut;
mod encoder;
mod encodings;
mod large_values;
mod marks;
mod open_file;
mod part_buffer;
mod shape;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::stats::LakeStats;
use lakeward_core::{ByteSize, ChangeBatch, Error, ErrorKind, LostFile, Result, TableId, TableSchema};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::budget::Budget;
pub(crate) use self::budget::Lent;
use self::cut::Cut;
use self::encoder::Begin;
use self::open_file::{OpenFile, Slot};
use self::shape::Shape;
use self::upload::UploadHandle;
use crate::columns::LakeVersion;
use crate::commit::record::FileEntry;
use crate::config::FileOptions;
use crate::layout::{self, Layout, Partition};
use crate::objects::{OpenUpload, Store};

/// Failpoints of staging.
pub const FAILPOINTS: &[&str] = &["lake.stage.begin", "lake.stage.part", "lake.stage.sealed"];

/// Files of one table that are open at the same time, of as many partitions.
const OPEN_PARTITIONS: usize = 2;
/// A batch of this many bytes holds very large rows: a source sends batches of a few MiB.
const LARGE_BATCH: usize = 16 << 20;

/// What files are written with.
pub struct FilesOptions {
    /// Partition folders.
    pub layout: Layout,
    /// Parquet files.
    pub files: FileOptions,
    /// Memory that files may hold.
    pub memory: ByteSize,
    /// Name of the pipeline.
    pub pipeline: Arc<str>,
    /// Epoch of this writer. Names of files rest on it: one `Files` per epoch.
    pub epoch: u64,
    /// Counters.
    pub stats: Arc<LakeStats>,
}

/// Writes change events into staged files.
pub struct Files<S: Store> {
    store: Arc<S>,
    layout: Layout,
    options: Arc<FileOptions>,
    pipeline: Arc<str>,
    epoch: u64,
    stats: Arc<LakeStats>,
    budget: Arc<Budget>,
    /// Encoding steps run on as many threads as there are cores.
    cores: Arc<Semaphore>,
    /// Number of the next file.
    next_file: u64,
    tables: BTreeMap<TableId, Lane>,
    /// Files that are on their way to be sealed.
    closing: JoinSet<Result<FileEntry>>,
    /// Files that are sealed.
    sealed: Vec<FileEntry>,
    /// On a repair, the files whose rows to keep, by table.
    lost: Option<BTreeMap<TableId, Vec<LostFile>>>,
}

/// One table's way into files.
#[derive(Default)]
struct Lane {
    versions: BTreeMap<u32, Arc<LakeVersion>>,
    /// Of the rows written last.
    shape: Option<Arc<Shape>>,
    /// The file written last is at the end.
    open: Vec<OpenFile>,
    /// The last number, of each topic partition where batches name one.
    last_seq: BTreeMap<Option<i32>, i64>,
}

impl Lane {
    /// Checks that a batch goes on from the numbers before it.
    fn take_numbers(&mut self, batch: &ChangeBatch) -> Result<()> {
        let topic_partition = batch.meta.topic_partition;
        cut::checked(batch, self.last_seq.get(&topic_partition).copied())?;
        if let Some(last) = batch.meta.seq.last() {
            self.last_seq.insert(topic_partition, *last);
        }
        Ok(())
    }
}

impl<S: Store> Files<S> {
    /// Files of one epoch of a pipeline, staged in `store`.
    pub fn new(options: FilesOptions, store: Arc<S>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Files {
            store,
            layout: options.layout,
            options: Arc::new(options.files),
            pipeline: options.pipeline,
            epoch: options.epoch,
            budget: Budget::new(options.memory, Arc::clone(&options.stats)),
            stats: options.stats,
            cores: Arc::new(Semaphore::new(cores)),
            next_file: 1,
            tables: BTreeMap::new(),
            closing: JoinSet::new(),
            sealed: Vec::new(),
            lost: None,
        }
    }

    /// Refuses a version with a column whose name is taken (`TableChanged`, with the config that solves
    /// it).
    pub fn refuse_taken_names(&self, schema: &TableSchema) -> Result<()> {
        let names = schema.columns.iter().map(|column| column.name.as_str());
        match self.layout.collisions(names, &self.options.columns).into_iter().next() {
            None => Ok(()),
            Some(collision) => {
                let message = format!("the column has the name of {}", collision.with);
                Err(Error::new(ErrorKind::TableChanged, message)
                    .of_table(&schema.table)
                    .at("column", collision.column)
                    .remedy(collision.remedy))
            }
        }
    }

    /// Takes a share of the memory away for something else, until the value is dropped.
    pub(crate) fn lend(&self) -> Lent {
        self.budget.lend()
    }

    /// Takes a table version; called before its first rows.
    pub fn version(&mut self, version: Arc<LakeVersion>) {
        let lane = self.tables.entry(version.table.table.clone()).or_default();
        lane.versions.insert(version.table.version, version);
    }

    /// Takes change events of a table version that [`Files::version`] has seen.
    pub async fn write(&mut self, batch: ChangeBatch) -> Result<()> {
        let before = batch.before.is_some();
        let lane = self.lane(&batch.schema, Some(before))?;
        lane.take_numbers(&batch)?;
        if batch.meta.seq.is_empty() {
            return Ok(());
        }
        self.route(batch).await?;
        self.stay_in_budget().await
    }

    /// Closes every open file, waits until all are sealed, and returns those since the last seal,
    /// by table and `seq`. They are staged and invisible.
    pub async fn seal(&mut self) -> Result<Vec<FileEntry>> {
        for lane in self.tables.values_mut() {
            for file in lane.open.drain(..) {
                self.closing.spawn(file.close());
            }
        }
        self.show_open();
        while let Some(closed) = self.closing.join_next().await {
            self.sealed.push(closed_file(closed)?);
        }
        let mut entries = std::mem::take(&mut self.sealed);
        entries.sort_by(|a, b| (&a.table, a.seq).cmp(&(&b.table, b.seq)));
        Ok(entries)
    }

    /// Aborts what is staged and was not handed out by [`Files::seal`]. Tries all of it; returns the
    /// first error.
    pub async fn discard(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for lane in self.tables.values_mut() {
            for file in lane.open.drain(..) {
                outcome = outcome.and(file.discard().await);
            }
        }
        self.show_open();
        while let Some(closed) = self.closing.join_next().await {
            match closed_file(closed) {
                Ok(entry) => self.sealed.push(entry),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        for entry in std::mem::take(&mut self.sealed) {
            let open = OpenUpload { key: entry.upload.key, upload_id: entry.upload.upload_id };
            outcome = outcome.and(self.store.abort(&open).await);
        }
        outcome
    }

    /// Keeps only rows of these lost files from now on, for a repair; `None` keeps all again. To be
    /// called between a seal and the next write. Rows of different lost files never share a file.
    pub fn keep_only(&mut self, lost: Option<&[LostFile]>) {
        self.lost = lost.map(|files| {
            let mut by_table: BTreeMap<_, Vec<LostFile>> = BTreeMap::new();
            for file in files {
                by_table.entry(file.table.clone()).or_default().push(file.clone());
            }
            by_table
        });
        // The range is read again: its numbers come a second time, and lower ones than before may.
        self.tables.values_mut().for_each(|lane| lane.last_seq.clear());
    }

    /// The table's lane with the shape of this version; `before` where it is known.
    fn lane(&mut self, schema: &TableSchema, before: Option<bool>) -> Result<&mut Lane> {
        let lane = self.tables.get_mut(&schema.table).ok_or_else(|| unknown_version(&schema.table))?;
        let last = lane.shape.as_ref().map(|shape| (shape.table().version, shape.before));
        let before = before.or(last.map(|last| last.1)).unwrap_or(false);
        if last != Some((schema.version, before)) {
            let version = lane.versions.get(&schema.version).ok_or_else(|| unknown_version(&schema.table))?;
            lane.shape = Some(Arc::new(Shape::new(Arc::clone(version), before, &self.options.columns)));
        }
        Ok(lane)
    }

    /// Puts the rows of a batch of the lane's shape into the files they belong to.
    async fn route(&mut self, batch: ChangeBatch) -> Result<()> {
        let table = batch.schema.table.clone();
        let nothing = Vec::new();
        let lost = self.lost.as_ref().map(|lost| lost.get(&table).unwrap_or(&nothing).as_slice());
        let cuts = cut::cuts(&batch.meta, self.layout, lost);
        let (bytes, rows) = (batch.bytes(), batch.rows.num_rows().max(1));
        let whole = cuts.first().is_some_and(|cut| cut.rows == (0..rows));
        let mut batch = Some(batch);
        let file_size = self.options.file_size;
        for cut in cuts {
            let piece = match &batch {
                Some(_) if whole => batch.take(),
                Some(batch) => Some(cut::slice(batch, &cut.rows)),
                None => None,
            };
            let Some(piece) = piece else { break };
            let share = (bytes / rows).saturating_mul(cut.rows.len());
            let is_large = share >= LARGE_BATCH;
            if is_large {
                // It is held twice while it is encoded: within the budget, where that has the room.
                let room = self.budget.limit().saturating_sub(2 * share).max(self.budget.limit() / 4);
                self.give_back(room).await?;
            }
            let file = self.file(&table, &cut, piece.meta.seq.first().copied().unwrap_or_default())?;
            file.take(piece, share).await?;
            // Nothing else is taken meanwhile: one such batch at a time bounds their copies.
            if is_large {
                file.settle().await?;
            }
            if file.size() >= file_size {
                self.close_where(&table, |file| file.size() >= file_size);
            }
        }
        self.reap()
    }

    /// The table's open file for the rows of `cut`; it is the last of the lane's then.
    fn file(&mut self, table: &TableId, cut: &Cut, first_seq: i64) -> Result<&mut OpenFile> {
        let slot = self.slot(table, cut.partition, cut.lost)?;
        self.close_where(table, |file| !file.slot.is_of_shape_of(&slot));
        let open =
            self.tables.get_mut(table).map(|lane| &mut lane.open).ok_or_else(|| unknown_version(table))?;
        match open.iter().position(|file| file.slot == slot) {
            Some(at) => {
                let file = open.remove(at);
                open.push(file);
            }
            None => {
                if open.len() >= OPEN_PARTITIONS {
                    let longest_ago = open.remove(0);
                    self.closing.spawn(longest_ago.close());
                }
                let file = self.begin(table, cut.partition, cut.lost, first_seq)?;
                self.tables.entry(table.clone()).or_default().open.push(file);
                self.show_open();
            }
        }
        self.tables.get_mut(table).and_then(|lane| lane.open.last_mut()).ok_or_else(|| unknown_version(table))
    }

    /// What rows of the lane's shape need of a file.
    fn slot(&self, table: &TableId, partition: Partition, lost: Option<usize>) -> Result<Slot> {
        let shape = self.tables.get(table).and_then(|lane| lane.shape.as_ref());
        let shape = shape.ok_or_else(|| unknown_version(table))?;
        Ok(Slot { version: shape.table().version, before: shape.before, partition, lost })
    }

    /// A new file of the lane's shape.
    fn begin(
        &mut self,
        table: &TableId,
        partition: Partition,
        lost: Option<usize>,
        first_seq: i64,
    ) -> Result<OpenFile> {
        let slot = self.slot(table, partition, lost)?;
        let shape = self.tables.get(table).and_then(|lane| lane.shape.clone());
        let shape = shape.ok_or_else(|| unknown_version(table))?;
        let number = self.next_file;
        self.next_file += 1;
        let folder = self.layout.folder(slot.partition);
        let key = layout::file_key(table, &folder, &self.pipeline, first_seq, self.epoch, number);
        let lakeward_id = format!("{}/{}/{number}", self.pipeline, self.epoch);
        let told = vec![
            ("lakeward.id", lakeward_id.clone()),
            ("lakeward.pipeline", self.pipeline.to_string()),
            ("lakeward.database", table.database.to_string()),
            ("lakeward.table", table.table.to_string()),
            ("lakeward.version", slot.version.to_string()),
        ];
        let (upload, pieces) = UploadHandle::start(Arc::clone(&self.store), key, lakeward_id);
        let begin = Begin {
            shape,
            options: Arc::clone(&self.options),
            told,
            part_size: self.store.part_size(),
            budget: Arc::clone(&self.budget),
            pieces,
        };
        Ok(OpenFile::new(slot, folder, begin, upload, &self.budget, Arc::clone(&self.cores)))
    }

    /// Closes the table's open files that `ends` says so of, each on a task of its own.
    fn close_where(&mut self, table: &TableId, ends: impl Fn(&OpenFile) -> bool) {
        let Some(lane) = self.tables.get_mut(table) else { return };
        let before = lane.open.len();
        for file in lane.open.extract_if(.., |file| ends(file)) {
            self.closing.spawn(file.close());
        }
        if lane.open.len() < before {
            self.show_open();
        }
    }

    /// Takes up files that were closed meanwhile.
    fn reap(&mut self) -> Result<()> {
        while let Some(closed) = self.closing.try_join_next() {
            self.sealed.push(closed_file(closed)?);
        }
        Ok(())
    }

    fn show_open(&self) {
        let open: usize = self.tables.values().map(|lane| lane.open.len()).sum();
        self.stats.open_files.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    async fn stay_in_budget(&mut self) -> Result<()> {
        self.give_back(self.budget.limit()).await
    }

    /// Gives memory back until no more than `limit` is held.
    ///
    /// It ends: each turn either ends a row group or closes a file, of which there are finitely
    /// many, or waits for files and parts under way, which hold at least a quarter of the limit then.
    async fn give_back(&mut self, limit: usize) -> Result<()> {
        while self.budget.used() > limit {
            let mut open = 0;
            for file in self.tables.values_mut().flat_map(|lane| &mut lane.open) {
                file.settle().await?;
                open += file.memory();
            }
            if open <= limit / 4 * 3 {
                if self.budget.used() > limit {
                    self.budget.freed().await;
                }
                self.reap()?;
                continue;
            }
            let files = self.tables.iter_mut();
            let files = files.flat_map(|(table, lane)| lane.open.iter_mut().map(move |file| (table, file)));
            match files.max_by_key(|(_, file)| file.memory()) {
                Some((_, file)) if file.has_open_rows() => file.end_row_group().await?,
                Some((table, file)) => {
                    let (table, slot) = (table.clone(), file.slot);
                    self.close_where(&table, |file| file.slot == slot);
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

fn unknown_version(table: &TableId) -> Error {
    Error::new(ErrorKind::Bug, "rows of a table version that was not given").at("table", table)
}

fn closed_file(closed: Result<Result<FileEntry>, tokio::task::JoinError>) -> Result<FileEntry> {
    closed.map_err(|error| Error::new(ErrorKind::Bug, "closing a file ended early").caused_by(error))?
}
