//! MySQL's binary JSON, and its text exactly as the server prints it.
//!
//! Layout: the comment at the head of MySQL's sql-common/json_binary.h. Printing: `wrapper_to_string`
//! of json_dom.cc: keys in stored order, `", "` and `": "` between, doubles by `my_gcvt`, temporal
//! values with six digits of fraction, other opaque values as `base64:type<n>:…` with a line break
//! after every 76 characters.
//!
//! Damaged documents: depth is bounded as the server bounds it, and since the parts of a document
//! never overlap, what is printed may never draw on more bytes than the document has. So a crafted
//! document cannot make the text grow beyond a fixed multiple of its size (6, a control character).

use lakeward_core::Result;

use super::charset::is_utf8;
use super::cursor::{Cursor, corrupt};
use super::decimal::Format;
use super::temporal::{Civil, Span};

/// The server refuses deeper documents (JSON_DOCUMENT_MAX_DEPTH).
pub(super) const DEPTH_MAX: u8 = 100;

const TYPE_NEWDECIMAL: u8 = 246;
const TYPE_DATE: u8 = 10;
const TYPE_TIME: u8 = 11;
const TYPE_DATETIME: u8 = 12;
const TYPE_TIMESTAMP: u8 = 7;

/// A value inside a document; containers are read on demand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    String(&'a [u8]),
    /// A value of an SQL type that JSON lacks; `kind` is its MYSQL_TYPE_*.
    Opaque {
        kind: u8,
        data: &'a [u8],
    },
    Object(Container<'a>),
    Array(Container<'a>),
}

/// An object or array: counts, entries, then the keys and values they point to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a> {
    /// The whole container; offsets count from its start.
    bytes: &'a [u8],
    /// Where the key entries (of an object) or value entries (of an array) begin.
    count: usize,
    /// Whether offsets and counts take 4 bytes instead of 2.
    large: bool,
    object: bool,
}

/// How many bytes of the document may still be drawn on.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn of(document: &[u8]) -> Self {
        Budget(document.len())
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| corrupt("a JSON document whose parts overlap"))?;
        Ok(())
    }
}

/// Reads the value that is the whole document. A document of no bytes is what the server keeps where
/// `INSERT IGNORE` put no value into a NOT NULL column, and it reads as null.
pub(super) fn document(bytes: &[u8]) -> Result<Value<'_>> {
    match bytes.split_first() {
        None => Ok(Value::Null),
        Some((kind, rest)) => Value::parse(*kind, rest),
    }
}

impl<'a> Value<'a> {
    fn parse(kind: u8, bytes: &'a [u8]) -> Result<Self> {
        let mut bytes = Cursor::new(bytes);
        Ok(match kind {
            0 | 1 => Value::Object(Container::parse(bytes.rest(), kind == 1, true)?),
            2 | 3 => Value::Array(Container::parse(bytes.rest(), kind == 3, false)?),
            4 => match bytes.u8()? {
                0 => Value::Null,
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                other => return Err(corrupt(format!("JSON literal {other}"))),
            },
            5 => Value::Int(i64::from(i16::from_le_bytes(bytes.array()?))),
            6 => Value::UInt(u64::from(bytes.u16()?)),
            7 => Value::Int(i64::from(i32::from_le_bytes(bytes.array()?))),
            8 => Value::UInt(u64::from(bytes.u32()?)),
            9 => Value::Int(i64::from_le_bytes(bytes.array()?)),
            10 => Value::UInt(bytes.u64()?),
            11 => Value::Double(f64::from_le_bytes(bytes.array()?)),
            12 => Value::String(variable(&mut bytes)?),
            15 => {
                let kind = bytes.u8()?;
                Value::Opaque { kind, data: variable(&mut bytes)? }
            }
            other => return Err(corrupt(format!("JSON value of type {other}"))),
        })
    }
}

/// A byte string behind a length in groups of seven bits, lowest first.
fn variable<'a>(bytes: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let mut len = 0usize;
    for shift in [0, 7, 14, 21, 28] {
        let byte = bytes.u8()?;
        len |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return bytes.take(len);
        }
    }
    Err(corrupt("a length in JSON of more than five bytes"))
}

