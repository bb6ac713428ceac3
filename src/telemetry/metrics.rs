//! Every metric and label name, and how each is read from the counters at a scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TextEncoder};

use super::Telemetry;

/// One value and its labels beside the pipeline.
type Sample = (Vec<(&'static str, String)>, f64);

/// One metric: its name, help, type, and how it is read. No sample where nothing is known.
struct Line {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: fn(&Telemetry) -> Vec<Sample>,
}

const COUNTER: MetricType = MetricType::COUNTER;
const GAUGE: MetricType = MetricType::GAUGE;

macro_rules! lines {
    ($($name:literal, $kind:ident, $help:literal, $read:expr;)*) => {
        const LINES: &[Line] = &[$(Line { name: $name, help: $help, kind: $kind, read: $read },)*];
    };
}

lines! {
    "lakeward_source_connected", GAUGE, "1 while the stream is connected",
        |t| one(t.source.connected.get() as f64);
    "lakeward_source_lag_seconds", GAUGE,
        "Age of the moment up to which everything on the server is known to be read",
        |t| known(t.lag_us().map(seconds));
    "lakeward_source_reconnects_total", COUNTER, "Reconnects after a broken link",
        |t| one(t.source.reconnects.get() as f64);
    "lakeward_source_events_total", COUNTER, "Binlog events received",
        |t| one(t.source.events.get() as f64);
    "lakeward_source_bytes_total", COUNTER, "Bytes of binlog events received",
        |t| one(t.source.bytes.get() as f64);
    "lakeward_source_transactions_total", COUNTER, "Transactions read to their end",
        |t| one(t.source.transactions.get() as f64);
    "lakeward_source_rows_total", COUNTER, "Change events, by table and op (c, u, d, t)",
        |t| by(t.source.rows.get(), |(table, op)| vec![("table", table.to_string()), ("op", op.to_string())]);
    "lakeward_source_events_of_stopped_total", COUNTER, "Row events of stopped tables, not taken, by table",
        |t| by(t.source.events_of_stopped.get(), |table| vec![("table", table.to_string())]);
    "lakeward_source_passed_over_total", COUNTER, "Events that change no rows, by kind",
        |t| by(t.source.passed_over.get(), |event| vec![("event", event.to_string())]);
    "lakeward_source_ddl_total", COUNTER, "DDL statements, by what became of them",
        |t| by(t.source.ddl.get(), |result| vec![("result", result.to_string())]);
    "lakeward_source_zero_dates_total", COUNTER, "Zero and partial dates mapped to null",
        |t| by(t.source.zero_dates.get(), |(table, column)| {
            vec![("table", table.to_string()), ("column", column.clone())]
        });
    "lakeward_source_binlog_headroom_seconds", GAUGE,
        "Time between the server's oldest binlog and our position",
        |t| known(u64::try_from(t.source.headroom_seconds.get()).ok().map(|s| s as f64));
    "lakeward_tables_stopped", GAUGE, "Tables whose changes are not captured any more",
        |t| one(t.source.tables_stopped.get() as f64);
    "lakeward_lake_freshness_seconds", GAUGE, "Age of the moment up to which the lake is complete",
        |t| known(t.freshness_us().map(seconds));
    "lakeward_lake_commits_total", COUNTER, "Commits decided",
        |t| one(t.lake.commits.get() as f64);
    "lakeward_lake_commit_seconds_total", COUNTER, "Time spent in commits",
        |t| one(t.progress.commit_us.get() as f64 / 1e6);
    "lakeward_lake_record", GAUGE, "Number of the last record in the commit log",
        |t| one(t.lake.record.get() as f64);
    "lakeward_lake_files_total", COUNTER, "Files made visible",
        |t| one(t.lake.files.get() as f64);
    "lakeward_lake_bytes_total", COUNTER, "Bytes of files made visible",
        |t| one(t.lake.file_bytes.get() as f64);
    "lakeward_lake_rows_total", COUNTER, "Rows made visible, by table",
        |t| by(t.lake.rows.get(), |table| vec![("table", table.to_string())]);
    "lakeward_lake_retries_total", COUNTER, "Requests to the store that were repeated",
        |t| one(t.lake.retries.get() as f64);
    "lakeward_lake_open_files", GAUGE, "Files open at the moment",
        |t| one(t.lake.open_files.get() as f64);
    "lakeward_lake_memory_bytes", GAUGE, "Memory held for open files and parts under way",
        |t| one(t.lake.memory_bytes.get() as f64);
    "lakeward_lake_memory_budget_bytes", GAUGE, "The most memory that files may hold",
        |t| one(t.lake.memory_budget_bytes.get() as f64);
    "lakeward_run_boundaries_total", COUNTER, "Boundaries reached",
        |t| one(t.progress.boundaries.get() as f64);
    "lakeward_run_failures_total", COUNTER, "Attempts that ended in an error",
        |t| one(t.progress.failures.get() as f64);
}

fn one(value: f64) -> Vec<Sample> {
    vec![(Vec::new(), value)]
}

fn known(value: Option<f64>) -> Vec<Sample> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

fn by<K>(counts: Vec<(K, u64)>, labels: impl Fn(&K) -> Vec<(&'static str, String)>) -> Vec<Sample> {
    counts.iter().map(|(key, count)| (labels(key), *count as f64)).collect()
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Reads all lines at a scrape.
struct Reader {
    telemetry: Telemetry,
    descriptions: Vec<Desc>,
}

impl Collector for Reader {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        LINES.iter().map(|line| self.family(line)).filter(|family| !family.get_metric().is_empty()).collect()
    }
}

impl Reader {
    fn family(&self, line: &Line) -> MetricFamily {
        let metric = |(mut labels, value): Sample| {
            labels.push(("pipeline", self.telemetry.pipeline.clone()));
            labels.sort_unstable();
            let mut metric =
                Metric::from_label(labels.into_iter().map(|(name, value)| label(name, value)).collect());
            if line.kind == COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            metric
        };
        let mut family = MetricFamily::default();
        family.set_name(line.name.into());
        family.set_help(line.help.into());
        family.set_field_type(line.kind);
        family.set_metric((line.read)(&self.telemetry).into_iter().map(metric).collect());
        family
    }
}

fn label(name: &str, value: String) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.into());
    pair.set_value(value);
    pair
}

/// A registry that reads `telemetry` at each scrape.
pub(super) fn registry(telemetry: &Telemetry) -> Result<Registry, prometheus::Error> {
    let describe =
        |line: &Line| Desc::new(line.name.into(), line.help.into(), Vec::new(), Default::default());
    let descriptions = LINES.iter().map(describe).collect::<Result<Vec<_>, _>>()?;
    let registry = Registry::new();
    registry.register(Box::new(Reader { telemetry: telemetry.clone(), descriptions }))?;
    Ok(registry)
}

/// All metrics in the Prometheus text format.
pub(super) fn text(registry: &Registry) -> Result<Vec<u8>, prometheus::Error> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}
