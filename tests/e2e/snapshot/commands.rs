//! What an operator asks of a pipeline: read a table or a part of it anew, let that wait, give it up,
//! bring back a stopped table; while the pipeline runs and while it does not.

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::{LIMIT, Lakeward, Pipeline, wait_until};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{busy_threads, initial, server_with_numbers, wait_until_read};
use crate::lake::Name;
use crate::whole::{Keyed, Ops, assert_equal, compare};
use crate::world::{
    CAUGHT_UP_WITH_STOPPED_TABLES, catches_up_with, finish, set, stop, view, wait_until_complete,
};

const ROWS: u64 = 5000;
const REFUSED: Option<i32> = Some(4);
/// More running threads than this: chunks wait.
const MANY_THREADS: u64 = 20;

fn names() -> [Name; 1] {
    [("shop".to_owned(), "t".to_owned())]
}

/// A server with `shop.t` and `shop.other`, and a running pipeline that has read both.
fn begin() -> (MySql, Pipeline, Lakeward) {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    Target::create(&server, kind("counted"), "t", ROWS);
    Target::create(&server, kind("counted"), "other", 100);
    let mut pipeline = initial(&server);
    set(&mut pipeline, "snapshot/max_threads_running", MANY_THREADS);
    let mut run = pipeline.start(&["run"]);
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    (server, pipeline, run)
}

/// Asks, and expects to be told that it is done.
fn ask(pipeline: &Pipeline, arguments: &[&str]) {
    let asked = finish(pipeline, arguments);
    assert_eq!(asked.code, Some(0), "{arguments:?}: {}", asked.printed());
}

/// Changes that no log tells of.
fn change_unseen(server: &MySql, statements: &str) {
    server.sql(&format!("SET SESSION sql_log_bin = 0; {statements}"));
}

/// `shop.t` in the lake is the source's.
fn equal(server: &MySql, pipeline: &Pipeline) -> Ops {
    assert_equal(server, &view(pipeline), &[Keyed::shop("t", &["k"])]).remove(0)
}

fn count(ops: &Ops, op: &str) -> u64 {
    ops.get(op).copied().unwrap_or(0)
}

/// Whether the table's snapshot is open, and whether it waits.
fn open(pipeline: &Pipeline) -> Option<bool> {
    let checkpoint = view(pipeline).checkpoint()?;
    let mut tables = checkpoint["tables"].as_array()?.iter();
    let snapshot = &tables.find(|table| table["table"][1] == "t")?["snapshot"];
    (snapshot["state"] == "open").then(|| snapshot["paused"] == true)
}

#[test]
fn a_table_is_read_anew_and_what_vanished_unseen_does_not_live_on() {
    let (server, pipeline, mut run) = begin();
    change_unseen(&server, "DELETE FROM shop.t WHERE k <= 100; UPDATE shop.t SET n = 70 WHERE k = 4000");
    server.sql("UPDATE shop.t SET n = n + 1 WHERE k = 200");
    ask(&pipeline, &["snapshot", "shop.t"]);
    server.sql("UPDATE shop.t SET n = n + 1 WHERE k = 300");
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    let ops = equal(&server, &pipeline);
    assert_eq!(count(&ops, "t"), 1, "{ops:?}");
    assert!(count(&ops, "r") >= 2 * ROWS - 102, "{ops:?}");
    let other = assert_equal(&server, &view(&pipeline), &[Keyed::shop("other", &["k"])]).remove(0);
    assert_eq!((count(&other, "r"), other.len()), (100, 1), "the others are left alone: {other:?}");
}

/// Reads the rows from 1001 to 2000 anew after changes that no log tells of.
fn read_a_part(unseen: &str) -> (MySql, Pipeline) {
    let (server, pipeline, mut run) = begin();
    change_unseen(&server, unseen);
    ask(&pipeline, &["snapshot", "shop.t", "--where", "k > 1000 AND k <= 2000"]);
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    (server, pipeline)
}

#[test]
fn a_part_of_a_table_is_read_anew() {
    let (server, pipeline) = read_a_part("UPDATE shop.t SET note = 'unseen' WHERE k IN (7, 1500)");
    let compared = compare(&server, &view(&pipeline), &[Keyed::shop("t", &["k"])]);
    let ops = &compared.ops[0];
    assert_eq!((count(ops, "r"), count(ops, "t")), (ROWS + 1000, 0), "only the part was read: {ops:?}");
    // Both images of the row.
    let wrong = compared.wrong.join("\n");
    assert!(wrong.contains(": 2 rows differ"), "outside of the part all is as it was: {wrong}");
    change_unseen(&server, "UPDATE shop.t SET note = 'filled 7' WHERE k = 7");
    equal(&server, &pipeline);
}

#[test]
fn what_vanished_unseen_is_deleted_when_a_part_is_read_anew() {
    let unseen = "DELETE FROM shop.t WHERE k <= 10 OR k BETWEEN 1001 AND 1050";
    let (server, pipeline) = read_a_part(unseen);
    let ops = equal(&server, &pipeline);
    assert_eq!((count(&ops, "d"), count(&ops, "t")), (60, 0), "{ops:?}");
}

