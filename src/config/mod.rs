//! The YAML file -> a checked [`Pipeline`]. Parsed once; only the checked form can be run.
//!
//! Guarantee: a key that is not known, a value of a wrong type, or a choice that this version does
//! not offer is an error that names the file, the line, the key and the fix; nothing is passed
//! over. Values that come from `${env:…}` and `${file:…}` are never shown in an error, and neither
//! is any value of a wrong type: it may be a secret in the wrong place.

mod locate;
mod reference;
mod start;
mod trouble;
mod written;

use std::net::SocketAddr;
use std::path::Path;

use lakeward_core::{ByteSize, Error, ErrorKind, Result, TableFilter, TypeOptions};
use lakeward_kafka::config::{Kafka, WrittenBy};
use lakeward_lake::config::{Lake, LakeConfig};
use lakeward_mysql::snapshot::{SnapshotMode, SnapshotOptions};
use lakeward_mysql::{MysqlConfig, OnError, OnTruncate};

pub use reference::{Outside, process};
pub use start::StartAt;
use trouble::Trouble;
pub use written::{LogConfig, LogFormat, LogLevel};
use written::{Transport, Written};

/// A pipeline whose config was checked.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name, part of every durable key.
    pub name: String,
    /// The server.
    pub mysql: MysqlConfig,
    /// What is captured.
    pub tables: TableFilter,
    /// Where a new pipeline begins.
    pub start: StartAt,
    /// The Kafka cluster between source and lake, if there is one.
    pub kafka: Option<Kafka>,
    /// The lake, as written.
    pub lake: LakeConfig,
    /// The lake, checked.
    pub checked_lake: Lake,
    /// Memory for changes under way.
    pub memory: ByteSize,
    /// Choices in the mapping of types.
    pub types: TypeOptions,
    /// Whether the lake keeps previous images.
    pub before_images: bool,
    /// Whether records in Kafka have them.
    pub before_in_records: bool,
    /// What an error about one table's data stops.
    pub on_error: OnError,
    /// What a TRUNCATE becomes.
    pub truncate: OnTruncate,
    /// When and how existing rows are read.
    pub snapshot: SnapshotOptions,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub metrics: Option<SocketAddr>,
    /// Log lines.
    pub log: LogConfig,
}

impl Pipeline {
    /// The cluster whose topics others write, if that is so: they are only loaded.
    pub fn foreign(&self) -> Option<&Kafka> {
        self.kafka.as_ref().filter(|kafka| kafka.written_by == WrittenBy::Debezium)
    }

    /// The cluster that changes are captured to, if they are.
    pub fn captured_to(&self) -> Option<&Kafka> {
        self.kafka.as_ref().filter(|kafka| kafka.written_by == WrittenBy::Lakeward)
    }

    /// Where a pipeline that has committed nothing begins.
    pub fn beginning(&self) -> &'static str {
        match self.foreign() {
            Some(_) => "with the first records of its topics",
            None if self.snapshot.mode == SnapshotMode::NoData => {
                "at `start`, without one at what changes then"
            }
            None => "with the rows that are there",
        }
    }

    /// Whether a run that captures comes to an end by itself.
    pub fn has_end(&self, until_caught_up: bool) -> bool {
        until_caught_up || self.snapshot.mode == SnapshotMode::InitialOnly
    }

    /// Refuses a command that captures, where others do.
    ///
    /// Errors: `Config`.
    pub fn refuse_foreign(&self, command: &str) -> Result<()> {
        match self.foreign() {
            None => Ok(()),
            Some(_) => Err(wrong(
                "transport.kafka.written_by",
                format!("`lakeward {command}` is not for topics that Debezium writes: they are only loaded"),
                "use `lakeward load`; `status`, `check` and `position show` tell of it",
            )),
        }
    }
}

/// Least memory with which a pipeline makes sense.
const MEMORY_MIN: ByteSize = ByteSize::mib(64);
/// Longest name: it is part of file names.
const NAME_MAX: usize = 63;

/// Reads and checks a config file.
///
/// Errors: `Config`, with the file, the key, the line and the fix.
pub fn load(path: &Path) -> Result<Pipeline> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "run `lakeward init` to write one, or name one with --config FILE"
            }
            _ => "make the file readable UTF-8 text",
        };
        Error::new(ErrorKind::Config, "the config file cannot be read")
            .at("file", path.display())
            .remedy(remedy)
            .caused_by(error)
    })?;
    parse(&text, &process()).map_err(|error| error.at("file", path.display()))
}

/// Checks the text of a config file; references are looked up in `outside`.
///
/// Errors: as [`load`].
pub fn parse(text: &str, outside: &Outside<'_>) -> Result<Pipeline> {
    let trouble = Trouble::new(text);
    let mut value: yaml_serde::Value = yaml_serde::from_str(text).map_err(|error| trouble.syntax(&error))?;
    let referenced = reference::resolve(&mut value, outside).map_err(|error| trouble.placed(error))?;
    let written: Written =
        serde_path_to_error::deserialize(value).map_err(|error| trouble.shape(&error, &referenced))?;
    check(written).map_err(|error| trouble.placed(error))
}

