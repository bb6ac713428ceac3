//! `lakeward capture`: the engine from the binlog to Kafka, until it ends or is told to stop.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lakeward_core::{Error, ErrorKind, Result};

use super::run::{follow, told};
use crate::cli::{Outcome, Which, runtime};
use crate::config;
use crate::engine::Until;
use crate::telemetry;
use crate::wiring::capture::Capture;

/// Follow the server's binlog and write every change to Kafka.
///
/// Change events and the checkpoint that covers them are one Kafka transaction: a reader of committed
/// records sees each change once, whatever is killed. Goes on from the last checkpoint in the topics.
/// SIGTERM or SIGINT commits what was read and ends within seconds; a second one ends at once.
#[derive(Args)]
#[command(after_help = "Examples:\n  lakeward capture --config shop.yaml\n  lakeward capture \
                        --until-caught-up   # ends with 6 when tables are stopped or paused")]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    which: Which,
    /// End, committed, at the position that the server has now, with all snapshots at their end.
    #[arg(long)]
    until_caught_up: bool,
    /// Print an error that ends the run as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Shortest interval by which health is measured: commits come much faster.
const HEALTH: Duration = Duration::from_secs(1);

pub(crate) fn capture(args: &CaptureArgs) -> Result<Outcome> {
    let pipeline = Arc::new(config::load(&args.which.config)?);
    pipeline.refuse_foreign("capture")?;
    let Some(kafka) = pipeline.kafka.clone() else {
        return Err(Error::new(ErrorKind::Config, "the pipeline has no Kafka cluster to write to")
            .at("key", "transport")
            .remedy("write `transport: { kafka: { brokers: \"host:9092\" } }`, or use `lakeward run`"));
    };
    let terminal = telemetry::log::begin(pipeline.log);
    let until = if args.until_caught_up { Until::CaughtUp } else { Until::Forever };
    let (interval, runtime) = (kafka.commit_interval, runtime()?);
    let route = |telemetry, seed| Capture::new(pipeline.clone(), kafka, telemetry, seed);
    let ended = runtime.block_on(follow(&pipeline, until, (interval, interval.max(HEALTH)), terminal, route));
    // A call that hangs in a library must not hold the process: what counts is committed.
    runtime.shutdown_background();
    ended.map(|ended| told(&ended, pipeline.has_end(args.until_caught_up)))
}
