//! Questions for the keys that live in the sink, and TRUNCATE as deletes of them.
//!
//! Guarantee of the latter: after a TRUNCATE each key that lived in the lake has a `d`, and no mark is
//! written; numbers stay dense, and the same again after a broken link. Why: the boundary before the
//! statement is committed before the keys are read ([`lakeward_core::keys`]), and nothing is sent until
//! they are there: so they are those of exactly the events before the statement, whatever was read
//! before. Their order is that of the answers, which depend on the keys alone; no boundary lies before the
//! statement's end, so a crash begins all of it again. What came of a snapshot that was open is in the
//! lake and is deleted with the rest.
//! Bounded: one class of keys is held at a time, and its deletes flow on to the sink, which stages them.
//!
//! A `d` has the key's columns alone, so it deletes nothing once the table has another key: a table with
//! such deletes is read anew then, whole ([`super::structures`]), and the mark voids them.
//!
//! Where keys cannot be told (a table without one, events from before it had it, a structure that is not
//! sure here), the mark is written that a TRUNCATE is by default: it voids the same events.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, new_null_array};
use lakeward_core::{
    Error, ErrorKind, Feed, KeyClass, KeysAsked, LivingKeys, Op, Result, TableSchema, failpoint,
};

use super::{Decoder, Outcome, SMALL_BYTES};

/// How long the stream waits for keys before it looks again.
const LOOK: Duration = Duration::from_millis(20);

impl Decoder {
    /// Asks for a class of living keys. An earlier question is answered no more.
    pub(super) fn ask_for_keys(
        &mut self,
        schema: &Arc<TableSchema>,
        class: KeyClass,
        below: i64,
    ) -> Outcome<u64> {
        failpoint::hit("mysql.keys.ask")?;
        let id = self.next_question;
        self.next_question += 1;
        self.question = Some(id);
        let asked = KeysAsked { id, schema: schema.clone(), class, below };
        self.out.send(Ok(Feed::Keys(asked)), SMALL_BYTES)?;
        Ok(id)
    }

    /// The answer to the open question, if it has come.
    pub(super) fn keys_told(&mut self, asked: u64) -> Option<Result<LivingKeys>> {
        let told = self.answers.take(asked);
        self.question = self.question.filter(|open| told.is_none() || *open != asked);
        told
    }

    /// Deletes all keys of a table that live; `false` where its mark is to be written instead.
    pub(super) fn delete_living(&mut self, at: usize) -> Outcome<bool> {
        let Some(schema) = self.tables.get(at)?.schema.clone() else { return Ok(false) };
        let why_not = if schema.key.is_empty() {
            Some("it has no key")
        } else if schema.groundwork.unsure {
            Some("its key is not sure here")
        } else if self.next_seq != self.done_seq {
            Some("it stands inside a transaction")
        } else {
            None
        };
        if let Some(why) = why_not {
            tracing::warn!(table = %schema.table, "its TRUNCATE is a mark, not deletes: {why}");
            return Ok(false);
        }
        self.follow_replay()?;
        if self.replay.is_none() {
            // What is read again after a broken link was asked for after its boundary.
            self.boundary()?;
        }
        self.retire_snapshot(at)?;
        let (mut class, mut count) = (Some(KeyClass::default()), 0);
        while let Some(asked) = class {
            let question = self.ask_for_keys(&schema, asked, i64::MAX)?;
            let told = loop {
                match self.keys_told(question) {
                    Some(told) => break told,
                    None => self.out.pause(LOOK)?,
                }
            };
            let LivingKeys { keys, next } = match told {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(table = %schema.table, "its TRUNCATE is a mark, not deletes: {error}");
                    return Ok(false);
                }
            };
            failpoint::hit("mysql.keys.delete")?;
            for keys in keys {
                count += keys.num_rows();
                let rows = deleted(&schema, &keys)?;
                let origin = self.origin();
                self.tables.set_deleted_by_key(at, true)?;
                self.send_rows(at, Op::Delete, rows, origin)?;
            }
            class = next;
        }
        tracing::info!(table = %schema.table, rows = count, "its TRUNCATE became deletes");
        Ok(true)
    }
}

/// Rows that have these keys, and nulls in all other columns.
pub(super) fn deleted(schema: &TableSchema, keys: &RecordBatch) -> Result<RecordBatch> {
    let columns = schema.arrow.fields().iter().enumerate().map(|(place, field)| {
        match schema.key.iter().position(|at| *at == place).and_then(|at| keys.columns().get(at)) {
            Some(key) => key.clone(),
            None => new_null_array(field.data_type(), keys.num_rows()),
        }
    });
    RecordBatch::try_new(schema.arrow.clone(), columns.collect())
        .map_err(|error| Error::new(ErrorKind::Bug, "keys that do not fit their table").caused_by(error))
}
