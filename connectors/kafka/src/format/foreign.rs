//! Records that others wrote: what their envelopes and schemas tell before their values are read.

use std::sync::Arc;

use lakeward_core::{Column, Op, Origin, Result, TableSchema};

use super::avro::cursor::Cursor as AvroCursor;
use super::avro::read::{AvroReader, framed, source_of as avro_source_of};
use super::avro::types::Type;
use super::codec::{Codec, Take};
use super::connect::Connect;
use super::decoder::{Reader, TableDecoder};
use super::json::cursor::Cursor as JsonCursor;
use super::json::read::{JsonReader, source_of as json_source_of};
use super::layout::Layout;
use super::{Format, FormatOptions, encoder, unreadable};
use crate::registry::Registry;

/// The form of a topic's records.
pub(crate) enum Form {
    Json,
    Avro(Arc<Registry>),
}

/// What an envelope tells beside its images.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) op: Op,
    pub(crate) database: String,
    pub(crate) table: String,
}

/// What the records at hand say of their structure, as it was said: the schema parts, or the ids of schemas.
#[derive(Default)]
pub(crate) struct Structure {
    said: Option<(Vec<u8>, Vec<u8>)>,
}

/// Columns that a schema tells of.
pub(crate) struct Derived {
    pub(crate) columns: Vec<Column>,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) key: Vec<usize>,
}

impl Form {
    pub(crate) fn new(options: &FormatOptions, registry: Option<Arc<Registry>>) -> Result<Form> {
        Ok(match (options.format, registry) {
            (Format::DebeziumJson, _) => Form::Json,
            (Format::Avro, Some(registry)) => Form::Avro(registry),
            (Format::Avro, None) => match encoder::registry(options)? {
                Some(registry) => Form::Avro(Arc::new(registry)),
                None => Form::Json,
            },
        })
    }

    /// A decoder of a version's records.
    pub(crate) fn decoder(
        &self,
        schema: &Arc<TableSchema>,
        codecs: Option<Vec<Codec>>,
        options: &FormatOptions,
        want_before: bool,
    ) -> Result<TableDecoder> {
        let layout = match codecs {
            Some(codecs) => Layout::foreign(schema, &codecs),
            None => {
                options.exact()?;
                Layout::new(schema, options)?
            }
        };
        let reader = match self {
            Form::Json => Reader::Json(JsonReader::default()),
            Form::Avro(registry) => Reader::Avro(AvroReader::new(Arc::clone(registry))),
        };
        TableDecoder::new(layout, reader, want_before)
    }

    /// Where the record comes from.
    pub(crate) fn source_of(&self, value: &[u8]) -> Result<Origin> {
        match self {
            Form::Json => json_source_of(value),
            Form::Avro(registry) => avro_source_of(registry, value),
        }
    }

    /// What the envelope tells beside its images.
    pub(crate) fn envelope(&self, value: &[u8]) -> Result<Envelope> {
        let mut found = Found::default();
        match self {
            Form::Json => {
                let mut cursor = JsonCursor::new(value, Vec::new());
                found.json(&mut cursor)?;
                cursor.end()?;
            }
            Form::Avro(registry) => {
                let (id, body) = framed(value)?;
                found.avro(&mut AvroCursor::new(body), &*registry.avro(id)?)?;
            }
        }
        found.envelope()
    }
}

#[derive(Default)]
struct Found {
    op: Option<String>,
    database: Option<String>,
    table: Option<String>,
}

impl Found {
    fn json(&mut self, cursor: &mut JsonCursor<'_>) -> Result<()> {
        cursor.object(|cursor, name| match name {
            b"payload" => self.json(cursor),
            b"op" => {
                self.op = Some(cursor.text()?.to_owned());
                Ok(())
            }
            b"source" => cursor.object(|cursor, name| {
                let place = match name {
                    b"db" => &mut self.database,
                    b"table" => &mut self.table,
                    _ => return cursor.skip(),
                };
                *place = if cursor.null()? { None } else { Some(cursor.text()?.to_owned()) };
                Ok(())
            }),
            _ => cursor.skip(),
        })
    }

