//! Any change batch, of every column type and in every exact mode, comes back from its records.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod golden;
mod registry;
mod sample;

use std::sync::Arc;

use lakeward_core::clock::ManualClock;
use lakeward_core::{
    ChangeBatch, Column, ColumnType, ErrorKind, MarkReason, Op, Origin, Secret, TableId, TableMark,
    TableSchema, TypeOptions, ZeroDates,
};
use lakeward_kafka::format::{
    BinaryMode, DecimalMode, Decoder, Encoded, EncodedRecord, Encoder, Format, FormatOptions, Received,
    TimeMode, UnsignedMode,
};
use lakeward_kafka::registry::RegistryOptions;
use lakeward_test_support::registry::SchemaRegistry;
use proptest::prelude::*;
use sample::{Random, batch, schema};

/// Microseconds, 2026-11-21.
const NOW: i64 = 1_795_219_200_123_456;

fn encoder(options: &FormatOptions) -> Encoder {
    Encoder::new(options, "shop", Arc::new(ManualClock::at(NOW))).unwrap()
}

/// All modes that lose nothing.
fn exact_options() -> Vec<FormatOptions> {
    let plain = FormatOptions::default();
    let other = FormatOptions {
        decimal_handling_mode: DecimalMode::String,
        bigint_unsigned_handling_mode: UnsignedMode::Long,
        time_precision_mode: TimeMode::Isostring,
        binary_handling_mode: BinaryMode::Hex,
        tombstones_on_delete: false,
        ..plain.clone()
    };
    let url_safe = FormatOptions { binary_handling_mode: BinaryMode::Base64UrlSafe, ..plain.clone() };
    let base64 = FormatOptions {
        binary_handling_mode: BinaryMode::Base64,
        message_key_columns: [("d.t".to_owned(), vec!["must".to_owned()])].into(),
        ..plain.clone()
    };
    let schemas = FormatOptions { schemas: true, ..other.clone() };
    let registry = RegistryOptions {
        url: SchemaRegistry::shared().url(),
        username: Some("anybody".into()),
        password: Some(Secret::new("not asked for")),
        ca: None,
    };
    let avro = |options: &FormatOptions| FormatOptions {
        format: Format::Avro,
        schema_registry: Some(registry.clone()),
        ..options.clone()
    };
    let avro = [avro(&plain), avro(&other), avro(&base64)];
    [plain, other, url_safe, base64, schemas].into_iter().chain(avro).collect()
}

/// A topic of its own for each way to write the table: their schemas are not compatible.
fn topic(options: &FormatOptions, types: &TypeOptions, key: bool) -> String {
    let modes = (options.time_precision_mode, options.binary_handling_mode);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("shop.d.t_{modes:?}_{}_{key}", types.time_as_string).chars().map(plain).collect()
}

/// Reads back what was written.
fn read_back(options: &FormatOptions, batch: &ChangeBatch, encoded: &Encoded) -> ChangeBatch {
    let decoder = Decoder::new(options).unwrap().with_before(batch.before.is_some());
    let mut table = decoder.table(Arc::clone(&batch.schema)).unwrap();
    for record in &encoded.records {
        let Some(value) = record.value.clone() else { continue };
        let received = Received {
            key: record.key.clone().map(|key| &encoded.bytes[key]),
            value: &encoded.bytes[value],
            op: batch.meta.op[record.row],
            seq: batch.meta.seq[record.row],
        };
        table.push(&received).unwrap();
    }
    assert_eq!(table.rows(), batch.meta.op.len());
    table.finish().unwrap().unwrap()
}

fn assert_same(left: &ChangeBatch, right: &ChangeBatch) {
    for (index, column) in left.schema.columns.iter().enumerate() {
        assert_eq!(left.rows.column(index), right.rows.column(index), "{}", column.name);
        let before =
            |batch: &ChangeBatch| batch.before.as_ref().map(|before| Arc::clone(before.column(index)));
        assert_eq!(before(left), before(right), "previous {}", column.name);
    }
    assert_eq!(left.rows, right.rows);
    assert_eq!(left.before, right.before);
    assert_eq!(left.meta, right.meta);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_batch_comes_back(seed: u64, want_before: bool, strings: bool, key: bool) {
        let types = TypeOptions {
            tinyint1_as_boolean: strings,
            time_as_string: strings,
            zero_dates: if strings { ZeroDates::String } else { ZeroDates::Null },
        };
        let schema = schema(types, key);
        let mut random = Random(seed | 1);
        for options in exact_options() {
            let batch = batch(&schema, &options, want_before, &mut random);
            let mut encoder = encoder(&options);
            encoder.schema(&schema, &topic(&options, &types, key)).unwrap();
            let mut encoded = Encoded::default();
            encoder.batch(&batch, &mut encoded).unwrap();
            assert_same(&read_back(&options, &batch, &encoded), &batch);
        }
    }
}

