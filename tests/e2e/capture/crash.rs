//! SIGKILL of `capture` at every failpoint, and of `capture` and of the broker at seeded random times, over a live
//! writer.

use std::time::{Duration, Instant};

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{Random, Signal, seed, wait_until};

use super::{LIMIT, captures, over, topics, wait_for_checkpoints};
use crate::crash::create_one_more;
use crate::traffic::{Traffic, server_with_tables};
use crate::world::{ended, times};

/// Reached once by a process.
const ONCE: &[&str] = &["kafka.open.fenced", "kafka.open.claimed", "kafka.topic.create", "mysql.connect"];

/// Those that every capture reaches: no rows that are there are read, and nobody asks for living keys.
fn failpoints() -> impl Iterator<Item = &'static str> {
    let all = [lakeward_mysql::FAILPOINTS, lakeward_kafka::sink::FAILPOINTS];
    all.into_iter().flatten().copied().filter(|name| !name.contains("snapshot") && !name.contains(".keys."))
}

#[test]
fn killed_at_every_failpoint_of_capture() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut tables = 0;
    for name in failpoints() {
        let later = if ONCE.contains(&name) { None } else { Some(3) };
        for nth in [Some(1), later].into_iter().flatten() {
            let failpoint = format!("{name}=kill@{nth}");
            let mut run = pipeline.start_with_failpoints(&["capture"], &failpoint);
            let mut looks = 0;
            wait_until(&failpoint, LIMIT, || {
                // New tables: the steps that come before a table's first event.
                if looks % 100 == 0 {
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
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
    for table in 1..=tables {
        let events = topics(&kafka).events(&format!("shop.shop.new_{table}"));
        assert_eq!(events.iter().map(|event| event.op.as_str()).collect::<Vec<_>>(), ["c"], "new_{table}");
    }
}

#[test]
fn capture_is_killed_at_random_times() {
    let kills = times(15);
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(3));
    let mut random = Random::new(seed ^ 1);
    for kill in 1..=kills {
        let mut run = pipeline.start(&["capture"]);
        // Every third one must get somewhere before; else the time alone decides.
        if kill % 3 == 0 {
            wait_for_checkpoints(&topics(&kafka), &mut run, 3);
        }
        let (start, lifetime) = (Instant::now(), Duration::from_millis(20 + random.below(1_500)));
        wait_until("the time of the kill", LIMIT, || {
            assert!(run.ended().is_none(), "run {kill} ended by itself: {}", run.printed());
            (start.elapsed() >= lifetime).then_some(())
        });
        run.signal(Signal::Kill);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
    }
    traffic.finish();
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

#[test]
fn the_broker_is_killed_at_random_times() {
    let kills = times(4);
    let (server, mut kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(5));
    let mut random = Random::new(seed ^ 1);
    let mut run = pipeline.start(&["capture"]);
    for _ in 0..kills {
        wait_for_checkpoints(&topics(&kafka), &mut run, 3);
        std::thread::sleep(Duration::from_millis(random.below(500)));
        kafka.kill9();
        kafka.start_again();
    }
    wait_for_checkpoints(&topics(&kafka), &mut run, 3);
    traffic.finish();
    run.signal(Signal::Kill);
    assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}
