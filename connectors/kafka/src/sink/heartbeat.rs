//! When heartbeats are due.
//!
//! Guarantee: while the source is between transactions, no time between two heartbeats is longer than the interval, by
//! more than a commit takes. Why: the time of the last one is kept here alone; from it the engine learns when a commit
//! is wanted ([`lakeward_core::Sink::wants_commit_in`]), and that commit asks here again. The time is that of the commit's
//! end: however slow the brokers are, the source is read for an interval between two of them.

use std::time::Duration;

/// The times of heartbeats, on the run's clock.
pub(super) struct Heartbeat {
    interval: Duration,
    last: Duration,
}

impl Heartbeat {
    /// The first one comes an interval after `now`.
    pub(super) fn begin(interval: Duration, now: Duration) -> Heartbeat {
        Heartbeat { interval, last: now }
    }

    /// How long until the next one.
    pub(super) fn due_in(&self, now: Duration) -> Duration {
        self.interval.saturating_sub(now.saturating_sub(self.last))
    }

    /// One was written.
    pub(super) fn beaten(&mut self, now: Duration) {
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_when_the_interval_is_over_whatever_was_committed_before() {
        let at = Duration::from_millis;
        let mut heartbeat = Heartbeat::begin(at(1000), at(5000));
        assert_eq!(heartbeat.due_in(at(5900)), at(100));
        assert_eq!(heartbeat.due_in(at(6010)), at(0));
        heartbeat.beaten(at(6015));
        assert_eq!(heartbeat.due_in(at(6016)), at(999));
    }
}
