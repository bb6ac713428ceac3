//! Named places around each durable step where a test can kill, stop or fail the process.
//!
//! Compiled out unless the feature `failpoints` is on. `LAKEWARD_FAILPOINTS` then holds
//! `name=action[@n][;…]`: at the n-th time (default the first) that `name` is reached, do `action`:
//! `kill` (SIGKILL to itself), `stop` (SIGSTOP to itself, until somebody sends SIGCONT), `error`
//! (the step fails with a transient error), `exit` (SIGABRT, where a core-like end is wanted).

/// Reaches the failpoint `name`. An `Err` must be treated like a failure of the step beside it.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &'static str) -> crate::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub use armed::hit;

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex};

    use rustix::process::{Signal, getpid, kill_process};

    use crate::{Error, ErrorKind, Result};

    struct Armed {
        action: String,
        at: u64,
        seen: u64,
    }

    #[expect(clippy::disallowed_methods, reason = "armed by tests only, and compiled out otherwise")]
    static ARMED: LazyLock<Mutex<HashMap<String, Armed>>> = LazyLock::new(|| {
        let spec = std::env::var("LAKEWARD_FAILPOINTS").unwrap_or_default();
        Mutex::new(spec.split(';').filter(|part| !part.is_empty()).filter_map(parse).collect())
    });

    fn parse(part: &str) -> Option<(String, Armed)> {
        let (name, action) = part.split_once('=')?;
        let (action, at) = match action.split_once('@') {
            Some((action, at)) => (action, at.parse().ok()?),
            None => (action, 1),
        };
        Some((name.trim().to_owned(), Armed { action: action.to_owned(), at, seen: 0 }))
    }

    /// Reaches the failpoint `name`. An `Err` must be treated like a failure of the step beside it.
    pub fn hit(name: &'static str) -> Result<()> {
        let Ok(mut armed) = ARMED.lock() else { return Ok(()) };
        let Some(point) = armed.get_mut(name) else { return Ok(()) };
        point.seen += 1;
        if point.seen != point.at {
            return Ok(());
        }
        let action = point.action.clone();
        drop(armed);
        match action.as_str() {
            "kill" => signal(Signal::KILL),
            "stop" => {
                signal(Signal::STOP);
                settle();
            }
            "exit" => std::process::abort(),
            _ => return Err(Error::new(ErrorKind::LakeUnreachable, format!("failpoint {name}"))),
        }
        Ok(())
    }

    /// The signal is the process's, and may reach another thread first: this one goes no further while it is
    /// pending (`ShdPnd` in `/proc/self/status`, proc(5)), and then for as long as it takes to be stopped with the others.
    fn settle() {
        const STOP: u64 = 1 << (Signal::STOP.as_raw() - 1);
        let pause = || std::thread::sleep(std::time::Duration::from_millis(5));
        while pending().is_some_and(|signals| signals & STOP != 0) {
            pause();
        }
        pause();
    }

    /// Signals that the process was sent and no thread has taken.
    fn pending() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    }

    fn signal(signal: Signal) {
        // A signal to oneself cannot fail; if it did, the test that asked for it would notice.
        let _sent = kill_process(getpid(), signal);
    }
}
