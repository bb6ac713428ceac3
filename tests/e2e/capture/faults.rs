//! A broker that is down: capture waits, and goes on.

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{seed, wait_until};

use super::{LIMIT, captures, over, topics, wait_for_checkpoints};
use crate::traffic::{Traffic, burst, server_with_tables};
use crate::world::stop;

#[test]
fn capture_waits_for_a_broker_that_is_down_at_its_start() {
    let (server, mut kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    burst(&server, &mut lakeward_test_support::Random::new(seed()), 30);
    kafka.kill9();
    let mut run = pipeline.start(&["capture"]);
    run.wait_for("KafkaUnreachable", LIMIT);
    kafka.start_again();
    wait_for_checkpoints(&topics(&kafka), &mut run, 1);
    stop(&mut run);
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}

/// Down, and paused (connections stay open and nothing answers), while changes go on; for longer than the controller
/// takes a silent broker for alive, so that its topic partitions may have no leader for a while after it.
#[test]
fn capture_outlives_a_broker_that_is_down_for_a_while() {
    const SESSION: Duration = Duration::from_secs(2);
    let session = [("broker.session.timeout.ms", "2000"), ("broker.heartbeat.interval.ms", "500")];
    let (server, mut kafka) = (server_with_tables(), Kafka::with(&session));
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut run = pipeline.start(&["capture"]);
    wait_for_checkpoints(&topics(&kafka), &mut run, 2);
    let more_traffic = |more: u64| {
        let before = traffic.transactions();
        wait_until("traffic", LIMIT, || (traffic.transactions() > before + more).then_some(()));
    };
    kafka.stop();
    more_traffic(500);
    kafka.start_again();
    wait_for_checkpoints(&topics(&kafka), &mut run, 3);
    kafka.pause();
    std::thread::sleep(2 * SESSION);
    more_traffic(500);
    kafka.resume();
    wait_for_checkpoints(&topics(&kafka), &mut run, 3);
    traffic.finish();
    stop(&mut run);
    captures(&pipeline);
    topics(&kafka).assert_source(&server);
}
