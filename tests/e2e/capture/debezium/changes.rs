//! Records of schema changes, of both sides, and what differs in them.
//!
//! Two are of the same change if they tell the same place of the log and the same table. Columns are compared by their
//! names.

use std::collections::BTreeMap;

use lakeward_test_support::kafka::Kafka;
use serde_json::{Map, Value};

use super::compare::{Found, Part, by_name, walk};
use super::pairs::parsed;
use super::suite::Columns;

/// What stands for a table in what is found in them.
pub(super) const CHANGES: &str = "schema changes";

/// Debezium's records of tables, and those of the schema changes of `run`.
pub(super) fn apart(theirs: Vec<Value>, run: &str) -> (Vec<Value>, Vec<Value>) {
    theirs.into_iter().partition(|record| record["topic"] != run)
}

/// Ours.
pub(super) fn ours(kafka: &Kafka, run: &str) -> Vec<Value> {
    kafka.read(run).iter().map(parsed).collect()
}

/// The place in the log, and the table.
fn identity(record: &Value) -> String {
    let value = &record["value"]["payload"];
    let place = (&value["source"]["file"], &value["source"]["pos"]);
    let named = match &value["tableChanges"][0]["id"] {
        // Debezium mostly tells no table of statements about indexes.
        id if id.is_string() && !is_of_index(value) => id,
        _ => &Value::Null,
    };
    format!("{} {} {named}", place.0, place.1)
}

fn is_of_index(value: &Value) -> bool {
    let ddl = value["ddl"].as_str().unwrap_or_default();
    ddl.starts_with("CREATE INDEX") || ddl.starts_with("DROP INDEX")
}

/// Compares all records of a run; they have the same order.
pub(super) fn compare(
    run: &'static str,
    columns: &Columns,
    theirs: &[Value],
    ours: &[Value],
    found: &mut Vec<Found>,
) {
    let mut rest: BTreeMap<String, &Value> = BTreeMap::new();
    for record in ours {
        assert!(rest.insert(identity(record), record).is_none(), "{run}: told twice: {record}");
    }
    let mut note = |op: &str, part, path: &[String], theirs: Option<&Value>, ours: Option<&Value>| {
        let column = match path {
            [first, table, second, column, ..]
                if first == "tableChanges" && table == "table" && second == "columns" =>
            {
                let place = op.split_once(' ').map(|(_, table)| format!("{table}.{column}"));
                place.and_then(|place| columns.get(&place)).cloned()
            }
            _ => None,
        };
        found.push(Found {
            run,
            table: CHANGES.to_owned(),
            op: op.to_owned(),
            part,
            path: path.to_vec(),
            column,
            theirs: theirs.cloned(),
            ours: ours.cloned(),
        });
    };
    let mut last = None;
    for their in theirs {
        let op = op(their);
        let Some(our) = rest.remove(&identity(their)) else {
            note(&op, Part::Record, &[], Some(their), None);
            continue;
        };
        let offset = our["value"]["payload"]["source"]["pos"].as_i64();
        assert!(last <= offset, "{run}: not in the order of the log: {our}");
        last = offset;
        for (part, name) in [(Part::KeySchema, "key"), (Part::ValueSchema, "value")] {
            let (left, right) = (by_name(&their[name]["schema"]), by_name(&our[name]["schema"]));
            walk(Some(&left), Some(&right), &mut Vec::new(), &mut |path, theirs, ours| {
                note(&op, part, path, theirs, ours);
            });
        }
        for (part, left, right) in [
            (Part::Key, their["key"]["payload"].clone(), our["key"]["payload"].clone()),
            (Part::Value, flat(&their["value"]["payload"]), flat(&our["value"]["payload"])),
            (Part::Headers, their["headers"].clone(), our["headers"].clone()),
        ] {
            walk(Some(&left), Some(&right), &mut Vec::new(), &mut |path, theirs, ours| {
                note(&op, part, path, theirs, ours);
            });
        }
    }
    for our in rest.into_values() {
        note(&op(our), Part::Record, &[], None, Some(our));
    }
}

/// What is done, and to which table.
fn op(record: &Value) -> String {
    let value = &record["value"]["payload"];
    let change = &value["tableChanges"][0];
    let table = change["id"].as_str().map(|id| id.trim_matches('"').rsplit("\".\"").next().unwrap_or(id));
    match (change["type"].as_str(), table) {
        (Some(kind), Some(table)) => format!("{kind} {table}"),
        _ => "DATABASE".to_owned(),
    }
}

/// The value with its one change instead of the list, and columns by their names.
fn flat(value: &Value) -> Value {
    let mut value = value.clone();
    let mut changes = value["tableChanges"].as_array().expect("a list").iter().cloned();
    let mut change = changes.next().unwrap_or(Value::Null);
    assert!(changes.next().is_none(), "one change a record: {value}");
    if let Some(list) = change["table"]["columns"].as_array() {
        let name = |column: &Value| column["name"].as_str().expect("a name").to_owned();
        let order: Vec<String> = list.iter().map(name).collect();
        let mut columns: Map<String, Value> =
            list.iter().map(|column| (name(column), column.clone())).collect();
        columns.insert("order".to_owned(), order.join(",").into());
        change["table"]["columns"] = columns.into();
    }
    value["tableChanges"] = change;
    value
}
