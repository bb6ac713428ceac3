//! Topics that Debezium wrote, read exactly once, by one process.
//!
//! ```text
//! topics of the cluster --Topics--> Topic --Lane, Lane, …--> Reading (decode, number) --queue--> KafkaSource::next
//! ```
//!
//! # The guarantee
//! Between two boundaries it yields exactly the change events between two places of each topic partition: each once,
//! those of a topic partition with ascending numbers, versions before their rows.
//!
//! # Why it holds
//! *Nothing is lost or doubled.* A place is stored with the data it covers, and says at which offset to go on. From
//! there the client gives every visible record once and in order (`lane`). A place that is not in the topic any more
//! is an error, never another place (`places`).
//!
//! *Any place is a boundary.* Debezium's topics have no checkpoints; a source transaction is spread over topics without
//! a mark. So a step is what has arrived, up to [`STEP`] events, and the lake may show a part of a transaction.
//!
//! *Numbers* follow from an event's place alone (`numbers`): read again, it has the same one. They ascend in a
//! topic partition and not over several, so batches of a topic with several name theirs, and the lake keeps order by
//! these. The latest state of a key is by the greatest number, which is right as long as a key stays in its topic
//! partition. A topic that was given more of them moves keys, so it stands still, unless its table has no key. What
//! was moved before the first load cannot be seen.
//!
//! *Truncate.* In a topic with one topic partition its place is its order. With several nobody knows which events of
//! the others come after it: the whole topic stands still there.
//!
//! *Versions* are derived, one for each structure ([`crate::debezium::Versions`]).
//!
//! *One process.* Which topic partition is read by whom would need a group, and versions a common home. The lake is
//! claimed for this process alone, so a second one fences the first.
//!
//! # Memory
//! As of the other source: an eighth of the budget waits in the queue, an eighth is fetched ahead, and as much is
//! gathered in a batch; one topic partition is decoded at a time.

mod desk;
mod lane;
mod numbers;
mod opening;
mod places;
mod reading;
mod topic;
mod topics;

use std::sync::Arc;

use lakeward_core::stats::{KafkaSourceStats, SourceStats};
use lakeward_core::{ByteSize, Clock, Resume, TableFilter, TypeOptions};

pub(super) use opening::open;
pub use topics::{Found, find};

use super::Until;
use crate::config::Kafka;
use crate::debezium::Structures;

/// Events of one step, at most.
const STEP: usize = 64 * 1024;

/// What a source of Debezium's topics needs to open.
#[derive(Clone)]
pub struct ForeignOptions {
    /// The cluster, and how records are written.
    pub kafka: Kafka,
    /// The pipeline.
    pub pipeline: String,
    /// Whose topics are read.
    pub tables: TableFilter,
    /// Choices in the mapping of types.
    pub types: TypeOptions,
    /// Tells columns where records do not.
    pub structures: Structures,
    /// Whether batches hold previous images.
    pub before_images: bool,
    /// Whether a record that cannot be decoded ends the source, and not its topic partition alone.
    pub stop_all: bool,
    /// Where the run ends. Caught up: at the ends that the topic partitions have when the source opens.
    pub until: Until,
    /// What the sink has; with every version of each table.
    pub resume: Resume,
    /// Memory for what is read and not yet taken.
    pub memory: ByteSize,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters to fill.
    pub stats: Arc<SourceStats>,
    /// Counters of topic partitions.
    pub kafka_stats: Arc<KafkaSourceStats>,
}
