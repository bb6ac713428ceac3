//! The keys of a table that live in the lake, as its readers see it.
//!
//! Guarantee: a class holds a key if and only if, over the events of all commits up to the one at hand,
//! its event with the greatest number is no `d` and not below the table's last mark.
//! Why it holds:
//! - *The files are those that readers see*: the table's folder is listed. A file of this pipeline, told
//!   by its name, that begins below the next number of the commit belongs to that commit or one before.
//!   All of those are shown: a commit returns after it has shown its files, and what was lost is repaired,
//!   under new names, before a run goes on. What a commit that is under way shows meanwhile begins at or
//!   above that number, but for the mark of a whole re-read, and what that voids need not be told.
//! - *The values are those of the key's columns*, found in the files of each version by their numbers and
//!   their names in the lake, and widened to the type of now. Where a version lacks one of them, or has
//!   it with a type that does not widen, its events have no such key: that is an error, unless a mark
//!   voids them all.
//! - *Bounded*: what is held of a class is bounded by a share of the sink's memory that files do without
//!   meanwhile ([`living`]); beside it stand a few pages of one file and the names of the table's files.
//!
//! Unknown: files that others change. A file that vanished since it was listed is told and left out, as
//! readers do not see it any more.

mod columns;
mod file;
mod living;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use lakeward_core::{Error, ErrorKind, KeysAsked, LivingKeys, Result, TableId, TableSchema, failpoint};
use tokio::runtime::Handle;

use self::columns::Columns;
use self::file::{KeyFile, Stretches};
use self::living::Living;
use crate::commit::tables;
use crate::files::Lent;
use crate::layout::{FileName, table_folder};
use crate::objects::{Store, Stretch};

/// Failpoints of reading keys: before the files are listed, before one is read.
pub const FAILPOINTS: &[&str] = &["lake.keys.list", "lake.keys.file"];

/// Keys of a listing.
const PAGE: usize = 100_000;
/// Files whose ends are fetched ahead.
const AHEAD: usize = 8;
/// Bytes of a file's end that are fetched: all of a small file, and the footer of most.
const END_BYTES: u64 = 64 << 10;

/// What is needed to read keys, apart from the sink itself.
pub(crate) struct Reading<S> {
    pub(crate) store: Arc<S>,
    pub(crate) pipeline: String,
    /// Names of the columns with the number and the kind of an event.
    pub(crate) seq: String,
    pub(crate) op: String,
    /// The next number of the commit at hand.
    pub(crate) next_seq: i64,
}

impl<S: Store> Reading<S> {
    /// The keys of a class.
    ///
    /// # Errors
    /// `TableChanged` where events have no such key, and the store's.
    pub(crate) async fn living(self, asked: KeysAsked, memory: Lent) -> Result<LivingKeys> {
        failpoint::hit("lake.keys.list")?;
        let table = asked.schema.table.clone();
        let mut living = Living::new(&asked, memory)?;
        let files = files(&*self.store, &self.pipeline, &table, self.next_seq).await?;
        let store = &self.store;
        let mut ends = stream::iter(files)
            .map(|key| async move {
                let end = store.get_stretch(&key, Stretch::Last(END_BYTES)).await?;
                Ok::<_, Error>((key, end))
            })
            .buffered(AHEAD);
        let mut versions: BTreeMap<u32, Arc<Columns>> = BTreeMap::new();
        while let Some((key, end)) = ends.try_next().await? {
            failpoint::hit("lake.keys.file")?;
            let Some((end, size)) = end else {
                tracing::warn!(key, "a file of the table was removed by somebody; readers see it no more");
                continue;
            };
            let bytes = Stretches::new(Arc::clone(store), Handle::current(), key, size, end);
            let file = blocking(move || KeyFile::open(bytes)).await?;
            let columns = match versions.get(&file.version) {
                Some(known) => Arc::clone(known),
                None => {
                    let columns = Arc::new(self.columns(&asked.schema, file.version).await?);
                    versions.insert(file.version, Arc::clone(&columns));
                    columns
                }
            };
            living = blocking(move || {
                file.read(&columns, &mut living)?;
                Ok(living)
            })
            .await?;
        }
        blocking(move || living.told()).await
    }

    /// Where the key stands in files of a version.
    async fn columns(&self, schema: &TableSchema, version: u32) -> Result<Columns> {
        let stored = tables::version(&*self.store, &self.pipeline, &schema.table, version).await?;
        let stored = stored.ok_or_else(|| {
            Error::new(ErrorKind::LakeCorrupt, "the version of a file is not in the lake")
                .at("table", &schema.table)
                .at("version", version)
        })?;
        Ok(Columns::of(&stored, schema, &self.seq, &self.op))
    }
}

/// The table's files of a pipeline that begin below `next_seq`, the last ones first: so marks come before
/// most of what they void.
async fn files<S: Store>(store: &S, pipeline: &str, table: &TableId, next_seq: i64) -> Result<Vec<String>> {
    let folder = format!("{}/", table_folder(table));
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.list(&folder, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        found.extend(page.into_iter().filter_map(|key| {
            let name = FileName::of(pipeline, &key)?;
            (name.first_seq < next_seq).then_some((name.first_seq, key))
        }));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Bug, "reading keys panicked").caused_by(error))?
}
