//! An entry for fuzzing: arbitrary bytes as events of the log.
//!
//! Shows that damaged events are errors: no panic, and no more memory than the limit for one event and
//! a decompressor's window.

use lakeward_core::Result;

use super::event::{Event, Header, Rotate};
use super::gtid_event::{GtidEvent, previous_gtids};
use super::payload::Payload;
use super::query::Query;
use super::stream::{EventStream, FileStream};
use super::table_map::{TableMap, table_id, table_name};
use super::transaction::{Assembler, Step};
use crate::rows::RowsEvent;

/// Bytes of one event at most.
const EVENT_MAX: u64 = 1 << 20;

/// Feeds `data` to every parser of this module: as a file, as events one after the other without
/// checksums (so that damage reaches more than the checksum's check), and as the body of each event
/// that has one. Returns how many events without checksums were understood (a compressed transaction
/// as one, with all it holds); a caller with real events sees by it that they get that far.
pub fn fuzz(data: &[u8]) -> usize {
    // Errors are what is expected of most inputs; what matters is that they are returned.
    drop(file(data));
    bodies(data);
    events(data)
}

/// Framing and checksums, from the bytes after a file's first four on or from its very first.
fn file(data: &[u8]) -> Result<()> {
    const MAGIC: &[u8] = &[0xfe, b'b', b'i', b'n'];
    let with_magic = [MAGIC, data].concat();
    let input = if data.starts_with(MAGIC) { data } else { &with_magic };
    let mut stream = FileStream::new(input, EVENT_MAX)?;
    let mut assembler = Assembler::new(false, false);
    while let Some(event) = stream.next()? {
        understand(&mut assembler, event, false)?;
    }
    Ok(())
}

/// The parsers of bodies that stand in no table map or rows event.
fn bodies(data: &[u8]) {
    drop(Query::parse(data).map(|query| query.statement(true)));
    drop(Query::parse_load(data).map(|query| query.statement(false)));
    drop(GtidEvent::parse(data, false));
    drop(GtidEvent::parse(data, true));
    drop(GtidEvent::parse_tagged(data));
    drop(previous_gtids(data));
    drop(Rotate::parse(data));
}

/// Events one after the other; one that is an error does not end the walk, as its size tells the next.
fn events(mut rest: &[u8]) -> usize {
    let mut assembler = Assembler::new(true, false);
    let mut understood = 0;
    while let Ok(header) = Header::parse(rest) {
        let Some((event, after)) = rest.split_at_checked(header.size as usize) else { break };
        rest = after;
        match Event::inner(event).and_then(|event| understand(&mut assembler, event, false)) {
            Ok(()) => understood += 1,
            Err(_) => assembler.reset(),
        }
    }
    understood
}

/// Reads an event and all that it holds.
fn understand(assembler: &mut Assembler, event: Event<'_>, inner: bool) -> Result<()> {
    let step = if inner { assembler.accept_inner(event)? } else { assembler.accept(event)? };
    match step {
        Step::TableMap(event) => {
            table_id(&event)?;
            table_name(&event)?;
            let map = TableMap::parse(&event)?;
            map.types()?;
            map.structure()?;
        }
        Step::Rows(event) => {
            RowsEvent::parse(event.header.code, event.post_header, event.body)?;
        }
        Step::Payload(body) => {
            let mut payload = Payload::open(body, EVENT_MAX)?;
            while let Some(event) = payload.next_event()? {
                understand(assembler, event, true)?;
            }
            assembler.payload_ended()?;
        }
        Step::Nothing
        | Step::PassedOver(_)
        | Step::Rotate { .. }
        | Step::PreviousGtids(_)
        | Step::Heartbeat
        | Step::Statement { .. }
        | Step::RolledBackTo
        | Step::RolledBack
        | Step::Ended
        | Step::Prepared
        | Step::Decided { .. } => {}
    }
    Ok(())
}
