//! Values of varying length, one after the other, with the offsets that Arrow wants.

use lakeward_core::{Error, ErrorKind, Result};

/// Above this a buffer grows to exactly what it needs: doubling would hold twice a huge value.
const EXACT_GROWTH_ABOVE: usize = 4 << 20;

/// Bytes of all values and where each ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

#[cold]
fn too_many_bytes() -> Error {
    let message = "the values of one column in one batch exceed 2 GiB, which Arrow's offsets cannot address";
    Error::new(ErrorKind::UnreadableValue, message)
}

impl Strings {
    /// Makes room for `len` more bytes. A value longer than the offsets can address fails here, before
    /// anything is copied.
    #[inline]
    pub(super) fn reserve(&mut self, len: usize) -> Result<()> {
        let needed = self.bytes.len().saturating_add(len);
        if needed > EXACT_GROWTH_ABOVE && needed > self.bytes.capacity() {
            if i32::try_from(needed).is_err() {
                return Err(too_many_bytes());
            }
            self.bytes.reserve_exact(len.max(self.bytes.len() / 4));
        }
        Ok(())
    }

    /// Appends a value.
    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) -> Result<()> {
        self.reserve(value.len())?;
        self.bytes.extend_from_slice(value);
        self.close()
    }

    /// Appends a value of at least `width` bytes, filled up with zeros.
    pub(super) fn push_padded(&mut self, value: &[u8], width: usize) -> Result<()> {
        let end = self.bytes.len() + value.len().max(width);
        self.bytes.extend_from_slice(value);
        self.bytes.resize(end, 0);
        self.close()
    }

    /// Appends what `write` appends, as one value.
    #[inline]
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        write(&mut self.bytes)?;
        self.close()
    }

    #[inline]
    fn close(&mut self) -> Result<()> {
        let end = i32::try_from(self.bytes.len()).map_err(|_| too_many_bytes())?;
        self.ends.push(end);
        Ok(())
    }

    /// Drops all values from the `rows`-th on, and an unfinished one.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        let end = self.ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0));
        self.bytes.truncate(end);
    }

    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len()
    }

    /// Offsets, with the leading zero, and bytes.
    pub(super) fn take(&mut self) -> (Vec<i32>, Vec<u8>) {
        let mut offsets = std::mem::take(&mut self.ends);
        offsets.insert(0, 0);
        (offsets, std::mem::take(&mut self.bytes))
    }
}
