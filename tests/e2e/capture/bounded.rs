//! The bound of memory holds where Kafka is slower than the source.

use std::time::{Duration, Instant};

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::wait_until;

use super::{LIMIT, over, topics};
use crate::traffic::server_with_tables;
use crate::world::set;

/// What the process takes beside its budget.
const OWN_MIB: f64 = 100.0;
const BUDGET_MIB: f64 = 64.0;

/// What the brokers take in a second.
const QUOTA: u64 = 12_000_000;
const ROWS: u64 = 250_000;
/// Random bytes in each row, which nothing makes smaller.
const FILLING: u64 = 800;

/// Four times the budget in change events, to brokers that take a fraction of what the source reads.
#[test]
fn memory_is_bounded_where_the_brokers_are_slower_than_the_source() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    kafka.tool(
        "kafka.admin.ConfigCommand",
        &[
            "--alter",
            "--add-config",
            &format!("producer_byte_rate={QUOTA}"),
            "--entity-type",
            "clients",
            "--entity-default",
        ],
    );
    server.sql(&format!(
        "SET SESSION cte_max_recursion_depth = {ROWS};
         INSERT INTO shop.carts WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         SELECT i, 1, RANDOM_BYTES({FILLING}) FROM n"
    ));
    let mut pipeline = over(&server, &kafka);
    set(&mut pipeline, "memory", "64MiB");
    let mut run = pipeline.start(&["capture", "--until-caught-up"]);
    let (begun, mut peak) = (Instant::now(), 0.0_f64);
    let status = wait_until("capture to catch up", LIMIT * 3, || {
        peak = peak.max(run.peak_mib().unwrap_or(0.0));
        run.ended()
    });
    assert!(status.success(), "{}", run.printed());
    let took = begun.elapsed();
    println!("peak {peak:.0} MiB of {BUDGET_MIB} and {OWN_MIB}, {took:.1?}");
    // The quota is for an average: some of it comes before it bites, and more bytes than these are sent.
    let least = Duration::from_secs(ROWS * FILLING / QUOTA) * 3 / 4;
    assert!(took > least, "the brokers were not slow: {took:?} of at least {least:?}");
    assert!(peak < BUDGET_MIB + OWN_MIB, "peak {peak} MiB");
    topics(&kafka).assert_source(&server);
}
