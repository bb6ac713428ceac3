//! `snapshot.mode`: when existing rows are read, and what each start does after that.

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{LIMIT, Pipeline, wait_until};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{initial, server_with_numbers, wait_until_read};
use crate::whole::{Keyed, Ops, assert_equal};
use crate::world::{
    CAUGHT_UP_WITH_STOPPED_TABLES, catches_up_with, ended, finish, set, stop, view, wait_until_complete,
};

const ROWS: u64 = 5000;

fn server_with_table() -> MySql {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    Target::create(&server, kind("counted"), "t", ROWS);
    server
}

fn mode(server: &MySql, mode: &str) -> Pipeline {
    let mut pipeline = initial(server);
    set(&mut pipeline, "snapshot/mode", mode);
    pipeline
}

fn compared(server: &MySql, pipeline: &Pipeline) -> Ops {
    assert_equal(server, &view(pipeline), &[Keyed::shop("t", &["k"])]).remove(0)
}

fn count(ops: &Ops, op: &str) -> u64 {
    ops.get(op).copied().unwrap_or(0)
}

#[test]
fn initial_reads_each_table_once() {
    let server = server_with_table();
    let pipeline = mode(&server, "initial");
    for round in 0..3 {
        server.sql(&format!("UPDATE shop.t SET n = n + 1 WHERE k = {round} + 1"));
        pipeline.catch_up();
        let ops = compared(&server, &pipeline);
        assert_eq!((count(&ops, "r"), count(&ops, "t")), (ROWS, 0), "{ops:?}");
    }
    assert_eq!(count(&compared(&server, &pipeline), "u"), 2, "the first update was there before");
}

#[test]
fn an_empty_table_is_done_at_once() {
    let server = server_with_table();
    server.sql("CREATE TABLE shop.empty (k INT PRIMARY KEY)");
    let pipeline = mode(&server, "initial");
    pipeline.catch_up();
    assert_eq!(view(&pipeline).snapshot_states()[&("shop".to_owned(), "empty".to_owned())], "done");
    server.sql("INSERT INTO shop.empty VALUES (1)");
    pipeline.catch_up();
    let ops = assert_equal(&server, &view(&pipeline), &[Keyed::shop("empty", &["k"])]);
    assert_eq!(ops[0].keys().collect::<Vec<_>>(), ["c"]);
}

/// The run ends by itself, when all tables are in the lake, complete up to one position.
#[test]
fn initial_only_ends_when_all_is_read() {
    let server = server_with_table();
    let pipeline = mode(&server, "initial_only");
    let mut run = pipeline.start(&["run"]);
    let first = ended(&mut run, LIMIT);
    assert_eq!(first.code, Some(0), "{}", first.printed());
    let ops = compared(&server, &pipeline);
    assert_eq!((count(&ops, "r"), ops.len()), (ROWS, 1), "{ops:?}");
}

#[test]
fn always_reads_at_every_start_and_what_vanished_unseen_does_not_live_on() {
    let server = server_with_table();
    let pipeline = mode(&server, "always");
    pipeline.catch_up();
    server.sql("SET SESSION sql_log_bin = 0; DELETE FROM shop.t WHERE k <= 100; UPDATE shop.t SET n = 50 WHERE k = 500");
    pipeline.catch_up();
    let ops = compared(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (2 * ROWS - 100, 1), "{ops:?}");
}

#[test]
fn always_does_not_read_again_after_a_lost_connection() {
    let server = server_with_table();
    let pipeline = mode(&server, "always");
    let mut run = pipeline.start(&["run"]);
    let t = ("shop".to_owned(), "t".to_owned());
    wait_until_read(&pipeline, &mut run, &[t], LIMIT);
    for round in 0..3 {
        let streams = "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
        let stream = server.value(streams);
        server.sql(&format!("KILL {stream}; UPDATE shop.t SET n = n + 1 WHERE k = {round}"));
        wait_until("another stream", LIMIT, || {
            let streams = server.rows(streams);
            streams.iter().any(|row| row[0].as_ref().is_some_and(|id| *id != stream)).then_some(())
        });
        wait_until_complete(&pipeline, &server, &mut run);
    }
    stop(&mut run);
    let ops = compared(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (ROWS, 0), "{ops:?}");
}

/// Nobody asked for the rows that were there; now somebody does.
#[test]
fn a_pipeline_without_data_that_is_to_have_it_later_reads_all_tables() {
    let server = server_with_table();
    let mut pipeline = mode(&server, "no_data");
    pipeline.catch_up();
    server.sql("UPDATE shop.t SET n = n + 1 WHERE k <= 10; DELETE FROM shop.t WHERE k = 20");
    pipeline.catch_up();
    set(&mut pipeline, "snapshot/mode", "initial");
    for _ in 0..2 {
        server.sql("UPDATE shop.t SET n = n + 1 WHERE k <= 5");
        pipeline.catch_up();
        let ops = compared(&server, &pipeline);
        assert_eq!((count(&ops, "r"), count(&ops, "t")), (ROWS - 1, 1), "once: {ops:?}");
    }
}

/// The log that is needed to go on is gone.
fn lose_the_position(server: &MySql) {
    server.sql(
        "UPDATE shop.t SET n = n + 1 WHERE k <= 10; DELETE FROM shop.t WHERE k > 4000; FLUSH BINARY LOGS",
    );
    server.purge_logs();
}

