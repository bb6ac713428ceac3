//! Starts the real servers that the tests, the demo and the benchmark need, breaks the wires between
//! them, runs lakeward, and watches its lake. Development only.
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
pub mod debezium;
pub mod debezium_to_kafka;
pub mod http_faults;
mod install;
pub mod kafka;
mod lakeward;
mod lister;
mod measure;
pub mod mysql;
mod pipeline;
mod python;
pub mod registry;
mod replica;
pub mod s3;
mod scratch;
mod seed;
pub mod tcp_proxy;
mod wait;

pub use child::{Child, Signal};
pub use install::{free_port, installed};
pub use lakeward::Lakeward;
pub use lister::Lister;
pub use measure::{Measured, measure};
pub use pipeline::{Pipeline, Place};
pub use python::{python, python_program};
pub use scratch::Scratch;
pub use seed::{Random, seed};
pub use wait::{LIMIT, wait_patiently, wait_until};
