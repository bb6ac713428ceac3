//! What Parquet costs per row of the 12-column workload: each column under each encoding, then
//! the whole way through `Files` into a store that keeps nothing.
//!
//! `cargo run --release -p lakeward-lake --example parquet_cost [columns|files|tables]`

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a measuring tool")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use lakeward_core::stats::LakeStats;
use lakeward_core::{
    ByteSize, ChangeBatch, ChangeMeta, Column, ColumnType, Op, Origin, OriginRun, Result, TableId,
    TableSchema, TypeOptions,
};
use lakeward_lake::columns::LakeVersion;
use lakeward_lake::config::{Compression, FileOptions, MetaColumns};
use lakeward_lake::files::{Files, FilesOptions};
use lakeward_lake::layout::{Layout, Partitioning, Preset};
use lakeward_lake::objects::{OpenUpload, Part, Put, Shown, Store, Stretch, Upload};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

const BATCH: usize = 8192;

/// Takes everything, keeps nothing.
#[derive(Default)]
struct Nowhere {
    bytes: AtomicU64,
}

impl Store for Nowhere {
    async fn get(&self, _: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }
    async fn get_stretch(&self, _: &str, _: Stretch) -> Result<Option<(Bytes, u64)>> {
        Ok(None)
    }
    async fn put_if_absent(&self, _: &str, _: Bytes) -> Result<Put> {
        Ok(Put::Created)
    }
    async fn put(&self, _: &str, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn remove(&self, _: &str) -> Result<()> {
        Ok(())
    }
    async fn list(&self, _: &str, _: &str, _: usize) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn begin(&self, key: &str, lakeward_id: &str) -> Result<Upload> {
        Ok(Upload { key: key.into(), upload_id: key.into(), lakeward_id: lakeward_id.into() })
    }
    async fn part(&self, _: &Upload, number: u32, body: Bytes) -> Result<Part> {
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        Ok(Part { number, etag: String::new(), bytes: body.len() as u64 })
    }
    async fn sealed(&self, _: &Upload, _: &[Part]) -> Result<()> {
        Ok(())
    }
    async fn show(&self, _: &Upload, _: &[Part]) -> Result<Shown> {
        Ok(Shown::Visible)
    }
    async fn abort(&self, _: &OpenUpload) -> Result<()> {
        Ok(())
    }
    async fn open_uploads(&self, _: &str) -> Result<Vec<OpenUpload>> {
        Ok(Vec::new())
    }
    fn part_size(&self) -> usize {
        8 << 20
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 31) as f64
    }
}

fn schema(table: &str) -> Arc<TableSchema> {
    let int = |width, unsigned| ColumnType::Int { width, unsigned, display_one: false };
    let labels = ["new", "paid", "shipped", "cancelled", "returned"].map(str::to_owned).to_vec();
    let columns = [
        ("id", int(8, false)),
        ("customer", ColumnType::Text { collation: 255 }),
        ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("created", ColumnType::Datetime { fsp: 6 }),
        ("updated", ColumnType::Timestamp { fsp: 0 }),
        ("attrs", ColumnType::Json),
        ("status", ColumnType::Enum { labels }),
        ("note", ColumnType::Text { collation: 255 }),
        ("qty", int(4, true)),
        ("score", ColumnType::Double),
        ("flag", int(1, false)),
        ("day", ColumnType::Date),
    ];
    let columns = columns.map(|(name, ty)| Column::new(name, ty, true));
    Arc::new(TableSchema::new(
        TableId::new("shop", table),
        1,
        columns.into(),
        vec![0],
        TypeOptions::default(),
    ))
}

