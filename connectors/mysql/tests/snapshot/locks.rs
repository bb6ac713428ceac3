//! Where no lock-free proof exists: servers without GTIDs, tables without a key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lakeward_core::{Command, Op, Position, SnapshotState, TableStatus};
use lakeward_mysql::Until;
use lakeward_mysql::snapshot::{SnapshotLock, SnapshotMode, SnapshotOptions};
use lakeward_test_support::mysql::{MySql, MySqlOptions, USER};
use mysql::prelude::Queryable;

use crate::lake::{Lake, Setup, is_settled, server, server_pairs, table};
use crate::requests::{answer, request};

fn locking() -> SnapshotOptions {
    SnapshotOptions { lock: SnapshotLock::Tables, ..SnapshotOptions::default() }
}

fn filled(gtid: bool, create: &str) -> MySql {
    let server = server(MySqlOptions { gtid, ..MySqlOptions::default() });
    server.sql(&format!("GRANT LOCK TABLES ON shop.* TO {USER}"));
    server.sql(&format!(
        "{create}; SET cte_max_recursion_depth = 1000000; INSERT INTO shop.t WITH RECURSIVE s(n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 30000) SELECT n, 0 FROM s"
    ));
    server
}

/// Changes rows until it is told to stop; without `updates` only such as need no previous image to be
/// counted.
fn write(server: &MySql, updates: bool, stop: &AtomicBool) {
    let mut conn = server.conn();
    let mut n = 0u64;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let (a, b) = (n * 7919 % 31_000, n * 104_729 % 31_000);
        let statements = [
            format!("INSERT IGNORE INTO shop.t VALUES ({}, 1)", 30_000 + a),
            format!("DELETE FROM shop.t WHERE n = {a} LIMIT 1"),
            format!("UPDATE IGNORE shop.t SET v = v + 1 WHERE n = {b}"),
            format!("UPDATE IGNORE shop.t SET n = {b} WHERE n = {}", a + 3),
        ];
        for sql in statements.iter().take(if updates { 4 } else { 2 }) {
            conn.query_drop(sql).unwrap();
        }
    }
}

/// Runs with a writer until the table is read, then to the end of the log.
fn read_under_fire(server: &MySql, setup: Setup, updates: bool, lake: &mut Lake) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        struct Stops<'a>(&'a AtomicBool);
        impl Drop for Stops<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let _stops = Stops(&stop);
        let writer = scope.spawn(|| write(server, updates, &stop));
        let mut run = setup.open(server).unwrap();
        run.until(lake, |lake| lake.count("t", Op::Read) > 0 && is_settled(lake));
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        let end: u64 = server.rows("SHOW BINARY LOG STATUS")[0][1].as_deref().unwrap().parse().unwrap();
        run.until(lake, |lake| {
            let Position::Binlog(position) = &lake.checkpoint.as_ref().unwrap().position else {
                panic!("position")
            };
            position.offset >= end
        });
    });
}

