//! The one home of session settings, and of queries whose answers are text.
//!
//! Guarantee: a connection that [`apply`] let through has the settings below. Why: they are set and
//! then read back, so a proxy that drops or pools them is found. They are what values and answers
//! depend on: `time_zone` decides what a TIMESTAMP looks like, `sql_mode` how text is quoted,
//! `character_set_results` its bytes, `sql_select_limit` how many rows come of a SELECT that says
//! nothing about it, and `show_gipk_in_create_table_and_information_schema` whether the catalog shows
//! generated invisible primary keys, which row images hold. What is not set here a session has of the
//! server's globals, where anybody may have put a guard against others' mistakes.

use lakeward_core::{Error, ErrorKind, Result};
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::connection::failure;
use crate::server::Version;

/// Settings and the values that are read back. Sources: MySQL manual, "Server System Variables".
const SETTINGS: &[(&str, &str)] = &[
    ("time_zone", "+00:00"),
    // Dates that only this mode takes may stand in a key, and the bounds of its ranges are compared with them.
    ("sql_mode", "ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("max_execution_time", "0"),
    // No limit. DEFAULT would be the global one, and a SELECT that it cuts short does not say so.
    ("sql_select_limit", "18446744073709551615"),
    // Whatever `max_join_size` is.
    ("sql_big_selects", "1"),
    // A COMMIT that begins the next transaction would leave all that follows in an old view.
    ("completion_type", "NO_CHAIN"),
    // Seconds; a reader that is busy with the lake must not be cut off by the server.
    ("net_write_timeout", "3600"),
    // Seconds; this reader takes metadata locks only, and must not queue behind an ALTER for long.
    ("lock_wait_timeout", "10"),
    ("sql_quote_show_create", "1"),
    ("autocommit", "1"),
];

/// From MySQL 8.0.30 on.
const GENERATED_KEYS: (&str, &str) = ("show_gipk_in_create_table_and_information_schema", "1");

/// Applies the settings and reads them back.
pub fn apply(conn: &mut Conn, version: &Version) -> Result<()> {
    let mut settings = SETTINGS.to_vec();
    if *version >= Version::new(8, 0, 30) {
        settings.push(GENERATED_KEYS);
    }
    let list: Vec<String> =
        settings.iter().map(|(name, value)| format!("@@SESSION.{name} = {}", literal(value))).collect();
    run(conn, &format!("SET {}", list.join(", ")))?;
    let names: Vec<String> = settings.iter().map(|(name, _)| format!("@@SESSION.{name}")).collect();
    let answer = rows(conn, &format!("SELECT {}", names.join(", ")))?;
    let values = answer.into_iter().next().unwrap_or_default();
    for (i, (name, wanted)) in settings.iter().enumerate() {
        let found = values.get(i).and_then(Option::as_deref).unwrap_or("NULL");
        if found != *wanted {
            return Err(Error::new(
                ErrorKind::SourceSetting,
                format!("the session's {name} is {found} although it was set to {wanted}"),
            )
            .remedy("connect to the server itself, not through a proxy that changes sessions"));
        }
    }
    Ok(())
}

/// A number as it is, all else as a quoted string; the values are constants of this file.
fn literal(value: &str) -> String {
    match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => value.to_owned(),
        false => quoted(value),
    }
}

/// A string literal, under the `sql_mode` that [`apply`] sets.
pub fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// An identifier in backticks.
pub fn backticked(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Runs a statement and drops its answer.
pub fn run(conn: &mut Conn, sql: &str) -> Result<()> {
    conn.query_drop(sql).map_err(|error| failure(error, sql))
}

/// One row of an answer: text, or `None` for NULL.
pub type TextRow = Vec<Option<String>>;

/// Runs a query and gives its rows as text; an answer that is not UTF-8 is an error.
pub fn rows(conn: &mut Conn, sql: &str) -> Result<Vec<TextRow>> {
    named_rows(conn, sql).map(|(_, rows)| rows)
}

/// [`rows`] with the column names, for statements whose columns differ between server versions.
pub fn named_rows(conn: &mut Conn, sql: &str) -> Result<(Vec<String>, Vec<TextRow>)> {
    let answer = conn.query_iter(sql).map_err(|error| failure(error, sql))?;
    let names = answer.columns().as_ref().iter().map(|column| column.name_str().into_owned()).collect();
    let mut rows = Vec::new();
    for row in answer {
        let row = row.map_err(|error| failure(error, sql))?;
        let values = row.unwrap().into_iter().map(text).collect::<Option<Vec<_>>>();
        rows.push(values.ok_or_else(|| {
            Error::new(ErrorKind::SourceUnsupported, "the server's answer is not text in UTF-8")
                .at("query", sql)
        })?);
    }
    Ok((names, rows))
}

/// `None` where the value is not text; the text protocol gives bytes and NULL only.
fn text(value: mysql::Value) -> Option<Option<String>> {
    match value {
        mysql::Value::NULL => Some(None),
        mysql::Value::Bytes(bytes) => String::from_utf8(bytes).ok().map(Some),
        mysql::Value::Int(_)
        | mysql::Value::UInt(_)
        | mysql::Value::Float(_)
        | mysql::Value::Double(_)
        | mysql::Value::Date(..)
        | mysql::Value::Time(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_identifiers_are_quoted() {
        assert_eq!(quoted(r"a'b\c"), r"'a''b\\c'");
        assert_eq!(backticked("a`b"), "`a``b`");
        assert_eq!((literal("10"), literal("+00:00")), ("10".into(), "'+00:00'".into()));
    }
}
