//! What happens between a chunk's SELECT and its release, step by step: the rows that were read are older
//! than the changes that the stream brings, and must not overtake them.

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{LIMIT, Signal, wait_until};

use super::keys::kind;
use super::pipeline::{initial, server_with_numbers, wait_until_read};
use crate::whole::{Keyed, Ops, assert_equal};
use crate::world::{set, stop, view, wait_until_complete};

/// The first chunk has fewer.
const ROWS: u64 = 3000;

/// Reads `shop.t`; after the SELECT of its first chunk, and before it is noted what that saw, does
/// `statements`. Then the lake must be equal.
fn read_around(server: &MySql, statements: &str) -> Ops {
    server.sql("DROP TABLE IF EXISTS shop.t; CREATE TABLE IF NOT EXISTS shop.first (k INT PRIMARY KEY)");
    let mut pipeline = initial(server);
    set(&mut pipeline, "snapshot/parallelism", 1);
    // A new lake's source is opened twice, which would count twice.
    pipeline.catch_up();
    let counted = kind("counted");
    let unlogged = format!("{}; {}", counted.create("t"), counted.fill("t", ROWS));
    server.sql(&format!("SET SESSION sql_log_bin = 0; {unlogged}"));
    // The first time it is the plan.
    let mut run = pipeline.start_with_failpoints(&["run"], "mysql.snapshot.seen=stop@2");
    wait_until("the chunk to be read", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        run.is_stopped().then_some(())
    });
    server.sql(statements);
    run.signal(Signal::Cont);
    wait_until_read(&pipeline, &mut run, &[("shop".into(), "t".into())], LIMIT);
    wait_until_complete(&pipeline, server, &mut run);
    stop(&mut run);
    assert_equal(server, &view(&pipeline), &[Keyed::shop("t", &["k"])]).remove(0)
}

#[test]
fn what_changes_between_select_and_release_wins() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server_with_numbers(ROWS, MySqlOptions { row_metadata, ..MySqlOptions::default() });
        let count = |ops: &Ops, op: &str| ops.get(op).copied().unwrap_or(0);
        let ops = read_around(
            &server,
            "UPDATE shop.t SET n = 1000 WHERE k BETWEEN 10 AND 19; DELETE FROM shop.t WHERE k BETWEEN 20 AND 29; \
             UPDATE shop.t SET k = k + 100000 WHERE k BETWEEN 30 AND 39; UPDATE shop.t SET k = 20 WHERE k = 40",
        );
        assert_eq!(count(&ops, "r"), ROWS - 31, "{row_metadata:?}: their rows are not released: {ops:?}");
        assert_eq!((count(&ops, "u"), count(&ops, "d"), count(&ops, "c")), (10, 21, 11), "{ops:?}");
        let ops = read_around(
            &server,
            "ALTER TABLE shop.t ADD COLUMN extra INT DEFAULT 5 AFTER k; UPDATE shop.t SET extra = 6 WHERE k < 5",
        );
        assert_eq!((count(&ops, "u"), count(&ops, "t")), (4, 0), "{row_metadata:?}: {ops:?}");
        let ops = read_around(&server, "TRUNCATE TABLE shop.t; INSERT INTO shop.t (k, n) VALUES (7, 7)");
        assert_eq!((count(&ops, "r"), count(&ops, "c")), (0, 1), "{row_metadata:?}: {ops:?}");
    }
}
