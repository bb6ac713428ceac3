//! `debezium-json`.

pub(crate) mod cursor;
pub(crate) mod read;
pub(crate) mod schema;
pub(crate) mod table;
pub(crate) mod write;
