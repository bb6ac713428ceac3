//! Every column type, null and not, with previous images: what is read back is what was written.

use arrow::array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, ListArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Float32Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lakeward_core::{ColumnType, TypeOptions};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;

const ROWS: usize = 4;

fn types() -> Vec<(&'static str, ColumnType)> {
    let int = |width, unsigned, display_one| ColumnType::Int { width, unsigned, display_one };
    vec![
        ("i8", int(1, false, true)),
        ("u8", int(1, true, false)),
        ("i24", int(3, false, false)),
        ("u32", int(4, true, false)),
        ("u64", int(8, true, false)),
        ("dec9", ColumnType::Decimal { precision: 9, scale: 2 }),
        ("dec18", ColumnType::Decimal { precision: 18, scale: 0 }),
        ("dec38", ColumnType::Decimal { precision: 38, scale: 30 }),
        ("dec65", ColumnType::Decimal { precision: 65, scale: 30 }),
        ("f32", ColumnType::Float),
        ("f64", ColumnType::Double),
        ("bit1", ColumnType::Bit { bits: 1 }),
        ("bit9", ColumnType::Bit { bits: 9 }),
        ("year", ColumnType::Year),
        ("date", ColumnType::Date),
        ("time", ColumnType::Time { fsp: 6 }),
        ("datetime", ColumnType::Datetime { fsp: 6 }),
        ("timestamp", ColumnType::Timestamp { fsp: 6 }),
        ("text", ColumnType::Text { collation: 255 }),
        ("binary", ColumnType::Binary { fixed: Some(4) }),
        ("enum", ColumnType::Enum { labels: vec!["a".into()] }),
        ("set", ColumnType::Set { labels: vec!["a".into()] }),
        ("json", ColumnType::Json),
        ("geometry", ColumnType::Geometry),
        ("vector", ColumnType::Vector),
    ]
}

/// Least, greatest, null and a plain value of a type.
fn values(ty: &DataType) -> ArrayRef {
    match ty {
        DataType::Boolean => Arc::new(BooleanArray::from(vec![Some(false), Some(true), None, Some(true)])),
        DataType::Int8 => Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None, Some(1)])),
        DataType::Int16 => Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None, Some(1)])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None, Some(1)])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None, Some(1)])),
        DataType::Decimal128(precision, scale) => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            let array = Decimal128Array::from(vec![Some(-most), Some(most), None, Some(1)]);
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Float32 => {
            Arc::new(Float32Array::from(vec![Some(f32::MIN), Some(f32::MAX), None, Some(-0.0)]))
        }
        DataType::Float64 => {
            Arc::new(Float64Array::from(vec![Some(f64::MIN), Some(f64::MAX), None, Some(0.1)]))
        }
        DataType::Date32 => Arc::new(Date32Array::from(vec![Some(-354_285), Some(2_932_896), None, Some(0)])),
        DataType::Timestamp(_, zone) => {
            let us = vec![Some(-30_610_224_000_000_000), Some(253_402_300_799_999_999), None, Some(1)];
            Arc::new(TimestampMicrosecondArray::from(us).with_timezone_opt(zone.clone()))
        }
        DataType::Utf8 => Arc::new(StringArray::from(vec![Some(""), Some("naïve \0 ☃ 𝄞"), None, Some("x")])),
        DataType::Binary => {
            Arc::new(BinaryArray::from(vec![Some(&b""[..]), Some(b"\x00\xff"), None, Some(b"x")]))
        }
        DataType::List(_) => {
            let lists =
                vec![Some(vec![]), Some(vec![Some(1.5_f32), Some(-0.0)]), None, Some(vec![Some(2.0)])];
            let list = ListArray::from_iter_primitive::<Float32Type, _, _>(lists);
            let DataType::List(item) = ty else { unreachable!() };
            let (_, offsets, values, nulls) = list.into_parts();
            Arc::new(ListArray::new(item.clone(), offsets, values, nulls))
        }
        other => panic!("no values for {other}"),
    }
}

fn printed(array: &dyn Array) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    // Arrow prints times with a zone only if it is a number.
    let numbered = array
        .as_any()
        .downcast_ref::<TimestampMicrosecondArray>()
        .and_then(|times| times.timezone().map(|_| times.clone().with_timezone("+00:00")));
    let array = numbered.as_ref().map_or(array, |times| times as &dyn Array);
    let formatter = ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

