//! Waiting for something to become true, never for a time to pass.

use std::thread;
use std::time::{Duration, Instant};

/// How long a step may take on a slow machine that does much else: what takes longer hangs.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Asks `condition` until it answers `Some`; fails, naming `what`, after `limit`.
pub fn wait_until<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    wait(what, limit, Duration::from_millis(20), condition)
}

/// The same for what costs much to ask: not so often that the asking keeps the machine busy.
pub fn wait_patiently<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    wait(what, limit, Duration::from_millis(250), condition)
}

fn wait<T>(what: &str, limit: Duration, pause: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for {what}");
        thread::sleep(pause);
    }
}
