//! The way of one file's bytes to the store: parts are sent while the file is still written, and
//! nothing of it is visible.
//!
//! The upload begins with its first part, so a file that is dropped early costs no request. It is
//! sealed only after [`UploadHandle::sealed`] asked for it; when the writing end goes away without that,
//! what was sent is aborted. When the handle itself is dropped nobody waits for the store: nothing more is
//! sent, what waited gives its memory back, and what was sent is left for the next epoch to abort.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use lakeward_core::{Error, ErrorKind, Result, failpoint};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::budget::Held;
use crate::objects::{OpenUpload, Part, Store, Upload};

/// Parts of one file that are sent at the same time.
const PARTS_AT_ONCE: usize = 4;

/// What the writing end sends.
pub(super) enum Piece {
    /// The next part, with its share of the budget.
    Part(Bytes, Held),
    /// There are no more parts: seal.
    End,
}

/// Where an [`super::encoder::Encoder`] puts its parts. Its length is bounded by the budget.
pub(super) type Pieces = UnboundedSender<Piece>;

/// A sealed upload and its parts, in order.
pub(super) type Sealed = (Upload, Vec<Part>);

/// An upload that runs on its own, until the handle is dropped.
pub(super) struct UploadHandle {
    /// `None` once its outcome was told.
    task: Option<JoinHandle<Result<Option<Sealed>>>>,
}

impl Drop for UploadHandle {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl UploadHandle {
    pub(super) fn start<S: Store>(store: Arc<S>, key: String, lakeward_id: String) -> (Self, Pieces) {
        let (pieces, received) = unbounded_channel();
        let task = tokio::spawn(run(store, key, lakeward_id, received));
        (UploadHandle { task: Some(task) }, pieces)
    }

    /// Waits until the upload is sealed; the writing end has sent [`Piece::End`].
    pub(super) async fn sealed(mut self) -> Result<Sealed> {
        let dropped = || Error::new(ErrorKind::Bug, "an upload was dropped while its file was written");
        self.outcome().await?.ok_or_else(dropped)
    }

    /// Waits for the end of an upload whose writing end is gone; why it broke off is told once.
    pub(super) async fn dropped(&mut self) -> Result<()> {
        self.outcome().await.map(|_| ())
    }

    async fn outcome(&mut self) -> Result<Option<Sealed>> {
        let Some(task) = &mut self.task else { return Ok(None) };
        let ended = task.await;
        self.task = None;
        ended.map_err(|error| Error::new(ErrorKind::Bug, "an upload ended early").caused_by(error))?
    }
}

async fn run<S: Store>(
    store: Arc<S>,
    key: String,
    lakeward_id: String,
    mut received: UnboundedReceiver<Piece>,
) -> Result<Option<Sealed>> {
    let Some(mut piece) = received.recv().await else { return Ok(None) };
    failpoint::hit("lake.stage.begin")?;
    let upload = Arc::new(store.begin(&key, &lakeward_id).await?);
    let mut sending = FuturesUnordered::new();
    let mut parts: Vec<Part> = Vec::new();
    let mut number = 0_u32;
    loop {
        match piece {
            Piece::End => break,
            Piece::Part(body, held) => {
                number = number.checked_add(1).ok_or_else(|| Error::new(ErrorKind::Bug, "too many parts"))?;
                sending.push(send(Arc::clone(&store), Arc::clone(&upload), number, body, held));
            }
        }
        piece = loop {
            tokio::select! {
                Some(sent) = sending.next(), if !sending.is_empty() => parts.push(sent?),
                next = received.recv(), if sending.len() < PARTS_AT_ONCE => match next {
                    Some(next) => break next,
                    None => return drop_upload(&*store, &upload, sending).await,
                },
            }
        };
    }
    while let Some(sent) = sending.next().await {
        parts.push(sent?);
    }
    parts.sort_by_key(|part| part.number);
    failpoint::hit("lake.stage.sealed")?;
    store.sealed(&upload, &parts).await?;
    Ok(Some((Upload::clone(&upload), parts)))
}

async fn send<S: Store>(
    store: Arc<S>,
    upload: Arc<Upload>,
    number: u32,
    body: Bytes,
    held: Held,
) -> Result<Part> {
    failpoint::hit("lake.stage.part")?;
    let part = store.part(&upload, number, body).await;
    drop(held);
    part
}

/// Aborts once no part is under way any more: one that lands later could outlive the abort.
async fn drop_upload<S: Store>(
    store: &S,
    upload: &Upload,
    mut sending: FuturesUnordered<impl Future<Output = Result<Part>>>,
) -> Result<Option<Sealed>> {
    while let Some(sent) = sending.next().await {
        sent?;
    }
    let open = OpenUpload { key: upload.key.clone(), upload_id: upload.upload_id.clone() };
    store.abort(&open).await?;
    Ok(None)
}
