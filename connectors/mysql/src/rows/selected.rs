//! Rows of a SELECT over the binary protocol, collected into a batch: the other way into the columns of
//! [`super::BatchBuilder`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use lakeward_core::stats::SourceStats;
use lakeward_core::{Error, ErrorKind, Result, TableSchema};
use mysql::Value;

use super::column::Column;

/// Collects selected rows of one table and one structure.
pub struct RowBuilder {
    schema: Arc<TableSchema>,
    columns: Vec<Column>,
    rows: usize,
    sent_bytes: usize,
}

impl RowBuilder {
    /// An empty builder for all columns of `schema`, in their order.
    ///
    /// # Errors
    /// `UnreadableValue` for an unknown collation.
    pub fn new(schema: Arc<TableSchema>) -> Result<Self> {
        let columns = schema.columns.iter().map(|column| {
            Column::selected(&column.ty, &schema.options)
                .map_err(|error| error.of_table(&schema.table).at("column", &column.name))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RowBuilder { schema, columns, rows: 0, sent_bytes: 0 })
    }

    /// Appends a row. After an error the builder is of no use.
    ///
    /// # Errors
    /// `UnreadableValue`, which names the table and the column.
    #[inline]
    pub fn push(&mut self, row: &[Value]) -> Result<()> {
        if row.len() != self.columns.len() {
            return Err(Error::new(ErrorKind::Bug, "a selected row with another number of columns"));
        }
        for (index, (column, value)) in self.columns.iter_mut().zip(row).enumerate() {
            if let Value::Bytes(bytes) = value {
                self.sent_bytes += bytes.len();
            }
            if let Err(error) = column.push_sent(value, self.rows) {
                let name = self.schema.columns.get(index).map_or("", |column| &column.name);
                return Err(error.of_table(&self.schema.table).at("column", name));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the values held that were sent as bytes: text, documents and the like, of any length.
    pub fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Bytes of the values held.
    pub fn bytes(&mut self) -> usize {
        self.columns.iter_mut().map(Column::byte_len).sum()
    }

    /// Takes what is there and is empty again; zero dates are counted in `stats`.
    ///
    /// # Errors
    /// `Bug` if the values do not form arrays.
    pub fn finish(&mut self, stats: &SourceStats) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        self.sent_bytes = 0;
        let mut arrays = Vec::with_capacity(self.columns.len());
        for ((column, field), described) in
            self.columns.iter_mut().zip(self.schema.arrow.fields()).zip(&self.schema.columns)
        {
            match column.take_zero_dates() {
                0 => {}
                count => stats.zero_dates.add(&(self.schema.table.clone(), described.name.clone()), count),
            }
            arrays.push(column.finish(field.data_type(), rows)?);
        }
        RecordBatch::try_new(Arc::clone(&self.schema.arrow), arrays).map_err(|error| {
            Error::new(ErrorKind::Bug, "selected columns do not form a batch")
                .of_table(&self.schema.table)
                .caused_by(error)
        })
    }
}
