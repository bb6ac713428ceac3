//! Avro schemas as writers registered them: parsed once per id, walked for each record.

use std::collections::HashMap;
use std::sync::Arc;

use lakeward_core::Result;
use serde_json::{Map, Value};

use crate::format::unreadable;

/// A type, with what Kafka Connect notes at it.
#[derive(Clone, Debug)]
pub(crate) struct Type {
    pub(crate) kind: Kind,
    pub(crate) notes: Arc<Notes>,
}

/// What a value is made of.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Boolean,
    /// `int` and `long`: the same bytes.
    Int {
        long: bool,
    },
    Float,
    Double,
    /// `bytes` and `string`: the same bytes.
    Bytes {
        text: bool,
    },
    Fixed(usize),
    Enum,
    Array(Arc<Type>),
    Map(Arc<Type>),
    Union(Arc<[Type]>),
    Record(Arc<Record>),
}

/// A record.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) fields: Vec<(String, Type)>,
}

/// What Kafka Connect notes at a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) name: Option<String>,
    /// `connect.type`: a narrower number.
    pub(crate) narrow: Option<String>,
    pub(crate) parameters: Vec<(String, String)>,
    /// Of `decimal`.
    pub(crate) precision: Option<u8>,
    pub(crate) scale: Option<u8>,
}

/// Deeper schemas are none that Kafka Connect writes.
const DEPTH_MAX: usize = 32;

impl Type {
    /// Parses a schema.
    pub(crate) fn parse(text: &str) -> Result<Type> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| unreadable("an Avro schema that is no JSON").caused_by(error))?;
        Parser::default().ty(&value, "", DEPTH_MAX)
    }

    /// The type of values that are there, and the place of null in a union with it.
    pub(crate) fn present(&self) -> Result<(&Type, Option<Nullable>)> {
        let Kind::Union(types) = &self.kind else { return Ok((self, None)) };
        match &**types {
            [null, some] if matches!(null.kind, Kind::Null) => Ok((some, Some(Nullable::First))),
            [some, null] if matches!(null.kind, Kind::Null) => Ok((some, Some(Nullable::Second))),
            [only] => Ok((only, None)),
            _ => Err(unreadable("an Avro union of more than null and one type")),
        }
    }

    /// The record that it is, or that it is a union of with null.
    pub(crate) fn record(&self) -> Option<&Arc<Record>> {
        match &self.present().ok()?.0.kind {
            Kind::Record(record) => Some(record),
            _ => None,
        }
    }
}

/// Where null stands in a union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nullable {
    First,
    Second,
}

#[derive(Default)]
struct Parser {
    named: HashMap<String, Type>,
}

impl Parser {
    fn ty(&mut self, value: &Value, namespace: &str, depth: usize) -> Result<Type> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(unreadable("an Avro schema nested too deep"));
        };
        match value {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(types) => {
                let types = types.iter().map(|ty| self.ty(ty, namespace, depth));
                Ok(plain(Kind::Union(types.collect::<Result<_>>()?)))
            }
            Value::Object(map) => self.object(map, namespace, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => Err(unreadable("an Avro schema of no type")),
        }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Type> {
        let kind = match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "int" => Kind::Int { long: false },
            "long" => Kind::Int { long: true },
            "float" => Kind::Float,
            "double" => Kind::Double,
            "bytes" => Kind::Bytes { text: false },
            "string" => Kind::Bytes { text: true },
            other => {
                let known = self.named.get(&full_name(other, namespace)).or_else(|| self.named.get(other));
                let message = || unreadable(format!("an Avro schema names `{other}` before it is defined"));
                return known.cloned().ok_or_else(message);
            }
        };
        Ok(plain(kind))
    }

    fn object(&mut self, map: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Type> {
        let lacks = |what: &str| unreadable(format!("an Avro schema lacks `{what}`"));
        let get = |key: &str| map.get(key).ok_or_else(|| lacks(key));
        let notes = Arc::new(notes(map));
        let ty = get("type")?;
        let kind = match ty.as_str() {
            Some("array") => Kind::Array(Arc::new(self.ty(get("items")?, namespace, depth)?)),
            Some("map") => Kind::Map(Arc::new(self.ty(get("values")?, namespace, depth)?)),
            Some(kind @ ("record" | "enum" | "fixed")) => {
                let name = get("name")?.as_str().ok_or_else(|| lacks("name"))?;
                let namespace = map.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let full = full_name(name, namespace);
                let kind = match kind {
                    "record" => Kind::Record(Arc::new(self.record(map, &full, depth)?)),
                    "enum" => Kind::Enum,
                    _ => {
                        let size = get("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                        Kind::Fixed(size.ok_or_else(|| lacks("size"))?)
                    }
                };
                let ty = Type { kind, notes };
                self.named.insert(full, ty.clone());
                return Ok(ty);
            }
            _ => self.ty(ty, namespace, depth)?.kind,
        };
        Ok(Type { kind, notes })
    }

    fn record(&mut self, map: &Map<String, Value>, full: &str, depth: usize) -> Result<Record> {
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let fields = map.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| unreadable(format!("Avro record `{full}` lacks its fields")))?;
        let field = |field: &Value| {
            let pair = field.get("name").and_then(Value::as_str).zip(field.get("type"));
            let (name, ty) = pair.ok_or_else(|| unreadable(format!("a field of Avro record `{full}`")))?;
            Ok((name.to_owned(), self.ty(ty, namespace, depth)?))
        };
        let fields = fields.iter().map(field).collect::<Result<_>>()?;
        Ok(Record { name: full.to_owned(), fields })
    }
}

fn plain(kind: Kind) -> Type {
    Type { kind, notes: Arc::default() }
}

fn full_name(name: &str, namespace: &str) -> String {
    match namespace.is_empty() || name.contains('.') {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn notes(map: &Map<String, Value>) -> Notes {
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| map.get(key).and_then(Value::as_u64).and_then(|value| u8::try_from(value).ok());
    let parameters = map.get("connect.parameters").and_then(Value::as_object);
    let parameter = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    Notes {
        name: text("connect.name"),
        narrow: text("connect.type"),
        parameters: parameters.into_iter().flatten().filter_map(parameter).collect(),
        precision: number("precision"),
        scale: number("scale"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_known_by_name_from_their_definition_on() {
        let schema = r#"{ "type": "record", "name": "E", "namespace": "a.b", "fields": [
            { "name": "x", "type": ["null", { "type": "record", "name": "V", "fields": [
                { "name": "i", "type": { "type": "int", "connect.type": "int16" } } ] }] },
            { "name": "y", "type": ["null", "V"] }, { "name": "z", "type": "a.b.V" } ] }"#;
        let ty = Type::parse(schema).unwrap();
        let Kind::Record(record) = &ty.kind else { panic!("{ty:?}") };
        for (name, field) in &record.fields {
            assert_eq!(field.record().unwrap().name, "a.b.V", "{name}");
        }
        let inner = record.fields[2].1.record().unwrap();
        assert_eq!(inner.fields[0].1.notes.narrow.as_deref(), Some("int16"));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for wrong in ["", "1", "\"unknown\"", "{}", r#"{"type":"record","name":"a"}"#, r#"{"type":"array"}"#]
        {
            assert!(Type::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Type::parse(&("[".repeat(60) + &"]".repeat(60))).is_err());
        assert!(Type::parse(r#"["null","int","long"]"#).unwrap().present().is_err());
    }
}
