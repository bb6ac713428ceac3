//! Compressed transactions (`binlog_transaction_compression`), unrolled as a stream.
//!
//! Guarantee: every byte that the server compressed comes out as part of an event, or the stream
//! stops. Why: the sizes of the inner events must add up to the declared uncompressed size, the
//! decompressor must be at its end there, and each event is handed on whole or not at all.
//! Memory: the decompressor's window (at most 128 MiB by zstd's own default limit, in practice that
//! of MySQL's level, 8 MiB) and the largest inner event, never the transaction.
//!
//! Source: MySQL source documentation, `Transaction_payload_event`.

use std::io::{BufRead, BufReader, Read};

use lakeward_core::{Error, ErrorKind, Result};

use super::cursor::Cursor;
use super::event::{Event, HEADER_LEN, Header};

/// The inner events of a payload event.
pub struct Payload<'a> {
    input: Box<dyn BufRead + 'a>,
    /// Bytes still to come by the declared size.
    left: u64,
    max_event: u64,
    event: Vec<u8>,
}

impl<'a> Payload<'a> {
    /// Opens the body of a payload event. An inner event above `max_event` bytes is refused.
    pub fn open(body: &'a [u8], max_event: u64) -> Result<Payload<'a>> {
        let fields = Fields::parse(body)?;
        let input: Box<dyn BufRead + 'a> = match fields.compression {
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(fields.payload).map_err(damaged)?;
                Box::new(BufReader::with_capacity(1 << 17, decoder))
            }
            Compression::None => Box::new(fields.payload),
        };
        Ok(Payload { input, left: fields.uncompressed_size, max_event, event: Vec::new() })
    }

    /// Gives back the memory of the event that was read last.
    pub fn let_go(&mut self) {
        self.event = Vec::new();
    }

    /// The next inner event; `None` after the last.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>> {
        if self.left == 0 {
            return match self.input.fill_buf().map_err(damaged)? {
                [] => Ok(None),
                _ => Err(corrupt("more bytes than its declared size")),
            };
        }
        let mut head = [0; HEADER_LEN];
        self.input.read_exact(&mut head).map_err(damaged)?;
        let size = u64::from(Header::parse(&head)?.size);
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| corrupt(format!("an event of {size} bytes passes its declared size")))?;
        if size > self.max_event {
            return Err(too_large(size, self.max_event));
        }
        // Read as it comes, not allocated up front: a size that lies costs nothing.
        self.event.clear();
        self.event.extend_from_slice(&head);
        let rest = size - HEADER_LEN as u64;
        let read = (&mut self.input).take(rest).read_to_end(&mut self.event).map_err(damaged)?;
        if read as u64 != rest {
            return Err(corrupt(format!("it ends {} bytes early", rest - read as u64)));
        }
        Event::inner(&self.event).map(Some)
    }
}

enum Compression {
    Zstd,
    None,
}

struct Fields<'a> {
    compression: Compression,
    uncompressed_size: u64,
    payload: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Fields of type, length, value; the type 0 ends them and the payload follows.
    fn parse(body: &'a [u8]) -> Result<Fields<'a>> {
        let mut cursor = Cursor::new(body, "a transaction payload event");
        let (mut size, mut compression, mut uncompressed) = (None, None, None);
        loop {
            let field = cursor.length_encoded()?;
            if field == 0 {
                break;
            }
            let value = Cursor::new(cursor.length_encoded_bytes()?, "a transaction payload event")
                .length_encoded()?;
            match field {
                1 => size = Some(value),
                2 => compression = Some(value),
                3 => uncompressed = Some(value),
                other => {
                    return Err(Error::new(
                        ErrorKind::UnsupportedEvent,
                        format!("a transaction payload event with the unknown field {other}"),
                    ));
                }
            }
        }
        let payload = cursor.rest();
        let compression = match compression {
            Some(0) => Compression::Zstd,
            Some(255) => Compression::None,
            Some(other) => {
                return Err(Error::new(
                    ErrorKind::UnsupportedEvent,
                    format!("a transaction payload compressed by the unknown method {other}"),
                ));
            }
            None => return Err(cursor.corrupt("it names no compression")),
        };
        if size != Some(payload.len() as u64) {
            return Err(cursor.corrupt(format!("{} bytes of payload, {size:?} declared", payload.len())));
        }
        let declared = match compression {
            Compression::Zstd => uncompressed,
            Compression::None => uncompressed.or(size),
        };
        let uncompressed_size = declared.ok_or_else(|| cursor.corrupt("it declares no uncompressed size"))?;
        Ok(Fields { compression, uncompressed_size, payload })
    }
}

fn corrupt(how: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::CorruptEvent, format!("a compressed transaction is damaged: {how}"))
}

fn damaged(error: std::io::Error) -> Error {
    Error::new(ErrorKind::CorruptEvent, "a compressed transaction cannot be unrolled").caused_by(error)
}

/// The error for an event above the limit.
pub(crate) fn too_large(size: u64, limit: u64) -> Error {
    Error::new(
        ErrorKind::EventTooLarge,
        format!("an event of {size} bytes, above the limit of {limit} bytes"),
    )
    .remedy("raise source.mysql.max_event if the machine has three times that memory to spare")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::sample;

    fn sizes(body: &[u8]) -> Result<Vec<usize>> {
        let mut payload = Payload::open(body, 1 << 20)?;
        let mut sizes = Vec::new();
        while let Some(event) = payload.next_event()? {
            sizes.push(event.body.len());
        }
        Ok(sizes)
    }

    #[test]
    fn inner_events_come_out_whole() {
        let events: Vec<u8> =
            [sample::event(2, &[1; 100]), sample::event(30, &[2; 70_000]), sample::event(16, &[3; 8])]
                .concat();
        for compression in [0, 255] {
            let body = sample::payload(&events, compression, events.len() as u64);
            assert_eq!(sizes(&body).unwrap(), [100, 70_000, 8]);
        }
    }

    #[test]
    fn sizes_that_do_not_add_up_are_refused() {
        let events = [sample::event(2, &[1; 100]), sample::event(16, &[3; 8])].concat();
        for wrong in [events.len() as u64 - 1, events.len() as u64 + 1, 27, 0, u64::MAX] {
            let error = sizes(&sample::payload(&events, 0, wrong)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptEvent, "{error}");
        }
        let mut body = sample::payload(&events, 0, events.len() as u64);
        body.push(0);
        assert!(sizes(&body).is_err());
    }

    #[test]
    fn an_inner_event_above_the_limit_is_refused_before_it_is_read() {
        let events = sample::event(30, &vec![0; 2 << 20]);
        let error = sizes(&sample::payload(&events, 0, events.len() as u64)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EventTooLarge);
    }

    #[test]
    fn no_damage_panics_and_damage_to_the_data_is_seen() {
        let events = [sample::event(2, &[1; 100]), sample::event(30, &[2; 999])].concat();
        let body = sample::payload(&events, 0, events.len() as u64);
        for at in 0..body.len() {
            for bit in 0..8 {
                let mut damaged = body.clone();
                damaged[at] ^= 1 << bit;
                // The outer checksum is what proves the content; here only: no panic, no endless loop.
                let _outcome = sizes(&damaged);
            }
            assert!(sizes(&body[..at]).is_err(), "cut at {at}");
        }
    }
}
