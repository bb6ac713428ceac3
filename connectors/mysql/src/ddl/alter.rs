//! The clauses of ALTER TABLE (MySQL manual, "ALTER TABLE Statement"; grammar of 9.7).

use lakeward_core::TableId;
use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use super::{Change, Effect, Touch};

/// Engines that keep the rows a table has; any other may drop them without a row event.
const KEEPING: &[&str] =
    &["INNODB", "MYISAM", "ROCKSDB", "MEMORY", "HEAP", "CSV", "ARCHIVE", "NDB", "NDBCLUSTER"];

/// First words of table options. All of them leave row images as they are, `ENGINE` and `UNION`
/// excepted, which [`options`] looks at.
const OPTIONS: &[&str] = &[
    "AUTOEXTEND_SIZE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHARACTER",
    "CHARSET",
    "CHECKSUM",
    "COLLATE",
    "COMMENT",
    "COMPRESSION",
    "CONNECTION",
    "DATA",
    "DEFAULT",
    "DELAY_KEY_WRITE",
    "ENCRYPTION",
    "ENGINE",
    "ENGINE_ATTRIBUTE",
    "INDEX",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PASSWORD",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "START",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLESPACE",
    "TABLE_CHECKSUM",
    "UNION",
];

/// First words of clauses that change neither rows nor columns. ORDER BY sorts once; partitions that
/// are merged, split or built anew keep their rows.
const HARMLESS: &[&[&str]] = &[
    &["ADD", "INDEX"],
    &["ADD", "KEY"],
    &["ADD", "UNIQUE"],
    &["ADD", "FULLTEXT"],
    &["ADD", "SPATIAL"],
    &["ADD", "CHECK"],
    &["ADD", "PARTITION"],
    &["ALTER"],
    &["DROP", "FOREIGN", "KEY"],
    &["DROP", "CHECK"],
    &["RENAME", "INDEX"],
    &["RENAME", "KEY"],
    &["FORCE"],
    &["ENABLE", "KEYS"],
    &["DISABLE", "KEYS"],
    &["ALGORITHM"],
    &["LOCK"],
    &["WITH", "VALIDATION"],
    &["WITHOUT", "VALIDATION"],
    &["SECONDARY_LOAD"],
    &["SECONDARY_UNLOAD"],
    &["COALESCE", "PARTITION"],
    &["PARTITION", "BY"],
    &["REMOVE", "PARTITIONING"],
];

/// Clauses by which rows come or go without row events.
const ROWS: &[&[&str]] = &[&["EXCHANGE", "PARTITION"], &["IMPORT", "TABLESPACE"]];

/// Clauses with a list of partitions, which stand at the end of their statement. A repair moves rows that are in a wrong
/// partition, or drops them, in InnoDB too.
const LISTS: &[(&[&str], Change)] = &[
    (&["DROP", "PARTITION"], Change::Rows),
    (&["TRUNCATE", "PARTITION"], Change::Rows),
    (&["REPAIR", "PARTITION"], Change::Rows),
    (&["DISCARD", "PARTITION"], Change::Rows),
    (&["IMPORT", "PARTITION"], Change::Rows),
    (&["REORGANIZE", "PARTITION"], Change::Nothing),
    (&["ANALYZE", "PARTITION"], Change::Nothing),
    (&["CHECK", "PARTITION"], Change::Nothing),
    (&["OPTIMIZE", "PARTITION"], Change::Nothing),
    (&["REBUILD", "PARTITION"], Change::Nothing),
];

/// What `ALTER TABLE table` does; `None` where a clause is not understood, which is then left in
/// [`Tokens::unread`].
pub(super) fn read(table: TableId, tokens: &mut Tokens<'_>) -> Option<Vec<Touch>> {
    let mut worst = Change::Nothing;
    let mut others = Vec::new();
    let mut renamed = None;
    // Also `ADD COLUMN a INT REFERENCES p (id) ON DELETE CASCADE`, since 9.0.
    let cascades = tokens.hold_cascade();
    while let Some(mut clause) = tokens.clause() {
        if clause.sees(&["ORDER", "BY"]) {
            // A list of names with commas; nothing follows it.
            break;
        }
        if let Some((_, change)) = LISTS.iter().find(|(words, _)| clause.sees(words)) {
            // So is this one.
            worst = worst.max(*change);
            break;
        }
        if clause.sees(&["DISCARD", "TABLESPACE"]) {
            // The server drops the file with all rows, and lets nothing but ALGORITHM and LOCK stand before it.
            return Some(vec![Touch { table, effect: Effect::Truncated }]);
        }
        let text = clause.rest();
        match change(&mut clause, &mut others, &mut renamed) {
            Some(found) => worst = worst.max(found),
            None => {
                tokens.unread = Some(text);
                return None;
            }
        }
    }
    let altered = |table| Touch { table, effect: Effect::Altered(worst) };
    let foreign_key = |table| Touch { table, effect: Effect::Altered(Change::ForeignKey) };
    let mut touches = Vec::new();
    match renamed {
        Some(new) => {
            if worst > Change::ForeignKey {
                touches.push(altered(table.clone()));
            }
            touches.push(Touch { table: table.clone(), effect: Effect::RenamedTo(new.clone()) });
            touches.push(Touch { table: new.clone(), effect: Effect::RenamedFrom(table) });
            // By the name under which it goes on.
            touches.extend(cascades.then(|| foreign_key(new)));
        }
        None => {
            touches.push(altered(table.clone()));
            touches.extend((cascades && worst > Change::ForeignKey).then(|| foreign_key(table)));
        }
    }
    touches.extend(others.into_iter().map(altered));
    Some(touches)
}

