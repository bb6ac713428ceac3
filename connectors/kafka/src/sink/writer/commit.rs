//! The end of a Kafka transaction: what makes all that was sent stand, and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Checkpoint, Error, ErrorKind, Result, failpoint};
use rdkafka::producer::Producer;

use super::{Writer, json, tell_more};
use crate::checkpoints::{CHECKPOINT_KEY, CaptureCheckpoint, FORMAT, schema_key};
use crate::client::ANSWER;
use crate::topics;

/// How often topics are looked at for more topic partitions.
const LOOK_AT_TOPICS: Duration = Duration::from_secs(30);

impl Writer {
    /// Makes what was sent since the last commit stand, together with `checkpoint` and, where one is due, a heartbeat of
    /// that time (µs UTC).
    pub(in crate::sink) fn commit(&mut self, checkpoint: Checkpoint, heartbeat: Option<i64>) -> Result<()> {
        failpoint::hit("kafka.commit.send")?;
        self.transactions.begin()?;
        self.transactions.stands()?;
        self.tell_transactions(true)?;
        if let Some(at_us) = heartbeat
            && let Some(record) = self.beside.heartbeat(at_us)?
        {
            self.send_beside(&record)?;
        }
        let removed = self.remove_requests(&checkpoint)?;
        let own = Arc::clone(&self.own[0]);
        self.transactions.writes_to(&own.topic);
        for schema in std::mem::take(&mut self.fresh) {
            let key = schema_key(&schema.table, schema.version);
            self.send(&own, Some(key.as_bytes()), Some(&json(schema.as_ref())?), None)?;
        }
        let commit_us = checkpoint.commit_us;
        let captured = self.captured(checkpoint)?;
        self.send(&own, Some(CHECKPOINT_KEY.as_bytes()), Some(&json(&captured)?), None)?;
        failpoint::hit("kafka.commit.before")?;
        self.transactions.commit()?;
        failpoint::hit("kafka.commit.after")?;
        self.number = captured.number;
        self.transactions.number = captured.number;
        self.events = captured.events;
        self.removed = removed;
        self.told(commit_us);
        self.look_at_topics()
    }

    fn captured(&self, checkpoint: Checkpoint) -> Result<CaptureCheckpoint> {
        let mut events = self.events.clone();
        for lane in self.lanes.values() {
            let counts = lane.places.iter().zip(&lane.events).map(|(place, events)| (place.number, *events));
            if lane.events.iter().any(|events| *events > 0) {
                events.insert(lane.topic.to_string(), counts.collect());
            }
        }
        let number = self
            .number
            .checked_add(1)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "checkpoints are at their end"))?;
        Ok(CaptureCheckpoint {
            format: FORMAT,
            pipeline: self.options.pipeline.clone(),
            number,
            checkpoint,
            events,
            modes: Some(self.options.kafka.format.modes()),
        })
    }

    /// Removes the requests that `checkpoint` answers, with it.
    fn remove_requests(&mut self, checkpoint: &Checkpoint) -> Result<BTreeSet<String>> {
        let answered: BTreeSet<String> = checkpoint.requests.iter().map(|answer| answer.id.clone()).collect();
        let own = Arc::clone(&self.own[1]);
        let open: Vec<String> = answered.difference(&self.removed).cloned().collect();
        for id in open {
            self.send(&own, Some(id.as_bytes()), None, None)?;
        }
        Ok(answered)
    }

    fn told(&mut self, commit_us: Option<i64>) {
        let stats = &self.options.stats;
        stats.commits.add(1);
        if let Some(commit_us) = commit_us {
            stats.complete_to_us.set(commit_us);
        }
        stats.checkpoint.set(i64::try_from(self.number).unwrap_or(i64::MAX));
        let sent = std::mem::take(&mut self.sent);
        stats.bytes.add(sent.bytes);
        for (table, rows) in &sent.rows {
            stats.rows.add(table, *rows);
        }
    }

    /// Topics that have more topic partitions than before: what comes now goes to all of them. Between two
    /// transactions, so that a checkpoint names them before or with their first events.
    fn look_at_topics(&mut self) -> Result<()> {
        let now = self.options.clock.elapsed();
        if now.saturating_sub(self.looked) < LOOK_AT_TOPICS {
            return Ok(());
        }
        self.looked = now;
        // What cannot be asked now is asked later.
        let Ok(there) = topics::partitions(&self.reader) else { return Ok(()) };
        let producer = self.transactions.producer.client();
        for lane in self.lanes.values_mut() {
            let known = lane.places.len();
            let Some(count) = there.get(lane.topic.as_ref()).filter(|count| **count > known) else {
                continue;
            };
            // The producer refuses a record for a topic partition that it has not heard of itself.
            let heard = producer.fetch_metadata(Some(&lane.topic), ANSWER).ok();
            let heard = heard.and_then(|heard| Some(heard.topics().first()?.partitions().len()));
            let count = heard.unwrap_or(known).min(*count);
            if count > known {
                tell_more(&lane.topic, known, count);
                lane.grow(count);
            }
        }
        Ok(())
    }
}
