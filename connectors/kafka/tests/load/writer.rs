//! Writes as capture does: events and a checkpoint in one transaction, counted by topic partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use lakeward_core::clock::ManualClock;
use lakeward_core::{
    BinlogPosition, ChangeBatch, ChangeMeta, Checkpoint, Column, ColumnType, Op, Origin, OriginRun, Position,
    SnapshotState, TableId, TableSchema, TableState, TableStatus, TypeOptions,
};
use lakeward_kafka::checkpoints::{CaptureCheckpoint, schema_key};
use lakeward_kafka::format::{Encoded, Encoder, FormatOptions, Modes};
use lakeward_kafka::topics::{checkpoint_topic, data_topic};
use lakeward_test_support::kafka::Kafka;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub(crate) const PIPELINE: &str = "shop";
const LIMIT: Duration = Duration::from_secs(60);

/// A pipeline's capturing side.
pub(crate) struct Writer {
    producer: BaseProducer,
    encoder: Encoder,
    next_seq: i64,
    number: u64,
    counts: BTreeMap<String, BTreeMap<i32, u64>>,
    versions: BTreeMap<TableId, Arc<TableSchema>>,
    /// What its checkpoints say of how values are written.
    pub(crate) modes: Option<Modes>,
    /// What it was before the transaction.
    before: (i64, BTreeMap<String, BTreeMap<i32, u64>>),
}

/// A table's first version.
pub(crate) fn table(name: &str) -> Arc<TableSchema> {
    let int = ColumnType::Int { width: 8, unsigned: false, display_one: false };
    let columns =
        vec![Column::new("id", int, false), Column::new("note", ColumnType::Text { collation: 255 }, true)];
    Arc::new(TableSchema::new(TableId::new("shop", name), 1, columns, vec![0], TypeOptions::default()))
}

/// The topic of a table.
pub(crate) fn topic(name: &str) -> String {
    data_topic(PIPELINE, &TableId::new("shop", name))
}

