//! A table that is inserted into, updated (keys too) and deleted from during the whole snapshot ends
//! equal to the source, whatever its key.

use std::time::{Duration, Instant};

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{LIMIT, Pipeline, seed};

use super::fire::{Fire, Target};
use super::keys::{KEYLESS, KeyKind, kind, kinds};
use super::pipeline::{allow_locks, initial, server_with_numbers, wait_until_read};
use crate::whole::assert_equal;
use crate::world::{Ended, set, stop, times, view};

/// Rows of a table: a million where time is given.
pub(super) fn rows(usual: u64) -> u64 {
    if times(0) > 0 { 1_000_000 } else { usual }
}

/// Reads the tables while writers work on them, then stops the writers, catches up and compares.
pub(super) fn read_under_fire(
    server: &MySql,
    pipeline: &Pipeline,
    targets: &[Target],
    writers: u64,
) -> Ended {
    let seed = seed();
    let fire = Fire::start(server, targets, seed, writers, Duration::from_millis(2));
    let started = Instant::now();
    let mut run = pipeline.start(&["run"]);
    let names: Vec<_> = targets.iter().map(|target| ("shop".to_owned(), target.table.clone())).collect();
    wait_until_read(pipeline, &mut run, &names, LIMIT * 4);
    let took = started.elapsed();
    let meanwhile = fire.finish();
    let ended = stop(&mut run);
    pipeline.catch_up();
    let keyed: Vec<_> = targets.iter().map(|target| target.kind.keyed(&target.table)).collect();
    let ops = assert_equal(server, &view(pipeline), &keyed);
    for (target, ops) in targets.iter().zip(&ops) {
        let (read, followed) = (ops.get("r").copied().unwrap_or(0), ops.get("u").copied().unwrap_or(0));
        assert!(read > target.rows / 2, "{}: most rows come from the snapshot: {ops:?}", target.table);
        assert!(followed > 0, "{}: the stream goes on meanwhile: {ops:?}", target.table);
    }
    println!("{} tables read in {took:.1?} under {meanwhile} transactions: {ops:?}", targets.len());
    ended
}

fn one_table(kind: KeyKind, rows: u64, options: MySqlOptions) {
    let server = server_with_numbers(rows, options);
    let target = Target::create(&server, kind, kind.name, rows);
    read_under_fire(&server, &initial(&server), &[target], 3);
}

#[test]
fn a_million_rows_with_a_case_insensitive_key_and_minimal_metadata() {
    let options = MySqlOptions { row_metadata: RowMetadata::Minimal, ..MySqlOptions::default() };
    one_table(kind("case_insensitive"), 1_000_000, options);
}

#[test]
fn a_million_rows_of_each_kind_of_key() {
    each_kind_of_key(RowMetadata::Full, 1_000_000);
}

#[test]
fn a_table_of_each_kind_of_key_with_minimal_metadata() {
    each_kind_of_key(RowMetadata::Minimal, rows(60_000));
}

fn each_kind_of_key(row_metadata: RowMetadata, rows: u64) {
    let options = MySqlOptions { row_metadata, time_zone: "+05:30".into(), ..MySqlOptions::default() };
    let server = server_with_numbers(rows, options);
    let targets: Vec<Target> =
        kinds().iter().map(|kind| Target::create(&server, *kind, kind.name, rows)).collect();
    read_under_fire(&server, &initial(&server), &targets, 4);
}

#[test]
fn transactions_that_commit_out_of_order() {
    let options =
        MySqlOptions { extra: vec!["--binlog-order-commits=OFF".into()], ..MySqlOptions::default() };
    let rows = rows(100_000);
    let server = server_with_numbers(rows, options);
    let targets = ["counted", "binary_16"].map(|name| Target::create(&server, kind(name), name, rows));
    read_under_fire(&server, &initial(&server), &targets, 12);
}

/// A table without a key, by the instant lock.
#[test]
fn rows_without_a_key() {
    let rows = rows(60_000);
    let server = server_with_numbers(rows, MySqlOptions::default());
    let target = Target::create(&server, KEYLESS, KEYLESS.name, rows);
    let mut pipeline = initial(&server);
    allow_locks(&server, &mut pipeline);
    set(&mut pipeline, "before_images", true);
    read_under_fire(&server, &pipeline, &[target], 3);
}

#[test]
fn a_server_without_gtids_by_the_instant_lock() {
    let options = MySqlOptions { gtid: false, ..MySqlOptions::default() };
    let rows = rows(100_000);
    let server = server_with_numbers(rows, options);
    let targets = ["counted", "composite"].map(|name| Target::create(&server, kind(name), name, rows));
    let mut pipeline = initial(&server);
    allow_locks(&server, &mut pipeline);
    read_under_fire(&server, &pipeline, &targets, 3);
}
