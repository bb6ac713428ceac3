//! Debezium's envelope as Avro into columns, by the schema that each record names.

use std::collections::HashMap;
use std::sync::Arc;

use lakeward_core::{Op, Origin, Result};

use super::cursor::Cursor;
use super::plan::{Image, Plan, Role};
use super::types::{Record, Type};
use crate::format::codec::Take;
use crate::format::envelope::{Source, note, note_row};
use crate::format::gathered::Gathered;
use crate::format::{Received, unreadable};
use crate::registry::Registry;

/// Reads records of one table version.
pub(crate) struct AvroReader {
    registry: Arc<Registry>,
    plans: HashMap<u32, Arc<Plan>>,
    keys: HashMap<u32, Arc<Image>>,
    source: LastSource,
}

/// The `source` of the last record, up to its row's number and behind it: mostly the next one has the same.
#[derive(Default)]
struct LastSource {
    before_row: Vec<u8>,
    after_row: Vec<u8>,
}

/// The schema's id and the body of a record in the Confluent wire format.
pub(crate) fn framed(bytes: &[u8]) -> Result<(u32, &[u8])> {
    match bytes.split_first_chunk::<5>() {
        Some(([0, a, b, c, d], body)) => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        _ => Err(unreadable("the record is not in the Confluent wire format: a zero byte and a schema's id")),
    }
}

impl AvroReader {
    pub(crate) fn new(registry: Arc<Registry>) -> AvroReader {
        AvroReader { registry, plans: HashMap::new(), keys: HashMap::new(), source: LastSource::default() }
    }

    /// Takes a record.
    pub(crate) fn push(&mut self, record: &Received<'_>, into: &mut Gathered) -> Result<()> {
        let read = self.read(record, into);
        if read.is_err() {
            // What was remembered may be of this record, whose origin is not noted.
            self.source = LastSource::default();
        }
        into.end(record.op, record.seq, read)
    }

    fn read(&mut self, record: &Received<'_>, into: &mut Gathered) -> Result<()> {
        let (id, body) = framed(record.value)?;
        let plan = self.plan(id, into)?;
        let mut cursor = Cursor::new(body);
        let (mut imaged, mut number, mut whole) = (false, None, None);
        for (role, ty) in &plan.fields {
            let image_of_row = match role {
                Role::Before => record.op == Op::Delete,
                Role::After => record.op != Op::Delete,
                Role::Source => {
                    let (row, source) = self.source.read(&mut cursor, ty, into)?;
                    (number, whole) = (row, source);
                    continue;
                }
                Role::Op => {
                    op(&mut cursor, ty, record.op)?;
                    continue;
                }
                Role::Other => {
                    cursor.skip(ty)?;
                    continue;
                }
            };
            let previous = *role == Role::Before && record.op == Op::Update && into.before.is_some();
            if !image_of_row && !previous {
                cursor.skip(ty)?;
                continue;
            }
            cursor.expect(ty.present()?.1, None);
            if cursor.null()? {
                continue;
            }
            let at = cursor.at();
            image(&mut cursor, &plan.image, into, previous)?;
            imaged |= image_of_row;
            if *role == Role::Before && image_of_row && into.before.is_some() {
                cursor.back_to(at);
                image(&mut cursor, &plan.image, into, true)?;
            }
        }
        cursor.end()?;
        if !imaged {
            self.key_only(record, into)?;
        }
        into.must_be_whole()?;
        match (number, whole) {
            (Some(number), _) => {
                note_row(&mut into.meta.origins, record.op, number);
                Ok(())
            }
            (None, Some(source)) => {
                note(&mut into.meta.origins, record.op, &source);
                Ok(())
            }
            (None, None) => Err(unreadable("the envelope has no `source`")),
        }
    }

    fn plan(&mut self, id: u32, into: &Gathered) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.get(&id) {
            return Ok(Arc::clone(plan));
        }
        let plan =
            Plan::new(&*self.registry.avro(id)?, &into.layout).map_err(|error| error.at("schema id", id))?;
        let plan = Arc::new(plan);
        self.plans.insert(id, Arc::clone(&plan));
        Ok(plan)
    }

    /// A deleted row of which only the key is known: the record key tells it.
    fn key_only(&mut self, record: &Received<'_>, into: &mut Gathered) -> Result<()> {
        let Some(key) = record.key.filter(|_| record.op == Op::Delete && into.layout.key_tells_row) else {
            return Err(unreadable("the envelope has no image of the row"));
        };
        let (id, body) = framed(key)?;
        let plan = match self.keys.get(&id) {
            Some(plan) => Arc::clone(plan),
            None => {
                let ty = self.registry.avro(id)?;
                let fields = ty.record().ok_or_else(|| unreadable("an Avro key that is no record"))?;
                let plan = Arc::new(Image::new(fields, &into.layout)?);
                self.keys.insert(id, Arc::clone(&plan));
                plan
            }
        };
        let mut cursor = Cursor::new(body);
        image(&mut cursor, &plan, into, false)?;
        cursor.end()?;
        for column in &into.layout.schema.key {
            if into.rows.len(*column) != into.count + 1 {
                return Err(unreadable("the record key lacks a column of the table's key"));
            }
        }
        into.rows.level(into.count + 1);
        Ok(())
    }
}

