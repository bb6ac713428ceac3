//! Table structures from the catalog, where the log does not name columns
//! (`binlog_row_metadata=MINIMAL`, the server's default).
//!
//! Guarantee: a structure given out was in force when the rows that ask for it were written. Why: the
//! catalog is read, then the end of the log is noted; the log from the asking position to that end is
//! read for statements that touch captured tables. A table that none touches in that range had one
//! structure throughout it, and the rows lie in it. (Where nothing but CREATEs touch it, one of them
//! at most made it, before its rows. Where only indexes or options may have changed, those are given out
//! as not known.) All others are refused, as a start before the catalog cannot be proved. So with the
//! default collation of a database, which statements about databases may change.
//! A statement that ran between the reading and the noting is in the range as well; one that the asking
//! position has passed is executed before the catalog is read (with GTIDs it is waited for; without, rows
//! that came after it say so).
//!
//! [`CatalogTruth::begin`] asks for all captured tables when a run begins, so that statements to come find
//! their structures known. A run that may begin anywhere begins behind what touched tables while the catalog
//! was read: those are read once more, and of the others the range to the new beginning shows that nothing
//! touched them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lakeward_core::error::Policy;
use lakeward_core::queue::Sender;
use lakeward_core::schema::PRIMARY;
use lakeward_core::stats::SourceStats;
use lakeward_core::{
    BinlogPosition, Column, Error, ErrorKind, Feed, GtidSet, Result, Scope, TableFilter, TableId, TypeOptions,
};
use mysql::Conn;

use super::decoder::is_at_or_after;
use super::start::FIRST_OFFSET;
use super::statement::{self, Touched};
use crate::binlog::event::Event;
use crate::binlog::payload::Payload;
use crate::binlog::stream::{EventStream, From, Place, Replica, ServerStream};
use crate::binlog::table_map::{Structure, same_columns};
use crate::binlog::transaction::{Assembler, Step};
use crate::catalog::{self, Cascade, Catalog};
use crate::config::MysqlConfig;
use crate::connection::{Purpose, connect};
use crate::ddl::Statement;
use crate::schema::{self, Definition};
use crate::server::{ServerFacts, current_end};
use crate::session::{quoted, rows};

/// How often tables are read at the beginning that were touched meanwhile.
const READINGS: usize = 8;

/// The catalog as of one reading.
struct Reading {
    catalog: Catalog,
    /// What touched captured tables and databases between the asking position and `end`.
    touches: Touches,
    /// How far the log was read for that.
    end: BinlogPosition,
}

#[derive(Default)]
struct Touches {
    tables: BTreeMap<TableId, Vec<Touch>>,
    /// A statement about databases was among them.
    databases: bool,
}

/// A structure that the catalog proved.
pub(super) struct Proved {
    pub(super) definition: Definition,
    /// The value that rows got in a column that was added as it is now, by its name; those of which that
    /// is not certain are left out.
    pub(super) fills: BTreeMap<String, Option<String>>,
}

/// A statement that changes a table, or may.
struct Touch {
    how: Touched,
    statement: String,
    place: String,
}

/// See the module.
pub(super) struct CatalogTruth {
    config: MysqlConfig,
    filter: TableFilter,
    replica: Replica,
    types: TypeOptions,
    /// Whether new rows come with full metadata.
    full_metadata: bool,
    /// Whether structures come with their columns' declarations.
    declares: bool,
    reading: Option<Reading>,
    /// Tables that the stream itself saw touched since the reading.
    stale: BTreeSet<TableId>,
    outside: Outside,
}

/// Who waits while the log is looked through, which may take long after a long stop.
pub(super) struct Outside {
    pub(super) out: Arc<Sender<Result<Feed>>>,
    pub(super) stats: Arc<SourceStats>,
}

