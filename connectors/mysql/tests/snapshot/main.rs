//! Snapshots against a real MySQL 9.7, while it is written to.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod guarded;
mod keys;
mod lake;
mod locked;
mod locks;
mod moves;
mod replica;
mod requests;
mod resume;
mod rewritten;
mod structure;
mod truncate;
mod types;
mod vanished;
mod wide;
