//! What is done to staged files: they are shown, or aborted. `writer` says which, and when.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use lakeward_core::{Error, Result, failpoint};

use super::log::CONCURRENCY;
use super::record::{Entry, FileEntry, Record};
use super::tables;
use super::writer::WriterOptions;
use crate::columns::LakeVersion;
use crate::layout::FileName;
use crate::objects::{Shown, Store};

/// Copies `schemas`, then makes `files` visible; gives those that are lost.
pub(super) async fn show<S: Store>(
    store: &S,
    options: &WriterOptions,
    schemas: &[LakeVersion],
    files: Vec<FileEntry>,
) -> Result<Vec<FileEntry>> {
    // By a loop: the compiler cannot follow a closure over borrows from here into a task.
    let mut copies = Vec::with_capacity(schemas.len());
    for version in schemas {
        copies.push(tables::put_version(store, &options.pipeline, version));
    }
    stream::iter(copies).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    let mut showing = stream::iter(files)
        .map(|file| async move {
            failpoint::hit("lake.show.each")?;
            let shown = store.show(&file.upload, &file.parts).await?;
            Ok::<_, Error>((file, shown))
        })
        .buffer_unordered(CONCURRENCY);
    let mut lost = Vec::new();
    while let Some((file, shown)) = showing.try_next().await? {
        match shown {
            Shown::Visible => {}
            Shown::Lost => lost.push(file),
        }
    }
    Ok(lost)
}

/// Shows every record of the tail; gives the files that are lost and not repaired, by record.
pub(super) async fn show_tail<S: Store>(
    store: &S,
    options: &WriterOptions,
    tail: &[Record],
) -> Result<BTreeMap<u64, Vec<FileEntry>>> {
    let mut repaired: BTreeSet<&str> = BTreeSet::new();
    for record in tail {
        if let Entry::Commit { repairs: Some(repairs), .. } = &record.entry {
            repaired.extend(repairs.lost.iter().map(String::as_str));
        }
    }
    let mut unrepaired = BTreeMap::new();
    for record in tail {
        let Entry::Commit { schemas, files, .. } = &record.entry else { continue };
        let files = files.iter().filter(|file| !repaired.contains(file.upload.key.as_str()));
        let lost = show(store, options, schemas, files.cloned().collect()).await?;
        if !lost.is_empty() {
            unrepaired.insert(record.number, lost);
        }
    }
    Ok(unrepaired)
}

/// Aborts what writers have left whose epochs are revoked once `claim` stands. Only once it does. Needed
/// for tidiness alone, so a failure is told and passed over: the next `open` tries again.
pub(super) async fn abort_revoked<S: Store>(store: &S, pipeline: &str, claim: &Record, tail: &[Record]) {
    let decided: BTreeSet<&str> = tail
        .iter()
        .filter_map(|record| match &record.entry {
            Entry::Commit { files, .. } => Some(files),
            Entry::Claim { .. } => None,
        })
        .flatten()
        .map(|file| file.upload.upload_id.as_str())
        .collect();
    let abort = async {
        for upload in store.open_uploads(pipeline).await? {
            let revoked = FileName::of(pipeline, &upload.key)
                .is_some_and(|name| name.epoch < claim.number && !claim.admits(name.epoch));
            if revoked && !decided.contains(upload.upload_id.as_str()) {
                failpoint::hit("lake.abort.each")?;
                store.abort(&upload).await?;
            }
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = abort.await {
        tracing::warn!(%error, "uploads that earlier runs left could not be aborted; the next start tries again");
    }
}
