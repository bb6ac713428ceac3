//! XA transactions that are prepared and not decided yet.
//!
//! Guarantee: a table whose rows an XA COMMIT makes visible is read after that COMMIT, or stopped.
//! Why: the log has the rows of an XA transaction where it is prepared, and its COMMIT, which names no table, later. A
//! SELECT sees them from the COMMIT on. So whatever is read in between lacks them, and the log does not tell them again:
//! that a transaction lies before a window proves nothing of it (the one exception to the argument of
//! `crate::snapshot::window`). A captured table that is active stops where the rows stand in the log; one that is
//! active at the COMMIT nevertheless was resumed since, or is captured only since. It is read anew from there, unless
//! nothing of it was read yet: then a plan that is out is void. (A table without a key is locked for its view, and the lock
//! waits for what is prepared and touches it.) Which tables a prepared transaction touches stands in the checkpoint. One
//! that is not known was prepared before the stream began, or has statements instead of rows: it may touch every table. Unknown: with `no_data`, whether it
//! touches a table that the stream did not meet yet.
//! (MySQL manual, "Restrictions on XA Transactions" and "XA Transaction States".)

use std::collections::BTreeSet;

use lakeward_core::{Error, ErrorKind, PreparedXa, TableId};

use super::{Decoder, Outcome};

/// Transactions and tables of each that are kept, at most; what is forgotten counts as not known.
const TRANSACTIONS: usize = 256;
const TABLES: usize = 64;

/// What is known of XA transactions, as of the last whole one.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// In the order in which they were prepared.
    waiting: Vec<PreparedXa>,
    /// Tables of the open one.
    touched: BTreeSet<TableId>,
    /// Not all tables of the open one are known: it has statements instead of rows.
    is_unclear: bool,
}

impl Prepared {
    pub(super) fn after(waiting: Vec<PreparedXa>) -> Prepared {
        Prepared { waiting, ..Prepared::default() }
    }

    pub(super) fn waiting(&self) -> Vec<PreparedXa> {
        self.waiting.clone()
    }

    /// The open transaction touches a table.
    pub(super) fn touch(&mut self, table: TableId) {
        // One more than are kept tells that there are too many.
        if self.touched.len() <= TABLES {
            self.touched.insert(table);
        }
    }

    /// The open transaction may touch any table.
    pub(super) fn touch_any(&mut self) {
        self.is_unclear = true;
    }

    /// The open transaction has ended, or is to be read again.
    pub(super) fn close(&mut self) {
        self.touched.clear();
        self.is_unclear = false;
    }

    /// The open transaction waits for its decision.
    fn prepare(&mut self, xid: &str) {
        let tables: Vec<TableId> = std::mem::take(&mut self.touched).into_iter().collect();
        self.waiting.retain(|known| known.xid != xid);
        if tables.len() <= TABLES && !self.is_unclear {
            self.waiting.push(PreparedXa { xid: xid.to_owned(), tables });
        }
        let beyond = self.waiting.len().saturating_sub(TRANSACTIONS);
        self.waiting.drain(..beyond);
    }

    /// The tables of a transaction that is decided; `None` if it is not known.
    fn decide(&mut self, xid: &str) -> Option<Vec<TableId>> {
        let at = self.waiting.iter().position(|known| known.xid == xid)?;
        Some(self.waiting.remove(at).tables)
    }
}

impl Decoder {
    /// The open transaction is prepared.
    pub(super) fn prepared(&mut self) -> Outcome {
        if let Some(xid) = &self.assembler.transaction().xa
            && !self.is_passed_over()
        {
            self.prepared.prepare(xid);
        }
        self.ended()
    }

    /// A prepared transaction is decided here.
    pub(in crate::source) fn decided(&mut self, xid: &str, committed: bool) -> Outcome {
        if !self.is_passed_over() {
            let touched = self.prepared.decide(xid);
            if committed {
                self.read_what_is_visible_now(xid, touched.as_deref())?;
            }
        }
        self.ended()
    }

    fn read_what_is_visible_now(&mut self, xid: &str, touched: Option<&[TableId]>) -> Outcome {
        for at in 0..self.tables.len() {
            let table = self.tables.get(at)?;
            let is_touched = touched.is_none_or(|touched| touched.contains(&table.id));
            if !is_touched || !table.is_active() {
                continue;
            }
            if self.is_all_to_come(at)? {
                // A plan that is out may end before the greatest key that is visible now.
                self.tables.get_mut(at)?.reading.passed_over = true;
                continue;
            }
            if !self.settings.snapshots {
                let message = "an XA transaction is committed that was prepared before the table was read, or may have been";
                let remedy = "keep XA transactions away from captured tables; then read the table anew";
                let error = Error::new(ErrorKind::XaTransaction, message).at("xid", xid).remedy(remedy);
                self.settle(at, Err(error))?;
                continue;
            }
            tracing::warn!(
                table = %table.id,
                xid,
                "an XA transaction is committed that was prepared before the table was read, or may have been: it is read anew"
            );
            self.reread(at)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(count: usize) -> BTreeSet<TableId> {
        (0..count).map(|number| TableId::new("d", format!("t{number}"))).collect()
    }

    fn prepare(prepared: &mut Prepared, xid: &str, count: usize) {
        tables(count).into_iter().for_each(|table| prepared.touch(table));
        prepared.prepare(xid);
    }

    #[test]
    fn a_decision_names_the_tables_that_were_touched_once() {
        let mut prepared = Prepared::default();
        prepare(&mut prepared, "a", 2);
        prepare(&mut prepared, "b", 0);
        let mut prepared = Prepared::after(prepared.waiting());
        assert_eq!(prepared.decide("a"), Some(tables(2).into_iter().collect()));
        assert_eq!(prepared.decide("a"), None, "an xid can be used again, and is not known before that");
        assert_eq!(prepared.decide("b"), Some(Vec::new()));
        prepared.touch(TableId::new("d", "t"));
        prepared.close();
        prepared.prepare("c");
        assert_eq!(prepared.decide("c"), Some(Vec::new()), "those of another transaction do not count");
    }

    #[test]
    fn what_is_forgotten_is_not_known() {
        let mut prepared = Prepared::default();
        prepare(&mut prepared, "wide", TABLES + 1);
        assert_eq!(prepared.decide("wide"), None);
        prepared.touch_any();
        prepare(&mut prepared, "statements", 1);
        assert_eq!(prepared.decide("statements"), None);
        prepared.close();
        (0..=TRANSACTIONS).for_each(|number| prepare(&mut prepared, &number.to_string(), 1));
        assert_eq!(prepared.waiting().len(), TRANSACTIONS);
        assert_eq!((prepared.decide("0"), prepared.decide("1").is_some()), (None, true));
    }
}
