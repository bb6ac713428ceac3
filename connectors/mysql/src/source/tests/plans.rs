//! Plans of snapshots over a log that does not name columns.

use std::time::Duration;

use super::super::decoder::reading::{Found, Outcome, Task};
use super::*;
use crate::snapshot::SnapshotMode;
use crate::snapshot::link::{Covered, Seen};

/// What a thread finds that looked when the table was empty.
fn empty(table: &TableId) -> Found {
    let id = Column::new("id", ColumnType::Int { width: 4, unsigned: false, display_one: false }, false);
    let schema = TableSchema::new(table.clone(), 1, vec![id], vec![0], TypeOptions::default());
    Found {
        schema: Arc::new(schema),
        seen: Seen { covered: Covered::Gtids(GtidSet::new()), at_us: 0 },
        outcome: Outcome::Plan { key: vec!["id".into()], last: None, estimated_rows: None },
        took: Duration::ZERO,
    }
}

/// What a thread finds that looked when the greatest key was 9.
fn nine(table: &TableId) -> Found {
    Found {
        outcome: Outcome::Plan { key: vec!["id".into()], last: Some(vec!["9".into()]), estimated_rows: None },
        ..empty(table)
    }
}

/// Nothing is known of the tables but that they are there: their rows were never changed.
#[test]
fn a_plan_that_was_described_before_a_statement_is_made_again() {
    for (name, from, what) in [("t", 1481, "two columns swap their names"), ("c", 7791, "TRUNCATE")] {
        let table = TableId::new("shop", name);
        let mut run =
            run_as(&["shop.*"], begin(&Resume::default(), true), |settings| settings.snapshots = true);
        let decoder = &mut run.decoder;
        decoder.begin_snapshots(std::slice::from_ref(&table), SnapshotMode::Initial, false).unwrap();
        let first = decoder.next_ticket().unwrap().expect("a plan is asked for");
        // The GTID, and the statement.
        feed_events(decoder, &data("mysql-9.7-ddl-minimal"), from, 2).unwrap();
        decoder.hand_over(first, nine(&table)).unwrap();
        let again = decoder.next_ticket().unwrap().expect("a plan is asked for again");
        assert!(matches!(again.task, Task::Plan), "{what}: {:?}", again.task);
        let adopted = schemas(&drain(run));
        assert!(adopted.is_empty(), "{what}: {adopted:?}");
    }
}

/// As in a checkpoint whose plan is older than the table's key: no statement will come and say so.
#[test]
fn a_chunk_that_finds_another_key_than_its_plan_has_the_table_read_anew() {
    let table = TableId::new("shop", "t");
    let mut run = run_as(&["shop.t"], begin(&Resume::default(), true), |settings| settings.snapshots = true);
    let decoder = &mut run.decoder;
    decoder.begin_snapshots(std::slice::from_ref(&table), SnapshotMode::Initial, false).unwrap();
    let plan = decoder.next_ticket().unwrap().expect("a plan is asked for");
    decoder.hand_over(plan, nine(&table)).unwrap();
    let chunk = decoder.next_ticket().unwrap().expect("a chunk is asked for");
    assert!(matches!(chunk.task, Task::Chunk { .. }), "{:?}", chunk.task);
    let mut found = empty(&table);
    let column = |name: &str| {
        Column::new(name, ColumnType::Int { width: 4, unsigned: false, display_one: false }, false)
    };
    let other = TableSchema::new(
        table.clone(),
        1,
        vec![column("id"), column("of")],
        vec![0, 1],
        TypeOptions::default(),
    );
    (found.schema, found.outcome) = (Arc::new(other), Outcome::OtherKey);
    decoder.hand_over(chunk, found).unwrap();
    let again = decoder.next_ticket().unwrap().expect("a plan is asked for again");
    assert!(matches!(again.task, Task::Plan), "{:?}", again.task);
    let feed = drain(run);
    assert_eq!(schemas(&feed).last().map(|schema| schema.key.len()), Some(2));
    let end = last_boundary(&feed);
    assert_eq!(end.without_event(), 1, "a mark is to void what went out by the other key: {end:?}");
}

