//! Walks over the bytes of a JSON document, without a tree.
//!
//! It reads what RFC 8259 allows, and stops at the first byte that it does not. Values that are passed over
//! are checked only as far as their end has to be found.

use lakeward_core::{Error, Result};

use super::text::{is_special, position};
use crate::format::codec::Take;
use crate::format::options::BinaryMode;
use crate::format::{bytes, unreadable};

/// A place in a document.
pub(crate) struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
    /// The last text that had escapes, and the last bytes.
    scratch: Vec<u8>,
}

/// A text: part of the document, or in the scratch.
enum Text {
    Borrowed { from: usize, to: usize },
    Unescaped,
}

impl<'a> Cursor<'a> {
    /// Begins at the beginning, with the room of an earlier cursor.
    pub(crate) fn new(input: &'a [u8], scratch: Vec<u8>) -> Self {
        Cursor { input, at: 0, scratch }
    }

    /// Gives its room back.
    pub(crate) fn into_scratch(self) -> Vec<u8> {
        self.scratch
    }

    /// The byte that follows white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.input.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Passes over `byte` if it follows.
    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[cold]
    fn expected(&self, what: &str) -> Error {
        unreadable(format!("JSON: {what} is expected at byte {}", self.at))
    }

    #[inline]
    fn must(&mut self, byte: u8, what: &str) -> Result<()> {
        match self.eat(byte) {
            true => Ok(()),
            false => Err(self.expected(what)),
        }
    }

    /// Passes over exactly these bytes if they follow.
    #[inline]
    pub(crate) fn eat_all(&mut self, bytes: &[u8]) -> bool {
        let found = self.input.get(self.at..).is_some_and(|rest| rest.starts_with(bytes));
        if found {
            self.at += bytes.len();
        }
        found
    }

    /// Where it stands.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to where it stood.
    pub(crate) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Whether `byte` follows.
    pub(crate) fn sees(&mut self, byte: u8) -> bool {
        self.peek() == Some(byte)
    }

