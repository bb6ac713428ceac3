//! Whether a copy of a table's rows has all of them, with their values. Online schema changes copy with `INSERT IGNORE`,
//! which passes over rows that the new table refuses, and column by column under the names that both tables have.
//!
//! Guarantee: where [`narrower`] is silent, and the statement that altered the copy ([`super::Change::narrower`])
//! or the catalog ([`crate::catalog::limits`]), no row of the old table is refused by the new one. Why: a row is
//! refused for another one with the same unique key, or by a check, a foreign key or partitions. Each unique index
//! of the new table has all columns of one that the old table has, which compare alike: so rows that differ there
//! differ here. What else is added is told by the words of the statement. And where [`renamed`] is silent, each column
//! has the values of the one that it belongs to: it has that one's name. Of a renamed one some runs copy the values, and
//! others do not (gh-ost with `--skip-renamed-columns`, or where it does not know the clause); no statement tells which.
//!
//! Unknown: a ghost table that CREATE TABLE makes (pt-online-schema-change does so) is taken to have the checks,
//! foreign keys and partitions of its table, and its indexes where those are not known; a check of before may
//! refuse a value for a column's new collation; and of a ghost table that an earlier run saw altered, only the
//! catalog's names are known, so that two columns of it may have swapped theirs.

use lakeward_core::{Column, ColumnType, Index};

use super::{Definition, indexes, same_name};

/// Why a table of the new structure may refuse rows that one of the old structure has; `None`: its unique indexes
/// refuse none. Columns belong together by their numbers.
pub fn narrower(old: &Definition, new: &Definition) -> Option<String> {
    let Some(unique) = &new.groundwork.indexes else {
        let before = |column: &Column| old.columns.iter().find(|before| before.id == column.id);
        let other = |column: &&Column| before(column).is_some_and(|before| !compare_alike(before, column));
        let column = new.columns.iter().find(other)?;
        return Some(format!("column {} has another collation, and may be in a unique index", column.name));
    };
    let before = old.groundwork.indexes.clone().unwrap_or_else(|| indexes::of_key(old));
    let is_new = |index: &&Index| !before.iter().any(|before| implies((before, old), (index, new)));
    let index = unique.iter().find(is_new)?;
    Some(format!("its unique index {} was not there before, or compares in another way", index.name))
}

/// Why columns of a table that was copied by names may have other values than those that they belong to by their
/// numbers; `None`: names and numbers say the same.
pub fn renamed(old: &Definition, new: &Definition) -> Option<String> {
    let is_other = |column: &&Column| {
        old.columns.iter().any(|before| (before.id == column.id) != same_name(&before.name, &column.name))
    };
    let column = new.columns.iter().find(is_other)?;
    let name = &column.name;
    Some(format!("column {name} was renamed, or took another one's name, and rows are copied by names"))
}

/// Whether rows that differ in one index differ in the other.
fn implies((before, old): (&Index, &Definition), (index, new): (&Index, &Definition)) -> bool {
    if before.parts.iter().any(|part| part.column.is_none()) {
        // The same expression gives the same only of columns of the same types.
        return before == index && same_types(old, new);
    }
    before.parts.iter().all(|part| {
        let Some(column) = indexes::column_of(part, &old.columns).and_then(|at| old.columns.get(at)) else {
            return false;
        };
        index.parts.iter().any(|other| {
            let found = indexes::column_of(other, &new.columns).and_then(|at| new.columns.get(at));
            let same = found.is_some_and(|found| found.id == column.id && compare_alike(column, found));
            same && reaches(other.prefix, part.prefix)
        })
    })
}

/// Whether one beginning of a column's values holds the other.
fn reaches(prefix: Option<u32>, other: Option<u32>) -> bool {
    match (prefix, other) {
        (None, _) => true,
        (Some(length), Some(other)) => length >= other,
        (Some(_), None) => false,
    }
}

/// Whether values that differ in a column differ in another one that keeps them.
fn compare_alike(old: &Column, new: &Column) -> bool {
    match (&old.ty, &new.ty) {
        (ColumnType::Text { collation: old }, ColumnType::Text { collation: new }) => old == new,
        _ => true,
    }
}

fn same_types(old: &Definition, new: &Definition) -> bool {
    let same = |column: &Column| {
        new.columns.iter().find(|new| new.id == column.id).is_none_or(|new| new.ty == column.ty)
    };
    old.columns.iter().all(same)
}