impl Outside {
    /// An event was looked at; an error if nobody waits any more.
    fn looked(&self) -> Result<()> {
        self.stats.scanned.add(1);
        let left = |_| Error::new(ErrorKind::SourceUnreachable, "nobody waits for the source any more");
        self.out.check().map_err(left)
    }
}

impl CatalogTruth {
    pub(super) fn new(
        config: MysqlConfig,
        filter: TableFilter,
        replica: Replica,
        types: TypeOptions,
        full_metadata: bool,
        declares: bool,
        outside: Outside,
    ) -> Self {
        // The server ends an older dump of the same uuid, so the second reader needs its own.
        let replica = Replica { uuid: uuid::Uuid::from_u128(replica.uuid.as_u128() ^ 1), ..replica };
        let stale = BTreeSet::new();
        let reading = None;
        CatalogTruth { config, filter, replica, types, full_metadata, declares, reading, stale, outside }
    }

    /// The stream passed a statement that touches the table.
    pub(super) fn forget(&mut self, table: &TableId) {
        self.stale.insert(table.clone());
    }

    /// Whether new rows come with full metadata.
    pub(super) fn full_metadata(&self) -> bool {
        self.full_metadata
    }

    /// Reads the catalog for a run that begins at `from`, or with `may_move` behind it; answers where.
    pub(super) fn begin(&mut self, mut from: BinlogPosition, may_move: bool) -> Result<BinlogPosition> {
        let mut reading = self.read(&from, |table| self.filter.captures(table), &Catalog::default())?;
        for _ in 1..READINGS {
            let touched = &reading.touches.tables;
            if !may_move || touched.is_empty() {
                break;
            }
            let mut catalog = std::mem::take(&mut reading.catalog);
            catalog.tables.retain(|table, _| !touched.contains_key(table));
            catalog.refused.retain(|error| table_of(error).is_none_or(|table| !touched.contains_key(table)));
            let mut next = self.read(&reading.end, |table| touched.contains_key(table), &catalog)?;
            next.catalog.tables.append(&mut catalog.tables);
            next.catalog.refused.append(&mut catalog.refused);
            from = std::mem::replace(&mut reading, next).end;
        }
        self.reading = Some(reading);
        self.stale.clear();
        Ok(from)
    }

    /// Captured tables that stood when what was read last was asked for, and stand now.
    pub(super) fn standing(&self) -> Vec<TableId> {
        let Some(Reading { catalog, touches, .. }) = &self.reading else { return Vec::new() };
        let is_made = |table: &&TableId| {
            let touches = touches.tables.get(*table);
            touches.is_some_and(|touches| touches.iter().any(|touch| touch.how == Touched::Creates))
        };
        catalog.tables.keys().filter(|table| !is_made(table)).cloned().collect()
    }

    /// The default collations of databases then.
    pub(super) fn databases(&self) -> BTreeMap<String, u16> {
        let reading = self.reading.as_ref().filter(|reading| !reading.touches.databases);
        reading.map(|reading| reading.catalog.databases.clone()).unwrap_or_default()
    }

    /// The default collation of a database at `from`; `None` where that cannot be proved, or new rows come
    /// with their collations and nobody asks for more.
    pub(super) fn database_collation(
        &mut self,
        database: &str,
        from: &BinlogPosition,
    ) -> Result<Option<u16>> {
        if self.full_metadata && !self.declares {
            return Ok(None);
        }
        if self.reading.is_none() || !self.stale.is_empty() {
            self.read_all(from)?;
        }
        let reading = self.reading.as_ref().filter(|reading| !reading.touches.databases);
        Ok(reading.and_then(|reading| reading.catalog.databases.get(database).copied()))
    }

    /// The default collation that a database has now.
    pub(super) fn present_collation(&self, database: &str) -> Result<Option<u16>> {
        let mut conn = connect(&self.config, Purpose::Questions)?;
        Ok(catalog::databases(&mut conn)?.get(database).copied())
    }

