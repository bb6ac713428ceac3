//! Log lines on standard error: for people on a terminal, else one JSON object per line.
//!
//! `level` speaks for lakeward's own parts; libraries are heard from `warn` on. On a terminal lines
//! are written above the progress bars.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// The names of all our crates begin so, and a filter takes the beginning of a name.
const OURS: &str = "lakeward";

/// Begins to log; once per process, later calls change nothing. Returns where bars may be drawn, if
/// a person is watching.
pub fn begin(config: LogConfig) -> Option<MultiProgress> {
    let level = match config.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let others = if config.level == LogLevel::Error { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},{OURS}={level}"));
    let terminal = io::stderr().is_terminal();
    let human = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let bars = (terminal && human).then(MultiProgress::new);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Above(bars.clone()));
    // An error means that a log was begun already.
    let _begun = match human {
        true => lines.with_target(false).with_ansi(terminal).try_init(),
        false => lines.json().flatten_event(true).try_init(),
    };
    bars
}

/// Standard error, above the bars where there are any.
struct Above(Option<MultiProgress>);

impl<'a> MakeWriter<'a> for Above {
    type Writer = &'a Above;

    fn make_writer(&'a self) -> &'a Above {
        self
    }
}

impl Write for &Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write(bytes);
        match &self.0 {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
