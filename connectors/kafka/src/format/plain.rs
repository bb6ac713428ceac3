//! Records that are no change events: a key and a value, each described by a Connect schema, in either format.

use lakeward_core::{Error, ErrorKind, Result};

use super::avro::table::head;
use super::avro::write::{NULL, SOME, push_bytes, push_long};
use super::described::{Base, Described};
use super::json::write::{push_int, push_text};
use super::{FormatOptions, avro, encoder, json};

/// A value of a schema.
pub(super) enum Datum<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    List(Vec<Datum<'a>>),
    Struct(Vec<Datum<'a>>),
}

/// Writes the records of one topic.
pub(super) struct Plain {
    key: Part,
    value: Part,
}

/// A key or a value.
struct Part {
    described: Described,
    form: Form,
}

enum Form {
    /// What stands before and behind the payload.
    Json(Vec<u8>, &'static [u8]),
    Avro([u8; 5]),
}

impl Plain {
    /// For `topic`. For `avro` it registers the schemas, and waits for the registry.
    pub(super) fn new(
        options: &FormatOptions,
        topic: &str,
        key: Described,
        value: Described,
    ) -> Result<Plain> {
        let registry = encoder::registry(options)?;
        let part = |name: &str, described: Described| {
            let form = match &registry {
                Some(registry) => {
                    let text = avro::schema::text(&described);
                    Form::Avro(head(registry.register(&format!("{topic}-{name}"), &text)?))
                }
                None if options.schemas => {
                    let before = format!("{{\"schema\":{},\"payload\":", json::schema::part(&described));
                    Form::Json(before.into_bytes(), b"}")
                }
                None => Form::Json(Vec::new(), b""),
            };
            Ok::<_, Error>(Part { described, form })
        };
        Ok(Plain { key: part("key", key)?, value: part("value", value)? })
    }

    /// A record's key and value.
    pub(super) fn record(&self, key: &Datum<'_>, value: &Datum<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok((self.key.bytes(key)?, self.value.bytes(value)?))
    }
}

impl Part {
    fn bytes(&self, datum: &Datum<'_>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match &self.form {
            Form::Json(before, behind) => {
                out.extend_from_slice(before);
                put_json(&self.described, datum, &mut out)?;
                out.extend_from_slice(behind);
            }
            Form::Avro(head) => {
                out.extend_from_slice(head);
                put_avro(&self.described, datum, &mut out)?;
            }
        }
        Ok(out)
    }
}

fn put_json(described: &Described, datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<()> {
    match (datum, &described.base) {
        (Datum::Null, _) if described.optional => out.extend_from_slice(b"null"),
        (Datum::Bool(value), Base::Boolean) => {
            out.extend_from_slice(if *value { b"true" } else { b"false" });
        }
        (Datum::Int(value), Base::Int32 | Base::Int64) => push_int(*value, out),
        (Datum::Text(text), Base::String) => push_text(text, out),
        (Datum::List(items), Base::Array(element)) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                put_json(element, item, out)?;
            }
            out.push(b']');
        }
        (Datum::Struct(values), Base::Struct(fields)) if values.len() == fields.len() => {
            out.push(b'{');
            for (place, ((name, field), value)) in fields.iter().zip(values).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                push_text(name, out);
                out.push(b':');
                put_json(field, value, out)?;
            }
            out.push(b'}');
        }
        _ => return Err(unfit()),
    }
    Ok(())
}

fn put_avro(described: &Described, datum: &Datum<'_>, out: &mut Vec<u8>) -> Result<()> {
    if described.optional {
        // The default of a union is of its first type: null, where there is none.
        let is_null = matches!(datum, Datum::Null);
        out.push(if is_null == described.default.is_none() { NULL } else { SOME });
    }
    match (datum, &described.base) {
        (Datum::Null, _) if described.optional => {}
        (Datum::Bool(value), Base::Boolean) => out.push((*value).into()),
        (Datum::Int(value), Base::Int32 | Base::Int64) => push_long(*value, out),
        (Datum::Text(text), Base::String) => push_bytes(text.as_bytes(), out),
        (Datum::List(items), Base::Array(element)) => {
            if !items.is_empty() {
                push_long(i64::try_from(items.len()).unwrap_or(i64::MAX), out);
                items.iter().try_for_each(|item| put_avro(element, item, out))?;
            }
            push_long(0, out);
        }
        (Datum::Struct(values), Base::Struct(fields)) if values.len() == fields.len() => {
            fields.iter().zip(values).try_for_each(|((_, field), value)| put_avro(field, value, out))?;
        }
        _ => return Err(unfit()),
    }
    Ok(())
}

#[cold]
fn unfit() -> Error {
    Error::new(ErrorKind::Bug, "a value that is not of its schema")
}