/// Rows like those of `bench/workload.py`.
fn rows(schema: &TableSchema, first: usize, random: &mut Random, words: &Words) -> RecordBatch {
    let ids: Vec<i64> = (first..first + BATCH).map(|id| id as i64).collect();
    let amounts: Vec<i128> = ids.iter().map(|_| i128::from(random.below(10_000_000))).collect();
    let base = 1_767_225_600_000_000_i64;
    let created: Vec<i64> =
        ids.iter().map(|id| base + id * 1_731_000 + random.below(1_000_000) as i64).collect();
    let attrs = ids.iter().zip(&amounts).map(|(id, a)| {
        let coupon = if id % 4 != 0 { "null".into() } else { format!("\"C{}\"", a % 5000) };
        let source = ["web", "app", "pos"][(id % 3) as usize];
        let (x, y, z) = (a % 977, a % 313, a % 71);
        let w = random.below(20_000);
        format!(
            "{{\"w\": {}.{:03}, \"src\": \"{source}\", \"items\": [{x}, {y}, {z}], \"coupon\": {coupon}}}",
            w / 1000,
            w % 1000
        )
    });
    let attrs: Vec<String> = attrs.collect();
    let pick = |random: &mut Random, from: &[String]| from[random.below(from.len() as u64) as usize].clone();
    let customers: Vec<String> = ids.iter().map(|_| pick(random, &words.customers)).collect();
    let notes: Vec<String> = ids.iter().map(|_| pick(random, &words.notes)).collect();
    let status: Vec<&str> =
        ids.iter().map(|_| ["new", "paid", "shipped"][random.below(3) as usize]).collect();
    let seconds: Vec<i64> = created.iter().map(|us| us - us % 1_000_000).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids)),
        Arc::new(StringArray::from(customers)),
        Arc::new(Decimal128Array::from(amounts.clone()).with_precision_and_scale(12, 2).unwrap()),
        Arc::new(TimestampMicrosecondArray::from(created.clone())),
        Arc::new(TimestampMicrosecondArray::from(seconds).with_timezone("UTC")),
        Arc::new(StringArray::from(attrs)),
        Arc::new(StringArray::from(status)),
        Arc::new(StringArray::from(notes)),
        Arc::new(Int64Array::from_iter_values(amounts.iter().map(|a| (a % 50) as i64))),
        Arc::new(Float64Array::from_iter_values((0..BATCH).map(|_| (random.unit() * 1e10).round() / 1e6))),
        Arc::new(Int8Array::from_iter_values(amounts.iter().map(|a| (a % 2) as i8))),
        Arc::new(Date32Array::from_iter_values(created.iter().map(|us| (us / 86_400_000_000) as i32))),
    ];
    RecordBatch::try_new(schema.arrow.clone(), columns).unwrap()
}

struct Words {
    customers: Vec<String>,
    notes: Vec<String>,
}

fn words(random: &mut Random) -> Words {
    let list: Vec<&str> = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor \
        incididunt ut labore et dolore magna aliqua naïve Übergröße"
        .split_whitespace()
        .collect();
    let mut word = |n: u64| list[random.below(n) as usize].to_owned();
    let customers =
        (0..20_000).map(|n| format!("{}.{}{n}@example-{}.com", word(15), word(15), n % 50)).collect();
    let notes = (0..4000).map(|n| (0..6 + n % 17).map(|_| word(21)).collect::<Vec<_>>().join(" ")).collect();
    Words { customers, notes }
}

