//! The Kafka source over a real broker: what was captured is read back exactly once, or it is told why not.

mod broken;
mod exactly;
mod workers;
mod world;
mod writer;
