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
}

impl Telemetry {
    /// Counters at zero.
    pub fn new(pipeline: &str, clock: Arc<dyn Clock>, interval: Duration) -> Self {
        Telemetry {
            pipeline: pipeline.to_owned(),
            source: Arc::default(),
            kafka_source: Arc::default(),
            lake: Arc::default(),
            kafka: Arc::default(),
            progress: Arc::default(),
            clock,
            interval,
        }
    }

    /// Microseconds that the source is behind its server: the age of the moment up to which
    /// everything is known to be read. `None` before anything is.
    fn lag_us(&self) -> Option<i64> {
        let known = self.source.last_commit_us.get().max(self.source.caught_up_us.get());
        (known > 0).then(|| self.clock.unix_micros().saturating_sub(known).max(0))
    }

    /// Microseconds that the lake is behind the server: the age of the oldest change that is read
    /// but not committed, else the source's lag.
    fn freshness_us(&self) -> Option<i64> {
        let oldest = self.progress.oldest_waiting_us.get();
        let waiting = (oldest > 0).then(|| self.clock.unix_micros().saturating_sub(oldest).max(0));
        self.lag_us().max(waiting)
    }
}

#[cfg(test)]
mod tests;
