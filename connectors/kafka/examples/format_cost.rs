//! What a row costs to write and to read, for the workload of the benchmarks: 12 columns, change events in
//! transactions of 20. Prints microseconds of one core per row. For `avro` a registry must be named:
//! `format_cost http://127.0.0.1:8081`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use lakeward_core::clock::SystemClock;
use lakeward_core::{
    ChangeBatch, ChangeMeta, Column, ColumnType, Op, Origin, OriginRun, Result, TableId, TableSchema,
    TypeOptions,
};
use lakeward_kafka::format::{Decoder, Encoded, Encoder, Format, FormatOptions, Received};
use lakeward_kafka::registry::RegistryOptions;

const ROWS: usize = 8192;
const RUNS: usize = 12;

fn schema() -> Arc<TableSchema> {
    let int = |width, unsigned| ColumnType::Int { width, unsigned, display_one: false };
    let text = || ColumnType::Text { collation: 255 };
    let labels = ["new", "paid", "shipped", "cancelled", "returned"].map(str::to_owned).to_vec();
    let columns = vec![
        Column::new("id", int(8, false), false),
        Column::new("customer", text(), false),
        Column::new("amount", ColumnType::Decimal { precision: 12, scale: 2 }, false),
        Column::new("created", ColumnType::Datetime { fsp: 6 }, false),
        Column::new("updated", ColumnType::Timestamp { fsp: 0 }, true),
        Column::new("attrs", ColumnType::Json, true),
        Column::new("status", ColumnType::Enum { labels }, false),
        Column::new("note", text(), true),
        Column::new("qty", int(4, true), false),
        Column::new("score", ColumnType::Double, true),
        Column::new("flag", int(1, false), false),
        Column::new("day", ColumnType::Date, true),
    ];
    Arc::new(TableSchema::new(TableId::new("shop", "orders"), 1, columns, vec![0], TypeOptions::default()))
}

fn batch(schema: &Arc<TableSchema>) -> Result<ChangeBatch> {
    let rows = || 0..ROWS as i64;
    let texts =
        |text: &dyn Fn(i64) -> String| Arc::new(StringArray::from_iter_values(rows().map(text))) as ArrayRef;
    let start = 1_767_225_600_000_000_i64;
    let amounts = Decimal128Array::from_iter_values(rows().map(|row| i128::from(row) * 7919 % 10_000_000));
    let times =
        |step: i64| TimestampMicrosecondArray::from_iter_values(rows().map(move |row| start + row * step));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows())),
        texts(&|row| format!("lorem.ipsum{}@example-{}.com", row * 7 % 99_999, row % 50)),
        Arc::new(amounts.with_data_type(schema.arrow.field(2).data_type().clone())),
        Arc::new(times(1_731_017)),
        Arc::new(times(1_000_000).with_timezone("UTC")),
        texts(&|row| {
            format!(r#"{{"w": {}.25, "src": "web", "items": [{row}, 12, 7], "coupon": null}}"#, row % 20)
        }),
        texts(&|row| ["new", "paid", "shipped"][row as usize % 3].to_owned()),
        texts(&|row| "lorem ipsum dolor sit amet naïve Übergröße ".repeat(1 + row as usize % 3)),
        Arc::new(Int64Array::from_iter_values(rows().map(|row| row % 50))),
        Arc::new(Float64Array::from_iter_values(rows().map(|row| row as f64 * 1.234_567))),
        Arc::new(Int8Array::from_iter_values(rows().map(|row| (row % 2) as i8))),
        Arc::new(Date32Array::from_iter_values(rows().map(|row| 20_454 + (row / 1000) as i32))),
    ];
    let rows_batch = RecordBatch::try_new(Arc::clone(&schema.arrow), arrays).map_err(|error| {
        lakeward_core::Error::new(lakeward_core::ErrorKind::Bug, "the sample is malformed").caused_by(error)
    })?;
    let origins = (0..ROWS).step_by(20).map(|from| OriginRun {
        rows: 20.min(ROWS - from),
        first_row: 0,
        origin: Origin {
            commit_us: start + from as i64,
            gtid: Some(format!("3b1f6c2e-8f00-11ef-9d3e-0242ac120002:{from}").into()),
            file: "binlog.000002".into(),
            offset: 4711 + from as u64 * 170,
            server_id: 1,
            thread: Some(12),
            began: None,
        },
    });
    let op = |row: usize| {
        if row % 100 < 65 {
            Op::Create
        } else if row % 100 < 90 {
            Op::Update
        } else {
            Op::Delete
        }
    };
    let meta = ChangeMeta {
        op: (0..ROWS).map(op).collect(),
        seq: rows().collect(),
        topic_partition: None,
        origins: origins.collect(),
    };
    Ok(ChangeBatch { schema: Arc::clone(schema), rows: rows_batch, before: None, meta })
}

/// The best of all runs, per row.
fn best(times: &[Duration]) -> f64 {
    let best = times.iter().min().copied().unwrap_or_default();
    best.as_secs_f64() * 1e6 / ROWS as f64
}

fn measure(name: &str, options: &FormatOptions) -> Result<()> {
    let schema = schema();
    let batch = batch(&schema)?;
    let mut encoder = Encoder::new(options, "shop", Arc::new(SystemClock::start()))?;
    encoder.schema(&schema, "shop.shop.orders")?;
    let mut table = Decoder::new(options)?.table(schema)?;
    let mut encoded = Encoded::default();
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        encoder.batch(&batch, &mut encoded)?;
        writes.push(start.elapsed());
        let start = Instant::now();
        for record in &encoded.records {
            let Some(value) = record.value.clone() else { continue };
            table.push(&Received {
                key: record.key.clone().and_then(|key| encoded.bytes.get(key)),
                value: encoded.bytes.get(value).unwrap_or_default(),
                op: batch.meta.op[record.row],
                seq: batch.meta.seq[record.row],
            })?;
        }
        table.finish()?;
        reads.push(start.elapsed());
    }
    let bytes = encoded.bytes.len() / ROWS;
    println!("{name:<28} write {:.2} µs, read {:.2} µs, {bytes} bytes per row", best(&writes), best(&reads));
    Ok(())
}

fn main() -> Result<()> {
    measure("debezium-json", &FormatOptions::default())?;
    measure("debezium-json, schemas", &FormatOptions { schemas: true, ..FormatOptions::default() })?;
    if let Some(url) = std::env::args().nth(1) {
        let registry = RegistryOptions { url, username: None, password: None, ca: None };
        let options = FormatOptions {
            format: Format::Avro,
            schema_registry: Some(registry),
            ..FormatOptions::default()
        };
        measure("avro", &options)?;
    }
    Ok(())
}
