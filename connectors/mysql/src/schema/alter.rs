//! ALTER TABLE, CREATE INDEX, DROP INDEX: the structure that they make of a known one.

use lakeward_core::schema::PRIMARY;
use lakeward_core::{Column, ColumnType, Declaration, Index};

use super::clauses::{Clauses, NewColumn, Place, statement};
use super::column::Defined;
use super::create::{self, Added, Making};
use super::types::{self, Collations};
use super::{Context, Definition, copies, declared, fill, generated, indexes, same_name, values};
use crate::ddl::Tokens;

/// What a statement makes of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The structure after it.
    pub definition: Definition,
    /// Why the rows that the lake has are not the table's rows any more; `None`: they are.
    pub rewritten: Option<String>,
    /// Why a copy of the rows that passes over what the new structure refuses may lack some, or has other values than
    /// a change in place has; `None`: it has all.
    pub narrower: Option<String>,
}

/// Reads a statement that alters a table; `Err` is what was not understood.
pub fn alter(known: &Definition, sql: &str, context: &Context<'_>) -> Result<Change, String> {
    let mut tokens = Tokens::of(sql, &context.session);
    if let Some(broken) = tokens.broken.take() {
        return Err(broken);
    }
    let Some(clauses) = statement(&mut tokens, context) else {
        return Err(format!("near `{}`", create::excerpt(&tokens)));
    };
    clauses.carry_out(known, context).ok_or_else(|| "it does not fit the table as it is known".to_owned())
}

impl Clauses {
    /// Repeats the server's steps (`mysql_prepare_alter_table` of `sql/sql_table.cc`). `None`: the
    /// statement does not fit.
    fn carry_out(mut self, known: &Definition, context: &Context<'_>) -> Option<Change> {
        let mut groundwork = known.groundwork.clone();
        let set = self.collation.set(context);
        let converted = self.converted.map(|converted| self.collation.named().or(Some(converted)));
        if let Some(set) = converted.or(set) {
            groundwork.unsure |= set.is_none();
            groundwork.collation = set;
        }
        let collations = Collations { default: groundwork.collation, converted: self.converted };
        let mut reason = None;
        let mut altered = Altered { list: Vec::new(), guessed: false };
        self.settle_columns(known, collations, context, &mut groundwork, &mut altered, &mut reason)?;
        // Without a list of indexes, one of them is the key, and the others are not known.
        let old = known.groundwork.indexes.clone().unwrap_or_else(|| indexes::of_key(known));
        let (old, certain) = self.less_dropped(old);
        let all_known = certain && known.groundwork.indexes.is_some();
        let old = altered.follow(old);
        let mut making = Making {
            columns: altered.list.iter().map(|entry| entry.column.clone()).collect(),
            indexes: old,
            collations,
            others: None,
            guessed: altered.guessed,
            auto_increment: None,
            generated: Vec::new(),
            virtuals: Vec::new(),
        };
        let (indexes_only, touches_keys) = (self.changes_indexes_only(), self.touches_keys());
        let refusing = self.refusing(all_known);
        for key in std::mem::take(&mut self.keys) {
            making.add(key)?;
        }
        let Making { mut columns, mut indexes, guessed, .. } = making;
        require_primary(&mut columns, &indexes);
        groundwork.auto_increment = self.auto_increment(known, &columns);
        groundwork.generated = self.generated(known, &columns);
        groundwork.virtual_columns = self.virtual_columns(known, &columns);
        groundwork.unsure |= guessed;
        let has_primary = indexes.iter().any(|index| index.name == PRIMARY);
        groundwork.unsure |= !all_known && !has_primary && touches_keys;
        indexes::sort(&mut indexes, &columns, &groundwork.virtual_columns);
        if indexes_only && same_set(&indexes, known.groundwork.indexes.as_deref()) {
            // The server sees that nothing changes.
            indexes.clone_from(known.groundwork.indexes.as_ref()?);
        }
        let key = indexes::key(&indexes, &columns, &groundwork.virtual_columns);
        groundwork.indexes = all_known.then_some(indexes);
        let mut definition = Definition { columns, key, groundwork };
        let strict = context.surroundings.is_strict();
        let rewritten = reason
            .or_else(|| values::rewritten(known, &definition, &context.options, strict))
            .or_else(|| values::padded(known, &definition).filter(|_| context.surroundings.pads_char()))
            .or_else(|| self.recomputed(known, &definition));
        let narrower = refusing
            .map(str::to_owned)
            .or_else(|| self.not_computed_any_more(known, &definition))
            .or_else(|| self.clamping())
            .or_else(|| copies::narrower(known, &definition));
        if !context.declares {
            definition.undeclare();
        }
        if rewritten.is_some() {
            // Rows from before are void.
            definition.columns.iter_mut().for_each(|column| column.fill = None);
        }
        Some(Change { definition, rewritten, narrower })
    }

