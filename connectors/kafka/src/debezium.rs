//! Topics that Debezium itself wrote: as JSON with or without its schema part, or as Avro.
//!
//! Such records bear neither a version nor a number. The table's structure is derived from each record's own
//! schema (what that cannot tell stands at [`crate::format`]'s `connect`); without one, in JSON, the caller
//! must give it, and the settings must be those that Debezium wrote with. A version is new when the derived
//! structure is another; a column keeps its number by its name. The number of an event is the caller's: by the
//! order in the topic partition.

use std::sync::Arc;

use lakeward_core::{
    ChangeBatch, Column, Error, ErrorKind, MarkReason, Op, Result, TableId, TableMark, TableSchema,
    TypeOptions,
};

use crate::format::foreign::{Envelope, Form, Structure};
use crate::format::{FormatOptions, Received, TableDecoder, unreadable};
use crate::registry::Registry;

/// Reads the records of one topic.
pub struct Reader {
    form: Form,
    types: TypeOptions,
    options: FormatOptions,
    want_before: bool,
    schema: Option<Arc<TableSchema>>,
    decoder: Option<TableDecoder>,
    /// What the last record said of its structure, and whether that was taken.
    structure: Structure,
}

/// What became of a record.
#[derive(Debug)]
pub enum Pushed {
    /// It was gathered.
    Row,
    /// It was not taken yet: a version begins with it. What was gathered is to be finished with the version
    /// before; then the same record is to be pushed again.
    Version(Arc<TableSchema>),
    /// All earlier events of the table are void. What was gathered before comes before it.
    Mark(TableMark),
}

impl Reader {
    /// A reader of one topic. `known` is the newest version of its table that is known; for JSON without its
    /// schema part it must be given.
    ///
    /// # Errors
    /// `Config` if the settings do not go together.
    pub fn new(
        options: &FormatOptions,
        registry: Option<Arc<Registry>>,
        types: TypeOptions,
        known: Option<Arc<TableSchema>>,
        want_before: bool,
    ) -> Result<Reader> {
        let form = Form::new(options, registry)?;
        let structure = Structure::default();
        let options = options.clone();
        Ok(Reader { form, types, options, want_before, schema: known, decoder: None, structure })
    }

    /// The version of the records that were gathered.
    pub fn schema(&self) -> Option<&Arc<TableSchema>> {
        self.schema.as_ref()
    }

    /// Rows gathered so far.
    pub fn rows(&self) -> usize {
        self.decoder.as_ref().map_or(0, TableDecoder::rows)
    }

    /// Their memory, about.
    pub fn bytes(&self) -> usize {
        self.decoder.as_ref().map_or(0, TableDecoder::bytes)
    }

    /// Takes a record that has a value (one without is a tombstone, and no event).
    ///
    /// # Errors
    /// `UnreadableRecord` says what is wrong with it; it leaves nothing behind. `RegistryUnreachable`,
    /// `RegistryRefused`.
    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8], seq: i64) -> Result<Pushed> {
        let changed = self.structure.note(&self.form, key, value)?;
        let envelope = self.form.envelope(value)?;
        if (changed || self.decoder.is_none())
            && let Some(schema) = self.follow(&envelope)?
        {
            return Ok(Pushed::Version(schema));
        }
        let (Some(schema), Some(decoder)) = (&self.schema, &mut self.decoder) else {
            return Err(Error::new(ErrorKind::Bug, "a record before its table's version"));
        };
        if envelope.op == Op::Truncate {
            let (schema, origin) = (Arc::clone(schema), self.form.source_of(value)?);
            return Ok(Pushed::Mark(TableMark { schema, seq, origin, reason: MarkReason::Truncate }));
        }
        decoder.push(&Received { key, value, op: envelope.op, seq })?;
        Ok(Pushed::Row)
    }

    /// What was gathered, in order; `None` if nothing was.
    ///
    /// # Errors
    /// `Bug` if the values do not form arrays.
    pub fn finish(&mut self) -> Result<Option<ChangeBatch>> {
        self.decoder.as_mut().map_or(Ok(None), TableDecoder::finish)
    }

    /// Follows the structure that the record tells; a version, if it is a new one.
    fn follow(&mut self, envelope: &Envelope) -> Result<Option<Arc<TableSchema>>> {
        let table = TableId::new(envelope.database.as_str(), envelope.table.as_str());
        let Some(derived) = self.structure.columns(&self.form)? else {
            let known = self.schema.as_ref().filter(|known| known.table == table);
            let known = known.ok_or_else(|| {
                unreadable("the record does not tell its schema, and none was given for its table")
            })?;
            let decoder = self.form.decoder(known, None, &self.options, self.want_before)?;
            self.decoder = Some(decoder);
            return Ok(None);
        };
        let earlier = self.schema.as_deref().filter(|earlier| earlier.table == table);
        let version = next_version(earlier, table, &derived.columns, derived.key, self.types);
        let same = earlier.is_some_and(|earlier| earlier.same_structure(&version));
        let schema = match &self.schema {
            Some(known) if same => Arc::clone(known),
            _ => Arc::new(version),
        };
        if same && self.decoder.is_some() {
            return Ok(None);
        }
        if self.rows() > 0 {
            // The caller has to take them first; the structure is told anew when the record comes again.
            self.structure.forget();
            return Ok(Some(schema));
        }
        let codecs = Some(derived.codecs);
        self.decoder = Some(self.form.decoder(&schema, codecs, &self.options, self.want_before)?);
        self.schema = Some(Arc::clone(&schema));
        Ok((!same).then_some(schema))
    }
}

/// The version after `earlier`: columns keep their numbers by their names.
fn next_version(
    earlier: Option<&TableSchema>,
    table: TableId,
    columns: &[Column],
    key: Vec<usize>,
    types: TypeOptions,
) -> TableSchema {
    let mut columns = columns.to_vec();
    for column in &mut columns {
        let known =
            earlier.and_then(|earlier| earlier.columns.iter().find(|known| known.name == column.name));
        column.id = known.map_or(0, |known| known.id);
    }
    let version = earlier.map_or(1, |earlier| earlier.version.saturating_add(1));
    let groundwork = earlier.map(|earlier| earlier.groundwork.clone()).unwrap_or_default();
    TableSchema::with(table, version, columns, key, types, groundwork)
}
