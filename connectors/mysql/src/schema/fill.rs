//! The value that the rows of a table have in a column that is added: its default, as the server prints
//! it.
//!
//! Guarantee: a text that is given out is what the server prints for those rows. Only literals whose
//! text in the column's type is certain are taken; for all others the rows are read.

use std::fmt::Write as _;

use lakeward_core::{Capacity, Column, ColumnType, TypeOptions, ZeroDates};
use sqlparser::tokenizer::Token;

use crate::catalog::ColumnDefault;
use crate::ddl::Tokens;

/// What stands behind DEFAULT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DefaultValue {
    /// `NULL`.
    Null,
    /// A number, with its sign.
    Number(String),
    /// Text.
    Text(String),
    /// Bytes, or bits: `x'…'`, `0x…`, `b'…'`.
    Bytes(Vec<u8>),
    /// What only the server computes.
    Computed,
}

/// Reads a default.
pub(super) fn read(tokens: &mut Tokens<'_>) -> Option<DefaultValue> {
    if tokens.eat(&["NULL"]) {
        return Some(DefaultValue::Null);
    }
    if let Some(truth) = tokens.eat_any(&["TRUE", "FALSE"]) {
        return Some(DefaultValue::Number(if truth == "TRUE" { "1" } else { "0" }.to_owned()));
    }
    if tokens.peek() == Some(&Token::LParen) {
        tokens.parenthesized()?;
        return Some(DefaultValue::Computed);
    }
    if let Some(text) = tokens.text() {
        return Some(DefaultValue::Text(text));
    }
    let negative = tokens.eat_token(&Token::Minus);
    if negative || tokens.eat_token(&Token::Plus) || matches!(tokens.peek(), Some(Token::Number(..))) {
        let Some(Token::Number(digits, _)) = tokens.peek().cloned() else { return None };
        tokens.skip();
        return Some(DefaultValue::Number(if negative { format!("-{digits}") } else { digits }));
    }
    if let Some(bytes) = bytes(tokens) {
        return Some(DefaultValue::Bytes(bytes));
    }
    if tokens.sees_quoted() {
        return None;
    }
    if now(tokens)? {
        return Some(DefaultValue::Computed);
    }
    // `DATE'2026-01-01'`, `_utf8mb4'x'`.
    let Some(Token::Word(word)) = tokens.peek().cloned() else { return None };
    let temporal = ["DATE", "TIME", "TIMESTAMP"].iter().any(|kind| word.value.eq_ignore_ascii_case(kind));
    if temporal || word.value.starts_with('_') {
        tokens.skip();
        return match tokens.text() {
            Some(_) => Some(DefaultValue::Computed),
            None => bytes(tokens).map(|_| DefaultValue::Computed),
        };
    }
    None
}

/// `x'…'`, `0x…`, `b'…'`.
pub(super) fn bytes(tokens: &mut Tokens<'_>) -> Option<Vec<u8>> {
    let bytes = match tokens.peek()? {
        Token::HexStringLiteral(digits) => from_hex(digits)?,
        Token::SingleQuotedByteStringLiteral(digits) => bits(digits)?,
        _ => return None,
    };
    tokens.skip();
    Some(bytes)
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(byte).collect()
}

fn bits(digits: &str) -> Option<Vec<u8>> {
    let value = if digits.is_empty() { 0 } else { u64::from_str_radix(digits, 2).ok()? };
    let bytes = value.to_be_bytes();
    let width = digits.len().div_ceil(8).max(1);
    bytes.get(bytes.len().checked_sub(width)?..).map(<[u8]>::to_vec)
}

/// The present time; `None` where it is not understood.
pub(super) fn now(tokens: &mut Tokens<'_>) -> Option<bool> {
    if tokens.eat_any(&["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"]).is_none() {
        return Some(false);
    }
    if tokens.peek() == Some(&Token::LParen) {
        tokens.parenthesized()?;
    }
    Some(true)
}

