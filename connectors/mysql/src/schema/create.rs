//! CREATE TABLE: the structure that it gives a table.

use lakeward_core::schema::PRIMARY;
use lakeward_core::{Column, Groundwork, Index, TableId};
use sqlparser::tokenizer::Token;

use super::column::{self, Defined, TableCollation};
use super::indexes::{self, WrittenPart};
use super::types::Collations;
use super::{Context, Definition, generated, same_name};
use crate::ddl::Tokens;

/// What a CREATE TABLE makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A table of this structure.
    Defined(Definition),
    /// A table like another.
    Like(TableId),
}

/// Reads a CREATE TABLE; `Err` is what was not understood.
pub fn create(sql: &str, context: &Context<'_>) -> Result<Made, String> {
    let mut tokens = Tokens::of(sql, &context.session);
    if let Some(broken) = tokens.broken.take() {
        return Err(broken);
    }
    statement(&mut tokens, context).ok_or_else(|| format!("near `{}`", excerpt(&tokens)))
}

/// The text from the place where reading ended; a short one, as it may hold values.
pub(super) fn excerpt(tokens: &Tokens<'_>) -> String {
    const LENGTH: usize = 60;
    tokens.rest().chars().take(LENGTH).collect()
}

fn statement(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<Made> {
    tokens.eat(&["CREATE"]).then_some(())?;
    tokens.eat(&["EXTERNAL"]);
    tokens.eat(&["TABLE"]).then_some(())?;
    tokens.eat(&["IF", "NOT", "EXISTS"]);
    tokens.table()?;
    if tokens.eat(&["LIKE"]) {
        return tokens.table().map(Made::Like);
    }
    let mut body = tokens.parenthesized()?;
    if body.eat(&["LIKE"]) {
        return body.table().map(Made::Like);
    }
    let default = table_collation(tokens, context)?.unwrap_or(context.database_collation);
    let mut made = Making {
        columns: Vec::new(),
        indexes: Vec::new(),
        collations: Collations { default, converted: None },
        others: Some(Vec::new()),
        guessed: false,
        auto_increment: None,
        generated: Vec::new(),
        virtuals: Vec::new(),
    };
    let mut keys = Vec::new();
    while let Some(mut item) = body.clause() {
        if read_item(&mut item, &mut made, &mut keys, context).is_none() || item.peek().is_some() {
            *tokens = item;
            return None;
        }
    }
    for key in keys {
        made.add(key)?;
    }
    Some(Made::Defined(made.definition()))
}

/// The options after the columns, up to partitions or a query.
fn table_collation(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<Option<Option<u16>>> {
    let mut found = TableCollation::default();
    while !tokens.ended() && !tokens.sees(&["PARTITION", "BY"]) {
        if ["SELECT", "TABLE", "VALUES"].iter().any(|word| tokens.sees(&[word])) {
            // Columns of the query's would follow.
            return None;
        }
        if !found.read(tokens, context)? {
            tokens.skip();
        }
    }
    Some(found.set(context))
}

/// A key that is added.
#[derive(Clone, Debug)]
pub(super) struct Added {
    /// Its name, if it has one.
    pub(super) name: Option<String>,
    pub(super) unique: bool,
    pub(super) primary: bool,
    pub(super) parts: Vec<WrittenPart>,
}

/// A key or constraint that stands like a column.
pub(super) enum Constraint {
    Key(Added),
    /// A foreign key over these columns.
    Foreign(Vec<WrittenPart>),
    Check {
        enforced: bool,
    },
}

/// Reads a key or constraint; `Some(None)`: a column stands here.
pub(super) fn constraint(tokens: &mut Tokens<'_>) -> Option<Option<Constraint>> {
    if tokens.sees_quoted() {
        return Some(None);
    }
    if let Some(kind) = tokens.eat_any(&["INDEX", "KEY", "FULLTEXT", "SPATIAL"]) {
        if kind == "FULLTEXT" || kind == "SPATIAL" {
            tokens.eat_any(&["INDEX", "KEY"]);
        }
        return key(tokens, None, false, false).map(Some);
    }
    let mut symbol = None;
    let is_constraint = tokens.sees(&["CONSTRAINT"]);
    if is_constraint {
        if constraint_is_check(tokens) {
            return column::check(tokens).map(|enforced| Some(Constraint::Check { enforced }));
        }
        tokens.eat(&["CONSTRAINT"]);
        if !["PRIMARY", "UNIQUE", "FOREIGN"].iter().any(|word| tokens.sees(&[word])) {
            symbol = Some(tokens.name()?);
        }
    }
    if tokens.eat(&["PRIMARY", "KEY"]) {
        return key(tokens, Some(PRIMARY.to_owned()), true, true).map(Some);
    }
    if tokens.eat(&["UNIQUE"]) {
        tokens.eat_any(&["INDEX", "KEY"]);
        return key(tokens, symbol, true, false).map(Some);
    }
    if tokens.eat(&["FOREIGN", "KEY"]) {
        if tokens.peek() != Some(&Token::LParen) {
            tokens.name()?;
        }
        let parts = indexes::parts(tokens)?;
        tokens.eat(&["REFERENCES"]).then_some(())?;
        column::references(tokens)?;
        return Some(Some(Constraint::Foreign(parts)));
    }
    if tokens.sees(&["CHECK"]) {
        return column::check(tokens).map(|enforced| Some(Constraint::Check { enforced }));
    }
    if is_constraint { None } else { Some(None) }
}

fn constraint_is_check(tokens: &Tokens<'_>) -> bool {
    let mut ahead = tokens.clone();
    ahead.eat(&["CONSTRAINT"]);
    ahead.sees(&["CHECK"]) || (ahead.name().is_some() && ahead.sees(&["CHECK"]))
}

/// `[name] [USING type] (parts) [options]`.
fn key(tokens: &mut Tokens<'_>, name: Option<String>, unique: bool, primary: bool) -> Option<Constraint> {
    let own = match tokens.peek() == Some(&Token::LParen) || tokens.sees(&["USING"]) || tokens.sees(&["TYPE"])
    {
        true => None,
        false => Some(tokens.name()?),
    };
    if tokens.eat_any(&["USING", "TYPE"]).is_some() {
        tokens.name()?;
    }
    let parts = indexes::parts(tokens)?;
    index_options(tokens)?;
    let name = if primary { name } else { own.or(name) };
    Some(Constraint::Key(Added { name, unique, primary, parts }))
}

/// Options of an index; none of them matters.
pub(super) fn index_options(tokens: &mut Tokens<'_>) -> Option<()> {
    loop {
        if tokens.eat_any(&["VISIBLE", "INVISIBLE"]).is_some() {
            continue;
        }
        if tokens.eat_any(&["USING", "TYPE"]).is_some() || tokens.eat(&["WITH", "PARSER"]) {
            tokens.name()?;
        } else if tokens.eat(&["COMMENT"]) {
            tokens.text()?;
        } else if tokens
            .eat_any(&["KEY_BLOCK_SIZE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"])
            .is_some()
        {
            tokens.eat_token(&Token::Eq);
            tokens.peek()?;
            tokens.skip();
        } else {
            return Some(());
        }
    }
}

/// A table while its columns and keys are gathered.
pub(super) struct Making {
    pub(super) columns: Vec<Column>,
    /// Unique indexes.
    pub(super) indexes: Vec<Index>,
    pub(super) collations: Collations,
    /// Indexes that are not unique; `None`: not known.
    pub(super) others: Option<Vec<Index>>,
    pub(super) guessed: bool,
    /// Name of the AUTO_INCREMENT column.
    pub(super) auto_increment: Option<String>,
    /// Names of the generated columns.
    pub(super) generated: Vec<String>,
    /// Names of those of them that are VIRTUAL.
    pub(super) virtuals: Vec<String>,
}

fn read_item(
    item: &mut Tokens<'_>,
    made: &mut Making,
    keys: &mut Vec<Added>,
    context: &Context<'_>,
) -> Option<()> {
    match constraint(item)? {
        Some(Constraint::Key(key)) => keys.push(key),
        Some(Constraint::Foreign(parts)) => keys.push(Added::of_foreign_key(parts)),
        Some(Constraint::Check { .. }) => {}
        None => {
            let name = item.name()?;
            let defined = column::read(item, context)?;
            let (column, guessed) = defined.column(name.clone(), made.collations, context)?;
            made.guessed |= guessed;
            made.columns.push(column);
            keys.extend(own_keys(&name, &defined));
            if defined.generated {
                made.generated.push(name.clone());
            }
            if defined.is_virtual {
                made.virtuals.push(name.clone());
            }
            if defined.auto_increment {
                made.auto_increment = Some(name);
            }
        }
    }
    Some(())
}

/// Keys that a column's own attributes make.
pub(super) fn own_keys(name: &str, defined: &Defined) -> Vec<Added> {
    let key = |key_name: Option<&str>, primary| Added {
        name: key_name.map(str::to_owned),
        unique: true,
        primary,
        parts: vec![(Some(name.to_owned()), None)],
    };
    let primary = defined.primary.then(|| key(Some(PRIMARY), true));
    let unique = defined.unique.then(|| key(None, false));
    let foreign = defined.references.then(|| Added::of_foreign_key(vec![(Some(name.to_owned()), None)]));
    primary.into_iter().chain(unique).chain(foreign).collect()
}

impl Added {
    /// The index that the server makes for a foreign key where none serves: of a name that we do not
    /// know, as it depends on what else there is.
    pub(super) fn of_foreign_key(parts: Vec<WrittenPart>) -> Added {
        Added { name: Some(String::new()), unique: false, primary: false, parts }
    }
}

impl Making {
    /// Adds a key; `None` where a column of it is missing.
    pub(super) fn add(&mut self, key: Added) -> Option<()> {
        for (name, _) in &key.parts {
            let Some(name) = name else { continue };
            let column = self.columns.iter_mut().find(|column| same_name(&column.name, name))?;
            if key.primary {
                column.nullable = false;
            }
        }
        let name = match key.name {
            Some(name) => name,
            None => match &self.others {
                Some(others) => indexes::generated_name(&key.parts, &self.indexes, others),
                None => String::new(),
            },
        };
        let index = indexes::index(name, key.parts, &self.columns);
        match &mut self.others {
            _ if key.unique => self.indexes.push(index),
            Some(others) => others.push(index),
            None => {}
        }
        Some(())
    }

    fn definition(self) -> Definition {
        let mut groundwork = Groundwork {
            collation: self.collations.default,
            indexes: Some(self.indexes),
            unsure: self.guessed,
            ..Groundwork::default()
        };
        let mut columns = self.columns;
        for column in &mut columns {
            column.id = groundwork.take_number();
        }
        let number =
            |name: &String| columns.iter().find(|column| column.name == *name).map(|column| column.id);
        groundwork.auto_increment = Some(self.auto_increment.as_ref().and_then(number).unwrap_or(0));
        groundwork.generated = Some(generated::numbers(&self.generated, &columns));
        groundwork.virtual_columns = generated::numbers(&self.virtuals, &columns);
        let mut definition = Definition { columns, key: Vec::new(), groundwork };
        definition.settle_key();
        definition
    }
}
