//! What `check` says about the server: one finding per thing that is looked at, each with the
//! statement that mends it, in the words of whoever hosts the server.
//!
//! [`settings`] is the one list of settings that capture rests on; opening a stream refuses on its
//! errors, so `check` and `run` never disagree.

pub mod snapshots;

use lakeward_core::error::ANEW;
use lakeward_core::{Error, ErrorKind, Finding, Level, Result, TableFilter, TableId};
use mysql::Conn;

use crate::catalog::{self, Cascade, Catalog};
use crate::config::MysqlConfig;
use crate::connection::{Purpose, connect};
use crate::grants::Grants;
use crate::server::{GtidMode, Hosting, ServerFacts, rds_retention_hours};

/// Shorter retention than this is worth a word: a weekend without the reader.
const RETENTION_SECONDS: u64 = 3 * 86_400;

/// Looks at the server, the account and the captured tables. `reserved` are the names that the lake
/// gives to its own columns and partitions.
pub fn check(config: &MysqlConfig, filter: &TableFilter, reserved: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = look(config, filter, reserved, &mut findings) {
        findings.push(Finding::failed("server.connection", &error));
    }
    findings
}

fn look(
    config: &MysqlConfig,
    filter: &TableFilter,
    reserved: &[String],
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let mut conn = connect(config, Purpose::Questions)?;
    findings.push(Finding::ok("server.connection", format!("connected to {}:{}", config.host, config.port)));
    let held = Grants::read(&mut conn)?;
    findings.extend(replication_grants(&held));
    if findings.iter().any(|finding| finding.level == Level::Error) {
        // Without REPLICATION CLIENT the server does not say where its binlog stands.
        findings.extend(tables(&mut conn, filter, &held, None, reserved)?);
        return Ok(());
    }
    let facts = ServerFacts::read(&mut conn)?;
    findings.push(Finding::ok("server.version", format!("MySQL {}", facts.version_text)));
    findings.extend(settings(&facts));
    findings.push(retention(&mut conn, &facts, &held)?);
    findings.extend(tables(&mut conn, filter, &held, Some(&facts), reserved)?);
    Ok(())
}

/// Refuses an account that may not read the binlog, and for a `new` pipeline also tables that are not
/// there or may not be read: what `check` would have told. The first is named; `check` names all.
///
/// # Errors
/// `SourceGrant`, `Config` for a table that does not exist, and those of asking the server.
pub fn refuse(conn: &mut Conn, filter: &TableFilter, new: bool) -> Result<()> {
    let held = Grants::read(conn)?;
    refused(ErrorKind::SourceGrant, replication_grants(&held))?;
    if !new {
        return Ok(());
    }
    let visible: Vec<TableId> = catalog::visible_tables(conn)?.into_keys().collect();
    if !visible.iter().any(|table| filter.captures(table)) {
        let unreadable = filter.databases().find(|name| !held.may("SELECT", &TableId::new(*name, "")));
        if let Some(database) = unreadable {
            let message = format!("{} lacks SELECT on the captured database", held.account());
            return Err(Error::new(ErrorKind::SourceGrant, message)
                .at("database", database)
                .remedy(held.database_fix("SELECT", database)));
        }
    }
    refused(ErrorKind::Config, named_tables(filter, &visible, &held))
}

/// The first finding that is an error, as an error.
fn refused(kind: ErrorKind, findings: Vec<Finding>) -> Result<()> {
    let Some(finding) = findings.into_iter().find(|finding| finding.level == Level::Error) else {
        return Ok(());
    };
    let error = Error::new(kind, finding.message).at("subject", finding.subject);
    Err(match finding.fix {
        Some(fix) => error.remedy(fix),
        None => error,
    })
}

/// Databases and tables that the account can see, for `init`.
pub fn discover(config: &MysqlConfig) -> Result<Vec<TableId>> {
    let mut conn = connect(config, Purpose::Questions)?;
    Ok(catalog::visible_tables(&mut conn)?.into_keys().collect())
}

