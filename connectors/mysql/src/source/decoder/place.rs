//! Where the stream stands, and what follows from it: boundaries, the end of a bounded run, the place
//! from which it is read again.

use lakeward_core::{BinlogPosition, Checkpoint, Error, ErrorKind, Feed, Position, failpoint};
use uuid::Uuid;

use super::replay::lost_transaction;
use super::{BOUNDARY_ROWS, BOUNDARY_TIME, BOUNDARY_TIME_LIVE, Decoder, Halt, LIVE_US, Outcome, SMALL_BYTES};
use crate::binlog::event::Rotate;
use crate::binlog::stream::Place;

impl Decoder {
    /// The end of the last whole transaction.
    pub(in crate::source) fn position(&self) -> BinlogPosition {
        BinlogPosition {
            server_uuid: self.server_uuid,
            file: self.done.file.to_string(),
            offset: self.done.offset,
            gtid_set: self.gtids.clone(),
        }
    }

    /// Where the next stream is to begin, and whether the GTIDs before that are still to be gathered.
    pub(in crate::source) fn resume_from(&self) -> (BinlogPosition, bool) {
        (self.position(), self.pass_until.is_some() && self.gtids.is_some())
    }

    /// Whether a stream that is opened anew begins just here, and passes over nothing.
    pub(in crate::source) fn may_begin_here(&self) -> bool {
        self.is_between() && (self.gtids.is_some() || u32::try_from(self.done.offset).is_ok())
    }

    /// A stream begins at [`Decoder::position`]: at `offset` of its file, with what lies between
    /// passed over.
    pub(in crate::source) fn stream_begins(&mut self, server_uuid: Uuid, offset: u64) {
        if server_uuid != self.server_uuid {
            // Another server's files; the first event says where we stand in them.
            self.server_uuid = server_uuid;
            self.done = Place { file: "".into(), offset };
            // What was seen on the other one may never come in this one's log.
            self.tables.iter_mut().for_each(|table| table.reading.void());
        }
        self.place = Place { file: self.done.file.clone(), offset };
        self.stream_begins = true;
        if offset < self.done.offset && self.gtids.is_none() {
            // A link that broke in what is passed over left `done` there.
            self.pass_until = self.pass_until.max(Some(self.done.offset));
        }
    }

    pub(super) fn rotate(&mut self, to: Rotate, artificial: bool) {
        let begins = std::mem::replace(&mut self.stream_begins, false);
        let is_another = *self.place.file != *to.file;
        if is_another {
            self.maps.clear();
            self.pass_until = None;
        }
        self.place = Place { file: to.file.into(), offset: to.offset };
        // Where the server begins to send may lie before what we have. Later it names another file
        // only when it has sent all of the one before; a server that crashed wrote no rotation there.
        if !artificial || (!begins && is_another) || self.done.file.is_empty() {
            self.done = self.place.clone();
        }
    }

    /// Whether the place where we begin is reached.
    pub(super) fn pass_to_start(&mut self) {
        if self.pass_until.is_some_and(|until| self.place.offset >= until) {
            self.pass_until = None;
            self.done = self.place.clone();
        }
    }

    pub(super) fn heartbeat(&mut self) -> Outcome {
        // A boundary would cut the transaction that is still to be read again: rows of it were sent.
        if !self.assembler.is_between() || self.pass_until.is_some() || self.replay.is_some() {
            return Ok(());
        }
        // What lies between is no transaction: the beginning of a file, its end.
        if self.place.file == self.done.file {
            self.done.offset = self.done.offset.max(self.place.offset);
        }
        self.settings.stats.caught_up_us.set(self.settings.clock.unix_micros());
        self.boundary()?;
        if self.has_reached_until() { Err(Halt::Done) } else { Ok(()) }
    }

