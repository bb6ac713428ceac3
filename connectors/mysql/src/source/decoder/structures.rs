//! Versions of tables: what a statement's end makes of them, and what a table map says.
//!
//! Guarantees:
//! - *No row is read by a wrong structure.* A version in force was carried here by statements that were
//!   understood, or proved by the catalog, or is said by the table map itself. Each table map is compared
//!   with it before its rows are read. Where the map names the columns, it decides; where it does not, a
//!   version of which something was guessed ([`lakeward_core::Groundwork::unsure`]) is proved first.
//! - *No stale row lives on.* A table whose rows are not what the lake has of it is emptied by a mark, or
//!   read anew, or stops: one that leaves a name empties it, one that comes under a name is read anew.
//!   Only a ghost table that takes its table's place in one statement, as the tools do it ([`is_cut_over`]), has
//!   that table's rows already: an online schema change copied them, the values are kept as [`schema::rewritten`]
//!   says and in their columns as [`schema::renamed`] says, and none was refused by the new table as
//!   [`schema::narrower`] says. A table that was itself the captured one before has not. Unknown: one that was
//!   swapped in by hand under the very names of a tool, before it had all rows.
//! - *No structure is taken up that a statement has changed since.* Every statement that touches an active
//!   table voids what is being read of it, also where nothing is known of the table yet: what a thread
//!   described before the statement is then not taken for what stands behind it.
//! - *No version has a column that the sink has no name for, nor a key that is mapped to true and false*: its table
//!   stops where it would begin ([`Decoder::suited`]). Unknown: a version of an earlier run, under other settings: of the
//!   sink, which refuses it, or before the key was looked at. Keys of dates that are no days still are one, null
//!   (README, Limits).
//! - *No table goes on whose rows change unlogged.* Where the server does not log cascades of foreign keys, one that
//!   comes under a captured name with such a key stops. Unknown: a key that the table has lost again by the time that
//!   the catalog is asked.
//! - *The same again.* What a statement does depends on the log, the checkpoint and, where something is
//!   not known, on the catalog; it does all of it or nothing ([`super::draft`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use lakeward_core::error::Policy;
use lakeward_core::table_filter::is_cut_over;
use lakeward_core::{
    BinlogPosition, Column, ColumnType, Error, ErrorKind, Result, SnapshotState, TableId, TableSchema,
};

use super::draft::{Draft, Standing};
use super::{Decoder, Outcome};
use crate::binlog::query::Query;
use crate::binlog::table_map::{Structure, TableMap, same_columns};
use crate::schema::{self, Definition};
use crate::source::beside::Other;
use crate::source::statement::{self, Reason};
use crate::source::truth::Proved;

/// What a statement made of a captured table, settled.
pub(super) struct Settled {
    table: TableId,
    fate: Fate,
}

enum Fate {
    /// Its rows are gone, and the table itself where that is said.
    Voided { dropped: bool },
    /// Nothing is known of it yet; what was asked of the server before the statement is void.
    Touched,
    /// It has this structure now.
    Stands { definition: Option<Definition>, rows: Rows },
    /// It cannot go on.
    Stopped(Error),
}

/// The structure of a table after a statement.
struct Found {
    /// `None`: its rows will tell.
    definition: Option<Definition>,
    /// It is the catalog's: the fills that are certain, by column.
    proved: Option<Fills>,
}

pub(super) type Fills = BTreeMap<String, Option<String>>;

/// What became of a table's rows.
enum Rows {
    /// The lake has them.
    Kept,
    /// There are none.
    Emptied,
    /// The table is new, and empty.
    New,
    /// They must be read.
    Unknown(Reason),
}

impl Decoder {
    /// Settles what a draft makes of the captured tables; asks the catalog what is not known.
    pub(super) fn settle_draft(&mut self, query: &Query<'_>, draft: &Draft) -> Result<Vec<Settled>> {
        let mut settled = Vec::new();
        for (table, standing) in draft.names() {
            if !self.settings.filter.captures(table) {
                continue;
            }
            let known = self.tables.find(table).map(|at| self.tables.get(at)).transpose()?;
            if known.is_some_and(|known| !known.is_active()) {
                continue;
            }
            let fate = match standing {
                None if known.is_none() => continue,
                None => Fate::Voided { dropped: true },
                Some(standing) => match self.settle_standing(query, table, standing, draft)? {
                    Some(fate) => fate,
                    None => continue,
                },
            };
            settled.push(Settled { table: table.clone(), fate });
        }
        Ok(settled)
    }

