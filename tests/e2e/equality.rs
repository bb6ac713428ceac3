//! The values are the values: every image of the type suite, as two independent readers see it in the
//! lake, is what MySQL's own SELECT said after the statement. One suite for both ways into the lake: the
//! binlog, and a snapshot of the rows that were there before.
//!
//! The server's time zone is never UTC, so that a value which passes through a session time zone on
//! its way shows.

use std::collections::BTreeMap;

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::json;

use crate::expected::{self, Cell, Mapping};
use crate::lake::{Events, Name, Reader};
use crate::load::{broker, over_kafka};
use crate::snapshot::pipeline::{allow_locks, read_existing_rows};
use crate::types::{TypeCase, cases};
use crate::world::{folder, server_with, set, utc, view};

const DATABASE: &str = "types";

/// What the log must hold of one row: op and image, oldest first.
type History = BTreeMap<String, Vec<(&'static str, Vec<Cell>)>>;

/// What the lake must hold of a table.
struct Expected {
    mapping: Mapping,
    columns: Vec<String>,
    /// By the binlog.
    changes: History,
    /// By a snapshot, before the rows are deleted.
    rows: History,
}

impl Expected {
    fn by(&self, way: Way) -> &History {
        match way {
            Way::Binlog => &self.changes,
            Way::Snapshot => &self.rows,
        }
    }
}

/// Zero and partial dates are stored as they are written, and what is out of range is clipped.
pub(crate) fn writer(server: &MySql) -> Conn {
    let mut conn = server.conn();
    conn.query_drop("SET NAMES utf8mb4").unwrap();
    conn.query_drop("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'").unwrap();
    conn
}

/// How rows come into the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Every change by the binlog.
    Binlog,
    /// What the table holds in the end, read by a snapshot.
    Snapshot,
}

/// Inserts every value, updates every row to the next row's value, applies the case's own updates, and leaves
/// the rows to be deleted later; notes, for each mapping, what SELECT says after each step.
fn play(server: &MySql, case: &TypeCase, mappings: &[Mapping]) -> Vec<Expected> {
    let (mut conn, mut reader) = (writer(server), utc(server));
    let table = format!("`{DATABASE}`.`{}`", case.table);
    conn.select_db(DATABASE).unwrap();
    conn.query_drop(case.create()).unwrap_or_else(|error| panic!("{}: {error}", case.table));
    let new = |mapping: &Mapping| Expected {
        mapping: *mapping,
        columns: Vec::new(),
        changes: History::new(),
        rows: History::new(),
    };
    let mut all: Vec<Expected> = mappings.iter().map(new).collect();
    let mut note = |op: &'static str| {
        for expected in &mut all {
            let source = expected::rows(&mut reader, DATABASE, &case.table, expected.mapping);
            expected.columns.clone_from(&source.columns);
            let history = if op == "r" { &mut expected.rows } else { &mut expected.changes };
            for (key, row) in source.by_key() {
                history.entry(key).or_default().push((op, row));
            }
        }
    };
    for (id, value) in (1..).zip(&case.values) {
        let statement = format!("INSERT INTO {table} (id, v) VALUES ({id}, {value})");
        conn.query_drop(&statement).unwrap_or_else(|error| panic!("{error}: {statement:.300}"));
    }
    note("c");
    let next_values = case.values.iter().cycle().skip(1);
    for ((id, _), value) in (1..).zip(&case.values).zip(next_values) {
        conn.query_drop(format!("UPDATE {table} SET n = n + 1, v = {value} WHERE id = {id}")).unwrap();
    }
    note("u");
    for update in &case.updates {
        let statement = format!("UPDATE {table} SET n = n + 1, v = {update}");
        conn.query_drop(&statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
        note("u");
    }
    note("r");
    note("d");
    all
}

