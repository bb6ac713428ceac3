//! Writes change events into staged, invisible Parquet files.
//!
//! What holds, and why:
//! - *Order*: rows of a table are taken in the order of their `seq`, into one open file at a time
//!   (same version, same partition); a row that needs another file closes it. So the files of a
//!   table have disjoint ranges of `seq`, and within a file rows ascend. A mark whose number was
//!   reserved earlier is alone in its file.
//! - *Whole*: [`Files::seal`] returns only after every part of every file is sent and the store
//!   called it durable; each row written since the last seal is in exactly one of its entries.
//! - *Invisible*: nothing here shows a file; that is the commit's part, after it has decided.
//! - *Bounded*: gathered batches, open row groups, part buffers and parts under way count against
//!   one budget. Over it, the file that holds most ends its row group, or is closed where that
//!   gives nothing back; then `write` waits for uploads.
//!
//! After an error only [`Files::discard`] may follow: rows may be missing from what is staged.
//! Futures of these methods must be awaited to their end; a dropped one counts as an error.

mod budget;
mod column_stats;
mod cut;
mod encoder;
mod encodings;
mod large_values;
mod open_file;
mod part_buffer;
mod shape;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use lakeward_core::stats::LakeStats;
use lakeward_core::{
    ByteSize, ChangeBatch, ChangeMeta, Error, ErrorKind, LostFile, Op, OriginRun, Result, TableId, TableMark,
    TableSchema,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::budget::Budget;
use self::encoder::Begin;
use self::open_file::{OpenFile, Slot};
use self::shape::Shape;
use self::upload::UploadHandle;
use crate::commit::record::FileEntry;
use crate::config::FileOptions;
use crate::layout::{self, Layout};
use crate::objects::{OpenUpload, Store};

/// Failpoints of staging.
pub const FAILPOINTS: &[&str] = &["lake.stage.begin", "lake.stage.part", "lake.stage.sealed"];

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
    /// On a repair, the ranges of `seq` to keep, ascending, by table.
    lost: Option<BTreeMap<TableId, Vec<(i64, i64)>>>,
}

/// One table's way into files.
struct Lane {
    shape: Arc<Shape>,
    open: Option<OpenFile>,
    last_seq: Option<i64>,
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

    /// Takes a table version; called before its first batch. A column whose name is taken is
    /// refused (`TableChanged`, with the config that solves it).
    pub async fn schema(&mut self, schema: Arc<TableSchema>) -> Result<()> {
        let names = schema.columns.iter().map(|column| column.name.as_str());
        if let Some(collision) = self.layout.collisions(names, &self.options.columns).into_iter().next() {
            let message = format!("the column has the name of {}", collision.with);
            return Err(Error::new(ErrorKind::TableChanged, message)
                .of_table(&schema.table)
                .at("column", collision.column)
                .remedy(collision.remedy));
        }
        self.lane(&schema, None);
        Ok(())
    }

    /// Takes change events of a table version that [`Files::schema`] has seen.
    pub async fn write(&mut self, batch: ChangeBatch) -> Result<()> {
        let before = batch.before.is_some();
        let lane = self.lane(&batch.schema, Some(before));
        cut::checked(&batch, lane.last_seq)?;
        let Some(last) = batch.meta.seq.last() else { return Ok(()) };
        lane.last_seq = Some(*last);
        self.route(batch).await?;
        self.stay_in_budget().await
    }

    /// Takes a mark: a row whose table columns are null. Its number may have been reserved before
    /// rows that were written already; then it is alone in its file.
    pub async fn mark(&mut self, mark: TableMark) -> Result<()> {
        let lane = self.lane(&mark.schema, None);
        let reserved = lane.last_seq.is_some_and(|last| mark.seq <= last);
        lane.last_seq = lane.last_seq.max(Some(mark.seq));
        let before = lane.shape.before;
        let table = mark.table().clone();
        if reserved {
            self.close_table(&table)?;
        }
        self.route(marked(mark, before)?).await?;
        if reserved {
            self.close_table(&table)?;
        }
        self.stay_in_budget().await
    }

