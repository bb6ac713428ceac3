//! The contracts with the outside under `schemas/`, compared with what the code really writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonschema::Validator;
use lakeward_core::{
    Answer, BinlogPosition, Checkpoint, Column, ColumnType, Command, KafkaPosition, Position, PreparedXa,
    Request, Snapshot, SnapshotPlan, SnapshotState, TableId, TableSchema, TableState, TableStatus,
    TopicPartitionPosition, TypeOptions,
};
use lakeward_lake::columns::{IncompatibleChange, LakeVersion};
use lakeward_lake::commit::record::{ColumnStats, Entry, FileEntry, Record, Repairs, Worker};
use lakeward_lake::objects::{Part, Upload};
use serde_json::Value;

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn validator(name: &str) -> Validator {
    let text = std::fs::read_to_string(schemas().join(name)).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn position(offset: u64, gtids: &str) -> Position {
    Position::Binlog(BinlogPosition {
        server_uuid: UUID.parse().unwrap(),
        file: "binlog.000042".into(),
        offset,
        gtid_set: Some(format!("{UUID}:{gtids}").parse().unwrap()),
    })
}

/// Two topic partitions, one of them stopped.
fn kafka(checkpoint: u64) -> Position {
    let place = TopicPartitionPosition {
        offset: checkpoint.cast_signed() * 12,
        events: checkpoint * 5,
        checkpoint,
        commit_us: Some(1_795_269_600_000_000),
        dead_letters: 0,
        stopped: None,
    };
    let stopped =
        TopicPartitionPosition { dead_letters: 2, stopped: Some("no such schema".into()), ..place.clone() };
    let places = BTreeMap::from([(0, place), (1, stopped)]);
    Position::Kafka(KafkaPosition { topics: BTreeMap::from([("shop.shop.orders".to_owned(), places)]) })
}

fn checkpoint(offset: u64, gtids: &str, next_seq: i64) -> Checkpoint {
    let stopped = TableStatus::Stopped {
        kind: "TableChanged".into(),
        message: "the table's structure changed".into(),
        remedy: Some("lakeward resume shop.prices".into()),
        at: position(4_711, "1-5"),
    };
    let plan = SnapshotPlan {
        key: vec!["id".into()],
        last: Some(vec!["1000".into()]),
        through: Some(vec!["300".into()]),
        beyond: vec![(vec!["400".into()], vec!["500".into()])],
        rows: 400,
        estimated_rows: Some(990),
        reading_ms: 20,
    };
    let open = Snapshot { mark: Some(3), plan: Some(plan), ..Snapshot::default() };
    let part = Snapshot { condition: Some("id > 5".into()), paused: true, ..Snapshot::default() };
    let (active, done) = (TableStatus::Active, SnapshotState::Done);
    let state = |status, snapshot| TableState {
        schema_version: 1,
        status,
        snapshot,
        deleted_by_key: false,
        dropped: false,
    };
    let tables = [
        (TableId::new("shop", "items"), state(active.clone(), SnapshotState::Partial)),
        (TableId::new("shop", "lines"), state(active.clone(), SnapshotState::Open(part))),
        (TableId::new("shop", "logs"), state(TableStatus::LeftOut, done.clone())),
        (TableId::new("shop", "notes"), state(active.clone(), SnapshotState::NotAsked)),
        (TableId::new("shop", "orders"), state(active, SnapshotState::Open(open))),
        (TableId::new("shop", "prices"), state(stopped, done)),
    ];
    Checkpoint {
        position: position(offset, gtids),
        next_seq,
        commit_us: Some(1_795_269_600_000_000),
        retired: 1,
        prepared: vec![PreparedXa {
            xid: "X'31' , X'' , 1".into(),
            tables: vec![TableId::new("shop", "orders")],
        }],
        requests: vec![
            Answer::done("00001795269600000000-0a1b2c3d"),
            Answer::refused("00001795269600000001-4e5f6a7b", "the table is not stopped"),
        ],
        tables: Arc::new(tables.into()),
    }
}

fn file() -> FileEntry {
    let key = "shop/orders/dt=2026-11-21/hr=14/shop-00000000000000000001-7-1.parquet";
    let column = |name: &str, nulls, range: Option<(&str, &str)>| ColumnStats {
        name: name.into(),
        nulls,
        min: range.map(|(min, _)| min.into()),
        max: range.map(|(_, max)| max.into()),
    };
    FileEntry {
        upload: Upload { key: key.into(), upload_id: "opaque".into(), lakeward_id: "shop/7/1".into() },
        parts: vec![Part { number: 1, etag: "\"opaque\"".into(), bytes: 1_234 }],
        table: TableId::new("shop", "orders"),
        schema_version: 1,
        partition: "dt=2026-11-21/hr=14".into(),
        bytes: 1_234,
        rows: 10,
        seq: (1, 10),
        topic_partitions: std::collections::BTreeMap::new(),
        commit_us: (1_795_269_600_000_000, 1_795_269_601_000_000),
        columns: vec![column("id", 0, Some(("1", "10"))), column("note", 10, None)],
    }
}

/// A second version, in which a column has become text.
fn version() -> LakeVersion {
    let first = structure(1, ColumnType::Int { width: 4, unsigned: false, display_one: false });
    let second = structure(2, ColumnType::Text { collation: 255 });
    LakeVersion::after(&LakeVersion::of_own_names(first), second, &[], IncompatibleChange::NewColumn).unwrap()
}

fn structure(version: u32, note: ColumnType) -> TableSchema {
    let column = |name: &str, ty| Column::new(name, ty, true);
    let columns = vec![
        column("id", ColumnType::Int { width: 8, unsigned: true, display_one: false }),
        column("note", note),
        column("data", ColumnType::Json),
    ];
    TableSchema::new(TableId::new("shop", "orders"), version, columns, vec![0], TypeOptions::default())
}

/// One record of every kind.
fn records() -> Vec<(&'static str, Record, Vec<u8>)> {
    let (before, after) = (checkpoint(4, "1-4", 1), checkpoint(9_000, "1-9", 11));
    let claim = Entry::Claim { checkpoint: None, writer: UUID.parse().unwrap() };
    let commit = Entry::Commit {
        from: Some(before),
        to: after.clone(),
        schemas: vec![version()],
        files: vec![file()],
        repairs: None,
    };
    let repair = Entry::Commit {
        from: Some(after.clone()),
        to: after,
        schemas: Vec::new(),
        files: vec![file()],
        repairs: Some(Repairs { record: 8, lost: vec!["shop/orders/lost.parquet".into()] }),
    };
    let over_kafka = |at, next_seq| Checkpoint { position: kafka(at), ..checkpoint(4, "1-4", next_seq) };
    let shared_claim = Entry::Claim { checkpoint: Some(over_kafka(3, 30)), writer: UUID.parse().unwrap() };
    let shared_commit = Entry::Commit {
        from: Some(over_kafka(3, 30)),
        to: over_kafka(4, 40),
        schemas: Vec::new(),
        files: vec![file()],
        repairs: None,
    };
    let of_topic_partitions = FileEntry { topic_partitions: [(0, (1, 9)), (3, (2, 10))].into(), ..file() };
    let foreign_commit = Entry::Commit {
        from: Some(over_kafka(0, 30)),
        to: over_kafka(0, 40),
        schemas: Vec::new(),
        files: vec![of_topic_partitions],
        repairs: None,
    };
    let other = Worker { epoch: 4, writer: "7d3c1f0a-71ca-11e1-9e33-c80aa9429562".parse().unwrap() };
    let workers = vec![other, Worker { epoch: 7, writer: UUID.parse().unwrap() }];
    [
        ("claim", 7, Vec::new(), claim),
        ("commit", 8, Vec::new(), commit),
        ("repair", 9, Vec::new(), repair),
        ("foreign-commit", 8, Vec::new(), foreign_commit),
        ("shared-claim", 7, workers.clone(), shared_claim),
        ("shared-commit", 8, workers, shared_commit),
    ]
    .into_iter()
    .map(|(name, number, workers, entry)| {
        let (record, bytes) = Record::new("shop", number, 7, 6, workers, entry).unwrap();
        (name, record, bytes.to_vec())
    })
    .collect()
}

#[test]
fn commit_records_are_of_their_schema_and_stand_as_examples() {
    let validator = validator("commit-record.schema.json");
    for (name, record, bytes) in records() {
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let faults: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
        let path = schemas().join(format!("examples/commit-record.{name}.json"));
        if std::env::var_os("LAKEWARD_WRITE_SCHEMAS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let stored = std::fs::read(&path).unwrap();
        assert_eq!(stored, bytes, "{} is not what the code writes", path.display());
        assert_eq!(Record::read("shop", record.number, &stored).unwrap(), record);
    }
}

#[test]
fn the_schema_of_commit_records_refuses_others() {
    let validator = validator("commit-record.schema.json");
    for (_, _, bytes) in records() {
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        for key in json
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !["schemas", "repairs", "workers"].contains(&key.as_str()))
        {
            let mut without = json.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(!validator.is_valid(&without), "a record without {key}");
        }
    }
}

#[test]
fn requests_are_of_their_schema_which_refuses_what_the_parser_refuses() {
    let validator = validator("request.schema.json");
    let table = || TableId::new("shop", "a.b");
    for command in [
        Command::Snapshot { table: table(), condition: None },
        Command::Snapshot { table: table(), condition: Some("id > 5".into()) },
        Command::Resume { table: table() },
        Command::Pause { table: table() },
        Command::Continue { table: table() },
        Command::Cancel { table: table() },
    ] {
        let request = Request { id: "00001795269600000000-0a1b2c3d".into(), command };
        let json = serde_json::to_value(&request).unwrap();
        let faults: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{json}: {faults:?}");
    }
    for text in [
        r#"{"id":"1"}"#,
        r#"{"id":"1","command":{"pause":{}}}"#,
        r#"{"id":"1","command":{"pause":{"table":["a","b"],"condition":"x"}}}"#,
        r#"{"id":"1","command":{"explode":{"table":["a","b"]}}}"#,
        r#"{"id":"1","command":{"pause":{"table":["a","b"]}},"by":"me"}"#,
    ] {
        assert!(!validator.is_valid(&serde_json::from_str(text).unwrap()), "{text}");
        assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
    }
}

#[test]
fn the_documented_change_event_has_the_columns_of_the_code() {
    let text = std::fs::read_to_string(schemas().join("change-event.md")).unwrap();
    for (_, name) in lakeward_lake::config::MetaColumns::default().named() {
        assert!(text.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
    for op in ["c", "u", "d", "r", "t"] {
        assert!(text.contains(&format!("`{op}`")), "{op} is not documented");
    }
}
