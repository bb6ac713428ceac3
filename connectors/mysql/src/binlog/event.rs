//! Framing: the common header, the event types, the format description, the checksum.
//!
//! Guarantee: bytes that reach a parser are the bytes the server wrote, because each event's CRC32
//! is verified here before anything else looks at it (where the server writes checksums; with
//! `binlog_checksum=NONE` only lengths can be checked). Why: every stream hands out events through
//! [`Format::check`], and [`Event`] has no other constructor but [`Event::inner`], for events of a
//! compressed transaction, whose payload was covered by the outer event's checksum.
//!
//! Sources: MySQL source documentation, "Binlog Event" (`page_protocol_replication_binlog_event`)
//! and `libs/mysql/binlog/event/binlog_event.h`.

use lakeward_core::{Error, ErrorKind, Result};

use super::cursor::Cursor;

/// Bytes of the common header.
pub const HEADER_LEN: usize = 19;
/// Bytes of a checksum.
const CHECKSUM_LEN: usize = 4;
/// The event may be passed over by a reader that does not know it.
const FLAG_IGNORABLE: u16 = 0x80;
/// The event was made up by the server for this connection; it has no place in the file.
const FLAG_ARTIFICIAL: u16 = 0x20;
/// The file was open when its first event was written; not covered by the checksum.
const FLAG_IN_USE: u16 = 0x1;

macro_rules! event_types {
    ($($code:literal $name:ident $role:ident,)*) => {
        /// The event types of MySQL up to 9.7.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventType { $(#[doc = concat!("Code ", stringify!($code), ".")] $name,)* }

        impl EventType {
            /// All of them.
            pub const ALL: &[EventType] = &[$(EventType::$name,)*];

            /// The type of a code; `None` for codes that MySQL 9.7 does not have.
            pub fn of(code: u8) -> Option<Self> {
                match code { $($code => Some(EventType::$name),)* _ => None }
            }

            /// Its code.
            pub fn code(self) -> u8 { match self { $(EventType::$name => $code,)* } }

            /// Its name, for counters and errors.
            pub fn name(self) -> &'static str { match self { $(EventType::$name => stringify!($name),)* } }

            /// What is done with it.
            pub fn role(self) -> Role { match self { $(EventType::$name => Role::$role,)* } }
        }
    };
}

/// What is done with events of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Understood and acted on.
    Acted,
    /// Changes no row by itself: counted and passed over.
    Benign,
    /// Not understood, or known to hide changes: stops the pipeline.
    Refused,
}

event_types! {
    0 Unknown Refused,
    1 StartV3 Refused,
    2 Query Acted,
    3 Stop Benign,
    4 Rotate Acted,
    5 IntVar Benign,
    6 Load Refused,
    7 Slave Refused,
    8 CreateFile Refused,
    9 AppendBlock Benign,
    10 ExecLoad Refused,
    11 DeleteFile Benign,
    12 NewLoad Refused,
    13 Rand Benign,
    14 UserVar Benign,
    15 FormatDescription Acted,
    16 Xid Acted,
    17 BeginLoadQuery Benign,
    18 ExecuteLoadQuery Acted,
    19 TableMap Acted,
    20 PreGaWriteRows Refused,
    21 PreGaUpdateRows Refused,
    22 PreGaDeleteRows Refused,
    23 WriteRowsV1 Acted,
    24 UpdateRowsV1 Acted,
    25 DeleteRowsV1 Acted,
    26 Incident Refused,
    27 Heartbeat Acted,
    28 Ignorable Benign,
    29 RowsQuery Benign,
    30 WriteRows Acted,
    31 UpdateRows Acted,
    32 DeleteRows Acted,
    33 Gtid Acted,
    34 AnonymousGtid Acted,
    35 PreviousGtids Acted,
    36 TransactionContext Benign,
    37 ViewChange Benign,
    38 XaPrepare Acted,
    39 PartialUpdateRows Acted,
    40 TransactionPayload Acted,
    41 HeartbeatV2 Acted,
    42 GtidTagged Acted,
}

