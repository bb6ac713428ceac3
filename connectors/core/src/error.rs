//! One error type, and the one table that says what each kind means for the run.
//!
//! *Definite* errors are about a table's data and stop that table; *transient* ones are about the
//! world and are retried with backoff; everything else stops the pipeline. A message says what is
//! wrong, the context says where, the remedy says how to mend it. Secrets never enter an error.

use std::fmt;

use crate::TableId;

/// Shorthand for results of this project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// With what a pipeline that cannot go on is begun anew; the README says how.
pub const ANEW: &str = "another `name` and another prefix in `lake.url`";

/// What an error stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only this table; the others go on.
    Table(TableId),
    /// The whole pipeline.
    Pipeline,
}

/// What the run does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Try again with backoff; the world may have changed.
    Retry,
    /// Stop the table the error names (the pipeline, where it names none).
    StopTable,
    /// Stop the pipeline.
    StopPipeline,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident => $policy:ident, $exit:literal, $sentence:literal;)*) => {
        /// The kinds of error. [`ErrorKind::policy`], [`ErrorKind::exit_code`] and
        /// [`ErrorKind::sentence`] are the project's one table of what to do about each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorKind { $($(#[doc = $doc])* $name,)* }

        impl ErrorKind {
            /// Every kind, in the order of the table.
            pub const ALL: &[ErrorKind] = &[$(ErrorKind::$name,)*];
            /// What the run does about it.
            pub fn policy(self) -> Policy { match self { $(ErrorKind::$name => Policy::$policy,)* } }
            /// The exit code of a process that ends with it (documented in the README).
            pub fn exit_code(self) -> u8 { match self { $(ErrorKind::$name => $exit,)* } }
            /// What it means, for the operator.
            pub fn sentence(self) -> &'static str { match self { $(ErrorKind::$name => $sentence,)* } }
            /// Its name in logs, `--json` output and checkpoints.
            pub fn name(self) -> &'static str { match self { $(ErrorKind::$name => stringify!($name),)* } }
        }
    };
}

kinds! {
    /// A defect of lakeward itself.
    Bug => StopPipeline, 1, "This is a defect of lakeward; please report it with the log.";
    /// The config file or the command line is wrong.
    Config => StopPipeline, 2, "The config file or the command line needs a correction.";
    /// The source refused the login.
    SourceAuth => StopPipeline, 10, "The MySQL server refused the login.";
    /// The encrypted link to the source cannot be had, or its certificate is not trusted.
    SourceTls => StopPipeline, 10, "The MySQL server's TLS connection is missing or not trusted.";
    /// A privilege is missing on the source.
    SourceGrant => StopPipeline, 10, "The MySQL account lacks a privilege.";
    /// A server setting makes an exact copy impossible.
    SourceSetting => StopPipeline, 10, "A setting of the MySQL server makes exact capture impossible.";
    /// A server that is not supported.
    SourceUnsupported => StopPipeline, 10, "This kind or version of server is not supported.";
    /// The source cannot be reached, or the link broke.
    SourceUnreachable => Retry, 11, "The MySQL server cannot be reached.";
    /// The server no longer has the binlog that comes next.
    PositionLost => StopPipeline, 12, "The server has purged changes that were not read yet.";
    /// Another server, or another history, answers at the address.
    SourceLineage => StopPipeline, 12, "The server is not the one, or not of the history, that was read before.";
    /// An event that is not understood.
    UnsupportedEvent => StopPipeline, 13, "The binlog holds an event that is not understood; going on could lose changes.";
    /// An event whose bytes are damaged.
    CorruptEvent => StopPipeline, 13, "The binlog holds damaged bytes.";
    /// An event above the set limit.
    EventTooLarge => StopPipeline, 13, "One event is larger than the set limit.";
    /// A table's structure changed in a way that is not followed.
    TableChanged => StopTable, 14, "The table's structure changed.";
    /// A DDL statement that touches a captured table could not be parsed.
    UnparsedDdl => StopTable, 14, "A statement that touches the table was not understood.";
    /// Rows changed without being logged as rows.
    UnloggedChange => StopTable, 14, "Rows of the table can change without row events in the binlog.";
    /// A row image that lacks columns.
    IncompleteImage => StopTable, 14, "A row image in the binlog lacks columns.";
    /// An XA transaction touched the table.
    XaTransaction => StopTable, 14, "An XA transaction touched the table; XA is not supported.";
    /// A value that cannot be read or held.
    UnreadableValue => StopTable, 14, "A value could not be read exactly.";
    /// The lake cannot be reached, or answers with a passing error.
    LakeUnreachable => Retry, 20, "The lake cannot be reached.";
    /// The lake refuses access.
    LakeDenied => StopPipeline, 21, "The lake refuses access.";
    /// The store lacks a property that exactly-once rests on.
    LakeUnsuited => StopPipeline, 21, "The store cannot hold a lake safely.";
    /// A full disk, or a quota.
    LakeFull => StopPipeline, 22, "The lake's disk is full.";
    /// A commit record or schema file that is damaged or not ours.
    LakeCorrupt => StopPipeline, 23, "The lake's own records are damaged or foreign.";
    /// A table folder that another pipeline owns.
    LakeOwned => StopPipeline, 24, "The table's folder belongs to another pipeline.";
    /// A newer writer of the same pipeline took over.
    Fenced => StopPipeline, 25, "A newer process of this pipeline has taken over; this one is fenced.";
    /// An upload that was decided has vanished from the store and could not be repaired.
    LostUpload => StopPipeline, 26, "Data that was committed has vanished from the store.";
    /// Topic partitions of this worker are another's now, or another was faster: it begins anew.
    Rebalanced => Retry, 28, "The topic partitions of this worker were given to another; beginning anew.";
    /// The Kafka cluster cannot be reached, or answers with a passing error.
    KafkaUnreachable => Retry, 30, "The Kafka cluster cannot be reached.";
    /// The Kafka cluster refused the login, or its certificate is not trusted.
    KafkaAuth => StopPipeline, 31, "The Kafka cluster refused the login, or its TLS certificate is not trusted.";
    /// A right is missing on the Kafka cluster.
    KafkaDenied => StopPipeline, 31, "The Kafka cluster denies a right.";
    /// A topic is gone, was made anew, or lacks events that were counted.
    TopicLost => StopPipeline, 32, "A topic lacks change events that were written to it.";
    /// A record that is not what it should be.
    UnreadableRecord => StopPipeline, 33, "A record in Kafka cannot be read.";
    /// The schema registry cannot be reached, or answers with a passing error.
    RegistryUnreachable => Retry, 34, "The schema registry cannot be reached.";
    /// The schema registry refuses access, or a schema.
    RegistryRefused => StopPipeline, 35, "The schema registry refuses access or a schema.";
    /// A source transaction that takes longer than a Kafka transaction may.
    TransactionTooLarge => StopPipeline, 36, "A transaction of the source takes longer than the Kafka cluster allows.";
    /// A change event larger than the cluster takes.
    MessageTooLarge => StopPipeline, 36, "A change event is larger than a record in Kafka may be.";
    /// A failure of the machine itself.
    Io => StopPipeline, 27, "The machine refused an operation.";
}

