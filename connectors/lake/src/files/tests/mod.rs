//! Files end to end, into a store in memory.

mod every_type;
mod large;
mod order;
mod store;
mod topic_partitions;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use lakeward_core::stats::LakeStats;
use lakeward_core::{
    ByteSize, ChangeBatch, ChangeMeta, Column, ColumnType, ErrorKind, LostFile, MarkReason, Op, Origin,
    OriginRun, TableId, TableMark, TableSchema, TypeOptions,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use self::store::MemoryStore;
use super::*;
use crate::config::{Compression, MetaColumns};
use crate::layout::{Partitioning, Preset};

const HOUR: i64 = 3_600_000_000;

fn small_options() -> FileOptions {
    FileOptions {
        file_size: 1 << 20,
        row_group_size: 1 << 20,
        compression: (Compression::Zstd, 1),
        columns: MetaColumns::default(),
    }
}

fn files(
    store: &Arc<MemoryStore>,
    options: FileOptions,
    memory: ByteSize,
) -> (Files<MemoryStore>, Arc<LakeStats>) {
    let stats = Arc::new(LakeStats::default());
    let options = FilesOptions {
        layout: Layout { preset: Preset::DtHr, partitioning: Partitioning::Hour },
        files: options,
        memory,
        pipeline: "p".into(),
        epoch: 3,
        stats: Arc::clone(&stats),
    };
    (Files::new(options, Arc::clone(store)), stats)
}

/// A table with a number and a text.
fn table(name: &str, version: u32) -> Arc<TableSchema> {
    let column = |name: &str, ty| Column::new(name, ty, true);
    let columns = vec![
        column("id", ColumnType::Int { width: 8, unsigned: false, display_one: false }),
        column("text", ColumnType::Text { collation: 255 }),
    ];
    Arc::new(TableSchema::new(TableId::new("shop", name), version, columns, vec![0], TypeOptions::default()))
}

fn origin(commit_us: i64) -> Origin {
    Origin {
        commit_us,
        gtid: Some("uuid:7".into()),
        file: "binlog.000001".into(),
        offset: 4711,
        ..Origin::default()
    }
}

/// Rows whose id is their `seq`, all of one commit time.
fn batch(schema: &Arc<TableSchema>, seq: std::ops::Range<i64>, commit_us: i64) -> ChangeBatch {
    let ids: Vec<i64> = seq.collect();
    let text = StringArray::from_iter_values(ids.iter().map(|id| format!("row number {id} of {}", id % 97)));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.clone())), Arc::new(text)];
    let rows = RecordBatch::try_new(schema.arrow.clone(), columns).unwrap();
    let meta = ChangeMeta {
        op: vec![Op::Create; ids.len()],
        topic_partition: None,
        origins: vec![OriginRun { rows: ids.len(), first_row: 0, origin: origin(commit_us) }],
        seq: ids,
    };
    ChangeBatch { schema: Arc::clone(schema), rows, before: None, meta }
}

fn mark(schema: &Arc<TableSchema>, seq: i64, reason: MarkReason) -> TableMark {
    TableMark { schema: Arc::clone(schema), seq, origin: origin(0), reason }
}

/// The version as the lake has it.
fn own(schema: &Arc<TableSchema>) -> Arc<LakeVersion> {
    Arc::new(LakeVersion::of_own_names(TableSchema::clone(schema)))
}