/// The settings that capture rests on.
pub fn settings(facts: &ServerFacts) -> Vec<Finding> {
    let mut findings = vec![binlog(facts)];
    if facts.log_bin() {
        findings.extend([format(facts), image(facts), metadata(facts), gtid(facts)]);
        findings.extend(partial_json(facts));
        findings.extend(filters(facts));
        findings.extend(replica(facts));
    }
    findings
}

const OWN_GROUP: &str = "(one of your own: default groups cannot be changed)";

/// How a global setting is changed where the server is hosted.
fn set(facts: &ServerFacts, name: &str, value: &str) -> String {
    match facts.hosting {
        Hosting::Plain => format!("SET PERSIST {name} = {value}"),
        Hosting::Rds => format!("set {name} = {value} in the DB parameter group of the instance {OWN_GROUP}"),
        Hosting::Aurora => {
            format!(
                "set {name} = {value} in the DB cluster parameter group {OWN_GROUP}, then reboot the writer"
            )
        }
        Hosting::CloudSql => {
            format!(
                "add {name}={} to the flags that the instance has (gcloud sql instances patch INSTANCE \
                 --database-flags=… replaces all of them)",
                value.to_lowercase()
            )
        }
    }
}

fn binlog(facts: &ServerFacts) -> Finding {
    const SUBJECT: &str = "server.log_bin";
    if facts.log_bin() {
        return Finding::ok(SUBJECT, "the binlog is on");
    }
    match facts.hosting {
        Hosting::Aurora if facts.variable("innodb_read_only") == Some("ON") => {
            Finding::error(SUBJECT, "this is an Aurora reader endpoint, which has no binlog")
                .fix("set source.mysql.host to the cluster (writer) endpoint")
        }
        Hosting::Aurora => {
            Finding::error(SUBJECT, "the binlog is off").fix(set(facts, "binlog_format", "ROW"))
        }
        Hosting::Rds => Finding::error(SUBJECT, "the binlog is off").fix(
            "set a backup retention of at least one day on the instance: RDS turns the binlog on with it",
        ),
        Hosting::CloudSql => Finding::error(SUBJECT, "the binlog is off")
            .fix("gcloud sql instances patch INSTANCE --enable-bin-log"),
        Hosting::Plain => Finding::error(SUBJECT, "the binlog is off")
            .fix("start the server with log_bin (and without skip_log_bin) in its option file"),
    }
}

fn format(facts: &ServerFacts) -> Finding {
    const SUBJECT: &str = "server.binlog_format";
    let format = facts.variable("binlog_format").unwrap_or("ROW");
    match facts.logs_rows() {
        true => Finding::ok(SUBJECT, "changes are logged as rows"),
        false => {
            Finding::error(SUBJECT, format!("binlog_format is {format}: changes are not logged as rows"))
                .fix(set(facts, "binlog_format", "ROW"))
        }
    }
}

fn image(facts: &ServerFacts) -> Finding {
    const SUBJECT: &str = "server.binlog_row_image";
    let image = facts.variable("binlog_row_image").unwrap_or("FULL");
    match facts.full_images() {
        true => Finding::ok(SUBJECT, "row images hold every column"),
        false => Finding::error(SUBJECT, format!("binlog_row_image is {image}: row images lack columns"))
            .fix(set(facts, "binlog_row_image", "FULL")),
    }
}

fn metadata(facts: &ServerFacts) -> Finding {
    const SUBJECT: &str = "server.binlog_row_metadata";
    match facts.full_metadata() {
        true => Finding::ok(SUBJECT, "the binlog names its columns"),
        false => Finding::warning(
            SUBJECT,
            "binlog_row_metadata is MINIMAL: columns are named from the catalog, and a table that is altered \
             before it is known stops instead of going on",
        )
        .fix(set(facts, "binlog_row_metadata", "FULL")),
    }
}

