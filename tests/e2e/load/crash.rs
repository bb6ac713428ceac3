//! Exactly once over SIGKILL of `load`, of `capture`, of the broker and of the S3 server, under a live writer.

use std::time::{Duration, Instant};

use lakeward_test_support::s3::S3;
use lakeward_test_support::{Lister, Pipeline, Place, Random, Signal, seed, wait_until};

use super::{LIMIT, broker, catch_up, over, over_kafka, wait_for_records};
use crate::crash::create_one_more;
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
        let begun = Instant::now();
        wait_until(&failpoint, LIMIT, || {
            // A new table now and then: the steps that come before a table's first file.
            if begun.elapsed() > Duration::from_secs(3 * (u64::from(tables) + 1)) && tables < 8 {
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
    for kill in 1..=kills {
        let mut load = pipeline.start(&["load"]);
        if kill % 2 == 0 {
            wait_for_records(&pipeline, &mut load, 2);
        }
        let (start, lifetime) = (Instant::now(), Duration::from_millis(20 + random.below(1_500)));
        wait_until("the time of the kill", LIMIT, || {
            assert!(load.ended().is_none(), "load {kill} ended by itself: {}", load.printed());
            assert!(capture.ended().is_none(), "capture ended by itself: {}", capture.printed());
            (start.elapsed() >= lifetime).then_some(())
        });
        load.signal(Signal::Kill);
        assert_eq!(ended(&mut load, LIMIT).signal, Some(9));
        if kill % 3 == 0 {
            capture.signal(Signal::Kill);
            assert_eq!(ended(&mut capture, LIMIT).signal, Some(9));
            capture = pipeline.start(&["capture"]);
        }
    }
    traffic.finish();
    capture.signal(Signal::Kill);
    assert_eq!(ended(&mut capture, LIMIT).signal, Some(9));
    catch_up(&pipeline);
    lister.finish();
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn the_broker_and_the_s3_server_are_killed_under_a_live_pipeline() {
    let rounds = times(2);
    let (server, mut kafka, mut s3) = (server_with_tables(), broker(), S3::start());
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
    over_kafka(&mut pipeline, &kafka);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(8));
    let mut run = pipeline.start(&["run"]);
    for _ in 0..rounds {
        wait_for_records(&pipeline, &mut run, 3);
        kafka.kill9();
        kafka.start_again();
        wait_for_records(&pipeline, &mut run, 3);
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
