//! Where events come from: a server ([`ServerStream`]) or a file ([`FileStream`]).
//!
//! Guarantees: events come in the order of the log and checked ([`Format::check`]); a link that is
//! dead is noticed within the connection's read timeout, because heartbeats are asked for; an end of the stream that
//! the server did not mean as one is an error, so nobody takes a shutdown for the end of the log. Memory: the client
//! library holds an event twice while it is received (packet, event), we hold no further copy.
//!
//! Table maps, rotations and descriptions of formats the client library takes apart before we see, and check, their
//! bytes: what it refuses is told as `CorruptEvent`, as a checksum that does not fit is.
//!
//! Unknown: the client library panics on a length that lies about its packet. TCP's and TLS's own
//! checks make that unlikely; here it is caught and told as `CorruptEvent`. A length that is too large has the library
//! wait for the rest, which heartbeats fill: nothing wrong passes, and `/healthz` tells that nothing moves.

use std::fs::File;
use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, GtidSet, Result};
use mysql::prelude::Queryable;
use mysql::{BinlogDumpFlags, BinlogRequest, BinlogStream, Conn};
use uuid::Uuid;

use super::event::{Event, EventType, Format, HEADER_LEN, Header};
use super::payload::too_large;
use crate::connection::failure;

/// Checked events in the order of the log.
pub trait EventStream {
    /// The next event; waits for it. `None` at an orderly end (a file's).
    fn next(&mut self) -> Result<Option<Event<'_>>>;
}

/// Where a server is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// After all of these transactions (COM_BINLOG_DUMP_GTID).
    GtidSet(GtidSet),
    /// At an event of a file (COM_BINLOG_DUMP, which has 32 bits for the offset).
    File {
        /// File name.
        file: String,
        /// Offset of the first event.
        offset: u32,
    },
}

/// Who we are to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// How long the server is silent at most: it then sends a heartbeat. Also how long the last rows
    /// before a silence wait for their boundary.
    pub heartbeat: Duration,
    /// `server_id`, unlike that of all other replicas.
    pub server_id: u32,
    /// Our uuid. The server ends an older dump for the same one: our own dead link's.
    pub uuid: Uuid,
}

/// The events of a server.
pub struct ServerStream {
    stream: Option<BinlogStream>,
    format: Format,
    event: Option<mysql::binlog::events::Event>,
    /// A format description event, put together again.
    whole: Vec<u8>,
    max_event: u64,
    held: HeldMaps,
}

/// Table maps that the client library holds: each that it saw, by its table's id, until a file ends.
#[derive(Debug, Default)]
struct HeldMaps {
    newest: u64,
    bytes: u64,
}

impl HeldMaps {
    /// What the library holds of a map beside its bytes, about.
    const OVERHEAD: u64 = 400;

    /// A map, whose body begins with its table's id. The server counts ids up: a lower one is of a table that it has
    /// had open, of which it has a limited number (`table_definition_cache`).
    fn note(&mut self, size: u32, body: &[u8]) {
        let id = body.iter().take(6).rev().fold(0, |id, byte| (id << 8) | u64::from(*byte));
        if id > self.newest {
            self.newest = id;
            self.bytes += u64::from(size) + Self::OVERHEAD;
        }
    }
}

