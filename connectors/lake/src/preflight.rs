//! What `lakeward check` looks at in a lake. Probes are removed again, whatever they find; a folder that was made for
//! them stays.

use std::sync::Arc;

use bytes::Bytes;
use lakeward_core::{Error, ErrorKind, Finding, Result, TableId};
use uuid::Uuid;

use crate::commit::{log::Log, tables};
use crate::config::{Lake, Location, Sse};
use crate::layout::{RECORDS, escape};
use crate::objects::lake_store::{LakeStore, StoreOptions};
use crate::objects::{OpenUpload, Put, Store};

/// Stands for a pipeline in the names of probes; no pipeline is named so.
const PROBE: &str = ".probe";
/// A rule that aborts uploads earlier than this leaves little time to start a stopped pipeline again.
const EXPIRY_DAYS_MIN: i32 = 3;

/// Looks at the lake of `pipeline`, which captures `tables`.
pub async fn check(lake: &Lake, pipeline: &str, tables: &[TableId], options: StoreOptions) -> Vec<Finding> {
    let writer = options.writer;
    let store = match LakeStore::open(lake, options).await {
        Ok(store) => Arc::new(store),
        Err(error) => return vec![failed("lake.store", &error)],
    };
    let mut findings = vec![conditional_put(&store, lake, writer).await];
    if findings.iter().any(|finding| finding.level == lakeward_core::Level::Error) {
        return findings;
    }
    findings.push(upload(&store).await);
    findings.extend(expiry(&store).await);
    findings.push(log(&store, pipeline).await);
    if !lake.shared_tables {
        findings.extend(owners(&*store, pipeline, tables).await);
    }
    findings
}

/// Whether a lake in a local folder has room for `bytes` of rows; nothing is found of a bucket.
pub fn room(lake: &Lake, bytes: u64) -> Option<Finding> {
    const SUBJECT: &str = "lake.room";
    let Location::Folder(root) = &lake.location else { return None };
    // The folder is made by the first run.
    let there = root.ancestors().find(|folder| folder.exists())?;
    let gib = |bytes: u64| bytes.div_ceil(1 << 30);
    Some(match rustix::fs::statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let told = format!(
                "{} GiB are free, and the tables hold about {} GiB; compressed Parquet is mostly smaller",
                gib(free),
                gib(bytes)
            );
            match free < bytes {
                true => Finding::warning(SUBJECT, told).fix("make room, or name another folder in lake.url"),
                false => Finding::ok(SUBJECT, told),
            }
        }
        Err(error) => Finding::warning(SUBJECT, format!("what is free on its disk is not known: {error}")),
    })
}

fn failed(subject: &str, error: &Error) -> Finding {
    let finding = Finding::failed(subject, error);
    Finding { message: format!("{}: {}", error.kind().name(), finding.message), ..finding }
}

fn found(subject: &str, outcome: Result<Finding>) -> Finding {
    outcome.unwrap_or_else(|error| failed(subject, &error))
}

/// The same conditional put twice: the second must be refused, or two writers could both decide.
async fn conditional_put(store: &LakeStore, lake: &Lake, writer: Uuid) -> Finding {
    const SUBJECT: &str = "lake.conditional_put";
    let key = format!("{RECORDS}/{}/{writer}", escape(PROBE));
    let probe = async {
        let body = Bytes::from_static(b"probe");
        store.put_if_absent(&key, body.clone()).await?;
        if store.put_if_absent(&key, body.clone()).await? == Put::Created {
            return Err(Error::new(
                ErrorKind::LakeUnsuited,
                "the store replaced an object that it was to put only if absent",
            )
            .remedy("use a store that honours `If-None-Match: *` on PUT, as Amazon S3 does"));
        }
        if store.get(&key).await? != Some(body) {
            return Err(Error::new(ErrorKind::LakeUnsuited, "the store does not give back what was put"));
        }
        encryption(store, lake, &key).await
    };
    let outcome = probe.await;
    let removed = store.remove_probe(&key).await;
    match (outcome, removed) {
        (Ok(finding), Ok(())) => finding,
        (Ok(_), Err(error)) => Finding::warning(
            SUBJECT,
            format!(
                "a conditional put is refused the second time, as it must be; the probe {key} stays: {}",
                error.without_remedy()
            ),
        )
        .fix("allow s3:DeleteObject on _lakeward/*, as answered requests are removed, too; or delete the probe by hand"),
        (Err(error), _) => failed(SUBJECT, &error),
    }
}

