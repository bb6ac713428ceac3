//! Whether a change of a column keeps all its values, as the lake has them.
//!
//! Guarantee: where [`rewritten`] is silent, each row that the lake has is, column by column, what the
//! server's table has after the change: as many rows, the same numbers, texts, bytes and times, only in
//! a type that holds more. Why: a change inside one kind of type that takes the old type's every value
//! keeps it; one that takes fewer is an error of the statement where `sql_mode` is strict, if a value is
//! lost; all others are said to rewrite, whether they did or not. What a type does not tell (digits and sign of
//! fractions) is told by the statement's words (`alter.rs`); of a copy, by those or by
//! [`crate::catalog::limits`]. What a session does beside that is in [`padded`].

use lakeward_core::{Capacity, Column, ColumnType, TypeOptions, ZeroDates};

use super::{Definition, collations, generated, types};

/// Why the lake's rows are not the table's rows any more after its structure became another; `None`:
/// they are. Columns belong together by their numbers.
pub fn rewritten(old: &Definition, new: &Definition, options: &TypeOptions, strict: bool) -> Option<String> {
    for column in &new.columns {
        let Some(before) = old.columns.iter().find(|before| before.id == column.id) else { continue };
        if !keeps(before, column, options, strict) {
            return Some(format!("column {} may have other values", column.name));
        }
    }
    let ids = |definition: &Definition| {
        let mut ids: Vec<Option<u32>> =
            definition.key.iter().map(|at| definition.columns.get(*at).map(|column| column.id)).collect();
        ids.sort_unstable();
        ids
    };
    let key = ids(new);
    // By another key, the newest event of a row is another one.
    if !key.is_empty() && key != ids(old) {
        return Some("its key is another".to_owned());
    }
    generated::recomputed(old, new)
}

/// Why text may have got spaces at its end: where the session pads CHAR to its length, one that becomes another type
/// keeps them.
pub(super) fn padded(old: &Definition, new: &Definition) -> Option<String> {
    let is_char = |column: &Column| {
        matches!((&column.ty, column.capacity), (ColumnType::Text { .. }, Some(Capacity::Char(_))))
    };
    let was_char = |number: u32| old.columns.iter().any(|before| before.id == number && is_char(before));
    let column = new.columns.iter().find(|column| was_char(column.id) && !is_char(column))?;
    Some(format!("column {} may have been padded", column.name))
}

/// Whether all values of a column stay.
fn keeps(old: &Column, new: &Column, options: &TypeOptions, strict: bool) -> bool {
    // In a TIMESTAMP, NULL becomes the present time, and no error, where the server copies the rows.
    let is_strict = strict && !matches!(new.ty, ColumnType::Timestamp { .. });
    if old.nullable && !new.nullable && !is_strict {
        return false;
    }
    if old.ty == new.ty && old.capacity == new.capacity {
        return true;
    }
    match (&old.ty, &new.ty) {
        (
            ColumnType::Int { width: old_width, unsigned: old_unsigned, display_one: old_one },
            ColumnType::Int { width, unsigned, display_one },
        ) => {
            let wider = match (old_unsigned, unsigned) {
                (true, true) | (false, false) => width >= old_width,
                (true, false) => width > old_width,
                (false, true) => false,
            };
            let boolean = |width: &u8, one: &bool| options.tinyint1_as_boolean && *width == 1 && *one;
            let wide = |width: &u8, unsigned: &bool| *width == 8 && *unsigned;
            (wider || strict)
                && boolean(width, display_one) == boolean(old_width, old_one)
                // The lake has these as decimals.
                && wide(width, unsigned) == wide(old_width, old_unsigned)
        }
        (
            ColumnType::Decimal { precision: old_precision, scale: old_scale },
            ColumnType::Decimal { precision, scale },
        ) => {
            let whole = |precision: &u8, scale: &u8| precision.saturating_sub(*scale);
            let fits =
                scale >= old_scale && (strict || whole(precision, scale) >= whole(old_precision, old_scale));
            let is_text = |precision: &u8| *precision > lakeward_core::schema::DECIMAL_DIGITS_MAX;
            let as_printed = old_scale == scale || !is_text(precision);
            fits && is_text(precision) == is_text(old_precision) && as_printed
        }
        (ColumnType::Float, ColumnType::Float | ColumnType::Double)
        | (ColumnType::Double, ColumnType::Double)
        | (ColumnType::Year, ColumnType::Year)
        | (ColumnType::Date, ColumnType::Date)
        | (ColumnType::Json, ColumnType::Json)
        | (ColumnType::Geometry, ColumnType::Geometry)
        | (ColumnType::Vector, ColumnType::Vector) => true,
        (ColumnType::Bit { bits: old }, ColumnType::Bit { bits: new }) => {
            // The lake has one bit as a boolean, more as so many bytes.
            (new >= old || strict) && old.div_ceil(8) == new.div_ceil(8) && (*old == 1) == (*new == 1)
        }
        (ColumnType::Time { fsp: old }, ColumnType::Time { fsp: new }) => {
            old == new || (new > old && !options.time_as_string)
        }
        (ColumnType::Datetime { fsp: old }, ColumnType::Datetime { fsp: new })
        | (ColumnType::Timestamp { fsp: old }, ColumnType::Timestamp { fsp: new }) => {
            old == new || (new > old && options.zero_dates != ZeroDates::String)
        }
        (ColumnType::Text { collation: from }, ColumnType::Text { collation: to }) => {
            let characters = collations::is_universal(*to) || collations::same_charset(*from, *to) || strict;
            characters && holds((new.capacity, *to), (old.capacity, *from))
        }
        (ColumnType::Binary { fixed: None }, ColumnType::Binary { fixed: None }) => {
            holds((new.capacity, collations::BINARY), (old.capacity, collations::BINARY))
        }
        (ColumnType::Binary { fixed: Some(old) }, ColumnType::Binary { fixed: Some(new) }) => old == new,
        (ColumnType::Enum { labels: old }, ColumnType::Enum { labels: new }) => {
            old.iter().all(|label| new.contains(label))
        }
        (ColumnType::Set { labels: old }, ColumnType::Set { labels: new }) => {
            // The text of a SET has its labels in their order.
            let mut rest = new.iter();
            old.iter().all(|label| rest.any(|found| found == label))
        }
        _ => false,
    }
}

fn holds(new: (Option<Capacity>, u16), old: (Option<Capacity>, u16)) -> bool {
    let each = collations::bytes_per_character;
    match (new, old) {
        ((Some(new), to), (Some(old), from)) => match (each(to), each(from)) {
            (Some(to), Some(from)) => types::holds(new, to, old, from),
            _ => false,
        },
        _ => false,
    }
}
