//! The checkpoint topic: types (the writing half is capture's).

use std::collections::BTreeMap;

use lakeward_core::Checkpoint;
use serde::{Deserialize, Serialize};

/// One checkpoint of the capturing side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureCheckpoint {
    /// 1.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// 1, 2, 3 … per pipeline.
    pub number: u64,
    /// The source's checkpoint.
    pub checkpoint: Checkpoint,
    /// Cumulative count of change events, by topic and topic partition.
    pub events: BTreeMap<String, BTreeMap<i32, u64>>,
}
