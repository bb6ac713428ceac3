//! Change batches and marks to records.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use lakeward_core::{
    ChangeBatch, Clock, Error, ErrorKind, Op, OriginRun, Result, TableId, TableMark, TableSchema,
};

use super::avro::table::{AvroTable, Ids};
use super::envelope::{Images, Order, Row, Stamp};
use super::image::{Image, Scratch};
use super::json::table::{JsonTable, Schemas};
use super::layout::Layout;
use super::{Encoded, EncodedRecord, Format, FormatOptions, avro, described, json};
use crate::registry::Registry;

/// Writes records.
pub struct Encoder {
    options: FormatOptions,
    /// The `name` of `source`.
    prefix: String,
    clock: Arc<dyn Clock>,
    /// Of `avro`.
    registry: Option<Registry>,
    /// The newest version of each table.
    tables: HashMap<TableId, Table>,
    scratch: Scratch,
}

struct Table {
    layout: Layout,
    writer: Writer,
}

enum Writer {
    Json(JsonTable),
    Avro(AvroTable),
}

impl Encoder {
    /// An encoder for the topics of `prefix`.
    ///
    /// # Errors
    /// `Config` if the settings do not go together.
    pub fn new(options: &FormatOptions, prefix: &str, clock: Arc<dyn Clock>) -> Result<Encoder> {
        Ok(Encoder {
            registry: registry(options)?,
            options: options.clone(),
            prefix: prefix.to_owned(),
            clock,
            tables: HashMap::new(),
            scratch: Scratch::default(),
        })
    }

    /// Gets ready for the batches of a table version, before the first of them. For `avro` it registers the
    /// version's schemas, and waits for the registry.
    ///
    /// # Errors
    /// `Config` if the settings name columns that the table does not have; `RegistryUnreachable`,
    /// `RegistryRefused`.
    pub fn schema(&mut self, schema: &Arc<TableSchema>, topic: &str) -> Result<()> {
        let layout = Layout::new(schema, &self.options)?;
        let (value, key) = (described::value(&layout, topic), described::key(&layout, topic));
        let writer = match &self.registry {
            Some(registry) => {
                let register =
                    |part: &str, text: String| registry.register(&format!("{topic}-{part}"), &text);
                let ids = Ids {
                    key: key.map_or(Ok(0), |key| register("key", avro::schema::text(&key)))?,
                    value: register("value", avro::schema::text(&value))?,
                };
                Writer::Avro(AvroTable::new(&layout, &self.prefix, ids))
            }
            None => {
                let part = json::schema::part;
                let schemas = self.options.schemas;
                let schemas = schemas.then(|| Schemas { value: part(&value), key: key.as_ref().map(part) });
                Writer::Json(JsonTable::new(&layout, &self.prefix, schemas.as_ref()))
            }
        };
        self.tables.insert(schema.table.clone(), Table { layout, writer });
        Ok(())
    }

    /// Writes the records of a batch, without their places in transactions. `into` is cleared first.
    ///
    /// # Errors
    /// `UnreadableValue` for a value that the format cannot hold; `Bug` for a version that was not announced.
    pub fn batch(&mut self, batch: &ChangeBatch, into: &mut Encoded) -> Result<()> {
        self.records(batch, None, into)
    }

    /// As [`Encoder::batch`], with the place of each row in its transaction. `earlier` tells of each run of origins how
    /// many events of its transaction came before, of the same table.
    ///
    /// # Errors
    /// Those of [`Encoder::batch`].
    pub fn batch_in_order(&mut self, batch: &ChangeBatch, earlier: &[u64], into: &mut Encoded) -> Result<()> {
        self.records(batch, Some(earlier), into)
    }

    fn records(&mut self, batch: &ChangeBatch, earlier: Option<&[u64]>, into: &mut Encoded) -> Result<()> {
        into.clear();
        let stamp = Stamp { us: self.clock.unix_micros() };
        let table = table(&mut self.tables, &batch.schema)?;
        let images = Images::new(&table.layout, batch)?;
        let mut records = Records {
            tombstones: self.options.tombstones_on_delete,
            table,
            images: &images,
            stamp,
            scratch: &mut self.scratch,
            into,
        };
        let mut first = 0;
        for (number, run) in batch.meta.origins.iter().enumerate() {
            let ops = batch.meta.op.get(first..first + run.rows).unwrap_or_default();
            let order = earlier.and_then(|earlier| order(batch, run, first, earlier.get(number).copied()));
            records.run(run, first, ops, order).map_err(|error| error.of_table(&batch.schema.table))?;
            first += run.rows;
        }
        match first == batch.meta.op.len() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Bug, "a batch whose origins are not those of its rows")),
        }
    }

    /// Writes the record of a mark. `into` is cleared first.
    ///
    /// # Errors
    /// `Bug` for a version that was not announced.
    pub fn mark(&mut self, mark: &TableMark, into: &mut Encoded) -> Result<()> {
        into.clear();
        let stamp = Stamp { us: self.clock.unix_micros() };
        let table = table(&mut self.tables, &mark.schema)?;
        match &mut table.writer {
            Writer::Json(writer) => writer.mark(mark, &stamp, &mut into.bytes),
            Writer::Avro(writer) => writer.mark(mark, &stamp, &mut into.bytes),
        }
        into.records.push(EncodedRecord { row: 0, key: None, value: Some(0..into.bytes.len()) });
        Ok(())
    }
}

