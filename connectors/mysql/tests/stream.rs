//! The source against a real MySQL 9.7: starts, resumes, broken links, lost positions.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lakeward_core::clock::SystemClock;
use lakeward_core::stats::SourceStats;
use lakeward_core::{
    ByteSize, Checkpoint, Column, ErrorKind, Feed, Period, Position, Result, Resume, Secret, Source,
    TableFilter, TableId, TableSchema, TableStatus, TypeOptions,
};
use lakeward_mysql::snapshot::{SnapshotMode, SnapshotOptions};
use lakeward_mysql::{MysqlConfig, MysqlOptions, MysqlSource, OnError, OnTruncate, Start, Until};
use lakeward_test_support::LIMIT;
use lakeward_test_support::mysql::{MySql, MySqlOptions, PASSWORD, RowMetadata, USER};
use mysql::prelude::Queryable;

fn server(gtid: bool, row_metadata: RowMetadata) -> MySql {
    let server = MySql::start(MySqlOptions { gtid, row_metadata, ..MySqlOptions::default() });
    server.create_user();
    server
}

fn config(server: &MySql) -> MysqlConfig {
    let mut config: MysqlConfig = serde_json::from_value(serde_json::json!({
        "host": "127.0.0.1", "port": server.port(), "user": USER, "heartbeat": "200ms", "read_timeout": "3s",
    }))
    .unwrap();
    config.password = Some(Secret::new(PASSWORD));
    config
}

fn options(server: &MySql, start: Start, until: Until, resume: Resume) -> MysqlOptions {
    MysqlOptions {
        config: config(server),
        tables: TableFilter { include: vec!["shop.*".into()], exclude: Vec::new() },
        types: TypeOptions::default(),
        reserved: Vec::new(),
        before_images: false,
        schema_changes: false,
        start,
        until,
        resume,
        memory: ByteSize::mib(64),
        clock: Arc::new(SystemClock::start()),
        seed: 42,
        stats: Arc::new(SourceStats::default()),
        on_error: OnError::StopTable,
        truncate: OnTruncate::Mark,
        snapshot: SnapshotOptions { mode: SnapshotMode::NoData, ..SnapshotOptions::default() },
    }
}

/// What a sink would have after a run.
#[derive(Default)]
struct Taken {
    /// Each change by its number.
    changes: BTreeMap<i64, String>,
    schemas: Vec<Arc<TableSchema>>,
    checkpoint: Option<Checkpoint>,
}

impl Taken {
    fn take(&mut self, item: Feed) {
        match item {
            Feed::Schema(schema) => self.schemas.push(schema),
            Feed::Boundary(checkpoint) => self.checkpoint = Some(checkpoint),
            Feed::SchemaChange(change) => unreachable!("statements are not told here: {change:?}"),
            Feed::Keys(asked) => unreachable!("a TRUNCATE is a mark here: {asked:?}"),
            Feed::Mark(mark) => self.note(mark.seq, format!("{} t", mark.table())),
            Feed::Batch(batch) => {
                for (row, (seq, op)) in batch.meta.seq.iter().zip(&batch.meta.op).enumerate() {
                    let row = batch.rows.slice(row, 1);
                    self.note(*seq, format!("{} {} {:?}", batch.schema.table, op.letter(), row.columns()));
                }
            }
        }
    }

    fn note(&mut self, seq: i64, text: String) {
        assert_eq!(self.changes.insert(seq, text), None, "number {seq} was given twice");
    }

    fn resume(&self) -> Resume {
        Resume { checkpoint: self.checkpoint.clone(), schemas: self.schemas.clone(), ..Resume::default() }
    }

    fn assert_dense(&self, count: usize) {
        let numbers: Vec<i64> = self.changes.keys().copied().collect();
        assert_eq!(numbers, (1..=count as i64).collect::<Vec<_>>());
        assert_eq!(self.checkpoint.as_ref().unwrap().next_seq, count as i64 + 1);
    }

