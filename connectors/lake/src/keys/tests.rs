//! Living keys over a lake in a folder, and over the S3 server in `objects/s3/tests.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use lakeward_core::{
    ByteSize, ChangeBatch, ChangeMeta, Checkpoint, Column, ColumnType, ErrorKind, KeyClass, KeysAsked,
    LivingKeys, MarkReason, Op, Origin, OriginRun, Result, Sink, Snapshot, SnapshotState, TableId, TableMark,
    TableSchema, TypeOptions,
};

use crate::config::Lake;
use crate::objects::{Store, Stretch};
use crate::sink::LakeSink;
use crate::sink::tests::{Broken, checkpoint, lake, options};

fn int(width: u8) -> ColumnType {
    ColumnType::Int { width, unsigned: false, display_one: false }
}

fn text() -> ColumnType {
    ColumnType::Text { collation: 255 }
}

/// A version of `db.t`; columns with their numbers.
fn version(number: u32, columns: &[(u32, &str, ColumnType)], key: &[usize]) -> Arc<TableSchema> {
    let column =
        |(id, name, ty): &(u32, &str, ColumnType)| Column { id: *id, ..Column::new(*name, ty.clone(), true) };
    let columns = columns.iter().map(column).collect();
    Arc::new(TableSchema::new(TableId::new("db", "t"), number, columns, key.to_vec(), TypeOptions::default()))
}

fn first() -> Arc<TableSchema> {
    version(1, &[(1, "id", int(4)), (2, "v", text())], &[0])
}

/// Events of one version: op, number, columns.
fn events(schema: &Arc<TableSchema>, ops: &[(Op, i64)], columns: Vec<ArrayRef>) -> ChangeBatch {
    let rows = RecordBatch::try_new(Arc::clone(&schema.arrow), columns).unwrap();
    let origin = |seq: i64| Origin {
        commit_us: seq % 2 * 3_600_000_000,
        file: "b.1".into(),
        offset: 4,
        ..Origin::default()
    };
    let meta = ChangeMeta {
        op: ops.iter().map(|(op, _)| *op).collect(),
        seq: ops.iter().map(|(_, seq)| *seq).collect(),
        topic_partition: None,
        origins: ops
            .iter()
            .map(|(_, seq)| OriginRun { rows: 1, first_row: 0, origin: origin(*seq) })
            .collect(),
    };
    ChangeBatch { schema: Arc::clone(schema), rows, before: None, meta }
}

/// Events of the first version, by key.
fn changes(ops: &[(Op, i64, i32)]) -> ChangeBatch {
    let (mut kinds, mut keys) = (Vec::new(), Vec::new());
    for (op, seq, key) in ops {
        kinds.push((*op, *seq));
        keys.push(*key);
    }
    let values = StringArray::from_iter_values(keys.iter().map(|key| format!("value of {key}")));
    events(&first(), &kinds, vec![Arc::new(Int32Array::from(keys)), Arc::new(values)])
}

fn mark(schema: &Arc<TableSchema>, seq: i64, reason: MarkReason) -> TableMark {
    let origin = Origin { commit_us: 0, file: "b.1".into(), offset: 4, ..Origin::default() };
    TableMark { schema: Arc::clone(schema), seq, origin, reason }
}

/// A checkpoint at which the table has a version.
fn at(next_seq: i64, version: u32, snapshot: SnapshotState) -> Checkpoint {
    let mut checkpoint = checkpoint(next_seq);
    let state = Arc::make_mut(&mut checkpoint.tables).get_mut(&TableId::new("db", "t")).unwrap();
    (state.schema_version, state.snapshot) = (version, snapshot);
    checkpoint
}

const AT_REST: SnapshotState = SnapshotState::NotAsked;

async fn told<S: Store>(
    sink: &LakeSink<S>,
    schema: &Arc<TableSchema>,
    below: i64,
) -> Result<Vec<LivingKeys>> {
    let (mut class, mut told) = (Some(KeyClass::default()), Vec::new());
    while let Some(asked) = class {
        let asked = KeysAsked { id: 0, schema: Arc::clone(schema), class: asked, below };
        let keys = sink.keys(asked).await?;
        class = keys.next;
        told.push(keys);
    }
    Ok(told)
}

