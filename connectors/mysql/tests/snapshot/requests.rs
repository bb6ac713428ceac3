//! What operators ask of a running source.

use lakeward_core::{Command, Op, Request, Resume, SnapshotState, TableStatus};
use lakeward_mysql::snapshot::{SnapshotLock, SnapshotMode, SnapshotOptions};
use lakeward_mysql::{Start, Until};
use lakeward_test_support::mysql::{MySqlOptions, USER};

use crate::lake::{Lake, Setup, is_settled, server, server_pairs, table};

pub(crate) fn request(id: &str, command: Command) -> Request {
    Request { id: id.into(), command }
}

pub(crate) fn answer(lake: &Lake, id: &str) -> Option<Option<String>> {
    let answers = &lake.checkpoint.as_ref()?.requests;
    answers.iter().find(|answer| answer.id == id).map(|answer| answer.refused.clone())
}

const TABLE: &str = "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); SET cte_max_recursion_depth = 1000000; \
    INSERT INTO shop.t WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 40000) SELECT n, 0 FROM s";

#[test]
fn a_whole_table_is_read_anew_and_rows_that_vanished_unseen_do_not_live_on() {
    let server = server(MySqlOptions::default());
    server.sql(TABLE);
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server
        .sql("SET sql_log_bin = 0; DELETE FROM shop.t WHERE n % 10 = 0; UPDATE shop.t SET v = 9 WHERE n = 1");
    assert_eq!(lake.pairs("t", "n", "v").len(), 40_000);
    let ask = request("1", Command::Snapshot { table: table("t"), condition: None });
    run.ask(vec![ask.clone()]);
    run.until(&mut lake, |lake| answer(lake, "1").is_some());
    assert_eq!(answer(&lake, "1"), Some(None));
    run.until(&mut lake, is_settled);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
    assert_eq!(lake.count("t", Op::Truncate), 1);
    // The same list again changes nothing; without the request its answer goes.
    run.ask(vec![ask]);
    server.sql("INSERT INTO shop.t VALUES (100000, 1)");
    run.until_equal(&server, &mut lake);
    assert_eq!((answer(&lake, "1"), lake.count("t", Op::Truncate)), (Some(None), 1));
    run.ask(Vec::new());
    run.until(&mut lake, |lake| answer(lake, "1").is_none());
}

#[test]
fn a_part_is_read_anew_by_its_condition_and_a_wrong_condition_is_refused() {
    let server = server(MySqlOptions::default());
    server.sql(TABLE);
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server.sql("SET sql_log_bin = 0; UPDATE shop.t SET v = 9 WHERE n < 100");
    let part = |id, condition: &str| {
        request(id, Command::Snapshot { table: table("t"), condition: Some(condition.to_owned()) })
    };
    run.ask(vec![part("1", "n < 50 OR n = 70"), part("2", "no_such_column = 1"), part("3", "n < 5) OR (1")]);
    run.until(&mut lake, |lake| answer(lake, "3").is_some());
    assert_eq!(answer(&lake, "1"), Some(None));
    assert!(answer(&lake, "2").unwrap().unwrap().contains("no_such_column"));
    assert!(answer(&lake, "3").unwrap().is_some());
    run.until(&mut lake, is_settled);
    let nines: Vec<i64> =
        lake.pairs("t", "n", "v").iter().filter(|(_, v)| *v == 9).map(|(n, _)| *n).collect();
    assert_eq!(nines, (1..50).chain([70]).collect::<Vec<i64>>());
    assert_eq!(lake.count("t", Op::Truncate), 0, "a part voids nothing");
}

#[test]
fn a_part_whose_condition_names_what_was_dropped_since_is_given_up() {
    is_given_up("old > 5", "ALTER TABLE shop.t DROP COLUMN old");
    is_given_up("old IN (SELECT old FROM shop.other)", "DROP TABLE shop.other");
}

fn is_given_up(condition: &str, drop: &str) {
    let server = server(MySqlOptions::default());
    server.sql(TABLE);
    server.sql(
        "ALTER TABLE shop.t ADD COLUMN old INT DEFAULT 7, ADD COLUMN wide CHAR(200) DEFAULT 'x'; \
         CREATE TABLE shop.other (old INT PRIMARY KEY); INSERT INTO shop.other VALUES (7)",
    );
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    let mut asked =
        vec![request("1", Command::Snapshot { table: table("t"), condition: Some(condition.to_owned()) })];
    run.ask(asked.clone());
    run.until(&mut lake, |lake| matches!(lake.state("t"), SnapshotState::Open(open) if open.plan.is_some()));
    asked.push(request("2", Command::Pause { table: table("t") }));
    run.ask(asked.clone());
    run.until(&mut lake, |lake| answer(lake, "2").is_some());
    assert!(matches!(lake.state("t"), SnapshotState::Open(open) if open.paused), "it is in the middle");
    server.sql(drop);
    asked.push(request("3", Command::Continue { table: table("t") }));
    run.ask(asked);
    run.until(&mut lake, |lake| answer(lake, "3").is_some() && is_settled(lake));
    assert_eq!(*lake.state("t"), SnapshotState::Done, "as it was before");
}

