//! Whether the lake is right about all sequences: for both readers, one that opens a table's whole folder and one
//! that opens its files, of all versions at once.

use std::collections::{BTreeMap, BTreeSet};

use lakeward_test_support::Pipeline;
use lakeward_test_support::mysql::MySql;
use serde_json::Value;

use super::history::{Compared, History};
use super::sequence::Sequence;
use super::structure;
use crate::expected::{self, Mapping, SourceTable};
use crate::lake::{Events, LakeView, Name, Reader};
use crate::versions::differences;
use crate::world::{utc, view};

/// See the module. `passed_over` are tables of which rows may be missing that came before all rows were read.
pub(super) fn check(
    server: &MySql,
    pipeline: &Pipeline,
    sequences: &[Sequence],
    passed_over: &BTreeSet<Name>,
) {
    let view = view(pipeline);
    view.assert_all_named();
    let stopped = view.stopped();
    let sources: Vec<BTreeMap<Name, SourceTable>> =
        sequences.iter().map(|sequence| source(server, sequence)).collect();
    let mut failures = Vec::new();
    for reader in [Reader::Duckdb, Reader::Pyarrow] {
        let events = match reader {
            Reader::Duckdb => view.events_of_folders(),
            Reader::Pyarrow => view.events(reader),
        };
        view.assert_dense(&events);
        let mut history = History::of(&view, &events);
        let mut compared = Compared::default();
        for (sequence, source) in sequences.iter().zip(&sources) {
            let mut wrong = wrong_tables(&view, &sequence.database, source, &events);
            wrong.extend(history.take(&sequence.written, passed_over, &mut compared));
            let stopped = stopped.iter().filter(|((database, _), _)| *database == sequence.database);
            wrong.extend(stopped.map(|(name, stopped)| format!("{name:?} is stopped: {stopped:?}")));
            if !wrong.is_empty() {
                let shown = wrong.len().min(8);
                failures.push(format!("{reader:?}: {}\n{}", wrong[..shown].join("\n"), sequence.told()));
            }
        }
        failures.extend(history.left().map(|unknown| format!("{reader:?}: nobody wrote {unknown:?}")));
        println!("{reader:?}: {compared:?}");
        compared.assert_enough();
    }
    let statements: usize = sequences.iter().map(|sequence| sequence.done.len()).sum();
    println!("{} sequences of {statements} statements", sequences.len());
    let shown = failures.len().min(4);
    assert!(
        failures.is_empty(),
        "{} sequences failed, as\n{}",
        failures.len(),
        failures[..shown].join("\n\n")
    );
}

/// Tables of which the logs of all runs tell that rows were passed over, as their structure was not known and all rows
/// were to be read anyway. That is so only in databases with a table that was altered at the very moment when the
/// catalog was read for the first run.
pub(super) fn passed_over(logs: &[String]) -> BTreeSet<Name> {
    let told = |logs: &[String], text: &str| -> BTreeSet<Name> {
        let lines = logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains(text));
        lines.map(table_of).collect()
    };
    let unproved = told(&logs[..1], "its structure is asked for again with its rows");
    let passed_over = told(logs, "passed over until all are read");
    let is_unproved = |database: &str| unproved.iter().any(|(other, _)| *other == *database);
    println!("not proved at the beginning: {unproved:?}");
    let others: Vec<&Name> = passed_over.iter().filter(|(database, _)| !is_unproved(database)).collect();
    assert!(others.is_empty(), "passed over, and proved at the beginning: {others:?}");
    passed_over
}

/// The table that a line of the log names.
fn table_of(line: &str) -> Name {
    let line: Value = serde_json::from_str(line).expect("a log line is JSON");
    let table = line["table"].as_str().and_then(|table| table.split_once('.'));
    let (database, table) = table.expect("the line names the table");
    (database.to_owned(), table.to_owned())
}

/// The tables of a sequence as the source has them.
fn source(server: &MySql, sequence: &Sequence) -> BTreeMap<Name, SourceTable> {
    let mut conn = utc(server);
    let tables = structure::tables(&mut conn, &sequence.database);
    let name = |table: structure::Table| (sequence.database.clone(), table.name);
    tables
        .into_iter()
        .map(name)
        .map(|name| {
            let rows = expected::rows(&mut conn, &name.0, &name.1, Mapping::default());
            (name, rows)
        })
        .collect()
}

/// What is wrong with the latest state of a database's tables.
fn wrong_tables(
    view: &LakeView,
    database: &str,
    source: &BTreeMap<Name, SourceTable>,
    events: &BTreeMap<Name, Events>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, events) in events.iter().filter(|(name, _)| name.0 == database) {
        let alive = not_voided(events);
        if alive > 0 && !source.contains_key(name) {
            wrong.push(format!("{name:?} is gone, and has {alive} events that nothing voids in the lake"));
        }
    }
    for (name, source) in source {
        match events.get(name) {
            Some(events) => wrong.extend(differences(view, name, events, source)),
            None if source.rows.is_empty() => {}
            None => wrong.push(format!("{name:?} is not in the lake")),
        }
    }
    wrong
}

/// Images that no mark voids: of a table that was dropped or renamed there are none, whatever its key was.
fn not_voided(events: &Events) -> usize {
    let ops = events.ops();
    let since = ops.iter().rposition(|op| op == "t").map_or(0, |mark| mark + 1);
    ops[since..].iter().filter(|op| *op != "d").count()
}