#[test]
fn a_stopped_table_is_brought_back() {
    let (server, pipeline, mut run) = begin();
    stop(&mut run);
    server.sql("SET SESSION binlog_format = 'STATEMENT'; UPDATE shop.t SET n = 5 WHERE k < 50");
    server.sql("DELETE FROM shop.t WHERE k > 4990; UPDATE shop.other SET n = 7");
    catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    assert!(view(&pipeline).stopped().contains_key(&names()[0]));
    let mut run = pipeline.start(&["run"]);
    ask(&pipeline, &["resume", "shop.t"]);
    wait_until("the table to be back", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        view(&pipeline).stopped().is_empty().then_some(())
    });
    server.sql("UPDATE shop.t SET n = n + 1 WHERE k > 4000");
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    let ops = equal(&server, &pipeline);
    assert_eq!(count(&ops, "t"), 1, "{ops:?}");
    catches_up_with(&pipeline, 0);
    let again = finish(&pipeline, &["resume", "shop.t", "--no-wait"]);
    assert_eq!(again.code, Some(0), "{}", again.printed());
    catches_up_with(&pipeline, 0);
    assert_eq!(equal(&server, &pipeline), ops, "there was nothing to bring back");
}

#[test]
fn a_reading_waits_over_a_restart_and_goes_on() {
    let (server, pipeline, mut run) = begin();
    let busy = busy_threads(&server, MANY_THREADS + 10);
    ask(&pipeline, &["snapshot", "shop.t"]);
    ask(&pipeline, &["snapshot", "shop.t", "--pause"]);
    assert_eq!(open(&pipeline), Some(true), "it is under way, and waits");
    drop(busy);
    stop(&mut run);
    let bounded = catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    assert!(bounded.printed().contains("paused"), "no success without its rows: {}", bounded.printed());
    change_unseen(&server, "DELETE FROM shop.t WHERE k <= 100");
    let mut run = pipeline.start(&["run"]);
    for n in 0..3 {
        server.sql(&format!("UPDATE shop.t SET n = n + 1 WHERE k = 500 + {n}"));
        wait_until_complete(&pipeline, &server, &mut run);
    }
    assert_eq!(open(&pipeline), Some(true), "it still waits, and changes are captured meanwhile");
    let status = finish(&pipeline, &["status"]);
    assert!(status.stdout.contains("shop.t") && status.stdout.contains("paused"), "{}", status.printed());
    ask(&pipeline, &["snapshot", "shop.t", "--continue"]);
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    let ops = equal(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (2 * ROWS - 100, 1), "{ops:?}");
}

#[test]
fn a_reading_that_waits_does_so_where_other_rows_take_the_name() {
    let (server, pipeline, mut run) = begin();
    let busy = busy_threads(&server, MANY_THREADS + 10);
    ask(&pipeline, &["snapshot", "shop.t"]);
    ask(&pipeline, &["snapshot", "shop.t", "--pause"]);
    drop(busy);
    server.sql(
        "CREATE TABLE shop.made LIKE shop.t; INSERT INTO shop.made SELECT k, n + 1, note FROM shop.t WHERE k > 10; \
         RENAME TABLE shop.t TO shop.was, shop.made TO shop.t",
    );
    wait_until_complete(&pipeline, &server, &mut run);
    assert_eq!(open(&pipeline), Some(true), "it still waits");
    ask(&pipeline, &["snapshot", "shop.t", "--continue"]);
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    equal(&server, &pipeline);
}

#[test]
fn a_reading_that_is_given_up_voids_nothing() {
    let (server, pipeline, mut run) = begin();
    let busy = busy_threads(&server, MANY_THREADS + 10);
    ask(&pipeline, &["snapshot", "shop.t"]);
    assert_eq!(open(&pipeline), Some(false));
    let again = finish(&pipeline, &["snapshot", "shop.t"]);
    assert_eq!(again.code, REFUSED, "it is under way already: {}", again.printed());
    ask(&pipeline, &["snapshot", "shop.t", "--cancel"]);
    assert_eq!(open(&pipeline), None);
    drop(busy);
    server.sql("UPDATE shop.t SET n = n + 1 WHERE k = 1");
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    let ops = equal(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (ROWS, 0), "{ops:?}");
    pipeline.catch_up();
    assert_eq!(equal(&server, &pipeline), ops);
}

/// Without the reading, the changes from while it was stopped are in no lake: no command leaves that hole.
#[test]
fn a_reading_without_which_changes_are_missing_is_not_given_up() {
    let (server, pipeline, mut run) = begin();
    server.sql("SET SESSION binlog_format = 'STATEMENT'; UPDATE shop.t SET n = 5 WHERE k < 50");
    wait_until("the table to stop", LIMIT, || {
        view(&pipeline).stopped().contains_key(&names()[0]).then_some(())
    });
    server.sql("DELETE FROM shop.t WHERE k > 4990");
    let busy = busy_threads(&server, MANY_THREADS + 10);
    ask(&pipeline, &["resume", "shop.t"]);
    let refused = finish(&pipeline, &["snapshot", "shop.t", "--cancel"]);
    assert_eq!(refused.code, REFUSED, "{}", refused.printed());
    assert!(refused.printed().contains("lacks changes"), "{}", refused.printed());
    assert_eq!(open(&pipeline), Some(false), "it is still to be read");
    drop(busy);
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    equal(&server, &pipeline);
}

