//! Statements in the log, told as changes of tables and databases ([`lakeward_core::schema_change`]).
//!
//! Guarantee: each statement that concerns captured tables, or a database that may have some, is told once, between what
//! came before it in the log and the boundary that covers it. Why: what it does is gathered when it was carried out, and
//! sent when its transaction is whole, after all that is gathered; where the link breaks before that, nothing of it was
//! sent, and it is read again. A structure is told only if it is the version in force and nothing of it was guessed.
//!
//! A statement about several tables is told once for each: with a text that does this alone.

use lakeward_core::{ChangeKind, Feed, SchemaChange, TableChange, TableId, TableStructure};

use super::draft::Draft;
use super::{Decoder, Outcome, SMALL_BYTES};
use crate::binlog::query::Query;
use crate::ddl::{Effect, Kind, Statement, Tokens, Touch};
use crate::schema::{self, Definition};
use crate::session::backticked;

/// A change, before its structure is looked up.
struct Found {
    kind: ChangeKind,
    table: TableId,
    statement: String,
}

impl Decoder {
    /// Gathers what a statement does, once it was carried out on `draft`.
    pub(super) fn tell_changes(
        &mut self,
        query: &Query<'_>,
        statement: &Statement,
        candidates: &[TableId],
        draft: &Draft,
    ) -> Outcome {
        let text = query.sql.trim();
        match statement {
            Statement::Tables { touches, is_damaged: true, .. } => {
                if touches.iter().any(|touch| self.captures(&touch.table)) {
                    self.tell(query.database.to_owned(), Vec::new(), text, None);
                }
            }
            Statement::Tables { kind, touches, is_damaged: false, .. } => {
                let found = match kind {
                    Kind::CreateTable => self.created(touches, text, draft),
                    Kind::AlterTable | Kind::CreateIndex | Kind::DropIndex => self.altered(touches, text),
                    Kind::DropTable => self.dropped(touches, query),
                    Kind::RenameTable => self.renamed(touches, text),
                    // Neither changes a structure; a TRUNCATE is a change event.
                    Kind::TruncateTable | Kind::RepairTable => Vec::new(),
                };
                self.tell_tables(&found, draft)?;
            }
            Statement::Database => {
                let session = query.session(self.settings.lower_case_names);
                let named = schema::named_database(&mut Tokens::of(&query.sql, &session));
                let name = named.flatten().unwrap_or_else(|| query.database.to_owned());
                self.tell_database(&name, text);
            }
            Statement::DropDatabase(name) => self.tell_database(name, text),
            // Which tables it changes is not known; the session's database is what there is to tell.
            Statement::Unparsed { .. } => {
                let is_meant = |table: &TableId| self.captures(table) && statement.may_touch(table);
                if candidates.iter().any(is_meant) {
                    self.tell(query.database.to_owned(), Vec::new(), text, None);
                }
            }
            Statement::Rows { .. }
            | Statement::Transaction(_)
            | Statement::Xa(_)
            | Statement::Harmless(_) => {}
        }
        Ok(())
    }

    fn captures(&self, table: &TableId) -> bool {
        self.settings.filter.captures(table)
    }

    /// `IF NOT EXISTS` may have found it.
    fn created(&self, touches: &[Touch], text: &str, draft: &Draft) -> Vec<Found> {
        let is_made = |touch: &Touch| match touch.effect {
            Effect::Created { .. } => {
                draft.standing(&touch.table).is_some_and(|standing| standing.was.is_none())
            }
            _ => true,
        };
        let first = touches.first().filter(|touch| self.captures(&touch.table) && is_made(touch));
        let found = |touch: &Touch| Found {
            kind: ChangeKind::Create,
            table: touch.table.clone(),
            statement: text.to_owned(),
        };
        first.map(found).into_iter().collect()
    }

