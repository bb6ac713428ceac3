//! How a table's row images are read: the decoder of each column, chosen once per table map and table
//! schema, and where the key stands.

use std::sync::Arc;

use lakeward_core::{Error, ErrorKind, Result, TableSchema};

use super::column::Column;
use super::cursor::{Cursor, bit, corrupt};
use super::event::{RowsEvent, RowsKind};
use super::wire::{Width, WireColumn};

/// The decoders of a table's columns.
#[derive(Debug)]
pub struct RowLayout {
    schema: Arc<TableSchema>,
    /// Empty columns, to be cloned into each builder.
    columns: Vec<Column>,
    widths: Vec<Width>,
    /// Whether each column up to the last one of the key belongs to it.
    key: Vec<bool>,
    json_columns: usize,
}

/// What stands before the values of a row image.
#[derive(Clone, Copy)]
pub(super) struct ImageHead<'a> {
    /// One bit per column, 1 where null.
    pub(super) nulls: &'a [u8],
    /// One bit per JSON column, 1 where the value is a difference; empty where none is.
    pub(super) partial: &'a [u8],
}

impl RowLayout {
    /// Chooses the decoders of `schema`'s columns for images as `wire` describes them.
    ///
    /// # Errors
    /// `TableChanged` if count or types differ, `UnreadableValue` for an unknown collation.
    pub fn new(wire: &[WireColumn], schema: Arc<TableSchema>) -> Result<Self> {
        // Without a column an image has no bytes, and no end.
        if wire.len() != schema.columns.len() || wire.is_empty() {
            return Err(changed(&schema, wire.len()));
        }
        let columns = wire.iter().zip(&schema.columns).map(|(sent, column)| {
            let decoder = Column::new(*sent, &column.ty, &schema.options)
                .map_err(|error| error.of_table(&schema.table).at("column", &column.name))?;
            decoder.ok_or_else(|| {
                let message = format!(
                    "version {} of the table has {:?}, the binlog sends {:?}{}",
                    schema.version,
                    column.ty,
                    sent.ty,
                    if sent.unsigned { " unsigned" } else { "" }
                );
                Error::new(ErrorKind::TableChanged, message)
                    .of_table(&schema.table)
                    .at("column", &column.name)
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let key_len = schema.key.iter().max().map_or(0, |last| last + 1);
        let key = (0..key_len).map(|index| schema.key.contains(&index)).collect();
        let json_columns = columns.iter().filter(|column| column.is_json()).count();
        let widths = wire.iter().map(|column| column.ty.width()).collect();
        Ok(RowLayout { schema, columns, widths, key, json_columns })
    }

    /// The version it reads.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// A set of empty columns.
    pub(super) fn empty_columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    /// Whether the event's images hold every column of this layout.
    pub(super) fn check(&self, event: &RowsEvent<'_>) -> Result<()> {
        let columns = self.columns.len();
        if event.columns != columns {
            return Err(changed(&self.schema, event.columns));
        }
        let before = (event.kind != RowsKind::Insert).then_some(event.before_present);
        let after = (event.kind != RowsKind::Delete).then_some(event.after_present);
        for present in [before, after].into_iter().flatten() {
            if let Some(missing) = (0..columns).find(|column| !bit(present, *column)) {
                return Err(self.incomplete(missing));
            }
        }
        Ok(())
    }

    #[cold]
    fn incomplete(&self, missing: usize) -> Error {
        let name = self.schema.columns.get(missing).map_or("", |column| &column.name);
        Error::new(ErrorKind::IncompleteImage, format!("a row image lacks column `{name}`"))
            .of_table(&self.schema.table)
            .at("column", name)
            .remedy("SET GLOBAL binlog_row_image = FULL (sessions keep their own value until they reconnect), then re-read the table")
    }

    /// Reads the head of an image; `options` says whether value options precede it (after-images of
    /// partial updates).
    #[inline]
    pub(super) fn head<'a>(&self, image: &mut Cursor<'a>, options: bool) -> Result<ImageHead<'a>> {
        let partial = if options { self.partial_bits(image)? } else { &[] };
        Ok(ImageHead { nulls: image.take(self.columns.len().div_ceil(8))?, partial })
    }

    fn partial_bits<'a>(&self, image: &mut Cursor<'a>) -> Result<&'a [u8]> {
        match image.packed()? {
            0 => Ok(&[]),
            1 => image.take(self.json_columns.div_ceil(8)),
            other => {
                let message = format!("a row with value options {other:#x}, which are not known");
                Err(Error::new(ErrorKind::UnsupportedEvent, message))
            }
        }
    }

