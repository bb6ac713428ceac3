//! The tables of a run: their version in force, their state, the rows gathered for them.
//!
//! Guarantee: a table that is stopped, or was left out, stays so in this run and, through the checkpoint, in
//! all later ones, until it is brought back and read anew; so it is known in all of them that a table was dropped,
//! until something comes under its name; a version in force is replaced by the next one alone
//! ([`Tables::set_schema`]), and with another key what was planned of its snapshot is void.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lakeward_core::{
    ColumnType, Error, ErrorKind, Position, Result, Resume, SnapshotState, TableId, TableSchema, TableState,
    TableStatus,
};

use super::decoder::reading::Reading;
use crate::rows::BatchBuilder;

/// One captured table.
pub(super) struct Table {
    pub(super) id: TableId,
    /// The version in force, once it is known.
    pub(super) schema: Option<Arc<TableSchema>>,
    pub(super) status: TableStatus,
    /// Whether the rows that were there before the stream are in the lake.
    pub(super) snapshot: SnapshotState,
    /// [`TableState::deleted_by_key`].
    pub(super) deleted_by_key: bool,
    /// Whether this run has yielded the version.
    pub(super) announced: bool,
    /// Gathers rows under the last table map.
    pub(super) builder: Option<BatchBuilder>,
    /// [`TableState::dropped`].
    pub(super) dropped: bool,
    /// How far its snapshot is in this run.
    pub(super) reading: Reading,
    /// The last transaction with rows of the table, by our own count.
    pub(super) touched: u64,
}

impl Table {
    pub(super) fn is_active(&self) -> bool {
        match self.status {
            TableStatus::Active => true,
            TableStatus::LeftOut | TableStatus::Stopped { .. } => false,
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        match self.status {
            TableStatus::Stopped { .. } => true,
            TableStatus::Active | TableStatus::LeftOut => false,
        }
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.status == TableStatus::LeftOut
    }
}

/// All captured tables seen so far.
#[derive(Default)]
pub(super) struct Tables {
    list: Vec<Table>,
    index: HashMap<TableId, usize>,
    /// As the checkpoints hold them, until something changes.
    states: Option<Arc<BTreeMap<TableId, TableState>>>,
}

impl Tables {
    /// The tables of a checkpoint.
    pub(super) fn resume(resume: &Resume) -> Result<Tables> {
        let mut tables = Tables::default();
        let Some(checkpoint) = &resume.checkpoint else { return Ok(tables) };
        for (id, state) in checkpoint.tables.iter() {
            let schema = resume
                .schemas
                .iter()
                .find(|schema| schema.table == *id && schema.version == state.schema_version);
            if schema.is_none() && state.schema_version != 0 {
                return Err(Error::new(
                    ErrorKind::LakeCorrupt,
                    format!("the lake lacks version {} of {id}'s structure", state.schema_version),
                ));
            }
            let at = tables.find_or_add(id);
            if let Some(table) = tables.list.get_mut(at) {
                table.schema = schema.cloned();
                table.status = state.status.clone();
                table.snapshot = state.snapshot.clone();
                table.deleted_by_key = state.deleted_by_key;
                table.dropped = state.dropped;
            }
        }
        Ok(tables)
    }

    /// The place of a captured table, new or known.
    pub(super) fn find_or_add(&mut self, id: &TableId) -> usize {
        if let Some(at) = self.index.get(id) {
            return *at;
        }
        let at = self.list.len();
        self.list.push(Table {
            id: id.clone(),
            schema: None,
            status: TableStatus::Active,
            snapshot: SnapshotState::NotAsked,
            deleted_by_key: false,
            announced: false,
            builder: None,
            dropped: false,
            reading: Reading::default(),
            touched: 0,
        });
        self.index.insert(id.clone(), at);
        self.states = None;
        at
    }

    /// The place of a table seen before.
    pub(super) fn find(&self, id: &TableId) -> Option<usize> {
        self.index.get(id).copied()
    }

