//! A cluster that answers nothing for longer than anybody waits for an answer.

use std::time::Duration;

use lakeward_test_support::{free_port, seed, wait_until};
use serde_json::json;

use super::{LIMIT, broker, catch_up, over, wait_for_records};
use crate::metrics::get;
use crate::traffic::{Traffic, assert_lake_is_source, server_with_tables};
use crate::world::{set, stop, view};

/// Longer than a writer waits for its records, and than a probe does for something to move: two minutes each.
const OUTAGE: Duration = Duration::from_secs(150);

#[test]
fn a_cluster_that_is_silent_for_minutes_ends_nothing() {
    let (server, mut kafka) = (server_with_tables(), broker());
    let mut pipeline = over(&server, &kafka);
    let port = free_port();
    set(&mut pipeline, "metrics", json!({ "listen": format!("127.0.0.1:{port}") }));
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(100));
    let mut run = pipeline.start(&["run"]);
    wait_for_records(&pipeline, &mut run, 3);
    let is_well = || ["/healthz", "/readyz"].iter().all(|path| get(port, path).0 == 200);
    wait_until("a pipeline that is well", LIMIT, || is_well().then_some(()));
    kafka.pause();
    std::thread::sleep(OUTAGE);
    wait_until("a probe that tells", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        (get(port, "/healthz").0 == 503).then_some(())
    });
    kafka.resume();
    wait_until("a pipeline that is well again", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        is_well().then_some(())
    });
    wait_for_records(&pipeline, &mut run, 2);
    traffic.finish();
    stop(&mut run);
    catch_up(&pipeline);
    assert_lake_is_source(&server, &view(&pipeline));
}
