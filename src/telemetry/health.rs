//! Whether a run is alive, and whether it is ready: by what moved, not by what runs.

use std::time::Duration;

use lakeward_core::stats::{SnapshotPhase, SourceStats};
use serde::Serialize;

use super::{EngineStats, Telemetry};

/// So many commit intervals without a move, and at least [`SHORTEST`], are too many.
const INTERVALS: u32 = 5;
const SHORTEST: Duration = Duration::from_mins(2);

/// A run's health, for a probe.
pub struct Health<'a>(pub &'a Telemetry);

/// What a probe is told.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether all is well.
    pub ok: bool,
    /// What was found.
    pub reason: String,
}

impl Verdict {
    fn of(ok: bool, reason: impl Into<String>) -> Self {
        Verdict { ok, reason: reason.into() }
    }

    /// That of two engines: the first that is not well tells, else the first.
    fn and(self, other: Verdict) -> Verdict {
        if self.ok && !other.ok { other } else { self }
    }
}

impl Health<'_> {
    /// Fails when nothing moved for several commit intervals (an idle source still yields
    /// boundaries, and one that reads moves, so silence means that the loop is stuck or the server is
    /// gone), or when attempts have failed for so long without a commit between them.
    pub fn alive(&self) -> Verdict {
        let verdicts = self.at_work().map(|engine| self.alive_by(engine));
        verdicts.reduce(Verdict::and).unwrap_or_else(|| Verdict::of(true, "at its end"))
    }

    fn at_work(&self) -> impl Iterator<Item = &EngineStats> {
        self.0.engines.iter().filter(|engine| engine.progress.at_rest.get() == 0)
    }

    fn alive_by(&self, EngineStats { progress, source }: &EngineStats) -> Verdict {
        let Telemetry { clock, interval, .. } = self.0;
        let window = interval.saturating_mul(INTERVALS).max(SHORTEST);
        let moved = Duration::from_millis(u64::try_from(progress.moved_ms.get()).unwrap_or(0));
        let still = clock.elapsed().saturating_sub(moved);
        if still > window {
            let why = match source.connected.get() {
                0 => "the server is not connected",
                _ => "the loop is stuck",
            };
            return Verdict::of(false, format!("nothing moved for {} s: {why}", still.as_secs()));
        }
        let since = progress.failing_since_us.get();
        let failing_us = clock.unix_micros().saturating_sub(since);
        if since > 0 && u128::try_from(failing_us).is_ok_and(|us| us > window.as_micros()) {
            return Verdict::of(false, format!("attempts fail for {} s", failing_us / 1_000_000));
        }
        Verdict::of(true, "moving")
    }

    /// Whether the stream is connected and a first boundary was reached. Snapshots may be under way:
    /// changes are captured meanwhile.
    pub fn ready(&self) -> Verdict {
        let verdicts = self.at_work().map(ready_by);
        verdicts.reduce(Verdict::and).unwrap_or_else(|| Verdict::of(true, "at its end"))
    }
}

fn ready_by(EngineStats { progress, source }: &EngineStats) -> Verdict {
    match (source.connected.get(), progress.boundaries.get()) {
        (0, _) => Verdict::of(false, "the server is not connected"),
        (_, 0) => Verdict::of(false, "no boundary was reached yet"),
        _ => Verdict::of(true, format!("streaming{}", open_snapshots(source))),
    }
}

/// What is said of snapshots that are not at their end.
fn open_snapshots(source: &SourceStats) -> String {
    let open = source.snapshots.get().iter().filter(|(_, count)| count.phase != SnapshotPhase::Done).count();
    match open {
        0 => String::new(),
        1 => "; the snapshot of 1 table is not at its end".to_owned(),
        open => format!("; the snapshots of {open} tables are not at their end"),
    }
}