    /// The open transaction is whole.
    pub(super) fn ended(&mut self) -> Outcome {
        let passed = self.is_passed_over();
        let transaction = self.assembler.transaction();
        if let (Some(gtids), Some(gtid)) = (&mut self.gtids, &transaction.gtid) {
            gtids.insert(gtid);
        }
        self.done = self.place.clone();
        self.transaction += 1;
        self.opened_at = None;
        self.origin = None;
        self.prepared.close();
        if passed {
            if let Some(until) = self.pass_until.filter(|until| self.place.offset > *until) {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "start offset {until} lies inside a transaction, which ends at {}",
                        self.place.offset
                    ),
                )
                .remedy("start at the end of a transaction, as SHOW BINLOG EVENTS shows it")
                .into());
            }
            self.pass_to_start();
            return Ok(());
        }
        self.commit_us = Some(transaction.commit_us);
        self.settings.stats.transactions.add(1);
        self.settings.stats.last_commit_us.set(transaction.commit_us);
        self.done_seq = self.next_seq;
        self.stopped_now.clear();
        if self.replay.as_ref().is_some_and(|replay| self.next_seq >= replay.sent_below) {
            self.flush()?;
            self.replay = None;
        } else if let Some(replay) = &self.replay {
            return Err(lost_transaction(&replay.name).into());
        }
        self.send_changes()?;
        let reached = self.has_reached_until();
        if reached || self.is_boundary_due() {
            self.boundary()?;
        }
        if reached { Err(Halt::Done) } else { Ok(()) }
    }

    /// Whether the end of the last transaction is worth a boundary.
    fn is_boundary_due(&self) -> bool {
        let age = self.commit_us.map(|commit| self.settings.clock.unix_micros().saturating_sub(commit));
        let wait = match age {
            Some(age) if age < LIVE_US => BOUNDARY_TIME_LIVE,
            Some(_) | None => BOUNDARY_TIME,
        };
        self.rows_since_boundary >= BOUNDARY_ROWS
            || self.settings.clock.elapsed().saturating_sub(self.last_boundary) >= wait
    }

    /// Whether the transaction at hand lies before the place where we begin.
    pub(super) fn is_passed_over(&self) -> bool {
        self.pass_until.is_some_and(|until| self.began_at < until)
    }

    /// Whether a bounded run is at its end.
    pub(in crate::source) fn has_reached_until(&self) -> bool {
        if self.pass_until.is_some() {
            return false;
        }
        if (self.until_waits || self.settings.ends_when_read) && !self.snapshots_settled() {
            return false;
        }
        let Some(until) = &self.until else { return self.settings.ends_when_read };
        if until.server_uuid == self.server_uuid && is_at_or_after(&self.done, until) {
            return true;
        }
        match (&until.gtid_set, &self.gtids) {
            (Some(until), Some(gtids)) if !until.is_empty() => until.is_subset_of(gtids),
            _ => false,
        }
    }

    /// Sends everything gathered, then a boundary.
    pub(in crate::source) fn boundary(&mut self) -> Outcome {
        failpoint::hit("mysql.boundary")?;
        self.flush()?;
        self.release()?;
        self.last_boundary = self.settings.clock.elapsed();
        self.rows_since_boundary = 0;
        self.settings.stats.headroom_seconds.set(self.headroom());
        let checkpoint = Checkpoint {
            position: Position::Binlog(self.position()),
            next_seq: self.next_seq,
            commit_us: self.commit_us,
            retired: self.retired,
            requests: self.requests.clone(),
            prepared: self.prepared.waiting(),
            tables: self.tables.states(),
        };
        Ok(self.out.send(Ok(Feed::Boundary(checkpoint)), SMALL_BYTES)?)
    }

    /// Seconds until the server may purge what was not read yet; -1 where that is not known.
    pub(super) fn headroom(&self) -> i64 {
        let kept = self.settings.kept_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let behind =
            self.commit_us.map(|commit| (self.settings.clock.unix_micros() - commit).max(0) / 1_000_000);
        match (kept, behind) {
            (Some(kept), Some(behind)) => (kept - behind).max(0),
            _ => -1,
        }
    }
}

/// Whether a place is at or after another in the order of one server's files; `false` where their
/// names do not tell (`binlog.999999` comes before `binlog.1000000`).
pub(in crate::source) fn is_at_or_after(place: &Place, other: &BinlogPosition) -> bool {
    let split = |file: &str| {
        file.rsplit_once('.').and_then(|(base, n)| Some((base.to_owned(), n.parse::<u64>().ok()?)))
    };
    match (split(&place.file), split(&other.file)) {
        (Some((base, n)), Some((other_base, m))) => {
            base == other_base && (n, place.offset) >= (m, other.offset)
        }
        _ => false,
    }
}
