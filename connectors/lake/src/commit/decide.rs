//! The decision of a [`Writer`]: the put of one record, and what follows from it. `writer` and `shared`
//! prove it.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};
use lakeward_core::{Checkpoint, Error, ErrorKind, Result, TableId, failpoint};

use super::log::CONCURRENCY;
use super::places::merged;
use super::record::{Entry, FileEntry, Record, Repairs};
use super::shared::{self, LAG, overtaken};
use super::show::{show, show_tail};
use super::tables;
use super::writer::{Writer, bug};
use crate::columns::LakeVersion;
use crate::objects::Store;

/// What is to be decided.
pub(super) struct Change {
    pub(super) files: Vec<FileEntry>,
    /// How far the files bring the lake; `None` for a repair, which leaves it where it is.
    pub(super) part: Option<Checkpoint>,
    pub(super) repairs: Option<Repairs>,
}

impl<S: Store> Writer<S> {
    /// Decides `change` at the first number that is free, if it may stand there, and shows its files.
    pub(super) async fn decide(&mut self, change: Change) -> Result<()> {
        if self.unsettled {
            return Err(bug("a commit was asked for after one with an open outcome"));
        }
        self.own_tables(&change.files).await?;
        let (record, schemas) = loop {
            self.check_place(&change)?;
            let number = self.last.number + 1;
            let (entry, schemas) = self.entry(&change)?;
            let workers = self.last.workers.clone();
            let through = self.shown.through();
            let (record, body) =
                Record::new(&self.options.pipeline, number, self.epoch, through, workers, entry)?;
            self.unsettled = true;
            let Some(other) = self.log.put(&record, &body).await? else { break (record, schemas) };
            self.unsettled = false;
            self.pass(other)?;
            // Others that stand already are read, not found out by a put each.
            while let Some(other) = self.log.record(self.last.number + 1).await? {
                self.pass(other)?;
            }
        };
        self.decided(record, change, &schemas).await
    }

    /// The record stands: shows its files.
    async fn decided(&mut self, record: Record, change: Change, schemas: &[LakeVersion]) -> Result<()> {
        let number = record.number;
        self.last = record.bare();
        self.options.stats.commits.add(1);
        self.options.stats.record.set(i64::try_from(number).unwrap_or(i64::MAX));
        self.count(&change);
        failpoint::hit("lake.show.before")?;
        let lost = show(&*self.store, &self.options, schemas, change.files).await?;
        if !lost.is_empty() {
            return Err(vanished(number, lost.len()));
        }
        failpoint::hit("lake.show.after")?;
        if let Some(part) = &change.part {
            self.begun.moved(part);
            self.versions.are_decided();
        }
        self.shown.add(number);
        self.unsettled = false;
        self.log.hint_sometimes(number).await;
        Ok(())
    }

    /// Counts what was decided: here alone, as it may be shown more than once. The files of a repair hold rows
    /// that were counted with the lost ones.
    fn count(&self, change: &Change) {
        if change.repairs.is_some() {
            return;
        }
        let stats = &self.options.stats;
        for file in &change.files {
            stats.files.add(1);
            stats.file_bytes.add(file.bytes);
            stats.rows.add(&file.table, file.rows);
        }
    }

    /// What the next record says of `change`: it goes on from the last one.
    fn entry(&self, change: &Change) -> Result<(Entry, Vec<LakeVersion>)> {
        let from = self.last.checkpoint().cloned();
        let (to, schemas) = match &change.part {
            Some(part) => (merged(from.as_ref(), part), self.versions.to_decide()),
            None => (from.clone().ok_or_else(|| bug("a repair where nothing was committed"))?, Vec::new()),
        };
        let (files, repairs) = (change.files.clone(), change.repairs.clone());
        Ok((Entry::Commit { from, to, schemas: schemas.clone(), files, repairs }, schemas))
    }

    /// Refuses a change whose topic partitions the log has elsewhere than where they were read from.
    fn check_place(&self, change: &Change) -> Result<()> {
        let Some(part) = &change.part else { return Ok(()) };
        match self.begun.taken_over(part, self.last.checkpoint()) {
            None => Ok(()),
            Some(topic_partition) => {
                let message = "another worker committed changes of a topic partition that is read here, too";
                Err(overtaken(message, self.last.number).at("topic partition", topic_partition))
            }
        }
    }

    /// Another's record stands after the last one: goes on behind it, where that is still possible.
    fn pass(&mut self, other: Record) -> Result<()> {
        other.follows(Some(&self.last)).map_err(|error| {
            error
                .at("object", self.log.key(other.number))
                .remedy("find out who wrote it; lakeward puts no such record")
        })?;
        if let Some(revoked) = self.revoked_by(&other) {
            return Err(revoked);
        }
        self.shown.told(other.shown_through);
        if other.shows_nothing() {
            self.shown.add(other.number);
        }
        let number = other.number;
        if let Entry::Commit { schemas, .. } = &other.entry
            && let Some(version) = self.versions.decided_elsewhere(schemas)
        {
            let message = "another worker decided a table version, with other names in the lake";
            return Err(overtaken(message, number)
                .at("table", &version.table.table)
                .at("version", version.table.version));
        }
        if shared::repairs(&other).is_some_and(|repaired| self.unrepaired.contains_key(&repaired)) {
            return Err(overtaken("another worker has repaired the lost files already", number));
        }
        self.last = other.bare();
        Ok(())
    }

    /// Shows what others have decided, where nobody told for long that it is shown.
    pub(super) async fn show_others(&mut self) -> Result<()> {
        let through = self.shown.through();
        if self.last.number.saturating_sub(through) <= LAG {
            return Ok(());
        }
        let records = self.log.records(through + 1..self.last.number + 1).await?;
        let mut lost = show_tail(&*self.store, &self.options, &records).await?;
        lost.retain(|number, _| !self.shown.has(*number));
        if let Some((number, files)) = lost.pop_first() {
            return Err(vanished(number, files.len()));
        }
        records.iter().for_each(|record| self.shown.add(record.number));
        Ok(())
    }

    async fn own_tables(&mut self, files: &[FileEntry]) -> Result<()> {
        if self.options.shared_tables {
            return Ok(());
        }
        let tables: BTreeSet<&TableId> =
            files.iter().map(|file| &file.table).filter(|table| !self.owned.contains(table)).collect();
        // By a loop, as in `show`.
        let mut owning = Vec::with_capacity(tables.len());
        for table in &tables {
            owning.push(tables::own(&*self.store, &self.options.pipeline, table));
        }
        stream::iter(owning).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        self.owned.extend(tables.into_iter().cloned());
        Ok(())
    }
}

/// Passing: the next `open` hands the range out to be read again.
fn vanished(number: u64, files: usize) -> Error {
    let message = "uploads vanished between their decision and their showing; opening anew to repair";
    Error::new(ErrorKind::LakeUnreachable, message).at("record", number).at("files", files)
}
