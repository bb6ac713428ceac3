//! What tests ask of a broker: topics, records, rights.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Kafka;
use crate::{wait_patiently, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// A record as a reader of committed ones sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its topic partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its timestamp in milliseconds.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(&found.1).ok()
    }

    /// The value, as JSON.
    pub fn json(&self) -> serde_json::Value {
        let value = self.value.as_deref().expect("the record has a value");
        serde_json::from_slice(value).expect("the value is JSON")
    }
}

/// Remembers a record that was not written.
#[derive(Default)]
struct Delivered(std::sync::Mutex<Option<KafkaError>>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *self.0.lock().expect("the lock") = Some(error.clone());
        }
    }
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    // What a broker that is starting refuses is asked again by `wait_until`, not told.
    config.set("log_level", "0");
    config
}

/// Whether a broker serves requests.
pub(super) fn answers(brokers: &str) -> bool {
    let client: Result<BaseConsumer, KafkaError> = config(brokers).create();
    let metadata = client.and_then(|client| client.fetch_metadata(None, Duration::from_secs(5)));
    metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
}

impl Kafka {
    fn admin(&self) -> AdminClient<DefaultClientContext> {
        config(&self.brokers()).create().expect("the admin client starts")
    }

    fn consumer(&self) -> BaseConsumer {
        let mut config = config(&self.brokers());
        config.set("group.id", "lakeward-tests").set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "earliest");
        // Behind the mark of a transaction, an answer without records alone tells the end: brokers keep it back so long.
        config.set("fetch.wait.max.ms", "10");
        config.create().expect("the consumer starts")
    }

    /// Creates a topic.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let created = wait_for(self.admin().create_topics([&topic], &options()));
        let created = created.unwrap_or_else(|error| panic!("cannot create {name}: {error}"));
        assert!(created.iter().all(Result::is_ok), "cannot create {name}: {created:?}");
        wait_until("the topic", LIMIT, || self.topics().iter().any(|topic| topic == name).then_some(()));
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, name: &str) {
        let deleted = wait_for(self.admin().delete_topics(&[name], &options()));
        let deleted = deleted.unwrap_or_else(|error| panic!("cannot delete {name}: {error}"));
        assert!(deleted.iter().all(Result::is_ok), "cannot delete {name}: {deleted:?}");
        wait_until("the topic to go", LIMIT, || {
            self.topics().iter().all(|topic| topic != name).then_some(())
        });
    }

    /// Removes all records that a topic has now, as retention does.
    pub fn delete_records(&self, name: &str) {
        let mut ends = TopicPartitionList::new();
        for partition in 0..i32::try_from(self.partitions(name)).expect("few topic partitions") {
            let end = Offset::Offset(self.offsets(name, partition).1);
            ends.add_partition_offset(name, partition, end).expect("a place");
        }
        let deleted = wait_for(self.admin().delete_records(&ends, &options()));
        deleted.unwrap_or_else(|error| panic!("cannot delete the records of {name}: {error}"));
    }

    /// Gives a topic more topic partitions.
    pub fn add_partitions(&self, name: &str, count: usize) {
        let wanted = NewPartitions::new(name, count);
        let done = wait_for(self.admin().create_partitions([&wanted], &options()));
        let done = done.unwrap_or_else(|error| panic!("cannot add to {name}: {error}"));
        assert!(done.iter().all(Result::is_ok), "cannot add to {name}: {done:?}");
        wait_until("the topic partitions", LIMIT, || (self.partitions(name) == count).then_some(()));
    }

    /// One setting of a topic, as the broker has it.
    pub fn topic_setting(&self, topic: &str, setting: &str) -> Option<String> {
        let asked = wait_for(self.admin().describe_configs([&ResourceSpecifier::Topic(topic)], &options()));
        let described = asked.expect("settings can be asked for").remove(0).expect("the topic is there");
        described.get(setting)?.value.clone()
    }

    /// Names of all topics but Kafka's own, in order.
    pub fn topics(&self) -> Vec<String> {
        let consumer = self.consumer();
        let metadata = asked("topics", || consumer.fetch_metadata(None, LIMIT));
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names
            .filter(|name| {
                !matches!(name.as_str(), "__consumer_offsets" | "__transaction_state" | "__share_group_state")
            })
            .collect();
        names.sort();
        names
    }

    /// Number of a topic's partitions; 0 without the topic.
    pub fn partitions(&self, topic: &str) -> usize {
        partitions(&self.consumer(), topic)
    }

    /// The log start offset and the high watermark of a topic partition.
    pub fn offsets(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer = self.consumer();
        asked(topic, || consumer.fetch_watermarks(topic, partition, LIMIT))
    }

    /// Writes one record.
    pub fn write(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        let producer: BaseProducer<Delivered> =
            config(&self.brokers()).create_with_context(Delivered::default()).expect("the producer starts");
        let added = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let mut record = BaseRecord::<[u8], [u8], ()>::to(topic).partition(partition).headers(added);
        record.key = key;
        record.payload = value;
        producer.send(record).unwrap_or_else(|(error, _)| panic!("cannot write to {topic}: {error}"));
        producer.flush(LIMIT).unwrap_or_else(|error| panic!("cannot write to {topic}: {error}"));
        let failed = producer.context().0.lock().expect("the lock").take();
        assert!(failed.is_none(), "cannot write to {topic}: {failed:?}");
    }

    /// All records of a topic that are committed now, topic partition by topic partition. A writer that goes on does not
    /// hold it up: what comes later is left out.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        asked(topic, || self.try_read(topic))
    }

    fn try_read(&self, topic: &str) -> Result<Vec<Record>, KafkaError> {
        let consumer = self.consumer();
        let count = partitions(&consumer, topic);
        let mut places = TopicPartitionList::new();
        let mut ends = Vec::new();
        for partition in 0..count {
            let partition = i32::try_from(partition).expect("few topic partitions");
            places.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
            ends.push(consumer.fetch_watermarks(topic, partition, LIMIT)?.1);
        }
        consumer.assign(&places).expect("places can be assigned");
        let mut records = Vec::new();
        let mut ended = std::collections::BTreeSet::new();
        while ended.len() < count {
            match consumer.poll(LIMIT).unwrap_or_else(|| panic!("no record and no end of {topic}")) {
                Ok(message) => {
                    let record = record(&message);
                    let end = ends[usize::try_from(record.partition).expect("a number")];
                    if record.offset + 1 >= end {
                        ended.insert(record.partition);
                    }
                    if record.offset < end {
                        records.push(record);
                    }
                }
                Err(KafkaError::PartitionEOF(partition)) => drop(ended.insert(partition)),
                Err(error) => return Err(error),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// Changes one setting of a topic.
    pub fn set_topic(&self, topic: &str, setting: &str, value: &str) {
        let setting = format!("{setting}={value}");
        let arguments =
            ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", &setting];
        self.tool("kafka.admin.ConfigCommand", &arguments);
    }

    /// Changes ACLs: `kafka-acls.sh` with these arguments.
    pub fn acls(&self, arguments: &[&str]) {
        self.tool("org.apache.kafka.tools.AclCommand", arguments);
    }

    /// Runs one of Kafka's own tools to its end; what it printed.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = self.java(class, "128m");
        command.args(["--bootstrap-server", &self.brokers()]).args(arguments);
        let output = command.output().expect("java starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{class}: {printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }
}

/// What a broker answers. One that was started or resumed just now refuses for a while: its topic partitions have no
/// leader until it has told the controller that it lives.
fn asked<T>(what: &str, mut ask: impl FnMut() -> Result<T, KafkaError>) -> T {
    let told = |error: &KafkaError| println!("the broker tells nothing of {what}: {error}");
    wait_patiently(&format!("the broker to tell of {what}"), LIMIT, || ask().inspect_err(told).ok())
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> usize {
    let metadata = asked(topic, || consumer.fetch_metadata(Some(topic), LIMIT));
    metadata.topics().iter().map(|topic| topic.partitions().len()).sum()
}

fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect(),
        timestamp: message.timestamp().to_millis(),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

/// Runs a future that another thread completes.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