    fn settle_columns(
        &mut self,
        known: &Definition,
        collations: Collations,
        context: &Context<'_>,
        groundwork: &mut lakeward_core::Groundwork,
        altered: &mut Altered,
        reason: &mut Option<String>,
    ) -> Option<()> {
        let mut settled = Vec::new();
        for new in &self.columns {
            let (column, guessed) = new.defined.column(new.name.clone(), collations, context)?;
            altered.guessed |= guessed;
            settled.push(column);
        }
        let changes =
            |new: &NewColumn, old: &str| new.changes.as_ref().is_some_and(|name| same_name(name, old));
        for old in &known.columns {
            if self.dropped.iter().any(|name| same_name(name, &old.name)) {
                continue;
            }
            let mut column = old.clone();
            if let Some((new, defined)) =
                self.columns.iter().zip(&settled).find(|(new, _)| changes(new, &old.name))
            {
                let why = changed_values(new, known, old, context.surroundings.is_strict());
                *reason = reason.take().or(why);
                column = Column { id: old.id, fill: column.fill, ..defined.clone() };
            } else {
                if let Some((_, name)) = self.renamed.iter().find(|(name, _)| same_name(name, &old.name)) {
                    column.name.clone_from(name);
                }
                if let Some((_, default)) = self.defaults.iter().find(|(name, _)| same_name(name, &old.name))
                    && let Some(declaration) = declared::of(&column)
                {
                    column.declared = Some(Declaration { default: default.clone(), ..declaration });
                }
                if let Some(to) = self.converted {
                    convert(&mut column, to)?;
                }
            }
            altered.list.push(Entry { was: old.name.clone(), column });
        }
        // In the order of the statement: those that are added, and those that move.
        for (new, column) in self.columns.iter().zip(settled) {
            let there = altered.list.iter().position(|entry| changes(new, &entry.was));
            let entry = match (&new.changes, there) {
                (Some(_), Some(_)) if new.place == Place::Own => continue,
                (Some(_), Some(at)) => altered.list.remove(at),
                // There is no such column.
                (Some(_), None) => return None,
                (None, _) => {
                    let mut column = Column { id: groundwork.take_number(), ..column };
                    match added_value(&new.defined, &column, context) {
                        Ok(fill) => column.fill = fill,
                        Err(why) => *reason = reason.take().or(Some(why)),
                    }
                    Entry { was: new.name.clone(), column }
                }
            };
            let at = match &new.place {
                Place::Own => altered.list.len(),
                Place::First => 0,
                Place::After(name) => {
                    altered.list.iter().position(|entry| same_name(&entry.column.name, name))? + 1
                }
            };
            altered.list.insert(at, entry);
        }
        let exists = |name: &String| known.columns.iter().any(|column| same_name(&column.name, name));
        (self.dropped.iter().all(exists) && self.renamed.iter().all(|(old, _)| exists(old))).then_some(())
    }

    /// The old indexes less the dropped ones, with their new names; and whether it is certain which those
    /// are.
    fn less_dropped(&self, mut old: Vec<Index>) -> (Vec<Index>, bool) {
        let mut certain = true;
        for name in self.dropped_keys.iter().chain(&self.dropped_constraints) {
            certain &= take(&mut old, name).1;
        }
        let mut renamed = Vec::new();
        for (from, to) in &self.renamed_keys {
            let (found, is_certain) = take(&mut old, from);
            certain &= is_certain;
            renamed.extend(found.map(|(at, index)| (at, Index { name: to.clone(), ..index })));
        }
        // The last taken goes back first: so each has its place again.
        for (at, index) in renamed.into_iter().rev() {
            old.insert(at.min(old.len()), index);
        }
        (old, certain)
    }

