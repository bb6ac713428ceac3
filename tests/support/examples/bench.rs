//! `make bench`: what `lakeward run` costs per row, to a folder and to S3, beside
//! `mysqlbinlog --read-from-remote-server --raw` over the same binlog in the same minutes.
//!
//! Machines are shared and noisy: compare CPU time per row, and ratios within one run. Each figure
//! is the median of RUNS runs (default 3) over ROWS row events (default 2,000,000).
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "development only: what cannot be measured ends it; its settings are environment variables"
)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::s3::S3;
use lakeward_test_support::{Measured, Pipeline, Place, Scratch, measure, python_program};

fn main() {
    let rows = setting("ROWS", 2_000_000);
    let runs = setting("RUNS", 3);
    let server = MySql::start(MySqlOptions {
        extra: vec!["--innodb-buffer-pool-size=1G".into()],
        ..MySqlOptions::default()
    });
    server.create_user();
    let started = Instant::now();
    write_workload(&server, rows);
    let bytes =
        server.rows("SHOW BINARY LOGS").iter().filter_map(|log| log[1].as_deref()?.parse::<u64>().ok()).sum();
    println!(
        "{rows} row events, {} MiB of binlog (written in {:.0} s); medians of {runs} runs\n",
        mib(bytes),
        started.elapsed().as_secs_f64()
    );
    let s3 = S3::start();
    let mut measured: [Vec<Measured>; 3] = Default::default();
    for run in 0..runs {
        measured[0].push(mysqlbinlog(&server));
        measured[1].push(lakeward(&server, &Place::Folder, rows));
        let prefix = format!("run-{run}");
        let place = Place::S3 { server: &s3, endpoint: s3.endpoint(), prefix: &prefix };
        measured[2].push(lakeward(&server, &place, rows));
    }
    println!("{:<34}{:>12}{:>16}{:>14}{:>12}", "", "rows/s", "CPU µs per row", "wall, ratio", "peak MiB");
    let names = ["mysqlbinlog --raw", "lakeward run, folder", "lakeward run, S3"];
    let limit = median(&measured[0]);
    for (name, measured) in names.into_iter().zip(&measured) {
        let measured = median(measured);
        println!(
            "{name:<34}{:>12.0}{:>16.2}{:>14.2}{:>12.0}",
            rows as f64 / measured.wall.as_secs_f64(),
            measured.cpu.as_secs_f64() * 1e6 / rows as f64,
            measured.wall.as_secs_f64() / limit.wall.as_secs_f64(),
            measured.peak_mib
        );
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("ROWS and RUNS are numbers"))
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn write_workload(server: &MySql, rows: u64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/workload.py");
    let mut statements = Command::new(python_program())
        .arg(script)
        .arg(rows.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let output = statements.stdout.take().expect("python has an output");
    let client = server.client().stdin(output).status().expect("the client starts");
    assert!(client.success() && statements.wait().is_ok_and(|status| status.success()), "no workload");
}

fn mysqlbinlog(server: &MySql) -> Measured {
    let target = Scratch::new("mysqlbinlog");
    let first = server.rows("SHOW BINARY LOGS")[0][0].clone().expect("a binlog has a name");
    let mut command = server.mysqlbinlog();
    command
        .args(["--read-from-remote-server", "--raw", "--to-last-log", "--ssl-mode=DISABLED"])
        .arg(format!("--result-file={}/", target.path().display()))
        .arg(first);
    measure(&command)
}

/// Default config, except for the place; TLS off, as for mysqlbinlog. Fails unless every row event
/// is in the lake.
fn lakeward(server: &MySql, place: &Place<'_>, rows: u64) -> Measured {
    let mut pipeline = Pipeline::new("bench", server, &["shop.*"], place);
    pipeline.config["source"]["mysql"]["tls"] = serde_json::json!({ "mode": "disabled" });
    pipeline.config["lake"]["commit"]["interval"] = "60s".into();
    let measured = measure(&pipeline.command(&["run", "--until-caught-up"]));
    assert_eq!(rows_in(&pipeline.lake()), rows, "row events in the lake");
    measured
}

/// Rows of the files that the commit log names.
fn rows_in(lake: &Path) -> u64 {
    let log = fs::read_dir(lake.join("_lakeward/bench/log")).expect("a lake has a log");
    let records = log.flatten().map(|entry| entry.path());
    records
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            serde_json::from_slice(&fs::read(path).expect("a record is readable")).expect("a record is JSON")
        })
        .map(|record: serde_json::Value| {
            record["files"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|file| file["rows"].as_u64())
                .sum::<u64>()
        })
        .sum()
}

/// Each figure's own median.
fn median(measured: &[Measured]) -> Measured {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let of = |figure: fn(&Measured) -> f64| middle(measured.iter().map(figure).collect());
    Measured {
        wall: Duration::from_secs_f64(of(|run| run.wall.as_secs_f64())),
        cpu: Duration::from_secs_f64(of(|run| run.cpu.as_secs_f64())),
        peak_mib: of(|run| run.peak_mib),
    }
}
