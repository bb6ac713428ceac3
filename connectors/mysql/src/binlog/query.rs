//! Query events: a statement, its default database, and what of its session changes its meaning.
//!
//! Source: MySQL source documentation, `Query_event`. Status variables stand in the order of their
//! codes; the two we need (SQL mode, client charset) come first, so the walk may end at the first
//! variable it does not know.

use std::borrow::Cow;

use lakeward_core::Result;

use super::cursor::Cursor;
use crate::ddl::{self, SqlSession, Statement};
use crate::rows::charset;

/// `ANSI_QUOTES` in `sql_mode`.
const MODE_ANSI_QUOTES: u64 = 1 << 2;
/// `NO_BACKSLASH_ESCAPES` in `sql_mode`.
const MODE_NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

/// A statement in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Its text.
    pub sql: Cow<'a, str>,
    /// The session's default database; empty for none.
    pub database: &'a str,
    /// Whether `"` quotes names.
    pub ansi_quotes: bool,
    /// Whether `\\` is a character like others in strings.
    pub no_backslash_escapes: bool,
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
        let _thread_and_time = cursor.u64()?;
        let database_len = cursor.u8()?;
        let _error_code = cursor.u16()?;
        let variables_len = cursor.u16()?;
        cursor.take(extra)?;
        let (mode, charset) = session(cursor.take(variables_len.into())?)?;
        let database = cursor.take(database_len.into())?;
        let database = std::str::from_utf8(database).map_err(|_| cursor.corrupt("its database name"))?;
        if cursor.u8()? != 0 {
            return Err(cursor.corrupt("its database name does not end"));
        }
        let sql = match charset {
            Some(collation) => charset::to_utf8(collation, cursor.rest())?,
            None => Cow::Borrowed(
                std::str::from_utf8(cursor.rest()).map_err(|_| cursor.corrupt("its text is not UTF-8"))?,
            ),
        };
        Ok(Query {
            sql,
            database,
            ansi_quotes: mode & MODE_ANSI_QUOTES != 0,
            no_backslash_escapes: mode & MODE_NO_BACKSLASH_ESCAPES != 0,
        })
    }

    /// What the statement does.
    pub fn statement(&self, lower_case_names: bool) -> Statement {
        let session = SqlSession {
            default_database: self.database,
            ansi_quotes: self.ansi_quotes,
            no_backslash_escapes: self.no_backslash_escapes,
            lower_case_names,
        };
        ddl::read(&self.sql, &session)
    }
}

/// SQL mode and client collation.
fn session(variables: &[u8]) -> Result<(u64, Option<u16>)> {
    let mut cursor = Cursor::new(variables, "the session variables of a query event");
    let (mut mode, mut charset) = (0, None);
    while !cursor.is_empty() {
        match cursor.u8()? {
            0 => {
                cursor.take(4)?;
            }
            1 => mode = cursor.u64()?,
            2 => {
                let length = cursor.u8()?;
                cursor.take(usize::from(length) + 1)?;
            }
            3 => {
                cursor.take(4)?;
            }
            4 => {
                charset = Some(cursor.u16()?);
                cursor.take(4)?;
            }
            5 | 6 => {
                let length = cursor.u8()?;
                cursor.take(length.into())?;
            }
            _ => break,
        }
    }
    Ok((mode, charset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::sample;

    #[test]
    fn a_statement_comes_with_its_database_and_mode() {
        let body = sample::query("shop", "DROP TABLE \"a\"", MODE_ANSI_QUOTES);
        let query = Query::parse(&body).unwrap();
        assert_eq!((&*query.sql, query.database, query.ansi_quotes), ("DROP TABLE \"a\"", "shop", true));
        for cut in 0..body.len() - 14 {
            assert!(Query::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
