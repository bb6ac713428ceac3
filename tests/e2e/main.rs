//! End to end: the real `lakeward` binary between a real MySQL server and a lake on a folder or a real
//! S3 server, read back by DuckDB and pyarrow. One binary, one module per promise.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bad_input;
mod bounded;
mod capture;
mod careless_store;
mod crash;
mod ddl_sequences;
mod equality;
mod expected;
mod faults;
mod lake;
mod load;
mod metrics;
mod online_schema_change;
mod position;
mod secrets;
mod snapshot;
mod statements;
mod status;
mod stopped_tables;
mod tablespace;
mod tls;
mod traffic;
mod truncate;
mod two_writers;
mod types;
mod versions;
mod whole;
mod world;
