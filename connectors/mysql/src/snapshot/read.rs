//! Rows of a table, from a SELECT to Arrow.
//!
//! Guarantee: columns are named one by one, in the order of the structure that was described, invisible
//! and generated ones among them; before the first row the types that the server announces are compared
//! with that structure, so a table that was altered in between is told from a value that cannot be read.
//! A SELECT takes a few seconds at most: the server ends it ([`SELECT_LIMIT`]), and a chunk that grows
//! beyond its share of memory is given up; both are read again in smaller chunks. Reading a table whole
//! (without a key) has no such limits, and hands over rows as they come.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::row::Rows;
use lakeward_core::stats::SourceStats;
use lakeward_core::{ColumnType, Error, ErrorKind, Result, TableSchema};
use mysql::Conn;
use mysql::consts::{ColumnFlags, ColumnType as Sent};
use mysql::prelude::Queryable;

use super::keys::{self, Key};
use super::link::{Described, named};
use super::plan::Range;
use super::window::KeyBytes;
use crate::connection::failure;
use crate::rows::RowBuilder;
use crate::source::decoder::Halt;

/// How long one SELECT of a chunk may take on the server.
pub(crate) const SELECT_LIMIT: Duration = Duration::from_secs(5);
/// Rows that go out together.
pub(crate) const PIECE_ROWS: usize = 16_384;
/// Bytes of rows that go out together: they do with the row that passes it.
pub(super) const PIECE_BYTES: usize = 8 << 20;

/// Rows with their keys.
pub(crate) struct Piece {
    pub(crate) rows: RecordBatch,
    /// `None` for a table without a key.
    pub(crate) keys: Option<Rows>,
}

impl Piece {
    pub(crate) fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.keys.as_ref().map_or(0, Rows::size)
    }
}

/// Why a chunk was not read.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is too large: it took too long, or holds too many bytes.
    TooLarge,
    /// The table is not what it was described as: it was altered in between, and the log will say so.
    Moved(String),
    /// The server does not know a column or a table: as above, but for a condition, which nothing brings up to date.
    NotKnown(String),
    /// Not now: why, and it is tried again later and later.
    Later(&'static str),
    /// So for some times; then it is an error.
    NotYet(Error),
    /// The run ends.
    Halted(Halt),
    /// An error.
    Failed(Error),
}

impl From<Halt> for Trouble {
    fn from(halt: Halt) -> Self {
        Trouble::Halted(halt)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Failed(error)
    }
}

/// What the driver's error says about a SELECT of a chunk.
pub(crate) fn trouble(error: mysql::Error, doing: &str) -> Trouble {
    if let mysql::Error::MySqlError(answer) = &error {
        match answer.code {
            // The SELECT was interrupted: its time was over.
            3024 => return Trouble::TooLarge,
            // The table, or a partition of it, is without its file.
            1814 => return Trouble::NotYet(without_tablespace(&answer.message)),
            // No such column, table, database.
            1054 | 1146 | 1049 => return Trouble::NotKnown(answer.message.clone()),
            // No such index; the definition changed; not prepared for it.
            1176 | 1412 | 1615 => return Trouble::Moved(answer.message.clone()),
            _ => {}
        }
    }
    Trouble::Failed(failure(error, doing))
}

/// No rows stand behind the table, or one of its partitions, until its files are imported; that may happen at once.
fn without_tablespace(message: &str) -> Error {
    Error::new(ErrorKind::UnloggedChange, format!("its rows cannot be read: {message}"))
        .remedy("ALTER TABLE … IMPORT TABLESPACE; then lakeward resume it")
}

/// The hint that bounds a SELECT of so many rows. One row is read however long that takes.
pub(super) fn limit(rows: u64) -> String {
    match rows {
        0 | 1 => String::new(),
        _ => time_limit(),
    }
}

fn time_limit() -> String {
    format!("/*+ MAX_EXECUTION_TIME({}) */", SELECT_LIMIT.as_millis())
}

pub(super) fn by_index(described: &Described) -> String {
    let index = described.index.as_deref().map(crate::session::backticked);
    index.map_or_else(String::new, |index| format!(" FORCE INDEX ({index})"))
}

/// One row of a query about keys, as literals.
fn key_of(conn: &mut Conn, key: &Key, sql: &str) -> Result<Option<Vec<String>>, Trouble> {
    let row: Option<mysql::Row> = conn.exec_first(sql, ()).map_err(|error| trouble(error, sql))?;
    row.map(|row| Ok(key.bound(&row.unwrap())?)).transpose()
}

