//! A record that cannot be read; files that vanish; a cluster that is away.

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{Random, free_port, seed, wait_until};

use super::{LIMIT, broker, capture, catch_up, loads_with, over};
use crate::metrics::get;
use crate::traffic::{Traffic, assert_lake_is_source, burst, server_with_tables};
use crate::world::{ended, finish, set, view};

#[test]
fn a_record_of_a_stranger_stops_its_topic_partition_and_the_others_go_on() {
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let mut random = Random::new(seed());
    burst(&server, &mut random, 40);
    capture(&pipeline);
    let end = kafka.offsets("shop.shop.customers", 1).1;
    kafka.write("shop.shop.customers", 1, Some(b"key"), Some(b"no envelope"), &[]);
    burst(&server, &mut random, 40);
    capture(&pipeline);
    let place = format!("offset {end}");
    loads_with(&pipeline, 6, &["shop.shop.customers/1", &place, "capture did not write it"]);
    let status = finish(&pipeline, &["status"]);
    for words in ["shop.shop.customers/1", place.as_str(), "capture did not write it"] {
        assert!(status.stdout.contains(words), "no {words} in: {}", status.printed());
    }
    let at = view(&pipeline).checkpoint().unwrap()["position"]["kafka"].clone();
    let behind = &at["shop.shop.customers"]["1"];
    assert_eq!(behind["offset"].as_i64(), Some(end), "{behind}");
    for (number, place) in at["shop.shop.orders"].as_object().unwrap() {
        assert_eq!(place["checkpoint"], at["shop.shop.carts"]["0"]["checkpoint"], "{number}: {place}");
    }
}

#[test]
fn a_record_of_a_stranger_that_is_put_aside_leaves_the_lake_complete() {
    let (server, kafka) = (server_with_tables(), broker());
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "transport/kafka/load/dead_letter", "dead");
    kafka.create_topic("dead", 1, &[]);
    let mut random = Random::new(seed());
    burst(&server, &mut random, 20);
    catch_up(&pipeline);
    for _ in 0..3 {
        kafka.write("shop.shop.customers", 1, Some(b"key"), Some(b"no envelope"), &[]);
        burst(&server, &mut random, 20);
        catch_up(&pipeline);
    }
    assert_eq!(kafka.read("dead").len(), 3);
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn files_that_vanished_before_they_were_visible_are_read_again_from_kafka() {
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let mut random = Random::new(seed());
    burst(&server, &mut random, 40);
    catch_up(&pipeline);
    burst(&server, &mut random, 40);
    capture(&pipeline);
    let mut killed =
        pipeline.start_with_failpoints(&["load", "--until-caught-up"], "lake.show.before=kill@1");
    assert_eq!(ended(&mut killed, LIMIT).signal, Some(9));
    let staged = pipeline.lake().join("_lakeward/shop/staged");
    std::fs::remove_dir_all(&staged).unwrap_or_else(|error| panic!("{}: {error}", staged.display()));
    let repaired = loads_with(&pipeline, 0, &["reading it again"]);
    assert!(
        view(&pipeline).records().iter().any(|record| record["repairs"].is_object()),
        "{}",
        repaired.printed()
    );
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn a_worker_waits_for_a_cluster_that_is_away_and_for_a_capture_that_never_ran() {
    let (server, mut kafka) = (server_with_tables(), broker());
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "log/level", "debug");
    burst(&server, &mut Random::new(seed()), 20);
    kafka.kill9();
    let port = free_port();
    set(&mut pipeline, "metrics/listen", format!("127.0.0.1:{port}"));
    let mut load = pipeline.start(&["load"]);
    pipeline.config.as_object_mut().unwrap().remove("metrics");
    load.wait_for("KafkaUnreachable", LIMIT);
    kafka.start_again();
    wait_until_ready(port, "a worker that waits for capture");
    capture(&pipeline);
    // A claim, the beginning, and what was captured.
    wait_until("what was captured to be in the lake", LIMIT, || {
        assert!(load.ended().is_none(), "the worker ended: {}", load.printed());
        (view(&pipeline).record_count() >= 3).then_some(())
    });
    load.kill();
    catch_up(&pipeline);
    assert_lake_is_source(&server, &view(&pipeline));
}

fn wait_until_ready(port: u16, what: &str) {
    wait_until(&format!("{what} to be ready"), LIMIT, || (get(port, "/readyz").0 == 200).then_some(()));
}

/// The client tells of every link that ends; that what is due comes shows that the cluster answers.
#[test]
fn a_busy_worker_whose_links_ended_is_ready() {
    let idle = [("group.min.session.timeout.ms", "500"), ("connections.max.idle.ms", "1000")];
    let (server, mut kafka) = (server_with_tables(), Kafka::with(&idle));
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "log/level", "debug");
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut capturing = pipeline.start(&["capture"]);
    let port = free_port();
    set(&mut pipeline, "metrics/listen", format!("127.0.0.1:{port}"));
    let mut load = pipeline.start(&["load"]);
    load.wait_for("the Kafka client tells", LIMIT);
    wait_until_ready(port, "a worker whose idle links were closed");
    kafka.kill9();
    kafka.start_again();
    wait_until_ready(port, "a worker whose broker was started again");
    traffic.finish();
    capturing.kill();
    load.kill();
    pipeline.config.as_object_mut().unwrap().remove("metrics");
    catch_up(&pipeline);
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn a_session_timeout_that_the_brokers_do_not_take_is_told_at_once() {
    const KEY: &str = "load.session_timeout";
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = over(&server, &kafka);
    burst(&server, &mut Random::new(seed()), 5);
    capture(&pipeline);
    loads_with(&pipeline, 2, &["transport.kafka", KEY, "group.min.session.timeout.ms"]);
    let checked = finish(&pipeline, &["check"]).stdout;
    assert!(checked.contains(&format!("ERROR    kafka.{KEY}: 2s")), "{checked}");
}
