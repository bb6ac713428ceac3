//! Query events: a statement, its default database, and what of its session changes its meaning.
//!
//! Source: MySQL source documentation, `Query_event`, and the order in which
//! `Query_log_event::write` puts the status variables. A variable that is not known ends the walk:
//! none is after the ones that are needed, up to MySQL 9.7.
//!
//! The server takes, and logs, statements whose bytes are not all text in the client's character set: in
//! comments, strings and even names. Which tables they are about can be told all the same, so they are
//! marked ([`Query::is_damaged`]) and not refused here.

use std::borrow::Cow;

use lakeward_core::Result;

use super::cursor::Cursor;
use crate::ddl::{self, SqlSession, Statement};
use crate::rows::charset;

/// `ANSI_QUOTES` in `sql_mode`.
const MODE_ANSI_QUOTES: u64 = 1 << 2;
/// `NO_BACKSLASH_ESCAPES` in `sql_mode`.
const MODE_NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

/// `STRICT_TRANS_TABLES` and `STRICT_ALL_TABLES` in `sql_mode`.
const MODE_STRICT: u64 = 1 << 21 | 1 << 22;
/// `REAL_AS_FLOAT` in `sql_mode`.
const MODE_REAL_AS_FLOAT: u64 = 1;
/// `PAD_CHAR_TO_FULL_LENGTH` in `sql_mode`.
const MODE_PAD_CHAR: u64 = 1 << 31;

/// What of a statement's session decides what it makes of a table, beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `sql_mode`.
    pub sql_mode: u64,
    /// Collation of the client's text.
    pub client_collation: Option<u16>,
    /// The server's default collation.
    pub server_collation: Option<u16>,
    /// Collation of `CHARACTER SET utf8mb4` without one.
    pub utf8mb4_collation: Option<u16>,
    /// It was carried out as one with its entry in the data dictionary: it did something. Told for
    /// statements about tables whose engine can do so, since 8.0.
    pub carried_out: bool,
    /// `explicit_defaults_for_timestamp`, where the statement depends on it.
    pub explicit_timestamps: Option<bool>,
}

impl Surroundings {
    /// Whether a value that does not fit is an error, so that no statement changes one.
    pub fn is_strict(&self) -> bool {
        self.sql_mode & MODE_STRICT != 0
    }

    /// Whether REAL is FLOAT.
    pub fn real_is_float(&self) -> bool {
        self.sql_mode & MODE_REAL_AS_FLOAT != 0
    }

    /// Whether a CHAR is read with spaces up to its length.
    pub fn pads_char(&self) -> bool {
        self.sql_mode & MODE_PAD_CHAR != 0
    }
}

/// A statement in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The server's thread that carried it out.
    pub thread: u32,
    /// Its text.
    pub sql: Cow<'a, str>,
    /// Some of its bytes are no text in the client's character set; U+FFFD stands for them.
    pub is_damaged: bool,
    /// The session's default database; empty for none.
    pub database: &'a str,
    /// Its session.
    pub surroundings: Surroundings,
}

