//! Rows of one table, collected into a batch.
//!
//! Guarantees. Each row of an event becomes one change event, or two where an update changes the key
//! (`d` of the old one, `c` of the new one); numbers are given in the order of the rows, without gaps,
//! and depend on nothing but the event. A row that fails leaves nothing behind and takes no number:
//! every column is cut back to the rows before it. A value is checked when it is pushed, so what is
//! pushed can be handed over.

use std::sync::Arc;

use arrow::array::RecordBatch;
use lakeward_core::stats::SourceStats;
use lakeward_core::{ChangeBatch, ChangeMeta, Error, ErrorKind, Op, Origin, OriginRun, Result};

use super::column::Column;
use super::cursor::{Cursor, bit, corrupt};
use super::event::{RowsEvent, RowsKind};
use super::layout::RowLayout;

/// Collects rows of one table and one version.
pub struct BatchBuilder {
    layout: Arc<RowLayout>,
    columns: Vec<Column>,
    /// Previous images, where they are wanted.
    before: Option<Vec<Column>>,
    meta: ChangeMeta,
    stats: Arc<SourceStats>,
}

/// A row image that is to be read: where it begins, and what a partial update builds on.
struct Image<'a, 'b> {
    at: &'a mut Cursor<'b>,
    options: bool,
    documents: &'a [Option<&'b [u8]>],
}

/// What became of a row of an event.
enum Pushed {
    /// One change event.
    Whole,
    /// Two: the key changed.
    Rekeyed,
}

/// Rows of an event with ascending numbers: the first one's place in the batch, and its number.
#[derive(Clone, Copy)]
struct Run {
    from: usize,
    number: u32,
}

impl<'a, 'b> Image<'a, 'b> {
    fn whole(at: &'a mut Cursor<'b>) -> Self {
        Image { at, options: false, documents: &[] }
    }
}

impl BatchBuilder {
    /// An empty builder. `want_before` adds previous images to the batches; `stats` counts zero
    /// dates when a batch is finished.
    pub fn new(layout: Arc<RowLayout>, want_before: bool, stats: Arc<SourceStats>) -> Self {
        let columns = layout.empty_columns();
        let before = want_before.then(|| layout.empty_columns());
        BatchBuilder { layout, columns, before, meta: ChangeMeta::default(), stats }
    }

    /// Pushes every row of the event, giving numbers from `*next_seq` on. On an error the failing row
    /// leaves nothing behind and earlier rows of the event stay.
    ///
    /// # Errors
    /// `TableChanged` or `IncompleteImage` before the first row; `UnreadableValue`, `CorruptEvent` or
    /// `UnsupportedEvent` at a row. All name the table, and the column where one is at fault.
    pub fn push(&mut self, event: &RowsEvent<'_>, origin: &Origin, next_seq: &mut i64) -> Result<()> {
        self.layout.check(event)?;
        let mut run = Run { from: self.rows(), number: 0 };
        let mut number = 0;
        let mut rest = Cursor::new(event.rows);
        let mut failed = None;
        while failed.is_none() && !rest.is_empty() {
            let (row, seq) = (self.rows(), *next_seq);
            match self.push_row(event.kind, &mut rest, next_seq) {
                Ok(Pushed::Whole) => {}
                Ok(Pushed::Rekeyed) => {
                    // The new key's row bears the number of the old key's: a run of its own begins with it.
                    self.note_origin(run, row + 1, origin);
                    run = Run { from: row + 1, number };
                }
                Err(error) => {
                    self.truncate(row);
                    *next_seq = seq;
                    failed = Some(error);
                }
            }
            number += 1;
        }
        self.note_origin(run, self.rows(), origin);
        let pushed = failed.map_or(Ok(()), Err);
        pushed.map_err(|error| {
            error
                .of_table(&self.layout.schema().table)
                .at("position", format!("{}:{}", origin.file, origin.offset))
        })
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.meta.op.len()
    }

    /// Bytes of the values held.
    pub fn bytes(&mut self) -> usize {
        let before = self.before.iter_mut().flatten();
        self.columns.iter_mut().chain(before).map(Column::byte_len).sum::<usize>() + 9 * self.meta.op.len()
    }

