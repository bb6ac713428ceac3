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
//! A new pipeline commits its first boundary at once: `start: latest` means the same place after a
//! crash. Unknown: nothing; what a commit settled is the sink's to prove.

mod backoff;
mod progress;
mod span;
mod stop;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{
    Checkpoint, Clock, Error, ErrorKind, Feed, LostRange, Result, Resume, Sink, Source, TableId, TableStatus,
};
use tracing::{debug, info, warn};

pub use backoff::Backoff;
pub use progress::Progress;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until it is stopped.
    Forever,
    /// To the position that the server had when the source was opened.
    CaughtUp,
}

/// When to commit, and how long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How far to go.
    pub until: Until,
    /// Longest time between two commits while rows arrive.
    pub interval: Duration,
    /// Longest time between two commits while only the position moves.
    pub idle_interval: Duration,
    /// How long a stopping run waits for a boundary before it leaves without a commit.
    pub boundary_grace: Duration,
    /// How long a stopping run waits for the answer to a commit; the next start tells its outcome.
    pub commit_grace: Duration,
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
            boundary_grace: Duration::from_secs(5),
            commit_grace: Duration::from_secs(15),
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
    /// A bounded run reached its end and committed it.
    CaughtUp,
}

impl Ended {
    /// Tables whose changes are not captured any more.
    pub fn stopped_tables(&self) -> Vec<&TableId> {
        let tables = self.committed.iter().flat_map(|checkpoint| checkpoint.tables.iter());
        tables
            .filter(|(_, state)| match state.status {
                TableStatus::Active => false,
                TableStatus::Stopped { .. } => true,
            })
            .map(|(table, _)| table)
            .collect()
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

/// Why gathering ended.
enum Due {
    Commit,
    Stop,
    End,
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
        loop {
            let commits = self.progress.commits.get();
            let error = match self.attempt().await {
                Ok(reason) => return Ok(self.ended(reason)),
                Err(error) => error,
            };
            let now = self.clock.elapsed();
            if self.progress.commits.get() > commits {
                self.progress.mended();
            }
            self.progress.failed(self.clock.unix_micros());
            match error.policy() {
                Policy::Retry => {}
                Policy::StopTable | Policy::StopPipeline => return Err(error),
            }
            let Some(wait) = self.plan.backoff.next(now, self.progress.commits.get()) else {
                return Err(error);
            };
            if self.stop.requested() {
                return Err(error);
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
        let (sink, source) = tokio::select! {
            biased;
            // To leave an unfinished open is like a crash in it: the next one finishes it.
            () = stop.wait() => return Ok(Reason::Abandoned),
            opened = self.open() => opened?,
        };
        self.follow(sink, source).await
    }

    async fn open(&mut self) -> Result<(R::Sink, R::Source)> {
        let mut sink = self.route.sink().await?;
        if sink.is_new().await? {
            // A source that refuses must leave no trace in the lake, not even a claim.
            drop(self.route.source(Resume::default(), self.plan.until).await?);
        }
        let opened = sink.open().await?;
        self.committed.clone_from(&opened.resume.checkpoint);
        for lost in opened.lost {
            self.repair(&mut sink, lost).await?;
        }
        let place = self.committed.as_ref().map_or("the configured start".into(), |c| c.position.to_string());
        info!(position = place, "opened; going on from here");
        let source = self.route.source(opened.resume, self.plan.until).await?;
        Ok((sink, source))
    }

    /// Reads a lost range again. Rows beyond it may follow, up to the next boundary: the sink keeps
    /// those of its lost files only.
    async fn repair(&mut self, sink: &mut R::Sink, lost: LostRange) -> Result<()> {
        let to = lost.to.clone();
        let range = format!("{} to {}", lost.from.position, lost.to.position);
        warn!(
            record = lost.record,
            files = lost.files.len(),
            range,
            "committed data vanished; reading it again"
        );
        let gone = |error: Error| match error.kind() {
            ErrorKind::PositionLost | ErrorKind::SourceLineage => Error::new(
                ErrorKind::LostUpload,
                "committed files vanished from the store, and the source no longer has their changes",
            )
            .at("record", lost.record)
            .at("range", &range)
            .remedy("restore the files from a copy of the store, or start a new pipeline under another name")
            .caused_by(error),
            _ => error,
        };
        let resume = Resume { checkpoint: Some(lost.from.clone()), schemas: lost.schemas.clone() };
        let mut source = self.route.source(resume, Until::Forever).await.map_err(gone)?;
        sink.repair(lost.clone()).await?;
        loop {
            match source.next().await.map_err(gone)? {
                Some(Feed::Boundary(checkpoint)) if checkpoint.next_seq >= to.next_seq => break,
                Some(feed) => deliver(sink, feed).await?,
                None => return Err(Error::new(ErrorKind::Bug, "an endless source ended").at("range", &range)),
            }
        }
        let committed = self.committed.clone();
        self.commit(sink, to, lost.files.len() as u64).await?;
        self.committed = committed;
        Ok(())
    }

    async fn follow(&mut self, mut sink: R::Sink, mut source: R::Source) -> Result<Reason> {
        let mut span = Span::begin(self.committed.clone(), self.clock.elapsed());
        let mut stop = self.stop.clone();
        loop {
            let due = tokio::select! {
                biased;
                () = stop.overdue(self.plan.boundary_grace) => return Ok(Reason::Abandoned),
                due = self.gather(&mut sink, &mut source, &mut span) => due?,
            };
            let ending = match due {
                Due::Commit => None,
                Due::Stop => Some(Reason::Stopped),
                Due::End => Some(Reason::CaughtUp),
            };
            if let Some(checkpoint) = span.unsaved() {
                tokio::select! {
                    biased;
                    () = stop.overdue(self.plan.commit_grace) => return Ok(Reason::Abandoned),
                    done = self.commit(&mut sink, checkpoint, span.rows()) => done?,
                }
                span = Span::begin(self.committed.clone(), self.clock.elapsed());
            }
            if let Some(reason) = ending {
                sink.close().await?;
                return Ok(reason);
            }
        }
    }

    /// Hands feed to the sink until a commit is due, the source ends, or a stop meets a boundary.
    async fn gather(&self, sink: &mut R::Sink, source: &mut R::Source, span: &mut Span) -> Result<Due> {
        let mut stop = self.stop.clone();
        loop {
            let wait = span.due_in(&self.plan, self.clock.elapsed());
            if wait.is_some_and(|wait| wait.is_zero()) {
                return Ok(Due::Commit);
            }
            let feed = tokio::select! {
                biased;
                () = stop.wait(), if span.at_boundary() => return Ok(Due::Stop),
                feed = source.next() => feed?,
                // The clock decides, at the top of the loop; this only wakes it.
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => continue,
            };
            match feed {
                None if span.at_boundary() => return Ok(Due::End),
                None => return Err(Error::new(ErrorKind::Bug, "the source ended inside a transaction")),
                Some(Feed::Boundary(checkpoint)) => {
                    span.boundary(checkpoint)?;
                    self.progress.boundary(self.clock.elapsed(), span.rows() == 0);
                }
                Some(feed) => {
                    span.take(&feed);
                    if let Feed::Batch(batch) = &feed
                        && let Some(first) = batch.meta.origins.first()
                    {
                        self.progress.waiting(first.origin.commit_us);
                    }
                    deliver(sink, feed).await?;
                    self.progress.moved(self.clock.elapsed());
                }
            }
        }
    }

    /// The one place that commits.
    async fn commit(&mut self, sink: &mut R::Sink, checkpoint: Checkpoint, rows: u64) -> Result<()> {
        let begun = self.clock.elapsed();
        sink.commit(checkpoint.clone()).await?;
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

async fn deliver<S: Sink>(sink: &mut S, feed: Feed) -> Result<()> {
    match feed {
        Feed::Schema(schema) => sink.schema(schema).await,
        Feed::Batch(batch) => sink.write(batch).await,
        Feed::Mark(mark) => sink.mark(mark).await,
        // Legal between two commits; only `follow` decides that one is due.
        Feed::Boundary(_) => Ok(()),
    }
}
