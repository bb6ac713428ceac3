//! Table maps and rows: from the log's bytes to the builders of the tables.

use std::sync::Arc;

use lakeward_core::error::Policy;
use lakeward_core::{Began, Error, ErrorKind, Origin, Result};

use super::{BATCH_BYTES, BATCH_ROWS, Decoder, MAPS, Outcome};
use crate::binlog::event::Event;
use crate::binlog::table_map::{self, TableMap};
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
        if self.assembler.transaction().xa.is_some() {
            self.prepared.touch(table_map::table_name(event).map_err(|error| self.located(error))?);
        }
        if let Some(known) = self.maps.get_mut(&id).filter(|known| known.bytes == event.body) {
            known.transaction = transaction;
            return Ok(());
        }
        let name = table_map::table_name(event).map_err(|error| self.located(error))?;
        let table = match self.settings.filter.captures(&name) {
            true => Some(self.meet(&name)?),
            false => None,
        };
        if let Some(table) =
            table.filter(|table| self.tables.get(*table).is_ok_and(|table| table.is_active()))
        {
            self.tables.set_there(table)?;
            self.flush_table(table)?;
            match self.bind(table, event)? {
                Err(error) if error.policy() == Policy::StopTable && self.is_all_to_come(table)? => {
                    tracing::info!(table = %name, "its rows are passed over until all are read: {error}");
                    self.tables.get_mut(table)?.builder = None;
                }
                bound => self.settle(table, bound)?,
            }
        }
        if self.maps.len() >= MAPS {
            self.maps.retain(|_, map| map.transaction == transaction);
        }
        self.maps.insert(id, Mapped { bytes: event.body.to_vec(), table, transaction });
        Ok(())
    }

    /// Gets a table ready for the rows of a new table map; the inner error stops it.
    fn bind(&mut self, at: usize, event: &Event<'_>) -> Outcome<Result<()>> {
        let map = match TableMap::parse(event) {
            Ok(map) => map,
            Err(error) => return Ok(Err(error)),
        };
        if !map.unknown_fields.is_empty() {
            self.settings.stats.passed_over.add(&"TableMapField", map.unknown_fields.len() as u64);
        }
        let schema = match self.version_of_map(at, &map)? {
            Ok(schema) => schema,
            Err(error) => return Ok(Err(error)),
        };
        let layout = match RowLayout::new(&map.columns, schema) {
            Ok(layout) => layout,
            Err(error) => return Ok(Err(error)),
        };
        let builder =
            BatchBuilder::new(Arc::new(layout), self.settings.before_images, self.settings.stats.clone());
        self.tables.get_mut(at)?.builder = Some(builder);
        Ok(Ok(()))
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
        if self.assembler.transaction().xa.is_some() {
            let error = Error::new(ErrorKind::XaTransaction, "an XA transaction changes the table")
                .remedy("keep XA transactions away from captured tables; then read the table anew");
            return self.settle(at, Err(error));
        }
        if self.tables.get(at)?.builder.is_none() && self.is_all_to_come(at)? {
            self.tables.get_mut(at)?.reading.passed_over = true;
            return Ok(());
        }
        let origin = self.origin_of_rows();
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

    /// The origin of rows that the transaction at hand changed, of which the first one has the next number.
    fn origin_of_rows(&mut self) -> Origin {
        let mut origin = self.origin();
        if origin.began.is_none() {
            let offset = self.opened_at.unwrap_or(self.began_at);
            origin.began = Some(Began { seq: self.next_seq, offset });
            self.origin = Some(origin.clone());
        }
        origin
    }

    /// The origin of the event at hand.
    pub(super) fn origin(&mut self) -> Origin {
        let transaction = self.assembler.transaction();
        let origin = self.origin.get_or_insert_with(|| Origin {
            commit_us: transaction.commit_us,
            gtid: transaction.gtid.as_ref().map(|gtid| gtid.to_string().into()),
            file: self.place.file.clone(),
            offset: 0,
            server_id: transaction.server_id,
            thread: transaction.thread,
            began: None,
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
