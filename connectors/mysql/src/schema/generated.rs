//! Generated columns: which they are, and whether their values may be other ones though no statement touched them.
//!
//! Guarantee: where [`recomputed`] and [`reads_otherwise`] are silent, or [`may_compute`] is, every generated column has
//! the values that it had. Why: what an expression gives depends on the values of columns and on how they are
//! declared; values are kept (that is [`super::values`]'s to say), a type is the same, and where a type does not tell all
//! of what is declared (ZEROFILL, UNSIGNED of fractions, the collation of labels) a column that is defined anew is not
//! trusted. How much text or bytes a column holds is nothing that an expression sees.

use lakeward_core::{Column, ColumnType};

use super::Definition;

/// Why values may be other ones.
pub(super) const ANEW: &str = "generated columns are computed anew";

/// The numbers of the columns of these names.
pub(crate) fn numbers(names: &[String], columns: &[Column]) -> Vec<u32> {
    columns.iter().filter(|column| names.contains(&column.name)).map(|column| column.id).collect()
}

/// The names of a structure's generated columns; `None`: not known.
pub(crate) fn names(definition: &Definition) -> Option<Vec<String>> {
    Some(named(definition.groundwork.generated.as_ref()?, &definition.columns))
}

/// The names of those of them that are VIRTUAL, as far as that is known.
pub(crate) fn virtual_names(definition: &Definition) -> Vec<String> {
    named(&definition.groundwork.virtual_columns, &definition.columns)
}

fn named(numbers: &[u32], columns: &[Column]) -> Vec<String> {
    columns.iter().filter(|column| numbers.contains(&column.id)).map(|column| column.name.clone()).collect()
}

/// Why generated columns may have other values: a column that they may be computed from has another type.
pub(super) fn recomputed(old: &Definition, new: &Definition) -> Option<String> {
    let is_other =
        |column: &Column| old.columns.iter().any(|before| before.id == column.id && before.ty != column.ty);
    (new.columns.iter().any(is_other) && may_compute(old, new)).then(|| ANEW.to_owned())
}

/// Whether a column that was there before may be a generated one.
pub(super) fn may_compute(old: &Definition, new: &Definition) -> bool {
    let was_there = |number: &u32| old.columns.iter().any(|column| column.id == *number);
    new.groundwork.generated.as_ref().is_none_or(|numbers| numbers.iter().any(was_there))
}

/// Whether an expression may read a column of this type otherwise when it is declared otherwise.
pub(super) fn reads_otherwise(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Int { unsigned, .. } => *unsigned,
        ColumnType::Decimal { .. }
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. } => true,
        ColumnType::Bit { .. }
        | ColumnType::Year
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::Datetime { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::Text { .. }
        | ColumnType::Binary { .. }
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector => false,
    }
}
