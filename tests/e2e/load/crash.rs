//! Exactly once over SIGKILL of `load`, of `capture`, of the broker and of the S3 server, under a live writer.

use std::time::{Duration, Instant};

use lakeward_test_support::s3::S3;
use lakeward_test_support::{
    Lakeward, Lister, Pipeline, Place, Random, Signal, seed, wait_patiently, wait_until,
};

use super::{LIMIT, broker, catch_up, over, over_kafka, wait_for_records};
use crate::crash::create_one_more;
use crate::snapshot::pipeline::rows_in_lake;
use crate::traffic::{Traffic, assert_lake_is_source, server_with_tables};
use crate::world::{PIPELINE, ended, times, view};

/// Reached once by a process, or only for what an earlier one left behind.
pub(super) const ONCE: &[&str] =
    &["lake.claim.before", "lake.claim.after", "lake.hint.put", "lake.abort.each", "kafka.load.open"];

pub(super) fn failpoints() -> impl Iterator<Item = &'static str> {
    let all = [
        lakeward_kafka::source::FAILPOINTS,
        lakeward_lake::files::FAILPOINTS,
        lakeward_lake::commit::FAILPOINTS,
    ];
    all.into_iter().flatten().copied()
}

/// Those that come before a table's first file. The tables made for them make every later start slower: no more than that.
const NEED_NEW_TABLES: &[&str] = &["lake.owner.put", "lake.schema.put"];
/// So long a worker that does not come to such a failpoint waits for a new table.
const NEW_TABLE: Duration = Duration::from_secs(4);

#[test]
fn killed_at_every_failpoint_of_load() {
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let lister = Lister::start(pipeline.lake());
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut capture = pipeline.start(&["capture"]);
    let mut tables = 0;
    for name in failpoints() {
        let nth = if ONCE.contains(&name) { 1 } else { 3 };
        let failpoint = format!("{name}=kill@{nth}");
        let mut run = pipeline.start_with_failpoints(&["load"], &failpoint);
        let mut last = Instant::now();
        wait_until(&failpoint, LIMIT, || {
            if NEED_NEW_TABLES.contains(&name) && last.elapsed() > NEW_TABLE {
                last = Instant::now();
                tables += 1;
                create_one_more(&server, tables);
            }
            assert!(capture.ended().is_none(), "capture ended: {}", capture.printed());
            run.ended()
        });
        assert!(run.was_killed(), "{failpoint}: {}", run.printed());
    }
    traffic.finish();
    capture.signal(Signal::Kill);
    assert_eq!(ended(&mut capture, LIMIT).signal, Some(9));
    catch_up(&pipeline);
    lister.finish();
    assert_lake_is_source(&server, &view(&pipeline));
}

/// The longest life of a worker that need not get anywhere: the one before holds its topic partitions for two seconds.
const LONG_LIFE: u64 = 6_000;
/// That of one that has put records already.
const SHORT_LIFE: u64 = 1_500;

/// Waits until the lake has more rows than `loaded`; a record may be but the claim of a worker that began anew.
fn wait_for_rows(pipeline: &Pipeline, load: &mut Lakeward, loaded: u64) {
    wait_patiently("rows in the lake", LIMIT, || {
        assert!(load.ended().is_none(), "load ended: {}", load.printed());
        (rows_in_lake(pipeline) > loaded).then_some(())
    });
}

/// Kills capture, and the next one inside a transaction, of which all is sent: `load` meets records that are aborted.
fn killed_within_a_transaction(pipeline: &Pipeline, mut capture: Lakeward) -> Lakeward {
    capture.signal(Signal::Kill);
    assert_eq!(ended(&mut capture, LIMIT).signal, Some(9));
    let mut next = pipeline.start_with_failpoints(&["capture"], "kafka.commit.before=kill@5");
    assert_eq!(ended(&mut next, LIMIT).signal, Some(9));
    pipeline.start(&["capture"])
}

#[test]
fn load_and_capture_are_killed_at_random_times() {
    let kills = times(8);
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let lister = Lister::start(pipeline.lake());
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(4));
    let mut random = Random::new(seed ^ 1);
    let mut capture = pipeline.start(&["capture"]);
    let mut at_work = 0;
    for kill in 1..=kills {
        let loaded = rows_in_lake(&pipeline);
        let mut load = pipeline.start(&["load"]);
        let longest = if kill % 2 == 0 { SHORT_LIFE } else { LONG_LIFE };
        if kill % 2 == 0 {
            wait_for_rows(&pipeline, &mut load, loaded);
        }
        if kill % 3 == 0 {
            capture = killed_within_a_transaction(&pipeline, capture);
            let loaded = rows_in_lake(&pipeline);
            wait_for_rows(&pipeline, &mut load, loaded);
        }
        let (start, lifetime) = (Instant::now(), Duration::from_millis(20 + random.below(longest)));
        wait_until("the time of the kill", LIMIT, || {
            assert!(load.ended().is_none(), "load {kill} ended by itself: {}", load.printed());
            assert!(capture.ended().is_none(), "capture ended by itself: {}", capture.printed());
            (start.elapsed() >= lifetime).then_some(())
        });
        load.signal(Signal::Kill);
        assert_eq!(ended(&mut load, LIMIT).signal, Some(9));
        at_work += u64::from(rows_in_lake(&pipeline) > loaded);
    }
    println!("{at_work} of {kills} workers had loaded something when they were killed");
    assert!(at_work * 3 >= kills, "{at_work} of {kills} workers had loaded something when they were killed");
    traffic.finish();
    capture.signal(Signal::Kill);
    assert_eq!(ended(&mut capture, LIMIT).signal, Some(9));
    catch_up(&pipeline);
    lister.finish();
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn the_broker_and_the_s3_server_are_killed_under_a_live_pipeline() {
    let rounds = times(3);
    let (server, mut kafka, mut s3) = (server_with_tables(), broker(), S3::start());
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
    over_kafka(&mut pipeline, &kafka);
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(8));
    let mut random = Random::new(seed ^ 1);
    // Anywhere within a commit, and not right after one.
    let mut sometime_later = || std::thread::sleep(Duration::from_millis(random.below(700)));
    let mut run = pipeline.start(&["run"]);
    for _ in 0..rounds {
        wait_for_records(&pipeline, &mut run, 3);
        sometime_later();
        kafka.kill9();
        kafka.start_again();
        wait_for_records(&pipeline, &mut run, 3);
        sometime_later();
        s3.kill9();
        s3.start_again();
    }
    wait_for_records(&pipeline, &mut run, 2);
    traffic.finish();
    run.signal(Signal::Term);
    let left = ended(&mut run, LIMIT);
    assert_eq!(left.code, Some(0), "{}", left.printed());
    catch_up(&pipeline);
    assert_lake_is_source(&server, &view(&pipeline));
}