/// The common header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970 when the statement began.
    pub timestamp: u32,
    /// Type code; see [`Header::event_type`].
    pub code: u8,
    /// `server_id` of the server that made it.
    pub server_id: u32,
    /// Bytes of the whole event, header and checksum included.
    pub size: u32,
    /// Offset of the next event modulo 2^32; 0 where the event has no place in a file.
    pub log_pos: u32,
    /// Flags.
    pub flags: u16,
}

impl Header {
    /// Reads a header.
    pub fn parse(bytes: &[u8]) -> Result<Header> {
        let mut cursor = Cursor::new(bytes, "an event header");
        let header = Header {
            timestamp: cursor.u32()?,
            code: cursor.u8()?,
            server_id: cursor.u32()?,
            size: cursor.u32()?,
            log_pos: cursor.u32()?,
            flags: cursor.u16()?,
        };
        if (header.size as usize) < HEADER_LEN {
            return Err(cursor.corrupt(format!("an event of {} bytes", header.size)));
        }
        Ok(header)
    }

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let parts: [&[u8]; 6] = [
            &self.timestamp.to_le_bytes(),
            &[self.code],
            &self.server_id.to_le_bytes(),
            &self.size.to_le_bytes(),
            &self.log_pos.to_le_bytes(),
            &self.flags.to_le_bytes(),
        ];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        bytes
    }

    /// Its type, where that is known.
    pub fn event_type(&self) -> Option<EventType> {
        EventType::of(self.code)
    }

    /// Whether the server made it up for this connection.
    pub fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0 || self.log_pos == 0
    }

    /// What to do with the event: an unknown type is refused unless its writer marked it ignorable.
    pub fn role(&self) -> Role {
        match self.event_type() {
            Some(known) => known.role(),
            None if self.flags & FLAG_IGNORABLE != 0 => Role::Benign,
            None => Role::Refused,
        }
    }

    /// The type's name; unknown types share one, as counters need a bounded set.
    pub fn name(&self) -> &'static str {
        self.event_type().map_or("UnknownIgnorable", EventType::name)
    }
}

/// A checked event: header and body, without the checksum.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The common header.
    pub header: Header,
    /// What follows it, post-header included.
    pub body: &'a [u8],
    /// Bytes of its type's post-header, as the file's format description declares them.
    pub post_header: usize,
}

/// Post-header length of a type in all servers since 5.1.16.
fn usual_post_header(code: u8) -> usize {
    match EventType::of(code) {
        Some(
            EventType::WriteRows
            | EventType::UpdateRows
            | EventType::DeleteRows
            | EventType::PartialUpdateRows,
        ) => 10,
        _ => 8,
    }
}

impl<'a> Event<'a> {
    /// An event of a compressed transaction: no checksum of its own. `bytes` is the whole event.
    pub fn inner(bytes: &'a [u8]) -> Result<Event<'a>> {
        let header = Header::parse(bytes)?;
        let body = bytes.get(HEADER_LEN..).unwrap_or_default();
        if header.size as usize != bytes.len() {
            return Err(Cursor::new(bytes, "an event of a compressed transaction").corrupt(format!(
                "{} bytes long, {} by its header",
                bytes.len(),
                header.size
            )));
        }
        Ok(Event { header, body, post_header: usual_post_header(header.code) })
    }
}

/// How the events of the current file are written, from its format description event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// Whether events end with a CRC32. Unknown before the first format description.
    checksum: Option<bool>,
    /// Post-header lengths by type code, from code 1.
    post_header: Vec<u8>,
    /// The server's version, as it wrote it.
    pub server_version: String,
}