    pub(super) fn get(&self, at: usize) -> Result<&Table> {
        self.list.get(at).ok_or_else(no_such_table)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Result<&mut Table> {
        self.list.get_mut(at).ok_or_else(no_such_table)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.list.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Sets a table's version.
    pub(super) fn set_schema(&mut self, at: usize, schema: Arc<TableSchema>) -> Result<()> {
        let table = self.get_mut(at)?;
        if let Some(before) = &table.schema
            && key_columns(before) != key_columns(&schema)
            && let SnapshotState::Open(open) = &mut table.snapshot
        {
            // Bounds of another key, or in another order: it is read from its beginning.
            open.plan = None;
            table.reading.restart();
        }
        table.schema = Some(schema);
        table.announced = false;
        self.states = None;
        Ok(())
    }

    /// Sets how far a table's snapshot is.
    pub(super) fn set_snapshot(&mut self, at: usize, snapshot: SnapshotState) -> Result<()> {
        self.get_mut(at)?.snapshot = snapshot;
        self.states = None;
        Ok(())
    }

    /// Whether deletes by key stand in the lake that no mark voids.
    pub(super) fn set_deleted_by_key(&mut self, at: usize, deleted: bool) -> Result<()> {
        self.get_mut(at)?.deleted_by_key = deleted;
        self.states = None;
        Ok(())
    }

    /// Something stands under its name, whatever the log said: its rows are there.
    pub(super) fn set_there(&mut self, at: usize) -> Result<()> {
        match self.get(at)?.dropped {
            true => self.set_dropped(at, false),
            false => Ok(()),
        }
    }

    /// Whether nothing stands under its name any more.
    pub(super) fn set_dropped(&mut self, at: usize, dropped: bool) -> Result<()> {
        self.get_mut(at)?.dropped = dropped;
        self.states = None;
        Ok(())
    }

    /// Stops a table. Rows gathered for it before stay: they have their numbers.
    pub(super) fn stop(&mut self, at: usize, error: &Error, position: Position) -> Result<()> {
        let places: String =
            error.context().iter().map(|(what, place)| format!(" ({what} {place})")).collect();
        self.get_mut(at)?.status = TableStatus::Stopped {
            kind: error.kind().name().to_owned(),
            message: format!("{}{places}", error.message()),
            remedy: error.remedy_text().map(str::to_owned),
            at: position,
        };
        self.states = None;
        Ok(())
    }

    /// A table is not captured any more.
    pub(super) fn leave_out(&mut self, at: usize) -> Result<()> {
        let table = self.get_mut(at)?;
        table.status = TableStatus::LeftOut;
        table.builder = None;
        self.states = None;
        Ok(())
    }

    /// A table is captured again, or a stop is taken back, as the transaction that brought it is read again.
    pub(super) fn activate(&mut self, at: usize) -> Result<()> {
        let table = self.get_mut(at)?;
        table.status = TableStatus::Active;
        table.builder = None;
        self.states = None;
        Ok(())
    }

    /// How many are stopped.
    pub(super) fn stopped(&self) -> usize {
        self.list.iter().filter(|table| table.is_stopped()).count()
    }

    /// Their states, for a checkpoint.
    pub(super) fn states(&mut self) -> Arc<BTreeMap<TableId, TableState>> {
        let list = &self.list;
        let states = self.states.get_or_insert_with(|| {
            let state = |table: &Table| TableState {
                schema_version: table.schema.as_ref().map_or(0, |schema| schema.version),
                status: table.status.clone(),
                snapshot: table.snapshot.clone(),
                deleted_by_key: table.deleted_by_key,
                dropped: table.dropped,
            };
            Arc::new(list.iter().map(|table| (table.id.clone(), state(table))).collect())
        });
        states.clone()
    }
}

/// The columns of the key, with their types.
fn key_columns(schema: &TableSchema) -> Vec<Option<(&String, &ColumnType)>> {
    schema.key.iter().map(|at| schema.columns.get(*at).map(|column| (&column.name, &column.ty))).collect()
}

fn no_such_table() -> Error {
    Error::new(ErrorKind::Bug, "a table that was never added")
}
