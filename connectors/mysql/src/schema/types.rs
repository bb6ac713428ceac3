//! Types of columns as statements spell them (MySQL manual, "Data Types"; grammar of 9.7).

use lakeward_core::{Capacity, ColumnType};
use sqlparser::tokenizer::Token;

use super::{Context, collations};
use crate::ddl::Tokens;
use crate::rows::charset;

/// A type as it is written; the collation of text is settled when all of the column is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    kind: Kind,
    /// `SERIAL`: BIGINT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE.
    pub(super) serial: bool,
    pub(super) fraction: Fraction,
}

/// What is written of a type of fractions, and is not part of the type that we keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fraction {
    /// `FLOAT(7,2)`: values are rounded to it.
    pub(super) rounds: bool,
    /// Values below zero are refused, or become zero.
    pub(super) unsigned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Plain(ColumnType, Option<Capacity>),
    Text(Length, Charset),
    Labels { set: bool, labels: Vec<Label>, charset: Charset },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(Capacity),
    /// `TEXT(n)`: the smallest kind of TEXT that holds so many characters.
    TextOf(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Text(String),
    Bytes(Vec<u8>),
}

/// What stands behind a type of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Charset {
    collation: Option<u16>,
    /// `BINARY`: the binary collation of the character set.
    binary: bool,
}

/// Which collations a column may take from its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collations {
    /// The table's default, where it is known.
    pub(super) default: Option<u16>,
    /// `CONVERT TO CHARACTER SET`, which all text takes.
    pub(super) converted: Option<u16>,
}

/// A type whose collation is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) ty: ColumnType,
    pub(super) capacity: Option<Capacity>,
    /// Of text and labels.
    pub(super) collation: Option<u16>,
    /// The table's default collation was needed and is not known.
    pub(super) guessed: bool,
}

fn plain(ty: ColumnType) -> Kind {
    Kind::Plain(ty, None)
}

