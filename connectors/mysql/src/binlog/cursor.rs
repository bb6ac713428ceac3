//! Reads a slice front to back. Every read is checked: bytes that are not there are an error, never
//! a panic, so whatever a damaged event claims about its own lengths is harmless.

use lakeward_core::{Error, ErrorKind, Result};

/// The rest of a slice, and what it is, for errors.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Begins at the front of `bytes`, which are `what`.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Cursor { rest: bytes, what }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or_else(|| {
            Error::new(
                ErrorKind::CorruptEvent,
                format!("{} ends early: {n} bytes wanted, {} left", self.what, self.rest.len()),
            )
        })?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// `n` (at most 8) bytes, little-endian.
    pub fn uint(&mut self, n: usize) -> Result<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A length-encoded integer (MySQL internals manual, "Protocol::LengthEncodedInteger").
    pub fn length_encoded(&mut self) -> Result<u64> {
        match self.u8()? {
            small @ 0..=0xfa => Ok(small.into()),
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.u64(),
            first @ (0xfb | 0xff) => Err(self.corrupt(format!("{first:#x} does not begin a length"))),
        }
    }

    /// A length-encoded integer that counts bytes or items of this slice.
    pub fn length(&mut self) -> Result<usize> {
        let length = self.length_encoded()?;
        usize::try_from(length).map_err(|_| self.corrupt(format!("length {length}")))
    }

    /// A string after its length-encoded length.
    pub fn length_encoded_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// A variable-length integer of the MySQL serialization library: the number of trailing ones of
    /// the first byte says how many bytes follow (MySQL source documentation,
    /// "PageLibsMysqlSerialization").
    pub fn varlen(&mut self) -> Result<u64> {
        let first = self.u8()?;
        match first.trailing_ones() {
            8 => self.u64(),
            more => {
                let high = self.uint(more as usize)?;
                Ok(u64::from(first) >> (more + 1) | high << (7 - more))
            }
        }
    }

    /// A signed variable-length integer of the MySQL serialization library: its lowest bit is the sign.
    pub fn varlen_signed(&mut self) -> Result<i64> {
        let raw = self.varlen()?;
        let magnitude = (raw >> 1).cast_signed();
        Ok(if raw & 1 == 0 { magnitude } else { !magnitude })
    }

    /// An error that says these bytes are damaged.
    pub fn corrupt(&self, how: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::CorruptEvent, format!("{} is damaged: {how}", self.what))
    }

    /// An error unless everything was read.
    pub fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(self.corrupt(format!("{n} bytes too many"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varlen_integers_are_read_at_every_width() {
        // value << 1, width bits below: from the library's own description.
        let cases: &[(&[u8], u64)] = &[
            (&[0b1111_1110], 127),
            (&[0b0000_0001, 0b0000_0010], 128),
            (&[0xfd, 0xff], 16383),
            (&[0x03, 0x00, 0x02], 16384),
            (&[0x7f, 1, 0, 0, 0, 0, 0, 0], 1),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], u64::MAX),
        ];
        for (bytes, value) in cases {
            let mut cursor = Cursor::new(bytes, "test");
            assert_eq!(cursor.varlen().unwrap(), *value, "{bytes:x?}");
            cursor.finish().unwrap();
        }
        assert_eq!(Cursor::new(&[0b0000_0010], "test").varlen_signed().unwrap(), -1);
    }

    #[test]
    fn missing_bytes_are_an_error_that_says_what_ended() {
        let error = Cursor::new(&[1], "a rotate event").u64().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptEvent);
        assert!(error.to_string().contains("a rotate event ends early"), "{error}");
        assert!(Cursor::new(&[0xff], "x").length_encoded().is_err());
    }
}
