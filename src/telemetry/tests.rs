//! Metrics, lag, freshness and health over counters set by hand.

use lakeward_core::TableId;
use lakeward_core::clock::ManualClock;
use lakeward_core::stats::{SnapshotCount, SnapshotPhase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const NOW_US: i64 = 1_800_000_000_000_000;

fn telemetry() -> (Telemetry, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW_US));
    let telemetry = Telemetry::new("shop", clock.clone(), Duration::from_secs(60));
    telemetry.progress.moved_ms.set(NOW_US / 1_000);
    (telemetry, clock)
}

fn scraped(telemetry: &Telemetry) -> String {
    String::from_utf8(metrics::text(&metrics::registry(telemetry).unwrap()).unwrap()).unwrap()
}

#[test]
fn counters_appear_with_their_names_and_labels() {
    let (telemetry, _) = telemetry();
    telemetry.source.rows.add(&(TableId::new("shop", "orders"), "c"), 3);
    telemetry.lake.commits.add(2);
    let text = scraped(&telemetry);
    for line in [
        r#"lakeward_source_rows_total{op="c",pipeline="shop",table="shop.orders"} 3"#,
        r#"lakeward_lake_commits_total{pipeline="shop"} 2"#,
        "# TYPE lakeward_tables_stopped gauge",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[test]
fn what_is_not_known_has_no_sample() {
    let (telemetry, _) = telemetry();
    telemetry.source.headroom_seconds.set(-1);
    let text = scraped(&telemetry);
    assert!(!text.contains("lag_seconds") && !text.contains("headroom"), "{text}");
}

#[test]
fn lag_is_the_age_of_what_is_read_and_freshness_of_what_is_committed() {
    let (telemetry, clock) = telemetry();
    telemetry.source.last_commit_us.set(NOW_US - 30_000_000);
    let lag_us = |telemetry: &Telemetry| telemetry.lag_us(&telemetry.source);
    assert_eq!((lag_us(&telemetry), telemetry.freshness_us()), (Some(30_000_000), Some(30_000_000)));
    telemetry.source.caught_up_us.set(NOW_US);
    telemetry.progress.oldest_waiting_us.set(NOW_US - 20_000_000);
    assert_eq!((lag_us(&telemetry), telemetry.freshness_us()), (Some(0), Some(20_000_000)));
    telemetry.progress.oldest_waiting_us.set(0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(telemetry.freshness_us(), Some(1_000_000));
}

#[test]
fn health_follows_what_moves() {
    let (telemetry, clock) = telemetry();
    assert!(Health(&telemetry).alive().ok);
    clock.advance(Duration::from_secs(301));
    telemetry.source.connected.set(1);
    let verdict = Health(&telemetry).alive();
    assert!(!verdict.ok && verdict.reason.contains("stuck"), "{verdict:?}");
    telemetry.progress.moved_ms.set((NOW_US + 301_000_000) / 1_000);
    assert!(Health(&telemetry).alive().ok);
    telemetry.progress.failing_since_us.set(NOW_US);
    let verdict = Health(&telemetry).alive();
    assert!(!verdict.ok && verdict.reason.contains("301 s"), "{verdict:?}");
}

#[test]
fn of_two_engines_in_one_process_the_worse_one_is_told() {
    let ((captured, clock), (loaded, _)) = (telemetry(), telemetry());
    let loaded = Telemetry { clock: clock.clone(), ..loaded };
    let both = Telemetry::of_both(&captured, &loaded);
    captured.source.caught_up_us.set(NOW_US);
    loaded.source.caught_up_us.set(NOW_US - 40_000_000);
    assert_eq!(both.freshness_us(), Some(40_000_000), "what waits in topics is not in the lake");
    captured.progress.failures.add(2);
    loaded.progress.failures.add(1);
    assert!(scraped(&both).contains(r#"lakeward_run_failures_total{pipeline="shop"} 3"#));
    clock.advance(Duration::from_secs(301));
    loaded.progress.moved_ms.set((NOW_US + 301_000_000) / 1_000);
    assert!(!Health(&both).alive().ok, "capture is stuck");
    captured.progress.at_rest.set(1);
    assert!(Health(&both).alive().ok, "capture is at its end");
    loaded.progress.at_rest.set(1);
    captured.progress.at_rest.set(0);
    assert!(!Health(&both).alive().ok, "load waits for capture, which is stuck");
    loaded.progress.at_rest.set(0);
    for one in [&captured, &loaded] {
        assert!(!Health(&both).ready().ok);
        one.source.connected.set(1);
        one.progress.boundaries.add(1);
    }
    assert!(Health(&both).ready().ok);
}

#[test]
fn ready_is_connected_and_at_a_boundary() {
    let (telemetry, _) = telemetry();
    assert!(!Health(&telemetry).ready().ok);
    telemetry.source.connected.set(1);
    assert!(!Health(&telemetry).ready().ok);
    telemetry.progress.boundaries.add(1);
    assert!(Health(&telemetry).ready().ok);
}

fn count(telemetry: &Telemetry, table: &str, count: SnapshotCount) {
    telemetry.source.snapshots.update(&TableId::new("shop", table), |told| *told = count);
}

#[test]
fn snapshots_are_told_by_table_while_they_are_open_and_counted_by_phase() {
    let (telemetry, _) = telemetry();
    let reading = SnapshotCount {
        rows: 400,
        rows_before: 100,
        estimated_rows: Some(1_000),
        since_us: NOW_US - 3_000_000,
        phase: SnapshotPhase::Reading,
    };
    count(&telemetry, "orders", reading.clone());
    count(&telemetry, "lines", SnapshotCount { phase: SnapshotPhase::Done, ..reading.clone() });
    count(&telemetry, "notes", SnapshotCount { phase: SnapshotPhase::Paused, ..reading });
    let text = scraped(&telemetry);
    for line in [
        r#"lakeward_snapshot_rows{pipeline="shop",table="shop.orders"} 400"#,
        r#"lakeward_snapshot_estimated_rows{pipeline="shop",table="shop.orders"} 1000"#,
        r#"lakeward_snapshot_percent{pipeline="shop",table="shop.orders"} 40"#,
        r#"lakeward_snapshot_rows_per_second{pipeline="shop",table="shop.orders"} 100"#,
        r#"lakeward_snapshot_left_seconds{pipeline="shop",table="shop.orders"} 6"#,
        r#"lakeward_snapshot_rows{pipeline="shop",table="shop.notes"} 400"#,
        r#"lakeward_snapshot_tables{phase="done",pipeline="shop"} 1"#,
        r#"lakeward_snapshot_tables{phase="waiting",pipeline="shop"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains(r#"table="shop.lines""#), "{text}");
    let notes_rate = r#"lakeward_snapshot_rows_per_second{pipeline="shop",table="shop.notes"}"#;
    assert!(!text.contains(notes_rate), "a paused one has no rate: {text}");
}

#[test]
fn a_run_is_ready_while_snapshots_are_under_way_and_says_so() {
    let (telemetry, _) = telemetry();
    telemetry.source.connected.set(1);
    telemetry.progress.boundaries.add(1);
    count(&telemetry, "orders", SnapshotCount::default());
    let verdict = Health(&telemetry).ready();
    assert!(verdict.ok && verdict.reason.contains("1 table"), "{verdict:?}");
    count(&telemetry, "orders", SnapshotCount { phase: SnapshotPhase::Done, ..SnapshotCount::default() });
    assert_eq!(Health(&telemetry).ready().reason, "streaming");
}

#[test]
fn the_endpoint_answers_probes_and_scrapes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (telemetry, _) = telemetry();
        let (address, task) = serve(telemetry.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let ask = async |path: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(ask("/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(ask("/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(ask("/metrics").await.contains("lakeward_source_connected"));
        assert!(ask("/other").await.starts_with("HTTP/1.1 404"));
        let error = serve(telemetry, address).await.unwrap_err().to_string();
        assert!(error.contains("metrics.listen"), "{error}");
        task.abort();
    });
}
