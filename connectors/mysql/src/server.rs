//! What the server is, how it is set, and where its binlog stands.
//!
//! Guarantee: a server that is not MySQL 8.0 to 9.x is refused by name before anything is read from
//! it ([`Version::read`], asked on every connection). [`ServerFacts`] are one reading of the settings
//! that exactness rests on; [`ServerFacts::refuse_unfit`] refuses those under which row changes are
//! not logged whole. Unknown: settings may change while the stream runs; that a session logs by
//! statement or with a minimal image is seen in the log itself, event by event.

use std::collections::BTreeMap;

use lakeward_core::error::ANEW;
use lakeward_core::{BinlogPosition, Error, ErrorKind, GtidSet, Result};
use mysql::Conn;
use uuid::Uuid;

use crate::session::{named_rows, rows};
pub use crate::version::Version;

/// Who runs the server: it decides how settings are changed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// Nobody in particular.
    Plain,
    /// Amazon RDS for MySQL.
    Rds,
    /// Amazon Aurora MySQL.
    Aurora,
    /// Google Cloud SQL.
    CloudSql,
}

/// `gtid_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GtidMode {
    /// No GTIDs.
    Off,
    /// On the way to `On` or back: transactions with and without.
    Mixed,
    /// Every transaction has one.
    On,
}

/// One reading of a server's identity, settings and binlog.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Version.
    pub version: Version,
    /// Version as the server writes it.
    pub version_text: String,
    /// Who runs it.
    pub hosting: Hosting,
    /// `server_uuid`.
    pub uuid: Uuid,
    /// `server_id`.
    pub server_id: u32,
    /// `gtid_mode`.
    pub gtid_mode: GtidMode,
    /// `gtid_executed`.
    pub executed: GtidSet,
    /// `gtid_purged`: executed, and no longer in the binlogs.
    pub purged: GtidSet,
    /// Global variables asked for, those that this version has; names in lower case.
    variables: BTreeMap<String, String>,
    /// `binlog_do_db` and `binlog_ignore_db`, where not empty; `None` where the binlog is off.
    pub filters: Option<LogFilters>,
    /// Whether it replicates from another server; `None` where the account may not ask.
    pub is_replica: Option<bool>,
    /// The end of the binlog; `None` where the binlog is off.
    pub end: Option<BinlogEnd>,
}

/// Databases whose changes are, or are not, logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilters {
    /// `binlog_do_db`, comma-separated; empty for all.
    pub only: String,
    /// `binlog_ignore_db`, comma-separated.
    pub never: String,
}

/// The end of a server's binlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinlogEnd {
    /// File name.
    pub file: String,
    /// Byte offset after the last event.
    pub offset: u64,
}

/// Global variables that facts are made of.
const VARIABLES: &[&str] = &[
    "aurora_version",
    "basedir",
    "binlog_checksum",
    "binlog_expire_logs_seconds",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "datadir",
    "enforce_gtid_consistency",
    "expire_logs_days",
    "gtid_executed",
    "gtid_mode",
    "gtid_purged",
    "innodb_native_foreign_keys",
    "innodb_read_only",
    "log_bin",
    "log_replica_updates",
    "log_slave_updates",
    "lower_case_table_names",
    "read_only",
    "server_id",
    "server_uuid",
    "time_zone",
    "version",
    "version_comment",
];

