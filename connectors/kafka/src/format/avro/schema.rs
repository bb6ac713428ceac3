//! The Avro schema of records, as Kafka Connect's Avro converters derive it from Connect schemas.
//!
//! A record is defined where it first stands, and named from then on.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::format::described::{Base, Described};

/// A Connect schema as an Avro schema.
pub(crate) fn text(described: &Described) -> String {
    schema(described, &mut BTreeSet::new()).to_string()
}

/// A name that Avro allows: letters, digits and `_`, no digit first. Debezium's `avro` adjustment.
pub(crate) fn adjusted(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    let digit_first = name.chars().next().is_none_or(|first| first.is_ascii_digit());
    digit_first.then_some('_').into_iter().chain(kept).collect()
}

/// A name with a namespace, each part of it adjusted.
fn full(name: &str) -> String {
    name.split('.').map(adjusted).collect::<Vec<_>>().join(".")
}

/// The schema without regard to whether a value may be missing.
fn schema(described: &Described, known: &mut BTreeSet<String>) -> Value {
    let (ty, mut more) = match &described.base {
        Base::Boolean => ("boolean", Map::new()),
        Base::Int16 => ("int", Map::from_iter([("connect.type".to_owned(), json!("int16"))])),
        Base::Int32 => ("int", Map::new()),
        Base::Int64 => ("long", Map::new()),
        Base::Float => ("float", Map::new()),
        Base::Double => ("double", Map::new()),
        Base::String => ("string", Map::new()),
        Base::Bytes => ("bytes", Map::new()),
        Base::Array(element) => ("array", Map::from_iter([("items".to_owned(), union(element, known).0)])),
        Base::Struct(fields) => return record(described, fields, known),
    };
    annotate(described, &mut more);
    let logical = match described.name.as_deref() {
        Some("org.apache.kafka.connect.data.Decimal") => Some("decimal"),
        Some("org.apache.kafka.connect.data.Date") => Some("date"),
        Some("org.apache.kafka.connect.data.Time") => Some("time-millis"),
        Some("org.apache.kafka.connect.data.Timestamp") => Some("timestamp-millis"),
        _ => None,
    };
    more.extend(logical.map(|logical| ("logicalType".to_owned(), logical.into())));
    if logical == Some("decimal") {
        let number = |name: &str| {
            let parameter = described.parameters.iter().find(|(key, _)| *key == name);
            parameter.and_then(|(_, value)| value.parse::<u8>().ok())
        };
        more.insert("scale".into(), number("scale").unwrap_or(0).into());
        more.insert("precision".into(), number("connect.decimal.precision").unwrap_or(64).into());
    }
    if more.is_empty() {
        return ty.into();
    }
    more.insert("type".into(), ty.into());
    Value::Object(more)
}

fn annotate(described: &Described, map: &mut Map<String, Value>) {
    map.extend(described.version.map(|version| ("connect.version".to_owned(), version.into())));
    map.extend(described.doc.map(|doc| ("connect.doc".to_owned(), doc.into())));
    if !described.parameters.is_empty() {
        let parameters = described.parameters.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
        map.insert("connect.parameters".into(), Value::Object(parameters.collect()));
    }
    if let Some(default) = described.default {
        map.insert("connect.default".into(), default.into());
    }
    if let Some(name) = &described.name {
        map.insert("connect.name".into(), full(name).into());
    }
}

fn record(described: &Described, fields: &[(String, Described)], known: &mut BTreeSet<String>) -> Value {
    let full_name = full(described.name.as_deref().unwrap_or("ConnectDefault"));
    if !known.insert(full_name.clone()) {
        return full_name.into();
    }
    let mut map = Map::new();
    map.insert("type".into(), "record".into());
    match full_name.rsplit_once('.') {
        Some((namespace, name)) => {
            map.insert("name".into(), name.into());
            map.insert("namespace".into(), namespace.into());
        }
        None => {
            map.insert("name".into(), full_name.clone().into());
        }
    }
    map.insert(
        "fields".into(),
        fields.iter().map(|(name, described)| field(name, described, known)).collect(),
    );
    annotate(described, &mut map);
    Value::Object(map)
}

fn field(name: &str, described: &Described, known: &mut BTreeSet<String>) -> Value {
    match (union(described, known), described.optional) {
        ((ty, _), false) => json!({ "name": name, "type": ty }),
        ((ty, default), true) => json!({ "name": name, "type": ty, "default": default }),
    }
}

/// The type of a value that may be missing, if it may, and its default. That of a union is of its first type.
fn union(described: &Described, known: &mut BTreeSet<String>) -> (Value, Value) {
    let inner = schema(described, known);
    match (described.optional, described.default) {
        (false, _) => (inner, Value::Null),
        (true, None) => (json!(["null", inner]), Value::Null),
        (true, Some(default)) => (json!([inner, "null"]), default.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_avro_allows() {
        assert_eq!(adjusted("plain_1"), "plain_1");
        assert_eq!(adjusted("1a-b ü"), "_1a_b__");
        assert_eq!(full("shop.d-1.t.Value"), "shop.d_1.t.Value");
    }
}