    /// A foreign key that changes a table's rows now.
    pub(super) fn cascade(&self, table: &TableId) -> Result<Option<Cascade>> {
        let found = catalog::cascades(&mut connect(&self.config, Purpose::Questions)?, &self.filter)?;
        Ok(found.into_iter().find(|cascade| cascade.child == *table))
    }

    /// What a table has now that may refuse rows.
    pub(super) fn limits(&self, table: &TableId) -> Result<Option<String>> {
        catalog::limits(&mut connect(&self.config, Purpose::Questions)?, table)
    }

    /// Whether a view has the name now.
    pub(super) fn is_view(&self, name: &TableId) -> Result<bool> {
        let mut conn = connect(&self.config, Purpose::Questions)?;
        catalog::is_view(&mut conn, name)
    }

    /// Captured tables that the server has now.
    pub(super) fn captured(&self) -> Result<Vec<TableId>> {
        let mut conn = connect(&self.config, Purpose::Questions)?;
        let visible = catalog::visible_tables(&mut conn)?;
        Ok(visible.into_keys().filter(|table| self.filter.captures(table)).collect())
    }

    /// The structure of `table` for rows right after `from`; `in_log` is what the log itself says.
    pub(super) fn structure(
        &mut self,
        table: &TableId,
        in_log: Option<&Structure>,
        from: &BinlogPosition,
    ) -> Result<Definition> {
        let Some(in_log) = in_log else { return self.proved(table, from).map(|proved| proved.definition) };
        let mut told = Definition::from(in_log.clone());
        if self.declares {
            // The log tells no defaults, and not how types were written.
            match self.proved(table, from) {
                Ok(Proved { definition, .. }) if same_columns(&definition.columns, &in_log.columns) => {
                    return Ok(Definition { key: told.key, ..definition });
                }
                Ok(_) => {}
                Err(error) if error.policy() == Policy::StopTable => {}
                Err(error) => return Err(error),
            }
        }
        // Only the catalog knows TINYINT(1), which matters where it is to be a boolean.
        if self.types.tinyint1_as_boolean {
            let mut conn = connect(&self.config, Purpose::Questions)?;
            let collations = catalog::collations(&mut conn)?;
            let found = match catalog::read_one(&mut conn, table, &collations) {
                Ok(found) => found.filter(|found| same_columns(&found.columns, &in_log.columns)),
                // What the log says is understood.
                Err(error) if table_of(&error).is_some() => None,
                Err(error) => return Err(error),
            };
            // Nothing else: keys and defaults are those of now, not of these rows.
            for (column, now) in told.columns.iter_mut().zip(found.iter().flat_map(|found| &found.columns)) {
                column.ty = now.ty.clone();
            }
        }
        Ok(told)
    }

    /// The structure of `table` right after `from`, by the catalog.
    pub(super) fn proved(&mut self, table: &TableId, from: &BinlogPosition) -> Result<Proved> {
        self.read_for(table, from)?;
        let remedy = format!(
            "set the server's binlog_row_metadata to FULL, so that the log tells structures; then lakeward resume {table}"
        );
        let unknown = |how: String| Error::new(ErrorKind::TableChanged, how).of_table(table).remedy(&*remedy);
        let Some(reading) = &self.reading else {
            return Err(Error::new(ErrorKind::Bug, "no catalog after it was read"));
        };
        let touches = reading.touches.tables.get(table).map_or(&[][..], Vec::as_slice);
        if let Some(touch) = touches.iter().find(|touch| touch.how == Touched::Fully) {
            return Err(unknown(format!(
                "its structure at this position is not known: `{}` changed it at {}, before the catalog was read",
                touch.statement, touch.place
            )));
        }
        if let Some(error) = reading.catalog.refused.iter().find(|error| table_of(error) == Some(table)) {
            return Err(unknown(format!("the catalog's description is not understood: {}", error.message())));
        }
        let found =
            reading.catalog.tables.get(table).ok_or_else(|| {
                unknown("the log has rows of it, and the catalog does not know it".to_owned())
            })?;
        let fill = |column: &Column| {
            let default = found.defaults.get(&column.name)?;
            Some((column.name.clone(), schema::fill_of_catalog(column, default, &self.types)?))
        };
        let fills = found.columns.iter().filter_map(fill).collect();
        let mut definition = found.definition();
        if !self.declares {
            definition.undeclare();
        }
        if touches.iter().any(|touch| touch.how == Touched::Mildly) {
            let indexes = definition.groundwork.indexes.take();
            definition.groundwork.collation = None;
            // Defaults, too, may be later ones.
            definition.undeclare();
            if !indexes.is_some_and(|indexes| indexes.iter().any(|index| index.name == PRIMARY)) {
                return Err(unknown(
                    "which of its indexes was its key at this position is not known".to_owned(),
                ));
            }
        }
        Ok(Proved { definition, fills })
    }