fn wrong(key: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message).at("key", key).remedy(remedy)
}

fn check(written: Written) -> Result<Pipeline> {
    check_name(&written.name)?;
    check_tables(&written.tables)?;
    check_snapshot(&written.snapshot)?;
    let kafka = match &written.transport {
        Transport::Direct => None,
        Transport::Kafka(kafka) => Some(kafka.checked(&written.name)?),
    };
    if kafka.is_some() && written.truncate == OnTruncate::Deletes {
        let message =
            "`deletes` asks for the keys that live in the lake, and over Kafka nobody can tell them";
        return Err(wrong(
            "truncate",
            message,
            "remove the key: a TRUNCATE is a mark that voids the table then",
        ));
    }
    if written.memory < MEMORY_MIN {
        let message = format!("{} is too little memory", written.memory);
        return Err(wrong("memory", message, format!("set it to {MEMORY_MIN} or more")));
    }
    let start = check_start(written.start.as_deref(), written.snapshot.mode)?;
    written.source.mysql.check("source.mysql")?;
    let checked_lake = written.lake.checked()?;
    Ok(Pipeline {
        name: written.name,
        mysql: written.source.mysql,
        tables: written.tables,
        start,
        kafka,
        lake: written.lake,
        checked_lake,
        memory: written.memory,
        types: written.types,
        before_images: written.before_images.unwrap_or(false),
        before_in_records: written.before_images.unwrap_or(true),
        on_error: written.on_error,
        truncate: written.truncate,
        snapshot: written.snapshot,
        metrics: written.metrics.map(|metrics| metrics.listen),
        log: written.log,
    })
}

/// Chunks that are read at once, at most: more would only wait for each other.
const PARALLELISM: std::ops::RangeInclusive<u32> = 1..=16;

fn check_snapshot(snapshot: &SnapshotOptions) -> Result<()> {
    if !PARALLELISM.contains(&snapshot.parallelism) {
        let message = format!("{} chunks cannot be read at once", snapshot.parallelism);
        return Err(wrong("snapshot.parallelism", message, "set it to a number from 1 to 16"));
    }
    if snapshot.max_threads_running == 0 {
        let message = "with 0 threads no chunk would ever be read";
        return Err(wrong("snapshot.max_threads_running", message, "set it to 1 or more, 50 for example"));
    }
    match &snapshot.replica {
        Some(replica) => replica.check("snapshot.replica"),
        None => Ok(()),
    }
}

fn check_start(start: Option<&str>, mode: SnapshotMode) -> Result<StartAt> {
    match (mode, start) {
        (SnapshotMode::NoData, Some(start)) => start.parse().map_err(|message: String| {
            wrong("start", message, "write `earliest`, `latest`, a GTID set, or `binlog.000001:4`")
        }),
        (SnapshotMode::NoData, None) => Ok(StartAt::Latest),
        // What is there is read, so the changes that count are those from now on.
        (
            SnapshotMode::Initial
            | SnapshotMode::InitialOnly
            | SnapshotMode::WhenNeeded
            | SnapshotMode::Always,
            None,
        ) => Ok(StartAt::Latest),
        (_, Some(_)) => Err(wrong(
            "start",
            "a pipeline that reads the rows that are there begins at what is there, not at `start`",
            "remove `start`, or write `snapshot: { mode: no_data }`, which reads changes only",
        )),
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = name.len() <= NAME_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || matches!(b, b'_' | b'-'));
    match fits {
        true => Ok(()),
        false => Err(wrong(
            "name",
            format!("`{name}` cannot be a pipeline's name"),
            format!("use 1 to {NAME_MAX} of a-z, 0-9, `_` and `-`, the first one a letter or digit"),
        )),
    }
}

fn check_tables(tables: &TableFilter) -> Result<()> {
    if tables.include.is_empty() {
        let message = "no table is included";
        return Err(wrong("tables.include", message, "name some, as `include: [\"shop.*\"]`"));
    }
    if let Some(pattern) = tables.malformed() {
        let message = format!("`{pattern}` is not of the form `database.table`");
        return Err(wrong(
            "tables",
            message,
            "write `shop.orders` or `shop.*`; quote a dot in a name: `` `a.b`.c ``",
        ));
    }
    for (key, list) in [("tables.include", &tables.include), ("tables.exclude", &tables.exclude)] {
        let twice = list.iter().enumerate().find(|(place, one)| list.iter().take(*place).any(|o| o == *one));
        if let Some((_, pattern)) = twice {
            return Err(wrong(key, format!("`{pattern}` is listed twice"), "remove one of the two"));
        }
    }
    Ok(())
}

/// The JSON Schema of the config file, for editors; `schemas/config.schema.json` holds it.
pub fn json_schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(Written);
    schema.insert("$id".into(), "config.schema.json".into());
    schema.insert("title".into(), "lakeward config".into());
    schema
}

#[cfg(test)]
mod tests;
