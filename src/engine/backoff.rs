//! Waits between attempts: doubling, with jitter from a seed, and an end to patience, so that a
//! supervisor sees a lasting outage as an exit code.

use std::time::Duration;

/// Waits between attempts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How long attempts may fail, without one between them that succeeds, before the error ends the run.
    pub patience: Duration,
    seed: u64,
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Duration,
    tries: u32,
}

impl Backoff {
    /// From half a second to half a minute, for a quarter of an hour.
    pub fn standard(seed: u64) -> Self {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(30), Duration::from_mins(15), seed)
    }

    /// Waits from `first` to `longest`, for `patience`.
    pub fn new(first: Duration, longest: Duration, patience: Duration, seed: u64) -> Self {
        Backoff { first, longest, patience, seed, failing: None }
    }

    /// An attempt succeeded: this starts over.
    pub fn mended(&mut self) {
        self.failing = None;
    }

    /// The wait after a failure at `now` (elapsed). `None` when patience is at its end.
    pub fn next(&mut self, now: Duration) -> Option<Duration> {
        let failing = match self.failing {
            Some(failing) => Failing { tries: failing.tries + 1, ..failing },
            None => Failing { since: now, tries: 0 },
        };
        self.failing = Some(failing);
        if now.saturating_sub(failing.since) > self.patience {
            return None;
        }
        let full = self.first.saturating_mul(1 << failing.tries.min(16)).min(self.longest);
        self.seed = split_mix(self.seed);
        // Between half and the whole: many writers that fail together do not return together.
        Some(full / 2 + (full / 2).mul_f64((self.seed >> 11) as f64 / (1u64 << 53) as f64))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): spreads consecutive seeds evenly.
fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end_with_patience() {
        let mut backoff = Backoff::standard(7);
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        while let Some(wait) = backoff.next(now) {
            waits.push(wait);
            now += wait;
        }
        let bound = |n: u32| Duration::from_millis(500).saturating_mul(1 << n.min(16)).min(backoff.longest);
        for (n, wait) in (0..).zip(&waits) {
            assert!(*wait >= bound(n) / 2 && *wait <= bound(n), "{n}: {wait:?}");
        }
        assert!(now > backoff.patience && now < backoff.patience + backoff.longest);
    }

    #[test]
    fn success_between_failures_starts_over() {
        let mut backoff = Backoff::standard(7);
        for _ in 0..20 {
            backoff.next(Duration::ZERO);
        }
        backoff.mended();
        assert!(backoff.next(Duration::from_hours(1)).unwrap() <= backoff.first);
        assert!(backoff.next(Duration::from_hours(2)).is_none());
    }
}
