//! How topics are loaded into the lake.

use std::time::Duration;

use lakeward_core::{Error, ErrorKind, Period, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// How topics are loaded into the lake.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadConfig {
    /// The consumer group by which the workers of `load` share the topic partitions. Its offsets are for display only:
    /// the lake alone says where to go on. Default: `lakeward-<pipeline>`.
    pub group: Option<String>,
    /// A worker that gives no sign of life for so long is taken for dead; others read on in its place.
    pub session_timeout: Period,
    /// A topic, which must exist, for records that cannot be read: as they were, with headers `lakeward.…` that say
    /// why. Default: such a record stops its topic partition.
    pub dead_letter: Option<String>,
}

impl Default for LoadConfig {
    fn default() -> Self {
        LoadConfig { group: None, session_timeout: Period::secs(10), dead_letter: None }
    }
}

/// A checked [`LoadConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The consumer group, where one is named.
    pub group: Option<String>,
    /// A worker that gives no sign of life for so long is taken for dead.
    pub session_timeout: Duration,
    /// The topic for records that cannot be read, where there is one.
    pub dead_letter: Option<String>,
}

/// The client's own bounds.
const SESSION_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

impl LoadConfig {
    /// Checks it.
    ///
    /// # Errors
    /// `Config`, with the key and the fix.
    pub fn checked(&self) -> Result<Load> {
        if !SESSION_TIMEOUT.contains(&self.session_timeout.0) {
            return Err(Error::new(ErrorKind::Config, format!("a worker cannot be waited for as long as {}", self.session_timeout))
                .at("key", "transport.kafka.load.session_timeout")
                .remedy("write 1s to 1h; the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms must allow it"));
        }
        let (group, dead_letter) = (self.group.clone(), self.dead_letter.clone());
        Ok(Load { group, session_timeout: self.session_timeout.0, dead_letter })
    }
}
