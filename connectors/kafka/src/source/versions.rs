//! Table versions on their way to the sink: each once, in order, before its first row.
//!
//! The lake's columns of a version follow from the version before it, so all of them are given, also those of which
//! this worker has no row: every worker gives the same chain, and the lake's columns do not depend on who reads what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lakeward_core::{Checkpoint, Error, ErrorKind, Result, TableId, TableSchema};

use super::captured::Captured;
use super::link::BEGIN_ANEW;

/// Which versions the sink was given.
pub(super) struct Versions {
    /// The version that the lake's checkpoint names: it and all before it are decided there.
    decided: BTreeMap<TableId, u32>,
    given: BTreeSet<(TableId, u32)>,
}

impl Versions {
    /// Nothing is given to a sink that is at `checkpoint`.
    pub(super) fn after(checkpoint: Option<&Checkpoint>) -> Versions {
        let tables = checkpoint.iter().flat_map(|checkpoint| checkpoint.tables.iter());
        let decided = tables.map(|(table, state)| (table.clone(), state.schema_version)).collect();
        Versions { decided, given: BTreeSet::new() }
    }

    /// Those that must be given before version `number` of `table` is used, itself the last.
    pub(super) fn due(
        &mut self,
        captured: &Captured,
        table: &TableId,
        number: u32,
    ) -> Result<Vec<Arc<TableSchema>>> {
        if number == 0 || self.given.contains(&(table.clone(), number)) {
            return Ok(Vec::new());
        }
        let decided = self.decided.get(table).copied().unwrap_or(0);
        let above = if number <= decided { number - 1 } else { decided };
        let mut due = captured.versions_of(table, above, number);
        if due.last().is_none_or(|last| last.version != number) {
            return Err(Error::new(
                ErrorKind::TopicLost,
                format!("version {number} of a table is not in the checkpoint topic"),
            )
            .of_table(table)
            .at("topic", captured.topic())
            .remedy(format!("the topic must be compacted, never deleted from: {BEGIN_ANEW}")));
        }
        due.retain(|schema| self.given.insert((table.clone(), schema.version)));
        Ok(due)
    }
}
