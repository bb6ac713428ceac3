//! What `lakeward check` finds, in one form for every connector.

use serde::Serialize;

use crate::Error;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Looked at and right.
    Ok,
    /// Works, with a limit the user should know.
    Warning,
    /// `run` would refuse, or lose its promise.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at: `server.binlog_format`, `grant.replication_slave`, `lake.conditional_put`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// The statement, command or config that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// Looked at and right.
    pub fn ok(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { level: Level::Ok, subject: subject.into(), message: message.into(), fix: None }
    }

    /// Works, with a limit.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { level: Level::Warning, ..Self::ok(subject, message) }
    }

    /// Does not work.
    pub fn error(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { level: Level::Error, ..Self::ok(subject, message) }
    }

    /// What was looked at ends in an error.
    pub fn failed(subject: impl Into<String>, error: &Error) -> Self {
        let fix = error.remedy_text().map(str::to_owned);
        Finding { fix, ..Self::error(subject, error.without_remedy()) }
    }

    /// Adds what mends it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_remedy_of_an_error_is_told_once() {
        let error = Error::new(ErrorKind::LakeDenied, "no").at("bucket", "b").remedy("allow it");
        let finding = Finding::failed("lake", &error);
        assert_eq!((finding.message.as_str(), finding.fix.as_deref()), ("no (bucket b)", Some("allow it")));
    }
}
