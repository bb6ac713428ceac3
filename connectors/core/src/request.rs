//! What an operator asks of a pipeline, whether it runs or not.
//!
//! A request is put into the sink, is carried out by the source between two transactions, and is noted
//! in the [`crate::Checkpoint`] together with what it changed: so it is carried out once, whatever
//! crashes. Its way:
//!
//! 1. The command line puts it into the sink. [`crate::Resume::requests`] and
//!    [`crate::Source::requests`] hand the source *all* that stand there, again and again.
//! 2. The source carries out those that [`crate::Checkpoint::requests`] does not name, in the order of
//!    their ids, and notes an [`Answer`] there, in the same checkpoint as what they changed. One that
//!    cannot be carried out changes nothing and is answered with the reason.
//! 3. Once that checkpoint is committed, the sink removes the request.
//! 4. The source drops the answer when the request does not stand in the sink any more.
//!
//! A list is read after the one before it was handed over, so one that lacks an answered request was
//! read after its removal: the request cannot come back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TableId;

/// One thing that is asked, of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its name: lower-case letters, digits and `-`. Names sort in the order of asking.
    pub id: String,
    /// What is asked.
    pub command: Command,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Read a table's rows anew.
    Snapshot {
        /// The table.
        table: TableId,
        /// SQL condition: only the rows for which it holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition: Option<String>,
    },
    /// Capture a stopped table again: its rows are read anew.
    Resume {
        /// The table.
        table: TableId,
    },
    /// Let the reading of a table's rows wait. Its changes are captured meanwhile.
    Pause {
        /// The table.
        table: TableId,
    },
    /// Go on with a reading that waits.
    Continue {
        /// The table.
        table: TableId,
    },
    /// Give up the reading of a table's rows. What was read stays; nothing is voided.
    Cancel {
        /// The table.
        table: TableId,
    },
}

impl Command {
    /// The table it is about.
    pub fn table(&self) -> &TableId {
        match self {
            Command::Snapshot { table, .. }
            | Command::Resume { table }
            | Command::Pause { table }
            | Command::Continue { table }
            | Command::Cancel { table } => table,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Snapshot { table, condition: None } => write!(f, "snapshot {table}"),
            Command::Snapshot { table, condition: Some(part) } => write!(f, "snapshot {table} where {part}"),
            Command::Resume { table } => write!(f, "resume {table}"),
            Command::Pause { table } => write!(f, "pause {table}"),
            Command::Continue { table } => write!(f, "continue {table}"),
            Command::Cancel { table } => write!(f, "cancel {table}"),
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`Request::id`].
    pub id: String,
    /// Why it was not carried out; `None`: it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Answer {
    /// It was carried out.
    pub fn done(id: impl Into<String>) -> Self {
        Answer { id: id.into(), refused: None }
    }

    /// It was not, and nothing was changed.
    pub fn refused(id: impl Into<String>, why: impl Into<String>) -> Self {
        Answer { id: id.into(), refused: Some(why.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_stored_in_one_known_form() {
        let condition = Some("id > 5".to_owned());
        let table = TableId::new("shop", "orders");
        let request =
            Request { id: "1-a".into(), command: Command::Snapshot { table: table.clone(), condition } };
        let text = r#"{"id":"1-a","command":{"snapshot":{"table":["shop","orders"],"condition":"id > 5"}}}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        let pause = r#"{"id":"2","command":{"pause":{"table":["shop","orders"]}}}"#;
        let read = serde_json::from_str::<Request>(pause).unwrap();
        assert_eq!(read.command, Command::Pause { table });
    }

    #[test]
    fn a_request_that_says_more_than_is_understood_is_not_read() {
        for text in [
            r#"{"id":"1","command":{"pause":{"table":["a","b"],"until":"noon"}}}"#,
            r#"{"id":"1","command":{"pause":{"table":["a","b"]}},"by":"me"}"#,
            r#"{"id":"1","command":{"explode":{"table":["a","b"]}}}"#,
            r#"{"id":"1"}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
