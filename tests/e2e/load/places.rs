//! Where `load` goes on: where the lake says, and nowhere else.

use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{Pipeline, Random, Signal, seed, wait_until};
use serde_json::{Value, json};

use super::{LIMIT, broker, capture, catch_up, loads_with, over, wait_for_records};
use crate::snapshot::pipeline::read_existing_rows;
use crate::traffic::{Traffic, assert_lake_is_source, burst, server_with_tables};
use crate::world::{ended, finish, set, stop, view};

fn alter_offsets(kafka: &Kafka, to: &str) {
    let mut command = kafka.java("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "128m");
    let brokers = kafka.brokers();
    command.args([
        "--bootstrap-server",
        &brokers,
        "--group",
        "lakeward-shop",
        "--all-topics",
        "--reset-offsets",
        to,
        "--execute",
    ]);
    let output = command.output().expect("java starts");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_groups_offsets_decide_nothing() {
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let mut random = Random::new(seed());
    for to in ["--to-earliest", "--to-latest"] {
        burst(&server, &mut random, 40);
        catch_up(&pipeline);
        burst(&server, &mut random, 40);
        capture(&pipeline);
        alter_offsets(&kafka, to);
        loads_with(&pipeline, 0, &[]);
        assert_lake_is_source(&server, &view(&pipeline));
    }
}

#[test]
fn sigterm_commits_and_the_next_worker_goes_on_there() {
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut both = pipeline.start(&["run"]);
    wait_for_records(&pipeline, &mut both, 3);
    stop(&mut both);
    let mut again = pipeline.start(&["run"]);
    wait_for_records(&pipeline, &mut again, 3);
    again.signal(Signal::Kill);
    assert_eq!(ended(&mut again, LIMIT).signal, Some(9));
    traffic.finish();
    catch_up(&pipeline);
    assert_lake_is_source(&server, &view(&pipeline));
    let status = finish(&pipeline, &["status"]);
    assert!(status.stdout.contains("topic partitions"), "{}", status.printed());
}

/// It captures to the end of the snapshot, and loads that.
#[test]
fn initial_only_ends_when_all_is_in_the_lake() {
    let (server, kafka) = (server_with_tables(), broker());
    burst(&server, &mut Random::new(seed()), 40);
    let mut pipeline = over(&server, &kafka);
    read_existing_rows(&mut pipeline);
    set(&mut pipeline, "snapshot/mode", "initial_only");
    pipeline.start(&["run"]).succeed(LIMIT);
    assert_lake_is_source(&server, &view(&pipeline));
}

/// What `check` tells of retention.
fn told(pipeline: &Pipeline) -> String {
    let report: Value =
        serde_json::from_str(&finish(pipeline, &["check", "--json"]).stdout).expect("check prints JSON");
    let findings = report["findings"].as_array().expect("findings").iter();
    let of = |finding: &&Value| finding["subject"] == "kafka.retention";
    findings.filter(of).map(|finding| format!("{} {}\n", finding["level"], finding["message"])).collect()
}

#[test]
fn retention_by_size_is_compared_with_what_waits_and_what_it_overtook_is_told_with_its_remedy() {
    const WARNING: &str = "shop.shop.orders wait for the lake";
    let (server, kafka) = (server_with_tables(), broker());
    let mut pipeline = over(&server, &kafka);
    // More than ever comes: records go when the test removes them.
    set(&mut pipeline, "transport/kafka/topics/config", json!({ "retention.bytes": 1_u64 << 30 }));
    // All of one key, so of one topic partition.
    server.sql("INSERT INTO shop.orders (region, id, n) VALUES ('de', 7, 1)");
    let changes = |times: usize| {
        (0..times).for_each(|_| server.sql("UPDATE shop.orders SET n = n + 1"));
        capture(&pipeline);
    };
    catch_up(&pipeline);
    changes(8);
    let nothing_removed = told(&pipeline);
    assert!(!nothing_removed.contains(WARNING), "{nothing_removed}");
    loads_with(&pipeline, 0, &[]);
    // What is loaded may go: also a deletion's tombstone, and the marker of the last transaction.
    server.sql("DELETE FROM shop.orders WHERE id = 7");
    catch_up(&pipeline);
    kafka.delete_records("shop.shop.orders");
    server.sql("INSERT INTO shop.orders (region, id, n) VALUES ('de', 7, 1)");
    changes(8);
    let half_waits = told(&pipeline);
    assert!(half_waits.contains(WARNING), "{half_waits}");
    loads_with(&pipeline, 0, &[]);
    changes(1);
    let little_waits = told(&pipeline);
    assert!(!little_waits.contains(WARNING), "{little_waits}");
    // What is not loaded may not.
    kafka.delete_records("shop.shop.orders");
    loads_with(&pipeline, 12, &["retention", "to mend it", "shop.shop.orders"]);
}

#[test]
fn check_compares_retention_with_what_waits_for_the_lake() {
    let (server, kafka) = (server_with_tables(), broker());
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "transport/kafka/topics/config", json!({ "retention.ms": 40_000 }));
    let mut random = Random::new(seed());
    burst(&server, &mut random, 40);
    catch_up(&pipeline);
    burst(&server, &mut random, 40);
    capture(&pipeline);
    wait_until("events that wait for twenty seconds", LIMIT, || {
        told(&pipeline).contains("wait for the lake").then_some(())
    });
    loads_with(&pipeline, 0, &[]);
    let loaded = told(&pipeline);
    assert!(!loaded.contains("wait for the lake") && loaded.contains("keeps events for 40s"), "{loaded}");
    burst(&server, &mut random, 40);
    capture(&pipeline);
    kafka.delete_records("shop.shop.orders");
    let lost = told(&pipeline);
    assert!(lost.contains("\"error\"") && lost.contains("shop.shop.orders"), "{lost}");
    loads_with(&pipeline, 12, &["retention"]);
}

#[test]
fn a_topic_that_is_gone_is_told() {
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let mut random = Random::new(seed());
    burst(&server, &mut random, 20);
    catch_up(&pipeline);
    burst(&server, &mut random, 20);
    capture(&pipeline);
    kafka.delete_topic("shop.shop.orders");
    loads_with(&pipeline, 32, &["shop.shop.orders"]);
    kafka.create_topic("shop.shop.orders", 3, &[]);
    loads_with(&pipeline, 32, &["shop.shop.orders"]);
}
