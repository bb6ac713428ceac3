//! The versions of one table, derived from its records.
//!
//! Guarantee: one structure has one number, however often and wherever it is met; a number once given in the lake
//! keeps its structure.
//! Why: a structure is looked for among all versions of the table first, those that the lake has decided included (it
//! tells all of them), and only one that none of them has becomes the next version. So topic partitions that are on
//! both sides of a schema change at the same time, in any order and over restarts, use two versions and make no more;
//! there are as many versions as structures. The price: a table that goes back to an earlier structure goes back to
//! its version. Columns belong together by their names: a rename cannot be told from a new column.

use std::sync::Arc;

use lakeward_core::{Column, Error, Result, TableId, TableSchema, TypeOptions};

use crate::format::foreign::places;
use crate::format::unreadable;

/// What the source server says of a table's columns, asked where records do not tell; `None`: it has no such table.
pub type Structures = Arc<dyn Fn(&TableId) -> Result<Option<Vec<Column>>> + Send + Sync>;

/// The versions of one table.
pub struct Versions {
    types: TypeOptions,
    /// In the order of their numbers.
    known: Vec<Arc<TableSchema>>,
    /// The table, once a record or a version has named it.
    table: Option<TableId>,
    /// Whether records of a table belong into the topic.
    belongs: Box<dyn Fn(&TableId) -> bool + Send>,
    structures: Structures,
    /// What the server said last.
    columns: Option<Vec<Column>>,
}

impl Versions {
    /// Those that are known, in the order of their numbers. `belongs`: whether records of a table belong into the
    /// topic.
    pub fn new(
        types: TypeOptions,
        known: Vec<Arc<TableSchema>>,
        belongs: impl Fn(&TableId) -> bool + Send + 'static,
        structures: Structures,
    ) -> Versions {
        let table = known.first().map(|schema| schema.table.clone());
        Versions { types, known, table, belongs: Box::new(belongs), structures, columns: None }
    }

    /// The table; `None` before its first record.
    pub fn table(&self) -> Option<&TableId> {
        self.table.as_ref()
    }

    /// All versions, in the order of their numbers, from 1.
    pub fn known(&self) -> &[Arc<TableSchema>] {
        &self.known
    }

    /// Lets a record of `table` in. A topic is of one table: records of two would void, and overwrite, each other.
    pub(super) fn admit(&mut self, table: &TableId) -> Result<()> {
        match &self.table {
            Some(known) if known == table => Ok(()),
            None if (self.belongs)(table) => {
                self.table = Some(table.clone());
                Ok(())
            }
            Some(_) | None => Err(unreadable(format!(
                "the record is of table {table}, which does not belong into this topic"
            ))),
        }
    }

    /// The version with these columns and this key: a known one, or the next.
    pub(super) fn of(&mut self, table: &TableId, columns: &[Column], key: &[usize]) -> Arc<TableSchema> {
        let has_it = |known: &&Arc<TableSchema>| known.same_structure(&self.after(known, columns, key));
        if let Some(known) = self.known.iter().rev().find(has_it) {
            return Arc::clone(known);
        }
        let next = Arc::new(match self.known.last() {
            Some(newest) => self.after(newest, columns, key),
            None => TableSchema::new(table.clone(), 1, columns.to_vec(), key.to_vec(), self.types),
        });
        self.known.push(Arc::clone(&next));
        next
    }

    /// A version with these columns, whatever its key.
    pub(super) fn with_columns(&mut self, table: &TableId, columns: &[Column]) -> Arc<TableSchema> {
        let named = |schema: &TableSchema| {
            let both = || schema.columns.iter().zip(columns);
            schema.columns.len() == columns.len()
                && both().all(|(one, other)| one.name == other.name && one.ty == other.ty)
        };
        match self.known.iter().rev().find(|known| named(known)) {
            Some(known) => Arc::clone(known),
            None => self.of(table, columns, &[]),
        }
    }

