//! The one loop: source -> sink, boundary -> commit.
//!
//! Guarantee: whatever fails and whenever it stops, each change event ends in the sink once.
//! Why it holds:
//! - The place to go on is always what the sink says when it opens; nothing here outlives a sink.
//! - `commit` is called in one place ([`Engine::commit`]), with a checkpoint that the source yielded
//!   as a boundary and after which nothing was written: data and checkpoint always belong together.
//! - After any error, also of a commit whose outcome is unknown, both sink and source are dropped;
//!   the next attempt opens both anew. To be stopped at any await is the same as a crash here.
//! - Between two boundaries as many numbers are given as rows arrive, and this is counted: a source
//!   that moved on without its rows is an error, never a success.
//!
//! - Keys that the source asks for right after a boundary are read once that boundary is committed, so
//!   they are of all that came before.
//! - A range is read again only where the log alone gives it (`engine/repair.rs`).
//!
//! A new pipeline commits its first boundary at once: `start: latest` means the same place after a
//! crash; and so does one that answers a request: somebody waits. Unknown: nothing; what a commit
//! settled is the sink's to prove.

mod backoff;
mod keys;
mod progress;
mod repair;
mod requests;
mod span;
mod stop;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{
    Checkpoint, Clock, Error, ErrorKind, Feed, KeysAsked, Position, Result, Resume, Sink, SnapshotState,
    Source, TableId, TableStatus,
};
use tracing::{debug, info, warn};

pub use backoff::Backoff;
use keys::KeyReading;
pub use progress::Progress;
use requests::Standing;
use span::Span;
pub use stop::{Stop, Stopper, stop_signal};

/// The two ends of a pipeline, opened anew for every attempt.
pub trait Route: Send {
    /// Where changes come from.
    type Source: Source;
    /// Where they go.
    type Sink: Sink;

    /// A sink that is not open yet.
    fn sink(&mut self) -> impl Future<Output = Result<Self::Sink>> + Send;

    /// A source that goes on from `resume`.
    fn source(&mut self, resume: Resume, until: Until) -> impl Future<Output = Result<Self::Source>> + Send;
}

/// How far a run goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until it is stopped.
    Forever,
    /// To the position that the server had when the source was opened, with all snapshots at their end.
    CaughtUp,
    /// To this position, which a checkpoint named. The log alone is read: no snapshot, no request.
    Again(Position),
}

/// Between an attempt that was overtaken by other workers and the next one.
const BREATH: Duration = Duration::from_millis(100);

/// A source that hands on nothing is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// When to commit, and how long to wait for what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How far to go.
    pub until: Until,
    /// Longest time between two commits while rows arrive.
    pub interval: Duration,
    /// Longest time between two commits while only the position moves.
    pub idle_interval: Duration,
    /// Time between two looks for requests.
    pub requests_interval: Duration,
    /// How long a stopping run waits for a boundary before it leaves without a commit.
    pub boundary_grace: Duration,
    /// How long a stopping run waits for the answer to a commit; the next start tells its outcome.
    pub commit_grace: Duration,
    /// How long the sink may take, after an error, to drop what it staged; the next open drops the rest.
    pub close_grace: Duration,
    /// Waits between attempts.
    pub backoff: Backoff,
}

impl Plan {
    /// The plan for a commit interval; `seed` varies the waits between attempts.
    pub fn new(until: Until, interval: Duration, seed: u64) -> Self {
        Plan {
            until,
            interval,
            idle_interval: interval.max(Duration::from_hours(1)),
            requests_interval: Duration::from_secs(5),
            boundary_grace: Duration::from_secs(5),
            commit_grace: Duration::from_secs(15),
            close_grace: Duration::from_secs(5),
            backoff: Backoff::standard(seed),
        }
    }
}

