//! The command line: what can be asked, how answers and errors look, and the exit codes.
//!
//! Answers go to standard output, errors and log lines to standard error. With `--json` both are
//! JSON, for programs. The exit codes are [`exit_codes`], the same table as in the README.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lakeward_core::{Error, ErrorKind, Result, Scope};
use serde_json::{Value, json};

use crate::commands::{capture, check, config, init, load, position, request, run, status};

const EXAMPLES: &str = "\
Examples:
  lakeward init --host db.example.com --user lakeward --lake file:///var/lib/lake
  lakeward check                  # what is wrong, and the statement that mends it
  lakeward run                    # follow the server until stopped
  lakeward run --until-caught-up  # read what there is now, commit it, end
  lakeward status --json
  lakeward snapshot shop.orders   # read one table's rows anew while the rest goes on
  lakeward resume shop.orders     # bring back a table that stopped

Exit codes: 0 done, 2 config, 3 check found errors, 6 caught up with stopped or paused tables; the README has all.";

/// Every change of a MySQL server in a data lake, exactly once.
#[derive(Parser)]
#[command(name = "lakeward", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a config file for a server that is running.
    Init(init::InitArgs),
    /// Look at config, server, grants and lake, and say what has to be mended, and how.
    #[command(
        after_help = "Examples:\n  lakeward check\n  lakeward check --json | jq '.findings[] | select(.level == \"error\")'"
    )]
    Check(Report),
    /// Follow the server's binlog and keep the lake complete.
    Run(run::RunArgs),
    /// Load what was captured to Kafka into the lake.
    Load(load::LoadArgs),
    /// Follow the server's binlog and write every change to Kafka.
    Capture(capture::CaptureArgs),
    /// Show how far the lake is, and which tables are stopped. Reads only.
    #[command(after_help = "Examples:\n  lakeward status\n  lakeward status --json | jq '.tables.stopped'")]
    Status(Report),
    /// Read a table's rows anew, or steer a reading that is under way.
    Snapshot(request::SnapshotArgs),
    /// Bring back a stopped table.
    Resume(request::ResumeArgs),
    /// The position a pipeline goes on from.
    #[command(subcommand)]
    Position(PositionCommand),
    /// The config file.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum PositionCommand {
    /// Print the position of the last commit: file:offset and the GTID set.
    #[command(after_help = "Example:\n  lakeward position show --config shop.yaml --json")]
    Show(Report),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the config file, for editors.
    #[command(
        after_help = "Example:\n  lakeward config schema > config.schema.json\n  # then, first line of \
                            lakeward.yaml:  # yaml-language-server: $schema=config.schema.json"
    )]
    Schema,
}

/// Which pipeline.
#[derive(Args)]
pub(crate) struct Which {
    /// The pipeline's config file.
    #[arg(long, value_name = "FILE", default_value = "lakeward.yaml")]
    pub(crate) config: PathBuf,
}

/// A report about a pipeline.
#[derive(Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Print JSON, errors too.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a command ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is done.
    Done,
    /// `check` found errors.
    CheckFailed,
    /// The pipeline refused a request.
    Refused,
    /// The pipeline did not answer a request yet.
    Unanswered,
    /// Caught up, but tables are stopped, or the reading of their rows is paused.
    TablesStopped,
    /// Asked to stop before the end that was asked for.
    Unfinished,
}

impl Outcome {
    fn exit_code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::CheckFailed => 3,
            Outcome::Refused => 4,
            Outcome::Unanswered => 5,
            Outcome::TablesStopped => 6,
            Outcome::Unfinished => 7,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Outcome::Done => "Done.",
            Outcome::CheckFailed => "`check` found errors.",
            Outcome::Refused => "The pipeline refused the request; nothing was changed.",
            Outcome::Unanswered => {
                "The pipeline did not answer yet; the request stands and is taken when it runs."
            }
            Outcome::TablesStopped => {
                "Caught up and committed, but tables are stopped, or paused before all their rows were read."
            }
            Outcome::Unfinished => "Asked to stop before the end that was asked for; the next start goes on.",
        }
    }
}

/// Every exit code and what it means, as the README shows them.
pub fn exit_codes() -> Vec<(u8, Vec<&'static str>)> {
    let outcomes = [
        Outcome::Done,
        Outcome::CheckFailed,
        Outcome::Refused,
        Outcome::Unanswered,
        Outcome::TablesStopped,
        Outcome::Unfinished,
    ];
    let ended = outcomes.iter().map(|outcome| (outcome.exit_code(), outcome.sentence()));
    let failed = ErrorKind::ALL.iter().map(|kind| (kind.exit_code(), kind.sentence()));
    let mut codes = std::collections::BTreeMap::<u8, Vec<&str>>::new();
    for (code, sentence) in ended.chain(failed) {
        codes.entry(code).or_default().push(sentence);
    }
    codes.into_iter().collect()
}

