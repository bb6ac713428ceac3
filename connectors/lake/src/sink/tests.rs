//! The sink over real stores: a folder here, an S3 server in `objects/s3/tests.rs`.

mod counts;
pub(crate) mod requests;
pub(crate) mod shared;
mod versions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use lakeward_core::clock::SystemClock;
use lakeward_core::{
    BinlogPosition, ChangeMeta, Column, ColumnType, Level, MarkReason, Op, Origin, OriginRun, Position,
    Snapshot, SnapshotState, TableId, TableState, TableStatus, TypeOptions,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::config::LakeConfig;
use crate::objects::folder::Folder;
use crate::objects::{Part, Put, Shown, Stretch, Upload};
use crate::{preflight, status};

/// A store in which uploads cannot be shown, or conditional puts always succeed, while told so.
pub(crate) struct Broken<S> {
    pub(crate) inner: S,
    pub(crate) shows_fail: AtomicBool,
    pub(crate) puts_replace: AtomicBool,
}

impl<S: Store> Broken<S> {
    pub(crate) fn new(inner: S) -> Arc<Self> {
        Arc::new(Broken { inner, shows_fail: false.into(), puts_replace: false.into() })
    }

    pub(crate) fn shows_fail(&self, fail: bool) {
        self.shows_fail.store(fail, Ordering::SeqCst);
    }
}

impl<S: Store> Store for Broken<S> {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }
    async fn get_stretch(&self, key: &str, stretch: Stretch) -> Result<Option<(Bytes, u64)>> {
        self.inner.get_stretch(key, stretch).await
    }
    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        if self.puts_replace.load(Ordering::SeqCst) {
            return self.inner.put(key, body).await.map(|()| Put::Created);
        }
        self.inner.put_if_absent(key, body).await
    }
    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.inner.put(key, body).await
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.inner.remove(key).await
    }
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        self.inner.list(prefix, after, limit).await
    }
    async fn begin(&self, key: &str, lakeward_id: &str) -> Result<Upload> {
        self.inner.begin(key, lakeward_id).await
    }
    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        self.inner.part(upload, number, body).await
    }
    async fn sealed(&self, upload: &Upload, parts: &[Part]) -> Result<()> {
        self.inner.sealed(upload, parts).await
    }
    async fn show(&self, upload: &Upload, parts: &[Part]) -> Result<Shown> {
        if self.shows_fail.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::LakeUnreachable, "cut"));
        }
        self.inner.show(upload, parts).await
    }
    async fn abort(&self, upload: &OpenUpload) -> Result<()> {
        self.inner.abort(upload).await
    }
    async fn open_uploads(&self, pipeline: &str) -> Result<Vec<OpenUpload>> {
        self.inner.open_uploads(pipeline).await
    }
    fn part_size(&self) -> usize {
        self.inner.part_size()
    }
}