    fn avro(&mut self, cursor: &mut AvroCursor<'_>, envelope: &Type) -> Result<()> {
        let record = envelope.record().ok_or_else(|| unreadable("an Avro value that is no record"))?;
        for (name, ty) in &record.fields {
            match (name.as_str(), ty.record()) {
                ("op", _) => self.op = text(cursor, ty)?,
                ("source", Some(source)) => {
                    for (name, ty) in &source.fields {
                        match name.as_str() {
                            "db" => self.database = text(cursor, ty)?,
                            "table" => self.table = text(cursor, ty)?,
                            _ => cursor.skip(ty)?,
                        }
                    }
                }
                _ => cursor.skip(ty)?,
            }
        }
        cursor.end()
    }

    fn envelope(self) -> Result<Envelope> {
        let op = match self.op.as_deref() {
            Some("c") => Op::Create,
            Some("u") => Op::Update,
            Some("d") => Op::Delete,
            Some("r") => Op::Read,
            Some("t") => Op::Truncate,
            Some(other) => return Err(unreadable(format!("an envelope whose `op` is `{other}`"))),
            None => return Err(unreadable("the record is no envelope: it has no `op`")),
        };
        let names = self.database.zip(self.table);
        let (database, table) = names.ok_or_else(|| unreadable("the envelope's `source` names no table"))?;
        Ok(Envelope { op, database, table })
    }
}

fn text(cursor: &mut AvroCursor<'_>, ty: &Type) -> Result<Option<String>> {
    cursor.expect(ty.present()?.1, None);
    if cursor.null()? {
        return Ok(None);
    }
    Ok(Some(cursor.text()?.to_owned()))
}

impl Structure {
    /// Notes what a record says of its structure; whether that is something else than before. A record
    /// without a key (of a table without one, or a mark) does not say what the key is.
    pub(crate) fn note(&mut self, form: &Form, key: Option<&[u8]>, value: &[u8]) -> Result<bool> {
        let said = |bytes: &[u8]| match form {
            Form::Json => schema_part(bytes),
            Form::Avro(_) => framed(bytes).map(|(id, _)| id.to_be_bytes().to_vec()),
        };
        let value = said(value)?;
        let key = key.map(said).transpose()?;
        let same = self.said.as_ref().is_some_and(|(known_value, known_key)| {
            *known_value == value && key.as_ref().is_none_or(|key| key == known_key)
        });
        if !same {
            let known_key = self.said.take().map(|(_, key)| key);
            self.said = Some((value, key.or(known_key).unwrap_or_default()));
        }
        Ok(!same)
    }

    /// As if nothing had been said.
    pub(crate) fn forget(&mut self) {
        self.said = None;
    }

    /// The columns that the schemas tell of; `None`: there are no schemas.
    pub(crate) fn columns(&self, form: &Form) -> Result<Option<Derived>> {
        let Some((value, key)) = &self.said else { return Ok(None) };
        if value.is_empty() {
            return Ok(None);
        }
        let parsed = |said: &[u8]| match form {
            Form::Json => serde_json::from_slice::<Connect>(said)
                .map_err(|error| unreadable("a schema part that is no Connect schema").caused_by(error)),
            Form::Avro(registry) => match <[u8; 4]>::try_from(said) {
                Ok(id) => Connect::of_avro(&*registry.avro(u32::from_be_bytes(id))?, ""),
                Err(_) => Err(unreadable("a record that names no schema")),
            },
        };
        let envelope = parsed(value)?;
        let image = envelope.field("after").ok_or_else(|| unreadable("an envelope without `after`"))?;
        let (mut columns, mut codecs) = (Vec::new(), Vec::new());
        for field in &image.fields {
            let (ty, codec) = field.column()?;
            columns.push(Column::new(&field.field, ty, field.optional));
            codecs.push(codec);
        }
        let mut places = Vec::new();
        if !key.is_empty() {
            for field in &parsed(key)?.fields {
                let place = columns.iter().position(|column| column.name == field.field);
                places
                    .push(place.ok_or_else(|| unreadable("a key of a field that the value does not have"))?);
            }
        }
        Ok(Some(Derived { columns, codecs, key: places }))
    }
}

/// The bytes of a record's schema part; empty: it has none.
fn schema_part(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut cursor = JsonCursor::new(bytes, Vec::new());
    let (mut part, mut enclosed) = (Vec::new(), false);
    if !cursor.sees(b'{') {
        return Ok(part);
    }
    cursor.object(|cursor, name| {
        let object = cursor.sees(b'{');
        let from = cursor.at();
        cursor.skip()?;
        match name {
            b"schema" if object => part = cursor.since(from).to_vec(),
            b"payload" if object => enclosed = true,
            _ => {}
        }
        Ok(())
    })?;
    Ok(if enclosed { part } else { Vec::new() })
}
