//! Row images against a real server: what is decoded is what SELECT shows.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot do its work has failed")]

mod binlog_file;
mod cdc_differential;
mod charset;
mod decode;
mod differential;
mod fuzz;
mod json;
mod values;
