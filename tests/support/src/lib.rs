//! Starts the real servers that the tests, the demo and the benchmark need, breaks the wires between
//! them, and reads lakes with independent readers. Development only.
//!
//! Everything here panics when it cannot do its work: a test without its server has failed. Nothing
//! outlives the process that started it (`child`), and no file stays behind (`scratch`).
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "development only: what cannot be set up fails the test that asked for it; its settings are environment variables"
)]

mod child;
mod install;
pub mod mysql;
pub mod s3;
mod scratch;
mod wait;

pub use child::Child;
pub use scratch::Scratch;
pub use wait::wait_until;
