//! The `transport.kafka` part of a config file, and its checked form [`Kafka`], the only one that can be used.
//!
//! Guarantee: no property that is passed through can break exactly-once. Every one that decides durability, identity,
//! isolation or the bound of memory is refused with the key that sets it, and every other must be known to librdkafka.
//! No value of a property is ever shown: any of them may be a secret.

mod load;
mod security;

use std::collections::BTreeMap;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Period, Result, Secret};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::Deserialize;

pub use load::{Load, LoadConfig};
pub use security::{Mechanism, SaslConfig, TlsConfig};

use crate::format::FormatOptions;

/// The Kafka cluster between source and lake, and how change events are written to it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to ask for the others: `host:9092,other:9092`.
    pub brokers: String,
    /// First part of every topic's name. Default: the pipeline's name. Do not change it later.
    #[serde(default)]
    pub topic_prefix: Option<String>,
    /// Who writes the topics. Those of `debezium` are only loaded: every topic `<topic_prefix>.<database>.<table>` of a
    /// table that `tables` includes. `format`, `schemas`, `schema_registry` and the handling modes then say how
    /// Debezium writes.
    #[serde(default)]
    pub written_by: WrittenBy,
    #[serde(flatten)]
    #[allow(missing_docs, reason = "flattened: its own fields are documented")]
    pub format: FormatOptions,
    /// Each change event tells its transaction and its place there, and the topic `<topic_prefix>.transaction` where
    /// transactions begin and end, with how many events each has. Default: not.
    #[serde(default)]
    pub provide_transaction_metadata: bool,
    /// Longest time between two records in the topic `__debezium-heartbeat.<topic_prefix>`, also while nothing changes.
    /// Each comes with a checkpoint. 100 ms or more. Default: there are none.
    #[serde(default)]
    pub heartbeat_interval: Option<Period>,
    /// The topic `<topic_prefix>` tells each statement that changes captured tables, with the structure of the table after
    /// it. Default: there is none.
    #[serde(default)]
    pub include_schema_changes: bool,
    /// How topics are made.
    #[serde(default)]
    pub topics: TopicsConfig,
    /// Longest time between two Kafka transactions while changes arrive: as long, at most, readers wait for them.
    #[serde(default = "default_commit_interval")]
    pub commit_interval: Period,
    /// Longest time that a Kafka transaction may take. A transaction of the source is one: what it writes must be sent
    /// within this time. The brokers' `transaction.max.timeout.ms` (15 minutes, if not set) must allow it.
    #[serde(default = "default_transaction_timeout")]
    pub transaction_timeout: Period,
    /// How topics are loaded into the lake.
    #[serde(default)]
    pub load: LoadConfig,
    /// Ask for TLS.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Log in.
    #[serde(default)]
    pub sasl: Option<SaslConfig>,
    /// Any other property of librdkafka.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
}

/// Who writes the topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenBy {
    /// `lakeward capture`.
    #[default]
    Lakeward,
    /// Debezium's MySQL connector.
    Debezium,
}

/// How topics are made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicsConfig {
    /// Make topics that are missing. Otherwise they must exist.
    pub create: bool,
    /// Topic partitions of a table's topic. Default: the brokers' `num.partitions`.
    #[schemars(range(min = 1))]
    pub partitions: Option<u32>,
    /// Replicas of each. Default: the brokers' `default.replication.factor`.
    #[schemars(range(min = 1))]
    pub replication: Option<u16>,
    /// Settings of a table's topic, as `retention.ms` or `cleanup.policy`.
    pub config: BTreeMap<String, Property>,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        TopicsConfig { create: true, partitions: None, replication: None, config: BTreeMap::new() }
    }
}

/// The value of a property: text, a number, `true` or `false`. Never shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "Scalar")]
#[schemars(with = "Scalar")]
pub struct Property(Secret);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl From<Scalar> for Property {
    fn from(value: Scalar) -> Self {
        Property(Secret::new(match value {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
            Scalar::Text(value) => value,
        }))
    }
}