fn read(file: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn numbers(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let column = batch.column_by_name(column).unwrap();
    column.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

#[tokio::test]
async fn a_file_is_staged_in_full_parts_and_told_exactly() {
    let store = Arc::new(MemoryStore::default());
    let (mut files, stats) = files(&store, small_options(), ByteSize::mib(64));
    let orders = table("orders", 1);
    files.version(own(&orders));
    files.write(batch(&orders, 10..30_010, HOUR * 5 + 1)).await.unwrap();
    let entries = files.seal().await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.upload.key, "shop/orders/dt=1970-01-01/hr=05/p-00000000000000000010-3-1.parquet");
    assert_eq!(entry.upload.lakeward_id, "p/3/1");
    assert_eq!(
        (entry.rows, entry.seq, entry.commit_us),
        (30_000, (10, 30_009), (HOUR * 5 + 1, HOUR * 5 + 1))
    );
    assert_eq!((entry.partition.as_str(), entry.schema_version), ("dt=1970-01-01/hr=05", 1));
    let id = &entry.columns[0];
    assert_eq!((id.nulls, id.min.as_deref(), id.max.as_deref()), (0, Some("10"), Some("30009")));
    let file = store.sealed(&entry.upload.key);
    assert_eq!((entry.bytes, entry.parts.len()), (file.len() as u64, file.len().div_ceil(MemoryStore::PART)));
    assert!(entry.parts.len() > 1);
    assert_eq!(numbers(&read(&file), "_seq"), (10..30_010).collect::<Vec<_>>());
    assert_eq!((stats.memory_bytes.get(), stats.open_files.get()), (0, 0));
}

#[tokio::test]
async fn a_repair_keeps_rows_of_lost_files_only_and_apart() {
    let store = Arc::new(MemoryStore::default());
    let (mut files, _) = files(&store, small_options(), ByteSize::mib(64));
    let (orders, others) = (table("orders", 1), table("others", 1));
    let lost = [(50, 59), (10, 19)].map(|seq| LostFile {
        key: "k".into(),
        table: orders.table.clone(),
        seq,
        topic_partitions: std::collections::BTreeMap::new(),
        commit_us: (0, 0),
    });
    files.version(own(&orders));
    files.version(own(&others));
    files.keep_only(Some(&lost));
    files.write(batch(&orders, 1..100, 0)).await.unwrap();
    files.write(batch(&others, 100..200, 0)).await.unwrap();
    files.mark(mark(&orders, 200, MarkReason::Truncate)).await.unwrap();
    let ranges: Vec<_> = files.seal().await.unwrap().iter().map(|entry| (entry.seq, entry.rows)).collect();
    assert_eq!(ranges, [((10, 19), 10), ((50, 59), 10)]);
    files.keep_only(None);
    files.write(batch(&orders, 1..100, 0)).await.unwrap();
    assert_eq!(files.seal().await.unwrap()[0].rows, 99);
}

#[tokio::test]
async fn a_mark_is_a_row_of_nulls_and_a_reserved_one_is_alone() {
    let store = Arc::new(MemoryStore::default());
    let (mut files, _) = files(&store, small_options(), ByteSize::mib(64));
    let orders = table("orders", 2);
    files.version(own(&orders));
    files.write(batch(&orders, 1..5, 0)).await.unwrap();
    files.mark(mark(&orders, 5, MarkReason::Truncate)).await.unwrap();
    files.write(batch(&orders, 7..10, 0)).await.unwrap();
    files.mark(mark(&orders, 6, MarkReason::Reread)).await.unwrap();
    files.write(batch(&orders, 10..12, 0)).await.unwrap();
    let entries = files.seal().await.unwrap();
    let found: Vec<_> = entries.iter().map(|entry| (entry.seq, entry.rows)).collect();
    assert_eq!(found, [((1, 11), 10), ((6, 6), 1)]);
    let rows = read(&store.sealed(&entries[1].upload.key));
    assert_eq!((rows.num_rows(), rows.column(0).null_count(), rows.column(1).null_count()), (1, 1, 1));
    assert_eq!(entries[1].columns[0].nulls, 1);
    let op = rows.column_by_name("_op").unwrap().as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!(op.value(0), "t");

    // Each of the two files can be made again alone.
    for entry in &entries {
        let lost = LostFile {
            key: entry.upload.key.clone(),
            table: entry.table.clone(),
            seq: entry.seq,
            topic_partitions: entry.topic_partitions.clone(),
            commit_us: entry.commit_us,
        };
        files.keep_only(Some(&[lost]));
        files.write(batch(&orders, 1..5, 0)).await.unwrap();
        files.mark(mark(&orders, 5, MarkReason::Truncate)).await.unwrap();
        files.write(batch(&orders, 7..10, 0)).await.unwrap();
        files.mark(mark(&orders, 6, MarkReason::Reread)).await.unwrap();
        files.write(batch(&orders, 10..12, 0)).await.unwrap();
        let again = files.seal().await.unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].seq, again[0].rows), (entry.seq, entry.rows));
        let (again, before) = (store.sealed(&again[0].upload.key), store.sealed(&entry.upload.key));
        assert_eq!(numbers(&read(&again), "_seq"), numbers(&read(&before), "_seq"));
    }
}

