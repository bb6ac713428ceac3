//! The way of one file's bytes to the store: parts are sent while the file is still written, and
//! nothing of it is visible.
//!
//! The upload begins with its first part, so a file that is dropped early costs no request. It is
//! sealed only after [`UploadHandle::sealed`] asked for it; when the writing end goes away without that,
//! what was sent is aborted.

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

/// An upload that runs on its own.
pub(super) struct UploadHandle {
    task: JoinHandle<Result<Option<Sealed>>>,
}

impl UploadHandle {
    pub(super) fn start<S: Store>(store: Arc<S>, key: String, lakeward_id: String) -> (Self, Pieces) {
        let (pieces, received) = unbounded_channel();
        let task = tokio::spawn(run(store, key, lakeward_id, received));
        (UploadHandle { task }, pieces)
    }

    /// Waits until the upload is sealed; the writing end has sent [`Piece::End`].
    pub(super) async fn sealed(self) -> Result<Sealed> {
        let ended = |what: &str| Error::new(ErrorKind::Bug, format!("an upload {what}"));
        self.task
            .await
            .map_err(|error| ended("ended early").caused_by(error))?
            .and_then(|sealed| sealed.ok_or_else(|| ended("was dropped while its file was written")))
    }

    /// Waits for the end of an upload whose writing end is gone.
    pub(super) async fn dropped(self) -> Result<()> {
        match self.task.await {
            Ok(outcome) => outcome.map(|_| ()),
            Err(error) => Err(Error::new(ErrorKind::Bug, "an upload ended early").caused_by(error)),
        }
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
