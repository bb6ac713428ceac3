//! Lake sink: time-partitioned Parquet on S3 or in a local folder, committed exactly once.

pub mod columns;
pub mod commit;
pub mod config;
pub mod files;
pub mod keys;
pub mod layout;
pub mod objects;
pub mod preflight;
pub mod requests;
pub mod sink;
pub mod status;
