//! How columns are declared, for who is told of schema changes.
//!
//! Guarantee: what is told of a column is so. The words and numbers of a type are those of the statement that gave it, or of
//! the catalog; where neither is at hand they are made of the type that is known, with the server's own word for it, and
//! what the type does not tell (a default, the character set of labels) is left out.

use lakeward_core::{Capacity, Column, ColumnStructure, ColumnType, Declaration, TableStructure};
use sqlparser::tokenizer::Token;

use super::{Definition, collations};
use crate::ddl::{SqlSession, Tokens};

/// The present time, as a default.
const NOW: &str = "CURRENT_TIMESTAMP";

/// Reads the words and numbers of the type that stands here.
pub(super) fn of_type(mut tokens: Tokens<'_>) -> Option<Declaration> {
    /// Words that may follow the first one of a type.
    const MORE: &[&str] =
        &["PRECISION", "VARYING", "VARCHAR", "VARCHARACTER", "VARBINARY", "CHAR", "CHARACTER"];
    let mut words = tokens.name()?.to_ascii_uppercase();
    if words == "SERIAL" {
        return Some(Declaration { words: "BIGINT UNSIGNED".to_owned(), ..Declaration::default() });
    }
    while !tokens.sees(&["CHARACTER", "SET"])
        && !tokens.sees(&["CHAR", "SET"])
        && let Some(word) = tokens.eat_any(MORE)
    {
        words = format!("{words} {word}");
    }
    let (mut length, mut scale) = match tokens.parenthesized() {
        Some(inner) => numbers(inner, &words),
        None => (None, None),
    };
    match words.as_str() {
        "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => {
            length = length.filter(|length| *length > 0).or(Some(10));
            scale = scale.or(Some(0));
        }
        "BIT" | "NCHAR" | "NATIONAL CHAR" | "NATIONAL CHARACTER" => length = length.or(Some(1)),
        _ => {}
    }
    words.push_str(&signs(&mut tokens));
    Some(Declaration { words, length, scale, ..Declaration::default() })
}

/// What the parentheses behind a type hold: its numbers; of labels, as many characters as Debezium counts.
fn numbers(mut inner: Tokens<'_>, words: &str) -> (Option<u32>, Option<u32>) {
    if words == "ENUM" || words == "SET" {
        let mut labels = 0;
        while inner.clause().is_some() {
            labels += 1;
        }
        return (Some(labels_length(words == "SET", labels)), None);
    }
    let length = inner.number();
    inner.eat_token(&Token::Comma);
    (length, inner.number())
}

/// A SET shows all its labels at most, each as one character, with commas between.
fn labels_length(set: bool, labels: u32) -> u32 {
    if set { labels.saturating_mul(2).saturating_sub(1) } else { 1 }
}

/// The words behind a type, its character set left out.
fn signs(tokens: &mut Tokens<'_>) -> String {
    let (mut sign, mut zerofill, mut binary) = ("", false, false);
    loop {
        if let Some(word) = tokens.eat_any(&["SIGNED", "UNSIGNED", "ZEROFILL", "BINARY"]) {
            match word {
                "SIGNED" => sign = " SIGNED",
                "UNSIGNED" => sign = " UNSIGNED",
                "ZEROFILL" => zerofill = true,
                _ => binary = true,
            }
        } else if super::types::eat_charset(tokens) {
            tokens.skip();
        } else if tokens.eat_any(&["ASCII", "UNICODE", "BYTE"]).is_none() {
            break;
        }
    }
    let sign = if zerofill { " UNSIGNED ZEROFILL" } else { sign };
    format!("{sign}{}", if binary { " BINARY" } else { "" })
}

