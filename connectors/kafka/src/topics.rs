//! Topics: their names, what the cluster has of them, and the making of those that are missing.
//!
//! Guarantee: two tables never share a topic (their events would be taken for each other's): [`Names`] refuses the second.
//! Nothing is asked of the cluster in a way that would make it create a topic by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Clock, Error, ErrorKind, Result, TableId};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use tokio::runtime::Handle;

use crate::client::{self, ANSWER, Context, Handed, Reader, explained, unmade};
use crate::config::{Kafka, TopicsConfig};

/// The topic of a table's change events: `<prefix>.<database>.<table>`, with `_` for what a topic cannot be named.
pub fn data_topic(prefix: &str, table: &TableId) -> String {
    sanitized(&format!("{prefix}.{}.{}", table.database, table.table), "")
}

/// `name` with `_` for what a topic cannot be named, but for the characters of `kept`.
pub(crate) fn sanitized(name: &str, kept: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') || kept.contains(c);
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

/// The topic of capture's checkpoints and table versions.
pub fn checkpoint_topic(prefix: &str) -> String {
    format!("{prefix}.__lakeward.checkpoints")
}

/// The topic of requests to the pipeline.
pub fn request_topic(prefix: &str) -> String {
    format!("{prefix}.__lakeward.requests")
}

/// The topic that tells where transactions of the source begin and end.
pub fn transaction_topic(prefix: &str) -> String {
    format!("{prefix}.transaction")
}

/// The topic of heartbeats. Its name does not begin with the prefix: it is Debezium's.
pub fn heartbeat_topic(prefix: &str) -> String {
    format!("__debezium-heartbeat.{prefix}")
}

/// The topic of statements that change tables: the prefix alone, as Debezium names it. All others have more.
pub fn schema_change_topic(prefix: &str) -> String {
    prefix.to_owned()
}

/// The topics beside those of tables that are switched on.
pub fn beside(kafka: &Kafka) -> Vec<String> {
    let transactions = kafka.provide_transaction_metadata.then(|| transaction_topic(&kafka.prefix));
    let heartbeats = kafka.heartbeat_interval.map(|_| heartbeat_topic(&kafka.prefix));
    let changes = kafka.include_schema_changes.then(|| schema_change_topic(&kafka.prefix));
    transactions.into_iter().chain(heartbeats).chain(changes).collect()
}

/// Kafka's own limit of a topic's name.
const NAME_MAX: usize = 249;

/// Which table has which topic.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, TableId>);

impl Names {
    /// The topic of `table`.
    ///
    /// # Errors
    /// `Config` if another table has it, or the name is too long.
    pub fn of(&mut self, prefix: &str, table: &TableId) -> Result<String> {
        let name = data_topic(prefix, table);
        if name.len() > NAME_MAX {
            let message =
                format!("the topic's name would have {} characters; Kafka allows {NAME_MAX}", name.len());
            return Err(Error::new(ErrorKind::Config, message)
                .of_table(table)
                .remedy("exclude the table in `tables.exclude`, or choose a shorter `topic_prefix`"));
        }
        // Kafka takes no two topics whose names differ in these two alone.
        let owner = self.0.entry(name.replace('.', "_")).or_insert_with(|| table.clone());
        if owner != table {
            let message =
                format!("two tables would share a topic, with {owner}: `.` and `_` count as the same");
            return Err(Error::new(ErrorKind::Config, message)
                .of_table(table)
                .at("topic", name)
                .remedy("exclude one of them in `tables.exclude`"));
        }
        Ok(name)
    }
}

/// All topics of the cluster that this account can see, with the number of their topic partitions.
///
/// # Errors
/// The cluster's.
pub fn partitions(reader: &Reader) -> Result<BTreeMap<String, usize>> {
    Ok(usable(&client::metadata(reader)?))
}

/// The topics that can be used, with the number of their topic partitions.
pub(crate) fn usable(metadata: &Metadata) -> BTreeMap<String, usize> {
    let there = metadata.topics().iter().filter(|topic| topic.error().is_none());
    there.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect()
}

/// The first offset of a topic partition and the one after its last committed record.
///
/// # Errors
/// The cluster's.
pub fn bounds(reader: &Reader, topic: &str, number: i32) -> Result<(i64, i64)> {
    bounds_within(reader, topic, number, ANSWER)
}

/// [`bounds`], for whom it is not worth so long a wait.
pub(crate) fn bounds_within(reader: &Reader, topic: &str, number: i32, wait: Duration) -> Result<(i64, i64)> {
    let bounds = reader.fetch_watermarks(topic, number, wait);
    bounds.inspect(|_| reader.context().trouble().is_over()).map_err(|error| {
        explained("a topic partition's offsets", &error, reader.context().trouble())
            .at("topic", topic)
            .at("topic partition", number)
    })
}

/// What makes topics and asks for their settings.
pub struct Admin {
    client: AdminClient<Context>,
    runtime: Handle,
    token: Handed,
}

impl Admin {
    /// For `kafka`; its calls wait on `runtime`, and so belong on a thread of their own.
    ///
    /// # Errors
    /// `Config`.
    pub fn new(kafka: &Kafka, clock: &Arc<dyn Clock>, runtime: Handle) -> Result<Admin> {
        let client =
            kafka.client()?.create_with_context(kafka.context(clock)).map_err(|error| unmade(&error))?;
        Ok(Admin { client, runtime, token: Handed::default() })
    }

    /// Makes the topic of a table, as the config says.
    ///
    /// # Errors
    /// The cluster's, and `Config` for settings that it refuses.
    pub fn create_data(&self, name: &str, config: &TopicsConfig) -> Result<()> {
        let count = config.partitions.map_or(-1, |count| i32::try_from(count).unwrap_or(i32::MAX));
        self.create(name, count, config, &settings(config))
    }

    /// Makes a topic beside those of tables: with one topic partition, so that its order is one, and their settings but
    /// for the policy of cleaning. A compacted topic would keep the last record of each key alone, and the begin and the
    /// end of a transaction have one key.
    ///
    /// # Errors
    /// As [`Admin::create_data`].
    pub fn create_beside(&self, name: &str, config: &TopicsConfig) -> Result<()> {
        let settings = settings(config).into_iter().filter(|(key, _)| *key != "cleanup.policy");
        self.create(name, 1, config, &settings.collect::<Vec<_>>())
    }

    /// Makes a topic of the pipeline's own state: one topic partition, compacted.
    ///
    /// # Errors
    /// As [`Admin::create_data`].
    pub fn create_own(&self, name: &str, config: &TopicsConfig) -> Result<()> {
        let [size, ratio] = SMALL_SEGMENTS;
        match self.create(name, 1, config, &[COMPACTED, size, ratio]) {
            // A cluster that is hired may leave these to nobody.
            Err(error) if error.kind() == ErrorKind::Config => self.create(name, 1, config, &[COMPACTED]),
            made => made,
        }
    }

    fn create(&self, name: &str, count: i32, config: &TopicsConfig, settings: &[(&str, &str)]) -> Result<()> {
        let replicas = config.replication.map_or(-1, i32::from);
        let mut topic = NewTopic::new(name, count, TopicReplication::Fixed(replicas));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        self.token.see_to(self.client.inner())?;
        let asked = self.runtime.block_on(self.client.create_topics([&topic], &options()));
        let trouble = self.client.inner().context().trouble();
        let failed = |error| Err(explained("the making of a topic", &error, trouble).at("topic", name));
        match asked {
            Ok(answers) => match answers.into_iter().find_map(Result::err) {
                // Another process was faster; whatever it made is what there is.
                None | Some((_, Code::TopicAlreadyExists)) => Ok(()),
                Some((_, code)) => failed(KafkaError::AdminOp(code)),
            },
            Err(error) => failed(error),
        }
    }

    /// The largest batch that a topic takes, where this account may ask.
    pub fn max_message_bytes(&self, topic: &str) -> Option<u64> {
        self.setting(topic, "max.message.bytes")?.parse().ok()
    }

    /// One setting of a topic, where this account may ask for it.
    pub fn setting(&self, topic: &str, name: &str) -> Option<String> {
        self.described(&ResourceSpecifier::Topic(topic), name)
    }

    /// One setting of a broker, where this account may ask for it.
    pub fn broker_setting(&self, broker: i32, name: &str) -> Option<String> {
        self.described(&ResourceSpecifier::Broker(broker), name)
    }

    fn described(&self, what: &ResourceSpecifier<'_>, name: &str) -> Option<String> {
        self.token.see_to(self.client.inner()).ok()?;
        let options = options();
        let asked = self.client.describe_configs([what], &options);
        let described = self.runtime.block_on(asked).ok()?.into_iter().next()?.ok()?;
        described.get(name)?.value.clone()
    }
}

/// Of the topics of the pipeline's own state the last record of each key is what counts.
const COMPACTED: (&str, &str) = ("cleanup.policy", "compact");
/// Only segments that are full are compacted, and every opening reads what is left: small ones keep that short.
const SMALL_SEGMENTS: [(&str, &str); 2] =
    [("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.1")];

/// Settings of a table's topic.
fn settings(config: &TopicsConfig) -> Vec<(&str, &str)> {
    config.config.iter().map(|(key, value)| (key.as_str(), value.reveal())).collect()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}

/// How long a topic that was made may take until the cluster shows it.
const SHOWN: Duration = Duration::from_secs(30);
/// How often the cluster is asked for it.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until the cluster shows `topic`; the number of its topic partitions.
///
/// # Errors
/// `KafkaUnreachable` if it does not.
pub fn shown(reader: &Reader, topic: &str, clock: &dyn Clock) -> Result<usize> {
    let begun = clock.elapsed();
    loop {
        if let Some(count) = partitions(reader)?.get(topic) {
            return Ok(*count);
        }
        if clock.elapsed().saturating_sub(begun) > SHOWN {
            let message = "the cluster does not show a topic that was made";
            return Err(Error::new(ErrorKind::KafkaUnreachable, message).at("topic", topic));
        }
        std::thread::sleep(LOOK);
    }
}

/// A topic that should be there and is not.
pub fn missing(topic: &str) -> Error {
    Error::new(ErrorKind::TopicLost, "a topic is missing")
        .at("topic", topic)
        .remedy("create it, or set `transport.kafka.topics.create: true`; and let the account see it")
}

/// A topic of the pipeline's own state that should be there and is not.
pub(crate) fn missing_own(topic: &str) -> Error {
    let [(size, bytes), _] = SMALL_SEGMENTS;
    missing(topic).remedy(format!(
        "kafka-topics.sh --create --topic {topic} --partitions 1 --config cleanup.policy=compact --config {size}={bytes}; or \
         set `transport.kafka.topics.create: true`; and let the account see it"
    ))
}

/// The command that has a topic of the pipeline's own state compacted.
pub(crate) fn to_compact(topic: &str) -> String {
    format!(
        "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=compact"
    )
}

/// The topic for records that cannot be read is not there: none is ever made.
pub(crate) fn no_dead_letter(topic: &str) -> Error {
    Error::new(ErrorKind::TopicLost, "the dead-letter topic is not there")
        .at("topic", topic)
        .remedy("create it, or remove `transport.kafka.load.dead_letter`; and let the account see it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_topic_cannot_be_named_becomes_a_line_and_tables_never_share_one() {
        assert_eq!(data_topic("p", &TableId::new("my db", "t$é.x")), "p.my_db.t__.x");
        let mut names = Names::default();
        let of = |names: &mut Names, database, table| names.of("p", &TableId::new(database, table));
        assert_eq!(of(&mut names, "a", "b c").unwrap(), "p.a.b_c");
        assert_eq!(of(&mut names, "a", "b c").unwrap(), "p.a.b_c");
        assert!(of(&mut names, "a", "b$c").unwrap_err().to_string().contains("a.b c"));
        assert!(of(&mut names, "a", "b_c").is_err());
        assert!(of(&mut names, "a_b", "c").unwrap_err().to_string().contains("a.b c"));
        assert!(of(&mut names, "a", &"x".repeat(250)).unwrap_err().to_string().contains("249"));
    }
}