    /// The newest version; of a table without one what the server says.
    pub(super) fn newest(&mut self, table: &TableId) -> Result<Arc<TableSchema>> {
        if let Some(newest) = self.known.last() {
            return Ok(Arc::clone(newest));
        }
        self.ask(table)?;
        match self.columns.clone() {
            Some(columns) => Ok(self.of(table, &columns, &[])),
            None => Err(untold(table)),
        }
    }

    /// The column that is called `name`: as the server has it, or as a version had it. It is asked once, and again
    /// for a name that is new.
    fn column(&mut self, table: &TableId, name: &str) -> Result<Column> {
        let first = self.columns.is_none();
        if first {
            self.ask(table)?;
        }
        if let Some(found) = self.find(name) {
            return Ok(found);
        }
        if !first {
            self.ask(table)?;
        }
        match self.find(name) {
            Some(found) => Ok(found),
            None if self.columns.is_none() && self.known.is_empty() => Err(untold(table)),
            None => Err(unreadable(format!(
                "field `{name}` is no column that the source server has, nor one of a version before"
            ))),
        }
    }

    /// The columns and the key of these names. Names tell no order: it is that of a version which has just these, or
    /// else the server's.
    pub(super) fn by_names(
        &mut self,
        table: &TableId,
        names: &[String],
        key: &[String],
    ) -> Result<(Vec<Column>, Vec<usize>)> {
        let mut columns = Vec::new();
        for name in names {
            columns.push(self.column(table, name)?);
        }
        let has_just_these = |known: &&Arc<TableSchema>| {
            let has = |column: &Column| {
                let alike = |known: &Column| {
                    (&known.name, &known.ty, known.nullable) == (&column.name, &column.ty, column.nullable)
                };
                known.columns.iter().any(alike)
            };
            let in_key = |name: &String| {
                known.key.iter().filter_map(|at| known.columns.get(*at)).any(|column| column.name == *name)
            };
            (known.columns.len(), known.key.len()) == (columns.len(), key.len())
                && columns.iter().all(has)
                && key.iter().all(in_key)
        };
        if let Some(known) = self.known.iter().rev().find(has_just_these) {
            return Ok((known.columns.clone(), known.key.clone()));
        }
        let here = |column: &Column| self.columns.iter().flatten().position(|one| one.name == column.name);
        columns.sort_by_key(|column| here(column).unwrap_or(usize::MAX));
        let key = places(&columns, key)?;
        Ok((columns, key))
    }

    /// Asks the server again; whether it says something else than before.
    pub(super) fn ask_again(&mut self, table: &TableId) -> Result<bool> {
        let before = self.columns.clone();
        self.ask(table)?;
        Ok(self.columns != before)
    }

    fn find(&self, name: &str) -> Option<Column> {
        let now = self.columns.iter().flatten();
        let before = self.known.iter().rev().flat_map(|known| &known.columns);
        now.chain(before).find(|column| column.name == name).map(|column| Column { id: 0, ..column.clone() })
    }

    fn ask(&mut self, table: &TableId) -> Result<()> {
        // How a column is declared, its default for one, is no part of a version: records do not depend on it.
        let told = |column| Column { id: 0, declared: None, ..column };
        let columns = (self.structures)(table)?;
        self.columns = columns.map(|columns| columns.into_iter().map(told).collect());
        Ok(())
    }

    /// A version after `earlier`: columns keep their numbers by their names.
    fn after(&self, earlier: &TableSchema, columns: &[Column], key: &[usize]) -> TableSchema {
        let mut columns = columns.to_vec();
        for column in &mut columns {
            let known = earlier.columns.iter().find(|known| known.name == column.name);
            column.id = known.map_or(0, |known| known.id);
        }
        let version = earlier.version.saturating_add(1);
        let (table, groundwork) = (earlier.table.clone(), earlier.groundwork.clone());
        TableSchema::with(table, version, columns, key.to_vec(), self.types, groundwork)
    }
}

fn untold(table: &TableId) -> Error {
    let message = format!(
        "the record does not tell its schema, and the source server shows this account no table {table}"
    );
    unreadable(message)
        .remedy("let `source.mysql` name the server that Debezium reads, or let Debezium write schemas")
}
