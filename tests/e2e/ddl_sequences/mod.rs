//! Random sequences of DDL and DML over a few tables, with lakeward stopped, started and killed in
//! between: the lake's latest state is the source's, and every value of the history can be read: what each
//! transaction did to rows is what the lake's events of that transaction say.
//!
//! A sequence is a database; many share one server and one pipeline. A failure prints its statements.

mod history;
mod sequence;
mod session;
mod statements;
mod structure;
mod values;
mod verdict;

use std::collections::BTreeSet;

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{LIMIT, Signal, seed};
use serde_json::json;

use self::sequence::Sequence;
use crate::snapshot::pipeline::{allow_locks, initial};
use crate::world::{ended, restless, server_with, set, stop, times, wait_for_checkpoint};

/// Writers at once: statements that change tables mostly wait.
const WRITERS: usize = 4;

/// Parts of statements, one of each kind.
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
    "DISCARD TABLESPACE",
    "IMPORT TABLESPACE",
    "REPLACE INTO",
    "UPDATE IGNORE",
    "DELETE FROM",
    "INSERT IGNORE",
];

/// Every sequence goes on for a while, several at once.
fn bursts(server: &MySql, sequences: &mut [Sequence], count: u64) {
    let part = sequences.len().div_ceil(WRITERS);
    std::thread::scope(|scope| {
        for part in sequences.chunks_mut(part) {
            scope.spawn(move || part.iter_mut().for_each(|sequence| sequence.burst(server, count)));
        }
    });
}

/// The sequences are worth their name: the server takes most statements, and some of every kind.
fn assert_worth_their_name(sequences: &[Sequence]) {
    let done: Vec<&String> = sequences.iter().flat_map(Sequence::statements).collect();
    let missing: Vec<_> =
        KINDS.iter().filter(|kind| !done.iter().any(|done| done.contains(**kind))).collect();
    let (taken, asked) = (done.len() as u64, sequences.iter().map(|sequence| sequence.asked).sum::<u64>());
    println!("{taken} of {asked} statements were taken");
    assert!(missing.is_empty(), "never taken: {missing:?}");
    assert!(taken > asked * 2 / 3, "{taken} of {asked} statements were taken");
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
    let mut logs = vec![stop(&mut run).stderr];
    // Several changes while it is down.
    bursts(&server, &mut sequences, 8);
    logs.push(pipeline.catch_up().stderr());
    // Killed in the middle.
    let mut run = pipeline.start(&["run"]);
    bursts(&server, &mut sequences, 6);
    run.signal(Signal::Kill);
    logs.push(ended(&mut run, LIMIT).stderr);
    bursts(&server, &mut sequences, 4);
    logs.push(pipeline.catch_up().stderr());
    assert_worth_their_name(&sequences);
    // Where the log does not name columns, the catalog does at the beginning: of tables that are not altered just then.
    let passed_over = match row_metadata {
        RowMetadata::Full => BTreeSet::new(),
        RowMetadata::Minimal => verdict::passed_over(&logs),
    };
    verdict::check(&server, &pipeline, &sequences, &passed_over);
}

#[test]
fn random_sequences_of_ddl_and_dml() {
    sequences_stay_equal(RowMetadata::Full, times(100));
}

#[test]
fn random_sequences_of_ddl_and_dml_with_minimal_metadata() {
    sequences_stay_equal(RowMetadata::Minimal, times(100));
}