async fn written(columns: Vec<(&'static str, ColumnType)>) -> (Bytes, RecordBatch, RecordBatch) {
    let store = Arc::new(MemoryStore::default());
    let (mut files, _) = files(&store, small_options(), ByteSize::mib(64));
    let columns: Vec<Column> = columns.into_iter().map(|(name, ty)| Column::new(name, ty, true)).collect();
    let schema =
        Arc::new(TableSchema::new(TableId::new("d", "t"), 1, columns, vec![0], TypeOptions::default()));
    files.version(own(&schema));
    let arrays: Vec<ArrayRef> = schema.arrow.fields().iter().map(|field| values(field.data_type())).collect();
    let rows = RecordBatch::try_new(schema.arrow.clone(), arrays.clone()).unwrap();
    // The delete has an image of nulls only: none.
    let images = arrays.iter().map(|array| {
        let nulls = new_null_array(array.data_type(), 1);
        arrow::compute::concat(&[&array.slice(1, 1), &nulls, &nulls, &array.slice(0, 1)]).unwrap()
    });
    let before = RecordBatch::try_new(schema.arrow.clone(), images.collect()).unwrap();
    let meta = ChangeMeta {
        op: vec![Op::Update, Op::Create, Op::Delete, Op::Delete],
        seq: vec![1, 2, 3, 4],
        topic_partition: None,
        origins: vec![
            OriginRun { rows: 1, first_row: 0, origin: Origin { gtid: None, ..origin(5) } },
            OriginRun { rows: 3, first_row: 0, origin: origin(6) },
        ],
    };
    let batch = ChangeBatch { schema, rows: rows.clone(), before: Some(before.clone()), meta };
    files.write(batch).await.unwrap();
    let entries = files.seal().await.unwrap();
    (store.sealed(&entries[0].upload.key), rows, before)
}

#[tokio::test]
async fn values_of_every_type_come_back() {
    let (file, rows, before) = written(types()).await;
    let back = read(&file);
    assert_eq!(back.num_rows(), ROWS);
    for (place, field) in rows.schema().fields().iter().enumerate() {
        let read = back.column_by_name(field.name()).unwrap();
        assert_eq!(printed(read), printed(rows.column(place)), "{}", field.name());
        if !matches!(field.data_type(), DataType::List(_)) {
            assert_eq!(read.data_type(), field.data_type());
            assert_eq!(read.to_data(), rows.column(place).to_data(), "{}", field.name());
        }
    }
    let column = |name: &str| printed(back.column_by_name(name).unwrap());
    assert_eq!(column("_op"), ["u", "c", "d", "d"]);
    assert_eq!(column("_seq"), ["1", "2", "3", "4"]);
    assert_eq!(column("_gtid"), ["NULL", "uuid:7", "uuid:7", "uuid:7"]);
    assert_eq!(column("_binlog"), ["binlog.000001:4711"; 4]);
    assert_eq!(column("_schema"), ["1"; 4]);
    assert_eq!(column("_commit_ts")[0], "1970-01-01T00:00:00.000005Z");
    let images = back.column_by_name("_before").unwrap();
    let images = images.as_any().downcast_ref::<arrow::array::StructArray>().unwrap();
    let present: Vec<bool> = (0..ROWS).map(|row| images.is_valid(row)).collect();
    assert_eq!(present, [true, false, false, true]);
    for (place, image) in images.columns().iter().enumerate() {
        assert_eq!(printed(image), printed(before.column(place)), "{}", images.column_names()[place]);
    }
}

#[tokio::test]
async fn the_parquet_schema_is_the_documented_one() {
    let types = types().into_iter().filter(|(name, _)| {
        ["i8", "u64", "dec9", "datetime", "timestamp", "text", "binary", "vector", "bit1", "date"]
            .contains(name)
    });
    let (file, _, _) = written(types.collect()).await;
    let reader = SerializedFileReader::new(file).unwrap();
    let metadata = reader.metadata().file_metadata();
    let mut text = Vec::new();
    parquet::schema::printer::print_schema(&mut text, metadata.schema());
    let text = String::from_utf8(text).unwrap();
    let (own, before) = text.split_once("  OPTIONAL group _before {\n").unwrap();
    assert_eq!(own, include_str!("schema.txt"));
    assert_eq!(before.lines().count(), own.lines().count() - 7 + 2, "{before}");
    let told: Vec<_> = metadata.key_value_metadata().unwrap().iter().map(|kv| kv.key.as_str()).collect();
    let names =
        ["lakeward.id", "lakeward.pipeline", "lakeward.database", "lakeward.table", "lakeward.version"];
    assert_eq!(told, names);
}
