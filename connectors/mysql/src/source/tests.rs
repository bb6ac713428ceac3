//! The decoder over binlog files that a real server wrote (`tests/data`).

mod changes;
mod failover;
mod left_out;
mod parts;
mod plans;
mod versions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::clock::ManualClock;
use lakeward_core::stats::SourceStats;
use lakeward_core::{
    Began, BinlogPosition, Checkpoint, Column, ColumnType, ErrorKind, Feed, GtidSet, Position, Result,
    Resume, SnapshotState, TableFilter, TableId, TableSchema, TableState, TableStatus, TypeOptions,
};

use super::answers::KeyAnswers;
use super::decoder::{Begin, Decoder, End, Halt, Settings};
use super::tables::Tables;
use super::{OnError, OnTruncate};
use crate::binlog::event::{Event, Header};
use crate::binlog::payload::Payload;
use crate::binlog::stream::{EventStream, FileStream};
use crate::binlog::table_map::TableMap;
use crate::binlog::transaction::{Assembler, Step};
use lakeward_core::queue::{Receiver, queue};

/// A file of `tests/data`, without its `.binlog`.
fn data(name: &str) -> Vec<u8> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "data", &format!("{name}.binlog")].iter().collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Run {
    decoder: Decoder,
    feed: Receiver<Result<Feed>>,
    stats: Arc<SourceStats>,
    answers: Arc<KeyAnswers>,
}

fn begin(resume: &Resume, with_gtids: bool) -> Begin {
    Begin {
        position: BinlogPosition {
            server_uuid: uuid::Uuid::nil(),
            file: "binlog.000001".into(),
            offset: 4,
            gtid_set: with_gtids.then(GtidSet::new),
        },
        next_seq: 1,
        commit_us: None,
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Tables::resume(resume).unwrap(),
        pass_until: None,
    }
}

fn run(resume: &Resume, gather_bytes: usize) -> Run {
    run_from(begin(resume, true), gather_bytes)
}

fn run_from(begin: Begin, gather_bytes: usize) -> Run {
    run_with(begin, gather_bytes, OnError::StopTable)
}

fn run_with(begin: Begin, gather_bytes: usize, on_error: OnError) -> Run {
    run_of(&["shop.*"], begin, gather_bytes, on_error)
}

fn run_of(include: &[&str], begin: Begin, gather_bytes: usize, on_error: OnError) -> Run {
    run_as(include, begin, |settings| {
        (settings.gather_bytes, settings.on_error) = (gather_bytes, on_error);
    })
}

fn run_as(include: &[&str], begin: Begin, set: impl FnOnce(&mut Settings)) -> Run {
    let (sender, feed) = queue(usize::MAX);
    let stats = Arc::new(SourceStats::default());
    let mut settings = Settings {
        kept_seconds: None,
        filter: TableFilter {
            include: include.iter().map(|s| (*s).to_owned()).collect(),
            exclude: vec!["shop.other".into()],
        },
        types: TypeOptions::default(),
        reserved: Vec::new(),
        before_images: false,
        on_error: OnError::StopTable,
        truncate: OnTruncate::Mark,
        schema_changes: false,
        max_event: 1 << 20,
        gather_bytes: 1 << 20,
        original_commit_time: false,
        lower_case_names: false,
        logs_cascades: true,
        snapshots: false,
        ends_when_read: false,
        chunk_bytes: 1 << 20,
        chunk_goal_bytes: 1 << 18,
        clock: Arc::new(ManualClock::at(0)),
        stats: stats.clone(),
    };
    set(&mut settings);
    let answers = Arc::<KeyAnswers>::default();
    Run {
        decoder: Decoder::new(settings, begin, End::default(), None, Arc::new(sender), answers.clone()),
        feed,
        stats,
        answers,
    }
}