impl<'a> Container<'a> {
    fn parse(bytes: &'a [u8], large: bool, object: bool) -> Result<Self> {
        let mut header = Cursor::new(bytes);
        let width = if large { 4 } else { 2 };
        let count = usize::try_from(header.uint(width)?).map_err(|_| corrupt("a JSON count"))?;
        let size = usize::try_from(header.uint(width)?).map_err(|_| corrupt("a JSON size"))?;
        let bytes = bytes.get(..size).ok_or_else(|| corrupt("a JSON container larger than its document"))?;
        let container = Container { bytes, count, large, object };
        let entries =
            container
                .offset_width()
                .saturating_mul(2)
                .saturating_add(count.saturating_mul(
                    container.value_entry() + if object { container.key_entry() } else { 0 },
                ));
        if entries > size {
            return Err(corrupt("a JSON container with more elements than it has room for"));
        }
        Ok(container)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn offset_width(&self) -> usize {
        if self.large { 4 } else { 2 }
    }

    fn key_entry(&self) -> usize {
        self.offset_width() + 2
    }

    fn value_entry(&self) -> usize {
        self.offset_width() + 1
    }

    /// The bytes of its header and entries.
    pub(super) fn spend_entries(&self, budget: &mut Budget) -> Result<()> {
        let key_entry = if self.object { self.key_entry() } else { 0 };
        budget.spend(2 * self.offset_width() + self.count * (self.value_entry() + key_entry))
    }

    /// From byte `at` to its end.
    fn from(&self, at: usize) -> Result<Cursor<'a>> {
        let bytes = self.bytes.get(at..).ok_or_else(|| corrupt("a JSON offset beyond its container"))?;
        Ok(Cursor::new(bytes))
    }

    fn offset(&self, entry: &mut Cursor<'_>) -> Result<usize> {
        let offset = if self.large { entry.u32()? } else { u32::from(entry.u16()?) };
        usize::try_from(offset).map_err(|_| corrupt("a JSON offset"))
    }

    /// The `index`-th key of an object.
    pub(super) fn key(&self, index: usize) -> Result<&'a [u8]> {
        let mut entry = self.from(2 * self.offset_width() + index * self.key_entry())?;
        let at = self.offset(&mut entry)?;
        let len = entry.u16()?;
        self.from(at)?.take(usize::from(len))
    }

    /// The `index`-th value. Small scalars stand in the entry itself.
    pub(super) fn value(&self, index: usize) -> Result<Value<'a>> {
        let keys = if self.object { self.count * self.key_entry() } else { 0 };
        let mut entry = self.from(2 * self.offset_width() + keys + index * self.value_entry())?;
        let kind = entry.u8()?;
        let inlined = match kind {
            4..=6 => true,
            7 | 8 => self.large,
            _ => false,
        };
        if inlined {
            return Value::parse(kind, entry.take(self.offset_width())?);
        }
        let at = self.offset(&mut entry)?;
        Value::parse(kind, self.from(at)?.rest())
    }
}

/// Appends a stored document as the text that MySQL prints.
///
/// # Errors
/// `CorruptEvent` for bytes that are no document. `out` may then hold a part of the text.
pub fn append_text(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    append_value(document(bytes)?, DEPTH_MAX, &mut Budget::of(bytes), out)?;
    check_utf8(out, start)
}

/// Strings are UTF-8 because the server checked them; a damaged one must not reach an array.
pub(super) fn check_utf8(out: &[u8], start: usize) -> Result<()> {
    match out.get(start..) {
        Some(text) if is_utf8(text) => Ok(()),
        _ => Err(corrupt("a string in JSON that is not UTF-8")),
    }
}