fn gtid(facts: &ServerFacts) -> Finding {
    const SUBJECT: &str = "server.gtid_mode";
    match facts.gtid_mode {
        GtidMode::On => Finding::ok(SUBJECT, "every transaction has a GTID"),
        GtidMode::Off | GtidMode::Mixed => Finding::warning(
            SUBJECT,
            "gtid_mode is not ON: positions are binlog files and offsets of this one server, and do not survive a failover",
        )
        .fix(match facts.hosting {
            Hosting::Plain => "SET PERSIST enforce_gtid_consistency = ON, then SET PERSIST gtid_mode = OFF_PERMISSIVE, \
                               ON_PERMISSIVE and ON, one after the other"
                .to_owned(),
            // With gtid_mode alone the server does not start again.
            Hosting::Rds => format!(
                "set enforce_gtid_consistency = ON and gtid_mode = ON, both, in the DB parameter group {OWN_GROUP}, then \
                 reboot the instance"
            ),
            Hosting::Aurora => format!(
                "set enforce_gtid_consistency = ON and gtid_mode = ON, both, in the DB cluster parameter group \
                 {OWN_GROUP}, then reboot the writer"
            ),
            Hosting::CloudSql => set(facts, "gtid_mode", "ON"),
        } + "; a pipeline that has begun without GTIDs has to begin anew after that: " + ANEW),
    }
}

fn partial_json(facts: &ServerFacts) -> Option<Finding> {
    facts.variable("binlog_row_value_options").filter(|value| value.contains("PARTIAL_JSON")).map(|_| {
        Finding::ok(
            "server.binlog_row_value_options",
            "partial JSON updates are on, and are applied to the image before",
        )
    })
}

fn filters(facts: &ServerFacts) -> Option<Finding> {
    const SUBJECT: &str = "server.binlog_filters";
    let filters = facts.filters.as_ref()?;
    let (name, list, effect) = match (filters.only.as_str(), filters.never.as_str()) {
        ("", "") => return Some(Finding::ok(SUBJECT, "every database is logged")),
        (only, "") => ("binlog_do_db", only, "only these databases are logged"),
        (_, never) => ("binlog_ignore_db", never, "these databases are not logged"),
    };
    Some(Finding::warning(SUBJECT, format!("{name} is {list}: {effect}")).fix(format!(
        "remove {name} from the server's option file and restart it, unless no captured database is concerned"
    )))
}

fn replica(facts: &ServerFacts) -> Option<Finding> {
    const SUBJECT: &str = "server.log_replica_updates";
    match (facts.is_replica, facts.logs_replicated()) {
        (Some(true), false) => Some(
            Finding::error(SUBJECT, "this is a replica that does not log what it replicates")
                .fix("start the server with log_replica_updates, or read from its source"),
        ),
        (Some(true), true) => Some(Finding::ok(SUBJECT, "this replica logs what it replicates")),
        (Some(false) | None, _) => None,
    }
}

const RDS_RETENTION: &str = "CALL mysql.rds_set_configuration('binlog retention hours', 72)";

/// How binlogs are kept longer where the server is hosted.
pub(crate) fn to_keep_longer(facts: &ServerFacts) -> String {
    match facts.hosting {
        Hosting::Rds | Hosting::Aurora => RDS_RETENTION.to_owned(),
        Hosting::Plain | Hosting::CloudSql => set(facts, "binlog_expire_logs_seconds", "604800"),
    }
}

/// How long a binlog is surely kept, in seconds; `None` where it is not known, or for ever.
///
/// # Errors
/// The server's.
pub(crate) fn kept_seconds(conn: &mut Conn, facts: &ServerFacts) -> Result<Option<u64>> {
    match facts.hosting {
        Hosting::Rds | Hosting::Aurora => {
            Ok(rds_retention_hours(conn)?.flatten().map(|hours| hours.saturating_mul(3_600)))
        }
        Hosting::Plain | Hosting::CloudSql => Ok(facts.kept_seconds()),
    }
}

