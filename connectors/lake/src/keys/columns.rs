//! Which columns of a version's files hold a key.

use lakeward_core::TableSchema;

use crate::columns::{LakeType, LakeVersion};

/// Names in the files of one version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Of the key's columns, in key order; `None` where the version does not have that key.
    pub(super) key: Option<Vec<String>>,
    pub(super) seq: String,
    pub(super) op: String,
}

impl Columns {
    /// Where the key of `now` stands in files of `version`.
    pub(super) fn of(version: &LakeVersion, now: &TableSchema, seq: &str, op: &str) -> Columns {
        let name = |at: &usize| {
            let column = now.columns.get(*at)?;
            let then = version.table.columns.iter().position(|then| then.id == column.id)?;
            let (of_now, of_then) = (
                LakeType::of(&column.ty, &now.options),
                LakeType::of(&version.table.columns.get(then)?.ty, &version.table.options),
            );
            of_now.join(of_then)?;
            version.lake_names.get(then).cloned()
        };
        let key = now.key.iter().map(name).collect();
        Columns { key, seq: seq.to_owned(), op: op.to_owned() }
    }
}
