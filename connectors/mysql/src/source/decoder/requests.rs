//! What operators ask of tables, and tables that stop or are given up while they are read.
//!
//! Guarantee: a request is carried out once. Why: its answer and what it changed are in the same
//! checkpoint, and an answer is dropped only when the request does not stand in the sink any more.
//!
//! A part of a table (a condition) is read with the others' windows, so what it releases is right. What
//! vanished from the table without a trace in the log is deleted then ([`super::vanished`]); a whole
//! snapshot voids such rows by its mark.
//!
//! No table is left with a hole that nothing tells of: a reading without which the lake lacks changes of the
//! table ([`SnapshotCause::Needed`]) is not given up on demand, and of one that is given up before the first
//! was at its end the checkpoint says that it is partial.

use lakeward_core::{
    Answer, Command, Error, ErrorKind, Position, Request, Result, Snapshot, SnapshotCause, SnapshotState,
    TableId,
};

use super::reading::Ticket;
use super::snapshots::{asked_of, given_up};
use super::{Decoder, Outcome};
use crate::source::OnError;

/// How often a reading is put off before its table stops, each time for twice as long: seven seconds.
const TRIES: u32 = 3;

impl Decoder {
    /// Carries out what was not answered yet; beside each request stands why the server would refuse
    /// it. Only between two transactions.
    pub(in crate::source) fn carry_out(&mut self, standing: &[(Request, Option<String>)]) -> Outcome {
        let before = self.requests.len();
        self.requests.retain(|answer| standing.iter().any(|(request, _)| request.id == answer.id));
        let mut changed = self.requests.len() != before;
        for (request, refused) in standing {
            if self.requests.iter().any(|answer| answer.id == request.id) {
                continue;
            }
            let refused = match refused {
                Some(why) => Some(why.clone()),
                None => self.carry(&request.command)?,
            };
            match &refused {
                None => tracing::info!(request = request.id, "{}: carried out", request.command),
                Some(why) => tracing::warn!(request = request.id, "{}: refused: {why}", request.command),
            }
            self.requests.push(Answer { id: request.id.clone(), refused });
            changed = true;
        }
        self.done_seq = self.next_seq;
        if changed { self.boundary() } else { Ok(()) }
    }

    /// Whether a request was carried out, or refused.
    pub(in crate::source) fn is_answered(&self, request: &Request) -> bool {
        self.requests.iter().any(|answer| answer.id == request.id)
    }

    /// Carries one out; gives the reason if that cannot be.
    fn carry(&mut self, command: &Command) -> Outcome<Option<String>> {
        let table = command.table();
        if !self.settings.filter.captures(table) {
            return Ok(Some(format!("{table} is not captured (tables.include)")));
        }
        match command {
            Command::Snapshot { condition, .. } => Ok(self.ask_for(table, condition.as_deref())?),
            Command::Resume { .. } => self.resume(table),
            Command::Pause { .. } => Ok(self.set_paused(table, true)?),
            Command::Continue { .. } => Ok(self.set_paused(table, false)?),
            Command::Cancel { .. } => Ok(self.cancel(table)?),
        }
    }

    fn ask_for(&mut self, table: &TableId, condition: Option<&str>) -> Result<Option<String>> {
        let at = self.tables.find_or_add(table);
        let known = self.tables.get(at)?;
        if !known.is_active() {
            return Ok(Some(format!("{table} is stopped: lakeward resume {table} reads it anew")));
        }
        if let SnapshotState::Open(_) = known.snapshot {
            return Ok(Some(format!("{table} is being read already")));
        }
        let cause = asked_of(&known.snapshot);
        let Some(condition) = condition else {
            self.open_anew(at, cause)?;
            return Ok(None);
        };
        if known.schema.as_ref().is_some_and(|schema| schema.key.is_empty()) {
            return Ok(Some(format!("{table} has no key, so only all of it can be read anew")));
        }
        let since = self.next_seq;
        let reading = &mut self.tables.get_mut(at)?.reading;
        reading.restart();
        reading.since = Some(since);
        self.settings.stats.snapshots.remove(table);
        let condition = Some(condition.to_owned());
        self.set_snapshot(at, SnapshotState::Open(Snapshot { condition, cause, ..Snapshot::default() }))?;
        Ok(None)
    }

    fn resume(&mut self, table: &TableId) -> Outcome<Option<String>> {
        let Some(at) = self.tables.find(table) else { return Ok(Some(format!("{table} was never seen"))) };
        if self.tables.get(at)?.is_active() {
            return Ok(Some(format!("{table} is not stopped")));
        }
        self.tables.activate(at)?;
        self.maps.retain(|_, map| map.table != Some(at));
        // What happened to its structure while it was stopped was not followed.
        self.doubt(at)?;
        self.settings.stats.tables_stopped.set(self.tables.stopped() as i64);
        self.open_anew(at, SnapshotCause::Needed)?;
        Ok(None)
    }

