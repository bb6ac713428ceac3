//! What every step of the reading uses: the way to the sink, the client, the signs to end.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::Result;
use rdkafka::consumer::Consumer;

use super::super::dead_letters::DeadLetters;
use super::super::link::BRIEF;
use super::super::outlet::{End, Outlet};
use super::ForeignOptions;
use super::topics::{Found, find};
use crate::client::{Reader, explained};
use crate::topics::usable;

/// What the steps share.
pub(super) struct Desk {
    pub(super) options: ForeignOptions,
    pub(super) out: Outlet,
    /// The client of the lanes.
    pub(super) reader: Arc<Reader>,
    /// Where records go that cannot be read, if not nowhere.
    pub(super) dead_letters: Option<DeadLetters>,
}

impl Desk {
    /// The topics that are read, as the cluster has them now.
    pub(super) fn topics(&self) -> Result<Found> {
        let metadata = self
            .reader
            .fetch_metadata(None, BRIEF)
            .map_err(|error| explained("the topics", &error, self.reader.context().trouble()))?;
        let kafka = &self.options.kafka;
        find(&usable(&metadata), &kafka.prefix, &self.options.tables, kafka.load.dead_letter.as_deref())
    }

    /// Whether to go on: somebody listens, no error stands. Waits as long as `wait` for what the client says.
    pub(super) fn look(&self, wait: Duration) -> Result<(), End> {
        self.out.look(&self.reader, wait)
    }
}
