//! Which keys live, from the events of all files in any order.
//!
//! For each key of the class its newest event is held, also a `d`: an older event of the key may come
//! later. Where that grows over its limit, first what the last mark voids is dropped, then the half of
//! the class that a later question asks for: what is left is complete, as a class is a matter of the key
//! alone. So a table of any size is told within the limit, in as many classes as that takes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use lakeward_core::{Error, ErrorKind, KeyClass, KeysAsked, LivingKeys, Op, Result, TableSchema};

use crate::files::Lent;

/// Keys that are told together.
const ROWS: usize = 8192;
/// What one key takes beside its bytes: its place in the table, which is up to half empty and is copied
/// when it grows, and the allocator's share.
const BESIDE: usize = 128;

/// An event.
#[derive(Clone, Copy)]
struct Newest {
    seq: i64,
    lives: bool,
}

/// See the module.
pub(super) struct Living {
    table: Arc<TableSchema>,
    /// The columns of the key.
    schema: SchemaRef,
    converter: RowConverter,
    class: KeyClass,
    below: i64,
    /// The last mark that was met.
    mark: i64,
    newest: HashMap<Box<[u8]>, Newest>,
    bytes: usize,
    memory: Lent,
}

impl Living {
    pub(super) fn new(asked: &KeysAsked, memory: Lent) -> Result<Self> {
        let table = Arc::clone(&asked.schema);
        let fields: Vec<_> =
            table.key.iter().filter_map(|at| table.arrow.fields().get(*at)).cloned().collect();
        if fields.is_empty() {
            return Err(Error::new(ErrorKind::Bug, "keys are asked for of a table without one"));
        }
        let sorted = fields.iter().map(|field: &Arc<Field>| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(sorted.collect()).map_err(unconverted)?;
        Ok(Living {
            table,
            schema: Arc::new(Schema::new(fields)),
            converter,
            class: asked.class,
            below: asked.below,
            mark: i64::MIN,
            newest: HashMap::new(),
            bytes: 0,
            memory,
        })
    }

    /// The last mark that was met.
    pub(super) fn mark(&self) -> i64 {
        self.mark
    }

    /// Events whose version lacks the key.
    pub(super) fn no_such_key(&self, file: &str) -> Error {
        Error::new(ErrorKind::TableChanged, "the lake holds events from before the table had its key")
            .of_table(&self.table.table)
            .at("file", file)
            .remedy(format!("lakeward snapshot {}", self.table.table))
    }

    /// Notes events: their keys as they stand in the file, their numbers and kinds.
    pub(super) fn note(&mut self, keys: &[ArrayRef], seq: &Int64Array, op: &StringArray) -> Result<()> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let widened = |(key, field): (&ArrayRef, &Arc<Field>)| {
            cast_with_options(key, field.data_type(), &strict).map_err(|error| {
                Error::new(ErrorKind::TableChanged, "a key of the lake does not fit its column any more")
                    .of_table(&self.table.table)
                    .at("column", field.name())
                    .remedy(format!("lakeward snapshot {}", self.table.table))
                    .caused_by(error)
            })
        };
        let keys: Vec<ArrayRef> =
            keys.iter().zip(self.schema.fields()).map(widened).collect::<Result<_>>()?;
        let rows = self.converter.convert_columns(&keys).map_err(unconverted)?;
        for (at, row) in rows.iter().enumerate() {
            let seq = seq.value(at);
            if op.value(at) == Op::Truncate.letter() {
                self.mark = self.mark.max(seq);
                continue;
            }
            let row = row.as_ref();
            if seq < self.mark || !self.class.has(hash(row)) {
                continue;
            }
            let newest = Newest { seq, lives: op.value(at) != Op::Delete.letter() };
            match self.newest.get_mut(row) {
                Some(known) if known.seq < seq => *known = newest,
                Some(_) => {}
                None => {
                    self.bytes += row.len() + BESIDE;
                    self.newest.insert(row.into(), newest);
                }
            }
        }
        self.stay_within()
    }

    /// Drops what need not be held, and halves the class until it fits.
    fn stay_within(&mut self) -> Result<()> {
        let (limit, mark) = (self.memory.bytes() / 2, self.mark);
        if self.bytes > limit {
            self.keep(|_, newest| newest.seq > mark);
        }
        while self.bytes > limit {
            let half = self.class.halved();
            self.class =
                half.ok_or_else(|| Error::new(ErrorKind::Bug, "a class of keys cannot be halved"))?;
            let class = self.class;
            self.keep(|key, _| class.has(hash(key)));
        }
        Ok(())
    }

    fn keep(&mut self, keeps: impl Fn(&[u8], &Newest) -> bool) {
        self.newest.retain(|key, newest| keeps(key, newest));
        self.newest.shrink_to_fit();
        self.bytes = self.newest.keys().map(|key| key.len() + BESIDE).sum();
    }

    /// The keys that live, once all events were noted.
    pub(super) fn told(mut self) -> Result<LivingKeys> {
        let lives = |newest: &Newest| newest.lives && newest.seq > self.mark && newest.seq < self.below;
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        keys.extend(
            std::mem::take(&mut self.newest)
                .into_iter()
                .filter_map(|(key, newest)| lives(&newest).then_some(key)),
        );
        keys.sort_unstable();
        let parser = self.converter.parser();
        let mut told = LivingKeys { keys: Vec::new(), next: self.class.next() };
        let mut keys = keys.into_iter();
        while keys.len() > 0 {
            let part: Vec<Box<[u8]>> = keys.by_ref().take(ROWS).collect();
            let rows = part.iter().map(|key| parser.parse(key));
            let columns = self.converter.convert_rows(rows).map_err(unconverted)?;
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(unconverted)?;
            told.keys.push(batch);
        }
        Ok(told)
    }
}

/// The same in every run: answers depend on it.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cold]
fn unconverted(error: ArrowError) -> Error {
    Error::new(ErrorKind::Bug, "keys cannot be turned into bytes").caused_by(error)
}
