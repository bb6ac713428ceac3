//! TRUNCATE as deletes of the keys that live.

use lakeward_core::{Op, SnapshotState};
use lakeward_mysql::OnTruncate;
use lakeward_mysql::snapshot::SnapshotMode;
use lakeward_mysql::{Start, Until};
use lakeward_test_support::mysql::{MySql, MySqlOptions};

use crate::lake::{Lake, Setup, server, server_pairs};

fn setup() -> Setup {
    let start = Start::Earliest;
    Setup {
        truncate: OnTruncate::Deletes,
        until: Until::CaughtUp,
        start,
        ..Setup::mode(SnapshotMode::NoData)
    }
}

fn equal(server: &MySql, lake: &Lake, tables: &[&str]) {
    for name in tables {
        assert_eq!(lake.pairs(name, "n", "v"), server_pairs(server, name, "n", "v"), "{name}");
    }
}

#[test]
fn each_living_key_is_deleted_at_its_place_in_the_log() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (n INT, v INT, k VARCHAR(5), PRIMARY KEY (k, n)); \
         CREATE TABLE shop.u (n INT PRIMARY KEY, v INT); \
         INSERT INTO shop.t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'); INSERT INTO shop.u VALUES (1, 1); \
         DELETE FROM shop.t WHERE n = 2; UPDATE shop.t SET k = 'd' WHERE n = 3; \
         TRUNCATE TABLE shop.t; INSERT INTO shop.t VALUES (1, 9, 'a'); UPDATE shop.u SET v = 2; \
         TRUNCATE TABLE shop.t; TRUNCATE TABLE shop.t; INSERT INTO shop.t VALUES (7, 7, 'x'); \
         TRUNCATE TABLE shop.u",
    );
    let mut lake = Lake::default();
    setup().read_to_end(&server, &mut lake);
    equal(&server, &lake, &["t", "u"]);
    let events = &lake.events[&crate::lake::table("t")];
    let ops: String = events.values().map(|event| event.op).collect();
    assert_eq!(ops, "cccddcddcdc");
    let gone = &events.values().filter(|event| event.op == "d").nth(2).unwrap().row;
    assert_eq!((gone["v"].as_deref(), gone["n"].is_some(), gone["k"].is_some()), (None, true, true));
    assert_eq!((lake.count("u", Op::Delete), lake.count("u", Op::Truncate)), (1, 0));
}

#[test]
fn a_table_without_a_key_and_one_that_is_dropped_get_a_mark() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (n INT, v INT); INSERT INTO shop.t VALUES (1, 1), (1, 1); TRUNCATE TABLE shop.t; \
         INSERT INTO shop.t VALUES (2, 2); \
         CREATE TABLE shop.u (n INT PRIMARY KEY, v INT); INSERT INTO shop.u VALUES (1, 1); DROP TABLE shop.u; \
         CREATE TABLE shop.u (n INT PRIMARY KEY, v INT); INSERT INTO shop.u VALUES (2, 2)",
    );
    let mut lake = Lake::default();
    setup().read_to_end(&server, &mut lake);
    for name in ["t", "u"] {
        assert_eq!((lake.count(name, Op::Truncate), lake.count(name, Op::Delete)), (1, 0), "{name}");
    }
    equal(&server, &lake, &["u"]);
    assert_eq!(lake.counted("t").values().sum::<i64>(), 1);
}

#[test]
fn the_same_keys_are_deleted_again_after_a_crash_with_the_same_numbers() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); CREATE TABLE shop.u (n INT PRIMARY KEY, v INT); \
         SET cte_max_recursion_depth = 1000000; INSERT INTO shop.t \
         WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 40000) SELECT n, 0 FROM s; \
         INSERT INTO shop.u SELECT * FROM shop.t; TRUNCATE TABLE shop.t; INSERT INTO shop.t VALUES (5, 5); \
         DELETE FROM shop.u WHERE n > 10",
    );
    let mut whole = Lake::default();
    setup().read_to_end(&server, &mut whole);
    equal(&server, &whole, &["t", "u"]);
    let mut lake = Lake::default();
    let mut run = Setup { until: Until::Forever, ..setup() }.open(&server).unwrap();
    run.until_pending(&mut lake, Op::Delete);
    drop(run);
    lake.crash();
    assert_eq!(lake.count("t", Op::Delete), 0, "nothing of the TRUNCATE is there");
    assert_eq!(lake.latest("t").len(), 40_000, "all before it is");
    Setup { resume: lake.resume(), ..setup() }.read_to_end(&server, &mut lake);
    for name in ["t", "u"] {
        let shown = |lake: &Lake| format!("{:?}", lake.events[&crate::lake::table(name)]);
        assert!(shown(&lake) == shown(&whole), "{name}: the same events again");
    }
}

#[test]
fn a_snapshot_that_is_open_ends_and_what_it_released_is_deleted() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); SET cte_max_recursion_depth = 1000000; INSERT INTO shop.t \
         WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000) SELECT n, 0 FROM s",
    );
    let mut lake = Lake::default();
    let mut run = Setup { truncate: OnTruncate::Deletes, ..Setup::default() }.open(&server).unwrap();
    run.until(&mut lake, |lake| lake.count("t", Op::Read) > 1_000);
    assert!(matches!(lake.state("t"), SnapshotState::Open(_)), "it is in the middle");
    server.sql("TRUNCATE TABLE shop.t; INSERT INTO shop.t VALUES (1, 1)");
    run.until_equal(&server, &mut lake);
    equal(&server, &lake, &["t"]);
    assert_eq!((lake.count("t", Op::Truncate), lake.count("t", Op::Delete)), (0, lake.count("t", Op::Read)));
}

#[test]
fn a_table_with_deletes_by_key_is_read_anew_when_it_gets_another_key() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT NOT NULL); INSERT INTO shop.t VALUES (1, 1), (2, 2)",
    );
    let mut lake = Lake::default();
    let mut run = Setup { truncate: OnTruncate::Deletes, ..Setup::default() }.open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    let by_key =
        |lake: &Lake| lake.checkpoint.as_ref().unwrap().tables[&crate::lake::table("t")].deleted_by_key;
    server.sql("TRUNCATE TABLE shop.t; INSERT INTO shop.t VALUES (3, 3)");
    run.until_equal(&server, &mut lake);
    assert_eq!((by_key(&lake), lake.count("t", Op::Truncate)), (true, 0));
    // Fewer columns of the same are in the deletes; others are not.
    server.sql("ALTER TABLE shop.t ADD COLUMN w INT; INSERT INTO shop.t VALUES (4, 4, 4)");
    run.until_equal(&server, &mut lake);
    assert_eq!((by_key(&lake), lake.count("t", Op::Truncate)), (true, 0));
    server.sql(
        "ALTER TABLE shop.t DROP PRIMARY KEY, ADD PRIMARY KEY (n, v); INSERT INTO shop.t VALUES (1, 5, 5)",
    );
    run.until_equal(&server, &mut lake);
    assert_eq!((by_key(&lake), lake.count("t", Op::Truncate)), (false, 1));
    equal(&server, &lake, &["t"]);
}
