//! Tables that change while they are read: ALTER, TRUNCATE, DROP, CREATE; empty and hidden ones.

use std::collections::BTreeMap;

use lakeward_core::{Op, SnapshotState, TableStatus};
use lakeward_mysql::snapshot::{SnapshotMode, SnapshotOptions};
use lakeward_test_support::mysql::{MySqlOptions, RowMetadata, USER};

use crate::lake::{Lake, Setup, is_settled, server, server_pairs};

fn numbers(name: &str, rows: u32) -> String {
    format!(
        "CREATE TABLE shop.{name} (n INT PRIMARY KEY, v INT); SET cte_max_recursion_depth = 1000000; \
         INSERT INTO shop.{name} WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) \
         SELECT n, 0 FROM s;"
    )
}

#[test]
fn a_table_that_is_truncated_while_it_is_read_has_the_rows_after_that() {
    let server = server(MySqlOptions::default());
    server.sql(&numbers("t", 50_000));
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until(&mut lake, |lake| lake.count("t", Op::Read) > 0);
    server.sql("TRUNCATE shop.t; INSERT INTO shop.t VALUES (7, 7)");
    run.until_equal(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), [(7, 7)]);
    assert_eq!(lake.count("t", Op::Truncate), 1);
    assert!(lake.count("t", Op::Read) < 50_000, "the rest is not read");
}

#[test]
fn a_table_that_is_dropped_and_made_anew_while_it_is_read_has_the_new_rows() {
    let server = server(MySqlOptions::default());
    server.sql(&numbers("t", 50_000));
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until(&mut lake, |lake| lake.count("t", Op::Read) > 0);
    server.sql("DROP TABLE shop.t");
    server.sql(&numbers("t", 100));
    run.until_equal(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
}

#[test]
fn a_table_that_is_altered_while_it_is_read_has_all_rows_with_the_new_columns() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql(&numbers("t", 60_000));
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        for (at, alter) in [
            (0, "ADD COLUMN w INT AS (n + v) STORED"),
            (10_000, "ADD COLUMN x BIGINT FIRST, MODIFY v BIGINT"),
            (20_000, "RENAME COLUMN x TO y, ADD KEY (y)"),
        ] {
            run.until(&mut lake, |lake| lake.count("t", Op::Read) > at);
            server.sql(&format!("ALTER TABLE shop.t {alter}; UPDATE shop.t SET v = v + 1 WHERE n % 50 = 3"));
        }
        run.until_equal(&server, &mut lake);
        assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"), "{row_metadata:?}");
        let last = lake.schemas.iter().filter(|s| *s.table.table == *"t").max_by_key(|s| s.version).unwrap();
        let names: Vec<&str> = last.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["y", "n", "v", "w"]);
    }
}

#[test]
fn a_table_whose_key_is_altered_while_it_is_read_is_read_by_the_new_key() {
    let server = server(MySqlOptions::default());
    server.sql(&numbers("t", 40_000));
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until(&mut lake, |lake| lake.count("t", Op::Read) > 0);
    server.sql("ALTER TABLE shop.t MODIFY n VARCHAR(20) NOT NULL; DELETE FROM shop.t WHERE n LIKE '12%'");
    run.until_equal(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "CAST(n AS SIGNED)", "v"));
}

#[test]
fn a_table_made_while_the_stream_runs_is_not_read() {
    let server = server(MySqlOptions::default());
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    server.sql(&numbers("t", 100));
    server.sql("CREATE TABLE shop.c AS SELECT n, v FROM shop.t");
    run.until_equal(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
    assert_eq!((lake.count("t", Op::Create), lake.count("t", Op::Read)), (100, 0));
    assert_eq!((lake.count("c", Op::Create), lake.count("c", Op::Read)), (100, 0));
    assert_eq!(*lake.state("t"), SnapshotState::Done);
}

/// The log does not tell that it is a view.
#[test]
fn a_view_that_is_renamed_stops_nothing() {
    for (row_metadata, mode) in [
        (RowMetadata::Full, SnapshotMode::Initial),
        (RowMetadata::Minimal, SnapshotMode::Initial),
        (RowMetadata::Full, SnapshotMode::NoData),
        (RowMetadata::Minimal, SnapshotMode::NoData),
    ] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql(&numbers("t", 10));
        server.sql(&numbers("gone", 10));
        server.sql("CREATE VIEW shop.v1 AS SELECT * FROM shop.t");
        let mut lake = Lake::default();
        let mut run = Setup::mode(mode).open(&server).unwrap();
        run.until(&mut lake, is_settled);
        for statements in [
            "RENAME TABLE shop.v1 TO shop.v2; INSERT INTO shop.t VALUES (100, 0)",
            "DROP TABLE shop.gone; RENAME TABLE shop.v2 TO shop.gone; INSERT INTO shop.t VALUES (101, 0)",
        ] {
            server.sql(statements);
            let executed: lakeward_core::GtidSet = server.value("SELECT @@gtid_executed").parse().unwrap();
            run.until(&mut lake, |lake| {
                let checkpoint = lake.checkpoint.as_ref().unwrap();
                for (table, state) in checkpoint.tables.iter() {
                    assert_eq!(state.status, TableStatus::Active, "{row_metadata:?}, {mode:?}: {table}");
                }
                let lakeward_core::Position::Binlog(position) = &checkpoint.position else {
                    panic!("position")
                };
                is_settled(lake) && position.gtid_set.as_ref().is_some_and(|set| executed.is_subset_of(set))
            });
        }
        assert!(lake.latest("gone").is_empty(), "{row_metadata:?}, {mode:?}");
    }
}

