//! The thread that encodes and sends.
//!
//! Guarantee: what [`Writer::commit`] counts in a checkpoint is what this transaction sent: each event that is handed to
//! the client is counted once, in the topic partition it is sent to, and the client commits only if all of them were
//! written. Memory: a batch is encoded in pieces of about [`PIECE`] bytes, and waits while the client's queue is full.

mod commit;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{
    ChangeBatch, Error, ErrorKind, MarkReason, Op, Result, SchemaChange, TableId, TableMark, TableSchema,
    failpoint,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, Producer};

use super::SinkOptions;
use super::beside::{Beside, Sent as SentBeside};
use super::delivery::{Deliveries, Place};
use super::lane::{Lane, headers};
use super::transaction::{Transactions, shown, too_large};
use crate::checkpoints::{self, CaptureCheckpoint, WRITER_KEY};
use crate::client::Reader;
use crate::format::{Encoded, EncodedRecord, Encoder};
use crate::topics::{self, Admin, Names, checkpoint_topic, request_topic};

/// Bytes that are encoded at once, about.
const PIECE: usize = 1 << 20;
/// Rows of the first piece of a table, whose rows may have any size.
const FIRST_ROWS: usize = 64;

/// What a [`Writer`] is made of.
pub(super) struct WriterParts {
    pub(super) transactions: Transactions,
    pub(super) encoder: Encoder,
    pub(super) beside: Beside,
    pub(super) reader: Arc<Reader>,
    pub(super) admin: Admin,
    pub(super) last: Option<CaptureCheckpoint>,
    pub(super) stored: BTreeMap<(TableId, u32), Arc<TableSchema>>,
}

/// Encodes, sends, commits.
pub(super) struct Writer {
    options: SinkOptions,
    transactions: Transactions,
    encoder: Encoder,
    beside: Beside,
    reader: Arc<Reader>,
    admin: Admin,
    names: Names,
    lanes: BTreeMap<TableId, Lane>,
    /// Versions that are in the checkpoint topic, and those that the open transaction will add.
    stored: BTreeMap<(TableId, u32), Arc<TableSchema>>,
    fresh: Vec<Arc<TableSchema>>,
    /// Cumulative counts by topic, as of the last checkpoint; of tables that have no lane yet, too.
    events: BTreeMap<String, BTreeMap<i32, u64>>,
    number: u64,
    /// Requests whose removal is committed.
    removed: BTreeSet<String>,
    own: [Arc<Place>; 2],
    encoded: Encoded,
    /// Bytes that a row took, by the last piece of the table.
    row_bytes: BTreeMap<TableId, usize>,
    looked: Duration,
    /// The time of records, in milliseconds: asked for once for many of them.
    now_ms: Option<i64>,
    sent: Sent,
}

/// Counted since the last commit.
#[derive(Default)]
struct Sent {
    rows: BTreeMap<TableId, u64>,
    bytes: u64,
}

impl Writer {
    pub(super) fn new(options: SinkOptions, parts: WriterParts) -> Writer {
        let WriterParts { transactions, encoder, beside, reader, admin, last, stored } = parts;
        let prefix = &options.kafka.prefix;
        let own = [checkpoint_topic(prefix), request_topic(prefix)]
            .map(|topic| Arc::new(Place::new(topic.into(), 0, 0)));
        let looked = options.clock.elapsed();
        Writer {
            options,
            transactions,
            encoder,
            beside,
            reader,
            admin,
            names: Names::default(),
            lanes: BTreeMap::new(),
            stored,
            fresh: Vec::new(),
            number: last.as_ref().map_or(0, |last| last.number),
            events: last.map(|last| last.events).unwrap_or_default(),
            removed: BTreeSet::new(),
            own,
            encoded: Encoded::default(),
            row_bytes: BTreeMap::new(),
            looked,
            now_ms: None,
            sent: Sent::default(),
        }
    }

