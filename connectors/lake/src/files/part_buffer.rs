//! Cuts the bytes of a file into parts of the store's size.

use std::io::{self, Write};
use std::sync::Arc;

use super::budget::{Budget, Held};
use super::upload::{Piece, Pieces};

/// A writer that sends each full part on its way and holds at most one.
pub(super) struct PartBuffer {
    size: usize,
    buffer: Vec<u8>,
    held: Held,
    budget: Arc<Budget>,
    pieces: Pieces,
}

impl PartBuffer {
    pub(super) fn new(size: usize, budget: &Arc<Budget>, pieces: Pieces) -> Self {
        PartBuffer { size, buffer: Vec::new(), held: budget.hold(0), budget: Arc::clone(budget), pieces }
    }

    /// Memory it holds, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room at once for what is about to be written, so that the buffer does not double.
    pub(super) fn expect(&mut self, bytes: usize) {
        let room = bytes.min(self.size.saturating_sub(self.buffer.len()));
        self.buffer.reserve_exact(room);
        self.held.set(self.buffer.capacity());
    }

    /// Sends what is left as the last part, then the end.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.send()?;
        }
        self.pieces.send(Piece::End).map_err(|_| gone())
    }

    fn send(&mut self) -> io::Result<()> {
        let body = std::mem::take(&mut self.buffer);
        let held = std::mem::replace(&mut self.held, self.budget.hold(0));
        self.pieces.send(Piece::Part(body.into(), held)).map_err(|_| gone())
    }
}

/// The upload has ended with an error, which tells more than this one.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the upload has ended")
}

impl Write for PartBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.size.saturating_sub(self.buffer.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() >= self.size {
            self.send()?;
        } else if self.buffer.capacity() != self.held.bytes() {
            self.held.set(self.buffer.capacity());
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lakeward_core::ByteSize;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn every_part_but_the_last_is_full_and_no_byte_is_lost() {
        let budget = Budget::new(ByteSize(1 << 20), Arc::default());
        let (pieces, mut received) = unbounded_channel();
        let mut buffer = PartBuffer::new(1000, &budget, pieces);
        let bytes: Vec<u8> = (0..4321_u32).map(|n| (n % 251) as u8).collect();
        buffer.expect(5000);
        for chunk in bytes.chunks(333) {
            buffer.write_all(chunk).unwrap();
        }
        buffer.end().unwrap();
        let mut parts = Vec::new();
        while let Ok(Piece::Part(body, held)) = received.try_recv() {
            assert!(held.bytes() >= body.len());
            parts.push(body);
        }
        assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [1000, 1000, 1000, 1000, 321]);
        assert_eq!(parts.concat(), bytes);
    }
}
