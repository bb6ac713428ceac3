//! The source is not harmed: while a table is read under fire, somebody looks at every lock, transaction
//! and statement of ours that the server knows of.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lakeward_test_support::mysql::{MySql, MySqlOptions, USER};
use lakeward_test_support::{LIMIT, seed, wait_until};
use mysql::Conn;
use mysql::prelude::Queryable;

use super::fire::{Fire, Target};
use super::keys::{KEYLESS, KeyKind, kind};
use super::pipeline::{allow_locks, are_read, initial, server_with_numbers};
use crate::whole::assert_equal;
use crate::world::{set, stop, view};

/// The longest time a chunk's SELECT may hold what every SELECT holds (its table cannot be altered).
const CHUNK: Duration = Duration::from_secs(3);
/// The longest time a table may be locked for writers, where that was allowed.
const INSTANT: Duration = Duration::from_millis(700);

/// What was seen of lakeward's sessions.
#[derive(Debug, Default)]
struct Seen {
    /// Metadata locks on tables, had or waited for (others queue behind that): since when each is there, by
    /// table, kind, session and the event that asked for it.
    held: BTreeMap<(String, String, u64, u64), Instant>,
    /// The longest time that a lock of each kind was held.
    longest: BTreeMap<String, Duration>,
    /// Row and table locks of the storage engine.
    data_locks: Vec<String>,
    /// The greatest age of a transaction.
    oldest_transaction: Duration,
    looks: u64,
}

impl Seen {
    fn look(&mut self, conn: &mut Conn) {
        let locks: Vec<(String, String, u64, u64)> = conn
            .query(format!(
                "SELECT CONCAT(object_schema, '.', object_name), \
                 CONCAT(lock_type, IF(lock_status = 'GRANTED', '', ' waited for')), owner_thread_id, owner_event_id \
                 FROM performance_schema.metadata_locks JOIN performance_schema.threads ON owner_thread_id = thread_id \
                 WHERE processlist_user = '{USER}' AND object_type = 'TABLE' AND object_schema = 'shop'"
            ))
            .expect("locks can be seen");
        let now = Instant::now();
        self.held.retain(|lock, _| locks.contains(lock));
        for lock in locks {
            let kind = lock.1.clone();
            let since = *self.held.entry(lock).or_insert(now);
            let longest = self.longest.entry(kind).or_default();
            *longest = (*longest).max(now - since);
        }
        let data: Vec<String> = conn
            .query(format!(
                "SELECT CONCAT_WS(' ', l.object_name, l.lock_type, l.lock_mode) FROM performance_schema.data_locks l \
                 JOIN performance_schema.threads t ON l.thread_id = t.thread_id WHERE t.processlist_user = '{USER}'"
            ))
            .expect("row locks can be seen");
        self.data_locks.extend(data);
        let age: Option<Option<u64>> = conn
            .query_first(format!(
                "SELECT MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())) FROM information_schema.innodb_trx \
                 JOIN performance_schema.threads ON trx_mysql_thread_id = processlist_id WHERE processlist_user = '{USER}'"
            ))
            .expect("transactions can be seen");
        let age = Duration::from_secs(age.flatten().unwrap_or(0));
        self.oldest_transaction = self.oldest_transaction.max(age);
        self.looks += 1;
    }
}

/// Kinds of statements that lakeward has sent, and how often.
fn statements(server: &MySql) -> BTreeMap<String, u64> {
    let rows = server.rows(&format!(
        "SELECT event_name, count_star FROM performance_schema.events_statements_summary_by_user_by_event_name \
         WHERE user = '{USER}' AND count_star > 0"
    ));
    let kind = |name: &str| name.trim_start_matches("statement/").to_owned();
    rows.into_iter()
        .map(|row| {
            let mut row = row.into_iter().flatten();
            (kind(&row.next().expect("a kind")), row.next().expect("a count").parse().expect("a number"))
        })
        .collect()
}

