//! The body of a rows event: what kind of change, which table, which columns, and the row images.
//!
//! Layouts: MySQL's `Rows_event` (versions 1 and 2) and `Partial_update_rows_event`.

use lakeward_core::{Error, ErrorKind, Result};

use super::cursor::{Cursor, corrupt};

/// What a rows event does to its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsKind {
    /// One after-image per row.
    Insert,
    /// A before-image and an after-image per row.
    Update,
    /// One before-image per row.
    Delete,
    /// As an update, where JSON columns of the after-image may be differences to the before-image.
    PartialUpdate,
}

/// A rows event, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RowsEvent<'a> {
    /// What it does.
    pub kind: RowsKind,
    /// The table map it belongs to.
    pub table_id: u64,
    /// Its flags; 0x0001 ends a statement.
    pub flags: u16,
    /// How many columns the table has.
    pub columns: usize,
    /// A bit per column that before-images hold, lowest bit first; empty for inserts.
    pub before_present: &'a [u8],
    /// The same for after-images; empty for deletes.
    pub after_present: &'a [u8],
    /// The row images.
    pub rows: &'a [u8],
}

impl<'a> RowsEvent<'a> {
    /// Reads the body of an event of `event_type` (23–25, 30–32, 39): what follows the common header,
    /// without checksum. `post_header_len` is the format description's length for that type; 6 means
    /// a table id of 4 bytes.
    ///
    /// # Errors
    /// `CorruptEvent` if the body is cut short, `UnsupportedEvent` for another type.
    pub fn parse(event_type: u8, post_header_len: usize, body: &'a [u8]) -> Result<Self> {
        let (kind, version) = match event_type {
            23 => (RowsKind::Insert, 1),
            24 => (RowsKind::Update, 1),
            25 => (RowsKind::Delete, 1),
            30 => (RowsKind::Insert, 2),
            31 => (RowsKind::Update, 2),
            32 => (RowsKind::Delete, 2),
            39 => (RowsKind::PartialUpdate, 2),
            _ => {
                let message = format!("event type {event_type} is not a rows event");
                return Err(Error::new(ErrorKind::UnsupportedEvent, message));
            }
        };
        let mut body = Cursor::new(body);
        let table_id = body.uint(if post_header_len == 6 { 4 } else { 6 })?;
        let flags = body.u16()?;
        if version == 2 {
            // NDB's conflict data and the partition number of the row: nothing the image depends on.
            let extra = usize::from(body.u16()?);
            body.take(
                extra.checked_sub(2).ok_or_else(|| corrupt("extra row data shorter than its length"))?,
            )?;
        }
        let columns = body.packed_len()?;
        let bitmap = columns.div_ceil(8);
        let before_present = if kind == RowsKind::Insert { &[] } else { body.take(bitmap)? };
        let after_present = if kind == RowsKind::Delete { &[] } else { body.take(bitmap)? };
        Ok(RowsEvent { kind, table_id, flags, columns, before_present, after_present, rows: body.rest() })
    }
}
