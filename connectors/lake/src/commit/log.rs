//! The commit log as objects: `_lakeward/<pipeline>/log/<20 digits>.json`.
//!
//! Records are put only at the number after the last one seen, and only if none is there; so the log
//! is dense, a record once put never changes, and "there is a record at n" is true for every n up to
//! the end and false above. The end is found by doubling steps from the hint and halving back: a wrong
//! or missing hint costs requests, never correctness. A last listing proves that nothing stands above
//! a gap. Every record carries the whole checkpoint, so each one is a consolidated one, and opening
//! reads only the records above the last `shown_through`.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use lakeward_core::{Error, ErrorKind, Result, failpoint};

use super::record::{Entry, Record};
use crate::layout::{RECORDS, escape};
use crate::objects::{Put, Store};

/// Requests under way at once where many small objects are read or shown.
pub(super) const CONCURRENCY: usize = 8;
/// The hint is written with every record of a number that this divides.
const HINT_EVERY: u64 = 100;

/// A pipeline's commit log.
#[derive(Debug)]
pub struct Log<S> {
    store: Arc<S>,
    pipeline: String,
    folder: String,
}

impl<S: Store> Log<S> {
    /// The log of `pipeline` in `store`; nothing is read or written yet.
    pub fn new(store: Arc<S>, pipeline: &str) -> Self {
        let folder = format!("{RECORDS}/{}/log/", escape(pipeline));
        Log { store, pipeline: pipeline.to_owned(), folder }
    }

    /// The key of record `number`.
    pub fn key(&self, number: u64) -> String {
        format!("{}{number:020}.json", self.folder)
    }

    fn number(&self, key: &str) -> Option<u64> {
        let digits = key.strip_prefix(&self.folder)?.strip_suffix(".json")?;
        (digits.len() == 20).then(|| digits.parse().ok())?
    }

    /// Record `number`, checked; `None` if there is none.
    ///
    /// # Errors
    /// `LakeCorrupt` if it is damaged or foreign, and the store's.
    pub async fn record(&self, number: u64) -> Result<Option<Record>> {
        let key = self.key(number);
        let Some(body) = self.store.get(&key).await? else { return Ok(None) };
        Record::read(&self.pipeline, number, &body).map(Some).map_err(|error| error.at("object", key))
    }

    async fn exists(&self, number: u64) -> Result<bool> {
        Ok(number == 0 || self.store.get(&self.key(number)).await?.is_some())
    }

    /// The number of the last record; 0 for an empty log.
    ///
    /// # Errors
    /// `LakeCorrupt` if a record is missing below another, and the store's.
    pub async fn end(&self) -> Result<u64> {
        let mut last = self.hinted().await?;
        if !self.exists(last).await? {
            last = 0;
        }
        loop {
            last = self.last_above(last).await?;
            let above = self.store.list(&self.folder, &self.key(last), 8).await?;
            match above.iter().filter_map(|key| self.number(key)).min() {
                None => return Ok(last),
                // Put since we looked.
                Some(_) if self.exists(last + 1).await? => {}
                Some(above) => {
                    let message = format!("commit record {} is missing, but {above} is there", last + 1);
                    return Err(Error::new(ErrorKind::LakeCorrupt, message)
                        .at("object", self.key(last + 1))
                        .remedy("restore the object from a version or backup"));
                }
            }
        }
    }

    /// The last record of the dense run that begins at `last`, which exists or is 0.
    async fn last_above(&self, mut last: u64) -> Result<u64> {
        let mut step = 1;
        while self.exists(last.saturating_add(step)).await? {
            last = last.saturating_add(step);
            step = step.saturating_mul(2);
        }
        while step > 1 {
            step /= 2;
            if self.exists(last.saturating_add(step)).await? {
                last = last.saturating_add(step);
            }
        }
        Ok(last)
    }

    async fn hinted(&self) -> Result<u64> {
        let hint = self.store.get(&format!("{}_hint", self.folder)).await?;
        let text = hint.as_deref().and_then(|hint| std::str::from_utf8(hint).ok());
        Ok(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    /// Says where the next reader may begin to look. A failure is only told: nobody trusts the hint.
    pub(super) async fn hint(&self, number: u64) {
        let key = format!("{}_hint", self.folder);
        let put = async {
            failpoint::hit("lake.hint.put")?;
            self.store.put(&key, number.to_string().into()).await
        };
        if let Err(error) = put.await {
            tracing::warn!(%error, key, "the log's hint could not be written; it only saves requests");
        }
    }

    /// [`Log::hint`], now and then.
    pub(super) async fn hint_sometimes(&self, number: u64) {
        if number.is_multiple_of(HINT_EVERY) {
            self.hint(number).await;
        }
    }

    /// The last record and all before it that may not be shown yet, in order, checked one against
    /// the other. Empty for an empty log.
    ///
    /// # Errors
    /// `LakeCorrupt`, and the store's.
    pub async fn tail(&self) -> Result<Vec<Record>> {
        let end = self.end().await?;
        if end == 0 {
            return Ok(Vec::new());
        }
        let last = self.required(end).await?;
        let first = last.shown_through.saturating_add(1).min(end);
        let mut tail = self.records(first..end).await?;
        tail.push(last);
        for pair in tail.windows(2) {
            if let [before, record] = pair {
                record.follows(Some(before)).map_err(|error| error.at("object", self.key(record.number)))?;
            }
        }
        Ok(tail)
    }

    /// The records of these numbers, in order; each must be there.
    pub(super) async fn records(&self, numbers: Range<u64>) -> Result<Vec<Record>> {
        stream::iter(numbers).map(|number| self.required(number)).buffered(CONCURRENCY).try_collect().await
    }

    async fn required(&self, number: u64) -> Result<Record> {
        self.record(number).await?.ok_or_else(|| {
            Error::new(ErrorKind::LakeCorrupt, "a commit record is missing").at("object", self.key(number))
        })
    }

    /// Puts a record. `None`: it stands. `Some`: another one stands at its number, and this one never
    /// will.
    ///
    /// # Errors
    /// The store's: then it may stand now, or later, or never.
    pub(super) async fn put(&self, record: &Record, body: &Bytes) -> Result<Option<Record>> {
        let (before, after) = match record.entry {
            Entry::Claim { .. } => ("lake.claim.before", "lake.claim.after"),
            Entry::Commit { .. } => ("lake.decide.before", "lake.decide.after"),
        };
        let key = self.key(record.number);
        failpoint::hit(before)?;
        let mut put = self.store.put_if_absent(&key, body.clone()).await?;
        // A lost answer, as the store sees it: the same put again.
        if failpoint::hit(after).is_err() {
            put = self.store.put_if_absent(&key, body.clone()).await?;
        }
        match put {
            Put::Created => Ok(None),
            Put::Exists => {
                let standing = self.required(record.number).await?;
                Ok((standing.hash != record.hash).then_some(standing))
            }
        }
    }

    /// Proves that the store keeps its word: a record that stands is put once more, and must be
    /// refused. Where it is not, the same bytes replace themselves, and the store is refused.
    ///
    /// # Errors
    /// `LakeUnsuited`, and the store's.
    pub(super) async fn prove_conditional(&self, record: &Record, body: &Bytes) -> Result<()> {
        match self.store.put_if_absent(&self.key(record.number), body.clone()).await? {
            Put::Exists => Ok(()),
            Put::Created => Err(Error::new(
                ErrorKind::LakeUnsuited,
                "the store replaced an object although it was asked to put it only if absent",
            )
            .at("object", self.key(record.number))
            .remedy("use a store that honours `If-None-Match: *` on PUT, as Amazon S3 does")),
        }
    }
}