/// What stands behind DEFAULT: a literal's value, or the present time. `None`: NULL, or what only the server computes.
pub(super) fn default(mut tokens: Tokens<'_>) -> Option<String> {
    if let Some(truth) = tokens.eat_any(&["TRUE", "FALSE"]) {
        return Some(truth.to_owned());
    }
    if let Some(text) = tokens.text() {
        return Some(text);
    }
    if tokens.sees(&["NULL"]) {
        return None;
    }
    if tokens.eat_any(&[NOW, "NOW", "LOCALTIME", "LOCALTIMESTAMP"]).is_some() {
        let digits: Option<u32> = tokens.parenthesized().and_then(|mut inner| inner.number());
        return Some(digits.map_or(NOW.to_owned(), |digits| format!("{NOW}({digits})")));
    }
    let sign = match () {
        () if tokens.eat_token(&Token::Minus) => "-",
        () if tokens.eat_token(&Token::Plus) => "+",
        () => "",
    };
    match tokens.peek()? {
        Token::Number(digits, _) => Some(format!("{sign}{digits}")),
        Token::HexStringLiteral(digits) => Some(format!("0x{digits}")),
        Token::SingleQuotedByteStringLiteral(digits) => Some(digits.clone()),
        // `_utf8mb4'x'`, `DATE'2026-01-01'`.
        Token::Word(_) => {
            tokens.skip();
            tokens.text()
        }
        _ => None,
    }
}

/// `ALTER [COLUMN] name SET DEFAULT …` or `DROP DEFAULT`: the column, and its default from then on.
pub(super) fn altered_default(mut clause: Tokens<'_>) -> Option<(String, Option<String>)> {
    clause.eat(&["ALTER"]).then_some(())?;
    if clause.eat_any(&["INDEX", "CHECK", "CONSTRAINT"]).is_some() {
        return None;
    }
    clause.eat(&["COLUMN"]);
    let name = clause.name()?;
    if clause.eat(&["SET", "DEFAULT"]) {
        return Some((name, default(clause)));
    }
    clause.eat(&["DROP", "DEFAULT"]).then_some((name, None))
}

/// The declaration of a column that the catalog describes.
pub(crate) fn of_catalog(
    column_type: &str,
    collation: Option<u16>,
    default: Option<&str>,
    extra: &str,
) -> Option<Declaration> {
    let declared = of_type(Tokens::of(column_type, &SqlSession::default()))?;
    let computed = extra.contains("DEFAULT_GENERATED");
    let bits = |text: &str| match declared.words.as_str() {
        "BIT" => Some(text.strip_prefix("b'")?.strip_suffix('\'')?.to_owned()),
        _ => None,
    };
    let default = default.filter(|text| !computed || text.starts_with(NOW));
    let default = default.map(|text| bits(text).unwrap_or_else(|| text.to_owned()));
    Some(Declaration {
        charset: collation.and_then(collations::charset_of).map(str::to_owned),
        default,
        generated: extra.contains("on update")
            || extra.contains("VIRTUAL GENERATED")
            || extra.contains("STORED GENERATED"),
        ..declared
    })
}

/// How a column is declared: as it is kept, else as its type tells.
pub(super) fn of(column: &Column) -> Option<Declaration> {
    column.declared.clone().or_else(|| by_type(&column.ty, column.capacity))
}

/// A declaration of a type, in the server's own words; what values do not depend on (UNSIGNED of fractions, ZEROFILL, kinds
/// of geometries) is not known. `None` where the type does not tell enough.
fn by_type(ty: &ColumnType, capacity: Option<Capacity>) -> Option<Declaration> {
    let unsigned = |word: &str, unsigned: bool| match unsigned {
        true => format!("{word} UNSIGNED"),
        false => word.to_owned(),
    };
    let digits = |fsp: u8| (fsp > 0).then_some(u32::from(fsp));
    let labels = |labels: &Vec<String>| u32::try_from(labels.len()).unwrap_or(u32::MAX);
    let (words, length, scale) = match ty {
        ColumnType::Int { width, unsigned: is_unsigned, display_one } => {
            let word = match width {
                1 => "TINYINT",
                2 => "SMALLINT",
                3 => "MEDIUMINT",
                4 => "INT",
                _ => "BIGINT",
            };
            (unsigned(word, *is_unsigned), display_one.then_some(1), None)
        }
        ColumnType::Decimal { precision, scale } => {
            ("DECIMAL".to_owned(), Some((*precision).into()), Some((*scale).into()))
        }
        ColumnType::Float => ("FLOAT".to_owned(), None, None),
        ColumnType::Double => ("DOUBLE".to_owned(), None, None),
        ColumnType::Bit { bits } => ("BIT".to_owned(), Some((*bits).into()), None),
        ColumnType::Year => ("YEAR".to_owned(), None, None),
        ColumnType::Date => ("DATE".to_owned(), None, None),
        ColumnType::Time { fsp } => ("TIME".to_owned(), digits(*fsp), None),
        ColumnType::Datetime { fsp } => ("DATETIME".to_owned(), digits(*fsp), None),
        ColumnType::Timestamp { fsp } => ("TIMESTAMP".to_owned(), digits(*fsp), None),
        ColumnType::Text { .. } => {
            let (word, length) = by_capacity(capacity?, ["CHAR", "VARCHAR", "TEXT"]);
            (word, length, None)
        }
        ColumnType::Binary { .. } => {
            let (word, length) = by_capacity(capacity?, ["BINARY", "VARBINARY", "BLOB"]);
            (word, length, None)
        }
        ColumnType::Enum { .. } => ("ENUM".to_owned(), Some(labels_length(false, 0)), None),
        ColumnType::Set { labels: all } => ("SET".to_owned(), Some(labels_length(true, labels(all))), None),
        ColumnType::Json => ("JSON".to_owned(), None, None),
        ColumnType::Geometry => ("GEOMETRY".to_owned(), None, None),
        ColumnType::Vector => ("VECTOR".to_owned(), None, None),
    };
    let charset = match ty {
        ColumnType::Text { collation } => collations::charset_of(*collation).map(str::to_owned),
        _ => None,
    };
    Some(Declaration { words, length, scale, charset, ..Declaration::default() })
}