/// How a run ended without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// The last checkpoint that this run knows to be committed.
    pub committed: Option<Checkpoint>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was asked to stop; everything taken up to a boundary is committed.
    Stopped,
    /// It was asked to stop and no boundary, or no answer, came in time: what was taken since the
    /// last commit is read again by the next run.
    Abandoned,
    /// A bounded run reached its end and committed it: the position that was asked for, and the end of
    /// its snapshots.
    CaughtUp,
}

impl Ended {
    /// Tables whose changes are not captured any more.
    pub fn stopped_tables(&self) -> Vec<&TableId> {
        let tables = self.committed.iter().flat_map(|checkpoint| checkpoint.tables.iter());
        tables
            .filter(|(_, state)| match state.status {
                TableStatus::Active | TableStatus::LeftOut => false,
                TableStatus::Stopped { .. } => true,
            })
            .map(|(table, _)| table)
            .collect()
    }

    /// Captured tables whose rows are not all in the lake, as the reading was paused.
    pub fn paused_tables(&self) -> Vec<&TableId> {
        let tables = self.committed.iter().flat_map(|checkpoint| checkpoint.tables.iter());
        tables
            .filter(|(_, state)| match (&state.status, &state.snapshot) {
                (TableStatus::Active, SnapshotState::Open(open)) => open.paused,
                (TableStatus::Active | TableStatus::LeftOut | TableStatus::Stopped { .. }, _) => false,
            })
            .map(|(table, _)| table)
            .collect()
    }

