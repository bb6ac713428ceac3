//! One table over several versions: what its readers see, and that the names of its columns last.

use arrow::array::{ArrayRef, Decimal128Array, Float32Array, Float64Array, Int32Array, StringArray};
use lakeward_test_support::python;
use serde_json::Value;

use super::*;
use crate::columns::IncompatibleChange;

fn int(width: u8) -> ColumnType {
    ColumnType::Int { width, unsigned: false, display_one: false }
}

fn version(number: u32, columns: &[(&str, ColumnType)]) -> Arc<TableSchema> {
    let column = |(name, ty): &(&str, ColumnType)| {
        // `count` is what `n` is called later.
        let numbers = [("id", 1), ("n", 2), ("count", 2), ("price", 3), ("rate", 4), ("x", 5), ("note", 6)];
        let id = numbers.iter().find(|(known, _)| known == name).map_or(7, |(_, number)| *number);
        Column { id, ..Column::new(*name, ty.clone(), true) }
    };
    let columns = columns.iter().map(column).collect();
    Arc::new(TableSchema::new(TableId::new("db", "t"), number, columns, vec![0], TypeOptions::default()))
}

/// One row of a version, numbered `seq`, all of one hour.
fn row(schema: &Arc<TableSchema>, seq: i64, columns: Vec<ArrayRef>) -> ChangeBatch {
    let rows = RecordBatch::try_new(Arc::clone(&schema.arrow), columns).unwrap();
    let origin = Origin { commit_us: 0, file: "b.1".into(), offset: 4, ..Origin::default() };
    let meta = ChangeMeta {
        op: vec![Op::Create],
        seq: vec![seq],
        topic_partition: None,
        origins: vec![OriginRun { rows: 1, first_row: 0, origin }],
    };
    ChangeBatch { schema: Arc::clone(schema), rows, before: None, meta }
}

fn at(next_seq: i64, version: u32) -> Checkpoint {
    let mut checkpoint = checkpoint(next_seq);
    let tables = Arc::make_mut(&mut checkpoint.tables);
    tables.get_mut(&TableId::new("db", "t")).unwrap().schema_version = version;
    checkpoint
}

fn decimal(value: i128, digits: u8) -> ArrayRef {
    Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(digits, 2).unwrap())
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

/// Three versions: everything widens, then one column becomes text and one is renamed.
fn versions() -> Vec<(Arc<TableSchema>, Vec<ArrayRef>)> {
    let dec = |precision| ColumnType::Decimal { precision, scale: 2 };
    let string = ColumnType::Text { collation: 255 };
    let first =
        [("id", int(4)), ("n", int(1)), ("price", dec(9)), ("rate", ColumnType::Float), ("x", int(4))];
    let second =
        [("id", int(8)), ("n", int(4)), ("price", dec(30)), ("rate", ColumnType::Double), ("x", int(4))];
    let third = [("id", int(8)), ("x", string.clone()), ("count", int(4)), ("note", string)];
    vec![
        (
            version(1, &first),
            vec![
                Arc::new(Int32Array::from(vec![1])),
                Arc::new(arrow::array::Int8Array::from(vec![-7])),
                decimal(-1_234_567, 9),
                Arc::new(Float32Array::from(vec![1.5])),
                Arc::new(Int32Array::from(vec![10])),
            ],
        ),
        (
            version(2, &second),
            vec![
                Arc::new(Int64Array::from(vec![1 << 40])),
                Arc::new(Int32Array::from(vec![70_000])),
                decimal(10_i128.pow(29), 30),
                Arc::new(Float64Array::from(vec![0.1])),
                Arc::new(Int32Array::from(vec![20])),
            ],
        ),
        (
            version(3, &third),
            vec![
                Arc::new(Int64Array::from(vec![3])),
                text("thirty"),
                Arc::new(Int32Array::from(vec![30])),
                text("new"),
            ],
        ),
    ]
}

