//! A child process that never outlives us.
//!
//! Dropping a [`Child`] kills its process. Should our process end without dropping it (killed, or
//! the value is in a static), the kernel kills it: `setpriv --pdeathsig` asks for that. The kernel
//! means the *thread* that started the child, so all are started by one thread that never ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use crate::wait_until;

type Request = (Command, Sender<io::Result<std::process::Child>>);

static STARTER: LazyLock<Mutex<Sender<Request>>> = LazyLock::new(|| {
    let (sender, requests) = channel::<Request>();
    thread::spawn(move || {
        for (mut command, answer) in requests {
            answer.send(command.spawn()).ok();
        }
    });
    Mutex::new(sender)
});

/// A running child process.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    status: Option<ExitStatus>,
}

/// A signal that tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends a process at once.
    Kill,
    /// Asks it to end.
    Term,
    /// Pauses it.
    Stop,
    /// Wakes it up.
    Cont,
}

impl Child {
    /// Starts `command` with its arguments, environment and folder. What it prints goes to the
    /// files `<name>.out` and `<name>.err` in `output`.
    pub fn start(name: &str, command: &Command, output: &Path) -> Child {
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(key, value),
                None => tied.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            tied.current_dir(directory);
        }
        let file = |ending: &str| {
            let path = output.join(format!("{name}.{ending}"));
            File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        tied.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        let (sender, answer) = channel();
        let starter = STARTER.lock().expect("the starter's lock").clone();
        starter.send((tied, sender)).expect("the starter never ends");
        let process = answer.recv().expect("the starter answers");
        let process = process.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Child { name: name.to_owned(), process, status: None }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal; nothing if the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_some() {
            return;
        }
        let name = match signal {
            Signal::Kill => "KILL",
            Signal::Term => "TERM",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
        };
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIG{name} to {}", self.name);
    }

    /// A file of the kernel's that tells of it; empty once it has ended.
    pub(crate) fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap_or_default()
    }

    /// Greatest resident set so far, MiB; `None` once it has ended.
    pub fn peak_mib(&self) -> Option<f64> {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    }

    /// CPU time so far, of the user and the system; `None` once it has ended.
    pub fn cpu(&self) -> Option<Duration> {
        let stat = self.proc("stat");
        // After the name, which may hold blanks: fields 14 and 15 of proc(5), in hundredths of a second.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = fields.get(11..13)?.iter().map(|field| field.parse::<u64>());
        Some(Duration::from_millis(ticks.sum::<Result<u64, _>>().ok()? * 10))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.process.try_wait().expect("a child can be waited for");
        }
        self.status
    }

    /// Waits for its end; fails after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_until(&what, limit, || self.ended())
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.process.kill().ok();
            self.status = self.process.wait().ok();
        }
    }

    /// Whether it ended by SIGKILL.
    pub fn was_killed(&mut self) -> bool {
        self.ended().is_some_and(|status| status.signal() == Some(9))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