impl ServerFacts {
    /// Reads them. Needs `REPLICATION CLIENT` for the binlog's end.
    pub fn read(conn: &mut Conn) -> Result<ServerFacts> {
        let names: Vec<String> = VARIABLES.iter().map(|name| format!("'{name}'")).collect();
        let answer =
            rows(conn, &format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})", names.join(",")))?;
        let variables: BTreeMap<String, String> = answer
            .into_iter()
            .filter_map(|row| match <[Option<String>; 2]>::try_from(row) {
                Ok([Some(name), Some(value)]) => Some((name.to_lowercase(), value)),
                _ => None,
            })
            .collect();
        let text = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let version_text = text("version");
        let version = Version::supported(&version_text, &text("version_comment"))?;
        let (end, filters) = match is_on(&text("log_bin")) {
            true => log_status(conn, &version)?,
            false => (None, None),
        };
        Ok(ServerFacts {
            hosting: hosting(&variables),
            uuid: text("server_uuid").parse().map_err(|_| unreadable("server_uuid", &text("server_uuid")))?,
            server_id: text("server_id").parse().map_err(|_| unreadable("server_id", &text("server_id")))?,
            gtid_mode: match text("gtid_mode").as_str() {
                "ON" => GtidMode::On,
                "OFF" | "" => GtidMode::Off,
                "OFF_PERMISSIVE" | "ON_PERMISSIVE" => GtidMode::Mixed,
                other => return Err(unreadable("gtid_mode", other)),
            },
            executed: gtid_set("gtid_executed", &text("gtid_executed"))?,
            purged: gtid_set("gtid_purged", &text("gtid_purged"))?,
            is_replica: is_replica(conn, &version)?,
            version,
            version_text,
            variables,
            filters,
            end,
        })
    }

    /// A global variable as the server writes it; `None` where this version has none of the name.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether the binlog is on.
    pub fn log_bin(&self) -> bool {
        self.variable("log_bin").is_some_and(is_on)
    }

    /// Whether changes are logged as rows (`binlog_format`; the variable's removal means rows).
    pub fn logs_rows(&self) -> bool {
        self.variable("binlog_format").is_none_or(|format| format == "ROW")
    }

    /// Whether row images hold every column.
    pub fn full_images(&self) -> bool {
        self.variable("binlog_row_image").is_none_or(|image| image == "FULL")
    }

    /// Whether table-map events name columns (`binlog_row_metadata=FULL`).
    pub fn full_metadata(&self) -> bool {
        self.variable("binlog_row_metadata") == Some("FULL")
    }

    /// Whether a replica writes what it applies to its own binlog.
    pub fn logs_replicated(&self) -> bool {
        self.variable("log_replica_updates").or(self.variable("log_slave_updates")).is_some_and(is_on)
    }

    /// Whether changes that foreign keys make in child tables are logged as rows: from 9.6 on, where
    /// the SQL layer runs them, unless `innodb_native_foreign_keys` gives them back to InnoDB.
    pub fn logs_cascades(&self) -> bool {
        self.version >= Version::new(9, 6, 0)
            && !self.variable("innodb_native_foreign_keys").is_some_and(is_on)
    }

    /// Whether names of databases and tables are compared without regard to case.
    pub fn names_ignore_case(&self) -> bool {
        self.variable("lower_case_table_names").is_some_and(|value| value != "0")
    }

    /// How long binlogs are kept, in seconds; 0 for ever, `None` unknown. On RDS and Aurora another
    /// setting decides, see [`rds_retention_hours`].
    pub fn expire_seconds(&self) -> Option<u64> {
        let number = |name: &str| self.variable(name).and_then(|value| value.parse::<u64>().ok());
        number("binlog_expire_logs_seconds").or_else(|| number("expire_logs_days").map(|days| days * 86_400))
    }

    /// How long a binlog is surely kept, in seconds; `None` where it is not known, as on RDS and
    /// Aurora, or kept for ever.
    pub fn kept_seconds(&self) -> Option<u64> {
        let told = matches!(self.hosting, Hosting::Plain | Hosting::CloudSql);
        self.expire_seconds().filter(|seconds| told && *seconds > 0)
    }

    /// Refuses settings under which changes are not logged, or not whole. The first wrong one is
    /// named; `check` names all.
    pub fn refuse_unfit(&self) -> Result<()> {
        match crate::preflight::settings(self).into_iter().find(|f| f.level == lakeward_core::Level::Error) {
            None => Ok(()),
            Some(finding) => {
                let error =
                    Error::new(ErrorKind::SourceSetting, finding.message).at("setting", finding.subject);
                Err(match finding.fix {
                    Some(fix) => error.remedy(fix),
                    None => error,
                })
            }
        }
    }

    /// Whether the stream can go on after the transactions `ours`: they are this server's history,
    /// and everything later is still in its binlogs.
    pub fn refuse_lost(&self, ours: &GtidSet) -> Result<()> {
        let unknown = ours.minus(&self.executed);
        if !unknown.is_empty() {
            return Err(Error::new(
                ErrorKind::SourceLineage,
                format!(
                    "{} transactions that were read before are unknown to this server: {unknown}",
                    unknown.count()
                ),
            )
            .at("server", self.uuid)
            .remedy(
                "connect to the server that was read before, or wait until this one has caught up with it",
            ));
        }
        let lost = self.purged.minus(ours);
        if lost.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PositionLost,
            format!("{} transactions were purged before they were read: {lost}", lost.count()),
        )
        .at("server", self.uuid)
        .remedy(format!(
            "read from a replica that still has them, or read all tables anew (snapshot.mode: when_needed); then \
             raise the binlogs' retention: {}",
            crate::preflight::to_keep_longer(self)
        )))
    }

    /// [`ServerFacts::refuse_lost`] for a position without GTIDs: the same server, and a file that it
    /// still has.
    pub fn refuse_lost_file(&self, at: &BinlogPosition, logs: &[BinaryLog]) -> Result<()> {
        if at.server_uuid != self.uuid {
            return Err(Error::new(
                ErrorKind::SourceLineage,
                format!(
                    "server {} answers, but {} was read before, and without GTIDs a position is one server's",
                    self.uuid, at.server_uuid
                ),
            )
            .at("position", at)
            .remedy(format!("connect to the server that was read before, or begin anew: {ANEW}")));
        }
        let oldest = logs.first().map_or("none", |log| &log.name);
        match logs.iter().find(|log| log.name == at.file) {
            Some(log) if at.offset <= log.size => Ok(()),
            Some(log) => Err(Error::new(
                ErrorKind::SourceLineage,
                format!(
                    "binlog {} has {} bytes, fewer than were read: the server lost changes or was reset",
                    log.name, log.size
                ),
            )
            .at("position", at)
            .remedy(format!("begin anew: {ANEW}"))),
            None => Err(Error::new(
                ErrorKind::PositionLost,
                format!("binlog {} is gone; the oldest is {oldest}", at.file),
            )
            .at("position", at)
            .remedy(format!(
                "read all tables anew (snapshot.mode: when_needed); then raise the binlogs' retention: {}",
                crate::preflight::to_keep_longer(self)
            ))),
        }
    }
}

