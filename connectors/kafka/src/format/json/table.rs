//! Records of one table version as JSON: Debezium's envelope, field for field, and its keys.

use lakeward_core::{Op, Origin, Result, TableMark};

use super::write::{Json, push_int, push_text};
use crate::format::envelope::{Order, Row, Stamp, transaction_id};
use crate::format::image::{Image, Scratch};
use crate::format::layout::Layout;

/// Writes records of a table version.
pub(crate) struct JsonTable {
    /// `"name":`, one per column.
    names: Vec<Vec<u8>>,
    /// What stands before the payload of a value, where records tell their schema.
    value_schema: Option<Vec<u8>>,
    /// The same of a key.
    key_schema: Option<Vec<u8>>,
    /// `"source":` up to the first field that differs between origins.
    source: Vec<u8>,
    /// `,"db":…` and `,"table":…` with all between that is the same for all origins.
    db: Vec<u8>,
    table: Vec<u8>,
    /// The `source` of the origin at hand, up to the row's number, and behind it.
    before_row: Vec<u8>,
    after_row: Vec<u8>,
    /// `{"id":…,"total_order":` of its transaction.
    transaction: Vec<u8>,
}

/// The schemas that records tell.
pub(crate) struct Schemas {
    pub(crate) value: String,
    pub(crate) key: Option<String>,
}

impl JsonTable {
    pub(crate) fn new(layout: &Layout, prefix: &str, schemas: Option<&Schemas>) -> JsonTable {
        let name = |name: &str| {
            let mut quoted = Vec::new();
            push_text(name, &mut quoted);
            quoted.push(b':');
            quoted
        };
        let schema_part = |schema: &str| format!("{{\"schema\":{schema},\"payload\":").into_bytes();
        let mut source = b"\"source\":{\"version\":".to_vec();
        push_text(crate::format::envelope::VERSION, &mut source);
        source.extend_from_slice(b",\"connector\":\"mysql\",\"name\":");
        push_text(prefix, &mut source);
        let quoted = |head: &str, text: &str| {
            let mut bytes = head.as_bytes().to_vec();
            push_text(text, &mut bytes);
            bytes
        };
        let id = &layout.schema.table;
        JsonTable {
            names: layout.fields.iter().map(|field| name(&field.name)).collect(),
            value_schema: schemas.map(|schemas| schema_part(&schemas.value)),
            key_schema: schemas.and_then(|schemas| schemas.key.as_deref()).map(schema_part),
            source,
            db: quoted(",\"db\":", &id.database),
            table: quoted(",\"table\":", &id.table),
            before_row: Vec::new(),
            after_row: Vec::new(),
            transaction: Vec::new(),
        }
    }

    /// The rows that follow come from `origin`.
    pub(crate) fn begin(&mut self, origin: &Origin, snapshot: bool) {
        let out = &mut self.before_row;
        let number = |name: &str, value: i64, out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            push_int(value, out);
        };
        out.clear();
        out.extend_from_slice(&self.source);
        number(",\"ts_ms\":", origin.commit_us.div_euclid(1000), out);
        out.extend_from_slice(match snapshot {
            true => b",\"snapshot\":\"incremental\"",
            false => b",\"snapshot\":\"false\"",
        });
        out.extend_from_slice(&self.db);
        number(",\"sequence\":null,\"ts_us\":", origin.commit_us, out);
        number(",\"ts_ns\":", origin.commit_us.saturating_mul(1000), out);
        out.extend_from_slice(&self.table);
        number(",\"server_id\":", origin.server_id.into(), out);
        out.extend_from_slice(b",\"gtid\":");
        match &origin.gtid {
            Some(gtid) => push_text(gtid, out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"file\":");
        push_text(&origin.file, out);
        number(",\"pos\":", i64::try_from(origin.offset).unwrap_or(i64::MAX), out);
        out.extend_from_slice(b",\"row\":");
        self.after_row.clear();
        self.after_row.extend_from_slice(b",\"thread\":");
        match origin.thread {
            Some(thread) => push_int(thread.into(), &mut self.after_row),
            None => self.after_row.extend_from_slice(b"null"),
        }
        self.after_row.extend_from_slice(b",\"query\":null}");
    }

    /// The rows that follow tell their places in the transaction of `origin`.
    pub(crate) fn begin_transaction(&mut self, origin: &Origin) {
        self.transaction.clear();
        self.transaction.extend_from_slice(b"{\"id\":");
        push_text(&transaction_id(origin), &mut self.transaction);
        self.transaction.extend_from_slice(b",\"total_order\":");
    }

    /// Puts a value.
    pub(crate) fn value(
        &self,
        row: &Row<'_>,
        stamp: &Stamp,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.extend_from_slice(self.value_schema.as_deref().unwrap_or_default());
        out.extend_from_slice(b"{\"before\":");
        self.image(row.before, row.at, scratch, out)?;
        out.extend_from_slice(b",\"after\":");
        self.image(row.after, row.at, scratch, out)?;
        self.rest(row.number, row.order, row.op, stamp, out);
        Ok(())
    }

    /// All of an envelope behind its images.
    fn rest(&self, number: u32, order: Option<Order>, op: Op, stamp: &Stamp, out: &mut Vec<u8>) {
        out.push(b',');
        out.extend_from_slice(&self.before_row);
        push_int(number.into(), out);
        out.extend_from_slice(&self.after_row);
        out.extend_from_slice(b",\"transaction\":");
        match order {
            Some(order) => {
                out.extend_from_slice(&self.transaction);
                push_int(order.total, out);
                out.extend_from_slice(b",\"data_collection_order\":");
                push_int(order.in_table, out);
                out.push(b'}');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"op\":\"");
        out.extend_from_slice(op.letter().as_bytes());
        out.extend_from_slice(b"\",\"ts_ms\":");
        push_int(stamp.us.div_euclid(1000), out);
        out.extend_from_slice(b",\"ts_us\":");
        push_int(stamp.us, out);
        out.extend_from_slice(b",\"ts_ns\":");
        push_int(stamp.us.saturating_mul(1000), out);
        out.extend_from_slice(if self.value_schema.is_some() { b"}}" } else { b"}" });
    }

    /// Puts the value of a mark.
    pub(crate) fn mark(&mut self, mark: &TableMark, stamp: &Stamp, out: &mut Vec<u8>) {
        self.begin(&mark.origin, false);
        out.extend_from_slice(self.value_schema.as_deref().unwrap_or_default());
        out.extend_from_slice(b"{\"before\":null,\"after\":null");
        self.rest(0, None, Op::Truncate, stamp, out);
    }

    /// Puts a key.
    pub(crate) fn key(
        &self,
        key: &[usize],
        image: &Image<'_>,
        row: usize,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.extend_from_slice(self.key_schema.as_deref().unwrap_or_default());
        self.object(key.iter().copied(), image, row, scratch, out)?;
        if self.key_schema.is_some() {
            out.push(b'}');
        }
        Ok(())
    }

    fn image(
        &self,
        image: Option<&Image<'_>>,
        row: usize,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        match image {
            Some(image) => self.object(0..self.names.len(), image, row, scratch, out),
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    fn object(
        &self,
        columns: impl Iterator<Item = usize>,
        image: &Image<'_>,
        row: usize,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut separator = b'{';
        for column in columns {
            out.push(separator);
            separator = b',';
            out.extend_from_slice(self.names.get(column).map(Vec::as_slice).unwrap_or_default());
            let mut json = Json { out: &mut *out, schemas: self.value_schema.is_some() };
            image.put(column, row, scratch, &mut json)?;
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
        Ok(())
    }
}