fn by_capacity(capacity: Capacity, [fixed, varying, long]: [&str; 3]) -> (String, Option<u32>) {
    match capacity {
        Capacity::Char(length) => (fixed.to_owned(), Some(length)),
        Capacity::Varchar(length) => (varying.to_owned(), Some(length)),
        Capacity::Blob(width) => {
            let size = match width {
                1 => "TINY",
                2 => "",
                3 => "MEDIUM",
                _ => "LONG",
            };
            (format!("{size}{long}"), None)
        }
    }
}

/// The declaration of a column that was `before`, after `CONVERT TO CHARACTER SET` with the collation `to`.
pub(super) fn convert(before: &Column, column: &mut Column, to: u16) {
    let stays = before.capacity == column.capacity && to != collations::BINARY;
    let again = if stays { None } else { by_type(&column.ty, column.capacity) };
    let Some(declared) = &mut column.declared else { return };
    // Labels of the character set of bytes stay so.
    if declared.charset.as_deref().is_some_and(|charset| charset != "binary") {
        let is_bytes = matches!(column.ty, ColumnType::Binary { .. });
        declared.charset = collations::charset_of(to).filter(|_| !is_bytes).map(str::to_owned);
    }
    // It grew, or became one of bytes.
    if let Some(again) = again.filter(|_| before.ty != column.ty) {
        (declared.words, declared.length) = (again.words, again.length);
    }
}

/// The declaration of a column whose type the log told anew.
pub(crate) fn follow(before: &Column, column: &mut Column) {
    if column.declared.is_some() {
        return;
    }
    match (&before.ty, &column.ty) {
        (ColumnType::Text { .. }, ColumnType::Text { collation }) if before.capacity == column.capacity => {
            let charset = collations::charset_of(*collation).map(str::to_owned);
            let declared = before.declared.clone();
            column.declared = declared.map(|declared| Declaration { charset, ..declared });
        }
        (before_ty, ty) if before_ty == ty => column.declared.clone_from(&before.declared),
        _ => {}
    }
}