    fn status(&self, table: &str) -> &TableStatus {
        &self.checkpoint.as_ref().unwrap().tables[&TableId::new("shop", table)].status
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Runs to the end of a bounded source.
fn run(options: MysqlOptions, taken: &mut Taken) -> Result<()> {
    let mut source = MysqlSource::open(options)?;
    block_on(async {
        while let Some(item) = source.next().await? {
            taken.take(item);
        }
        Ok(())
    })
}

/// Takes from an endless source until a boundary at which `count` changes were taken.
fn take_changes(source: &mut MysqlSource, taken: &mut Taken, count: usize) {
    let take = async {
        loop {
            let item = source.next().await.unwrap().expect("an endless source");
            let boundary = matches!(item, Feed::Boundary(_));
            taken.take(item);
            if boundary && taken.changes.len() >= count {
                break;
            }
        }
    };
    block_on(async { tokio::time::timeout(LIMIT, take).await }).expect("the changes must come");
}

const SHOP: &str = "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20)); \
                    CREATE TABLE shop.u (id INT PRIMARY KEY)";

#[test]
fn a_run_goes_on_where_the_last_one_ended() {
    for (gtid, metadata) in [
        (true, RowMetadata::Full),
        (true, RowMetadata::Minimal),
        (false, RowMetadata::Full),
        (false, RowMetadata::Minimal),
    ] {
        let server = server(gtid, metadata);
        server.sql(SHOP);
        server.sql("INSERT INTO shop.t VALUES (1,'a'),(2,'b'); UPDATE shop.t SET id = 3 WHERE id = 2");
        let mut taken = Taken::default();
        run(options(&server, Start::Earliest, Until::CaughtUp, Resume::default()), &mut taken).unwrap();
        taken.assert_dense(4);
        // Nothing new: a boundary all the same, and no number.
        run(options(&server, Start::Earliest, Until::CaughtUp, taken.resume()), &mut taken).unwrap();
        taken.assert_dense(4);
        server.sql("FLUSH BINARY LOGS; DELETE FROM shop.t WHERE id = 1; INSERT INTO shop.u VALUES (1); TRUNCATE shop.t");
        run(options(&server, Start::Earliest, Until::CaughtUp, taken.resume()), &mut taken).unwrap();
        taken.assert_dense(7);
        assert!(taken.changes[&7].ends_with(" t"));
        let Position::Binlog(position) = taken.checkpoint.unwrap().position else { panic!("position") };
        assert_eq!(position.gtid_set.is_some(), gtid);
    }
}

#[test]
fn starts_begin_where_they_say() {
    let server = server(true, RowMetadata::Full);
    server.sql(SHOP);
    server.sql("INSERT INTO shop.t VALUES (1,'a')");
    let executed = server.value("SELECT @@gtid_executed");
    let place = server.rows("SHOW BINARY LOG STATUS");
    let (file, offset) = (place[0][0].clone().unwrap(), place[0][1].as_deref().unwrap().parse().unwrap());
    server.sql("INSERT INTO shop.t VALUES (2,'b'),(3,'c')");
    let by_gtid = Start::Gtid(executed.parse().unwrap());
    for (start, count) in
        [(Start::Earliest, 3), (Start::Latest, 0), (by_gtid, 2), (Start::FileOffset { file, offset }, 2)]
    {
        let mut taken = Taken::default();
        run(options(&server, start.clone(), Until::CaughtUp, Resume::default()), &mut taken).unwrap();
        assert_eq!(taken.changes.len(), count, "{start:?}");
        let Position::Binlog(position) = taken.checkpoint.unwrap().position else { panic!("position") };
        assert_eq!(
            position.gtid_set.unwrap().to_string(),
            server.value("SELECT @@gtid_executed").replace('\n', ""),
            "{start:?}"
        );
    }
}

#[test]
fn killed_connections_lose_and_double_nothing() {
    let server = server(true, RowMetadata::Full);
    server.sql(SHOP);
    let stats = Arc::new(SourceStats::default());
    let mut options = options(&server, Start::Earliest, Until::Forever, Resume::default());
    options.stats = stats.clone();
    let mut source = MysqlSource::open(options).unwrap();
    let mut taken = Taken::default();
    for round in 0..4 {
        let rows: Vec<String> = (0..500).map(|n| format!("({}, 'x')", round * 500 + n)).collect();
        server.sql(&format!("INSERT INTO shop.t VALUES {}", rows.join(",")));
        take_changes(&mut source, &mut taken, (round + 1) * 500);
        let dumps = "SELECT id FROM performance_schema.processlist WHERE command LIKE 'Binlog Dump%'";
        for dump in server.rows(dumps) {
            server.sql(&format!("KILL {}", dump[0].as_deref().unwrap()));
        }
    }
    taken.assert_dense(2000);
    assert!(stats.reconnects.get() >= 3, "{} reconnects", stats.reconnects.get());
}

#[test]
fn a_restarted_server_is_followed_on() {
    let mut server = server(true, RowMetadata::Full);
    server.sql(SHOP);
    server.sql("INSERT INTO shop.t VALUES (1,'a')");
    let mut source =
        MysqlSource::open(options(&server, Start::Earliest, Until::Forever, Resume::default())).unwrap();
    let mut taken = Taken::default();
    take_changes(&mut source, &mut taken, 1);
    server.restart();
    server.sql("INSERT INTO shop.t VALUES (2,'b')");
    take_changes(&mut source, &mut taken, 2);
    taken.assert_dense(2);
}

#[test]
fn a_purged_position_is_told_before_anything_is_read() {
    for gtid in [true, false] {
        let server = server(gtid, RowMetadata::Full);
        server.sql(SHOP);
        let mut taken = Taken::default();
        run(options(&server, Start::Earliest, Until::CaughtUp, Resume::default()), &mut taken).unwrap();
        server.sql("INSERT INTO shop.t VALUES (1,'a'); FLUSH BINARY LOGS; FLUSH BINARY LOGS");
        server.purge_logs();
        let error =
            run(options(&server, Start::Earliest, Until::CaughtUp, taken.resume()), &mut taken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PositionLost, "{error}");
        assert!(error.remedy_text().is_some(), "{error}");
    }
}

const GTIDS_OFF: &str = "SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = OFF_PERMISSIVE";
const GTIDS_ON: &str = "SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = ON";

#[test]
fn transactions_without_gtids_behind_the_position_are_not_left_out_unseen() {
    let server = server(true, RowMetadata::Full);
    server.sql(SHOP);
    let mut taken = Taken::default();
    let run_on =
        |taken: &mut Taken| run(options(&server, Start::Earliest, Until::CaughtUp, taken.resume()), taken);
    run_on(&mut taken).unwrap();
    server.sql(&format!("{GTIDS_OFF}; {GTIDS_ON}; INSERT INTO shop.t VALUES (1, 'a')"));
    run_on(&mut taken).unwrap();
    taken.assert_dense(1);
    server.sql(&format!("{GTIDS_OFF}; INSERT INTO shop.t VALUES (2, 'b')"));
    server.sql(&format!("{GTIDS_ON}; INSERT INTO shop.t VALUES (3, 'c')"));
    let error = run_on(&mut taken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PositionLost, "{error}");
    assert!(error.to_string().contains("gtid_mode") && error.remedy_text().is_some(), "{error}");
    taken.assert_dense(1);
}

#[test]
fn a_stream_by_gtids_that_meets_a_transaction_without_one_ends_as_of_a_setting() {
    let server = server(true, RowMetadata::Full);
    server.sql(SHOP);
    server.sql("INSERT INTO shop.t VALUES (1, 'a')");
    let mut source =
        MysqlSource::open(options(&server, Start::Earliest, Until::Forever, Resume::default())).unwrap();
    let mut taken = Taken::default();
    take_changes(&mut source, &mut taken, 1);
    server.sql(&format!("{GTIDS_OFF}; INSERT INTO shop.t VALUES (2, 'b')"));
    let error = block_on(async {
        let all = async {
            loop {
                match source.next().await {
                    Ok(item) => taken.take(item.expect("an endless source")),
                    Err(error) => return error,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("it must be told")
    });
    assert_eq!(error.kind(), ErrorKind::SourceSetting, "{error}");
    drop(source);
    // Nothing is lost while it is off: file and offset go on.
    run(options(&server, Start::Earliest, Until::CaughtUp, taken.resume()), &mut taken).unwrap();
    taken.assert_dense(2);
}

/// Each time that a table is opened its map has another id.
#[test]
fn tables_that_are_opened_again_and_again_do_not_fill_the_memory() {
    const OPENED: usize = 400;
    for gtid in [true, false] {
        let server = server(gtid, RowMetadata::Full);
        server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)");
        let mut conn = server.conn();
        for id in 0..OPENED {
            conn.query_drop("FLUSH LOCAL TABLES shop.t").unwrap();
            conn.query_drop(format!("INSERT INTO shop.t VALUES ({id})")).unwrap();
        }
        let mut options = options(&server, Start::Earliest, Until::CaughtUp, Resume::default());
        options.memory = ByteSize::mib(1);
        let stats = options.stats.clone();
        let mut taken = Taken::default();
        run(options, &mut taken).unwrap();
        taken.assert_dense(OPENED);
        let opened_anew = stats.reconnects.get();
        assert!((1..10).contains(&opened_anew), "{opened_anew}");
    }
}

/// Where a table map begins in a binlog file, and where its table's name's length stands.
fn last_table_map(bytes: &[u8]) -> (usize, usize) {
    const TABLE_MAP: u8 = 19;
    let (mut at, mut last) = (4, None);
    while at < bytes.len() {
        if bytes[at + 4] == TABLE_MAP {
            last = Some(at);
        }
        at += u32::from_le_bytes(bytes[at + 9..at + 13].try_into().unwrap()) as usize;
    }
    let begins = last.expect("a table map");
    // The header, the table's id, flags; the database's name with its length before it and a zero behind.
    let database = begins + 19 + 6 + 2;
    (begins, database + usize::from(bytes[database]) + 2)
}

/// The client library takes table maps apart before their checksums are looked at.
#[test]
fn a_table_map_that_is_damaged_on_the_servers_disk_ends_the_run_with_its_place() {
    let mut server = server(true, RowMetadata::Full);
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2)",
    );
    server.stop();
    let file = server.data().join("binlog.000001");
    let mut bytes = std::fs::read(&file).unwrap();
    let (begins, length) = last_table_map(&bytes);
    bytes[length] ^= 0x80;
    std::fs::write(&file, bytes).unwrap();
    server.start_again();
    let mut taken = Taken::default();
    let source = MysqlSource::open(options(&server, Start::Earliest, Until::CaughtUp, Resume::default()));
    let error = block_on(async {
        let mut source = source.unwrap();
        let all = async {
            loop {
                match source.next().await {
                    Ok(item) => taken.take(item.expect("it must not end well")),
                    Err(error) => return error,
                }
            }
        };
        tokio::time::timeout(LIMIT, all).await.expect("it must not be tried for ever")
    });
    assert_eq!(error.kind(), ErrorKind::CorruptEvent, "{error}");
    assert!(error.to_string().contains(&format!("binlog.000001:{begins}")), "{error}, not at {begins}");
}

#[test]
fn another_server_is_told_from_the_one_read_before() {
    for gtid in [true, false] {
        let (one, other) = (server(gtid, RowMetadata::Full), server(gtid, RowMetadata::Full));
        let mut taken = Taken::default();
        one.sql(SHOP);
        run(options(&one, Start::Earliest, Until::CaughtUp, Resume::default()), &mut taken).unwrap();
        let error =
            run(options(&other, Start::Earliest, Until::CaughtUp, taken.resume()), &mut taken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceLineage, "{error}");
    }
}

#[test]
fn without_column_names_a_table_altered_before_the_catalog_was_read_stops_and_others_go_on() {
    let server = server(true, RowMetadata::Minimal);
    server.sql(SHOP);
    // Behind the statements that made the tables.
    let start = Start::Gtid(server.value("SELECT @@gtid_executed").parse().unwrap());
    server.sql(
        "INSERT INTO shop.t VALUES (1,'a'); INSERT INTO shop.u VALUES (1); \
         ALTER TABLE shop.t RENAME COLUMN v TO w; INSERT INTO shop.u VALUES (2)",
    );
    let mut taken = Taken::default();
    run(options(&server, start, Until::CaughtUp, Resume::default()), &mut taken).unwrap();
    taken.assert_dense(2);
    assert_eq!(*taken.status("u"), TableStatus::Active);
    match taken.status("t") {
        TableStatus::Stopped { kind, remedy, .. } => {
            assert_eq!(kind, "TableChanged");
            assert!(remedy.as_deref().unwrap().contains("binlog_row_metadata"));
        }
        TableStatus::Active | TableStatus::LeftOut => panic!("t must stop"),
    }
}

#[test]
fn without_column_names_a_table_made_anew_with_other_columns_goes_on_under_a_new_version() {
    let server = server(true, RowMetadata::Minimal);
    server.sql("CREATE DATABASE shop");
    let make = |table: &str, first: &str, second: &str| {
        server.sql(&format!("CREATE TABLE shop.{table} (id INT PRIMARY KEY, {first} INT, {second} INT)"));
    };
    make("t", "a", "b");
    make("u", "a", "b");
    server.sql("INSERT INTO shop.t VALUES (1,1,2); INSERT INTO shop.u VALUES (1,1,2)");
    let mut taken = Taken::default();
    run(options(&server, Start::Earliest, Until::CaughtUp, Resume::default()), &mut taken).unwrap();
    server.sql("DROP TABLE shop.t, shop.u");
    // Of the same types, so that no table map shows the change.
    make("t", "b", "a");
    make("u", "a", "b");
    server.sql("CREATE TABLE IF NOT EXISTS shop.u (id INT)");
    server.sql("INSERT INTO shop.t VALUES (1,2,1); INSERT INTO shop.u VALUES (1,1,2)");
    run(options(&server, Start::Earliest, Until::CaughtUp, taken.resume()), &mut taken).unwrap();
    // A row of each, the two marks of the DROPs, and a row of each again.
    taken.assert_dense(6);
    let version =
        |table: &str| taken.checkpoint.as_ref().unwrap().tables[&TableId::new("shop", table)].schema_version;
    assert_eq!([version("t"), version("u")], [2, 1]);
    let names: Vec<&str> = taken.schemas.last().unwrap().columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "b", "a"]);
}