/// Takes a row's image.
fn image<'a>(cursor: &mut Cursor<'a>, plan: &'a Image, into: &mut Gathered, before: bool) -> Result<()> {
    let columns = match &mut into.before {
        Some(columns) if before => columns,
        _ => &mut into.rows,
    };
    for field in &plan.fields {
        cursor.expect(field.nullable, field.record.as_ref());
        columns.take(field.column, cursor).map_err(|error| error.at("column", &field.name))?;
    }
    Ok(())
}

fn op(cursor: &mut Cursor<'_>, ty: &Type, expected: Op) -> Result<()> {
    cursor.expect(ty.present()?.1, None);
    match !cursor.null()? && cursor.sized()? == expected.letter().as_bytes() {
        true => Ok(()),
        false => Err(unreadable("the envelope's `op` is not that of the headers")),
    }
}

impl LastSource {
    /// The row's number, if the origin is that of the row before; else all of it.
    fn read<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        ty: &Type,
        into: &Gathered,
    ) -> Result<(Option<u32>, Option<Source<'a>>)> {
        let from = cursor.at();
        if !into.meta.origins.is_empty() && !self.before_row.is_empty() && cursor.eat_all(&self.before_row) {
            let number = cursor.long().ok().and_then(|number| u32::try_from(number).ok());
            if let Some(number) = number.filter(|_| cursor.eat_all(&self.after_row)) {
                return Ok((Some(number), None));
            }
        }
        cursor.back_to(from);
        let record = ty.record().ok_or_else(|| unreadable("an Avro `source` that is no record"))?;
        let (source, row) = source(cursor, record)?;
        let whole = cursor.since(from);
        let part = |range: Option<&[u8]>| range.unwrap_or_default().to_vec();
        self.before_row = part(row.and_then(|(start, _)| whole.get(..start - from)));
        self.after_row = part(row.and_then(|(_, end)| whole.get(end - from..)));
        Ok((None, Some(source)))
    }
}

/// Reads a `source`; with it, where its row's number stands.
fn source<'a>(cursor: &mut Cursor<'a>, record: &Record) -> Result<(Source<'a>, Option<(usize, usize)>)> {
    let (mut source, mut millis, mut row) = (Source::default(), 0, None);
    let mut file = None;
    for (name, ty) in &record.fields {
        let (present, nullable) = ty.present()?;
        cursor.expect(nullable, None);
        if cursor.null()? {
            continue;
        }
        let text = |cursor: &mut Cursor<'a>| {
            std::str::from_utf8(cursor.sized()?).map_err(|_| unreadable("a `source` that is not UTF-8"))
        };
        match name.as_str() {
            "ts_us" => source.commit_us = cursor.long()?,
            "ts_ms" => millis = cursor.long()?,
            "server_id" => source.server_id = narrow(cursor.long()?)?,
            "gtid" => source.gtid = Some(text(cursor)?),
            "file" => file = Some(text(cursor)?),
            "pos" => source.offset = narrow(cursor.long()?)?,
            "row" => {
                let from = cursor.at();
                source.row = narrow(cursor.long()?)?;
                row = Some((from, cursor.at()));
            }
            "thread" => source.thread = Some(narrow(cursor.long()?)?),
            _ => cursor.skip(present)?,
        }
    }
    source.file = file.ok_or_else(|| unreadable("the envelope's `source` names no binlog file"))?;
    if source.commit_us == 0 {
        source.commit_us = millis.saturating_mul(1000);
    }
    Ok((source, row))
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| unreadable(format!("{value} in the envelope's `source` is out of range")))
}

/// The `source` of an envelope, for a record that has no row.
pub(crate) fn source_of(registry: &Registry, value: &[u8]) -> Result<Origin> {
    let (id, body) = framed(value)?;
    let ty = registry.avro(id)?;
    let envelope = ty.record().ok_or_else(|| unreadable("an Avro value that is no record"))?;
    let mut cursor = Cursor::new(body);
    let mut found = None;
    for (name, ty) in &envelope.fields {
        match (name.as_str(), ty.record()) {
            ("source", Some(record)) => found = Some(source(&mut cursor, record)?.0.origin()),
            _ => cursor.skip(ty)?,
        }
    }
    cursor.end()?;
    found.ok_or_else(|| unreadable("the envelope has no `source`"))
}
