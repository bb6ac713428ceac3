//! Debezium's envelope as JSON, with or without its schema part, into columns.

use lakeward_core::{Op, Result};

use super::cursor::Cursor;
use super::write::push_text;
use crate::format::codec::Take;
use crate::format::envelope::{Source, note, note_row};
use crate::format::gathered::Gathered;
use crate::format::layout::{Field, Layout};
use crate::format::{Received, unreadable};

/// Reads records of one table version.
pub(crate) struct JsonReader {
    /// What stands before each value of an image that is written as ours are: all columns in their order, no white space.
    heads: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    source: LastSource,
}

/// The `source` of the last record, up to its row's number and behind it: mostly the next one has the same.
#[derive(Default)]
struct LastSource {
    before_row: Vec<u8>,
    after_row: Vec<u8>,
}

/// What an envelope was seen to hold.
#[derive(Default)]
struct Seen {
    image: bool,
    /// The row's number, if its origin is that of the row before.
    number: Option<u32>,
    source: Option<OwnedSource>,
}

struct OwnedSource {
    gtid: Option<String>,
    file: String,
    rest: Source<'static>,
}

impl JsonReader {
    pub(crate) fn new(layout: &Layout) -> JsonReader {
        let head = |(place, field): (usize, &Field)| {
            let mut head = vec![if place == 0 { b'{' } else { b',' }];
            push_text(&field.name, &mut head);
            head.push(b':');
            head
        };
        let heads = layout.fields.iter().enumerate().map(head).collect();
        JsonReader { heads, scratch: Vec::new(), source: LastSource::default() }
    }

    /// Takes a record.
    pub(crate) fn push(&mut self, record: &Received<'_>, into: &mut Gathered) -> Result<()> {
        let mut cursor = Cursor::new(record.value, std::mem::take(&mut self.scratch));
        let mut seen = Seen::default();
        let read = self
            .envelope(&mut cursor, record.op, into, &mut seen)
            .and_then(|()| cursor.end())
            .and_then(|()| self.key_only(record, into, &seen))
            .and_then(|()| into.must_be_whole())
            .and_then(|()| seen.note(record.op, into));
        self.scratch = cursor.into_scratch();
        if read.is_err() {
            // What was remembered may be of this record, whose origin is not noted.
            self.source = LastSource::default();
        }
        into.end(record.op, record.seq, read)
    }

    fn envelope(
        &mut self,
        cursor: &mut Cursor<'_>,
        op: Op,
        into: &mut Gathered,
        seen: &mut Seen,
    ) -> Result<()> {
        cursor.object(|cursor, name| match name {
            b"before" => self.before(cursor, op, into, seen),
            b"after" if op != Op::Delete => {
                seen.image = true;
                self.image(cursor, into, false)
            }
            b"source" => self.source.read(cursor, into, seen),
            b"op" => match cursor.text()? == op.letter() {
                true => Ok(()),
                false => Err(unreadable("the envelope's `op` is not that of the headers")),
            },
            b"payload" => self.envelope(cursor, op, into, seen),
            _ => cursor.skip(),
        })
    }

    fn before(
        &mut self,
        cursor: &mut Cursor<'_>,
        op: Op,
        into: &mut Gathered,
        seen: &mut Seen,
    ) -> Result<()> {
        if cursor.null()? {
            return Ok(());
        }
        match op {
            Op::Delete => {
                seen.image = true;
                let at = cursor.at();
                self.image(cursor, into, false)?;
                if into.before.is_some() {
                    cursor.back_to(at);
                    self.image(cursor, into, true)?;
                }
                Ok(())
            }
            Op::Update if into.before.is_some() => self.image(cursor, into, true),
            Op::Update | Op::Create | Op::Read | Op::Truncate => cursor.skip(),
        }
    }

    /// Takes a row's image.
    fn image(&self, cursor: &mut Cursor<'_>, into: &mut Gathered, before: bool) -> Result<()> {
        let mut likely = 0;
        while self.heads.get(likely).is_some_and(|head| cursor.eat_all(head)) {
            value(cursor, into, before, likely)?;
            likely += 1;
        }
        let began = likely > 0;
        let other = |cursor: &mut Cursor<'_>, name: &[u8]| {
            likely = field(cursor, name, into, before, likely)? + 1;
            Ok(())
        };
        if began { cursor.rest_of_object(other) } else { cursor.object(other) }
    }

    /// A deleted row of which only the key is known: the record key tells it.
    fn key_only(&mut self, record: &Received<'_>, into: &mut Gathered, seen: &Seen) -> Result<()> {
        if seen.image {
            return Ok(());
        }
        let Some(key) = record.key.filter(|_| record.op == Op::Delete && into.layout.key_tells_row) else {
            return Err(unreadable("the envelope has no image of the row"));
        };
        let mut cursor = Cursor::new(key, Vec::new());
        let mut enclosed = false;
        let taken = cursor.object(|cursor, name| match name {
            b"schema" if cursor.sees(b'{') => cursor.skip(),
            b"payload" if cursor.sees(b'{') => {
                enclosed = true;
                cursor.object(|cursor, name| field(cursor, name, into, false, 0).map(|_| ()))
            }
            _ => field(cursor, name, into, false, 0).map(|_| ()),
        });
        taken.and_then(|()| cursor.end())?;
        for column in &into.layout.schema.key {
            if into.rows.len(*column) != into.count + 1 {
                return Err(unreadable("the record key lacks a column of the table's key"));
            }
        }
        into.rows.level(into.count + 1);
        Ok(())
    }
}