/// Whether the store says that it encrypts as it was asked to.
async fn encryption(store: &LakeStore, lake: &Lake, key: &str) -> Result<Finding> {
    let held = Finding::ok("lake.conditional_put", "a second conditional put is refused, as it must be");
    let asked = match lake.s3.sse {
        Sse::None => return Ok(held),
        Sse::Aes256 => "AES256",
        Sse::Kms => "aws:kms",
    };
    let LakeStore::S3(s3) = store else { return Ok(held) };
    let told = s3.encryption_of(key).await?;
    if told.as_deref() == Some(asked) {
        return Ok(Finding::ok(
            "lake.conditional_put",
            format!("a second conditional put is refused, as it must be; objects are encrypted with {asked}"),
        ));
    }
    let told = told.unwrap_or_else(|| "none".into());
    Ok(Finding::warning("lake.encryption", format!("{asked} was asked for, the store tells of {told}"))
        .fix("ask the store's documentation whether it encrypts; Amazon S3 tells"))
}

/// An upload is begun, fed, and aborted; no listing of objects shows it meanwhile.
async fn upload(store: &LakeStore) -> Finding {
    const SUBJECT: &str = "lake.upload";
    let probe = async {
        let key = format!("{RECORDS}/{0}/{0}-{1:020}-0-0.parquet", escape(PROBE), 0);
        let upload = store.begin(&key, &format!("{PROBE}/0/0")).await?;
        let sent = store.part(&upload, 1, Bytes::from_static(b"probe")).await;
        let visible = store.get(&key).await;
        let listed = store.open_uploads(PROBE).await;
        store.abort(&OpenUpload { key, upload_id: upload.upload_id.clone() }).await?;
        if let LakeStore::Folder(folder) = store {
            folder.remove_probe(&upload.upload_id).await?;
        }
        sent?;
        if visible?.is_some() {
            return Err(Error::new(ErrorKind::LakeUnsuited, "an upload is visible before it is completed"));
        }
        Ok(match listed {
            Ok(open) if open.iter().any(|open| open.upload_id == upload.upload_id) => {
                Finding::ok(SUBJECT, "files can be staged, unseen, and aborted")
            }
            Ok(_) => Finding::warning(
                SUBJECT,
                "the store does not list open uploads: what a killed run staged stays until it expires",
            )
            .fix("add a lifecycle rule that aborts incomplete uploads after 7 days"),
            Err(error) => {
                let told = format!("open uploads cannot be listed: {}", error.without_remedy());
                Finding::warning(SUBJECT, told).fix("allow s3:ListBucketMultipartUploads")
            }
        })
    };
    found(SUBJECT, probe.await)
}

/// How long a decided upload lives if nobody shows it.
async fn expiry(store: &LakeStore) -> Option<Finding> {
    const SUBJECT: &str = "lake.upload_expiry";
    let LakeStore::S3(s3) = store else { return None };
    Some(match s3.uploads_expire_after_days().await {
        Ok(None) => Finding::ok(SUBJECT, "no lifecycle rule aborts uploads"),
        Ok(Some(days)) if days >= EXPIRY_DAYS_MIN => {
            Finding::ok(SUBJECT, format!("a lifecycle rule aborts uploads after {days} days"))
        }
        Ok(Some(days)) => Finding::warning(
            SUBJECT,
            format!("a lifecycle rule aborts uploads after {days} day(s): a pipeline that stands still longer in the middle of a commit must read its last range again"),
        )
        .fix(format!("set DaysAfterInitiation to {EXPIRY_DAYS_MIN} or more")),
        Err(error) => {
            let told = format!("the bucket's lifecycle rules cannot be read: {}", error.without_remedy());
            Finding::warning(SUBJECT, told)
                .fix("allow s3:GetLifecycleConfiguration, or make sure that no rule aborts uploads early")
        }
    })
}

async fn log(store: &Arc<LakeStore>, pipeline: &str) -> Finding {
    const SUBJECT: &str = "lake.log";
    let tail = Log::new(Arc::clone(store), pipeline).tail().await;
    found(
        SUBJECT,
        tail.map(|tail| match tail.last() {
            Some(last) => {
                Finding::ok(SUBJECT, format!("the pipeline's log ends with record {}", last.number))
            }
            None => Finding::ok(SUBJECT, "the pipeline is new"),
        }),
    )
}

async fn owners<S: Store>(store: &S, pipeline: &str, tables: &[TableId]) -> Vec<Finding> {
    const SUBJECT: &str = "lake.owner";
    let mut findings = Vec::new();
    for table in tables {
        if let Err(error) = tables::refuse_owned(store, pipeline, table).await {
            findings.push(failed(SUBJECT, &error));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(SUBJECT, "no table's folder belongs to another pipeline"));
    }
    findings
}
