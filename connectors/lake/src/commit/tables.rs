//! What the lake remembers of tables: who owns a table's folder, and its versions.
//!
//! *Owners.* `_lakeward/owners/<database>/<table>.json` is put only if absent, before a record names
//! the table's first file. Of two pipelines one gets it; a pipeline that dies right after has its own
//! name in it and takes it again.
//!
//! *Schemas.* A version is decided by the commit record that names it first: the record holds it whole.
//! The object `schemas/<database>/<table>/<version>.json` is a copy, put when the record is shown,
//! before its files. So a writer that dies before it decides leaves no version behind, one that decides
//! and dies has it copied by the next `open`, and a revoked writer that wakes up can only put the same
//! bytes again: two structures never compete for one number, and neither do two sets of names.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use lakeward_core::{Checkpoint, Error, ErrorKind, Result, TableId, failpoint};
use serde::{Deserialize, Serialize};

use super::log::CONCURRENCY;
use crate::columns::LakeVersion;
use crate::layout::{RECORDS, escape, table_folder};
use crate::objects::{Put, Store};

#[derive(Serialize, Deserialize)]
struct Owner {
    pipeline: String,
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Bug, "an object of the lake cannot be written as JSON").caused_by(error)
}

fn damaged(key: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::LakeCorrupt, "the object is damaged")
        .at("object", key)
        .remedy("restore it from a version or backup")
        .caused_by(error)
}

fn owner_key(table: &TableId) -> String {
    format!("{RECORDS}/owners/{}.json", table_folder(table))
}

/// The pipeline that owns a table's folder; `None` if nobody does.
pub(crate) async fn owner<S: Store>(store: &S, table: &TableId) -> Result<Option<String>> {
    let key = owner_key(table);
    let Some(body) = store.get(&key).await? else { return Ok(None) };
    let owner: Owner = serde_json::from_slice(&body).map_err(|error| damaged(&key, error))?;
    Ok(Some(owner.pipeline))
}

/// Refuses a table that another pipeline owns; whether this one does.
pub(crate) async fn refuse_owned<S: Store>(store: &S, pipeline: &str, table: &TableId) -> Result<bool> {
    match owner(store, table).await? {
        None => Ok(false),
        Some(owner) if owner != pipeline => {
            Err(Error::new(ErrorKind::LakeOwned, format!("the table's folder belongs to pipeline `{owner}`"))
                .at("table", table)
                .at("object", owner_key(table))
                .remedy(format!(
                    "if this pipeline was renamed, set `name: {owner}` back; else give it another prefix in \
                     `lake.url`, exclude the table, or, only where no two pipelines capture the same table, set \
                     `lake.shared_tables: true` in both"
                )))
        }
        Some(_) => Ok(true),
    }
}

/// Takes a table's folder for `pipeline`.
pub(super) async fn own<S: Store>(store: &S, pipeline: &str, table: &TableId) -> Result<()> {
    let body = serde_json::to_vec(&Owner { pipeline: pipeline.to_owned() }).map_err(unwritable)?;
    failpoint::hit("lake.owner.put")?;
    match store.put_if_absent(&owner_key(table), body.into()).await? {
        Put::Created => Ok(()),
        Put::Exists => refuse_owned(store, pipeline, table).await.map(drop),
    }
}

fn schema_key(pipeline: &str, table: &TableId, version: u32) -> String {
    format!("{RECORDS}/{}/schemas/{}/{version}.json", escape(pipeline), table_folder(table))
}

/// A version that some record decided; `None` if none did.
pub(crate) async fn version<S: Store>(
    store: &S,
    pipeline: &str,
    table: &TableId,
    version: u32,
) -> Result<Option<LakeVersion>> {
    let key = schema_key(pipeline, table, version);
    let Some(body) = store.get(&key).await? else { return Ok(None) };
    let stored: LakeVersion = serde_json::from_slice(&body).map_err(|error| damaged(&key, error))?;
    if stored.table.table != *table
        || stored.table.version != version
        || stored.lake_names.len() != stored.table.columns.len()
    {
        return Err(Error::new(ErrorKind::LakeCorrupt, "the object describes another table version")
            .at("object", key)
            .remedy("restore it from a version or backup"));
    }
    Ok(Some(stored))
}

/// Copies a decided version into its object.
pub(super) async fn put_version<S: Store>(store: &S, pipeline: &str, decided: &LakeVersion) -> Result<()> {
    let body = serde_json::to_vec(decided).map_err(unwritable)?;
    let (table, number) = (&decided.table.table, decided.table.version);
    let key = schema_key(pipeline, table, number);
    failpoint::hit("lake.schema.put")?;
    if store.put_if_absent(&key, body.into()).await? == Put::Exists
        && version(store, pipeline, table, number).await?.as_ref() != Some(decided)
    {
        return Err(Error::new(ErrorKind::LakeCorrupt, "another structure stands under the table version")
            .at("object", key)
            .remedy("remove the object: the commit record holds the right one"));
    }
    Ok(())
}

/// All versions that a checkpoint names, and with `all` those before them, in order.
pub(super) async fn versions_of<S: Store>(
    store: &S,
    pipeline: &str,
    checkpoint: &Checkpoint,
    all: bool,
) -> Result<Vec<Arc<LakeVersion>>> {
    let numbers = |named: u32| if all { 1..=named } else { named.max(1)..=named };
    let named: Vec<(TableId, u32)> = checkpoint
        .tables
        .iter()
        .flat_map(|(table, state)| numbers(state.schema_version).map(|number| (table.clone(), number)))
        .collect();
    stream::iter(named)
        .map(|(table, number)| async move {
            version(store, pipeline, &table, number).await?.map(Arc::new).ok_or_else(|| {
                Error::new(ErrorKind::LakeCorrupt, "a table version that a commit record names is missing")
                    .at("object", schema_key(pipeline, &table, number))
                    .remedy("restore the object from a version or backup")
            })
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}