    /// The bytes since `from`.
    pub(crate) fn since(&self, from: usize) -> &'a [u8] {
        self.input.get(from..self.at).unwrap_or_default()
    }

    /// Reads an object: `field` is given each name and must take its value.
    pub(crate) fn object(&mut self, field: impl FnMut(&mut Self, &[u8]) -> Result<()>) -> Result<()> {
        self.must(b'{', "an object")?;
        if self.eat(b'}') {
            return Ok(());
        }
        self.fields(field)
    }

    /// The same from behind a field on.
    pub(crate) fn rest_of_object(&mut self, field: impl FnMut(&mut Self, &[u8]) -> Result<()>) -> Result<()> {
        match self.eat(b',') {
            true => self.fields(field),
            false => self.must(b'}', "a comma or the end of an object"),
        }
    }

    /// Reads the fields of an object, of which there is one at least, and its end.
    fn fields(&mut self, mut field: impl FnMut(&mut Self, &[u8]) -> Result<()>) -> Result<()> {
        loop {
            self.peek();
            match self.text_place()? {
                Text::Borrowed { from, to } => {
                    let name = self.input.get(from..to).unwrap_or_default();
                    self.must(b':', "a colon")?;
                    field(self, name)?;
                }
                Text::Unescaped => {
                    let name = std::mem::take(&mut self.scratch);
                    self.must(b':', "a colon")?;
                    field(self, &name)?;
                }
            }
            if !self.eat(b',') {
                return self.must(b'}', "a comma or the end of an object");
            }
        }
    }

    /// Reads an array: `element` must take each value.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.must(b'[', "an array")?;
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.eat(b',') {
                return self.must(b']', "a comma or the end of an array");
            }
        }
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end")),
        }
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self) -> Result<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => self.skip_text()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                    let rest = self.input.get(self.at..).unwrap_or_default();
                    let length = rest.iter().position(|byte| !is_of_scalar(*byte));
                    self.at += length.unwrap_or(rest.len());
                }
                _ => return Err(self.expected("a value")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn skip_text(&mut self) -> Result<()> {
        self.at += 1;
        loop {
            let rest = self.input.get(self.at..).unwrap_or_default();
            let Some(length) = position(rest, |byte| (byte == b'"') | (byte == b'\\')) else {
                return Err(self.expected("the end of a text"));
            };
            self.at += length + 1;
            if rest.get(length) == Some(&b'"') {
                return Ok(());
            }
            self.at += 1;
        }
    }

    /// Reads a text up to its closing quote.
    fn text_place(&mut self) -> Result<Text> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a text"));
        }
        self.at += 1;
        let from = self.at;
        let rest = self.input.get(from..).unwrap_or_default();
        match position(rest, is_special).and_then(|length| Some((length, rest.get(length)?))) {
            Some((length, b'"')) => {
                self.at = from + length + 1;
                Ok(Text::Borrowed { from, to: from + length })
            }
            Some((length, b'\\')) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(rest.get(..length).unwrap_or_default());
                self.at = from + length;
                self.unescape()?;
                Ok(Text::Unescaped)
            }
            _ => Err(self.expected("the end of a text")),
        }
    }

    /// Reads the rest of a text, from its first escape on, into the scratch.
    fn unescape(&mut self) -> Result<()> {
        loop {
            let rest = self.input.get(self.at..).unwrap_or_default();
            let Some(length) = position(rest, is_special) else {
                return Err(self.expected("the end of a text"));
            };
            self.scratch.extend_from_slice(rest.get(..length).unwrap_or_default());
            self.at += length + 1;
            match rest.get(length) {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                _ => return Err(self.expected("no control character")),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let letter = self.input.get(self.at).copied();
        self.at += 1;
        let byte = match letter {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b't') => 9,
            Some(b'n') => 10,
            Some(b'f') => 12,
            Some(b'r') => 13,
            Some(b'u') => return self.code_point(),
            _ => return Err(self.expected("an escape")),
        };
        self.scratch.push(byte);
        Ok(())
    }

    fn code_point(&mut self) -> Result<()> {
        let first = self.code_unit()?;
        let code = match first {
            0xD800..=0xDBFF if self.eat_all(b"\\u") => {
                let second = self.code_unit()?;
                match second {
                    0xDC00..=0xDFFF => 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    _ => return Err(self.expected("the second half of a character")),
                }
            }
            code => code,
        };
        let Some(character) = char::from_u32(code) else { return Err(self.expected("a whole character")) };
        let mut buffer = [0; 4];
        self.scratch.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        Ok(())
    }

    fn code_unit(&mut self) -> Result<u32> {
        let digits = self.input.get(self.at..self.at + 4).unwrap_or_default();
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 4);
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.expected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    /// The text of a number, true, false or null.
    #[inline]
    fn scalar(&mut self) -> &'a [u8] {
        self.peek();
        let rest = self.input.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_of_scalar(*byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T> {
        let text = std::str::from_utf8(self.scalar()).ok();
        // Rust reads more than JSON allows: names of what is no number.
        let text = text.filter(|text| text.bytes().next_back().is_some_and(|last| last.is_ascii_digit()));
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.expected("a number"))
    }
}

#[inline]
fn is_of_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