#[test]
fn a_key_column_that_is_renamed_again_and_again_while_it_is_read_stops_nothing() {
    let server = server(MySqlOptions::default());
    server.sql(&numbers("t", 20_000));
    server.sql("ALTER TABLE shop.t ADD UNIQUE (n, v), ADD UNIQUE (v, n)");
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while std::time::Instant::now() < end {
                server
                    .sql("ALTER TABLE shop.t RENAME COLUMN n TO m; ALTER TABLE shop.t RENAME COLUMN m TO n");
            }
        });
        run.until(&mut lake, |lake| {
            for (table, state) in lake.checkpoint.as_ref().unwrap().tables.iter() {
                assert_eq!(state.status, TableStatus::Active, "{table}");
            }
            std::time::Instant::now() >= end
        });
    });
    run.until_equal(&server, &mut lake);
    // What was read between the two statements has the other name.
    let number = |row: &BTreeMap<String, Option<String>>, names: &[&str]| {
        let value = names.iter().find_map(|name| row.get(*name)).cloned().flatten();
        value.unwrap().parse::<i64>().unwrap()
    };
    let pair = |row: &BTreeMap<String, Option<String>>| (number(row, &["n", "m"]), number(row, &["v"]));
    let mut pairs: Vec<_> = lake.latest("t").iter().map(pair).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, server_pairs(&server, "t", "n", "v"));
}

#[test]
fn empty_tables_are_done_and_take_later_rows() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT)");
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        run.until(&mut lake, is_settled);
        server.sql("INSERT INTO shop.t VALUES (1, 2)");
        run.until_equal(&server, &mut lake);
        assert_eq!(lake.pairs("t", "n", "v"), [(1, 2)]);
    }
}

#[test]
fn a_table_that_the_account_may_not_read_stops_and_the_others_are_read() {
    let server = server(MySqlOptions::default());
    server.sql(&numbers("t", 10));
    server.sql(&numbers("secret", 10));
    server.sql("CREATE TABLE shop.half (n INT PRIMARY KEY, v INT); INSERT INTO shop.half VALUES (1, 1)");
    server.sql(&format!(
        "REVOKE SELECT ON *.* FROM {USER}; GRANT SELECT ON shop.t TO {USER}; GRANT SELECT (n) ON shop.half TO {USER}"
    ));
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until(&mut lake, |lake| lake.count("t", Op::Read) == 10);
    server.sql("INSERT INTO shop.secret VALUES (100, 0); INSERT INTO shop.half VALUES (2, 2)");
    let status = |lake: &Lake, name: &str| {
        let tables = lake.checkpoint.as_ref().unwrap().tables.clone();
        tables.get(&crate::lake::table(name)).map(|state| state.status.clone())
    };
    run.until(&mut lake, |lake| {
        ["secret", "half"].iter().all(|name| matches!(status(lake, name), Some(TableStatus::Stopped { .. })))
    });
    for name in ["secret", "half"] {
        match status(&lake, name) {
            Some(TableStatus::Stopped { kind, message, .. }) => assert_eq!(kind, "SourceGrant", "{message}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
}

#[test]
fn many_tables_are_read_at_once_and_initial_only_ends_when_all_are() {
    let server = server(MySqlOptions::default());
    for n in 0..20 {
        server.sql(&numbers(&format!("t{n}"), 500 * n));
    }
    server.sql("CREATE VIEW shop.all_of_one AS SELECT * FROM shop.t1");
    let mut lake = Lake::default();
    let snapshot =
        SnapshotOptions { mode: SnapshotMode::InitialOnly, parallelism: 4, ..SnapshotOptions::default() };
    Setup { snapshot, ..Setup::default() }.read_to_end(&server, &mut lake);
    for n in 0..20 {
        let name = format!("t{n}");
        assert_eq!(lake.pairs(&name, "n", "v"), server_pairs(&server, &name, "n", "v"), "{name}");
        assert_eq!(*lake.state(&name), SnapshotState::Done);
    }
    assert_eq!(lake.checkpoint.as_ref().unwrap().tables.len(), 20);
}
