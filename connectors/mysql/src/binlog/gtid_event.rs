//! GTID events: plain (33), anonymous (34) and tagged (42), and the set that opens each file (35).
//!
//! Sources: MySQL source, `libs/mysql/binlog/event/control_events.h` (`Gtid_event`), the
//! serialization library's documentation ("PageLibsMysqlSerialization") for the tagged form, and
//! `Gtid_set::encode` for the sets.

use lakeward_core::{Gtid, GtidSet, Result};
use uuid::Uuid;

use super::cursor::Cursor;

/// What a GTID event says about its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GtidEvent {
    /// Its GTID; `None` for an anonymous one.
    pub gtid: Option<Gtid>,
    /// Commit time on the server we read, µs UTC; `None` from servers before 8.0.1.
    pub immediate_commit_us: Option<i64>,
    /// Commit time on the server where it began, µs UTC.
    pub original_commit_us: Option<i64>,
}

/// Says in a 7-byte timestamp that another one follows.
const MORE: u64 = 1 << 55;

impl GtidEvent {
    /// Reads a plain or anonymous GTID event.
    pub fn parse(body: &[u8], anonymous: bool) -> Result<GtidEvent> {
        let mut cursor = Cursor::new(body, "a GTID event");
        let _flags = cursor.u8()?;
        let uuid = Uuid::from_bytes(cursor.array()?);
        let number = cursor.u64()?;
        let (mut immediate, mut original) = (None, None);
        // 2: logical clocks follow (always, since 5.7.6); then, since 8.0.1, the commit times.
        if cursor.rest().first() == Some(&2) {
            cursor.take(17)?;
            if !cursor.is_empty() {
                let first = cursor.uint(7)?;
                let second = if first & MORE == 0 { first } else { cursor.uint(7)? };
                immediate = Some(first & !MORE);
                original = Some(second);
            }
        }
        let gtid = (!anonymous).then(|| Gtid { uuid, tag: String::new(), number });
        Self::checked(&cursor, gtid, immediate, original)
    }

    /// Reads a tagged GTID event: fields of the serialization library, each after its number.
    pub fn parse_tagged(body: &[u8]) -> Result<GtidEvent> {
        let mut cursor = Cursor::new(body, "a tagged GTID event");
        // The library writes its version as a varlen integer: 1 is the byte 2.
        if cursor.varlen()? != 1 {
            return Err(cursor.corrupt("an unknown serialization version"));
        }
        let size = cursor.varlen()?;
        if usize::try_from(size).ok() != Some(body.len()) {
            return Err(cursor.corrupt(format!("{} bytes long, {size} by its own count", body.len())));
        }
        let last_needed = cursor.varlen()?;
        let (mut uuid, mut number, mut tag) = (None, None, String::new());
        let (mut immediate, mut original) = (None, None);
        while !cursor.is_empty() {
            match cursor.varlen()? {
                0 | 8 | 9 | 10 | 11 => {
                    cursor.varlen()?;
                }
                1 => {
                    let mut bytes = [0u8; 16];
                    for byte in &mut bytes {
                        let value = cursor.varlen()?;
                        *byte = u8::try_from(value).map_err(|_| cursor.corrupt("its uuid"))?;
                    }
                    uuid = Some(Uuid::from_bytes(bytes));
                }
                2 => number = u64::try_from(cursor.varlen_signed()?).ok(),
                3 => {
                    let length = cursor.varlen()?;
                    let length = usize::try_from(length).map_err(|_| cursor.corrupt("its tag's length"))?;
                    let bytes = cursor.take(length)?;
                    tag = ascii_tag(&cursor, bytes)?;
                }
                4 | 5 => {
                    cursor.varlen_signed()?;
                }
                6 => immediate = Some(cursor.varlen()?),
                7 => original = Some(cursor.varlen()?),
                // Fields that came after 9.7 stand last; those that may be passed over have numbers
                // above the last needed one.
                field if field > last_needed => break,
                field => return Err(cursor.corrupt(format!("field {field} is not known"))),
            }
        }
        let (Some(uuid), Some(number)) = (uuid, number) else {
            return Err(cursor.corrupt("it names no transaction"));
        };
        Self::checked(&cursor, Some(Gtid { uuid, tag, number }), immediate, original.or(immediate))
    }