/// The fill of a column that is added with the default that the catalog has for it.
pub fn of_catalog(column: &Column, default: &ColumnDefault, options: &TypeOptions) -> Option<Option<String>> {
    if default.computed {
        return None;
    }
    let value = match (&column.ty, &default.text) {
        (_, None) => None,
        (ColumnType::Bit { .. }, Some(text)) => {
            let digits = text.strip_prefix("b'").and_then(|text| text.strip_suffix('\''))?;
            Some(DefaultValue::Bytes(bits(digits)?))
        }
        (ColumnType::Binary { .. }, Some(text)) => match text.strip_prefix("0x") {
            Some(digits) => Some(DefaultValue::Bytes(from_hex(digits)?)),
            None => Some(DefaultValue::Text(text.clone())),
        },
        (_, Some(text)) => Some(DefaultValue::Text(text.clone())),
    };
    of(column, value.as_ref(), options)
}

/// The fill of a column that is added with this default (`None`: it has none). `None`: not certain.
pub(super) fn of(
    column: &Column,
    default: Option<&DefaultValue>,
    options: &TypeOptions,
) -> Option<Option<String>> {
    match default {
        None | Some(DefaultValue::Null) if column.nullable => Some(None),
        None => implicit(column, options),
        Some(DefaultValue::Null | DefaultValue::Computed) => None,
        Some(DefaultValue::Number(number)) => from_number(&column.ty, number).map(Some),
        Some(DefaultValue::Text(text)) => from_text(column, text).map(Some),
        Some(DefaultValue::Bytes(bytes)) => from_bytes(column, bytes).map(Some),
    }
}