    /// The bytes of the value of column `index`, its length prefix included.
    #[inline]
    pub(super) fn value<'a>(&self, index: usize, image: &mut Cursor<'a>) -> Result<&'a [u8]> {
        match self.widths.get(index) {
            Some(Width::Fixed(width)) => image.take(usize::from(*width)),
            Some(Width::Prefixed(width)) => {
                let mut ahead = *image;
                let len = ahead.prefixed(*width)?.len();
                image.take(usize::from(*width) + len)
            }
            None => Err(corrupt("a value beyond the table's last column")),
        }
    }

    /// Moves past a whole image.
    #[inline]
    pub(super) fn skip(&self, image: &mut Cursor<'_>, options: bool) -> Result<()> {
        let head = self.head(image, options)?;
        for (index, width) in self.widths.iter().enumerate() {
            if bit(head.nulls, index) {
                continue;
            }
            match width {
                Width::Fixed(width) => image.take(usize::from(*width))?,
                Width::Prefixed(width) => image.prefixed(*width)?,
            };
        }
        Ok(())
    }

    /// Whether the keys of two images differ in a byte. Images are canonical: equal bytes are equal
    /// values, and values that only a collation calls equal are different keys to a reader of the lake.
    #[inline]
    pub(super) fn keys_differ(
        &self,
        mut before: Cursor<'_>,
        mut after: Cursor<'_>,
        options: bool,
    ) -> Result<bool> {
        let before_head = self.head(&mut before, false)?;
        let after_head = self.head(&mut after, options)?;
        for (index, in_key) in self.key.iter().enumerate() {
            let value = |head: ImageHead<'_>, image: &mut Cursor<'_>| match bit(head.nulls, index) {
                true => Ok(None),
                false => self.value(index, image).map(Some).map(|value| value.map(<[u8]>::len)),
            };
            let (before_from, after_from) = (before.rest(), after.rest());
            let before_len = value(before_head, &mut before)?;
            let after_len = value(after_head, &mut after)?;
            if *in_key
                && (before_len != after_len
                    || before_from.get(..before_len.unwrap_or(0)) != after_from.get(..after_len.unwrap_or(0)))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The stored documents of an image's JSON columns, by column index; `None` for nulls and others.
    pub(super) fn documents<'a>(&self, mut image: Cursor<'a>) -> Result<Vec<Option<&'a [u8]>>> {
        let head = self.head(&mut image, false)?;
        let mut documents = vec![None; self.columns.len()];
        for ((index, column), document) in self.columns.iter().enumerate().zip(&mut documents) {
            if bit(head.nulls, index) {
                continue;
            }
            let value = self.value(index, &mut image)?;
            if let (true, Some(Width::Prefixed(width))) = (column.is_json(), self.widths.get(index)) {
                *document = value.get(usize::from(*width)..);
            }
        }
        Ok(documents)
    }
}

#[cold]
fn changed(schema: &TableSchema, found: usize) -> Error {
    let message = format!(
        "version {} of the table has {} columns, the binlog sends {found}",
        schema.version,
        schema.columns.len()
    );
    Error::new(ErrorKind::TableChanged, message).of_table(&schema.table)
}
