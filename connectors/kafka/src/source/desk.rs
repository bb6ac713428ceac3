//! What every step of the reading uses: the way to the sink, the signs to end, versions and decoders.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Feed, KafkaPosition, TableId};

use super::captured::Captured;
use super::dead_letters::DeadLetters;
use super::outlet::{End, Outlet};
use super::versions::Versions;
use super::{KafkaOptions, Until};
use crate::client::Reader;
use crate::format::Decoder;
use crate::group::Assignment;

/// What the steps share.
pub(super) struct Desk {
    pub(super) options: KafkaOptions,
    pub(super) out: Outlet,
    pub(super) captured: Captured,
    pub(super) decoder: Decoder,
    pub(super) versions: Versions,
    /// The client of the lanes.
    pub(super) reader: Arc<Reader>,
    /// Where records go that cannot be read, if not nowhere.
    pub(super) dead_letters: Option<DeadLetters>,
    /// What is read, and the generation of the group's word for it.
    pub(super) assignment: Assignment,
    /// Where the lake was when the source opened.
    pub(super) known: KafkaPosition,
    /// For how many topic partitions `reader` is made.
    pub(super) room: usize,
}

impl Desk {
    /// Hands on the versions that must be known before version `number` of `table` is used.
    pub(super) fn give(&mut self, table: &TableId, number: u32) -> Result<(), End> {
        for schema in self.versions.due(&self.captured, table, number)? {
            self.out.send(Feed::Schema(schema))?;
        }
        Ok(())
    }

    /// Whether to go on: somebody listens, the topic partitions are still ours, no error stands.
    pub(super) fn look(&self) -> Result<(), End> {
        self.out.look(&self.reader, Duration::ZERO)?;
        if let Some(now) = self.regrouped()
            && !now.ours.is_superset(&self.assignment.ours)
        {
            return Err(self.rebalanced().into());
        }
        Ok(())
    }

    /// What is ours by now, where the group has changed that since it was last taken up.
    pub(super) fn regrouped(&self) -> Option<Assignment> {
        let membership = &self.options.membership;
        match self.options.until {
            Until::Again(_) => None,
            Until::Forever | Until::CaughtUp => {
                (membership.generation() != self.assignment.generation).then(|| membership.assignment())
            }
        }
    }

    /// Our topic partitions are others than those that are read: both ends are to be opened anew.
    pub(super) fn rebalanced(&self) -> Error {
        self.options.kafka_stats.rebalances.add(1);
        Error::new(ErrorKind::Rebalanced, "the topic partitions of this worker have changed")
    }
}