#[test]
fn when_needed_says_that_the_position_is_lost_and_reads_again() {
    let server = server_with_table();
    let pipeline = mode(&server, "when_needed");
    pipeline.catch_up();
    server.sql("UPDATE shop.t SET n = n + 1 WHERE k = 1");
    pipeline.catch_up();
    let ops = compared(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (ROWS, 0), "it was not needed: {ops:?}");
    lose_the_position(&server);
    let again = pipeline.catch_up();
    let printed = again.printed();
    assert!(printed.contains("PositionLost") || printed.contains("position"), "it says so: {printed}");
    let ops = compared(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (ROWS + 4000, 1), "{ops:?}");
    server.sql("UPDATE shop.t SET n = n + 1 WHERE k = 3");
    pipeline.catch_up();
    compared(&server, &pipeline);
}

#[test]
fn initial_refuses_when_the_position_is_lost() {
    let server = server_with_table();
    let pipeline = mode(&server, "initial");
    pipeline.catch_up();
    let before = view(&pipeline).objects();
    lose_the_position(&server);
    let refused = finish(&pipeline, &["run", "--until-caught-up"]);
    assert_ne!(refused.code, Some(0), "{}", refused.printed());
    assert!(refused.printed().contains("when_needed"), "the remedy is named: {}", refused.printed());
    assert_eq!(before, view(&pipeline).objects());
}

/// The table was there, and written to, long before its name came into `tables.include`.
#[test]
fn a_table_added_to_the_config_later_is_read_while_the_others_go_on() {
    let server = server_with_table();
    Target::create(&server, kind("binary_16"), "later", ROWS);
    let mut pipeline = mode(&server, "initial");
    set(&mut pipeline, "tables/include", serde_json::json!(["shop.t"]));
    pipeline.catch_up();
    assert_eq!(view(&pipeline).files().len(), 1);
    server.sql("UPDATE shop.later SET n = 9 LIMIT 50; UPDATE shop.t SET n = 9 WHERE k < 50");
    set(&mut pipeline, "tables/include", serde_json::json!(["shop.t", "shop.later"]));
    let mut run = pipeline.start(&["run"]);
    wait_until_read(&pipeline, &mut run, &[("shop".into(), "later".into())], LIMIT);
    server.sql("UPDATE shop.later SET n = n + 1 LIMIT 7; UPDATE shop.t SET n = n + 1 WHERE k < 7");
    wait_until("the last updates", LIMIT, || {
        let tail = server.value("SELECT REPLACE(@@gtid_executed, '\n', '')");
        let checkpoint = view(&pipeline).checkpoint()?;
        (checkpoint["position"]["binlog"]["gtid_set"].as_str() == Some(tail.as_str())).then_some(())
    });
    stop(&mut run);
    let tables = [Keyed::shop("t", &["k"]), Keyed::shop("later", &["k"])];
    let ops = assert_equal(&server, &view(&pipeline), &tables);
    assert_eq!((count(&ops[0], "r"), count(&ops[0], "u")), (ROWS, 49 + 6), "{ops:?}");
    assert_eq!((count(&ops[1], "r"), count(&ops[1], "t")), (ROWS, 0), "{ops:?}");
}

fn statuses(pipeline: &Pipeline) -> Vec<String> {
    let checkpoint = view(pipeline).checkpoint().expect("a checkpoint");
    let tables = checkpoint["tables"].as_array().expect("tables").iter();
    tables.map(|table| format!("{}: {}", table["table"][1], table["status"]["state"])).collect()
}

/// What happened to it meanwhile, to its structure too, was followed by nobody: it is read anew.
#[test]
fn a_table_left_out_and_taken_in_again() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server_with_numbers(ROWS, MySqlOptions { row_metadata, ..MySqlOptions::default() });
        Target::create(&server, kind("counted"), "t", ROWS);
        Target::create(&server, kind("counted"), "other", 100);
        let mut pipeline = mode(&server, "initial");
        pipeline.catch_up();
        set(&mut pipeline, "tables/exclude", serde_json::json!(["shop.t"]));
        server.sql("DELETE FROM shop.t WHERE k <= 100; UPDATE shop.t SET n = n + 1 WHERE k = 200");
        pipeline.catch_up();
        assert_eq!(statuses(&pipeline), [r#""other": "active""#, r#""t": "left_out""#]);
        server.sql("ALTER TABLE shop.t ADD COLUMN extra INT DEFAULT 7 FIRST; INSERT INTO shop.t (k, n) VALUES (9001, 1)");
        server.sql("UPDATE shop.other SET n = 5");
        pipeline.catch_up();
        set(&mut pipeline, "tables/exclude", serde_json::json!([]));
        server.sql("UPDATE shop.t SET n = n + 1 WHERE k = 300");
        pipeline.catch_up();
        let tables = [Keyed::shop("t", &["k"]), Keyed::shop("other", &["k"])];
        let ops = assert_equal(&server, &view(&pipeline), &tables);
        assert_eq!((count(&ops[0], "r"), count(&ops[0], "t")), (2 * ROWS - 99, 1), "{ops:?}");
        assert_eq!((count(&ops[1], "r"), count(&ops[1], "t")), (100, 0), "the other goes on: {ops:?}");
    }
}

/// Nothing may be read there: the table stops, and says how it is brought back.
#[test]
fn a_table_left_out_and_taken_in_again_stops_where_no_rows_are_read() {
    let server = server_with_table();
    let mut pipeline = mode(&server, "initial");
    pipeline.catch_up();
    set(&mut pipeline, "tables/exclude", serde_json::json!(["shop.t"]));
    pipeline.catch_up();
    set(&mut pipeline, "tables/exclude", serde_json::json!([]));
    set(&mut pipeline, "snapshot/mode", "no_data");
    catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    let stopped = view(&pipeline).stopped();
    let remedy = stopped[&("shop".to_owned(), "t".to_owned())].remedy.as_deref();
    assert_eq!(remedy, Some("lakeward resume shop.t"));
}