/// Takes a field of an image; returns its column.
#[inline]
fn field(
    cursor: &mut Cursor<'_>,
    name: &[u8],
    into: &mut Gathered,
    before: bool,
    likely: usize,
) -> Result<usize> {
    let Some(column) = into.layout.place(name, likely) else {
        let name = String::from_utf8_lossy(name);
        return Err(unreadable(format!("field `{name}` is no column of the table's version")));
    };
    value(cursor, into, before, column)?;
    Ok(column)
}

/// Takes a column's value.
#[inline]
fn value(cursor: &mut Cursor<'_>, into: &mut Gathered, before: bool, column: usize) -> Result<()> {
    let name = || into.layout.fields.get(column).map_or("", |field| &field.name);
    let columns = match &mut into.before {
        Some(columns) if before => columns,
        _ => &mut into.rows,
    };
    if columns.len(column) != into.count {
        return Err(unreadable(format!("field `{}` stands twice in an image", name())));
    }
    columns.take(column, cursor).map_err(|error| error.at("column", name()))
}

impl LastSource {
    fn read(&mut self, cursor: &mut Cursor<'_>, into: &Gathered, seen: &mut Seen) -> Result<()> {
        let from = cursor.at();
        if !into.meta.origins.is_empty() && !self.before_row.is_empty() && cursor.eat_all(&self.before_row) {
            let number = cursor.int().ok().and_then(|number| u32::try_from(number).ok());
            if let Some(number) = number.filter(|_| cursor.eat_all(&self.after_row)) {
                seen.number = Some(number);
                return Ok(());
            }
        }
        cursor.back_to(from);
        self.read_whole(cursor, seen)
    }

    fn read_whole(&mut self, cursor: &mut Cursor<'_>, seen: &mut Seen) -> Result<()> {
        let start = cursor.at();
        let (mut source, mut gtid, mut file) = (Source::default(), None, None);
        let (mut millis, mut row_at) = (None, None);
        cursor.object(|cursor, name| {
            let number = |cursor: &mut Cursor<'_>| match cursor.null()? {
                true => Ok(None),
                false => cursor.int().map(Some),
            };
            match name {
                b"ts_us" => source.commit_us = number(cursor)?.unwrap_or_default(),
                b"ts_ms" => millis = number(cursor)?,
                b"server_id" => source.server_id = narrow(number(cursor)?.unwrap_or_default())?,
                b"gtid" if !cursor.null()? => gtid = Some(cursor.text()?.to_owned()),
                b"gtid" => {}
                b"file" => file = Some(cursor.text()?.to_owned()),
                b"pos" => source.offset = narrow(number(cursor)?.unwrap_or_default())?,
                b"row" => {
                    let from = cursor.at();
                    source.row = narrow(cursor.int()?)?;
                    row_at = Some((from, cursor.at()));
                }
                b"thread" => source.thread = number(cursor)?.map(narrow).transpose()?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        let file = file.ok_or_else(|| unreadable("the envelope's `source` names no binlog file"))?;
        if source.commit_us == 0 {
            // Before Debezium 2.5 there are milliseconds only.
            source.commit_us = millis.unwrap_or_default().saturating_mul(1000);
        }
        let whole = cursor.since(start);
        let (before, after) = match row_at {
            Some((from, to)) => (whole.get(..from - start), whole.get(to - start..)),
            None => (None, None),
        };
        self.before_row = before.unwrap_or_default().to_vec();
        self.after_row = after.unwrap_or_default().to_vec();
        seen.source = Some(OwnedSource { gtid, file, rest: source });
        Ok(())
    }
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| unreadable(format!("{value} in the envelope's `source` is out of range")))
}

impl Seen {
    fn note(self, op: Op, into: &mut Gathered) -> Result<()> {
        let origins = &mut into.meta.origins;
        if let Some(number) = self.number {
            note_row(origins, op, number);
            return Ok(());
        }
        let source = self.source.as_ref().ok_or_else(|| unreadable("the envelope has no `source`"))?;
        note(origins, op, &Source { gtid: source.gtid.as_deref(), file: &source.file, ..source.rest });
        Ok(())
    }
}

/// The `source` of an envelope, for a record that has no row.
pub(crate) fn source_of(value: &[u8]) -> Result<lakeward_core::Origin> {
    let mut cursor = Cursor::new(value, Vec::new());
    let mut seen = Seen::default();
    source_in(&mut cursor, &mut seen)?;
    cursor.end()?;
    let source = seen.source.as_ref().ok_or_else(|| unreadable("the envelope has no `source`"))?;
    Ok(Source { gtid: source.gtid.as_deref(), file: &source.file, ..source.rest }.origin())
}

fn source_in(cursor: &mut Cursor<'_>, seen: &mut Seen) -> Result<()> {
    cursor.object(|cursor, name| match name {
        b"source" => LastSource::default().read_whole(cursor, seen),
        b"payload" => source_in(cursor, seen),
        _ => cursor.skip(),
    })
}
