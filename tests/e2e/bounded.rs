//! Memory stays within its bounds whatever the source does: a transaction of five million rows, two
//! hundred tables at once, a row of 64 MB. Each test prints its figures.

use std::time::Instant;

use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{LIMIT, Pipeline, wait_until};
use mysql::prelude::Queryable;

use crate::lake::LakeView;
use crate::snapshot::pipeline::{allow_locks, initial};
use crate::world::{folder, server, set, times, view};

const MIB: f64 = 1024.0 * 1024.0;

/// Runs to the end; answers the greatest resident set in MiB.
fn peak(pipeline: &Pipeline, what: &str) -> f64 {
    let mut run = pipeline.start(&["run", "--until-caught-up"]);
    let start = Instant::now();
    let mut peak = 0.0_f64;
    let status = wait_until(what, LIMIT * 3, || {
        peak = peak.max(run.peak_mib().unwrap_or_default());
        run.ended()
    });
    assert!(status.success(), "{what}: {}", run.printed());
    println!("{what}: peak memory {peak:.0} MiB in {:.1?}", start.elapsed());
    peak
}

/// Rows in the files, as the log counts them.
fn rows(view: &LakeView) -> u64 {
    let records = view.records();
    let files = records.iter().flat_map(|record| record["files"].as_array().into_iter().flatten());
    files.map(|file| file["rows"].as_u64().expect("rows of a file")).sum()
}

#[test]
fn a_transaction_of_five_million_rows() {
    large_transaction(5_000_000, "OFF");
}

#[test]
fn a_compressed_transaction_of_a_million_rows() {
    large_transaction(1_000_000, "ON");
}

fn large_transaction(rows_wanted: u64, compressed: &str) {
    let server = server();
    server.sql(
        "CREATE DATABASE shop;
         CREATE TABLE shop.big (id BIGINT PRIMARY KEY, customer INT UNSIGNED NOT NULL, name VARCHAR(40), amount DECIMAL(12,2), \
         at DATETIME(6), note TEXT);
         CREATE TABLE shop.small (id INT PRIMARY KEY); INSERT INTO shop.small VALUES (1);
         CREATE DATABASE numbers; CREATE TABLE numbers.d (n INT PRIMARY KEY);
         SET SESSION sql_log_bin = 0; INSERT INTO numbers.d VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    );
    server.sql(&format!(
        "SET SESSION binlog_transaction_compression = {compressed}; INSERT INTO shop.big SELECT n, n MOD 1000, CONCAT('name ', n MOD 7919), n / 100, \
         '2026-11-21 00:00:00' + INTERVAL n MICROSECOND, IF(n MOD 3 = 0, NULL, CONCAT('some note for row ', n)) FROM \
         (SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n + 100000 * f.n + 1000000 * g.n AS n FROM \
          numbers.d a, numbers.d b, numbers.d c, numbers.d d, numbers.d e, numbers.d f, numbers.d g WHERE g.n < 5) all_numbers \
         WHERE n < {rows_wanted}"
    ));
    let pipeline = folder(&server);
    let peak = peak(&pipeline, &format!("a transaction of {rows_wanted} rows, compression {compressed}"));
    assert_eq!(rows(&view(&pipeline)), rows_wanted + 1);
    assert!(peak < 1024.0, "{peak} MiB");
}

#[test]
fn two_hundred_tables_at_once() {
    let server = server();
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE shop").unwrap();
    for table in 0..200 {
        let statement = format!(
            "CREATE TABLE shop.t{table} (id INT PRIMARY KEY, a VARCHAR(200), b DOUBLE, c JSON, d DATETIME(3), e BLOB, f INT, g TEXT)"
        );
        conn.query_drop(statement).unwrap();
    }
    let rounds = times(40);
    for round in 0..rounds {
        conn.query_drop("START TRANSACTION").unwrap();
        for table in 0..200 {
            let rows: Vec<String> = (0..30)
                .map(|row| {
                    let id = round * 30 + row;
                    format!(
                        "({id}, '{:0>180}', {id}.5, '{{\"k\": \"{:0>120}\"}}', NOW(3), x'{:0>300}', {id}, REPEAT('text {id} ', 40))",
                        id * 7919,
                        id * 104_729,
                        id
                    )
                })
                .collect();
            conn.query_drop(format!("INSERT INTO shop.t{table} VALUES {}", rows.join(","))).unwrap();
        }
        conn.query_drop("COMMIT").unwrap();
    }
    let pipeline = folder(&server);
    let peak = peak(&pipeline, "200 tables at once");
    assert_eq!(rows(&view(&pipeline)), rounds * 200 * 30);
    assert_eq!(view(&pipeline).files().len(), 200);
    assert!(peak < 1024.0, "{peak} MiB");
}

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

