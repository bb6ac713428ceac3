//! Memory stays within its bound however many rows a table has. Ten million rows are compared by their sums.

use std::path::Path;
use std::time::Instant;

use lakeward_test_support::mysql::MySqlOptions;
use lakeward_test_support::{LIMIT, python, wait_until};

use super::pipeline::{initial, rows_in_lake, server_with_numbers};
use crate::lake::LakeView;
use crate::world::view;

#[test]
fn a_narrow_table_is_read_under_512_mib() {
    let rows = 10_000_000;
    let server = server_with_numbers(1000, MySqlOptions::default());
    server.sql("CREATE TABLE shop.narrow (id BIGINT NOT NULL PRIMARY KEY, v INT NOT NULL)");
    for part in 0..rows / 1_000_000 {
        server.sql(&format!(
            "SET SESSION sql_log_bin = 0; INSERT INTO shop.narrow SELECT {part}000000 + a.i * 1000 + b.i - 1000, b.i \
             FROM numbers.all_numbers a JOIN numbers.all_numbers b ORDER BY 1"
        ));
    }
    let pipeline = initial(&server);
    let mut run = pipeline.start(&["run", "--until-caught-up"]);
    let (start, mut peak) = (Instant::now(), 0.0_f64);
    let status = wait_until("the table to be read", LIMIT * 4, || {
        peak = peak.max(run.peak_mib().unwrap_or_default());
        run.ended()
    });
    assert!(status.success(), "{}", run.printed());
    println!("{rows} narrow rows: peak memory {peak:.0} MiB in {:.1?}", start.elapsed());
    assert_eq!(rows_in_lake(&pipeline), rows);
    assert!(peak < 512.0, "{peak} MiB");
    let view = view(&pipeline);
    view.assert_all_named();
    let source: Vec<String> =
        server.rows(&format!("SELECT {SUMS} FROM shop.narrow")).concat().into_iter().flatten().collect();
    let lake = sums_in_lake(
        &view,
        &format!("{SUMS}, MIN(_seq), MAX(_seq), COUNT(DISTINCT id), COUNT(DISTINCT _seq)"),
    );
    let (sums, numbers) = lake.split_at(source.len());
    assert_eq!(sums, source);
    let [first, last, ids, seqs] = numbers else { panic!("{numbers:?}") };
    assert_eq!([ids, seqs], [&rows.to_string(); 2], "each row comes once");
    view.assert_count(rows as i64, first.parse().ok(), last.parse().ok());
}

/// What other rows would not give, in both dialects of SQL.
const SUMS: &str = "COUNT(*), SUM(id), SUM(v), BIT_XOR(id * 1000 + v), SUM(id % 1000003 * v)";

fn sums_in_lake(view: &LakeView, sums: &str) -> Vec<String> {
    let files = view.files().into_values().flatten().map(|path| path.display().to_string());
    let arguments: Vec<String> = std::iter::once(sums.to_owned()).chain(files).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/python/sums.py");
    python(&script, &arguments, "").lines().map(str::to_owned).collect()
}
