//! Snapshots that are broken off and gone on with, chunk by chunk; lost positions; every mode.

use lakeward_core::Op;
use lakeward_mysql::snapshot::{SnapshotMode, SnapshotOptions};
use lakeward_mysql::{Start, Until};
use lakeward_test_support::mysql::{MySql, MySqlOptions};

use crate::lake::{Lake, Setup, is_settled, server, server_pairs};

const TABLE: &str = "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); SET cte_max_recursion_depth = 1000000; \
    INSERT INTO shop.t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 60000) SELECT n, 0 FROM s";

#[test]
fn a_snapshot_goes_on_where_its_checkpoint_was_and_reads_no_chunk_twice() {
    let server = server(MySqlOptions::default());
    server.sql(TABLE);
    let mut lake = Lake::default();
    for round in 1..6 {
        let mut run = Setup::resumed(&lake).open(&server).unwrap();
        let before = lake.count("t", Op::Read);
        run.until(&mut lake, |lake| lake.count("t", Op::Read) > before || is_settled(lake));
        drop(run);
        lake.crash();
        server.sql(&format!("UPDATE shop.t SET v = {round} WHERE n % 100 = {round}; DELETE FROM shop.t WHERE n % 1000 = {round}"));
    }
    let mut run = Setup::resumed(&lake).open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
    assert!(lake.count("t", Op::Read) <= 60_000, "no row is read twice: {}", lake.count("t", Op::Read));
}

#[test]
fn a_table_added_later_is_read_while_the_others_stream() {
    let server = server(MySqlOptions::default());
    server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); INSERT INTO shop.t VALUES (1, 1)");
    let mut lake = Lake::default();
    Setup { until: Until::CaughtUp, ..Setup::default() }.read_to_end(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), [(1, 1)], "a bounded run waits for its snapshots");
    // While we are down; its CREATE lies behind the checkpoint.
    server.sql("CREATE TABLE shop.u (n INT PRIMARY KEY, v INT); INSERT INTO shop.u VALUES (2, 2)");
    Setup { until: Until::CaughtUp, ..Setup::resumed(&lake) }.read_to_end(&server, &mut lake);
    assert_eq!(lake.pairs("u", "n", "v"), [(2, 2)]);
    // Unknown to the checkpoint, and its CREATE before it: as a table that the filter captures from now on.
    let mut checkpoint = lake.checkpoint.clone().unwrap();
    let mut tables = (*checkpoint.tables).clone();
    tables.remove(&crate::lake::table("t"));
    checkpoint.tables = tables.into();
    lake.checkpoint = Some(checkpoint);
    server.sql("INSERT INTO shop.t VALUES (3, 3)");
    Setup { until: Until::CaughtUp, ..Setup::resumed(&lake) }.read_to_end(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), [(1, 1), (3, 3)]);
    assert_eq!(lake.count("t", Op::Read), 2 + 1, "both rows were read anew");
}

#[test]
fn a_lost_position_is_made_good_by_reading_all_tables_anew_where_that_is_asked_for() {
    let server = server(MySqlOptions::default());
    server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); INSERT INTO shop.t VALUES (1, 1), (2, 2)");
    server.sql("CREATE TABLE shop.gone (n INT PRIMARY KEY, v INT); INSERT INTO shop.gone VALUES (1, 1)");
    let mut lake = Lake::default();
    let bounded = |lake: &Lake| Setup {
        until: Until::CaughtUp,
        resume: lake.resume(),
        ..Setup::mode(SnapshotMode::WhenNeeded)
    };
    bounded(&lake).read_to_end(&server, &mut lake);
    server.sql("DELETE FROM shop.t WHERE n = 1; INSERT INTO shop.t VALUES (3, 3); DROP TABLE shop.gone; FLUSH BINARY LOGS");
    server.purge_logs();
    bounded(&lake).read_to_end(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), [(2, 2), (3, 3)], "what vanished unseen does not live on");
    assert_eq!(lake.pairs("gone", "n", "v"), []);
    assert!(is_settled(&lake));
}

#[test]
fn always_reads_again_at_every_start_and_no_data_never() {
    let server = server(MySqlOptions::default());
    server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); INSERT INTO shop.t VALUES (1, 1), (2, 2)");
    let mut lake = Lake::default();
    for round in 1..4 {
        let setup = Setup { until: Until::CaughtUp, ..Setup::mode(SnapshotMode::Always) };
        Setup { resume: lake.resume(), ..setup }.read_to_end(&server, &mut lake);
        assert_eq!(lake.count("t", Op::Read), 2 * round);
        assert_eq!(lake.count("t", Op::Truncate), round - 1, "a mark voids each earlier reading");
        assert_eq!(lake.pairs("t", "n", "v"), [(1, 1), (2, 2)]);
    }
    let mut lake = Lake::default();
    let setup = Setup { until: Until::CaughtUp, start: Start::Earliest, ..Setup::mode(SnapshotMode::NoData) };
    setup.read_to_end(&server, &mut lake);
    assert_eq!((lake.count("t", Op::Read), lake.count("t", Op::Create)), (0, 2));
}

#[test]
fn rows_come_from_a_replica_if_one_is_named() {
    let source = server(MySqlOptions::default());
    // Its users come from the source.
    let replica = MySql::start(MySqlOptions::default());
    source.sql("CREATE USER copy@'%' IDENTIFIED BY 'copy'; GRANT REPLICATION SLAVE ON *.* TO copy@'%'");
    replica.sql(&format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'copy', \
         SOURCE_PASSWORD = 'copy', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA",
        source.port()
    ));
    let executed = source.value("SELECT @@gtid_executed").replace('\n', "");
    assert_eq!(replica.value(&format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 60)")), "0");
    source.sql(TABLE);
    let options =
        SnapshotOptions { replica: Some(crate::lake::config(&replica)), ..SnapshotOptions::default() };
    let mut lake = Lake::default();
    let mut run = Setup { snapshot: options, ..Setup::default() }.open(&source).unwrap();
    // A transaction of the replica's own, which the stream never yields, holds nothing up.
    replica.sql("CREATE DATABASE own");
    run.until(&mut lake, |lake| lake.count("t", Op::Read) > 0);
    source.sql("UPDATE shop.t SET v = 5 WHERE n % 7 = 0; DELETE FROM shop.t WHERE n % 1000 = 5");
    run.until_equal(&source, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&source, "t", "n", "v"));
    let reads = |server: &MySql| {
        let sql = "SELECT COALESCE(SUM(COUNT_READ), 0) FROM performance_schema.table_io_waits_summary_by_table \
                   WHERE OBJECT_SCHEMA = 'shop' AND OBJECT_NAME = 't'";
        server.value(sql).parse::<u64>().unwrap()
    };
    assert!(reads(&replica) >= 60_000, "the replica was read");
}
