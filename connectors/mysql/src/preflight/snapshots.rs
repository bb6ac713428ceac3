//! What `check` says about reading the rows that are there.
//!
//! That the account may read the captured tables is looked at with the tables themselves.

use lakeward_core::{Finding, Level, Result, TableFilter, TableId};
use mysql::Conn;

use super::kept_seconds;
use crate::catalog::{self, Catalog, CatalogTable};
use crate::config::MysqlConfig;
use crate::connection::{Purpose, connect};
use crate::grants::Grants;
use crate::server::{GtidMode, ServerFacts};
use crate::session::{quoted, rows};
use crate::snapshot::filters::Filters;
use crate::snapshot::{SnapshotLock, SnapshotOptions};

/// Bytes of a table that are read in a second at the least, for a cautious estimate.
const SLOW_BYTES_PER_SECOND: u64 = 10 << 20;
const GIB: u64 = 1 << 30;

/// What a snapshot needs of the server.
#[derive(Debug, Default)]
pub struct SnapshotNeeds {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Bytes that the captured tables hold, as the server estimates them; `None` where it was not
    /// reached.
    pub bytes: Option<u64>,
}

/// Looks at what a snapshot of the captured tables needs. A server that cannot be reached is told by
/// [`super::check`], and nothing is found here.
pub fn check(config: &MysqlConfig, filter: &TableFilter, options: &SnapshotOptions) -> SnapshotNeeds {
    let mut needs = SnapshotNeeds::default();
    let Ok(mut conn) = connect(config, Purpose::Questions) else { return needs };
    if let Err(error) = look(&mut conn, filter, options, &mut needs) {
        let message = format!("not everything could be looked at: {}", error.without_remedy());
        needs.findings.push(Finding {
            fix: error.remedy_text().map(str::to_owned),
            ..Finding::warning("snapshot", message)
        });
    }
    needs
}

fn look(
    conn: &mut Conn,
    filter: &TableFilter,
    options: &SnapshotOptions,
    needs: &mut SnapshotNeeds,
) -> Result<()> {
    let held = Grants::read(conn)?;
    let catalog = catalog::read(conn, filter)?;
    let facts = ServerFacts::read(conn)?;
    let captured: Vec<&TableId> = catalog.tables.keys().collect();
    let keyless: Vec<&TableId> =
        catalog.tables.iter().filter(|(_, table)| table.key.is_empty()).map(|(name, _)| name).collect();
    needs.findings.extend(without_proof(&facts, &keyless, &captured, &held, options.lock));
    let bytes = size(conn, filter)?;
    needs.bytes = Some(bytes);
    needs.findings.push(time(conn, &facts, bytes)?);
    if let Some(replica) = &options.replica {
        match look_at_replica(conn, replica, filter, &catalog) {
            Ok(findings) => needs.findings.extend(findings),
            Err(error) => needs.findings.push(Finding::failed("snapshot.replica", &error)),
        }
    }
    Ok(())
}

/// Tables for which no lock-free proof exists, and what a lock needs.
fn without_proof(
    facts: &ServerFacts,
    keyless: &[&TableId],
    captured: &[&TableId],
    held: &Grants,
    lock: SnapshotLock,
) -> Vec<Finding> {
    const SUBJECT: &str = "snapshot.lock";
    let gtids = facts.gtid_mode == GtidMode::On;
    let concerned = if gtids { keyless } else { captured };
    let reason = match (gtids, keyless.len()) {
        (true, 0) => return vec![Finding::ok(SUBJECT, "no table has to be locked for its snapshot")],
        (true, _) => "have no key",
        (false, _) => "are on a server without GTIDs",
    };
    let names = named(concerned);
    if lock == SnapshotLock::None {
        let fix = match gtids {
            true => {
                "give them a primary key, leave them out (tables.exclude), or lock each for an instant: \
                     snapshot.lock: tables"
            }
            false => {
                "turn gtid_mode on (see server.gtid_mode), or lock each for an instant per chunk: \
                      snapshot.lock: tables"
            }
        };
        let message = format!("without a lock their rows cannot be read exactly; they {reason}: {names}");
        return vec![Finding::error(SUBJECT, message).fix(fix)];
    }
    let refused: Vec<&&TableId> = concerned.iter().filter(|table| !held.may("LOCK TABLES", table)).collect();
    match refused.first() {
        None => vec![Finding::ok(SUBJECT, format!("locked for an instant, as they {reason}: {names}"))],
        Some(first) => {
            let message = format!("{} lacks LOCK TABLES for {}", held.account(), named(&refused));
            vec![Finding::error(SUBJECT, message).fix(held.database_fix("LOCK TABLES", &first.database))]
        }
    }
}

