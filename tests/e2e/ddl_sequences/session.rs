//! A sequence's sessions: one writes, and one in UTC reads what stands after each statement. What was read
//! holds until a statement changes it.

use std::collections::BTreeMap;

use lakeward_test_support::mysql::{MySql, gtid_told};
use mysql::Conn;
use mysql::prelude::Queryable;

use super::history::Written;
use super::statements::{Files, Statement};
use super::structure::{Table, tables};
use crate::expected::{self, Mapping, SourceTable};
use crate::tablespace::Exported;
use crate::world::utc;

/// See the module.
pub(super) struct Session<'a> {
    server: &'a MySql,
    database: String,
    writer: Conn,
    reader: Conn,
    tables: Option<Vec<Table>>,
    rows: BTreeMap<String, SourceTable>,
    exported: Option<Exported>,
}

impl Session<'_> {
    /// Without strict mode a change of a column clips what does not fit; with it, it is refused.
    pub(super) fn open<'a>(server: &'a MySql, database: &str, strict: bool) -> Session<'a> {
        let mut writer = server.conn_that_tells_gtids();
        writer.query_drop("SET NAMES utf8mb4").expect("a session can be set up");
        if !strict {
            writer
                .query_drop("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
                .expect("a session can be set up");
        }
        writer.select_db(database).expect("the database is there");
        let (database, reader) = (database.to_owned(), utc(server));
        Session { server, database, writer, reader, tables: None, rows: BTreeMap::new(), exported: None }
    }

    /// The tables that are there now.
    pub(super) fn tables(&mut self) -> &[Table] {
        self.tables.get_or_insert_with(|| tables(&mut self.reader, &self.database))
    }

    /// Runs a statement; whether the server took it.
    pub(super) fn run(&mut self, statement: &Statement) -> bool {
        match (statement.files, &statement.writes) {
            (Some(Files::Export), Some(table)) => {
                self.exported = Some(Exported::of(self.server, &self.database, table));
            }
            (Some(Files::PutBack), _) => self.exported.iter().for_each(Exported::put_back),
            (Some(Files::Export) | None, _) => {}
        }
        let taken = self.writer.query_drop(&statement.sql).is_ok();
        if taken && statement.is_ddl {
            (self.tables, self.rows) = (None, BTreeMap::new());
        } else if let Some(table) = &statement.writes {
            self.rows.remove(table);
        }
        taken
    }

    /// Runs a statement that writes a table's rows; whether the server took it, and what it did to them.
    pub(super) fn write(&mut self, statement: &Statement, table: &str) -> (bool, Option<Written>) {
        let before = self.read(table);
        if !self.run(statement) {
            self.rows.extend(before.map(|before| (table.to_owned(), before)));
            return (false, None);
        }
        let Some(gtid) = gtid_told(&self.writer) else { return (true, None) };
        let after = self.read(table).expect("a table that was written is there");
        let written = Written::of(&self.database, table, gtid, &statement.sql, before.as_ref(), &after);
        self.rows.insert(table.to_owned(), after);
        (true, Some(written))
    }

    /// The rows of a table, if there is one.
    fn read(&mut self, table: &str) -> Option<SourceTable> {
        if let Some(known) = self.rows.remove(table) {
            return Some(known);
        }
        let is_there = self.tables().iter().any(|there| there.name == table);
        is_there.then(|| expected::rows(&mut self.reader, &self.database, table, Mapping::default()))
    }
}
