//! What the lake asks of a store, and nothing more. S3 and a local folder implement it, and a
//! simulated store in the model of the commit protocol.
//!
//! Every call settles passing faults inside (time-outs, 5xx, throttling) with backoff, and returns
//! `LakeUnreachable` only when it gives up; a call may therefore have happened more than once, or
//! have happened although it failed: each is idempotent, and the protocol above expects it.

pub mod folder;
pub mod lake_store;
pub mod s3;

use bytes::Bytes;
use lakeward_core::Result;
use serde::{Deserialize, Serialize};

/// Bytes of every part but the last, in both stores. S3 asks for 5 MiB at least and takes 10,000
/// parts (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
pub const PART_SIZE: usize = 8 << 20;

/// What became of a conditional put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is there now, by this call or by an earlier try of it.
    Created,
    /// Another object was there already. (It may be our own, put by a try whose answer was lost.)
    Exists,
}

/// An object whose bytes are sent but which no listing shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The key it will have.
    pub key: String,
    /// S3: the multipart upload id. Folder: the path of the staged file below the lake's root.
    pub upload_id: String,
    /// `lakeward-id` of the object: pipeline/epoch/n.
    pub lakeward_id: String,
}

/// One part of an [`Upload`], sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// The store's receipt, opaque. Empty for a folder.
    pub etag: String,
    /// Its size.
    pub bytes: u64,
}

/// Some of an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// So many at its end, or all where it has fewer.
    Last(u64),
    /// So many from an offset on, or as many as there are; at least one is there.
    From {
        /// Offset of the first.
        offset: u64,
        /// How many.
        bytes: u64,
    },
}

/// What became of a [`Store::show`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The object is visible under its key, whole.
    Visible,
    /// Neither the upload nor the object exists any more.
    Lost,
}

/// An open upload that a store knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its key, or as much of the key's end as the store keeps: at least the file name.
    pub key: String,
    /// Its id.
    pub upload_id: String,
}

/// A store of objects. Keys are relative to the lake's url and use `/`.
pub trait Store: Send + Sync + 'static {
    /// Reads a whole object; `None` if there is none.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>>> + Send;
    /// Reads a stretch of an object, and tells the size of the whole; `None` if there is none.
    fn get_stretch(
        &self,
        key: &str,
        stretch: Stretch,
    ) -> impl Future<Output = Result<Option<(Bytes, u64)>>> + Send;
    /// Puts an object only if none is there, atomically and durably: of two racing callers one
    /// gets [`Put::Created`]. Errors with an unknown outcome are repeated inside; when it gives up
    /// the outcome is unknown.
    fn put_if_absent(&self, key: &str, body: Bytes) -> impl Future<Output = Result<Put>> + Send;
    /// Puts an object, replacing what is there. For hints only.
    fn put(&self, key: &str, body: Bytes) -> impl Future<Output = Result<()>> + Send;
    /// Removes an object, durably; nothing if there is none.
    fn remove(&self, key: &str) -> impl Future<Output = Result<()>> + Send;
    /// Keys below `prefix` greater than `after`, in order, at most `limit`.
    fn list(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>>> + Send;
    /// Begins an invisible object.
    fn begin(&self, key: &str, lakeward_id: &str) -> impl Future<Output = Result<Upload>> + Send;
    /// Sends a part. All but the last have [`Store::part_size`] bytes.
    fn part(&self, upload: &Upload, number: u32, body: Bytes) -> impl Future<Output = Result<Part>> + Send;
    /// All parts are sent: makes them durable, still invisible.
    fn sealed(&self, upload: &Upload, parts: &[Part]) -> impl Future<Output = Result<()>> + Send;
    /// Makes a sealed object visible. Unconditional and repeatable: an object already visible with
    /// the same `lakeward-id` and size is [`Shown::Visible`].
    fn show(&self, upload: &Upload, parts: &[Part]) -> impl Future<Output = Result<Shown>> + Send;
    /// Drops an invisible object; nothing if it is gone.
    fn abort(&self, upload: &OpenUpload) -> impl Future<Output = Result<()>> + Send;
    /// Invisible objects of a pipeline; others may be among them, also of a lake below this one: the caller
    /// tells by the key.
    fn open_uploads(&self, pipeline: &str) -> impl Future<Output = Result<Vec<OpenUpload>>> + Send;
    /// Bytes of every part but the last.
    fn part_size(&self) -> usize;
}