#[test]
fn a_mark_comes_back() {
    let schema = schema(TypeOptions::default(), true);
    let origin = Origin {
        commit_us: 5,
        gtid: Some("uuid:7".into()),
        file: "b.1".into(),
        offset: 4,
        server_id: u32::MAX,
        thread: Some(9),
        began: None,
    };
    for options in exact_options() {
        let mark = TableMark {
            schema: Arc::clone(&schema),
            seq: 3,
            origin: origin.clone(),
            reason: MarkReason::Reread,
        };
        let mut encoder = encoder(&options);
        encoder.schema(&schema, &topic(&options, &schema.options, true)).unwrap();
        let mut encoded = Encoded::default();
        encoder.mark(&mark, &mut encoded).unwrap();
        let [EncodedRecord { row: 0, key: None, value: Some(value) }] = encoded.records.as_slice() else {
            panic!("{:?}", encoded.records);
        };
        let decoder = Decoder::new(&options).unwrap();
        let back = decoder.mark(&schema, &encoded.bytes[value.clone()], 3, MarkReason::Reread).unwrap();
        assert_eq!((back.seq, back.origin, back.reason), (3, origin.clone(), MarkReason::Reread));
    }
}

#[test]
fn a_record_that_cannot_be_read_leaves_nothing_behind() {
    let schema = schema(TypeOptions::default(), true);
    for options in exact_options() {
        let batch = batch(&schema, &options, true, &mut Random(3));
        let mut encoder = encoder(&options);
        encoder.schema(&schema, &topic(&options, &schema.options, true)).unwrap();
        let mut encoded = Encoded::default();
        encoder.batch(&batch, &mut encoded).unwrap();
        let decoder = Decoder::new(&options).unwrap().with_before(true);
        let mut table = decoder.table(Arc::clone(&schema)).unwrap();
        for record in &encoded.records {
            let Some(value) = record.value.clone() else { continue };
            let value = &encoded.bytes[value];
            let key = record.key.clone().map(|key| &encoded.bytes[key]);
            let (op, seq) = (batch.meta.op[record.row], batch.meta.seq[record.row]);
            for cut in [0, value.len() / 3, value.len() / 2, value.len() - 1] {
                let cut = Received { key, value: &value[..cut], op, seq };
                assert_eq!(table.push(&cut).unwrap_err().kind(), ErrorKind::UnreadableRecord);
            }
            table.push(&Received { key, value, op, seq }).unwrap();
        }
        assert_same(&table.finish().unwrap().unwrap(), &batch);
        assert!(table.finish().unwrap().is_none());
    }
}

