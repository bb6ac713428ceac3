//! Topics that Debezium itself wrote: as JSON with or without its schema part, or as Avro.
//!
//! Such records bear neither a version nor a number. The table's structure is derived from each record's own
//! schema (what that cannot tell stands at [`crate::format`]'s `connect`); without one, in JSON, from the names
//! of its fields and what the source server says of columns of these names, and the settings must be those that
//! Debezium wrote with. Versions are found, and found again, in [`Versions`]. The number of an event is the
//! caller's: by its place in the topic partition.
//!
//! A reader is of one topic partition, as its topic's others may be at another structure at the same time.

mod versions;

use std::sync::Arc;

use lakeward_core::{ChangeBatch, Error, ErrorKind, MarkReason, Op, Result, TableId, TableMark, TableSchema};

pub use versions::{Structures, Versions};

use crate::format::foreign::{Form, Structure};
use crate::format::{FormatOptions, Received, TableDecoder};
use crate::registry::Registry;

/// Reads the records of one topic partition.
pub struct Reader {
    form: Form,
    options: FormatOptions,
    want_before: bool,
    /// Of the version of the last records.
    decoder: Option<(Arc<TableSchema>, TableDecoder)>,
    /// What the last record said of its structure, and whether that was taken.
    structure: Structure,
}

/// What became of a record.
#[derive(Debug)]
pub enum Pushed {
    /// It was gathered.
    Row,
    /// It was not taken yet: another structure begins with it. What was gathered is to be finished; then the
    /// same record is to be pushed again.
    Turn,
    /// All earlier events of the table are void. What was gathered before comes before it.
    Mark(TableMark),
}

impl Reader {
    /// A reader of one topic partition. `registry`: one that readers share.
    ///
    /// # Errors
    /// `Config` if the settings do not go together.
    pub fn new(
        options: &FormatOptions,
        registry: Option<Arc<Registry>>,
        want_before: bool,
    ) -> Result<Reader> {
        let form = Form::new(options, registry)?;
        let structure = Structure::default();
        Ok(Reader { form, options: options.clone(), want_before, decoder: None, structure })
    }

    /// Rows gathered so far.
    pub fn rows(&self) -> usize {
        self.decoder.as_ref().map_or(0, |(_, decoder)| decoder.rows())
    }

    /// Their memory, about.
    pub fn bytes(&self) -> usize {
        self.decoder.as_ref().map_or(0, |(_, decoder)| decoder.bytes())
    }

    /// Takes a record that has a value (one without is a tombstone, and no event). `versions` are of its table.
    ///
    /// # Errors
    /// `UnreadableRecord` says what is wrong with it; it leaves nothing behind. `RegistryUnreachable`,
    /// `RegistryRefused`, and the source server's where it is asked.
    pub fn push(
        &mut self,
        key: Option<&[u8]>,
        value: &[u8],
        seq: i64,
        versions: &mut Versions,
    ) -> Result<Pushed> {
        let envelope = self.form.envelope(value)?;
        let table = TableId::new(envelope.database.as_str(), envelope.table.as_str());
        versions.admit(&table)?;
        if envelope.op == Op::Truncate {
            return Ok(Pushed::Mark(self.mark(&table, value, seq, versions)?));
        }
        let changed = self.structure.note(&self.form, key, value, envelope.op)?;
        if changed || self.decoder.is_none() {
            if self.rows() > 0 {
                // The structure is told anew when the record comes again.
                self.structure.forget();
                return Ok(Pushed::Turn);
            }
            if let Err(error) = self.follow(&table, versions) {
                self.structure.forget();
                return Err(error);
            }
        }
        let Some((_, decoder)) = &mut self.decoder else {
            return Err(Error::new(ErrorKind::Bug, "a record before its table's version"));
        };
        match decoder.push(&Received { key, value, op: envelope.op, seq }) {
            Ok(()) => Ok(Pushed::Row),
            // The column's type may have changed on the server since it was asked.
            Err(error)
                if error.kind() == ErrorKind::UnreadableRecord
                    && self.structure.is_by_names()
                    && versions.ask_again(&table)? =>
            {
                self.structure.forget();
                Ok(Pushed::Turn)
            }
            Err(error) => Err(error),
        }
    }

    /// What was gathered, in order; `None` if nothing was.
    ///
    /// # Errors
    /// `Bug` if the values do not form arrays.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        self.decoder.as_mut().map_or(Ok(None), |(_, decoder)| decoder.finish())
    }

    /// A mark names no structure where there is no schema: then it is of the newest one.
    fn mark(&self, table: &TableId, value: &[u8], seq: i64, versions: &mut Versions) -> Result<TableMark> {
        let derived = Structure::of_schema(&self.form, value)?;
        let schema = match derived {
            // Which columns are the key it does not say.
            Some(derived) => versions.with_columns(table, &derived.columns),
            None => versions.newest(table)?,
        };
        let origin = self.form.source_of(value)?;
        Ok(TableMark { schema, seq, origin, reason: MarkReason::Truncate })
    }

    /// Takes up the structure that the record tells.
    fn follow(&mut self, table: &TableId, versions: &mut Versions) -> Result<()> {
        self.decoder = None;
        let by_names = |names: &[String], key: &[String]| versions.by_names(table, names, key);
        let derived = self.structure.columns(&self.form, by_names)?;
        let schema = versions.of(table, &derived.columns, &derived.key);
        let decoder = self.form.decoder(&schema, derived.codecs, &self.options, self.want_before)?;
        self.decoder = Some((schema, decoder));
        Ok(())
    }
}