#[test]
fn without_gtids_chunks_are_read_under_an_instant_lock_and_end_equal() {
    let server = filled(false, "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT)");
    let mut lake = Lake::default();
    read_under_fire(&server, Setup { snapshot: locking(), ..Setup::default() }, true, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
}

#[test]
fn a_table_without_a_key_has_each_row_as_often_as_the_source() {
    for gtid in [true, false] {
        let server = filled(gtid, "CREATE TABLE shop.t (n INT, v INT, KEY (n))");
        let mut lake = Lake::default();
        // Broken off in the middle, and read again from the beginning.
        let mut run = Setup { snapshot: locking(), ..Setup::default() }.open(&server).unwrap();
        run.until(&mut lake, |lake| lake.count("t", Op::Read) > 0);
        drop(run);
        lake.crash();
        assert!(matches!(lake.state("t"), SnapshotState::Open(_)), "it is not at its end");
        server.sql("INSERT INTO shop.t SELECT * FROM shop.t WHERE n < 50; DELETE FROM shop.t WHERE n BETWEEN 100 AND 120");
        let resumed = Setup { snapshot: locking(), ..Setup::resumed(&lake) };
        read_under_fire(&server, resumed, false, &mut lake);
        let mut in_lake: Vec<(i64, i64)> = Vec::new();
        for (row, count) in lake.counted("t") {
            let number = |column: &str| row[column].as_ref().unwrap().parse::<i64>().unwrap();
            assert!(count > 0, "{row:?} stands {count} times");
            in_lake.extend(std::iter::repeat_n((number("n"), number("v")), count as usize));
        }
        in_lake.sort_unstable();
        assert_eq!(in_lake, server_pairs(&server, "t", "n", "v"), "gtid {gtid}");
    }
}

/// Seconds for which the oldest open transaction of our account has been open.
fn oldest_transaction(server: &MySql) -> u64 {
    let sql = format!(
        "SELECT COALESCE(MAX(TIMESTAMPDIFF(SECOND, t.trx_started, NOW())), 0) FROM information_schema.innodb_trx t \
         JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.user = '{USER}'"
    );
    server.value(&sql).parse().unwrap()
}

/// Undo of the server piles up behind an open view: none is open while a backlog is read.
#[test]
fn the_view_of_a_table_without_a_key_waits_until_the_stream_is_close_to_the_end() {
    const TRANSACTIONS: u32 = 120;
    const SLOW: Duration = Duration::from_millis(500);
    let server = filled(true, "CREATE TABLE shop.t (n INT, v INT, KEY (n))");
    server.sql(
        "CREATE TABLE shop.other (n INT PRIMARY KEY, v INT); INSERT INTO shop.other SELECT n, 0 FROM shop.t",
    );
    let mut lake = Lake::default();
    // How it is read is settled; its rows are to be read again.
    let mut run = Setup { snapshot: locking(), ..Setup::default() }.open(&server).unwrap();
    run.until(&mut lake, |lake| lake.count("t", Op::Read) > 0);
    drop(run);
    lake.crash();
    assert!(matches!(lake.state("t"), SnapshotState::Open(open) if open.plan.is_some()));
    let mut conn = server.conn();
    for _ in 0..TRANSACTIONS {
        conn.query_drop("UPDATE shop.other SET v = v + 1 WHERE n <= 3000").unwrap();
    }
    let mut run = Setup { snapshot: locking(), ..Setup::resumed(&lake) }.open(&server).unwrap();
    let (begun, mut oldest) = (Instant::now(), 0);
    run.until(&mut lake, |lake| {
        if lake.count("other", Op::Update) < TRANSACTIONS as usize * 3000 {
            std::thread::sleep(SLOW);
        }
        oldest = oldest.max(oldest_transaction(&server));
        is_settled(lake)
    });
    println!("{:?}, the oldest transaction was open for {oldest} s", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(6), "there was no backlog to speak of");
    // Opened at the start it would be open for about all of that time.
    assert!(begun.elapsed() > 2 * Duration::from_secs(oldest), "a view was open for {oldest} s");
    run.until_equal(&server, &mut lake);
    let rows: i64 = server.value("SELECT COUNT(*) FROM shop.t").parse().unwrap();
    assert_eq!(lake.counted("t").values().sum::<i64>(), rows);
}

/// Transactions that our account has open.
fn open_transactions(server: &MySql) -> u64 {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p \
         ON p.id = t.trx_mysql_thread_id WHERE p.user = '{USER}'"
    );
    server.value(&sql).parse().unwrap()
}

#[test]
fn a_table_without_a_key_that_is_paused_lets_go_of_its_view_and_is_read_from_its_beginning_later() {
    let server = filled(true, "CREATE TABLE shop.t (n INT, v INT, KEY (n))");
    server.sql("INSERT INTO shop.t SELECT a.n, b.n FROM shop.t a, (SELECT n FROM shop.t WHERE n <= 4) b");
    const ROWS: usize = 150_000;
    let mut lake = Lake::default();
    let mut run = Setup { snapshot: locking(), ..Setup::default() }.open(&server).unwrap();
    run.until(&mut lake, |lake| lake.count("t", Op::Read) > 0);
    let mut asked = vec![request("1", Command::Pause { table: table("t") })];
    run.ask(asked.clone());
    run.until(&mut lake, |lake| answer(lake, "1").is_some());
    assert_eq!(answer(&lake, "1"), Some(None));
    let (read, mut boundaries) = (lake.count("t", Op::Read), 0);
    assert!(read < ROWS, "it was at its end before it could be paused");
    run.until(&mut lake, |_| {
        boundaries += 1;
        boundaries == 20
    });
    assert!(matches!(lake.state("t"), SnapshotState::Open(open) if open.paused));
    assert_eq!(lake.count("t", Op::Read), read, "no row goes out while it waits");
    assert_eq!(open_transactions(&server), 0, "no view is held meanwhile");
    server.sql("DELETE FROM shop.t WHERE n = 5");
    asked.push(request("2", Command::Continue { table: table("t") }));
    run.ask(asked);
    run.until_equal(&server, &mut lake);
    let left: i64 = server.value("SELECT COUNT(*) FROM shop.t").parse().unwrap();
    assert_eq!(lake.counted("t").values().sum::<i64>(), left);
    assert!(lake.counted("t").values().all(|count| *count > 0));
}