impl Property {
    /// The value, to be handed to the cluster or the client only.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

fn default_commit_interval() -> Period {
    Period::millis(30)
}

fn default_transaction_timeout() -> Period {
    Period::secs(15 * 60)
}

/// A checked [`KafkaConfig`].
#[derive(Clone, Debug)]
pub struct Kafka {
    /// Brokers to ask for the others.
    pub brokers: String,
    /// First part of every topic's name.
    pub prefix: String,
    /// Who writes the topics.
    pub written_by: WrittenBy,
    /// The form of records.
    pub format: FormatOptions,
    /// Change events tell their transactions, and a topic where these begin and end.
    pub provide_transaction_metadata: bool,
    /// Longest time between two heartbeats, where there are any.
    pub heartbeat_interval: Option<Duration>,
    /// A topic tells statements that change captured tables.
    pub include_schema_changes: bool,
    /// How topics are made.
    pub topics: TopicsConfig,
    /// Longest time between two transactions while changes arrive.
    pub commit_interval: Duration,
    /// Longest time that one may take.
    pub transaction_timeout: Duration,
    /// How topics are loaded into the lake.
    pub load: Load,
    /// TLS, where it is asked for.
    pub tls: Option<TlsConfig>,
    /// The login, where there is one.
    pub sasl: Option<SaslConfig>,
    /// Properties passed through.
    pub properties: BTreeMap<String, Property>,
}

/// Longest name of a topic prefix: the rest of Kafka's 249 characters is for the table.
const PREFIX_MAX: usize = 100;
/// Each heartbeat is a Kafka transaction, which takes some milliseconds.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);
/// librdkafka's own bounds of `transaction.timeout.ms`.
const TRANSACTION_TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_millis(i32::MAX as u64);

/// Properties that have keys of their own, or that exactly-once rests on, and what to do instead.
const OWN: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "set `brokers`"),
    (&["security.protocol"], "set `tls` and `sasl`; both decide it"),
    (
        &["sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "sasl.oauthbearer.config"],
        "set `sasl`",
    ),
    (&["enable.sasl.oauthbearer.unsecure.jwt"], "set `sasl.token_command`"),
    (
        &[
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.key.location",
            "ssl.key.password",
            "enable.ssl.certificate.verification",
            "ssl.endpoint.identification.algorithm",
        ],
        "set `tls`",
    ),
    (&["transactional.id"], "remove it: it is the pipeline's identity, and fences older writers"),
    (&["transaction.timeout.ms"], "set `transaction_timeout`"),
    (
        &["message.timeout.ms", "delivery.timeout.ms"],
        "remove it: a record is sent for as long as its transaction may take",
    ),
    (
        &[
            "enable.idempotence",
            "acks",
            "request.required.acks",
            "enable.gapless.guarantee",
            "retries",
            "message.send.max.retries",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "queuing.strategy",
            "delivery.report.only.error",
        ],
        "remove it: exactly-once decides it",
    ),
    (&["client.rack"], "remove it: a follower may be behind its leader, and its end is no end of the topic"),
    (&["partitioner", "sticky.partitioning.linger.ms"], "remove it: keys are placed as Java's producers do"),
    (
        &[
            "queue.buffering.max.messages",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.ms",
            "linger.ms",
        ],
        "remove it: `memory` and `commit_interval` decide it",
    ),
    (
        &[
            "queued.max.messages.kbytes",
            "fetch.message.max.bytes",
            "max.partition.fetch.bytes",
            "fetch.max.bytes",
            "fetch.wait.max.ms",
            "fetch.queue.backoff.ms",
        ],
        "remove it: `memory` decides how much is fetched ahead",
    ),
    (
        &["topic.metadata.refresh.interval.ms", "metadata.max.age.ms", "topic.metadata.propagation.max.ms"],
        "remove it: how soon topics are noticed that come or go is decided",
    ),
    (
        &["session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms"],
        "set `load.session_timeout`; it decides all three",
    ),
    (
        &[
            "isolation.level",
            "enable.auto.commit",
            "auto.commit.interval.ms",
            "enable.auto.offset.store",
            "auto.offset.reset",
            "enable.partition.eof",
            "check.crcs",
            "group.id",
            "group.instance.id",
            "group.protocol",
            "partition.assignment.strategy",
            "allow.auto.create.topics",
            "client.id",
        ],
        "remove it: exactly-once decides it",
    ),
    (&["plugin.library.paths", "test.mock.num.brokers", "log_level"], "remove it"),
];

fn wrong(key: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message).at("key", key).remedy(remedy)
}

