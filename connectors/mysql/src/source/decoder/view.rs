//! Tables without a key, read whole in a consistent view as of one place `P` of the log.
//!
//! Guarantee: after the snapshot the lake has each row of the table as often as the table. Why: the view
//! is opened under the table's lock while the stream stands between two transactions, at or before `P`
//! ([`super::super::turns::Turns::hold`]), so the stream cannot pass `P` before it is known. A number is
//! reserved for a mark when the stream comes to `P`, before the first event after it. Changes at or
//! before `P` are in the view and have lower numbers: the mark voids them. The rows of the view and the
//! changes after `P` have higher ones. The mark is written when the last row is in; a snapshot that is
//! begun again (after a crash, or a change of structure) gets a new mark, which voids what was released
//! of it, and retires the old one. A reading that is paused lets go of its view, and is such a one when it is
//! continued: no transaction of ours stays open meanwhile.

use lakeward_core::{Op, SnapshotState};

use super::reading::{Found, Ticket};
use super::{Decoder, Outcome, is_at_or_after};
use crate::binlog::stream::Place;
use crate::snapshot::link::Covered;
use crate::snapshot::read::Piece;

/// What became of rows of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// They went out.
    Sent,
    /// The stream has not come to the view.
    NotYet,
    /// The view is void.
    Void,
}

impl Decoder {
    /// A view was opened; the stream still stands where it did.
    pub(crate) fn view_opened(&mut self, ticket: &Ticket, covered: &Covered) -> Outcome {
        let reading = &mut self.tables.get_mut(ticket.at)?.reading;
        let Covered::Log(end) = covered else { return Ok(()) };
        if reading.era == ticket.era {
            reading.put_off = 0;
            reading.view_at = Some(end.clone());
            self.views += 1;
            // The log may have nothing after it.
            self.reach_views(&self.done.clone())?;
        }
        Ok(())
    }

    /// Reserves the marks of views that the stream has come to: the next event begins at `next`. Only
    /// between two transactions.
    pub(super) fn reach_views(&mut self, next: &Place) -> Outcome {
        self.views = 0;
        for at in 0..self.tables.len() {
            let reading = &self.tables.get(at)?.reading;
            let Some(end) = &reading.view_at else { continue };
            if end.server_uuid != self.server_uuid {
                // The place of another server says nothing here.
                self.structure_touched(at)?;
                continue;
            }
            if !is_at_or_after(&self.done, end) && !is_at_or_after(next, end) {
                self.views += 1;
                continue;
            }
            let SnapshotState::Open(mut open) = self.tables.get(at)?.snapshot.clone() else { continue };
            self.flush_table(at)?;
            self.retired += i64::from(open.mark.is_some());
            open.mark = Some(self.reserve());
            self.done_seq = self.next_seq;
            if let Some(plan) = &mut open.plan {
                plan.rows = 0;
            }
            let reading = &mut self.tables.get_mut(at)?.reading;
            (reading.view_at, reading.view_reached) = (None, true);
            self.set_snapshot(at, SnapshotState::Open(open))?;
        }
        Ok(())
    }

    /// Releases rows of a view.
    pub(crate) fn take_view(
        &mut self,
        ticket: &Ticket,
        found: &Found,
        piece: &mut Option<Piece>,
    ) -> Outcome<Taken> {
        let at = ticket.at;
        let reading = &self.tables.get(at)?.reading;
        if reading.era != ticket.era {
            return Ok(Taken::Void);
        }
        if !reading.view_reached {
            return Ok(Taken::NotYet);
        }
        self.adopt(at, &found.schema)?;
        if self.tables.get(at)?.reading.era != ticket.era {
            return Ok(Taken::Void);
        }
        let Some(piece) = piece.take() else { return Ok(Taken::Sent) };
        let rows = piece.rows.num_rows() as u64;
        self.flush()?;
        self.send_between(at, Op::Read, piece.rows, found.seen.at_us)?;
        let SnapshotState::Open(mut open) = self.tables.get(at)?.snapshot.clone() else {
            return Ok(Taken::Void);
        };
        let spent = self.tables.get_mut(at)?.reading.spent(self.settings.clock.elapsed());
        if let Some(plan) = &mut open.plan {
            plan.rows += rows;
            plan.reading_ms += spent;
        }
        self.set_snapshot(at, SnapshotState::Open(open))?;
        self.boundary()?;
        Ok(Taken::Sent)
    }

    /// The whole view was released.
    pub(crate) fn view_ended(&mut self, ticket: &Ticket, found: &Found) -> Outcome<Taken> {
        let reading = &self.tables.get(ticket.at)?.reading;
        if reading.era != ticket.era {
            return Ok(Taken::Void);
        }
        if !reading.view_reached {
            return Ok(Taken::NotYet);
        }
        self.adopt(ticket.at, &found.schema)?;
        if self.tables.get(ticket.at)?.reading.era == ticket.era {
            self.flush()?;
            self.end_snapshot(ticket.at)?;
            self.boundary()?;
        }
        Ok(Taken::Sent)
    }
}
