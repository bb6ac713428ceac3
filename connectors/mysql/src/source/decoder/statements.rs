//! Statements in the log, carried out on the tables' states.

use lakeward_core::{Feed, MarkReason, Result, TableId, TableMark};

use super::{Decoder, Outcome, SMALL_BYTES};
use crate::binlog::query::Query;
use crate::ddl::{Kind, Statement};
use crate::schema;
use crate::source::OnTruncate;
use crate::source::statement::{self, Effect};

impl Decoder {
    /// A statement writes to this table, or to any: what an XA transaction does is kept until it is decided.
    fn touches(&mut self, only: Option<&TableId>) {
        match only {
            _ if self.assembler.transaction().xa.is_none() => {}
            Some(table) => self.prepared.touch(table.clone()),
            None => self.prepared.touch_any(),
        }
    }

    pub(super) fn statement(&mut self, query: &Query<'_>, statement: &Statement) -> Outcome {
        if self.is_passed_over() {
            return Ok(());
        }
        match statement {
            Statement::Database => self.note_database(query),
            Statement::Rows { mentions, .. } => self.touches(mentions.only()),
            Statement::Unparsed { .. } => self.touches(None),
            Statement::Transaction(_)
            | Statement::Xa(_)
            | Statement::Tables { .. }
            | Statement::DropDatabase(_)
            | Statement::Harmless(_) => {}
        }
        let mut candidates = match statement::names_are_open(statement, &self.settings.filter) {
            true => self.candidates()?,
            false => Vec::new(),
        };
        if let Statement::Unparsed { .. } = statement {
            // What is known of a ghost table may be void as well, and a damaged name that of a database.
            candidates.extend(self.beside.tables().cloned());
            if query.is_damaged {
                self.beside.forget_databases();
            }
        }
        let effects =
            statement::effects(statement, &self.settings.filter, self.settings.logs_cascades, &candidates);
        let effects = self.less_repairs(statement, effects)?;
        self.forget(&effects);
        let draft = self.draft(query, &effects)?;
        let settled = self.settle_draft(query, &draft)?;
        let mut outcome = if settled.is_empty() { "ignored" } else { "followed" };
        if self.apply(query, settled)? {
            outcome = "stopped";
        }
        if self.settings.schema_changes {
            self.tell_changes(query, statement, &candidates, &draft)?;
        }
        self.remember(draft);
        for effect in effects {
            match effect {
                Effect::Stop { table, error } => {
                    let at = self.tables.find_or_add(&table);
                    if self.tables.get(at)?.is_active() {
                        self.settle(at, Err(error.at("statement", statement::excerpt(&query.sql))))?;
                        outcome = "stopped";
                    }
                }
                Effect::DroppedDatabase(database) => self.beside.drop_database(&database),
                _ => {}
            }
        }
        self.settings.stats.ddl.add(&outcome, 1);
        Ok(())
    }

    /// Without those of a REPAIR on captured tables whose engine repairs nothing.
    fn less_repairs(&mut self, statement: &Statement, effects: Vec<Effect>) -> Result<Vec<Effect>> {
        let Statement::Tables { kind: Kind::RepairTable, .. } = statement else { return Ok(effects) };
        let position = self.position_after();
        let mut left = Vec::new();
        for effect in effects {
            let is_none = match (&effect, &mut self.truth) {
                (Effect::Rewritten(table, _), Some(truth)) if self.settings.filter.captures(table) => {
                    truth.repairs_nothing(table, &position)?
                }
                _ => false,
            };
            if !is_none {
                left.push(effect);
            }
        }
        Ok(left)
    }

    /// A database is made, or altered.
    fn note_database(&mut self, query: &Query<'_>) {
        if query.is_damaged {
            // Which one may not be known.
            self.beside.forget_databases();
        }
        let context = self.context(query, &TableId::new(query.database, ""));
        if let Some((name, collation)) = schema::database_collation(&query.sql, &context) {
            let name = name.unwrap_or_else(|| query.database.to_owned());
            self.beside.set_database(&name, collation);
        }
    }

    /// The catalog is read anew for tables that a statement touches.
    fn forget(&mut self, effects: &[Effect]) {
        let Some(truth) = &mut self.truth else { return };
        for effect in effects {
            match effect {
                Effect::Created { table, .. }
                | Effect::Altered(table)
                | Effect::Unclear(table, _)
                | Effect::Dropped(table)
                | Effect::Stop { table, .. } => truth.forget(table),
                Effect::Renamed { from, to } => {
                    truth.forget(from);
                    truth.forget(to);
                }
                Effect::DroppedDatabase(database) => {
                    let tables = self.tables.iter().map(|table| &table.id);
                    tables
                        .filter(|table| *table.database == **database)
                        .for_each(|table| truth.forget(table));
                }
                Effect::Rewritten(..) | Effect::Truncated(_) => {}
            }
        }
    }

    /// Captured tables that a statement may mean whose names are not known: seen, named in the
    /// filter, or on the server.
    pub(super) fn candidates(&self) -> Result<Vec<TableId>> {
        let mut tables: Vec<TableId> = self.tables.iter().map(|table| table.id.clone()).collect();
        tables.extend(self.settings.filter.named());
        if let Some(truth) = &self.truth {
            tables.extend(truth.captured()?);
        }
        tables.sort();
        tables.dedup();
        Ok(tables)
    }

    /// A table lost all its rows: TRUNCATE, or DROP (one made again under its name begins empty).
    pub(super) fn void(&mut self, at: usize, dropped: bool) -> Outcome {
        let is_deletes = match self.settings.truncate {
            OnTruncate::Deletes => !dropped,
            OnTruncate::Mark => false,
        };
        if is_deletes && self.delete_living(at)? {
            return Ok(());
        }
        self.retire_snapshot(at)?;
        if dropped {
            self.tables.set_dropped(at, true)?;
        }
        let Some(schema) = self.tables.get(at)?.schema.clone() else { return Ok(()) };
        self.follow_replay()?;
        self.flush_table(at)?;
        let mark =
            TableMark { schema, seq: self.next_seq, origin: self.origin(), reason: MarkReason::Truncate };
        self.announce(at)?;
        self.tables.set_deleted_by_key(at, false)?;
        self.next_seq += 1;
        self.rows_since_boundary += 1;
        let sent = self.replay.as_ref().is_some_and(|replay| mark.seq < replay.sent_below);
        if !sent {
            self.settings.stats.rows.add(&(mark.table().clone(), "t"), 1);
            self.out.send(Ok(Feed::Mark(mark)), SMALL_BYTES)?;
        }
        Ok(())
    }
}