    /// Takes what is there as a batch and is empty again; `None` if nothing is there.
    ///
    /// # Errors
    /// `Bug` if the values do not form arrays.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        let rows = self.rows();
        if rows == 0 {
            return Ok(None);
        }
        self.count_zero_dates();
        let meta = std::mem::take(&mut self.meta);
        let schema = Arc::clone(self.layout.schema());
        let batch = |columns: &mut Vec<Column>| {
            let fields = schema.arrow.fields().iter();
            let arrays = columns
                .iter_mut()
                .zip(fields)
                .map(|(column, field)| column.finish(field.data_type(), rows))
                .collect::<Result<Vec<_>>>()?;
            RecordBatch::try_new(Arc::clone(&schema.arrow), arrays).map_err(|error| {
                Error::new(ErrorKind::Bug, "decoded columns do not form a batch")
                    .of_table(&schema.table)
                    .caused_by(error)
            })
        };
        let rows = batch(&mut self.columns)?;
        let before = self.before.as_mut().map(batch).transpose()?;
        Ok(Some(ChangeBatch { schema, rows, before, meta }))
    }

    fn push_row(&mut self, kind: RowsKind, rest: &mut Cursor<'_>, next_seq: &mut i64) -> Result<Pushed> {
        match kind {
            RowsKind::Insert => self.change(Op::Create, Image::whole(rest), None, next_seq)?,
            RowsKind::Delete => {
                let before = self.before.is_some().then_some(*rest);
                self.change(Op::Delete, Image::whole(rest), before, next_seq)?;
            }
            RowsKind::Update | RowsKind::PartialUpdate => {
                let before = *rest;
                self.layout.skip(rest, false)?;
                let options = kind == RowsKind::PartialUpdate;
                let documents = if options { self.layout.documents(before)? } else { Vec::new() };
                let rekeyed = self.layout.keys_differ(before, *rest, options)?;
                let after = Image { at: rest, options, documents: &documents };
                if rekeyed {
                    self.change(Op::Delete, Image::whole(&mut before.clone()), Some(before), next_seq)?;
                    self.change(Op::Create, after, None, next_seq)?;
                    return Ok(Pushed::Rekeyed);
                }
                self.change(Op::Update, after, Some(before), next_seq)?;
            }
        }
        Ok(Pushed::Whole)
    }

    /// Appends one change event: its image, its previous image where that is wanted, its number.
    fn change(
        &mut self,
        op: Op,
        image: Image<'_, '_>,
        before: Option<Cursor<'_>>,
        next_seq: &mut i64,
    ) -> Result<()> {
        let row = self.meta.op.len();
        push_image(&self.layout, &mut self.columns, image, row)?;
        if let Some(columns) = &mut self.before {
            match before {
                Some(mut before) => push_image(&self.layout, columns, Image::whole(&mut before), row)?,
                None => columns.iter_mut().try_for_each(|column| column.push_null(row))?,
            }
        }
        let following = next_seq
            .checked_add(1)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "the sequence numbers are used up"))?;
        self.meta.op.push(op);
        self.meta.seq.push(*next_seq);
        *next_seq = following;
        Ok(())
    }

    #[cold]
    fn truncate(&mut self, rows: usize) {
        self.meta.op.truncate(rows);
        self.meta.seq.truncate(rows);
        for column in self.columns.iter_mut().chain(self.before.iter_mut().flatten()) {
            column.truncate(rows);
        }
    }

    /// Notes where the rows of `run` up to `end` come from.
    fn note_origin(&mut self, run: Run, end: usize, origin: &Origin) {
        let rows = end - run.from;
        if rows > 0 {
            self.meta.origins.push(OriginRun { rows, first_row: run.number, origin: origin.clone() });
        }
    }

    fn count_zero_dates(&mut self) {
        let table = &self.layout.schema().table;
        for (column, described) in self.columns.iter_mut().zip(&self.layout.schema().columns) {
            match column.take_zero_dates() {
                0 => {}
                count => self.stats.zero_dates.add(&(table.clone(), described.name.clone()), count),
            }
        }
    }
}

/// Reads a row image into `columns`. This loop is the hot path.
fn push_image(layout: &RowLayout, columns: &mut [Column], image: Image<'_, '_>, row: usize) -> Result<()> {
    let Image { at, options, documents } = image;
    let head = layout.head(at, options)?;
    if !head.partial.is_empty() {
        return push_partial_image(layout, columns, Image { at, options, documents }, head, row);
    }
    for (index, column) in columns.iter_mut().enumerate() {
        let pushed = if bit(head.nulls, index) { column.push_null(row) } else { column.push(at, row) };
        if let Err(error) = pushed {
            return Err(at_column(error, layout, index));
        }
    }
    Ok(())
}

/// As [`push_image`], where the head says that JSON values may be differences.
fn push_partial_image(
    layout: &RowLayout,
    columns: &mut [Column],
    image: Image<'_, '_>,
    head: super::layout::ImageHead<'_>,
    row: usize,
) -> Result<()> {
    let mut json_columns = 0;
    for (index, column) in columns.iter_mut().enumerate() {
        let differs = column.is_json() && {
            json_columns += 1;
            bit(head.partial, json_columns - 1)
        };
        let pushed = if bit(head.nulls, index) {
            column.push_null(row)
        } else if differs {
            match image.documents.get(index).copied().flatten() {
                Some(before) => column.push_json_difference(before, image.at),
                None => Err(corrupt("a partial JSON update of a row whose previous document is null")),
            }
        } else {
            column.push(image.at, row)
        };
        pushed.map_err(|error| at_column(error, layout, index))?;
    }
    Ok(())
}

#[cold]
fn at_column(error: Error, layout: &RowLayout, index: usize) -> Error {
    let name = layout.schema().columns.get(index).map_or("", |column| &column.name);
    error.at("column", name)
}
