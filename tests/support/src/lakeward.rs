//! A running `lakeward`.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::child::{Child, Signal};
use crate::{Scratch, wait_until};

/// A running `lakeward` and all it has printed; killed when dropped.
#[derive(Debug)]
pub struct Lakeward {
    child: Child,
    output: Scratch,
}

impl Lakeward {
    /// The binary: `LAKEWARD_BIN`, or the one that was built together with the running test.
    pub fn binary() -> PathBuf {
        let binary = env::var("LAKEWARD_BIN").map_or_else(
            |_| {
                let test = env::current_exe().expect("a process knows its executable");
                let build = test.ancestors().nth(2).expect("cargo puts tests into folders").to_owned();
                build.join("lakeward")
            },
            PathBuf::from,
        );
        assert!(binary.exists(), "{} is not there: run `cargo build --release`", binary.display());
        binary
    }

    /// Starts a command that was made with [`Lakeward::binary`].
    pub fn start(command: &Command) -> Lakeward {
        let output = Scratch::new("lakeward");
        Lakeward { child: Child::start("lakeward", command, output.path()), output }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Sends a signal; nothing if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.ended()
    }

    /// Whether SIGKILL ended it, ours or that of a failpoint.
    pub fn was_killed(&mut self) -> bool {
        self.child.was_killed()
    }

    /// Waits for its end; fails, with its output, after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            let waited = started.elapsed();
            assert!(
                waited < limit,
                "lakeward does not end within {limit:?}; it printed:\n{}",
                self.printed()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end and fails unless it succeeds.
    pub fn succeed(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(status.success(), "lakeward ended with {status}:\n{}", self.printed());
    }

    /// Waits until its output holds `text`; fails if it ends before.
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        wait_until(&format!("lakeward to print {text:?}"), limit, || {
            let ended = self.ended();
            let printed = self.printed();
            let found = printed.contains(text);
            assert!(found || ended.is_none(), "lakeward ended ({ended:?}) without {text:?}:\n{printed}");
            found.then_some(())
        });
    }

    /// What it has written to its standard output.
    pub fn stdout(&self) -> String {
        self.read("lakeward.out")
    }

    /// What it has written to its standard error: its log.
    pub fn stderr(&self) -> String {
        self.read("lakeward.err")
    }

    /// Both.
    pub fn printed(&self) -> String {
        format!("{}{}", self.stdout(), self.stderr())
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.output.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its command line, as every user of the machine sees it.
    pub fn command_line(&self) -> String {
        self.proc("cmdline").replace('\0', " ")
    }

    /// Whether SIGSTOP holds it, ours or that of a failpoint.
    pub fn is_stopped(&self) -> bool {
        self.proc("status").lines().any(|line| line.starts_with("State:") && line.contains('T'))
    }

    /// Greatest resident set so far, MiB; `None` once it has ended.
    pub fn peak_mib(&self) -> Option<f64> {
        self.child.peak_mib()
    }

    fn proc(&self, file: &str) -> String {
        self.child.proc(file)
    }
}
