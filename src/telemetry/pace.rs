//! How far a snapshot is and how fast it goes, said in one way everywhere: bar, log line, status.

use std::fmt;
use std::time::Duration;

use lakeward_core::SnapshotPlan;
use lakeward_core::stats::{SnapshotCount, SnapshotPhase};
use serde::Serialize;

/// How far a snapshot is. What is derived is not known where the server gives no estimate, or nothing
/// was read yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Rows read.
    pub rows: u64,
    /// The server's estimate of all of them.
    pub estimated_rows: Option<u64>,
    /// Of the estimate, 99 at most: only its end shows that a snapshot is at its end.
    pub percent: Option<u64>,
    /// The rate so far.
    pub rows_per_second: Option<u64>,
    /// The time left at this rate.
    pub seconds_left: Option<u64>,
}

impl Pace {
    /// `rows` of about `estimated_rows`, where reading `measured` of them took `time`.
    fn new(rows: u64, estimated_rows: Option<u64>, measured: u64, time: Duration) -> Self {
        let percent = estimated_rows
            .filter(|all| *all > 0)
            .map(|all| (u128::from(rows) * 100 / u128::from(all)).min(99))
            .and_then(|percent| u64::try_from(percent).ok());
        let rows_per_second = (u128::from(measured) * 1_000)
            .checked_div(time.as_millis())
            .and_then(|rate| u64::try_from(rate).ok())
            .filter(|rate| *rate > 0);
        let left = estimated_rows.and_then(|all| all.checked_sub(rows));
        let seconds_left = left.zip(rows_per_second).map(|(left, rate)| left.div_ceil(rate));
        Pace { rows, estimated_rows, percent, rows_per_second, seconds_left }
    }

    /// As this run counts it.
    pub fn counted(count: &SnapshotCount, now_us: i64) -> Self {
        let time_us = match count.since_us {
            0 => 0,
            since_us => u64::try_from(now_us.saturating_sub(since_us)).unwrap_or(0),
        };
        let measured = match count.phase {
            // What it would be is not known while it stands still.
            SnapshotPhase::Waiting | SnapshotPhase::Paused => 0,
            SnapshotPhase::Reading | SnapshotPhase::Done => count.rows.saturating_sub(count.rows_before),
        };
        Pace::new(count.rows, count.estimated_rows, measured, Duration::from_micros(time_us))
    }

    /// As a checkpoint tells it.
    pub fn planned(plan: &SnapshotPlan) -> Self {
        Pace::new(plan.rows, plan.estimated_rows, plan.rows, Duration::from_millis(plan.reading_ms))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", grouped(self.rows))?;
        if let Some(all) = self.estimated_rows {
            write!(f, " of about {}", grouped(all))?;
        }
        f.write_str(" rows")?;
        if let Some(percent) = self.percent {
            write!(f, " ({percent} %)")?;
        }
        if let Some(rate) = self.rows_per_second {
            write!(f, ", {} rows/s", grouped(rate))?;
        }
        if let Some(left) = self.seconds_left {
            write!(f, ", {} left", period(left))?;
        }
        Ok(())
    }
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds in the two largest units that they fill.
fn period(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600.. => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_are_of_this_run_and_percent_is_of_all() {
        let count = SnapshotCount {
            rows: 430_000,
            rows_before: 30_000,
            estimated_rows: Some(1_000_000),
            since_us: 1_000_000,
            phase: SnapshotPhase::Reading,
        };
        let pace = Pace::counted(&count, 11_000_000);
        assert_eq!(pace.to_string(), "430,000 of about 1,000,000 rows (43 %), 40,000 rows/s, 15 s left");
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let at_start = SnapshotCount { estimated_rows: Some(0), ..SnapshotCount::default() };
        assert_eq!(Pace::counted(&at_start, 5).to_string(), "0 of about 0 rows");
        let plan = SnapshotPlan { rows: 7, reading_ms: 2_000, ..SnapshotPlan::default() };
        assert_eq!(Pace::planned(&plan).to_string(), "7 rows, 3 rows/s");
    }

    #[test]
    fn an_estimate_that_was_too_low_never_reads_as_done() {
        let plan = SnapshotPlan {
            rows: u64::MAX,
            estimated_rows: Some(1_000),
            reading_ms: 1,
            ..SnapshotPlan::default()
        };
        let pace = Pace::planned(&plan);
        assert_eq!((pace.percent, pace.seconds_left), (Some(99), None));
    }

    #[test]
    fn periods_are_said_in_units_that_fit() {
        for (seconds, text) in [(59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h 0 min"), (90_061, "25 h 1 min")]
        {
            assert_eq!(period(seconds), text);
        }
    }
}
