//! Table map events: what the log itself says about a table.
//!
//! Two things come of one. [`TableMap::columns`] is how the row images that follow are laid out; it
//! is always there. [`TableMap::structure`] is the table's structure, which the log holds only under
//! `binlog_row_metadata=FULL`; without it [`TableMap::check`] compares what there is with a structure
//! from elsewhere. Guarantee: a structure that passes `check` or equals `structure()` reads every
//! value of the rows with the type it was written with. Unknown without FULL: two columns of one
//! type that swapped names look the same; the catalog's reader rules that out.
//!
//! Sources: MySQL source documentation, `Table_map_event` (type codes, metadata, optional metadata
//! fields 1 to 13).

use lakeward_core::{
    Capacity, Column, ColumnType, Error, ErrorKind, Groundwork, Result, TableId, TableSchema,
};

use super::cursor::Cursor;
use super::event::Event;
use crate::rows::charset;
use crate::rows::wire::{self, WireColumn, WireType};
use crate::schema::{Definition, collations};

/// Collation id of binary strings.
const BINARY: u16 = 63;

/// One column as the event describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Described {
    wire: WireColumn,
    nullable: bool,
    /// Collation id of character, ENUM and SET columns; `None` where the event has none.
    collation: Option<u16>,
    /// Labels of ENUM and SET columns, in their own charset.
    labels: Option<Vec<Vec<u8>>>,
}

/// A table map event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    /// The number that the rows events use for the table.
    pub table_id: u64,
    /// The table.
    pub table: TableId,
    /// How the row images are laid out.
    pub columns: Vec<WireColumn>,
    described: Vec<Described>,
    names: Option<Vec<String>>,
    key: Vec<usize>,
    /// Codes of optional metadata fields that are newer than MySQL 9.7.
    pub unknown_fields: Vec<u8>,
}

/// A table's columns in the order of the row image, and the places of its key's columns among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// The columns.
    pub columns: Vec<Column>,
    /// Indices of the primary key's columns.
    pub key: Vec<usize>,
}

impl From<Structure> for Definition {
    fn from(structure: Structure) -> Definition {
        let Structure { mut columns, key } = structure;
        let mut groundwork = Groundwork::default();
        for column in &mut columns {
            column.id = groundwork.take_number();
        }
        Definition { columns, key, groundwork }
    }
}

/// The number under which the rows that follow name their table; read alone, for the cache.
pub fn table_id(event: &Event<'_>) -> Result<u64> {
    Cursor::new(event.body, "a table map event").uint(id_len(event))
}

/// The table's name; read alone, as maps of tables that are not captured are not read further.
pub fn table_name(event: &Event<'_>) -> Result<TableId> {
    head(event).map(|(_, table, _)| table)
}

fn id_len(event: &Event<'_>) -> usize {
    if event.post_header == 6 { 4 } else { 6 }
}

fn head<'a>(event: &Event<'a>) -> Result<(u64, TableId, Cursor<'a>)> {
    let mut cursor = Cursor::new(event.body, "a table map event");
    let table_id = cursor.uint(id_len(event))?;
    let _flags = cursor.u16()?;
    let (database, table) = (name(&mut cursor)?, name(&mut cursor)?);
    Ok((table_id, TableId::new(database, table), cursor))
}

