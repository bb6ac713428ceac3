//! Bytes read from front to back, every read checked.

use lakeward_core::{Error, ErrorKind, Result};

/// What is left to read of a byte string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

#[cold]
fn cut_short() -> Error {
    Error::new(ErrorKind::CorruptEvent, "the event ends in the middle of a field")
}

/// An error for bytes that no server writes.
#[cold]
pub(super) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptEvent, message)
}

/// An error for a value that cannot be read exactly.
#[cold]
pub(super) fn unreadable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnreadableValue, message)
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A little-endian number of `width` bytes, 1 to 8.
    #[inline]
    pub(crate) fn uint(&mut self, width: u8) -> Result<u64> {
        Ok(match width {
            1 => u64::from(self.u8()?),
            2 => u64::from(self.u16()?),
            4 => u64::from(self.u32()?),
            8 => self.u64()?,
            _ => self
                .take(usize::from(width.min(8)))?
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        })
    }

    /// A byte string behind its length of `width` bytes.
    #[inline]
    pub(crate) fn prefixed(&mut self, width: u8) -> Result<&'a [u8]> {
        let len = self.uint(width)?;
        self.take(usize::try_from(len).map_err(|_| cut_short())?)
    }

    /// A length-encoded integer (Protocol::LengthEncodedInteger).
    pub(crate) fn packed(&mut self) -> Result<u64> {
        match self.u8()? {
            small @ 0..=250 => Ok(u64::from(small)),
            252 => self.uint(2),
            253 => self.uint(3),
            254 => self.u64(),
            251 | 255 => Err(corrupt("a length that no server writes")),
        }
    }

    /// A length-encoded integer that counts bytes or columns in memory.
    pub(crate) fn packed_len(&mut self) -> Result<usize> {
        usize::try_from(self.packed()?).map_err(|_| cut_short())
    }
}

/// Whether bit `index`, counted from the lowest bit of the first byte, is set.
#[inline]
pub(super) fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index >> 3).is_some_and(|byte| byte >> (index & 7) & 1 == 1)
}
