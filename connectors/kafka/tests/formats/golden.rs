//! Records that Debezium 3.6.1 itself wrote (`testdata`: the tables, the changes; schemas that repeat are stored once;
//! `tests/support/servers/Debezium.java` writes such), of every column type with its extreme values: they are read, and
//! what we write of the same rows is compared with them field by field, schema part included. That the real connector
//! and the real `capture` agree is shown by `tests/e2e/capture/debezium`.

use std::sync::Arc;

use arrow::array::Array;
use lakeward_core::{ChangeBatch, Column, ColumnType, ErrorKind, Op, TableId, TableSchema, TypeOptions};
use lakeward_kafka::debezium::{Pushed, Reader, Versions};
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

/// Versions of a table of which the server says these columns.
fn versions(known: Vec<Arc<TableSchema>>, columns: Option<Vec<Column>>) -> Versions {
    Versions::new(TypeOptions::default(), known, |_| true, Arc::new(move |_| Ok(columns.clone())))
}

fn compare(file: &str, options: &FormatOptions) {
    let written = FormatOptions { schemas: true, ..options.clone() };
    for table in tables() {
        let topic = format!("shop.{}", table.table);
        let mut versions = versions(vec![Arc::clone(&table)], Some(table.columns.clone()));
        let mut reader = Reader::new(options, None, true).unwrap();
        let mut ours = encoder(&written);
        ours.schema(&table, &topic).unwrap();
        let mut compared = 0;
        for (seq, record) in records(file).into_iter().filter(|record| record.topic == topic).enumerate() {
            let Some(mut theirs) = record.value else { continue };
            // Without the schema part, so that the types are those of our own capture.
            let payload = theirs["payload"].to_string();
            let key = record.key.as_ref().map(|key| key["payload"].to_string());
            let key = key.as_deref().map(str::as_bytes);
            let pushed = reader.push(key, payload.as_bytes(), seq as i64, &mut versions).unwrap();
            let mut encoded = Encoded::default();
            match pushed {
                Pushed::Row => ours.batch(&reader.finish().unwrap().unwrap(), &mut encoded).unwrap(),
                Pushed::Mark(mark) => ours.mark(&mark, &mut encoded).unwrap(),
                Pushed::Turn => panic!("another structure"),
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

/// Takes a record; gives what was gathered before, where another structure begins with it.
fn take(
    reader: &mut Reader,
    versions: &mut Versions,
    (key, value): (Option<&str>, &Value),
    seq: i64,
) -> (Vec<ChangeBatch>, bool) {
    let (key, value, mut batches) = (key.map(str::as_bytes), value.to_string(), Vec::new());
    loop {
        match reader.push(key, value.as_bytes(), seq, versions).unwrap() {
            Pushed::Row => return (batches, false),
            Pushed::Mark(_) => return (batches, true),
            Pushed::Turn => batches.extend(reader.finish().unwrap()),
        }
    }
}

/// All rows of a topic of Debezium, and the versions it tells of; without schemas by what the server says.
fn derived(topic: &str, server: Option<Vec<Column>>) -> (Vec<ChangeBatch>, Vec<Arc<TableSchema>>, usize) {
    let (schemas, mut versions) = (server.is_none(), versions(Vec::new(), server));
    // A schema tells the mode, which is Debezium's default.
    let bigint_unsigned_handling_mode = if schemas { UnsignedMode::Precise } else { UnsignedMode::Long };
    let options = FormatOptions { bigint_unsigned_handling_mode, ..FormatOptions::default() };
    let mut reader = Reader::new(&options, None, false).unwrap();
    let (mut batches, mut marks) = (Vec::new(), 0);
    for (seq, record) in records(DEFAULT).into_iter().filter(|record| record.topic == topic).enumerate() {
        let Some(value) = record.value else { continue };
        let part = |whole: &Value| if schemas { whole.clone() } else { whole["payload"].clone() };
        let key = record.key.map(|key| part(&key).to_string());
        let (taken, mark) = take(&mut reader, &mut versions, (key.as_deref(), &part(&value)), seq as i64);
        batches.extend(taken);
        marks += usize::from(mark);
    }
    batches.extend(reader.finish().unwrap());
    (batches, versions.known().to_vec(), marks)
}

#[test]
fn a_topic_of_debezium_tells_its_table() {
    let (batches, versions, marks) = derived("shop.g.every", None);
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
    let (batches, versions, marks) = derived("shop.g.keyless", None);
    assert_eq!((batches.len(), versions.len(), marks), (1, 1, 1));
    assert!(versions[0].key.is_empty());
}

#[test]
fn a_topic_without_schemas_has_the_structure_that_the_server_tells() {
    for (table, marks) in tables().into_iter().zip([0, 0, 1]) {
        let (batches, versions, found) =
            derived(&format!("shop.{}", table.table), Some(table.columns.clone()));
        let [version] = versions.as_slice() else { panic!("{versions:?}") };
        // The values that are read here have their fields in the order of letters.
        let sorted = |key: &[usize]| std::collections::BTreeSet::from_iter(key.iter().copied());
        assert_eq!((&version.columns, found), (&table.columns, marks));
        assert_eq!(sorted(&version.key), sorted(&table.key));
        assert!(batches.iter().all(|batch| batch.schema.version == 1));
    }
}

fn of_must(more: bool) -> (String, Value) {
    let record = records(DEFAULT).into_iter().find(|record| record.topic == "shop.g.must").unwrap();
    let (key, mut value) = (record.key.unwrap().to_string(), record.value.unwrap());
    if more {
        let column = json!({ "type": "int32", "optional": true, "field": "more" });
        for image in [0, 1] {
            value["schema"]["fields"][image]["fields"].as_array_mut().unwrap().insert(0, column.clone());
        }
        value["payload"]["after"]["more"] = json!(5);
    }
    (key, value)
}

#[test]
fn a_column_more_in_a_topic_of_debezium_is_a_new_version() {
    let mut reader = Reader::new(&FormatOptions::default(), None, false).unwrap();
    let mut versions = versions(Vec::new(), None);
    let ((key, value), (_, more)) = (of_must(false), of_must(true));
    assert_eq!(take(&mut reader, &mut versions, (Some(&key), &value), 1).0.len(), 0);
    let before = take(&mut reader, &mut versions, (Some(&key), &more), 2).0;
    assert_eq!(before[0].schema.version, 1);
    assert_eq!(reader.finish().unwrap().unwrap().schema.version, 2);
    let numbers: Vec<u32> = versions.known()[1].columns.iter().map(|column| column.id).collect();
    assert_eq!(numbers, [7, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn topic_partitions_on_both_sides_of_a_change_use_two_versions_also_after_a_restart() {
    let mut versions = versions(Vec::new(), None);
    let (before, after) = (of_must(false), of_must(true));
    for run in 0..3 {
        let mut readers = [(); 2].map(|()| Reader::new(&FormatOptions::default(), None, false).unwrap());
        for seq in 0..6 {
            let reader = &mut readers[seq % 2];
            // The one is behind the other, and now and then gets a record of the other side.
            let (key, value) = if (seq % 2 == 0) != (seq == 3) { &before } else { &after };
            take(reader, &mut versions, (Some(key), value), seq as i64);
            reader.finish().unwrap();
        }
        assert_eq!(versions.known().len(), 2, "run {run}");
        // As the lake tells them again.
        versions = self::versions(versions.known().to_vec(), None);
    }
}

#[test]
fn records_of_another_table_are_refused() {
    let mut versions = versions(Vec::new(), None);
    let mut reader = Reader::new(&FormatOptions::default(), None, false).unwrap();
    let (key, mut value) = of_must(false);
    take(&mut reader, &mut versions, (Some(&key), &value), 1);
    value["payload"]["source"]["table"] = json!("other");
    let error = reader.push(None, value.to_string().as_bytes(), 2, &mut versions).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnreadableRecord, "{error}");
    assert_eq!(reader.rows(), 1);
}

#[test]
fn without_schemas_the_server_is_asked_again_where_a_record_has_other_fields() {
    let asked = Arc::new(std::sync::Mutex::new(vec![tables()[1].columns.clone()]));
    let answers = Arc::clone(&asked);
    let structures = move |_: &TableId| {
        let mut answers = answers.lock().unwrap();
        Ok(Some(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }))
    };
    let mut versions = Versions::new(TypeOptions::default(), Vec::new(), |_| true, Arc::new(structures));
    let mut reader = Reader::new(&FormatOptions::default(), None, false).unwrap();
    let (_, value) = of_must(false);
    let payload = |change: &dyn Fn(&mut Value)| {
        let mut payload = value["payload"].clone();
        change(&mut payload["after"]);
        payload
    };
    let key = Some(r#"{"part":"x","id":1}"#);
    take(&mut reader, &mut versions, (key, &payload(&|_| ())), 1);
    // A column that the server does not know is refused, and known once it does.
    let with_more = payload(&|after| after["more"] = json!("text"));
    let push = |reader: &mut Reader, versions: &mut Versions, value: &Value| {
        loop {
            match reader.push(key.map(str::as_bytes), value.to_string().as_bytes(), 2, versions) {
                Ok(Pushed::Turn) => drop(reader.finish().unwrap()),
                other => return other.map(|_| ()),
            }
        }
    };
    let error = push(&mut reader, &mut versions, &with_more).unwrap_err();
    assert!(error.to_string().contains("`more`"), "{error}");
    let mut more = tables()[1].columns.clone();
    more.push(Column::new("more", ColumnType::Text { collation: 255 }, true));
    asked.lock().unwrap()[0] = more.clone();
    push(&mut reader, &mut versions, &with_more).unwrap();
    assert_eq!(versions.known().len(), 2);
    // A column that has become text.
    more[2].ty = ColumnType::Text { collation: 255 };
    asked.lock().unwrap()[0] = more;
    push(&mut reader, &mut versions, &payload(&|after| after["n"] = json!("a"))).unwrap();
    // One that the server has no more is known from before.
    asked.lock().unwrap()[0].truncate(2);
    let both = payload(&|after| {
        after["n"] = json!("a");
        after["more"] = json!("text");
    });
    push(&mut reader, &mut versions, &both).unwrap();
    assert_eq!(versions.known().len(), 4);
}