/// The greatest key of a table. It stands at the end of an index, but for rows that were deleted and not purged
/// yet; where there are many, the server takes long to pass them, and less so later.
pub(crate) fn greatest_key(
    conn: &mut Conn,
    schema: &TableSchema,
    described: &Described,
) -> Result<Option<Vec<String>>, Trouble> {
    let sql = greatest_key_sql(schema, described);
    key_of(conn, &described.key, &sql).map_err(|trouble| match trouble {
        Trouble::TooLarge if described.is_sorted => {
            Trouble::Later("its greatest key is not found within seconds")
        }
        Trouble::TooLarge => Trouble::Failed(unsorted(schema)),
        other => other,
    })
}

/// Each chunk of a large table would sort what is left of it.
fn unsorted(schema: &TableSchema) -> Error {
    Error::new(
        ErrorKind::SourceUnsupported,
        "no index has its rows in the order of its key (one of prefixes has not, and an invisible one is not \
         used), and to sort them takes too long",
    )
    .of_table(&schema.table)
    .remedy(format!(
        "give it a key of whole columns, or make the key's index visible, then lakeward resume {}; or leave it \
         out (tables.exclude)",
        schema.table
    ))
}

fn greatest_key_sql(schema: &TableSchema, described: &Described) -> String {
    let key = &described.key;
    format!(
        "SELECT {} {} FROM {}{} ORDER BY {} LIMIT 1",
        time_limit(),
        key.selected(),
        named(&schema.table),
        by_index(described),
        key.order(true)
    )
}

/// The key of the `rows`-th row of a range; `None` if the range has fewer.
pub(crate) fn cut(
    conn: &mut Conn,
    schema: &TableSchema,
    described: &Described,
    range: &Range,
    rows: u64,
) -> Result<Option<Vec<String>>, Trouble> {
    let key = &described.key;
    let sql = format!(
        "SELECT {} {} FROM {}{} WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
        limit(rows),
        key.selected(),
        named(&schema.table),
        by_index(described),
        key.within(range),
        key.order(false),
        rows.saturating_sub(1)
    );
    key_of(conn, key, &sql).map_err(|trouble| match trouble {
        Trouble::TooLarge if !described.is_sorted => Trouble::Failed(unsorted(schema)),
        other => other,
    })
}

/// The SELECT of a chunk of so many rows at most.
pub(crate) fn chunk_sql(
    schema: &TableSchema,
    described: &Described,
    range: &Range,
    most: u64,
    condition: Option<&str>,
) -> String {
    let only = condition.map_or_else(String::new, |condition| format!(" AND ({condition}\n)"));
    format!(
        "SELECT {} {} FROM {}{} WHERE {}{only}",
        limit(most),
        select_list(schema),
        named(&schema.table),
        by_index(described),
        described.key.within(range)
    )
}

/// The SELECT of a whole table.
pub(crate) fn whole_sql(schema: &TableSchema) -> String {
    format!("SELECT {} FROM {}", select_list(schema), named(&schema.table))
}

fn select_list(schema: &TableSchema) -> String {
    let columns = schema.columns.iter().map(|column| keys::selected(&column.name, &column.ty));
    columns.collect::<Vec<_>>().join(", ")
}

/// Runs a SELECT and hands over its rows in pieces of about `piece_bytes` at most, until `each` refuses
/// one. After an error the connection is of no use.
pub(crate) fn rows(
    conn: &mut Conn,
    schema: &Arc<TableSchema>,
    sql: &str,
    piece_bytes: usize,
    stats: &SourceStats,
    mut each: impl FnMut(Piece) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    /// Rows between two looks at the bytes gathered; those that were sent as such are counted by the row.
    const LOOK: usize = 256;
    let doing = "reading rows";
    let by = KeyBytes::of(schema)?;
    let mut builder = RowBuilder::new(schema.clone())?;
    let statement = conn.prep(sql).map_err(|error| trouble(error, doing))?;
    announced(schema, &statement.columns())?;
    let mut hand_over = |builder: &mut RowBuilder| -> Result<(), Trouble> {
        let rows = builder.finish(stats)?;
        let keys = by.as_ref().map(|by| by.keys(&rows)).transpose()?;
        each(Piece { rows, keys })
    };
    let mut answer = conn.exec_iter(&statement, ()).map_err(|error| trouble(error, doing))?;
    let mut take = |row: mysql::Result<mysql::Row>| -> Result<(), Trouble> {
        let values = row.map_err(|error| trouble(error, doing))?.unwrap();
        builder.push(&values)?;
        // They may be large, and who takes the piece may let us wait.
        drop(values);
        let rows = builder.rows();
        let is_full = rows >= PIECE_ROWS
            || builder.sent_bytes() >= piece_bytes
            || (rows.is_multiple_of(LOOK) && builder.bytes() >= piece_bytes);
        if is_full { hand_over(&mut builder) } else { Ok(()) }
    };
    if let Err(trouble) = answer.by_ref().try_for_each(&mut take) {
        // Dropped, it would read the rest of the rows first. The caller drops the connection.
        std::mem::forget(answer);
        return Err(trouble);
    }
    drop(answer);
    if builder.rows() > 0 {
        hand_over(&mut builder)?;
    }
    conn.close(statement).map_err(|error| trouble(error, doing))
}

