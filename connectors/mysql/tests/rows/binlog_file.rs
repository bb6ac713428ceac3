//! Rows events of a binlog file, with the table map each belongs to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lakeward_mysql::rows::{WireColumn, wire};

/// A rows event.
pub(crate) struct FileEvent {
    /// `database.table`.
    pub(crate) table: Arc<str>,
    /// The columns of its table map.
    pub(crate) wire: Arc<Vec<WireColumn>>,
    /// Its type code.
    pub(crate) event_type: u8,
    /// Its body: what follows the common header, without checksum.
    pub(crate) body: Vec<u8>,
}

/// The events of a binlog file, header and checksum included.
pub(crate) fn whole_events(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = &file[4..];
    std::iter::from_fn(move || {
        let size = rest.get(9..13)?.try_into().map(u32::from_le_bytes).unwrap();
        let (event, after) = rest.split_at_checked(size as usize)?;
        rest = after;
        Some(event)
    })
}

/// Reads all rows events of an uncompressed binlog file with checksums.
pub(crate) fn rows_events(file: &Path) -> Vec<FileEvent> {
    let mut tables = HashMap::new();
    let mut events = Vec::new();
    for event in whole_events(&std::fs::read(file).unwrap()) {
        let body = &event[19..event.len() - 4];
        match event[4] {
            19 => {
                let (id, table) = table_map(body);
                tables.insert(id, table);
            }
            event_type @ (23..=25 | 30..=32 | 39) => {
                let (table, wire): &Mapped = &tables[&body[..6]];
                let (table, wire) = (Arc::clone(table), Arc::clone(wire));
                events.push(FileEvent { table, wire, event_type, body: body.to_vec() });
            }
            _ => {}
        }
    }
    events
}

/// A table's name and columns.
pub(crate) type Mapped = (Arc<str>, Arc<Vec<WireColumn>>);

/// The table id and what it stands for.
pub(crate) fn table_map(body: &[u8]) -> (Vec<u8>, Mapped) {
    let mut at = 8;
    let mut name = || {
        let len = usize::from(body[at]);
        let name = std::str::from_utf8(&body[at + 1..at + 1 + len]).unwrap().to_owned();
        at += len + 2;
        name
    };
    let (database, table) = (name(), name());
    let packed = |at: &mut usize| {
        let first = usize::from(body[*at]);
        *at += 1;
        if first < 251 {
            return first;
        }
        assert_eq!(first, 252, "lengths of up to two bytes are enough here");
        *at += 2;
        usize::from(u16::from_le_bytes([body[*at - 2], body[*at - 1]]))
    };
    let columns = packed(&mut at);
    let types = &body[at..at + columns];
    at += columns;
    let len = packed(&mut at);
    let metadata = &body[at..at + len];
    at += len + columns.div_ceil(8);
    let mut signedness: &[u8] = &[];
    while at < body.len() {
        let kind = body[at];
        at += 1;
        let len = packed(&mut at);
        if kind == 1 {
            signedness = &body[at..at + len];
        }
        at += len;
    }
    let wire = wire::columns(types, metadata, signedness).unwrap();
    (body[..6].to_vec(), (format!("{database}.{table}").into(), Arc::new(wire)))
}
