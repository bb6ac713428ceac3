//! Semi-synchronous replication in AFTER_SYNC mode with a slow acknowledgement: transactions are in the
//! log, and may be followed, seconds before a SELECT sees their rows. A chunk that was read without
//! them, and released behind them, would bring back what they changed.

use std::time::{Duration, Instant};

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::tcp_proxy::{TcpProxy, Wire};
use lakeward_test_support::{LIMIT, wait_until};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{initial, rows_in_lake, server_with_numbers, wait_until_read};
use super::under_fire::{read_under_fire, rows};
use crate::whole::assert_equal;
use crate::world::{restless, set, stop, view};

fn with_plugin(end: &str) -> MySqlOptions {
    MySqlOptions { extra: vec![format!("--plugin-load-add=semisync_{end}.so")], ..MySqlOptions::default() }
}

/// How long it takes to commit a row.
fn commit_time(server: &MySql) -> Duration {
    let started = Instant::now();
    server.sql("INSERT INTO shop.probe VALUES (NULL)");
    started.elapsed()
}

fn status(server: &MySql, variable: &str) -> String {
    server.value(&format!(
        "SELECT variable_value FROM performance_schema.global_status WHERE variable_name = '{variable}'"
    ))
}

/// A source that waits for a replica, and the wire between them.
struct Waiting {
    server: MySql,
    _replica: MySql,
    wire: TcpProxy,
}

fn waiting(rows: u64) -> Waiting {
    let server = server_with_numbers(rows, with_plugin("source"));
    let replica = MySql::start(with_plugin("replica"));
    replica.sql("SET GLOBAL rpl_semi_sync_replica_enabled = ON");
    let wire = TcpProxy::start(server.port());
    replica.replicate(wire.port(), false);
    server.sql(
        "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'; SET GLOBAL rpl_semi_sync_source_timeout = 600000; \
         SET GLOBAL rpl_semi_sync_source_enabled = ON",
    );
    wait_until("the source to wait for its replica", LIMIT, || {
        (status(&server, "Rpl_semi_sync_source_clients") == "1").then_some(())
    });
    Waiting { server, _replica: replica, wire }
}

#[test]
fn the_log_is_seconds_ahead_of_what_a_select_sees() {
    let rows = rows(40_000);
    let Waiting { server, _replica, wire } = waiting(rows);
    server.sql("CREATE TABLE shop.probe (id INT AUTO_INCREMENT PRIMARY KEY)");
    let targets = ["counted", "binary_16"].map(|name| Target::create(&server, kind(name), name, rows));
    wire.set(Wire::Latency(Duration::from_millis(700)));
    let waits = commit_time(&server);
    assert!(waits > Duration::from_secs(1), "a commit waits for its acknowledgement: {waits:?}");
    read_under_fire(&server, &initial(&server), &targets, 12);
    let waits = commit_time(&server);
    assert!(waits > Duration::from_secs(1), "and it still does: {waits:?}");
    wire.set(Wire::Pass);
}

/// The stream has a change that no SELECT sees: chunks that are begun behind it wait, or they would bring back what it
/// changed.
#[test]
fn chunks_wait_for_a_commit_that_the_stream_has_and_no_select_sees() {
    const ROWS: u64 = 20_000;
    const CHANGED: u64 = ROWS / 10;
    let Waiting { server, _replica, wire } = waiting(ROWS);
    server.sql("CREATE TABLE shop.first (k INT PRIMARY KEY)");
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    set(&mut pipeline, "snapshot/parallelism", 1);
    pipeline.catch_up();
    let counted = kind("counted");
    server.sql(&format!("SET SESSION sql_log_bin = 0; {}; {}", counted.create("t"), counted.fill("t", ROWS)));
    wire.set(Wire::HalfOpen);
    let changed = || server.value("SELECT COUNT(*) FROM shop.t WHERE n = 1000");
    let mut run = std::thread::scope(|scope| {
        let commit = scope.spawn(|| server.sql("UPDATE shop.t SET n = 1000 WHERE k % 10 = 0"));
        wait_until("a commit that waits", LIMIT, || {
            (status(&server, "Rpl_semi_sync_source_wait_sessions") == "1").then_some(())
        });
        let mut run = pipeline.start(&["run"]);
        wait_until("the change in the lake", LIMIT, || {
            assert!(run.ended().is_none(), "the run ended: {}", run.printed());
            (rows_in_lake(&pipeline) >= CHANGED).then_some(())
        });
        // Time enough to read the whole table.
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(changed(), "0", "the server shows the change to nobody");
        assert!(rows_in_lake(&pipeline) < ROWS, "chunks were read without the change");
        wire.set(Wire::Pass);
        commit.join().expect("the change is committed");
        run
    });
    assert_eq!(changed(), CHANGED.to_string());
    wait_until_read(&pipeline, &mut run, &[("shop".into(), "t".into())], LIMIT);
    stop(&mut run);
    let ops = assert_equal(&server, &view(&pipeline), &[counted.keyed("t")]).remove(0);
    assert_eq!(ops.get("u"), Some(&CHANGED), "{ops:?}");
}