/// Gives the decoder the events of a file from offset `from` on, at most `limit` of them; `Ok(true)`
/// if the file ended.
fn feed_events(decoder: &mut Decoder, bytes: &[u8], from: u64, limit: usize) -> Result<bool, Halt> {
    let mut stream = FileStream::new(bytes, 1 << 20)?;
    let (mut offset, mut given) = (4u64, 0);
    while let Some(event) = stream.next()? {
        let at = offset;
        offset += u64::from(event.header.size);
        if at < from {
            continue;
        }
        if given == limit {
            return Ok(false);
        }
        decoder.event(event)?;
        given += 1;
    }
    Ok(true)
}

/// All there is in the queue.
fn drain(run: Run) -> Vec<Feed> {
    let Run { decoder, mut feed, .. } = run;
    drop(decoder);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut items = Vec::new();
        while let Some(item) = feed.next().await {
            items.push(item.unwrap());
        }
        items
    })
}

/// What a reader of the feed would have in the end: each change by its number, as text.
fn changes(feed: &[Feed]) -> BTreeMap<i64, String> {
    let mut changes = BTreeMap::new();
    let mut note = |seq, text| assert_eq!(changes.insert(seq, text), None, "number {seq} was given twice");
    for item in feed {
        match item {
            Feed::Schema(_) | Feed::SchemaChange(_) | Feed::Boundary(_) | Feed::Keys(_) => {}
            Feed::Mark(mark) => note(mark.seq, format!("{} t", mark.table())),
            Feed::Batch(batch) => {
                assert_eq!(batch.meta.seq.len(), batch.rows.num_rows());
                assert_eq!(
                    batch.meta.origins.iter().map(|run| run.rows).sum::<usize>(),
                    batch.rows.num_rows()
                );
                for (row, (seq, op)) in batch.meta.seq.iter().zip(&batch.meta.op).enumerate() {
                    let row = batch.rows.slice(row, 1);
                    note(*seq, format!("{} {} {:?}", batch.schema.table, op.letter(), row.columns()));
                }
            }
        }
    }
    changes
}

/// Where the transaction of each row began, by number, with its GTID.
fn began(feed: &[Feed]) -> BTreeMap<i64, (Option<Arc<str>>, Option<Began>)> {
    let mut began = BTreeMap::new();
    for item in feed {
        let Feed::Batch(batch) = item else { continue };
        let origins = batch.meta.origins.iter();
        let by_row = origins.flat_map(|run| std::iter::repeat_n(&run.origin, run.rows));
        began.extend(
            batch
                .meta
                .seq
                .iter()
                .zip(by_row)
                .map(|(seq, origin)| (*seq, (origin.gtid.clone(), origin.began))),
        );
    }
    began
}

fn last_boundary(feed: &[Feed]) -> &Checkpoint {
    let boundary = feed.iter().rev().find_map(|item| match item {
        Feed::Boundary(checkpoint) => Some(checkpoint),
        Feed::Schema(_) | Feed::Batch(_) | Feed::Mark(_) | Feed::SchemaChange(_) | Feed::Keys(_) => None,
    });
    boundary.unwrap()
}

/// Every version of the feed.
fn schemas(feed: &[Feed]) -> Vec<Arc<TableSchema>> {
    let schema = |item: &Feed| match item {
        Feed::Schema(schema) => Some(schema.clone()),
        Feed::Batch(_) | Feed::Mark(_) | Feed::SchemaChange(_) | Feed::Boundary(_) | Feed::Keys(_) => None,
    };
    feed.iter().filter_map(schema).collect()
}

fn whole(name: &str, resume: &Resume, gather_bytes: usize) -> Vec<Feed> {
    let mut run = run(resume, gather_bytes);
    assert!(feed_events(&mut run.decoder, &data(name), 0, usize::MAX).unwrap());
    run.decoder.boundary().unwrap();
    drain(run)
}

