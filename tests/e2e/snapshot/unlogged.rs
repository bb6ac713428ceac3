//! Statements that change rows without row events, and those that only seem to: the lake is equal, and a table is read
//! anew only where its rows may be others.

use lakeward_test_support::mysql::{MySqlOptions, RowMetadata};

use super::pipeline::initial;
use crate::whole::{Keyed, Ops, assert_equal};
use crate::world::{finish, server_with, view};

#[test]
fn a_table_is_read_anew_where_a_statement_may_have_changed_its_rows() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server_with(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql(
            "CREATE DATABASE shop; CREATE TABLE shop.t (k INT PRIMARY KEY, ts TIMESTAMP NULL); \
             CREATE TABLE shop.calm (k INT PRIMARY KEY, n INT); CREATE TABLE shop.gone (k INT PRIMARY KEY) ENGINE = MyISAM; \
             INSERT INTO shop.t VALUES (1, NULL), (2, '2026-01-02 03:04:05'); INSERT INTO shop.calm VALUES (1, 1); \
             INSERT INTO shop.gone VALUES (1)",
        );
        let pipeline = initial(&server);
        pipeline.catch_up();
        // NULL becomes the present time; a repair repairs nothing.
        server.sql("ALTER TABLE shop.t MODIFY ts TIMESTAMP(3) NOT NULL; REPAIR TABLE shop.t, shop.calm; DROP TABLE shop.gone");
        pipeline.catch_up();
        server.sql(
            "CREATE TABLE IF NOT EXISTS shop.gone (k INT PRIMARY KEY, n INT) ENGINE = MyISAM; \
             INSERT INTO shop.gone VALUES (2, 2); INSERT INTO shop.calm VALUES (2, 2)",
        );
        pipeline.catch_up();
        let keyed = ["t", "calm", "gone"].map(|table| Keyed::shop(table, &["k"]));
        let ops = assert_equal(&server, &view(&pipeline), &keyed);
        let count = |ops: &Ops, op: &str| ops.get(op).copied().unwrap_or(0);
        let read: Vec<(u64, u64)> = ops.iter().map(|ops| (count(ops, "r"), count(ops, "t"))).collect();
        assert_eq!(read, [(4, 1), (1, 0), (1, 1)], "{row_metadata:?}: {ops:?}");
    }
}

/// A backup is restored without the log, as mysqldump does it where there are GTIDs.
#[test]
fn a_table_that_was_dropped_and_restored_unlogged_keeps_its_rows() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server_with(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        let tables = ["asked", "untouched"];
        let create = |table: &str| format!("CREATE TABLE shop.{table} (k INT PRIMARY KEY, n INT)");
        server.sql("CREATE DATABASE shop");
        for table in tables {
            server.sql(&format!("{}; INSERT INTO shop.{table} VALUES (1, 1)", create(table)));
        }
        let pipeline = initial(&server);
        pipeline.catch_up();
        for table in tables {
            server.sql(&format!("DROP TABLE shop.{table}"));
            server.sql(&format!(
                "SET SESSION sql_log_bin = 0; {}; INSERT INTO shop.{table} VALUES (1, 1), (2, 2)",
                create(table)
            ));
        }
        pipeline.catch_up();
        let asked = finish(&pipeline, &["snapshot", "shop.asked", "--no-wait"]);
        assert_eq!(asked.code, Some(0), "{}", asked.printed());
        pipeline.catch_up();
        server.sql("INSERT INTO shop.asked VALUES (3, 3); ALTER TABLE shop.asked ADD INDEX (n)");
        pipeline.catch_up();
        let lives = |tables: &[&str]| {
            let keyed: Vec<Keyed> = tables.iter().map(|table| Keyed::shop(table, &["k"])).collect();
            assert_equal(&server, &view(&pipeline), &keyed)
        };
        lives(&["asked"]);
        // Of the other one the log told no rows; a statement that alters it tells that it stands.
        server.sql("ALTER TABLE shop.untouched ADD INDEX (n)");
        pipeline.catch_up();
        lives(&["asked", "untouched"]);
    }
}