impl TableMap {
    /// Reads the event.
    pub fn parse(event: &Event<'_>) -> Result<TableMap> {
        let (table_id, table, mut cursor) = head(event)?;
        let count = cursor.length()?;
        let codes = cursor.take(count)?;
        let metadata = cursor.length_encoded_bytes()?;
        let nullable = cursor.take(count.div_ceil(8))?;
        let fields = optional_fields(cursor)?;
        let signs = fields.iter().find(|(field, _)| *field == SIGNEDNESS).map(|(_, value)| value.rest());
        let columns = wire::columns(codes, metadata, signs.unwrap_or_default())?;
        let described = columns.iter().enumerate().map(|(i, wire)| Described {
            wire: *wire,
            nullable: nullable.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1),
            collation: None,
            labels: None,
        });
        let mut map = TableMap {
            table_id,
            table,
            described: described.collect(),
            columns,
            names: None,
            key: Vec::new(),
            unknown_fields: Vec::new(),
        };
        for (field, value) in fields {
            map.read_optional(field, value)?;
        }
        Ok(map)
    }

    fn read_optional(&mut self, field: u8, value: Cursor<'_>) -> Result<()> {
        match field {
            2 => self.read_default_charset(value, is_character)?,
            3 => self.read_charsets(value, is_character)?,
            4 => self.names = Some(self.read_names(value)?),
            5 => self.read_labels(value, |ty| matches!(ty, WireType::Set { .. }))?,
            6 => self.read_labels(value, |ty| matches!(ty, WireType::Enum { .. }))?,
            // Signs are read before; on kinds of geometry, visibility and dimensions no value's
            // reading depends.
            SIGNEDNESS | 7 | 12 | 13 => {}
            8 => self.read_key(value, false)?,
            9 => self.read_key(value, true)?,
            10 => self.read_default_charset(value, is_labelled)?,
            11 => self.read_charsets(value, is_labelled)?,
            newer => self.unknown_fields.push(newer),
        }
        Ok(())
    }

    /// One collation for all columns of a kind, then the exceptions by their place in the kind.
    fn read_default_charset(&mut self, mut value: Cursor<'_>, kind: fn(WireType) -> bool) -> Result<()> {
        let default = collation(&mut value)?;
        let mut columns: Vec<&mut Described> =
            self.described.iter_mut().filter(|column| kind(column.wire.ty)).collect();
        for column in &mut columns {
            column.collation = Some(default);
        }
        while !value.is_empty() {
            let (at, own) = (value.length()?, collation(&mut value)?);
            let column = columns.get_mut(at).ok_or_else(|| value.corrupt(format!("no column {at}")))?;
            column.collation = Some(own);
        }
        Ok(())
    }

    fn read_charsets(&mut self, mut value: Cursor<'_>, kind: fn(WireType) -> bool) -> Result<()> {
        for column in self.described.iter_mut().filter(|column| kind(column.wire.ty)) {
            column.collation = Some(collation(&mut value)?);
        }
        value.finish()
    }

    fn read_names(&self, mut value: Cursor<'_>) -> Result<Vec<String>> {
        let mut names = Vec::with_capacity(self.described.len());
        while !value.is_empty() {
            let bytes = value.length_encoded_bytes()?;
            let name = std::str::from_utf8(bytes).map_err(|_| value.corrupt("a column name is not text"))?;
            names.push(name.to_owned());
        }
        match names.len() == self.described.len() {
            true => Ok(names),
            false => {
                Err(value.corrupt(format!("{} names for {} columns", names.len(), self.described.len())))
            }
        }
    }

    fn read_labels(&mut self, mut value: Cursor<'_>, kind: fn(WireType) -> bool) -> Result<()> {
        for column in self.described.iter_mut().filter(|column| kind(column.wire.ty)) {
            let count = value.length()?;
            let mut labels = Vec::new();
            for _ in 0..count {
                labels.push(value.length_encoded_bytes()?.to_vec());
            }
            column.labels = Some(labels);
        }
        value.finish()
    }

    fn read_key(&mut self, mut value: Cursor<'_>, with_prefix: bool) -> Result<()> {
        while !value.is_empty() {
            let column = value.length()?;
            if with_prefix {
                // A key over the first characters of a column identifies no less than the column.
                value.length()?;
            }
            if column >= self.described.len() {
                return Err(value.corrupt(format!("no column {column} for the key")));
            }
            self.key.push(column);
        }
        Ok(())
    }

    /// The columns' types, as far as the event tells them.
    pub fn types(&self) -> Result<Vec<ColumnType>> {
        self.described.iter().map(Described::column_type).collect()
    }

    /// Whether a column may be NULL.
    pub fn is_nullable(&self, column: usize) -> bool {
        self.described.get(column).is_some_and(|column| column.nullable)
    }

    /// The table's structure, where the event names its columns (`binlog_row_metadata=FULL`).
    pub fn structure(&self) -> Result<Option<Structure>> {
        let Some(names) = &self.names else { return Ok(None) };
        let columns = self
            .described
            .iter()
            .zip(names)
            .map(|(column, name)| {
                let ty =
                    column.column_type().map_err(|error| error.of_table(&self.table).at("column", name))?;
                Ok(Column { capacity: column.capacity(), ..Column::new(name, ty, column.nullable) })
            })
            .collect::<Result<_>>()?;
        Ok(Some(Structure { columns, key: self.key.clone() }))
    }

    /// Whether rows of this map can be read with `schema`; else what differs.
    pub fn check(&self, schema: &TableSchema) -> Result<()> {
        let changed = |how: String| Error::new(ErrorKind::TableChanged, how).of_table(&self.table);
        if self.described.len() != schema.columns.len() {
            return Err(changed(format!(
                "the log has {} columns, version {} has {}",
                self.described.len(),
                schema.version,
                schema.columns.len()
            )));
        }
        for (column, known) in self.described.iter().zip(&schema.columns) {
            let ty = column.column_type()?;
            if !column.agrees(&ty, &known.ty) {
                return Err(changed(format!(
                    "column {} is {ty:?} in the log and {:?} before",
                    known.name, known.ty
                )));
            }
            if column.nullable != known.nullable {
                return Err(changed(format!("column {} changed whether it may be NULL", known.name)));
            }
        }
        Ok(())
    }
}