fn retention(conn: &mut Conn, facts: &ServerFacts, held: &Grants) -> Result<Finding> {
    const SUBJECT: &str = "server.binlog_retention";
    if matches!(facts.hosting, Hosting::Rds | Hosting::Aurora) {
        return Ok(match rds_retention_hours(conn)? {
            Some(Some(hours)) if hours.saturating_mul(3600) >= RETENTION_SECONDS => {
                Finding::ok(SUBJECT, format!("binlogs are kept {hours} hours"))
            }
            Some(Some(hours)) => {
                Finding::warning(SUBJECT, format!("binlogs are kept {hours} hours only")).fix(RDS_RETENTION)
            }
            Some(None) => Finding::error(
                SUBJECT,
                "no binlog retention is set: binlogs vanish as soon as the host wants",
            )
            .fix(RDS_RETENTION),
            None => Finding::warning(
                SUBJECT,
                "the account may not read the binlog retention; see CALL mysql.rds_show_configuration",
            )
            .fix(format!("GRANT SELECT ON mysql.rds_configuration TO {}", held.account())),
        });
    }
    Ok(match facts.expire_seconds() {
        Some(0) => Finding::ok(SUBJECT, "binlogs are kept for ever"),
        Some(seconds) if seconds >= RETENTION_SECONDS => {
            Finding::ok(SUBJECT, format!("binlogs are kept {} hours", seconds / 3600))
        }
        Some(seconds) => Finding::warning(SUBJECT, format!("binlogs are kept {} hours only", seconds / 3600))
            .fix(set(facts, "binlog_expire_logs_seconds", "259200")),
        None => Finding::warning(SUBJECT, "how long binlogs are kept is not known"),
    })
}

fn replication_grants(held: &Grants) -> Vec<Finding> {
    [("grant.replication_slave", "REPLICATION SLAVE"), ("grant.replication_client", "REPLICATION CLIENT")]
        .map(|(subject, privilege)| match held.has_global(privilege) {
            true => Finding::ok(subject, format!("{} has {privilege}", held.account())),
            false => Finding::error(subject, format!("{} lacks {privilege}", held.account()))
                .fix(held.global_fix(privilege)),
        })
        .into()
}

fn tables(
    conn: &mut Conn,
    filter: &TableFilter,
    held: &Grants,
    facts: Option<&ServerFacts>,
    reserved: &[String],
) -> Result<Vec<Finding>> {
    let visible: Vec<TableId> = catalog::visible_tables(conn)?.into_keys().collect();
    let catalog = catalog::read(conn, filter)?;
    let mut findings = named_tables(filter, &visible, held);
    if catalog.tables.is_empty() && catalog.refused.is_empty() && findings.is_empty() {
        findings.push(
            Finding::error("tables", "no table that the account can see is captured")
                .fix("correct tables.include, or GRANT SELECT on its databases"),
        );
    }
    findings.extend(filter.idle(&visible).map(|(key, pattern)| idle(key, pattern)));
    for error in &catalog.refused {
        findings.push(Finding::failed("tables", error));
    }
    findings.extend(captured(&catalog, held, reserved));
    for cascade in catalog::cascades(conn, filter)? {
        findings.push(cascaded(&cascade, facts));
    }
    Ok(findings)
}

/// Tables that are named without a wildcard, and are not there.
fn named_tables(filter: &TableFilter, visible: &[TableId], held: &Grants) -> Vec<Finding> {
    filter
        .named()
        .filter(|table| !visible.contains(table))
        .map(|table| {
            let subject = format!("table.{table}");
            let finding =
                Finding::error(subject, format!("no such table, or it is not visible to {}", held.account()));
            match near(&table, visible) {
                Some(near) => finding.fix(format!(
                    "did you mean {near}? Else: {}",
                    held.database_fix("SELECT", &table.database)
                )),
                None => finding.fix(format!(
                    "correct tables.include, or {}",
                    held.database_fix("SELECT", &table.database)
                )),
            }
        })
        .collect()
}

