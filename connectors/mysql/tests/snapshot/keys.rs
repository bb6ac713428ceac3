//! Every kind of key, read in many chunks while a writer inserts, updates (keys too) and deletes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lakeward_core::{Op, TableStatus, TypeOptions};
use lakeward_mysql::Until;
use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use mysql::prelude::Queryable;

use crate::lake::{Lake, Setup, server, server_pairs, table};

/// Of a column that descends in the key.
const DESC: &str = " DESC";

/// A key: its columns, and their values in row `{n}`.
pub(crate) const KEYS: &[(&str, &str, &str)] = &[
    ("small", "k INT", "{n} - 3000"),
    (
        "gaps",
        "k BIGINT",
        "IF({n} < 2000, {n} - 1000, IF({n} < 4000, {n} * 1000000007, 9223372036854770000 + {n} % 2000))",
    ),
    ("huge", "k BIGINT UNSIGNED", "18446744073709551615 - {n} * 7"),
    ("dec", "k DECIMAL(40,5)", "({n} - 3000) * 1234567890123.00007"),
    ("twice", "k DOUBLE", "({n} - 3000) / 7"),
    ("float", "k FLOAT; l INT", "({n} - 3000) / 7; {n}"),
    ("bits", "k BIT(40)", "{n} * 65537"),
    ("ascii", "k VARCHAR(30) CHARACTER SET latin1", "CONCAT(CHAR(65 + {n} % 26), 'é', {n}, ' ')"),
    (
        "cased",
        "k VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs",
        "CONCAT(IF({n} % 2, 'ß', '😀'), {n})",
    ),
    (
        "uncased",
        "k CHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
        "CONCAT(CHAR(97 + {n} % 26), {n}, '''\\\\')",
    ),
    ("gbk", "k VARCHAR(30) CHARACTER SET gbk", "CONCAT(CONVERT(_utf8mb4'中文' USING gbk), {n})"),
    ("sjis", "k VARCHAR(30) CHARACTER SET sjis", "CONCAT(CONVERT(_utf8mb4'表ソ' USING sjis), {n})"),
    ("wide", "k VARCHAR(30) CHARACTER SET utf16", "CONCAT('ä', {n})"),
    ("le", "k VARCHAR(30) CHARACTER SET utf16le", "CONCAT('ä', {n})"),
    ("fixed", "k BINARY(8)", "UNHEX(LPAD(HEX({n} * 256), 8, '0'))"),
    ("bytes", "k VARBINARY(40)", "CONCAT(CHAR({n} % 256), {n})"),
    ("day", "k DATE; l INT", "DATE'2020-01-01' + INTERVAL {n} % 50 DAY; {n}"),
    ("moment", "k DATETIME(6)", "TIMESTAMP'2020-01-01 00:00:00.000001' + INTERVAL {n} * 7919 MICROSECOND"),
    ("stamp", "k TIMESTAMP(3)", "TIMESTAMP'2020-01-01 00:00:00.001' + INTERVAL {n} SECOND"),
    ("clock", "k TIME(3); l INT", "SEC_TO_TIME(({n} - 3000) * 900.125); {n}"),
    ("year", "k YEAR; l INT", "IF({n} % 100, 1901 + {n} % 100, 0); {n}"),
    ("kind", "k ENUM('z','b','ü','a'); l INT", "{n} % 4 + 1; {n}"),
    ("flags", "k SET('z','b','ü','a'); l INT", "{n} % 16; {n}"),
    ("pair", "k INT; l VARCHAR(20)", "{n} % 40 - 20; CONCAT('x', {n})"),
    ("down", "k BIGINT DESC", "{n} * 3"),
    (
        "mixed",
        "k INT; l VARCHAR(20) DESC; m ENUM('a','b','c') DESC",
        "{n} % 40 - 20; CONCAT('x', {n}); {n} % 3 + 1",
    ),
    ("triple", "k TINYINT UNSIGNED; l CHAR(3); m BIGINT", "{n} % 3; CONCAT('y', {n} % 5); {n}"),
];

/// Tells a writer to stop, also where a test fails.
pub(crate) struct Stops<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) const ROWS: u32 = 6_000;

