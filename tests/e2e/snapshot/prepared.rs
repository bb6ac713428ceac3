//! XA transactions that are prepared before a table is read and committed after that: their rows are in no row event
//! that is still to come, and the lake has them nevertheless.

use lakeward_test_support::Pipeline;
use lakeward_test_support::mysql::{MySql, MySqlOptions};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{initial, server_with_numbers};
use crate::whole::{Keyed, assert_equal};
use crate::world::{CAUGHT_UP_WITH_STOPPED_TABLES, catches_up_with, finish, view};

const ROWS: u64 = 500;

/// A server with `shop.t` and `shop.other`, and `crm.people`, which is not captured.
fn begin(option: &str) -> (MySql, Pipeline) {
    let mut options = MySqlOptions::default();
    options.extra.push(option.into());
    let server = server_with_numbers(ROWS, options);
    Target::create(&server, kind("counted"), "t", ROWS);
    Target::create(&server, kind("counted"), "other", ROWS);
    server.sql("CREATE DATABASE crm; CREATE TABLE crm.people (id INT PRIMARY KEY)");
    let pipeline = initial(&server);
    (server, pipeline)
}

fn prepare(server: &MySql, xid: &str, change: &str) {
    server.sql(&format!("XA START '{xid}'; {change}; XA END '{xid}'; XA PREPARE '{xid}'"));
}

/// Both tables in the lake are the source's; how often each was read anew.
fn read_anew(server: &MySql, pipeline: &Pipeline) -> [u64; 2] {
    let tables = [Keyed::shop("t", &["k"]), Keyed::shop("other", &["k"])];
    let ops = assert_equal(server, &view(pipeline), &tables);
    [0, 1].map(|at| ops[at].get("t").copied().unwrap_or(0))
}

#[test]
fn a_commit_of_what_was_prepared_before_the_pipeline_began_is_in_the_lake() {
    let (server, pipeline) = begin("--binlog-transaction-compression=OFF");
    prepare(&server, "early", "UPDATE shop.t SET n = -1 WHERE k < 10");
    prepare(&server, "given up", "UPDATE shop.other SET n = -1 WHERE k < 10");
    catches_up_with(&pipeline, 0);
    assert_eq!(read_anew(&server, &pipeline), [0, 0]);
    server.sql("XA ROLLBACK 'given up'");
    catches_up_with(&pipeline, 0);
    assert_eq!(read_anew(&server, &pipeline), [0, 0], "nothing became visible");
    server.sql("XA COMMIT 'early'");
    catches_up_with(&pipeline, 0);
    assert_eq!(read_anew(&server, &pipeline), [1, 1], "which table it touches is in no log that was read");
}

fn a_table_is_read_after_the_commit(option: &str) {
    let (server, pipeline) = begin(option);
    catches_up_with(&pipeline, 0);
    prepare(&server, "elsewhere", "INSERT INTO crm.people VALUES (1)");
    prepare(&server, "here", "UPDATE shop.t SET n = -1 WHERE k < 10");
    catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    let asked = finish(&pipeline, &["resume", "shop.t", "--no-wait"]);
    assert_eq!(asked.code, Some(0), "{}", asked.printed());
    catches_up_with(&pipeline, 0);
    assert_eq!(read_anew(&server, &pipeline), [1, 0]);
    server.sql("XA COMMIT 'elsewhere'");
    catches_up_with(&pipeline, 0);
    assert_eq!(read_anew(&server, &pipeline), [1, 0], "it touches no captured table");
    server.sql("XA COMMIT 'here'");
    catches_up_with(&pipeline, 0);
    assert_eq!(read_anew(&server, &pipeline), [2, 0]);
}

#[test]
fn a_table_that_was_brought_back_before_the_commit_is_read_after_it() {
    a_table_is_read_after_the_commit("--binlog-transaction-compression=OFF");
}

/// The server then puts XA_PREPARE into the compressed transaction.
#[test]
fn a_table_that_was_brought_back_is_read_after_the_commit_of_what_is_compressed() {
    a_table_is_read_after_the_commit("--binlog-transaction-compression=ON");
}

/// Statements instead of rows: one that names more than one table may reach each of them, and any other.
#[test]
fn a_commit_of_statements_touches_the_table_that_they_write_or_every_table() {
    let (server, pipeline) = begin("--binlog-transaction-compression=OFF");
    catches_up_with(&pipeline, 0);
    let one = "UPDATE shop.t SET n = -1 WHERE k < 10";
    let two = "UPDATE shop.t JOIN crm.people ON k = id SET n = -2";
    for (update, read) in [(one, [2, 0]), (two, [4, 1])] {
        server.sql(&format!(
            "SET SESSION binlog_format = STATEMENT; XA START 'here'; {update}; XA END 'here'; XA PREPARE 'here'"
        ));
        catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
        let asked = finish(&pipeline, &["resume", "shop.t", "--no-wait"]);
        assert_eq!(asked.code, Some(0), "{}", asked.printed());
        catches_up_with(&pipeline, 0);
        server.sql("XA COMMIT 'here'");
        catches_up_with(&pipeline, 0);
        assert_eq!(read_anew(&server, &pipeline), read, "{update}");
    }
}