/// The keys of one whole number that live.
async fn living<S: Store>(sink: &LakeSink<S>, schema: &Arc<TableSchema>) -> Vec<i64> {
    let told = told(sink, schema, i64::MAX).await.unwrap();
    let mut keys = Vec::new();
    for batch in told.iter().flat_map(|told| &told.keys) {
        assert_eq!(batch.schema().fields().len(), 1);
        assert_eq!(batch.column(0).data_type(), schema.arrow.field(schema.key[0]).data_type());
        let column = arrow::compute::cast(batch.column(0), &DataType::Int64).unwrap();
        keys.extend(column.as_primitive::<Int64Type>().values());
    }
    keys.sort_unstable();
    keys
}

async fn opened(lake: &Lake, writer: u128) -> LakeSink {
    let mut sink = LakeSink::new(options(lake.clone(), writer)).await.unwrap();
    if sink.open().await.unwrap().resume.checkpoint.is_none() {
        sink.commit(checkpoint(1)).await.unwrap();
    }
    sink.schema(first()).await.unwrap();
    sink
}

fn place() -> (tempfile::TempDir, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&format!("file://{}/lake", folder.path().display()));
    (folder, lake)
}

/// The newest event of each key decides, and marks void what is below them; over any store.
pub(crate) async fn the_newest_event_decides<S: Store>(store: Arc<S>, lake: Lake) {
    let mut sink = LakeSink::over(store, options(lake, 1));
    sink.open().await.unwrap();
    sink.commit(checkpoint(1)).await.unwrap();
    sink.schema(first()).await.unwrap();
    assert_eq!(living(&sink, &first()).await, Vec::<i64>::new());
    use Op::{Create, Delete, Read, Update};
    sink.write(changes(&[(Create, 1, 1), (Create, 2, 2), (Create, 3, 3), (Update, 4, 2)])).await.unwrap();
    sink.commit(at(5, 1, AT_REST)).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [1, 2, 3]);
    sink.write(changes(&[(Delete, 5, 2), (Delete, 6, 3), (Create, 7, 4), (Read, 8, 3)])).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [1, 2, 3], "what is not committed does not count");
    sink.commit(at(9, 1, AT_REST)).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [1, 3, 4]);
    let below = told(&sink, &first(), 7).await.unwrap();
    assert_eq!(below[0].keys[0].num_rows(), 1, "1 alone has no event from 7 on");
    sink.mark(mark(&first(), 9, MarkReason::Truncate)).await.unwrap();
    sink.write(changes(&[(Create, 10, 3)])).await.unwrap();
    sink.commit(at(11, 1, AT_REST)).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [3]);
}

/// Stretches of an object, in any store.
pub(crate) async fn stretches_are_what_was_put<S: Store>(store: &S) {
    let body: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    store.put("some/object", body.clone().into()).await.unwrap();
    let from = |offset, bytes| Stretch::From { offset, bytes };
    for (stretch, range) in [
        (Stretch::Last(10), 99_990..100_000),
        (Stretch::Last(200_000), 0..100_000),
        (from(0, 1), 0..1),
        (from(70_000, 500), 70_000..70_500),
        (from(99_999, 500), 99_999..100_000),
        (from(0, 100_000), 0..100_000),
    ] {
        let (read, size) = store.get_stretch("some/object", stretch).await.unwrap().unwrap();
        assert!(read == body[range], "{stretch:?} gave {} bytes", read.len());
        assert_eq!(size, 100_000);
    }
    assert_eq!(store.get_stretch("some/nothing", Stretch::Last(10)).await.unwrap(), None);
}

#[tokio::test]
async fn the_newest_event_decides_in_a_folder() {
    let (folder, lake) = place();
    let root = folder.path().join("lake");
    let store = crate::objects::folder::Folder::new(root, uuid::Uuid::from_u128(9));
    stretches_are_what_was_put(&store).await;
    the_newest_event_decides(Arc::new(store), lake).await;
}