pub(crate) fn fill(server: &MySql, name: &str, columns: &str, values: &str) {
    let names: Vec<&str> = columns.split("; ").map(|column| column.split(' ').next().unwrap()).collect();
    let direction = |column: &str| if column.ends_with(DESC) { DESC } else { "" };
    let parts = columns.split("; ").zip(&names).map(|(column, name)| format!("{name}{}", direction(column)));
    let parts: Vec<String> = parts.collect();
    let columns: Vec<String> =
        columns.split("; ").map(|column| format!("{} NOT NULL", column.trim_end_matches(DESC))).collect();
    server.sql(&format!(
        "CREATE TABLE shop.{name} ({}, n INT, v INT, PRIMARY KEY ({}), KEY (n))",
        columns.join(", "),
        parts.join(", ")
    ));
    let values = values.replace("{n}", "n").replace("; ", ", ");
    server.sql(&format!(
        "SET cte_max_recursion_depth = 1000000; INSERT IGNORE INTO shop.{name} \
         WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS}) SELECT {values}, n, 0 FROM s"
    ));
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Changes rows at random until it is told to stop.
pub(crate) fn write(server: &MySql, keys: &[(&str, &str, &str)], seed: u64, stop: &AtomicBool) {
    let mut conn = server.conn();
    let mut state = seed;
    while !stop.load(Ordering::SeqCst) {
        conn.query_drop("BEGIN").unwrap();
        for _ in 0..1 + random(&mut state) % 6 {
            let (name, columns, values) = keys[random(&mut state) as usize % keys.len()];
            let n = 1 + random(&mut state) % u64::from(ROWS + 500);
            let to = 1 + random(&mut state) % u64::from(ROWS + 500);
            let of = |n: u64| values.replace("{n}", &n.to_string());
            let names = columns.split("; ").map(|column| column.split(' ').next().unwrap());
            let moved = of(to);
            let set: Vec<String> =
                names.zip(moved.split("; ")).map(|(name, value)| format!("{name} = {value}")).collect();
            let statement = match random(&mut state) % 4 {
                0 => format!("INSERT IGNORE INTO shop.{name} VALUES ({}, {n}, 1)", of(n).replace("; ", ", ")),
                1 => format!("DELETE FROM shop.{name} WHERE n = {n}"),
                2 => format!("UPDATE IGNORE shop.{name} SET {}, n = {to} WHERE n = {n}", set.join(", ")),
                _ => format!("UPDATE shop.{name} SET v = v + 1 WHERE n BETWEEN {n} AND {n} + 5"),
            };
            conn.query_drop(&statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
        let end = if random(&mut state).is_multiple_of(10) { "ROLLBACK" } else { "COMMIT" };
        conn.query_drop(end).unwrap();
    }
}

#[test]
fn tables_with_every_kind_of_key_end_equal_to_the_source_under_a_writer() {
    let server = server(MySqlOptions::default());
    for (name, columns, values) in KEYS {
        fill(&server, name, columns, values);
    }
    for seed in [1, 2] {
        println!("seed {seed}");
        let stop = Arc::new(AtomicBool::new(false));
        let mut lake = Lake::default();
        std::thread::scope(|scope| {
            let _stops = Stops(&stop);
            let writer = scope.spawn(|| write(&server, KEYS, seed, &stop));
            let mut run = Setup::default().open(&server).unwrap();
            run.until(&mut lake, |lake| {
                let tables = &lake.checkpoint.as_ref().unwrap().tables;
                tables.len() == KEYS.len() && crate::lake::is_settled(lake)
            });
            stop.store(true, Ordering::SeqCst);
            writer.join().unwrap();
            run.until_equal(&server, &mut lake);
        });
        for (name, ..) in KEYS {
            assert_eq!(
                lake.pairs(name, "n", "v"),
                server_pairs(&server, name, "n", "v"),
                "{name}, seed {seed}"
            );
            assert!(lake.count(name, Op::Read) > 0, "{name} was read");
        }
    }
}

#[test]
fn chunks_are_read_by_the_index_of_their_key() {
    let server = server(MySqlOptions::default());
    for (name, columns, values) in KEYS {
        fill(&server, name, columns, values);
    }
    let read = |name: &str| {
        server
            .value(&format!(
                "SELECT SUM(COUNT_READ) FROM performance_schema.table_io_waits_summary_by_table \
                 WHERE OBJECT_SCHEMA = 'shop' AND OBJECT_NAME = '{name}'"
            ))
            .parse::<u64>()
            .unwrap()
    };
    let before: Vec<u64> = KEYS.iter().map(|(name, ..)| read(name)).collect();
    let mut lake = Lake::default();
    Setup::mode(lakeward_mysql::snapshot::SnapshotMode::InitialOnly).read_to_end(&server, &mut lake);
    for ((name, ..), before) in KEYS.iter().zip(before) {
        let (read, rows) = (read(name) - before, lake.count(name, Op::Read) as u64);
        assert_eq!(rows, server.value(&format!("SELECT COUNT(*) FROM shop.{name}")).parse::<u64>().unwrap());
        // Once to cut, once to read, and a little.
        assert!(read < 3 * rows, "{name}: {read} rows were read for {rows}");
    }
}

/// An index of prefixes does not have the rows in the order of the key; another one has.
#[test]
fn a_table_whose_key_is_one_of_prefixes_is_read() {
    let server = server(MySqlOptions::default());
    for (name, also) in [("sorted", ""), ("by_another", ", UNIQUE (k)")] {
        server.sql(&format!(
            "CREATE TABLE shop.{name} (k VARCHAR(60) NOT NULL, n INT, v INT, PRIMARY KEY (k(8)){also}); \
             SET cte_max_recursion_depth = 1000000; INSERT INTO shop.{name} \
             WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 9000) \
             SELECT CONCAT(LPAD(n * 7 % 9001, 8, '0'), 'x'), n, 0 FROM s"
        ));
    }
    let mut lake = Lake::default();
    Setup::mode(lakeward_mysql::snapshot::SnapshotMode::InitialOnly).read_to_end(&server, &mut lake);
    for name in ["sorted", "by_another"] {
        assert_eq!(lake.pairs(name, "n", "v"), server_pairs(&server, name, "n", "v"), "{name}");
    }
    let read = server.value(
        "SELECT SUM(COUNT_READ) FROM performance_schema.table_io_waits_summary_by_index_usage \
         WHERE OBJECT_SCHEMA = 'shop' AND OBJECT_NAME = 'by_another' AND INDEX_NAME = 'k'",
    );
    assert!(read.parse::<u64>().unwrap() >= 9_000, "it is read by its other index: {read}");
}

/// The bounds of its chunks are such dates, too.
#[test]
fn a_key_of_dates_that_only_a_mode_takes_is_read() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.odd (k DATE NOT NULL, n INT NOT NULL, v INT, PRIMARY KEY (k, n)); \
         SET sql_mode = 'ALLOW_INVALID_DATES', cte_max_recursion_depth = 1000000; INSERT INTO shop.odd \
         WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 9000) \
         SELECT CONCAT('2026-02-', LPAD(1 + n % 31, 2, '0')), n, 0 FROM s",
    );
    let mut lake = Lake::default();
    Setup::mode(lakeward_mysql::snapshot::SnapshotMode::InitialOnly).read_to_end(&server, &mut lake);
    assert_eq!(lake.pairs("odd", "n", "v"), server_pairs(&server, "odd", "n", "v"));
}

