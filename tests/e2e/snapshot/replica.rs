//! Rows are read from a replica while the log is read from its source: the replica is seconds behind,
//! and the rows it shows are old.

use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{initial, server_with_numbers};
use super::read_once::rows_sent;
use super::under_fire::{read_under_fire, rows};

#[test]
fn chunks_are_read_from_a_replica_that_lags() {
    let rows = rows(60_000);
    let server = server_with_numbers(rows, MySqlOptions::default());
    let targets = ["counted", "binary_16"].map(|name| Target::create_logged(&server, kind(name), name, rows));
    let replica = MySql::start(MySqlOptions::default());
    replica.replicate(server.port(), true);
    replica.wait_for_applied(&server, Duration::from_secs(60));
    replica.sql(
        "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 2; START REPLICA SQL_THREAD",
    );
    let mut pipeline = initial(&server);
    let mut reading = pipeline.config["source"]["mysql"].clone();
    reading["port"] = replica.port().into();
    pipeline.config["snapshot"]["replica"] = reading;
    read_under_fire(&server, &pipeline, &targets, 3);
    let (from_source, from_replica) = (rows_sent(&server), rows_sent(&replica));
    println!("rows sent by the source: {from_source}, by the replica: {from_replica}");
    assert!(from_replica >= rows && from_source < rows / 10, "the source is spared");
}
