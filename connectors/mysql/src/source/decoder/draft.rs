//! What stands under each name that a statement touches, worked out before anything of it takes effect.
//!
//! A statement may move several tables through several names; only the end counts. So its steps are
//! taken on a draft; what must be asked of the server is asked then. Nothing of the decoder changes
//! before all of that is settled: a link that breaks meanwhile leaves no half of a statement behind.

use lakeward_core::error::Policy;
use lakeward_core::table_filter::is_ghost_of;
use lakeward_core::{Column, ErrorKind, Groundwork, Result, TableId};

use super::Decoder;
use crate::binlog::query::Query;
use crate::schema::{self, Context, Definition, Made};
use crate::source::beside::Other;
use crate::source::statement::{Effect, Reason};

/// A table, as a statement leaves it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The name that it had before the statement; `None`: the statement made it.
    pub(super) was: Option<TableId>,
    /// Its structure, if that is known.
    pub(super) definition: Option<Definition>,
    /// The captured table and the version of it that its columns' numbers are of.
    pub(super) like: Option<(TableId, u32)>,
    /// Why the rows that the lake has of it, or of the table it is copied from, are not its rows.
    pub(super) rewritten: Option<Reason>,
    /// Why a copy of another table's rows in it may lack some.
    pub(super) narrower: Option<String>,
    /// Its rows are gone.
    pub(super) emptied: bool,
}

impl Standing {
    fn new(was: Option<TableId>, definition: Option<Definition>) -> Standing {
        Standing { was, definition, like: None, rewritten: None, narrower: None, emptied: false }
    }
}

/// Names, in the order in which the statement touches them first.
#[derive(Debug, Default)]
pub(super) struct Draft {
    names: Vec<Name>,
}

#[derive(Debug)]
struct Name {
    table: TableId,
    /// What stands there in the end; `None`: nothing.
    standing: Option<Standing>,
}

impl Draft {
    fn place(&mut self, decoder: &Decoder, table: &TableId) -> &mut Option<Standing> {
        let at = self.names.iter().position(|name| name.table == *table).unwrap_or_else(|| {
            let standing = decoder.standing(table);
            self.names.push(Name { table: table.clone(), standing });
            self.names.len() - 1
        });
        &mut self.names[at].standing
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&TableId, Option<&Standing>)> {
        self.names.iter().map(|name| (&name.table, name.standing.as_ref()))
    }

    pub(super) fn into_names(self) -> impl Iterator<Item = (TableId, Option<Standing>)> {
        self.names.into_iter().map(|name| (name.table, name.standing))
    }

    /// The table that stands under a name in the end.
    pub(super) fn standing(&self, table: &TableId) -> Option<&Standing> {
        self.names.iter().find(|name| name.table == *table)?.standing.as_ref()
    }

    /// Where the table stands in the end that stood under a name before; `None`: nowhere.
    pub(super) fn place_of(&self, table: &TableId) -> Option<&TableId> {
        let is_it = |standing: &Standing| standing.was.as_ref() == Some(table);
        let name = self.names.iter().find(|name| name.standing.as_ref().is_some_and(is_it))?;
        Some(&name.table)
    }
}

impl Decoder {
    /// What stands under a name before a statement.
    fn standing(&self, table: &TableId) -> Option<Standing> {
        let standing = |definition| Standing::new(Some(table.clone()), definition);
        if self.settings.filter.captures(table) {
            let known = self.tables.find(table).and_then(|at| self.tables.get(at).ok());
            return match known {
                Some(known) if known.dropped => None,
                Some(known) if known.is_active() => {
                    let definition = known.schema.as_ref().map(|schema| Definition::of(schema));
                    let version = known.schema.as_ref().map(|schema| (table.clone(), schema.version));
                    Some(Standing { like: version, ..standing(definition) })
                }
                // What happened to a stopped table is not followed.
                Some(_) | None => Some(standing(None)),
            };
        }
        Some(match self.beside.table(table) {
            Some(Other { definition, like, rewritten, narrower }) => Standing {
                like: like.clone(),
                rewritten: rewritten.clone(),
                narrower: narrower.clone(),
                ..standing(Some(definition.clone()))
            },
            None => standing(None),
        })
    }