#[tokio::test]
async fn the_mark_of_a_re_read_voids_by_its_reserved_number() {
    let (_folder, lake) = place();
    let mut sink = opened(&lake, 1).await;
    use Op::{Create, Read};
    sink.write(changes(&[(Create, 1, 1), (Create, 2, 2), (Read, 4, 2), (Create, 5, 9)])).await.unwrap();
    let open = SnapshotState::Open(Snapshot { mark: Some(3), ..Snapshot::default() });
    sink.commit(at(6, 1, open)).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [1, 2, 9], "the mark is not written yet");
    sink.mark(mark(&first(), 3, MarkReason::Reread)).await.unwrap();
    sink.commit(at(6, 1, SnapshotState::Done)).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [2, 9]);
    // One that is given up leaves a number that no event bears.
    sink.write(changes(&[(Create, 7, 7)])).await.unwrap();
    let given_up = Checkpoint { retired: 1, ..at(8, 1, SnapshotState::Done) };
    sink.commit(given_up).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [2, 7, 9]);
}

#[tokio::test]
async fn keys_are_told_over_versions_by_the_numbers_of_their_columns() {
    let (_folder, lake) = place();
    let mut sink = opened(&lake, 1).await;
    sink.write(changes(&[(Op::Create, 1, 1), (Op::Create, 2, 2), (Op::Create, 3, 3)])).await.unwrap();
    // The key is widened and renamed; another column takes its name.
    let second = version(2, &[(3, "id", text()), (1, "number", int(8)), (2, "v", text())], &[1]);
    sink.schema(Arc::clone(&second)).await.unwrap();
    let big: i64 = 1 << 40;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["x", "y"])),
        Arc::new(Int64Array::from(vec![2, big])),
        Arc::new(StringArray::from(vec![None, Some("w")])),
    ];
    sink.write(events(&second, &[(Op::Delete, 4), (Op::Create, 5)], columns)).await.unwrap();
    sink.commit(at(6, 2, AT_REST)).await.unwrap();
    assert_eq!(living(&sink, &second).await, [1, 3, big]);
    // Other processes, and two columns.
    sink.close().await.unwrap();
    let sink = opened(&lake, 2).await;
    assert_eq!(living(&sink, &second).await, [1, 3, big]);
    let both = version(
        3,
        &second.columns.iter().map(|c| (c.id, c.name.as_str(), c.ty.clone())).collect::<Vec<_>>(),
        &[2, 1],
    );
    let told = told(&sink, &both, i64::MAX).await.unwrap();
    let keys = &told[0].keys[0];
    assert_eq!((keys.schema().field(0).name().as_str(), keys.num_rows()), ("v", 4));
}

#[tokio::test]
async fn events_that_lack_the_key_are_an_error_until_a_mark_voids_them() {
    let (_folder, lake) = place();
    let mut sink = opened(&lake, 1).await;
    sink.write(changes(&[(Op::Create, 1, 1)])).await.unwrap();
    let second = version(2, &[(1, "id", int(4)), (2, "v", text()), (3, "k", int(4))], &[2]);
    sink.schema(Arc::clone(&second)).await.unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1])),
        Arc::new(StringArray::from(vec!["x"])),
        Arc::new(Int32Array::from(vec![70])),
    ];
    sink.write(events(&second, &[(Op::Create, 2)], columns.clone())).await.unwrap();
    sink.commit(at(3, 2, AT_REST)).await.unwrap();
    let error = told(&sink, &second, i64::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableChanged);
    assert!(error.to_string().contains("lakeward snapshot db.t"), "{error}");
    sink.mark(mark(&second, 3, MarkReason::Truncate)).await.unwrap();
    sink.write(events(&second, &[(Op::Create, 4)], columns)).await.unwrap();
    sink.commit(at(5, 2, AT_REST)).await.unwrap();
    assert_eq!(living(&sink, &second).await, [70]);
    // As a column of another kind it is another key.
    let third = version(3, &[(1, "id", int(4)), (2, "v", text()), (3, "k", text())], &[2]);
    assert_eq!(told(&sink, &third, i64::MAX).await.unwrap_err().kind(), ErrorKind::TableChanged);
}