#[test]
fn fields_of_json_stand_in_any_order_with_any_white_space() {
    let text = || Column::new("must", ColumnType::Text { collation: 255 }, false);
    let columns =
        vec![Column::new("a \"1\"", sample::LONG, false), text(), Column::new("c", sample::LONG, true)];
    let schema = TableSchema::new(TableId::new("d", "t"), 1, columns, vec![0], TypeOptions::default());
    let schema = Arc::new(schema);
    let read = |image: &str| {
        let value = format!(r#"{{"after":{image},"source":{{"file":"b","pos":4,"row":0}},"op":"c"}}"#);
        let mut table = Decoder::new(&FormatOptions::default()).unwrap().table(Arc::clone(&schema)).unwrap();
        table.push(&Received { key: None, value: value.as_bytes(), op: Op::Create, seq: 1 })?;
        Ok::<_, lakeward_core::Error>(table.finish().unwrap().unwrap().rows)
    };
    let written = read(r#"{"a \"1\"":7,"must":"x","c":null}"#).unwrap();
    for same in [
        r#"{"must":"x","a \"1\"":7,"c":null}"#,
        r#"{"a \"1\"":7,"c":null,"must":"x"}"#,
        r#"{"a \"1\"":7 , "must":"x","c":null}"#,
        r#"{"a \"1\"":7,"must" : "x","c":null }"#,
        "{ \"a \\\"1\\\"\" : 7,\n\"must\":\t\"x\",\"c\":null\n}",
        r#"{"a \u00221\u0022":7,"must":"\u0078","c":null}"#,
    ] {
        assert_eq!(read(same).unwrap(), written, "{same}");
    }
    for wrong in [
        r#"{"a \"1\"":7,"must":"x","c":null,"c":1}"#,
        r#"{"a \"1\"":7,"a \"1\"":7,"must":"x","c":null}"#,
        r#"{"a \"1\"":7,"must":"x"}"#,
        r#"{"a \"1\"":7,"must":"x","c":null,"d":1}"#,
        r#"{"a \"1\"":7,"must":"x","c":null"#,
        r#"{"a \"1\"":7,"must":"x","c":null,}"#,
        r#"{"a \"1\"":7"must":"x","c":null}"#,
        r#"{"a \"1\"":,"must":"x","c":null}"#,
    ] {
        assert_eq!(read(wrong).unwrap_err().kind(), ErrorKind::UnreadableRecord, "{wrong}");
    }
}

#[test]
fn a_deletion_has_a_tombstone_and_a_table_without_a_key_has_no_keys() {
    for (key, tombstones) in [(true, true), (true, false), (false, true)] {
        let schema = schema(TypeOptions::default(), key);
        let options = FormatOptions { tombstones_on_delete: tombstones, ..FormatOptions::default() };
        let batch = batch(&schema, &options, false, &mut Random(77));
        let mut encoder = encoder(&options);
        encoder.schema(&schema, "shop.d.t").unwrap();
        let mut encoded = Encoded::default();
        encoder.batch(&batch, &mut encoded).unwrap();
        let deletes = batch.meta.op.iter().filter(|op| **op == Op::Delete).count();
        assert!(deletes > 0);
        let expected = if key && tombstones { deletes } else { 0 };
        assert_eq!(encoded.records.iter().filter(|record| record.value.is_none()).count(), expected);
        assert!(encoded.records.iter().all(|record| record.key.is_some() == key));
    }
}

#[test]
fn an_update_that_moves_its_row_to_another_record_key_buries_the_old_one() {
    let options = FormatOptions {
        message_key_columns: [("d.t".to_owned(), vec!["must".to_owned()])].into(),
        ..FormatOptions::default()
    };
    let schema = schema(TypeOptions::default(), true);
    let batch = batch(&schema, &options, true, &mut Random(9));
    let must = schema.columns.iter().position(|column| column.name == "must").unwrap();
    let before = batch.before.as_ref().unwrap();
    let moves = |row: &usize| {
        let (old, new) = (before.column(must).slice(*row, 1), batch.rows.column(must).slice(*row, 1));
        batch.meta.op[*row] == Op::Update && old.null_count() == 0 && old.to_data() != new.to_data()
    };
    let moved: Vec<usize> = (0..batch.meta.op.len()).filter(moves).collect();
    assert!(!moved.is_empty());
    let mut encoder = encoder(&options);
    encoder.schema(&schema, "shop.d.t").unwrap();
    let mut encoded = Encoded::default();
    encoder.batch(&batch, &mut encoded).unwrap();
    let buried: Vec<usize> = encoded
        .records
        .windows(2)
        .filter(|pair| pair[0].row == pair[1].row && pair[0].value.is_none())
        .map(|pair| {
            let key = |record: &EncodedRecord| encoded.bytes[record.key.clone().unwrap()].to_vec();
            assert_ne!(key(&pair[0]), key(&pair[1]));
            pair[0].row
        })
        .collect();
    assert_eq!(buried, moved);
    let deletes = batch.meta.op.iter().filter(|op| **op == Op::Delete).count();
    let tombstones = encoded.records.iter().filter(|record| record.value.is_none()).count();
    assert_eq!(tombstones, deletes + moved.len());
}

#[test]
fn records_of_a_version_that_was_not_announced_are_a_bug() {
    let schema = schema(TypeOptions::default(), true);
    let batch = batch(&schema, &FormatOptions::default(), false, &mut Random(1));
    let error = encoder(&FormatOptions::default()).batch(&batch, &mut Encoded::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[test]
fn a_record_key_of_a_column_that_is_missing_is_refused() {
    let options = FormatOptions {
        message_key_columns: [("d.t".to_owned(), vec!["nowhere".to_owned()])].into(),
        ..FormatOptions::default()
    };
    let error = encoder(&options).schema(&schema(TypeOptions::default(), true), "t").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(TableId::new("d", "t").to_string(), "d.t");
}