#[test]
fn a_table_whose_window_filled_up_is_left_alone_for_a_moment() {
    let table = TableId::new("shop", "t");
    let clock = Arc::new(ManualClock::at(0));
    let mut run = run_as(&["shop.t"], begin(&known(), true), |settings| {
        (settings.snapshots, settings.chunk_goal_bytes, settings.gather_bytes) = (true, 1, 1);
        settings.clock = clock.clone();
    });
    let decoder = &mut run.decoder;
    decoder.begin_snapshots(std::slice::from_ref(&table), SnapshotMode::Initial, false).unwrap();
    let plan = decoder.next_ticket().unwrap().expect("a plan is asked for");
    let schema = known().schemas.into_iter().find(|schema| schema.table == table).expect("it is known");
    decoder.hand_over(plan, Found { schema, ..nine(&table) }).unwrap();
    let chunk = decoder.next_ticket().unwrap().expect("a chunk is asked for");
    assert!(matches!(chunk.task, Task::Chunk { .. }), "{:?}", chunk.task);
    // A transaction with rows of it: more than a window may hold here.
    feed_events(decoder, &data("mysql-9.7-minimal"), 1456, 5).unwrap();
    assert!(decoder.next_ticket().unwrap().is_none(), "it would fill up again at once");
    clock.advance(Duration::from_secs(1));
    assert!(decoder.next_ticket().unwrap().is_some(), "it is not forgotten");
}

#[test]
fn a_plan_that_is_older_than_the_commit_of_a_prepared_transaction_is_made_again() {
    let table = TableId::new("shop", "t");
    let mut run = run_as(&["shop.t"], begin(&Resume::default(), true), |settings| settings.snapshots = true);
    let decoder = &mut run.decoder;
    decoder.begin_snapshots(std::slice::from_ref(&table), SnapshotMode::Initial, false).unwrap();
    for committed in [true, false] {
        let plan = decoder.next_ticket().unwrap().expect("a plan is asked for");
        assert!(matches!(plan.task, Task::Plan), "before committed = {committed}: {:?}", plan.task);
        decoder.decided("prepared before the log that is read", committed).unwrap();
        decoder.hand_over(plan, nine(&table)).unwrap();
    }
    let chunk = decoder.next_ticket().unwrap().expect("a chunk is asked for");
    assert!(matches!(chunk.task, Task::Chunk { .. }), "nothing became visible: {:?}", chunk.task);
}

#[test]
fn a_plan_that_is_older_than_rows_which_were_passed_over_is_made_again() {
    let table = TableId::new("shop", "t");
    let mut run = run_as(&["shop.t"], begin(&Resume::default(), true), |settings| settings.snapshots = true);
    let decoder = &mut run.decoder;
    decoder.begin_snapshots(std::slice::from_ref(&table), SnapshotMode::Initial, false).unwrap();
    let first = decoder.next_ticket().unwrap().expect("a plan is asked for");
    assert!(matches!(first.task, Task::Plan), "{:?}", first.task);
    // Behind the statements that make the tables: nothing tells the names of its columns.
    assert!(feed_events(decoder, &data("mysql-9.7-minimal"), 1456, usize::MAX).unwrap());
    decoder.hand_over(first, empty(&table)).unwrap();
    let again = decoder.next_ticket().unwrap().expect("a plan is asked for again");
    assert!(matches!(again.task, Task::Plan), "{:?}", again.task);
    decoder.hand_over(again, empty(&table)).unwrap();
    let feed = drain(run);
    assert!(changes(&feed).is_empty(), "its rows were passed over");
    assert_eq!(last_boundary(&feed).tables[&table].snapshot, SnapshotState::Done);
}
