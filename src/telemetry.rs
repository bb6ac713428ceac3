//! What a run tells the outside: metrics, health, log lines.
//!
//! Every metric and label name stands in [`metrics`]; every log line goes through [`log`]. Neither
//! holds a config value, so no secret can appear in them.

mod health;
mod http;
pub mod log;
mod metrics;
mod pace;
mod snapshots;

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::Clock;
use lakeward_core::stats::{KafkaSourceStats, KafkaStats, LakeStats, SourceStats};

use crate::engine::Progress;

pub use health::{Health, Verdict};
pub use http::serve;
pub use pace::{Pace, grouped};
pub use snapshots::Teller;

/// Everything that is counted in a run.
#[derive(Clone)]
pub struct Telemetry {
    /// The pipeline's name, a label of each metric.
    pub pipeline: String,
    /// The source's counters.
    pub source: Arc<SourceStats>,
    /// The counters of a source that is Kafka.
    pub kafka_source: Arc<KafkaSourceStats>,
    /// The lake's counters.
    pub lake: Arc<LakeStats>,
    /// The counters of what is written to Kafka.
    pub kafka: Arc<KafkaStats>,
    /// The loop's signs of life.
    pub progress: Arc<Progress>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The commit interval, the measure of health.
    pub interval: Duration,
    /// The engines of this process: one, or `capture` and `load`.
    pub engines: Vec<EngineStats>,
}

/// What one engine of the process tells: its loop's signs of life, and the counters of what it reads.
#[derive(Clone)]
pub struct EngineStats {
    /// The loop's signs of life.
    pub progress: Arc<Progress>,
    /// Its source's counters.
    pub source: Arc<SourceStats>,
}

impl Telemetry {
    /// Counters at zero.
    pub fn new(pipeline: &str, clock: Arc<dyn Clock>, interval: Duration) -> Self {
        let source = Arc::default();
        let engine = EngineStats { progress: Arc::new(Progress::of(&source)), source };
        Telemetry {
            pipeline: pipeline.to_owned(),
            source: Arc::clone(&engine.source),
            kafka_source: Arc::default(),
            lake: Arc::default(),
            kafka: Arc::default(),
            progress: Arc::clone(&engine.progress),
            clock,
            interval,
            engines: vec![engine],
        }
    }

    /// What `capture` and `load` tell as a whole, where they share the process: the server's end of the one, the lake's
    /// end of the other, and the life of both.
    pub fn of_both(captured: &Telemetry, loaded: &Telemetry) -> Telemetry {
        Telemetry {
            source: Arc::clone(&captured.source),
            kafka: Arc::clone(&captured.kafka),
            engines: [&captured.engines[..], &loaded.engines].concat(),
            ..loaded.clone()
        }
    }

    /// Microseconds since this moment, µs UTC; `None` for 0, which is none.
    fn age_us(&self, moment_us: i64) -> Option<i64> {
        (moment_us > 0).then(|| self.clock.unix_micros().saturating_sub(moment_us).max(0))
    }

    /// Microseconds that a source is behind its server: the age of the moment up to which everything is known to be
    /// read. `None` before anything is.
    fn lag_us(&self, source: &SourceStats) -> Option<i64> {
        self.age_us(source.last_commit_us.get().max(source.caught_up_us.get()))
    }

    /// Microseconds that the lake is behind: for the engine that is furthest behind, the age of the oldest change that
    /// is read but not committed, or its source's lag where that is more.
    fn freshness_us(&self) -> Option<i64> {
        let of = |engine: &EngineStats| {
            self.lag_us(&engine.source).max(self.age_us(engine.progress.oldest_waiting_us.get()))
        };
        self.engines.iter().filter_map(of).max()
    }
}

#[cfg(test)]
mod tests;
