//! The connection on which a snapshot is read, and what is asked on it beside rows.
//!
//! Guarantee: values come as the server stores them: `character_set_results` is NULL (no conversion),
//! `time_zone` is UTC ([`crate::session`]). Every SELECT is a transaction of its own, except in a
//! consistent view that is asked for. Nothing waits for a lock of a table for longer than a second, the shortest
//! time that the server knows: the stream stands still meanwhile, and statements that alter it queue behind.

use std::collections::BTreeMap;

use lakeward_core::{BinlogPosition, Error, ErrorKind, GtidSet, Result, TableId};
use mysql::Conn;
use uuid::Uuid;

use super::filters::Filters;
use super::keys::{Key, KeyColumn};
use super::read::Trouble;
use crate::catalog;
use crate::config::MysqlConfig;
use crate::connection::{Purpose, connect};
use crate::schema::Definition;
use crate::server::current_end;
use crate::session::{backticked, quoted, rows, run};
use crate::version::Version;

/// How often a table is described that is altered meanwhile.
const READINGS: u32 = 10;

/// What must have been yielded before rows are released.
#[derive(Clone, Debug)]
pub(crate) enum Covered {
    /// These transactions.
    Gtids(GtidSet),
    /// The log up to here.
    Log(BinlogPosition),
}

/// When rows were seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) covered: Covered,
    /// The server's time, µs UTC.
    pub(crate) at_us: i64,
}

/// A table as the catalog has it, with what its key needs to be asked about.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) structure: Definition,
    pub(crate) key: Key,
    /// The index of the key.
    pub(crate) index: Option<String>,
    /// The index has the rows in the order of the key: whole columns are in it.
    pub(crate) is_sorted: bool,
}

/// A unique index.
struct UniqueIndex {
    name: String,
    columns: Vec<IndexColumn>,
}

struct IndexColumn {
    name: String,
    descending: bool,
    /// Only the beginning of its values is in the index.
    is_cut_off: bool,
}

impl UniqueIndex {
    fn is_whole(&self) -> bool {
        !self.columns.iter().any(|column| column.is_cut_off)
    }
}

/// How far a replica is behind its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// It does not tell: it is no replica, or the account may not ask.
    Untold,
    /// So many seconds.
    Seconds(u64),
    /// It does not apply what its source has: its threads stand still.
    Halted,
}

impl Lag {
    /// From the columns and rows of the replica's status: one row for each channel, NULL for one that
    /// stands still.
    fn of(names: &[String], rows: &[Vec<Option<String>>]) -> Lag {
        let Some(at) = names.iter().position(|name| name.starts_with("Seconds_Behind_")) else {
            return Lag::Untold;
        };
        let seconds = rows.iter().map(|row| row.get(at)?.as_deref()?.parse::<u64>().ok());
        match seconds.collect::<Option<Vec<u64>>>() {
            None => Lag::Halted,
            Some(channels) => channels.into_iter().max().map_or(Lag::Untold, Lag::Seconds),
        }
    }
}

/// See the module.
pub(crate) struct Link {
    pub(crate) conn: Conn,
    version: Version,
    uuid: Uuid,
    collations: BTreeMap<String, u16>,
    /// Character sets and collations by collation id.
    charsets: BTreeMap<u16, (String, String)>,
}

impl Link {
    pub(crate) fn open(config: &MysqlConfig) -> Result<Link> {
        let mut conn = connect(config, Purpose::Chunks)?;
        let version = Version::read(&mut conn)?;
        let uuid = one(&mut conn, "SELECT @@server_uuid")?;
        let uuid = uuid.parse().map_err(|_| unreadable("server_uuid", &uuid))?;
        let collations = catalog::collations(&mut conn)?;
        let charsets = charsets(&mut conn)?;
        run(
            &mut conn,
            "SET @@SESSION.character_set_results = NULL, @@SESSION.information_schema_stats_expiry = 0, \
             @@SESSION.lock_wait_timeout = 1, @@SESSION.transaction_isolation = 'REPEATABLE-READ'",
        )?;
        Ok(Link { conn, version, uuid, collations, charsets })
    }