    /// Topic partitions that stand still at a record which cannot be read.
    pub fn stopped_topic_partitions(&self) -> Vec<String> {
        match self.committed.as_ref().map(|committed| &committed.position) {
            Some(Position::Kafka(at)) => {
                at.stopped().map(|(topic, number, _, _)| format!("{topic}/{number}")).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }
}

/// Runs one pipeline.
pub struct Engine<R> {
    route: R,
    plan: Plan,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    stop: Stop,
    committed: Option<Checkpoint>,
}

/// What is read from the sink beside the loop.
struct Beside {
    standing: Standing,
    keys: KeyReading,
}

/// Why gathering ended.
enum Due {
    Commit,
    Stop,
    End,
    /// The source asks for keys: of what was taken up to here, where this is a boundary.
    Keys(KeysAsked),
}

impl<R: Route> Engine<R> {
    /// An engine over `route`.
    pub fn new(route: R, plan: Plan, clock: Arc<dyn Clock>, progress: Arc<Progress>, stop: Stop) -> Self {
        Engine { route, plan, clock, progress, stop, committed: None }
    }

    /// Runs until its end, until it is stopped, or until an error that trying again does not mend.
    ///
    /// Errors: any of policy `StopTable` or `StopPipeline`; one of policy `Retry` when it went on
    /// for longer than [`Backoff::patience`] or came while stopping.
    pub async fn run(mut self) -> Result<Ended> {
        self.progress.moved(self.clock.elapsed());
        loop {
            let before = self.progress.reached();
            let error = match self.attempt().await {
                Ok(reason) => return Ok(self.ended(reason)),
                Err(error) => error,
            };
            let now = self.clock.elapsed();
            if self.progress.succeeded_since(before) {
                self.progress.mended();
                self.plan.backoff.mended();
            }
            if error.kind() == ErrorKind::Rebalanced && !self.stop.requested() {
                // No failure: others came or went. What is ours now is told by opening anew, and at once.
                info!("{error}");
                tokio::time::sleep(BREATH).await;
                continue;
            }
            self.progress.failed(self.clock.unix_micros());
            match error.policy() {
                Policy::Retry => {}
                Policy::StopTable | Policy::StopPipeline => return Err(error),
            }
            let Some(wait) = self.plan.backoff.next(now) else {
                return Err(error);
            };
            if self.stop.requested() {
                return match error.kind() {
                    // What was taken is read again by whoever has the topic partitions now.
                    ErrorKind::Rebalanced => Ok(self.ended(Reason::Abandoned)),
                    _ => Err(error),
                };
            }
            warn!(kind = error.kind().name(), wait_ms = wait.as_millis(), "{error}; trying again");
            let mut stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.wait() => return Ok(self.ended(Reason::Abandoned)),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn ended(&mut self, reason: Reason) -> Ended {
        Ended { reason, committed: self.committed.take() }
    }

    async fn attempt(&mut self) -> Result<Reason> {
        let mut stop = self.stop.clone();
        let (mut sink, source) = tokio::select! {
            biased;
            // To leave an unfinished open is like a crash in it: the next one finishes it.
            () = stop.wait() => return Ok(Reason::Abandoned),
            opened = self.open() => opened?,
        };
        let outcome = self.follow(&mut sink, source).await;
        if outcome.is_err() {
            match tokio::time::timeout(self.plan.close_grace, sink.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!("what was staged could not be dropped; the next start does: {error}"),
                Err(_elapsed) => debug!("what was staged could not be dropped in time; the next start does"),
            }
        }
        outcome
    }

    async fn open(&mut self) -> Result<(R::Sink, R::Source)> {
        let mut sink = self.route.sink().await?;
        if sink.is_new().await? {
            // A source that refuses must leave no trace in the lake, not even a claim.
            drop(self.route.source(Resume::default(), self.plan.until.clone()).await?);
        }
        let opened = self.at_work(sink.open()).await?;
        self.committed.clone_from(&opened.resume.checkpoint);
        for lost in opened.lost {
            self.repair(&mut sink, lost).await?;
        }
        let place = self.committed.as_ref().map_or("the configured start".into(), |c| c.position.to_string());
        info!(position = place, "opened; going on from here");
        let source = self.route.source(opened.resume, self.plan.until.clone()).await?;
        Ok((sink, source))
    }

    async fn follow(&mut self, sink: &mut R::Sink, mut source: R::Source) -> Result<Reason> {
        self.progress.begins();
        let mut span = Span::begin(self.committed.clone(), self.clock.elapsed());
        let mut beside = Beside {
            standing: Standing::after(self.plan.requests_interval, sink),
            keys: KeyReading::default(),
        };
        let mut stop = self.stop.clone();
        loop {
            let due = tokio::select! {
                biased;
                () = stop.overdue(self.plan.boundary_grace) => return Ok(Reason::Abandoned),
                due = self.gather(sink, &mut source, &mut beside, &mut span) => due?,
            };
            let (ending, asked, checkpoint) = match due {
                Due::Commit => (None, None, span.reached()),
                Due::Keys(asked) => (None, Some(asked), span.unsaved()),
                Due::Stop => (Some(Reason::Stopped), None, span.unsaved()),
                Due::End => (Some(Reason::CaughtUp), None, span.unsaved()),
            };
            if let Some(checkpoint) = checkpoint {
                tokio::select! {
                    biased;
                    () = stop.overdue(self.plan.commit_grace) => return Ok(Reason::Abandoned),
                    done = self.commit(sink, checkpoint, span.rows()) => done?,
                }
                span = Span::begin(self.committed.clone(), self.clock.elapsed());
            }
            if let Some(asked) = asked {
                beside.keys.ask(asked, sink);
            }
            if let Some(reason) = ending {
                sink.close().await?;
                return Ok(reason);
            }
        }
    }

    /// Hands feed to the sink until a commit is due, the source ends, or a stop meets a boundary.
    async fn gather(
        &self,
        sink: &mut R::Sink,
        source: &mut R::Source,
        beside: &mut Beside,
        span: &mut Span,
    ) -> Result<Due> {
        let mut stop = self.stop.clone();
        loop {
            let wait = span.due_in(&self.plan, self.clock.elapsed(), sink.wants_commit_in());
            if wait.is_some_and(|wait| wait.is_zero()) {
                return Ok(Due::Commit);
            }
            let feed = tokio::select! {
                biased;
                () = stop.wait(), if span.at_boundary() => return Ok(Due::Stop),
                read = beside.standing.read() => {
                    beside.standing.hand_over(read, sink, source);
                    continue;
                }
                (asked, answer) = beside.keys.read() => {
                    self.progress.moved(self.clock.elapsed());
                    keys::hand_over(asked, answer, source)?;
                    continue;
                }
                // The source may wait for nothing else, and a large lake takes its time.
                () = tokio::time::sleep(keys::LOOK), if beside.keys.is_open() => {
                    self.progress.moved(self.clock.elapsed());
                    continue;
                }
                feed = self.next(source) => feed?,
                // The clock decides, at the top of the loop; this only wakes it.
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => continue,
            };
            match feed {
                None if span.at_boundary() => return Ok(Due::End),
                None => return Err(Error::new(ErrorKind::Bug, "the source ended inside a transaction")),
                Some(Feed::Keys(asked)) => return Ok(Due::Keys(asked)),
                Some(Feed::Boundary(checkpoint)) => {
                    span.boundary(checkpoint)?;
                    self.progress.boundary(self.clock.elapsed(), span.owes());
                }
                Some(feed) => {
                    span.take(&feed);
                    if let Some(commit_us) = committed_at_source(&feed) {
                        self.progress.waiting(commit_us);
                    }
                    deliver(sink, feed).await?;
                    self.progress.moved(self.clock.elapsed());
                }
            }
        }
    }

    /// What the source hands on next. While that takes long, what it reads tells that it lives.
    async fn next(&self, source: &mut R::Source) -> Result<Option<Feed>> {
        loop {
            self.progress.waits(self.clock.elapsed());
            tokio::select! {
                biased;
                feed = source.next() => return feed,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// A step of the sink, which may take long where tables are many: it counts as moving, up to a limit.
    async fn at_work<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = self.clock.elapsed();
        let mut step = std::pin::pin!(step);
        loop {
            tokio::select! {
                biased;
                done = &mut step => return done,
                () = tokio::time::sleep(LOOK) => self.progress.works(begun, self.clock.elapsed()),
            }
        }
    }

    /// The one place that commits.
    async fn commit(&mut self, sink: &mut R::Sink, checkpoint: Checkpoint, rows: u64) -> Result<()> {
        let begun = self.clock.elapsed();
        self.at_work(sink.commit(checkpoint.clone())).await?;
        let now = self.clock.elapsed();
        let took = now.saturating_sub(begun);
        self.progress.committed(now, took);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (position, next_seq) = (checkpoint.position.to_string(), checkpoint.next_seq);
        match rows {
            0 => debug!(position, next_seq, took_ms, "committed, without rows"),
            _ => info!(rows, position, next_seq, took_ms, "committed"),
        }
        self.committed = Some(checkpoint);
        Ok(())
    }
}

/// When the first change in it was committed on the source, µs UTC.
fn committed_at_source(feed: &Feed) -> Option<i64> {
    match feed {
        Feed::Batch(batch) => batch.meta.origins.first().map(|first| first.origin.commit_us),
        Feed::Mark(mark) => Some(mark.origin.commit_us),
        Feed::Schema(_) | Feed::SchemaChange(_) | Feed::Boundary(_) | Feed::Keys(_) => None,
    }
}

async fn deliver<S: Sink>(sink: &mut S, feed: Feed) -> Result<()> {
    match feed {
        Feed::Schema(schema) => sink.schema(schema).await,
        Feed::Batch(batch) => sink.write(batch).await,
        Feed::Mark(mark) => sink.mark(mark).await,
        Feed::SchemaChange(change) => sink.schema_change(*change).await,
        // Legal between two commits; only `follow` decides that one is due, and asks for keys.
        Feed::Boundary(_) | Feed::Keys(_) => Ok(()),
    }
}