    /// Puts this writer's name, so that an older one that the brokers refuse learns why.
    pub(super) fn claim(&mut self) -> Result<()> {
        let writer = checkpoints::Writer { id: self.options.writer, pipeline: self.options.pipeline.clone() };
        let body = json(&writer)?;
        self.transactions.begin()?;
        self.send(&Arc::clone(&self.own[0]), Some(WRITER_KEY.as_bytes()), Some(&body), None)?;
        self.transactions.commit()
    }

    /// Takes a version: its topic is there from now on.
    pub(super) fn schema(&mut self, schema: &Arc<TableSchema>) -> Result<()> {
        let topic = self.names.of(&self.options.kafka.prefix, &schema.table)?;
        if !self.lanes.contains_key(&schema.table) {
            let lane = self.lane(&schema.table, &topic)?;
            self.lanes.insert(schema.table.clone(), lane);
        }
        if let Some(lane) = self.lanes.get_mut(&schema.table) {
            lane.version = schema.version.to_string();
        }
        self.encoder.schema(schema, &topic)?;
        let key = (schema.table.clone(), schema.version);
        match self.stored.get(&key) {
            Some(stored) if stored != schema => {
                Err(Error::new(ErrorKind::Bug, "a table version has two structures")
                    .of_table(&schema.table)
                    .at("version", schema.version))
            }
            Some(_) => Ok(()),
            None => {
                self.stored.insert(key, Arc::clone(schema));
                self.fresh.push(Arc::clone(schema));
                Ok(())
            }
        }
    }

    fn lane(&self, table: &TableId, topic: &str) -> Result<Lane> {
        let config = &self.options.kafka.topics;
        let count = match topics::partitions(&self.reader)?.get(topic) {
            Some(count) => {
                self.is_counted(topic, *count).map_err(|error| error.of_table(table))?;
                *count
            }
            None if config.create => {
                failpoint::hit("kafka.topic.create")?;
                self.admin.create_data(topic, config).map_err(|error| error.of_table(table))?;
                tracing::info!(topic, "made a topic");
                topics::shown(&self.reader, topic, self.options.clock.as_ref())?
            }
            None => return Err(topics::missing(topic).of_table(table)),
        };
        let counted = self.events.get(topic);
        let known = counted.map_or(0, BTreeMap::len);
        if known > 0 && known < count {
            tell_more(topic, known, count);
        }
        let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let events = |at: usize| counted.and_then(|counted| counted.get(&number(at))).copied().unwrap_or(0);
        let events: Vec<u64> = (0..count).map(events).collect();
        Ok(Lane::new(table.clone(), topic, count, &events, self.admin.max_message_bytes(topic)))
    }

    /// Records of a topic that no checkpoint counts: the checkpoints were lost, or somebody else writes there. To go on
    /// would give each row a second time.
    fn is_counted(&self, topic: &str, count: usize) -> Result<()> {
        if self.events.contains_key(topic) {
            return Ok(());
        }
        for number in 0..i32::try_from(count).unwrap_or(i32::MAX) {
            let found = checkpoints::any_committed(&self.reader, topic, number, self.options.clock.as_ref())?;
            if let Some(offset) = found {
                self.transactions.refuse_fenced()?;
                let message = "a topic has records that no checkpoint of this pipeline counts: the checkpoint topic was \
                               lost, or another pipeline writes there";
                return Err(Error::new(ErrorKind::TopicLost, message)
                    .at("topic", topic)
                    .at("topic partition", number)
                    .at("offset", offset)
                    .remedy("begin a new pipeline: another `name` and `topic_prefix`; or delete all topics of this one"));
            }
        }
        Ok(())
    }

    /// Sends change events.
    pub(super) fn write(&mut self, batch: ChangeBatch) -> Result<()> {
        failpoint::hit("kafka.write")?;
        self.transactions.begin()?;
        self.transactions.stands()?;
        let rows = batch.meta.op.len();
        let mut done = 0;
        while done < rows {
            let table = &batch.schema.table;
            let fits = self.row_bytes.get(table).map_or(FIRST_ROWS, |bytes| (PIECE / (*bytes).max(1)).max(1));
            let piece = batch.slice(done, fits.min(rows - done));
            let mut encoded = std::mem::take(&mut self.encoded);
            let lane = self.lanes.get(table);
            match lane.and_then(|lane| self.beside.note(&piece, &lane.name)) {
                Some(earlier) => self.encoder.batch_in_order(&piece, &earlier, &mut encoded)?,
                None => self.encoder.batch(&piece, &mut encoded)?,
            }
            let length = piece.meta.op.len();
            self.row_bytes.insert(table.clone(), encoded.bytes.len() / length.max(1));
            self.now_ms = Some(self.options.clock.unix_micros() / 1000);
            self.send_rows(&piece, &encoded)?;
            self.now_ms = None;
            self.transactions.stands()?;
            self.encoded = encoded;
            done += length;
        }
        self.tell_transactions(false)
    }