pub(crate) fn lake(url: &str) -> Lake {
    let config: LakeConfig = serde_json::from_str(&format!(r#"{{"url": "{url}"}}"#)).unwrap();
    config.checked().unwrap()
}

pub(crate) fn options(lake: Lake, writer: u128) -> SinkOptions {
    SinkOptions {
        lake,
        pipeline: "shop".into(),
        memory: ByteSize::mib(64),
        clock: Arc::new(SystemClock::start()),
        stats: Arc::default(),
        writer: Uuid::from_u128(writer),
        sharing: Sharing::Exclusive,
        derived_versions: false,
    }
}

fn schema() -> Arc<TableSchema> {
    let ty = ColumnType::Int { width: 8, unsigned: false, display_one: false };
    let columns = vec![Column::new("id", ty, false)];
    Arc::new(TableSchema::new(TableId::new("db", "t"), 1, columns, vec![0], TypeOptions::default()))
}

pub(crate) fn checkpoint(next_seq: i64) -> Checkpoint {
    let position = Position::Binlog(BinlogPosition {
        server_uuid: Uuid::from_u128(1),
        file: "binlog.000001".into(),
        offset: next_seq.unsigned_abs(),
        gtid_set: None,
    });
    let state = TableState {
        schema_version: u32::from(next_seq > 1),
        status: TableStatus::Active,
        snapshot: SnapshotState::NotAsked,
        deleted_by_key: false,
        dropped: false,
    };
    let tables = BTreeMap::from([(TableId::new("db", "t"), state)]);
    Checkpoint {
        position,
        next_seq,
        commit_us: Some(next_seq),
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::new(tables),
    }
}

/// Rows numbered `seqs`, each in the hour of its number.
fn batch(seqs: std::ops::Range<i64>) -> ChangeBatch {
    numbered(&seqs.collect::<Vec<_>>())
}

/// As [`batch`], with numbers in between that are of others.
fn numbered(seqs: &[i64]) -> ChangeBatch {
    let schema = schema();
    let ids = Int64Array::from(seqs.to_vec());
    let rows = RecordBatch::try_new(Arc::clone(&schema.arrow), vec![Arc::new(ids)]).unwrap();
    let origins = seqs.iter().map(|seq| OriginRun {
        rows: 1,
        first_row: 0,
        origin: Origin {
            commit_us: seq / 3 * 3_600_000_000,
            file: "b.1".into(),
            offset: 4,
            ..Origin::default()
        },
    });
    let meta = ChangeMeta {
        op: seqs.iter().map(|_| Op::Create).collect(),
        seq: seqs.to_vec(),
        topic_partition: None,
        origins: origins.collect(),
    };
    ChangeBatch { schema, rows, before: None, meta }
}

/// Writes and commits the rows from `from` up to `to`.
async fn commit<S: Store>(sink: &mut LakeSink<S>, from: i64, to: i64) -> Result<()> {
    sink.schema(schema()).await?;
    if from < to {
        sink.write(batch(from..to)).await?;
    }
    sink.commit(checkpoint(to)).await
}

/// The numbers of all visible rows.
pub(crate) async fn visible<S: Store>(store: &S) -> Vec<i64> {
    let mut seqs = Vec::new();
    for key in store.list("db/", "", 1000).await.unwrap() {
        let body = store.get(&key).await.unwrap().unwrap();
        for rows in ParquetRecordBatchReaderBuilder::try_new(body).unwrap().build().unwrap() {
            let rows = rows.unwrap();
            let column = rows.column_by_name("_seq").unwrap().as_primitive::<Int64Type>();
            seqs.extend(column.values());
        }
    }
    seqs.sort_unstable();
    seqs
}

struct Place {
    _folder: tempfile::TempDir,
    root: std::path::PathBuf,
    lake: Lake,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    let lake = lake(&format!("file://{}", root.display()));
    Place { _folder: folder, root, lake }
}

impl Place {
    fn store(&self) -> Folder {
        Folder::new(self.root.clone(), Uuid::from_u128(99))
    }

    async fn sink(&self, writer: u128) -> LakeSink {
        LakeSink::new(options(self.lake.clone(), writer)).await.unwrap()
    }
}

/// A sink that has claimed its pipeline; over any store.
pub(crate) async fn opened<S: Store>(store: Arc<S>, lake: Lake) -> LakeSink<S> {
    let mut sink = LakeSink::over(store, options(lake, 1));
    sink.open().await.unwrap();
    sink
}

/// Commits, resumes, and ends with what was committed; over any store.
pub(crate) async fn what_is_committed_is_there_after_a_restart<S: Store>(store: Arc<S>, lake: Lake) {
    let mut sink = LakeSink::over(Arc::clone(&store), options(lake.clone(), 1));
    let opened = sink.open().await.unwrap();
    assert!(opened.resume.checkpoint.is_none() && opened.lost.is_empty());
    commit(&mut sink, 1, 1).await.unwrap();
    commit(&mut sink, 1, 8).await.unwrap();
    sink.write(batch(8..9)).await.unwrap();
    assert_eq!(visible(&*store).await, (1..8).collect::<Vec<_>>());
    sink.close().await.unwrap();
    assert_eq!(store.open_uploads("shop").await.unwrap(), []);

    let mut sink = LakeSink::over(Arc::clone(&store), options(lake, 2));
    let resume = sink.open().await.unwrap().resume;
    assert_eq!(resume.checkpoint, Some(checkpoint(8)));
    assert_eq!(resume.schemas, [schema()]);
    commit(&mut sink, 8, 10).await.unwrap();
    assert_eq!(visible(&*store).await, (1..10).collect::<Vec<_>>());
    let status = status::read_from(store, "shop").await.unwrap().unwrap();
    assert_eq!((status.record, status.epoch, status.records_since_claim), (5, 4, 1));
    assert_eq!(status.checkpoint, Some(checkpoint(10)));
}

/// A decision whose uploads vanish before they are shown is read again; over any store.
pub(crate) async fn lost_uploads_are_repaired<S: Store>(store: Arc<Broken<S>>, lake: Lake) {
    let mut sink = LakeSink::over(Arc::clone(&store), options(lake.clone(), 1));
    sink.open().await.unwrap();
    commit(&mut sink, 1, 1).await.unwrap();
    commit(&mut sink, 1, 3).await.unwrap();
    store.shows_fail(true);
    let error = commit(&mut sink, 3, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LakeUnreachable);
    sink.close().await.unwrap();
    let open = store.open_uploads("shop").await.unwrap();
    assert_eq!(open.len(), 3, "closing drops nothing that is decided");
    // One file is shown, the others expire.
    for upload in &open[1..] {
        store.abort(upload).await.unwrap();
    }
    store.shows_fail(false);

    let mut sink = LakeSink::over(Arc::clone(&store), options(lake.clone(), 2));
    let opened = sink.open().await.unwrap();
    assert_eq!(opened.resume.checkpoint, Some(checkpoint(10)));
    let [lost] = opened.lost.as_slice() else { panic!("{:?}", opened.lost) };
    assert_eq!((&lost.from, &lost.to, lost.files.len()), (&checkpoint(3), &checkpoint(10), 2));
    assert!(visible(&*store).await.len() < 9);
    // Fewer rows than were lost are refused.
    sink.repair(lost.clone()).await.unwrap();
    sink.schema(schema()).await.unwrap();
    sink.write(batch(3..4)).await.unwrap();
    assert_eq!(sink.commit(lost.to.clone()).await.unwrap_err().kind(), ErrorKind::LostUpload);
    sink.close().await.unwrap();

    let mut sink = LakeSink::over(Arc::clone(&store), options(lake, 3));
    let lost = sink.open().await.unwrap().lost;
    sink.repair(lost[0].clone()).await.unwrap();
    sink.schema(schema()).await.unwrap();
    sink.write(batch(3..10)).await.unwrap();
    sink.commit(lost[0].to.clone()).await.unwrap();
    assert_eq!(visible(&*store).await, (1..10).collect::<Vec<_>>());
    commit(&mut sink, 10, 12).await.unwrap();
    assert_eq!(visible(&*store).await, (1..12).collect::<Vec<_>>());
}

/// A second process takes over; the first learns it, drops what it staged and doubles nothing.
pub(crate) async fn the_older_of_two_writers_is_fenced<S: Store>(store: Arc<S>, lake: Lake) {
    let mut old = LakeSink::over(Arc::clone(&store), options(lake.clone(), 1));
    old.open().await.unwrap();
    commit(&mut old, 1, 1).await.unwrap();
    old.schema(schema()).await.unwrap();
    old.write(batch(1..4)).await.unwrap();
    let mut new = LakeSink::over(Arc::clone(&store), options(lake, 2));
    new.open().await.unwrap();
    let error = old.commit(checkpoint(4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    old.close().await.unwrap();
    commit(&mut new, 1, 6).await.unwrap();
    assert_eq!(visible(&*store).await, (1..6).collect::<Vec<_>>());
    assert_eq!(store.open_uploads("shop").await.unwrap(), []);
}

#[tokio::test]
async fn what_is_committed_to_a_folder_is_there_after_a_restart() {
    let place = place();
    what_is_committed_is_there_after_a_restart(Arc::new(place.store()), place.lake.clone()).await;
}

#[tokio::test]
async fn lost_files_of_a_folder_are_repaired() {
    let place = place();
    lost_uploads_are_repaired(Broken::new(place.store()), place.lake.clone()).await;
}

#[tokio::test]
async fn the_older_of_two_writers_on_a_folder_is_fenced() {
    let place = place();
    the_older_of_two_writers_is_fenced(Arc::new(place.store()), place.lake.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_racing_on_a_folder_put_every_row_once() {
    const ROWS: i64 = 60;
    let place = Arc::new(place());
    let racers = (0..4_u128).map(|racer| {
        let place = Arc::clone(&place);
        tokio::spawn(async move {
            let mut fenced = 0;
            for attempt in 0.. {
                let mut sink = place.sink(racer * 1000 + attempt).await;
                let mut at = sink.open().await.unwrap().resume.checkpoint.map_or(0, |at| at.next_seq);
                loop {
                    let next = if at == 0 { 1 } else { (at + 2).min(ROWS) };
                    match commit(&mut sink, at.max(1), next).await {
                        Ok(()) if next == ROWS => return fenced,
                        Ok(()) => at = next,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                            fenced += 1;
                            sink.close().await.unwrap();
                            break;
                        }
                    }
                }
            }
            fenced
        })
    });
    let mut fenced = 0;
    for racer in racers.collect::<Vec<_>>() {
        fenced += racer.await.unwrap();
    }
    assert!(fenced > 0);
    assert_eq!(visible(&place.store()).await, (1..ROWS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_table_of_another_pipeline_is_refused() {
    let place = place();
    let mut first = place.sink(1).await;
    first.open().await.unwrap();
    commit(&mut first, 1, 1).await.unwrap();
    commit(&mut first, 1, 2).await.unwrap();
    let other = SinkOptions { pipeline: "other".into(), ..options(place.lake.clone(), 2) };
    let mut other = LakeSink::new(other).await.unwrap();
    other.open().await.unwrap();
    let error = other.schema(schema()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LakeOwned);
    assert!(error.to_string().contains("`shop`"), "{error}");
    assert_eq!(visible(&place.store()).await, [1]);
}

#[tokio::test]
async fn a_store_that_replaces_records_is_refused() {
    let place = place();
    let store = Broken::new(place.store());
    store.puts_replace.store(true, Ordering::SeqCst);
    let mut sink = LakeSink::over(store, options(place.lake.clone(), 1));
    assert_eq!(sink.open().await.unwrap_err().kind(), ErrorKind::LakeUnsuited);
}

#[tokio::test]
async fn a_damaged_or_missing_record_stops_the_pipeline_by_name() {
    let place = place();
    let mut sink = place.sink(1).await;
    sink.open().await.unwrap();
    commit(&mut sink, 1, 1).await.unwrap();
    commit(&mut sink, 1, 5).await.unwrap();
    commit(&mut sink, 5, 6).await.unwrap();
    let record = place.root.join(format!("_lakeward/shop/log/{:020}.json", 4));
    let whole = std::fs::read(&record).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    for damaged in [text.replace("\"next_seq\":6", "\"next_seq\":7"), text.replace("\"shop\"", "\"soap\"")] {
        assert_ne!(damaged, text);
        std::fs::write(&record, damaged).unwrap();
        let error = place.sink(2).await.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LakeCorrupt);
        assert!(error.to_string().contains("00000000000000000004.json"), "{error}");
    }
    std::fs::write(&record, &whole).unwrap();
    std::fs::remove_file(place.root.join(format!("_lakeward/shop/log/{:020}.json", 3))).unwrap();
    std::fs::remove_file(place.root.join("_lakeward/shop/log/_hint")).unwrap();
    let error = place.sink(2).await.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LakeCorrupt);
    assert!(error.to_string().contains("record 3 is missing"), "{error}");
}

#[tokio::test]
async fn a_wrong_hint_costs_nothing_but_requests() {
    let place = place();
    for writer in 1..8 {
        place.sink(writer).await.open().await.unwrap();
    }
    for hint in ["1", "6", "7", "8", "18446744073709551615", "no number"] {
        place.store().put("_lakeward/shop/log/_hint", hint.to_owned().into()).await.unwrap();
        assert_eq!(status::read_from(Arc::new(place.store()), "shop").await.unwrap().unwrap().record, 7);
    }
}

#[tokio::test]
async fn rows_that_did_not_come_are_noticed_before_anything_is_decided() {
    let place = place();
    let mut sink = place.sink(1).await;
    sink.open().await.unwrap();
    commit(&mut sink, 1, 1).await.unwrap();
    sink.schema(schema()).await.unwrap();
    sink.write(batch(1..4)).await.unwrap();
    let error = sink.commit(checkpoint(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    sink.close().await.unwrap();
    assert_eq!(place.store().open_uploads("shop").await.unwrap(), []);
    assert_eq!(status::read_from(Arc::new(place.store()), "shop").await.unwrap().unwrap().record, 2);
}

#[tokio::test]
async fn a_mark_whose_number_was_reserved_comes_in_a_later_commit() {
    let place = place();
    let with = |next_seq: i64, snapshot: SnapshotState, retired| {
        let mut at = checkpoint(next_seq);
        at.retired = retired;
        let tables = Arc::make_mut(&mut at.tables);
        tables.get_mut(&TableId::new("db", "t")).unwrap().snapshot = snapshot;
        at
    };
    let open = |mark| SnapshotState::Open(Snapshot { mark: Some(mark), ..Snapshot::default() });
    let mark = |seq| TableMark {
        schema: schema(),
        seq,
        origin: Origin { commit_us: 0, file: "b.1".into(), offset: 4, ..Origin::default() },
        reason: MarkReason::Reread,
    };
    let mut sink = place.sink(1).await;
    sink.open().await.unwrap();
    commit(&mut sink, 1, 1).await.unwrap();
    // 3 is reserved between two rows.
    sink.write(batch(1..3)).await.unwrap();
    sink.write(batch(4..6)).await.unwrap();
    sink.commit(with(6, open(3), 0)).await.unwrap();
    assert_eq!(visible(&place.store()).await, [1, 2, 4, 5]);
    // The mark, and a second reservation, which is given up.
    sink.write(batch(6..7)).await.unwrap();
    sink.mark(mark(3)).await.unwrap();
    sink.commit(with(8, open(7), 0)).await.unwrap();
    assert_eq!(visible(&place.store()).await, [1, 2, 3, 4, 5, 6]);
    sink.write(batch(8..9)).await.unwrap();
    sink.commit(with(9, SnapshotState::Done, 1)).await.unwrap();
    assert_eq!(visible(&place.store()).await, [1, 2, 3, 4, 5, 6, 8]);
    // A number that was not reserved is refused.
    sink.mark(mark(7)).await.unwrap();
    sink.write(batch(9..10)).await.unwrap();
    let error = sink.commit(with(11, SnapshotState::Done, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    sink.close().await.unwrap();
    assert_eq!(place.store().open_uploads("shop").await.unwrap(), []);
}

#[tokio::test]
async fn a_check_finds_a_good_folder_good_and_leaves_nothing_in_it() {
    let place = place();
    let SinkOptions { clock, stats, writer, .. } = options(place.lake.clone(), 1);
    let options = StoreOptions { clock, stats, writer, patience: PATIENCE };
    let findings = preflight::check(&place.lake, "shop", &[TableId::new("db", "t")], options).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:?}");
    assert_eq!(findings.len(), 4);
    assert_eq!(std::fs::read_dir(&place.root).unwrap().count(), 0);
}

#[tokio::test]
async fn a_lake_that_is_no_folder_is_refused() {
    let place = place();
    std::fs::write(&place.root, "a file").unwrap();
    let error = place.sink(1).await.open().await.unwrap_err();
    assert!(error.to_string().contains(place.root.to_str().unwrap()), "{error}");
}
