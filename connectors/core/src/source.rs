//! What every source yields.

use std::sync::Arc;

use crate::{
    ChangeBatch, Checkpoint, KeysAsked, LivingKeys, Request, Result, SchemaChange, TableMark, TableSchema,
};

/// The stream that every source yields and every sink takes.
///
/// Order: events of a table come in the order of the source and with ascending `seq` (those of each topic
/// partition, where batches name one: [`crate::ChangeMeta::topic_partition`]); a table's [`Feed::Schema`] comes before its first batch of that version, once per run. Everything before a
/// [`Feed::Boundary`] belongs to transactions that are complete there; numbers given before it are
/// dense from the checkpoint the run began with.
#[derive(Debug)]
pub enum Feed {
    /// A table's version, new or in force at the start of this run.
    Schema(Arc<TableSchema>),
    /// Change events. May be part of an open transaction.
    Batch(ChangeBatch),
    /// All earlier events of a table are void.
    Mark(TableMark),
    /// What a statement does to a table or database; no event. After all that came before it in the log, and only where
    /// the source is asked to tell them.
    SchemaChange(Box<SchemaChange>),
    /// A point between source transactions at which a checkpoint is legal.
    Boundary(Checkpoint),
    /// The keys are asked for that live in the sink ([`crate::keys`]); no event.
    Keys(KeysAsked),
}

/// A stream of change events that resumes at a [`Checkpoint`] it once yielded.
pub trait Source: Send {
    /// The next item; `None` once a bounded run has reached its end, after its last boundary.
    ///
    /// Transient errors are retried inside, with backoff; an `Err` ends the source. Deterministic:
    /// from the same checkpoint the same events get the same numbers, whatever the batches.
    /// Cancel-safe: dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = Result<Option<Feed>>> + Send;

    /// Hands over all requests that stand in the sink now, in the order of asking, those of earlier
    /// calls among them ([`crate::request`]). Returns at once; what becomes of them shows in
    /// [`Checkpoint::requests`] and in the states of tables.
    fn requests(&mut self, standing: Vec<Request>);

    /// Hands over the answer to the question `asked` ([`Feed::Keys`]): a class of keys, or why the table's
    /// keys cannot be told. Returns at once.
    fn keys(&mut self, asked: u64, answer: Result<LivingKeys>);
}
