//! The records beside change events, field for field those of Debezium's MySQL connector: where a transaction of the
//! source begins and ends, and heartbeats.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::{Origin, Result};

use super::FormatOptions;
use super::described::{Base, Described};
use super::envelope;
use super::plain::{Datum, Plain};

/// A record's key and value.
pub type Record = (Vec<u8>, Vec<u8>);

/// What names the transaction that rows of `origin` come from, in their records and in those of its begin and end.
pub fn transaction_id(origin: &Origin) -> Cow<'_, str> {
    envelope::transaction_id(origin)
}

fn structure(name: &str, fields: impl IntoIterator<Item = (&'static str, Described)>) -> Described {
    let fields = fields.into_iter().map(|(name, described)| (name.to_owned(), described)).collect();
    Described::named(Base::Struct(fields), name)
}

fn text() -> Described {
    Described::plain(Base::String)
}

fn number() -> Described {
    Described::plain(Base::Int64)
}

/// Writes the records of the topic of transactions.
pub struct TransactionRecords(Plain);

/// A transaction of the source, as its records tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What names it.
    pub id: Arc<str>,
    /// Its commit, microseconds since 1970-01-01 UTC.
    pub commit_us: i64,
    /// How many change events it has, by table (`database.table`).
    pub events: BTreeMap<Arc<str>, u64>,
}

impl TransactionRecords {
    /// For `topic`. For `avro` it registers the schemas, and waits for the registry.
    ///
    /// # Errors
    /// `Config` if the settings do not go together; `RegistryUnreachable`, `RegistryRefused`.
    pub fn new(options: &FormatOptions, topic: &str) -> Result<TransactionRecords> {
        let collection =
            structure("event.collection", [("data_collection", text()), ("event_count", number())]);
        let collections = Described::plain(Base::Array(Box::new(collection.optional()))).optional();
        let value = structure(
            "io.debezium.connector.common.TransactionMetadataValue",
            [
                ("status", text()),
                ("id", text()),
                ("event_count", number().optional()),
                ("data_collections", collections),
                ("ts_ms", number()),
            ],
        );
        let key = structure("io.debezium.connector.common.TransactionMetadataKey", [("id", text())]);
        Ok(TransactionRecords(Plain::new(options, topic, key, value)?))
    }

    /// The record of its begin.
    ///
    /// # Errors
    /// `Bug`.
    pub fn begin(&self, transaction: &Transaction) -> Result<Record> {
        self.record(transaction, "BEGIN", Datum::Null, Datum::Null)
    }

    /// The record of its end.
    ///
    /// # Errors
    /// `Bug`.
    pub fn end(&self, transaction: &Transaction) -> Result<Record> {
        let count = |count: u64| Datum::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let tables = transaction.events.iter();
        let collections = tables.map(|(name, events)| Datum::Struct(vec![Datum::Text(name), count(*events)]));
        let all = count(transaction.events.values().sum());
        self.record(transaction, "END", all, Datum::List(collections.collect()))
    }

    fn record<'a>(
        &self,
        transaction: &'a Transaction,
        status: &'a str,
        events: Datum<'a>,
        collections: Datum<'a>,
    ) -> Result<Record> {
        let id = || Datum::Text(&transaction.id);
        let at = Datum::Int(transaction.commit_us.div_euclid(1000));
        let value = Datum::Struct(vec![Datum::Text(status), id(), events, collections, at]);
        self.0.record(&Datum::Struct(vec![id()]), &value)
    }
}

/// Writes the records of the topic of heartbeats.
pub struct HeartbeatRecords {
    plain: Plain,
    prefix: String,
}

impl HeartbeatRecords {
    /// For `topic`, of the topics that begin with `prefix`.
    ///
    /// # Errors
    /// As [`TransactionRecords::new`].
    pub fn new(options: &FormatOptions, topic: &str, prefix: &str) -> Result<HeartbeatRecords> {
        let key = structure("io.debezium.connector.common.ServerNameKey", [("serverName", text())]);
        let value = structure("io.debezium.connector.common.Heartbeat", [("ts_ms", number())]);
        let plain = Plain::new(options, topic, key, value)?;
        Ok(HeartbeatRecords { plain, prefix: prefix.to_owned() })
    }

    /// One of `at_us`, microseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// `Bug`.
    pub fn record(&self, at_us: i64) -> Result<Record> {
        let key = Datum::Struct(vec![Datum::Text(&self.prefix)]);
        self.plain.record(&key, &Datum::Struct(vec![Datum::Int(at_us.div_euclid(1000))]))
    }
}
