//! What the text of a Query event does to tables.
//!
//! Guarantee: [`read`] never overlooks a table. Each statement is either read, and then names every
//! table whose rows or structure it changes by itself; or of a kind that changes none
//! ([`Statement::Harmless`]); or [`Statement::Unparsed`] with every name its text holds.
//! Why: the text is cut into tokens by `sqlparser` under the session's `sql_mode`, so names in
//! comments, strings and quotes are told apart. MySQL's grammar decides what a statement, or a clause
//! of ALTER TABLE, does by its first words, which are reserved where a name could stand; those are
//! matched exhaustively, and a clause that is not in the list makes the whole statement `Unparsed`.
//! What follows a clause's first words is not read: the server has accepted it already. sqlparser's
//! own statement grammar is not asked, as it lacks MySQL's partition clauses, table options and the
//! text that the server itself writes; a test compares with it where both read a statement.
//! A text that is damaged ([`SqlSession::is_damaged`]) is read as far as its tokens are whole. Of one whose
//! tokens are not, only the names of tables are taken; where one of those is damaged (the server cuts it off
//! there, or has `?` in its place), every name that the text may hold.
//! Of a statement that changes rows, which may be as large as a row event, no more than the beginning is cut
//! into tokens; so with others that are known by their first words.
//! Unknown: rows that triggers, views, stored functions and foreign keys change when they run under
//! statement format, [`Statement::Rows`] says so; version comments (`/*!99999 … */`) are read as if every
//! server obeyed them.

mod alter;
mod rows;
mod statement;
mod tokens;

use lakeward_core::TableId;

pub use tokens::Mentions;
pub(crate) use tokens::Tokens;

/// Under which settings a statement was written; the Query event carries them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlSession<'a> {
    /// The session's database, for names without one.
    pub default_database: &'a str,
    /// `ANSI_QUOTES` in `sql_mode`: `"a"` is a name.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES` in `sql_mode`.
    pub no_backslash_escapes: bool,
    /// The server stores names in lower case (`lower_case_table_names` = 1), so row events do too.
    pub lower_case_names: bool,
    /// U+FFFD stands for bytes that are no text in the client's character set.
    pub is_damaged: bool,
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Begins or ends a transaction, or part of one.
    Transaction(Transaction),
    /// Part of an XA transaction.
    Xa(Xa),
    /// Changes rows by a statement instead of row events. Triggers, views, stored functions and foreign
    /// keys can reach further than the names it mentions.
    Rows {
        /// Its first word.
        verb: String,
        /// The table that it writes to, where that is certain; else every name in its text.
        mentions: Mentions,
    },
    /// Changes tables.
    Tables {
        /// Its kind.
        kind: Kind,
        /// What it does to each table, in its order.
        touches: Vec<Touch>,
        /// `CREATE TABLE … SELECT` since 8.0.21: row events and the transaction's end follow.
        opens_transaction: bool,
        /// What it does to them is not known, as its text is damaged.
        is_damaged: bool,
    },
    /// Drops a database with all its tables.
    DropDatabase(String),
    /// Makes or alters a database: tables made later may have another collation.
    Database,
    /// Changes neither rows nor structure of a table; its kind, in words.
    Harmless(&'static str),
    /// Not understood.
    Unparsed {
        /// What was not understood.
        reason: String,
        /// Every name in its text.
        mentions: Mentions,
    },
}

/// A kind of statement that changes tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `CREATE TABLE`.
    CreateTable,
    /// `ALTER TABLE`: its text says the structure of the first table that it touches.
    AlterTable,
    /// `CREATE INDEX`: as ALTER TABLE.
    CreateIndex,
    /// `DROP INDEX`: as ALTER TABLE.
    DropIndex,
    /// `DROP TABLE`.
    DropTable,
    /// `TRUNCATE TABLE`.
    TruncateTable,
    /// `RENAME TABLE`.
    RenameTable,
    /// `REPAIR TABLE`.
    RepairTable,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::CreateTable => "CREATE TABLE",
            Kind::AlterTable => "ALTER TABLE",
            Kind::CreateIndex => "CREATE INDEX",
            Kind::DropIndex => "DROP INDEX",
            Kind::DropTable => "DROP TABLE",
            Kind::TruncateTable => "TRUNCATE TABLE",
            Kind::RenameTable => "RENAME TABLE",
            Kind::RepairTable => "REPAIR TABLE",
        })
    }
}

/// What a statement does to one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The table.
    pub table: TableId,
    /// What is done to it.
    pub effect: Effect,
}

/// What is done to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is made.
    Created {
        /// `IF NOT EXISTS`: where it was there before, nothing happens.
        if_not_exists: bool,
    },
    /// It is dropped (with `IF EXISTS`: if it was there).
    Dropped,
    /// All its rows are gone: TRUNCATE, DISCARD TABLESPACE.
    Truncated,
    /// It has another name now.
    RenamedTo(TableId),
    /// Another table has this name now.
    RenamedFrom(TableId),
    /// It is altered.
    Altered(Change),
}

/// What an ALTER TABLE changes, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Indexes, comments, defaults, options: row images stay as they were.
    Nothing,
    /// Adds a foreign key with a rule that may change rows from now on.
    ForeignKey,
    /// Columns or the primary key.
    Structure,
    /// Rows come or go without row events.
    Rows,
}

/// A step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// `SAVEPOINT`.
    Savepoint,
    /// `ROLLBACK TO`: what followed the savepoint is undone.
    RollbackToSavepoint,
    /// `RELEASE SAVEPOINT`.
    ReleaseSavepoint,
}

/// A step of an XA transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xa {
    /// Which.
    pub verb: XaVerb,
    /// Its id, as written.
    pub xid: String,
}

/// Which step of an XA transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XaVerb {
    /// `XA START`, `XA BEGIN`.
    Start,
    /// `XA END`.
    End,
    /// `XA PREPARE`.
    Prepare,
    /// `XA COMMIT`.
    Commit,
    /// `XA ROLLBACK`.
    Rollback,
}

/// Reads one statement.
pub fn read(sql: &str, session: &SqlSession<'_>) -> Statement {
    // Nearly every Query event of a row-based binlog is this one.
    if sql == "BEGIN" {
        return Statement::Transaction(Transaction::Begin);
    }
    statement::read(sql, session)
}

impl Statement {
    /// Whether it changes the table, or may: `false` is certain, but for what [`Statement::Rows`]
    /// says.
    pub fn may_touch(&self, table: &TableId) -> bool {
        match self {
            Statement::Transaction(_) | Statement::Xa(_) | Statement::Database | Statement::Harmless(_) => {
                false
            }
            Statement::Tables { touches, .. } => touches.iter().any(|touch| touch.table == *table),
            Statement::DropDatabase(database) => **database == *table.database,
            Statement::Rows { mentions, .. } | Statement::Unparsed { mentions, .. } => {
                mentions.may_name(table)
            }
        }
    }
}

#[cfg(test)]
mod tests;
