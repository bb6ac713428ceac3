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
        outcome: Outcome::Plan { last: None, estimated_rows: None },
        took: Duration::ZERO,
    }
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
