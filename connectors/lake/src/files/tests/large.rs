//! Very large values, whose column chunks we write ourselves: independent readers see what was written.

use arrow::array::BinaryArray;
use lakeward_test_support::python;
use sha2::{Digest, Sha256};

use super::*;

const LARGE: usize = 5 << 20;

/// Bytes that do not compress.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

fn shown(value: Option<&[u8]>) -> String {
    let Some(value) = value else { return "null".into() };
    let hash: String = Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}:{hash}", value.len())
}

/// What both readers must print for one file of [`large_batch`].
fn expected(texts: &[Option<String>], raws: &[Option<Vec<u8>>], ops: &[Op]) -> String {
    let mut lines = String::new();
    for reader in ["duckdb", "pyarrow"] {
        for (row, op) in ops.iter().enumerate() {
            let values = [shown(texts[row].as_deref().map(str::as_bytes)), shown(raws[row].as_deref())];
            let after = values.join(" ");
            let (before, none) = match op {
                Op::Update => (after.as_str(), "False"),
                _ => ("null null", "True"),
            };
            lines.push_str(&format!("{reader} {after} {before} {none}\n"));
        }
    }
    lines
}

#[tokio::test]
async fn values_of_many_mebibytes_are_read_back_whole_under_every_compression() {
    let column = |name: &str, ty| Column::new(name, ty, true);
    let columns = vec![
        column("id", ColumnType::Int { width: 8, unsigned: false, display_one: false }),
        column("text", ColumnType::Text { collation: 255 }),
        column("bytes", ColumnType::Binary { fixed: None }),
    ];
    let name = TableId::new("shop", "large");
    let schema = Arc::new(TableSchema::new(name, 1, columns, vec![0], TypeOptions::default()));
    let texts = vec![Some("x".into()), None, Some("naïve ☃ ".repeat(LARGE / 8)), Some(String::new()), None];
    let raws = [Some(noise(LARGE, 7)), Some(b"y".to_vec()), None, Some(noise(LARGE + 65_537, 8)), None];
    let ops = vec![Op::Update, Op::Create, Op::Update, Op::Create, Op::Delete];
    let arrays = || -> Vec<ArrayRef> {
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])),
            Arc::new(StringArray::from(texts.clone())),
            Arc::new(raws.iter().map(Option::as_deref).collect::<BinaryArray>()),
        ]
    };
    let folder = tempfile::tempdir().unwrap();
    for compression in [Compression::Zstd, Compression::Snappy, Compression::None] {
        let store = Arc::new(MemoryStore::default());
        let options = FileOptions { file_size: 64 << 20, compression: (compression, 1), ..small_options() };
        let (mut files, stats) = files(&store, options, ByteSize::mib(64));
        files.version(own(&schema));
        let rows = RecordBatch::try_new(schema.arrow.clone(), arrays()).unwrap();
        let nulls = Int64Array::from(vec![Some(1), None, Some(3), None, None]);
        let mut images = arrays();
        images[0] = Arc::new(nulls);
        let images = RecordBatch::try_new(schema.arrow.clone(), images);
        let meta = ChangeMeta {
            op: ops.clone(),
            origins: vec![OriginRun { rows: 5, first_row: 0, origin: origin(0) }],
            seq: (10..15).collect(),
            topic_partition: None,
        };
        // Ordinary rows before and after: row groups of their own.
        let small = |seq: i64| {
            let rows = rows.slice(1, 1);
            let meta = ChangeMeta {
                op: vec![Op::Create],
                origins: vec![OriginRun { rows: 1, first_row: 0, origin: origin(0) }],
                seq: vec![seq],
                topic_partition: None,
            };
            ChangeBatch { schema: Arc::clone(&schema), before: Some(rows.clone()), rows, meta }
        };
        files.write(small(1)).await.unwrap();
        let large = ChangeBatch {
            schema: Arc::clone(&schema),
            rows: rows.clone(),
            before: Some(images.unwrap()),
            meta,
        };
        files.write(large).await.unwrap();
        files.write(small(20)).await.unwrap();
        let entries = files.seal().await.unwrap();
        assert_eq!((entries[0].rows, entries[0].columns[2].nulls), (7, 2));
        assert_eq!(stats.memory_bytes.get(), 0);
        let file = store.sealed(&entries[0].upload.key);
        assert_eq!(numbers(&read(&file), "_seq"), [1, 10, 11, 12, 13, 14, 20]);
        let path = folder.path().join(format!("{compression:?}.parquet"));
        std::fs::write(&path, &file).unwrap();
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/files/tests/large.py");
        let printed = python(&script, &[path.to_str().unwrap()], "");
        let order = [1, 0, 1, 2, 3, 4, 1];
        let texts: Vec<_> = order.iter().map(|row| texts[*row].clone()).collect();
        let raws: Vec<_> = order.iter().map(|row| raws[*row].clone()).collect();
        let ops: Vec<_> = [Op::Create].iter().chain(&ops).chain(&[Op::Create]).copied().collect();
        assert_eq!(printed, expected(&texts, &raws, &ops), "{compression:?}");
    }
}
