//! SIGKILL of `capture` and `load` while the rows that are there travel over Kafka: at each failpoint of their reading,
//! and at random times of both. The lake is the source at the end, and no row is read into it twice.

use std::time::{Duration, Instant};

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::{Lister, Pipeline, Random, Signal, seed, wait_until};
use serde_json::Value;

use super::{LIMIT, broker, catch_up, over_kafka};
use crate::capture::last_checkpoint;
use crate::crash::snapshot_failpoints;
use crate::snapshot::fire::{Fire, Target};
use crate::snapshot::keys::kind;
use crate::snapshot::killed::{assert_read_once, is_in_the_middle, unlogged_table};
use crate::snapshot::pipeline::{initial, server_with_numbers};
use crate::world::{ended, set, times};

/// A server, a broker, and a pipeline over both that begins with the rows that are there.
fn begin(rows: u64) -> (MySql, Kafka, Pipeline) {
    let (server, kafka) = (server_with_numbers(rows, MySqlOptions::default()), broker());
    let mut pipeline = initial(&server);
    over_kafka(&mut pipeline, &kafka);
    (server, kafka, pipeline)
}

#[test]
fn capture_is_killed_at_every_failpoint_of_a_snapshot() {
    // More than one chunk.
    let rows = 5_000;
    let (server, _kafka, pipeline) = begin(rows);
    let written = Target::create(&server, kind("counted"), "written", 1_000);
    let fire = Fire::start(&server, std::slice::from_ref(&written), seed(), 1, Duration::from_millis(5));
    let mut targets = vec![written];
    for name in snapshot_failpoints() {
        for nth in [1, 2] {
            let failpoint = format!("{name}=kill@{nth}");
            targets.push(unlogged_table(&server, &format!("t_{}", targets.len()), rows));
            let mut run = pipeline.start_with_failpoints(&["capture"], &failpoint);
            wait_until(&failpoint, LIMIT, || run.ended());
            assert!(run.was_killed(), "{failpoint}: {}", run.printed());
        }
    }
    assert!(targets.len() > 2, "the snapshot has failpoints");
    fire.finish();
    catch_up(&pipeline);
    assert_read_once(&server, &pipeline, &targets);
}

/// Rows of the snapshots in this checkpoint: what open ones have read, and all of those that are done.
fn rows_read(checkpoint: &Value, rows_of_a_table: u64) -> u64 {
    let snapshots = checkpoint["tables"].as_array().into_iter().flatten().map(|table| &table["snapshot"]);
    let read = |snapshot: &Value| match snapshot["state"].as_str() {
        Some("done") => rows_of_a_table,
        _ => snapshot["plan"]["rows"].as_u64().unwrap_or(0),
    };
    snapshots.map(read).sum()
}

#[test]
fn capture_and_load_are_killed_at_random_times_of_a_snapshot() {
    let rows = 60_000;
    let (server, kafka, mut pipeline) = begin(rows);
    set(&mut pipeline, "snapshot/parallelism", 1);
    let names = ["case_insensitive", "binary_16", "unsigned_extremes"];
    let targets: Vec<Target> =
        names.iter().map(|name| Target::create(&server, kind(name), name, rows)).collect();
    let lister = Lister::start(pipeline.lake());
    let seed = seed();
    let fire = Fire::start(&server, &targets, seed, 1, Duration::from_millis(5));
    let mut random = Random::new(seed ^ 3);
    let mut load = pipeline.start(&["load"]);
    let mut in_the_middle = 0;
    let kills = times(10);
    for kill in 1..=kills {
        let read = || rows_read(&last_checkpoint(&kafka), rows);
        let before = read();
        let mut run = pipeline.start(&["capture"]);
        let (begun, lifetime) = (Instant::now(), Duration::from_millis(300 + random.below(900)));
        wait_until("the time of the kill", LIMIT, || {
            assert!(run.ended().is_none(), "capture {kill} ended by itself: {}", run.printed());
            assert!(load.ended().is_none(), "load ended by itself: {}", load.printed());
            // Every other one must commit a chunk before, while there is one; else the time alone decides.
            let has_come_far = kill % 2 == 0 || read() > before || before >= rows * names.len() as u64;
            (has_come_far && begun.elapsed() >= lifetime).then_some(())
        });
        run.signal(Signal::Kill);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
        in_the_middle += u64::from(is_in_the_middle(&last_checkpoint(&kafka)));
        if kill % 3 == 0 {
            load.signal(Signal::Kill);
            assert_eq!(ended(&mut load, LIMIT).signal, Some(9));
            load = pipeline.start(&["load"]);
        }
    }
    println!("{in_the_middle} kills fell between two chunks of a table");
    assert!(
        in_the_middle * 5 >= kills,
        "{in_the_middle} of {kills} kills fell between two chunks of a table"
    );
    fire.finish();
    load.signal(Signal::Kill);
    assert_eq!(ended(&mut load, LIMIT).signal, Some(9));
    catch_up(&pipeline);
    lister.finish();
    assert_read_once(&server, &pipeline, &targets);
}
