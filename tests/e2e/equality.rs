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

struct Expected {
    columns: Vec<String>,
    rows: History,
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

/// Inserts every value, updates every row to the next row's value, applies the case's own updates,
/// deletes everything; notes what SELECT says after each step. For a snapshot the rows stay, and only
/// what SELECT says in the end is noted.
fn play(server: &MySql, case: &TypeCase, mapping: Mapping, way: Way) -> Expected {
    let (mut conn, mut reader) = (writer(server), utc(server));
    let table = format!("`{DATABASE}`.`{}`", case.table);
    conn.select_db(DATABASE).unwrap();
    conn.query_drop(case.create()).unwrap_or_else(|error| panic!("{}: {error}", case.table));
    let mut rows = History::new();
    let mut columns = Vec::new();
    let mut note = |op: &'static str| {
        if (way == Way::Snapshot) != (op == "r") {
            return;
        }
        let source = expected::rows(&mut reader, DATABASE, &case.table, mapping);
        columns.clone_from(&source.columns);
        for (key, row) in source.by_key() {
            rows.entry(key).or_default().push((op, row));
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
    if way == Way::Binlog {
        conn.query_drop(format!("DELETE FROM {table}")).unwrap();
    }
    Expected { columns, rows }
}

fn differences(case: &str, expected: &Expected, events: &Events) -> Vec<String> {
    let mut found: BTreeMap<String, Vec<(String, Vec<Cell>)>> = BTreeMap::new();
    for (op, row) in events.ops().into_iter().zip(events.select(&expected.columns)) {
        found.entry(row[0].clone().expect("a key")).or_default().push((op, row));
    }
    let mut wrong = Vec::new();
    for (key, history) in &expected.rows {
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

struct Variant {
    options: MySqlOptions,
    mapping: Mapping,
    config: serde_json::Value,
    before_images: bool,
    way: Way,
    /// The settings of Kafka, where it lies between.
    kafka: Option<serde_json::Value>,
}

impl Default for Variant {
    fn default() -> Self {
        Variant {
            options: MySqlOptions { time_zone: "+05:30".into(), ..MySqlOptions::default() },
            mapping: Mapping::default(),
            config: json!({}),
            before_images: false,
            way: Way::Binlog,
            kafka: None,
        }
    }
}

fn check(variant: Variant) {
    let server = server_with(variant.options);
    server.sql(&format!("CREATE DATABASE {DATABASE}"));
    let cases = cases(&mut server.conn());
    let expected: Vec<(Name, Expected)> = cases
        .iter()
        .map(|case| {
            ((DATABASE.to_owned(), case.table.clone()), play(&server, case, variant.mapping, variant.way))
        })
        .collect();
    let mut pipeline = folder(&server);
    set(&mut pipeline, "tables/include", json!([format!("{DATABASE}.*")]));
    set(&mut pipeline, "types", variant.config);
    set(&mut pipeline, "before_images", variant.before_images);
    if variant.way == Way::Snapshot {
        read_existing_rows(&mut pipeline);
        allow_locks(&server, &mut pipeline);
    }
    let kafka = variant.kafka.map(|settings| {
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
        for (name, expected) in &expected {
            match events.get(name) {
                None => wrong.push(format!("{} is not in the lake ({reader:?})", name.1)),
                Some(events) => {
                    wrong.extend(differences(&name.1, expected, events));
                    if variant.before_images {
                        wrong.extend(wrong_before_images(&name.1, expected, events));
                    }
                }
            }
        }
    }
    let shown = wrong.len().min(40);
    assert!(wrong.is_empty(), "{} differences, as\n{}", wrong.len(), wrong[..shown].join("\n"));
}

#[test]
fn every_value_is_what_select_says() {
    check(Variant::default());
}

#[test]
fn every_value_is_what_select_says_with_minimal_metadata() {
    let mut variant = Variant::default();
    variant.options.row_metadata = RowMetadata::Minimal;
    check(variant);
}

#[test]
fn every_value_is_what_select_says_in_compressed_transactions_with_partial_json() {
    let mut variant = Variant { before_images: true, ..Variant::default() };
    variant.options.time_zone = "-03:30".into();
    variant.options.extra =
        vec!["--binlog-transaction-compression=ON".into(), "--binlog-row-value-options=PARTIAL_JSON".into()];
    check(variant);
}

#[test]
fn every_value_is_what_select_says_with_partial_json_and_minimal_metadata() {
    let mut variant = Variant::default();
    variant.options.row_metadata = RowMetadata::Minimal;
    variant.options.extra = vec!["--binlog-row-value-options=PARTIAL_JSON".into()];
    check(variant);
}

#[test]
fn every_value_is_what_select_says_without_gtids_and_without_checksums() {
    let mut variant = Variant { before_images: true, ..Variant::default() };
    variant.options.gtid = false;
    variant.options.extra = vec!["--binlog-checksum=NONE".into()];
    check(variant);
}

#[test]
fn every_value_is_what_select_says_as_strings_and_booleans() {
    check(Variant {
        mapping: Mapping { dates_as_string: true, time_as_string: true, tinyint1_as_boolean: true },
        config: json!({ "zero_dates": "string", "time_as_string": true, "tinyint1_as_boolean": true }),
        ..Variant::default()
    });
}

fn snapshot() -> Variant {
    Variant { way: Way::Snapshot, ..Variant::default() }
}

#[test]
fn every_row_of_a_snapshot_is_what_the_binlog_would_have_given() {
    check(snapshot());
}

#[test]
fn every_row_of_a_snapshot_is_what_the_binlog_would_have_given_with_minimal_metadata() {
    let mut variant = Variant { before_images: true, ..snapshot() };
    variant.options.row_metadata = RowMetadata::Minimal;
    variant.options.time_zone = "-03:30".into();
    check(variant);
}

#[test]
fn every_row_of_a_snapshot_is_what_the_binlog_would_have_given_without_gtids() {
    let mut variant = snapshot();
    variant.options.gtid = false;
    check(variant);
}

#[test]
fn every_row_of_a_snapshot_is_what_the_binlog_would_have_given_as_strings_and_booleans() {
    check(Variant {
        mapping: Mapping { dates_as_string: true, time_as_string: true, tinyint1_as_boolean: true },
        config: json!({ "zero_dates": "string", "time_as_string": true, "tinyint1_as_boolean": true }),
        ..snapshot()
    });
}

#[test]
fn every_value_is_what_select_says_over_kafka_as_json() {
    check(Variant { kafka: Some(json!({})), before_images: true, ..Variant::default() });
}

#[test]
fn every_value_is_what_select_says_over_kafka_as_strings_and_booleans() {
    check(Variant {
        mapping: Mapping { dates_as_string: true, time_as_string: true, tinyint1_as_boolean: true },
        config: json!({ "zero_dates": "string", "time_as_string": true, "tinyint1_as_boolean": true }),
        kafka: Some(
            json!({ "decimal_handling_mode": "string", "binary_handling_mode": "hex", "schemas": true }),
        ),
        ..Variant::default()
    });
}

#[test]
fn every_row_of_a_snapshot_over_kafka_is_what_the_binlog_would_have_given() {
    check(Variant { kafka: Some(json!({})), ..snapshot() });
}