fn is_on(value: &str) -> bool {
    value == "ON" || value == "1"
}

fn unreadable(name: &str, value: &str) -> Error {
    Error::new(ErrorKind::SourceUnsupported, format!("the server's {name} cannot be read: `{value}`"))
}

fn gtid_set(name: &str, text: &str) -> Result<GtidSet> {
    text.parse().map_err(|error: String| unreadable(name, text).caused_by(error))
}

/// Markers: Aurora has a variable of its own, RDS a base directory, Cloud SQL a version suffix.
fn hosting(variables: &BTreeMap<String, String>) -> Hosting {
    let says = |name: &str, word: &str| variables.get(name).is_some_and(|value| value.contains(word));
    if variables.contains_key("aurora_version") {
        Hosting::Aurora
    } else if says("basedir", "rdsdb") || says("datadir", "rdsdb") {
        Hosting::Rds
    } else if says("version", "-google") || says("version_comment", "Google") {
        Hosting::CloudSql
    } else {
        Hosting::Plain
    }
}

fn log_status(conn: &mut Conn, version: &Version) -> Result<(Option<BinlogEnd>, Option<LogFilters>)> {
    let (names, rows) = named_rows(conn, version.log_status_statement())?;
    let Some(row) = rows.into_iter().next() else { return Ok((None, None)) };
    let mut fields: BTreeMap<String, String> =
        names.into_iter().zip(row).filter_map(|(name, value)| Some((name, value?))).collect();
    let mut field = |name: &str| fields.remove(name).unwrap_or_default();
    let position = field("Position");
    let end = BinlogEnd {
        file: field("File"),
        offset: position.parse().map_err(|_| unreadable("binlog position", &position))?,
    };
    Ok((Some(end), Some(LogFilters { only: field("Binlog_Do_DB"), never: field("Binlog_Ignore_DB") })))
}

fn is_replica(conn: &mut Conn, version: &Version) -> Result<Option<bool>> {
    match rows(conn, version.replica_status_statement()) {
        Ok(rows) => Ok(Some(!rows.is_empty())),
        Err(error) if error.kind() == ErrorKind::SourceGrant => Ok(None),
        Err(error) => Err(error),
    }
}

/// One binlog file of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryLog {
    /// File name.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// `SHOW BINARY LOGS`, oldest first. Needs `REPLICATION CLIENT`.
pub fn binary_logs(conn: &mut Conn) -> Result<Vec<BinaryLog>> {
    rows(conn, "SHOW BINARY LOGS")?
        .into_iter()
        .map(|row| {
            let mut row = row.into_iter().flatten();
            let name = row.next().unwrap_or_default();
            let size = row.next().unwrap_or_default();
            let size = size.parse().map_err(|_| unreadable("binlog size", &size))?;
            Ok(BinaryLog { name, size })
        })
        .collect()
}