impl<'a> Query<'a> {
    /// Reads the body of a query event.
    pub fn parse(body: &'a [u8]) -> Result<Query<'a>> {
        Self::parse_with(body, 0)
    }

    /// Reads the body of an execute-load-query event: 13 more bytes of post-header.
    pub fn parse_load(body: &'a [u8]) -> Result<Query<'a>> {
        Self::parse_with(body, 13)
    }

    fn parse_with(body: &'a [u8], extra: usize) -> Result<Query<'a>> {
        let mut cursor = Cursor::new(body, "a query event");
        let thread = cursor.u32()?;
        let _execution_time = cursor.u32()?;
        let database_len = cursor.u8()?;
        let _error_code = cursor.u16()?;
        let variables_len = cursor.u16()?;
        cursor.take(extra)?;
        let surroundings = surroundings(cursor.take(variables_len.into())?)?;
        let database = cursor.take(database_len.into())?;
        let database = std::str::from_utf8(database).map_err(|_| cursor.corrupt("its database name"))?;
        if cursor.u8()? != 0 {
            return Err(cursor.corrupt("its database name does not end"));
        }
        let (sql, is_damaged) = text(surroundings.client_collation, cursor.rest());
        Ok(Query { thread, sql, is_damaged, database, surroundings })
    }

    /// Under which settings its text is read.
    pub fn session(&self, lower_case_names: bool) -> SqlSession<'_> {
        let mode = self.surroundings.sql_mode;
        SqlSession {
            default_database: self.database,
            ansi_quotes: mode & MODE_ANSI_QUOTES != 0,
            no_backslash_escapes: mode & MODE_NO_BACKSLASH_ESCAPES != 0,
            lower_case_names,
            is_damaged: self.is_damaged,
        }
    }

    /// What the statement does.
    pub fn statement(&self, lower_case_names: bool) -> Statement {
        ddl::read(&self.sql, &self.session(lower_case_names))
    }
}

/// A statement's text, and whether it is damaged.
fn text(collation: Option<u16>, bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let exact = match collation {
        Some(collation) => charset::to_utf8(collation, bytes).ok(),
        None => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
    };
    exact.map_or_else(|| (charset::to_utf8_lossy(collation, bytes), true), |sql| (sql, false))
}

fn surroundings(variables: &[u8]) -> Result<Surroundings> {
    let mut cursor = Cursor::new(variables, "the session variables of a query event");
    let mut found = Surroundings::default();
    while !cursor.is_empty() {
        match cursor.u8()? {
            // Flags; the server's lengths of things.
            0 | 10 => {
                cursor.take(4)?;
            }
            1 => found.sql_mode = cursor.u64()?,
            // Catalog, with a zero at its end.
            2 => {
                let length = cursor.u8()?;
                cursor.take(usize::from(length) + 1)?;
            }
            // Auto-increment steps.
            3 => {
                cursor.take(4)?;
            }
            4 => {
                found.client_collation = Some(cursor.u16()?);
                cursor.take(2)?;
                found.server_collation = Some(cursor.u16()?);
            }
            // Time zone; catalog.
            5 | 6 => skip_text(&mut cursor)?,
            7 => {
                cursor.take(2)?;
            }
            // `collation_database`, on which no table depends.
            8 => {
                cursor.take(2)?;
            }
            // Tables updated.
            9 => {
                cursor.take(8)?;
            }
            17 => {
                let _id = cursor.u64()?;
                found.carried_out = true;
            }
            // User and host.
            11 => {
                skip_text(&mut cursor)?;
                skip_text(&mut cursor)?;
            }
            12 => skip_databases(&mut cursor)?,
            // Microseconds.
            13 => {
                cursor.take(3)?;
            }
            16 => found.explicit_timestamps = Some(cursor.u8()? != 0),
            18 => found.utf8mb4_collation = Some(cursor.u16()?),
            // Whether a primary key is required; encryption.
            19 | 20 => {
                cursor.take(1)?;
            }
            _ => break,
        }
    }
    Ok(found)
}

fn skip_text(cursor: &mut Cursor<'_>) -> Result<()> {
    let length = cursor.u8()?;
    cursor.take(length.into()).map(drop)
}

/// Databases that a statement changes: their number, then their names, each with a zero at its end.
fn skip_databases(cursor: &mut Cursor<'_>) -> Result<()> {
    /// There were too many: no names follow.
    const TOO_MANY: u8 = 254;
    let count = cursor.u8()?;
    for _ in 0..if count == TOO_MANY { 0 } else { count } {
        while cursor.u8()? != 0 {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::sample;

    #[test]
    fn a_statement_comes_with_its_database_and_mode() {
        let body = sample::query("shop", "DROP TABLE \"a\"", MODE_ANSI_QUOTES);
        let query = Query::parse(&body).unwrap();
        assert_eq!((&*query.sql, query.database), ("DROP TABLE \"a\"", "shop"));
        assert!(query.session(false).ansi_quotes && !query.session(false).no_backslash_escapes);
        for cut in 0..body.len() - 14 {
            assert!(Query::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
        assert!(!query.is_damaged);
    }

    #[test]
    fn a_statement_that_is_not_all_text_is_marked() {
        let body = sample::query("shop", b"ALTER TABLE t ADD a INT /* caf\xE9 */", 0);
        let query = Query::parse(&body).unwrap();
        assert_eq!((&*query.sql, query.is_damaged), ("ALTER TABLE t ADD a INT /* caf\u{FFFD} */", true));
    }
}
