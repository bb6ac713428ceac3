//! Rows are read from a replica while the log is read from its source: the replica is seconds behind,
//! and the rows it shows are old.

use lakeward_test_support::mysql::{MySql, MySqlOptions};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{initial, server_with_numbers};
use super::read_once::rows_sent;
use super::under_fire::{read_under_fire, rows};

#[test]
fn chunks_are_read_from_a_replica_that_lags() {
    read_from_a_replica(&["counted", "binary_16"], rows(60_000), 2);
}

/// One thread goes on, the others wait until it has caught up.
#[test]
fn few_chunks_are_read_from_a_replica_that_is_far_behind() {
    let log = read_from_a_replica(&["counted"], 100_000, 6);
    assert!(log.contains("reading waits"), "{log}");
}

/// Reads tables of so many rows from a replica that is so many seconds late; answers the log.
fn read_from_a_replica(names: &[&str], rows: u64, late: u64) -> String {
    let server = server_with_numbers(rows, MySqlOptions::default());
    let create = |name: &&str| Target::create_logged(&server, kind(name), name, rows);
    let targets: Vec<Target> = names.iter().map(create).collect();
    let replica = MySql::start(MySqlOptions::default());
    replica.replicate(server.port(), true);
    replica.wait_for_applied(&server);
    replica.sql(&format!(
        "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {late}; START REPLICA SQL_THREAD"
    ));
    let mut pipeline = initial(&server);
    let mut reading = pipeline.config["source"]["mysql"].clone();
    reading["port"] = replica.port().into();
    pipeline.config["snapshot"]["replica"] = reading;
    let ended = read_under_fire(&server, &pipeline, &targets, 3);
    let (from_source, from_replica) = (rows_sent(&server), rows_sent(&replica));
    println!("rows sent by the source: {from_source}, by the replica: {from_replica}");
    // At least half of the rows: what was deleted before its turn is read from nowhere.
    let most = rows * names.len() as u64 / 2;
    assert!(from_replica >= most && from_source < rows / 10, "the source is spared");
    ended.printed()
}
