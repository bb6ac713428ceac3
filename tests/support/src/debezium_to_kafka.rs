//! The real Debezium MySQL connector, which writes a server's changes to a broker as Kafka Connect does.

use crate::Scratch;
use crate::child::Child;
use crate::debezium::program;
use crate::kafka::Kafka;
use crate::mysql::MySql;
use crate::registry::SchemaRegistry;

/// How its records are written.
#[derive(Clone, Copy, Debug)]
pub enum Records<'a> {
    /// JSON without its schema part.
    Json,
    /// JSON with it.
    JsonWithSchemas,
    /// Avro in the Confluent wire format.
    Avro(&'a SchemaRegistry),
}

/// A running connector; killed when dropped.
#[derive(Debug)]
pub struct DebeziumToKafka {
    child: Child,
    directory: Scratch,
}

impl DebeziumToKafka {
    /// Starts it on the database `shop` of `server`: a snapshot first. Topics must exist; they are named
    /// `<prefix>.<database>.<table>`.
    pub fn start(server: &MySql, kafka: &Kafka, prefix: &str, records: Records<'_>) -> DebeziumToKafka {
        DebeziumToKafka::with(server, kafka, prefix, records, &[])
    }

    /// The same with more of the connector's properties.
    pub fn with(
        server: &MySql,
        kafka: &Kafka,
        prefix: &str,
        records: Records<'_>,
        more: &[(&str, &str)],
    ) -> DebeziumToKafka {
        let directory = Scratch::new("debezium");
        let (format, registry) = match records {
            Records::Json => ("json", "none".to_owned()),
            Records::JsonWithSchemas => ("json-with-schemas", "none".to_owned()),
            Records::Avro(registry) => ("avro", registry.own_url()),
        };
        let mut command = program("DebeziumToKafka", "400m");
        command.args([&kafka.brokers(), format, &registry]);
        let port = server.port().to_string();
        let properties = [
            ("name", "shop"),
            ("connector.class", "io.debezium.connector.mysql.MySqlConnector"),
            ("offset.storage", "org.apache.kafka.connect.storage.MemoryOffsetBackingStore"),
            ("schema.history.internal", "io.debezium.relational.history.MemorySchemaHistory"),
            ("include.schema.changes", "false"),
            ("snapshot.mode", "initial"),
            ("poll.interval.ms", "20"),
            ("topic.prefix", prefix),
            ("database.hostname", "127.0.0.1"),
            ("database.port", &port),
            ("database.user", "root"),
            ("database.password", ""),
            ("database.server.id", "77001"),
            ("database.include.list", "shop"),
            ("bigint.unsigned.handling.mode", "precise"),
            ("schema.name.adjustment.mode", "avro"),
        ];
        for (key, value) in properties.iter().chain(more) {
            command.arg(format!("{key}={value}"));
        }
        let child = Child::start("debezium", &command, directory.path());
        DebeziumToKafka { child, directory }
    }

    /// Fails if it has ended, with what it printed.
    pub fn must_run(&mut self) {
        if let Some(status) = self.child.ended() {
            panic!("Debezium ended ({status}): {}", self.printed());
        }
    }

    /// What it printed.
    pub fn printed(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("debezium.out") + &read("debezium.err")
    }
}
