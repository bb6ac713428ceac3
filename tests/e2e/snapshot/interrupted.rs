//! TRUNCATE, ALTER, DROP and RENAME in the middle of a snapshot.

use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{LIMIT, Lakeward, Pipeline, Signal, seed, wait_until};

use super::fire::{Fire, Target};
use super::keys::kind;
use super::pipeline::{initial, server_with_numbers, wait_until_read};
use crate::whole::{Keyed, Ops, assert_equal};
use crate::world::{restless, set, stop, view, wait_until_complete};

const ROWS: u64 = 300_000;

/// Waits until the run stands still before it reads its fourth chunk: some of the table is read, but not
/// all of it.
fn wait_for_the_middle(run: &mut Lakeward) {
    wait_until("the fourth chunk", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        run.is_stopped().then_some(())
    });
}

/// Reads `shop.t` under fire, does `statements` in the middle, and compares `compared`.
fn interrupted(options: MySqlOptions, statements: &str, compared: &[Keyed]) -> (MySql, Pipeline, Vec<Ops>) {
    let server = server_with_numbers(ROWS, options);
    let target = Target::create(&server, kind("counted"), "t", ROWS);
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    set(&mut pipeline, "snapshot/parallelism", 1);
    let fire = Fire::start(&server, &[target], seed(), 2, Duration::from_millis(2));
    let mut run = pipeline.start_with_failpoints(&["run"], "mysql.snapshot.read=stop@4");
    wait_for_the_middle(&mut run);
    server.sql(statements);
    run.signal(Signal::Cont);
    let tables: Vec<_> = compared.iter().map(|keyed| keyed.table.clone()).collect();
    wait_until_read(&pipeline, &mut run, &tables, LIMIT);
    fire.finish();
    stop(&mut run);
    pipeline.catch_up();
    let ops = assert_equal(&server, &view(&pipeline), compared);
    println!("{ops:?}");
    (server, pipeline, ops)
}

fn count(ops: &Ops, op: &str) -> u64 {
    ops.get(op).copied().unwrap_or(0)
}

#[test]
fn truncate_in_the_middle() {
    let compared = [Keyed::shop("t", &["k"])];
    let (server, _, ops) = interrupted(MySqlOptions::default(), "TRUNCATE TABLE shop.t", &compared);
    assert_eq!(count(&ops[0], "t"), 1, "{ops:?}");
    assert!(count(&ops[0], "r") < ROWS, "what TRUNCATE voided is not read to its end: {ops:?}");
    let rows: u64 = server.value("SELECT COUNT(*) FROM shop.t").parse().unwrap();
    assert!(rows < ROWS / 2, "the writers filled it again only a little: {rows}");
}

#[test]
fn alter_in_the_middle() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let statements = "ALTER TABLE shop.t ADD COLUMN extra INT AFTER k; \
                          ALTER TABLE shop.t MODIFY note VARCHAR(300); UPDATE shop.t SET extra = k WHERE k MOD 1000 = 0";
        let options = MySqlOptions { row_metadata, ..MySqlOptions::default() };
        interrupted(options, statements, &[Keyed::shop("t", &["k"])]);
    }
}

/// Of a table that nobody changed for long nothing is known but what the catalog says. It is altered after
/// the catalog was read, and changed before its rows are.
#[test]
fn a_quiet_table_is_altered_between_the_catalog_and_its_rows() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server_with_numbers(100, MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql("CREATE TABLE shop.first (k INT PRIMARY KEY)");
        let mut pipeline = initial(&server);
        set(&mut pipeline, "snapshot/parallelism", 1);
        // A new lake's source is opened twice, which would count twice.
        pipeline.catch_up();
        server.sql(
            "SET SESSION sql_log_bin = 0; CREATE TABLE shop.t (k INT PRIMARY KEY, a INT, b INT); \
             INSERT INTO shop.t SELECT i, i, -i FROM numbers.all_numbers",
        );
        let failpoints = "mysql.snapshot.seen=stop@1;mysql.snapshot.read=stop@1";
        let mut run = pipeline.start_with_failpoints(&["run"], failpoints);
        let stands_still = |run: &mut Lakeward| {
            wait_until("the run to stand still", LIMIT, || {
                assert!(run.ended().is_none(), "the run ended: {}", run.printed());
                run.is_stopped().then_some(())
            });
        };
        stands_still(&mut run);
        server.sql("ALTER TABLE shop.t RENAME COLUMN a TO b, RENAME COLUMN b TO a");
        run.signal(Signal::Cont);
        stands_still(&mut run);
        server.sql("UPDATE shop.t SET a = 1000 WHERE k <= 50");
        run.signal(Signal::Cont);
        wait_until_read(&pipeline, &mut run, &[("shop".into(), "t".into())], LIMIT);
        wait_until_complete(&pipeline, &server, &mut run);
        stop(&mut run);
        assert_equal(&server, &view(&pipeline), &[Keyed::shop("t", &["k"])]);
    }
}

#[test]
fn drop_and_create_in_the_middle() {
    let statements = "DROP TABLE shop.t; \
                      CREATE TABLE shop.t (k BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL, note VARCHAR(60)); \
                      INSERT INTO shop.t SELECT i, 7, 'second life' FROM numbers.all_numbers WHERE i <= 1000";
    interrupted(MySqlOptions::default(), statements, &[Keyed::shop("t", &["k"])]);
}

#[test]
fn rename_in_the_middle() {
    let statements = "RENAME TABLE shop.t TO shop.renamed; \
                      CREATE TABLE shop.t (k BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL, note VARCHAR(60))";
    let compared = [Keyed::shop("renamed", &["k"]), Keyed::shop("t", &["k"])];
    interrupted(MySqlOptions::default(), statements, &compared);
}