    /// What is added that may refuse rows, and that the structures before and after do not tell.
    fn refusing(&self, indexes_are_known: bool) -> Option<&'static str> {
        let is_hidden =
            |key: &Added| !indexes_are_known || key.parts.iter().any(|(column, _)| column.is_none());
        let unique = self.keys.iter().any(|key| key.unique && is_hidden(key));
        self.refusing.or(unique.then_some("a unique index is added"))
    }

    /// Whether another index may be the key after it.
    fn touches_keys(&self) -> bool {
        let named = self.dropped_keys.len() + self.dropped_constraints.len() + self.dropped.len();
        let defined = self.columns.iter().any(|column| column.changes.is_some());
        named > 0 || defined || self.keys.iter().any(|key| key.unique)
    }

    fn changes_indexes_only(&self) -> bool {
        self.columns.is_empty()
            && self.dropped.is_empty()
            && self.renamed.is_empty()
            && !self.others
            && self.keys.iter().all(|key| key.unique)
    }

    /// The number of the column that counts by itself.
    fn auto_increment(&self, known: &Definition, columns: &[Column]) -> Option<u32> {
        let counting = self.columns.iter().find(|new| new.defined.auto_increment);
        if let Some(counting) = counting {
            return columns.iter().find(|column| same_name(&column.name, &counting.name)).map(|c| c.id);
        }
        let before = known.groundwork.auto_increment?;
        let Some(old) = known.columns.iter().find(|column| column.id == before) else { return Some(0) };
        let stays = columns.iter().any(|column| column.id == before)
            && !self.columns.iter().any(|new| new.changes.as_ref().is_some_and(|n| same_name(n, &old.name)));
        Some(if stays { before } else { 0 })
    }
}

impl Clauses {
    /// The numbers of the generated columns.
    fn generated(&self, known: &Definition, columns: &[Column]) -> Option<Vec<u32>> {
        let before = known.groundwork.generated.as_ref()?;
        let is_generated = |column: &&Column| {
            let defined = self.columns.iter().find(|new| same_name(&new.name, &column.name));
            defined.map_or(before.contains(&column.id), |new| new.defined.generated)
        };
        Some(columns.iter().filter(is_generated).map(|column| column.id).collect())
    }

    /// The numbers of the VIRTUAL ones among them.
    fn virtual_columns(&self, known: &Definition, columns: &[Column]) -> Vec<u32> {
        let is_virtual = |column: &&Column| {
            let defined = self.columns.iter().find(|new| same_name(&new.name, &column.name));
            let before = &known.groundwork.virtual_columns;
            defined.map_or(before.contains(&column.id), |new| new.defined.is_virtual)
        };
        columns.iter().filter(is_virtual).map(|column| column.id).collect()
    }

    /// Why generated columns may have other values, where types do not tell.
    fn recomputed(&self, known: &Definition, new: &Definition) -> Option<String> {
        let is_defined = |column: &Column| {
            let changes =
                |new: &NewColumn| new.changes.as_ref().is_some_and(|name| same_name(name, &column.name));
            self.columns.iter().any(changes) && generated::reads_otherwise(&column.ty)
        };
        let is_converted = |column: &Column| {
            self.converted.is_some() && matches!(column.ty, ColumnType::Enum { .. } | ColumnType::Set { .. })
        };
        let is_other = known.columns.iter().any(|column| is_defined(column) || is_converted(column));
        (is_other && generated::may_compute(known, new)).then(|| generated::ANEW.to_owned())
    }

    /// Why a copy has other values: it is made as without strict mode.
    fn clamping(&self) -> Option<String> {
        let is_clamped = |new: &&NewColumn| new.changes.is_some() && new.defined.fraction().unsigned;
        self.columns.iter().find(is_clamped).map(|new| clamped(&new.name))
    }

