//! The clauses of ALTER TABLE, CREATE INDEX and DROP INDEX, read and gathered.

use lakeward_core::schema::PRIMARY;

use super::column::{self, Defined, TableCollation};
use super::create::{self, Added, Constraint, own_keys};
use super::{Context, declared, indexes, types};
use crate::ddl::Tokens;

/// A column's new definition.
pub(super) struct NewColumn {
    /// The column that it changes; `None`: it is added.
    pub(super) changes: Option<String>,
    pub(super) name: String,
    pub(super) defined: Defined,
    pub(super) place: Place,
}

#[derive(PartialEq, Eq)]
pub(super) enum Place {
    /// Where it was, or at the end.
    Own,
    First,
    After(String),
}

/// The clauses of a statement, gathered.
#[derive(Default)]
pub(super) struct Clauses {
    pub(super) columns: Vec<NewColumn>,
    pub(super) dropped: Vec<String>,
    pub(super) renamed: Vec<(String, String)>,
    pub(super) keys: Vec<Added>,
    pub(super) dropped_keys: Vec<String>,
    pub(super) renamed_keys: Vec<(String, String)>,
    /// `ALTER COLUMN`: new defaults.
    pub(super) defaults: Vec<(String, Option<String>)>,
    /// Names that may be those of indexes or of other constraints.
    pub(super) dropped_constraints: Vec<String>,
    /// `CONVERT TO CHARACTER SET`.
    pub(super) converted: Option<u16>,
    pub(super) collation: TableCollation,
    /// There were other clauses.
    pub(super) others: bool,
    /// What is added that may refuse rows, beside unique indexes.
    pub(super) refusing: Option<&'static str>,
}

const CHECK: &str = "a check is added";
const FOREIGN_KEY: &str = "a foreign key is added";

