//! The config file as it is written. What no field alone can show is checked in [`super`].

use std::net::SocketAddr;

use lakeward_core::{ByteSize, TableFilter, TypeOptions};
use lakeward_lake::config::LakeConfig;
use lakeward_mysql::{MysqlConfig, OnError};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// One pipeline: one source server, its tables, one lake. Any string may hold `${env:NAME}` and
/// `${file:PATH}`; `$${` stands for `${` itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// The pipeline's name, part of every durable key: do not change it later.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub(super) name: String,
    /// Where changes come from.
    pub(super) source: SourceConfig,
    /// Which tables are captured.
    pub(super) tables: TableFilter,
    /// What is done about rows that exist before the pipeline begins.
    #[schemars(required)]
    pub(super) snapshot: Option<SnapshotConfig>,
    /// Where a new pipeline begins: `earliest` (the oldest binlog the server has), `latest`, a GTID
    /// set (all of it is taken as read), or `file:offset`. A pipeline that has committed goes on
    /// from its last checkpoint.
    #[serde(default = "latest")]
    pub(super) start: String,
    /// What lies between source and lake.
    #[serde(default)]
    pub(super) transport: Transport,
    /// Where the lake is and how it is written.
    pub(super) lake: LakeConfig,
    /// Memory for changes under way. The process takes this, about 100 MiB of its own, and three
    /// times the largest single event.
    #[serde(default = "memory")]
    pub(super) memory: ByteSize,
    /// Choices in the mapping of MySQL types.
    #[serde(default)]
    pub(super) types: TypeOptions,
    /// Keep the previous image of each changed row in a struct column.
    #[serde(default)]
    pub(super) before_images: bool,
    /// What an error about one table's data stops.
    #[serde(default)]
    pub(super) on_error: OnError,
    /// Serve `/metrics`, `/healthz` and `/readyz`.
    #[serde(default)]
    pub(super) metrics: Option<MetricsConfig>,
    /// Log lines, on standard error.
    #[serde(default)]
    pub(super) log: LogConfig,
}

/// Where changes come from.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceConfig {
    /// A MySQL server.
    pub(super) mysql: MysqlConfig,
}

/// What is done about rows that exist before the pipeline begins.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotConfig {
    /// `no_data`: they are not copied; the pipeline begins at `start`.
    pub(super) mode: SnapshotMode,
}

/// When existing rows are copied.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SnapshotMode {
    #[schemars(skip)]
    Initial,
    #[schemars(skip)]
    InitialOnly,
    /// Never.
    NoData,
    #[schemars(skip)]
    WhenNeeded,
    #[schemars(skip)]
    Always,
}

impl SnapshotMode {
    pub(super) fn name(self) -> &'static str {
        match self {
            SnapshotMode::Initial => "initial",
            SnapshotMode::InitialOnly => "initial_only",
            SnapshotMode::NoData => "no_data",
            SnapshotMode::WhenNeeded => "when_needed",
            SnapshotMode::Always => "always",
        }
    }
}

/// What lies between source and lake.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Transport {
    /// A transport without settings.
    Plain(Plain),
    #[schemars(skip)]
    Kafka { kafka: IgnoredAny },
}

/// A transport without settings.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Plain {
    /// Nothing: one process from the binlog to the files.
    Direct,
}

impl Default for Transport {
    fn default() -> Self {
        Transport::Plain(Plain::Direct)
    }
}

/// Where `/metrics`, `/healthz` and `/readyz` are served.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsConfig {
    /// Address and port, as `127.0.0.1:9187`.
    #[schemars(with = "String")]
    pub(super) listen: SocketAddr,
}

/// Log lines, on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Their form.
    pub format: LogFormat,
    /// The least important that are shown.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `human` on a terminal, else `json`.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// The run ends, or a table stops.
    Error,
    /// Works, but somebody should look: a broken link, a value mapped to null.
    Warn,
    /// Each commit that has rows; beginnings and ends.
    #[default]
    Info,
    /// Each step of the protocol.
    Debug,
    /// Each event.
    Trace,
}

fn latest() -> String {
    "latest".into()
}

fn memory() -> ByteSize {
    ByteSize::mib(256)
}