    /// Waits until the transactions are executed, for so many seconds; `false` if they are not by then.
    pub(crate) fn wait_for(&mut self, set: &GtidSet, seconds: u32) -> Result<bool> {
        if set.is_empty() {
            return Ok(true);
        }
        let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {seconds})", quoted(&set.to_string()));
        Ok(one(&mut self.conn, &sql)? == "0")
    }

    /// What is executed now, and the time.
    pub(crate) fn executed(&mut self) -> Result<(GtidSet, i64)> {
        let sql = "SELECT @@GLOBAL.gtid_executed, CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)";
        let mut answer = rows(&mut self.conn, sql)?.into_iter().flatten().flatten();
        let (set, time) = (answer.next().unwrap_or_default(), answer.next().unwrap_or_default());
        let set: GtidSet = set.parse().map_err(|_| unreadable("gtid_executed", &set))?;
        Ok((set, time.parse().map_err(|_| unreadable("time", &time))?))
    }

    /// What is executed now and comes from the server's log, and the time. Purged transactions do not come any
    /// more: they were yielded, or an operator named them (`SET GLOBAL gtid_purged = '+…'`) and they never come.
    pub(crate) fn logged(&mut self) -> Result<(GtidSet, i64)> {
        let (executed, at_us) = self.executed()?;
        let purged = one(&mut self.conn, "SELECT @@GLOBAL.gtid_purged")?;
        let purged: GtidSet = purged.parse().map_err(|_| unreadable("gtid_purged", &purged))?;
        Ok((executed.minus(&purged), at_us))
    }

    /// The end of the log, and the time.
    pub(crate) fn end_of_log(&mut self) -> Result<Seen> {
        let (end, _) = current_end(&mut self.conn, &self.version)?;
        let (_, at_us) = self.executed()?;
        let position =
            BinlogPosition { server_uuid: self.uuid, file: end.file, offset: end.offset, gtid_set: None };
        Ok(Seen { covered: Covered::Log(position), at_us })
    }

    /// The table as the catalog has it now; `None` if the server does not have it, or only a view of that name.
    pub(crate) fn describe(&mut self, table: &TableId) -> Result<Option<Described>, Trouble> {
        let found = self.structure(table)?;
        if found.is_none() && catalog::is_view(&mut self.conn, table)? {
            tracing::info!(%table, "it is a view: there are no rows to read");
            return Ok(None);
        }
        if self.is_missing(table)? {
            return Ok(None);
        }
        let Some(found) = found else {
            // Made since the catalog was read, or shown to this account by no catalog.
            let error = Error::new(ErrorKind::SourceUnsupported, "the catalog does not have it");
            return Err(Trouble::NotYet(error.of_table(table)));
        };
        let columns = found.key.iter().filter_map(|at| found.columns.get(*at));
        let key = columns.map(|column| {
            let text = match &column.ty {
                lakeward_core::ColumnType::Text { collation } => self.charsets.get(collation).cloned(),
                _ => None,
            };
            let (charset, collation) = text.unzip();
            let (name, ty) = (column.name.clone(), column.ty.clone());
            KeyColumn { name, ty, charset, collation, descending: false }
        });
        let mut key = Key(key.collect());
        let index = self.index(table, &key)?;
        for (column, of_index) in key.0.iter_mut().zip(index.iter().flat_map(|index| &index.columns)) {
            column.descending = of_index.descending;
        }
        let is_sorted = index.as_ref().is_some_and(UniqueIndex::is_whole);
        let index = index.map(|index| index.name);
        Ok(Some(Described { structure: found, key, index, is_sorted }))
    }

    /// What the catalog has of a table; asked for again where it was altered between two questions about it.
    fn structure(&mut self, table: &TableId) -> Result<Option<Definition>, Trouble> {
        let mut readings = 0;
        loop {
            readings += 1;
            match catalog::read_one(&mut self.conn, table, &self.collations) {
                Err(error) if error.kind() == ErrorKind::TableChanged && readings < READINGS => {}
                Err(error) if error.kind() == ErrorKind::TableChanged => return Err(Trouble::NotYet(error)),
                found => return Ok(found?),
            }
        }
    }

    /// The catalog shows neither tables nor columns that the account may not read: they are told from
    /// missing ones by asking for them.
    fn is_missing(&mut self, table: &TableId) -> Result<bool> {
        /// `ER_NO_SUCH_TABLE`, `ER_BAD_DB_ERROR`.
        const MISSING: [u16; 2] = [1146, 1049];
        let sql = format!("SELECT * FROM {} LIMIT 0", named(table));
        match mysql::prelude::Queryable::query_drop(&mut self.conn, &sql) {
            Err(mysql::Error::MySqlError(error)) if MISSING.contains(&error.code) => Ok(true),
            Err(error) => Err(crate::connection::failure(error, &sql)
                .of_table(table)
                .remedy(format!("GRANT SELECT ON {} TO the account", named(table)))),
            Ok(()) => Ok(false),
        }
    }

    /// The unique index that consists of the key's columns; if there are several, one of whole columns.
    fn index(&mut self, table: &TableId, key: &Key) -> Result<Option<UniqueIndex>> {
        let sql = format!(
            "SELECT INDEX_NAME, COLUMN_NAME, COLLATION, SUB_PART FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND NON_UNIQUE = 0 AND IS_VISIBLE = 'YES' ORDER BY INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX",
            quoted(&table.database),
            quoted(&table.table)
        );
        let mut indexes: Vec<UniqueIndex> = Vec::new();
        for row in rows(&mut self.conn, &sql)? {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let (name, column) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
            let descending = row.next().is_some_and(|order| order == "D");
            let is_cut_off = row.next().is_some_and(|bytes| !bytes.is_empty());
            let column = IndexColumn { name: column, descending, is_cut_off };
            match indexes.last_mut().filter(|index| index.name == name) {
                Some(index) => index.columns.push(column),
                None => indexes.push(UniqueIndex { name, columns: vec![column] }),
            }
        }
        let names = || key.0.iter().map(|column| &column.name);
        indexes.retain(|index| index.columns.iter().map(|column| &column.name).eq(names()));
        let whole = indexes.iter().position(UniqueIndex::is_whole).unwrap_or(0);
        Ok(indexes.into_iter().nth(whole))
    }

    /// The server's estimate of a table's rows, or of those for which a condition holds.
    pub(crate) fn estimated_rows(&mut self, table: &TableId, condition: Option<&str>) -> Result<Option<u64>> {
        let Some(condition) = condition else {
            let sql = format!(
                "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
                quoted(&table.database),
                quoted(&table.table)
            );
            let answer = rows(&mut self.conn, &sql)?.into_iter().flatten().flatten().next();
            return Ok(answer.and_then(|n| n.parse().ok()));
        };
        let sql = format!("EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM {} WHERE ({condition}\n)", named(table));
        let (names, rows) = crate::session::named_rows(&mut self.conn, &sql)?;
        let value = |name: &str| {
            let at = names.iter().position(|found| found == name)?;
            rows.first()?.get(at)?.as_deref()?.parse::<f64>().ok()
        };
        Ok(value("rows").zip(value("filtered")).map(|(rows, percent)| (rows * percent / 100.0) as u64))
    }

    /// Whether a view of the table stays as it is while others write: so with engines that have transactions.
    pub(crate) fn has_views(&mut self, table: &TableId) -> Result<bool> {
        let sql = format!(
            "SELECT e.TRANSACTIONS FROM information_schema.TABLES t JOIN information_schema.ENGINES e USING (ENGINE) \
             WHERE t.TABLE_SCHEMA = {} AND t.TABLE_NAME = {}",
            quoted(&table.database),
            quoted(&table.table)
        );
        let answer = rows(&mut self.conn, &sql)?.into_iter().flatten().flatten().next();
        // One that is gone is found to be so by who reads it.
        Ok(answer.is_none_or(|transactions| transactions == "YES"))
    }

    /// Threads that run on the server.
    pub(crate) fn threads_running(&mut self) -> Result<u32> {
        let answer = rows(&mut self.conn, "SHOW GLOBAL STATUS LIKE 'Threads_running'")?;
        let text = answer.into_iter().flatten().flatten().nth(1).unwrap_or_default();
        text.parse().map_err(|_| unreadable("Threads_running", &text))
    }

    /// What it leaves out of what its source has.
    pub(crate) fn filters(&mut self) -> Result<Filters> {
        Filters::read(&mut self.conn, &self.version)
    }

    /// How far it is behind its source.
    pub(crate) fn replica_lag(&mut self) -> Result<Lag> {
        let statement = self.version.replica_status_statement();
        let (names, rows) = match crate::session::named_rows(&mut self.conn, statement) {
            Err(error) if error.kind() == ErrorKind::SourceGrant => return Ok(Lag::Untold),
            answer => answer?,
        };
        Ok(Lag::of(&names, &rows))
    }
}

