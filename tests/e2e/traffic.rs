//! A writer that never rests: seeded transactions of every shape over a few tables, so that any
//! loss or doubling shows in the latest state or in the version column `n` of some row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lakeward_test_support::Random;
use lakeward_test_support::mysql::MySql;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use crate::expected::{self, Mapping};
use crate::lake::{Events, LakeView, Name, Reader, assert_latest_is};
use crate::world::{server, utc};

/// Tables of the writer and their keys. `n` counts the changes of a row.
pub(crate) const TABLES: &[(&str, &[&str], &str)] = &[
    (
        "customers",
        &["id"],
        "id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL, name VARCHAR(40) CHARACTER SET latin1, balance DECIMAL(12,2), \
         changed TIMESTAMP(6) NULL, attributes JSON",
    ),
    (
        "orders",
        &["region", "id"],
        "region CHAR(2) NOT NULL, id INT UNSIGNED NOT NULL, n INT NOT NULL, note TEXT, status ENUM('new','paid','sent'), \
         PRIMARY KEY (region, id)",
    ),
    ("carts", &["id"], "id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL, filling VARBINARY(900)"),
];

/// Creates the writer's tables in the database `shop`.
pub(crate) fn create_tables(server: &MySql) {
    server.sql("CREATE DATABASE shop");
    for (table, _, columns) in TABLES {
        server.sql(&format!("CREATE TABLE shop.{table} ({columns})"));
    }
}

/// A server with the writer's tables.
pub(crate) fn server_with_tables() -> MySql {
    let server = server();
    create_tables(&server);
    server
}

/// One transaction's statements.
fn transaction(random: &mut Random, key_range: u64) -> Vec<String> {
    let mut statements = vec!["START TRANSACTION".to_owned()];
    let long = random.below(50) == 0;
    for _ in 0..=random.below(if long { 60 } else { 4 }) {
        let (id, other) = (random.below(key_range), random.below(key_range));
        let text = "lorem ipsum é ".repeat(usize::try_from(random.below(12)).unwrap());
        let region = ["de", "fr", "pl"][usize::try_from(random.below(3)).unwrap()];
        statements.push(match random.below(10) {
            0..=2 => format!(
                "INSERT INTO shop.customers (id, n, name, balance, changed, attributes) VALUES ({id}, 1, '{:.40}', {id}.25, NOW(6), '{{\"a\": {other}}}') \
                 ON DUPLICATE KEY UPDATE n = n + 1, balance = balance - 0.01, changed = NOW(6)",
                text
            ),
            3 | 4 => format!(
                "INSERT INTO shop.orders (region, id, n, note, status) VALUES ('{region}', {id}, 1, '{text}', 'new') \
                 ON DUPLICATE KEY UPDATE n = n + 1, status = 'paid', note = '{text}'"
            ),
            5 => format!("UPDATE shop.orders SET n = n + 1, status = 'sent' WHERE id BETWEEN {id} AND {id} + 20"),
            6 => format!("DELETE FROM shop.customers WHERE id BETWEEN {id} AND {id} + 2"),
            7 => format!("UPDATE IGNORE shop.customers SET id = {other}, n = n + 1 WHERE id = {id}"),
            8 => format!(
                "INSERT INTO shop.carts (id, n, filling) VALUES ({id}, 1, REPEAT(x'00ff', {})) \
                 ON DUPLICATE KEY UPDATE n = n + 1, filling = x'{other:04x}'",
                random.below(400)
            ),
            _ => format!("DELETE FROM shop.orders WHERE id = {id}"),
        });
    }
    statements.push(if random.below(12) == 0 { "ROLLBACK" } else { "COMMIT" }.to_owned());
    match random.below(300) {
        0 => statements.push("FLUSH BINARY LOGS".to_owned()),
        1 | 2 => statements.push("TRUNCATE TABLE shop.carts".to_owned()),
        _ => {}
    }
    statements
}

