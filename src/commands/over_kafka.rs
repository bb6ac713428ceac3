//! `lakeward run` of a pipeline over Kafka: capture and load in one process, as two engines.
//!
//! They know nothing of each other: each goes on from its own sink, so any crash of both is a crash of each. One
//! signal stops both; if one ends, the other is asked to, and what it has is committed. A run that has an end (one that
//! was asked for, or that of `snapshot.mode: initial_only`) captures to its end first, and then loads to the checkpoint
//! that capture left. Each has half of the memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use indicatif::MultiProgress;
use lakeward_core::clock::SystemClock;
use lakeward_core::{ByteSize, Clock, Result};
use lakeward_kafka::config::Kafka;
use tracing::info;

use super::run::{signals, stop_on_signal};
use crate::config::Pipeline;
use crate::engine::{Ended, Engine, Plan, Progress, Reason, Route, Stop, Stopper, Until, stop_signal};
use crate::telemetry::{self, Telemetry, Teller};
use crate::wiring::LoadRoute;
use crate::wiring::capture::Capture;

/// Runs both until their end, or until one of them fails.
pub(super) async fn run(
    pipeline: &Arc<Pipeline>,
    kafka: &Kafka,
    until: Until,
    terminal: Option<MultiProgress>,
) -> Result<Ended> {
    // What capture wrote with other settings could never be loaded.
    kafka.format.exact()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (stopper, stop) = stop_signal();
    let listening = tokio::spawn(stop_on_signal(stopper.clone(), signals()?));
    let interval = pipeline.checked_lake.interval;
    let pipeline =
        &Arc::new(Pipeline { memory: ByteSize(pipeline.memory.0 / 2), ..Pipeline::clone(pipeline) });
    let captured = Telemetry::new(&pipeline.name, clock.clone(), interval);
    let loaded = Telemetry::new(&pipeline.name, clock.clone(), interval);
    let whole = Telemetry::of_both(&captured, &loaded);
    let serving = match pipeline.metrics {
        Some(listen) => Some(telemetry::serve(whole.clone(), listen).await?.1),
        None => None,
    };
    // Ids and jitter only have to differ between processes.
    let seed = clock.unix_micros().cast_unsigned() ^ u64::from(std::process::id()).rotate_left(40);
    info!(pipeline = pipeline.name, version = env!("CARGO_PKG_VERSION"), "lakeward begins, over Kafka");
    let ends = pipeline.has_end(until == Until::CaughtUp);
    let load_until = if ends { Until::CaughtUp } else { until.clone() };
    let capture = Capture::new(pipeline.clone(), kafka.clone(), captured.clone(), seed);
    let capture = engine(capture, &until, kafka.commit_interval, &captured, seed, stop.clone());
    let load = LoadRoute::new(pipeline.clone(), kafka.clone(), loaded.clone(), load_until.clone());
    let load = engine(load, &load_until, interval, &loaded, seed.wrapping_add(1), stop);
    let mut teller = Teller::new(whole, terminal);
    let (capture, load) = (Box::pin(capture.run()), Box::pin(load.run()));
    let both: Pin<Box<dyn Future<Output = Result<Ended>> + Send + '_>> = match ends {
        true => Box::pin(one_after_the_other((capture, &captured.progress), (load, &loaded.progress))),
        false => Box::pin(side_by_side(capture, load, stopper)),
    };
    let ended = tokio::select! {
        ended = both => ended,
        never = teller.tell() => match never {},
    };
    teller.look();
    for task in [Some(listening), serving].into_iter().flatten() {
        task.abort();
    }
    ended
}

fn engine<R: Route>(
    route: R,
    until: &Until,
    interval: Duration,
    telemetry: &Telemetry,
    seed: u64,
    stop: Stop,
) -> Engine<R> {
    let plan = Plan::new(until.clone(), interval, seed);
    Engine::new(route, plan, telemetry.clock.clone(), telemetry.progress.clone(), stop)
}

/// Capture to its end, then load to what it left.
async fn one_after_the_other(
    (capture, capturing): (impl Future<Output = Result<Ended>>, &Progress),
    (load, loading): (impl Future<Output = Result<Ended>>, &Progress),
) -> Result<Ended> {
    loading.at_rest.set(1);
    let captured = capture.await?;
    capturing.at_rest.set(1);
    loading.at_rest.set(0);
    match captured.reason {
        Reason::CaughtUp => load.await,
        Reason::Stopped | Reason::Abandoned => Ok(Ended { reason: captured.reason, committed: None }),
    }
}

/// The end of both: that of the lake, unless capture failed or left something behind.
async fn side_by_side(
    mut capture: impl Future<Output = Result<Ended>> + Unpin,
    mut load: impl Future<Output = Result<Ended>> + Unpin,
    stopper: Stopper,
) -> Result<Ended> {
    let (captured, loaded) = tokio::select! {
        captured = &mut capture => {
            stopper.stop();
            (captured, load.await)
        }
        loaded = &mut load => {
            stopper.stop();
            (capture.await, loaded)
        }
    };
    let (captured, loaded) = (captured?, loaded?);
    let reason = if captured.reason == Reason::Abandoned { Reason::Abandoned } else { loaded.reason };
    Ok(Ended { reason, ..loaded })
}
