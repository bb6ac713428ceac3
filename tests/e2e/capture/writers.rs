//! Two processes of one pipeline: one goes on, the other says that it is fenced, and nothing is doubled.

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{Lakeward, Signal, seed, wait_until};

use super::{LIMIT, captures, over, topics, wait_for_checkpoints};
use crate::crash::create_one_more;
use crate::traffic::{Traffic, server_with_tables};
use crate::world::{ended, stop};

const FENCED: i32 = 25;

fn assert_fenced(run: &mut Lakeward) {
    super::tells(&ended(run, LIMIT), FENCED, &["fenced"]);
}

#[test]
fn the_second_capture_fences_the_first() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(4));
    let mut first = pipeline.start(&["capture"]);
    wait_for_checkpoints(&topics(&kafka), &mut first, 2);
    for _ in 0..3 {
        let mut second = pipeline.start(&["capture"]);
        assert_fenced(&mut first);
        wait_for_checkpoints(&topics(&kafka), &mut second, 2);
        first = second;
    }
    traffic.finish();
    stop(&mut first);
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

/// The first is held by SIGSTOP at a failpoint while the second takes over, and wakes up then. Held before it claims the
/// topics, it may be the one that takes over when it wakes.
#[test]
fn a_paused_capture_wakes_after_another_took_over() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut tables = 0;
    for name in lakeward_kafka::sink::FAILPOINTS {
        let mut first = pipeline.start_with_failpoints(&["capture"], &format!("{name}=stop@1"));
        let mut looks = 0;
        wait_until(&format!("the pause at {name}"), LIMIT, || {
            if looks % 100 == 0 {
                tables += 1;
                create_one_more(&server, tables);
            }
            looks += 1;
            assert!(first.ended().is_none(), "{name}: {}", first.printed());
            first.is_stopped().then_some(())
        });
        let mut second = pipeline.start(&["capture"]);
        wait_for_checkpoints(&topics(&kafka), &mut second, 2);
        first.signal(Signal::Cont);
        let first_is_fenced = wait_until(&format!("{name}: one to be fenced"), LIMIT, || {
            match (first.ended(), second.ended()) {
                (Some(_), None) => Some(true),
                (None, Some(_)) => Some(false),
                (None, None) => None,
                (Some(_), Some(_)) => panic!("both ended: {}\n{}", first.printed(), second.printed()),
            }
        });
        let (mut fenced, mut winner) = if first_is_fenced { (first, second) } else { (second, first) };
        assert_fenced(&mut fenced);
        wait_for_checkpoints(&topics(&kafka), &mut winner, 2);
        stop(&mut winner);
    }
    traffic.finish();
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

/// The brokers give a paused writer's transaction up. Nobody else came: it goes on by itself.
#[test]
fn a_capture_that_slept_longer_than_its_transaction_goes_on() {
    let (server, kafka) = (
        server_with_tables(),
        Kafka::with(&[("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500")]),
    );
    let mut pipeline = over(&server, &kafka);
    crate::world::set(&mut pipeline, "transport/kafka/transaction_timeout", "6s");
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut run = pipeline.start_with_failpoints(&["capture"], "kafka.commit.before=stop@3");
    wait_until("the pause", LIMIT, || run.is_stopped().then_some(()));
    // The time is the subject: twice what the brokers wait before they give a transaction up.
    std::thread::sleep(Duration::from_secs(15));
    run.signal(Signal::Cont);
    wait_for_checkpoints(&topics(&kafka), &mut run, 3);
    traffic.finish();
    stop(&mut run);
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}
