//! A column as statements define it.

use lakeward_core::{Column, Declaration};
use sqlparser::tokenizer::Token;

use super::fill::{self, DefaultValue};
use super::types::{self, Collations, Fraction, Settled, Written};
use super::{Context, collations, declared};
use crate::ddl::Tokens;

/// A column's definition, without its name.
#[derive(Clone, Debug)]
pub(super) struct Defined {
    ty: Written,
    nullable: Option<bool>,
    collate: Option<u16>,
    pub(super) default: Option<DefaultValue>,
    pub(super) auto_increment: bool,
    /// Its values are computed from others.
    pub(super) generated: bool,
    /// They are, and not stored.
    pub(super) is_virtual: bool,
    /// `UNIQUE`.
    pub(super) unique: bool,
    /// `PRIMARY KEY`, or `KEY` alone.
    pub(super) primary: bool,
    /// A check that is enforced.
    pub(super) checked: bool,
    /// A foreign key; the server may make an index for it.
    pub(super) references: bool,
    /// How it is declared, where that is asked for.
    declaration: Option<Declaration>,
}

/// Reads a column's definition to the end of its attributes.
pub(super) fn read(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<Defined> {
    let declaration = if context.declares { declared::of_type(tokens.clone()) } else { None };
    let ty = types::read(tokens, context)?;
    let serial = ty.serial;
    let mut defined = Defined {
        ty,
        nullable: serial.then_some(false),
        collate: None,
        default: None,
        auto_increment: serial,
        generated: false,
        is_virtual: false,
        unique: serial,
        primary: false,
        checked: false,
        references: false,
        declaration,
    };
    while attribute(&mut defined, tokens)? {}
    Some(defined)
}

/// Reads one attribute; `Some(false)`: none stands here. `None`: not understood.
fn attribute(defined: &mut Defined, tokens: &mut Tokens<'_>) -> Option<bool> {
    if tokens.eat(&["NOT", "NULL"]) {
        defined.nullable = Some(false);
    } else if tokens.eat(&["NULL"]) {
        defined.nullable = Some(true);
    } else if tokens.eat(&["DEFAULT"]) {
        defined.declare(|declaration| declaration.default = declared::default(tokens.clone()));
        defined.default = Some(fill::read(tokens)?);
    } else if tokens.eat(&["ON", "UPDATE"]) {
        fill::now(tokens)?.then_some(())?;
        defined.declare(|declaration| declaration.generated = true);
    } else if tokens.eat(&["AUTO_INCREMENT"]) {
        defined.auto_increment = true;
    } else if tokens.eat(&["SERIAL", "DEFAULT", "VALUE"]) {
        (defined.auto_increment, defined.unique, defined.nullable) = (true, true, Some(false));
    } else if tokens.eat(&["UNIQUE"]) {
        tokens.eat(&["KEY"]);
        defined.unique = true;
    } else if tokens.eat(&["PRIMARY", "KEY"]) || tokens.eat(&["KEY"]) {
        defined.primary = true;
    } else if tokens.eat(&["COLLATE"]) {
        defined.collate = Some(types::collation_name(tokens)?);
    } else if tokens.eat(&["GENERATED", "ALWAYS", "AS"]) || tokens.eat(&["AS"]) {
        tokens.parenthesized()?;
        defined.generated = true;
        defined.is_virtual = tokens.eat_any(&["VIRTUAL", "STORED"]) != Some("STORED");
        defined.declare(|declaration| declaration.generated = true);
    } else if tokens.sees(&["CONSTRAINT"]) || tokens.sees(&["CHECK"]) {
        defined.checked |= check(tokens)?;
    } else if tokens.eat(&["REFERENCES"]) {
        references(tokens)?;
        defined.references = true;
    } else {
        return without_meaning(tokens);
    }
    Some(true)
}

/// Attributes on which neither rows nor structure depend.
fn without_meaning(tokens: &mut Tokens<'_>) -> Option<bool> {
    if tokens.eat_any(&["VISIBLE", "INVISIBLE"]).is_some() || tokens.eat(&["NOT", "SECONDARY"]) {
        return Some(true);
    }
    if tokens.eat(&["COMMENT"]) {
        return tokens.text().map(|_| true);
    }
    if tokens.eat_any(&["COLUMN_FORMAT", "STORAGE"]).is_some() {
        return tokens.name().map(|_| true);
    }
    if tokens.eat(&["SRID"]) {
        return tokens.number::<u64>().map(|_| true);
    }
    if tokens.eat_any(&["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]).is_some() {
        tokens.eat_token(&Token::Eq);
        return tokens.text().map(|_| true);
    }
    Some(false)
}

/// `[CONSTRAINT [name]] CHECK (…) [[NOT] ENFORCED]`; whether it is enforced.
pub(super) fn check(tokens: &mut Tokens<'_>) -> Option<bool> {
    if tokens.eat(&["CONSTRAINT"]) && !tokens.sees(&["CHECK"]) {
        tokens.name()?;
    }
    tokens.eat(&["CHECK"]).then_some(())?;
    tokens.parenthesized()?;
    let enforced = !tokens.eat(&["NOT", "ENFORCED"]);
    tokens.eat(&["ENFORCED"]);
    Some(enforced)
}

/// After REFERENCES: a table, its columns, the rules.
pub(super) fn references(tokens: &mut Tokens<'_>) -> Option<()> {
    tokens.name()?;
    if tokens.eat_token(&Token::Period) {
        tokens.name()?;
    }
    if tokens.peek() == Some(&Token::LParen) {
        tokens.parenthesized()?;
    }
    if tokens.eat(&["MATCH"]) {
        tokens.eat_any(&["FULL", "PARTIAL", "SIMPLE"])?;
    }
    while tokens.eat(&["ON", "DELETE"]) || tokens.eat(&["ON", "UPDATE"]) {
        let known = tokens.eat_any(&["CASCADE", "RESTRICT"]).is_some()
            || tokens.eat(&["SET", "NULL"])
            || tokens.eat(&["SET", "DEFAULT"])
            || tokens.eat(&["NO", "ACTION"]);
        known.then_some(())?;
    }
    Some(())
}

impl Defined {
    fn declare(&mut self, note: impl FnOnce(&mut Declaration)) {
        if let Some(declaration) = &mut self.declaration {
            note(declaration);
        }
    }

    /// What is written of a type of fractions.
    pub(super) fn fraction(&self) -> Fraction {
        self.ty.fraction
    }

    /// The column, with the number 0; and whether its collation was guessed.
    pub(super) fn column(
        &self,
        name: String,
        collations: Collations,
        context: &Context<'_>,
    ) -> Option<(Column, bool)> {
        let Settled { ty, capacity, collation, guessed } =
            self.ty.settle(self.collate, collations, context)?;
        let is_timestamp = matches!(ty, lakeward_core::ColumnType::Timestamp { .. });
        let implicit = !(is_timestamp && context.surroundings.explicit_timestamps == Some(false));
        let nullable = self.nullable.unwrap_or(implicit) && !self.primary && !self.auto_increment;
        let charset = collation.and_then(collations::charset_of).map(str::to_owned);
        let declared = self.declaration.clone().map(|declaration| Declaration { charset, ..declaration });
        Some((Column { capacity, declared, ..Column::new(name, ty, nullable) }, guessed))
    }
}

/// Table options that decide the default collation of new columns, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TableCollation {
    charset: Option<u16>,
    collate: Option<u16>,
    /// `CHARACTER SET DEFAULT`: the database's.
    of_database: bool,
}

impl TableCollation {
    /// Reads `[DEFAULT] CHARACTER SET [=] x` or `[DEFAULT] COLLATE [=] x`; `Some(false)`: neither stands
    /// here.
    pub(super) fn read(&mut self, tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<bool> {
        let mut ahead = tokens.clone();
        ahead.eat(&["DEFAULT"]);
        let charset = types::eat_charset(&mut ahead);
        if !charset && !ahead.eat(&["COLLATE"]) {
            return Some(false);
        }
        *tokens = ahead;
        tokens.eat_token(&Token::Eq);
        match charset {
            true if tokens.eat(&["DEFAULT"]) => self.of_database = true,
            true => self.charset = Some(types::charset_name(tokens, context)?),
            false if tokens.eat(&["DEFAULT"]) => self.of_database = true,
            false => self.collate = Some(types::collation_name(tokens)?),
        }
        Some(true)
    }

    /// The collation that is named, not only its character set.
    pub(super) fn named(&self) -> Option<u16> {
        self.collate
    }

    /// The collation that is set; `None`: none is.
    pub(super) fn set(&self, context: &Context<'_>) -> Option<Option<u16>> {
        match (self.collate.or(self.charset), self.of_database) {
            (Some(collation), _) => Some(Some(collation)),
            (None, true) => Some(context.database_collation),
            (None, false) => None,
        }
    }
}

/// The default collation that CREATE or ALTER DATABASE gives a database, with the database's name; `None`
/// instead of the name: the session's. `None`: the text gives none, or what was there may stay.
pub fn database_collation(sql: &str, context: &Context<'_>) -> Option<(Option<String>, Option<u16>)> {
    let mut tokens = Tokens::of(sql, &context.session);
    let creates = tokens.sees(&["CREATE"]);
    if tokens.holds(&["IF", "NOT", "EXISTS"]) {
        return None;
    }
    let name = named_database(&mut tokens)?;
    let mut found = TableCollation::default();
    while !tokens.ended() {
        if !found.read(&mut tokens, context)? {
            tokens.skip();
        }
    }
    let given = found.collate.or(found.charset);
    match (given, found.of_database || creates) {
        (Some(collation), _) => Some((name, Some(collation))),
        // What a new database has without options is the server's own.
        (None, true) => Some((name, context.surroundings.server_collation)),
        (None, false) => None,
    }
}

/// The database that CREATE or ALTER DATABASE names; `Some(None)`: the session's.
pub(crate) fn named_database(tokens: &mut Tokens<'_>) -> Option<Option<String>> {
    tokens.eat_any(&["CREATE", "ALTER"])?;
    tokens.eat_any(&["DATABASE", "SCHEMA"])?;
    tokens.eat(&["IF", "NOT", "EXISTS"]);
    let options = ["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ", "CHAR"];
    let unnamed = !tokens.sees_quoted() && options.iter().any(|word| tokens.sees(&[word]));
    Some(if unnamed { None } else { Some(tokens.identifier()?) })
}
