//! Topics as a reader of committed records sees them, and what must be true of them.

use std::collections::{BTreeMap, BTreeSet};

use lakeward_test_support::kafka::{Kafka, Record};
use lakeward_test_support::mysql::MySql;
use serde_json::Value;

use crate::world::PIPELINE;

/// The topics of a pipeline.
pub(super) struct Topics<'a> {
    pub(super) kafka: &'a Kafka,
    pub(super) prefix: &'a str,
}

/// One change event.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) partition: i32,
    pub(super) seq: i64,
    pub(super) op: String,
    /// The image that stands after it, or the last one of a `d`; null for a mark.
    pub(super) row: Value,
}

/// Tables of the traffic with their keys.
pub(super) const TABLES: &[(&str, &[&str])] =
    &[("customers", &["id"]), ("orders", &["region", "id"]), ("carts", &["id"])];

impl Topics<'_> {
    fn own(&self, name: &str) -> String {
        format!("{}.__lakeward.{name}", self.prefix)
    }

    /// Topics of tables.
    pub(super) fn tables(&self) -> Vec<String> {
        let own = format!("{}.__", self.prefix);
        let first = format!("{}.", self.prefix);
        let all = self.kafka.topics().into_iter();
        // Database and table follow the prefix; the topics beside those of tables have one name there.
        let is_table = |topic: &str| topic.strip_prefix(&first).is_some_and(|rest| rest.contains('.'));
        all.filter(|topic| is_table(topic) && !topic.starts_with(&own)).collect()
    }

    /// All values of a key of the checkpoint topic, in order.
    pub(super) fn written(&self, key: &str) -> Vec<Value> {
        let topic = self.own("checkpoints");
        if !self.kafka.topics().contains(&topic) {
            return Vec::new();
        }
        let records = self.kafka.read(&topic);
        let of_key = records.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
        of_key.map(Record::json).collect()
    }

    /// The last checkpoint.
    pub(super) fn checkpoint(&self) -> Option<Value> {
        self.written("checkpoint").pop()
    }

    /// Its number; 0 without one.
    pub(super) fn checkpoint_number(&self) -> u64 {
        self.checkpoint().map_or(0, |checkpoint| checkpoint["number"].as_u64().expect("a number"))
    }

    /// Requests that stand.
    pub(super) fn requests(&self) -> usize {
        let mut standing = BTreeMap::new();
        for record in self.kafka.read(&self.own("requests")) {
            standing.insert(record.key.clone(), record.value.is_some());
        }
        standing.values().filter(|stands| **stands).count()
    }

    /// The events of a topic, by `seq`.
    pub(super) fn events(&self, topic: &str) -> Vec<Event> {
        let records = self.kafka.read(topic);
        let mut events: Vec<Event> = records.into_iter().filter_map(event).collect();
        let mut last = BTreeMap::new();
        // The mark of a whole re-read has the number that was reserved when the reading began.
        for event in events.iter().filter(|event| event.op != "t") {
            let before = last.insert(event.partition, event.seq);
            assert!(before < Some(event.seq), "{topic}: {event:?} comes after {before:?}");
        }
        events.sort_by_key(|event| event.seq);
        events
    }

    /// Numbers are dense and unique over all topics, and each topic partition has as many events as counted.
    pub(super) fn assert_whole(&self) -> BTreeMap<String, Vec<Event>> {
        let all: BTreeMap<String, Vec<Event>> =
            self.tables().into_iter().map(|topic| (topic.clone(), self.events(&topic))).collect();
        let mut seqs: Vec<i64> = all.values().flatten().map(|event| event.seq).collect();
        seqs.sort_unstable();
        let expected: Vec<i64> = (1..=i64::try_from(seqs.len()).unwrap()).collect();
        let odd = seqs.iter().zip(&expected).find(|(seq, expected)| seq != expected);
        assert!(odd.is_none(), "numbers are not dense: {odd:?} of {}", seqs.len());
        let checkpoint = self.checkpoint().expect("a checkpoint");
        let next = checkpoint["checkpoint"]["next_seq"].as_i64().expect("a number");
        assert_eq!(next, i64::try_from(seqs.len()).unwrap() + 1, "the checkpoint counts other events");
        for (topic, events) in &all {
            let mut counts = BTreeMap::<String, u64>::new();
            for event in events {
                *counts.entry(event.partition.to_string()).or_default() += 1;
            }
            let counted = checkpoint["events"].get(topic).cloned().unwrap_or_default();
            let counted: BTreeMap<String, u64> = counted
                .as_object()
                .into_iter()
                .flatten()
                .map(|(number, count)| (number.clone(), count.as_u64().expect("a count")))
                .filter(|(_, count)| *count > 0)
                .collect();
            assert_eq!(counts, counted, "{topic}");
        }
        let numbers = self.written("checkpoint");
        let mut numbers = numbers.iter().map(|checkpoint| checkpoint["number"].as_u64().expect("a number"));
        assert!(
            numbers.clone().zip(numbers.by_ref().skip(1)).all(|(a, b)| b == a + 1),
            "numbers of checkpoints"
        );
        all
    }

    /// The latest state is the source's, and each number is there once.
    pub(super) fn assert_latest(&self, server: &MySql) {
        let mut seqs = BTreeSet::new();
        for (table, key) in TABLES {
            let mut newest = BTreeMap::new();
            for event in self.events(&self.of(table)) {
                assert!(seqs.insert(event.seq), "number {} is there twice", event.seq);
                match event.op.as_str() {
                    "t" => newest.clear(),
                    "d" => {
                        newest.remove(&row_key(key, &event));
                    }
                    _ => {
                        newest.insert(row_key(key, &event), event.row["n"].as_i64().expect("a number"));
                    }
                }
            }
            assert_eq!(newest, source(server, table, key), "{table}");
        }
    }

    fn of(&self, table: &str) -> String {
        format!("{}.{PIPELINE}.{table}", self.prefix)
    }

    /// [`Topics::assert_whole`], each row's history has each of its changes once, and the latest state is the source's.
    pub(super) fn assert_source(&self, server: &MySql) {
        let all = self.assert_whole();
        for (table, _) in TABLES {
            assert_history(server, table, all.get(&self.of(table)).map_or(&[], Vec::as_slice));
        }
    }
}