fn change(
    clause: &mut Tokens<'_>,
    others: &mut Vec<TableId>,
    renamed: &mut Option<TableId>,
) -> Option<Change> {
    if ROWS.iter().any(|words| clause.sees(words)) {
        if clause.sees(&["EXCHANGE"]) {
            while !clause.eat(&["WITH", "TABLE"]) {
                clause.peek()?;
                clause.skip();
            }
            others.push(clause.table()?);
        }
        return Some(Change::Rows);
    }
    if HARMLESS.iter().any(|words| clause.sees(words)) {
        return Some(Change::Nothing);
    }
    if clause.eat(&["ADD"]) {
        return add(clause);
    }
    if clause.eat(&["DROP"]) {
        return drop(clause);
    }
    if clause.eat(&["RENAME", "COLUMN"]) || clause.eat_any(&["CHANGE", "MODIFY"]).is_some() {
        return Some(Change::Structure);
    }
    if clause.eat(&["RENAME"]) {
        if clause.eat_any(&["TO", "AS"]).is_none() {
            clause.eat_token(&Token::Eq);
        }
        *renamed = Some(clause.table()?);
        return clause.ended().then_some(Change::Nothing);
    }
    if clause.sees(&["CONVERT", "TO"]) {
        return Some(Change::Structure);
    }
    match OPTIONS.iter().any(|word| clause.sees(&[word])) {
        true => options(clause),
        false => None,
    }
}

/// After ADD: a constraint, or a column. The words of constraints are reserved.
fn add(clause: &mut Tokens<'_>) -> Option<Change> {
    if clause.eat(&["CONSTRAINT"])
        && !["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"].iter().any(|word| clause.sees(&[word]))
    {
        clause.identifier()?;
    }
    if clause.sees(&["FOREIGN", "KEY"]) {
        return Some(if clause.hold_cascade() { Change::ForeignKey } else { Change::Nothing });
    }
    match clause.sees(&["UNIQUE"]) || clause.sees(&["CHECK"]) {
        true => Some(Change::Nothing),
        // A column, a list of columns, or the primary key.
        false => clause.peek().map(|_| Change::Structure),
    }
}

/// After DROP: an index or constraint by name, where `PRIMARY` is the primary key; or a column.
fn drop(clause: &mut Tokens<'_>) -> Option<Change> {
    match clause.eat_any(&["INDEX", "KEY", "CONSTRAINT"]) {
        Some(_) => Some(by_index_name(&clause.identifier()?)),
        // `DROP PRIMARY KEY`, `DROP COLUMN a`, `DROP a`.
        None => clause.peek().map(|_| Change::Structure),
    }
}

/// What dropping the index of this name changes.
pub(super) fn by_index_name(name: &str) -> Change {
    match name.eq_ignore_ascii_case("PRIMARY") {
        true => Change::Structure,
        false => Change::Nothing,
    }
}

/// Table options; they stand beside each other without commas too.
fn options(clause: &Tokens<'_>) -> Option<Change> {
    let mut worst = Change::Nothing;
    for (word, value) in clause.options() {
        let found = match (word.as_str(), value) {
            ("ENGINE", Some(Token::Word(engine))) => {
                match KEEPING.contains(&engine.value.to_ascii_uppercase().as_str()) {
                    true => Change::Nothing,
                    false => Change::Rows,
                }
            }
            // An engine in another form, and the tables of a MERGE table.
            ("ENGINE" | "UNION", _) => Change::Rows,
            _ => Change::Nothing,
        };
        worst = worst.max(found);
    }
    Some(worst)
}