/// An error with its kind, scope, message, remedy and cause.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    scope: Scope,
    message: String,
    context: Vec<(&'static str, String)>,
    remedy: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` for the whole pipeline.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            inner: Box::new(Inner {
                kind,
                scope: Scope::Pipeline,
                message: message.into(),
                context: Vec::new(),
                remedy: None,
                source: None,
            }),
        }
    }

    /// Says that only `table` is concerned.
    #[must_use]
    pub fn of_table(mut self, table: &TableId) -> Self {
        self.inner.scope = Scope::Table(table.clone());
        self
    }

    /// Adds where it happened: `("position", …)`, `("column", …)`, `("key", …)`.
    #[must_use]
    pub fn at(mut self, what: &'static str, place: impl fmt::Display) -> Self {
        self.inner.context.push((what, place.to_string()));
        self
    }

    /// Says how to mend it: a statement to run, a key to set.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.inner.remedy = Some(remedy.into());
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What it stops.
    pub fn scope(&self) -> &Scope {
        &self.inner.scope
    }

    /// What is wrong, without place and remedy.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// How to mend it, if that is known.
    pub fn remedy_text(&self) -> Option<&str> {
        self.inner.remedy.as_deref()
    }

    /// What is wrong, where and why, for who tells the remedy beside it.
    pub fn without_remedy(&self) -> String {
        let mut text = self.inner.message.clone();
        let table = match &self.inner.scope {
            Scope::Table(table) => Some(("table", table.to_string())),
            Scope::Pipeline => None,
        };
        let places: Vec<String> = table
            .iter()
            .map(|(what, place)| format!("{what} {place}"))
            .chain(self.inner.context.iter().map(|(what, place)| format!("{what} {place}")))
            .collect();
        if !places.is_empty() {
            text.push_str(&format!(" ({})", places.join(", ")));
        }
        for cause in self.causes() {
            text.push_str(&format!(": {cause}"));
        }
        text
    }

    /// Where it happened.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }

    /// What caused it, outermost first.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let first = self.inner.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static));
        std::iter::successors(first, |error| error.source())
    }

    /// What the run does about it: a definite error without a table stops the pipeline.
    pub fn policy(&self) -> Policy {
        match (self.inner.kind.policy(), &self.inner.scope) {
            (Policy::StopTable, Scope::Pipeline) => Policy::StopPipeline,
            (policy, _) => policy,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_remedy())?;
        match &self.inner.remedy {
            Some(remedy) => write!(f, ". To mend it: {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_thing_the_place_and_the_remedy() {
        let error = Error::new(ErrorKind::IncompleteImage, "the row image lacks column b")
            .of_table(&TableId::new("shop", "orders"))
            .at("position", "binlog.000002:4711")
            .remedy("SET GLOBAL binlog_row_image = FULL");
        assert_eq!(
            error.to_string(),
            "the row image lacks column b (table shop.orders, position binlog.000002:4711). \
             To mend it: SET GLOBAL binlog_row_image = FULL"
        );
        assert_eq!(error.policy(), Policy::StopTable);
    }

    #[test]
    fn a_definite_error_without_a_table_stops_the_pipeline() {
        assert_eq!(Error::new(ErrorKind::TableChanged, "x").policy(), Policy::StopPipeline);
    }
}
