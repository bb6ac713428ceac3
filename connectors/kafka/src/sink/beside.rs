//! What goes to the topics beside those of tables, each of which can be switched on: where transactions of the source
//! begin and end, heartbeats, and statements that change tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::{ChangeBatch, Error, ErrorKind, Result, SchemaChange, failpoint};

use super::SinkOptions;
use super::delivery::Place;
use super::murmur2::topic_partition;
use super::source_transactions::SourceTransactions;
use crate::client::Reader;
use crate::format::metadata::{HeartbeatRecords, Record, TransactionRecords};
use crate::format::schema_changes::SchemaChangeRecords;
use crate::topics::{self, Admin, heartbeat_topic, schema_change_topic, transaction_topic};

/// The topics that are switched on.
#[derive(Default)]
pub(super) struct Beside {
    transactions: Option<Transactions>,
    heartbeats: Option<(Topic, HeartbeatRecords)>,
    changes: Option<(Topic, SchemaChangeRecords)>,
}

struct Transactions {
    topic: Topic,
    records: TransactionRecords,
    open: SourceTransactions,
}

/// A topic and its topic partitions.
struct Topic(Vec<Arc<Place>>);

/// A record, and where it goes.
pub(super) struct Sent {
    pub(super) place: Arc<Place>,
    pub(super) record: Record,
}

impl Topic {
    fn sent(&self, record: Record) -> Result<Sent> {
        self.at(topic_partition(&record.0, self.0.len()), record)
    }

    fn first(&self, record: Record) -> Result<Sent> {
        self.at(0, record)
    }

    fn at(&self, place: usize, record: Record) -> Result<Sent> {
        match self.0.get(place) {
            Some(place) => Ok(Sent { place: Arc::clone(place), record }),
            None => Err(Error::new(ErrorKind::TopicLost, "a topic has no topic partitions")),
        }
    }
}

impl Beside {
    /// Makes the topics that are missing. For `avro` it registers their schemas, and waits for the registry.
    pub(super) fn open(options: &SinkOptions, reader: &Reader, admin: &Admin) -> Result<Beside> {
        let kafka = &options.kafka;
        let there = topics::partitions(reader)?;
        let mut made = BTreeMap::new();
        for name in topics::beside(kafka) {
            let count = match there.get(&name) {
                Some(count) => *count,
                None if kafka.topics.create => {
                    failpoint::hit("kafka.topic.create")?;
                    admin.create_beside(&name, &kafka.topics)?;
                    tracing::info!(topic = name, "made a topic");
                    topics::shown(reader, &name, options.clock.as_ref())?
                }
                None => return Err(topics::missing(&name)),
            };
            let topic: Arc<str> = name.as_str().into();
            let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
            let place = |at: usize| Arc::new(Place::new(Arc::clone(&topic), number(at), 0));
            made.insert(name, Topic((0..count).map(place).collect()));
        }
        let mut beside = Beside::default();
        let (transactions, heartbeats) = (transaction_topic(&kafka.prefix), heartbeat_topic(&kafka.prefix));
        if let Some(topic) = made.remove(&transactions) {
            let records = TransactionRecords::new(&kafka.format, &transactions)?;
            beside.transactions = Some(Transactions { topic, records, open: SourceTransactions::default() });
        }
        if let Some(topic) = made.remove(&heartbeats) {
            let records = HeartbeatRecords::new(&kafka.format, &heartbeats, &kafka.prefix)?;
            beside.heartbeats = Some((topic, records));
        }
        let changes = schema_change_topic(&kafka.prefix);
        if let Some(topic) = made.remove(&changes) {
            let records = SchemaChangeRecords::new(&kafka.format, &changes, &kafka.prefix)?;
            beside.changes = Some((topic, records));
        }
        Ok(beside)
    }

    /// Notes change events of `table`; what [`crate::format::Encoder::batch_in_order`] wants to know of them, where they
    /// are to tell their transactions.
    pub(super) fn note(&mut self, batch: &ChangeBatch, table: &Arc<str>) -> Option<Vec<u64>> {
        self.transactions.as_mut().map(|transactions| transactions.open.note(batch, table))
    }

    /// Notes a mark.
    pub(super) fn note_mark(&mut self, seq: i64) {
        if let Some(transactions) = &mut self.transactions {
            transactions.open.note_mark(seq);
        }
    }

    /// The records of the next transaction that is whole by now; `all` are at a commit.
    pub(super) fn next_transaction(&mut self, all: bool) -> Result<Option<[Sent; 2]>> {
        let Some(Transactions { topic, records, open }) = &mut self.transactions else { return Ok(None) };
        let Some(transaction) = open.next_whole(all) else { return Ok(None) };
        Ok(Some([topic.sent(records.begin(&transaction)?)?, topic.sent(records.end(&transaction)?)?]))
    }

    /// A heartbeat of `at_us`, µs UTC.
    pub(super) fn heartbeat(&self, at_us: i64) -> Result<Option<Sent>> {
        let Some((topic, records)) = &self.heartbeats else { return Ok(None) };
        topic.sent(records.record(at_us)?).map(Some)
    }

    /// What a statement does, told at `at_us`, µs UTC. All of them go to one topic partition, in their order.
    pub(super) fn schema_change(&self, change: &SchemaChange, at_us: i64) -> Result<Option<Sent>> {
        let Some((topic, records)) = &self.changes else { return Ok(None) };
        topic.first(records.record(change, at_us)?).map(Some)
    }
}