fn append_value(value: Value<'_>, depth: u8, budget: &mut Budget, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Object(object) => {
            let depth = deeper(depth)?;
            object.spend_entries(budget)?;
            out.push(b'{');
            for index in 0..object.len() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                let key = object.key(index)?;
                budget.spend(key.len())?;
                append_quoted(key, out);
                out.extend_from_slice(b": ");
                append_value(object.value(index)?, depth, budget, out)?;
            }
            out.push(b'}');
            Ok(())
        }
        Value::Array(array) => {
            let depth = deeper(depth)?;
            array.spend_entries(budget)?;
            out.push(b'[');
            for index in 0..array.len() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                append_value(array.value(index)?, depth, budget, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Value::String(data) | Value::Opaque { data, .. } => {
            budget.spend(data.len())?;
            append_scalar(value, out)
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Double(_) => {
            append_scalar(value, out)
        }
    }
}

pub(super) fn deeper(depth: u8) -> Result<u8> {
    depth.checked_sub(1).ok_or_else(|| corrupt("a JSON document nested deeper than the server allows"))
}

/// Appends a value that is no container (which are printed as empty).
pub(super) fn append_scalar(value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => {
            if number < 0 {
                out.push(b'-');
            }
            append_digits(number.unsigned_abs(), out);
        }
        Value::UInt(number) => append_digits(number, out),
        Value::Double(number) => append_double(number, out)?,
        Value::String(text) => append_quoted(text, out),
        Value::Opaque { kind, data } => append_opaque(kind, data, out)?,
        Value::Object(_) => out.extend_from_slice(b"{}"),
        Value::Array(_) => out.extend_from_slice(b"[]"),
    }
    Ok(())
}

#[inline]
fn append_digits(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
        first -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// `my_gcvt` with all digits: the shortest that read back as the same number, with an exponent where
/// the point would stand more than 15 places away; and `.0` where nothing shows that it is a double.
fn append_double(number: f64, out: &mut Vec<u8>) -> Result<()> {
    const POINT_MAX: i32 = 15;
    if !number.is_finite() {
        return Err(corrupt("a double in JSON that is not finite"));
    }
    let mut buffer = [0u8; 32];
    let (digits, exponent) = shortest_digits(number.abs(), &mut buffer)
        .ok_or_else(|| corrupt("a double in JSON that cannot be printed"))?;
    if number.is_sign_negative() {
        out.push(b'-');
    }
    // The number is 0.d₁d₂… × 10^point.
    let point = exponent + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if !(-POINT_MAX + 1..=POINT_MAX).contains(&point) {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, &[]));
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'e');
        if exponent < 0 {
            out.push(b'-');
        }
        append_digits(u64::from(exponent.unsigned_abs()), out);
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        append_zeros(-point, out);
        out.extend_from_slice(digits);
    } else if point < count {
        let (whole, fraction) =
            digits.split_at_checked(usize::try_from(point).unwrap_or(0)).unwrap_or((digits, &[]));
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(digits);
        append_zeros(point - count, out);
        out.extend_from_slice(b".0");
    }
    Ok(())
}

fn append_zeros(count: i32, out: &mut Vec<u8>) {
    out.resize(out.len() + usize::try_from(count).unwrap_or(0), b'0');
}

/// Digits d₁d₂… and exponent of d₁.d₂… × 10^exponent: the fewest that tell the number.
fn shortest_digits(number: f64, buffer: &mut [u8; 32]) -> Option<(&[u8], i32)> {
    let mut printed = ryu::Buffer::new();
    let printed = printed.format_finite(number);
    let (mantissa, exponent) = match printed.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (printed, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut used = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        *buffer.get_mut(used)? = digit;
        used += 1;
    }
    let all = buffer.get(..used)?;
    let zeros = all.iter().take_while(|digit| **digit == b'0').count();
    if zeros == used {
        return Some((b"0", 0));
    }
    let kept = used - all.iter().rev().take_while(|digit| **digit == b'0').count();
    let point = i32::try_from(whole.len()).ok()? - i32::try_from(zeros).ok()?;
    Some((buffer.get(zeros..kept)?, exponent + point - 1))
}

/// Appends a string as JSON quotes it (`double_quote` of json_dom.cc).
pub(super) fn append_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    append_escaped(text, out);
    out.push(b'"');
}

