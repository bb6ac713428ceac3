//! What Debezium 3.6.1 itself wrote with `provide.transaction.metadata` (`testdata/transactions.sql`): from its change
//! events, handed over table by table in pieces of any size, the same places in transactions and the same records of
//! begins and ends come out.

use std::collections::HashMap;

use lakeward_core::clock::ManualClock;
use lakeward_core::{Began, Column, ColumnType, Op, OriginRun, TableId, TableSchema, TypeOptions};
use serde_json::Value;

use super::*;
use crate::debezium::{Pushed, Reader, Structures, Versions};
use crate::format::metadata::{HeartbeatRecords, TransactionRecords};
use crate::format::{Encoded, Encoder, FormatOptions};

const GOLDEN: &str = include_str!("../../../testdata/debezium-3.6.1-transactions.json");

/// A record of the file, with its schema parts.
struct Record {
    topic: String,
    key: Value,
    value: Value,
}

fn golden() -> Vec<Record> {
    let file: Value = serde_json::from_str(GOLDEN).unwrap();
    let whole = |part: &Value| match part["schema"].as_u64() {
        Some(schema) => {
            let schema = &file["schemas"][usize::try_from(schema).unwrap()];
            serde_json::json!({ "schema": schema, "payload": part["payload"] })
        }
        None => Value::Null,
    };
    let record = |record: &Value| Record {
        topic: record["topic"].as_str().unwrap().to_owned(),
        key: whole(&record["key"]),
        value: whole(&record["value"]),
    };
    file["records"].as_array().unwrap().iter().map(record).collect()
}

/// The tables of `transactions.sql`.
fn tables() -> Vec<Arc<TableSchema>> {
    let int = ColumnType::Int { width: 4, unsigned: false, display_one: false };
    let text = || ColumnType::Text { collation: 255 };
    let table = |name: &str, columns, key| {
        Arc::new(TableSchema::new(TableId::new("g", name), 1, columns, key, TypeOptions::default()))
    };
    let decimal = ColumnType::Decimal { precision: 9, scale: 2 };
    vec![
        table("a", vec![Column::new("id", int.clone(), false), Column::new("v", text(), true)], vec![0]),
        table("b", vec![Column::new("k", text(), false), Column::new("n", decimal, true)], vec![0]),
        table("keyless", vec![Column::new("x", int, true)], Vec::new()),
    ]
}

/// Debezium's change events as the source hands them on: dense numbers, rows of transactions that know where these began.
struct Source {
    readers: Vec<(Reader, Versions)>,
    began: HashMap<Arc<str>, Began>,
    next_seq: i64,
}

impl Source {
    fn begin() -> Source {
        let reader = |table: Arc<TableSchema>| {
            let columns = table.columns.clone();
            let structures: Structures = Arc::new(move |_| Ok(Some(columns.clone())));
            let versions = Versions::new(TypeOptions::default(), vec![table], |_| true, structures);
            (Reader::new(&FormatOptions::default(), None, true).unwrap(), versions)
        };
        Source { readers: tables().into_iter().map(reader).collect(), began: HashMap::new(), next_seq: 1 }
    }

    /// Gathers an event of the table at this place; a mark's number, if it is one.
    fn push(&mut self, at: usize, record: &Record) -> Option<i64> {
        let (key, value) = (record.key["payload"].to_string(), record.value["payload"].to_string());
        let key = record.key.is_object().then_some(key.as_bytes());
        let seq = self.next_seq;
        self.next_seq += 1;
        let source = &record.value["payload"]["source"];
        if let Some(gtid) = source["gtid"].as_str().filter(|_| record.value["payload"]["op"] != "t") {
            self.began.entry(gtid.into()).or_insert(Began { seq, offset: 4 });
        }
        let (reader, versions) = &mut self.readers[at];
        match reader.push(key, value.as_bytes(), seq, versions).unwrap() {
            Pushed::Row => None,
            Pushed::Mark(mark) => Some(mark.seq),
            Pushed::Turn => panic!("another structure"),
        }
    }

