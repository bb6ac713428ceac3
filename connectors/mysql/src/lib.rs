//! MySQL source: binlog stream, row images to Arrow, schema versions, preflight.

pub mod rows;
