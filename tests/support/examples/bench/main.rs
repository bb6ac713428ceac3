//! `make bench`: what `lakeward run` costs per row, each figure beside the limit of the same minutes:
//! changes beside `mysqlbinlog --read-from-remote-server --raw` over the same binlog, a whole table beside
//! `mysql --quick` over the same rows, and both at once; `capture` beside Kafka's own measuring tool and Debezium
//! (measured once, as it is far slower), `load` of what was captured; and how long a change takes at 2,000 rows/s.
//!
//! Machines are shared and noisy: compare CPU time per row, and ratios within one run. Each figure
//! is the median of RUNS runs (default 3) over ROWS row events (default 2,000,000) and SNAPSHOT_ROWS rows
//! (default 1,500,000). PARTS measures some of it only: `PARTS=kafka,latency`.
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "development only: what cannot be measured ends it; its settings are environment variables"
)]

mod changes;
mod debezium;
mod limit;
mod over_kafka;
mod whole_table;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use debezium::Debezium;
use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::registry::SchemaRegistry;
use lakeward_test_support::s3::S3;
use lakeward_test_support::{Measured, Pipeline, Place, python_program};

fn main() {
    if limit::is_it() {
        return;
    }
    let (rows, table_rows) = (setting("ROWS", 2_000_000), setting("SNAPSHOT_ROWS", 1_500_000));
    let runs = setting("RUNS", 3);
    let server = MySql::start(MySqlOptions {
        extra: vec!["--innodb-buffer-pool-size=1G".into()],
        ..MySqlOptions::default()
    });
    server.create_user();
    // These begin before there are changes, so that they find all of them in the log and the table
    // beside it.
    let both: Vec<Pipeline> = match wanted("direct") {
        true => (0..runs).map(|_| whole_table::before_changes(&server)).collect(),
        false => Vec::new(),
    };
    let kafka = Kafka::start();
    let debezium = wanted("debezium").then(|| Debezium::before_changes(&server, &kafka));
    let started = Instant::now();
    write_workload(&server, "cdc", rows);
    write_workload(&server, "snap", table_rows);
    let bytes: u64 =
        server.rows("SHOW BINARY LOGS").iter().filter_map(|log| log[1].as_deref()?.parse::<u64>().ok()).sum();
    println!(
        "{rows} row events in {} MiB of binlog, a table of {table_rows} rows (written in {:.0} s); medians of {runs} runs\n",
        bytes >> 20,
        started.elapsed().as_secs_f64()
    );
    let mut figures = Figures::default();
    direct(&server, both, (rows, table_rows), &mut figures);
    if let Some(debezium) = &debezium {
        figures.add(DEBEZIUM, rows, debezium.capture(&kafka, rows));
    }
    if wanted("kafka") {
        through_kafka(&server, &kafka, rows, runs, &mut figures);
    }
    figures.print();
    if wanted("latency") {
        over_kafka::latency(&server, &kafka);
    }
}

/// Without Kafka; once for each of `both`.
fn direct(server: &MySql, both: Vec<Pipeline>, (rows, table_rows): (u64, u64), figures: &mut Figures) {
    let s3 = S3::start();
    for (run, both) in both.into_iter().enumerate() {
        figures.add("mysqlbinlog --raw", rows, changes::mysqlbinlog(server));
        figures.add("changes to a folder", rows, changes::lakeward(server, &Place::Folder, rows));
        let prefix = format!("run-{run}");
        let place = Place::S3 { server: &s3, endpoint: s3.endpoint(), prefix: &prefix };
        figures.add("changes to S3", rows, changes::lakeward(server, &place, rows));
        figures.add("mysql --quick", table_rows, whole_table::mysql_quick(server));
        figures.add("a whole table to a folder", table_rows, whole_table::snapshot(server, table_rows));
        figures.add("both at once", rows + table_rows, whole_table::with_changes(both, rows + table_rows));
    }
}

fn through_kafka(server: &MySql, kafka: &Kafka, rows: u64, runs: u64, figures: &mut Figures) {
    let registry = SchemaRegistry::start();
    for run in 0..runs {
        figures.add(PRODUCER, rows, over_kafka::producer(kafka, rows));
        figures.add(CLIENT, rows, limit::measured(kafka, rows));
        for (name, [captured, loaded], format) in over_kafka::FORMATS {
            let prefix = format!("{name}-{run}");
            let pipeline = over_kafka::over(server, kafka, &prefix, &format(&registry));
            figures.add(captured, rows, over_kafka::capture(&pipeline));
            figures.add(loaded, rows, over_kafka::load(&pipeline, rows));
            over_kafka::delete_topics(kafka, &prefix);
        }
    }
}