/// A pattern of the config that no table has.
fn idle(key: &str, pattern: &str) -> Finding {
    let finding = Finding::warning(key, format!("`{pattern}` matches no table that the account can see"));
    match pattern.contains(['^', '$', '(', '[', '|', '+']) {
        true => finding.fix("write it with `*` and `?`: patterns are not regular expressions"),
        false => finding,
    }
}

fn near<'a>(table: &TableId, visible: &'a [TableId]) -> Option<&'a TableId> {
    let wanted = table.to_string();
    visible
        .iter()
        .map(|other| (strsim::damerau_levenshtein(&wanted, &other.to_string()), other))
        .filter(|(distance, _)| *distance <= 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

fn captured(catalog: &Catalog, held: &Grants, reserved: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (table, found) in &catalog.tables {
        let subject = format!("table.{table}");
        if !held.may("SELECT", table) {
            findings.push(
                Finding::error(&subject, format!("{} may not read it", held.account()))
                    .fix(held.database_fix("SELECT", &table.database)),
            );
        }
        if let Some(column) = found
            .columns
            .iter()
            .find(|column| reserved.iter().any(|name| name.eq_ignore_ascii_case(&column.name)))
        {
            findings.push(
                Finding::error(
                    &subject,
                    format!("its column {} has the name of one of the lake's own", column.name),
                )
                .fix("rename the lake's column or partition in the config"),
            );
        }
        match found.engine.as_str() {
            "MEMORY" => findings.push(Finding::warning(
                &subject,
                "a MEMORY table: a restart of the server empties it, and logs that as a statement",
            )),
            "BLACKHOLE" => findings.push(Finding::warning(
                &subject,
                "a BLACKHOLE table: it keeps no rows; what is inserted reaches the lake, updates and deletes never do",
            )),
            _ => {}
        }
        match found.key.is_empty() {
            true => findings.push(Finding::warning(
                &subject,
                "no primary key: changes are captured, but a latest state of its rows cannot be told",
            )),
            false => {
                findings.push(Finding::ok(&subject, format!("captured, {} columns", found.columns.len())))
            }
        }
    }
    findings
}

fn cascaded(cascade: &Cascade, facts: Option<&ServerFacts>) -> Finding {
    let subject = format!("table.{}.{}", cascade.child, cascade.constraint);
    let rule =
        format!("ON UPDATE {} ON DELETE {} from {}", cascade.on_update, cascade.on_delete, cascade.parent);
    match facts {
        Some(facts) if facts.logs_cascades() => {
            Finding::ok(subject, format!("{rule}: this server logs the rows it changes"))
        }
        Some(facts) if facts.version >= crate::Version::new(9, 6, 0) => Finding::error(
            subject,
            format!("{rule}: with innodb_native_foreign_keys the rows it changes are not logged"),
        )
        .fix("start the server with innodb_native_foreign_keys=OFF"),
        Some(_) => {
            Finding::error(subject, format!("{rule}: before MySQL 9.6 the rows it changes are not logged"))
                .fix(format!(
                    "leave {} out with tables.exclude, or replace the rule by statements of the application",
                    cascade.child
                ))
        }
        None => Finding::warning(
            subject,
            format!("{rule}: whether this server logs the rows it changes is not known yet"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_table_is_answered_with_the_near_one() {
        let visible = ["orders", "customers"].map(|table| TableId::new("shop", table));
        assert_eq!(near(&TableId::new("shop", "order"), &visible), visible.first());
        assert_eq!(near(&TableId::new("shop", "invoices"), &visible), None);
    }

    #[test]
    fn a_regular_expression_is_told_from_a_pattern_that_only_matches_nothing() {
        let finding = idle("tables.exclude", "^shop.*");
        assert_eq!((finding.level, finding.fix.is_some()), (Level::Warning, true));
        assert!(finding.message.contains("`^shop.*`"), "{}", finding.message);
        assert!(idle("tables.exclude", "shop.secret_*").fix.is_none());
    }
}
