//! What a lake knows of a pipeline, read without claiming or writing anything.

use std::sync::Arc;

use lakeward_core::{Checkpoint, Result};
use serde::Serialize;

use crate::commit::log::Log;
use crate::commit::record::{Entry, Record, Worker};
use crate::config::Lake;
use crate::layout::utc;
use crate::objects::Store;
use crate::objects::lake_store::{LakeStore, StoreOptions};

/// A pipeline as its commit log shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LakeStatus {
    /// Number of the last record.
    pub record: u64,
    /// Epoch of the writer of the last record: the number of its claim.
    pub epoch: u64,
    /// Records since that claim.
    pub records_since_claim: u64,
    /// The workers that share the log, also those whose end nobody has noticed; empty where one writer has it.
    pub workers: Vec<Worker>,
    /// Every record up to this one is known to be visible. A running writer tells it with its next
    /// record, so the last one is usually visible already.
    pub shown_through: u64,
    /// Files named by records above `shown_through`.
    pub files_not_known_visible: u64,
    /// The time up to which the lake has all that the server committed, microseconds UTC; `None` where that
    /// cannot be told.
    pub complete_to_us: Option<i64>,
    /// The checkpoint, with the state of every table; `None` before the first commit.
    pub checkpoint: Option<Checkpoint>,
}

impl LakeStatus {
    /// `complete_to_us` as people read it.
    pub fn complete_to(&self) -> Option<String> {
        self.complete_to_us.map(utc)
    }
}

/// Reads the log of `pipeline`; `None` if it was never claimed.
///
/// # Errors
/// `LakeCorrupt`, and the store's.
pub async fn read(lake: &Lake, pipeline: &str, options: StoreOptions) -> Result<Option<LakeStatus>> {
    read_from(Arc::new(LakeStore::open(lake, options).await?), pipeline).await
}

/// As [`read`], from a store that is there already.
///
/// # Errors
/// `LakeCorrupt`, and the store's.
pub async fn read_from<S: Store>(store: Arc<S>, pipeline: &str) -> Result<Option<LakeStatus>> {
    let tail = Log::new(store, pipeline).tail().await?;
    let Some(last) = tail.last() else { return Ok(None) };
    let files = |record: &Record| match &record.entry {
        Entry::Claim { .. } => 0,
        Entry::Commit { files, .. } => files.len() as u64,
    };
    let unknown = tail.iter().filter(|record| record.number > last.shown_through);
    Ok(Some(LakeStatus {
        record: last.number,
        epoch: last.epoch,
        records_since_claim: last.number.saturating_sub(last.epoch),
        shown_through: last.shown_through,
        files_not_known_visible: unknown.map(files).sum(),
        workers: last.workers.clone(),
        complete_to_us: last.checkpoint().and_then(Checkpoint::complete_to_us),
        checkpoint: last.checkpoint().cloned(),
    }))
}