/// Whether the server announces the columns that were described.
fn announced(schema: &TableSchema, columns: &[mysql::Column]) -> Result<(), Trouble> {
    if columns.len() != schema.columns.len() {
        return Err(Trouble::Moved(format!("{} columns are announced", columns.len())));
    }
    for (column, sent) in schema.columns.iter().zip(columns) {
        if !is_announced(&column.ty, sent) {
            return Err(Trouble::Moved(format!("column {} is announced otherwise", column.name)));
        }
    }
    Ok(())
}

fn is_announced(ty: &ColumnType, sent: &mysql::Column) -> bool {
    let unsigned = sent.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let kind = sent.column_type();
    let is_bytes = matches!(
        kind,
        Sent::MYSQL_TYPE_STRING
            | Sent::MYSQL_TYPE_VAR_STRING
            | Sent::MYSQL_TYPE_VARCHAR
            | Sent::MYSQL_TYPE_BLOB
            | Sent::MYSQL_TYPE_TINY_BLOB
            | Sent::MYSQL_TYPE_MEDIUM_BLOB
            | Sent::MYSQL_TYPE_LONG_BLOB
    );
    match ty {
        ColumnType::Int { width, unsigned: wanted, .. } => {
            let same = match width {
                1 => kind == Sent::MYSQL_TYPE_TINY,
                2 => kind == Sent::MYSQL_TYPE_SHORT,
                3 => kind == Sent::MYSQL_TYPE_INT24,
                4 => kind == Sent::MYSQL_TYPE_LONG,
                _ => kind == Sent::MYSQL_TYPE_LONGLONG,
            };
            same && unsigned == *wanted
        }
        ColumnType::Decimal { scale, .. } => kind == Sent::MYSQL_TYPE_NEWDECIMAL && sent.decimals() == *scale,
        ColumnType::Float => kind == Sent::MYSQL_TYPE_FLOAT,
        ColumnType::Double => kind == Sent::MYSQL_TYPE_DOUBLE,
        ColumnType::Bit { bits } => kind == Sent::MYSQL_TYPE_BIT && sent.column_length() == u32::from(*bits),
        ColumnType::Year => kind == Sent::MYSQL_TYPE_YEAR,
        ColumnType::Date => kind == Sent::MYSQL_TYPE_DATE,
        ColumnType::Time { fsp } => kind == Sent::MYSQL_TYPE_TIME && sent.decimals() == *fsp,
        ColumnType::Datetime { fsp } => kind == Sent::MYSQL_TYPE_DATETIME && sent.decimals() == *fsp,
        ColumnType::Timestamp { fsp } => kind == Sent::MYSQL_TYPE_TIMESTAMP && sent.decimals() == *fsp,
        ColumnType::Text { collation } => is_bytes && sent.character_set() == *collation,
        ColumnType::Binary { .. } => is_bytes && sent.character_set() == BINARY,
        ColumnType::Enum { .. } | ColumnType::Set { .. } => kind == Sent::MYSQL_TYPE_LONGLONG,
        ColumnType::Json => kind == Sent::MYSQL_TYPE_JSON,
        ColumnType::Geometry => kind == Sent::MYSQL_TYPE_GEOMETRY,
        ColumnType::Vector => kind == Sent::MYSQL_TYPE_VECTOR,
    }
}

/// The collation id of bytes without characters.
const BINARY: u16 = 63;

/// Why a table can only be read whole under a lock, and what to do about it.
pub(crate) fn needs_lock(what: &str, table: &lakeward_core::TableId) -> Error {
    Error::new(ErrorKind::SourceSetting, format!("{what}, so its rows cannot be read without a lock"))
        .of_table(table)
        .remedy(
            "set snapshot.lock: tables (LOCK TABLES … READ for an instant), or leave the table out \
             (tables.exclude), or give it a primary key",
        )
}