#[test]
fn a_row_of_64_mb_takes_the_budget_and_three_times_the_event() {
    large_rows("OFF");
}

#[test]
fn a_row_of_64_mb_in_a_compressed_transaction_takes_no_more() {
    large_rows("ON");
}

/// Rows that do not compress, the worst case: what a row is compressed to is as large as the row.
fn large_rows(compressed: &str) {
    let server = server();
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v LONGBLOB)");
    let size = 64_000_000;
    let mut conn = server.conn();
    conn.query_drop(format!("SET SESSION binlog_transaction_compression = {compressed}")).unwrap();
    for id in 1..=4_u64 {
        conn.exec_drop("INSERT INTO shop.t VALUES (?, ?)", (id, noise(size, id))).unwrap();
    }
    let (budget_mib, event_mib) = (128.0, size as f64 / MIB);
    let mut pipeline = folder(&server);
    set(&mut pipeline, "memory", "128MiB");
    let peak = peak(&pipeline, &format!("rows of 64 MB with a budget of 128 MiB, compression {compressed}"));
    check_large_rows(&server, &pipeline, size, 4);
    // Code, threads, and what the allocator keeps between two rows.
    let process_mib = 32.0;
    let bound = process_mib + budget_mib + 3.0 * event_mib;
    println!("the bound is {bound:.0} MiB");
    assert!(peak < bound, "{peak} MiB of {bound}");
}

/// The large values came through whole: their lengths and hashes are the source's.
fn check_large_rows(server: &MySql, pipeline: &Pipeline, size: usize, rows: usize) {
    let view = view(pipeline);
    let files = view.files().remove(&("shop".to_owned(), "t".to_owned())).expect("the table is in the lake");
    let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/python/hashes.py");
    let arguments: Vec<&str> = paths.iter().map(String::as_str).collect();
    let lake = lakeward_test_support::python(&script, &arguments, "");
    let mut lake: Vec<&str> = lake.lines().collect();
    let stored = server.rows("SELECT id, LENGTH(v), SHA2(v, 256) FROM shop.t");
    let mut source: Vec<String> =
        stored.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    lake.sort_unstable();
    source.sort_unstable();
    assert_eq!(source.len(), rows);
    assert!(source.iter().all(|row| row.contains(&size.to_string())));
    assert_eq!(lake, source);
}

#[test]
fn a_table_of_large_rows_is_read_a_few_at_a_time() {
    snapshot_of_large_rows("PRIMARY KEY");
}

#[test]
fn a_table_of_large_rows_without_a_key_is_read_a_few_at_a_time() {
    snapshot_of_large_rows("NOT NULL");
}

/// Far more bytes than memory in far fewer rows than a batch has.
fn snapshot_of_large_rows(id: &str) {
    let server = server();
    let (rows, size) = (64, 8 << 20);
    server.sql(&format!(
        "SET SESSION sql_log_bin = 0; CREATE DATABASE shop; CREATE TABLE shop.t (id INT {id}, v LONGBLOB);
         INSERT INTO shop.t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) \
         SELECT n, REPEAT(CHAR(32 + n), {size}) FROM s"
    ));
    let (budget_mib, row_mib) = (64.0, size as f64 / MIB);
    let mut pipeline = initial(&server);
    allow_locks(&server, &mut pipeline);
    set(&mut pipeline, "memory", "64MiB");
    let peak = peak(&pipeline, &format!("{rows} rows of 8 MiB, {id}, with a budget of 64 MiB"));
    check_large_rows(&server, &pipeline, size, rows);
    // A row in each thread that reads: received (twice, as a buffer doubles), its values, its array.
    let (process_mib, threads) = (32.0, 2.0);
    let bound = process_mib + budget_mib + 4.0 * threads * row_mib;
    println!("the bound is {bound:.0} MiB");
    assert!(peak < bound, "{peak} MiB of {bound}");
}