    /// Takes a statement's steps. Errors are those of asking the server.
    pub(super) fn draft(&mut self, query: &Query<'_>, effects: &[Effect]) -> Result<Draft> {
        let mut draft = Draft::default();
        for effect in effects {
            if let Effect::Created { table, .. } | Effect::Altered(table) = effect {
                self.look_at_database(&table.database)?;
            }
            match effect {
                Effect::Created { table, if_not_exists } => {
                    let there = draft.place(self, table).as_ref();
                    let known = there.is_some_and(|standing| standing.definition.is_some());
                    if *if_not_exists && !self.was_made(query, there.is_some(), known) {
                        continue;
                    }
                    let made = self.made(query, table, &mut draft)?;
                    *draft.place(self, table) = Some(made);
                }
                Effect::Altered(table) => {
                    self.learn_generated(query, table, &mut draft)?;
                    let context = self.context(query, table);
                    match draft.place(self, table) {
                        Some(standing) => alter(standing, &query.sql, &context),
                        // It stands, so it came back: nobody knows with which rows.
                        gone @ None => *gone = Some(came_back()),
                    }
                }
                Effect::Rewritten(table, reason) => {
                    let Some(standing) = draft.place(self, table) else { continue };
                    standing.rewritten = Some(reason.clone());
                }
                Effect::Unclear(table, reason) => {
                    let standing = draft.place(self, table).get_or_insert_with(|| Standing::new(None, None));
                    (standing.definition, standing.rewritten) = (None, Some(reason.clone()));
                }
                Effect::Truncated(table) => {
                    let Some(standing) = draft.place(self, table) else { continue };
                    (standing.emptied, standing.rewritten) = (true, None);
                }
                Effect::Dropped(table) => *draft.place(self, table) = None,
                Effect::DroppedDatabase(database) => {
                    let tables = self.tables.iter().map(|table| table.id.clone());
                    for table in tables.filter(|table| *table.database == **database).collect::<Vec<_>>() {
                        *draft.place(self, &table) = None;
                    }
                }
                Effect::Renamed { from, to } => {
                    let moved = draft.place(self, from).take();
                    *draft.place(self, to) = moved;
                }
                Effect::Stop { .. } => {}
            }
        }
        Ok(draft)
    }

    /// Asks which columns of a table are generated, where that is not known and what the statement that alters it
    /// does depends on it. Of a copy it is asked of the captured table that it is like.
    fn learn_generated(&mut self, query: &Query<'_>, table: &TableId, draft: &mut Draft) -> Result<()> {
        let Some(standing) = draft.place(self, table) else { return Ok(()) };
        let (Some(known), Some((asked, _))) = (standing.definition.clone(), standing.like.clone()) else {
            return Ok(());
        };
        if known.groundwork.generated.is_some() {
            return Ok(());
        }
        let context = self.context(query, table);
        let groundwork = Groundwork { generated: Some(Vec::new()), ..known.groundwork.clone() };
        let without = Definition { groundwork, ..known.clone() };
        let unknown = schema::alter(&known, &query.sql, &context);
        let (Ok(unknown), Ok(none)) = (unknown, schema::alter(&without, &query.sql, &context)) else {
            return Ok(());
        };
        if unknown.rewritten == none.rewritten {
            return Ok(());
        }
        let position = self.position_after();
        let proved = match self.proved(&asked, &position) {
            Ok(proved) => proved.definition,
            // Its rows are read anew.
            Err(error) if error.policy() == Policy::StopTable => return Ok(()),
            Err(error) => return Err(error),
        };
        let names = schema::generated_names(&proved).unwrap_or_default();
        // The catalog has the table's columns as the statement leaves them, and those of a copy's original as they were.
        let columns = if asked == *table { &none.definition.columns } else { &known.columns };
        let numbers = schema::column_numbers(&names, columns);
        if let Some(definition) =
            draft.place(self, table).as_mut().and_then(|standing| standing.definition.as_mut())
            && numbers.len() == names.len()
        {
            definition.groundwork.generated = Some(numbers);
            definition.groundwork.virtual_columns =
                schema::column_numbers(&schema::virtual_names(&proved), columns);
        }
        Ok(())
    }

