//! The Kafka source over a real broker: what was captured is read back exactly once, or it is told why not.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod broken;
mod exactly;
mod workers;
mod world;
mod writer;
