//! Change events as Kafka records: the sink that captures, the source that loads, the formats between them.

pub mod debezium;
pub mod format;
pub mod registry;
