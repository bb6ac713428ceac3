//! Statements that change rows, logged as text by a session with `binlog_format=STATEMENT`: which table they
//! write to (MySQL manual, "Data Manipulation Statements"; grammar of 9.7).
//!
//! Guarantee: a target that is given out is the only table that the text itself writes to. Why: INSERT,
//! REPLACE and LOAD have one, and its name ends where a word, a parenthesis or the statement ends. UPDATE and
//! DELETE have several only with a comma, a join or USING between the first name and SET or WHERE, and nothing
//! but an alias is taken there. All else (WITH, CALL, DO, SELECT, what is not in these forms, a name that is
//! damaged) may write to any table that it mentions.

use lakeward_core::TableId;
use sqlparser::tokenizer::Token;

use super::Statement;
use super::tokens::{Mentions, Tokens, is_damaged_table};

pub(super) fn read(verb: String, sql: &str, tokens: &mut Tokens<'_>) -> Statement {
    let mentions = match target(&verb, tokens).filter(|table| !is_damaged_table(table)) {
        Some(table) => Mentions::of_table(table),
        None => Mentions::of(sql, tokens),
    };
    Statement::Rows { verb, mentions }
}

fn target(verb: &str, tokens: &mut Tokens<'_>) -> Option<TableId> {
    tokens.skip();
    match verb {
        "INSERT" | "REPLACE" => insert(tokens),
        "UPDATE" => update(tokens),
        "DELETE" => delete(tokens),
        "LOAD" => load(tokens),
        _ => None,
    }
}

fn insert(tokens: &mut Tokens<'_>) -> Option<TableId> {
    tokens.eat_any(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY"]);
    tokens.eat(&["IGNORE"]);
    tokens.eat(&["INTO"]);
    let table = tokens.table()?;
    let goes_on = tokens.peek() == Some(&Token::LParen)
        || ["VALUES", "VALUE", "SET", "SELECT", "TABLE", "WITH", "PARTITION"]
            .iter()
            .any(|word| tokens.sees(&[word]));
    goes_on.then_some(table)
}

fn update(tokens: &mut Tokens<'_>) -> Option<TableId> {
    tokens.eat(&["LOW_PRIORITY"]);
    tokens.eat(&["IGNORE"]);
    let table = tokens.table()?;
    partitions(tokens)?;
    if !tokens.sees(&["SET"]) {
        alias(tokens)?;
    }
    tokens.sees(&["SET"]).then_some(table)
}

fn delete(tokens: &mut Tokens<'_>) -> Option<TableId> {
    while tokens.eat_any(&["LOW_PRIORITY", "QUICK", "IGNORE"]).is_some() {}
    tokens.eat(&["FROM"]).then_some(())?;
    let table = tokens.table()?;
    let ended = |tokens: &Tokens<'_>| {
        (tokens.ended() && !tokens.is_cut)
            || ["WHERE", "ORDER", "LIMIT"].iter().any(|word| tokens.sees(&[word]))
    };
    partitions(tokens)?;
    if !ended(tokens) {
        alias(tokens)?;
        partitions(tokens)?;
    }
    ended(tokens).then_some(table)
}

fn load(tokens: &mut Tokens<'_>) -> Option<TableId> {
    /// Words and names of files that may stand before the table.
    const LONGEST: usize = 16;
    tokens.eat_any(&["DATA", "XML"])?;
    for _ in 0..LONGEST {
        if tokens.eat(&["INTO", "TABLE"]) {
            return tokens.table();
        }
        tokens.skip();
    }
    None
}

/// `PARTITION (p0, …)` may stand here.
fn partitions(tokens: &mut Tokens<'_>) -> Option<()> {
    match tokens.eat(&["PARTITION"]) {
        true => tokens.parenthesized().map(drop),
        false => Some(()),
    }
}

fn alias(tokens: &mut Tokens<'_>) -> Option<()> {
    tokens.eat(&["AS"]);
    tokens.name().map(drop)
}
