//! Which of our records is to be which of Debezium's, and how each is taken apart.

use std::collections::BTreeMap;

use lakeward_test_support::kafka::{Kafka, Record};
use serde_json::{Map, Value, json};

use super::compare::{Found, Part, by_name, walk};
use super::suite::Columns;

/// How records are paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Both are in the order of the log.
    Log,
    /// By their keys: the rows of a table, each once, in any order.
    Key,
}

/// The topics of our tables.
pub(super) fn topics(kafka: &Kafka, prefix: &str) -> Vec<String> {
    let (own, first) = (format!("{prefix}.__"), format!("{prefix}."));
    let topics = kafka.topics().into_iter();
    topics.filter(|topic| topic.starts_with(&first) && !topic.starts_with(&own)).collect()
}

/// Our records of all tables, topic by topic, in the form of [`Debezium`](lakeward_test_support::debezium)'s.
pub(super) fn ours(kafka: &Kafka, prefix: &str) -> BTreeMap<String, Vec<Value>> {
    let records = |topic: String| {
        let records = kafka.read(&topic).iter().map(parsed).collect();
        (topic, records)
    };
    // A table that never had a row may have an empty topic.
    topics(kafka, prefix)
        .into_iter()
        .map(records)
        .filter(|(_, records): &(_, Vec<Value>)| !records.is_empty())
        .collect()
}

pub(super) fn parsed(record: &Record) -> Value {
    let json = |bytes: &Option<Vec<u8>>| {
        bytes.as_deref().map_or(Value::Null, |bytes| serde_json::from_slice(bytes).expect("records are JSON"))
    };
    let header = |(name, value): &(String, Vec<u8>)| {
        (name.clone(), String::from_utf8_lossy(value).into_owned().into())
    };
    let headers: Map<String, Value> = record.headers.iter().map(header).collect();
    json!({ "key": json(&record.key), "value": json(&record.value), "headers": headers })
}

/// The records of each topic, in their order.
pub(super) fn topic_by_topic(records: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut topics: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut record in records {
        let topic = record["topic"].as_str().expect("a topic").to_owned();
        record.as_object_mut().expect("an object").remove("topic");
        topics.entry(topic).or_default().push(record);
    }
    topics
}

/// Compares all records of a run.
pub(super) fn compare(
    run: &'static str,
    order: Order,
    columns: &Columns,
    mut theirs: BTreeMap<String, Vec<Value>>,
    mut ours: BTreeMap<String, Vec<Value>>,
    found: &mut Vec<Found>,
) {
    for (topic, ours) in &ours {
        // A table that is gone: to Debezium that is no event.
        if ours.iter().all(|record| op(record) == "t") {
            theirs.entry(topic.clone()).or_default();
        }
    }
    assert!(theirs.keys().eq(ours.keys()), "{run}: other topics\n{:?}\n{:?}", theirs.keys(), ours.keys());
    for (topic, mut theirs) in theirs {
        let mut ours = ours.remove(&topic).expect("the same topics");
        if order == Order::Key {
            let key = |record: &Value| match &record["key"] {
                Value::Null => record["value"]["payload"]["after"].to_string(),
                key => key["payload"].to_string(),
            };
            theirs.sort_by_key(key);
            ours.sort_by_key(key);
        }
        let table = topic.rsplit('.').next().expect("a name").to_owned();
        let mut table = Table { run, table, columns, found, last: [Value::Null, Value::Null] };
        table.pair(&theirs, &ours);
    }
}

/// The records of a table.
struct Table<'a> {
    run: &'static str,
    table: String,
    columns: &'a Columns,
    found: &'a mut Vec<Found>,
    /// The schema parts that were compared last: mostly the next ones are the same.
    last: [Value; 2],
}

fn op(record: &Value) -> &str {
    record["value"]["payload"]["op"].as_str().unwrap_or("tombstone")
}

