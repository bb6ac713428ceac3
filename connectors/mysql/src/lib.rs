//! The MySQL source: the binlog stream, row images to Arrow, schema versions, preflight.

pub mod catalog;
pub mod config;
pub mod connection;
pub mod ddl;
pub mod grants;
pub mod preflight;
pub mod rows;
pub mod server;
pub mod session;
mod version;

pub use config::{CommitTime, MysqlConfig, TlsConfig, TlsMode};
pub use connection::{Purpose, connect};
pub use server::{ServerFacts, Version};
