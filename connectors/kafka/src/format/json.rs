//! `debezium-json`.

pub(crate) mod cursor;
pub(crate) mod read;
pub(crate) mod schema;
pub(crate) mod table;
mod text;
pub(crate) mod write;
