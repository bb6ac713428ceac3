//! What `status` tells.

use std::sync::Arc;

use lakeward_core::{BinlogPosition, Command, Error, ErrorKind, SnapshotPlan, TableState};

use super::*;

pub(crate) fn checkpoint() -> Checkpoint {
    let position = Position::Binlog(BinlogPosition {
        server_uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".parse().unwrap(),
        file: "binlog.000002".into(),
        offset: 4_711,
        gtid_set: None,
    });
    let stopped = TableStatus::Stopped {
        kind: "TableChanged".into(),
        message: "a column was added".into(),
        remedy: Some("do this".into()),
        at: position.clone(),
    };
    let states = [
        (
            TableId::new("shop", "a"),
            TableState {
                schema_version: 1,
                status: TableStatus::Active,
                snapshot: SnapshotState::NotAsked,
                deleted_by_key: false,
                dropped: false,
            },
        ),
        (
            TableId::new("shop", "away"),
            TableState {
                schema_version: 1,
                status: TableStatus::LeftOut,
                snapshot: SnapshotState::Done,
                deleted_by_key: false,
                dropped: false,
            },
        ),
        (
            TableId::new("shop", "b"),
            TableState {
                schema_version: 1,
                status: stopped,
                snapshot: SnapshotState::NotAsked,
                deleted_by_key: false,
                dropped: false,
            },
        ),
    ];
    Checkpoint {
        position,
        next_seq: 11,
        commit_us: Some(0),
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::new(states.into()),
    }
}

#[test]
fn a_status_tells_position_stopped_tables_and_a_server_that_is_away() {
    let away = Err(Error::new(ErrorKind::SourceUnreachable, "no answer"));
    let lake = LakeStatus {
        record: 9,
        epoch: 7,
        records_since_claim: 2,
        workers: Vec::new(),
        shown_through: 8,
        files_not_known_visible: 0,
        complete_to_us: checkpoint().complete_to_us(),
        checkpoint: Some(checkpoint()),
    };
    let status = Status {
        pipeline: "shop".into(),
        server: Some(beside(Some(&checkpoint()), away, 0)),
        tables: tables(&checkpoint()),
        snapshots: snapshots(&checkpoint()),
        requests: Vec::new(),
        lake: Some(lake),
        kafka: None,
    };
    let told = text(&status);
    for words in [
        "binlog.000002:4711",
        "10 change events",
        "no answer",
        "1 captured, 1 stopped",
        "do this",
        "left out since: shop.away",
        "complete  up to 1970-01-01 00:00:00 UTC; not: 1 stopped, 0 read in part\n",
    ] {
        assert!(told.contains(words), "{words} is not in:\n{told}");
    }
    let json = serde_json::json!(status);
    assert_eq!(json["tables"]["stopped"][0]["table"], "shop.b");
    assert_eq!(json["server"]["state"], "unreachable");
}

fn with_snapshots(states: Vec<(&str, SnapshotState)>) -> Status {
    let mut shown = checkpoint();
    let state = |snapshot| TableState {
        schema_version: 1,
        status: TableStatus::Active,
        snapshot,
        deleted_by_key: false,
        dropped: false,
    };
    let states = states.into_iter().map(|(table, it)| (TableId::new("shop", table), state(it)));
    shown.tables = Arc::new(states.collect());
    let request =
        Request { id: "1".into(), command: Command::Pause { table: TableId::new("shop", "orders") } };
    Status {
        pipeline: "shop".into(),
        server: Some(Server::Unreachable { error: "away".into() }),
        tables: tables(&shown),
        snapshots: snapshots(&shown),
        requests: vec![request],
        lake: None,
        kafka: None,
    }
}

#[test]
fn snapshots_are_told_by_table_with_rows_percent_rate_and_time_left() {
    let plan =
        SnapshotPlan { rows: 400, estimated_rows: Some(1_000), reading_ms: 4_000, ..SnapshotPlan::default() };
    let reading = Snapshot { plan: Some(plan), condition: Some("id > 5".into()), ..Snapshot::default() };
    let paused = Snapshot { paused: true, ..reading.clone() };
    let status = with_snapshots(vec![
        ("a", SnapshotState::Open(reading)),
        ("b", SnapshotState::Open(paused)),
        ("c", SnapshotState::Open(Snapshot::default())),
        ("d", SnapshotState::Done),
        ("e", SnapshotState::NotAsked),
        ("f", SnapshotState::Partial),
    ]);
    let told = text(&status);
    for line in [
        "snapshots 1 done, 1 being read, 1 paused, 1 to come, 1 not asked for",
        "  shop.a being read, where id > 5: 400 of about 1,000 rows (40 %), 100 rows/s, 6 s left",
        "  shop.b paused, where id > 5: 400 of about 1,000 rows (40 %), 100 rows/s",
        "  shop.c to come",
        "  given up, or read in part: shop.f",
        "  pause shop.orders",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is not in:\n{told}");
    }
    let json = serde_json::json!(status);
    let first = &json["snapshots"]["open"][0];
    assert_eq!((&first["state"], &first["percent"]), (&"reading".into(), &40.into()));
    assert_eq!((&first["rows_per_second"], &first["seconds_left"]), (&100.into(), &6.into()));
    assert_eq!(json["requests"][0]["command"]["pause"]["table"][1], "orders");
}

#[test]
fn nothing_is_said_of_snapshots_where_none_was_asked_for() {
    let told = text(&with_snapshots(vec![("e", SnapshotState::NotAsked)]));
    assert!(!told.contains("snapshots"), "{told}");
}
