//! The store that a lake's url names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakeward_core::stats::LakeStats;
use lakeward_core::{Clock, Result};
use uuid::Uuid;

use super::folder::Folder;
use super::s3::{S3, S3Options};
use super::{OpenUpload, Part, Put, Shown, Store, Stretch, Upload};
use crate::config::{Lake, Location};

/// How long a run tries a request before it calls the outcome unknown and stops: long enough for a
/// store's failover, short enough that the process is started again while the source has its binlog.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A bucket or a folder.
#[derive(Debug)]
pub enum LakeStore {
    /// A bucket.
    S3(Box<S3>),
    /// A local folder.
    Folder(Folder),
}

/// What a store needs beside its config.
#[derive(Clone)]
pub struct StoreOptions {
    /// For time limits.
    pub clock: Arc<dyn Clock>,
    /// Counts repeated requests.
    pub stats: Arc<LakeStats>,
    /// Unique to this process.
    pub writer: Uuid,
    /// How long a request is tried before its outcome is called unknown.
    pub patience: Duration,
}

impl LakeStore {
    /// The store of `lake`. Nothing is read or written yet.
    ///
    /// # Errors
    /// `Config` if it cannot be told where the bucket is.
    pub async fn open(lake: &Lake, options: StoreOptions) -> Result<LakeStore> {
        let StoreOptions { clock, stats, writer, patience } = options;
        match &lake.location {
            Location::Folder(root) => Ok(LakeStore::Folder(Folder::new(root.clone(), writer))),
            Location::S3 { bucket, prefix } => {
                let options = S3Options { clock, stats, writer, patience };
                Ok(LakeStore::S3(Box::new(S3::connect(&lake.s3, bucket, prefix, options).await?)))
            }
        }
    }

    /// Deletes a probe of `check`, and the folders that were made for it.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_probe(&self, key: &str) -> Result<()> {
        match self {
            LakeStore::S3(store) => store.remove(key).await,
            LakeStore::Folder(store) => store.remove_probe(key).await,
        }
    }
}

macro_rules! each {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            LakeStore::S3($store) => $call.await,
            LakeStore::Folder($store) => $call.await,
        }
    };
}

impl Store for LakeStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        each!(self, store => store.get(key))
    }

    async fn get_stretch(&self, key: &str, stretch: Stretch) -> Result<Option<(Bytes, u64)>> {
        each!(self, store => store.get_stretch(key, stretch))
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        each!(self, store => store.put_if_absent(key, body))
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        each!(self, store => store.put(key, body))
    }

    async fn remove(&self, key: &str) -> Result<()> {
        each!(self, store => store.remove(key))
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        each!(self, store => store.list(prefix, after, limit))
    }

    async fn begin(&self, key: &str, lakeward_id: &str) -> Result<Upload> {
        each!(self, store => store.begin(key, lakeward_id))
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        each!(self, store => store.part(upload, number, body))
    }

    async fn sealed(&self, upload: &Upload, parts: &[Part]) -> Result<()> {
        each!(self, store => store.sealed(upload, parts))
    }

    async fn show(&self, upload: &Upload, parts: &[Part]) -> Result<Shown> {
        each!(self, store => store.show(upload, parts))
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<()> {
        each!(self, store => store.abort(upload))
    }

    async fn open_uploads(&self, pipeline: &str) -> Result<Vec<OpenUpload>> {
        each!(self, store => store.open_uploads(pipeline))
    }

    fn part_size(&self) -> usize {
        match self {
            LakeStore::S3(store) => store.part_size(),
            LakeStore::Folder(store) => store.part_size(),
        }
    }
}