impl Writer {
    pub(crate) fn start(broker: &Kafka) -> Writer {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.brokers())
            .set("transactional.id", "capture")
            .set("queue.buffering.max.messages", "2000000")
            .create()
            .unwrap();
        producer.init_transactions(LIMIT).unwrap();
        let clock = Arc::new(ManualClock::at(1_795_269_600_000_000));
        let checkpoints = checkpoint_topic(PIPELINE);
        if !broker.topics().contains(&checkpoints) {
            broker.create_topic(&checkpoints, 1, &[("cleanup.policy", "compact")]);
        }
        let encoder = Encoder::new(&FormatOptions::default(), PIPELINE, clock).unwrap();
        let mut writer = Writer {
            producer,
            encoder,
            next_seq: 1,
            number: 0,
            counts: BTreeMap::new(),
            versions: BTreeMap::new(),
            modes: None,
            before: (1, BTreeMap::new()),
        };
        writer.begin();
        writer
    }

    fn begin(&mut self) {
        self.before = (self.next_seq, self.counts.clone());
        self.producer.begin_transaction().unwrap();
    }

    /// Announces a table version.
    pub(crate) fn version(&mut self, schema: &Arc<TableSchema>) {
        let topic = data_topic(PIPELINE, &schema.table);
        self.encoder.schema(schema, &topic).unwrap();
        let key = schema_key(&schema.table, schema.version);
        self.send(
            &checkpoint_topic(PIPELINE),
            0,
            Some(key.as_bytes()),
            Some(&serde_json::to_vec(&**schema).unwrap()),
            &[],
        );
        self.versions.insert(schema.table.clone(), Arc::clone(schema));
    }

    /// Events of `table`: an op and a key each, of which the topic partition is the key modulo `partitions`.
    pub(crate) fn events(&mut self, name: &str, partitions: i64, events: &[(Op, i64)]) {
        let schema = Arc::clone(&self.versions[&TableId::new("shop", name)]);
        let ids: Vec<i64> = events.iter().map(|(_, id)| *id).collect();
        let first = self.next_seq;
        self.next_seq += i64::try_from(events.len()).unwrap();
        let seq: Vec<i64> = (first..self.next_seq).collect();
        let notes: Vec<String> = seq.iter().map(|seq| format!("event {seq}")).collect();
        let rows = RecordBatch::try_new(
            Arc::clone(&schema.arrow),
            vec![Arc::new(Int64Array::from(ids.clone())), Arc::new(StringArray::from(notes))],
        );
        let origin = Origin {
            commit_us: 1_795_269_600_000_000 + first,
            file: "binlog.000001".into(),
            offset: 4,
            ..Origin::default()
        };
        let meta = ChangeMeta {
            op: events.iter().map(|(op, _)| *op).collect(),
            seq: seq.clone(),
            topic_partition: None,
            origins: vec![OriginRun { rows: events.len(), first_row: 0, origin }],
        };
        let batch = ChangeBatch { schema: Arc::clone(&schema), rows: rows.unwrap(), before: None, meta };
        let mut encoded = Encoded::default();
        self.encoder.batch(&batch, &mut encoded).unwrap();
        let topic = topic(name);
        for record in &encoded.records {
            let partition = i32::try_from(ids[record.row] % partitions).unwrap();
            let part = |range: &Option<std::ops::Range<usize>>| {
                range.clone().map(|range| encoded.bytes[range].to_vec())
            };
            let (key, value) = (part(&record.key), part(&record.value));
            let headers = [
                ("op", events[record.row].0.letter().to_owned()),
                ("seq", seq[record.row].to_string()),
                ("version", schema.version.to_string()),
            ];
            let is_event = value.is_some();
            self.send(
                &topic,
                partition,
                key.as_deref(),
                value.as_deref(),
                if is_event { &headers } else { &[] },
            );
            if is_event {
                self.count(&topic, partition, 1);
            }
        }
    }

    /// Changes a count without an event, or the other way round.
    pub(crate) fn count(&mut self, topic: &str, partition: i32, events: i64) {
        let count = self.counts.entry(topic.to_owned()).or_default().entry(partition).or_default();
        *count = count.saturating_add_signed(events);
    }

    /// A record as it is, not counted.
    pub(crate) fn send(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, String)],
    ) {
        let added = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: Some(value.as_bytes()) })
        });
        let mut record = BaseRecord::<[u8], [u8], ()>::to(topic).partition(partition).headers(added);
        (record.key, record.payload) = (key, value);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.poll(Duration::ZERO);
    }

    /// The next number.
    pub(crate) fn next_seq(&self) -> i64 {
        self.next_seq
    }

    /// Takes a number that no event bears.
    pub(crate) fn skip_number(&mut self) {
        self.next_seq += 1;
    }

    /// Ends the transaction without a checkpoint, as compaction leaves it.
    pub(crate) fn commit_without_checkpoint(&mut self) {
        self.number += 1;
        self.producer.commit_transaction(LIMIT).unwrap();
        self.begin();
    }

    /// Ends the transaction with a checkpoint.
    pub(crate) fn commit(&mut self) {
        self.number += 1;
        let state = |schema: &Arc<TableSchema>| TableState {
            schema_version: schema.version,
            status: TableStatus::Active,
            snapshot: SnapshotState::NotAsked,
            deleted_by_key: false,
            dropped: false,
        };
        let tables = self.versions.iter().map(|(table, schema)| (table.clone(), state(schema))).collect();
        let position = Position::Binlog(BinlogPosition {
            server_uuid: uuid::Uuid::nil(),
            file: "binlog.000001".into(),
            offset: 4,
            gtid_set: None,
        });
        let checkpoint = Checkpoint {
            position,
            next_seq: self.next_seq,
            commit_us: Some(1_795_269_600_000_000 + self.next_seq),
            retired: 0,
            prepared: Vec::new(),
            requests: Vec::new(),
            tables: Arc::new(tables),
        };
        let (pipeline, events) = (PIPELINE.to_owned(), self.counts.clone());
        let written = CaptureCheckpoint {
            format: 1,
            pipeline,
            number: self.number,
            checkpoint,
            events,
            modes: self.modes.clone(),
        };
        self.send(
            &checkpoint_topic(PIPELINE),
            0,
            Some(b"checkpoint"),
            Some(&serde_json::to_vec(&written).unwrap()),
            &[],
        );
        self.producer.commit_transaction(LIMIT).unwrap();
        self.begin();
    }

    /// Ends the transaction as if nothing was written.
    pub(crate) fn abort(&mut self) {
        self.producer.flush(LIMIT).unwrap();
        self.producer.abort_transaction(LIMIT).unwrap();
        (self.next_seq, self.counts) = self.before.clone();
        self.begin();
    }
}