fn differences(case: &str, expected: &Expected, way: Way, events: &Events) -> Vec<String> {
    let mut found: BTreeMap<String, Vec<(String, Vec<Cell>)>> = BTreeMap::new();
    for (op, row) in events.ops().into_iter().zip(events.select(&expected.columns)) {
        found.entry(row[0].clone().expect("a key")).or_default().push((op, row));
    }
    let mut wrong = Vec::new();
    for (key, history) in expected.by(way) {
        let history: Vec<(String, Vec<Cell>)> =
            history.iter().map(|(op, row)| ((*op).to_owned(), row.clone())).collect();
        let lake = found.remove(key).unwrap_or_default();
        if lake.len() != history.len() {
            wrong.push(format!("{case} {key}: {} events, not {}", lake.len(), history.len()));
        }
        for (source, lake) in history.iter().zip(&lake).filter(|(source, lake)| source != lake) {
            wrong.push(format!("{case} {key}:\n  source {source:.700?}\n  lake   {lake:.700?}"));
        }
    }
    wrong.extend(found.into_keys().map(|key| format!("{case} {key}: only in the lake")));
    wrong
}

/// With `before_images`, an update carries the image of the event before it, an insert none.
fn wrong_before_images(case: &str, expected: &Expected, events: &Events) -> Vec<String> {
    let names: Vec<String> = expected.columns.iter().map(|column| format!("_before.{column}")).collect();
    let images = events.select(&expected.columns);
    let mut last: BTreeMap<Cell, Vec<Cell>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((op, before), image) in events.ops().into_iter().zip(events.select(&names)).zip(images) {
        let previous = last.insert(image[0].clone(), image.clone());
        let right = match (op.as_str(), previous) {
            ("c" | "r", None) => before.iter().all(Option::is_none),
            ("u", Some(previous)) => before == previous,
            ("d", Some(previous)) => image == previous,
            _ => false,
        };
        if !right {
            wrong.push(format!("{case} {op}: before {before:.700?}"));
        }
    }
    wrong
}

/// A pipeline to read what was played.
#[derive(Clone, Debug)]
struct Variant {
    mapping: Mapping,
    config: serde_json::Value,
    before_images: bool,
    way: Way,
    /// The settings of Kafka, where it lies between.
    kafka: Option<serde_json::Value>,
}

/// Every change, by the binlog.
fn changes() -> Variant {
    Variant {
        mapping: Mapping::default(),
        config: json!({}),
        before_images: false,
        way: Way::Binlog,
        kafka: None,
    }
}

/// What the tables hold in the end, by a snapshot.
fn snapshot() -> Variant {
    Variant { way: Way::Snapshot, ..changes() }
}

impl Variant {
    fn with_strings_and_booleans(self) -> Variant {
        Variant {
            mapping: Mapping { dates_as_string: true, time_as_string: true, tinyint1_as_boolean: true },
            config: json!({ "zero_dates": "string", "time_as_string": true, "tinyint1_as_boolean": true }),
            ..self
        }
    }

    fn with_before_images(self) -> Variant {
        Variant { before_images: true, ..self }
    }

    fn over_kafka(self, settings: serde_json::Value) -> Variant {
        Variant { kafka: Some(settings), ..self }
    }

    /// What is wrong in the lake of its pipeline.
    fn differences(&self, server: &MySql, played: &[(Name, Vec<Expected>)]) -> Vec<String> {
        let mut pipeline = folder(server);
        set(&mut pipeline, "tables/include", json!([format!("{DATABASE}.*")]));
        set(&mut pipeline, "types", self.config.clone());
        set(&mut pipeline, "before_images", self.before_images);
        if self.way == Way::Snapshot {
            read_existing_rows(&mut pipeline);
            allow_locks(server, &mut pipeline);
        }
        let kafka = self.kafka.as_ref().map(|settings| {
            let kafka = broker();
            over_kafka(&mut pipeline, &kafka);
            for (key, value) in settings.as_object().expect("settings are an object") {
                set(&mut pipeline, &format!("transport/kafka/{key}"), value.clone());
            }
            kafka
        });
        pipeline.catch_up();
        drop(kafka);
        let view = view(&pipeline);
        view.assert_all_named();
        let mut wrong = Vec::new();
        for reader in [Reader::Duckdb, Reader::Pyarrow] {
            let events = view.events(reader);
            view.assert_dense(&events);
            for (name, all) in played {
                let expected = all.iter().find(|expected| expected.mapping == self.mapping);
                let expected = expected.expect("it was noted");
                match events.get(name) {
                    None => wrong.push(format!("{} is not in the lake ({reader:?})", name.1)),
                    Some(events) => {
                        wrong.extend(differences(&name.1, expected, self.way, events));
                        if self.before_images {
                            wrong.extend(wrong_before_images(&name.1, expected, events));
                        }
                    }
                }
            }
        }
        wrong
    }
}

