//! Which transactions of the source are in the open Kafka transaction, and how many events each has.
//!
//! Guarantee: each transaction of which an event was noted is told once, in the order of the source, with all its events,
//! and with the place of each among those of its table. Why:
//! - A transaction's events have the numbers from its first one on, without gaps ([`lakeward_core::Began`]), over all
//!   tables; those of a table come in their order. So as soon as a span (a transaction, or rows that come of none) has
//!   as many events as there are numbers up to the beginning of another one, it is whole.
//! - At a commit all are whole: a checkpoint lies between two transactions. For the same reason nothing of them is
//!   known, or needed, when a Kafka transaction begins.
//!
//! Memory: what was noted and is not whole yet; the source hands on what it gathered, table by table, so that is little.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::{ChangeBatch, Origin};

use crate::format::metadata::{Transaction, transaction_id};

/// See the module.
#[derive(Default)]
pub(super) struct SourceTransactions {
    /// By their first numbers.
    spans: BTreeMap<i64, Span>,
}

#[derive(Default)]
struct Span {
    events: u64,
    /// `None` for what comes from no transaction.
    transaction: Option<Transaction>,
}

impl SourceTransactions {
    /// Notes the events of a batch of `table`; how many events of the same transaction and table came before each of its
    /// runs.
    pub(super) fn note(&mut self, batch: &ChangeBatch, table: &Arc<str>) -> Vec<u64> {
        let mut earlier = Vec::with_capacity(batch.meta.origins.len());
        let mut first = 0;
        for run in &batch.meta.origins {
            let rows = run.rows as u64;
            let seq = batch.meta.seq.get(first).copied().unwrap_or_default();
            let span = self.spans.entry(run.origin.began.map_or(seq, |began| began.seq)).or_default();
            span.events += rows;
            let before = run.origin.began.map_or(0, |_| {
                let transaction = span.transaction.get_or_insert_with(|| begun(&run.origin));
                let events = transaction.events.entry(Arc::clone(table)).or_default();
                std::mem::replace(events, *events + rows)
            });
            earlier.push(before);
            first += run.rows;
        }
        earlier
    }

    /// Notes an event that comes from no transaction.
    pub(super) fn note_mark(&mut self, seq: i64) {
        self.spans.entry(seq).or_default().events += 1;
    }

    /// The first transaction that is whole and was not told yet. `all`: at a commit.
    pub(super) fn next_whole(&mut self, all: bool) -> Option<Transaction> {
        loop {
            let mut spans = self.spans.iter();
            let (first, span) = spans.next()?;
            let end = i64::try_from(span.events).ok().and_then(|events| first.checked_add(events));
            let whole = all || spans.next().is_some_and(|(next, _)| Some(*next) == end);
            if !whole {
                return None;
            }
            if let (_, Span { transaction: Some(transaction), .. }) = self.spans.pop_first()? {
                return Some(transaction);
            }
        }
    }
}

fn begun(origin: &Origin) -> Transaction {
    let id = match &origin.gtid {
        Some(gtid) => Arc::clone(gtid),
        None => transaction_id(origin).into(),
    };
    Transaction { id, commit_us: origin.commit_us, events: BTreeMap::new() }
}

#[cfg(test)]
mod tests;
