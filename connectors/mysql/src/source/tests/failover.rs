//! Chunks that are out when the stream goes on at another server.

use std::time::Duration;

use super::super::decoder::reading::{Found, Outcome, Task};
use super::*;
use crate::snapshot::SnapshotMode;
use crate::snapshot::link::{Covered, Seen};

const OLD: uuid::Uuid = uuid::Uuid::nil();
const NEW: uuid::Uuid = uuid::Uuid::max();

/// What a thread found that had executed `covered`.
fn found(table: &TableId, covered: &str, outcome: Outcome) -> Found {
    let id = Column::new("id", ColumnType::Int { width: 4, unsigned: false, display_one: false }, false);
    let schema = TableSchema::new(table.clone(), 1, vec![id], vec![0], TypeOptions::default());
    let covered = Covered::Gtids(covered.parse().unwrap());
    Found { schema: Arc::new(schema), seen: Seen { covered, at_us: 0 }, outcome, took: Duration::ZERO }
}

#[test]
fn a_chunk_that_saw_a_transaction_that_a_failover_lost_is_read_again_at_the_new_server() {
    let table = TableId::new("shop", "t");
    let mut run = run_as(&["shop.t"], begin(&Resume::default(), true), |settings| settings.snapshots = true);
    let decoder = &mut run.decoder;
    decoder.begin_snapshots(std::slice::from_ref(&table), SnapshotMode::Initial, false).unwrap();
    let plan = decoder.next_ticket().unwrap().expect("a plan is asked for");
    let nine = Outcome::Plan { key: vec!["id".into()], last: Some(vec!["9".into()]), estimated_rows: None };
    decoder.hand_over(plan, found(&table, "", nine)).unwrap();
    let chunk = decoder.next_ticket().unwrap().expect("a chunk is asked for");
    assert!(decoder.cut(&chunk, None).unwrap(), "it is all of the table");
    assert_eq!(chunk.server, OLD);
    let lost = format!("{OLD}:1-5,aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1");
    decoder.hand_over(chunk, found(&table, &lost, Outcome::Rows(Vec::new()))).unwrap();
    assert!(decoder.next_ticket().unwrap().is_none(), "it waits for what it saw");
    // The link to the same server breaks: nothing was lost.
    decoder.stream_begins(OLD, 4);
    assert!(decoder.next_ticket().unwrap().is_none(), "it still does");
    decoder.stream_begins(NEW, 4);
    decoder.boundary().unwrap();
    let again = decoder.next_ticket().unwrap().expect("the chunk is asked for again");
    assert!(matches!(again.task, Task::Chunk { .. }), "{:?}", again.task);
    assert_eq!(again.server, NEW);
}
