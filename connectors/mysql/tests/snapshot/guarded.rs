//! A server whose administrators guard it: by limits that every session has of its globals, and against
//! questions about all of its tables.

use lakeward_core::{Command, Op, TypeOptions};
use lakeward_mysql::snapshot::SnapshotMode;
use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata, USER};

use crate::lake::{Lake, Setup, is_settled, server, server_pairs, table};
use crate::requests::{answer, request};

fn fill(server: &MySql, rows: u32, value: &str) {
    server.sql(&format!(
        "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT, pad VARCHAR(2000)); SET cte_max_recursion_depth = 1000000; \
         INSERT INTO shop.t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) \
         SELECT n, 0, {value} FROM s"
    ));
}

/// How often the server was asked for tables, and how many it told of.
fn listed(server: &MySql) -> (u64, u64) {
    let sum = |what: &str| -> u64 {
        let sum = server.value(&format!(
            "SELECT SUM({what}) FROM performance_schema.events_statements_summary_by_digest \
             WHERE DIGEST_TEXT LIKE '%ENGINE%TABLE_COLLATION%'"
        ));
        sum.parse().unwrap()
    };
    (sum("COUNT_STAR"), sum("SUM_ROWS_SENT"))
}

#[test]
fn a_global_limit_of_selects_cuts_neither_a_snapshot_nor_a_part_short() {
    let server = server(MySqlOptions::default());
    fill(&server, 5_000, "NULL");
    server.sql("SET GLOBAL sql_select_limit = 10, GLOBAL max_join_size = 100");
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server.sql("SET GLOBAL sql_select_limit = DEFAULT, GLOBAL max_join_size = DEFAULT");
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
    server.sql(
        "SET sql_log_bin = 0; DELETE FROM shop.t WHERE n % 10 = 0 AND n < 4000; UPDATE shop.t SET v = 9 WHERE n < 4000; \
         SET GLOBAL sql_select_limit = 10, GLOBAL max_join_size = 100",
    );
    let part = Command::Snapshot { table: table("t"), condition: Some("n < 4000".to_owned()) };
    run.ask(vec![request("1", part)]);
    run.until(&mut lake, |lake| answer(lake, "1").is_some() && is_settled(lake));
    server.sql("SET GLOBAL sql_select_limit = DEFAULT, GLOBAL max_join_size = DEFAULT");
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
}

#[test]
fn a_chunk_of_one_table_does_not_ask_for_all_others() {
    const OTHERS: u64 = 100;
    let server = server(MySqlOptions::default());
    let others: String =
        (0..OTHERS).map(|i| format!("CREATE TABLE other.t{i} (id INT PRIMARY KEY);")).collect();
    server.sql(&format!("CREATE DATABASE other; {others}"));
    // Some hundred chunks of a quarter of a megabyte.
    fill(&server, 20_000, "REPEAT('x', 1500)");
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v").len(), 20_000);
    let (asked, sent) = listed(&server);
    println!("{USER} asked {asked} times for tables and was sent {sent}");
    assert!(asked > 50, "there were chunks: {asked}");
    // All of them where a run begins, then the one.
    assert!(sent < asked + 5 * OTHERS, "{asked} times asked, {sent} sent");
}

/// Only the catalog knows of them whether a TINYINT is a boolean.
#[test]
fn the_first_rows_of_a_table_do_not_ask_for_all_others() {
    const TABLES: u64 = 100;
    let server = server(MySqlOptions { row_metadata: RowMetadata::Full, ..MySqlOptions::default() });
    let names: Vec<String> = (0..TABLES).map(|i| format!("t{i}")).collect();
    for name in &names {
        server.sql(&format!("CREATE TABLE shop.{name} (n INT PRIMARY KEY, v TINYINT(1))"));
    }
    let types = TypeOptions { tinyint1_as_boolean: true, ..TypeOptions::default() };
    let mut run = Setup { types, ..Setup::mode(SnapshotMode::NoData) }.open(&server).unwrap();
    for name in &names {
        server.sql(&format!("INSERT INTO shop.{name} VALUES (1, 1)"));
    }
    let mut lake = Lake::default();
    run.until(&mut lake, |lake| names.iter().all(|name| lake.count(name, Op::Create) == 1));
    for name in &names {
        assert_eq!(lake.latest(name)[0]["v"].as_deref(), Some("true"), "{name}");
    }
    let (asked, sent) = listed(&server);
    println!("{USER} asked {asked} times for tables and was sent {sent}");
    assert!(asked >= TABLES && sent < asked + 5 * TABLES, "{asked} times asked, {sent} sent");
}
