//! `lakeward load`: the engine from Kafka to the lake, as one of any number of workers.

use std::sync::Arc;

use clap::Args;
use lakeward_core::{Error, ErrorKind, Result};

use super::run::{follow, told};
use crate::cli::{Outcome, Which, runtime};
use crate::config;
use crate::engine::Until;
use crate::telemetry;
use crate::wiring::{ForeignRoute, LoadRoute};

/// Load what `lakeward capture` wrote to Kafka into the lake.
///
/// Start as many as you like, anywhere: they share the topic partitions, and whoever is left goes on when
/// one dies. Each goes on from the last commit in the lake, whatever Kafka's group offsets say. SIGTERM or
/// SIGINT commits what was read and ends within seconds; a second one ends at once. Neither loses or doubles
/// anything, and nor does SIGKILL.
///
/// Topics that Debezium writes (`transport.kafka.written_by: debezium`) are loaded by one process; a second one
/// takes over from it.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  lakeward load --config shop.yaml\n  lakeward load --until-caught-up   # \
                        what is captured by now; ends with 6 when something is stopped"
)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    which: Which,
    /// End, committed, at the last checkpoint that capture has now, in this worker's share of the topic
    /// partitions; of Debezium's topics at the ends that they have now.
    #[arg(long)]
    until_caught_up: bool,
    /// Print an error that ends the run as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn load(args: &LoadArgs) -> Result<Outcome> {
    let pipeline = Arc::new(config::load(&args.which.config)?);
    let Some(kafka) = pipeline.kafka.clone() else {
        return Err(Error::new(ErrorKind::Config, "the pipeline has no Kafka cluster to load from")
            .at("key", "transport")
            .remedy("write `transport: { kafka: { brokers: \"host:9092\" } }`, or use `lakeward run`"));
    };
    let terminal = telemetry::log::begin(pipeline.log);
    let until = if args.until_caught_up { Until::CaughtUp } else { Until::Forever };
    let (interval, runtime) = (pipeline.checked_lake.interval, runtime()?);
    let intervals = (interval, interval);
    let ended = if pipeline.foreign().is_some() {
        let route = |telemetry, _| ForeignRoute::new(pipeline.clone(), kafka, telemetry);
        runtime.block_on(follow(&pipeline, until, intervals, terminal, route))
    } else {
        let route = |telemetry, _| LoadRoute::new(pipeline.clone(), kafka, telemetry, until.clone());
        runtime.block_on(follow(&pipeline, until.clone(), intervals, terminal, route))
    };
    // A read that hangs in a library must not hold the process: what counts is committed.
    runtime.shutdown_background();
    ended.map(|ended| told(&ended, args.until_caught_up))
}