impl Format {
    /// Checks an event's length and checksum and strips the latter. A format description event
    /// changes the format for itself and all that follow. `rest` is all that follows the header.
    pub fn check<'a>(&mut self, header: Header, rest: &'a [u8]) -> Result<Event<'a>> {
        check_length(header, rest.len())?;
        if header.event_type() == Some(EventType::FormatDescription) {
            return self.describe(header, rest);
        }
        // The rotate event that opens a connection comes before any format description and has a
        // checksum exactly if the server's current format has one.
        let body = match self.checksum {
            Some(true) => strip(header, rest)?,
            Some(false) => rest,
            None => strip(header, rest).unwrap_or(rest),
        };
        Ok(self.event(header, body))
    }

    /// As [`Format::check`], for an event whose checksum was taken off by the transport.
    pub fn check_split<'a>(&mut self, header: Header, body: &'a [u8], stored: [u8; 4]) -> Result<Event<'a>> {
        check_length(header, body.len() + CHECKSUM_LEN)?;
        verify(header, body, stored)?;
        Ok(self.event(header, body))
    }

    fn event<'a>(&self, header: Header, body: &'a [u8]) -> Event<'a> {
        let declared = usize::from(header.code).checked_sub(1).and_then(|at| self.post_header.get(at));
        let post_header = declared.map_or_else(|| usual_post_header(header.code), |len| usize::from(*len));
        Event { header, body, post_header }
    }

    fn describe<'a>(&mut self, header: Header, rest: &'a [u8]) -> Result<Event<'a>> {
        let mut cursor = Cursor::new(rest, "a format description event");
        let version = cursor.u16()?;
        let server_version = cursor.take(50)?;
        let _created = cursor.u32()?;
        let header_len = cursor.u8()?;
        if version != 4 || usize::from(header_len) != HEADER_LEN {
            return Err(Error::new(
                ErrorKind::UnsupportedEvent,
                format!("a binlog of version {version} with headers of {header_len} bytes"),
            ));
        }
        let text = server_version.split(|byte| *byte == 0).next().unwrap_or_default();
        self.server_version = String::from_utf8_lossy(text).into_owned();
        let lengths = cursor.rest();
        // Since 5.6.1 the event ends with the checksum algorithm and, whatever that is, a checksum.
        let (body, checksum) = if has_checksum_field(&self.server_version) {
            let (body, stored) = split(header, rest)?;
            let (algorithm, _) =
                body.split_last().ok_or_else(|| cursor.corrupt("it has no checksum algorithm"))?;
            let on = match algorithm {
                0 => false,
                1 => true,
                other => return Err(cursor.corrupt(format!("checksum algorithm {other}"))),
            };
            // Where a server begins within a file it takes place and time out of the event, and without checksums it
            // leaves that of the event as it was (`Binlog_sender::send_format_description_event`).
            if on || header.log_pos != 0 {
                verify(header, body, stored)?;
            }
            (body, on)
        } else {
            (rest, false)
        };
        self.checksum = Some(checksum);
        self.post_header = lengths.to_vec();
        Ok(Event { header, body, post_header: 0 })
    }
}

/// Servers from 5.6.1 on write a checksum algorithm into the format description.
fn has_checksum_field(server_version: &str) -> bool {
    let mut numbers =
        server_version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) >= (5, 6, 1)
}

fn check_length(header: Header, rest: usize) -> Result<()> {
    match rest + HEADER_LEN == header.size as usize {
        true => Ok(()),
        false => Err(Cursor::new(&[], header.name()).corrupt(format!(
            "{} bytes long, {} by its header",
            rest + HEADER_LEN,
            header.size
        ))),
    }
}

/// The body without its checksum, verified.
fn strip(header: Header, rest: &[u8]) -> Result<&[u8]> {
    let (body, stored) = split(header, rest)?;
    verify(header, body, stored)?;
    Ok(body)
}

fn split(header: Header, rest: &[u8]) -> Result<(&[u8], [u8; CHECKSUM_LEN])> {
    match rest.split_last_chunk::<CHECKSUM_LEN>() {
        Some((body, stored)) => Ok((body, *stored)),
        None => Err(Cursor::new(rest, header.name()).corrupt("it is too short for its checksum")),
    }
}

