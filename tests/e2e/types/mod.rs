//! The type suite as data: one table per case, one row per value.
//!
//! Each case is a column definition and the SQL expressions that are stored in it. What a value
//! should be in the lake is never written here: MySQL's own `SELECT` says it (see `expected`). So
//! the suite serves every way of reading a table, the binlog as well as a snapshot.

mod documents;
mod numbers;
mod temporal;
mod text;

use mysql::prelude::Queryable;

/// A column type and the values to put into it.
#[derive(Clone, Debug)]
pub(crate) struct TypeCase {
    /// Name of the table that holds it.
    pub(crate) table: String,
    /// Definition of the column `v`: type and attributes.
    pub(crate) column: String,
    /// SQL expressions, one row each. Evaluated in a session without strict mode, so that a value
    /// out of range is stored as MySQL clips it.
    pub(crate) values: Vec<String>,
    /// SQL expressions over `v`, applied to every row one after the other (partial updates).
    pub(crate) updates: Vec<String>,
}

/// A case as the lists of this suite write it: `(table, column, values)`.
type Listed = (&'static str, &'static str, &'static [&'static str]);

impl TypeCase {
    fn new(&(table, column, values): &Listed) -> Self {
        TypeCase {
            table: table.into(),
            column: column.into(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            updates: Vec::new(),
        }
    }

    /// The statement that makes its table in the session's database. `n` counts updates, so that
    /// an update always changes the row and is logged.
    pub(crate) fn create(&self) -> String {
        format!(
            "CREATE TABLE `{}` (id INT NOT NULL PRIMARY KEY, n INT NOT NULL DEFAULT 0, v {})",
            self.table, self.column
        )
    }
}

/// Every case. The charsets are asked from the server, so that none is forgotten.
pub(crate) fn cases(conn: &mut mysql::Conn) -> Vec<TypeCase> {
    let charsets: Vec<String> = conn
        .query("SELECT character_set_name FROM information_schema.character_sets ORDER BY 1")
        .expect("the server lists its charsets");
    let listed = [numbers::CASES, text::CASES, temporal::CASES, documents::CASES].concat();
    let mut cases: Vec<TypeCase> = listed.iter().map(TypeCase::new).collect();
    cases.extend(text::charset_cases(&charsets));
    cases.extend(documents::partial_json_cases());
    cases
}