/// `database`.`table`.
pub(crate) fn named(table: &TableId) -> String {
    format!("{}.{}", backticked(&table.database), backticked(&table.table))
}

fn charsets(conn: &mut Conn) -> Result<BTreeMap<u16, (String, String)>> {
    let sql = "SELECT ID, CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLLATIONS";
    let answer = rows(conn, sql)?;
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?.parse().ok()?, (row.next()?, row.next()?)))
    };
    Ok(answer.into_iter().filter_map(pair).collect())
}

fn one(conn: &mut Conn, sql: &str) -> Result<String> {
    Ok(rows(conn, sql)?.into_iter().flatten().flatten().next().unwrap_or_default())
}

fn unreadable(name: &str, value: &str) -> Error {
    Error::new(ErrorKind::SourceUnsupported, format!("the server's {name} cannot be read: `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_stands_still_is_not_taken_for_one_without_lag() {
        let names = ["Channel_Name", "Seconds_Behind_Source"].map(str::to_owned);
        let row = |seconds: Option<&str>| vec![Some("c".to_owned()), seconds.map(str::to_owned)];
        for (rows, lag) in [
            (vec![], Lag::Untold),
            (vec![row(Some("0"))], Lag::Seconds(0)),
            (vec![row(Some("3")), row(Some("7"))], Lag::Seconds(7)),
            (vec![row(None)], Lag::Halted),
            (vec![row(Some("3")), row(None)], Lag::Halted),
        ] {
            assert_eq!(Lag::of(&names, &rows), lag, "{rows:?}");
        }
        assert_eq!(Lag::of(&names[..1], &[row(None)]), Lag::Untold);
    }
}