    /// Why a copy lacks values: those of generated columns are not copied.
    fn not_computed_any_more(&self, known: &Definition, new: &Definition) -> Option<String> {
        let was = |column: &&Column| {
            known.groundwork.generated.as_ref().is_some_and(|were| were.contains(&column.id))
        };
        let is =
            |column: &Column| new.groundwork.generated.as_ref().is_some_and(|are| are.contains(&column.id));
        let column = new.columns.iter().filter(was).find(|column| !is(column))?;
        Some(format!("column {} is not computed any more", column.name))
    }
}

/// Takes the index of this name out, if it is among them; and whether that is certain.
fn take(indexes: &mut Vec<Index>, name: &str) -> (Option<(usize, Index)>, bool) {
    match indexes.iter().position(|index| same_name(&index.name, name)) {
        Some(at) => (Some((at, indexes.remove(at))), true),
        // One that is not unique, unless it is one of those whose names are not known.
        None => (None, !indexes.iter().any(|index| indexes::may_be_named(index, name))),
    }
}

fn require_primary(columns: &mut [Column], indexes: &[Index]) {
    let primary = indexes.iter().find(|index| index.name == PRIMARY);
    for part in primary.into_iter().flat_map(|index| &index.parts) {
        let Some(name) = &part.column else { continue };
        for column in columns.iter_mut().filter(|column| same_name(&column.name, name)) {
            column.nullable = false;
        }
    }
}

fn same_set(ours: &[Index], theirs: Option<&[Index]>) -> bool {
    theirs.is_some_and(|theirs| ours.len() == theirs.len() && ours.iter().all(|index| theirs.contains(index)))
}

/// A column of the new structure.
struct Entry {
    /// Its name before; of one that is added, its own.
    was: String,
    column: Column,
}

struct Altered {
    list: Vec<Entry>,
    guessed: bool,
}

impl Altered {
    /// Indexes over the columns under their new names; without those that are gone.
    fn follow(&self, old: Vec<Index>) -> Vec<Index> {
        let columns: Vec<Column> = self.list.iter().map(|entry| entry.column.clone()).collect();
        let mut kept = Vec::new();
        for mut index in old {
            index.parts.retain_mut(|part| {
                let Some(name) = &mut part.column else { return true };
                let Some(entry) = self.list.iter().find(|entry| same_name(&entry.was, name)) else {
                    return false;
                };
                name.clone_from(&entry.column.name);
                indexes::widen(part, &columns);
                true
            });
            if !index.parts.is_empty() {
                kept.push(index);
            }
        }
        kept
    }
}

/// `CONVERT TO CHARACTER SET` for a column that the statement does not define anew.
fn convert(column: &mut Column, to: u16) -> Option<()> {
    let before = column.clone();
    if let ColumnType::Text { collation } = column.ty {
        (column.ty, column.capacity) = types::converted(collation, column.capacity, to)?;
    }
    declared::convert(&before, column, to);
    Some(())
}

fn clamped(name: &str) -> String {
    format!("what is below zero in column {name} may have become zero")
}

/// Why a column that is defined anew may have other values, beside what its types tell.
fn changed_values(new: &NewColumn, known: &Definition, old: &Column, strict: bool) -> Option<String> {
    let name = &new.name;
    if new.defined.generated {
        return Some(format!("column {name} is computed anew"));
    }
    let fraction = new.defined.fraction();
    if fraction.rounds {
        return Some(format!("column {name} may be rounded"));
    }
    // Whether it had a sign is not known.
    if fraction.unsigned && !strict {
        return Some(clamped(name));
    }
    if new.defined.auto_increment && known.groundwork.auto_increment != Some(old.id) {
        return Some(format!("column {name} counts by itself from now on, also where it was 0"));
    }
    None
}

/// The value of rows from before in a column that is added; `Err`: why it is not one that we know.
fn added_value(defined: &Defined, column: &Column, context: &Context<'_>) -> Result<Option<String>, String> {
    let name = &column.name;
    if defined.generated {
        return Err(format!("column {name} is computed"));
    }
    if defined.auto_increment {
        return Err(format!("column {name} counts the rows"));
    }
    fill::of(column, defined.default.as_ref(), &context.options)
        .ok_or_else(|| format!("column {name} has a default that the server computes"))
}
