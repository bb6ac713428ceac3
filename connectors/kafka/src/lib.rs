//! Change events as Kafka records: the sink that captures, the source that loads, the formats between them.

pub mod checkpoints;
pub mod client;
pub mod config;
pub mod debezium;
pub mod format;
pub mod group;
pub mod preflight;
pub mod registry;
pub mod requests;
pub mod sink;
pub mod source;
pub mod topics;
