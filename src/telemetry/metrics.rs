//! Every metric and label name, and how each is read from the counters at a scrape.

use lakeward_core::TableId;
use lakeward_core::stats::{KafkaSourceStats, Lag, SnapshotCount, SnapshotPhase};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TextEncoder};

use super::{Pace, Telemetry};

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

/// One line for each metric: a counter or gauge that stands in the telemetry is named by its place,
/// the others say how they are read.
macro_rules! lines {
    (
        counts { $($count:literal $counter:ident.$count_of:ident $count_help:literal)* }
        levels { $($level:literal $gauge:ident.$level_of:ident $level_help:literal)* }
        others { $($name:literal $kind:ident $help:literal $read:expr;)* }
    ) => {
        const LINES: &[Line] = &[
            $(Line {
                name: $count, help: $count_help, kind: COUNTER, read: |t| one(t.$counter.$count_of.get() as f64),
            },)*
            $(Line {
                name: $level, help: $level_help, kind: GAUGE, read: |t| one(t.$gauge.$level_of.get() as f64),
            },)*
            $(Line { name: $name, help: $help, kind: $kind, read: $read },)*
        ];
    };
}

lines! {
    counts {
        "lakeward_source_reconnects_total" source.reconnects "Reconnects after a broken link"
        "lakeward_source_events_total" source.events "Binlog events received"
        "lakeward_source_bytes_total" source.bytes "Bytes of binlog events received"
        "lakeward_source_transactions_total" source.transactions "Transactions read to their end"
        "lakeward_lake_commits_total" lake.commits "Commits decided"
        "lakeward_lake_files_total" lake.files "Files committed"
        "lakeward_lake_bytes_total" lake.file_bytes "Bytes of files made visible"
        "lakeward_lake_retries_total" lake.retries "Requests to the store that were repeated"
        "lakeward_kafka_commits_total" kafka.commits "Kafka transactions committed"
        "lakeward_kafka_bytes_total" kafka.bytes "Bytes of change events written to Kafka"
        "lakeward_run_boundaries_total" progress.boundaries "Boundaries reached"
    }
    levels {
        "lakeward_source_connected" source.connected "1 while the stream is connected"
        "lakeward_tables_stopped" source.tables_stopped "Tables whose changes are not captured any more"
        "lakeward_lake_record" lake.record "Number of the last record in the commit log"
        "lakeward_kafka_checkpoint" kafka.checkpoint "Number of the last checkpoint in the topics"
        "lakeward_lake_foreign_requests" lake.foreign_requests "Objects among the requests that are none, and are not carried out"
        "lakeward_lake_open_files" lake.open_files "Files open at the moment"
        "lakeward_lake_memory_bytes" lake.memory_bytes "Memory held for open files and parts under way"
        "lakeward_lake_memory_budget_bytes" lake.memory_budget_bytes "The most memory that files may hold"
    }
    others {
        "lakeward_source_lag_seconds" GAUGE
            "Age of the moment up to which everything on the server is known to be read; for load, everything in the topics"
            |t| known(t.lag_us(&t.source).map(seconds));
        "lakeward_source_binlog_headroom_seconds" GAUGE
            "The server's binlog retention less the age of the last transaction that was read"
            |t| known(u64::try_from(t.source.headroom_seconds.get()).ok().map(|s| s as f64));
        "lakeward_source_rows_total" COUNTER "Change events, by table and op (c, u, d, r, t)"
            |t| by(t.source.rows.get(), |(table, op)| vec![("table", table.to_string()), ("op", op.to_string())]);
        "lakeward_source_events_of_stopped_total" COUNTER "Row events of stopped tables, not taken, by table"
            |t| by(t.source.events_of_stopped.get(), |table| vec![("table", table.to_string())]);
        "lakeward_source_passed_over_total" COUNTER "Events that change no rows, by kind"
            |t| by(t.source.passed_over.get(), |event| vec![("event", event.to_string())]);
        "lakeward_source_ddl_total" COUNTER "DDL statements, by what became of them"
            |t| by(t.source.ddl.get(), |result| vec![("result", result.to_string())]);
        "lakeward_source_zero_dates_total" COUNTER "Zero and partial dates mapped to null"
            |t| by(t.source.zero_dates.get(), |(table, column)| {
                vec![("table", table.to_string()), ("column", column.clone())]
            });
        "lakeward_snapshot_tables" GAUGE "Tables by what their snapshot is doing in this run"
            snapshot_tables;
        "lakeward_snapshot_rows" GAUGE "Rows read by the table's snapshot so far"
            |t| snapshots(t, |pace| Some(pace.rows));
        "lakeward_snapshot_estimated_rows" GAUGE "The server's estimate of the rows that the snapshot reads"
            |t| snapshots(t, |pace| pace.estimated_rows);
        "lakeward_snapshot_percent" GAUGE "Share of the estimated rows that the table's snapshot has read"
            |t| snapshots(t, |pace| pace.percent);
        "lakeward_snapshot_rows_per_second" GAUGE "Rate of the table's snapshot in this run"
            |t| snapshots(t, |pace| pace.rows_per_second);
        "lakeward_snapshot_left_seconds" GAUGE "Time left to the table's snapshot at this rate"
            |t| snapshots(t, |pace| pace.seconds_left);
        "lakeward_load_records_total" COUNTER "Kafka records received, tombstones among them"
            |t| of_load(t, |load| load.records.get() as f64);
        "lakeward_load_bytes_total" COUNTER "Bytes of keys and values of Kafka records received"
            |t| of_load(t, |load| load.bytes.get() as f64);
        "lakeward_load_rebalances_total" COUNTER "Times that the topic partitions of this worker have changed"
            |t| of_load(t, |load| load.rebalances.get() as f64);
        "lakeward_load_strangers_total" COUNTER "Records that capture did not write, and that went to the dead-letter topic"
            |t| of_load(t, |load| load.strangers.get() as f64);
        "lakeward_load_captured_checkpoint" GAUGE "Number of the newest checkpoint of capture that was seen"
            |t| of_load(t, |load| load.captured_checkpoint.get() as f64);
        "lakeward_load_lag_events" GAUGE "Change events captured and not read yet, by topic partition"
            |t| by_topic_partition(t, |lag| lag.events as f64);
        "lakeward_load_offset" GAUGE "The offset to go on from, by topic partition"
            |t| by_topic_partition(t, |lag| lag.offset as f64);
        "lakeward_load_dead_letters" GAUGE "Events that could not be read and went to the dead-letter topic, by topic partition"
            |t| by_topic_partition(t, |lag| lag.dead_letters as f64);
        "lakeward_load_stopped" GAUGE "1 for a topic partition that stands still at a record which cannot be read; the label says why"
            stopped_topic_partitions;
        "lakeward_kafka_rows_total" COUNTER "Change events committed to Kafka, by table"
            |t| by(t.kafka.rows.get(), |table| vec![("table", table.to_string())]);
        "lakeward_run_failures_total" COUNTER "Attempts that ended in an error"
            |t| one(t.engines.iter().map(|engine| engine.progress.failures.get()).sum::<u64>() as f64);
        "lakeward_kafka_complete_to_seconds" GAUGE
            "Commit time on the source up to which the topics are complete, by the last commit; seconds since 1970"
            |t| moment(t.kafka.complete_to_us.get());
        "lakeward_lake_complete_to_seconds" GAUGE
            "Commit time on the source up to which the lake is complete, by the last commit; seconds since 1970"
            |t| moment(t.lake.complete_to_us.get());
        "lakeward_lake_freshness_seconds" GAUGE
            "Age of the moment up to which the lake has everything on the server; for load, everything in the topics"
            |t| known(t.freshness_us().map(seconds));
        "lakeward_lake_commit_seconds_total" COUNTER "Time spent in commits"
            |t| one(t.progress.commit_us.get() as f64 / 1e6);
        "lakeward_lake_rows_total" COUNTER "Rows committed, by table"
            |t| by(t.lake.rows.get(), |table| vec![("table", table.to_string())]);
    }
}

