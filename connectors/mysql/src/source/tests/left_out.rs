//! Tables of a checkpoint that the pipeline does not capture any more, and those that come back.

use lakeward_core::{Snapshot, SnapshotPlan};

use super::*;
use crate::snapshot::SnapshotMode;

/// A checkpoint in which `shop.t` is being read; the mark that ends that has number 3.
fn half_read(status: TableStatus) -> Resume {
    let mut resume = known();
    let plan =
        SnapshotPlan { key: vec!["id".into()], last: Some(vec!["9".into()]), ..SnapshotPlan::default() };
    let open = Snapshot { mark: Some(3), plan: Some(plan), ..Snapshot::default() };
    let checkpoint = resume.checkpoint.as_mut().unwrap();
    let tables = Arc::make_mut(&mut checkpoint.tables);
    tables.retain(|table, _| *table.table == *"t");
    let state = tables.get_mut(&TableId::new("shop", "t")).expect("it is known");
    (state.snapshot, state.status) = (SnapshotState::Open(open), status);
    resume
}

#[test]
fn nothing_more_is_read_of_a_table_that_is_left_out_and_its_number_is_retired() {
    let resume = half_read(TableStatus::Active);
    let mut run = run_as(&["shop.u"], begin(&resume, true), |settings| settings.snapshots = true);
    run.decoder.begin_snapshots(&[], SnapshotMode::Initial, false).unwrap();
    assert!(run.decoder.next_ticket().unwrap().is_none(), "a chunk of a table that is not captured");
    run.decoder.boundary().unwrap();
    let feed = drain(run);
    let end = last_boundary(&feed);
    assert_eq!((end.retired, end.without_event()), (1, 1));
    assert_eq!(end.tables[&TableId::new("shop", "t")].status, TableStatus::LeftOut);
}

#[test]
fn one_that_comes_back_is_read_from_its_beginning_with_a_mark() {
    let mut resume = half_read(TableStatus::LeftOut);
    let checkpoint = resume.checkpoint.as_mut().unwrap();
    Arc::make_mut(&mut checkpoint.tables).get_mut(&TableId::new("shop", "t")).unwrap().snapshot =
        SnapshotState::Done;
    let begin = Begin { next_seq: 4, ..begin(&resume, true) };
    let mut run = run_as(&["shop.t"], begin, |settings| settings.snapshots = true);
    run.decoder.begin_snapshots(&[], SnapshotMode::Initial, false).unwrap();
    run.decoder.boundary().unwrap();
    let feed = drain(run);
    let end = last_boundary(&feed);
    let state = &end.tables[&TableId::new("shop", "t")];
    assert_eq!(state.status, TableStatus::Active);
    match &state.snapshot {
        SnapshotState::Open(Snapshot { mark: Some(4), plan: None, .. }) => {}
        other => panic!("{other:?}"),
    }
}