/// Plays once on a server and has each pipeline read it: those that read rows as long as there are some.
fn check(options: MySqlOptions, variants: &[Variant]) {
    let server = server_with(options);
    server.sql(&format!("CREATE DATABASE {DATABASE}"));
    let cases = cases(&mut server.conn());
    let mut mappings: Vec<Mapping> = Vec::new();
    for variant in variants {
        if !mappings.contains(&variant.mapping) {
            mappings.push(variant.mapping);
        }
    }
    let name = |case: &TypeCase| (DATABASE.to_owned(), case.table.clone());
    let played: Vec<(Name, Vec<Expected>)> =
        cases.iter().map(|case| (name(case), play(&server, case, &mappings))).collect();
    for way in [Way::Snapshot, Way::Binlog] {
        if way == Way::Binlog {
            let mut conn = writer(&server);
            for case in &cases {
                conn.query_drop(format!("DELETE FROM `{DATABASE}`.`{}`", case.table)).unwrap();
            }
        }
        for variant in variants.iter().filter(|variant| variant.way == way) {
            let wrong = variant.differences(&server, &played);
            let shown = wrong.len().min(40);
            assert!(
                wrong.is_empty(),
                "{variant:?}: {} differences, as\n{}",
                wrong.len(),
                wrong[..shown].join("\n")
            );
        }
    }
}

fn options(time_zone: &str) -> MySqlOptions {
    MySqlOptions { time_zone: time_zone.into(), ..MySqlOptions::default() }
}

#[test]
fn every_value_is_what_select_says() {
    let variants = [
        snapshot(),
        snapshot().with_strings_and_booleans(),
        snapshot().over_kafka(json!({})),
        changes(),
        changes().with_strings_and_booleans(),
        changes().with_before_images().over_kafka(json!({})),
        changes().with_strings_and_booleans().over_kafka(
            json!({ "decimal_handling_mode": "string", "binary_handling_mode": "hex", "schemas": true }),
        ),
    ];
    check(options("+05:30"), &variants);
}

#[test]
fn every_value_is_what_select_says_with_minimal_metadata() {
    let options = MySqlOptions { row_metadata: RowMetadata::Minimal, ..options("-03:30") };
    check(options, &[snapshot().with_before_images(), changes()]);
}

#[test]
fn every_value_is_what_select_says_in_compressed_transactions_with_partial_json() {
    let extra =
        vec!["--binlog-transaction-compression=ON".into(), "--binlog-row-value-options=PARTIAL_JSON".into()];
    check(MySqlOptions { extra, ..options("-03:30") }, &[changes().with_before_images()]);
}

#[test]
fn every_value_is_what_select_says_with_partial_json_and_minimal_metadata() {
    let options = MySqlOptions {
        row_metadata: RowMetadata::Minimal,
        extra: vec!["--binlog-row-value-options=PARTIAL_JSON".into()],
        ..options("+05:30")
    };
    check(options, &[changes()]);
}

#[test]
fn every_value_is_what_select_says_without_gtids_and_without_checksums() {
    let options =
        MySqlOptions { gtid: false, extra: vec!["--binlog-checksum=NONE".into()], ..options("+05:30") };
    check(options, &[snapshot(), changes().with_before_images()]);
}
