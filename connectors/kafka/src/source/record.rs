//! What a record says of itself beside its value: its headers.
//!
//! A record without a value and without `seq` is a tombstone: it takes an offset and is no event. All else without
//! the headers that capture writes is a stranger's, and never passed over in silence.

use std::str::FromStr;

use lakeward_core::{MarkReason, Op};

use super::dead_letters::Letter;
use super::partition_queue::Record;

/// What the headers of a change event say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its number.
    pub(super) seq: i64,
    /// The version of its table.
    pub(super) version: u32,
    /// What happened.
    pub(super) what: What,
}

/// A change of a row, or a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Row(Op),
    Mark(MarkReason),
}

impl Told {
    /// Whether its number was reserved before those around it were given: the mark that ends a whole re-read.
    pub(super) fn is_reserved(&self) -> bool {
        self.what == What::Mark(MarkReason::Reread)
    }
}

/// A record that is an event, or a stranger's.
pub(super) struct Event {
    pub(super) record: Record,
    /// What its headers say, or what is wrong with them.
    pub(super) told: Result<Told, String>,
    /// It has no number, so capture neither wrote nor counted it.
    pub(super) strange: bool,
}

impl Event {
    /// `None` for a tombstone.
    pub(super) fn of(record: Record) -> Option<Event> {
        let said = Said::of(record.headers());
        let strange = said.seq.is_none();
        let told = told(said, record.value().is_some()).transpose()?;
        Some(Event { record, told, strange })
    }

    pub(super) fn offset(&self) -> i64 {
        self.record.offset()
    }

    pub(super) fn value(&self) -> &[u8] {
        self.record.value().unwrap_or_default()
    }

    /// It as a dead letter of this topic partition.
    pub(super) fn letter<'a>(&'a self, topic: &'a str, number: i32) -> Letter<'a> {
        Letter { topic, number, record: &self.record }
    }
}

/// The headers that capture writes.
#[derive(Clone, Copy, Default)]
struct Said<'m> {
    op: Option<&'m [u8]>,
    seq: Option<&'m [u8]>,
    version: Option<&'m [u8]>,
    reason: Option<&'m [u8]>,
}

impl<'m> Said<'m> {
    /// In one pass: this is done for every record.
    fn of(headers: impl Iterator<Item = (&'m [u8], Option<&'m [u8]>)>) -> Said<'m> {
        let mut said = Said::default();
        for (name, value) in headers {
            match name {
                b"op" => said.op = value,
                b"seq" => said.seq = value,
                b"version" => said.version = value,
                b"reason" => said.reason = value,
                _ => {}
            }
        }
        said
    }
}

fn told(said: Said<'_>, has_value: bool) -> Result<Option<Told>, String> {
    if said.seq.is_none() && !has_value {
        return Ok(None);
    }
    let seq = number("seq", said.seq)?;
    let version = number("version", said.version)?;
    let what = match required("op", said.op)? {
        b"c" => What::Row(Op::Create),
        b"u" => What::Row(Op::Update),
        b"d" => What::Row(Op::Delete),
        b"r" => What::Row(Op::Read),
        b"t" => match required("reason", said.reason)? {
            b"truncate" => What::Mark(MarkReason::Truncate),
            b"reread" => What::Mark(MarkReason::Reread),
            other => return Err(wrong("reason", other)),
        },
        other => return Err(wrong("op", other)),
    };
    if !has_value {
        return Err("the record has no value".to_owned());
    }
    Ok(Some(Told { seq, version, what }))
}

fn required<'m>(name: &str, value: Option<&'m [u8]>) -> Result<&'m [u8], String> {
    value.ok_or_else(|| format!("the record has no header `{name}`: capture did not write it"))
}

fn number<T: FromStr>(name: &str, value: Option<&[u8]>) -> Result<T, String> {
    let value = required(name, value)?;
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| wrong(name, value))
}

fn wrong(name: &str, value: &[u8]) -> String {
    format!("the record's header `{name}` holds `{}`", String::from_utf8_lossy(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)], has_value: bool) -> Result<Option<Told>, String> {
        let said = Said::of(headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))));
        told(said, has_value)
    }

    #[test]
    fn headers_tell_the_event_and_a_stranger_is_told() {
        let row = [("op", "u"), ("seq", "7"), ("version", "2")];
        let told = Told { seq: 7, version: 2, what: What::Row(Op::Update) };
        assert_eq!(of(&row, true), Ok(Some(told)));
        let mark = [("op", "t"), ("seq", "7"), ("version", "2"), ("reason", "reread")];
        assert!(of(&mark, true).unwrap().unwrap().is_reserved());
        assert_eq!(of(&[], false), Ok(None), "a tombstone");
        for (headers, value) in [
            (vec![], true),
            (vec![("op", "u"), ("seq", "7"), ("version", "2")], false),
            (vec![("op", "x"), ("seq", "7"), ("version", "2")], true),
            (vec![("op", "u"), ("seq", "-"), ("version", "2")], true),
            (vec![("op", "t"), ("seq", "7"), ("version", "2")], true),
        ] {
            assert!(of(&headers, value).is_err(), "{headers:?}");
        }
    }
}