impl Described {
    /// How much it holds, where the event tells.
    fn capacity(&self) -> Option<Capacity> {
        let characters =
            |bytes: u16| Some(u32::from(bytes) / collations::bytes_per_character(self.collation?)?);
        match self.wire.ty {
            WireType::String { max_bytes } => characters(max_bytes).map(Capacity::Char),
            WireType::VarString { max_bytes } => characters(max_bytes).map(Capacity::Varchar),
            WireType::Blob { length_width } => Some(Capacity::Blob(length_width)),
            _ => None,
        }
    }

    fn column_type(&self) -> Result<ColumnType> {
        let int = |width| ColumnType::Int { width, unsigned: self.wire.unsigned, display_one: false };
        // Servers before 8.0.1 leave collations out; what the bytes mean is then not in the log.
        let text_or = |fixed| match self.collation.unwrap_or(BINARY) {
            BINARY => ColumnType::Binary { fixed },
            collation => ColumnType::Text { collation },
        };
        Ok(match self.wire.ty {
            WireType::Tiny => int(1),
            WireType::Short => int(2),
            WireType::Int24 => int(3),
            WireType::Long => int(4),
            WireType::LongLong => int(8),
            WireType::Float => ColumnType::Float,
            WireType::Double => ColumnType::Double,
            WireType::NewDecimal { precision, scale } => ColumnType::Decimal { precision, scale },
            WireType::Bit { bits } => ColumnType::Bit { bits },
            WireType::Year => ColumnType::Year,
            WireType::Date => ColumnType::Date,
            WireType::OldTime => ColumnType::Time { fsp: 0 },
            WireType::Time { fsp } => ColumnType::Time { fsp },
            WireType::OldDatetime => ColumnType::Datetime { fsp: 0 },
            WireType::Datetime { fsp } => ColumnType::Datetime { fsp },
            WireType::OldTimestamp => ColumnType::Timestamp { fsp: 0 },
            WireType::Timestamp { fsp } => ColumnType::Timestamp { fsp },
            WireType::String { max_bytes } => text_or(Some(max_bytes)),
            WireType::VarString { .. } | WireType::Blob { .. } => text_or(None),
            WireType::Enum { .. } => ColumnType::Enum { labels: self.utf8_labels()? },
            WireType::Set { .. } => ColumnType::Set { labels: self.utf8_labels()? },
            WireType::Json { .. } => ColumnType::Json,
            WireType::Geometry { .. } => ColumnType::Geometry,
            WireType::Vector { .. } => ColumnType::Vector,
        })
    }