#[tokio::test]
async fn files_of_a_repair_count_and_lost_ones_do_not() {
    let (folder, lake) = place();
    let inner = crate::objects::folder::Folder::new(folder.path().join("lake"), uuid::Uuid::from_u128(9));
    let store = Broken::new(inner);
    let mut sink = LakeSink::over(Arc::clone(&store), options(lake.clone(), 1));
    sink.open().await.unwrap();
    sink.commit(checkpoint(1)).await.unwrap();
    sink.schema(first()).await.unwrap();
    let rows = [(Op::Create, 1, 1), (Op::Create, 2, 2), (Op::Create, 3, 3), (Op::Delete, 4, 1)];
    sink.write(changes(&rows)).await.unwrap();
    store.shows_fail(true);
    sink.commit(at(5, 1, AT_REST)).await.unwrap_err();
    sink.close().await.unwrap();
    let open = store.open_uploads("shop").await.unwrap();
    assert_eq!(open.len(), 2);
    store.abort(&open[0]).await.unwrap();
    store.shows_fail(false);
    let mut sink = LakeSink::over(Arc::clone(&store), options(lake, 2));
    let lost = sink.open().await.unwrap().lost.remove(0);
    sink.repair(lost.clone()).await.unwrap();
    sink.schema(first()).await.unwrap();
    sink.write(changes(&rows)).await.unwrap();
    sink.commit(lost.to).await.unwrap();
    assert_eq!(living(&sink, &first()).await, [2, 3]);
}

/// Changes at random over many commits, told in several classes, against a map.
#[tokio::test]
async fn a_table_that_does_not_fit_is_told_in_classes_and_each_key_once() {
    let seed = 20_261_121_u64;
    println!("seed {seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (_folder, lake) = place();
    let mut options = options(lake, 1);
    // Lent: a quarter; held of a class: half of that.
    options.memory = ByteSize::mib(4);
    let mut sink = LakeSink::new(options).await.unwrap();
    sink.open().await.unwrap();
    sink.commit(checkpoint(1)).await.unwrap();
    sink.schema(first()).await.unwrap();
    let (mut expected, mut next): (BTreeMap<i32, bool>, i64) = (BTreeMap::new(), 1);
    for commit in 0..6 {
        for _ in 0..4 {
            let mut rows = Vec::new();
            for _ in 0..5_000 {
                let key = i32::try_from(random(30_000)).unwrap();
                let op = [Op::Create, Op::Update, Op::Delete][usize::try_from(random(3)).unwrap()];
                expected.insert(key, op != Op::Delete);
                rows.push((op, next, key));
                next += 1;
            }
            sink.write(changes(&rows)).await.unwrap();
        }
        if commit == 2 {
            sink.mark(mark(&first(), next, MarkReason::Truncate)).await.unwrap();
            next += 1;
            expected.clear();
        }
        sink.commit(at(next, 1, AT_REST)).await.unwrap();
    }
    let told = told(&sink, &first(), i64::MAX).await.unwrap();
    assert!((3..12).contains(&told.len()), "{} classes", told.len());
    let mut found = BTreeSet::new();
    for batch in told.iter().flat_map(|told| &told.keys) {
        for key in batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().values() {
            assert!(found.insert(*key), "{key} is told twice");
        }
    }
    let expected: BTreeSet<i32> =
        expected.into_iter().filter(|(_, lives)| *lives).map(|(key, _)| key).collect();
    assert!(found == expected, "{} keys were told, {} live", found.len(), expected.len());
    // The same again, class by class.
    let again = self::told(&sink, &first(), i64::MAX).await.unwrap();
    for (told, again) in told.iter().zip(&again) {
        assert!(told.keys == again.keys && told.next == again.next);
    }
}