async fn written(place: &Place) {
    let mut next = 1;
    for (number, (schema, columns)) in versions().into_iter().enumerate() {
        // Each by another process: names must come back from the lake.
        let mut sink = place.sink(number as u128 + 1).await;
        sink.open().await.unwrap();
        if next == 1 {
            sink.commit(checkpoint(1)).await.unwrap();
        }
        sink.schema(Arc::clone(&schema)).await.unwrap();
        sink.write(row(&schema, next, columns)).await.unwrap();
        next += 1;
        sink.commit(at(next, schema.version)).await.unwrap();
        sink.close().await.unwrap();
    }
}

#[tokio::test]
async fn readers_open_all_versions_as_one_table() {
    let place = place();
    written(&place).await;
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sink/tests/versions.py");
    let printed = python(&script, &[place.root.join("db/t").to_str().unwrap()], "");
    let expected = "\
        id=1 n=-7 price=-12345.67 rate=1.5 x=10 x_v3=None count=None note=None\n\
        id=1099511627776 n=70000 price=1000000000000000000000000000.00 rate=0.1 x=20 x_v3=None count=None \
        note=None\n\
        id=3 n=None price=None rate=None x=None x_v3=thirty count=30 note=new\n";
    for reader in ["duckdb", "pyarrow"] {
        let of_reader: String = printed
            .lines()
            .filter_map(|line| line.strip_prefix(reader)?.strip_prefix(' '))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(of_reader, expected, "{reader}");
    }
}

#[tokio::test]
async fn what_a_version_is_called_in_the_lake_stands_beside_it() {
    let place = place();
    written(&place).await;
    let read = |number: u32| -> Value {
        let path = place.root.join(format!("_lakeward/shop/schemas/db/t/{number}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    assert_eq!(read(1)["lake_names"], serde_json::json!(["id", "n", "price", "rate", "x"]));
    let third = read(3);
    assert_eq!(third["lake_names"], serde_json::json!(["id", "x_v3", "count", "note"]));
    assert_eq!(third["renamed_from"], serde_json::json!({ "count": "n" }));
    assert_eq!(read(2).get("renamed_from"), None);
    let columns = third["lake_columns"].as_array().unwrap();
    let shown: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {} {}", column["name"], column["source"], column["type"]))
        .collect();
    assert_eq!(
        shown.join(", ").replace('"', ""),
        "id id int64, n n int32, price price decimal(30,2), rate rate float64, x x int32, x_v3 x text, \
         count count int32, note note text"
    );
    // The record that decided it says the same.
    let store = place.store();
    let log = Log::new(Arc::new(store), "shop");
    let record = log.record(log.end().await.unwrap()).await.unwrap().unwrap();
    let crate::commit::record::Entry::Commit { schemas, files, .. } = record.entry else { panic!() };
    assert_eq!(serde_json::to_value(&schemas[0]).unwrap(), third);
    let names: Vec<_> = files[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "x_v3", "count", "note"]);
}

#[tokio::test]
async fn an_incompatible_change_stops_where_that_is_asked() {
    let mut place = place();
    place.lake.incompatible_change = IncompatibleChange::Stop;
    let versions = versions();
    let mut sink = place.sink(1).await;
    sink.open().await.unwrap();
    sink.commit(checkpoint(1)).await.unwrap();
    sink.schema(Arc::clone(&versions[1].0)).await.unwrap();
    let error = sink.schema(Arc::clone(&versions[2].0)).await.unwrap_err();
    assert_eq!((error.kind(), error.policy()), (ErrorKind::TableChanged, Policy::StopTable));
    // The other versions, and other tables, go on.
    sink.write(row(&versions[1].0, 1, versions[1].1.clone())).await.unwrap();
    sink.commit(at(2, 2)).await.unwrap();
}

#[tokio::test]
async fn a_version_is_never_given_to_two_structures() {
    let place = place();
    let mut sink = place.sink(1).await;
    sink.open().await.unwrap();
    sink.schema(version(1, &[("a", int(4))])).await.unwrap();
    let error = sink.schema(version(1, &[("b", int(4))])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}