/// The events of a table are the history of its rows, which ends in the state of the source.
pub(super) fn assert_history(server: &MySql, table: &str, events: &[Event]) {
    let (_, key) = TABLES.iter().find(|(name, _)| *name == table).expect("a table of the traffic");
    assert_eq!(latest(table, key, events), source(server, table, key), "{table}");
}

/// Key and `n` of each row of the source.
fn source(server: &MySql, table: &str, key: &[&str]) -> BTreeMap<Vec<String>, i64> {
    let rows = server.rows(&format!("SELECT {}, n FROM shop.{table}", key.join(", ")));
    let row = |row: Vec<Option<String>>| {
        let mut row: Vec<String> = row.into_iter().map(Option::unwrap).collect();
        let n = row.pop().unwrap().parse().unwrap();
        (row, n)
    };
    rows.into_iter().map(row).collect()
}

fn row_key(key: &[&str], event: &Event) -> Vec<String> {
    key.iter().map(|column| text(&event.row[*column])).collect()
}

fn event(record: Record) -> Option<Event> {
    // A tombstone takes an offset and is no event.
    record.value.as_ref()?;
    let header = |name: &str| record.header(name).unwrap_or_else(|| panic!("no header {name}: {record:?}"));
    let op = header("op").to_owned();
    let seq = header("seq").parse().expect("a number");
    header("version").parse::<u32>().expect("a version");
    let json = record.json();
    let row = if op == "d" { &json["before"] } else { &json["after"] }.clone();
    assert_eq!(json["op"], op.as_str());
    Some(Event { partition: record.partition, seq, op, row })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The latest state: each update raises `n` by one; what was read anew is as it was.
fn latest(table: &str, key: &[&str], events: &[Event]) -> BTreeMap<Vec<String>, i64> {
    let mut versions: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for event in events {
        if event.op == "t" {
            versions.clear();
            continue;
        }
        let of_row = row_key(key, event);
        let n = event.row["n"].as_i64().unwrap_or_else(|| panic!("no n: {event:?}"));
        let before = match event.op.as_str() {
            "d" => versions.remove(&of_row),
            _ => versions.insert(of_row.clone(), n),
        };
        let right = match event.op.as_str() {
            "c" => before.is_none(),
            "u" => before == Some(n - 1),
            "r" => true,
            _ => before == Some(n),
        };
        assert!(right, "{table} {of_row:?}: {event:?} after {before:?}");
    }
    versions
}