#[test]
fn a_first_reading_that_is_given_up_is_told_of() {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    Target::create(&server, kind("counted"), "t", ROWS);
    let mut pipeline = initial(&server);
    set(&mut pipeline, "snapshot/max_threads_running", MANY_THREADS);
    let busy = busy_threads(&server, MANY_THREADS + 10);
    let mut run = pipeline.start(&["run"]);
    wait_until("a checkpoint", LIMIT, || open(&pipeline));
    ask(&pipeline, &["snapshot", "shop.t", "--cancel"]);
    drop(busy);
    for _ in 0..2 {
        assert_eq!(view(&pipeline).snapshot_states()[&names()[0]], "partial");
        let status = finish(&pipeline, &["status"]);
        assert!(status.stdout.contains("given up, or read in part: shop.t"), "{}", status.printed());
        // What an operator gave up is not begun again by a restart, and a part does not make it whole.
        ask(&pipeline, &["snapshot", "shop.t", "--where", "k <= 100"]);
        wait_until("the part to be read", LIMIT, || open(&pipeline).is_none().then_some(()));
        stop(&mut run);
        run = pipeline.start(&["run"]);
    }
    ask(&pipeline, &["snapshot", "shop.t"]);
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    equal(&server, &pipeline);
}

/// Its chunks wait while the server is busy, and are read when it is not any more.
#[test]
fn chunks_wait_while_the_server_is_busy() {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    Target::create(&server, kind("counted"), "t", ROWS);
    let mut pipeline = initial(&server);
    set(&mut pipeline, "snapshot/max_threads_running", MANY_THREADS);
    let busy = busy_threads(&server, MANY_THREADS + 10);
    let mut run = pipeline.start(&["run"]);
    wait_until("a checkpoint", LIMIT, || open(&pipeline));
    for n in 0..3 {
        server.sql(&format!("UPDATE shop.t SET n = n + 1 WHERE k = 500 + {n}"));
        wait_until_complete(&pipeline, &server, &mut run);
    }
    assert_eq!(open(&pipeline), Some(false), "changes are captured, chunks wait");
    drop(busy);
    wait_until_read(&pipeline, &mut run, &names(), LIMIT);
    stop(&mut run);
    equal(&server, &pipeline);
}

#[test]
fn what_is_asked_of_a_pipeline_that_does_not_run_is_done_when_it_runs() {
    let (server, pipeline, mut run) = begin();
    stop(&mut run);
    change_unseen(&server, "DELETE FROM shop.t WHERE k <= 100");
    ask(&pipeline, &["snapshot", "shop.t", "--no-wait"]);
    catches_up_with(&pipeline, 0);
    let ops = equal(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (2 * ROWS - 100, 1), "{ops:?}");
    catches_up_with(&pipeline, 0);
    assert_eq!(equal(&server, &pipeline), ops, "it is done once");
}

#[test]
fn a_request_that_was_answered_and_not_removed_is_not_carried_out_again() {
    let (server, pipeline, mut run) = begin();
    stop(&mut run);
    ask(&pipeline, &["snapshot", "shop.t", "--no-wait"]);
    let mut run = pipeline.start_with_failpoints(&["run"], "lake.request.remove=kill@1");
    wait_until("the kill", LIMIT, || run.ended());
    assert!(run.was_killed(), "{}", run.printed());
    catches_up_with(&pipeline, 0);
    let ops = equal(&server, &pipeline);
    assert_eq!((count(&ops, "r"), count(&ops, "t")), (2 * ROWS, 1), "{ops:?}");
    catches_up_with(&pipeline, 0);
    assert_eq!(equal(&server, &pipeline), ops, "it is done once");
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let (_server, pipeline, mut run) = begin();
    for (arguments, code, words) in [
        (&["resume", "shop.t"][..], 4, "not stopped"),
        (&["snapshot", "shop.t", "--continue"], 4, "shop.t"),
        (&["snapshot", "shop.nothing"], 4, "shop.nothing"),
        (&["snapshot", "crm.people"], 2, "tables.include"),
        (&["snapshot", "shop.t", "--where", "no_such_column > 1"], 4, "no_such_column"),
    ] {
        let asked = finish(&pipeline, arguments);
        assert_eq!(asked.code, Some(code), "{arguments:?}: {}", asked.printed());
        assert!(asked.printed().contains(words), "{arguments:?}: {}", asked.printed());
    }
    assert!(run.ended().is_none(), "the pipeline goes on: {}", run.printed());
    stop(&mut run);
}
