//! Rows that are read from a replica which does not have all of them.

use lakeward_core::{Command, Op, SnapshotState, TableStatus};
use lakeward_mysql::snapshot::SnapshotOptions;
use lakeward_test_support::mysql::{MySql, MySqlOptions};

use crate::lake::{Lake, Setup, config, server, server_pairs, table};
use crate::requests::request;

fn why(lake: &Lake) -> Option<String> {
    match &lake.checkpoint.as_ref()?.tables.get(&table("t"))?.status {
        TableStatus::Stopped { message, remedy, .. } => {
            assert!(remedy.as_ref().is_some_and(|remedy| remedy.contains("lakeward resume shop.t")));
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
