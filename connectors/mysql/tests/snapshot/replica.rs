//! Rows that are read from a replica which does not have all of them.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::clock::SystemClock;
use lakeward_core::{Clock, Command, ErrorKind, Op, SnapshotState, TableStatus};
use lakeward_mysql::snapshot::SnapshotOptions;
use lakeward_test_support::mysql::{MySql, MySqlOptions};

use crate::lake::{Lake, Run, Setup, config, server, server_pairs, table};
use crate::requests::request;

fn why(lake: &Lake) -> Option<String> {
    why_stopped(lake, "t")
}

fn why_stopped(lake: &Lake, name: &str) -> Option<String> {
    match &lake.checkpoint.as_ref()?.tables.get(&table(name))?.status {
        TableStatus::Stopped { message, remedy, .. } => {
            let resume = format!("lakeward resume shop.{name}");
            assert!(remedy.as_ref().is_some_and(|remedy| remedy.contains(&resume)));
            Some(message.clone())
        }
        TableStatus::Active | TableStatus::LeftOut => None,
    }
}

#[test]
fn a_table_that_the_replica_leaves_out_is_neither_taken_for_read_nor_for_empty() {
    let server = server(MySqlOptions::default());
    server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); INSERT INTO shop.t VALUES (1, 1), (2, 2)");
    server.sql("CREATE TABLE shop.u (n INT PRIMARY KEY, v INT); INSERT INTO shop.u VALUES (1, 1)");
    let extra = vec!["--replicate-ignore-table=shop.t".to_owned()];
    let replica = MySql::start(MySqlOptions { extra, ..MySqlOptions::default() });
    replica.replicate(server.port(), true);
    replica.wait_for_applied(&server);
    let from_replica = || SnapshotOptions { replica: Some(config(&replica)), ..SnapshotOptions::default() };

    let mut lake = Lake::default();
    let mut run = Setup { snapshot: from_replica(), ..Setup::default() }.open(&server).unwrap();
    run.until(&mut lake, |lake| {
        assert!(!matches!(lake.state("t"), SnapshotState::Done), "no row of it was read");
        why(lake).is_some()
    });
    assert!(why(&lake).unwrap().contains("snapshot.replica lacks the table"));
    run.until(&mut lake, |lake| *lake.state("u") == SnapshotState::Done);
    assert_eq!(lake.pairs("u", "n", "v"), [(1, 1)]);
    drop(run);

    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    drop(run);
    lake.crash();
    let mut run = Setup { snapshot: from_replica(), ..Setup::resumed(&lake) }.open(&server).unwrap();
    run.ask(vec![request("1", Command::Snapshot { table: table("t"), condition: None })]);
    run.until(&mut lake, |lake| why(lake).is_some() || lake.count("t", Op::Truncate) > 0);
    assert_eq!(lake.count("t", Op::Truncate), 0, "nothing is voided");
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
}

/// A server with `shop.t` and `shop.u`, and one that replicates it.
fn replicated() -> (MySql, MySql) {
    let server = server(MySqlOptions::default());
    for name in ["t", "u"] {
        server.sql(&format!(
            "CREATE TABLE shop.{name} (n INT PRIMARY KEY, v INT); INSERT INTO shop.{name} VALUES (1, 1)"
        ));
    }
    let replica = MySql::start(MySqlOptions::default());
    replica.replicate(server.port(), true);
    replica.wait_for_applied(&server);
    (server, replica)
}

/// A run that reads existing rows there.
fn reading_from(replica: &MySql, server: &MySql) -> Run {
    let snapshot = SnapshotOptions { replica: Some(config(replica)), ..SnapshotOptions::default() };
    Setup { snapshot, ..Setup::default() }.open(server).unwrap()
}

/// Minutes pass within seconds.
struct Hasty(SystemClock);

impl Clock for Hasty {
    fn unix_micros(&self) -> i64 {
        self.0.unix_micros()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed() * 100
    }
}

#[test]
fn a_replica_that_is_late_for_minutes_is_waited_for_and_a_stranger_is_not() {
    let (server, replica) = replicated();
    let hasty = |replica: &MySql, clock: &Arc<Hasty>| {
        let snapshot = SnapshotOptions { replica: Some(config(replica)), ..SnapshotOptions::default() };
        Setup { snapshot, clock: clock.clone(), ..Setup::default() }.open(&server).unwrap()
    };
    let change = || server.sql("INSERT INTO shop.t SELECT MAX(n) + 1, 1 FROM shop.t");
    replica.sql("STOP REPLICA SQL_THREAD");
    change();
    let (mut lake, clock) = (Lake::default(), Arc::new(Hasty(SystemClock::start())));
    let mut run = hasty(&replica, &clock);
    change();
    run.until(&mut lake, |lake| {
        assert_ne!(*lake.state("t"), SnapshotState::Done, "the replica lacks rows of it");
        change();
        clock.elapsed() > Duration::from_secs(600)
    });
    replica.sql("START REPLICA SQL_THREAD");
    run.until_equal(&server, &mut lake);
    drop(run);

    let stranger = crate::lake::server(MySqlOptions::default());
    let error = hasty(&stranger, &clock).until_it_fails(&mut Lake::default());
    assert_eq!(error.kind(), ErrorKind::SourceLineage, "{error}");
}

/// As one that is restarted with `replicate-ignore-table`.
#[test]
fn a_table_that_the_replica_filters_leave_as_it_was_is_not_read_there() {
    let (server, replica) = replicated();
    replica.sql(
        "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (shop.t); START REPLICA SQL_THREAD",
    );
    server.sql("UPDATE shop.t SET v = 2; UPDATE shop.u SET v = 2");
    replica.wait_for_applied(&server);
    let mut lake = Lake::default();
    let mut run = reading_from(&replica, &server);
    run.until(&mut lake, |lake| {
        assert!(!matches!(lake.state("t"), SnapshotState::Done), "its rows are old ones");
        why(lake).is_some() && *lake.state("u") == SnapshotState::Done
    });
    assert!(why(&lake).unwrap().contains("filters"), "{:?}", why(&lake));
    assert_eq!((lake.pairs("t", "n", "v"), lake.pairs("u", "n", "v")), (vec![], vec![(1, 2)]));
}

#[test]
fn a_structure_that_only_the_replica_has_is_not_taken_for_the_tables() {
    let (server, replica) = replicated();
    replica.sql("SET sql_log_bin = 0; ALTER TABLE shop.t ADD COLUMN w INT");
    replica.sql(
        "STOP REPLICA; CHANGE REPLICATION SOURCE TO REQUIRE_TABLE_PRIMARY_KEY_CHECK = GENERATE; START REPLICA",
    );
    server.sql("CREATE TABLE shop.keyless (n INT, v INT); INSERT INTO shop.keyless VALUES (1, 1)");
    replica.wait_for_applied(&server);
    let mut lake = Lake::default();
    let mut run = reading_from(&replica, &server);
    run.until(&mut lake, |lake| why(lake).is_some() && why_stopped(lake, "keyless").is_some());
    for name in ["t", "keyless"] {
        let why = why_stopped(&lake, name).unwrap();
        assert!(why.contains("another structure"), "{name}: {why}");
        assert_eq!(lake.count(name, Op::Read), 0, "{name}");
    }
    run.until(&mut lake, |lake| *lake.state("u") == SnapshotState::Done);
    assert_eq!(lake.pairs("u", "n", "v"), [(1, 1)]);
}
