//! Change batches and marks to records.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use lakeward_core::{
    ChangeBatch, Clock, Error, ErrorKind, Op, OriginRun, Result, TableId, TableMark, TableSchema,
};

use super::avro::table::{AvroTable, Ids};
use super::envelope::{Images, Row, Stamp};
use super::image::Scratch;
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

    /// Writes the records of a batch. `into` is cleared first.
    ///
    /// # Errors
    /// `UnreadableValue` for a value that the format cannot hold; `Bug` for a version that was not announced.
    pub fn batch(&mut self, batch: &ChangeBatch, into: &mut Encoded) -> Result<()> {
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
        for run in &batch.meta.origins {
            let ops = batch.meta.op.get(first..first + run.rows).unwrap_or_default();
            records.run(run, first, ops).map_err(|error| error.of_table(&batch.schema.table))?;
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
    fn run(&mut self, run: &OriginRun, first: usize, ops: &[Op]) -> Result<()> {
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
            let row = self.images.row(row, *op, number);
            self.record(&row)?;
        }
        Ok(())
    }

    fn record(&mut self, row: &Row<'_>) -> Result<()> {
        let Table { layout, writer } = &*self.table;
        let bytes = &mut self.into.bytes;
        let mut key = None;
        if !layout.key.is_empty() {
            let from = bytes.len();
            let (columns, rows) = (&layout.key, &self.images.rows);
            match writer {
                Writer::Json(writer) => writer.key(columns, rows, row.at, self.scratch, bytes)?,
                Writer::Avro(writer) => writer.key(columns, rows, row.at, self.scratch, bytes)?,
            }
            key = Some(Range { start: from, end: bytes.len() });
        }
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
}