    fn utf8_labels(&self) -> Result<Vec<String>> {
        let labels = self.labels.as_deref().unwrap_or_default();
        // Without a charset the labels are the server's own, in UTF-8.
        let collation = self.collation.unwrap_or(45);
        labels.iter().map(|label| Ok(charset::to_utf8(collation, label)?.into_owned())).collect()
    }

    /// Whether a known type fits what the map says; labels are compared only where the map has them.
    fn agrees(&self, ty: &ColumnType, known: &ColumnType) -> bool {
        match (ty, known, self.wire.ty) {
            (ColumnType::Enum { labels }, ColumnType::Enum { labels: known }, WireType::Enum { width }) => {
                let needed = if known.len() > 255 { 2 } else { 1 };
                width == needed && (self.labels.is_none() || labels == known)
            }
            (ColumnType::Set { labels }, ColumnType::Set { labels: known }, WireType::Set { width }) => {
                let needed = match known.len().div_ceil(8) {
                    bytes @ 0..=4 => bytes,
                    _ => 8,
                };
                usize::from(width) == needed && (self.labels.is_none() || labels == known)
            }
            (ColumnType::Binary { .. }, ColumnType::Text { .. }, _) => self.collation.is_none(),
            (ty, known, _) => same_type(ty, known),
        }
    }
}

/// The same structure, but for `TINYINT(1)`, which the log does not tell from TINYINT.
pub fn same_columns(ours: &[Column], theirs: &[Column]) -> bool {
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs)
            .all(|(a, b)| a.name == b.name && a.nullable == b.nullable && same_type(&a.ty, &b.ty))
}

fn same_type(ours: &ColumnType, theirs: &ColumnType) -> bool {
    match (ours, theirs) {
        (ColumnType::Int { width, unsigned, .. }, ColumnType::Int { width: w, unsigned: u, .. }) => {
            width == w && unsigned == u
        }
        (ours, theirs) => ours == theirs,
    }
}

/// Optional metadata field: a bit per numeric column.
const SIGNEDNESS: u8 = 1;

/// Optional metadata: fields of code, length, value.
fn optional_fields<'a>(mut cursor: Cursor<'a>) -> Result<Vec<(u8, Cursor<'a>)>> {
    let mut fields = Vec::new();
    while !cursor.is_empty() {
        let field = cursor.u8()?;
        fields.push((field, Cursor::new(cursor.length_encoded_bytes()?, "metadata of a table map event")));
    }
    Ok(fields)
}

/// Types with a collation; binary ones have that of binary strings, and VECTOR is one of them (seen
/// in logs of 9.0.1 and 9.7.4).
fn is_character(ty: WireType) -> bool {
    matches!(
        ty,
        WireType::String { .. }
            | WireType::VarString { .. }
            | WireType::Blob { .. }
            | WireType::Vector { .. }
    )
}

fn is_labelled(ty: WireType) -> bool {
    matches!(ty, WireType::Enum { .. } | WireType::Set { .. })
}

fn name(cursor: &mut Cursor<'_>) -> Result<String> {
    // The length was one byte until 8.0.20 and is length-encoded since; names are at most 256 bytes.
    let bytes = cursor.length_encoded_bytes()?;
    let text = std::str::from_utf8(bytes).map_err(|_| cursor.corrupt("a name is not text"))?.to_owned();
    match cursor.u8()? {
        0 => Ok(text),
        _ => Err(cursor.corrupt("a name does not end")),
    }
}

fn collation(cursor: &mut Cursor<'_>) -> Result<u16> {
    let id = cursor.length_encoded()?;
    u16::try_from(id).map_err(|_| cursor.corrupt(format!("collation {id}")))
}
