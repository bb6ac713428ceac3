//! Semi-synchronous replication in AFTER_SYNC mode with a slow acknowledgement: transactions are in the
//! log, and may be followed, seconds before a SELECT sees their rows. A chunk that was read without
//! them, and released behind them, would bring back what they changed.

use std::time::{Duration, Instant};

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::tcp_proxy::{TcpProxy, Wire};
use lakeward_test_support::wait_until;

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{initial, server_with_numbers};
use super::under_fire::{read_under_fire, rows};

fn with_plugin(end: &str) -> MySqlOptions {
    MySqlOptions { extra: vec![format!("--plugin-load-add=semisync_{end}.so")], ..MySqlOptions::default() }
}

/// How long it takes to commit a row.
fn commit_time(server: &MySql) -> Duration {
    let started = Instant::now();
    server.sql("INSERT INTO shop.probe VALUES (NULL)");
    started.elapsed()
}

#[test]
fn the_log_is_seconds_ahead_of_what_a_select_sees() {
    let rows = rows(40_000);
    let server = server_with_numbers(rows, with_plugin("source"));
    server.sql("CREATE TABLE shop.probe (id INT AUTO_INCREMENT PRIMARY KEY)");
    let targets = ["counted", "binary_16"].map(|name| Target::create(&server, kind(name), name, rows));
    let replica = MySql::start(with_plugin("replica"));
    replica.sql("SET GLOBAL rpl_semi_sync_replica_enabled = ON");
    let wire = TcpProxy::start(server.port());
    replica.replicate(wire.port(), false);
    server.sql(
        "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'; SET GLOBAL rpl_semi_sync_source_timeout = 60000; \
         SET GLOBAL rpl_semi_sync_source_enabled = ON",
    );
    wait_until("the source to wait for its replica", Duration::from_secs(30), || {
        let clients = "SELECT variable_value FROM performance_schema.global_status \
                       WHERE variable_name = 'Rpl_semi_sync_source_clients'";
        (server.value(clients) == "1").then_some(())
    });
    wire.set(Wire::Latency(Duration::from_millis(700)));
    let waits = commit_time(&server);
    assert!(waits > Duration::from_secs(1), "a commit waits for its acknowledgement: {waits:?}");
    read_under_fire(&server, &initial(&server), &targets, 12);
    let waits = commit_time(&server);
    assert!(waits > Duration::from_secs(1), "and it still does: {waits:?}");
    wire.set(Wire::Pass);
}
