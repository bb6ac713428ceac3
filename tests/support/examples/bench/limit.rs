//! What the client library alone takes for as many records: the limit of `capture`. Run as a process of its own, so that its
//! cost can be read.

use std::env;
use std::process::Command;
use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{Measured, measure};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::over_kafka::{RECORD_BYTES, TOPIC_PARTITIONS};

const TOPIC: &str = "limit";
/// The first argument of the process that [`measured`] starts.
const ROLE: &str = "produce";
/// Records of a transaction.
const TRANSACTION: u64 = 50_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Sends `records` records with keys and without headers, in transactions, with the settings of `capture`.
pub(super) fn measured(kafka: &Kafka, records: u64) -> Measured {
    kafka.create_topic(TOPIC, i32::try_from(TOPIC_PARTITIONS).expect("few"), &[]);
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command.args([ROLE, &kafka.brokers(), &records.to_string()]);
    let measured = measure(&command);
    kafka.delete_topic(TOPIC);
    measured
}

/// Whether this is the process that [`measured`] started; then its work is done.
pub(super) fn is_it() -> bool {
    let arguments: Vec<String> = env::args().collect();
    let [_, role, brokers, records] = arguments.as_slice() else { return false };
    if role != ROLE {
        return false;
    }
    produce(brokers, records.parse().expect("a number of records"));
    true
}

fn produce(brokers: &str, records: u64) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", TOPIC)
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .create()
        .expect("a producer");
    producer.init_transactions(LIMIT).expect("transactions");
    // Text of the size of the workload's rows in Avro, a part of which each record has of its own.
    let mut value = vec![b'v'; RECORD_BYTES.parse().expect("a size")];
    for number in 0..records {
        if number.is_multiple_of(TRANSACTION) {
            if number > 0 {
                producer.commit_transaction(LIMIT).expect("a commit");
            }
            producer.begin_transaction().expect("a transaction");
        }
        let own = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (place, byte) in value.iter_mut().enumerate().skip(1).step_by(2) {
            *byte = b'a' + ((own >> (place % 57)) & 15) as u8;
        }
        send(&producer, number, &value);
    }
    producer.commit_transaction(LIMIT).expect("the last commit");
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, number: u64, value: &[u8]) {
    let key = number.to_be_bytes();
    let partition = i32::try_from(number % u64::from(TOPIC_PARTITIONS)).expect("few");
    let mut record = BaseRecord::to(TOPIC).key(&key).payload(value).partition(partition);
    while let Err((error, given_back)) = producer.send(record) {
        assert!(
            matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)),
            "a record was refused: {error}"
        );
        record = given_back;
        std::thread::sleep(Duration::from_millis(5));
    }
}
