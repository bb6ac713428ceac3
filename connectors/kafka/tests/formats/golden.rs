//! Records that Debezium 3.6.1 itself wrote (`testdata`: the tables, the changes; schemas that repeat are stored once;
//! `tests/support/servers/Debezium.java` writes such), of every column type with its extreme values: they are read, and
//! what we write of the same rows is compared with them field by field, schema part included. That the real connector
//! and the real `capture` agree is shown by `tests/e2e/capture/debezium`.

use std::sync::Arc;

use arrow::array::Array;
use lakeward_core::{ChangeBatch, Column, ColumnType, Op, TableId, TableSchema, TypeOptions};
use lakeward_kafka::debezium::{Pushed, Reader};
use lakeward_kafka::format::{BinaryMode, DecimalMode, Encoded, FormatOptions, TimeMode, UnsignedMode};
use serde_json::{Value, json};

use super::encoder;

const DEFAULT: &str = include_str!("../../testdata/debezium-3.6.1-default.json");
const MODES: &str = include_str!("../../testdata/debezium-3.6.1-modes.json");

struct Record {
    topic: String,
    key: Option<Value>,
    value: Option<Value>,
}

/// The records of a file, with their schema parts.
fn records(file: &str) -> Vec<Record> {
    let file: Value = serde_json::from_str(file).unwrap();
    let whole = |part: &Value| {
        let schema = part["schema"].as_u64()?;
        Some(json!({ "schema": file["schemas"][schema as usize], "payload": part["payload"] }))
    };
    let record = |record: &Value| Record {
        topic: record["topic"].as_str().unwrap().to_owned(),
        key: whole(&record["key"]),
        value: whole(&record["value"]),
    };
    file["records"].as_array().unwrap().iter().map(record).collect()
}

fn int(width: u8, unsigned: bool, display_one: bool) -> ColumnType {
    ColumnType::Int { width, unsigned, display_one }
}

/// The tables of `tables.sql`, as our capture knows them.
fn tables() -> Vec<Arc<TableSchema>> {
    let text = || ColumnType::Text { collation: 255 };
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    let mut every = vec![
        ("i8".to_owned(), int(1, false, false)),
        ("u8".to_owned(), int(1, true, false)),
        ("b1".to_owned(), int(1, false, true)),
        ("i16".to_owned(), int(2, false, false)),
        ("u16".to_owned(), int(2, true, false)),
        ("i24".to_owned(), int(3, false, false)),
        ("u24".to_owned(), int(3, true, false)),
        ("i32".to_owned(), int(4, false, false)),
        ("u32".to_owned(), int(4, true, false)),
        ("i64".to_owned(), int(8, false, false)),
        ("u64".to_owned(), int(8, true, false)),
        ("d9".to_owned(), decimal(9, 2)),
        ("d38".to_owned(), decimal(38, 10)),
        ("d65".to_owned(), decimal(65, 30)),
        ("f".to_owned(), ColumnType::Float),
        ("d".to_owned(), ColumnType::Double),
        ("bit1".to_owned(), ColumnType::Bit { bits: 1 }),
        ("bit9".to_owned(), ColumnType::Bit { bits: 9 }),
        ("bit64".to_owned(), ColumnType::Bit { bits: 64 }),
        ("y".to_owned(), ColumnType::Year),
        ("da".to_owned(), ColumnType::Date),
    ];
    every.extend([0, 1, 3, 6].map(|fsp| (format!("t{fsp}"), ColumnType::Time { fsp })));
    every.extend((0..=6).map(|fsp| (format!("dt{fsp}"), ColumnType::Datetime { fsp })));
    every.extend((0..=6).map(|fsp| (format!("ts{fsp}"), ColumnType::Timestamp { fsp })));
    let rest = [
        ("c", text()),
        ("v", text()),
        ("tx", text()),
        ("bi", ColumnType::Binary { fixed: Some(4) }),
        ("vb", ColumnType::Binary { fixed: None }),
        ("bl", ColumnType::Binary { fixed: None }),
        ("e", ColumnType::Enum { labels: labels(&["a", "b,c", "ü"]) }),
        ("s", ColumnType::Set { labels: labels(&["x", "y", "z"]) }),
        ("j", ColumnType::Json),
        ("g", ColumnType::Geometry),
        ("p", ColumnType::Geometry),
        ("gs", ColumnType::Geometry),
        ("vec", ColumnType::Vector),
    ];
    every.extend(rest.map(|(name, ty)| (name.to_owned(), ty)));
    let id = Column::new("id", int(8, false, false), false);
    let every = every.into_iter().map(|(name, ty)| Column::new(name, ty, true));
    let must = vec![
        Column::new("id", int(4, true, false), false),
        Column::new("part", text(), false),
        Column::new("n", int(4, false, false), false),
        Column::new("dt", ColumnType::Datetime { fsp: 0 }, false),
        Column::new("ts", ColumnType::Timestamp { fsp: 3 }, false),
        Column::new("d", decimal(5, 1), false),
    ];
    let keyless = vec![Column::new("a", int(4, false, false), true), Column::new("b", text(), true)];
    let table = |name: &str, columns, key| {
        Arc::new(TableSchema::new(TableId::new("g", name), 1, columns, key, TypeOptions::default()))
    };
    vec![
        table("every", std::iter::once(id).chain(every).collect(), vec![0]),
        table("must", must, vec![1, 0]),
        table("keyless", keyless, Vec::new()),
    ]
}