/// Parses the command line, does what it asks, and tells the exit code.
pub fn main() -> ExitCode {
    // Usage errors and --help end here, by clap, with 2 and 0.
    let command = Cli::parse().command;
    let json = match &command {
        Command::Init(_) | Command::Config(_) => false,
        Command::Run(run) => run.json,
        Command::Load(load) => load.json,
        Command::Capture(capture) => capture.json,
        Command::Snapshot(snapshot) => snapshot.json(),
        Command::Resume(resume) => resume.json(),
        Command::Check(report) | Command::Status(report) => report.json,
        Command::Position(PositionCommand::Show(report)) => report.json,
    };
    match dispatch(command) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => {
            let text = match json {
                // One line, as the log's.
                true => described(&error).to_string(),
                false => block(&error),
            };
            // Nobody may listen any more; the exit code says it all the same.
            let _told = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<Outcome> {
    match command {
        Command::Init(args) => init::init(&args),
        Command::Check(report) => check::check(&report),
        Command::Run(args) => run::run(&args),
        Command::Load(args) => load::load(&args),
        Command::Capture(args) => capture::capture(&args),
        Command::Status(report) => status::status(&report),
        Command::Snapshot(args) => request::snapshot(&args),
        Command::Resume(args) => request::resume(&args),
        Command::Position(PositionCommand::Show(report)) => position::show(&report),
        Command::Config(ConfigCommand::Schema) => config::schema(),
    }
}

/// Prints an answer. A reader that went away ends the command as it ends others: quietly.
pub(crate) fn answer(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Io, "the answer cannot be printed").caused_by(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where it happened, the table first.
fn places(error: &Error) -> impl Iterator<Item = (&str, String)> {
    let table = match error.scope() {
        Scope::Table(table) => Some(("table", table.to_string())),
        Scope::Pipeline => None,
    };
    table.into_iter().chain(error.context().iter().map(|(what, place)| (*what, place.clone())))
}

/// An error as people read it: what, where, why, how to mend it.
fn block(error: &Error) -> String {
    let mut text = format!("error: {}\n", error.message());
    for (what, place) in places(error) {
        text.push_str(&format!("  {what}: {place}\n"));
    }
    for cause in error.causes() {
        text.push_str(&format!("  because: {cause}\n"));
    }
    text.push_str(&format!("  meaning: {} ({})\n", error.kind().sentence(), error.kind().name()));
    if let Some(remedy) = error.remedy_text() {
        text.push_str(&format!("  to mend it: {remedy}\n"));
    }
    text.truncate(text.trim_end().len());
    text
}

/// An error as programs read it.
fn described(error: &Error) -> Value {
    let places: serde_json::Map<_, _> =
        places(error).map(|(what, place)| (what.to_owned(), Value::String(place))).collect();
    json!({ "error": {
        "kind": error.kind().name(),
        "exit_code": error.kind().exit_code(),
        "message": error.message(),
        "where": places,
        "causes": error.causes().map(ToString::to_string).collect::<Vec<_>>(),
        "remedy": error.remedy_text(),
    } })
}

/// A runtime for commands that ask the lake.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Io, "no threads can be started").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_is_one_block_and_the_same_in_json() {
        let error = Error::new(ErrorKind::SourceGrant, "the account may not read the binlog")
            .at("account", "'lakeward'@'%'")
            .caused_by(std::io::Error::other("denied"))
            .remedy("GRANT REPLICATION SLAVE ON *.* TO 'lakeward'@'%'");
        assert_eq!(
            block(&error),
            "error: the account may not read the binlog\n  account: 'lakeward'@'%'\n  because: denied\n  \
             meaning: The MySQL account lacks a privilege. (SourceGrant)\n  \
             to mend it: GRANT REPLICATION SLAVE ON *.* TO 'lakeward'@'%'"
        );
        let json = described(&error);
        assert_eq!(json["error"]["exit_code"], 10);
        assert_eq!(json["error"]["where"]["account"], "'lakeward'@'%'");
    }

    #[test]
    fn the_readme_lists_every_exit_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        for (code, sentences) in exit_codes() {
            let row = format!("| {code} | {} |", sentences.join(" "));
            assert!(readme.contains(&row), "the README lacks the row\n{row}");
        }
    }
}
