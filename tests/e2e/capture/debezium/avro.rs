//! Records of Avro, of both sides, as another library reads their bytes, in the form that the JSON converter writes: the
//! schema as Kafka Connect understands it, with what Avro itself says beside (names of records, logical types).

use std::collections::BTreeMap;
use std::path::Path;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::python;
use lakeward_test_support::registry::SchemaRegistry;
use serde_json::{Map, Value, json};

use super::pairs::topic_by_topic;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/python/avro.py");

/// All records of these topics.
pub(super) fn records(
    kafka: &Kafka,
    registry: &SchemaRegistry,
    topics: &[String],
) -> BTreeMap<String, Vec<Value>> {
    let (brokers, registry) = (kafka.brokers(), registry.url());
    let arguments = [&brokers, &registry].into_iter().chain(topics).map(String::as_str);
    let printed = python(Path::new(SCRIPT), &arguments.collect::<Vec<_>>(), "");
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("a line is JSON");
        for part in ["key", "value"] {
            if record[part].is_object() {
                let schema = connect(&record[part]["schema"], "", &mut Map::new());
                single_floats(&schema, &mut record[part]["payload"]);
                record[part]["schema"] = schema;
            }
        }
        record
    };
    topic_by_topic(printed.lines().map(record).collect())
}

/// What an Avro schema is to Kafka Connect. `named`: the records that were defined before, by their full names.
fn connect(avro: &Value, namespace: &str, named: &mut Map<String, Value>) -> Value {
    match avro {
        Value::String(name) => match base(name) {
            Some(base) => json!({ "type": base, "optional": false }),
            None => {
                let full = full(name, namespace);
                named.get(&full).unwrap_or_else(|| panic!("`{full}` is not defined")).clone()
            }
        },
        Value::Array(union) => {
            let present: Vec<&Value> = union.iter().filter(|ty| *ty != "null").collect();
            let [present] = present[..] else { panic!("a union of {union:?}") };
            let mut schema = connect(present, namespace, named);
            schema["optional"] = true.into();
            schema
        }
        Value::Object(map) => object(map, namespace, named),
        other => panic!("no schema: {other}"),
    }
}

fn base(name: &str) -> Option<&str> {
    Some(match name {
        "int" => "int32",
        "long" => "int64",
        "boolean" | "float" | "double" | "bytes" | "string" => name,
        _ => return None,
    })
}

fn full(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn object(map: &Map<String, Value>, namespace: &str, named: &mut Map<String, Value>) -> Value {
    let namespace = map.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    let mut schema = match map["type"].as_str().expect("a type") {
        "record" => {
            let field = |field: &Value| {
                let mut schema = connect(&field["type"], namespace, named);
                schema["field"] = field["name"].clone();
                schema
            };
            let fields: Vec<Value> = map["fields"].as_array().expect("fields").iter().map(field).collect();
            json!({ "type": "struct", "fields": fields })
        }
        "array" => json!({ "type": "array", "items": connect(&map["items"], namespace, named) }),
        ty => json!({ "type": map.get("connect.type").map_or(base(ty), Value::as_str) }),
    };
    schema["optional"] = false.into();
    for note in ["name", "version", "doc", "parameters", "default"] {
        if let Some(value) = map.get(&format!("connect.{note}")) {
            schema[note] = value.clone();
        }
    }
    for note in ["logicalType", "scale", "precision"] {
        if let Some(value) = map.get(note) {
            schema[format!("avro.{note}")] = value.clone();
        }
    }
    if let Some(name) = map.get("name").and_then(Value::as_str) {
        let full = full(name, namespace);
        schema["avro.name"] = full.as_str().into();
        named.insert(full, schema.clone());
    }
    schema
}

/// Numbers of single precision in as few digits as tell them.
fn single_floats(schema: &Value, value: &mut Value) {
    match schema["type"].as_str() {
        Some("float") => {
            if let Some(number) = value.as_f64() {
                #[expect(clippy::cast_possible_truncation, reason = "it is of single precision")]
                let shortest = (number as f32).to_string();
                *value = shortest.parse::<f64>().expect("a number").into();
            }
        }
        Some("array") => {
            value.as_array_mut().into_iter().flatten().for_each(|item| single_floats(&schema["items"], item));
        }
        Some("struct") if value.is_object() => {
            for field in schema["fields"].as_array().expect("fields") {
                single_floats(field, &mut value[field["field"].as_str().expect("a name")]);
            }
        }
        _ => {}
    }
}
