//! Statements by their first words (MySQL manual, "SQL Statements"; grammar of 9.7).

use sqlparser::tokenizer::Token;

use super::tokens::{Mentions, Tokens, is_damaged, is_damaged_table};
use super::{Change, Effect, Kind, SqlSession, Statement, Touch, Transaction, Xa, XaVerb, alter, rows};

/// What a reader returns: `None` is "not understood".
type Found = Option<Statement>;

pub(super) fn read(sql: &str, session: &SqlSession<'_>) -> Statement {
    let mut tokens = Tokens::head(sql, session);
    if tokens.is_cut && !changes_rows(&tokens) {
        let verb = tokens.verb();
        if let Some(Statement::Harmless(kind)) = by_verb(&verb, &mut tokens) {
            return Statement::Harmless(kind);
        }
        tokens = Tokens::of(sql, session);
    }
    match changes_rows(&tokens) {
        true => rows::read(tokens.verb(), sql, &mut tokens),
        false => changes_tables(sql, &mut tokens),
    }
}

/// Reads a statement that has all its tokens and does not change rows.
fn changes_tables(sql: &str, tokens: &mut Tokens<'_>) -> Statement {
    let verb = tokens.verb();
    if tokens.peek().is_none() && tokens.broken.is_none() {
        return Statement::Harmless("empty statement");
    }
    let reason = match (by_verb(&verb, tokens), tokens.unread.take(), tokens.broken.take()) {
        // What its first words tell stands, whatever follows; tables need every token.
        (Some(Statement::Tables { .. }) | None, _, Some(broken)) => {
            return Statement::Unparsed { reason: broken, mentions: Mentions::of_text(sql) };
        }
        (Some(statement), _, _) if tokens.are_damaged() => return damaged(statement, sql),
        (Some(statement), _, _) => return statement,
        (None, Some(clause), None) => format!("{verb} TABLE with a clause of unknown form: {clause}"),
        (None, None, None) => format!("a statement of unknown form: {verb}"),
    };
    Statement::Unparsed { reason, mentions: Mentions::of(sql, tokens) }
}

/// What is left of a statement with tokens that are not whole.
fn damaged(statement: Statement, sql: &str) -> Statement {
    const REASON: &str = "a name in it is no text in the client's character set";
    match statement {
        Statement::Tables { touches, .. } if touches.iter().any(|touch| is_damaged_table(&touch.table)) => {
            Statement::Unparsed { reason: REASON.to_owned(), mentions: Mentions::of_text(sql) }
        }
        Statement::Tables { kind, touches, opens_transaction, is_damaged: _ } => {
            Statement::Tables { kind, touches, opens_transaction, is_damaged: true }
        }
        Statement::DropDatabase(name) if is_damaged(&name) => {
            Statement::Unparsed { reason: REASON.to_owned(), mentions: Mentions::of_database(&name) }
        }
        Statement::DropDatabase(_)
        | Statement::Database
        | Statement::Harmless(_)
        | Statement::Transaction(_)
        | Statement::Xa(_)
        | Statement::Rows { .. }
        | Statement::Unparsed { .. } => statement,
    }
}

/// CALL, DO and SELECT are logged where a stored routine changes rows under statement format.
fn changes_rows(tokens: &Tokens<'_>) -> bool {
    match tokens.verb().as_str() {
        "INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "WITH" | "CALL" | "DO" | "SELECT" => true,
        "LOAD" => !tokens.sees(&["LOAD", "INDEX"]),
        _ => false,
    }
}

fn by_verb(verb: &str, tokens: &mut Tokens<'_>) -> Found {
    match verb {
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" => transaction(tokens),
        "XA" => xa(tokens),
        "LOAD" => Some(Statement::Harmless("LOAD INDEX")),
        "CREATE" => create(tokens),
        "ALTER" => alter_any(tokens),
        "DROP" => drop(tokens),
        "TRUNCATE" => truncate(tokens),
        "RENAME" => rename(tokens),
        "REPAIR" => repair(tokens),
        "ANALYZE" | "OPTIMIZE" | "CHECK" | "CHECKSUM" => Some(Statement::Harmless("table maintenance")),
        "GRANT" | "REVOKE" => Some(Statement::Harmless("privileges")),
        "SET" => Some(Statement::Harmless("SET")),
        "FLUSH" => Some(Statement::Harmless("FLUSH")),
        "INSTALL" | "UNINSTALL" => Some(Statement::Harmless("plugins and components")),
        _ => None,
    }
}