    /// `None`: nothing of the table changes, or it was never met.
    fn settle_standing(
        &mut self,
        query: &Query<'_>,
        table: &TableId,
        standing: &Standing,
        draft: &Draft,
    ) -> Result<Option<Fate>> {
        let place = self.tables.find(table);
        let known = match place {
            Some(at) => self.tables.get(at)?.schema.clone(),
            None => None,
        };
        let previous = known.as_ref().map(|schema| Definition::of(schema));
        let stays = standing.was.as_ref() == Some(table);
        if stays && known.is_none() && standing.rewritten.is_none() {
            return Ok(place.map(|_| Fate::Touched));
        }
        if stays && previous == standing.definition && standing.rewritten.is_none() {
            return Ok(standing.emptied.then_some(Fate::Voided { dropped: false }));
        }
        if !self.settings.snapshots && !stays && standing.definition.is_none() && self.is_view(table)? {
            // It was one then, or a table that the log has dropped since: nothing is to be captured under the name.
            let stood = place.map(|at| self.tables.get(at)).transpose()?.is_some_and(|stood| !stood.dropped);
            return Ok(stood.then_some(Fate::Voided { dropped: true }));
        }
        if standing.was.is_some()
            && !stays
            && let Some(error) = self.unlogged_cascade(table)?
        {
            return Ok(Some(Fate::Stopped(error.at("statement", statement::excerpt(&query.sql)))));
        }
        let old = draft.place_of(table);
        let ghost = standing.was.as_ref().filter(|was| old.is_some_and(|old| is_cut_over(was, old, table)));
        let made = standing.was.is_none();
        let Found { mut definition, proved } = match self.known_definition(table, standing, made)? {
            Ok(found) => found,
            // All its rows are read, with the structure that they have then.
            Err(error) if self.settings.snapshots => {
                let rows = Rows::Unknown(Reason::new(error.kind(), error.message().to_owned()));
                return Ok(Some(Fate::Stands { definition: None, rows }));
            }
            Err(error) => {
                let error = error.at("statement", statement::excerpt(&query.sql));
                return Ok(Some(Fate::Stopped(error)));
            }
        };
        let numbered = stays && proved.is_none();
        let is_copy = ghost.is_some()
            && proved.is_none()
            && standing.like == known.as_ref().map(|schema| (table.clone(), schema.version));
        let mut new_columns = None;
        if let Some(definition) = definition.as_mut().filter(|_| !numbered && !is_copy) {
            // What the statement made of the columns knows of those that were renamed, or dropped and added
            // anew; names alone do not.
            let made_of = standing.definition.as_ref().filter(|_| stays).or(previous.as_ref());
            let keeps_fills = stays || ghost.is_some();
            new_columns = succeed(definition, made_of, keeps_fills, &proved.unwrap_or_default());
        }
        let rows = if made && standing.rewritten.is_none() {
            Rows::New
        } else if let Some(reason) = &standing.rewritten {
            Rows::Unknown(reason.clone())
        } else if stays {
            if standing.emptied { Rows::Emptied } else { Rows::Kept }
        } else if ghost.is_some() {
            let why = match (&previous, &definition) {
                (Some(old), Some(new)) => {
                    let changed = new_columns
                        .or_else(|| schema::renamed(old, new))
                        .or_else(|| schema::rewritten(old, new, &self.settings.types, false));
                    match changed {
                        None => self.lacking(table, standing, old, new)?,
                        why => why,
                    }
                }
                _ => Some("its structure before is not known".to_owned()),
            };
            why.map_or(Rows::Kept, |text| Rows::Unknown(Reason::new(ErrorKind::TableChanged, text)))
        } else {
            let was = standing.was.as_ref().map(ToString::to_string).unwrap_or_default();
            Rows::Unknown(Reason::new(ErrorKind::TableChanged, format!("{was} took its place")))
        };
        Ok(Some(Fate::Stands { definition, rows }))
    }

