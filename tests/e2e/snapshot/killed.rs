//! SIGKILL in the middle of snapshots: at each of their failpoints and at random times. Every run goes
//! on where the last one was decided, and the end equals the source.

use std::time::{Duration, Instant};

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::{LIMIT, Lister, Pipeline, Random, Signal, seed, wait_until};
use serde_json::Value;

use super::fire::{Fire, Target};
use super::keys::kind;
use super::pipeline::{initial, server_with_numbers};
use crate::crash::snapshot_failpoints;
use crate::whole::assert_equal;
use crate::world::{ended, restless, set, times, view};

const ROWS: u64 = 30_000;

/// A table that the binlog knows nothing of: the next run finds it in the catalog and reads it.
pub(crate) fn unlogged_table(server: &MySql, table: &str, rows: u64) -> Target {
    let kind = kind("composite");
    server.sql(&format!("SET SESSION sql_log_bin = 0; {}; {}", kind.create(table), kind.fill(table, rows)));
    Target { kind, table: table.to_owned(), rows }
}

/// The lake is the source, and no row of the source is read into it twice.
pub(crate) fn assert_read_once(server: &MySql, pipeline: &Pipeline, targets: &[Target]) {
    let keyed: Vec<_> = targets.iter().map(|target| target.kind.keyed(&target.table)).collect();
    let ops = assert_equal(server, &view(pipeline), &keyed);
    for (target, ops) in targets.iter().zip(&ops) {
        let read = ops.get("r").copied().unwrap_or(0);
        assert!(read <= target.rows, "{}: no row is read into the lake twice: {ops:?}", target.table);
    }
}

#[test]
fn killed_at_every_failpoint_of_a_snapshot() {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    let written = Target::create(&server, kind("counted"), "written", 1000);
    let fire = Fire::start(&server, std::slice::from_ref(&written), seed(), 1, Duration::from_millis(5));
    let mut targets = vec![written];
    let mut names = 0;
    for name in snapshot_failpoints() {
        names += 1;
        for nth in [1, 2] {
            let failpoint = format!("{name}=kill@{nth}");
            let table = format!("t_{}", targets.len());
            targets.push(unlogged_table(&server, &table, ROWS));
            let mut run = pipeline.start_with_failpoints(&["run"], &failpoint);
            wait_until(&failpoint, LIMIT, || run.ended());
            assert!(run.was_killed(), "{failpoint}: {}", run.printed());
        }
    }
    assert!(names > 0, "the snapshot has failpoints");
    fire.finish();
    pipeline.catch_up();
    lister.finish();
    assert_read_once(&server, &pipeline, &targets);
}

/// A step of a snapshot that fails once is a passing error: the same run goes on and ends right.
#[test]
fn a_step_fails_at_every_failpoint_of_a_snapshot() {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    let mut targets = vec![Target::create(&server, kind("counted"), "first", 1000)];
    pipeline.catch_up();
    for name in snapshot_failpoints() {
        targets.push(unlogged_table(&server, &format!("t_{}", targets.len()), ROWS));
        let failpoint = format!("{name}=error@1");
        let mut run = pipeline.start_with_failpoints(&["run", "--until-caught-up"], &failpoint);
        let ended = ended(&mut run, LIMIT);
        assert_eq!(ended.code, Some(0), "{failpoint}: {}", ended.printed());
    }
    assert_read_once(&server, &pipeline, &targets);
}

/// How far snapshots have come by this checkpoint: tables that are read, and rows of those that are being read.
pub(crate) fn has_read(checkpoint: &Value) -> (usize, u64) {
    let snapshots = checkpoint["tables"].as_array().into_iter().flatten().map(|table| &table["snapshot"]);
    let done = snapshots.clone().filter(|snapshot| snapshot["state"] == "done").count();
    let open = snapshots.filter(|snapshot| snapshot["state"] == "open");
    (done, open.filter_map(|snapshot| snapshot["plan"]["rows"].as_u64()).sum())
}

/// Whether some chunks of a table are decided by this checkpoint, and others are not.
pub(crate) fn is_in_the_middle(checkpoint: &Value) -> bool {
    has_read(checkpoint).1 > 0
}

#[test]
fn killed_at_random_times_of_a_snapshot() {
    let rows = 200_000;
    let server = server_with_numbers(rows, MySqlOptions::default());
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    set(&mut pipeline, "snapshot/parallelism", 1);
    let names = ["case_insensitive", "binary_16", "unsigned_extremes"];
    let targets: Vec<Target> =
        names.iter().map(|name| Target::create(&server, kind(name), name, rows)).collect();
    let seed = seed();
    let lister = Lister::start(pipeline.lake());
    let fire = Fire::start(&server, &targets, seed, 2, Duration::from_millis(4));
    let mut random = Random::new(seed ^ 2);
    let mut in_the_middle = 0;
    let kills = times(25);
    for kill in 1..=kills {
        let before = has_read(&view(&pipeline).checkpoint().unwrap_or_default());
        let mut run = pipeline.start(&["run"]);
        let (start, lifetime) = (Instant::now(), Duration::from_millis(100 + random.below(900)));
        wait_until("the time of the kill", LIMIT, || {
            assert!(run.ended().is_none(), "run {kill} ended by itself: {}", run.printed());
            // Every other one must have read more; else the time alone decides.
            let now = || has_read(&view(&pipeline).checkpoint().unwrap_or_default());
            let has_come_far = kill % 2 == 0 || before.0 == targets.len() || now() > before;
            (has_come_far && start.elapsed() >= lifetime).then_some(())
        });
        run.signal(Signal::Kill);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
        in_the_middle += u64::from(is_in_the_middle(&view(&pipeline).checkpoint().unwrap_or_default()));
    }
    println!("{in_the_middle} kills fell between two chunks of a table");
    assert!(
        in_the_middle * 5 >= kills,
        "{in_the_middle} of {kills} kills fell between two chunks of a table"
    );
    let transactions = fire.finish();
    pipeline.catch_up();
    lister.finish();
    assert_read_once(&server, &pipeline, &targets);
    println!("killed again and again over {transactions} transactions");
}