/// A figure of a source that is Kafka; nothing where it is not.
fn of_load(telemetry: &Telemetry, figure: fn(&KafkaSourceStats) -> f64) -> Vec<Sample> {
    let load = &telemetry.kafka_source;
    let is_load = load.captured_checkpoint.get() > 0 || !load.lags.get().is_empty();
    known(is_load.then(|| figure(load)))
}

fn labels((topic, number): (String, i32)) -> Vec<(&'static str, String)> {
    vec![("topic", topic), ("topic_partition", number.to_string())]
}

fn by_topic_partition(telemetry: &Telemetry, figure: fn(&Lag) -> f64) -> Vec<Sample> {
    let lags = telemetry.kafka_source.lags.get();
    lags.into_iter().map(|(name, lag)| (labels(name), figure(&lag))).collect()
}

fn stopped_topic_partitions(telemetry: &Telemetry) -> Vec<Sample> {
    let stopped = |(name, lag): ((String, i32), Lag)| {
        let reason = lag.stopped?;
        let mut labels = labels(name);
        labels.extend([("offset", lag.offset.to_string()), ("reason", reason)]);
        Some((labels, 1.0))
    };
    telemetry.kafka_source.lags.get().into_iter().filter_map(stopped).collect()
}

/// How many tables are in each phase; each is there, so that a table that leaves one is seen.
fn snapshot_tables(telemetry: &Telemetry) -> Vec<Sample> {
    let counts = telemetry.source.snapshots.get();
    let phases = [
        (SnapshotPhase::Waiting, "waiting"),
        (SnapshotPhase::Reading, "reading"),
        (SnapshotPhase::Paused, "paused"),
        (SnapshotPhase::Done, "done"),
    ];
    let tables = |phase| counts.iter().filter(|(_, count)| count.phase == phase).count();
    phases.iter().map(|(phase, name)| (vec![("phase", (*name).to_owned())], tables(*phase) as f64)).collect()
}

/// A figure of each snapshot that is not at its end, where it is known.
fn snapshots(telemetry: &Telemetry, figure: fn(&Pace) -> Option<u64>) -> Vec<Sample> {
    let now_us = telemetry.clock.unix_micros();
    let open = telemetry.source.snapshots.get();
    let open = open.into_iter().filter(|(_, count)| count.phase != SnapshotPhase::Done);
    let sample = |(table, count): (TableId, SnapshotCount)| {
        let value = figure(&Pace::counted(&count, now_us))?;
        Some((vec![("table", table.to_string())], value as f64))
    };
    open.filter_map(sample).collect()
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

/// A moment in µs UTC, as seconds; nothing for 0, which is none.
fn moment(micros: i64) -> Vec<Sample> {
    known((micros > 0).then(|| seconds(micros)))
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