/// What rows get in a column that is NOT NULL and has no default.
fn implicit(column: &Column, options: &TypeOptions) -> Option<Option<String>> {
    let zero_date = |text: &str| match options.zero_dates {
        ZeroDates::Null => Some(None),
        ZeroDates::String => Some(Some(text.to_owned())),
        ZeroDates::Error => None,
    };
    match &column.ty {
        ColumnType::Int { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Bit { .. } => from_number(&column.ty, "0").map(Some),
        ColumnType::Year => Some(Some("0000".to_owned())),
        ColumnType::Text { .. } | ColumnType::Set { .. } => Some(Some(String::new())),
        ColumnType::Binary { .. } => from_bytes(column, &[]).map(Some),
        ColumnType::Enum { labels } => labels.first().map(|label| Some(label.clone())),
        ColumnType::Date => zero_date("0000-00-00"),
        ColumnType::Time { fsp } => Some(Some(format!("00:00:00{}", fraction("", *fsp)?))),
        ColumnType::Datetime { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector => None,
    }
}

fn from_number(ty: &ColumnType, number: &str) -> Option<String> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    let (whole, after) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !is_plain(whole) || !is_plain(after) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let is_zero = whole == "0" && after.bytes().all(|byte| byte == b'0');
    let sign = if is_zero { "" } else { sign };
    match ty {
        ColumnType::Int { .. } => after.is_empty().then(|| format!("{sign}{whole}")),
        ColumnType::Decimal { scale: 0, .. } => after.is_empty().then(|| format!("{sign}{whole}")),
        ColumnType::Decimal { scale, .. } => {
            let scale = usize::from(*scale);
            (after.len() <= scale).then(|| format!("{sign}{whole}.{after:0<scale$}"))
        }
        // Few enough digits that binary numbers hold them as they are printed.
        ColumnType::Float | ColumnType::Double => {
            let after = after.trim_end_matches('0');
            let point = if after.is_empty() { "" } else { "." };
            (whole.len() + after.len() <= 6).then(|| format!("{sign}{whole}{point}{after}"))
        }
        ColumnType::Bit { bits } => {
            let value: u64 = format!("{sign}{whole}").parse().ok().filter(|_| after.is_empty())?;
            bit_text(*bits, value)
        }
        ColumnType::Year => {
            (sign.is_empty() && after.is_empty() && whole.len() == 4).then(|| whole.to_owned())
        }
        ColumnType::Text { .. } => (number == format!("{sign}{whole}")).then(|| number.to_owned()),
        ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::Datetime { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::Binary { .. }
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector => None,
    }
}

/// `BIT(1)` is a boolean in the lake; longer ones are bytes.
fn bit_text(bits: u8, value: u64) -> Option<String> {
    if bits < 64 && value >> bits != 0 {
        return None;
    }
    if bits == 1 {
        return Some(value.to_string());
    }
    let bytes = value.to_be_bytes();
    let width = usize::from(bits).div_ceil(8);
    Some(hex(bytes.get(bytes.len().checked_sub(width)?..)?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02X}");
        text
    })
}

fn from_text(column: &Column, text: &str) -> Option<String> {
    match &column.ty {
        ColumnType::Int { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Year => from_number(&column.ty, text),
        // CHAR has no spaces at its end.
        ColumnType::Text { .. } => Some(match column.capacity? {
            Capacity::Char(_) => text.trim_end_matches(' ').to_owned(),
            Capacity::Varchar(_) | Capacity::Blob(_) => text.to_owned(),
        }),
        ColumnType::Enum { labels } => labels.iter().find(|label| *label == text).cloned(),
        ColumnType::Set { labels } => {
            let mut places = Vec::new();
            for part in text.split(',').filter(|_| !text.is_empty()) {
                places.push(labels.iter().position(|label| label == part)?);
            }
            places.is_sorted_by(|a, b| a < b).then(|| text.to_owned())
        }
        ColumnType::Binary { .. } => from_bytes(column, text.as_bytes()).filter(|_| text.is_ascii()),
        ColumnType::Date => is_like(text, "dddd-dd-dd").then(|| text.to_owned()).filter(|_| !has_zero(text)),
        ColumnType::Datetime { fsp } => {
            let (seconds, after) = text.split_once('.').unwrap_or((text, ""));
            let whole = is_like(seconds, "dddd-dd-dd dd:dd:dd") && !has_zero(seconds.get(..10)?);
            whole.then_some(())?;
            Some(format!("{seconds}{}", fraction(after, *fsp)?))
        }
        ColumnType::Time { fsp } => {
            let (seconds, after) = text.split_once('.').unwrap_or((text, ""));
            is_like(seconds, "dd:dd:dd").then_some(())?;
            Some(format!("{seconds}{}", fraction(after, *fsp)?))
        }
        // A TIMESTAMP's text is in the session's time zone.
        ColumnType::Timestamp { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector => None,
    }
}

/// Whether each `d` of the form is a digit, and all else the same.
fn is_like(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// Whether a year, month or day is zero: a date that is none.
fn has_zero(date: &str) -> bool {
    date.split('-').any(|part| part.bytes().all(|byte| byte == b'0'))
}

/// A fraction of so many digits; `None` if there are more.
fn fraction(digits: &str, fsp: u8) -> Option<String> {
    let fsp = usize::from(fsp);
    if digits.len() > fsp || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if fsp == 0 { String::new() } else { format!(".{digits:0<fsp$}") })
}

fn from_bytes(column: &Column, bytes: &[u8]) -> Option<String> {
    let number = || {
        let tail = bytes.iter().skip_while(|byte| **byte == 0);
        (tail.clone().count() <= 8).then(|| tail.fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    match &column.ty {
        ColumnType::Bit { bits } => bit_text(*bits, number()?),
        ColumnType::Int { .. } => from_number(&column.ty, &number()?.to_string()),
        ColumnType::Binary { fixed: Some(width) } => {
            let mut padded = bytes.to_vec();
            (padded.len() <= usize::from(*width)).then(|| padded.resize(usize::from(*width), 0))?;
            Some(hex(&padded))
        }
        ColumnType::Binary { fixed: None } => Some(hex(bytes)),
        _ => None,
    }
}
