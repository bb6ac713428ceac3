//! Debezium's MySQL connector in Kafka Connect, into the same broker: what `capture` is measured beside.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lakeward_test_support::debezium::LIBRARIES;
use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Child, Measured, Scratch, Signal, installed, wait_until};

const PREFIX: &str = "debezium";
const TOPIC: &str = "debezium.shop.orders";
/// As long as one step may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The connector, which has a place in the log before all changes.
pub(super) struct Debezium {
    directory: Scratch,
}

impl Debezium {
    /// Starts it over an empty server, and ends it where it has stored its place.
    pub(super) fn before_changes(server: &MySql, kafka: &Kafka) -> Debezium {
        let directory = Scratch::new("debezium");
        kafka.create_topic("debezium-history", 1, &[]);
        let write = |name: &str, text: String| {
            fs::write(directory.join(name), text).expect("the folder is writable");
        };
        write("worker.properties", worker(kafka, &directory.join("offsets")));
        write("connector.properties", connector(server, kafka));
        let debezium = Debezium { directory };
        let mut running = debezium.start();
        let heartbeats = format!("__debezium-heartbeat.{PREFIX}");
        wait_until("Debezium to follow the log", Duration::from_secs(120), || {
            assert!(running.ended().is_none(), "Debezium ended: {}", debezium.printed());
            (kafka.topics().contains(&heartbeats) && kafka.offsets(&heartbeats, 0).1 > 0).then_some(())
        });
        running.signal(Signal::Term);
        running.wait(Duration::from_secs(60));
        debezium
    }

    /// Follows the log from there until the topic has `records` records. The time is that from the first record on, the
    /// cost that of the whole process.
    pub(super) fn capture(&self, kafka: &Kafka, records: u64) -> Measured {
        let mut running = self.start();
        let written = || -> u64 {
            if !kafka.topics().iter().any(|topic| topic == TOPIC) {
                return 0;
            }
            let numbers = 0..i32::try_from(kafka.partitions(TOPIC)).expect("few");
            numbers.map(|number| u64::try_from(kafka.offsets(TOPIC, number).1).unwrap_or(0)).sum()
        };
        let mut begun = None;
        let wall = wait_until("Debezium to write all records", LIMIT, || {
            assert!(running.ended().is_none(), "Debezium ended: {}", self.printed());
            let written = written();
            if written > 0 && begun.is_none() {
                begun = Some(Instant::now());
            }
            (written >= records).then(|| begun.map_or(Duration::ZERO, |begun| begun.elapsed()))
        });
        let cost = running.cpu().zip(running.peak_mib());
        running.kill();
        let (cpu, peak_mib) = cost.expect("it ran until then");
        Measured { wall, cpu, peak_mib }
    }

    fn start(&self) -> Child {
        let mut command = Command::new("java");
        command
            .args(["-Xmx1500m", "-cp"])
            .arg(installed(LIBRARIES).join("*"))
            .args([
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "org.apache.kafka.connect.cli.ConnectStandalone",
            ])
            .arg(self.directory.join("worker.properties"))
            .arg(self.directory.join("connector.properties"));
        Child::start("connect", &command, self.directory.path())
    }

    fn printed(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("connect.out") + &read("connect.err")
    }
}

/// Large batches and lz4: as its users tune it for throughput.
fn worker(kafka: &Kafka, offsets: &Path) -> String {
    format!(
        "bootstrap.servers={}
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter.schemas.enable=false
offset.storage.file.filename={}
offset.flush.interval.ms=1000
listeners=http://127.0.0.1:0
producer.compression.type=lz4
producer.batch.size=1000000
producer.linger.ms=20
",
        kafka.brokers(),
        offsets.display()
    )
}

fn connector(server: &MySql, kafka: &Kafka) -> String {
    format!(
        "name=orders
connector.class=io.debezium.connector.mysql.MySqlConnector
database.hostname=127.0.0.1
database.port={}
database.user=root
database.password=
database.ssl.mode=disabled
driver.allowPublicKeyRetrieval=true
database.server.id=4242
topic.prefix={PREFIX}
database.include.list=shop
include.schema.changes=false
tombstones.on.delete=false
snapshot.mode=no_data
snapshot.locking.mode=none
heartbeat.interval.ms=500
max.batch.size=20480
max.queue.size=81920
poll.interval.ms=10
schema.history.internal.kafka.bootstrap.servers={}
schema.history.internal.kafka.topic=debezium-history
topic.creation.default.partitions=4
topic.creation.default.replication.factor=1
",
        server.port(),
        kafka.brokers()
    )
}
