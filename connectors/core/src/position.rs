//! Where a source resumes.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::GtidSet;

/// Where a source resumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Position {
    /// A place between two transactions of a MySQL server's binlog.
    Binlog(BinlogPosition),
}

/// A place between two transactions of a MySQL server's binlog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinlogPosition {
    /// The server whose `file` and `offset` these are.
    pub server_uuid: Uuid,
    /// Binlog file name, as `SHOW BINARY LOGS` shows it.
    pub file: String,
    /// Byte offset of the next event in `file`; 64 bits, as a file can pass 4 GiB.
    pub offset: u64,
    /// All transactions before this place, where the server has GTIDs on: they decide the resume,
    /// and `file:offset` is then only for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid_set: Option<GtidSet>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Binlog(position) => position.fmt(f),
        }
    }
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)?;
        match &self.gtid_set {
            Some(set) if !set.is_empty() => write!(f, " [{set}]"),
            _ => Ok(()),
        }
    }
}
