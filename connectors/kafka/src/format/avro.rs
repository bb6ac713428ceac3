//! `avro`: the Confluent wire format.

pub(crate) mod cursor;
pub(crate) mod plan;
pub(crate) mod read;
pub(crate) mod schema;
pub(crate) mod table;
pub(crate) mod types;
pub(crate) mod write;
