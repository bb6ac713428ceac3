//! The schema part of JSON records, as Kafka Connect's `JsonConverter` writes it.

use serde_json::{Map, Value, json};

use crate::format::described::{Base, Described};

/// A Connect schema as JSON.
pub(crate) fn part(described: &Described) -> String {
    Value::Object(object(described)).to_string()
}

fn object(described: &Described) -> Map<String, Value> {
    let mut map = Map::new();
    let (ty, inner) = match &described.base {
        Base::Boolean => ("boolean", None),
        Base::Int16 => ("int16", None),
        Base::Int32 => ("int32", None),
        Base::Int64 => ("int64", None),
        Base::Float => ("float", None),
        Base::Double => ("double", None),
        Base::String => ("string", None),
        Base::Bytes => ("bytes", None),
        Base::Array(element) => ("array", Some(("items", Value::Object(object(element))))),
        Base::Struct(fields) => ("struct", Some(("fields", fields.iter().map(field).collect()))),
    };
    map.insert("type".into(), ty.into());
    map.extend(inner.map(|(key, inner)| (key.to_owned(), inner)));
    map.insert("optional".into(), described.optional.into());
    map.extend(described.name.as_deref().map(|name| ("name".to_owned(), name.into())));
    map.extend(described.version.map(|version| ("version".to_owned(), version.into())));
    map.extend(described.doc.map(|doc| ("doc".to_owned(), doc.into())));
    if !described.parameters.is_empty() {
        let parameters = described.parameters.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
        map.insert("parameters".into(), Value::Object(parameters.collect()));
    }
    map.extend(described.default.map(|default| ("default".to_owned(), default.into())));
    map
}

fn field((name, described): &(String, Described)) -> Value {
    let mut map = object(described);
    map.insert("field".into(), name.as_str().into());
    Value::Object(map)
}