/// Bytes of binlog between a place and the end; `None` where the place is not in `logs`.
pub fn bytes_after(logs: &[BinaryLog], file: &str, offset: u64) -> Option<u64> {
    let at = logs.iter().position(|log| log.name == file)?;
    let whole: u64 = logs.get(at + 1..)?.iter().map(|log| log.size).sum();
    Some(logs.get(at)?.size.saturating_sub(offset).saturating_add(whole))
}

/// The end of the binlog, and then `gtid_executed`. On a busy server the two are not one moment: the
/// set may hold transactions after the end, and may lack some before it that are just committing. A
/// stream that starts at the set lacks nothing, as the server sends what the set does not hold.
pub fn current_end(conn: &mut Conn, version: &Version) -> Result<(BinlogEnd, GtidSet)> {
    let (end, _) = log_status(conn, version)?;
    let end = end.ok_or_else(|| {
        Error::new(ErrorKind::SourceSetting, "the server's binlog is off")
            .remedy("start the server with log_bin")
    })?;
    let answer = rows(conn, "SELECT @@GLOBAL.gtid_executed")?;
    let text = answer.into_iter().flatten().flatten().next().unwrap_or_default();
    Ok((end, gtid_set("gtid_executed", &text)?))
}

/// A server id that is neither the server's nor one of its replicas', chosen from `seed`. Ids from
/// 1 000 000 000 up are rarely given by people.
pub fn free_server_id(conn: &mut Conn, facts: &ServerFacts, seed: u64) -> Result<u32> {
    let (names, rows) = named_rows(conn, facts.version.replicas_statement())?;
    let column = names.iter().position(|name| name.eq_ignore_ascii_case("server_id"));
    let mut used: Vec<u32> =
        rows.iter().filter_map(|row| row.get(column?)?.as_deref()?.parse().ok()).collect();
    used.push(facts.server_id);
    Ok(choose_server_id(&used, seed))
}

fn choose_server_id(used: &[u32], seed: u64) -> u32 {
    const FIRST: u32 = 1_000_000_000;
    // SplitMix64's finisher: near seeds give far ids.
    let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let span = u64::from(u32::MAX - FIRST);
    let mut id = FIRST + u32::try_from((mixed ^ (mixed >> 31)) % span).unwrap_or(0);
    while used.contains(&id) {
        id = id.checked_add(1).unwrap_or(FIRST);
    }
    id
}

/// RDS's and Aurora's own retention, in hours; `Some(None)` where it is not set (binlogs are then
/// removed as soon as no replica needs them), `None` where the account may not read it.
pub fn rds_retention_hours(conn: &mut Conn) -> Result<Option<Option<u64>>> {
    match rows(conn, "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'") {
        Ok(answer) => {
            Ok(Some(answer.into_iter().flatten().flatten().next().and_then(|hours| hours.parse().ok())))
        }
        Err(error) if matches!(error.kind(), ErrorKind::SourceGrant | ErrorKind::SourceUnsupported) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_known_by_its_marks() {
        let of = |name: &str, value: &str| hosting(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert_eq!(of("aurora_version", "3.08.0"), Hosting::Aurora);
        assert_eq!(of("basedir", "/rdsdbbin/mysql-8.0.39.R2/"), Hosting::Rds);
        assert_eq!(of("version", "8.0.31-google"), Hosting::CloudSql);
        assert_eq!(of("basedir", "/usr/"), Hosting::Plain);
    }

    #[test]
    fn a_chosen_server_id_is_free_and_differs_by_seed() {
        let id = choose_server_id(&[], 7);
        assert!(id >= 1_000_000_000);
        assert_eq!(choose_server_id(&[id], 7), id + 1);
        assert_ne!(choose_server_id(&[], 8), id);
    }

    #[test]
    fn distance_to_the_end_counts_files_between() {
        let logs = [("a.1", 100), ("a.2", 50)].map(|(name, size)| BinaryLog { name: name.into(), size });
        assert_eq!(bytes_after(&logs, "a.1", 40), Some(110));
        assert_eq!(bytes_after(&logs, "a.2", 50), Some(0));
        assert_eq!(bytes_after(&logs, "a.0", 4), None);
    }
}
