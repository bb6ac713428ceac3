//! Memory stays within its bound however many rows a table has.

use std::time::{Duration, Instant};

use lakeward_test_support::mysql::MySqlOptions;
use lakeward_test_support::wait_until;

use super::pipeline::{initial, rows_in_lake, server_with_numbers};
use crate::whole::{Keyed, assert_equal};
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
    let status = wait_until("the table to be read", Duration::from_secs(600), || {
        peak = peak.max(run.peak_mib().unwrap_or_default());
        run.ended()
    });
    assert!(status.success(), "{}", run.printed());
    println!("{rows} narrow rows: peak memory {peak:.0} MiB in {:.1?}", start.elapsed());
    assert_eq!(rows_in_lake(&pipeline), rows);
    assert!(peak < 512.0, "{peak} MiB");
    assert_equal(&server, &view(&pipeline), &[Keyed::shop("narrow", &["id"])]);
}
