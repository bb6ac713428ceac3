//! Exactly once over SIGKILL: at every failpoint, and at seeded random times over a live writer, on a
//! folder and on a real S3 server, while somebody lists the lake all the time.

use std::time::{Duration, Instant};

use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{LIMIT, Lister, Random, Signal, seed, wait_until};

use crate::lake::Reader;
use crate::traffic::{Traffic, assert_lake_is_source, burst, server_with_tables};
use crate::whole::{Keyed, Ops, assert_equal};
use crate::world::{Store, ended, folder, restless, stop, stored, times, view, wait_for_checkpoint, with};

/// Every failpoint there is.
fn all_failpoints() -> impl Iterator<Item = &'static str> {
    let all = [
        lakeward_mysql::FAILPOINTS,
        lakeward_lake::files::FAILPOINTS,
        lakeward_lake::commit::FAILPOINTS,
        lakeward_lake::keys::FAILPOINTS,
    ];
    all.into_iter().flatten().copied()
}

/// Those that every pipeline reaches.
pub(crate) fn failpoints() -> impl Iterator<Item = &'static str> {
    all_failpoints().filter(|name| !name.contains("snapshot") && !name.contains(".keys."))
}

/// Those that are reached while living keys are told.
pub(crate) fn key_failpoints() -> impl Iterator<Item = &'static str> {
    all_failpoints().filter(|name| name.contains(".keys."))
}

/// Those that are reached while existing rows are read.
pub(crate) fn snapshot_failpoints() -> impl Iterator<Item = &'static str> {
    all_failpoints().filter(|name| name.contains("snapshot"))
}

/// Reached once by a process, or once for each thing that the one before left behind.
const ONCE: &[&str] =
    &["lake.claim.before", "lake.claim.after", "lake.hint.put", "lake.abort.each", "mysql.connect"];

/// A table with one row.
pub(crate) fn create_one_more(server: &MySql, number: u32) {
    server.sql(&format!(
        "CREATE TABLE shop.new_{number} (id INT PRIMARY KEY); INSERT INTO shop.new_{number} VALUES (1)"
    ));
}

fn killed_at_every_failpoint(store: Store) {
    let server = server_with_tables();
    let (mut pipeline, _s3) = stored(&server, store);
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(3));
    let mut tables = 0;
    for name in failpoints() {
        let later = if ONCE.contains(&name) { None } else { Some(3) };
        for nth in [Some(1), later].into_iter().flatten() {
            let failpoint = format!("{name}=kill@{nth}");
            let mut run = pipeline.start_with_failpoints(&["run"], &failpoint);
            let mut looks = 0;
            wait_until(&failpoint, LIMIT, || {
                // New tables all the time: the steps that come before a table's first file.
                if looks % 8 == 0 {
                    tables += 1;
                    create_one_more(&server, tables);
                }
                looks += 1;
                run.ended()
            });
            assert!(run.was_killed(), "{failpoint}: {}", run.printed());
        }
    }
    traffic.finish();
    pipeline.catch_up();
    lister.finish();
    assert_lake_is_source(&server, &view(&pipeline));
    let events = view(&pipeline).events(Reader::Pyarrow);
    for table in 1..=tables {
        let events = &events[&("shop".to_owned(), format!("new_{table}"))];
        assert_eq!(events.ops(), ["c"], "new_{table}");
    }
}

#[test]
fn killed_at_every_failpoint_on_a_folder() {
    killed_at_every_failpoint(Store::Folder);
}

#[test]
fn killed_at_every_failpoint_on_s3() {
    killed_at_every_failpoint(Store::S3);
}

/// A step that fails once is a passing error: the same run goes on and ends right.
#[test]
fn a_step_fails_at_every_failpoint() {
    let server = server_with_tables();
    let mut pipeline = folder(&server);
    restless(&mut pipeline);
    let mut random = Random::new(seed());
    for (table, name) in (1..).zip(failpoints()) {
        for nth in [1, 2] {
            burst(&server, &mut random, 15);
            create_one_more(&server, table * 10 + nth);
            let failpoint = format!("{name}=error@{nth}");
            let mut run = pipeline.start_with_failpoints(&["run", "--until-caught-up"], &failpoint);
            let ended = ended(&mut run, LIMIT);
            assert_eq!(ended.code, Some(0), "{failpoint}: {}", ended.printed());
        }
    }
    // The history is that of all runs.
    assert_lake_is_source(&server, &view(&pipeline));
}

fn killed_at_random_times(store: Store) {
    let kills = times(50);
    let server = server_with_tables();
    let (mut pipeline, _s3) = stored(&server, store);
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(2));
    let mut random = Random::new(seed ^ 1);
    for kill in 1..=kills {
        let mut run = pipeline.start(&["run"]);
        // Every fifth one must get somewhere before; else the time alone decides.
        let records = view(&pipeline).record_count();
        let far = kill % 5 != 0;
        let lifetime = Duration::from_millis(20 + random.below(700));
        let start = Instant::now();
        wait_until("the time of the kill", LIMIT, || {
            assert!(run.ended().is_none(), "run {kill} ended by itself: {}", run.printed());
            let far = far || view(&pipeline).record_count() > records + 2;
            (far && start.elapsed() >= lifetime).then_some(())
        });
        run.signal(Signal::Kill);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
    }
    let transactions = traffic.finish();
    pipeline.catch_up();
    let listings = lister.finish();
    assert_lake_is_source(&server, &view(&pipeline));
    println!("{kills} kills over {transactions} transactions and {listings} listings");
}

#[test]
fn killed_at_random_times_on_a_folder() {
    killed_at_random_times(Store::Folder);
}

#[test]
fn killed_at_random_times_on_s3() {
    killed_at_random_times(Store::S3);
}

/// What was staged of a transaction that is not complete is dropped; the next run begins it anew.
#[test]
fn killed_within_a_large_transaction() {
    let server = server_with_tables();
    server.sql(
        "SET SESSION cte_max_recursion_depth = 1000000;
         INSERT INTO shop.carts WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900000) \
         SELECT i, 1, RANDOM_BYTES(100) FROM n",
    );
    let mut pipeline = folder(&server);
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    for failpoint in ["lake.stage.sealed=kill@2", "lake.stage.part=kill@9", "lake.stage.begin=kill@20"] {
        let mut run = pipeline.start_with_failpoints(&["run"], failpoint);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9), "{failpoint}");
        assert!(view(&pipeline).files().is_empty(), "nothing of an open transaction is visible");
    }
    pipeline.catch_up();
    lister.finish();
    let ops = assert_equal(&server, &view(&pipeline), &[Keyed::shop("carts", &["id"])]).remove(0);
    assert_eq!(ops, Ops::from([("c".to_owned(), 900_000)]));
}

#[test]
fn sigterm_commits_and_leaves_within_seconds() {
    let server = server_with_tables();
    let pipeline = with(folder(&server), "lake/commit/interval", "10m");
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(2));
    wait_until("some traffic", LIMIT, || (traffic.transactions() > 300).then_some(()));
    let asked = Instant::now();
    stop(&mut run);
    println!("left {:?} after SIGTERM", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(20), "SIGTERM took {:?}", asked.elapsed());
    let files = view(&pipeline).files();
    assert!(!files.is_empty(), "what was read before SIGTERM is in the lake");
    traffic.finish();
    pipeline.catch_up();
    assert_lake_is_source(&server, &view(&pipeline));
}