    fn take(&mut self, at: usize) -> Option<ChangeBatch> {
        let mut batch = self.readers[at].0.finish().unwrap()?;
        for OriginRun { origin, .. } in &mut batch.meta.origins {
            origin.began = origin.gtid.as_ref().and_then(|gtid| self.began.get(gtid).copied());
        }
        Some(batch)
    }
}

/// What came out.
#[derive(Default)]
struct Out {
    blocks: HashMap<String, Vec<Value>>,
    ends: Vec<(Value, Value)>,
    /// Told before the commit.
    early: usize,
}

/// Hands over all events in pieces of `cut`.
fn handed_over(cut: usize) -> Out {
    let options = FormatOptions { schemas: true, ..FormatOptions::default() };
    let mut encoder = Encoder::new(&options, "shop", Arc::new(ManualClock::at(0))).unwrap();
    let names: Vec<Arc<str>> = tables().iter().map(|table| table.table.to_string().into()).collect();
    for (table, name) in tables().iter().zip(&names) {
        encoder.schema(table, &format!("shop.{name}")).unwrap();
    }
    let records = TransactionRecords::new(&options, "shop.transaction").unwrap();
    let (mut source, mut open, mut out) = (Source::begin(), SourceTransactions::default(), Out::default());
    let events = golden();
    let events: Vec<(usize, &Record)> = events
        .iter()
        .filter(|record| record.value.is_object())
        .filter_map(|record| {
            let at = names.iter().position(|name| record.topic == format!("shop.{name}"))?;
            Some((at, record))
        })
        .collect();
    for piece in events.chunks(cut) {
        for (at, record) in piece {
            if let Some(seq) = source.push(*at, record) {
                open.note_mark(seq);
            }
        }
        for (at, name) in names.iter().enumerate() {
            let Some(batch) = source.take(at) else { continue };
            let earlier = open.note(&batch, name);
            let mut encoded = Encoded::default();
            encoder.batch_in_order(&batch, &earlier, &mut encoded).unwrap();
            let values = encoded.records.iter().filter_map(|record| record.value.clone());
            let blocks = out.blocks.entry(format!("shop.{name}")).or_default();
            blocks.extend(values.map(|value| {
                let value: Value = serde_json::from_slice(&encoded.bytes[value]).unwrap();
                value["payload"]["transaction"].clone()
            }));
            while let Some(transaction) = open.next_whole(false) {
                out.early += 1;
                tell(&records, &transaction, &mut out.ends);
            }
        }
    }
    while let Some(transaction) = open.next_whole(true) {
        tell(&records, &transaction, &mut out.ends);
    }
    assert!(open.spans.is_empty());
    out
}

fn tell(records: &TransactionRecords, transaction: &Transaction, into: &mut Vec<(Value, Value)>) {
    for (key, value) in [records.begin(transaction).unwrap(), records.end(transaction).unwrap()] {
        into.push((serde_json::from_slice(&key).unwrap(), serde_json::from_slice(&value).unwrap()));
    }
}