impl ServerStream {
    /// Begins a dump on `conn`, which is used up by it.
    pub fn open(mut conn: Conn, from: &From, replica: Replica, max_event: u64) -> Result<ServerStream> {
        let period = replica.heartbeat.as_nanos();
        let uuid = replica.uuid;
        // Both spellings: servers before 8.0.26 know only the second.
        conn.query_drop(format!(
            "SET @source_heartbeat_period = {period}, @master_heartbeat_period = {period}, \
             @replica_uuid = '{uuid}', @slave_uuid = '{uuid}', \
             @source_binlog_checksum = @@global.binlog_checksum"
        ))
        .map_err(|error| failure(error, "SET @source_heartbeat_period"))?;
        let request = BinlogRequest::new(replica.server_id);
        let request = match from {
            From::GtidSet(set) => request
                .with_use_gtid(true)
                // Bit 2 asks for heartbeats with 64-bit offsets (USE_HEARTBEAT_EVENT_V2).
                .with_flags(BinlogDumpFlags::BINLOG_THROUGH_POSITION)
                .with_sids(
                    // The library does not export the type of these; its text form it does.
                    sids(set)
                        .iter()
                        .map(|sid| sid.parse())
                        .collect::<std::io::Result<Vec<_>>>()
                        .map_err(|error| Error::new(ErrorKind::Bug, "a GTID set").caused_by(error))?,
                ),
            From::File { file, offset } => {
                request.with_filename(file.clone().into_bytes()).with_pos(u64::from(*offset))
            }
        };
        let stream = conn.get_binlog_stream(request).map_err(|error| failure(error, "COM_BINLOG_DUMP"))?;
        Ok(ServerStream {
            stream: Some(stream),
            format: Format::default(),
            event: None,
            whole: Vec::new(),
            max_event,
            held: HeldMaps::default(),
        })
    }

    /// Bytes of table maps that the client library holds, about. They are free when the stream is opened anew.
    pub fn held_bytes(&self) -> u64 {
        self.held.bytes
    }
}

impl EventStream for ServerStream {
    fn next(&mut self) -> Result<Option<Event<'_>>> {
        let Some(stream) = self.stream.as_mut() else { return Err(disconnected()) };
        // The stream is dropped after a panic, so nothing sees its broken inside.
        let Ok(received) = catch_unwind(AssertUnwindSafe(|| stream.next())) else {
            self.stream = None;
            return Err(Error::new(ErrorKind::CorruptEvent, "an event's length does not fit its packet"));
        };
        let event = match received {
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                self.stream = None;
                return Err(refused(error));
            }
            None => {
                self.stream = None;
                return Err(disconnected());
            }
        };
        let raw = event.header();
        let header = Header {
            timestamp: raw.timestamp(),
            code: raw.event_type_raw(),
            server_id: raw.server_id(),
            size: raw.event_size(),
            log_pos: raw.log_pos(),
            flags: raw.flags_raw(),
        };
        if u64::from(header.size) > self.max_event {
            return Err(too_large(header.size.into(), self.max_event));
        }
        let event = self.event.insert(event);
        let (body, stored) = (event.data(), event.checksum());
        match header.event_type() {
            Some(EventType::TableMap) => self.held.note(header.size, body),
            Some(EventType::Rotate) if !header.is_artificial() => self.held = HeldMaps::default(),
            _ => {}
        }
        if header.event_type() == Some(EventType::FormatDescription) {
            // The library took off the algorithm and the checksum; they are checked with the rest.
            self.whole.clear();
            self.whole.extend_from_slice(body);
            if let Ok(Some(algorithm)) = event.footer().get_checksum_alg() {
                self.whole.push(algorithm as u8);
                self.whole.extend_from_slice(&stored.unwrap_or_default());
            }
            return self.format.check(header, &self.whole).map(Some);
        }
        match stored {
            Some(stored) => self.format.check_split(header, body, stored).map(Some),
            None => self.format.check(header, body).map(Some),
        }
    }
}

/// The set in pieces of one server and tag.
fn sids(set: &GtidSet) -> Vec<String> {
    set.intervals()
        .map(|(uuid, tag, intervals)| {
            let mut text = uuid.to_string();
            if !tag.is_empty() {
                text.push(':');
                text.push_str(tag);
            }
            for (start, end) in intervals {
                text.push_str(&format!(":{start}-{}", end - 1));
            }
            text
        })
        .collect()
}

/// What the library says in place of an event. It tells troubles of the link as errors of its packets, and the link's
/// end as a broken pipe; any other I/O error is that of an event whose bytes it cannot take apart.
fn refused(error: mysql::Error) -> Error {
    match error {
        mysql::Error::IoError(io) if io.kind() != std::io::ErrorKind::BrokenPipe => {
            Error::new(ErrorKind::CorruptEvent, "an event cannot be taken apart").caused_by(io)
        }
        link => failure(link, "reading the binlog"),
    }
}