    /// Closes every open file, waits until all are sealed, and returns those since the last seal,
    /// by table and `seq`. They are staged and invisible.
    pub async fn seal(&mut self) -> Result<Vec<FileEntry>> {
        let tables: Vec<TableId> = self.tables.keys().cloned().collect();
        for table in &tables {
            self.close_table(table)?;
        }
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
            if let Some(file) = lane.open.take() {
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
            let mut ranges: BTreeMap<TableId, Vec<(i64, i64)>> = BTreeMap::new();
            for file in files {
                ranges.entry(file.table.clone()).or_default().push(file.seq);
            }
            ranges.values_mut().for_each(|ranges| ranges.sort_unstable());
            ranges
        });
        // The range is read again: its numbers come a second time, and lower ones than before may.
        self.tables.values_mut().for_each(|lane| lane.last_seq = None);
    }

    /// The table's lane with the shape of this version; `before` where it is known.
    fn lane(&mut self, schema: &Arc<TableSchema>, before: Option<bool>) -> &mut Lane {
        let shape = |before| Arc::new(Shape::new(Arc::clone(schema), before, &self.options.columns));
        let lane = self.tables.entry(schema.table.clone()).or_insert_with(|| Lane {
            shape: shape(before.unwrap_or(false)),
            open: None,
            last_seq: None,
        });
        let before = before.unwrap_or(lane.shape.before);
        if lane.shape.table.version != schema.version || lane.shape.before != before {
            lane.shape = shape(before);
        }
        lane
    }

    /// Puts the rows of a batch of the lane's shape into the files they belong to.
    async fn route(&mut self, batch: ChangeBatch) -> Result<()> {
        let table = batch.schema.table.clone();
        let no_range = Vec::new();
        let lost = self.lost.as_ref().map(|lost| lost.get(&table).unwrap_or(&no_range).as_slice());
        let cuts = cut::cuts(&batch.meta, self.layout, lost);
        let (bytes, rows) = (batch.bytes(), batch.rows.num_rows().max(1));
        let whole = cuts.first().is_some_and(|cut| cut.rows == (0..rows));
        let mut batch = Some(batch);
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
            if file.size() >= self.options.file_size {
                self.close_table(&table)?;
            }
        }
        self.reap()
    }

    /// The table's open file for the rows of `cut`.
    fn file(&mut self, table: &TableId, cut: &cut::Cut, first_seq: i64) -> Result<&mut OpenFile> {
        let unknown = || Error::new(ErrorKind::Bug, "rows of a table without a version").at("table", table);
        let lane = self.tables.get(table).ok_or_else(unknown)?;
        let slot = Slot {
            version: lane.shape.table.version,
            before: lane.shape.before,
            partition: cut.partition,
            lost: cut.lost,
        };
        if lane.open.as_ref().is_none_or(|file| file.slot != slot) {
            self.close_table(table)?;
            let file = self.begin(table, slot, first_seq)?;
            self.tables.get_mut(table).ok_or_else(unknown)?.open = Some(file);
            self.show_open();
        }
        self.tables.get_mut(table).and_then(|lane| lane.open.as_mut()).ok_or_else(unknown)
    }

    fn begin(&mut self, table: &TableId, slot: Slot, first_seq: i64) -> Result<OpenFile> {
        let unknown = || Error::new(ErrorKind::Bug, "rows of a table without a version").at("table", table);
        let shape = Arc::clone(&self.tables.get(table).ok_or_else(unknown)?.shape);
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

    /// Closes the table's open file, if there is one, on a task of its own.
    fn close_table(&mut self, table: &TableId) -> Result<()> {
        if let Some(file) = self.tables.get_mut(table).and_then(|lane| lane.open.take()) {
            self.closing.spawn(file.close());
            self.show_open();
        }
        self.reap()
    }

    /// Takes up files that were closed meanwhile.
    fn reap(&mut self) -> Result<()> {
        while let Some(closed) = self.closing.try_join_next() {
            self.sealed.push(closed_file(closed)?);
        }
        Ok(())
    }

    fn show_open(&self) {
        let open = self.tables.values().filter(|lane| lane.open.is_some()).count();
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
            for file in self.tables.values_mut().filter_map(|lane| lane.open.as_mut()) {
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
            let largest = self
                .tables
                .iter_mut()
                .filter_map(|(table, lane)| lane.open.as_mut().map(|file| (table, file)))
                .max_by_key(|(_, file)| file.memory());
            match largest {
                Some((_, file)) if file.has_open_rows() => file.end_row_group().await?,
                Some((table, _)) => {
                    let table = table.clone();
                    self.close_table(&table)?;
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

fn closed_file(closed: Result<Result<FileEntry>, tokio::task::JoinError>) -> Result<FileEntry> {
    closed.map_err(|error| Error::new(ErrorKind::Bug, "closing a file ended early").caused_by(error))?
}

/// A mark as a batch of one row.
fn marked(mark: TableMark, before: bool) -> Result<ChangeBatch> {
    let columns =
        mark.schema.arrow.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let rows = RecordBatch::try_new(Arc::clone(&mark.schema.arrow), columns).map_err(|error| {
        Error::new(ErrorKind::Bug, "a mark does not fit its table version").caused_by(error)
    })?;
    let meta = ChangeMeta {
        op: vec![Op::Truncate],
        seq: vec![mark.seq],
        origins: vec![OriginRun { rows: 1, origin: mark.origin }],
    };
    Ok(ChangeBatch { schema: mark.schema, before: before.then(|| rows.clone()), rows, meta })
}
