//! Which server answers: MySQL 8.0 to 9.x and its hosted forms, or one that is refused by name.

use std::fmt;

use lakeward_core::{Error, ErrorKind, Result};
use mysql::Conn;

use crate::session::rows;

/// A server's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub patch: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Words in version or comment of servers that speak the protocol and are not MySQL.
const FOREIGN: &[&str] = &[
    "MariaDB",
    "TiDB",
    "Vitess",
    "OceanBase",
    "SingleStore",
    "MemSQL",
    "Dolt",
    "StarRocks",
    "Doris",
    "ClickHouse",
    "Databend",
    "GreptimeDB",
    "Sphinx",
    "Manticore",
];

impl Version {
    /// Names a version.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Version { major, minor, patch }
    }

    /// Asks for it, and refuses servers that are not supported.
    pub fn read(conn: &mut Conn) -> Result<Version> {
        let answer = rows(conn, "SELECT @@version, @@version_comment")?;
        let mut row = answer.into_iter().next().unwrap_or_default().into_iter();
        let mut next = || row.next().flatten().unwrap_or_default();
        Version::supported(&next(), &next())
    }

    /// The version that `version` and `comment` name; an error that says which server it is unless
    /// that is MySQL (Percona's included) 8.0 to 9.x.
    pub fn supported(version: &str, comment: &str) -> Result<Version> {
        let refused = |what: String| {
            Error::new(ErrorKind::SourceUnsupported, what).at("version", version).remedy(
                "lakeward reads MySQL 8.0 to 9.x, and Percona Server, RDS, Aurora and Cloud SQL of these",
            )
        };
        let said = format!("{version} {comment}").to_lowercase();
        if let Some(name) = FOREIGN.iter().find(|name| said.contains(&name.to_lowercase())) {
            return Err(refused(format!("the server is {name}, not MySQL")));
        }
        let mut numbers =
            version.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u16>().ok());
        let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
            return Err(refused("the server's version cannot be read".to_owned()));
        };
        let found = Version { major, minor, patch: numbers.next().unwrap_or(0) };
        match (Version::new(8, 0, 0)..Version::new(10, 0, 0)).contains(&found) {
            true => Ok(found),
            false => Err(refused(format!("MySQL {found} is not supported"))),
        }
    }

    /// `SHOW BINARY LOG STATUS`, as this version calls it.
    pub fn log_status_statement(&self) -> &'static str {
        match *self >= Version::new(8, 2, 0) {
            true => "SHOW BINARY LOG STATUS",
            false => "SHOW MASTER STATUS",
        }
    }

    pub(crate) fn replicas_statement(&self) -> &'static str {
        match *self >= Version::new(8, 0, 22) {
            true => "SHOW REPLICAS",
            false => "SHOW SLAVE HOSTS",
        }
    }

    pub(crate) fn replica_status_statement(&self) -> &'static str {
        match *self >= Version::new(8, 0, 22) {
            true => "SHOW REPLICA STATUS",
            false => "SHOW SLAVE STATUS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_are_not_mysql_eight_or_nine_are_refused_by_name() {
        for (version, comment, word) in [
            ("5.7.44-log", "MySQL Community Server (GPL)", "MySQL 5.7.44"),
            ("5.5.5-10.11.6-MariaDB-log", "Debian 12", "MariaDB"),
            ("8.0.11-TiDB-v7.5.0", "TiDB Server (Apache License 2.0)", "TiDB"),
            ("8.0.30-Vitess", "Version: 19", "Vitess"),
            ("5.7.32", "SingleStoreDB source distribution", "SingleStore"),
            ("10.0.0", "MySQL", "MySQL 10.0.0"),
            ("x", "", "cannot be read"),
        ] {
            let error = Version::supported(version, comment).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceUnsupported);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn supported_versions_are_read() {
        for (version, expected) in [
            ("8.0.36-28", Version::new(8, 0, 36)),
            ("8.4.3", Version::new(8, 4, 3)),
            ("9.7.4-2", Version::new(9, 7, 4)),
            ("8.0.31-google", Version::new(8, 0, 31)),
        ] {
            assert_eq!(Version::supported(version, "Percona Server (GPL)").unwrap(), expected);
        }
        assert_eq!(Version::new(8, 2, 0).log_status_statement(), "SHOW BINARY LOG STATUS");
        assert_eq!(Version::new(8, 1, 9).log_status_statement(), "SHOW MASTER STATUS");
    }
}