#[test]
fn every_change_of_a_full_log_comes_with_a_dense_number() {
    let feed = whole("mysql-9.7-full", &Resume::default(), 1 << 20);
    let changes = changes(&feed);
    let numbers: Vec<i64> = changes.keys().copied().collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    let ops: Vec<&str> = changes.values().map(|text| text.split_whitespace().nth(1).unwrap()).collect();
    // 3 inserts, 2 updates, a key change, a delete, 2 inserts around a savepoint, the compressed
    // insert and update, the tagged insert, 6 rows of CREATE … SELECT, TRUNCATE, 2 inserts.
    assert_eq!(ops.concat(), "cccuudcdcccuccccccctcc");
    let end = last_boundary(&feed);
    assert_eq!(end.next_seq, changes.len() as i64 + 1);
    let Position::Binlog(position) = &end.position else { panic!("{:?}", end.position) };
    assert_eq!((position.file.as_str(), position.offset), ("binlog.000002", 4));
    let gtids = position.gtid_set.as_ref().unwrap().to_string();
    assert!(gtids.ends_with(":1-14:blue:1"), "{gtids}");
    assert!(end.tables.values().all(|state| state.status == TableStatus::Active), "{:?}", end.tables);
    assert!(!end.tables.contains_key(&TableId::new("shop", "other")));
}

#[test]
fn a_schema_comes_once_and_before_its_first_rows() {
    let feed = whole("mysql-9.7-full", &Resume::default(), 1);
    let mut seen = Vec::new();
    for item in &feed {
        match item {
            Feed::Schema(schema) => {
                assert!(!seen.contains(&schema.table), "{} twice", schema.table);
                assert_eq!(schema.version, 1);
                seen.push(schema.table.clone());
            }
            Feed::Batch(batch) => assert!(seen.contains(&batch.schema.table)),
            Feed::Mark(mark) => assert!(seen.contains(mark.table())),
            Feed::SchemaChange(_) | Feed::Boundary(_) | Feed::Keys(_) => {}
        }
    }
    assert_eq!(seen, [TableId::new("shop", "t"), TableId::new("shop", "c")]);
}

#[test]
fn however_rows_are_cut_into_batches_they_are_the_same_under_the_same_numbers() {
    let at_once = changes(&whole("mysql-9.7-full", &Resume::default(), 1 << 20));
    let one_by_one = changes(&whole("mysql-9.7-full", &Resume::default(), 1));
    assert_eq!(at_once, one_by_one);
}

/// Plain, compressed and tagged ones, and that of a CREATE … SELECT.
#[test]
fn rows_know_where_their_transaction_began() {
    let feed = whole("mysql-9.7-full", &Resume::default(), 1);
    let mut transactions = BTreeMap::<Arc<str>, (Began, Vec<i64>)>::new();
    for (seq, (gtid, began)) in began(&feed) {
        let began = began.unwrap();
        let known = transactions.entry(gtid.unwrap()).or_insert_with(|| (began, Vec::new()));
        assert_eq!(known.0, began, "{seq}");
        known.1.push(seq);
    }
    assert!(transactions.values().any(|(_, seqs)| seqs.len() > 1));
    for (began, seqs) in transactions.values() {
        assert_eq!(*seqs, (began.seq..).take(seqs.len()).collect::<Vec<_>>());
    }
    let mut offsets: Vec<u64> = transactions.values().map(|(began, _)| began.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), transactions.len());
}

#[test]
fn a_link_that_breaks_after_any_event_loses_and_doubles_nothing() {
    let bytes = data("mysql-9.7-full");
    let whole = whole("mysql-9.7-full", &Resume::default(), 1 << 20);
    let (unbroken, unbroken_began) = (changes(&whole), began(&whole));
    for gather_bytes in [1, 1 << 20] {
        for broken_after in 0.. {
            let mut run = run(&Resume::default(), gather_bytes);
            let ended = feed_events(&mut run.decoder, &bytes, 0, broken_after).unwrap();
            // Twice in the same place: the second time nothing new was read in between.
            for _ in 0..2 {
                run.decoder.break_off().unwrap();
            }
            if ended {
                break;
            }
            let (position, gathering) = run.decoder.resume_from();
            assert!(!gathering);
            run.decoder.stream_begins(uuid::Uuid::nil(), position.offset);
            assert!(feed_events(&mut run.decoder, &bytes, position.offset, usize::MAX).unwrap());
            run.decoder.boundary().unwrap();
            let feed = drain(run);
            assert_eq!(changes(&feed), unbroken, "broken after event {broken_after}");
            assert_eq!(began(&feed), unbroken_began, "broken after event {broken_after}");
        }
    }
}

