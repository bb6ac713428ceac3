//! Avro's binary form straight into a byte buffer.

use crate::format::codec::Put;

/// Puts Avro values at the end of a buffer.
pub(crate) struct Avro<'a> {
    pub(crate) out: &'a mut Vec<u8>,
}

/// The first type of a union with null: no value.
pub(crate) const NULL: u8 = 0;
/// The second type of a union with null: index 1.
pub(crate) const SOME: u8 = 2;

/// Appends a number: zigzag, seven bits a byte, the lowest first.
#[inline]
pub(crate) fn push_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Appends bytes or text with its length.
#[inline]
pub(crate) fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    // A slice is at most `isize::MAX` bytes long.
    push_long(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(bytes);
}

impl Put for Avro<'_> {
    #[inline]
    fn holds_null_anywhere(&self) -> bool {
        false
    }

    #[inline]
    fn null(&mut self) {
        self.out.push(NULL);
    }

    #[inline]
    fn present(&mut self, optional: bool) {
        if optional {
            self.out.push(SOME);
        }
    }

    #[inline]
    fn boolean(&mut self, value: bool) {
        self.out.push(value.into());
    }

    #[inline]
    fn int(&mut self, value: i64) {
        push_long(value, self.out);
    }

    #[inline]
    fn float(&mut self, value: f32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn double(&mut self, value: f64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn text(&mut self, value: &str) {
        push_bytes(value.as_bytes(), self.out);
    }

    #[inline]
    fn plain(&mut self, value: &[u8]) {
        push_bytes(value, self.out);
    }

    #[inline]
    fn bytes(&mut self, value: &[u8]) {
        push_bytes(value, self.out);
    }

    fn geometry(&mut self, wkb: &[u8], srid: Option<i32>) {
        push_bytes(wkb, self.out);
        match srid {
            Some(srid) => {
                self.out.push(SOME);
                push_long(srid.into(), self.out);
            }
            None => self.out.push(NULL),
        }
    }

    fn floats(&mut self, values: &[f32]) {
        if !values.is_empty() {
            push_long(i64::try_from(values.len()).unwrap_or(i64::MAX), self.out);
            for value in values {
                self.float(*value);
            }
        }
        self.out.push(0);
    }
}