    /// Tells the source's transactions that are whole by now; `all` are at a commit.
    fn tell_transactions(&mut self, all: bool) -> Result<()> {
        while let Some(records) = self.beside.next_transaction(all)? {
            records.iter().try_for_each(|record| self.send_beside(record))?;
        }
        Ok(())
    }

    fn send_beside(&mut self, sent: &SentBeside) -> Result<()> {
        self.transactions.writes_to(&sent.place.topic);
        let (key, value) = &sent.record;
        self.send(&sent.place, Some(key), Some(value), None)
    }

    /// Tells what a statement does: in the transaction of the checkpoint that covers it.
    pub(super) fn schema_change(&mut self, change: &SchemaChange) -> Result<()> {
        let Some(sent) = self.beside.schema_change(change, self.options.clock.unix_micros())? else {
            return Ok(());
        };
        self.transactions.begin()?;
        self.send_beside(&sent)
    }

    fn send_rows(&mut self, piece: &ChangeBatch, encoded: &Encoded) -> Result<()> {
        let mut lane = self.take_lane(&piece.schema)?;
        self.transactions.writes_to(&lane.topic);
        let sent = self.send_rows_to(&mut lane, piece, encoded);
        self.lanes.insert(lane.table.clone(), lane);
        sent
    }

    fn take_lane(&mut self, schema: &TableSchema) -> Result<Lane> {
        self.lanes.remove(&schema.table).ok_or_else(|| {
            Error::new(ErrorKind::Bug, "events came before their table's structure").of_table(&schema.table)
        })
    }

    fn send_rows_to(&mut self, lane: &mut Lane, piece: &ChangeBatch, encoded: &Encoded) -> Result<()> {
        let mut gtids = piece
            .meta
            .origins
            .iter()
            .flat_map(|run| std::iter::repeat_n(run.origin.gtid.as_deref(), run.rows));
        let (mut gtid, mut at) = (None, None);
        let mut number = String::new();
        let mut events = 0;
        for record in &encoded.records {
            let (Some(op), Some(seq)) = (piece.meta.op.get(record.row), piece.meta.seq.get(record.row))
            else {
                return Err(
                    Error::new(ErrorKind::Bug, "a record of no row was encoded").of_table(&lane.table)
                );
            };
            while at.is_none_or(|at| at < record.row) {
                gtid = gtids.next().flatten();
                at = Some(at.map_or(0, |at: usize| at + 1));
            }
            let (key, value) = (slice(encoded, record.key.as_ref()), slice(encoded, record.value.as_ref()));
            let place = lane.of(key, *seq);
            // A tombstone is no event, and has no headers.
            let headers = value.is_some().then(|| {
                number.clear();
                // Writing into a String cannot fail.
                let _written = write!(number, "{seq}");
                headers(op.letter(), &number, &lane.version, gtid, None)
            });
            self.send_event(lane, place, key, value, headers)?;
            events += u64::from(value.is_some());
        }
        self.sent.bytes += encoded.bytes.len() as u64;
        *self.sent.rows.entry(lane.table.clone()).or_default() += events;
        if events != piece.meta.op.len() as u64 {
            let message = format!("{events} records were encoded for {} change events", piece.meta.op.len());
            return Err(Error::new(ErrorKind::Bug, message).of_table(&lane.table));
        }
        Ok(())
    }