/// Reads a type.
pub(super) fn read(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<Written> {
    if tokens.sees_quoted() {
        return None;
    }
    if tokens.eat(&["SERIAL"]) {
        let kind = plain(ColumnType::Int { width: 8, unsigned: true, display_one: false });
        return Some(Written { kind, serial: true, fraction: Fraction::default() });
    }
    let mut fraction = Fraction::default();
    let kind = match number(tokens, context, &mut fraction)? {
        Some(kind) => kind,
        None => text(tokens, context)?.or_else(|| other(tokens))?,
    };
    Some(Written { kind, serial: false, fraction })
}

/// Numbers in parentheses; none where there are no parentheses.
fn arguments(tokens: &mut Tokens<'_>) -> Option<Vec<u32>> {
    if tokens.peek() != Some(&Token::LParen) {
        return Some(Vec::new());
    }
    let mut inner = tokens.parenthesized()?;
    let mut numbers = vec![inner.number()?];
    while inner.eat_token(&Token::Comma) {
        numbers.push(inner.number()?);
    }
    inner.peek().is_none().then_some(numbers)
}

fn argument(tokens: &mut Tokens<'_>) -> Option<Option<u32>> {
    match arguments(tokens)?.as_slice() {
        [] => Some(None),
        [one] => Some(Some(*one)),
        _ => None,
    }
}

/// `Some(None)`: another kind of type.
fn number(tokens: &mut Tokens<'_>, context: &Context<'_>, fraction: &mut Fraction) -> Option<Option<Kind>> {
    const INTEGERS: &[(u8, &[&str])] = &[
        (1, &["TINYINT", "INT1"]),
        (2, &["SMALLINT", "INT2"]),
        (3, &["MEDIUMINT", "INT3", "MIDDLEINT"]),
        (4, &["INT", "INTEGER", "INT4"]),
        (8, &["BIGINT", "INT8"]),
    ];
    for (width, names) in INTEGERS {
        if tokens.eat_any(names).is_some() {
            let shown = argument(tokens)?;
            let (unsigned, zerofill) = signs(tokens);
            // Of a display width, only this one is kept (since 8.0.19), and all with ZEROFILL.
            let display_one = *width == 1 && shown == Some(1) && (zerofill || !unsigned);
            return Some(Some(plain(ColumnType::Int { width: *width, unsigned, display_one })));
        }
    }
    if tokens.eat_any(&["BOOL", "BOOLEAN"]).is_some() {
        return Some(Some(plain(ColumnType::Int { width: 1, unsigned: false, display_one: true })));
    }
    if tokens.eat_any(&["DECIMAL", "DEC", "NUMERIC", "FIXED"]).is_some() {
        let (precision, scale) = match arguments(tokens)?.as_slice() {
            [] => (10, 0),
            [precision] => (*precision, 0),
            [precision, scale] => (*precision, *scale),
            _ => return None,
        };
        (fraction.unsigned, _) = signs(tokens);
        let precision = if precision == 0 { 10 } else { u8::try_from(precision).ok()? };
        return Some(Some(plain(ColumnType::Decimal { precision, scale: u8::try_from(scale).ok()? })));
    }
    let double = tokens.eat_any(&["DOUBLE", "FLOAT8"]).is_some() && {
        tokens.eat(&["PRECISION"]);
        true
    };
    let real = !double && tokens.eat(&["REAL"]);
    if !double && !real && tokens.eat_any(&["FLOAT", "FLOAT4"]).is_none() {
        return Some(None);
    }
    /// `FLOAT(p)` is a DOUBLE from this precision on.
    const DOUBLE_FROM: u32 = 25;
    let mut ty = match double || (real && !context.surroundings.real_is_float()) {
        true => ColumnType::Double,
        false => ColumnType::Float,
    };
    match arguments(tokens)?.as_slice() {
        [] => {}
        [precision] if !double && !real => {
            if *precision >= DOUBLE_FROM {
                ty = ColumnType::Double;
            }
        }
        [_, _] => fraction.rounds = true,
        _ => return None,
    }
    (fraction.unsigned, _) = signs(tokens);
    Some(Some(plain(ty)))
}

/// UNSIGNED and ZEROFILL, which is unsigned too.
fn signs(tokens: &mut Tokens<'_>) -> (bool, bool) {
    let (mut unsigned, mut zerofill) = (false, false);
    while let Some(word) = tokens.eat_any(&["SIGNED", "UNSIGNED", "ZEROFILL"]) {
        zerofill |= word == "ZEROFILL";
        unsigned |= word != "SIGNED";
    }
    (unsigned, zerofill)
}

/// `Some(None)`: another kind of type.
fn text(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<Option<Kind>> {
    let national = tokens.eat(&["NATIONAL"]) || tokens.sees(&["NCHAR"]) || tokens.sees(&["NVARCHAR"]);
    if tokens.eat_any(&["CHAR", "CHARACTER", "NCHAR"]).is_some() {
        let varying = tokens.eat_any(&["VARYING", "VARCHAR", "VARCHARACTER"]).is_some();
        let length = argument(tokens)?;
        let length = match varying {
            true => Capacity::Varchar(length?),
            false => short(length.unwrap_or(1)).map(Capacity::Char)?,
        };
        return Some(Some(characters(Length::Known(length), national, tokens, context)?));
    }
    if tokens.eat_any(&["VARCHAR", "VARCHARACTER", "NVARCHAR"]).is_some() {
        let length = Length::Known(Capacity::Varchar(argument(tokens)??));
        return Some(Some(characters(length, national, tokens, context)?));
    }
    let kinds = [("TINYTEXT", 1), ("MEDIUMTEXT", 3), ("LONGTEXT", 4)];
    if let Some((_, width)) = kinds.iter().find(|(name, _)| tokens.eat(&[name])) {
        return Some(Some(characters(Length::Known(Capacity::Blob(*width)), false, tokens, context)?));
    }
    if tokens.eat(&["TEXT"]) {
        let length = argument(tokens)?.map_or(Length::Known(Capacity::Blob(2)), Length::TextOf);
        return Some(Some(characters(length, false, tokens, context)?));
    }
    if tokens.eat(&["LONG"]) {
        if tokens.eat(&["VARBINARY"]) {
            return Some(Some(bytes(Capacity::Blob(3), None)));
        }
        let varying = tokens.eat(&["CHAR", "VARYING"]) || tokens.eat(&["CHARACTER", "VARYING"]);
        if !varying {
            tokens.eat_any(&["VARCHAR", "VARCHARACTER"]);
        }
        return Some(Some(characters(Length::Known(Capacity::Blob(3)), false, tokens, context)?));
    }
    if let Some(word) = tokens.eat_any(&["ENUM", "SET"]) {
        let labels = labels(tokens)?;
        return Some(Some(Kind::Labels { set: word == "SET", labels, charset: charset(tokens, context)? }));
    }
    // NATIONAL is followed by a type of text.
    if national { None } else { Some(None) }
}

/// The greatest length of CHAR and BINARY.
fn short(length: u32) -> Option<u32> {
    (length <= 255).then_some(length)
}

fn characters(
    length: Length,
    national: bool,
    tokens: &mut Tokens<'_>,
    context: &Context<'_>,
) -> Option<Kind> {
    let mut charset = charset(tokens, context)?;
    if national {
        charset.collation = Some(collations::NATIONAL);
    }
    Some(Kind::Text(length, charset))
}

fn charset(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<Charset> {
    let mut found = Charset::default();
    loop {
        if tokens.eat(&["BINARY"]) {
            found.binary = true;
        } else if tokens.eat(&["ASCII"]) {
            found.collation = collations::default_of_charset("latin1");
        } else if tokens.eat(&["UNICODE"]) {
            found.collation = collations::default_of_charset("ucs2");
        } else if tokens.eat(&["BYTE"]) {
            found.collation = Some(collations::BINARY);
        } else if eat_charset(tokens) {
            found.collation = Some(charset_name(tokens, context)?);
        } else {
            return Some(found);
        }
    }
}

pub(super) fn eat_charset(tokens: &mut Tokens<'_>) -> bool {
    tokens.eat(&["CHARSET"]) || tokens.eat(&["CHARACTER", "SET"]) || tokens.eat(&["CHAR", "SET"])
}

/// The default collation of the character set that is named.
pub(super) fn charset_name(tokens: &mut Tokens<'_>, context: &Context<'_>) -> Option<u16> {
    let name = tokens.text().or_else(|| tokens.name())?;
    context.default_of(&name)
}

/// The collation that is named.
pub(super) fn collation_name(tokens: &mut Tokens<'_>) -> Option<u16> {
    let name = tokens.text().or_else(|| tokens.name())?;
    collations::collation(&name)
}

fn labels(tokens: &mut Tokens<'_>) -> Option<Vec<Label>> {
    let mut inner = tokens.parenthesized()?;
    let mut labels = Vec::new();
    loop {
        labels.push(match inner.text() {
            Some(text) => Label::Text(text),
            None => {
                let bytes = super::fill::bytes(&mut inner)?;
                Label::Bytes(bytes)
            }
        });
        if !inner.eat_token(&Token::Comma) {
            return inner.peek().is_none().then_some(labels);
        }
    }
}

fn bytes(capacity: Capacity, fixed: Option<u16>) -> Kind {
    Kind::Plain(ColumnType::Binary { fixed }, Some(capacity))
}

fn other(tokens: &mut Tokens<'_>) -> Option<Kind> {
    if tokens.eat(&["BIT"]) {
        let bits = argument(tokens)?.unwrap_or(1).max(1);
        return Some(plain(ColumnType::Bit { bits: u8::try_from(bits).ok().filter(|bits| *bits <= 64)? }));
    }
    if tokens.eat(&["BINARY"]) {
        let length = short(argument(tokens)?.unwrap_or(1))?;
        return Some(bytes(Capacity::Char(length), Some(u16::try_from(length).ok()?)));
    }
    if tokens.eat(&["VARBINARY"]) {
        let length = argument(tokens)??;
        return Some(bytes(Capacity::Blob(3), None))
            .filter(|_| length > MAX_VARCHAR_BYTES)
            .or(Some(bytes(Capacity::Varchar(length), None)));
    }
    let blobs = [("TINYBLOB", 1), ("MEDIUMBLOB", 3), ("LONGBLOB", 4)];
    if let Some((_, width)) = blobs.iter().find(|(name, _)| tokens.eat(&[name])) {
        return Some(bytes(Capacity::Blob(*width), None));
    }
    if tokens.eat(&["BLOB"]) {
        let width = argument(tokens)?.map_or(2, |length| blob_width(length.into()));
        return Some(bytes(Capacity::Blob(width), None));
    }
    if let Some(word) = tokens.eat_any(&["TIMESTAMP", "DATETIME", "TIME", "DATE", "YEAR"]) {
        let digits = argument(tokens)?;
        let fsp = u8::try_from(digits.unwrap_or(0)).ok()?;
        return Some(plain(match word {
            "TIMESTAMP" => ColumnType::Timestamp { fsp },
            "DATETIME" => ColumnType::Datetime { fsp },
            "TIME" => ColumnType::Time { fsp },
            "DATE" => ColumnType::Date,
            _ => ColumnType::Year,
        }));
    }
    if tokens.eat(&["JSON"]) {
        return Some(plain(ColumnType::Json));
    }
    if tokens.eat(&["VECTOR"]) {
        argument(tokens)?;
        return Some(plain(ColumnType::Vector));
    }
    const GEOMETRIES: &[&str] = &[
        "GEOMETRY",
        "POINT",
        "LINESTRING",
        "POLYGON",
        "MULTIPOINT",
        "MULTILINESTRING",
        "MULTIPOLYGON",
        "GEOMETRYCOLLECTION",
        "GEOMCOLLECTION",
    ];
    tokens.eat_any(GEOMETRIES).map(|_| plain(ColumnType::Geometry))
}

/// Bytes of a VARCHAR or VARBINARY; a longer one becomes a TEXT or BLOB where that is no error.
const MAX_VARCHAR_BYTES: u32 = 65_535;

/// Bytes of the length of the smallest BLOB that holds so many bytes.
fn blob_width(bytes: u64) -> u8 {
    match bytes {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFF_FFFF => 3,
        _ => 4,
    }
}

/// Greatest length in bytes of a BLOB with a length of `width` bytes.
fn blob_bytes(width: u8) -> u64 {
    (1u64 << (8 * u32::from(width.min(4)))) - 1
}

impl Written {
    /// Settles collation and length.
    pub(super) fn settle(
        &self,
        collate: Option<u16>,
        collations: Collations,
        context: &Context<'_>,
    ) -> Option<Settled> {
        let (charset, length) = match &self.kind {
            Kind::Plain(ty, capacity) => {
                let (ty, capacity) = (ty.clone(), *capacity);
                return Some(Settled { ty, capacity, collation: None, guessed: false });
            }
            Kind::Text(length, charset) => (*charset, Some(*length)),
            Kind::Labels { charset, .. } => (*charset, None),
        };
        let (collation, guessed) = charset.settle(collate, collations, context)?;
        let Some(length) = length else {
            let ty = self.labelled(collation)?;
            return Some(Settled { ty, capacity: None, collation: Some(collation), guessed });
        };
        let bytes_each = collations::bytes_per_character(collation)?;
        let capacity = match length {
            Length::TextOf(characters) => {
                Capacity::Blob(blob_width(u64::from(characters) * u64::from(bytes_each)))
            }
            Length::Known(Capacity::Varchar(characters))
                if u64::from(characters) * u64::from(bytes_each) > MAX_VARCHAR_BYTES.into() =>
            {
                Capacity::Blob(blob_width(u64::from(characters) * u64::from(bytes_each)))
            }
            Length::Known(capacity) => capacity,
        };
        let ty = text_type(collation, capacity);
        Some(Settled { ty, capacity: Some(capacity), collation: Some(collation), guessed })
    }

    fn labelled(&self, collation: u16) -> Option<ColumnType> {
        let Kind::Labels { set, labels, .. } = &self.kind else { return None };
        let text = |label: &Label| {
            let text = match label {
                Label::Text(text) => text.clone(),
                Label::Bytes(bytes) => charset::to_utf8(collation, bytes).ok()?.into_owned(),
            };
            // The server does so with every character set but that of bytes.
            Some(if collation == collations::BINARY { text } else { text.trim_end_matches(' ').to_owned() })
        };
        let labels = labels.iter().map(text).collect::<Option<Vec<String>>>()?;
        Some(if *set { ColumnType::Set { labels } } else { ColumnType::Enum { labels } })
    }
}

/// Text of a collation; bytes, if that is the collation of bytes.
fn text_type(collation: u16, capacity: Capacity) -> ColumnType {
    match (collation, capacity) {
        (collations::BINARY, Capacity::Char(length)) => {
            ColumnType::Binary { fixed: Some(u16::try_from(length).unwrap_or(u16::MAX)) }
        }
        (collations::BINARY, _) => ColumnType::Binary { fixed: None },
        _ => ColumnType::Text { collation },
    }
}

impl Charset {
    fn settle(
        self,
        collate: Option<u16>,
        collations: Collations,
        context: &Context<'_>,
    ) -> Option<(u16, bool)> {
        let own = match (collate, self.collation) {
            (Some(collate), _) => Some(collate),
            (None, Some(charset)) if self.binary => Some(collations::binary_of(charset)?),
            (None, charset) => charset,
        };
        match (own, collations.converted) {
            (Some(collations::BINARY), _) => Some((collations::BINARY, false)),
            (_, Some(converted)) => Some((converted, false)),
            (Some(own), None) => Some((own, false)),
            (None, None) => {
                let default = collations.default.unwrap_or_else(|| context.usual());
                let collation = if self.binary { collations::binary_of(default)? } else { default };
                Some((collation, collations.default.is_none()))
            }
        }
    }
}

/// What a column of text becomes by `CONVERT TO CHARACTER SET`: its type, and its capacity grown so that
/// it holds as many characters as before. `None` where that is not known.
pub(super) fn converted(
    from: u16,
    capacity: Option<Capacity>,
    to: u16,
) -> Option<(ColumnType, Option<Capacity>)> {
    if to == collations::BINARY {
        // CHAR becomes BINARY, whose width is part of the type.
        let capacity = capacity?;
        return Some((text_type(to, capacity), Some(capacity)));
    }
    let (before, after) = (collations::bytes_per_character(from)?, collations::bytes_per_character(to)?);
    let capacity = capacity.map(|capacity| match capacity {
        Capacity::Blob(width) if after > before => {
            Capacity::Blob(blob_width(blob_bytes(width) / u64::from(before) * u64::from(after)))
        }
        Capacity::Varchar(characters)
            if u64::from(characters) * u64::from(after) > MAX_VARCHAR_BYTES.into() =>
        {
            Capacity::Blob(blob_width(u64::from(characters) * u64::from(after)))
        }
        same => same,
    });
    Some((ColumnType::Text { collation: to }, capacity))
}

/// Whether all that fits into one fits into the other.
pub(super) fn holds(new: Capacity, new_bytes_each: u32, old: Capacity, old_bytes_each: u32) -> bool {
    let bytes = |capacity: Capacity, each: u32| match capacity {
        Capacity::Char(length) | Capacity::Varchar(length) => u64::from(length) * u64::from(each),
        Capacity::Blob(width) => blob_bytes(width),
    };
    match (new, old) {
        (Capacity::Char(new), Capacity::Char(old))
        | (Capacity::Varchar(new), Capacity::Varchar(old) | Capacity::Char(old)) => new >= old,
        // CHAR loses spaces at the end.
        (Capacity::Char(_), Capacity::Varchar(_) | Capacity::Blob(_)) => false,
        (Capacity::Varchar(new), Capacity::Blob(_)) => u64::from(new) >= bytes(old, old_bytes_each),
        (Capacity::Blob(_), Capacity::Char(length) | Capacity::Varchar(length)) => {
            bytes(new, new_bytes_each) >= u64::from(length) * u64::from(new_bytes_each)
        }
        // As many bytes may be more characters than before, or fewer.
        (Capacity::Blob(new), Capacity::Blob(old)) if new_bytes_each <= old_bytes_each => new >= old,
        (Capacity::Blob(_), Capacity::Blob(_)) => {
            bytes(new, new_bytes_each)
                >= bytes(old, old_bytes_each) / u64::from(old_bytes_each.max(1)) * u64::from(new_bytes_each)
        }
    }
}
