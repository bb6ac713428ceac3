//! What the log told of tables that are not captured, and of databases: a captured table may be made like
//! one, or one may come in its place.
//!
//! Known in this run only, and never needed to be right: what is not known here is asked of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::TableId;

use super::statement::Reason;
use crate::schema::Definition;

/// Tables that are remembered at most; of more, nothing is known.
const TABLES: usize = 10_000;

/// A table that is not captured.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) definition: Definition,
    /// The captured table and the version of it that the numbers of the columns are of.
    pub(super) like: Option<(TableId, u32)>,
    /// Why its rows are not those of that table any more, when they are copied from it.
    pub(super) rewritten: Option<Reason>,
    /// Why such a copy may lack rows.
    pub(super) narrower: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Beside {
    tables: BTreeMap<TableId, Other>,
    databases: BTreeMap<Arc<str>, u16>,
    /// Default collations as the server has them now; `None`: asked for in vain.
    likely: BTreeMap<Arc<str>, Option<u16>>,
}

impl Beside {
    pub(super) fn table(&self, table: &TableId) -> Option<&Other> {
        self.tables.get(table)
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &TableId> {
        self.tables.keys()
    }

    /// What stands under the name now; `None`: nothing, or nothing that is known.
    pub(super) fn set_table(&mut self, table: TableId, other: Option<Other>) {
        match other {
            Some(other) if self.tables.len() < TABLES || self.tables.contains_key(&table) => {
                self.tables.insert(table, other);
            }
            Some(_) | None => {
                self.tables.remove(&table);
            }
        }
    }

    /// The default collation of a database.
    pub(super) fn database(&self, name: &str) -> Option<u16> {
        self.databases.get(name).copied()
    }

    /// What the default collation of a database is likely to be; `None`: not asked for yet.
    pub(super) fn likely(&self, name: &str) -> Option<Option<u16>> {
        self.likely.get(name).copied()
    }

    pub(super) fn set_likely(&mut self, name: &str, collation: Option<u16>) {
        self.likely.insert(name.into(), collation);
    }

    pub(super) fn set_database(&mut self, name: &str, collation: Option<u16>) {
        match collation {
            Some(collation) => {
                self.databases.insert(name.into(), collation);
            }
            None => {
                self.databases.remove(name);
            }
        }
    }

    /// The default collations of all databases may be others.
    pub(super) fn forget_databases(&mut self) {
        self.databases.clear();
    }

    /// A database is gone, with its tables.
    pub(super) fn drop_database(&mut self, name: &str) {
        self.databases.remove(name);
        self.tables.retain(|table, _| *table.database != *name);
    }
}
