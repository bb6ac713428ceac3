//! One sequence: a database of its own, and all that was done to it.

use lakeward_test_support::Random;
use lakeward_test_support::mysql::MySql;
use mysql::prelude::Queryable;

use super::statements::{create, ddl, dml};
use super::structure::{Table, tables};

/// A sequence of statements on one database.
pub(super) struct Sequence {
    pub(super) database: String,
    pub(super) seed: u64,
    random: Random,
    /// What the server took.
    pub(super) done: Vec<String>,
}

impl Sequence {
    /// A new database with two tables and rows in them.
    pub(super) fn begin(server: &MySql, number: u64, seed: u64) -> Sequence {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
        let database = format!("s{number}");
        server.sql(&format!("CREATE DATABASE {database}"));
        let mut sequence = Sequence { database, seed, random: Random::new(seed), done: Vec::new() };
        let mut conn = sequence.conn(server);
        for _ in 0..3 {
            let statement = create(&mut sequence.random);
            sequence.run(&mut conn, &statement);
        }
        for _ in 0..6 {
            let tables = tables(&mut conn, &sequence.database);
            let statement = dml(&mut sequence.random, &tables);
            sequence.run(&mut conn, &statement);
        }
        sequence
    }

    fn conn(&self, server: &MySql) -> mysql::Conn {
        let mut conn = server.conn();
        conn.query_drop("SET NAMES utf8mb4").expect("a session can be set up");
        // Without strict mode a change of a column clips what does not fit; with it, it is refused.
        if self.seed.is_multiple_of(2) {
            conn.query_drop("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
                .expect("a session can be set up");
        }
        conn.select_db(&self.database).expect("the database is there");
        conn
    }

    fn run(&mut self, conn: &mut mysql::Conn, statement: &str) {
        if conn.query_drop(statement).is_ok() {
            self.done.push(statement.to_owned());
        }
    }

    /// A few more statements, DDL and DML mixed.
    pub(super) fn burst(&mut self, server: &MySql, count: u64) {
        let mut conn = self.conn(server);
        for _ in 0..count {
            let tables: Vec<Table> = tables(&mut conn, &self.database);
            let statements = match self.random.below(5) {
                0 | 1 => ddl(&mut self.random, &tables),
                _ => vec![dml(&mut self.random, &tables)],
            };
            for statement in statements {
                self.run(&mut conn, &statement);
            }
        }
        self.done.push("-- the end of a burst".to_owned());
    }

    /// The statements, for a report.
    pub(super) fn told(&self) -> String {
        format!("sequence {} of seed {}:\n{};", self.database, self.seed, self.done.join(";\n"))
    }
}
