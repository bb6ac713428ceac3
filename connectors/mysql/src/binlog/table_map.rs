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

use lakeward_core::{Column, ColumnType, Error, ErrorKind, Result, TableId, TableSchema};

use super::cursor::Cursor;
use super::event::Event;
use crate::rows::charset;
use crate::rows::wire::WireColumn;

/// Collation id of binary strings.
const BINARY: u16 = 63;

mod code {
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEWDATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    pub(super) const TIMESTAMP2: u8 = 17;
    pub(super) const DATETIME2: u8 = 18;
    pub(super) const TIME2: u8 = 19;
    pub(super) const VECTOR: u8 = 242;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const ENUM: u8 = 247;
    pub(super) const SET: u8 = 248;
    pub(super) const BLOB: u8 = 252;
    pub(super) const VAR_STRING: u8 = 253;
    pub(super) const STRING: u8 = 254;
    pub(super) const GEOMETRY: u8 = 255;
}

/// One column as the event describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Described {
    /// Type code; ENUM and SET are told from the STRING they travel as.
    code: u8,
    /// First and second metadata byte, 0 where the type has fewer.
    meta: [u8; 2],
    nullable: bool,
    unsigned: bool,
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
        let mut metadata = Cursor::new(metadata, "the column metadata of a table map event");
        let mut described = Vec::with_capacity(count);
        for (i, code) in codes.iter().enumerate() {
            let nullable = nullable.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
            described.push(describe(*code, nullable, &mut metadata).map_err(|error| error.of_table(&table))?);
        }
        metadata.finish()?;
        let mut map = TableMap {
            table_id,
            table,
            columns: Vec::new(),
            described,
            names: None,
            key: Vec::new(),
            unknown_fields: Vec::new(),
        };
        map.read_optional(cursor)?;
        map.columns = map
            .described
            .iter()
            .map(|column| WireColumn::new(column.code, column.meta, column.unsigned))
            .collect::<Result<_>>()
            .map_err(|error| error.of_table(&map.table))?;
        Ok(map)
    }

    /// Optional metadata: fields of code, length, value. Some depend on types only, so their order
    /// does not matter.
    fn read_optional(&mut self, mut cursor: Cursor<'_>) -> Result<()> {
        while !cursor.is_empty() {
            let field = cursor.u8()?;
            let value = Cursor::new(cursor.length_encoded_bytes()?, "optional metadata of a table map event");
            match field {
                1 => self.read_signedness(value)?,
                2 => self.read_default_charset(value, is_character)?,
                3 => self.read_charsets(value, is_character)?,
                4 => self.names = Some(self.read_names(value)?),
                5 => self.read_labels(value, code::SET)?,
                6 => self.read_labels(value, code::ENUM)?,
                // Kinds of geometry, visibility, dimensions: no value's reading depends on them.
                7 | 12 | 13 => {}
                8 => self.read_key(value, false)?,
                9 => self.read_key(value, true)?,
                10 => self.read_default_charset(value, is_labelled)?,
                11 => self.read_charsets(value, is_labelled)?,
                newer => self.unknown_fields.push(newer),
            }
        }
        Ok(())
    }

    fn read_signedness(&mut self, value: Cursor<'_>) -> Result<()> {
        let bits = value.rest();
        let mut numeric = 0;
        for column in self.described.iter_mut().filter(|column| is_numeric(column.code)) {
            let byte = bits.get(numeric / 8).ok_or_else(|| value.corrupt("too few signs"))?;
            column.unsigned = byte >> (7 - numeric % 8) & 1 == 1;
            numeric += 1;
        }
        Ok(())
    }

    /// One collation for all columns of a kind, then the exceptions by their place in the kind.
    fn read_default_charset(&mut self, mut value: Cursor<'_>, kind: fn(u8) -> bool) -> Result<()> {
        let default = collation(&mut value)?;
        let mut columns: Vec<&mut Described> =
            self.described.iter_mut().filter(|column| kind(column.code)).collect();
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

    fn read_charsets(&mut self, mut value: Cursor<'_>, kind: fn(u8) -> bool) -> Result<()> {
        for column in self.described.iter_mut().filter(|column| kind(column.code)) {
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
            false => Err(value.corrupt(format!("{} names for {} columns", names.len(), self.described.len()))),
        }
    }

    fn read_labels(&mut self, mut value: Cursor<'_>, kind: u8) -> Result<()> {
        for column in self.described.iter_mut().filter(|column| column.code == kind) {
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

    /// The table's structure, where the event names its columns (`binlog_row_metadata=FULL`).
    pub fn structure(&self) -> Result<Option<Structure>> {
        let Some(names) = &self.names else { return Ok(None) };
        let columns = self
            .described
            .iter()
            .zip(names)
            .map(|(column, name)| {
                let ty = column.column_type().map_err(|error| error.of_table(&self.table).at("column", name))?;
                Ok(Column { name: name.clone(), ty, nullable: column.nullable })
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
                return Err(changed(format!("column {} is {ty:?} in the log and {:?} before", known.name, known.ty)));
            }
            if column.nullable != known.nullable {
                return Err(changed(format!("column {} changed whether it may be NULL", known.name)));
            }
        }
        Ok(())
    }
}

impl Described {
    fn column_type(&self) -> Result<ColumnType> {
        let int = |width| ColumnType::Int { width, unsigned: self.unsigned, display_one: false };
        let [first, second] = self.meta;
        let text_or = |fixed| match self.collation {
            Some(BINARY) => ColumnType::Binary { fixed },
            Some(collation) => ColumnType::Text { collation },
            // Only servers before 8.0.1 leave it out; what the bytes mean is then not in the log.
            None => ColumnType::Binary { fixed },
        };
        Ok(match self.code {
            code::TINY => int(1),
            code::SHORT => int(2),
            code::INT24 => int(3),
            code::LONG => int(4),
            code::LONGLONG => int(8),
            code::FLOAT => ColumnType::Float,
            code::DOUBLE => ColumnType::Double,
            code::NEWDECIMAL => ColumnType::Decimal { precision: first, scale: second },
            code::BIT => ColumnType::Bit { bits: second.saturating_mul(8).saturating_add(first) },
            code::YEAR => ColumnType::Year,
            code::DATE | code::NEWDATE => ColumnType::Date,
            code::TIME => ColumnType::Time { fsp: 0 },
            code::TIME2 => ColumnType::Time { fsp: first },
            code::DATETIME => ColumnType::Datetime { fsp: 0 },
            code::DATETIME2 => ColumnType::Datetime { fsp: first },
            code::TIMESTAMP => ColumnType::Timestamp { fsp: 0 },
            code::TIMESTAMP2 => ColumnType::Timestamp { fsp: first },
            code::STRING => text_or(Some(self.string_width())),
            code::VARCHAR | code::VAR_STRING | code::BLOB => text_or(None),
            code::ENUM => ColumnType::Enum { labels: self.utf8_labels()? },
            code::SET => ColumnType::Set { labels: self.utf8_labels()? },
            code::JSON => ColumnType::Json,
            code::GEOMETRY => ColumnType::Geometry,
            code::VECTOR => ColumnType::Vector,
            other => return Err(unknown_type(other)),
        })
    }

    /// Bytes of a CHAR or BINARY: 10 bits, the upper two hidden inverted in the type byte.
    fn string_width(&self) -> u16 {
        let [ty, low] = self.meta;
        u16::from(low) | u16::from(!ty & 0x30) << 4
    }

    fn utf8_labels(&self) -> Result<Vec<String>> {
        let labels = self.labels.as_deref().unwrap_or_default();
        // Without a charset the labels are the server's own, in UTF-8.
        let collation = self.collation.unwrap_or(45);
        labels.iter().map(|label| Ok(charset::to_utf8(collation, label)?.into_owned())).collect()
    }

    /// Whether a known type fits what the map says; labels are compared only where the map has them.
    fn agrees(&self, ty: &ColumnType, known: &ColumnType) -> bool {
        let labels_fit = |count: usize, bytes: usize| self.labels.is_some() || usize::from(self.meta[1]) == bytes || count == 0;
        match (ty, known) {
            (ColumnType::Int { width, unsigned, .. }, ColumnType::Int { width: w, unsigned: u, .. }) => {
                width == w && unsigned == u
            }
            (ColumnType::Enum { labels }, ColumnType::Enum { labels: known }) => {
                let bytes = if known.len() > 255 { 2 } else { 1 };
                labels_fit(known.len(), bytes) && (self.labels.is_none() || labels == known)
            }
            (ColumnType::Set { labels }, ColumnType::Set { labels: known }) => {
                let bytes = match known.len().div_ceil(8) {
                    bytes @ 0..=4 => bytes,
                    _ => 8,
                };
                labels_fit(known.len(), bytes) && (self.labels.is_none() || labels == known)
            }
            (ColumnType::Binary { .. }, ColumnType::Text { .. }) => self.collation.is_none(),
            (ty, known) => ty == known,
        }
    }
}

/// The same structure, but for `TINYINT(1)`, which the log does not tell from TINYINT.
pub fn same_columns(ours: &[Column], theirs: &[Column]) -> bool {
    let same_type = |a: &ColumnType, b: &ColumnType| match (a, b) {
        (ColumnType::Int { width, unsigned, .. }, ColumnType::Int { width: w, unsigned: u, .. }) => {
            width == w && unsigned == u
        }
        (a, b) => a == b,
    };
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs)
            .all(|(a, b)| a.name == b.name && a.nullable == b.nullable && same_type(&a.ty, &b.ty))
}

/// Types whose sign has a bit in the metadata, YEAR included.
fn is_numeric(ty: u8) -> bool {
    matches!(
        ty,
        code::TINY
            | code::SHORT
            | code::INT24
            | code::LONG
            | code::LONGLONG
            | code::NEWDECIMAL
            | code::FLOAT
            | code::DOUBLE
            | code::YEAR
    )
}

fn is_character(ty: u8) -> bool {
    matches!(ty, code::STRING | code::VAR_STRING | code::VARCHAR | code::BLOB)
}

fn is_labelled(ty: u8) -> bool {
    matches!(ty, code::ENUM | code::SET)
}

fn describe(code: u8, nullable: bool, metadata: &mut Cursor<'_>) -> Result<Described> {
    let meta = match code {
        code::TINY
        | code::SHORT
        | code::INT24
        | code::LONG
        | code::LONGLONG
        | code::TIMESTAMP
        | code::DATE
        | code::NEWDATE
        | code::TIME
        | code::DATETIME
        | code::YEAR => [0, 0],
        code::FLOAT
        | code::DOUBLE
        | code::BLOB
        | code::GEOMETRY
        | code::JSON
        | code::VECTOR
        | code::TIMESTAMP2
        | code::DATETIME2
        | code::TIME2 => [metadata.u8()?, 0],
        code::VARCHAR
        | code::VAR_STRING
        | code::STRING
        | code::ENUM
        | code::SET
        | code::BIT
        | code::NEWDECIMAL => metadata.array()?,
        other => return Err(unknown_type(other)),
    };
    // ENUM and SET travel as STRING with their own code in the first metadata byte.
    let code = match (code, meta[0]) {
        (code::STRING, real @ (code::ENUM | code::SET)) => real,
        (code, _) => code,
    };
    Ok(Described { code, meta, nullable, unsigned: false, collation: None, labels: None })
}

fn unknown_type(code: u8) -> Error {
    Error::new(ErrorKind::UnreadableValue, format!("a column of the unknown type {code}"))
        .remedy("leave the table out (tables.exclude)")
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