/// Transactions of 100, 20 and 10 rows: inserts, updates, deletes as 65 : 25 : 10.
fn meta(first_seq: i64, offset: &mut u64, random: &mut Random) -> ChangeMeta {
    let mut meta = ChangeMeta::default();
    while meta.op.len() < BATCH {
        let (op, rows) = match random.below(650 / 100 + 250 / 20 + 100 / 10) {
            0..6 => (Op::Create, 100),
            6..18 => (Op::Update, 20),
            _ => (Op::Delete, 10),
        };
        let rows = usize::min(rows, BATCH - meta.op.len());
        *offset += rows as u64 * 170 + 200;
        meta.op.resize(meta.op.len() + rows, op);
        let gtid = format!("3b1f6c2e-8f00-11ef-9d3e-0242ac120002:{}", *offset / 1000);
        let origin = Origin {
            commit_us: 1_795_236_600_000_000 + (*offset / 100) as i64,
            gtid: Some(gtid.into()),
            file: "binlog.000002".into(),
            offset: *offset,
            ..Origin::default()
        };
        meta.origins.push(OriginRun { rows, first_row: 0, origin });
    }
    meta.seq = (first_seq..).take(BATCH).collect();
    meta
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Each column alone, under each encoding and codec.
fn columns(batches: &[RecordBatch]) {
    let total = (batches.len() * BATCH) as f64;
    println!("{:12} {:26} {:>8} {:>8}", "column", "encoding, codec", "ns/row", "B/row");
    for (place, field) in batches[0].schema().fields().iter().enumerate() {
        let text = matches!(field.data_type(), arrow::datatypes::DataType::Utf8);
        let encodings: &[(&str, bool, Encoding)] = if text {
            &[
                ("plain", false, Encoding::PLAIN),
                ("dictionary", true, Encoding::PLAIN),
                ("delta length", false, Encoding::DELTA_LENGTH_BYTE_ARRAY),
            ]
        } else if matches!(field.data_type(), arrow::datatypes::DataType::Float64) {
            &[("plain", false, Encoding::PLAIN), ("dictionary", true, Encoding::PLAIN)]
        } else {
            &[
                ("plain", false, Encoding::PLAIN),
                ("dictionary", true, Encoding::PLAIN),
                ("delta", false, Encoding::DELTA_BINARY_PACKED),
            ]
        };
        for (name, dictionary, encoding) in encodings {
            for (codec_name, codec) in [
                ("none", Codec::UNCOMPRESSED),
                ("snappy", Codec::SNAPPY),
                ("zstd-1", Codec::ZSTD(ZstdLevel::try_new(1).unwrap())),
            ] {
                for statistics in [EnabledStatistics::None, EnabledStatistics::Page] {
                    let properties = WriterProperties::builder()
                        .set_compression(codec)
                        .set_dictionary_enabled(*dictionary)
                        .set_encoding(*encoding)
                        .set_statistics_enabled(statistics)
                        .build();
                    let schema = Arc::new(Schema::new(vec![Field::clone(field)]));
                    let before = cpu_seconds();
                    let mut bytes = 0;
                    for _ in 0..2 {
                        let mut writer =
                            ArrowWriter::try_new(std::io::sink(), schema.clone(), Some(properties.clone()))
                                .unwrap();
                        for batch in batches {
                            writer.write(&batch.project(&[place]).unwrap()).unwrap();
                        }
                        writer.finish().unwrap();
                        bytes = writer.bytes_written();
                    }
                    let ns = (cpu_seconds() - before) / 2.0 * 1e9 / total;
                    let name = format!("{name}, {codec_name}, stats {statistics:?}");
                    println!("{:12} {name:34} {ns:8.0} {:8.1}", field.name(), bytes as f64 / total);
                }
            }
        }
    }
}

/// Everything through `Files`, `tables` tables in turn.
async fn files(
    batches: &[RecordBatch],
    tables: usize,
    turns: usize,
    compression: Compression,
    memory: ByteSize,
) {
    let schemas: Vec<_> = (0..tables).map(|n| schema(&format!("orders{n}"))).collect();
    let store = Arc::new(Nowhere::default());
    let stats = Arc::new(LakeStats::default());
    let options = FilesOptions {
        layout: Layout { preset: Preset::DtHr, partitioning: Partitioning::Hour },
        files: FileOptions {
            file_size: 128 << 20,
            row_group_size: 32 << 20,
            compression: (compression, 1),
            columns: MetaColumns::default(),
        },
        memory,
        pipeline: "bench".into(),
        epoch: 1,
        stats: Arc::clone(&stats),
    };
    let mut files = Files::new(options, Arc::clone(&store));
    for schema in &schemas {
        files.version(Arc::new(LakeVersion::of_own_names(TableSchema::clone(schema))));
    }
    let mut random = Random(7);
    let (mut seq, mut offset) = (1, 4);
    let metas: Vec<ChangeMeta> = batches.iter().map(|_| meta(0, &mut offset, &mut random)).collect();
    let started = std::time::Instant::now();
    let before = cpu_seconds();
    let mut rows = 0;
    for turn in 0..turns {
        for (place, batch) in batches.iter().enumerate() {
            let mut meta = metas[place].clone();
            meta.seq = (seq..).take(BATCH).collect();
            let schema = Arc::clone(&schemas[(turn * batches.len() + place) % tables]);
            files.write(ChangeBatch { schema, rows: batch.clone(), before: None, meta }).await.unwrap();
            seq += BATCH as i64;
            rows += BATCH;
        }
    }
    let entries = files.seal().await.unwrap();
    let cpu = cpu_seconds() - before;
    println!(
        "{tables} tables, {compression:?}: {rows} rows, {:.3} µs CPU/row, {:.3} µs wall/row, {:.1} B/row, {} files, peak {} MiB",
        cpu * 1e6 / rows as f64,
        started.elapsed().as_secs_f64() * 1e6 / rows as f64,
        store.bytes.load(Ordering::Relaxed) as f64 / rows as f64,
        entries.len(),
        peak_mib(),
    );
    assert_eq!(stats.memory_bytes.get(), 0, "memory is given back");
}

#[tokio::main]
async fn main() {
    let what = std::env::args().nth(1).unwrap_or_else(|| "files".into());
    let mut random = Random(42);
    let words = words(&mut random);
    let schema = schema("orders");
    let batches: Vec<RecordBatch> = (0..64).map(|n| rows(&schema, n * BATCH, &mut random, &words)).collect();
    println!("input ready, peak {} MiB", peak_mib());
    match what.as_str() {
        "columns" => columns(&batches),
        "tables" => files(&batches, 200, 100, Compression::Zstd, ByteSize::mib(256)).await,
        _ => {
            for compression in [Compression::None, Compression::Snappy, Compression::Zstd, Compression::Zstd]
            {
                files(&batches, 1, 4, compression, ByteSize::mib(256)).await;
            }
        }
    }
}
