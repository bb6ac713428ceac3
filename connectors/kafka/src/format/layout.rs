//! The fields of records of one table version: values, keys, and which of them may lack a value.
//!
//! As Debezium has them, a field may lack a value where its column allows NULL. Two more may, as their values
//! can be missing here where Debezium would write a made-up one: dates and times of a pipeline that turns
//! zero dates into nulls, columns that were added to a table that had rows (a schema that gives them no default
//! would not be compatible with the one before), and columns of a table whose record key does not tell which row was deleted (a
//! delete of which only the key is known is then written as an image with nulls).

use std::sync::Arc;

use lakeward_core::{ColumnType, Error, ErrorKind, Result, TableSchema, ZeroDates};

use super::avro::schema::adjusted;
use super::codec::Codec;
use super::options::{Format, FormatOptions, TimeMode};

/// The fields of a table version's records.
pub(super) struct Layout {
    pub(super) schema: Arc<TableSchema>,
    /// One per column.
    pub(super) fields: Vec<Field>,
    /// Columns of the record key, in its order; empty: records have no key.
    pub(super) key: Vec<usize>,
    /// The record key holds the table's key, so that it tells which row was deleted.
    pub(super) key_tells_row: bool,
    /// The record key has columns that are not of the table's key, so an update may change it.
    pub(super) key_may_change: bool,
    /// Dates and times are of Kafka Connect's own types.
    pub(super) connect_times: bool,
}

/// A field of a record.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) codec: Codec,
    /// It may lack a value.
    pub(super) optional: bool,
}

impl Layout {
    pub(super) fn new(schema: &Arc<TableSchema>, options: &FormatOptions) -> Result<Layout> {
        let key = match options.key_columns(&schema.table) {
            None => schema.key.clone(),
            Some(names) => names.iter().map(|name| column_named(schema, name)).collect::<Result<Vec<_>>>()?,
        };
        let key_tells_row = !key.is_empty() && schema.key.iter().all(|column| key.contains(column));
        let key_may_change = !key.iter().all(|column| schema.key.contains(column));
        let field = |(index, column): (usize, &lakeward_core::Column)| {
            let zero_as_null = schema.options.zero_dates == ZeroDates::Null
                && matches!(
                    column.ty,
                    ColumnType::Date | ColumnType::Datetime { .. } | ColumnType::Timestamp { .. }
                );
            let of_key = schema.key.contains(&index);
            Field {
                name: match options.format {
                    Format::DebeziumJson => column.name.clone(),
                    Format::Avro => adjusted(&column.name),
                },
                codec: Codec::new(&column.ty, &schema.options, options),
                optional: column.nullable
                    || zero_as_null
                    || column.fill.is_some()
                    || (!key_tells_row && !of_key),
            }
        };
        let fields: Vec<Field> = schema.columns.iter().enumerate().map(field).collect();
        must_differ(schema, &fields)?;
        let connect_times = options.time_precision_mode == TimeMode::Connect;
        Ok(Layout { schema: Arc::clone(schema), fields, key, key_tells_row, key_may_change, connect_times })
    }

    /// The fields of records that others wrote.
    pub(super) fn foreign(schema: &Arc<TableSchema>, codecs: &[Codec]) -> Layout {
        let field = |(column, codec): (&lakeward_core::Column, &Codec)| Field {
            name: column.name.clone(),
            codec: *codec,
            optional: column.nullable,
        };
        let fields = schema.columns.iter().zip(codecs).map(field).collect();
        let key_tells_row = !schema.key.is_empty();
        let (schema, key) = (Arc::clone(schema), schema.key.clone());
        Layout { schema, fields, key, key_tells_row, key_may_change: false, connect_times: false }
    }

    /// The place of the field that is called `name`, which is probably `likely`.
    #[inline]
    pub(super) fn place(&self, name: &[u8], likely: usize) -> Option<usize> {
        let is = |field: &Field| field.name.as_bytes() == name;
        match self.fields.get(likely) {
            Some(field) if is(field) => Some(likely),
            _ => self.fields.iter().position(is),
        }
    }
}

fn column_named(schema: &TableSchema, name: &str) -> Result<usize> {
    let found = schema.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            format!("`message_key_columns` names column `{name}`, which is missing"),
        )
        .at("table", &schema.table)
        .remedy("name columns of the table")
    })
}

/// Avro allows few characters in names; two names may be the same without the others.
fn must_differ(schema: &TableSchema, fields: &[Field]) -> Result<()> {
    let mut names = std::collections::BTreeSet::new();
    for field in fields {
        if !names.insert(&field.name) {
            let message =
                format!("two columns are both `{}` in Avro, which allows letters, digits and _", field.name);
            return Err(Error::new(ErrorKind::Config, message)
                .at("table", &schema.table)
                .remedy("rename one of them, leave out the table, or use format: debezium-json"));
        }
    }
    Ok(())
}
