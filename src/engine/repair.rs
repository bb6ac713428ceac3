//! A committed range whose files vanished before they were visible, read again from the source.
//!
//! Guarantee: rows are put in place of lost ones only with the numbers that those had.
//! Why it holds: numbers are a function of the log and of the checkpoint it is read from, except where
//! the range also took numbers that the log does not give: rows read by a snapshot, a mark's reserved
//! number, a table that came back by a request. Each of these makes the range longer than the log
//! alone; read to the range's very end with snapshots at rest, the log must therefore give exactly as
//! many numbers as the range has, and else nothing is put. Nor is it where a TRUNCATE deletes the keys
//! that lived then, one by one: those are not told any more.

use lakeward_core::error::ANEW;
use lakeward_core::{
    Checkpoint, Error, ErrorKind, Feed, LostRange, Position, Result, Resume, Sink, SnapshotState,
};
use tracing::warn;

use super::{Engine, Route, Span, Until, deliver};

impl<R: Route> Engine<R> {
    pub(super) async fn repair(&mut self, sink: &mut R::Sink, lost: LostRange) -> Result<()> {
        let LostRange { record, from, to, schemas, files } = lost.clone();
        let range = format!("{} to {}", from.position, to.position);
        warn!(record, files = files.len(), range, "committed data vanished; reading it again");
        let vanished = |why: &str| {
            Error::new(ErrorKind::LostUpload, format!("committed files vanished from the store, and {why}"))
                .at("record", record)
                .at("range", &range)
                .remedy(format!("restore the files from a copy of the store, or begin anew: {ANEW}"))
        };
        let gone = |error: Error| match error.kind() {
            ErrorKind::PositionLost | ErrorKind::SourceLineage | ErrorKind::TopicLost => {
                vanished("the source no longer has their changes").caused_by(error)
            }
            _ => error,
        };
        let mut span = Span::begin(Some(from.clone()), self.clock.elapsed());
        let resume = Resume { checkpoint: Some(at_rest(from)), schemas, requests: Vec::new() };
        let until = Until::Again(to.position.clone());
        let mut source = self.route.source(resume, until).await.map_err(gone)?;
        sink.repair(lost).await?;
        let mut end = None;
        while let Some(feed) = self.next(&mut source).await.map_err(gone)? {
            self.progress.moved(self.clock.elapsed());
            match feed {
                Feed::Boundary(checkpoint) => {
                    end = Some(checkpoint.clone());
                    span.boundary(checkpoint)?;
                }
                Feed::Keys(_) => {
                    return Err(vanished(
                        "a TRUNCATE in their range became deletes of the keys that lived then",
                    ));
                }
                feed => {
                    span.take(&feed);
                    deliver(sink, feed).await?;
                }
            }
        }
        let reached = end.is_some_and(|end| match &to.position {
            Position::Kafka(_) => end.position == to.position,
            _ => end.next_seq == to.next_seq,
        });
        if !reached {
            return Err(vanished(
                "a snapshot or a request gave numbers in their range: the log alone does not give it again",
            ));
        }
        let committed = self.committed.clone();
        self.commit(sink, to, span.rows()).await?;
        self.committed = committed;
        Ok(())
    }
}

/// The checkpoint with its snapshots paused: none of them adds a row.
fn at_rest(mut checkpoint: Checkpoint) -> Checkpoint {
    let mut tables = (*checkpoint.tables).clone();
    for state in tables.values_mut() {
        match &mut state.snapshot {
            SnapshotState::Open(snapshot) => snapshot.paused = true,
            SnapshotState::NotAsked | SnapshotState::Partial | SnapshotState::Done => {}
        }
    }
    checkpoint.tables = tables.into();
    checkpoint
}
