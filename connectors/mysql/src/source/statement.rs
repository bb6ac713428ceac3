//! What statements in the log do to tables.
//!
//! Guarantee: a statement after which the rows we have are not a captured table's rows any more, or after
//! which its structure is another, is followed, or has the table's rows read anew, or stops the table.
//! The match is exhaustive over what [`crate::ddl`] tells apart, and that never overlooks a table.
//! Unknown: a statement in statement format may reach, by a trigger, a view, a stored function or a foreign
//! key, tables that its text does not write to.

use lakeward_core::{Error, ErrorKind, TableFilter, TableId};

use crate::catalog::Cascade;
use crate::ddl::{Change, Effect as Done, Kind, Statement};

/// Why rows are not what the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// The kind of error where they cannot be read anew.
    pub(super) kind: ErrorKind,
    pub(super) text: String,
}

impl Reason {
    pub(super) fn new(kind: ErrorKind, text: impl Into<String>) -> Reason {
        Reason { kind, text: text.into() }
    }
}

/// A step of a statement; all tables are among them, captured or not.
#[derive(Debug)]
pub(super) enum Effect {
    /// It is made, as the text says.
    Created {
        /// The table.
        table: TableId,
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
    },
    /// Its structure is now what the text makes of it.
    Altered(TableId),
    /// Its rows are others than the log says.
    Rewritten(TableId, Reason),
    /// Its structure and its rows may be others.
    Unclear(TableId, Reason),
    /// All its rows are gone.
    Truncated(TableId),
    /// It is gone.
    Dropped(TableId),
    /// All tables of a database are gone.
    DroppedDatabase(String),
    /// It has another name.
    Renamed {
        /// Its name before.
        from: TableId,
        /// Its name now.
        to: TableId,
    },
    /// A captured table cannot go on.
    Stop {
        /// The table.
        table: TableId,
        /// Why.
        error: Error,
    },
}

/// A foreign key changes a table's rows without a trace in the log.
pub(super) fn unlogged_cascade(cascade: &Cascade) -> Error {
    let message = format!(
        "the foreign key {} changes its rows when {} changes, and the server does not log that",
        cascade.constraint, cascade.parent
    );
    Error::new(ErrorKind::UnloggedChange, message)
        .of_table(&cascade.child)
        .remedy("change the foreign key to RESTRICT, or leave the table out (tables.exclude)")
}

/// Whether the text may mean tables that it does not name plainly, or one that is not there; candidates are
/// then needed.
pub(super) fn names_are_open(statement: &Statement, filter: &TableFilter) -> bool {
    match statement {
        // It may be a temporary one.
        Statement::Rows { mentions, .. } => mentions.only().is_none_or(|table| filter.captures(table)),
        Statement::Unparsed { .. } => true,
        Statement::Transaction(_)
        | Statement::Xa(_)
        | Statement::Tables { .. }
        | Statement::DropDatabase(_)
        | Statement::Database
        | Statement::Harmless(_) => false,
    }
}

/// What a statement does, in its order.
pub(super) fn effects(
    statement: &Statement,
    filter: &TableFilter,
    logs_cascades: bool,
    candidates: &[TableId],
) -> Vec<Effect> {
    let meant = || candidates.iter().filter(|table| filter.captures(table) && statement.may_touch(table));
    match statement {
        Statement::Transaction(_) | Statement::Xa(_) | Statement::Database | Statement::Harmless(_) => {
            Vec::new()
        }
        Statement::DropDatabase(database) => vec![Effect::DroppedDatabase(database.clone())],
        Statement::Rows { verb, .. } => meant()
            .map(|table| {
                let message =
                    format!("a session with binlog_format=STATEMENT may have changed its rows ({verb})");
                let remedy = format!(
                    "let the session that did it, and all others, keep binlog_format = ROW (no SET SESSION \
                     binlog_format); then lakeward resume {table}"
                );
                let error = Error::new(ErrorKind::UnloggedChange, message).of_table(table).remedy(remedy);
                Effect::Stop { table: table.clone(), error }
            })
            .collect(),
        Statement::Unparsed { reason, .. } => candidates
            .iter()
            .filter(|table| statement.may_touch(table))
            .map(|table| {
                let text = format!("a statement that names the table is not understood: {reason}");
                Effect::Unclear(table.clone(), Reason::new(ErrorKind::UnparsedDdl, text))
            })
            .collect(),
        Statement::Tables { kind, touches, is_damaged: true, opens_transaction: _ } => touches
            .iter()
            .map(|touch| {
                let text = format!("{kind} is not text in its client's character set, so not understood");
                Effect::Unclear(touch.table.clone(), Reason::new(ErrorKind::UnparsedDdl, text))
            })
            .collect(),
        Statement::Tables { kind, touches, is_damaged: false, opens_transaction: _ } => {
            let carried = match kind {
                Kind::AlterTable | Kind::CreateIndex | Kind::DropIndex => touches.first(),
                Kind::CreateTable
                | Kind::DropTable
                | Kind::TruncateTable
                | Kind::RenameTable
                | Kind::RepairTable => None,
            };
            let carried = carried.map(|touch| Effect::Altered(touch.table.clone()));
            let of_touches = touches.iter().filter_map(|touch| {
                let unlogged_cascade = !logs_cascades && filter.captures(&touch.table);
                of_touch(*kind, &touch.table, &touch.effect, unlogged_cascade)
            });
            carried.into_iter().chain(of_touches).collect()
        }
    }
}

