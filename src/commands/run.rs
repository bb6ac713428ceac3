//! `lakeward run`: the engine over the configured connectors, until it ends or is told to stop.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::MultiProgress;
use lakeward_core::clock::SystemClock;
use lakeward_core::{Clock, Error, ErrorKind, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::over_kafka;
use crate::cli::{Outcome, Which, runtime};
use crate::config::{self, Pipeline};
use crate::engine::{Ended, Engine, Plan, Reason, Route, Stopper, Until, stop_signal};
use crate::telemetry::{self, Telemetry, Teller};
use crate::wiring::Connectors;

/// Follow the server's binlog and keep the lake complete.
///
/// Over Kafka, where `transport` says so: this is `capture` and `load` in one process. Goes on from the last commit in the lake. A new pipeline reads the rows that are there while it
/// follows their changes (`snapshot.mode`), or begins at `start`. SIGTERM or SIGINT commits what was
/// read and ends within seconds; a second one ends at once. Neither loses or doubles anything, and nor
/// does SIGKILL.
#[derive(Args)]
#[command(after_help = "Examples:\n  lakeward run --config shop.yaml\n  lakeward run --until-caught-up   # \
                        for cron: ends with 6 when tables are stopped or paused,\n                                   \
                        # with 7 when it is asked to stop before")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// End, committed, at the position that the server has now, with all snapshots at their end.
    #[arg(long)]
    until_caught_up: bool,
    /// Print an error that ends the run as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &RunArgs) -> Result<Outcome> {
    let pipeline = Arc::new(config::load(&args.which.config)?);
    pipeline.refuse_foreign("run")?;
    let terminal = telemetry::log::begin(pipeline.log);
    let until = if args.until_caught_up { Until::CaughtUp } else { Until::Forever };
    let runtime = runtime()?;
    let interval = pipeline.checked_lake.interval;
    let ended = match &pipeline.kafka {
        Some(kafka) => runtime.block_on(over_kafka::run(&pipeline, kafka, until, terminal)),
        None => {
            let route = |telemetry, seed| Connectors::new(pipeline.clone(), telemetry, seed);
            runtime.block_on(follow(&pipeline, until, (interval, interval), terminal, route))
        }
    };
    // A read that hangs in a library must not hold the process: what counts is committed.
    runtime.shutdown_background();
    ended.map(|ended| told(&ended, pipeline.has_end(args.until_caught_up)))
}

/// Runs the engine over `route`; of the intervals one is between commits, the other one is the measure of health.
pub(super) async fn follow<R: Route>(
    pipeline: &Pipeline,
    until: Until,
    (interval, health): (Duration, Duration),
    terminal: Option<MultiProgress>,
    route: impl FnOnce(Telemetry, u64) -> R,
) -> Result<Ended> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (stopper, stop) = stop_signal();
    let listening = tokio::spawn(stop_on_signal(stopper, signals()?));
    let telemetry = Telemetry::new(&pipeline.name, clock.clone(), health);
    let serving = match pipeline.metrics {
        Some(listen) => Some(telemetry::serve(telemetry.clone(), listen).await?.1),
        None => None,
    };
    // Ids and jitter only have to differ between processes.
    let seed = clock.unix_micros().cast_unsigned() ^ u64::from(std::process::id()).rotate_left(40);
    info!(pipeline = pipeline.name, version = env!("CARGO_PKG_VERSION"), "lakeward begins");
    let route = route(telemetry.clone(), seed);
    let plan = Plan::new(until, interval, seed);
    let engine = Engine::new(route, plan, clock, telemetry.progress.clone(), stop);
    let mut teller = Teller::new(telemetry, terminal);
    let ended = tokio::select! {
        ended = Box::pin(engine.run()) => ended,
        never = teller.tell() => match never {},
    };
    teller.look();
    for task in [Some(listening), serving].into_iter().flatten() {
        task.abort();
    }
    ended
}

pub(super) fn signals() -> Result<[Signal; 2]> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::new(ErrorKind::Io, "signals cannot be heard").caused_by(error))
    };
    Ok([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?])
}

/// The first signal asks the run to stop, the second one ends the process: as safe as SIGKILL.
pub(super) async fn stop_on_signal(stopper: Stopper, [mut terminate, mut interrupt]: [Signal; 2]) {
    let mut heard = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    heard().await;
    info!("asked to stop; committing what was read");
    stopper.stop();
    heard().await;
    warn!("asked again; leaving at once, the next start finishes what is open");
    std::process::exit(130);
}

/// Tells how a run ended; `has_end`: it was to end by itself.
pub(super) fn told(ended: &Ended, has_end: bool) -> Outcome {
    let unless_asked = |caught_up: Outcome| match ended.reason {
        Reason::CaughtUp => caught_up,
        Reason::Stopped | Reason::Abandoned if has_end => Outcome::Unfinished,
        Reason::Stopped | Reason::Abandoned => Outcome::Done,
    };
    let position = ended.committed.as_ref().map(|committed| committed.position.to_string());
    let position = position.as_deref().unwrap_or("none");
    match ended.reason {
        Reason::Stopped => info!(position, "stopped; everything read is committed"),
        Reason::Abandoned => warn!(position, "stopped without a commit; the next start reads on from here"),
        Reason::CaughtUp => info!(position, "at the end that was asked for; everything is committed"),
    }
    let stopped: Vec<String> = ended.stopped_tables().iter().map(ToString::to_string).collect();
    let standing = ended.stopped_topic_partitions();
    let paused: Vec<String> = ended.paused_tables().iter().map(ToString::to_string).collect();
    if stopped.is_empty() && paused.is_empty() && standing.is_empty() {
        return unless_asked(Outcome::Done);
    }
    if !standing.is_empty() {
        let names = standing.join(", ");
        warn!(
            topic_partitions = names,
            "topic partitions are stopped; `lakeward status` says why, and how to mend it"
        );
    }
    if !stopped.is_empty() {
        warn!(
            tables = stopped.join(", "),
            "tables are stopped; `lakeward status` says why, and how to mend it"
        );
    }
    if !paused.is_empty() {
        warn!(
            tables = paused.join(", "),
            "the reading of tables is paused; `lakeward snapshot <table> --continue` goes on with it"
        );
    }
    unless_asked(Outcome::TablesStopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_stopped_before_its_own_end_does_not_say_that_it_is_done() {
        let outcome = |reason, has_end| told(&Ended { reason, committed: None }, has_end);
        assert_eq!(outcome(Reason::CaughtUp, true), Outcome::Done);
        assert_eq!(outcome(Reason::Stopped, false), Outcome::Done);
        assert_eq!(outcome(Reason::Stopped, true), Outcome::Unfinished);
        assert_eq!(outcome(Reason::Abandoned, true), Outcome::Unfinished);
    }
}
