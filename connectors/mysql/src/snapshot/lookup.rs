//! Which keys of the lake the server does not have.
//!
//! Guarantee: a key is missing if and only if no row of the table has it, to the byte. Why: the server is
//! asked for the keys of all rows that are equal to one of them; what it sends is decoded as any row is,
//! and compared by bytes. So a row that is equal by collation alone does not stand for another, and it is
//! enough that the question finds at least what it should ([`super::equal`]).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::OwnedRow;
use lakeward_core::stats::SourceStats;
use lakeward_core::{Error, ErrorKind, Result, TableSchema};
use mysql::Conn;

use super::equal::{Sought, sought};
use super::link::{Described, named};
use super::read::{self, Piece, Trouble, by_index, limit};
use super::window::KeyBytes;

/// Bytes of conditions that are sent together, about: far below what a server takes at least.
const SQL_BYTES: usize = 256 << 10;

/// Keys that were not found.
pub(crate) struct Missing {
    pub(crate) keys: RecordBatch,
    /// How many could not be looked up.
    pub(crate) unknown: usize,
}

/// The key of a table as a table of its own.
pub(super) fn key_of(schema: &TableSchema) -> Arc<TableSchema> {
    let columns: Vec<_> = schema.key.iter().filter_map(|at| schema.columns.get(*at)).cloned().collect();
    let key = (0..columns.len()).collect();
    Arc::new(TableSchema::new(schema.table.clone(), schema.version, columns, key, schema.options))
}

/// What is known of a key.
enum Known {
    /// How it is looked up, and how once more where that does not find it.
    Sought { first: String, again: Option<String> },
    /// No row has it.
    Nowhere,
    /// It cannot be looked up.
    Not,
}

/// Looks up `keys`, of the columns of `key`.
pub(super) fn missing(
    conn: &mut Conn,
    key: &Arc<TableSchema>,
    described: &Described,
    keys: &RecordBatch,
    stats: &SourceStats,
) -> Result<Missing, Trouble> {
    let by = KeyBytes::of(key)?.ok_or_else(|| Error::new(ErrorKind::Bug, "a lookup without a key"))?;
    let bytes = by.keys(keys)?;
    let known: Vec<Known> =
        (0..keys.num_rows()).map(|row| known(described, keys, row)).collect::<Result<_>>()?;
    let first = known.iter().filter_map(|known| match known {
        Known::Sought { first, .. } => Some(first.as_str()),
        Known::Nowhere | Known::Not => None,
    });
    let mut found: HashSet<OwnedRow> = HashSet::new();
    find(conn, key, described, first, stats, &mut found)?;
    let not_found: Vec<bool> = bytes.iter().map(|row| !found.contains(&row.owned())).collect();
    let again = known.iter().zip(&not_found).filter_map(|(known, not_found)| match known {
        Known::Sought { again, .. } if *not_found => again.as_deref(),
        Known::Sought { .. } | Known::Nowhere | Known::Not => None,
    });
    find(conn, key, described, again, stats, &mut found)?;
    let is_missing = |(row, known): (arrow::row::Row<'_>, &Known)| match known {
        Known::Sought { .. } => Some(!found.contains(&row.owned())),
        Known::Nowhere => Some(true),
        Known::Not => Some(false),
    };
    let missing: BooleanArray = bytes.iter().zip(&known).map(is_missing).collect();
    let unknown = known.iter().filter(|known| matches!(known, Known::Not)).count();
    let keys = filter_record_batch(keys, &missing)
        .map_err(|error| Error::new(ErrorKind::Bug, "keys cannot be filtered").caused_by(error))?;
    Ok(Missing { keys, unknown })
}

/// How a key is looked up.
fn known(described: &Described, keys: &RecordBatch, row: usize) -> Result<Known> {
    let (mut first, mut again, mut needs_again) = (Vec::new(), Vec::new(), false);
    for (column, values) in described.key.0.iter().zip(keys.columns()) {
        match sought(column, values, row)? {
            Sought::Nowhere => return Ok(Known::Nowhere),
            Sought::Not => return Ok(Known::Not),
            Sought::By { equal, decoded } => {
                needs_again |= decoded.is_some();
                again.push(decoded.unwrap_or_else(|| equal.clone()));
                first.push(equal);
            }
        }
    }
    let all = |parts: Vec<String>| format!("({})", parts.join(" AND "));
    Ok(Known::Sought { first: all(first), again: needs_again.then(|| all(again)) })
}

/// Adds the keys of the rows for which one of the conditions holds.
fn find<'a>(
    conn: &mut Conn,
    key: &Arc<TableSchema>,
    described: &Described,
    conditions: impl Iterator<Item = &'a str>,
    stats: &SourceStats,
    found: &mut HashSet<OwnedRow>,
) -> Result<(), Trouble> {
    let mut conditions = conditions.peekable();
    while conditions.peek().is_some() {
        let (mut any, mut count) = (String::new(), 0);
        while let Some(condition) =
            conditions.next_if(|next| count == 0 || any.len() + next.len() < SQL_BYTES)
        {
            if count > 0 {
                any.push_str(" OR ");
            }
            any.push_str(condition);
            count += 1;
        }
        let sql = format!(
            "SELECT {} {} FROM {}{} WHERE {any}",
            limit(count),
            described.key.selected(),
            named(&key.table),
            by_index(described)
        );
        read::rows(conn, key, &sql, read::PIECE_BYTES, stats, |piece: Piece| {
            found.extend(piece.keys.iter().flat_map(|keys| keys.iter()).map(|row| row.owned()));
            Ok(())
        })?;
    }
    Ok(())
}