/// Differences that remain in schemas.
fn without_known_differences(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            // A default of a column is not known to the sources of rows.
            if map.get("field").is_some_and(|field| field != "snapshot") {
                map.remove("default");
            }
            // A zero date is null here, where Debezium writes a date that is not the row's.
            let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
            if name.starts_with("io.debezium.time.") {
                map.insert("optional".into(), true.into());
            }
            // All kinds of geometries are one type here.
            if map.get("field").is_some_and(|field| field == "p") {
                *schema = json!("geometry");
                return;
            }
            map.values_mut().for_each(without_known_differences);
        }
        Value::Array(values) => values.iter_mut().for_each(without_known_differences),
        _ => {}
    }
}

/// Differences that remain in values.
fn alike(envelope: &mut Value, modes: bool) {
    let now = ["ts_ms", "ts_us", "ts_ns"];
    let is_read = envelope["op"] == "r";
    let fields = envelope.as_object_mut().unwrap();
    fields.retain(|name, _| !now.contains(&name.as_str()));
    let source = fields["source"].as_object_mut().unwrap();
    source.remove("version");
    if is_read {
        source.remove("snapshot");
    }
    for image in ["before", "after"] {
        let Some(image) = fields.get_mut(image).and_then(Value::as_object_mut) else { continue };
        if let Some(point) = image.get_mut("p").and_then(Value::as_object_mut) {
            point.remove("x");
            point.remove("y");
        }
        // Debezium's ISO strings have no form for a TIME that is no time of day, nor for one before 00:00.
        if modes {
            image.retain(|name, _| !["t0", "t1", "t3", "t6"].contains(&name.as_str()));
        }
    }
}

fn compare(file: &str, options: &FormatOptions) {
    let written = FormatOptions { schemas: true, ..options.clone() };
    for table in tables() {
        let topic = format!("shop.{}", table.table);
        let known = Some(Arc::clone(&table));
        let mut reader = Reader::new(options, None, TypeOptions::default(), known, true).unwrap();
        let mut ours = encoder(&written);
        ours.schema(&table, &topic).unwrap();
        let mut compared = 0;
        for (seq, record) in records(file).into_iter().filter(|record| record.topic == topic).enumerate() {
            let Some(mut theirs) = record.value else { continue };
            // Without the schema part, so that the types are those of our own capture.
            let payload = theirs["payload"].to_string();
            let key = record.key.as_ref().map(|key| key["payload"].to_string());
            let pushed =
                reader.push(key.as_deref().map(str::as_bytes), payload.as_bytes(), seq as i64).unwrap();
            let mut encoded = Encoded::default();
            match pushed {
                Pushed::Row => ours.batch(&reader.finish().unwrap().unwrap(), &mut encoded).unwrap(),
                Pushed::Mark(mark) => ours.mark(&mark, &mut encoded).unwrap(),
                Pushed::Version(version) => panic!("{version:?}"),
            }
            let first = encoded.records[0].clone();
            let mut value: Value = serde_json::from_slice(&encoded.bytes[first.value.unwrap()]).unwrap();
            for value in [&mut theirs, &mut value] {
                alike(&mut value["payload"], options.time_precision_mode == TimeMode::Isostring);
                without_known_differences(&mut value["schema"]);
            }
            for part in ["before", "after"] {
                let columns = theirs["payload"][part].as_object().into_iter().flatten();
                for (column, expected) in columns {
                    assert_eq!(value["payload"][part][column], *expected, "{topic} {part}.{column}");
                }
            }
            assert_eq!(value["payload"], theirs["payload"], "{topic}");
            assert_eq!(value["schema"], theirs["schema"], "{topic}");
            let own_key = first.key.map(|key| serde_json::from_slice::<Value>(&encoded.bytes[key]).unwrap());
            let (mut own_key, mut their_key) = (json!(own_key), json!(record.key));
            for key in [&mut own_key, &mut their_key] {
                without_known_differences(key);
            }
            assert_eq!(own_key, their_key, "{topic}");
            compared += 1;
        }
        assert!(compared > 3, "{topic}: {compared} records");
    }
}

