//! An entry for fuzzing: arbitrary bytes as a table map and a rows event.
//!
//! Shows that malformed input is an error: no panic, and no more memory than a multiple of the input.

use std::sync::Arc;

use lakeward_core::{Column, ColumnType, Origin, TableId, TableSchema, TypeOptions, ZeroDates};

use super::cursor::Cursor;
use super::wire::{self, WireColumn, WireType};
use super::{BatchBuilder, RowLayout, RowsEvent, charset, json, json_diff};

/// Feeds `data` to every parser of this module. Layout: event type, count of columns, options, the
/// column types, 2 × count bytes of metadata, then the event's body.
pub fn fuzz(data: &[u8]) {
    let mut out = Vec::new();
    // Errors are what is expected of most inputs; what matters is that they are returned.
    drop(json::append_text(data, &mut out));
    if let Some((split, rest)) = data.split_first()
        && let Some((before, differences)) = rest.split_at_checked(usize::from(*split))
    {
        drop(json_diff::append_updated(before, differences, &mut out));
        drop(charset::to_utf8(u16::from(*split), rest));
    }
    drop(fuzz_event(data));
}

fn fuzz_event(data: &[u8]) -> lakeward_core::Result<()> {
    let mut data = Cursor::new(data);
    let [event_type, count, choice] = data.array()?;
    let types = data.take(usize::from(count % 24))?;
    let metadata = data.take(types.len() * 2)?;
    let wire = columns_of_any_length(types, metadata)?;
    let body = data.rest();
    let event = RowsEvent::parse(event_type, 10, body)?;
    let zero_dates = match choice & 3 {
        0 | 1 => ZeroDates::Null,
        2 => ZeroDates::Error,
        _ => ZeroDates::String,
    };
    let options =
        TypeOptions { tinyint1_as_boolean: choice & 4 != 0, time_as_string: choice & 8 != 0, zero_dates };
    let columns = wire
        .iter()
        .enumerate()
        .map(|(index, column)| Column::new(index.to_string(), column_type(*column, choice), true))
        .collect();
    let key = (0..wire.len().min(usize::from(choice >> 6))).collect();
    let schema = Arc::new(TableSchema::new(TableId::new("fuzz", "rows"), 1, columns, key, options));
    let layout = Arc::new(RowLayout::new(&wire, schema)?);
    let mut builder = BatchBuilder::new(layout, choice & 16 != 0, Arc::default());
    let origin = Origin { commit_us: 0, file: "binlog.000001".into(), offset: 4, ..Origin::default() };
    let pushed = builder.push(&event, &origin, &mut 1);
    builder.finish()?;
    pushed
}

/// Metadata blocks have no slack, so take as much of `metadata` as the types need.
fn columns_of_any_length(types: &[u8], metadata: &[u8]) -> lakeward_core::Result<Vec<WireColumn>> {
    let mut result = wire::columns(types, metadata, &[0x55; 3]);
    for len in 0..metadata.len() {
        if result.is_ok() {
            break;
        }
        result = wire::columns(types, metadata.get(..len).unwrap_or_default(), &[0x55; 3]);
    }
    result
}

/// A column type that such a wire column can have.
fn column_type(column: WireColumn, choice: u8) -> ColumnType {
    let text = ColumnType::Text { collation: if choice & 32 == 0 { 255 } else { u16::from(choice) } };
    let int = |width| ColumnType::Int { width, unsigned: column.unsigned, display_one: true };
    let labels = |count: u16| (0..count).map(|label| label.to_string()).collect();
    match column.ty {
        WireType::Tiny => int(1),
        WireType::Short => int(2),
        WireType::Int24 => int(3),
        WireType::Long => int(4),
        WireType::LongLong => int(8),
        WireType::Float => ColumnType::Float,
        WireType::Double => ColumnType::Double,
        WireType::NewDecimal { precision, scale } => ColumnType::Decimal { precision, scale },
        WireType::Year => ColumnType::Year,
        WireType::Date => ColumnType::Date,
        WireType::OldTime => ColumnType::Time { fsp: 0 },
        WireType::OldDatetime => ColumnType::Datetime { fsp: 0 },
        WireType::OldTimestamp => ColumnType::Timestamp { fsp: 0 },
        WireType::Time { fsp } => ColumnType::Time { fsp },
        WireType::Datetime { fsp } => ColumnType::Datetime { fsp },
        WireType::Timestamp { fsp } => ColumnType::Timestamp { fsp },
        WireType::VarString { .. } => text,
        WireType::String { max_bytes } => ColumnType::Binary { fixed: Some(max_bytes) },
        WireType::Enum { width } => ColumnType::Enum { labels: labels(if width == 1 { 3 } else { 300 }) },
        WireType::Set { width } => ColumnType::Set { labels: labels(u16::from(width) * 8 - 1) },
        WireType::Bit { bits } => ColumnType::Bit { bits },
        WireType::Blob { .. } => ColumnType::Binary { fixed: None },
        WireType::Json { .. } => ColumnType::Json,
        WireType::Geometry { .. } => ColumnType::Geometry,
        WireType::Vector { .. } => ColumnType::Vector,
    }
}
