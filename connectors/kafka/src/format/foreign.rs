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

/// What the records at hand say of their structure, as it was said: of the value and of the key.
#[derive(Default)]
pub(crate) struct Structure {
    said: Option<(Said, Said)>,
}

/// What a record says of a structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    /// The schema part of JSON, as it stands there.
    Part(Vec<u8>),
    /// The id of an Avro schema.
    Id(u32),
    /// JSON without a schema part: the names of its fields.
    Names(Vec<String>),
}

/// Columns that a record tells of.
pub(crate) struct Derived {
    pub(crate) columns: Vec<Column>,
    /// How their values stand there, where a schema tells it.
    pub(crate) codecs: Option<Vec<Codec>>,
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
            Form::Json => Reader::Json(JsonReader::new(&layout)),
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
            None => {
                return Err(unreadable("the record is no envelope: it has no `op`").remedy(
                    "let Debezium write whole envelopes: without the transform ExtractNewRecordState",
                ));
            }
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

impl Said {
    fn of_value(form: &Form, value: &[u8], op: Op) -> Result<Said> {
        match Said::of(form, value)? {
            Said::Nothing => {
                let names = names(value, if op == Op::Delete { b"before" } else { b"after" })?;
                Ok(Said::Names(names.ok_or_else(|| unreadable("the envelope has no image of the row"))?))
            }
            said => Ok(said),
        }
    }

    fn of_key(form: &Form, key: &[u8]) -> Result<Said> {
        match Said::of(form, key)? {
            // What is no object (keys may be written otherwise than values) tells no columns.
            Said::Nothing if JsonCursor::new(key, Vec::new()).sees(b'{') => {
                Ok(field_names(&mut JsonCursor::new(key, Vec::new())).map(Said::Names)?)
            }
            said => Ok(said),
        }
    }

    /// What it says by a schema.
    fn of(form: &Form, bytes: &[u8]) -> Result<Said> {
        Ok(match form {
            Form::Avro(_) => Said::Id(framed(bytes)?.0),
            Form::Json => schema_part(bytes)?.map_or(Said::Nothing, |part| Said::Part(part.to_vec())),
        })
    }

    /// The schema that is said; `None`: none is.
    fn schema(&self, form: &Form) -> Result<Option<Connect>> {
        match (self, form) {
            (Said::Part(part), _) => serde_json::from_slice(part)
                .map(Some)
                .map_err(|error| unreadable("a schema part that is no Connect schema").caused_by(error)),
            (Said::Id(id), Form::Avro(registry)) => Connect::of_avro(&*registry.avro(*id)?, "").map(Some),
            (Said::Nothing | Said::Names(_) | Said::Id(_), _) => Ok(None),
        }
    }
}

impl Structure {
    /// Notes what a record says of its structure; whether that is something else than before. A record
    /// without a key (of a table without one) does not say what the key is.
    pub(crate) fn note(&mut self, form: &Form, key: Option<&[u8]>, value: &[u8], op: Op) -> Result<bool> {
        let value = Said::of_value(form, value, op)?;
        let key = key.map(|key| Said::of_key(form, key)).transpose()?;
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

    /// Whether it is told by the names of fields alone.
    pub(crate) fn is_by_names(&self) -> bool {
        matches!(self.said, Some((Said::Names(_), _)))
    }

    /// The columns that are told of; where names are all that is said, `by_names` gives those of a value's fields
    /// and a key's.
    pub(crate) fn columns(
        &self,
        form: &Form,
        by_names: impl FnOnce(&[String], &[String]) -> Result<(Vec<Column>, Vec<usize>)>,
    ) -> Result<Derived> {
        let Some((value, key)) = &self.said else { return Err(unreadable("nothing tells the structure")) };
        let key = match (key.schema(form)?, key) {
            (Some(schema), _) => schema.fields.into_iter().map(|field| field.field).collect(),
            (None, Said::Names(names)) => names.clone(),
            (None, _) => Vec::new(),
        };
        match (value.schema(form)?, value) {
            (Some(envelope), _) => {
                let derived = Derived::of(&envelope)?;
                Ok(Derived { key: places(&derived.columns, &key)?, ..derived })
            }
            (None, Said::Names(names)) => {
                let (columns, key) = by_names(names, &key)?;
                Ok(Derived { columns, codecs: None, key })
            }
            (None, _) => Err(unreadable("the record tells neither a schema nor fields")),
        }
    }

    /// The columns that the schema of a value tells of; `None`: it has no schema.
    pub(crate) fn of_schema(form: &Form, value: &[u8]) -> Result<Option<Derived>> {
        Said::of(form, value)?.schema(form)?.map(|envelope| Derived::of(&envelope)).transpose()
    }
}

impl Derived {
    fn of(envelope: &Connect) -> Result<Derived> {
        let image = envelope.field("after").ok_or_else(|| unreadable("an envelope without `after`"))?;
        let (mut columns, mut codecs) = (Vec::new(), Vec::new());
        for field in &image.fields {
            let (ty, codec) = field.column()?;
            columns.push(Column::new(&field.field, ty, field.optional));
            codecs.push(codec);
        }
        Ok(Derived { columns, codecs: Some(codecs), key: Vec::new() })
    }
}

/// Where the columns of a key stand.
pub(crate) fn places(columns: &[Column], key: &[String]) -> Result<Vec<usize>> {
    let place = |name: &String| {
        let found = columns.iter().position(|column| column.name == *name);
        found.ok_or_else(|| unreadable("a key of a field that the value does not have"))
    };
    key.iter().map(place).collect()
}

/// The bytes of a record's schema part; `None`: it has none.
fn schema_part(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let mut cursor = JsonCursor::new(bytes, Vec::new());
    let (mut part, mut enclosed) = (None, false);
    if !cursor.sees(b'{') {
        return Ok(None);
    }
    cursor.object(|cursor, name| {
        let object = cursor.sees(b'{');
        let from = cursor.at();
        cursor.skip()?;
        match name {
            b"schema" if object => part = Some(cursor.since(from)),
            b"payload" if object => enclosed = true,
            _ => {}
        }
        Ok(())
    })?;
    Ok(part.filter(|_| enclosed))
}

/// The names of the fields of an image of an envelope; `None`: it has no such image.
fn names(value: &[u8], image: &[u8]) -> Result<Option<Vec<String>>> {
    fn within(cursor: &mut JsonCursor<'_>, image: &[u8], found: &mut Option<Vec<String>>) -> Result<()> {
        cursor.object(|cursor, name| match name {
            b"payload" if cursor.sees(b'{') => within(cursor, image, found),
            name if name == image && cursor.sees(b'{') => {
                *found = Some(field_names(cursor)?);
                Ok(())
            }
            _ => cursor.skip(),
        })
    }
    let mut found = None;
    within(&mut JsonCursor::new(value, Vec::new()), image, &mut found)?;
    Ok(found)
}

fn field_names(cursor: &mut JsonCursor<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    cursor.object(|cursor, name| {
        names.push(String::from_utf8_lossy(name).into_owned());
        cursor.skip()
    })?;
    Ok(names)
}
