//! Parts of tables that are compared with the lake, one question at a time.

use lakeward_core::{Command, LivingKeys, Request, Snapshot, SnapshotCause, SnapshotPlan};

use super::*;

/// A checkpoint in which parts of `shop.r` and `shop.t` are read, and to be compared.
fn two_parts() -> Resume {
    let mut resume = known();
    let plan = SnapshotPlan { key: vec!["id".into()], ..SnapshotPlan::default() };
    let condition = Some("v = 1".to_owned());
    let open = Snapshot { plan: Some(plan), condition, cause: SnapshotCause::Asked, ..Snapshot::default() };
    let checkpoint = resume.checkpoint.as_mut().unwrap();
    let tables = Arc::make_mut(&mut checkpoint.tables);
    tables.retain(|table, _| ["r", "t"].contains(&&*table.table));
    for state in tables.values_mut() {
        state.snapshot = SnapshotState::Open(open.clone());
    }
    resume
}

fn carry_out(decoder: &mut Decoder, commands: &[Command]) {
    let standing = commands.iter().enumerate();
    let standing =
        standing.map(|(id, command)| (Request { id: id.to_string(), command: command.clone() }, None));
    decoder.carry_out(&standing.collect::<Vec<_>>()).unwrap();
}

/// The tables whose keys were asked for.
fn asked(feed: &[Feed]) -> Vec<String> {
    let table = |item: &Feed| match item {
        Feed::Keys(asked) => Some(asked.schema.table.table.to_string()),
        Feed::Schema(_) | Feed::Batch(_) | Feed::Mark(_) | Feed::SchemaChange(_) | Feed::Boundary(_) => None,
    };
    feed.iter().filter_map(table).collect()
}

/// Looks for something to read: nothing is, but parts are compared.
fn compare(decoder: &mut Decoder) {
    assert!(decoder.next_ticket().unwrap().is_none());
}

#[test]
fn the_next_part_is_compared_where_the_one_that_asked_for_keys_is_cancelled_or_paused() {
    let table = TableId::new("shop", "r");
    for command in [Command::Cancel { table: table.clone() }, Command::Pause { table }] {
        let mut run = run_as(&["shop.*"], begin(&two_parts(), true), |settings| settings.snapshots = true);
        let decoder = &mut run.decoder;
        (0..3).for_each(|_| compare(decoder));
        carry_out(decoder, std::slice::from_ref(&command));
        compare(decoder);
        // The answer to the first question comes late.
        run.answers.set(0, Err(lakeward_core::Error::new(ErrorKind::LakeUnreachable, "late")));
        compare(decoder);
        run.answers.set(1, Ok(LivingKeys::default()));
        (0..3).for_each(|_| compare(decoder));
        decoder.boundary().unwrap();
        let feed = drain(run);
        assert_eq!(asked(&feed)[..2], ["r", "t"], "{command}");
        let state = &last_boundary(&feed).tables[&TableId::new("shop", "t")].snapshot;
        assert_eq!(*state, SnapshotState::Done, "{command}");
    }
}

#[test]
fn a_part_that_is_continued_asks_again() {
    let table = TableId::new("shop", "r");
    let mut run = run_as(&["shop.*"], begin(&two_parts(), true), |settings| settings.snapshots = true);
    let decoder = &mut run.decoder;
    (0..2).for_each(|_| compare(decoder));
    let mut commands = vec![Command::Pause { table: table.clone() }];
    carry_out(decoder, &commands);
    (0..2).for_each(|_| compare(decoder));
    run.answers.set(1, Ok(LivingKeys::default()));
    commands.push(Command::Continue { table });
    carry_out(decoder, &commands);
    (0..3).for_each(|_| compare(decoder));
    assert_eq!(asked(&drain(run)), ["r", "t", "r"]);
}
