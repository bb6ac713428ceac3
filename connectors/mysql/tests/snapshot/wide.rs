//! Rows of very different sizes, and at very different distances.

use lakeward_core::Op;
use lakeward_mysql::snapshot::SnapshotOptions;
use lakeward_test_support::mysql::MySqlOptions;

use crate::lake::{Lake, Setup, is_settled, server};

/// The two large ones make chunks of one row; the distance between them is that of all the small ones.
#[test]
fn a_chunk_of_one_row_that_a_wide_gap_cut_does_not_take_all_rows_behind_it() {
    const SMALL: usize = 50_000;
    let server = server(MySqlOptions::default());
    server.sql(&format!(
        "CREATE TABLE shop.t (id BIGINT PRIMARY KEY, v LONGTEXT); SET cte_max_recursion_depth = 1000000; \
         INSERT INTO shop.t VALUES (1, REPEAT('x', 600 * 1024)), (1000000000, REPEAT('y', 600 * 1024)); \
         INSERT INTO shop.t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {SMALL}) \
         SELECT 1000000000 + n, REPEAT('z', 200) FROM s"
    ));
    let mut lake = Lake::default();
    let snapshot = SnapshotOptions { parallelism: 1, ..SnapshotOptions::default() };
    let mut run = Setup { snapshot, ..Setup::default() }.open(&server).unwrap();
    // A chunk leaves at one boundary; two of half a megabyte may leave at once.
    let (mut before, mut most) = (0, 0);
    run.until(&mut lake, |lake| {
        let read = lake.count("t", Op::Read);
        most = most.max(read - before);
        before = read;
        is_settled(lake)
    });
    println!("{most} rows at one boundary at most");
    assert_eq!(lake.count("t", Op::Read), SMALL + 2);
    assert!(most < SMALL / 4, "{most} rows at one boundary");
}