    /// Why a table that came under a captured name cannot go on there: its foreign keys may have come with it.
    fn unlogged_cascade(&self, table: &TableId) -> Result<Option<Error>> {
        let Some(truth) = self.truth.as_ref().filter(|_| !self.settings.logs_cascades) else {
            return Ok(None);
        };
        Ok(truth.cascade(table)?.map(|cascade| statement::unlogged_cascade(&cascade)))
    }

    /// Why a ghost table that takes its table's place may lack rows of it.
    fn lacking(
        &self,
        table: &TableId,
        standing: &Standing,
        old: &Definition,
        new: &Definition,
    ) -> Result<Option<String>> {
        let why = if standing.definition.is_some() {
            // Where the table's indexes are not known, the statement that altered the ghost has told.
            let told = standing.narrower.clone();
            told.or_else(|| old.groundwork.indexes.as_ref().and_then(|_| schema::narrower(old, new)))
        } else if new.groundwork.indexes.is_none() {
            Some("its indexes are not known".to_owned())
        } else {
            match (schema::narrower(old, new), &self.truth) {
                (Some(why), _) => Some(why),
                (None, Some(truth)) => truth.limits(table)?,
                (None, None) => Some("there is no catalog to ask for its constraints".to_owned()),
            }
        };
        Ok(why.map(|why| format!("the copy of its rows may lack some: {why}")))
    }

    /// Whether a view has the name now. (Where rows may be read, the thread that reads them finds out.)
    fn is_view(&self, name: &TableId) -> Result<bool> {
        self.truth.as_ref().map_or(Ok(false), |truth| truth.is_view(name))
    }