/// The place in its transaction of a run's first row, which is row `first`; `None`: it comes from none.
fn order(batch: &ChangeBatch, run: &OriginRun, first: usize, earlier: Option<u64>) -> Option<Order> {
    let (began, seq) = (run.origin.began?, batch.meta.seq.get(first)?);
    let earlier = i64::try_from(earlier.unwrap_or_default()).unwrap_or(i64::MAX);
    Some(Order { total: seq - began.seq + 1, in_table: earlier.saturating_add(1) })
}

/// The registry of `avro`, which needs one.
pub(crate) fn registry(options: &FormatOptions) -> Result<Option<Registry>> {
    match (options.format, &options.schema_registry) {
        (Format::DebeziumJson, _) => Ok(None),
        (Format::Avro, Some(registry)) => Registry::new(registry).map(Some),
        (Format::Avro, None) => Err(Error::new(ErrorKind::Config, "`format: avro` needs a schema registry")
            .at("key", "schema_registry")
            .remedy("set schema_registry: { url: … }, or format: debezium-json")),
    }
}

fn table<'a>(tables: &'a mut HashMap<TableId, Table>, schema: &TableSchema) -> Result<&'a mut Table> {
    let known = tables.get_mut(&schema.table);
    known.filter(|table| table.layout.schema.version == schema.version).ok_or_else(|| {
        Error::new(ErrorKind::Bug, "records of a version that was not announced").of_table(&schema.table)
    })
}

/// The records of one batch.
struct Records<'a> {
    tombstones: bool,
    table: &'a mut Table,
    images: &'a Images<'a>,
    stamp: Stamp,
    scratch: &'a mut Scratch,
    into: &'a mut Encoded,
}

impl Records<'_> {
    /// Rows from `first` on, which come from one origin.
    fn run(&mut self, run: &OriginRun, first: usize, ops: &[Op], mut order: Option<Order>) -> Result<()> {
        if order.is_some() {
            match &mut self.table.writer {
                Writer::Json(writer) => writer.begin_transaction(&run.origin),
                Writer::Avro(writer) => writer.begin_transaction(&run.origin),
            }
        }
        let mut snapshot = None;
        let numbers = (run.first_row..=u32::MAX).chain(std::iter::repeat(u32::MAX));
        for ((row, op), number) in (first..).zip(ops).zip(numbers) {
            let is_read = *op == Op::Read;
            if snapshot != Some(is_read) {
                match &mut self.table.writer {
                    Writer::Json(writer) => writer.begin(&run.origin, is_read),
                    Writer::Avro(writer) => writer.begin(&run.origin, is_read),
                }
                snapshot = Some(is_read);
            }
            self.record(&self.images.row(row, *op, number, order))?;
            if let Some(order) = &mut order {
                order.total += 1;
                order.in_table += 1;
            }
        }
        Ok(())
    }

    fn record(&mut self, row: &Row<'_>) -> Result<()> {
        let images = self.images;
        let key = self.key(&images.rows, row.at)?;
        if let (Some(new), Op::Update, true) = (&key, row.op, self.table.layout.key_may_change) {
            self.bury_old_key(row, new)?;
        }
        let writer = &self.table.writer;
        let bytes = &mut self.into.bytes;
        let from = bytes.len();
        match writer {
            Writer::Json(writer) => writer.value(row, &self.stamp, self.scratch, bytes)?,
            Writer::Avro(writer) => writer.value(row, &self.stamp, self.scratch, bytes)?,
        }
        let value = Some(Range { start: from, end: bytes.len() });
        let tombstone = self.tombstones && row.op == Op::Delete && key.is_some();
        self.into.records.push(EncodedRecord { row: row.at, key: key.clone(), value });
        if tombstone {
            self.into.records.push(EncodedRecord { row: row.at, key, value: None });
        }
        Ok(())
    }

    /// Writes the record key of a row; `None` where records have none.
    fn key(&mut self, rows: &Image<'_>, at: usize) -> Result<Option<Range<usize>>> {
        let Table { layout, writer } = &*self.table;
        if layout.key.is_empty() {
            return Ok(None);
        }
        let bytes = &mut self.into.bytes;
        let from = bytes.len();
        match writer {
            Writer::Json(writer) => writer.key(&layout.key, rows, at, self.scratch, bytes)?,
            Writer::Avro(writer) => writer.key(&layout.key, rows, at, self.scratch, bytes)?,
        }
        Ok(Some(Range { start: from, end: bytes.len() }))
    }

    /// An update that gives its row another record key: the one that it had stands for nothing from now on.
    fn bury_old_key(&mut self, row: &Row<'_>, new: &Range<usize>) -> Result<()> {
        let Some(before) = row.before.filter(|_| self.tombstones) else { return Ok(()) };
        let Some(old) = self.key(before, row.at)? else { return Ok(()) };
        let bytes = &mut self.into.bytes;
        if bytes.get(old.clone()) == bytes.get(new.clone()) {
            bytes.truncate(old.start);
        } else {
            self.into.records.push(EncodedRecord { row: row.at, key: Some(old), value: None });
        }
        Ok(())
    }
}
