//! The binlog: from bytes to transactions, tables and rows events.
//!
//! `event` frames and checks, `stream` fetches, `payload` unrolls compressed transactions,
//! `transaction` says what an event means where it stands, `table_map` says what a table looks like.
//! Nothing here knows Arrow, and only `stream` knows the client library.

pub mod cursor;
pub mod event;
mod fuzz;
pub mod gtid_event;
pub mod payload;
pub mod query;
pub mod stream;
pub mod table_map;
pub mod transaction;

pub use fuzz::fuzz;

#[cfg(test)]
pub(crate) mod sample;
