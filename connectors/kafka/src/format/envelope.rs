//! What every format puts around the images of a row, and takes from there: which image stands where, and
//! where the row comes from.
//!
//! `before` of a delete is the row's last image. Where only the key of a deleted row is known, `before` is
//! null, and the record key tells the row.

use std::borrow::Cow;

use lakeward_core::{ChangeBatch, Op, Origin, OriginRun, Result};

use super::image::Image;
use super::layout::Layout;

/// The `version` of `source`: whose envelope it is.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A row to be written.
pub(crate) struct Row<'a> {
    /// Its place in the images.
    pub(crate) at: usize,
    pub(crate) op: Op,
    pub(crate) before: Option<&'a Image<'a>>,
    pub(crate) after: Option<&'a Image<'a>>,
    /// Its number within its event.
    pub(crate) number: u32,
    /// Its place in its transaction, where records tell it.
    pub(crate) order: Option<Order>,
}

/// The place of a change event in its transaction, from 1.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// Among all events.
    pub(crate) total: i64,
    /// Among those of its table.
    pub(crate) in_table: i64,
}

/// What names the transaction that a row comes from: its GTID, else the place of its beginning; empty where it comes
/// from none.
pub(crate) fn transaction_id(origin: &Origin) -> Cow<'_, str> {
    match (&origin.gtid, origin.began) {
        (_, None) => Cow::Borrowed(""),
        (Some(gtid), Some(_)) => Cow::Borrowed(gtid),
        (None, Some(began)) => Cow::Owned(format!("file={},pos={}", origin.file, began.offset)),
    }
}

/// When records are written.
pub(crate) struct Stamp {
    pub(crate) us: i64,
}

/// The images of a batch.
pub(crate) struct Images<'a> {
    pub(crate) rows: Image<'a>,
    before: Option<Image<'a>>,
    key_tells_row: bool,
}

impl<'a> Images<'a> {
    pub(crate) fn new(layout: &Layout, batch: &'a ChangeBatch) -> Result<Images<'a>> {
        let before = batch.before.as_ref().map(|before| Image::new(layout, before)).transpose()?;
        Ok(Images { rows: Image::new(layout, &batch.rows)?, before, key_tells_row: layout.key_tells_row })
    }

    /// Row `at`, which is number `number` of its event and has this place in its transaction.
    pub(crate) fn row(&self, at: usize, op: Op, number: u32, order: Option<Order>) -> Row<'_> {
        let previous = self.before.as_ref().filter(|before| !before.is_absent(at));
        let (before, after, number) = match op {
            Op::Create => (None, Some(&self.rows), number),
            Op::Read => (None, Some(&self.rows), 0),
            Op::Update => (previous, Some(&self.rows), number),
            Op::Delete if self.is_key_only(at, previous) => (None, None, number),
            Op::Delete => (Some(&self.rows), None, number),
            Op::Truncate => (None, None, 0),
        };
        Row { at, op, before, after, number, order }
    }

    fn is_key_only(&self, at: usize, previous: Option<&Image<'_>>) -> bool {
        self.key_tells_row && ((self.before.is_some() && previous.is_none()) || self.rows.lacks(at))
    }
}

/// Where a row comes from, as `source` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    pub(crate) commit_us: i64,
    pub(crate) gtid: Option<&'a str>,
    pub(crate) file: &'a str,
    pub(crate) offset: u64,
    pub(crate) server_id: u32,
    pub(crate) thread: Option<u32>,
    pub(crate) row: u32,
}

impl Source<'_> {
    pub(crate) fn is(&self, origin: &Origin) -> bool {
        self.commit_us == origin.commit_us
            && self.offset == origin.offset
            && self.server_id == origin.server_id
            && self.thread == origin.thread
            && self.gtid == origin.gtid.as_deref()
            && self.file == &*origin.file
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            commit_us: self.commit_us,
            gtid: self.gtid.map(Into::into),
            file: self.file.into(),
            offset: self.offset,
            server_id: self.server_id,
            thread: self.thread,
            began: None,
        }
    }
}

/// Adds a row that comes from the origin of the last run.
pub(crate) fn note_row(origins: &mut Vec<OriginRun>, op: Op, number: u32) -> bool {
    let Some(last) = origins.last_mut() else { return false };
    let next = u32::try_from(last.rows).ok().and_then(|rows| last.first_row.checked_add(rows));
    let follows = match op {
        Op::Read => last.first_row == 0 && number == 0,
        Op::Create | Op::Update | Op::Delete | Op::Truncate => next == Some(number),
    };
    if follows {
        last.rows += 1;
    } else {
        let origin = last.origin.clone();
        origins.push(OriginRun { rows: 1, first_row: number, origin });
    }
    true
}

/// Adds a row that comes from `source`.
pub(crate) fn note(origins: &mut Vec<OriginRun>, op: Op, source: &Source<'_>) {
    match origins.last() {
        Some(last) if source.is(&last.origin) => {
            note_row(origins, op, source.row);
        }
        _ => origins.push(OriginRun { rows: 1, first_row: source.row, origin: source.origin() }),
    }
}