fn verify(header: Header, body: &[u8], stored: [u8; CHECKSUM_LEN]) -> Result<()> {
    let mut covered = header;
    if header.event_type() == Some(EventType::FormatDescription) {
        covered.flags &= !FLAG_IN_USE;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&covered.to_bytes());
    crc.update(body);
    let (computed, stored) = (crc.finalize(), u32::from_le_bytes(stored));
    match computed == stored {
        true => Ok(()),
        false => Err(Cursor::new(body, header.name())
            .corrupt(format!("its checksum is {stored:#010x}, its bytes give {computed:#010x}"))),
    }
}

/// Body of a rotate event: where the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// File name.
    pub file: String,
    /// Offset in it.
    pub offset: u64,
}

impl Rotate {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Rotate> {
        let mut cursor = Cursor::new(body, "a rotate event");
        let offset = cursor.u64()?;
        let file =
            std::str::from_utf8(cursor.rest()).map_err(|_| cursor.corrupt("its file name is not text"))?;
        if file.is_empty() {
            return Err(cursor.corrupt("it has no file name"));
        }
        Ok(Rotate { file: file.to_owned(), offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benign_list_is_exactly_these() {
        let benign: Vec<&str> =
            EventType::ALL.iter().filter(|ty| ty.role() == Role::Benign).map(|ty| ty.name()).collect();
        assert_eq!(
            benign,
            [
                "Stop",
                "IntVar",
                "AppendBlock",
                "DeleteFile",
                "Rand",
                "UserVar",
                "BeginLoadQuery",
                "Ignorable",
                "RowsQuery",
                "TransactionContext",
                "ViewChange"
            ]
        );
    }

    #[test]
    fn an_unknown_type_is_refused_unless_its_writer_marked_it_ignorable() {
        let header = |code, flags| Header { timestamp: 0, code, server_id: 0, size: 19, log_pos: 4, flags };
        assert_eq!(header(43, 0).role(), Role::Refused);
        assert_eq!(header(43, FLAG_IGNORABLE).role(), Role::Benign);
        assert_eq!(header(26, 0).role(), Role::Refused);
        assert_eq!(header(160, 0).role(), Role::Refused);
    }

    #[test]
    fn every_type_has_the_code_it_is_found_by() {
        for (code, ty) in EventType::ALL.iter().enumerate() {
            assert_eq!(usize::from(ty.code()), code);
            assert_eq!(EventType::of(ty.code()), Some(*ty));
        }
    }

    #[test]
    fn versions_before_the_checksum_field_are_known() {
        assert!(!has_checksum_field("5.5.62-log") && !has_checksum_field("5.6.0"));
        assert!(has_checksum_field("5.6.1") && has_checksum_field("9.7.4") && has_checksum_field("10.0.1"));
    }

    #[test]
    fn a_description_within_a_file_has_the_checksum_of_before_where_there_are_none() {
        let description = |algorithm: u8, log_pos: u32, created: u8| {
            let mut body = vec![4, 0];
            body.extend_from_slice(b"9.7.4");
            body.resize(52, 0);
            body.extend_from_slice(&[7, 0, 0, 0, 19, algorithm]);
            let size = u32::try_from(HEADER_LEN + body.len() + CHECKSUM_LEN).unwrap();
            let code = EventType::FormatDescription.code();
            let mut header = Header { timestamp: 0, code, server_id: 1, size, log_pos: 126, flags: 0 };
            let mut crc = crc32fast::Hasher::new();
            crc.update(&header.to_bytes());
            crc.update(&body);
            body[52] = created;
            header.log_pos = log_pos;
            body.extend_from_slice(&crc.finalize().to_le_bytes());
            Format::default().check(header, &body).map(|_| ())
        };
        for (algorithm, log_pos, created, is_right) in
            [(1, 126, 7, true), (0, 126, 7, true), (0, 0, 0, true), (1, 0, 0, false), (0, 126, 0, false)]
        {
            let checked = description(algorithm, log_pos, created);
            assert_eq!(checked.is_ok(), is_right, "{algorithm} {log_pos} {created}: {checked:?}");
        }
    }
}
