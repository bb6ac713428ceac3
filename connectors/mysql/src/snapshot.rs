//! Rows that are in the tables already: read in chunks while the stream runs, without locks.

pub(crate) mod chunks;
mod equal;
pub(crate) mod filters;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod lookup;
mod pace;
pub(crate) mod plan;
pub(crate) mod read;
mod sight;
pub(crate) mod spacing;
pub(crate) mod window;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::MysqlConfig;

/// When existing rows are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// Once for each table, while its changes are followed.
    #[default]
    Initial,
    /// Once for each table; the run ends when all are in the lake, complete up to one position.
    InitialOnly,
    /// Never: the pipeline begins at `start`.
    NoData,
    /// As `initial`, and again where the binlog that is needed to go on is gone.
    WhenNeeded,
    /// At every start.
    Always,
}

/// What is locked to read a table where no lock-free proof exists: one without a key, or on a server
/// without GTIDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotLock {
    /// Nothing: such tables are refused.
    #[default]
    None,
    /// The table, for the instant in which a consistent view of it is opened (`LOCK TABLES … READ`).
    Tables,
}

/// When and how existing rows are read.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotOptions {
    /// When.
    pub mode: SnapshotMode,
    /// What may be locked.
    pub lock: SnapshotLock,
    /// Chunks that are read at once, over all tables; fewer while the server is busy.
    #[schemars(range(min = 1, max = 16))]
    pub parallelism: u32,
    /// A replica of the server, to read from in its place.
    pub replica: Option<MysqlConfig>,
    /// Chunks wait while the server has more running threads than this.
    #[schemars(range(min = 1))]
    pub max_threads_running: u32,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        SnapshotOptions {
            mode: SnapshotMode::default(),
            lock: SnapshotLock::default(),
            parallelism: 2,
            replica: None,
            max_threads_running: 50,
        }
    }
}
