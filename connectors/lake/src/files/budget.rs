//! One memory budget for everything that files hold: gathered batches, open row groups, part
//! buffers and parts under way. It counts; [`super::Files`] acts on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lakeward_core::ByteSize;
use lakeward_core::stats::LakeStats;
use tokio::sync::Notify;

/// The part of the whole that is lent at a time. Two are for a moment, when one takes the place of another.
const LENT: usize = 4;

/// What is held, against a limit.
pub(super) struct Budget {
    limit: AtomicUsize,
    /// Lent at a time: the same however much is lent already.
    share: usize,
    used: AtomicUsize,
    freed: Notify,
    stats: Arc<LakeStats>,
}

/// A share of the budget; given back when dropped.
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(limit: ByteSize, stats: Arc<LakeStats>) -> Arc<Self> {
        stats.memory_budget_bytes.set(i64::try_from(limit.0).unwrap_or(i64::MAX));
        let limit = usize::try_from(limit.0).unwrap_or(usize::MAX);
        Arc::new(Budget {
            limit: limit.into(),
            share: limit / LENT,
            used: AtomicUsize::new(0),
            freed: Notify::new(),
            stats,
        })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::SeqCst)
    }

    /// Lends a share to what is no file: files do with the rest until it is dropped.
    pub(super) fn lend(self: &Arc<Self>) -> Lent {
        let bytes = self.share;
        self.limit.fetch_sub(bytes, Ordering::SeqCst);
        Lent { budget: Arc::clone(self), bytes }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Waits until something was given back since the last wait; at once if it was in between.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let mut held = Held { budget: Arc::clone(self), bytes: 0 };
        held.set(bytes);
        held
    }

    fn show(&self, used: usize) {
        self.stats.memory_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
    }
}

/// A part of the limit that files do without; given back when dropped.
pub(crate) struct Lent {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Lent {
    /// How much it is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.budget.limit.fetch_add(self.bytes, Ordering::SeqCst);
    }
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A share of nothing in the same budget.
    pub(super) fn split_off(&self) -> Held {
        Held { budget: Arc::clone(&self.budget), bytes: 0 }
    }

    /// Changes the share.
    pub(super) fn set(&mut self, bytes: usize) {
        let used = &self.budget.used;
        if bytes >= self.bytes {
            let more = bytes - self.bytes;
            self.budget.show(used.fetch_add(more, Ordering::SeqCst).saturating_add(more));
        } else {
            let less = self.bytes - bytes;
            self.budget.show(used.fetch_sub(less, Ordering::SeqCst).saturating_sub(less));
            self.budget.freed.notify_one();
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let stats = Arc::new(LakeStats::default());
        let budget = Budget::new(ByteSize(100), Arc::clone(&stats));
        let mut first = budget.hold(60);
        let second = budget.hold(60);
        assert_eq!(budget.used(), 120);
        assert_eq!(stats.memory_bytes.get(), 120);
        first.set(10);
        assert_eq!(budget.used(), 70);
        drop((first, second));
        assert_eq!(stats.memory_bytes.get(), 0);
        let lent = budget.lend();
        assert_eq!((lent.bytes(), budget.limit()), (25, 75));
        drop(lent);
        assert_eq!(budget.limit(), 100);
    }
}
