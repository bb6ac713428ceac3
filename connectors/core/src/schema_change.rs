//! Statements that change tables, as a source tells them beside the change events.
//!
//! Guarantee: a structure that is told is the table's after the statement; what is not certain is left out.

use serde::{Deserialize, Serialize};

use crate::{Origin, TableId};

/// What one statement does to one table, or to a database. A statement about several tables is told as several of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    /// Where the statement stands in the log.
    pub origin: Origin,
    /// The database that it concerns.
    pub database: String,
    /// The tables of this database that the whole statement concerns; none: the database itself.
    pub tables: Vec<String>,
    /// Its text; of a statement about several tables, one that does this alone.
    pub statement: String,
    /// What it does to the table; `None`: it concerns the database, or what it does is not known.
    pub change: Option<TableChange>,
}

/// What a statement does to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// What is done.
    pub kind: ChangeKind,
    /// The table, by its name after the statement.
    pub table: TableId,
    /// Its structure after the statement; `None`: it is gone, or its structure is not known.
    pub structure: Option<TableStructure>,
}

/// Kinds of [`TableChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is made.
    Create,
    /// It has another structure, other indexes or options, or another name.
    Alter,
    /// It is gone.
    Drop,
}

/// A table as statements declare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStructure {
    /// Its default character set; `None`: not known.
    pub charset: Option<String>,
    /// The columns of its key, in order.
    pub key: Vec<String>,
    /// Its columns, in order.
    pub columns: Vec<ColumnStructure>,
}

/// A column of a [`TableStructure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnStructure {
    /// Its name.
    pub name: String,
    /// It may be NULL.
    pub nullable: bool,
    /// `AUTO_INCREMENT`.
    pub counts: bool,
    /// Labels of ENUM and SET.
    pub labels: Vec<String>,
    /// How it is declared.
    pub declaration: Declaration,
}

/// How a column is declared, beyond what its values depend on. Kept with a version's columns only where schema changes are
/// told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Declaration {
    /// The words of its type in upper case, as the statement has them: `INT UNSIGNED`, `CHARACTER VARYING`.
    pub words: String,
    /// The first number of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// The second number of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<u32>,
    /// Its character set; `None`: it has none, or that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Its default, where that is a literal or the present time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Its values are computed from others, or set by each UPDATE.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
}
