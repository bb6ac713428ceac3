//! Change events as Kafka records, and back.
//!
//! Guarantee: what [`Encoder`] writes, [`TableDecoder`] reads back as the same change batch (values, previous
//! images, op, sequence, origins), for every MySQL type and every mode that [`FormatOptions::exact`] allows.
//! The property test of `tests/formats` shows it.
//!
//! Both formats are Debezium's envelope: `debezium-json` as JSON, `avro` in the Confluent wire format with a schema
//! registry. Rows go
//! straight from Arrow arrays into the bytes of records and back, by a codec per column that is chosen once
//! per table version; nothing is allocated per row or value. The crates `arrow-json` and `arrow-avro` would
//! need every batch put together anew as nested arrays of envelopes, `source` and all; what is left for them
//! to do is the smaller part.

mod avro;
mod bytes;
mod codec;
mod columns;
mod connect;
mod decimal;
mod decoder;
mod described;
mod encoder;
mod envelope;
pub(crate) mod foreign;
mod gathered;
mod image;
mod json;
mod layout;
pub mod metadata;
mod options;
mod plain;
pub mod schema_changes;
mod spatial;
mod time;

use std::ops::Range;

pub use decoder::{Decoder, TableDecoder};
pub use encoder::Encoder;
pub use options::{BinaryMode, DecimalMode, Format, FormatOptions, Modes, TimeMode, UnsignedMode};

pub(crate) use avro::types::Type as AvroType;
pub(crate) use encoder::registry;
use lakeward_core::{Error, ErrorKind, Op};

/// Records of a batch or a mark: their bytes, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The records, in the order of their rows.
    pub records: Vec<EncodedRecord>,
}

impl Encoded {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }
}

/// A record among [`Encoded::bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// Row of the batch; 0 for a mark.
    pub row: usize,
    /// Its key; `None`: it has none.
    pub key: Option<Range<usize>>,
    /// Its value; `None`: a tombstone, which is no change event.
    pub value: Option<Range<usize>>,
}

/// A record as it was received, with what its headers tell.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: &'a [u8],
    /// What happened to the row.
    pub op: Op,
    /// The event's number.
    pub seq: i64,
}

#[cold]
pub(crate) fn unreadable(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnreadableRecord, what)
}