fn append_escaped(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text;
    while let Some(special) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let (plain, after) = rest.split_at(special);
        out.extend_from_slice(plain);
        let Some((byte, after)) = after.split_first() else { return };
        out.push(b'\\');
        match byte {
            b'"' | b'\\' => out.push(*byte),
            0x08 => out.push(b'b'),
            0x0C => out.push(b'f'),
            b'\n' => out.push(b'n'),
            b'\r' => out.push(b'r'),
            b'\t' => out.push(b't'),
            _ => {
                out.extend_from_slice(b"u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn append_opaque(kind: u8, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let packed =
        || <[u8; 8]>::try_from(data).map_err(|_| corrupt(format!("a time in JSON of {} bytes", data.len())));
    match kind {
        TYPE_NEWDECIMAL => {
            let mut data = Cursor::new(data);
            let [precision, scale] = data.array()?;
            // Computed decimals have more digits than a column's 65, and a scale beyond its 30: nine words of nine digits.
            if precision > 81 || scale > precision {
                return Err(corrupt(format!("a DECIMAL({precision},{scale}) in JSON")));
            }
            return Format::new(precision, scale).append_text(data.rest(), out);
        }
        TYPE_DATE => {
            let civil = Civil::packed(packed()?)?;
            out.push(b'"');
            civil.append_date(out);
        }
        TYPE_DATETIME | TYPE_TIMESTAMP => {
            let civil = Civil::packed(packed()?)?;
            out.push(b'"');
            civil.append_datetime(6, out);
        }
        TYPE_TIME => {
            let span = Span::packed(packed()?)?;
            out.push(b'"');
            span.append_text(6, out);
        }
        _ => {
            out.extend_from_slice(b"\"base64:type");
            append_digits(u64::from(kind), out);
            out.push(b':');
            append_base64(data, out);
        }
    }
    out.push(b'"');
    Ok(())
}

fn append_base64(data: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const GROUPS_PER_LINE: usize = 19;
    for (index, group) in data.chunks(3).enumerate() {
        if index > 0 && index % GROUPS_PER_LINE == 0 {
            // A line break, escaped as in any JSON string.
            out.extend_from_slice(b"\\n");
        }
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place) & 63).to_le_bytes()[0];
            out.push(if place <= group.len() { ALPHABET[usize::from(sextet)] } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        append_text(bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn double(number: f64) -> String {
        let mut bytes = vec![11];
        bytes.extend_from_slice(&number.to_le_bytes());
        text(&bytes)
    }

    #[test]
    fn doubles_are_printed_as_the_server_prints_them() {
        for (number, shown) in [
            (1.0, "1.0"),
            (1e20, "1e20"),
            (1e15, "1e15"),
            (1e14, "100000000000000.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (1e-14, "0.00000000000001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (1.5e-16, "1.5e-16"),
            (-0.0, "-0.0"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
            (123_456_789.125, "123456789.125"),
        ] {
            assert_eq!(double(number), shown);
        }
    }

    #[test]
    fn a_document_is_printed_in_stored_order() {
        // {"a": "x", "bb": [1, null]}, small format.
        let bytes = [
            0, 2, 0, 35, 0, 18, 0, 1, 0, 19, 0, 2, 0, 12, 21, 0, 2, 23, 0, b'a', b'b', b'b', 1, b'x', 2, 0,
            10, 0, 5, 1, 0, 4, 0, 0, 0, 0,
        ];
        assert_eq!(text(&bytes), r#"{"a": "x", "bb": [1, null]}"#);
    }

    #[test]
    fn overlapping_and_deep_documents_are_refused() {
        // An array whose elements are all the array itself.
        let bytes = [2, 2, 0, 10, 0, 2, 0, 0, 2, 0, 0];
        assert!(append_text(&bytes, &mut Vec::new()).is_err());
        for cut in 0..bytes.len() {
            assert!(append_text(&bytes[..cut], &mut Vec::new()).is_err() || cut == 0);
        }
    }
}