/// Java prints some floats with more digits than tell them.
fn same_singles(theirs: Option<&Value>, ours: Option<&Value>) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "they are of single precision")]
    let single = |value: &Value| value.as_f64().map(|value| (value as f32).to_bits());
    match (theirs, ours) {
        (Some(Value::Array(theirs)), Some(Value::Array(ours))) => {
            let same = |(theirs, ours)| same_singles(Some(theirs), Some(ours));
            theirs.len() == ours.len() && theirs.iter().zip(ours).all(same)
        }
        (Some(theirs), Some(ours)) => single(theirs).is_some() && single(theirs) == single(ours),
        _ => false,
    }
}

fn is_of_nothing(record: &Value) -> bool {
    record["key"].is_null() && record["value"].is_null()
}

impl Table<'_> {
    fn pair(&mut self, theirs: &[Value], ours: &[Value]) {
        let (mut theirs, mut ours) = (theirs.iter().peekable(), ours.iter().peekable());
        loop {
            match (theirs.peek().copied(), ours.peek().copied()) {
                (None, None) => return,
                (Some(their), our) if is_of_nothing(their) && !our.is_some_and(is_of_nothing) => {
                    self.note(op(their), Part::Record, &[], theirs.next(), None);
                }
                (their, Some(our)) if op(our) == "t" && their.is_none_or(|their| op(their) != "t") => {
                    self.note("t", Part::Record, &[], None, ours.next());
                }
                (None, Some(our)) => self.note(op(our), Part::Record, &[], None, ours.next()),
                (Some(their), None) => self.note(op(their), Part::Record, &[], theirs.next(), None),
                (Some(their), Some(our)) => {
                    self.compare(their, our);
                    theirs.next();
                    ours.next();
                }
            }
        }
    }

    fn compare(&mut self, theirs: &Value, ours: &Value) {
        for (part, name) in [(Part::KeySchema, "key"), (Part::ValueSchema, "value")] {
            let (left, right) = (&theirs[name]["schema"], &ours[name]["schema"]);
            let both = json!([left, right]);
            let last = &mut self.last[usize::from(part == Part::ValueSchema)];
            if *last != both {
                self.part(part, op(theirs), Some(&by_name(left)), Some(&by_name(right)));
                self.last[usize::from(part == Part::ValueSchema)] = both;
            }
        }
        for (part, name) in [(Part::Key, "key"), (Part::Value, "value")] {
            self.part(part, op(theirs), Some(&theirs[name]["payload"]), Some(&ours[name]["payload"]));
        }
        self.part(Part::Headers, op(theirs), Some(&theirs["headers"]), Some(&ours["headers"]));
    }

    fn part(&mut self, part: Part, op: &str, theirs: Option<&Value>, ours: Option<&Value>) {
        let mut places = Vec::new();
        walk(theirs, ours, &mut Vec::new(), &mut |path, theirs, ours| {
            places.push((path.to_vec(), theirs.cloned(), ours.cloned()));
        });
        for (path, theirs, ours) in places {
            self.note(op, part, &path, theirs.as_ref(), ours.as_ref());
        }
    }

    fn note(&mut self, op: &str, part: Part, path: &[String], theirs: Option<&Value>, ours: Option<&Value>) {
        let column = match part {
            Part::Key | Part::KeySchema => path.first(),
            Part::Value | Part::ValueSchema => path.get(1),
            Part::Record | Part::Headers => None,
        };
        let column = column.and_then(|column| self.columns.get(&format!("{}.{column}", self.table)));
        if column.is_some_and(|column| column.starts_with("FLOAT") || column.starts_with("VECTOR"))
            && same_singles(theirs, ours)
        {
            return;
        }
        self.found.push(Found {
            run: self.run,
            table: self.table.clone(),
            op: op.to_owned(),
            part,
            path: path.to_vec(),
            column: column.cloned(),
            theirs: theirs.cloned(),
            ours: ours.cloned(),
        });
    }
}