impl KafkaConfig {
    /// Checks it; `pipeline` names the topics where no prefix is given.
    ///
    /// # Errors
    /// `Config`, with the key and the fix.
    pub fn checked(&self, pipeline: &str) -> Result<Kafka> {
        if self.brokers.split(',').any(|broker| broker.trim().is_empty()) {
            let message = "an address of a broker is empty";
            return Err(wrong("transport.kafka.brokers", message, "write `host:9092`, several with commas"));
        }
        let prefix = self.topic_prefix.as_deref().unwrap_or(pipeline);
        check_prefix(prefix)?;
        let timeout = self.transaction_timeout.0;
        if !TRANSACTION_TIMEOUT.contains(&timeout) || timeout <= self.commit_interval.0.saturating_mul(2) {
            let message = format!("a transaction cannot take up to {}", self.transaction_timeout);
            let remedy = "write a second or more, and more than twice `commit_interval`";
            return Err(wrong("transport.kafka.transaction_timeout", message, remedy));
        }
        if let Some(sasl) = &self.sasl {
            sasl.check()?;
        }
        if let Some(tls) = &self.tls {
            tls.check()?;
        }
        check_properties(&self.properties)?;
        if let Some((table, _)) =
            self.format.message_key_columns.iter().find(|(_, columns)| columns.is_empty())
        {
            let message = format!("{table} is given a record key of no columns");
            let remedy = "name its columns; leave the table out for its primary key";
            return Err(wrong("transport.kafka.message_key_columns", message, remedy));
        }
        if self.written_by == WrittenBy::Debezium {
            self.refuse_settings_of_capture()?;
        }
        let heartbeat_interval = self.heartbeat_interval.map(|interval| interval.0);
        if heartbeat_interval.is_some_and(|interval| interval < SHORTEST_HEARTBEAT) {
            let message = format!("heartbeats cannot come more often than every {SHORTEST_HEARTBEAT:?}");
            let remedy = "write a longer time, as 10s; leave it out where there are to be none";
            return Err(wrong("transport.kafka.heartbeat_interval", message, remedy));
        }
        Ok(Kafka {
            brokers: self.brokers.clone(),
            prefix: prefix.to_owned(),
            written_by: self.written_by,
            format: self.format.clone(),
            provide_transaction_metadata: self.provide_transaction_metadata,
            heartbeat_interval,
            include_schema_changes: self.include_schema_changes,
            topics: self.topics.clone(),
            commit_interval: self.commit_interval.0,
            transaction_timeout: timeout,
            load: self.load.checked()?,
            tls: self.tls.clone(),
            sasl: self.sasl.clone(),
            properties: self.properties.clone(),
        })
    }

    /// Topics of others are only loaded, by one process: what says how `capture` writes, or how workers share, would
    /// have no effect.
    fn refuse_settings_of_capture(&self) -> Result<()> {
        let set = [
            ("transport.kafka.provide_transaction_metadata", self.provide_transaction_metadata),
            ("transport.kafka.heartbeat_interval", self.heartbeat_interval.is_some()),
            ("transport.kafka.include_schema_changes", self.include_schema_changes),
            ("transport.kafka.topics", self.topics != TopicsConfig::default()),
            ("transport.kafka.commit_interval", self.commit_interval != default_commit_interval()),
            (
                "transport.kafka.transaction_timeout",
                self.transaction_timeout != default_transaction_timeout(),
            ),
            (
                "transport.kafka.load.session_timeout",
                self.load.session_timeout != LoadConfig::default().session_timeout,
            ),
        ];
        match set.into_iter().find(|(_, set)| *set) {
            None => Ok(()),
            Some((key, _)) => {
                let message =
                    "it has no effect on topics that Debezium writes: they are only loaded, by one process";
                Err(wrong(key, message, "remove the key"))
            }
        }
    }
}

fn check_prefix(prefix: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if prefix.is_empty() || prefix.len() > PREFIX_MAX || prefix.starts_with('.') || !prefix.chars().all(plain)
    {
        let message = format!("`{prefix}` cannot begin the name of a topic");
        let remedy = format!("use 1 to {PREFIX_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`");
        return Err(wrong("transport.kafka.topic_prefix", message, remedy));
    }
    Ok(())
}

fn check_properties(properties: &BTreeMap<String, Property>) -> Result<()> {
    const KEY: &str = "transport.kafka.properties";
    for (name, value) in properties {
        if let Some((_, instead)) = OWN.iter().find(|(names, _)| names.contains(&name.as_str())) {
            return Err(wrong(KEY, format!("the property `{name}` cannot be passed through"), *instead));
        }
        let mut alone = ClientConfig::new();
        alone.set(name, value.reveal());
        if alone.create_native_config().is_err() {
            let message = format!("librdkafka does not know the property `{name}`, or not this value of it");
            return Err(wrong(KEY, message, "correct it as librdkafka's CONFIGURATION.md has it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
