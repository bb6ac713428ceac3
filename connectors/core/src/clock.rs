//! Time comes in from outside, so that tests and simulations decide it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time and elapsed time.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01 UTC.
    fn unix_micros(&self) -> i64;
    /// Time since a fixed point of this process; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] begins now.
    pub fn start() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn unix_micros(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is told to move.
#[derive(Default)]
pub struct ManualClock {
    micros: std::sync::atomic::AtomicI64,
}

impl ManualClock {
    /// A clock that shows `unix_micros`.
    pub fn at(unix_micros: i64) -> Self {
        ManualClock { micros: unix_micros.into() }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.micros.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_micros(&self) -> i64 {
        self.micros.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.unix_micros()).unwrap_or(0))
    }
}
