//! JSON straight into a byte buffer.

use super::text::{is_special, position};
use crate::format::bytes;
use crate::format::codec::Put;
use crate::format::options::BinaryMode;

/// Puts JSON values at the end of a buffer.
pub(crate) struct Json<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    /// The records tell their schema, which says where a value must be.
    pub(crate) schemas: bool,
}

/// How a byte is escaped: 0: not; `u`: in hexadecimal; else behind a backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[8] = b'b';
    table[9] = b't';
    table[10] = b'n';
    table[12] = b'f';
    table[13] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends a text in quotes.
pub(crate) fn push_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(place) = position(rest, is_special) {
        let (clean, tail) = rest.split_at(place);
        out.extend_from_slice(clean);
        let Some((byte, tail)) = tail.split_first() else { break };
        match escape(*byte) {
            b'u' => {
                let digit = |digit: u8| b"0123456789abcdef".get(usize::from(digit)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[inline]
fn escape(byte: u8) -> u8 {
    ESCAPES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Appends a whole number.
#[inline]
pub(crate) fn push_int(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut place = digits.len();
    let mut rest = value.unsigned_abs();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
        place = at;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(place..).unwrap_or_default());
}

/// Appends a float in as few digits as tell it. MySQL has no others than finite ones; those would be null.
fn push_float(value: impl serde::Serialize, out: &mut Vec<u8>) {
    let length = out.len();
    if serde_json::to_writer(&mut *out, &value).is_err() {
        out.truncate(length);
        out.extend_from_slice(b"null");
    }
}

impl Put for Json<'_> {
    #[inline]
    fn holds_null_anywhere(&self) -> bool {
        !self.schemas
    }

    #[inline]
    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    #[inline]
    fn present(&mut self, _: bool) {}

    #[inline]
    fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    #[inline]
    fn int(&mut self, value: i64) {
        push_int(value, self.out);
    }

    #[inline]
    fn float(&mut self, value: f32) {
        push_float(value, self.out);
    }

    #[inline]
    fn double(&mut self, value: f64) {
        push_float(value, self.out);
    }

    #[inline]
    fn text(&mut self, value: &str) {
        push_text(value, self.out);
    }

    #[inline]
    fn plain(&mut self, value: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(value);
        self.out.push(b'"');
    }

    #[inline]
    fn bytes(&mut self, value: &[u8]) {
        self.out.push(b'"');
        bytes::push(BinaryMode::Bytes, value, self.out);
        self.out.push(b'"');
    }

    fn geometry(&mut self, wkb: &[u8], srid: Option<i32>) {
        self.out.extend_from_slice(b"{\"wkb\":");
        self.bytes(wkb);
        self.out.extend_from_slice(b",\"srid\":");
        match srid {
            Some(srid) => self.int(srid.into()),
            None => self.null(),
        }
        self.out.push(b'}');
    }

    fn floats(&mut self, values: &[f32]) {
        self.out.push(b'[');
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            self.float(*value);
        }
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_json(text: String, control in "[\u{0}-\u{1f}\"\\\\a]{0,8}", number: i64) {
            for text in [text, control] {
                let mut out = Vec::new();
                push_text(&text, &mut out);
                prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            }
            let mut out = Vec::new();
            push_int(number, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_written() {
        for value in [i64::MIN, i64::MAX, 0] {
            let mut out = Vec::new();
            push_int(value, &mut out);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