    pub(super) fn set_paused(&mut self, table: &TableId, paused: bool) -> Result<Option<String>> {
        let found = self.tables.find(table).map(|at| Ok((at, self.tables.get(at)?.snapshot.clone())));
        match found.transpose()? {
            Some((at, SnapshotState::Open(open))) if open.paused != paused => {
                if open.plan.as_ref().is_some_and(|plan| plan.key.is_empty()) {
                    // Its view is let go, and read from its beginning when that is continued.
                    self.structure_touched(at)?;
                }
                self.set_snapshot(at, SnapshotState::Open(Snapshot { paused, ..open }))?;
                Ok(None)
            }
            Some((_, SnapshotState::Open(_))) if paused => Ok(Some(format!("{table} is paused already"))),
            Some((_, SnapshotState::Open(_))) => Ok(Some(format!("{table} is not paused"))),
            _ => Ok(Some(format!("{table} is not being read"))),
        }
    }

    fn cancel(&mut self, table: &TableId) -> Result<Option<String>> {
        let Some(at) = self.tables.find(table) else { return Ok(Some(format!("{table} is not being read"))) };
        match &self.tables.get(at)?.snapshot {
            SnapshotState::Open(open) if open.cause == SnapshotCause::Needed => Ok(Some(format!(
                "the lake lacks changes of {table} until it is read; --pause lets that wait"
            ))),
            SnapshotState::Open(_) => self.give_up(at).map(|()| None),
            SnapshotState::NotAsked | SnapshotState::Partial | SnapshotState::Done => {
                Ok(Some(format!("{table} is not being read")))
            }
        }
    }

    /// Ends a snapshot that is not at its end, if one is open; its mark is never written.
    pub(super) fn give_up(&mut self, at: usize) -> Result<()> {
        let table = self.tables.get_mut(at)?;
        table.reading.restart();
        let SnapshotState::Open(open) = &table.snapshot else { return Ok(()) };
        self.retired += i64::from(open.mark.is_some());
        let (id, state) = (table.id.clone(), given_up(open.cause));
        self.tables.set_snapshot(at, state)?;
        self.settings.stats.snapshots.remove(&id);
        Ok(())
    }

    /// What stands in the way of a reading may pass, or be explained by what the stream brings next: only where it
    /// lasts the table stops.
    pub(crate) fn put_off_or_stop(&mut self, ticket: &Ticket, error: Error) -> Outcome {
        match self.tables.get(ticket.at)?.reading.put_off < TRIES {
            true => self.put_off(ticket, error.message()),
            false => self.stop_reading(ticket, error),
        }
    }

    /// A table's rows cannot be read: it stops, whatever the kind of error. A part of it is given up
    /// instead.
    pub(crate) fn stop_reading(&mut self, ticket: &Ticket, error: Error) -> Outcome {
        let at = ticket.at;
        let table = self.tables.get(at)?;
        if table.reading.era != ticket.era || !table.is_active() {
            return Ok(());
        }
        if ticket.condition.is_some() && error.kind() != ErrorKind::UnreadableValue {
            tracing::error!(table = %ticket.table, "the part of the table cannot be read: {error}");
            self.give_up(at)?;
            return self.boundary();
        }
        self.stop_table(at, error)?;
        self.boundary()
    }

    /// Stops a table whatever the kind of error.
    pub(in crate::source) fn stop_table(&mut self, at: usize, error: Error) -> Outcome {
        let table = self.tables.get(at)?;
        let (id, error) = (table.id.clone(), error.of_table(&table.id));
        match self.settings.on_error {
            OnError::StopTable => {}
            OnError::StopPipeline => return Err(error.into()),
        }
        let error = resumable(error, &id);
        tracing::error!(table = %id, kind = error.kind().name(), "table stopped: {error}");
        self.flush_table(at)?;
        let position = Position::Binlog(self.position());
        self.tables.stop(at, &error, position)?;
        self.structure_touched(at)?;
        self.settings.stats.tables_stopped.set(self.tables.stopped() as i64);
        Ok(())
    }
}

/// An error that stops a table, with what always mends that, where it says nothing better.
pub(in crate::source) fn resumable(error: Error, table: &TableId) -> Error {
    match error.remedy_text() {
        Some(_) => error,
        None => {
            error.remedy(format!("lakeward resume {table}: its rows are read anew, and its changes go on"))
        }
    }
}