fn transaction(tokens: &mut Tokens<'_>) -> Found {
    let step = if tokens.eat(&["BEGIN"]) || tokens.eat(&["START", "TRANSACTION"]) {
        Transaction::Begin
    } else if tokens.eat(&["COMMIT"]) {
        Transaction::Commit
    } else if tokens.eat(&["ROLLBACK", "TO"]) || tokens.eat(&["ROLLBACK", "WORK", "TO"]) {
        Transaction::RollbackToSavepoint
    } else if tokens.eat(&["ROLLBACK"]) {
        Transaction::Rollback
    } else if tokens.eat(&["SAVEPOINT"]) {
        Transaction::Savepoint
    } else if tokens.eat(&["RELEASE", "SAVEPOINT"]) {
        Transaction::ReleaseSavepoint
    } else {
        return None;
    };
    Some(Statement::Transaction(step))
}

fn xa(tokens: &mut Tokens<'_>) -> Found {
    tokens.skip();
    let verb = match tokens.eat_any(&["START", "BEGIN", "END", "PREPARE", "COMMIT", "ROLLBACK"])? {
        "START" | "BEGIN" => XaVerb::Start,
        "END" => XaVerb::End,
        "PREPARE" => XaVerb::Prepare,
        "COMMIT" => XaVerb::Commit,
        _ => XaVerb::Rollback,
    };
    Some(Statement::Xa(Xa { verb, xid: tokens.rest() }))
}

fn tables(kind: Kind, touches: Vec<Touch>) -> Found {
    Some(Statement::Tables { kind, touches, opens_transaction: false, is_damaged: false })
}

fn create(tokens: &mut Tokens<'_>) -> Found {
    tokens.skip();
    if tokens.eat(&["TEMPORARY"]) {
        return tokens.sees(&["TABLE"]).then_some(Statement::Harmless("temporary table"));
    }
    tokens.eat(&["EXTERNAL"]);
    if tokens.eat(&["TABLE"]) {
        return create_table(tokens);
    }
    tokens.eat_any(&["UNIQUE", "FULLTEXT", "SPATIAL"]);
    if tokens.eat(&["INDEX"]) {
        tokens.identifier()?;
        while !tokens.eat(&["ON"]) {
            // `USING BTREE` may stand before it.
            tokens.peek()?;
            tokens.skip();
        }
        let touch = Touch { table: tokens.table()?, effect: Effect::Altered(Change::Nothing) };
        return tables(Kind::CreateIndex, vec![touch]);
    }
    tokens.eat(&["OR", "REPLACE"]);
    stored_object(tokens).or_else(|| server_object(tokens))
}

fn create_table(tokens: &mut Tokens<'_>) -> Found {
    let if_not_exists = tokens.eat(&["IF", "NOT", "EXISTS"]);
    let table = tokens.table()?;
    // With a query in its text it is logged under statement format only, without its rows. The words
    // are reserved; partitions have VALUES, too, but never VALUES ROW.
    let has_query = [&["SELECT"][..], &["TABLE"], &["VALUES", "ROW"]].iter().any(|words| tokens.holds(words));
    let effect = match has_query {
        true => Effect::Altered(Change::Rows),
        false => Effect::Created { if_not_exists },
    };
    let mut touches = vec![Touch { table: table.clone(), effect }];
    if tokens.hold_cascade() {
        touches.push(Touch { table, effect: Effect::Altered(Change::ForeignKey) });
    }
    Some(Statement::Tables {
        kind: Kind::CreateTable,
        touches,
        // The server writes the table's options behind it.
        opens_transaction: !has_query && tokens.holds(&["START", "TRANSACTION"]),
        is_damaged: false,
    })
}

/// Objects that hold SQL, with the options that may stand before their kind: `ALGORITHM`, `DEFINER`,
/// `SQL SECURITY`. Nothing but such an object can follow them.
fn stored_object(tokens: &mut Tokens<'_>) -> Found {
    const LONGEST: usize = 16;
    let has_options = ["ALGORITHM", "DEFINER", "SQL", "AGGREGATE", "JSON", "MATERIALIZED"]
        .iter()
        .any(|word| tokens.sees(&[word]));
    let reach = if has_options { LONGEST } else { 1 };
    for _ in 0..reach {
        match tokens.eat_any(&["VIEW", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "LIBRARY"]) {
            Some(_) => return Some(Statement::Harmless("view, routine, trigger or event")),
            None if has_options => tokens.skip(),
            None => {}
        }
    }
    None
}

