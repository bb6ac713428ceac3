//! Unique indexes: their names, their order, and which of them is the key. The others are not kept: they
//! come and go, and nothing depends on them but the names that the server gives to indexes without one.
//! So such a name is known where the table is made, and may be one of several later.

use lakeward_core::schema::PRIMARY;
use lakeward_core::{Capacity, Column, ColumnType, Index, IndexPart};
use sqlparser::tokenizer::Token;

use super::{Definition, same_name};
use crate::ddl::Tokens;

/// A part as it is written: a column, with the length of its beginning, or an expression.
pub(super) type WrittenPart = (Option<String>, Option<u32>);

/// Reads `(a, b(10) DESC, (expression))`.
pub(super) fn parts(tokens: &mut Tokens<'_>) -> Option<Vec<WrittenPart>> {
    let mut inner = tokens.parenthesized()?;
    let mut parts = Vec::new();
    loop {
        let part = if inner.peek() == Some(&Token::LParen) {
            inner.parenthesized()?;
            (None, None)
        } else {
            let column = inner.name()?;
            let length = match inner.peek() == Some(&Token::LParen) {
                true => Some(inner.parenthesized()?.number()?),
                false => None,
            };
            (Some(column), length)
        };
        inner.eat_any(&["ASC", "DESC"]);
        parts.push(part);
        if !inner.eat_token(&Token::Comma) {
            return inner.peek().is_none().then_some(parts);
        }
    }
}

/// An index over columns of a table that have their new names.
pub(super) fn index(name: String, parts: Vec<WrittenPart>, columns: &[Column]) -> Index {
    let part = |(column, prefix): WrittenPart| {
        let mut part = IndexPart { column, prefix };
        widen(&mut part, columns);
        part
    };
    Index { name, parts: parts.into_iter().map(part).collect() }
}

/// A beginning that is all of a column is no beginning.
pub(super) fn widen(part: &mut IndexPart, columns: &[Column]) {
    let Some(column) = column_of(part, columns).and_then(|at| columns.get(at)) else { return };
    part.prefix = part.prefix.filter(|length| match (&column.ty, column.capacity) {
        (_, Some(Capacity::Char(all) | Capacity::Varchar(all))) => *length < all,
        (ColumnType::Text { .. } | ColumnType::Binary { .. }, Some(Capacity::Blob(_)) | None) => true,
        // Other types have no beginning.
        _ => false,
    });
}

/// The name that the server gives an index without one: its first column's, numbered where it is taken.
/// Empty where an index of a foreign key, whose name is not known, may have it.
pub(super) fn generated_name(parts: &[WrittenPart], unique: &[Index], others: &[Index]) -> String {
    let taken = unique.iter().chain(others);
    let of_foreign_key = |index: &Index| {
        index.name.is_empty()
            && match (index.parts.first().and_then(|part| part.column.as_ref()), parts.first()) {
                (Some(theirs), Some((Some(ours), _))) => same_name(theirs, ours),
                _ => false,
            }
    };
    if taken.clone().any(of_foreign_key) {
        return String::new();
    }
    let base = match parts.first() {
        Some((Some(column), _)) => column.clone(),
        _ => "functional_index".to_owned(),
    };
    let is_taken = |name: &str| taken.clone().any(|index| same_name(&index.name, name));
    if !is_taken(&base) && !same_name(&base, PRIMARY) {
        return base;
    }
    (2u32..).map(|n| format!("{base}_{n}")).find(|name| !is_taken(name)).unwrap_or(base)
}

/// Whether the server may have given this name to an index without one.
pub(super) fn may_be_named(index: &Index, name: &str) -> bool {
    if !index.name.is_empty() {
        return same_name(&index.name, name);
    }
    let column = index.parts.first().and_then(|part| part.column.as_deref());
    let base = column.unwrap_or("functional_index");
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    same_name(base, name)
        || name.rsplit_once('_').is_some_and(|(begin, end)| is_number(end) && same_name(base, begin))
}

/// The key as an index, of a name that is not known.
pub(super) fn of_key(known: &Definition) -> Vec<Index> {
    if known.key.is_empty() {
        return Vec::new();
    }
    let part = |at: &usize| {
        let column = known.columns.get(*at)?;
        Some(IndexPart { column: Some(column.name.clone()), prefix: None })
    };
    let parts = known.key.iter().filter_map(part).collect();
    vec![Index { name: String::new(), parts }]
}

/// Sorts indexes as the server does (`sort_keys` of `sql/sql_table.cc`): the primary key, those that are never
/// NULL, the others; behind those of their kind the ones over the beginning of a column, and before those the ones
/// over VIRTUAL columns. Unknown: whether an expression is ever NULL. It is taken to be; neither the key nor the
/// order of the others depends on it.
pub(super) fn sort(indexes: &mut [Index], columns: &[Column], virtuals: &[u32]) {
    indexes.sort_by_key(|index| {
        (
            index.name != PRIMARY,
            may_be_null(index, columns),
            index.parts.iter().any(|part| part.prefix.is_some()),
            is_virtual(index, columns, virtuals),
        )
    });
}

pub(super) fn column_of(part: &IndexPart, columns: &[Column]) -> Option<usize> {
    let name = part.column.as_deref()?;
    columns.iter().position(|column| same_name(&column.name, name))
}

fn may_be_null(index: &Index, columns: &[Column]) -> bool {
    index.parts.iter().any(|part| {
        let column = column_of(part, columns).and_then(|at| columns.get(at));
        column.is_none_or(|column| column.nullable)
    })
}

/// Whether it is over a VIRTUAL column; to the server an expression is a hidden one.
fn is_virtual(index: &Index, columns: &[Column], virtuals: &[u32]) -> bool {
    index.parts.iter().any(|part| {
        let column = column_of(part, columns).and_then(|at| columns.get(at));
        column.is_none_or(|column| virtuals.contains(&column.id))
    })
}

/// The key of a table by its sorted indexes: the primary key, or else the first unique one over whole
/// columns that are never NULL, and none of them VIRTUAL (`is_suitable_for_primary_key` of `sql/table.cc`).
pub(super) fn key(indexes: &[Index], columns: &[Column], virtuals: &[u32]) -> Vec<usize> {
    let serves = |index: &&Index| {
        index.name == PRIMARY
            || (!may_be_null(index, columns)
                && !is_virtual(index, columns, virtuals)
                && index.parts.iter().all(|part| part.prefix.is_none()))
    };
    let Some(index) = indexes.iter().find(serves) else { return Vec::new() };
    index.parts.iter().filter_map(|part| column_of(part, columns)).collect()
}
