//! Types and contracts that every source and sink shares.
//!
//! Rows move between parts in one form only, the [`ChangeBatch`]; a source yields and a sink takes
//! the same stream of [`Feed`]; a [`Checkpoint`] is stored only together with the data it covers.

pub mod change_batch;
pub mod checkpoint;
pub mod clock;
pub mod error;
pub mod failpoint;
pub mod gtid;
pub mod keys;
pub mod period;
pub mod position;
pub mod preflight;
mod quantity;
pub mod queue;
pub mod request;
pub mod schema;
pub mod schema_change;
pub mod secret;
pub mod sink;
pub mod size;
pub mod source;
pub mod stats;
pub mod table_filter;

pub use change_batch::{Began, ChangeBatch, ChangeMeta, MarkReason, Op, Origin, OriginRun, TableMark};
pub use checkpoint::{
    Checkpoint, KeyBound, PreparedXa, Snapshot, SnapshotCause, SnapshotPlan, SnapshotState, TableState,
    TableStatus,
};
pub use clock::Clock;
pub use error::{Error, ErrorKind, Result, Scope};
pub use gtid::{Gtid, GtidSet};
pub use keys::{KeyClass, KeysAsked, LivingKeys};
pub use period::Period;
pub use position::{BinlogPosition, KafkaPosition, Position, TopicPartitionPosition};
pub use preflight::{Finding, Level};
pub use request::{Answer, Command, Request};
pub use schema::{
    Capacity, Column, ColumnType, Groundwork, Index, IndexPart, TableId, TableSchema, TypeOptions, ZeroDates,
};
pub use schema_change::{
    ChangeKind, ColumnStructure, Declaration, SchemaChange, TableChange, TableStructure,
};
pub use secret::Secret;
pub use sink::{LostFile, LostRange, Opened, Resume, Sink};
pub use size::ByteSize;
pub use source::{Feed, Source};
pub use table_filter::TableFilter;