    /// Of the table that its text names first, by the name that it has then.
    fn altered(&self, touches: &[Touch], text: &str) -> Vec<Found> {
        let Some(first) = touches.first() else { return Vec::new() };
        let renamed = touches.iter().find_map(|touch| match &touch.effect {
            Effect::RenamedTo(to) if touch.table == first.table => Some(to),
            _ => None,
        });
        let table = renamed.unwrap_or(&first.table);
        let is_told = self.captures(&first.table) || self.captures(table);
        let found = || Found { kind: ChangeKind::Alter, table: table.clone(), statement: text.to_owned() };
        is_told.then(found).into_iter().collect()
    }

    fn dropped(&self, touches: &[Touch], query: &Query<'_>) -> Vec<Found> {
        let session = query.session(self.settings.lower_case_names);
        let mut tokens = Tokens::of(&query.sql, &session);
        tokens.skip();
        tokens.skip();
        let if_exists = if tokens.sees(&["IF", "EXISTS"]) { "IF EXISTS " } else { "" };
        let found = |touch: &Touch| Found {
            kind: ChangeKind::Drop,
            table: touch.table.clone(),
            statement: format!("DROP TABLE {if_exists}{}", quoted(&touch.table)),
        };
        touches.iter().filter(|touch| self.captures(&touch.table)).map(found).collect()
    }

    fn renamed(&self, touches: &[Touch], text: &str) -> Vec<Found> {
        let pair = |touch: &Touch| match &touch.effect {
            Effect::RenamedTo(to) => Some((touch.table.clone(), to.clone())),
            _ => None,
        };
        let pairs: Vec<(TableId, TableId)> = touches.iter().filter_map(pair).collect();
        let alone = pairs.len() == 1;
        let found = |(from, to): (TableId, TableId)| Found {
            kind: ChangeKind::Alter,
            statement: match alone {
                true => text.to_owned(),
                false => format!("RENAME TABLE {} TO {}", quoted(&from), quoted(&to)),
            },
            table: to,
        };
        let is_told = |(from, to): &(TableId, TableId)| self.captures(from) || self.captures(to);
        pairs.into_iter().filter(is_told).map(found).collect()
    }

    fn tell_tables(&mut self, found: &[Found], draft: &Draft) -> Outcome {
        for Found { kind, table, statement } in found {
            let structure = match kind {
                ChangeKind::Create | ChangeKind::Alter => self.structure_of(table, draft)?,
                ChangeKind::Drop => None,
            };
            let same_database = found.iter().filter(|other| other.table.database == table.database);
            let tables = same_database.map(|other| other.table.table.to_string()).collect();
            let change = TableChange { kind: *kind, table: table.clone(), structure };
            self.tell(table.database.to_string(), tables, statement, Some(change));
        }
        Ok(())
    }

    /// The structure of a table after the statement at hand, if it is known.
    fn structure_of(&self, table: &TableId, draft: &Draft) -> Outcome<Option<TableStructure>> {
        if !self.captures(table) {
            // It had a captured name before.
            let standing = draft.standing(table);
            return Ok(standing.and_then(|standing| schema::told_structure(standing.definition.as_ref()?)));
        }
        let Some(at) = self.tables.find(table) else { return Ok(None) };
        let table = self.tables.get(at)?;
        let in_force = table.schema.as_ref().filter(|_| table.is_active());
        Ok(in_force.and_then(|schema| schema::told_structure(&Definition::of(schema))))
    }

    fn tell_database(&mut self, name: &str, text: &str) {
        if self.settings.filter.may_capture_of(name) {
            self.tell(name.to_owned(), Vec::new(), text, None);
        }
    }

    fn tell(&mut self, database: String, tables: Vec<String>, text: &str, change: Option<TableChange>) {
        let (origin, statement) = (self.origin(), text.to_owned());
        self.changes.push(SchemaChange { origin, database, tables, statement, change });
    }

    /// Sends what the statements of a whole transaction do.
    pub(super) fn send_changes(&mut self) -> Outcome {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.flush()?;
        for change in std::mem::take(&mut self.changes) {
            let bytes = SMALL_BYTES + change.statement.len();
            self.out.send(Ok(Feed::SchemaChange(Box::new(change))), bytes)?;
        }
        Ok(())
    }
}

fn quoted(table: &TableId) -> String {
    format!("{}.{}", backticked(&table.database), backticked(&table.table))
}