impl Take for Cursor<'_> {
    #[inline]
    fn null(&mut self) -> Result<bool> {
        Ok(self.peek() == Some(b'n') && self.eat_all(b"null"))
    }

    fn boolean(&mut self) -> Result<bool> {
        match self.scalar() {
            // Debezium's snapshots write numbers, what it reads from the log is true or false.
            b"true" | b"1" => Ok(true),
            b"false" | b"0" => Ok(false),
            _ => Err(self.expected("true or false")),
        }
    }

    #[inline]
    fn int(&mut self) -> Result<i64> {
        self.peek();
        let negative = self.eat_all(b"-");
        let rest = self.input.get(self.at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 && !negative {
            // A column that the source declares as BOOLEAN: see `boolean`.
            for (text, value) in [(&b"true"[..], 1), (b"false", 0)] {
                if self.eat_all(text) {
                    return Ok(value);
                }
            }
        }
        if digits == 0 || digits > 19 || rest.get(digits).is_some_and(|byte| is_of_scalar(*byte)) {
            return Err(self.expected("a whole number of 64 bits"));
        }
        let digit = |value: u64, byte: &u8| value * 10 + u64::from(byte - b'0');
        // 19 digits are below 10^19, which 64 bits hold.
        let value = rest.iter().take(digits).fold(0, digit);
        let signed = match negative {
            true => 0_i64.checked_sub_unsigned(value),
            false => i64::try_from(value).ok(),
        };
        let signed = signed.ok_or_else(|| self.expected("a whole number of 64 bits"))?;
        self.at += digits;
        Ok(signed)
    }

    fn float(&mut self) -> Result<f32> {
        self.number()
    }

    fn double(&mut self) -> Result<f64> {
        self.number()
    }

    fn text(&mut self) -> Result<&str> {
        let bytes = match self.text_place()? {
            Text::Borrowed { from, to } => self.input.get(from..to).unwrap_or_default(),
            Text::Unescaped => &self.scratch,
        };
        std::str::from_utf8(bytes).map_err(|_| unreadable("a text that is not UTF-8"))
    }

    fn bytes(&mut self) -> Result<&[u8]> {
        match self.text_place()? {
            Text::Borrowed { from, to } => {
                let text = self.input.get(from..to).unwrap_or_default();
                bytes::read(BinaryMode::Bytes, text, &mut self.scratch)?;
            }
            Text::Unescaped => {
                let text = std::mem::take(&mut self.scratch);
                bytes::read(BinaryMode::Bytes, &text, &mut self.scratch)?;
            }
        }
        Ok(&self.scratch)
    }

    fn geometry(&mut self) -> Result<(&[u8], Option<i32>)> {
        let mut srid = None;
        let mut wkb = None;
        self.object(|cursor, name| match name {
            b"wkb" => {
                wkb = Some(cursor.bytes()?.to_vec());
                Ok(())
            }
            b"srid" => {
                srid = match cursor.null()? {
                    true => None,
                    false => Some(cursor.number()?),
                };
                Ok(())
            }
            _ => cursor.skip(),
        })?;
        self.scratch = wkb.ok_or_else(|| self.expected("a geometry with `wkb`"))?;
        Ok((&self.scratch, srid))
    }

    fn floats(&mut self, into: &mut Vec<f32>) -> Result<()> {
        self.array(|cursor| {
            into.push(cursor.float()?);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(text: &str) -> Cursor<'_> {
        Cursor::new(text.as_bytes(), Vec::new())
    }

    #[test]
    fn texts_are_read_with_their_escapes() {
        let text = r#" "a\"\\\/\b\f\n\r\t\u00e9\ud834\udd1e" "#;
        assert_eq!(cursor(text).text().unwrap(), "a\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1d11e}");
        for wrong in ["\"a", "\"\\x\"", "\"\\ud834\"", "\"\\u00g0\"", "\"\n\"", "1", "\"\\ud834\\u0041\""] {
            assert!(cursor(wrong).text().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_read_whole_or_refused() {
        assert_eq!(cursor("-9223372036854775808").int().unwrap(), i64::MIN);
        assert_eq!(cursor("9223372036854775807").int().unwrap(), i64::MAX);
        for wrong in ["9223372036854775808", "1.0", "1e3", "-", "", "12345678901234567890123", "x"] {
            assert!(cursor(wrong).int().is_err(), "{wrong}");
        }
        assert_eq!(cursor("1.5E-3").double().unwrap(), 0.0015);
        for wrong in ["inf", "nan", "infinity", "", "1.", "-"] {
            assert!(cursor(wrong).double().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_passed_over_to_their_end() {
        for text in ["1", "null", r#"{"a":[1,{"b":"]}\"\\"}],"c":-1e5}"#, "[]", r#""x\\""#] {
            let mut cursor = cursor(text);
            cursor.skip().unwrap();
            cursor.end().unwrap();
        }
        for wrong in ["{", "[1", "\"", "", "}"] {
            assert!(cursor(wrong).skip().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tail in r#"[\[\]{}",:\\0-9a-u -]{0,20}"#) {
            for input in [bytes.as_slice(), tail.as_bytes()] {
                let mut cursor = Cursor::new(input, Vec::new());
                prop_assert!(cursor.skip().is_ok() || cursor.at() <= input.len() + 2);
                let mut cursor = Cursor::new(input, Vec::new());
                let read = cursor.object(|cursor, _| cursor.text().map(|_| ()));
                prop_assert!(read.is_ok() || read.is_err());
            }
        }

        #[test]
        fn numbers_come_back(value: f64, single: f32, int: i64) {
            prop_assume!(value.is_finite() && single.is_finite());
            prop_assert_eq!(cursor(&serde_json::to_string(&value).unwrap()).double().unwrap(), value);
            prop_assert_eq!(cursor(&serde_json::to_string(&single).unwrap()).float().unwrap(), single);
            prop_assert_eq!(cursor(&int.to_string()).int().unwrap(), int);
        }
    }
}
