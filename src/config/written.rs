//! The config file as it is written. What no field alone can show is checked in [`super`].

use std::net::SocketAddr;

use lakeward_core::{ByteSize, TableFilter, TypeOptions};
use lakeward_kafka::config::KafkaConfig;
use lakeward_lake::config::LakeConfig;
use lakeward_mysql::snapshot::SnapshotOptions;
use lakeward_mysql::{MysqlConfig, OnError, OnTruncate};
use schemars::JsonSchema;
use serde::Deserialize;

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
    /// When and how the rows are read that are in the tables before the pipeline begins.
    #[serde(default)]
    pub(super) snapshot: SnapshotOptions,
    /// Where a new pipeline begins that reads no rows that are there (`snapshot.mode: no_data`; the
    /// others begin at what is there, and have no `start`): `earliest` (the oldest binlog the server has), `latest`, a GTID
    /// set (all of it is taken as read), or `file:offset`. A pipeline that has committed goes on
    /// from its last checkpoint.
    #[serde(default)]
    pub(super) start: Option<String>,
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
    /// Keep the previous image of each changed row: in a struct column of the lake (default: not), and in `before` of the
    /// records of an update in Kafka (default: yes, as Debezium does).
    #[serde(default)]
    pub(super) before_images: Option<bool>,
    /// What an error about one table's data stops.
    #[serde(default)]
    pub(super) on_error: OnError,
    /// What a TRUNCATE of a captured table becomes.
    #[serde(default)]
    pub(super) truncate: OnTruncate,
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

/// What lies between source and lake.
#[derive(Default, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Transport {
    /// Nothing: one process from the binlog to the files.
    #[default]
    Direct,
    /// Topics of a Kafka cluster: `lakeward capture` writes them, `lakeward load` reads them.
    Kafka(Box<KafkaConfig>),
}

/// By hand: an error inside `kafka` must keep its place and its message.
impl<'de> Deserialize<'de> for Transport {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TransportVisitor)
    }
}

struct TransportVisitor;

impl<'de> serde::de::Visitor<'de> for TransportVisitor {
    type Value = Transport;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`direct` or `kafka: { … }`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Transport, E> {
        match text {
            "direct" => Ok(Transport::Direct),
            _ => Err(E::unknown_variant(text, &["direct", "kafka: { brokers: … }"])),
        }
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Transport, A::Error> {
        use serde::de::Error;
        let Some(key) = map.next_key::<String>()? else { return Err(A::Error::missing_field("kafka")) };
        if key != "kafka" {
            return Err(A::Error::unknown_field(&key, &["kafka"]));
        }
        let kafka = map.next_value()?;
        match map.next_key::<String>()? {
            None => Ok(Transport::Kafka(kafka)),
            Some(more) => Err(A::Error::unknown_field(&more, &["kafka"])),
        }
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

fn memory() -> ByteSize {
    ByteSize::mib(256)
}