/// Whether this part is to be measured: PARTS names some of direct, debezium, kafka and latency; all by default.
fn wanted(part: &str) -> bool {
    env::var("PARTS").map_or(true, |parts| parts.split(',').any(|named| named == part))
}

const DEBEZIUM: &str = "Debezium in Connect, JSON";
const PRODUCER: &str = "Kafka's producer tool";
const CLIENT: &str = "the client library alone";

/// What was measured, by name, in the order of the first run.
#[derive(Default)]
struct Figures(Vec<(&'static str, u64, Vec<Measured>)>);

impl Figures {
    fn add(&mut self, name: &'static str, rows: u64, measured: Measured) {
        match self.0.iter_mut().find(|(known, _, _)| *known == name) {
            Some((_, _, all)) => all.push(measured),
            None => self.0.push((name, rows, vec![measured])),
        }
    }

    fn of(&self, name: &str) -> Option<Measured> {
        let (_, _, measured) = self.0.iter().find(|(known, _, _)| *known == name)?;
        Some(median(measured))
    }

    /// How many times faster `one` is than `limit`, if both were measured.
    fn faster(&self, one: &str, limit: &str) -> Option<f64> {
        Some(self.of(limit)?.wall.as_secs_f64() / self.of(one)?.wall.as_secs_f64())
    }

    /// How many times less CPU `one` takes than `limit`.
    fn cheaper(&self, one: &str, limit: &str) -> Option<f64> {
        Some(self.of(limit)?.cpu.as_secs_f64() / self.of(one)?.cpu.as_secs_f64())
    }

    fn both_at_once(&self) -> Option<f64> {
        let wall = |name: &str| Some(self.of(name)?.wall.as_secs_f64());
        Some(wall("both at once")? / (wall("changes to a folder")? + wall("a whole table to a folder")?))
    }

    fn print(&self) {
        println!("{:<28}{:>12}{:>16}{:>12}", "", "rows/s", "CPU µs per row", "peak MiB");
        for (name, rows, measured) in &self.0 {
            let (measured, rows) = (median(measured), *rows as f64);
            println!(
                "{name:<28}{:>12.0}{:>16.2}{:>12.0}",
                rows / measured.wall.as_secs_f64(),
                measured.cpu.as_secs_f64() * 1e6 / rows,
                measured.peak_mib
            );
        }
        println!();
        let tell = |what: &str, ratio: Option<f64>| {
            if let Some(ratio) = ratio {
                println!("{what}: {ratio:.2}");
            }
        };
        let (changes, table) = ("changes to a folder", "a whole table to a folder");
        tell("changes, rows/s against mysqlbinlog", self.faster(changes, "mysqlbinlog --raw"));
        tell("changes, CPU against mysqlbinlog", self.cheaper("mysqlbinlog --raw", changes));
        tell("a table, rows/s against mysql --quick", self.faster(table, "mysql --quick"));
        tell("both at once, time against one after the other", self.both_at_once());
        for (_, [captured, _], _) in over_kafka::FORMATS {
            tell(&format!("{captured}, rows/s against Debezium"), self.faster(captured, DEBEZIUM));
            tell(
                &format!("{captured}, rows/s against Kafka's producer tool"),
                self.faster(captured, PRODUCER),
            );
            tell(
                &format!("{captured}, rows/s against the client library alone"),
                self.faster(captured, CLIENT),
            );
            tell(
                &format!("{captured}, CPU against the client library alone"),
                self.cheaper(CLIENT, captured),
            );
            tell(&format!("{captured}, times less CPU than Debezium"), self.cheaper(captured, DEBEZIUM));
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("ROWS, SNAPSHOT_ROWS and RUNS are numbers"))
}

fn write_workload(server: &MySql, kind: &str, rows: u64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/workload.py");
    let mut statements = Command::new(python_program())
        .arg(script)
        .args([kind, &rows.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let output = statements.stdout.take().expect("python has an output");
    let client = server.client().stdin(output).status().expect("the client starts");
    assert!(client.success() && statements.wait().is_ok_and(|status| status.success()), "no workload");
}

/// Default config, except for a folder and a commit interval that no run reaches; TLS off, as for the
/// tools beside it.
fn pipeline(server: &MySql, tables: &[&str], place: &Place<'_>) -> Pipeline {
    let mut pipeline = Pipeline::new("bench", server, tables, place);
    pipeline.config["source"]["mysql"]["tls"] = serde_json::json!({ "mode": "disabled" });
    pipeline.config["lake"]["commit"]["interval"] = "60s".into();
    pipeline
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