fn of_touch(kind: Kind, table: &TableId, done: &Done, unlogged_cascade: bool) -> Option<Effect> {
    let table = table.clone();
    Some(match done {
        Done::Created { if_not_exists } => Effect::Created { table, if_not_exists: *if_not_exists },
        Done::Dropped => Effect::Dropped(table),
        Done::Truncated => Effect::Truncated(table),
        Done::RenamedTo(to) => Effect::Renamed { from: table, to: to.clone() },
        // The other side of the same.
        Done::RenamedFrom(_) => return None,
        Done::Altered(Change::Nothing | Change::Structure) => return None,
        Done::Altered(Change::ForeignKey) if unlogged_cascade => {
            let message = format!("{kind} added a foreign key, whose changes the server does not log");
            let remedy = format!("drop the foreign key; then lakeward resume {table}");
            let error = Error::new(ErrorKind::UnloggedChange, message).of_table(&table).remedy(remedy);
            Effect::Stop { table, error }
        }
        Done::Altered(Change::ForeignKey) => return None,
        Done::Altered(Change::Rows) => {
            let reason =
                Reason::new(ErrorKind::UnloggedChange, format!("{kind} changed its rows without row events"));
            match kind {
                // With a query in its text.
                Kind::CreateTable => Effect::Unclear(table, reason),
                _ => Effect::Rewritten(table, reason),
            }
        }
    })
}

/// What a statement does to a table's structure, for who looks for a table without any such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// It makes the table, or finds it and does nothing.
    Creates,
    /// It may change indexes or the default collation, and no column.
    Mildly,
    /// It may change columns, the key, or which table has the name.
    Fully,
}

/// The captured tables whose structure a statement may change or make.
pub(super) fn touched(
    statement: &Statement,
    filter: &TableFilter,
    candidates: &[TableId],
) -> Vec<(TableId, Touched)> {
    match statement {
        // It may change rows.
        Statement::Tables { kind: Kind::RepairTable, is_damaged: false, .. } => Vec::new(),
        Statement::Tables { touches, .. } => {
            let mut found: Vec<(TableId, Touched)> = Vec::new();
            for touch in touches.iter().filter(|touch| filter.captures(&touch.table)) {
                let Some(how) = touched_how(&touch.effect) else { continue };
                match found.iter_mut().find(|(table, _)| *table == touch.table) {
                    Some((_, known)) if *known == how => {}
                    Some((_, known)) => *known = Touched::Fully,
                    None => found.push((touch.table.clone(), how)),
                }
            }
            found
        }
        Statement::Unparsed { .. } | Statement::DropDatabase(_) => candidates
            .iter()
            .filter(|table| statement.may_touch(table))
            .map(|table| (table.clone(), Touched::Fully))
            .collect(),
        Statement::Transaction(_)
        | Statement::Xa(_)
        | Statement::Database
        | Statement::Harmless(_)
        | Statement::Rows { .. } => Vec::new(),
    }
}

fn touched_how(effect: &Done) -> Option<Touched> {
    match effect {
        Done::Truncated | Done::Altered(Change::ForeignKey) => None,
        Done::Created { .. } => Some(Touched::Creates),
        Done::Altered(Change::Nothing) => Some(Touched::Mildly),
        Done::Dropped
        | Done::RenamedTo(_)
        | Done::RenamedFrom(_)
        | Done::Altered(Change::Structure | Change::Rows) => Some(Touched::Fully),
    }
}

/// The beginning of a statement, for people. Texts may hold values, so no more than that.
pub(super) fn excerpt(sql: &str) -> String {
    const LENGTH: usize = 120;
    // Of a long text, no more is looked at.
    let beginning = sql.get(..sql.floor_char_boundary(LENGTH * 64)).unwrap_or(sql);
    let line: String = beginning.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}