    fn checked(
        cursor: &Cursor<'_>,
        gtid: Option<Gtid>,
        immediate: Option<u64>,
        original: Option<u64>,
    ) -> Result<GtidEvent> {
        if gtid.as_ref().is_some_and(|gtid| gtid.number == 0 || gtid.number >= i64::MAX as u64) {
            return Err(cursor.corrupt("its transaction number"));
        }
        let micros = |value: Option<u64>| {
            // 0 stands for "not known".
            value.filter(|value| *value != 0).map(i64::try_from).transpose()
        };
        let (Ok(immediate_commit_us), Ok(original_commit_us)) = (micros(immediate), micros(original)) else {
            return Err(cursor.corrupt("its commit time"));
        };
        Ok(GtidEvent { gtid, immediate_commit_us, original_commit_us })
    }
}

fn ascii_tag(cursor: &Cursor<'_>, bytes: &[u8]) -> Result<String> {
    let valid = bytes.len() <= 32 && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match std::str::from_utf8(bytes) {
        Ok(text) if valid => Ok(text.to_ascii_lowercase()),
        _ => Err(cursor.corrupt("its tag")),
    }
}

/// Reads the set of a previous-GTIDs event: all transactions before its file.
pub fn previous_gtids(body: &[u8]) -> Result<GtidSet> {
    let mut cursor = Cursor::new(body, "a previous-GTIDs event");
    // The highest byte tells the format (1: with tags, since 8.3); the count moves up a byte then.
    let head = cursor.u64()?;
    let tagged = match head >> 56 {
        0 => false,
        1 => true,
        format => return Err(cursor.corrupt(format!("format {format}"))),
    };
    let count = if tagged { head << 8 >> 16 } else { head };
    let mut set = GtidSet::new();
    for _ in 0..count {
        let uuid = Uuid::from_bytes(cursor.array()?);
        let tag = if tagged {
            let length = usize::try_from(cursor.varlen()?).map_err(|_| cursor.corrupt("a tag's length"))?;
            let bytes = cursor.take(length)?;
            ascii_tag(&cursor, bytes)?
        } else {
            String::new()
        };
        for _ in 0..cursor.u64()? {
            let (start, end) = (cursor.u64()?, cursor.u64()?);
            if !set.insert_range(uuid, &tag, start, end) {
                return Err(cursor.corrupt(format!("the range {start}..{end}")));
            }
        }
    }
    cursor.finish()?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "11111111-1111-1111-1111-111111111111";

    #[test]
    fn a_plain_gtid_event_gives_both_commit_times() {
        let mut body = vec![0];
        body.extend([0x11; 16]);
        body.extend(7u64.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        body.extend(&(1_700_000_000_000_000u64 | MORE).to_le_bytes()[..7]);
        body.extend(&1_600_000_000_000_000u64.to_le_bytes()[..7]);
        body.extend([0xfb - 1, 0, 0, 0, 0]);
        let event = GtidEvent::parse(&body, false).unwrap();
        assert_eq!(event.gtid.unwrap().to_string(), format!("{A}:7"));
        assert_eq!(event.immediate_commit_us, Some(1_700_000_000_000_000));
        assert_eq!(event.original_commit_us, Some(1_600_000_000_000_000));
        assert_eq!(GtidEvent::parse(&body, true).unwrap().gtid, None);
        for cut in 0..41 {
            assert!(GtidEvent::parse(&body[..cut], false).is_err() || cut >= 25, "cut at {cut}");
        }
    }

    #[test]
    fn previous_gtids_are_read_with_and_without_tags() {
        let ranges = |tag: &[u8]| {
            let mut body = vec![0x11; 16];
            body.extend(tag);
            body.extend(2u64.to_le_bytes());
            for number in [1u64, 6, 8, 9] {
                body.extend(number.to_le_bytes());
            }
            body
        };
        let mut plain = 1u64.to_le_bytes().to_vec();
        plain.extend(ranges(&[]));
        assert_eq!(previous_gtids(&plain).unwrap().to_string(), format!("{A}:1-5:8"));
        let mut tagged = (1u64 << 56 | 2 << 8 | 1).to_le_bytes().to_vec();
        tagged.extend(ranges(&[0]));
        tagged.extend(ranges(&[3 << 1, b'r', b'e', b'd']));
        assert_eq!(previous_gtids(&tagged).unwrap().to_string(), format!("{A}:1-5:8:red:1-5:8"));
        assert!(previous_gtids(&tagged[..tagged.len() - 1]).is_err());
        let huge = u64::MAX.to_le_bytes();
        assert!(previous_gtids(&huge).is_err());
    }
}
