//! A table's structure, carried forward by the statements in the log that make and alter it.
//!
//! Guarantee: [`create`] and [`alter`] give the structure that the server has after the statement, or
//! say what they do not understand; they never guess in silence. Why: the statement's tokens are read
//! to their end, and each word must have its place in the grammar; the server's own steps are repeated
//! in its order (columns that stay or change in their places, then those that are added or move, one by one; old
//! indexes less what was dropped, then new ones, sorted as the server sorts them). What a statement
//! takes from outside of itself is either carried along (the table's default collation, its indexes),
//! stands in the Query event, or is not known: then what is usual is taken, and the version says that it
//! is [`lakeward_core::Groundwork::unsure`]. `tests/schema/` compares with a server after each of a
//! long random list of statements; and each table map in the log is compared with the structure that
//! its rows are read by.
//!
//! [`Change::rewritten`] says when the rows that the lake has are not the table's rows any more. A
//! value is kept only where that is certain ([`values`]); all else has the table's rows read anew.
//!
//! Unknown: version comments (`/*!99999 … */`) are read as if every server obeyed them.

mod alter;
mod clauses;
pub(crate) mod collations;
mod column;
mod copies;
mod create;
mod declared;
mod fill;
mod generated;
mod indexes;
mod types;
mod values;

use lakeward_core::{Column, Groundwork, TableId, TableSchema, TypeOptions};

use crate::binlog::query::Surroundings;
use crate::ddl::SqlSession;

pub use alter::{Change, alter};
pub use column::database_collation;
pub(crate) use column::named_database;
pub use copies::{narrower, renamed};
pub use create::{Made, create};
pub(crate) use declared::of_catalog as declaration_of_catalog;
pub(crate) use declared::{follow as follow_declaration, told as told_structure};
pub use fill::of_catalog as fill_of_catalog;
pub(crate) use generated::{names as generated_names, numbers as column_numbers, virtual_names};
pub use values::rewritten;

/// A structure without its table's name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Columns in the order of the row image.
    pub columns: Vec<Column>,
    /// Indices into `columns` of the key's columns.
    pub key: Vec<usize>,
    /// What later statements build on.
    pub groundwork: Groundwork,
}

impl Definition {
    /// The structure of a version.
    pub fn of(schema: &TableSchema) -> Definition {
        Definition {
            columns: schema.columns.clone(),
            key: schema.key.clone(),
            groundwork: schema.groundwork.clone(),
        }
    }

    /// A version of this structure.
    pub fn version(self, table: TableId, version: u32, options: TypeOptions) -> TableSchema {
        TableSchema::with(table, version, self.columns, self.key, options, self.groundwork)
    }

    /// Whether rows of both have the same columns and the same key.
    pub(crate) fn is_alike(&self, other: &Definition) -> bool {
        crate::binlog::table_map::same_columns(&self.columns, &other.columns) && self.key == other.key
    }

    /// Forgets how columns are declared.
    pub(crate) fn undeclare(&mut self) {
        self.columns.iter_mut().for_each(|column| column.declared = None);
    }

    /// Settles the order of the indexes and, by them, the key.
    pub(crate) fn settle_key(&mut self) {
        let Some(found) = &mut self.groundwork.indexes else { return };
        let virtuals = &self.groundwork.virtual_columns;
        indexes::sort(found, &self.columns, virtuals);
        self.key = indexes::key(found, &self.columns, virtuals);
    }

    /// Gives columns the numbers of those of the same name in the version before, if there is one, and new
    /// numbers to the others; no value is filled in. For a table that comes in place of another.
    pub fn succeed(&mut self, previous: Option<&Definition>) {
        let counting =
            self.columns.iter().position(|column| Some(column.id) == self.groundwork.auto_increment);
        let (generated, virtuals) = (generated::names(self), generated::virtual_names(self));
        self.groundwork.next_column = previous.map_or(1, |previous| previous.groundwork.next_column);
        for column in &mut self.columns {
            column.fill = None;
            let before = previous.map(|previous| &previous.columns[..]).unwrap_or_default();
            column.id = match before.iter().find(|before| same_name(&before.name, &column.name)) {
                Some(same) => same.id,
                None => self.groundwork.take_number(),
            };
        }
        if let Some(column) = counting.and_then(|at| self.columns.get(at)) {
            self.groundwork.auto_increment = Some(column.id);
        }
        self.groundwork.generated = generated.map(|names| generated::numbers(&names, &self.columns));
        self.groundwork.virtual_columns = generated::numbers(&virtuals, &self.columns);
    }
}

/// Column names are compared as the server compares them, nearly: without regard to case.
fn same_name(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// What a statement's meaning depends on beside its text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// How its text is read.
    pub session: SqlSession<'a>,
    /// Its session's settings.
    pub surroundings: &'a Surroundings,
    /// Default collation of the table's database, where that is known.
    pub database_collation: Option<u16>,
    /// What it is likely to be.
    pub likely_collation: Option<u16>,
    /// The mapping of types: whether a change keeps all values depends on it.
    pub options: TypeOptions,
    /// Whether columns come with their declarations.
    pub declares: bool,
}

impl Context<'_> {
    /// Default collation of `CHARACTER SET name`.
    fn default_of(&self, charset: &str) -> Option<u16> {
        if charset.eq_ignore_ascii_case("utf8mb4") {
            return Some(self.surroundings.utf8mb4_collation.unwrap_or(collations::USUAL));
        }
        collations::default_of_charset(charset)
    }

    /// What is usual where a default collation is not known.
    fn usual(&self) -> u16 {
        self.likely_collation.or(self.surroundings.server_collation).unwrap_or(collations::USUAL)
    }
}