    /// The structure of a table after the statement at hand; the inner error stops it.
    fn known_definition(
        &mut self,
        table: &TableId,
        standing: &Standing,
        made: bool,
    ) -> Result<std::result::Result<Found, Error>> {
        let full = self.truth.as_ref().is_none_or(|truth| truth.full_metadata());
        match &standing.definition {
            Some(definition) if full || !definition.groundwork.unsure => {
                return Ok(Ok(Found { definition: Some(definition.clone()), proved: None }));
            }
            Some(_) | None => {}
        }
        // A statement that makes a table may be followed by its rows in the same transaction; only that
        // statement lies between.
        let position = if made { self.position() } else { self.position_after() };
        match self.proved(table, &position) {
            Ok(Proved { definition, fills }) => {
                Ok(Ok(Found { definition: Some(definition), proved: Some(fills) }))
            }
            Err(error) if error.policy() != Policy::StopTable => Err(error),
            // Rows come with their columns' names.
            Err(_) if full => Ok(Ok(Found { definition: None, proved: None })),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Carries out what was settled.
    pub(super) fn apply(&mut self, query: &Query<'_>, settled: Vec<Settled>) -> Outcome<bool> {
        let mut stopped = false;
        for Settled { table, fate } in settled {
            let at = self.tables.find_or_add(&table);
            self.structure_touched(at)?;
            let outcome = match fate {
                Fate::Voided { dropped } => {
                    self.void(at, dropped)?;
                    Ok(())
                }
                Fate::Touched => Ok(()),
                Fate::Stopped(error) => Err(error),
                Fate::Stands { definition, rows } => self.stand(at, definition, rows)?,
            };
            stopped |= outcome.is_err();
            let outcome = outcome.map_err(|error| error.at("statement", statement::excerpt(&query.sql)));
            self.settle(at, outcome)?;
        }
        Ok(stopped)
    }

    /// A table has a structure, and rows or not; the inner error stops it.
    fn stand(&mut self, at: usize, definition: Option<Definition>, rows: Rows) -> Outcome<Result<()>> {
        let table = self.tables.get(at)?.id.clone();
        let definition = match definition.map(|definition| self.suited(&table, definition)).transpose() {
            Ok(definition) => definition,
            Err(error) => return Ok(Err(error)),
        };
        if let Rows::Emptied = rows {
            self.void(at, false)?;
        }
        let rows = match rows {
            Rows::Kept | Rows::Emptied if self.outgrows_deletes(at, definition.as_ref())? => {
                let text = "it has another key, and its deletes by key have the columns of that before";
                Rows::Unknown(Reason::new(ErrorKind::TableChanged, text))
            }
            rows => rows,
        };
        match definition {
            Some(definition) => self.follow_version(at, definition)?,
            None => self.doubt(at)?,
        }
        match rows {
            Rows::Kept | Rows::Emptied => {}
            Rows::New => {
                self.tables.set_dropped(at, false)?;
                self.retire_snapshot(at)?;
                self.set_snapshot(at, SnapshotState::Done)?;
            }
            Rows::Unknown(reason) => {
                self.tables.set_dropped(at, false)?;
                if !self.settings.snapshots {
                    let table = &self.tables.get(at)?.id;
                    let message =
                        format!("{}: its rows must be read anew, and snapshots are off", reason.text);
                    return Ok(Err(Error::new(reason.kind, message)
                        .of_table(table)
                        .remedy(format!("lakeward resume {table}"))));
                }
                let table = self.tables.get(at)?.id.to_string();
                tracing::warn!(table, "its rows are read anew: {}", reason.text);
                return Ok(self.reread(at));
            }
        }
        Ok(Ok(()))
    }

    /// Whether deletes that have the key's columns alone lack a column of the key that comes.
    fn outgrows_deletes(&self, at: usize, definition: Option<&Definition>) -> Result<bool> {
        let table = self.tables.get(at)?;
        let (true, Some(schema), Some(definition)) = (table.deleted_by_key, &table.schema, definition) else {
            return Ok(false);
        };
        let before = key_ids(&schema.key, &schema.columns);
        Ok(key_ids(&definition.key, &definition.columns).iter().any(|id| !before.contains(id)))
    }

    /// The structure, where no column of it has a name that the sink has for itself, and the key tells rows apart as it is
    /// mapped.
    pub(super) fn suited(&self, table: &TableId, definition: Definition) -> Result<Definition> {
        let types = &self.settings.types;
        let is_boolean = |column: &&Column| {
            matches!(column.ty, ColumnType::Int { .. }) && column.ty.arrow(types) == DataType::Boolean
        };
        if let Some(column) =
            definition.key.iter().filter_map(|at| definition.columns.get(*at)).find(is_boolean)
        {
            let message =
                "a column of the key is mapped to true and false, and numbers above 1 would be one key";
            let remedy = "set types.tinyint1_as_boolean: false, or leave the table out with tables.exclude";
            return Err(Error::new(ErrorKind::TableChanged, message)
                .of_table(table)
                .at("column", &column.name)
                .remedy(remedy));
        }
        let is_reserved = |column: &&Column| {
            self.settings.reserved.iter().any(|name| name.eq_ignore_ascii_case(&column.name))
        };
        match definition.columns.iter().find(is_reserved) {
            None => Ok(definition),
            Some(column) => Err(Error::new(
                ErrorKind::TableChanged,
                "a column has the name of a column or partition folder of the lake",
            )
            .of_table(table)
            .at("column", &column.name)
            .remedy(
                "rename the column, or give the lake's own other names (lake.columns, lake.layout), and then \
                 `lakeward resume` the table; or leave it out with tables.exclude",
            )),
        }
    }

    /// A structure is in force from here on: a new version, if it is another.
    pub(super) fn follow_version(&mut self, at: usize, definition: Definition) -> Outcome {
        let table = self.tables.get(at)?;
        let version = match &table.schema {
            Some(schema) if Definition::of(schema) == definition => return Ok(()),
            Some(schema) => schema.version + 1,
            None => 1,
        };
        let schema = definition.version(table.id.clone(), version, self.settings.types);
        self.flush_table(at)?;
        self.tables.set_schema(at, Arc::new(schema))?;
        self.tables.get_mut(at)?.builder = None;
        self.maps.retain(|_, map| map.table != Some(at));
        self.announce(at)
    }

    /// A table's structure is not known from here on, but comes with its rows; nor is it known that it was dropped.
    pub(super) fn doubt(&mut self, at: usize) -> Outcome {
        self.tables.set_dropped(at, false)?;
        let Some(schema) = self.tables.get(at)?.schema.clone() else { return Ok(()) };
        let mut definition = Definition::of(&schema);
        (definition.groundwork.collation, definition.groundwork.indexes) = (None, None);
        definition.groundwork.generated = None;
        definition.groundwork.virtual_columns.clear();
        definition.groundwork.unsure = true;
        self.follow_version(at, definition)
    }

    /// What the other tables of a draft leave for later statements.
    pub(super) fn remember(&mut self, draft: Draft) {
        for (table, standing) in draft.into_names() {
            if self.settings.filter.captures(&table) {
                continue;
            }
            let other = standing.and_then(|standing| {
                let Standing { was, definition, like, rewritten, narrower, .. } = standing;
                // Should it come back, it lacks what has changed since.
                let left = was.filter(|was| self.settings.filter.captures(was));
                let stale = left.map(|was| {
                    Reason::new(ErrorKind::TableChanged, format!("{was} went, and came back later"))
                });
                Some(Other { definition: definition?, like, rewritten: rewritten.or(stale), narrower })
            });
            self.beside.set_table(table, other);
        }
    }

    /// The place right behind the statement at hand, which is a transaction of its own.
    pub(super) fn position_after(&self) -> BinlogPosition {
        let mut gtid_set = self.position().gtid_set;
        if let (Some(set), Some(gtid)) = (&mut gtid_set, &self.assembler.transaction().gtid) {
            set.insert(gtid);
        }
        BinlogPosition {
            server_uuid: self.server_uuid,
            file: self.place.file.to_string(),
            offset: self.place.offset,
            gtid_set,
        }
    }

    /// The version in force for the rows of a table map.
    pub(super) fn version_of_map(&mut self, at: usize, map: &TableMap) -> Outcome<Result<Arc<TableSchema>>> {
        let Some(schema) = self.tables.get(at)?.schema.clone() else {
            return self.first_version(at, map);
        };
        let definition = match map.structure() {
            Err(error) => return Ok(Err(error)),
            Ok(Some(now)) if agrees(&now, &schema) => return Ok(map.check(&schema).map(|()| schema)),
            Ok(Some(now)) => self.told(&now, &schema),
            Ok(None) if schema.groundwork.unsure => {
                let position = self.position();
                self.proved_again(&schema, &position)
            }
            Ok(None) => return Ok(map.check(&schema).map(|()| schema)),
        };
        let definition = definition.map_err(|error| error.remedy(format!("lakeward resume {}", map.table)));
        match definition.and_then(|definition| self.suited(&map.table, definition)) {
            Ok(definition) => self.follow_version(at, definition)?,
            Err(error) => return Ok(Err(error)),
        }
        let Some(schema) = self.tables.get(at)?.schema.clone() else { return self.first_version(at, map) };
        Ok(map.check(&schema).map(|()| schema))
    }

    /// The structure that a table map names, in place of the one that is known.
    fn told(&self, now: &Structure, schema: &TableSchema) -> Result<Definition> {
        let previous = Definition::of(schema);
        let mut definition = Definition {
            columns: now.columns.clone(),
            key: now.key.clone(),
            groundwork: previous.groundwork.clone(),
        };
        let new = succeed(&mut definition, Some(&previous), true, &Fills::new());
        // The map does not tell it of columns that are new.
        let generated = previous.groundwork.generated.clone().filter(|_| new.is_none());
        definition.groundwork.generated = generated;
        definition.groundwork.virtual_columns.clone_from(&previous.groundwork.virtual_columns);
        definition.groundwork.unsure = false;
        if !keeps_key(&mut definition, now) {
            definition.groundwork.indexes = None;
        }
        if schema.groundwork.unsure {
            return same_key(&previous, definition);
        }
        // No statement told of it.
        match new.or_else(|| schema::rewritten(&previous, &definition, &self.settings.types, false)) {
            None => Ok(definition),
            Some(why) => Err(Error::new(
                ErrorKind::TableChanged,
                format!("its structure changed and no statement in the log says how: {why}"),
            )),
        }
    }

    /// A table is seen for the first time: its version 1.
    fn first_version(&mut self, at: usize, map: &TableMap) -> Outcome<Result<Arc<TableSchema>>> {
        let position = self.position();
        let in_log = match map.structure() {
            Ok(in_log) => in_log,
            Err(error) => return Ok(Err(error)),
        };
        let found = match &mut self.truth {
            Some(truth) => truth.structure(&map.table, in_log.as_ref(), &position),
            None => in_log.map(Definition::from).ok_or_else(|| {
                Error::new(ErrorKind::TableChanged, "the log does not name the table's columns")
                    .of_table(&map.table)
                    .remedy("set the server's binlog_row_metadata to FULL, and begin after that")
            }),
        };
        let definition = match found.and_then(|definition| self.suited(&map.table, definition)) {
            Ok(definition) => definition,
            Err(error) => return Ok(Err(error)),
        };
        let schema = definition.version(map.table.clone(), 1, self.settings.types);
        if let Err(error) = map.check(&schema) {
            return Ok(Err(error));
        }
        let schema = Arc::new(schema);
        self.tables.set_schema(at, schema.clone())?;
        Ok(Ok(schema))
    }
}

/// Gives columns the numbers of those of the same name before, and with `keeps_fills` their fills, new ones
/// those of `fills`. Says which column is new and has none.
pub(super) fn succeed(
    definition: &mut Definition,
    previous: Option<&Definition>,
    keeps_fills: bool,
    fills: &Fills,
) -> Option<String> {
    definition.succeed(previous);
    let before = previous.map(|previous| &previous.columns[..]).unwrap_or_default();
    let stays = |before: &Column| definition.columns.iter().any(|column| column.id == before.id);
    // A new column may be the one that is gone, under another name.
    let may_be_renamed = !before.iter().all(stays);
    let mut new = None;
    for column in &mut definition.columns {
        match (before.iter().find(|before| before.id == column.id), fills.get(&column.name)) {
            (Some(before), _) => {
                schema::follow_declaration(before, column);
                if keeps_fills {
                    column.fill.clone_from(&before.fill);
                }
            }
            (None, Some(fill)) if !may_be_renamed => column.fill.clone_from(fill),
            (None, _) => {
                let why = format!("what rows from before have in column {} is not known", column.name);
                new = new.or(Some(why));
            }
        }
    }
    new
}

/// Whether a version is what a table map says. Servers since 8.0 name the key that they take for the
/// primary one, a unique key too.
fn agrees(now: &Structure, schema: &TableSchema) -> bool {
    same_columns(&now.columns, &schema.columns) && now.key == schema.key
}

/// Settles the key by the known indexes; whether they fit what a table map says, which decides.
fn keeps_key(definition: &mut Definition, now: &Structure) -> bool {
    let Some(indexes) = &definition.groundwork.indexes else { return false };
    let exists = |name: &String| definition.columns.iter().any(|column: &Column| column.name == *name);
    let mut parts = indexes.iter().flat_map(|index| &index.parts).filter_map(|part| part.column.as_ref());
    let all_there = parts.all(exists);
    definition.settle_key();
    let fits = all_there && definition.key == now.key;
    definition.key.clone_from(&now.key);
    fits
}

/// The numbers of a key's columns, sorted.
fn key_ids(key: &[usize], columns: &[Column]) -> Vec<u32> {
    let mut ids: Vec<u32> = key.iter().filter_map(|at| columns.get(*at)).map(|column| column.id).collect();
    ids.sort_unstable();
    ids
}

/// A key that became another while rows are read: the rows from before are told apart by the old one.
pub(super) fn same_key(old: &Definition, new: Definition) -> Result<Definition> {
    let ids = |definition: &Definition| key_ids(&definition.key, &definition.columns);
    match new.key.is_empty() || ids(old) == ids(&new) {
        true => Ok(new),
        false => Err(Error::new(ErrorKind::TableChanged, "its key became another one, unseen")),
    }
}