    fn send_event(
        &mut self,
        lane: &mut Lane,
        place: usize,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<()> {
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        // The brokers look at the compressed batch, which may be smaller. But how well a value is compressed is luck, and of
        // a batch that is refused nobody knows which record it was; so the limit is for the record as it is.
        if lane.max_bytes.is_some_and(|max| bytes as u64 > max) {
            let error = too_large(bytes).of_table(&lane.table).at("key", shown(key)).at("topic", &lane.topic);
            return Err(error.at("limit", lane.max_bytes.unwrap_or_default()));
        }
        let (Some(target), Some(events)) = (lane.places.get(place), lane.events.get_mut(place)) else {
            return Err(
                Error::new(ErrorKind::TopicLost, "a topic has no topic partitions").at("topic", &lane.topic)
            );
        };
        *events += u64::from(headers.is_some());
        let sent = self.send(target, key, value, headers);
        sent.map_err(|error| match error.kind() {
            ErrorKind::MessageTooLarge => error.of_table(&lane.table).at("key", shown(key)),
            _ => error,
        })
    }

    /// Sends a mark.
    pub(super) fn mark(&mut self, mark: &TableMark) -> Result<()> {
        self.transactions.begin()?;
        self.beside.note_mark(mark.seq);
        let mut encoded = std::mem::take(&mut self.encoded);
        self.encoder.mark(mark, &mut encoded)?;
        let mut lane = self.take_lane(&mark.schema)?;
        self.transactions.writes_to(&lane.topic);
        let sent = self.send_mark(&mut lane, mark, &encoded);
        *self.sent.rows.entry(lane.table.clone()).or_default() += 1;
        self.lanes.insert(lane.table.clone(), lane);
        self.encoded = encoded;
        sent
    }

    fn send_mark(&mut self, lane: &mut Lane, mark: &TableMark, encoded: &Encoded) -> Result<()> {
        let [EncodedRecord { key: None, value: Some(value), .. }] = encoded.records.as_slice() else {
            return Err(
                Error::new(ErrorKind::Bug, "a mark is one record without a key").of_table(&lane.table)
            );
        };
        let reason = match mark.reason {
            MarkReason::Truncate => "truncate",
            MarkReason::Reread => "reread",
        };
        let (seq, gtid) = (mark.seq.to_string(), mark.origin.gtid.as_deref());
        let headers = headers(Op::Truncate.letter(), &seq, &lane.version, gtid, Some(reason));
        self.send_event(lane, 0, None, slice(encoded, Some(value)), Some(headers))
    }

    fn deliveries(&self) -> &Deliveries {
        self.transactions.producer.context()
    }

    /// Hands one record to the client; waits while its queue is full.
    fn send(
        &mut self,
        place: &Arc<Place>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<()> {
        let mut record = BaseRecord::with_opaque_to(&place.topic, Arc::clone(place)).partition(place.number);
        record.timestamp = self.now_ms;
        record.key = key;
        record.payload = value;
        record.headers = headers;
        loop {
            self.deliveries().handed_over();
            let Err((error, given_back)) = self.transactions.producer.send(record) else { return Ok(()) };
            self.deliveries().not_taken();
            match error {
                KafkaError::MessageProduction(Code::QueueFull) => {
                    self.transactions.wait_for_room()?;
                    record = given_back;
                }
                KafkaError::MessageProduction(Code::MessageSizeTooLarge) => {
                    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                    return Err(too_large(bytes).at("topic", &place.topic));
                }
                error => return Err(self.transactions.broken(&error).at("topic", &place.topic)),
            }
        }
    }

    /// Gives up what is open.
    pub(super) fn close(&mut self) {
        self.transactions.abort();
    }
}

fn tell_more(topic: &str, known: usize, count: usize) {
    tracing::warn!(
        topic,
        "the topic has {count} topic partitions, and had {known}: keys move, so the order of events of one key is kept \
         within what was written before and within what is written from now on; `_seq` tells it over both"
    );
}

fn slice<'a>(encoded: &'a Encoded, range: Option<&std::ops::Range<usize>>) -> Option<&'a [u8]> {
    range.and_then(|range| encoded.bytes.get(range.clone()))
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Bug, "a record of the pipeline's state cannot be written").caused_by(error)
    })
}