#[test]
fn another_transaction_in_place_of_the_one_that_was_cut_off_ends_the_run() {
    let bytes = data("mysql-9.7-full");
    let mut run = run(&Resume::default(), 1);
    // Up to and with the first rows event; the file's second transaction with rows begins at 1362.
    let first_rows = 12;
    feed_events(&mut run.decoder, &bytes, 0, first_rows).unwrap();
    run.decoder.break_off().unwrap();
    run.decoder.stream_begins(uuid::Uuid::nil(), 1362);
    match feed_events(&mut run.decoder, &bytes, 1362, usize::MAX) {
        Err(Halt::Failed(error)) => assert_eq!(error.kind(), ErrorKind::SourceLineage, "{error}"),
        other => panic!("{other:?}"),
    }
}

/// How many transactions a log has, and how many of their ends become boundaries, where `step` lies between two of them,
/// and the clock is `ahead` of the newest commit.
fn boundaries(step: Duration, ahead: Duration) -> (u64, usize) {
    let bytes = data("mysql-9.7-full");
    let newest = last_boundary(&whole("mysql-9.7-full", &Resume::default(), 1)).commit_us.unwrap();
    let clock = Arc::new(ManualClock::at(newest));
    clock.advance(ahead);
    let begin = begin(&Resume::default(), true);
    let mut run = run_as(&["shop.*"], begin, |settings| settings.clock = clock.clone());
    let mut stream = FileStream::new(&bytes[..], 1 << 20).unwrap();
    let mut ended = 0;
    while let Some(event) = stream.next().unwrap() {
        run.decoder.event(event).unwrap();
        if run.stats.transactions.get() > ended {
            ended = run.stats.transactions.get();
            clock.advance(step);
        }
    }
    let feed = drain(run);
    (ended, feed.iter().filter(|item| matches!(item, Feed::Boundary(_))).count())
}

#[test]
fn the_end_of_a_transaction_is_a_boundary_every_10_ms_near_the_end_of_the_log_and_every_100_ms_in_a_backlog()
{
    let (live, second) = (Duration::ZERO, Duration::from_secs(1));
    for (step, ahead, transactions_of_each) in
        [(10, live, 1), (9, live, 2), (10, second, 10), (99, second, 2), (100, second, 1)]
    {
        // The first one ends as soon as the decoder begins.
        let (ended, found) = boundaries(Duration::from_millis(step), ahead);
        assert_eq!(found as u64, (ended - 1) / transactions_of_each, "{step} ms between, {ahead:?} behind");
    }
}

/// An event that the server makes up for the connection.
fn artificial(code: u8, body: &[u8]) -> Event<'_> {
    let size = u32::try_from(19 + body.len()).unwrap();
    let header = Header { timestamp: 0, code, server_id: 1, size, log_pos: 0, flags: 0x20 };
    Event { header, body, post_header: 0 }
}

/// The body of a rotate event.
fn rotate(file: &str) -> Vec<u8> {
    [&4u64.to_le_bytes()[..], file.as_bytes()].concat()
}

const HEARTBEAT: u8 = 27;
const ROTATE: u8 = 4;

#[test]
fn no_boundary_comes_before_a_transaction_that_was_cut_off_is_read_again() {
    let bytes = data("mysql-9.7-full");
    let mut run = run(&Resume::default(), 1);
    // Up to and with the first rows event: its rows were sent.
    feed_events(&mut run.decoder, &bytes, 0, 12).unwrap();
    run.decoder.break_off().unwrap();
    let (position, _) = run.decoder.resume_from();
    run.decoder.stream_begins(uuid::Uuid::nil(), position.offset);
    run.decoder.event(artificial(HEARTBEAT, b"binlog.000001")).unwrap();
    let feed = drain(run);
    assert!(!changes(&feed).is_empty());
    assert!(!feed.iter().any(|item| matches!(item, Feed::Boundary(_))), "a checkpoint before rows it has");
}