/// More than two numbers would be one key.
#[test]
fn a_key_that_is_mapped_to_true_and_false_is_refused() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        a_boolean_key_is_refused(&server(MySqlOptions { row_metadata, ..MySqlOptions::default() }));
    }
}

fn a_boolean_key_is_refused(server: &MySql) {
    server.sql(
        "CREATE TABLE shop.pref (id INT, kind TINYINT(1), v INT, PRIMARY KEY (id, kind)); \
         INSERT INTO shop.pref VALUES (7, 1, 10), (7, 2, 20); CREATE TABLE shop.good (id INT PRIMARY KEY, v TINYINT(1))",
    );
    let mut lake = Lake::default();
    let types = TypeOptions { tinyint1_as_boolean: true, ..TypeOptions::default() };
    let setup = Setup::mode(lakeward_mysql::snapshot::SnapshotMode::Initial);
    Setup { until: Until::CaughtUp, types, ..setup }.read_to_end(server, &mut lake);
    let tables = &lake.checkpoint.as_ref().unwrap().tables;
    match &tables[&table("pref")].status {
        TableStatus::Stopped { message, remedy, .. } => {
            assert!(message.contains("true and false"), "{message}");
            assert!(remedy.as_deref().unwrap().contains("tinyint1_as_boolean"), "{remedy:?}");
        }
        TableStatus::Active | TableStatus::LeftOut => panic!("it must stop"),
    }
    assert_eq!(tables[&table("good")].status, TableStatus::Active);
    assert_eq!(lake.count("pref", Op::Read), 0);
}