#[test]
fn places_begins_and_ends_are_those_of_debezium_however_events_are_cut() {
    let file = golden();
    let mut expected = HashMap::<String, Vec<Value>>::new();
    for record in file.iter().filter(|record| record.topic.starts_with("shop.g.")) {
        // A mark of a transaction of its own bears no block in either.
        if record.value.is_object() && record.value["payload"]["op"] != "t" {
            let block = record.value["payload"]["transaction"].clone();
            expected.entry(record.topic.clone()).or_default().push(block);
        }
    }
    // Debezium also tells transactions that change no captured table; and it counts in the order of a hash.
    let told = file.iter().filter(|record| record.topic == "shop.transaction");
    let empty: Vec<&Value> = told
        .clone()
        .filter(|record| record.value["payload"]["event_count"] == 0)
        .map(|record| &record.value["payload"]["id"])
        .collect();
    assert_eq!(empty.len(), 1);
    let told = told.filter(|record| !empty.contains(&&record.value["payload"]["id"]));
    let ends: Vec<(Value, Value)> = told
        .map(|record| {
            let mut value = record.value.clone();
            if let Some(counts) = value["payload"]["data_collections"].as_array_mut() {
                counts.sort_by_key(|count| count["data_collection"].to_string());
            }
            (record.key.clone(), value)
        })
        .collect();
    assert_eq!((expected.values().map(Vec::len).sum::<usize>(), ends.len()), (18, 10));
    let mut early = 0;
    for cut in 1..=20 {
        let out = handed_over(cut);
        assert_eq!(out.blocks, expected, "cut {cut}");
        assert_eq!(out.ends, ends, "cut {cut}");
        early += out.early;
    }
    assert!(early > 20, "{early}: what is whole is told before the commit");
}

#[test]
fn a_heartbeat_is_that_of_debezium() {
    let file = golden();
    let record = file.iter().find(|record| record.topic == "__debezium-heartbeat.shop").unwrap();
    let options = FormatOptions { schemas: true, ..FormatOptions::default() };
    let ours = HeartbeatRecords::new(&options, &record.topic, "shop").unwrap();
    let now = record.value["payload"]["ts_ms"].as_i64().unwrap();
    let (key, value) = ours.record(now * 1000 + 999).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&key).unwrap(), record.key);
    assert_eq!(serde_json::from_slice::<Value>(&value).unwrap(), record.value);
}

#[test]
fn without_gtids_a_transaction_is_named_by_where_it_begins() {
    let origin = Origin {
        file: "binlog.000001".into(),
        offset: 2444,
        began: Some(Began { seq: 7, offset: 2307 }),
        ..Origin::default()
    };
    assert_eq!(transaction_id(&origin), "file=binlog.000001,pos=2307");
}

#[test]
fn a_span_whose_numbers_are_not_all_there_waits() {
    let mut open = SourceTransactions::default();
    let rows = |seqs: std::ops::Range<i64>, began: Option<i64>| {
        let table = &tables()[2];
        let column = arrow::array::Int32Array::from_iter_values(seqs.clone().map(|_| 1));
        let rows =
            arrow::array::RecordBatch::try_new(Arc::clone(&table.arrow), vec![Arc::new(column)]).unwrap();
        let count = rows.num_rows();
        let began = began.map(|seq| Began { seq, offset: 4 });
        let origin =
            Origin { gtid: began.map(|began| began.seq.to_string().into()), began, ..Origin::default() };
        let origins = vec![OriginRun { rows: count, first_row: 0, origin }];
        let (op, seq) = (vec![Op::Create; count], seqs.collect());
        let meta = lakeward_core::ChangeMeta { op, seq, topic_partition: None, origins };
        ChangeBatch { schema: Arc::clone(table), rows, before: None, meta }
    };
    let (a, b): (Arc<str>, Arc<str>) = ("g.a".into(), "g.b".into());
    assert_eq!(open.note(&rows(1..4, Some(1)), &a), [0]);
    assert_eq!(open.note(&rows(6..8, Some(6)), &a), [0]);
    assert!(open.next_whole(false).is_none(), "4 and 5 may be of the first one");
    assert_eq!(open.note(&rows(4..6, Some(1)), &b), [0]);
    let whole = open.next_whole(false).unwrap();
    assert_eq!((&*whole.id, whole.events[&a], whole.events[&b]), ("1", 3, 2));
    assert!(open.next_whole(false).is_none());
    assert_eq!(open.note(&rows(8..9, Some(6)), &a), [2]);
    // Rows of a snapshot come between two transactions.
    assert_eq!(open.note(&rows(9..12, None), &a), [0]);
    assert_eq!(open.next_whole(false).unwrap().events[&a], 3);
    assert!(open.next_whole(true).is_none());
}