/// A structure, as statements would declare it. `None` where something of it is not known.
pub(crate) fn told(definition: &Definition) -> Option<TableStructure> {
    let Definition { columns, key, groundwork } = definition;
    if groundwork.unsure {
        return None;
    }
    let column = |column: &Column| {
        let labels = match &column.ty {
            ColumnType::Enum { labels } | ColumnType::Set { labels } => labels.clone(),
            _ => Vec::new(),
        };
        Some(ColumnStructure {
            name: column.name.clone(),
            nullable: column.nullable,
            counts: groundwork.auto_increment == Some(column.id),
            labels,
            declaration: of(column)?,
        })
    };
    Some(TableStructure {
        charset: groundwork.collation.and_then(collations::charset_of).map(str::to_owned),
        key: key.iter().filter_map(|at| columns.get(*at)).map(|column| column.name.clone()).collect(),
        columns: columns.iter().map(column).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> (String, Option<u32>, Option<u32>) {
        let declared = of_type(Tokens::of(text, &SqlSession::default())).unwrap();
        (declared.words, declared.length, declared.scale)
    }

    #[test]
    fn a_type_has_the_words_and_numbers_of_its_statement() {
        for (text, words, length, scale) in [
            ("int(5) unsigned zerofill NOT NULL", "INT UNSIGNED ZEROFILL", Some(5), None),
            ("DECIMAL", "DECIMAL", Some(10), Some(0)),
            ("DEC(8,2) DEFAULT 1", "DEC", Some(8), Some(2)),
            ("DOUBLE PRECISION NULL", "DOUBLE PRECISION", None, None),
            ("CHARACTER VARYING(20) CHARACTER SET latin1", "CHARACTER VARYING", Some(20), None),
            ("CHAR CHARACTER SET latin1", "CHAR", None, None),
            ("VARCHAR(12) BINARY", "VARCHAR BINARY", Some(12), None),
            ("LONG VARCHAR", "LONG VARCHAR", None, None),
            ("TEXT CHAR SET utf8mb4 BINARY", "TEXT BINARY", None, None),
            ("NATIONAL CHAR VARYING(3)", "NATIONAL CHAR VARYING", Some(3), None),
            ("ENUM('a','b,c') NOT NULL", "ENUM", Some(1), None),
            ("SET('x','y')", "SET", Some(3), None),
            ("BIT", "BIT", Some(1), None),
            ("SERIAL", "BIGINT UNSIGNED", None, None),
        ] {
            assert_eq!(typed(text), (words.to_owned(), length, scale), "{text}");
        }
    }

    #[test]
    fn a_default_is_told_where_it_is_a_literal_or_the_present_time() {
        for (text, expected) in [
            ("'it''s'", Some("it's")),
            ("-3", Some("-3")),
            ("1.5e3 NOT NULL", Some("1.5e3")),
            ("TRUE", Some("TRUE")),
            ("b'101'", Some("101")),
            ("x'0aff'", Some("0x0aff")),
            ("NOW(3) ON UPDATE NOW(3)", Some("CURRENT_TIMESTAMP(3)")),
            ("CURRENT_TIMESTAMP", Some("CURRENT_TIMESTAMP")),
            ("_utf8mb4'x'", Some("x")),
            ("NULL", None),
            ("(uuid())", None),
        ] {
            let found = default(Tokens::of(text, &SqlSession::default()));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_catalog_declares_a_column_as_a_statement_would() {
        let declared = of_catalog("varchar(20)", Some(8), Some("x"), "").unwrap();
        assert_eq!((declared.words.as_str(), declared.length), ("VARCHAR", Some(20)));
        assert_eq!((declared.charset.as_deref(), declared.default.as_deref()), (Some("latin1"), Some("x")));
        let extra = "DEFAULT_GENERATED on update CURRENT_TIMESTAMP(3)";
        let time = of_catalog("timestamp(3)", None, Some("CURRENT_TIMESTAMP(3)"), extra).unwrap();
        assert_eq!((time.default.as_deref(), time.generated), (Some("CURRENT_TIMESTAMP(3)"), true));
        let text = of_catalog("varchar(9)", Some(255), Some("b'1'"), "").unwrap();
        let bits = of_catalog("bit(4)", None, Some("b'1'"), "").unwrap();
        assert_eq!((text.default.as_deref(), bits.default.as_deref()), (Some("b'1'"), Some("1")));
        let computed = of_catalog("varchar(36)", Some(255), Some("uuid()"), "DEFAULT_GENERATED").unwrap();
        assert_eq!((computed.default, computed.generated), (None, false));
    }

    #[test]
    fn a_type_alone_gives_the_servers_word_for_it() {
        let told = |ty, capacity| by_type(&ty, capacity).map(|declared| (declared.words, declared.length));
        let text = || ColumnType::Text { collation: 255 };
        assert_eq!(told(text(), Some(Capacity::Blob(3))), Some(("MEDIUMTEXT".into(), None)));
        assert_eq!(told(text(), None), None);
        let bigint = ColumnType::Int { width: 8, unsigned: true, display_one: false };
        assert_eq!(told(bigint, None), Some(("BIGINT UNSIGNED".into(), None)));
        let bytes = ColumnType::Binary { fixed: Some(4) };
        assert_eq!(told(bytes, Some(Capacity::Char(4))), Some(("BINARY".into(), Some(4))));
    }
}
