//! One sequence: a database of its own, and all that was done to it.

use lakeward_test_support::Random;
use lakeward_test_support::mysql::MySql;

use super::history::Written;
use super::session::Session;
use super::statements::{Statement, create, ddl, dml};

/// Statements at the beginning: that make tables, and that fill them.
const TABLES: u64 = 3;
const ROWS: u64 = 6;

/// Stands in a report where a burst ended.
const BURST_END: &str = "-- the end of a burst";

/// A sequence of statements on one database.
pub(super) struct Sequence {
    pub(super) database: String,
    pub(super) seed: u64,
    random: Random,
    /// How many statements were wanted; for some there are several.
    pub(super) asked: u64,
    /// What the server took.
    pub(super) done: Vec<String>,
    /// What its bursts did to rows.
    pub(super) written: Vec<Written>,
}

impl Sequence {
    /// A new database with two tables and rows in them.
    pub(super) fn begin(server: &MySql, number: u64, seed: u64) -> Sequence {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
        let database = format!("s{number}");
        server.sql(&format!("CREATE DATABASE {database}"));
        let random = Random::new(seed);
        let mut sequence =
            Sequence { database, seed, random, asked: TABLES + ROWS, done: Vec::new(), written: Vec::new() };
        let mut session = sequence.session(server);
        for _ in 0..TABLES {
            let statement = create(&mut sequence.random);
            sequence.take(session.run(&statement), statement);
        }
        for _ in 0..ROWS {
            let statement = dml(&mut sequence.random, session.tables());
            sequence.take(session.run(&statement), statement);
        }
        sequence
    }

    fn session<'a>(&self, server: &'a MySql) -> Session<'a> {
        Session::open(server, &self.database, !self.seed.is_multiple_of(2))
    }

    fn take(&mut self, taken: bool, statement: Statement) {
        if taken {
            self.done.push(statement.sql);
        }
    }

    /// A few more statements, DDL and DML mixed.
    pub(super) fn burst(&mut self, server: &MySql, count: u64) {
        let mut session = self.session(server);
        self.asked += count;
        for _ in 0..count {
            let tables = session.tables();
            let statements = match self.random.below(5) {
                0 | 1 => ddl(&mut self.random, tables),
                _ => vec![dml(&mut self.random, tables)],
            };
            for statement in statements {
                let (taken, written) = match &statement.writes {
                    Some(table) => session.write(&statement, table),
                    None => (session.run(&statement), None),
                };
                self.written.extend(written);
                self.take(taken, statement);
            }
        }
        self.done.push(BURST_END.to_owned());
    }

    /// The statements that the server took.
    pub(super) fn statements(&self) -> impl Iterator<Item = &String> {
        self.done.iter().filter(|done| *done != BURST_END)
    }

    /// The statements, for a report.
    pub(super) fn told(&self) -> String {
        format!("sequence {} of seed {}:\n{};", self.database, self.seed, self.done.join(";\n"))
    }
}