/// A writer in a thread of its own; it outlives restarts of the server.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Traffic {
    /// Starts writing to `server`; the tables must be there. `pause` between two transactions keeps
    /// the server's share of the machine small.
    pub(crate) fn start(server: &MySql, seed: u64, pause: Duration) -> Traffic {
        Traffic::of(server, seed, pause, true)
    }

    /// The same, which truncates no table.
    pub(crate) fn without_truncate(server: &MySql, seed: u64, pause: Duration) -> Traffic {
        Traffic::of(server, seed, pause, false)
    }

    fn of(server: &MySql, seed: u64, pause: Duration, truncates: bool) -> Traffic {
        let (stop, transactions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, port) = (stop.clone(), transactions.clone(), server.port());
        let mut random = Random::new(seed);
        let thread = std::thread::spawn(move || {
            let mut conn = None;
            while !stopped.load(Ordering::Relaxed) {
                if conn.is_none() {
                    conn = connect(port);
                }
                let written = conn.as_mut().is_some_and(|conn: &mut Conn| {
                    let statements = transaction(&mut random, 400);
                    let mut wanted = statements.iter().filter(|one| truncates || !is_truncate(one));
                    wanted.all(|statement| conn.query_drop(statement).is_ok())
                });
                if written {
                    counted.fetch_add(1, Ordering::Relaxed);
                } else {
                    conn = None;
                }
                std::thread::sleep(pause);
            }
        });
        Traffic { stop, transactions, thread }
    }

    /// Transactions written so far.
    pub(crate) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Ends it; answers how many transactions it wrote.
    pub(crate) fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer does not fail");
        self.transactions.load(Ordering::Relaxed)
    }
}

fn connect(port: u16) -> Option<Conn> {
    let options = OptsBuilder::new()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(port)
        .user(Some("root"))
        .prefer_socket(false);
    Conn::new(options).ok()
}

fn is_truncate(statement: &str) -> bool {
    statement.starts_with("TRUNCATE")
}

/// Writes `count` transactions at once, without a pause.
pub(crate) fn burst(server: &MySql, random: &mut Random, count: usize) {
    write(server, random, count, true);
}

/// The same, which truncates no table.
pub(crate) fn burst_without_truncate(server: &MySql, random: &mut Random, count: usize) {
    write(server, random, count, false);
}

fn write(server: &MySql, random: &mut Random, count: usize, truncates: bool) {
    let mut conn = server.conn();
    for _ in 0..count {
        for statement in transaction(random, 400).into_iter().filter(|one| truncates || !is_truncate(one)) {
            conn.query_drop(&statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
    }
}

/// Fails unless the lake holds exactly what the writer did: every file is named and there, numbers are
/// dense, every row's history has each of its changes once, the latest state is the source's.
pub(crate) fn assert_lake_is_source(server: &MySql, view: &LakeView) {
    view.assert_all_named();
    let events = view.events(Reader::Duckdb);
    view.assert_dense(&events);
    for (table, key, _) in TABLES {
        let name: Name = ("shop".into(), (*table).to_owned());
        let events = events.get(&name).cloned().unwrap_or_default();
        let source = expected::rows(&mut utc(server), "shop", table, Mapping::default());
        if events.rows.is_empty() {
            assert!(source.rows.is_empty(), "{table} is not in the lake");
            continue;
        }
        assert_histories(&name, &events, key);
        assert_latest_is(&name, &events, key, source);
    }
}

/// Each update of a row raises its `n` by one, whatever the order of events in the files.
pub(crate) fn assert_histories(name: &Name, events: &Events, key: &[&str]) {
    let key: Vec<usize> = key.iter().map(|column| events.column(column)).collect();
    let mut versions: BTreeMap<Vec<_>, i64> = BTreeMap::new();
    let rows = events.rows.iter().zip(events.ops()).zip(events.bare("n")).zip(events.seqs());
    for (((row, op), n), seq) in rows {
        let key: Vec<_> = key.iter().map(|&place| row[place].clone()).collect();
        let n: i64 = n.map_or(0, |n| n.parse().expect("a number"));
        let before = match op.as_str() {
            "t" => {
                versions.clear();
                continue;
            }
            "d" => versions.remove(&key),
            _ => versions.insert(key.clone(), n),
        };
        let right = match op.as_str() {
            "c" | "r" => before.is_none(),
            "u" => before == Some(n - 1),
            _ => before == Some(n),
        };
        assert!(right, "{name:?} {key:?}: event {seq} is {op} with n = {n} after {before:?}");
    }
}
