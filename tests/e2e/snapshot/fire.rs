//! Writers that insert into tables, update them (keys too) and delete from them without rest, over
//! the whole range of their keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lakeward_test_support::Random;
use lakeward_test_support::mysql::MySql;
use mysql::Conn;
use mysql::prelude::Queryable;

use super::keys::KeyKind;

/// A table to write to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its kind.
    pub(crate) kind: KeyKind,
    /// Its name.
    pub(crate) table: String,
    /// Rows it was filled with.
    pub(crate) rows: u64,
}

impl Target {
    /// Creates and fills the table. The rows are in no binlog: only a snapshot can find them.
    pub(crate) fn create(server: &MySql, kind: KeyKind, table: &str, rows: u64) -> Target {
        server.sql(&kind.create(table));
        server.sql(&format!("SET SESSION sql_log_bin = 0; {}", kind.fill(table, rows)));
        Target { kind, table: table.to_owned(), rows }
    }

    /// The same with rows that are in the binlog, before any pipeline begins.
    pub(crate) fn create_logged(server: &MySql, kind: KeyKind, table: &str, rows: u64) -> Target {
        server.sql(&format!("{}; {}", kind.create(table), kind.fill(table, rows)));
        Target { kind, table: table.to_owned(), rows }
    }

    /// One change of one row, or of a few at an end of the table.
    fn change(&self, random: &mut Random) -> String {
        let Target { kind, table, .. } = self;
        let range = self.rows + self.rows / 5;
        let (one, other) = (1 + random.below(range), 1 + random.below(range));
        let order = kind.order();
        match random.below(20) {
            0..=5 => format!(
                "INSERT INTO shop.{table} ({}, n, note) VALUES ({}, 1, 'new {one}') ON DUPLICATE KEY UPDATE n = n + 1",
                kind.columns_written(),
                kind.row(&one.to_string())
            ),
            6..=11 => {
                format!("UPDATE shop.{table} SET n = n + 1, note = 'changed' WHERE {}", kind.finds(one))
            }
            12..=14 => format!(
                "UPDATE IGNORE shop.{table} SET {}, n = n + 1, note = 'moved' WHERE {}",
                kind.becomes(other),
                kind.finds(one)
            ),
            15..=17 => format!("DELETE FROM shop.{table} WHERE {}", kind.finds(one)),
            18 => format!("UPDATE shop.{table} SET n = n + 1 ORDER BY {order} DESC LIMIT 20"),
            _ => format!("DELETE FROM shop.{table} ORDER BY {order} LIMIT 5"),
        }
    }
}

/// Running writers.
pub(crate) struct Fire {
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Fire {
    /// Starts `writers` of them, each resting for `pause` after a transaction.
    pub(crate) fn start(
        server: &MySql,
        targets: &[Target],
        seed: u64,
        writers: u64,
        pause: Duration,
    ) -> Fire {
        let (stop, transactions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..writers)
            .map(|writer| {
                let (stop, transactions) = (stop.clone(), transactions.clone());
                let (mut conn, targets) = (server.conn(), targets.to_vec());
                let mut random = Random::new(seed ^ (writer << 32));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if transaction(&mut conn, &mut random, &targets) {
                            transactions.fetch_add(1, Ordering::Relaxed);
                        }
                        std::thread::sleep(pause);
                    }
                })
            })
            .collect();
        Fire { stop, transactions, threads }
    }

    /// Transactions committed so far.
    pub(crate) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Ends them; answers how many transactions they committed.
    pub(crate) fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no writer fails");
        }
        self.transactions.load(Ordering::Relaxed)
    }
}

/// Two writers met (a deadlock, a lock that took too long), or the table is locked or gone for now.
const PASSING: &[u16] = &[1213, 1205, 1146, 1412];

/// One transaction; whether it was committed.
fn transaction(conn: &mut Conn, random: &mut Random, targets: &[Target]) -> bool {
    let mut statements = vec!["START TRANSACTION".to_owned()];
    for _ in 0..=random.below(4) {
        statements.push(random.pick(targets).change(random));
    }
    let kept = random.below(15) != 0;
    statements.push(if kept { "COMMIT" } else { "ROLLBACK" }.to_owned());
    for statement in statements {
        match conn.query_drop(&statement) {
            Ok(()) => {}
            Err(mysql::Error::MySqlError(error)) if PASSING.contains(&error.code) => {
                conn.query_drop("ROLLBACK").expect("a transaction can be rolled back");
                return false;
            }
            Err(error) => panic!("{error}: {statement}"),
        }
    }
    kept
}
