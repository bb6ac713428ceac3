//! Requests to a pipeline as objects: `_lakeward/<pipeline>/requests/<id>.json`
//! ([`lakeward_core::request`] tells their way).
//!
//! Anybody puts one, only if absent; the pipeline's writer alone removes it, durably, once the checkpoint
//! that answers it stands in the log. A removal that fails is no harm: the answer stays in the
//! checkpoints for as long as the object stands, and the next commit tries again. An object that is no
//! request is told by its key, once, and counted; it is never obeyed and never touched.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lakeward_core::stats::LakeStats;
use lakeward_core::{Answer, Checkpoint, Error, ErrorKind, Request, Result, failpoint};

use crate::commit::log::Log;
use crate::config::Lake;
use crate::layout::{RECORDS, escape};
use crate::objects::lake_store::{LakeStore, StoreOptions};
use crate::objects::{Put, Store};

/// Failpoints of requests.
pub const FAILPOINTS: &[&str] = &["lake.request.remove"];

/// Most that stand at once; more are taken up when these are removed.
const LIMIT: usize = 1_000;

fn folder(pipeline: &str) -> String {
    format!("{RECORDS}/{}/requests/", escape(pipeline))
}

fn key(pipeline: &str, id: &str) -> String {
    format!("{}{id}.json", folder(pipeline))
}

/// A request that was put, and where its answer will stand.
pub struct Asked<S: Store = LakeStore> {
    log: Log<S>,
    id: String,
    /// The first record that was not looked at.
    next: u64,
}

/// Puts `request` to `pipeline`.
///
/// # Errors
/// `Bug` if a request of that id stands already, and the store's.
pub async fn ask(lake: &Lake, pipeline: &str, request: &Request, options: StoreOptions) -> Result<Asked> {
    ask_in(Arc::new(LakeStore::open(lake, options).await?), pipeline, request).await
}

/// As [`ask`], in a store that is there already.
///
/// # Errors
/// As [`ask`].
pub async fn ask_in<S: Store>(store: Arc<S>, pipeline: &str, request: &Request) -> Result<Asked<S>> {
    let key = key(pipeline, &request.id);
    let log = Log::new(Arc::clone(&store), pipeline);
    // Before the request stands: its answer lies above.
    let next = log.end().await? + 1;
    let body = serde_json::to_vec(request)
        .map_err(|error| Error::new(ErrorKind::Bug, "a request cannot be written").caused_by(error))?;
    match store.put_if_absent(&key, Bytes::from(body)).await? {
        Put::Created => Ok(Asked { log, id: request.id.clone(), next }),
        Put::Exists => Err(Error::new(ErrorKind::Bug, "two requests have one id").at("object", key)),
    }
}

impl<S: Store> Asked<S> {
    /// The answer, and the checkpoint that holds it; `None` while there is none. Every record is
    /// looked at once: an answer stands in few of them.
    ///
    /// # Errors
    /// `LakeCorrupt`, and the store's.
    pub async fn answer(&mut self) -> Result<Option<(Answer, Checkpoint)>> {
        while let Some(record) = self.log.record(self.next).await? {
            self.next += 1;
            let Some(checkpoint) = record.checkpoint() else { continue };
            if let Some(answer) = checkpoint.requests.iter().find(|answer| answer.id == self.id) {
                return Ok(Some((answer.clone(), checkpoint.clone())));
            }
        }
        Ok(None)
    }
}

/// Requests to `pipeline` that stand, in the order of asking.
///
/// # Errors
/// The store's.
pub async fn read(lake: &Lake, pipeline: &str, options: StoreOptions) -> Result<Vec<Request>> {
    let stats = Arc::clone(&options.stats);
    let store = Arc::new(LakeStore::open(lake, options).await?);
    Standing::new(store, pipeline, stats).read().await
}

/// The requests to a pipeline that stand in a store.
#[derive(Debug)]
pub struct Standing<S: Store = LakeStore> {
    store: Arc<S>,
    pipeline: String,
    stats: Arc<LakeStats>,
    /// Objects that are no requests and were told.
    told: Mutex<BTreeSet<String>>,
}

impl<S: Store> Standing<S> {
    /// Those of `pipeline` in `store`; nothing is read yet.
    pub fn new(store: Arc<S>, pipeline: &str, stats: Arc<LakeStats>) -> Self {
        Standing { store, pipeline: pipeline.to_owned(), stats, told: Mutex::default() }
    }

    /// Reads them, in the order of asking.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self) -> Result<Vec<Request>> {
        let folder = folder(&self.pipeline);
        let (mut standing, mut foreign) = (Vec::new(), BTreeSet::new());
        for key in self.store.list(&folder, "", LIMIT).await? {
            // Gone since it was listed: it was answered.
            let Some(body) = self.store.get(&key).await? else { continue };
            match parsed(&folder, &key, &body) {
                Ok(request) => standing.push(request),
                Err(error) => {
                    if !self.told.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
                        tracing::error!(kind = error.kind().name(), "{error}");
                    }
                    foreign.insert(key);
                }
            }
        }
        self.stats.foreign_requests.set(i64::try_from(foreign.len()).unwrap_or(i64::MAX));
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = foreign;
        Ok(standing)
    }

    /// Removes those that a committed checkpoint answers.
    pub async fn remove(&self, answers: &[Answer]) {
        for answer in answers {
            let key = key(&self.pipeline, &answer.id);
            let removed = async {
                failpoint::hit("lake.request.remove")?;
                self.store.remove(&key).await
            };
            if let Err(error) = removed.await {
                tracing::warn!(%error, key, "an answered request could not be removed; the next commit tries again");
            }
        }
    }
}

fn parsed(folder: &str, key: &str, body: &[u8]) -> Result<Request> {
    let wrong = |message: String| {
        Error::new(ErrorKind::LakeCorrupt, message)
            .at("object", key)
            .remedy("remove the object, and ask again with the version of lakeward that runs the pipeline")
    };
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| wrong(format!("a request cannot be read, and is not carried out: {error}")))?;
    match key.strip_prefix(folder).and_then(|name| name.strip_suffix(".json")) {
        Some(id) if id == request.id => Ok(request),
        Some(_) | None => {
            Err(wrong(format!("request {} bears another name, and is not carried out", request.id)))
        }
    }
}