/// How often a session had to wait for a lock of a table, as the server counts it.
fn waits_for_table_locks(conn: &mut mysql::Conn) -> u64 {
    let sql = "SELECT count_star FROM performance_schema.events_waits_summary_by_thread_by_event_name \
               JOIN performance_schema.threads USING (thread_id) \
               WHERE event_name = 'wait/lock/metadata/sql/mdl' AND processlist_id = CONNECTION_ID()";
    conn.query_first(sql).unwrap().unwrap()
}

/// The stream stands still while a lock is waited for: for a second at most, and rarer and rarer. Writers do not
/// queue behind `LOCK TABLES … READ`.
#[test]
fn a_lock_that_waits_for_a_long_transaction_hardly_holds_up_anybody() {
    const HELD: Duration = Duration::from_secs(12);
    const STILL: Duration = Duration::from_millis(500);
    let server = filled(true, "CREATE TABLE shop.t (n INT, v INT, KEY (n))");
    let mut long = server.conn();
    long.query_drop("BEGIN").unwrap();
    long.query_drop("INSERT INTO shop.t VALUES (50000, 1)").unwrap();
    let begun = Instant::now();
    let mut lake = Lake::default();
    let (writers_waits, stood_still) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut conn = server.conn();
            while begun.elapsed() < HELD {
                conn.query_drop("INSERT INTO shop.t VALUES (60000, 1)").unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            waits_for_table_locks(&mut conn)
        });
        let mut run = Setup { snapshot: locking(), ..Setup::default() }.open(&server).unwrap();
        let (mut last, mut stood_still) = (Instant::now(), Duration::ZERO);
        run.until(&mut lake, |_| {
            let gap = last.elapsed();
            stood_still += if gap > STILL { gap } else { Duration::ZERO };
            last = Instant::now();
            begun.elapsed() > HELD
        });
        let writers_waits = writer.join().unwrap();
        assert_eq!(lake.count("t", Op::Read), 0, "it could not be locked");
        long.query_drop("COMMIT").unwrap();
        run.until_equal(&server, &mut lake);
        (writers_waits, stood_still)
    });
    println!("of {HELD:?} the stream stood still for {stood_still:?}");
    assert!(stood_still > Duration::from_millis(800), "the lock was tried");
    assert!(stood_still < HELD / 2, "the stream stood still for {stood_still:?}");
    assert_eq!(writers_waits, 0, "a writer waited for a lock of the table");
    let rows: i64 = server.value("SELECT COUNT(*) FROM shop.t").parse().unwrap();
    assert_eq!(lake.counted("t").values().sum::<i64>(), rows);
}

#[test]
fn what_needs_a_lock_is_refused_without_one_by_name_and_remedy() {
    for (gtid, create, word) in [
        (false, "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT)", "no GTIDs"),
        (true, "CREATE TABLE shop.t (n INT, v INT)", "no key"),
    ] {
        let server = filled(gtid, create);
        let mut lake = Lake::default();
        let setup = Setup { until: Until::CaughtUp, ..Setup::mode(SnapshotMode::Initial) };
        setup.read_to_end(&server, &mut lake);
        match &lake.checkpoint.as_ref().unwrap().tables[&crate::lake::table("t")].status {
            TableStatus::Stopped { kind, message, remedy, .. } => {
                assert_eq!(kind, "SourceSetting");
                assert!(message.contains(word), "{message}");
                assert!(remedy.as_deref().unwrap().contains("snapshot.lock: tables"), "{remedy:?}");
            }
            TableStatus::Active | TableStatus::LeftOut => panic!("it must stop"),
        }
        assert_eq!(lake.count("t", Op::Read), 0);
    }
}

/// What is read of it after the lock is of a later moment than the lock, so rows could be there twice.
#[test]
fn a_table_without_a_key_whose_engine_has_no_views_is_refused() {
    let server = filled(true, "CREATE TABLE shop.t (n INT, v INT) ENGINE = MyISAM");
    let mut lake = Lake::default();
    let snapshot = SnapshotOptions { mode: SnapshotMode::Initial, ..locking() };
    Setup { until: Until::CaughtUp, snapshot, ..Setup::default() }.read_to_end(&server, &mut lake);
    match &lake.checkpoint.as_ref().unwrap().tables[&table("t")].status {
        TableStatus::Stopped { kind, remedy, .. } => {
            assert_eq!(kind, "SourceUnsupported");
            assert!(remedy.as_deref().unwrap().contains("ENGINE = InnoDB"), "{remedy:?}");
        }
        TableStatus::Active | TableStatus::LeftOut => panic!("it must stop"),
    }
    assert_eq!(lake.count("t", Op::Read), 0);
}