#[tokio::test]
async fn a_mark_of_a_statement_keeps_to_the_order() {
    let store = Arc::new(MemoryStore::default());
    let (mut files, _) = files(&store, small_options(), ByteSize::mib(64));
    let orders = table("orders", 1);
    files.version(own(&orders));
    files.write(batch(&orders, 1..5, 0)).await.unwrap();
    let error = files.mark(mark(&orders, 3, MarkReason::Truncate)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[tokio::test]
async fn times_that_go_back_and_forth_at_the_turn_of_an_hour_make_two_files() {
    let store = Arc::new(MemoryStore::default());
    let (mut files, stats) = files(&store, small_options(), ByteSize::mib(64));
    let orders = table("orders", 1);
    files.version(own(&orders));
    for turn in 0..400 {
        let hour = 5 + i64::from(turn % 2 == 0);
        files.write(batch(&orders, turn * 10..turn * 10 + 10, hour * HOUR)).await.unwrap();
    }
    assert_eq!(stats.open_files.get(), 2);
    // A third hour ends the one that was written longest ago.
    files.write(batch(&orders, 4000..4001, 7 * HOUR)).await.unwrap();
    assert_eq!(stats.open_files.get(), 2);
    let entries = files.seal().await.unwrap();
    let found: Vec<_> = entries.iter().map(|entry| (entry.seq, entry.rows)).collect();
    assert_eq!(found, [((0, 3989), 2000), ((10, 3999), 2000), ((4000, 4000), 1)]);
    for entry in &entries {
        let seqs = numbers(&read(&store.sealed(&entry.upload.key)), "_seq");
        assert!(seqs.is_sorted_by(|a, b| a < b) && seqs.len() as u64 == entry.rows);
        assert_eq!(entry.commit_us.0, entry.commit_us.1);
    }
}

#[tokio::test]
async fn a_discard_leaves_nothing_behind() {
    let store = Arc::new(MemoryStore::default());
    let (mut files, stats) = files(&store, small_options(), ByteSize::mib(64));
    let orders = table("orders", 1);
    files.version(own(&orders));
    let mut seq = 0;
    while store.begun() < 2 {
        assert!(seq < 1_200_000, "nothing was staged");
        files.write(batch(&orders, seq..seq + 60_000, HOUR * (1 + seq / 60_000))).await.unwrap();
        seq += 60_000;
    }
    files.discard().await.unwrap();
    assert_eq!((store.left(), stats.memory_bytes.get(), stats.open_files.get()), (0, 0, 0));
}

#[tokio::test]
async fn the_error_of_a_broken_upload_is_the_one_that_is_told() {
    let store = Arc::new(MemoryStore::default());
    store.fail_part.store(true, Ordering::SeqCst);
    let (mut files, stats) = files(&store, small_options(), ByteSize::mib(64));
    let orders = table("orders", 1);
    files.version(own(&orders));
    let mut seq = 0;
    let error = loop {
        let wrote = files.write(batch(&orders, seq..seq + 10_000, HOUR * (seq / 50_000))).await;
        seq += 10_000;
        match wrote {
            Ok(()) if seq < 500_000 => {}
            Ok(()) => break files.seal().await.unwrap_err(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::LakeUnreachable, "{error}");
    // What is left of the broken uploads is for the next epoch to abort.
    drop(files.discard().await);
    drop(files);
    assert_eq!(stats.memory_bytes.get(), 0);
}

#[tokio::test]
async fn a_file_that_is_still_open_tells_why_its_upload_broke() {
    let store = Arc::new(MemoryStore::default());
    store.fail_part.store(true, Ordering::SeqCst);
    // No file is ever closed.
    let options = FileOptions { file_size: usize::MAX, row_group_size: 8 << 10, ..small_options() };
    let (mut files, _) = files(&store, options, ByteSize::mib(64));
    let orders = table("orders", 1);
    files.version(own(&orders));
    let mut seq = 0;
    let error = loop {
        assert!(seq < 1_000_000, "writing goes on although no part is taken");
        let wrote = files.write(batch(&orders, seq..seq + 10_000, HOUR)).await;
        seq += 10_000;
        match wrote {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::LakeUnreachable, "{error}");
    drop(files.discard().await);
}

#[tokio::test]
async fn files_that_are_dropped_send_nothing_more_and_hold_no_memory() {
    let store = Arc::new(MemoryStore::default());
    store.hold_parts.store(true, Ordering::SeqCst);
    let options = FileOptions { row_group_size: 8 << 10, ..small_options() };
    let (mut files, stats) = files(&store, options, ByteSize::mib(64));
    let orders = table("orders", 1);
    files.version(own(&orders));
    // One file that is open, and one that waits for its parts to be sealed.
    for hour in 1..6 {
        files.write(batch(&orders, hour * 50_000..(hour + 1) * 50_000, hour * HOUR)).await.unwrap();
    }
    while store.begun() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(stats.memory_bytes.get() > 0);
    drop(files);
    let given_back = async {
        while stats.memory_bytes.get() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, given_back).await.expect("what waits to be sent is let go");
    assert_eq!(store.left(), store.begun(), "what was begun is for the next epoch to abort");
}

#[tokio::test]
async fn many_tables_stay_within_the_budget() {
    let store = Arc::new(MemoryStore::default());
    let limit = ByteSize::mib(16);
    let (mut files, stats) = files(&store, small_options(), limit);
    let tables: Vec<_> = (0..60).map(|n| table(&format!("t{n}"), 1)).collect();
    tables.iter().for_each(|table| files.version(own(table)));
    let mut highest = 0;
    for turn in 0..20 {
        for (place, table) in tables.iter().enumerate() {
            let seq = (turn * 60 + place as i64) * 1000;
            files.write(batch(table, seq..seq + 1000, 0)).await.unwrap();
            highest = highest.max(stats.memory_bytes.get());
        }
    }
    assert!(highest <= i64::try_from(limit.0).unwrap(), "{highest} bytes were held");
    let entries = files.seal().await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.rows).sum::<u64>(), 60 * 20 * 1000);
    assert_eq!(stats.memory_bytes.get(), 0);
}

#[tokio::test]
async fn a_column_whose_name_is_taken_is_refused_with_the_fix() {
    let store = Arc::new(MemoryStore::default());
    let (files, _) = files(&store, small_options(), ByteSize::mib(64));
    let column = Column::new("_SEQ", ColumnType::Double, true);
    let options = TypeOptions::default();
    let schema = TableSchema::new(TableId::new("shop", "t"), 1, vec![column], vec![], options);
    let error = files.refuse_taken_names(&schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableChanged);
    assert!(error.remedy_text().unwrap().contains("lake.columns.seq"));
}
