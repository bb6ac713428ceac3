//! What statements in the log do to the captured tables.
//!
//! Guarantee: a statement after which the rows we have are not the table's rows any more, or after
//! which its structure is another, is either followed or stops the table. The match is exhaustive
//! over what [`crate::ddl`] tells apart, and that never overlooks a table. Unknown: a statement in
//! statement format may reach, by a trigger, tables that its text does not name.

use lakeward_core::{Error, ErrorKind, TableFilter, TableId};

use crate::ddl::{Change, Effect as Done, Statement};

/// What to do about one captured table.
#[derive(Debug)]
pub(super) enum Effect {
    /// All its rows are gone.
    Void {
        /// The table.
        table: TableId,
        /// And the table itself.
        dropped: bool,
    },
    /// All tables of a database are gone.
    VoidDatabase(String),
    /// It is made, or was there.
    Made {
        /// The table.
        table: TableId,
        /// It was not there.
        surely: bool,
    },
    /// It cannot go on.
    Stop {
        /// The table.
        table: TableId,
        /// Why.
        error: Error,
        /// Also if no row of it was seen: the statement itself brings rows.
        even_unseen: bool,
    },
}

const ANEW: &str = "begin a new pipeline for the table, to read it anew";

/// Whether the text may mean tables that it does not name plainly; candidates are then needed.
pub(super) fn names_are_open(statement: &Statement) -> bool {
    match statement {
        Statement::Rows { .. } | Statement::Unparsed { .. } => true,
        Statement::Transaction(_)
        | Statement::Xa(_)
        | Statement::Tables { .. }
        | Statement::DropDatabase(_)
        | Statement::Harmless(_) => false,
    }
}

/// What a statement does to captured tables, in its order.
pub(super) fn effects(
    statement: &Statement,
    filter: &TableFilter,
    logs_cascades: bool,
    candidates: &[TableId],
) -> Vec<Effect> {
    let stop = |table: &TableId, kind, message: String, remedy: &str, even_unseen| {
        let error = Error::new(kind, message).of_table(table).remedy(remedy);
        Effect::Stop { table: table.clone(), error, even_unseen }
    };
    let meant = || candidates.iter().filter(|table| filter.captures(table) && statement.may_touch(table));
    match statement {
        Statement::Transaction(_) | Statement::Xa(_) | Statement::Harmless(_) => Vec::new(),
        Statement::DropDatabase(database) => vec![Effect::VoidDatabase(database.clone())],
        Statement::Rows { verb, .. } => meant()
            .map(|table| {
                let message =
                    format!("a session with binlog_format=STATEMENT may have changed its rows ({verb})");
                stop(
                    table,
                    ErrorKind::UnloggedChange,
                    message,
                    "SET GLOBAL binlog_format = ROW; then begin a new pipeline for the table",
                    true,
                )
            })
            .collect(),
        Statement::Unparsed { reason, .. } => meant()
            .map(|table| {
                let message = format!("a statement that names the table is not understood: {reason}");
                stop(table, ErrorKind::UnparsedDdl, message, ANEW, true)
            })
            .collect(),
        Statement::Tables { kind, touches, .. } => touches
            .iter()
            .filter(|touch| filter.captures(&touch.table))
            .filter_map(|touch| {
                let table = &touch.table;
                let changed = |how: &str, even_unseen| {
                    stop(table, ErrorKind::TableChanged, format!("{kind} {how}"), ANEW, even_unseen)
                };
                Some(match &touch.effect {
                    Done::Created { if_not_exists } => {
                        Effect::Made { table: table.clone(), surely: !if_not_exists }
                    }
                    Done::Dropped => Effect::Void { table: table.clone(), dropped: true },
                    Done::Truncated => Effect::Void { table: table.clone(), dropped: false },
                    Done::RenamedTo(name) => changed(&format!("gave the table the name {name}"), false),
                    Done::RenamedFrom(name) => changed(&format!("put {name} in its place"), true),
                    Done::Altered(Change::Nothing) => return None,
                    Done::Altered(Change::ForeignKey) if logs_cascades => return None,
                    Done::Altered(Change::ForeignKey) => stop(
                        table,
                        ErrorKind::UnloggedChange,
                        format!("{kind} added a foreign key, whose changes the server does not log"),
                        "drop the foreign key; then begin a new pipeline for the table",
                        // Also rows that come later can be changed unlogged.
                        true,
                    ),
                    Done::Altered(Change::Structure) => changed("changed its columns or its key", false),
                    Done::Altered(Change::Rows) => stop(
                        table,
                        ErrorKind::UnloggedChange,
                        format!("{kind} changed its rows without row events"),
                        ANEW,
                        true,
                    ),
                })
            })
            .collect(),
    }
}

/// The captured tables whose structure a statement may change or make.
pub(super) fn touched(statement: &Statement, filter: &TableFilter, candidates: &[TableId]) -> Vec<TableId> {
    match statement {
        Statement::Tables { touches, .. } => touches
            .iter()
            .filter(|touch| filter.captures(&touch.table) && may_change_structure(&touch.effect))
            .map(|touch| touch.table.clone())
            .collect(),
        Statement::Unparsed { .. } | Statement::DropDatabase(_) => {
            candidates.iter().filter(|table| statement.may_touch(table)).cloned().collect()
        }
        Statement::Transaction(_) | Statement::Xa(_) | Statement::Harmless(_) | Statement::Rows { .. } => {
            Vec::new()
        }
    }
}

fn may_change_structure(effect: &Done) -> bool {
    match effect {
        Done::Truncated | Done::Altered(Change::Nothing | Change::ForeignKey) => false,
        Done::Created { .. }
        | Done::Dropped
        | Done::RenamedTo(_)
        | Done::RenamedFrom(_)
        | Done::Altered(Change::Structure | Change::Rows) => true,
    }
}

/// Whether it makes the table, or finds it and does nothing.
pub(super) fn creates(statement: &Statement, table: &TableId) -> bool {
    match statement {
        Statement::Tables { touches, .. } => touches
            .iter()
            .filter(|touch| touch.table == *table)
            .all(|touch| matches!(touch.effect, Done::Created { .. } | Done::Altered(Change::ForeignKey))),
        _ => false,
    }
}

/// The beginning of a statement, for people. Texts may hold values, so no more than that.
pub(super) fn excerpt(sql: &str) -> String {
    const LENGTH: usize = 120;
    let line: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}