#[test]
fn an_idle_stream_moves_on_to_the_end_of_the_file_that_a_crashed_server_began() {
    let bytes = data("mysql-9.7-full");
    for with_gtids in [true, false] {
        let mut run = run_from(begin(&Resume::default(), with_gtids), 1);
        run.decoder.stream_begins(uuid::Uuid::nil(), 4);
        run.decoder.event(artificial(ROTATE, &rotate("binlog.000001"))).unwrap();
        assert_eq!(run.decoder.position().file, "binlog.000001");
        // No rotate event in the log: the server names its next file by itself.
        run.decoder.event(artificial(ROTATE, &rotate("binlog.000007"))).unwrap();
        let mut stream = FileStream::new(&bytes[..], 1 << 20).unwrap();
        let description = stream.next().unwrap().unwrap();
        let size = u64::from(description.header.size);
        run.decoder.event(description).unwrap();
        run.decoder.event(artificial(HEARTBEAT, b"binlog.000007")).unwrap();
        let position = run.decoder.position();
        assert_eq!((position.file.as_str(), position.offset), ("binlog.000007", 4 + size));
    }
}

/// A file as a server without GTIDs writes it: every GTID event is an anonymous one.
fn anonymous(name: &str) -> Vec<u8> {
    let mut bytes = data(name);
    let mut at = 4;
    while at < bytes.len() {
        let size = u32::from_le_bytes(bytes[at + 9..at + 13].try_into().unwrap()) as usize;
        if bytes[at + 4] == 33 {
            bytes[at + 4] = 34;
            let end = at + size - 4;
            let crc = crc32fast::hash(&bytes[at..end]);
            bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        }
        at += size;
    }
    bytes
}

#[test]
fn a_transaction_that_a_crash_took_from_the_log_is_not_taken_for_the_next_one() {
    let bytes = anonymous("mysql-9.7-full");
    let mut run = run_from(begin(&Resume::default(), false), 1);
    feed_events(&mut run.decoder, &bytes, 0, 12).unwrap();
    run.decoder.break_off().unwrap();
    let (position, _) = run.decoder.resume_from();
    run.decoder.stream_begins(uuid::Uuid::nil(), position.offset);
    run.decoder.event(artificial(ROTATE, &rotate("binlog.000001"))).unwrap();
    run.decoder.event(artificial(ROTATE, &rotate("binlog.000002"))).unwrap();
    // As many rows as the one that is gone, at the same offset, in another file.
    match feed_events(&mut run.decoder, &bytes, position.offset, usize::MAX) {
        Err(Halt::Failed(error)) => assert_eq!(error.kind(), ErrorKind::SourceLineage, "{error}"),
        other => panic!("{other:?}"),
    }
}

/// Beyond 4 GiB, where a request has no place for the offset.
#[test]
fn a_link_that_breaks_while_a_file_without_gtids_is_passed_over_doubles_nothing() {
    let bytes = anonymous("mysql-9.7-full");
    // The file's second transaction with rows begins there.
    let resumed = || {
        let mut begin = begin(&Resume::default(), false);
        begin.position.offset = 1362;
        let mut run = run_from(begin, 1);
        run.decoder.stream_begins(uuid::Uuid::nil(), 4);
        run
    };
    let ended = |mut run: Run| {
        assert!(feed_events(&mut run.decoder, &bytes, 0, usize::MAX).unwrap());
        run.decoder.boundary().unwrap();
        changes(&drain(run))
    };
    let unbroken = ended(resumed());
    for broken_after in 0.. {
        let mut run = resumed();
        if feed_events(&mut run.decoder, &bytes, 0, broken_after).unwrap() {
            break;
        }
        run.decoder.break_off().unwrap();
        run.decoder.stream_begins(uuid::Uuid::nil(), 4);
        assert_eq!(ended(run), unbroken, "broken after event {broken_after}");
    }
}