/// A few of the names, and how many more there are.
fn named<T: std::fmt::Display>(tables: &[T]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = tables.iter().take(SHOWN).map(T::to_string).collect();
    match tables.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// Bytes of the captured tables' rows, as the server estimates them.
fn size(conn: &mut Conn, filter: &TableFilter) -> Result<u64> {
    let mut databases: Vec<String> = catalog::visible_tables(conn)?
        .into_keys()
        .filter(|table| filter.captures(table))
        .map(|table| quoted(&table.database))
        .collect();
    databases.dedup();
    if databases.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, DATA_LENGTH FROM information_schema.TABLES \
         WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN ({})",
        databases.join(", ")
    );
    let mut bytes: u64 = 0;
    for row in rows(conn, &sql)? {
        let Ok([Some(database), Some(table), Some(length)]) = <[Option<String>; 3]>::try_from(row) else {
            continue;
        };
        if filter.captures(&TableId::new(database, table)) {
            bytes = bytes.saturating_add(length.parse().unwrap_or(0));
        }
    }
    Ok(bytes)
}

/// How long it may take, beside how long binlogs are kept: a pipeline that stands still meanwhile has
/// no more time than that.
fn time(conn: &mut Conn, facts: &ServerFacts, bytes: u64) -> Result<Finding> {
    const SUBJECT: &str = "snapshot.time";
    let seconds = bytes / SLOW_BYTES_PER_SECOND;
    let size = format!("{} GiB to read", bytes.div_ceil(GIB));
    let kept = kept_seconds(conn, facts)?;
    let hours = |seconds: u64| seconds.div_ceil(3_600);
    Ok(match kept {
        Some(kept) if seconds > kept / 2 => Finding::warning(
            SUBJECT,
            format!(
                "{size}: {} hours if the server is slow, and binlogs are kept {} hours: a pipeline that \
                 stands still for long meanwhile would lose its place",
                hours(seconds),
                hours(kept)
            ),
        )
        .fix("keep binlogs longer (see server.binlog_retention), or raise snapshot.parallelism"),
        Some(_) | None => Finding::ok(SUBJECT, format!("{size}, {} hours at the most", hours(seconds))),
    })
}

fn look_at_replica(
    conn: &mut Conn,
    replica: &MysqlConfig,
    filter: &TableFilter,
    catalog: &Catalog,
) -> Result<Vec<Finding>> {
    const SUBJECT: &str = "snapshot.replica";
    let captured: Vec<&TableId> = catalog.tables.keys().collect();
    let mut there = connect(replica, Purpose::Questions)?;
    let facts = ServerFacts::read(&mut there)?;
    // Read after the replica's: what it has that the server has not is then another history.
    let server = ServerFacts::read(conn)?;
    let held = Grants::read(&mut there)?;
    let mut findings = vec![lineage(&server, &facts)];
    let refused: Vec<&&TableId> = captured.iter().filter(|table| !held.may("SELECT", table)).collect();
    if let Some(first) = refused.first() {
        let message = format!("{} may not read {} there", held.account(), named(&refused));
        findings.push(Finding::error(SUBJECT, message).fix(held.database_fix("SELECT", &first.database)));
    }
    let visible = catalog::visible_tables(&mut there)?;
    let is_lacking = |table: &&&TableId| held.may("SELECT", table) && !visible.contains_key(table);
    let lacking: Vec<&&TableId> = captured.iter().filter(is_lacking).collect();
    if !lacking.is_empty() {
        let message = format!("it does not have {}", named(&lacking));
        let fix =
            "let it replicate them (its filters are in SHOW REPLICA STATUS), or remove snapshot.replica";
        findings.push(Finding::error(SUBJECT, message).fix(fix));
    }
    let filters = Filters::read(&mut there, &facts.version)?;
    findings.extend(filtered(&filters, &captured));
    findings.extend(altered(catalog, &catalog::read(&mut there, filter)?));
    if findings.iter().all(|finding| finding.level == Level::Ok) && facts.is_replica.is_none() {
        let message = "whether it replicates cannot be told: the account lacks REPLICATION CLIENT there";
        findings.push(Finding::warning(SUBJECT, message).fix(held.global_fix("REPLICATION CLIENT")));
    }
    Ok(findings)
}

