//! Structures that the catalog proves, where the log does not name columns.
//!
//! Guarantee: a table that stands when a run begins is followed from there on, whether its rows come before
//! the statements that alter it or after them. Why: all captured tables whose structure is not known are proved
//! at the beginning ([`crate::source::truth`]); their versions are in the next checkpoint, so that later runs know
//! them; from then on statements carry them. Not proved: a table that was altered between the beginning and the
//! reading of the catalog; and none where the server has no GTIDs, as nothing tells there that the catalog shows
//! what the log already has. Their structure is asked for when their rows come.
//!
//! The beginning is moved only before anything was told of it, and while no window of a snapshot is open.

use lakeward_core::error::Policy;
use lakeward_core::{BinlogPosition, Error, ErrorKind, Result, TableId, TableSchema};

use super::structures::{same_key, succeed};
use super::{Decoder, Outcome};
use crate::binlog::stream::Place;
use crate::schema::Definition;
use crate::source::tables::Tables;
use crate::source::truth::Proved;

impl Decoder {
    /// Proves the tables whose structure is not known when a run begins. `may_move`: it may as well begin at
    /// a later place.
    pub(in crate::source) fn prove_tables(&mut self, may_move: bool) -> Outcome {
        if self.pass_until.is_some() || self.gtids.is_none() {
            return Ok(());
        }
        let position = self.position();
        let Some(truth) = self.truth.as_mut().filter(|truth| !truth.full_metadata()) else { return Ok(()) };
        let captured = truth.captured()?;
        if !captured.iter().any(|table| lacks_structure(&self.tables, table)) {
            return Ok(());
        }
        let position = truth.begin(position, may_move)?;
        for (database, collation) in truth.databases() {
            self.beside.set_database(&database, Some(collation));
        }
        for table in truth.standing() {
            if !lacks_structure(&self.tables, &table) {
                continue;
            }
            let at = self.meet(&table)?;
            let proved = match self.tables.get(at)?.schema.clone() {
                Some(schema) => self.proved_again(&schema, &position),
                None => self.proved(&table, &position).map(|proved| proved.definition),
            };
            match proved.and_then(|definition| self.suited(&table, definition)) {
                Ok(definition) => self.follow_version(at, definition)?,
                Err(error) if error.policy() == Policy::StopTable => {
                    tracing::info!(table = %table, "its structure is asked for again with its rows: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.place = Place { file: position.file.into(), offset: position.offset };
        self.done = self.place.clone();
        (self.server_uuid, self.gtids) = (position.server_uuid, position.gtid_set);
        Ok(())
    }

    /// The structure of a table right after `position`, by the catalog.
    pub(super) fn proved(&mut self, table: &TableId, position: &BinlogPosition) -> Result<Proved> {
        match &mut self.truth {
            Some(truth) => truth.proved(table, position),
            None => Err(Error::new(ErrorKind::TableChanged, "there is no catalog to ask").of_table(table)),
        }
    }

    /// What comes after a version that is in doubt.
    pub(super) fn proved_again(
        &mut self,
        schema: &TableSchema,
        position: &BinlogPosition,
    ) -> Result<Definition> {
        let Proved { mut definition, fills } = self.proved(&schema.table, position)?;
        let previous = Definition::of(schema);
        succeed(&mut definition, Some(&previous), true, &fills);
        same_key(&previous, definition)
    }
}

/// Whether a table is followed whose structure is not known, or in doubt.
fn lacks_structure(tables: &Tables, table: &TableId) -> bool {
    let known = tables.find(table).and_then(|at| tables.get(at).ok());
    known.is_none_or(|known| {
        known.is_active() && known.schema.as_ref().is_none_or(|schema| schema.groundwork.unsure)
    })
}
