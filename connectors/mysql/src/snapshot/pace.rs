//! How fast rows are read: not at all while the server has much to do, one chunk at a time while a
//! replica is behind.

use std::time::Duration;

use lakeward_core::Result;

use super::SnapshotOptions;
use super::link::{Lag, Link};

/// Time between two looks at the server.
const LOOK: Duration = Duration::from_millis(250);
/// A replica that is more seconds behind, or stands still, is read by one thread only.
const LAG_MAX: u64 = 5;

/// One thread's view of what the server has to do.
pub(crate) struct Pace {
    lane: u32,
    threads_max: u32,
    is_replica: bool,
    looked: Option<Duration>,
    waits: bool,
}

impl Pace {
    pub(crate) fn new(lane: u32, options: &SnapshotOptions) -> Pace {
        Pace {
            lane,
            threads_max: options.max_threads_running,
            is_replica: options.replica.is_some(),
            looked: None,
            waits: false,
        }
    }

    /// Whether nothing more is to be begun for now.
    pub(crate) fn is_to_wait(&mut self, link: &mut Link, now: Duration) -> Result<bool> {
        if self.looked.is_some_and(|looked| now.saturating_sub(looked) < LOOK) {
            return Ok(self.waits);
        }
        self.looked = Some(now);
        let running = link.threads_running()?;
        let lag = if self.is_replica && self.lane > 0 { link.replica_lag()? } else { Lag::Untold };
        let waits = self.decide(running, lag);
        if waits != self.waits {
            let lane = self.lane;
            tracing::info!(
                lane,
                running,
                ?lag,
                "{}",
                if waits { "reading waits" } else { "reading goes on" }
            );
        }
        self.waits = waits;
        Ok(waits)
    }

    fn decide(&self, running: u32, lag: Lag) -> bool {
        let is_late = match lag {
            Lag::Untold => false,
            Lag::Seconds(seconds) => seconds > LAG_MAX,
            Lag::Halted => true,
        };
        running > self.threads_max || (self.lane > 0 && is_late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_server_stops_all_threads_and_a_late_replica_all_but_one() {
        let options = SnapshotOptions { max_threads_running: 10, ..SnapshotOptions::default() };
        let [first, second] = [0, 1].map(|lane| Pace::new(lane, &options));
        for (running, lag, waits) in [
            (10, Lag::Untold, [false, false]),
            (11, Lag::Untold, [true, true]),
            (1, Lag::Seconds(5), [false, false]),
            (1, Lag::Seconds(6), [false, true]),
            (1, Lag::Halted, [false, true]),
        ] {
            assert_eq!([first.decide(running, lag), second.decide(running, lag)], waits, "{running} {lag:?}");
        }
    }
}
