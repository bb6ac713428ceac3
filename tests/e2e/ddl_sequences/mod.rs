//! Random sequences of DDL and DML over a few tables, with lakeward stopped, started and killed in
//! between: the lake's latest state is the source's, and every value of the history can be read.
//!
//! A sequence is a database; many share one server and one pipeline. A failure prints its statements.

mod sequence;
mod statements;
mod structure;
mod values;

use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{Pipeline, Signal, seed};
use serde_json::json;

use self::sequence::Sequence;
use crate::expected::{self, Mapping};
use crate::lake::{Events, Name, Reader};
use crate::snapshot::pipeline::{allow_locks, initial};
use crate::versions::differences;
use crate::world::{ended, restless, server_with, set, stop, times, utc, view, wait_for_checkpoint};

/// Writers at once: statements that change tables mostly wait.
const WRITERS: usize = 4;

/// Every sequence goes on for a while, several at once.
fn bursts(server: &MySql, sequences: &mut [Sequence], count: u64) {
    let part = sequences.len().div_ceil(WRITERS);
    std::thread::scope(|scope| {
        for part in sequences.chunks_mut(part) {
            scope.spawn(move || part.iter_mut().for_each(|sequence| sequence.burst(server, count)));
        }
    });
}

fn sequences_stay_equal(row_metadata: RowMetadata, count: u64) {
    let options = MySqlOptions { row_metadata, time_zone: "+05:30".into(), ..MySqlOptions::default() };
    let server = server_with(options);
    // Each kind of log has its own sequences.
    let seed = match row_metadata {
        RowMetadata::Full => seed(),
        RowMetadata::Minimal => !seed(),
    };
    let mut sequences: Vec<Sequence> =
        (0..count).map(|number| Sequence::begin(&server, number, seed)).collect();
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    set(&mut pipeline, "lake/commit/interval", "1s");
    set(&mut pipeline, "tables/include", json!(["s*.*"]));
    allow_locks(&server, &mut pipeline);
    // Existing rows are read while the first statements come.
    let mut run = pipeline.start(&["run"]);
    bursts(&server, &mut sequences, 4);
    wait_for_checkpoint(&pipeline, &mut run);
    stop(&mut run);
    // Several changes while it is down.
    bursts(&server, &mut sequences, 8);
    pipeline.catch_up();
    // Killed in the middle.
    let mut run = pipeline.start(&["run"]);
    bursts(&server, &mut sequences, 6);
    run.signal(Signal::Kill);
    ended(&mut run, Duration::from_secs(10));
    bursts(&server, &mut sequences, 4);
    pipeline.catch_up();
    check(&server, &pipeline, &sequences);
}

/// What is wrong with a sequence's tables, as one reader sees them.
fn wrong_tables(
    server: &MySql,
    pipeline: &Pipeline,
    sequence: &Sequence,
    events: &std::collections::BTreeMap<Name, Events>,
) -> Vec<String> {
    let view = view(pipeline);
    let mut conn = utc(server);
    let mut wrong = Vec::new();
    let tables = structure::tables(&mut server.conn(), &sequence.database);
    for (name, events) in events.iter().filter(|((database, _), _)| *database == sequence.database) {
        let alive = not_voided(events);
        if alive > 0 && tables.iter().all(|table| table.name != name.1) {
            wrong.push(format!("{name:?} is gone, and has {alive} events that nothing voids in the lake"));
        }
    }
    for table in tables {
        let name: Name = (sequence.database.clone(), table.name);
        let source = expected::rows(&mut conn, &name.0, &name.1, Mapping::default());
        match events.get(&name) {
            Some(events) => wrong.extend(differences(&view, &name, events, &source)),
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

fn check(server: &MySql, pipeline: &Pipeline, sequences: &[Sequence]) {
    let view = view(pipeline);
    view.assert_all_named();
    let stopped = view.stopped();
    let mut failures = Vec::new();
    for reader in [Reader::Duckdb, Reader::Pyarrow] {
        let events = view.events(reader);
        view.assert_dense(&events);
        for sequence in sequences {
            let mut wrong = wrong_tables(server, pipeline, sequence, &events);
            let stopped = stopped.iter().filter(|((database, _), _)| *database == sequence.database);
            wrong.extend(stopped.map(|(name, stopped)| format!("{name:?} is stopped: {stopped:?}")));
            if !wrong.is_empty() {
                let shown = wrong.len().min(8);
                failures.push(format!("{reader:?}: {}\n{}", wrong[..shown].join("\n"), sequence.told()));
            }
        }
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

#[test]
fn random_sequences_of_ddl_and_dml() {
    sequences_stay_equal(RowMetadata::Full, times(100));
}

#[test]
fn random_sequences_of_ddl_and_dml_with_minimal_metadata() {
    sequences_stay_equal(RowMetadata::Minimal, times(100));
}

/// The sequences are worth their name: the server takes statements of every kind.
#[test]
fn the_server_takes_every_kind_of_statement() {
    const KINDS: &[&str] = &[
        "ADD COLUMN",
        "NOT NULL DEFAULT",
        "INVISIBLE",
        "STORED",
        "VIRTUAL",
        "DROP COLUMN",
        "MODIFY COLUMN",
        "CHANGE COLUMN",
        "RENAME COLUMN",
        " FIRST",
        " AFTER ",
        "RENAME TABLE",
        "RENAME TO",
        "swapped",
        " LIKE ",
        "SELECT * FROM",
        "DROP TABLE",
        "TRUNCATE TABLE",
        "ADD PRIMARY KEY (id, ",
        "DROP PRIMARY KEY",
        "CONVERT TO CHARACTER SET",
        "PARTITION BY KEY",
        "PARTITION BY RANGE",
        "TRUNCATE PARTITION",
        "DROP PARTITION",
        "EXCHANGE PARTITION",
        "COALESCE PARTITION",
        "REMOVE PARTITIONING",
        "REPLACE INTO",
        "UPDATE IGNORE",
        "DELETE FROM",
        "INSERT IGNORE",
    ];
    let server = server_with(MySqlOptions::default());
    let seed = seed();
    let mut sequences: Vec<Sequence> =
        (0..100).map(|number| Sequence::begin(&server, number, seed)).collect();
    bursts(&server, &mut sequences, 25);
    let done: Vec<&String> = sequences.iter().flat_map(|sequence| &sequence.done).collect();
    let missing: Vec<_> =
        KINDS.iter().filter(|kind| !done.iter().any(|done| done.contains(**kind))).collect();
    let asked = sequences.len() * (25 + 9);
    println!("{} of {asked} statements were taken", done.len() - sequences.len());
    assert!(missing.is_empty(), "never taken: {missing:?}");
    assert!(done.len() > asked * 2 / 3, "{} of {asked} statements were taken", done.len());
}
