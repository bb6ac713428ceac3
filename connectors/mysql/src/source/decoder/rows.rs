//! Table maps and rows: from the log's bytes to the builders of the tables.

use std::sync::Arc;

use lakeward_core::{Error, ErrorKind, Origin, Result, TableSchema};

use super::{BATCH_BYTES, BATCH_ROWS, Decoder, MAPS, Outcome};
use crate::binlog::event::Event;
use crate::binlog::table_map::{self, TableMap, same_columns};
use crate::rows::{BatchBuilder, RowLayout, RowsEvent};

/// A table map seen.
pub(super) struct Mapped {
    pub(super) bytes: Vec<u8>,
    /// The captured table; `None` for all others.
    pub(super) table: Option<usize>,
    /// The last transaction that repeated it.
    pub(super) transaction: u64,
}

impl Decoder {
    pub(super) fn table_map(&mut self, event: &Event<'_>) -> Outcome {
        if self.is_passed_over() {
            return Ok(());
        }
        let id = table_map::table_id(event)?;
        let transaction = self.transaction;
        if let Some(known) = self.maps.get_mut(&id).filter(|known| known.bytes == event.body) {
            known.transaction = transaction;
            return Ok(());
        }
        let name = table_map::table_name(event).map_err(|error| self.located(error))?;
        let table = match self.settings.filter.captures(&name) {
            true => Some(self.tables.find_or_add(&name)),
            false => None,
        };
        if let Some(table) =
            table.filter(|table| self.tables.get(*table).is_ok_and(|table| table.is_active()))
        {
            self.flush_table(table)?;
            let bound = self.bind(table, event);
            self.settle(table, bound)?;
        }
        if self.maps.len() >= MAPS {
            self.maps.retain(|_, map| map.transaction == transaction);
        }
        self.maps.insert(id, Mapped { bytes: event.body.to_vec(), table, transaction });
        Ok(())
    }

    /// Gets a table ready for the rows of a new table map.
    pub(super) fn bind(&mut self, at: usize, event: &Event<'_>) -> Result<()> {
        let map = TableMap::parse(event)?;
        if !map.unknown_fields.is_empty() {
            self.settings.stats.passed_over.add(&"TableMapField", map.unknown_fields.len() as u64);
        }
        let schema = match self.tables.get(at)?.schema.clone() {
            Some(schema) => {
                known_structure(&map, &schema)?;
                schema
            }
            None => self.first_version(at, &map)?,
        };
        let layout = RowLayout::new(&map.columns, schema)?;
        let builder =
            BatchBuilder::new(Arc::new(layout), self.settings.before_images, self.settings.stats.clone());
        self.tables.get_mut(at)?.builder = Some(builder);
        Ok(())
    }

    /// A table is seen for the first time: its version 1.
    pub(super) fn first_version(&mut self, at: usize, map: &TableMap) -> Result<Arc<TableSchema>> {
        let position = self.position();
        let in_log = map.structure()?;
        let from_catalog = match &mut self.truth {
            Some(truth) => truth.structure(&map.table, in_log.as_ref(), &position)?,
            None => None,
        };
        let structure = from_catalog.or(in_log).ok_or_else(|| {
            Error::new(ErrorKind::TableChanged, "the log does not name the table's columns")
                .of_table(&map.table)
                .remedy("SET PERSIST binlog_row_metadata = FULL, and begin after that")
        })?;
        let schema =
            TableSchema::new(map.table.clone(), 1, structure.columns, structure.key, self.settings.types);
        map.check(&schema)?;
        let schema = Arc::new(schema);
        self.tables.set_schema(at, schema.clone())?;
        Ok(schema)
    }

    pub(super) fn rows(&mut self, event: &Event<'_>) -> Outcome {
        if self.is_passed_over() {
            return Ok(());
        }
        let rows = RowsEvent::parse(event.header.code, event.post_header, event.body)
            .map_err(|error| self.located(error))?;
        /// Names no table: it only ends a statement.
        const DUMMY: u64 = 0xff_ffff;
        let mapped = self.maps.get(&rows.table_id).filter(|map| map.transaction == self.transaction);
        let Some(mapped) = mapped else {
            if rows.table_id == DUMMY && rows.rows.is_empty() {
                return Ok(());
            }
            let error = Error::new(ErrorKind::CorruptEvent, "row changes of a table that no table map names");
            return Err(self.located(error).into());
        };
        let Some(at) = mapped.table else { return Ok(()) };
        self.follow_replay()?;
        let table = self.tables.get_mut(at)?;
        if !table.is_active() {
            self.settings.stats.events_of_stopped.add(&table.id, 1);
            return Ok(());
        }
        if self.assembler.transaction().xa {
            let error = Error::new(ErrorKind::XaTransaction, "an XA transaction changes the table")
                .remedy("keep XA transactions away from captured tables; then read the table anew");
            return self.settle(at, Err(error));
        }
        let origin = self.origin();
        let table = self.tables.get_mut(at)?;
        table.touched = self.transaction;
        let Some(builder) = table.builder.as_mut() else {
            return Err(Error::new(ErrorKind::Bug, "rows before their layout").of_table(&table.id).into());
        };
        let (rows_before, bytes_before) = (builder.rows(), builder.bytes());
        let pushed = builder.push(&rows, &origin, &mut self.next_seq);
        let (gathered, bytes) = (builder.rows(), builder.bytes());
        self.rows_since_boundary += gathered - rows_before;
        self.gathered_bytes = (self.gathered_bytes + bytes).saturating_sub(bytes_before);
        if gathered >= BATCH_ROWS || bytes >= BATCH_BYTES {
            self.full = Some(at);
        } else if self.gathered_bytes >= self.settings.gather_bytes {
            self.flush()?;
        }
        self.settle(at, pushed)
    }

    pub(super) fn origin(&mut self) -> Origin {
        let transaction = self.assembler.transaction();
        let origin = self.origin.get_or_insert_with(|| Origin {
            commit_us: transaction.commit_us,
            gtid: transaction.gtid.as_ref().map(|gtid| gtid.to_string().into()),
            file: self.place.file.clone(),
            offset: 0,
        });
        origin.offset = self.event_offset;
        origin.clone()
    }

    /// Rows of the open transaction that were taken are void: their tables cannot go on.
    pub(super) fn rolled_back(&mut self) -> Outcome {
        for at in 0..self.tables.len() {
            let table = self.tables.get(at)?;
            if table.touched == self.transaction && table.is_active() {
                let error = Error::new(
                    ErrorKind::UnloggedChange,
                    "the log takes back rows of a transaction that mixes storage engines",
                )
                .remedy("keep tables that are not InnoDB out of such transactions; then read the table anew");
                self.settle(at, Err(error))?;
            }
        }
        Ok(())
    }
}

/// Whether the rows of a map can be read under the version in force.
fn known_structure(map: &TableMap, schema: &TableSchema) -> Result<()> {
    let remedy = "this version does not follow structure changes: begin a new pipeline for the table";
    map.check(schema).map_err(|error| error.remedy(remedy))?;
    match map.structure()? {
        Some(now) if !same_columns(&now.columns, &schema.columns) || now.key != schema.key => {
            Err(Error::new(
                ErrorKind::TableChanged,
                format!("the names, types or key of the columns are not those of version {}", schema.version),
            )
            .remedy(remedy))
        }
        _ => Ok(()),
    }
}
