//! `/metrics` counts what happened, `/healthz` and `/readyz` tell about progress, not about a process
//! that merely exists.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lakeward_test_support::s3::S3;
use lakeward_test_support::{LIMIT, Pipeline, Place, Random, free_port, seed, wait_until};

use crate::lake::Reader;
use crate::traffic::{Traffic, burst, create_tables};
use crate::world::{PIPELINE, server, set, stop, view, wait_for_checkpoint, wait_until_complete};

/// The status and body of an answer; 0 where nobody answers.
pub(crate) fn get(port: u16, path: &str) -> (u16, String) {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, body.to_owned())
}

/// Samples by name and labels, as `name{a="b"}`.
pub(crate) fn samples(port: u16) -> BTreeMap<String, f64> {
    let (status, text) = get(port, "/metrics");
    assert_eq!(status, 200);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        })
        .collect()
}

fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let matching = samples.iter().filter(|(sample, _)| {
        sample.split('{').next() == Some(name) && labels.iter().all(|label| sample.contains(label))
    });
    matching.map(|(_, value)| value).sum()
}

#[test]
#[expect(clippy::float_cmp, reason = "counters are whole numbers")]
fn counters_are_what_is_in_the_lake() {
    let server = server();
    create_tables(&server);
    burst(&server, &mut Random::new(seed()), 200);
    server.sql("SET GLOBAL binlog_expire_logs_seconds = 86400");
    server.sql("CREATE TABLE shop.dates (id INT PRIMARY KEY, d DATE); SET sql_mode = ''; INSERT INTO shop.dates VALUES (1, '0000-00-00')");
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::Folder);
    let port = free_port();
    set(&mut pipeline, "metrics/listen", format!("127.0.0.1:{port}"));
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    wait_until_complete(&pipeline, &server, &mut run);
    let metrics = samples(port);
    let events = view(&pipeline).events(Reader::Duckdb);
    for ((_, table), events) in &events {
        for op in ["c", "u", "d", "r", "t"] {
            let counted =
                sum(&metrics, "lakeward_source_rows_total", &[table.as_str(), &format!("op=\"{op}\"")]);
            let found = events.ops().iter().filter(|found| *found == op).count();
            assert_eq!(counted, f64::from(u32::try_from(found).unwrap()), "{table} {op}");
        }
    }
    assert_eq!(sum(&metrics, "lakeward_source_zero_dates_total", &["dates"]), 1.0);
    assert!(sum(&metrics, "lakeward_lake_commits_total", &[]) >= 1.0);
    assert_eq!(sum(&metrics, "lakeward_source_connected", &[]), 1.0);
    assert_eq!(sum(&metrics, "lakeward_tables_stopped", &[]), 0.0);
    assert!(sum(&metrics, "lakeward_source_lag_seconds", &[]) < 30.0);
    for name in ["lakeward_source_binlog_headroom_seconds", "lakeward_lake_freshness_seconds"] {
        assert!(metrics.keys().any(|sample| sample.starts_with(name)), "no {name}");
    }
    server.sql("SET SESSION binlog_format = 'STATEMENT'; UPDATE shop.dates SET d = NULL");
    wait_until("a stopped table in the metrics", LIMIT, || {
        (sum(&samples(port), "lakeward_tables_stopped", &[]) == 1.0).then_some(())
    });
    stop(&mut run);
}

#[test]
fn health_follows_progress() {
    let (server, mut s3) = (server(), S3::start());
    create_tables(&server);
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
    set(&mut pipeline, "lake/commit/interval", "500ms");
    let port = free_port();
    set(&mut pipeline, "metrics/listen", format!("127.0.0.1:{port}"));
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut run = pipeline.start(&["run"]);
    wait_until("readyz", LIMIT, || (get(port, "/readyz").0 == 200).then_some(()));
    wait_for_checkpoint(&pipeline, &mut run);
    assert_eq!(get(port, "/healthz").0, 200);
    assert_eq!(get(port, "/nothing").0, 404);
    s3.pause();
    // A commit that is under way moves until S3 is given up, after five minutes.
    wait_until("healthz to tell that nothing moves", LIMIT * 2, || {
        (get(port, "/healthz").0 == 503).then_some(())
    });
    s3.resume();
    wait_until("healthz to tell that it goes on", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        (get(port, "/healthz").0 == 200).then_some(())
    });
    traffic.finish();
    stop(&mut run);
}

/// Nothing to do is no lack of progress.
#[test]
fn an_idle_pipeline_is_healthy() {
    let server = server();
    create_tables(&server);
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::Folder);
    set(&mut pipeline, "lake/commit/interval", "200ms");
    set(&mut pipeline, "source/mysql/heartbeat", "1s");
    let port = free_port();
    set(&mut pipeline, "metrics/listen", format!("127.0.0.1:{port}"));
    let mut run = pipeline.start(&["run"]);
    wait_until("readyz", LIMIT, || (get(port, "/readyz").0 == 200).then_some(()));
    let started = std::time::Instant::now();
    wait_until("ten seconds of health", LIMIT, || {
        assert_eq!(get(port, "/healthz").0, 200, "after {:?}", started.elapsed());
        (started.elapsed() > Duration::from_secs(10)).then_some(())
    });
    stop(&mut run);
}
