//! Statements in the log, carried out on the tables' states.

use lakeward_core::{Feed, MarkReason, Result, TableId, TableMark};

use super::{Decoder, Outcome, SMALL_BYTES};
use crate::binlog::query::Query;
use crate::ddl::Statement;
use crate::source::statement::{self, Effect};
use crate::source::tables::Table;

impl Decoder {
    pub(super) fn statement(&mut self, query: &Query<'_>, statement: &Statement) -> Outcome {
        if self.is_passed_over() {
            return Ok(());
        }
        let candidates = match statement::names_are_open(statement) {
            true => self.candidates()?,
            false => Vec::new(),
        };
        let effects =
            statement::effects(statement, &self.settings.filter, self.settings.logs_cascades, &candidates);
        let mut outcome = "ignored";
        for effect in effects {
            outcome = match effect {
                Effect::Made { table, surely } => {
                    self.made(&table, surely)?;
                    "followed"
                }
                Effect::Void { table, dropped } => {
                    self.void(&table, dropped)?;
                    "followed"
                }
                Effect::VoidDatabase(database) => {
                    let of_it = |table: &&Table| *table.id.database == *database;
                    let tables: Vec<TableId> =
                        self.tables.iter().filter(of_it).map(|t| t.id.clone()).collect();
                    for table in tables {
                        self.void(&table, true)?;
                    }
                    "followed"
                }
                Effect::Stop { table, error, even_unseen } => {
                    // A table that was never seen has no rows that could be wrong, unless rows came
                    // with the statement.
                    let at = match self.tables.find(&table) {
                        None if even_unseen => Some(self.tables.find_or_add(&table)),
                        found => found,
                    };
                    let Some(at) = at.filter(|at| self.tables.get(*at).is_ok_and(|t| t.is_active())) else {
                        if let Some(truth) = &mut self.truth {
                            truth.forget(&table);
                        }
                        continue;
                    };
                    self.settle(at, Err(error.at("statement", statement::excerpt(&query.sql))))?;
                    "stopped"
                }
            };
        }
        self.settings.stats.ddl.add(&outcome, 1);
        Ok(())
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

    /// A table was made, `surely` or unless it was there. Where we know a structure under its name, the
    /// new one must be the same; a log that names columns tells so with the rows, else the catalog does.
    pub(super) fn made(&mut self, table: &TableId, surely: bool) -> Outcome {
        let position = self.position();
        let Some(truth) = &mut self.truth else { return Ok(()) };
        truth.forget(table);
        let Some(at) = self.tables.find(table) else { return Ok(()) };
        let table = self.tables.get_mut(at)?;
        let was_dropped = std::mem::replace(&mut table.dropped, false);
        let Some(known) = table.schema.clone().filter(|_| table.is_active()) else { return Ok(()) };
        if !surely && !was_dropped {
            return Ok(());
        }
        let outcome = truth.confirm(&known, &position);
        self.settle(at, outcome)
    }

    /// A table lost all its rows: TRUNCATE, or DROP (one made again under its name begins empty).
    pub(super) fn void(&mut self, table: &TableId, dropped: bool) -> Outcome {
        if let Some(truth) = self.truth.as_mut().filter(|_| dropped) {
            truth.forget(table);
        }
        let Some(at) = self.tables.find(table) else { return Ok(()) };
        let table = self.tables.get_mut(at)?;
        table.dropped |= dropped;
        let Some(schema) = table.schema.clone().filter(|_| table.is_active()) else { return Ok(()) };
        self.follow_replay()?;
        self.flush_table(at)?;
        let mark =
            TableMark { schema, seq: self.next_seq, origin: self.origin(), reason: MarkReason::Truncate };
        self.announce(at)?;
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