/// Tables whose changes the replica's filters may leave out.
fn filtered(filters: &Filters, captured: &[&TableId]) -> Option<Finding> {
    let concerned: Vec<&&TableId> =
        captured.iter().filter(|table| filters.concerning(table).is_some()).collect();
    let filter = concerned.first().and_then(|table| filters.concerning(table))?;
    let message = format!("its filters may leave changes out of {} ({filter})", named(&concerned));
    Some(
        Finding::error("snapshot.replica", message)
            .fix("name a replica without filters, or remove snapshot.replica"),
    )
}

/// Tables that have another structure there.
fn altered(here: &Catalog, there: &Catalog) -> Option<Finding> {
    let is_altered = |(name, table): &(&TableId, &CatalogTable)| {
        let other = there.tables.get(*name);
        other.is_some_and(|other| !other.definition().is_alike(&table.definition()))
    };
    let altered: Vec<&TableId> = here.tables.iter().filter(is_altered).map(|(name, _)| name).collect();
    let message = format!("it has another structure of {}", named(&altered));
    let fix = "let it catch up; where it was altered alone, or its channel has REQUIRE_TABLE_PRIMARY_KEY_CHECK = GENERATE, \
               give it the server's structure, or remove snapshot.replica";
    (!altered.is_empty()).then(|| Finding::error("snapshot.replica", message).fix(fix))
}

/// Whether the replica's rows are those of the server, at some time.
fn lineage(server: &ServerFacts, replica: &ServerFacts) -> Finding {
    const SUBJECT: &str = "snapshot.replica";
    if server.uuid == replica.uuid {
        return Finding::warning(SUBJECT, "this is the server itself, not a replica of it")
            .fix("name a replica, or remove snapshot.replica");
    }
    if replica.is_replica == Some(false) {
        return Finding::error(SUBJECT, "the server there replicates from nobody")
            .fix("name a replica of source.mysql, or remove snapshot.replica");
    }
    if server.gtid_mode != GtidMode::On || replica.gtid_mode != GtidMode::On {
        return Finding::error(
            SUBJECT,
            "without GTIDs on both it cannot be told what the replica has applied",
        )
        .fix("turn gtid_mode on (see server.gtid_mode), or remove snapshot.replica");
    }
    let foreign = replica.executed.minus(&server.executed);
    match foreign.is_empty() {
        true => {
            let behind = server.executed.minus(&replica.executed).count();
            Finding::ok(SUBJECT, format!("a replica of the server, {behind} transactions behind"))
        }
        false => Finding::error(
            SUBJECT,
            format!(
                "it has transactions that the server does not know, so its rows may be others: {foreign}"
            ),
        )
        .fix("name a replica of source.mysql without changes of its own"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_tables_are_named_and_the_rest_counted() {
        let tables: Vec<TableId> = (1..8).map(|n| TableId::new("s", format!("t{n}"))).collect();
        assert_eq!(named(&tables[..2]), "s.t1, s.t2");
        assert_eq!(named(&tables), "s.t1, s.t2, s.t3, s.t4, s.t5 and 2 more");
    }
}