    /// Asks for a database's default collation of now, where nothing better is known: rows that come with
    /// column names correct it where it was another one.
    fn look_at_database(&mut self, database: &str) -> Result<()> {
        if self.beside.database(database).is_some() || self.beside.likely(database).is_some() {
            return Ok(());
        }
        if let Some(truth) = self.truth.as_ref().filter(|truth| truth.full_metadata()) {
            let collation = truth.present_collation(database)?;
            self.beside.set_likely(database, collation);
        }
        Ok(())
    }

    pub(super) fn context<'a>(&self, query: &'a Query<'_>, table: &TableId) -> Context<'a> {
        Context {
            session: query.session(self.settings.lower_case_names),
            surroundings: &query.surroundings,
            database_collation: self.beside.database(&table.database),
            likely_collation: self.beside.likely(&table.database).flatten(),
            options: self.settings.types,
            declares: self.settings.schema_changes,
        }
    }

    /// Whether `IF NOT EXISTS` made the table. Servers since 8.0 tell, but for tables whose engine is not
    /// transactional.
    fn was_made(&self, query: &Query<'_>, is_there: bool, is_known: bool) -> bool {
        let told = query.surroundings.carried_out || self.assembler.is_open();
        told || (!is_there && !is_known)
    }

    /// The table that a CREATE TABLE makes.
    fn made(&mut self, query: &Query<'_>, table: &TableId, draft: &mut Draft) -> Result<Standing> {
        let mut context = self.context(query, table);
        let mut made = schema::create(&query.sql, &context);
        let unsure =
            matches!(&made, Ok(Made::Defined(definition)) if definition.groundwork.collation.is_none());
        if unsure && context.database_collation.is_none() {
            let position = self.position();
            let asked = match &mut self.truth {
                Some(truth) => truth.database_collation(&table.database, &position)?,
                None => None,
            };
            if asked.is_some() {
                self.beside.set_database(&table.database, asked);
                context.database_collation = asked;
                made = schema::create(&query.sql, &context);
            }
        }
        let mut standing = Standing::new(None, None);
        match made {
            Ok(Made::Defined(mut definition)) => {
                standing.like = self.ghost_like(table, &mut definition);
                standing.definition = Some(definition);
            }
            Ok(Made::Like(source)) => {
                if let Some(source) = draft.place(self, &source) {
                    standing.definition.clone_from(&source.definition);
                    standing.like.clone_from(&source.like);
                    standing.narrower.clone_from(&source.narrower);
                }
            }
            Err(why) => tracing::warn!(table = %table, "its CREATE TABLE is not understood: {why}"),
        }
        Ok(standing)
    }
}

impl Decoder {
    /// The captured table whose ghost is made, if it is made with that table's columns (as
    /// pt-online-schema-change does); they get their numbers.
    fn ghost_like(&self, ghost: &TableId, definition: &mut Definition) -> Option<(TableId, u32)> {
        let schemas = self.tables.iter().filter_map(|table| table.schema.as_ref());
        let real = schemas.into_iter().find(|schema| {
            let names =
                |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
            is_ghost_of(ghost, &schema.table) && names(&schema.columns) == names(&definition.columns)
        })?;
        definition.succeed(Some(&Definition::of(real)));
        for (column, real) in definition.columns.iter_mut().zip(&real.columns) {
            column.fill.clone_from(&real.fill);
        }
        Some((real.table.clone(), real.version))
    }
}

/// A table that stands under a name of which a dropped one was known.
fn came_back() -> Standing {
    let text = "it was dropped, and stands again without a statement in the log";
    let reason = Reason::new(ErrorKind::TableChanged, text);
    Standing { rewritten: Some(reason), ..Standing::new(None, None) }
}

/// Carries a table's structure through a statement that alters it.
fn alter(standing: &mut Standing, sql: &str, context: &Context<'_>) {
    let Some(known) = &standing.definition else { return };
    match schema::alter(known, sql, context) {
        Ok(change) => {
            standing.definition = Some(change.definition);
            let reason = change.rewritten.map(|text| Reason::new(ErrorKind::TableChanged, text));
            standing.rewritten = standing.rewritten.take().or(reason);
            standing.narrower = standing.narrower.take().or(change.narrower);
        }
        Err(why) => {
            standing.definition = None;
            let text = format!("a statement that alters the table is not understood: {why}");
            standing.rewritten = Some(Reason::new(ErrorKind::UnparsedDdl, text));
        }
    }
}
