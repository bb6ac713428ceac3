//! The real Debezium connector for MySQL, in its embedded engine: what it writes of a server's changes, without a
//! broker.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Scratch;
use crate::child::Child;
use crate::install::installed;
use crate::mysql::MySql;

/// Where the connector and its converters are installed.
pub const LIBRARIES: &str = "debezium-3.6.1.Final-avro";

/// One of our programs (`servers/*.java`) over the connector, compiled by `servers/debezium.sh`; with its classes as the
/// Java machine shares them, where it can.
pub(crate) fn program(name: &str, heap: &str) -> Command {
    let libraries = installed(LIBRARIES);
    let programs = installed(&format!("{LIBRARIES}/programs/programs.jar"));
    let mut command = Command::new("java");
    command
        .arg(format!("-XX:SharedArchiveFile={}", libraries.join("programs/classes.jsa").display()))
        .args([&format!("-Xmx{heap}"), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{}:{}/*", programs.display(), libraries.display()))
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", name]);
    command
}

/// One run of the connector.
#[derive(Clone, Debug)]
pub struct Connector {
    prefix: String,
    properties: Vec<(String, String)>,
}

impl Connector {
    /// A connector whose topics begin with `prefix`. It ends with the first record of the topic `last`. `more` are
    /// properties as `decimal.handling.mode`; where none is given, Debezium's default holds.
    pub fn new(prefix: &str, last: &str, more: &[(&str, &str)]) -> Connector {
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let last = ("last".to_owned(), last.to_owned());
        Connector { prefix: prefix.to_owned(), properties: std::iter::once(last).chain(more).collect() }
    }
}

/// Running connectors; killed when dropped.
#[derive(Debug)]
pub struct Debezium {
    child: Child,
    directory: Scratch,
    files: Vec<PathBuf>,
}

impl Debezium {
    /// Starts all of them in one process, as root of `server`.
    pub fn start(server: &MySql, connectors: &[Connector]) -> Debezium {
        let directory = Scratch::new("debezium");
        let mut command = program("Debezium", "900m");
        let mut files = Vec::new();
        for (number, connector) in connectors.iter().enumerate() {
            let out = directory.join(format!("{number}.json"));
            let mut text = format!(
                "name={prefix}
topic.prefix={prefix}
out={}
connector.class=io.debezium.connector.mysql.MySqlConnector
database.hostname=127.0.0.1
database.port={}
database.user=root
database.password=
database.server.id={}
offset.storage=org.apache.kafka.connect.storage.MemoryOffsetBackingStore
schema.history.internal=io.debezium.relational.history.MemorySchemaHistory
include.schema.changes=false
",
                out.display(),
                server.port(),
                700_000 + number,
                prefix = connector.prefix,
            );
            for (key, value) in &connector.properties {
                text.push_str(&format!("{key}={value}\n"));
            }
            let properties = directory.join(format!("{number}.properties"));
            fs::write(&properties, text).expect("the folder is writable");
            command.arg(properties);
            files.push(out);
        }
        Debezium { child: Child::start("debezium", &command, directory.path()), directory, files }
    }

    /// Waits until each has seen its last record; the records of each, in their order, as
    /// `{ topic, key, value, headers }`, with the schema parts of key and value.
    pub fn finish(mut self, limit: Duration) -> Vec<Vec<Value>> {
        let status = self.child.wait(limit);
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        assert!(status.success(), "Debezium ended with {status}:\n{}", read("debezium.err"));
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in Debezium's {line:.500}"))
        };
        let records = |file: &PathBuf| {
            fs::read_to_string(file).expect("Debezium wrote its records").lines().map(parse).collect()
        };
        self.files.iter().map(records).collect()
    }
}
