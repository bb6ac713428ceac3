//! Several writers of one log: the workers of `load`, each with its own topic partitions.
//!
//! # The guarantee
//! All that `writer` promises, and: of each topic partition, the events between its beginning and its
//! place in the log's last checkpoint are visible exactly once or about to be, whoever brought them and
//! whoever believes to own it. That two workers own one topic partition for a while, or none does, or that
//! one sleeps for a day and wakes up, costs work and nothing else.
//!
//! # How workers share
//! - A claim names the [`Worker`]s that stay beside it ([`super::record::Record::workers`]). It leaves out
//!   those of the same process, whose sinks are dropped, and those that `load` calls gone. They are
//!   revoked; a commit keeps the list. A claim that names nobody is an exclusive one (`run`) and revokes
//!   everybody; one that shares the log revokes an exclusive writer.
//! - A worker puts at L + 1 what it would bring, on top of the checkpoint of L: the places of its own topic
//!   partitions, everything else of whichever is later. Where another's record stands at that number, it
//!   reads on to the end and puts again on top of that, if it still may: if it is admitted; if each of its
//!   topic partitions stands where it began to read ([`super::places`]); if no version that it brings was
//!   decided otherwise meanwhile ([`super::versions`]); if what it repairs was not repaired. Else it drops
//!   what it staged, which no record names and none ever will, and begins anew: `Rebalanced`.
//!
//! # Why it holds
//! *One chain.* As in `writer`: every writer puts at its L + 1 alone, has read all up to L, and bears the
//! checkpoint of L as its `from`. Others' records between two of its own change nothing of this.
//!
//! *Each event once.* Let a worker's commit stand at n, and let topic partition t be one of its own. Its
//! files hold the events of t from the place b where it began to the place e that it brings: it opened
//! when the lake was at b, or committed b itself, and the events were counted. At n - 1 the log had t at b:
//! it has compared that with the record at n - 1 itself, and no record comes between n - 1 and n. So along
//! the chain the ranges of t join end to end, from its beginning on; and each is in the files of one record.
//! Nobody's view of who owns t enters here.
//!
//! *Revoked is revoked.* Let r be the claim that revokes e. A put of e's worker is for its own L + 1. If
//! that is at most r: a record stands there, and the put is refused however late it lands. It cannot be
//! above r, since to have L >= r the worker has read r, and stops. If it landed before r did, it stands
//! below, and r's writer has read it. An exclusive claim is the same with everybody left out.
//!
//! *Nothing decided is aborted.* The writer of claim f aborts only uploads of epochs that f does not admit
//! and that are lower, and only once f stands. By the paragraph before, none of these is decided any more;
//! those that were, f's writer had shown before. A worker drops its own files when it gives up a commit:
//! then each number that it tried has another record. While the outcome of a put is open it drops nothing.
//!
//! *Two workers may show one file.* Showing moves the one upload of that key; who comes second finds the
//! object. So whoever opens shows all that is decided, also what a live worker is about to show. A file
//! is lost only if neither upload nor object is there, whoever looked.
//!
//! *One repair.* Whoever opens finds what is lost, and so may several at a time. A repair is a commit that
//! names the record it mends, and each reads all records up to its own put: who meets another's repair of a
//! record that it found lost itself begins anew.
//!
//! *`shown_through` is true*: see [`super::shown`]. It lags while a worker has shown files and puts no record;
//! who finds it [`LAG`] records behind shows those of others itself, so that a start reads little.
//!
//! # Progress
//! Of workers that race for a number one gets it, and the others put again at the next one without reading
//! or staging anything again. Only that a topic partition changes hands makes work void.
//!
//! # Unknown
//! Nothing rests on what `load` says of who is gone: a living worker that it names is refused its next put
//! and begins anew. One that is gone and is never named leaves uploads behind, invisible, and a line in
//! each record.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use lakeward_core::{Error, ErrorKind, KafkaPosition, Position, Result};
use uuid::Uuid;

use super::places::same_kind;
pub use super::record::Worker;
use super::record::{Entry, Record};

/// Records that may stand above `shown_through` before a worker shows those of others.
pub(super) const LAG: u64 = 64;

/// Tells which of some workers are gone for good; their epochs. It may ask others, and take a while.
pub type Gone = Arc<dyn Fn(Vec<Worker>) -> Pin<Box<dyn Future<Output = BTreeSet<u64>> + Send>> + Send + Sync>;

/// Who may write beside a writer.
#[derive(Clone)]
pub enum Sharing {
    /// Nobody: its claim revokes all others.
    Exclusive,
    /// Other workers that share the log: its claim revokes those of the same process, and those that are
    /// gone.
    Shared(Gone),
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_shared() { "Shared" } else { "Exclusive" })
    }
}

impl Sharing {
    /// Whether others may write.
    pub fn is_shared(&self) -> bool {
        match self {
            Sharing::Exclusive => false,
            Sharing::Shared(_) => true,
        }
    }

    /// Refuses to share a log whose place is not of topic partitions: parts of nothing else can be put
    /// together.
    pub(super) fn refuse_other_kind(&self, pipeline: &str, last: Option<&Record>) -> Result<()> {
        match self {
            Sharing::Exclusive => Ok(()),
            Sharing::Shared(_) => {
                let part = Position::Kafka(KafkaPosition::default());
                same_kind(pipeline, last.and_then(Record::checkpoint), &part)
            }
        }
    }

    /// The workers that a claim of `writer` at `number` admits, after `last`.
    pub(super) async fn workers(&self, writer: Uuid, number: u64, last: Option<&Record>) -> Vec<Worker> {
        let Sharing::Shared(gone) = self else { return Vec::new() };
        let mut workers = last.map(|last| last.workers.clone()).unwrap_or_default();
        workers.retain(|worker| worker.writer != writer);
        if !workers.is_empty() {
            let gone = gone(workers.clone()).await;
            workers.retain(|worker| !gone.contains(&worker.epoch));
        }
        workers.push(Worker { epoch: number, writer });
        workers
    }
}

/// What another's record leaves of `epoch`: an error if it does not admit it.
///
/// A worker that other workers took for gone begins anew. Who was revoked by an exclusive writer, or was
/// one itself, stops: two processes were started that should not run beside each other.
pub(super) fn revoked(pipeline: &str, sharing: &Sharing, epoch: u64, other: &Record) -> Option<Error> {
    if other.admits(epoch) {
        return None;
    }
    let by_workers = sharing.is_shared() && !other.workers.is_empty();
    let error = match by_workers {
        true => {
            let message = "other workers took this one for gone; nothing is lost or doubled";
            Error::new(ErrorKind::Rebalanced, message)
        }
        false => {
            let message = format!("epoch {} of the pipeline has taken over from epoch {epoch}", other.epoch);
            Error::new(ErrorKind::Fenced, message)
                .remedy("let one process only run this pipeline; nothing is lost or doubled")
        }
    };
    Some(error.at("pipeline", pipeline).at("record", other.number))
}

/// The record that `record` repairs, if it does.
pub(super) fn repairs(record: &Record) -> Option<u64> {
    match &record.entry {
        Entry::Commit { repairs: Some(repairs), .. } => Some(repairs.record),
        Entry::Commit { repairs: None, .. } | Entry::Claim { .. } => None,
    }
}

/// That what a worker has staged is void, as the log moved on without it.
pub(super) fn overtaken(message: &str, other: u64) -> Error {
    Error::new(ErrorKind::Rebalanced, message).at("record", other)
}