fn disconnected() -> Error {
    Error::new(ErrorKind::SourceUnreachable, "the MySQL server ended the stream")
}

/// The events of a binlog file.
pub struct FileStream<R> {
    input: R,
    format: Format,
    rest: Vec<u8>,
    max_event: u64,
}

/// First bytes of a binlog file.
const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

impl FileStream<BufReader<File>> {
    /// Opens a file.
    pub fn open(path: &Path, max_event: u64) -> Result<Self> {
        let file = File::open(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot open {}", path.display())).caused_by(error)
        })?;
        Self::new(BufReader::new(file), max_event)
    }
}

impl<R: Read> FileStream<R> {
    /// Reads a binlog file from its beginning.
    pub fn new(mut input: R, max_event: u64) -> Result<Self> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic).map_err(cut)?;
        if magic != MAGIC {
            return Err(Error::new(
                ErrorKind::UnsupportedEvent,
                format!("not a binlog file: it begins with {magic:02x?} (encrypted files cannot be read)"),
            ));
        }
        Ok(FileStream { input, format: Format::default(), rest: Vec::new(), max_event })
    }
}

impl<R: Read> EventStream for FileStream<R> {
    fn next(&mut self) -> Result<Option<Event<'_>>> {
        let mut head = [0; HEADER_LEN];
        let first = self.input.read(&mut head).map_err(cut)?;
        if first == 0 {
            return Ok(None);
        }
        self.input.read_exact(head.get_mut(first..).unwrap_or_default()).map_err(cut)?;
        let header = Header::parse(&head)?;
        let size = u64::from(header.size);
        if size > self.max_event {
            return Err(too_large(size, self.max_event));
        }
        self.rest.clear();
        let rest = size - HEADER_LEN as u64;
        (&mut self.input).take(rest).read_to_end(&mut self.rest).map_err(cut)?;
        self.format.check(header, &self.rest).map(Some)
    }
}

fn cut(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => ErrorKind::CorruptEvent,
        _ => ErrorKind::Io,
    };
    Error::new(kind, "a binlog file cannot be read to its end").caused_by(error)
}

/// Where the stream stands: the file and the offset of the next event in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File name.
    pub file: Arc<str>,
    /// Offset of the next event; 64 bits, where the events' own `log_pos` wraps at 4 GiB.
    pub offset: u64,
}

impl Place {
    /// Passes an event.
    ///
    /// Its size and its `log_pos` (the end of the event modulo 2^32) agree unless the server left
    /// out events in between, as it does with transactions that we have; then `log_pos` decides.
    /// Unknown: a gap of more than 4 GiB inside one file, which only GTIDs can make; they, not the
    /// offset, then say where to resume.
    pub fn pass(&mut self, header: &Header) {
        if header.is_artificial() {
            return;
        }
        match header.event_type() {
            Some(EventType::Heartbeat | EventType::HeartbeatV2) => {}
            _ => self.offset = not_before(self.offset.saturating_add(header.size.into()), header.log_pos),
        }
    }
}

/// The least offset from `least` on whose low 32 bits are `log_pos`.
fn not_before(least: u64, log_pos: u32) -> u64 {
    let gap = log_pos.wrapping_sub(least as u32);
    least.saturating_add(gap.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_pass_4_gib_and_gaps() {
        let header = |size, log_pos| Header { timestamp: 0, code: 30, server_id: 1, size, log_pos, flags: 0 };
        let mut place = Place { file: "f".into(), offset: 4 };
        place.pass(&header(100, 104));
        assert_eq!(place.offset, 104);
        place.pass(&header(100, 1000));
        assert_eq!(place.offset, 1000);
        place.offset = (1 << 32) - 10;
        place.pass(&header(100, 90));
        assert_eq!(place.offset, (1 << 32) + 90);
        place.pass(&header(100, 0));
        assert_eq!(place.offset, (1 << 32) + 90, "an artificial event has no place");
    }
}
