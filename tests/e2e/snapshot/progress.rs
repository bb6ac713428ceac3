//! Progress of a snapshot in the middle: rows, percent, rate and time left, in `status`, in metrics and
//! in log lines.

use lakeward_test_support::mysql::MySqlOptions;
use lakeward_test_support::{LIMIT, Signal, free_port, wait_until};
use serde_json::{Value, json};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{busy_threads, initial, rows_in_lake, server_with_numbers, wait_until_read};
use crate::metrics::samples;
use crate::world::{finish, restless, set, stop};

const ROWS: u64 = 1_000_000;
const TABLE: &str = "{pipeline=\"shop\",table=\"shop.t\"}";

#[test]
fn progress_is_told_in_the_middle_and_at_the_end() {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    Target::create(&server, kind("counted"), "t", ROWS);
    server.sql("ANALYZE TABLE shop.t");
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    let port = free_port();
    set(&mut pipeline, "metrics", json!({ "listen": format!("127.0.0.1:{port}") }));
    set(&mut pipeline, "snapshot/max_threads_running", 8);
    set(&mut pipeline, "snapshot/parallelism", 1);
    let mut run = pipeline.start_with_failpoints(&["run"], "mysql.snapshot.read=stop@4");
    wait_until("the fourth chunk", LIMIT, || run.is_stopped().then_some(()));
    let busy = busy_threads(&server, 12);
    run.signal(Signal::Cont);
    let status = || -> Value {
        let status = finish(&pipeline, &["status", "--json"]);
        serde_json::from_str(&status.stdout).unwrap_or_else(|error| panic!("{error}: {}", status.printed()))
    };
    let rows = |status: &Value| status["snapshots"]["open"][0]["rows"].as_u64().unwrap_or(0);
    let (mut last, mut looks) = (0, 0);
    let middle = wait_until("the chunks to wait", LIMIT, || {
        let status = status();
        looks = if rows(&status) == last { looks + 1 } else { 0 };
        last = rows(&status);
        (last > 0 && looks > 10).then_some(status)
    });
    let open = &middle["snapshots"]["open"][0];
    assert_eq!(open["table"], "shop.t", "{middle:#}");
    assert!(last < ROWS && last == rows_in_lake(&pipeline), "{middle:#}");
    let number = |name: &str| open[name].as_u64().unwrap_or_else(|| panic!("no {name}: {middle:#}"));
    assert!((1..100).contains(&number("percent")), "{middle:#}");
    assert!(number("rows_per_second") > 0 && number("estimated_rows") > ROWS / 2, "{middle:#}");
    let told = finish(&pipeline, &["status"]).stdout;
    assert!(told.contains("shop.t being read") && told.contains('%'), "{told}");
    let seen = samples(port);
    let sample = |name: &str| seen.get(&format!("{name}{TABLE}")).copied();
    assert_eq!(sample("lakeward_snapshot_rows"), Some(last as f64), "{seen:#?}");
    assert!(sample("lakeward_snapshot_estimated_rows") > Some(0.0), "{seen:#?}");
    drop(busy);
    wait_until_read(&pipeline, &mut run, &[("shop".into(), "t".into())], LIMIT);
    assert_eq!(status()["snapshots"]["done"], 1);
    stop(&mut run);
    let log = run.stderr();
    for words in ["snapshot: reading", "snapshot: done"] {
        assert!(log.contains(words), "no {words} in {log}");
    }
}