/// As a dump does that is loaded: they are executed, and in no log.
#[test]
fn transactions_that_an_operator_named_as_purged_are_not_waited_for() {
    let server = server(MySqlOptions::default());
    server.sql(TABLE);
    server.sql("CREATE TABLE shop.keyless (n INT, v INT); INSERT INTO shop.keyless VALUES (1, 2)");
    server.sql(&format!("GRANT LOCK TABLES ON *.* TO {USER}"));
    let mut lake = Lake::default();
    let snapshot = SnapshotOptions { lock: SnapshotLock::Tables, ..SnapshotOptions::default() };
    let mut run = Setup { snapshot, ..Setup::default() }.open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server.sql("SET GLOBAL gtid_purged = '+3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3'");
    run.ask(vec![
        request("1", Command::Snapshot { table: table("t"), condition: None }),
        request("2", Command::Snapshot { table: table("keyless"), condition: None }),
    ]);
    run.until(&mut lake, |lake| answer(lake, "2").is_some() && is_settled(lake));
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
    assert_eq!(lake.counted("keyless").len(), 1);
}

#[test]
fn a_snapshot_waits_while_it_is_paused_and_is_given_up_when_cancelled() {
    let server = server(MySqlOptions::default());
    server.sql(TABLE);
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    let mut asked = vec![request("1", Command::Pause { table: table("t") })];
    run.ask(asked.clone());
    run.until(&mut lake, |lake| answer(lake, "1").is_some());
    run.until(&mut lake, |_| true);
    let paused = match answer(&lake, "1") {
        Some(None) => true,
        other => panic!("{other:?}"),
    };
    assert!(paused && matches!(lake.state("t"), SnapshotState::Open(open) if open.paused));
    asked.push(request("2", Command::Continue { table: table("t") }));
    asked.push(request("3", Command::Continue { table: table("t") }));
    run.ask(asked.clone());
    run.until(&mut lake, is_settled);
    assert_eq!(answer(&lake, "2"), Some(None));
    assert!(answer(&lake, "3").unwrap().unwrap().contains("not paused"));
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
    asked.push(request("4", Command::Snapshot { table: table("t"), condition: None }));
    asked.push(request("5", Command::Cancel { table: table("t") }));
    run.ask(asked);
    run.until(&mut lake, |lake| answer(lake, "5").is_some());
    assert_eq!((answer(&lake, "4"), answer(&lake, "5")), (Some(None), Some(None)));
    assert_eq!((lake.checkpoint.as_ref().unwrap().retired, lake.state("t")), (1, &SnapshotState::Done));
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"), "nothing is voided");
}

#[test]
fn a_bounded_run_resumes_a_stopped_table_and_reads_it_anew() {
    let server = server(MySqlOptions::default());
    server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); INSERT INTO shop.t VALUES (1, 1)");
    let mut lake = Lake::default();
    let until = Until::CaughtUp;
    let setup = Setup { until: until.clone(), start: Start::Earliest, ..Setup::mode(SnapshotMode::NoData) };
    setup.read_to_end(&server, &mut lake);
    server.sql("SET binlog_format = STATEMENT; UPDATE shop.t SET v = 2");
    Setup { until: until.clone(), resume: lake.resume(), ..Setup::mode(SnapshotMode::NoData) }
        .read_to_end(&server, &mut lake);
    let status = |lake: &Lake| lake.checkpoint.as_ref().unwrap().tables[&table("t")].status.clone();
    assert!(matches!(status(&lake), TableStatus::Stopped { .. }));
    server.sql("INSERT INTO shop.t VALUES (2, 2)");
    let requests = vec![request("1", Command::Resume { table: table("t") })];
    let resume = Resume { requests, ..lake.resume() };
    Setup { until, resume, ..Setup::mode(SnapshotMode::NoData) }.read_to_end(&server, &mut lake);
    assert_eq!(status(&lake), TableStatus::Active);
    assert_eq!(lake.pairs("t", "n", "v"), [(1, 2), (2, 2)]);
    assert_eq!(answer(&lake, "1"), Some(None));
}