/// Reads the tables under fire and looks all the time.
fn watched(server: &MySql, pipeline: &lakeward_test_support::Pipeline, targets: &[Target]) -> Seen {
    let fire = Fire::start(server, targets, seed(), 2, Duration::from_millis(3));
    let mut conn = server.conn();
    let mut seen = Seen::default();
    let names: Vec<_> = targets.iter().map(|target| ("shop".to_owned(), target.table.clone())).collect();
    let mut run = pipeline.start(&["run"]);
    wait_until("the tables to be read", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        for _ in 0..5 {
            seen.look(&mut conn);
        }
        are_read(pipeline, &names).then_some(())
    });
    fire.finish();
    stop(&mut run);
    pipeline.catch_up();
    let keyed: Vec<_> = targets.iter().map(|target| target.kind.keyed(&target.table)).collect();
    assert_equal(server, &view(pipeline), &keyed);
    println!("{seen:?}, statements {:?}", statements(server));
    assert!(seen.looks > 50, "it was watched: {seen:?}");
    assert!(seen.data_locks.is_empty(), "{seen:?}");
    assert!(seen.oldest_transaction < CHUNK, "{seen:?}");
    seen
}

/// Statements that write or lock; `lock_tables` and `unlock_tables` only where that was allowed.
const HARMFUL: &[&str] = &[
    "insert", "update", "delete", "replace", "create", "drop", "alter", "truncate", "rename", "load", "lock",
    "flush", "grant", "call",
];

fn assert_no_harmful_statement(server: &MySql, allowed: &[&str]) {
    for (kind, count) in statements(server) {
        let name = kind.trim_start_matches("sql/");
        let harmful = kind.starts_with("sql/") && HARMFUL.iter().any(|word| name.starts_with(word));
        assert!(!harmful || allowed.contains(&name), "{kind} was sent {count} times");
    }
}

/// Each SELECT of rows or keys of `shop.t` has a limit of time (but one of a single row, which none here is).
fn assert_limited(server: &MySql) {
    let selects = server.rows(
        "SELECT query_sample_text FROM performance_schema.events_statements_summary_by_digest \
         WHERE query_sample_text LIKE '%FROM `shop`.`t` FORCE INDEX%'",
    );
    let selects: Vec<String> = selects.into_iter().flatten().flatten().collect();
    assert!(selects.iter().any(|select| select.contains(" DESC LIMIT 1")), "the greatest key: {selects:?}");
    let unlimited: Vec<_> = selects.iter().filter(|select| !select.contains("MAX_EXECUTION_TIME")).collect();
    assert!(unlimited.is_empty(), "{unlimited:?}");
}

#[test]
fn reading_takes_no_lock_and_writes_nothing() {
    let rows = 500_000;
    let server = server_with_numbers(rows, MySqlOptions::default());
    let targets = [Target::create(&server, kind("binary_16"), "t", rows)];
    let seen = watched(&server, &initial(&server), &targets);
    // What every SELECT and every look into the catalog hold, and nothing else.
    for (kind, longest) in &seen.longest {
        let most = match kind.as_str() {
            "SHARED_READ" => CHUNK,
            "SHARED" | "SHARED_HIGH_PRIO" => INSTANT,
            other => panic!("a lock of the kind {other}: {seen:?}"),
        };
        assert!(*longest < most, "{kind} was held for {longest:?}");
    }
    assert!(seen.longest.contains_key("SHARED_READ"), "chunks were seen: {seen:?}");
    assert_no_harmful_statement(&server, &[]);
    assert_limited(&server);
    let grants = server.rows(&format!("SHOW GRANTS FOR {USER}@'%'"));
    assert_eq!(grants.len(), 1, "the least rights were enough: {grants:?}");
}

#[test]
fn the_lock_that_was_allowed_lasts_an_instant() {
    locked_for_an_instant(KEYLESS, true);
}

#[test]
fn the_lock_of_each_chunk_lasts_an_instant_where_there_are_no_gtids() {
    locked_for_an_instant(kind("counted"), false);
}

fn locked_for_an_instant(kind: KeyKind, gtid: bool) {
    let rows = 200_000;
    let server = server_with_numbers(rows, MySqlOptions { gtid, ..MySqlOptions::default() });
    let targets = [Target::create(&server, kind, kind.name, rows)];
    let mut pipeline = initial(&server);
    allow_locks(&server, &mut pipeline);
    set(&mut pipeline, "before_images", true);
    let seen = watched(&server, &pipeline, &targets);
    for (kind, longest) in &seen.longest {
        assert!(kind == "SHARED_READ" || *longest < INSTANT, "{kind} was held for {longest:?}");
    }
    assert_no_harmful_statement(&server, &["lock_tables"]);
    assert!(statements(&server).get("sql/lock_tables") >= Some(&1), "the lock was taken");
}
