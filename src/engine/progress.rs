//! What the loop tells the outside about itself; read by the telemetry.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::stats::{Counter, Gauge, SourceStats};

/// So long a step of the sink counts as moving: as long as attempts may fail. One that hangs is told after that.
const STEP: Duration = Duration::from_mins(15);

/// Signs of life of the loop. Times are milliseconds on the run's [`lakeward_core::Clock::elapsed`].
#[derive(Debug, Default)]
pub struct Progress {
    /// Commits by this process.
    pub commits: Counter,
    /// Attempts that ended in an error.
    pub failures: Counter,
    /// Boundaries reached.
    pub boundaries: Counter,
    /// When something last moved: an item taken, a boundary reached, a commit made; something read while the source is
    /// waited for.
    pub moved_ms: Gauge,
    /// When attempts began to fail without a commit between them, µs UTC; 0 while they do not.
    pub failing_since_us: Gauge,
    /// Commit time on the source of the oldest change (row or mark) that is taken and not committed, µs UTC; 0
    /// where none is.
    pub oldest_waiting_us: Gauge,
    /// 1 while the last boundary says what is to be committed soon, rows or not.
    owes: Gauge,
    /// Microseconds spent in commits.
    pub commit_us: Counter,
    /// 1 while the loop waits for another engine to end, or has ended itself: it need not move then.
    pub at_rest: Gauge,
    /// What the source reads.
    source: Arc<SourceStats>,
    /// Events that it had read when it was waited for last.
    read: Gauge,
}

impl Progress {
    /// Of a loop whose source counts in `source`.
    pub fn of(source: &Arc<SourceStats>) -> Progress {
        Progress { source: Arc::clone(source), ..Progress::default() }
    }

    /// Takes changes of which the oldest was committed on the source at `commit_us`.
    pub(super) fn waiting(&self, commit_us: i64) {
        if self.oldest_waiting_us.get() == 0 {
            self.oldest_waiting_us.set(commit_us);
        }
    }

    pub(super) fn moved(&self, now: Duration) {
        self.moved_ms.set(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    }

    /// The source is waited for. It may read for long what it hands nothing on of: a transaction of tables that are not
    /// captured.
    pub(super) fn waits(&self, now: Duration) {
        let read = self.source.events.get().saturating_add(self.source.scanned.get());
        let read = i64::try_from(read).unwrap_or(i64::MAX);
        if read != self.read.get() {
            self.read.set(read);
            self.moved(now);
        }
    }

    /// A step of the sink that was begun at `begun` is at work.
    pub(super) fn works(&self, begun: Duration, now: Duration) {
        if now.saturating_sub(begun) < STEP {
            self.moved(now);
        }
    }

    /// Both ends are open: what was taken before and is still to be had is taken again.
    pub(super) fn begins(&self) {
        self.oldest_waiting_us.set(0);
    }

    /// A boundary is reached; `owes`: it says what is to be committed soon.
    pub(super) fn boundary(&self, now: Duration, owes: bool) {
        self.boundaries.add(1);
        self.owes.set(i64::from(owes));
        self.moved(now);
        if !owes {
            self.mended();
        }
    }

    pub(super) fn committed(&self, now: Duration, took: Duration) {
        self.commits.add(1);
        self.commit_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.oldest_waiting_us.set(0);
        self.moved(now);
        self.mended();
    }

    /// How far an attempt has come: commits and boundaries.
    pub(super) fn reached(&self) -> (u64, u64) {
        (self.commits.get(), self.boundaries.get())
    }

    /// Whether an attempt that began at `before` did all it could: it committed, or came to a boundary that owes no
    /// commit, and took nothing after it.
    pub(super) fn succeeded_since(&self, before: (u64, u64)) -> bool {
        let (commits, boundaries) = self.reached();
        let waits = self.owes.get() != 0 || self.oldest_waiting_us.get() != 0;
        commits > before.0 || (boundaries > before.1 && !waits)
    }

    pub(super) fn failed(&self, unix_micros: i64) {
        self.failures.add(1);
        if self.failing_since_us.get() == 0 {
            self.failing_since_us.set(unix_micros);
        }
    }

    pub(super) fn mended(&self) {
        self.failing_since_us.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_succeeds_that_commits_or_has_nothing_to_commit_at_a_boundary() {
        let (progress, now) = (Progress::default(), Duration::ZERO);
        let before = progress.reached();
        assert!(!progress.succeeded_since(before), "it reached nothing");
        progress.boundary(now, true);
        assert!(!progress.succeeded_since(before), "an answer to a request, say, is not committed");
        progress.boundary(now, false);
        assert!(progress.succeeded_since(before));
        progress.waiting(7);
        assert!(!progress.succeeded_since(before), "what it took is not committed");
        progress.boundary(now, true);
        assert!(!progress.succeeded_since(before), "nor at the next boundary");
        progress.committed(now, now);
        assert!(progress.succeeded_since(before));
        let next = progress.reached();
        assert!(!progress.succeeded_since(next), "that was the attempt before");
    }

    #[test]
    fn a_step_that_hangs_does_not_move_for_ever() {
        let (progress, begun) = (Progress::default(), Duration::from_secs(5));
        for (after, moved_ms) in [(STEP / 2, 455_000), (STEP, 455_000), (STEP * 2, 455_000)] {
            progress.works(begun, begun + after);
            assert_eq!(progress.moved_ms.get(), moved_ms);
        }
    }

    #[test]
    fn a_source_that_hands_on_nothing_moves_as_long_as_it_reads() {
        let source = Arc::new(SourceStats::default());
        let progress = Progress::of(&source);
        source.events.add(3);
        progress.waits(Duration::from_secs(1));
        progress.waits(Duration::from_secs(2));
        assert_eq!(progress.moved_ms.get(), 1_000);
        source.events.add(1);
        progress.waits(Duration::from_secs(3));
        assert_eq!(progress.moved_ms.get(), 3_000);
        source.scanned.add(1);
        progress.waits(Duration::from_secs(4));
        assert_eq!(progress.moved_ms.get(), 4_000);
    }
}