    /// Whether REPAIR TABLE leaves a table's rows as they are, right after `from`; `false` also where that is not proved.
    /// InnoDB repairs nothing, but for rows that are in a wrong partition.
    pub(super) fn repairs_nothing(&mut self, table: &TableId, from: &BinlogPosition) -> Result<bool> {
        self.read_for(table, from)?;
        let Some(Reading { catalog, touches, .. }) = &self.reading else { return Ok(false) };
        let found = catalog.tables.get(table).filter(|_| !touches.tables.contains_key(table));
        Ok(found.is_some_and(|found| found.engine.eq_ignore_ascii_case("InnoDB") && !found.is_partitioned))
    }

    /// Reads all tables, where what was read of this one is not of `from`.
    fn read_for(&mut self, table: &TableId, from: &BinlogPosition) -> Result<()> {
        let known = self.reading.as_ref().is_some_and(|reading| reading.catalog.tables.contains_key(table));
        match known && !self.stale.contains(table) {
            true => Ok(()),
            false => self.read_all(from),
        }
    }

    fn read_all(&mut self, from: &BinlogPosition) -> Result<()> {
        self.reading = Some(self.read(from, |table| self.filter.captures(table), &Catalog::default())?);
        self.stale.clear();
        Ok(())
    }

    /// Reads the tables that are wanted; statements about those of `beside` are noted, too.
    fn read(
        &self,
        from: &BinlogPosition,
        wanted: impl Fn(&TableId) -> bool,
        beside: &Catalog,
    ) -> Result<Reading> {
        let mut conn = connect(&self.config, Purpose::Questions)?;
        let facts = ServerFacts::read(&mut conn)?;
        if let Some(passed) = &from.gtid_set {
            wait_for(&mut conn, passed)?;
        }
        let catalog = catalog::read_some(&mut conn, wanted)?;
        let (end, executed) = current_end(&mut conn, &facts.version)?;
        drop(conn);
        let end = BinlogPosition {
            server_uuid: facts.uuid,
            file: end.file,
            offset: end.offset,
            gtid_set: from.gtid_set.as_ref().map(|_| executed),
        };
        tracing::info!(
            full_metadata = self.full_metadata,
            "reading the log from {}:{} to {}:{} for statements that change tables",
            from.file,
            from.offset,
            end.file,
            end.offset
        );
        let candidates: Vec<TableId> = catalog.tables.keys().chain(beside.tables.keys()).cloned().collect();
        let (touches, end) = self.touches(from, &end, &candidates, facts.names_ignore_case())?;
        Ok(Reading { catalog, touches, end })
    }