/// Objects of the server that hold no rows.
fn server_object(tokens: &mut Tokens<'_>) -> Found {
    const KINDS: &[&[&str]] = &[
        &["USER"],
        &["ROLE"],
        &["SERVER"],
        &["TABLESPACE"],
        &["UNDO", "TABLESPACE"],
        &["LOGFILE", "GROUP"],
        &["RESOURCE", "GROUP"],
        &["SPATIAL", "REFERENCE", "SYSTEM"],
        &["REFERENCE", "SYSTEM"],
        &["INSTANCE"],
        &["PREPARE"],
    ];
    if tokens.sees(&["DATABASE"]) || tokens.sees(&["SCHEMA"]) {
        return Some(Statement::Database);
    }
    KINDS.iter().any(|words| tokens.sees(words)).then_some(Statement::Harmless("object of the server"))
}

fn alter_any(tokens: &mut Tokens<'_>) -> Found {
    tokens.skip();
    tokens.eat(&["IGNORE"]);
    if !tokens.eat(&["TABLE"]) {
        return stored_object(tokens).or_else(|| server_object(tokens));
    }
    let table = tokens.table()?;
    tables(Kind::AlterTable, alter::read(table, tokens)?)
}

fn drop(tokens: &mut Tokens<'_>) -> Found {
    tokens.skip();
    if tokens.eat(&["TEMPORARY"]) {
        return (tokens.sees(&["TABLE"]) || tokens.sees(&["TABLES"]))
            .then_some(Statement::Harmless("temporary table"));
    }
    if tokens.eat_any(&["TABLE", "TABLES"]).is_some() {
        tokens.eat(&["IF", "EXISTS"]);
        let touches = list(tokens, Effect::Dropped)?;
        tokens.eat_any(&["RESTRICT", "CASCADE"]);
        return tokens.ended().then(|| tables(Kind::DropTable, touches))?;
    }
    if tokens.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
        tokens.eat(&["IF", "EXISTS"]);
        return tokens.identifier().map(Statement::DropDatabase);
    }
    if tokens.eat(&["INDEX"]) {
        let change = alter::by_index_name(&tokens.identifier()?);
        tokens.eat(&["ON"]).then_some(())?;
        let touch = Touch { table: tokens.table()?, effect: Effect::Altered(change) };
        return tables(Kind::DropIndex, vec![touch]);
    }
    stored_object(tokens).or_else(|| server_object(tokens))
}

/// Names with commas between, each with the same effect.
fn list(tokens: &mut Tokens<'_>, effect: Effect) -> Option<Vec<Touch>> {
    let mut touches = Vec::new();
    loop {
        touches.push(Touch { table: tokens.table()?, effect: effect.clone() });
        if !tokens.eat_token(&Token::Comma) {
            return Some(touches);
        }
    }
}

fn truncate(tokens: &mut Tokens<'_>) -> Found {
    tokens.skip();
    tokens.eat(&["TABLE"]);
    let touch = Touch { table: tokens.table()?, effect: Effect::Truncated };
    tokens.ended().then(|| tables(Kind::TruncateTable, vec![touch]))?
}

fn rename(tokens: &mut Tokens<'_>) -> Found {
    tokens.skip();
    if tokens.sees(&["USER"]) {
        return Some(Statement::Harmless("object of the server"));
    }
    tokens.eat_any(&["TABLE", "TABLES"])?;
    let mut touches = Vec::new();
    loop {
        let old = tokens.table()?;
        tokens.eat(&["TO"]).then_some(())?;
        let new = tokens.table()?;
        touches.push(Touch { table: old.clone(), effect: Effect::RenamedTo(new.clone()) });
        touches.push(Touch { table: new, effect: Effect::RenamedFrom(old) });
        if !tokens.eat_token(&Token::Comma) {
            return tokens.ended().then(|| tables(Kind::RenameTable, touches))?;
        }
    }
}

/// A repair may drop rows of MyISAM tables; of which engine a table is, its text does not tell.
fn repair(tokens: &mut Tokens<'_>) -> Found {
    tokens.skip();
    tokens.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
    tokens.eat_any(&["TABLE", "TABLES"])?;
    tables(Kind::RepairTable, list(tokens, Effect::Altered(Change::Rows))?)
}
