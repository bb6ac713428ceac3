//! Topics that are given more topic partitions while they are loaded. Keys move then, and no change of theirs is lost.

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{Lakeward, Pipeline, Signal, seed, wait_until};

use super::{LIMIT, broker, catch_up, events_in_lake, over, wait_for_records};
use crate::traffic::{Traffic, assert_lake_is_source, server_with_tables};
use crate::world::{ended, stop, view};

/// Topic partitions of a topic before and after.
const FEW: i32 = 3;
const MORE: i32 = 6;

fn grow(kafka: &Kafka, topic: &str) {
    kafka.add_partitions(topic, usize::try_from(MORE).unwrap());
}

/// Waits until the lake has events of each topic partition that is new.
fn wait_for_the_new(pipeline: &Pipeline, run: &mut Lakeward, topic: &str) {
    wait_until("events of the new topic partitions in the lake", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        (FEW..MORE).all(|number| events_in_lake(pipeline, topic, number) > 0).then_some(())
    });
}

#[test]
fn a_topic_that_grows_under_a_running_pipeline_is_loaded_whole() {
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(10));
    let mut run = pipeline.start(&["run"]);
    wait_for_records(&pipeline, &mut run, 3);
    grow(&kafka, "shop.shop.customers");
    wait_for_the_new(&pipeline, &mut run, "shop.shop.customers");
    // The next start finds both ends behind what the topic has.
    grow(&kafka, "shop.shop.orders");
    run.signal(Signal::Kill);
    assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
    let mut again = pipeline.start(&["run"]);
    wait_for_the_new(&pipeline, &mut again, "shop.shop.orders");
    traffic.finish();
    stop(&mut again);
    catch_up(&pipeline);
    assert_lake_is_source(&server, &view(&pipeline));
}
