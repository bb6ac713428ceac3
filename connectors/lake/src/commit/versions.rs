//! Which table versions a writer may name in a record.
//!
//! A version is decided by the first record that names it, with its names in the lake. A writer knows the
//! decided ones from their copies ([`super::tables`]) and, where it shares the log, from every record that
//! another put since its claim; so none is decided twice.
//!
//! Two workers settle the same names for a new version, whoever decides it: names are a function of the
//! structures of the table's versions up to it, in their order, and of the config. Each worker is given
//! *all* of them, in that order. Where that is not so (two configs) the record of the first one stands, and
//! the other worker finds its own names refused before its put, drops its files, and begins anew with
//! those that were decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::{Checkpoint, Result, TableId, TableSchema};

use super::record::FileEntry;
use super::tables;
use super::writer::{WriterOptions, bug};
use crate::columns::LakeVersion;
use crate::objects::Store;

type Name = (TableId, u32);

/// The versions that a writer knows.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// Records have decided them; as far as they were needed.
    decided: BTreeMap<Name, Arc<LakeVersion>>,
    /// The next commit must decide them.
    new: BTreeMap<Name, Arc<LakeVersion>>,
}

impl Versions {
    /// Takes note of a version; gives it as the lake has it. `at` is where the lake is.
    ///
    /// # Errors
    /// As [`super::writer::Writer::version`].
    pub(super) async fn take<S: Store>(
        &mut self,
        store: &S,
        options: &WriterOptions,
        at: Option<&Checkpoint>,
        schema: &Arc<TableSchema>,
    ) -> Result<Arc<LakeVersion>> {
        let table = &schema.table;
        if let Some(known) = self.known(store, options, table, schema.version).await? {
            if !known.table.same_structure(schema) {
                let message =
                    format!("version {} of the table was given to another structure", schema.version);
                return Err(bug(&message).at("table", table));
            }
            return Ok(known);
        }
        let named = at.and_then(|at| at.tables.get(table)).map_or(0, |state| state.schema_version);
        if options.sharing.is_shared() && schema.version < named {
            let message = "a version came that was passed over when later ones were decided";
            return Err(bug(message).at("table", table).at("version", schema.version));
        }
        // A version without rows may never have come here: the last one that did counts.
        let mut before = None;
        for number in (1..schema.version).rev() {
            before = self.known(store, options, table, number).await?;
            if before.is_some() {
                break;
            }
        }
        let own = TableSchema::clone(schema);
        let version = match before {
            None => LakeVersion::of_own_names(own),
            Some(before) => {
                let taken: Vec<&str> = options.taken_names.iter().map(String::as_str).collect();
                LakeVersion::after(&before, own, &taken, options.incompatible_change)?
            }
        };
        let version = Arc::new(version);
        self.new.insert((table.clone(), schema.version), Arc::clone(&version));
        Ok(version)
    }

    /// A version that a record has decided, or that the next one must; `None` if neither.
    async fn known<S: Store>(
        &mut self,
        store: &S,
        options: &WriterOptions,
        table: &TableId,
        number: u32,
    ) -> Result<Option<Arc<LakeVersion>>> {
        let name = (table.clone(), number);
        if let Some(known) = self.decided.get(&name).or_else(|| self.new.get(&name)) {
            return Ok(Some(Arc::clone(known)));
        }
        let stored = tables::version(store, &options.pipeline, table, number).await?;
        Ok(stored.map(|stored| {
            let stored = Arc::new(stored);
            self.decided.insert(name, Arc::clone(&stored));
            stored
        }))
    }

    /// The structures that a checkpoint names, and those before them where the options say so; all are decided.
    pub(super) async fn of_checkpoint<S: Store>(
        &mut self,
        store: &S,
        options: &WriterOptions,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Vec<Arc<TableSchema>>> {
        let Some(checkpoint) = checkpoint else { return Ok(Vec::new()) };
        let versions =
            tables::versions_of(store, &options.pipeline, checkpoint, options.all_versions).await?;
        let structures = versions.iter().map(|version| Arc::new(version.table.clone())).collect();
        for version in versions {
            self.decided.insert((version.table.table.clone(), version.table.version), version);
        }
        Ok(structures)
    }

    /// Those that the next commit must decide.
    pub(super) fn to_decide(&self) -> Vec<LakeVersion> {
        self.new.values().map(|version| LakeVersion::clone(version)).collect()
    }

    /// A record of ours has decided all that were new.
    pub(super) fn are_decided(&mut self) {
        self.decided.append(&mut self.new);
    }

    /// Another's record has decided `versions`. The first of them that was new to us too, and otherwise
    /// than there: files that bear it cannot be committed.
    pub(super) fn decided_elsewhere<'a>(&mut self, versions: &'a [LakeVersion]) -> Option<&'a LakeVersion> {
        let mut otherwise = None;
        for version in versions {
            let name = (version.table.table.clone(), version.table.version);
            if self.new.remove(&name).is_some_and(|own| *own != *version) {
                otherwise = otherwise.or(Some(version));
            }
            self.decided.insert(name, Arc::new(version.clone()));
        }
        otherwise
    }

    /// Every version that a commit names must have been decided, or be decided by it.
    pub(super) fn check(&self, files: &[FileEntry], to: &Checkpoint) -> Result<()> {
        let known = |table: &TableId, version: u32| {
            let name = (table.clone(), version);
            version == 0 || self.decided.contains_key(&name) || self.new.contains_key(&name)
        };
        let of_files = files.iter().map(|file| (&file.table, file.schema_version));
        let of_tables = to.tables.iter().map(|(table, state)| (table, state.schema_version));
        match of_files.chain(of_tables).find(|(table, version)| !known(table, *version)) {
            Some((table, version)) => {
                Err(bug(&format!("version {version} is committed but was never given")).at("table", table))
            }
            None => Ok(()),
        }
    }
}