#[test]
fn a_bounded_run_without_gtids_ends_in_a_file_that_has_no_transaction() {
    let server = server(false, RowMetadata::Full);
    server.sql(SHOP);
    let mut taken = Taken::default();
    run(options(&server, Start::Earliest, Until::CaughtUp, Resume::default()), &mut taken).unwrap();
    server.sql("FLUSH BINARY LOGS");
    run(options(&server, Start::Earliest, Until::CaughtUp, taken.resume()), &mut taken).unwrap();
    taken.assert_dense(0);
}

#[test]
fn the_log_and_the_catalog_tell_the_same_structure() {
    let server = server(true, RowMetadata::Full);
    server.sql("CREATE DATABASE shop");
    server.sql(
        "CREATE TABLE shop.t (b INT UNSIGNED, a CHAR(200) CHARACTER SET utf8mb4, v VECTOR(3), s VARCHAR(9) CHARACTER SET latin1, \
         e ENUM('x','ü') CHARACTER SET latin1, w SET('p','q'), f BINARY(7), x BLOB, y TEXT CHARACTER SET koi8r, \
         n YEAR, u TINYINT UNSIGNED, d DECIMAL(30,4), g GEOMETRY, j JSON, m TIMESTAMP(3), h TIME(2), bits BIT(11), \
         secret INT INVISIBLE, gen INT AS (b + 1) STORED, PRIMARY KEY (s(3), b))",
    );
    server.sql("INSERT INTO shop.t (b, s) VALUES (1, 'k')");
    let mut taken = Taken::default();
    run(options(&server, Start::Earliest, Until::CaughtUp, Resume::default()), &mut taken).unwrap();
    let mut conn = lakeward_mysql::connect(&config(&server), lakeward_mysql::Purpose::Questions).unwrap();
    let filter = TableFilter { include: vec!["shop.*".into()], exclude: Vec::new() };
    let catalog = lakeward_mysql::catalog::read(&mut conn, &filter).unwrap();
    let table = &catalog.tables[&TableId::new("shop", "t")];
    // How columns are declared the log does not tell.
    let undeclared = |column: &Column| Column { declared: None, ..column.clone() };
    let columns: Vec<Column> = table.columns.iter().map(undeclared).collect();
    assert_eq!(taken.schemas[0].columns, columns);
    assert_eq!(taken.schemas[0].key, table.key);
}

#[test]
fn a_source_that_is_dropped_ends_its_thread() {
    let server = server(true, RowMetadata::Full);
    let mut options = options(&server, Start::Latest, Until::Forever, Resume::default());
    // A heartbeat ends the wait, not this.
    options.config.read_timeout = Period::secs(120);
    let source = MysqlSource::open(options).unwrap();
    let start = Instant::now();
    drop(source);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