#[test]
fn our_records_are_those_of_debezium() {
    // Its default for BIGINT UNSIGNED is wrong from 2^63 on; our default is its mode `precise`.
    let options =
        FormatOptions { bigint_unsigned_handling_mode: UnsignedMode::Long, ..FormatOptions::default() };
    compare(DEFAULT, &options);
}

#[test]
fn our_records_are_those_of_debezium_in_other_modes() {
    let options = FormatOptions {
        decimal_handling_mode: DecimalMode::String,
        time_precision_mode: TimeMode::Isostring,
        binary_handling_mode: BinaryMode::Hex,
        ..FormatOptions::default()
    };
    compare(MODES, &options);
}

/// All rows of a topic of Debezium, by their schema part alone, and the versions it tells of.
fn derived(topic: &str) -> (Vec<ChangeBatch>, Vec<Arc<TableSchema>>, usize) {
    let mut reader =
        Reader::new(&FormatOptions::default(), None, TypeOptions::default(), None, false).unwrap();
    let (mut versions, mut batches, mut marks) = (Vec::new(), Vec::new(), 0);
    for (seq, record) in records(DEFAULT).into_iter().filter(|record| record.topic == topic).enumerate() {
        let Some(value) = record.value else { continue };
        let (key, value) = (record.key.map(|key| key.to_string()), value.to_string());
        loop {
            let key = key.as_deref().map(str::as_bytes);
            match reader.push(key, value.as_bytes(), seq as i64).unwrap() {
                Pushed::Row => break,
                Pushed::Mark(_) => {
                    marks += 1;
                    break;
                }
                Pushed::Version(version) => {
                    batches.extend(reader.finish().unwrap());
                    versions.push(version);
                }
            }
        }
    }
    batches.extend(reader.finish().unwrap());
    (batches, versions, marks)
}

#[test]
fn a_topic_of_debezium_tells_its_table() {
    let (batches, versions, marks) = derived("shop.g.every");
    let [batch] = batches.as_slice() else { panic!("{} batches", batches.len()) };
    let [version] = versions.as_slice() else { panic!("{versions:?}") };
    assert_eq!((version.version, version.key.as_slice(), marks), (1, &[0][..], 0));
    let ops = [Op::Read, Op::Create, Op::Create, Op::Create, Op::Update, Op::Delete, Op::Create, Op::Delete];
    assert_eq!(batch.meta.op, ops);
    // The same Arrow types as of our own capture, but for what the message does not tell.
    let own = &tables()[0];
    for (own, field) in own.columns.iter().zip(version.arrow.fields()) {
        let untold = matches!(
            own.ty,
            ColumnType::Int { width: 1, unsigned: false, .. }
                | ColumnType::Int { width: 8, unsigned: true, .. }
        );
        if !untold {
            assert_eq!(*field.data_type(), own.ty.arrow(&TypeOptions::default()), "{}", own.name);
        }
    }
    let labels = version.columns.iter().find(|column| column.name == "e").unwrap();
    assert_eq!(labels.ty, ColumnType::Enum { labels: vec!["a".into(), "b,c".into(), "ü".into()] });
    assert!(batch.rows.column(1).is_null(0) && !batch.rows.column(1).is_null(1));
    let (batches, versions, marks) = derived("shop.g.keyless");
    assert_eq!((batches.len(), versions.len(), marks), (1, 1, 1));
    assert!(versions[0].key.is_empty());
}

#[test]
fn a_column_more_in_a_topic_of_debezium_is_a_new_version() {
    let mut reader =
        Reader::new(&FormatOptions::default(), None, TypeOptions::default(), None, false).unwrap();
    let record = records(DEFAULT).into_iter().find(|record| record.topic == "shop.g.must").unwrap();
    let (key, mut value) = (record.key.unwrap().to_string(), record.value.unwrap());
    let push = |reader: &mut Reader, value: &Value| {
        reader.push(Some(key.as_bytes()), value.to_string().as_bytes(), 1).unwrap()
    };
    assert!(matches!(push(&mut reader, &value), Pushed::Version(version) if version.version == 1));
    assert!(matches!(push(&mut reader, &value), Pushed::Row));
    let column = json!({ "type": "int32", "optional": true, "field": "more" });
    for image in [0, 1] {
        value["schema"]["fields"][image]["fields"].as_array_mut().unwrap().insert(0, column.clone());
    }
    value["payload"]["after"]["more"] = json!(5);
    let Pushed::Version(version) = push(&mut reader, &value) else { panic!("no version") };
    assert_eq!(version.version, 2);
    let numbers: Vec<u32> = version.columns.iter().map(|column| column.id).collect();
    assert_eq!(numbers, [7, 1, 2, 3, 4, 5, 6]);
    assert_eq!(reader.finish().unwrap().unwrap().schema.version, 1);
    while !matches!(push(&mut reader, &value), Pushed::Row) {}
    assert_eq!(reader.finish().unwrap().unwrap().schema.version, 2);
}