/// Reads a statement to its end; `None` where it is not understood, with `tokens` at that place.
pub(super) fn statement(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<Clauses> {
    let mut clauses = Clauses::default();
    if tokens.eat(&["DROP", "INDEX"]) {
        clauses.dropped_keys.push(tokens.name()?);
        return Some(clauses);
    }
    if tokens.eat(&["CREATE"]) {
        let kind = tokens.eat_any(&["UNIQUE", "FULLTEXT", "SPATIAL"]);
        tokens.eat(&["INDEX"]).then_some(())?;
        let name = Some(tokens.name()?);
        create::index_options(tokens)?;
        tokens.eat(&["ON"]).then_some(())?;
        tokens.table()?;
        let parts = indexes::parts(tokens)?;
        clauses.keys.push(Added { name, unique: kind == Some("UNIQUE"), primary: false, parts });
        return Some(clauses);
    }
    tokens.eat(&["ALTER"]).then_some(())?;
    tokens.eat(&["IGNORE"]);
    tokens.eat(&["TABLE"]).then_some(())?;
    tokens.table()?;
    if adds_partial_partitions(tokens) {
        clauses.refusing = Some("partitions that may not take all rows are added");
    }
    while let Some(mut clause) = tokens.clause() {
        if clause.sees(&["ORDER", "BY"]) || sees_partitions(&clause) {
            // Lists with commas; nothing follows them.
            return Some(clauses);
        }
        if clauses.read(&mut clause, context).is_none() {
            *tokens = clause;
            return None;
        }
    }
    Some(clauses)
}

/// A statement about partitions, which leave the structure as it is.
fn sees_partitions(clause: &Tokens<'_>) -> bool {
    let verbs = ["ADD", "DROP", "TRUNCATE", "EXCHANGE", "REORGANIZE", "COALESCE", "ANALYZE", "CHECK"];
    let more = ["OPTIMIZE", "REBUILD", "REPAIR", "DISCARD", "IMPORT"];
    verbs.iter().chain(&more).any(|verb| clause.sees(&[verb, "PARTITION"]))
        || clause.sees(&["PARTITION", "BY"])
        || clause.sees(&["REMOVE", "PARTITIONING"])
}

/// Whether the table is partitioned anew, and not certainly so that each row has its partition. The words are
/// reserved.
fn adds_partial_partitions(tokens: &Tokens<'_>) -> bool {
    let takes_all = ["HASH", "KEY", "LINEAR"].iter().any(|word| tokens.holds(&["PARTITION", "BY", word]));
    let is_open = tokens.holds(&["LESS", "THAN", "MAXVALUE"]) && !tokens.holds(&["RANGE", "COLUMNS"]);
    tokens.holds(&["PARTITION", "BY"]) && !takes_all && !is_open
}

/// Whether a clause is at its end; partitions may follow the last one without a comma.
fn at_end(clause: &Tokens<'_>) -> Option<()> {
    (clause.ended() || sees_partitions(clause)).then_some(())
}

impl Clauses {
    fn read(&mut self, clause: &mut Tokens<'_>, context: &Context<'_>) -> Option<()> {
        if clause.eat(&["ADD"]) {
            return self.add(clause, context);
        }
        if clause.eat(&["DROP"]) {
            return self.drop(clause);
        }
        if clause.eat(&["MODIFY"]) {
            eat_column(clause);
            let name = clause.name()?;
            return self.define(Some(name.clone()), name, clause, context);
        }
        if clause.eat(&["CHANGE"]) {
            eat_column(clause);
            let old = clause.name()?;
            let new = clause.name()?;
            return self.define(Some(old), new, clause, context);
        }
        if clause.eat(&["RENAME", "COLUMN"]) {
            self.renamed.push(pair(clause)?);
            return at_end(clause);
        }
        if clause.eat(&["RENAME", "INDEX"]) || clause.eat(&["RENAME", "KEY"]) {
            self.renamed_keys.push(pair(clause)?);
            return at_end(clause);
        }
        if clause.eat(&["CONVERT", "TO"]) {
            return self.convert(clause, context);
        }
        self.others = true;
        self.defaults.extend(declared::altered_default(clause.clone()));
        let constraint = clause.sees(&["ALTER", "CHECK"]) || clause.sees(&["ALTER", "CONSTRAINT"]);
        if constraint && !clause.holds(&["NOT", "ENFORCED"]) {
            self.refusing = Some(CHECK);
        }
        if clause.sees(&["RENAME"]) || clause.sees(&["ALTER"]) {
            // A table's name; a column's default, an index's or a check's visibility.
            return Some(());
        }
        while !clause.ended() && !sees_partitions(clause) {
            if !self.collation.read(clause, context)? {
                clause.skip();
            }
        }
        Some(())
    }

    fn add(&mut self, clause: &mut Tokens<'_>, context: &Context<'_>) -> Option<()> {
        match create::constraint(clause)? {
            Some(constraint) => self.add_constraint(constraint),
            None => {
                eat_column(clause);
                if let Some(mut list) = clause.parenthesized() {
                    while let Some(mut item) = list.clause() {
                        self.add_item(&mut item, context)?;
                    }
                    return at_end(clause);
                }
                let name = clause.name()?;
                return self.define(None, name, clause, context);
            }
        }
        at_end(clause)
    }

    /// An item of `ADD (a INT, KEY (a))`.
    fn add_item(&mut self, item: &mut Tokens<'_>, context: &Context<'_>) -> Option<()> {
        match create::constraint(item)? {
            Some(constraint) => self.add_constraint(constraint),
            None => {
                let name = item.name()?;
                self.define(None, name, item, context)?;
            }
        }
        item.peek().is_none().then_some(())
    }

    fn add_constraint(&mut self, constraint: Constraint) {
        match constraint {
            Constraint::Key(key) => self.keys.push(key),
            Constraint::Foreign(parts) => {
                self.refusing = Some(FOREIGN_KEY);
                self.keys.push(Added::of_foreign_key(parts));
            }
            Constraint::Check { enforced } => {
                self.others = true;
                self.refusing = self.refusing.or(enforced.then_some(CHECK));
            }
        }
    }

    fn define(
        &mut self,
        changes: Option<String>,
        name: String,
        clause: &mut Tokens<'_>,
        context: &Context<'_>,
    ) -> Option<()> {
        let defined = column::read(clause, context)?;
        let place = if clause.eat(&["FIRST"]) {
            Place::First
        } else if clause.eat(&["AFTER"]) {
            Place::After(clause.name()?)
        } else {
            Place::Own
        };
        self.keys.extend(own_keys(&name, &defined));
        self.refusing = self.refusing.or(defined.checked.then_some(CHECK));
        self.refusing = self.refusing.or(defined.references.then_some(FOREIGN_KEY));
        self.columns.push(NewColumn { changes, name, defined, place });
        at_end(clause)
    }

    fn drop(&mut self, clause: &mut Tokens<'_>) -> Option<()> {
        if clause.eat(&["FOREIGN", "KEY"]) || clause.eat(&["CHECK"]) {
            self.others = true;
            clause.name()?;
        } else if clause.eat(&["PRIMARY", "KEY"]) {
            self.dropped_keys.push(PRIMARY.to_owned());
        } else if clause.eat_any(&["INDEX", "KEY"]).is_some() {
            self.dropped_keys.push(clause.name()?);
        } else if clause.eat(&["CONSTRAINT"]) {
            self.dropped_constraints.push(clause.name()?);
        } else {
            eat_column(clause);
            self.dropped.push(clause.name()?);
            clause.eat_any(&["RESTRICT", "CASCADE"]);
        }
        at_end(clause)
    }

    fn convert(&mut self, clause: &mut Tokens<'_>, context: &Context<'_>) -> Option<()> {
        types::eat_charset(clause).then_some(())?;
        let mut collation = match clause.eat(&["DEFAULT"]) {
            true => context.database_collation?,
            false => types::charset_name(clause, context)?,
        };
        if clause.eat(&["COLLATE"]) {
            collation = types::collation_name(clause)?;
        }
        self.converted = Some(collation);
        // A collation that stands behind it is the table's default; one before it is not.
        self.collation = TableCollation::default();
        at_end(clause)
    }
}

/// `COLUMN`, where it is not the name of one.
fn eat_column(clause: &mut Tokens<'_>) {
    clause.eat(&["COLUMN"]);
}

/// `a TO b`.
fn pair(clause: &mut Tokens<'_>) -> Option<(String, String)> {
    let old = clause.name()?;
    clause.eat(&["TO"]).then_some(())?;
    Some((old, clause.name()?))
}
