//! The MySQL source: the binlog stream, row images to Arrow, schema versions, preflight.

pub mod binlog;
pub mod catalog;
pub mod config;
pub mod connection;
pub mod ddl;
pub mod grants;
pub mod preflight;
pub mod rows;
pub mod schema;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod source;
mod version;

pub use config::{CommitTime, MysqlConfig, TlsConfig, TlsMode};
pub use connection::{Purpose, connect};
pub use server::{ServerFacts, Version};
pub use source::{FAILPOINTS, MysqlOptions, MysqlSource, OnError, OnTruncate, Start, Until};
