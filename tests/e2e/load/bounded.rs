//! Memory stays within its bounds with far more captured than memory holds, nearly all of it in one topic partition.

use std::time::Duration;

use lakeward_test_support::wait_until;

use super::{broker, capture, over};
use crate::world::{server, set, view};

#[test]
fn ten_times_more_than_memory_and_one_slow_topic_partition() {
    let (server, kafka) = (server(), broker());
    server.sql(
        "SET SESSION cte_max_recursion_depth = 1000000;
         CREATE DATABASE shop;
         CREATE TABLE shop.big (id BIGINT PRIMARY KEY, part INT NOT NULL, filling VARBINARY(4000));
         INSERT INTO shop.big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000) \
         SELECT i, 1, CONCAT(RANDOM_BYTES(1000), RANDOM_BYTES(1000)) FROM n",
    );
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "memory", "64MiB");
    set(&mut pipeline, "lake/commit/file_size", "32MiB");
    // One key for nearly all rows: they are in one topic partition.
    set(&mut pipeline, "transport/kafka/message_key_columns", serde_json::json!({ "shop.big": ["part"] }));
    capture(&pipeline);
    let mut load = pipeline.start(&["load", "--until-caught-up"]);
    let mut peak = 0.0_f64;
    let status = wait_until("all to be loaded", Duration::from_secs(900), || {
        peak = peak.max(load.peak_mib().unwrap_or_default());
        load.ended()
    });
    assert!(status.success(), "{}", load.printed());
    println!("peak memory {peak:.0} MiB");
    let records = view(&pipeline).records();
    let rows: u64 = records
        .iter()
        .flat_map(|record| record["files"].as_array().into_iter().flatten())
        .map(|file| file["rows"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, 120_000);
    // The budget, and the process itself.
    assert!(peak < 64.0 + 150.0, "{peak} MiB");
}
