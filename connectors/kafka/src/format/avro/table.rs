//! Records of one table version as Avro, in the Confluent wire format: a zero byte, the schema's id in the
//! registry, and the body.

use lakeward_core::{Op, Origin, Result, TableMark};

use super::write::{Avro, NULL, SOME, push_bytes, push_long};
use crate::format::envelope::{Order, Row, Stamp, VERSION, transaction_id};
use crate::format::image::{Image, Scratch};
use crate::format::layout::Layout;

/// Writes records of a table version.
pub(crate) struct AvroTable {
    columns: usize,
    value_head: [u8; 5],
    key_head: [u8; 5],
    /// `source` up to `ts_ms`.
    source: Vec<u8>,
    db: Vec<u8>,
    table: Vec<u8>,
    /// The `source` of the origin at hand, up to the row's number, and behind it.
    before_row: Vec<u8>,
    after_row: Vec<u8>,
    /// The id of its transaction.
    transaction: Vec<u8>,
}

/// The ids of a table version's schemas in the registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    pub(crate) value: u32,
    /// 0 where there are no keys.
    pub(crate) key: u32,
}

/// What stands before a body: a zero byte, and the id of its schema.
pub(crate) fn head(id: u32) -> [u8; 5] {
    let [a, b, c, d] = id.to_be_bytes();
    [0, a, b, c, d]
}

impl AvroTable {
    pub(crate) fn new(layout: &Layout, prefix: &str, ids: Ids) -> AvroTable {
        let mut source = Vec::new();
        for text in [VERSION, "mysql", prefix] {
            push_bytes(text.as_bytes(), &mut source);
        }
        let (mut db, mut table) = (Vec::new(), vec![SOME]);
        push_bytes(layout.schema.table.database.as_bytes(), &mut db);
        push_bytes(layout.schema.table.table.as_bytes(), &mut table);
        AvroTable {
            columns: layout.fields.len(),
            value_head: head(ids.value),
            key_head: head(ids.key),
            source,
            db,
            table,
            before_row: Vec::new(),
            after_row: Vec::new(),
            transaction: Vec::new(),
        }
    }

    /// The rows that follow come from `origin`.
    pub(crate) fn begin(&mut self, origin: &Origin, snapshot: bool) {
        let out = &mut self.before_row;
        out.clear();
        out.extend_from_slice(&self.source);
        push_long(origin.commit_us.div_euclid(1000), out);
        // Its union has the text first, as it has a default.
        out.push(0);
        push_bytes(if snapshot { b"incremental" } else { b"false" }, out);
        out.extend_from_slice(&self.db);
        out.extend_from_slice(&[NULL, SOME]);
        push_long(origin.commit_us, out);
        out.push(SOME);
        push_long(origin.commit_us.saturating_mul(1000), out);
        out.extend_from_slice(&self.table);
        push_long(origin.server_id.into(), out);
        match &origin.gtid {
            Some(gtid) => {
                out.push(SOME);
                push_bytes(gtid.as_bytes(), out);
            }
            None => out.push(NULL),
        }
        push_bytes(origin.file.as_bytes(), out);
        push_long(i64::try_from(origin.offset).unwrap_or(i64::MAX), out);
        self.after_row.clear();
        match origin.thread {
            Some(thread) => {
                self.after_row.push(SOME);
                push_long(thread.into(), &mut self.after_row);
            }
            None => self.after_row.push(NULL),
        }
        // No `query`.
        self.after_row.push(NULL);
    }

    /// The rows that follow tell their places in the transaction of `origin`.
    pub(crate) fn begin_transaction(&mut self, origin: &Origin) {
        self.transaction.clear();
        push_bytes(transaction_id(origin).as_bytes(), &mut self.transaction);
    }

    /// Puts a value.
    pub(crate) fn value(
        &self,
        row: &Row<'_>,
        stamp: &Stamp,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.extend_from_slice(&self.value_head);
        for image in [row.before, row.after] {
            let Some(image) = image else {
                out.push(NULL);
                continue;
            };
            out.push(SOME);
            for column in 0..self.columns {
                image.put(column, row.at, scratch, &mut Avro { out: &mut *out })?;
            }
        }
        self.rest(row.number, row.order, row.op, stamp, out);
        Ok(())
    }

    /// All of an envelope behind its images.
    fn rest(&self, number: u32, order: Option<Order>, op: Op, stamp: &Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before_row);
        push_long(number.into(), out);
        out.extend_from_slice(&self.after_row);
        match order {
            Some(order) => {
                out.push(SOME);
                out.extend_from_slice(&self.transaction);
                push_long(order.total, out);
                push_long(order.in_table, out);
            }
            None => out.push(NULL),
        }
        push_bytes(op.letter().as_bytes(), out);
        for time in [stamp.us.div_euclid(1000), stamp.us, stamp.us.saturating_mul(1000)] {
            out.push(SOME);
            push_long(time, out);
        }
    }

    /// Puts the value of a mark.
    pub(crate) fn mark(&mut self, mark: &TableMark, stamp: &Stamp, out: &mut Vec<u8>) {
        self.begin(&mark.origin, false);
        out.extend_from_slice(&self.value_head);
        out.extend_from_slice(&[NULL, NULL]);
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
        out.extend_from_slice(&self.key_head);
        for column in key {
            image.put(*column, row, scratch, &mut Avro { out: &mut *out })?;
        }
        Ok(())
    }
}