    /// Statements that touch captured tables from `from` to `end`, and where reading ended: not before that.
    fn touches(
        &self,
        from: &BinlogPosition,
        end: &BinlogPosition,
        candidates: &[TableId],
        lower_case_names: bool,
    ) -> Result<(Touches, BinlogPosition)> {
        let mut place = Place { file: from.file.as_str().into(), offset: from.offset };
        let mut passed = from.gtid_set.clone().unwrap_or_default();
        // The server leaves out transactions that we have, so that with GTIDs the last event may lie
        // before the end; the sets decide then.
        let at_end = |place: &Place, passed: &GtidSet| {
            end.gtid_set.as_ref().is_some_and(|executed| executed.is_subset_of(passed))
                || is_at_or_after(place, end)
        };
        let mut touches = Touches::default();
        if from.server_uuid == end.server_uuid && at_end(&place, &passed) {
            return Ok((touches, from.clone()));
        }
        let request = match (&from.gtid_set, u32::try_from(from.offset)) {
            (Some(set), _) => From::GtidSet(set.clone()),
            (None, Ok(offset)) => From::File { file: from.file.clone(), offset },
            (None, Err(_)) => From::File { file: from.file.clone(), offset: FIRST_OFFSET as u32 },
        };
        let conn = connect(&self.config, Purpose::Stream)?;
        let mut stream = ServerStream::open(conn, &request, self.replica, self.config.max_event.0)?;
        let mut assembler = Assembler::new(false, lower_case_names);
        self.outside.stats.connected.set(1);
        loop {
            let Some(event) = stream.next()? else {
                return Err(Error::new(ErrorKind::SourceUnreachable, "the log ended while it was read"));
            };
            self.outside.looked()?;
            place.pass(&event.header);
            let was_between = assembler.is_between();
            match assembler.accept(event)? {
                Step::Rotate { to, .. } => place = Place { file: to.file.into(), offset: to.offset },
                Step::Payload(body) => {
                    let mut payload = Payload::open(body, self.config.max_event.0)?;
                    while let Some(event) = payload.next_event()? {
                        self.note(&mut assembler, event, &place, candidates, &mut touches)?;
                    }
                    assembler.payload_ended()?;
                }
                step => self.note_step(step, &place, candidates, &mut touches),
            }
            if assembler.is_between() {
                if let Some(gtid) = assembler.transaction().gtid.as_ref().filter(|_| !was_between) {
                    passed.insert(gtid);
                }
                if at_end(&place, &passed) {
                    break;
                }
            }
        }
        let reached = BinlogPosition {
            server_uuid: end.server_uuid,
            file: place.file.to_string(),
            offset: place.offset,
            // Not what was executed: more may be than was read.
            gtid_set: end.gtid_set.as_ref().map(|_| passed),
        };
        Ok((touches, reached))
    }

    fn note(
        &self,
        assembler: &mut Assembler,
        event: Event<'_>,
        place: &Place,
        candidates: &[TableId],
        touches: &mut Touches,
    ) -> Result<()> {
        let step = assembler.accept_inner(event)?;
        self.note_step(step, place, candidates, touches);
        Ok(())
    }

    fn note_step(&self, step: Step<'_>, place: &Place, candidates: &[TableId], touches: &mut Touches) {
        let Step::Statement { query, statement, .. } = step else { return };
        touches.databases |= matches!(statement, Statement::Database | Statement::DropDatabase(_));
        for (table, how) in statement::touched(&statement, &self.filter, candidates) {
            let touch = Touch {
                how,
                statement: statement::excerpt(&query.sql),
                place: format!("{}:{}", place.file, place.offset),
            };
            touches.tables.entry(table).or_default().push(touch);
        }
    }
}

/// The table that an error is about.
fn table_of(error: &Error) -> Option<&TableId> {
    match error.scope() {
        Scope::Table(table) => Some(table),
        Scope::Pipeline => None,
    }
}

/// Waits until the catalog shows what these transactions did: the log is ahead of it for a moment.
fn wait_for(conn: &mut Conn, passed: &GtidSet) -> Result<()> {
    let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, 10)", quoted(&passed.to_string()));
    let answer = rows(conn, &sql)?.into_iter().flatten().flatten().next();
    match answer.as_deref() {
        Some("0") => Ok(()),
        _ => Err(Error::new(ErrorKind::SourceUnreachable, "the server has not executed what its log has")),
    }
}
