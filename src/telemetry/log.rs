//! Log lines on standard error: for people on a terminal, else one JSON object per line.
//!
//! `level` speaks for lakeward's own parts; libraries are heard from `warn` on.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat, LogLevel};

const PARTS: &[&str] = &["lakeward", "lakeward_core", "lakeward_mysql", "lakeward_lake"];

/// Begins to log; once per process, later calls change nothing.
pub fn begin(config: LogConfig) {
    let level = match config.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let parts: Vec<String> = PARTS.iter().map(|part| format!("{part}={level}")).collect();
    let others = if config.level == LogLevel::Error { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},{}", parts.join(",")));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let human = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    // An error means that a log was begun already.
    let _begun = match human {
        true => lines.with_target(false).with_ansi(terminal).try_init(),
        false => lines.json().flatten_event(true).try_init(),
    };
}
