//! `lakeward load`: from Kafka to the lake, as one of any number of workers.

use std::sync::Arc;

use clap::Args;
use indicatif::MultiProgress;
use lakeward_core::clock::SystemClock;
use lakeward_core::{Clock, Error, ErrorKind, Result};
use lakeward_kafka::config::Kafka;
use tracing::info;

use super::run::{signals, stop_on_signal, told};
use crate::cli::{Outcome, Which, runtime};
use crate::config::{self, Pipeline};
use crate::engine::{Ended, Engine, Plan, Stop, Until, stop_signal};
use crate::telemetry::{self, Telemetry, Teller};
use crate::wiring::LoadRoute;

/// Load what `lakeward capture` wrote to Kafka into the lake.
///
/// Start as many as you like, anywhere: they share the topic partitions, and whoever is left goes on when one dies.
/// Each goes on from the last commit in the lake, whatever Kafka's group offsets say. SIGTERM or SIGINT commits what was
/// read and ends within seconds; a second one ends at once. Neither loses or doubles anything, and nor does SIGKILL.
#[derive(Args)]
#[command(after_help = "Examples:\n  lakeward load --config shop.yaml\n  lakeward load --until-caught-up   # \
                        what is captured by now; ends with 6 when something is stopped")]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    which: Which,
    /// End, committed, at the last checkpoint that capture has now, in this worker's share of the topic partitions.
    #[arg(long)]
    until_caught_up: bool,
    /// Print an error that ends the run as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn load(args: &LoadArgs) -> Result<Outcome> {
    let pipeline = Arc::new(config::load(&args.which.config)?);
    let Some(kafka) = pipeline.kafka.clone() else {
        return Err(Error::new(ErrorKind::Config, "the pipeline does not go over Kafka: there is nothing to load from")
            .at("key", "transport")
            .remedy("write `transport: { kafka: { brokers: \"host:9092\" } }`, or use `lakeward run`"));
    };
    let terminal = telemetry::log::begin(pipeline.log);
    let until = if args.until_caught_up { Until::CaughtUp } else { Until::Forever };
    let runtime = runtime()?;
    let ended = runtime.block_on(follow(&pipeline, kafka, until, terminal));
    // A read that hangs in a library must not hold the process: what counts is committed.
    runtime.shutdown_background();
    ended.map(|ended| told(&ended))
}

async fn follow(
    pipeline: &Arc<Pipeline>,
    kafka: Kafka,
    until: Until,
    terminal: Option<MultiProgress>,
) -> Result<Ended> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (stopper, stop) = stop_signal();
    let listening = tokio::spawn(stop_on_signal(stopper, signals()?));
    let telemetry = Telemetry::new(&pipeline.name, clock, pipeline.checked_lake.interval);
    let serving = match pipeline.metrics {
        Some(listen) => Some(telemetry::serve(telemetry.clone(), listen).await?.1),
        None => None,
    };
    info!(pipeline = pipeline.name, version = env!("CARGO_PKG_VERSION"), "lakeward load begins");
    let mut teller = Teller::new(telemetry.clone(), terminal);
    let ended = tokio::select! {
        ended = Box::pin(to_lake(pipeline, kafka, until, &telemetry, stop)) => ended,
        never = teller.tell() => match never {},
    };
    for task in [Some(listening), serving].into_iter().flatten() {
        task.abort();
    }
    ended
}

/// Runs the engine from Kafka to the lake.
pub(super) async fn to_lake(
    pipeline: &Arc<Pipeline>,
    kafka: Kafka,
    until: Until,
    telemetry: &Telemetry,
    stop: Stop,
) -> Result<Ended> {
    let clock = telemetry.clock.clone();
    // Jitter only has to differ between processes.
    let seed = clock.unix_micros().cast_unsigned() ^ u64::from(std::process::id()).rotate_left(40);
    let route = LoadRoute::new(pipeline.clone(), kafka, telemetry.clone(), until.clone());
    let plan = Plan::new(until, pipeline.checked_lake.interval, seed);
    Engine::new(route, plan, clock, telemetry.progress.clone(), stop).run().await
}