#[test]
fn a_start_inside_a_file_gathers_the_gtids_before_it_and_takes_the_rest() {
    let bytes = data("mysql-9.7-full");
    let unbroken = changes(&whole("mysql-9.7-full", &Resume::default(), 1 << 20));
    let mut begin = begin(&Resume::default(), true);
    begin.position.offset = 1362;
    begin.pass_until = Some(1362);
    let mut run = run_from(begin, 1 << 20);
    run.decoder.stream_begins(uuid::Uuid::nil(), 4);
    feed_events(&mut run.decoder, &bytes, 0, usize::MAX).unwrap();
    run.decoder.boundary().unwrap();
    let feed = drain(run);
    assert_eq!(changes(&feed).len(), unbroken.len() - 3, "all but the first transaction's three rows");
    let Position::Binlog(position) = &last_boundary(&feed).position else { panic!("position") };
    assert!(position.gtid_set.as_ref().unwrap().to_string().ends_with(":1-14:blue:1"));
}

#[test]
fn a_start_inside_a_transaction_is_refused() {
    let mut begin = begin(&Resume::default(), true);
    begin.position.offset = 1234;
    begin.pass_until = Some(1234);
    let mut run = run_from(begin, 1 << 20);
    run.decoder.stream_begins(uuid::Uuid::nil(), 4);
    match feed_events(&mut run.decoder, &data("mysql-9.7-full"), 0, usize::MAX) {
        Err(Halt::Failed(error)) => {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("inside a transaction"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// Structures of the tables in the log without column names, as a lake would have them.
fn known() -> Resume {
    let int = |width, unsigned| ColumnType::Int { width, unsigned, display_one: false };
    let column = |name: &str, ty, nullable| Column::new(name, ty, nullable);
    let id = || column("id", int(4, false), false);
    let tables = [
        ("x", vec![id()]),
        ("s", vec![id()]),
        ("r", vec![id(), column("v", int(4, false), true)]),
        (
            "t",
            vec![
                column("id", int(8, true), false),
                column("name", ColumnType::Text { collation: 8 }, true),
                column("kind", ColumnType::Enum { labels: vec!["a".into(), "b".into()] }, true),
                column("n", int(1, false), true),
                column("price", ColumnType::Decimal { precision: 12, scale: 2 }, false),
            ],
        ),
    ];
    let schemas: Vec<Arc<TableSchema>> = tables
        .into_iter()
        .map(|(name, columns)| {
            Arc::new(TableSchema::new(
                TableId::new("shop", name),
                1,
                columns,
                vec![0],
                TypeOptions::default(),
            ))
        })
        .collect();
    let state = TableState {
        schema_version: 1,
        status: TableStatus::Active,
        snapshot: SnapshotState::NotAsked,
        deleted_by_key: false,
        dropped: false,
    };
    let tables = schemas.iter().map(|schema| (schema.table.clone(), state.clone())).collect();
    let checkpoint = Checkpoint {
        position: Position::Binlog(begin(&Resume::default(), true).position),
        next_seq: 1,
        commit_us: None,
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::new(tables),
    };
    Resume { checkpoint: Some(checkpoint), schemas, ..Resume::default() }
}

#[test]
fn each_table_stops_for_its_own_reason_and_takes_no_number_after_it() {
    let feed = whole("mysql-9.7-minimal", &known(), 1 << 20);
    let changes = changes(&feed);
    let end = last_boundary(&feed);
    let kind = |name: &str| match &end.tables[&TableId::new("shop", name)].status {
        TableStatus::Stopped { kind, remedy, .. } => {
            assert!(remedy.is_some(), "{name} has no remedy");
            kind.clone()
        }
        TableStatus::Active => "active".to_owned(),
        TableStatus::LeftOut => "left out".to_owned(),
    };
    assert_eq!(
        [kind("x"), kind("s"), kind("r"), kind("t")],
        ["XaTransaction", "UnloggedChange", "IncompleteImage", "active"]
    );
    // One row of each before its stop, and all of t, which is altered and followed. The DROP DATABASE at the log's beginning
    // voids what was known before.
    let of = |name: &str| changes.values().filter(|text| text.starts_with(&format!("shop.{name} c"))).count();
    assert_eq!([of("x"), of("s"), of("r"), of("t")], [1, 1, 1, 3]);
    let numbers: Vec<i64> = changes.keys().copied().collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    assert_eq!(end.next_seq, numbers.len() as i64 + 1);
}

#[test]
fn a_stopped_table_stays_stopped_in_the_next_run() {
    let feed = whole("mysql-9.7-minimal", &known(), 1 << 20);
    let resume = Resume {
        checkpoint: Some(last_boundary(&feed).clone()),
        schemas: schemas(&feed),
        ..Resume::default()
    };
    let mut run = run(&resume, 1 << 20);
    assert_eq!(run.stats.tables_stopped.get(), 3);
    feed_events(&mut run.decoder, &data("mysql-9.7-minimal"), 0, usize::MAX).unwrap();
    assert!(changes(&drain(run)).values().all(|text| text.starts_with("shop.t ")));
}

#[test]
fn an_error_about_one_table_can_stop_the_pipeline_instead() {
    let mut run = run_with(begin(&known(), true), 1 << 20, OnError::StopPipeline);
    match feed_events(&mut run.decoder, &data("mysql-9.7-minimal"), 0, usize::MAX) {
        Err(Halt::Failed(error)) => assert_eq!(error.kind(), ErrorKind::XaTransaction, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_table_without_column_names_and_without_a_catalog_stops() {
    let mut run = run(&Resume::default(), 1 << 20);
    // Behind the statements that make the tables.
    assert!(feed_events(&mut run.decoder, &data("mysql-9.7-minimal"), 1456, usize::MAX).unwrap());
    run.decoder.boundary().unwrap();
    let feed = drain(run);
    assert!(changes(&feed).is_empty());
    let states = &last_boundary(&feed).tables;
    assert!(states.values().all(|state| state.status != TableStatus::Active), "{states:?}");
}

/// A lake that knows every table of a file, with the types that the log has and names of our own.
fn unnamed(bytes: &[u8]) -> Resume {
    let mut stream = FileStream::new(bytes, 1 << 20).unwrap();
    let mut assembler = Assembler::new(false, false);
    let mut schemas = BTreeMap::new();
    let mut note = |step: Step<'_>| {
        let Step::TableMap(event) = step else { return };
        let map = TableMap::parse(&event).unwrap();
        if map.structure().unwrap().is_some() {
            return;
        }
        let columns = map
            .types()
            .unwrap()
            .into_iter()
            .enumerate()
            .map(|(i, ty)| Column::new(format!("c{i}"), ty, map.is_nullable(i)));
        let schema =
            TableSchema::new(map.table.clone(), 1, columns.collect(), Vec::new(), TypeOptions::default());
        schemas.insert(map.table, Arc::new(schema));
    };
    while let Some(event) = stream.next().unwrap() {
        match assembler.accept(event).unwrap() {
            Step::Payload(body) => {
                let mut payload = Payload::open(body, 1 << 20).unwrap();
                while let Some(event) = payload.next_event().unwrap() {
                    note(assembler.accept_inner(event).unwrap());
                }
            }
            step => note(step),
        }
    }
    let state = TableState {
        schema_version: 1,
        status: TableStatus::Active,
        snapshot: SnapshotState::NotAsked,
        deleted_by_key: false,
        dropped: false,
    };
    let tables = schemas.keys().map(|table: &TableId| (table.clone(), state.clone())).collect();
    let position = Position::Binlog(begin(&Resume::default(), true).position);
    Resume {
        checkpoint: Some(Checkpoint {
            position,
            next_seq: 1,
            commit_us: None,
            retired: 0,
            prepared: Vec::new(),
            requests: Vec::new(),
            tables: Arc::new(tables),
        }),
        schemas: schemas.into_values().collect(),
        requests: Vec::new(),
    }
}

#[test]
fn files_of_older_servers_are_read_to_their_end() {
    let expected = [
        // Rows events v1, from a cluster server that logs no whole images of deleted rows.
        ("write-full-row", "ccccc IncompleteImage"),
        ("update-full-row", "ccccu IncompleteImage"),
        ("transaction_compression", "c"),
        ("binlog_transaction_with_GTID_TAG", "c"),
        // The table is altered before its first row.
        ("rpl_unfiltered_hidden_gcol", " TableChanged"),
        ("vector", "ccccttccccdc"),
    ];
    let found = expected.map(|(name, _)| (name, ops_and_stops(name)));
    assert_eq!(found, expected.map(|(name, ops)| (name, ops.to_owned())));
}

/// The ops of all changes of a file, and the kinds of error that stopped tables.
fn ops_and_stops(name: &str) -> String {
    let bytes = data(&format!("public/{name}"));
    let begin = begin(&unnamed(&bytes), true);
    let mut run = run_of(&["*.*"], begin, 1 << 20, OnError::StopTable);
    if let Err(halt) = feed_events(&mut run.decoder, &bytes, 0, usize::MAX) {
        panic!("{name}: {halt:?}");
    }
    run.decoder.boundary().unwrap();
    let feed = drain(run);
    let mut found: String =
        changes(&feed).values().filter_map(|text| text.split_whitespace().nth(1)).collect();
    for state in last_boundary(&feed).tables.values() {
        if let TableStatus::Stopped { kind, message, .. } = &state.status {
            println!("{name}: {message}");
            found.push(' ');
            found.push_str(kind);
        }
    }
    found
}

/// A small generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn a_flipped_bit_anywhere_never_passes() {
    let bytes = data("mysql-9.7-full");
    let mut random = Random(1);
    for round in 0..2_000 {
        let (at, bit) = (random.below(bytes.len()), random.below(8));
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        let mut run = run(&Resume::default(), 1 << 20);
        let outcome = feed_events(&mut run.decoder, &damaged, 0, usize::MAX);
        // The flag "file in use" of the first event is outside of its checksum, as the server keeps it.
        let in_use = (at, bit) == (4 + 17, 0);
        assert!(outcome.is_err() || in_use, "round {round}: bit {bit} of byte {at}");
    }
}

#[test]
fn a_file_cut_off_anywhere_but_between_events_never_passes() {
    let bytes = data("mysql-9.7-full");
    let mut ends = vec![4];
    let mut stream = FileStream::new(&bytes[..], 1 << 20).unwrap();
    while let Some(event) = stream.next().unwrap() {
        ends.push(ends.last().unwrap() + event.header.size as usize);
    }
    for cut in 0..bytes.len() {
        let outcome = FileStream::new(&bytes[..cut], 1 << 20).and_then(|mut stream| {
            while stream.next()?.is_some() {}
            Ok(())
        });
        assert_eq!(outcome.is_ok(), ends.contains(&cut), "cut at {cut}");
    }
}

/// Damages bodies and mends their checksums, so that the damage reaches the parsers.
#[test]
fn damage_under_a_right_checksum_never_panics() {
    let seed = 7;
    println!("seed {seed}");
    let mut random = Random(seed);
    for name in ["mysql-9.7-full", "mysql-9.7-minimal"] {
        let bytes = data(name);
        for _ in 0..1_500 {
            let mut damaged = bytes.clone();
            let mut at = 4;
            while at + 19 < damaged.len() {
                let size = u32::from_le_bytes(damaged[at + 9..at + 13].try_into().unwrap()) as usize;
                if random.below(4) == 0 && at > 4 {
                    for _ in 0..=random.below(3) {
                        let byte = at + 19 + random.below(size - 19 - 4);
                        damaged[byte] = random.below(256) as u8;
                    }
                    let end = at + size - 4;
                    let crc = crc32fast::hash(&damaged[at..end]);
                    damaged[end..end + 4].copy_from_slice(&crc.to_le_bytes());
                }
                at += size;
            }
            let mut run = run(&known(), 1 << 20);
            // Whatever comes of it, it comes as a value.
            let _outcome = feed_events(&mut run.decoder, &damaged, 0, usize::MAX);
        }
    }
}
