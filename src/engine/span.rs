//! What was taken since the last commit, and whether that is worth a commit by now.

use std::time::Duration;

use lakeward_core::{Checkpoint, Error, ErrorKind, Feed, Result};

use super::Plan;

/// What was taken since the last commit.
pub(super) struct Span {
    committed: Option<Checkpoint>,
    begun: Duration,
    /// The boundary that was reached, while nothing came after it.
    at: Option<Checkpoint>,
    /// Rows taken, and marks.
    rows: u64,
    /// A statement was told: it is to be seen no later than rows are.
    tells: bool,
}

impl Span {
    /// Nothing was taken since `committed`, `now` (elapsed).
    pub(super) fn begin(committed: Option<Checkpoint>, now: Duration) -> Self {
        Span { at: committed.clone(), committed, begun: now, rows: 0, tells: false }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn at_boundary(&self) -> bool {
        self.at.is_some()
    }

    /// Counts an item that is not a boundary.
    pub(super) fn take(&mut self, feed: &Feed) {
        self.at = None;
        match feed {
            Feed::Batch(batch) => self.rows += batch.meta.seq.len() as u64,
            Feed::Mark(_) => self.rows += 1,
            Feed::SchemaChange(_) => self.tells = true,
            Feed::Schema(_) | Feed::Boundary(_) | Feed::Keys(_) => {}
        }
    }

    /// Reaches a boundary: as many numbers were given to events as rows arrived.
    pub(super) fn boundary(&mut self, checkpoint: Checkpoint) -> Result<()> {
        if let Some(committed) = &self.committed
            && checkpoint.events_since(committed) != Some(self.rows)
        {
            return Err(Error::new(
                ErrorKind::Bug,
                format!("{} rows arrived for the numbers from {}", self.rows, committed.next_seq),
            )
            .at("next number", checkpoint.next_seq)
            .at("position", &checkpoint.position));
        }
        self.at = Some(checkpoint);
        Ok(())
    }

    /// How long until a commit is due; `None` while there is nothing to commit, or no boundary. `wanted`: how long until
    /// the sink wants one in any case.
    pub(super) fn due_in(&self, plan: &Plan, now: Duration, wanted: Option<Duration>) -> Option<Duration> {
        let interval = self.interval(plan, self.at.as_ref()?);
        let due = interval.map(|interval| interval.saturating_sub(now.saturating_sub(self.begun)));
        due.into_iter().chain(wanted).min()
    }

    /// Longest time between the last commit and that of `at`; `None` where `at` says nothing more.
    fn interval(&self, plan: &Plan, at: &Checkpoint) -> Option<Duration> {
        match &self.committed {
            // `start: latest` must mean the same place after a crash.
            None => Some(Duration::ZERO),
            // Who asked waits for the answer.
            Some(done) if answers(at, done) => Some(Duration::ZERO),
            Some(_) if self.owes() => Some(plan.interval),
            Some(done) if says_more(at, done) => Some(plan.idle_interval),
            Some(_) => None,
        }
    }

    /// Whether more than a position is to be committed: rows, an answer, a table's state, the first place of all.
    pub(super) fn owes(&self) -> bool {
        let says_more = |at: &Checkpoint| {
            self.committed.as_ref().is_none_or(|done| answers(at, done) || at.tables != done.tables)
        };
        self.has_news() || self.at.as_ref().is_some_and(says_more)
    }

    /// The boundary that was reached, while nothing came after it.
    pub(super) fn reached(&self) -> Option<Checkpoint> {
        self.at.clone()
    }

    /// The boundary to commit, if it says more than the last commit: rows, a state, or a position.
    pub(super) fn unsaved(&self) -> Option<Checkpoint> {
        let at = self.at.as_ref()?;
        let more = self.committed.as_ref().is_none_or(|done| says_more(at, done));
        (self.has_news() || more).then(|| at.clone())
    }

    fn has_news(&self) -> bool {
        self.rows > 0 || self.tells
    }
}

/// Whether `at`, which may be of some topic partitions only, is another place than `done`.
fn says_more(at: &Checkpoint, done: &Checkpoint) -> bool {
    done.with(at) != *done
}

/// Whether requests were answered since `done`.
fn answers(at: &Checkpoint, done: &Checkpoint) -> bool {
    at.requests.iter().any(|answer| !done.requests.contains(answer))
}
