//! The form of records: a first one, until all of Debezium's is here.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use lakeward_core::{ChangeBatch, Clock, Error, ErrorKind, Op, Result, TableMark, TableSchema};
use schemars::JsonSchema;
use serde::Deserialize;

/// The settings of records.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FormatOptions {}

/// Writes records.
pub struct Encoder;

/// Encoded records.
#[derive(Default)]
pub struct Encoded {
    /// All of them.
    pub bytes: Vec<u8>,
    /// Each of them.
    pub records: Vec<EncodedRecord>,
}

/// One record.
pub struct EncodedRecord {
    /// Row of the batch; 0 for a mark.
    pub row: usize,
    /// Its key.
    pub key: Option<Range<usize>>,
    /// Its value; `None`: a tombstone.
    pub value: Option<Range<usize>>,
}

fn bug(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Bug, "rows cannot be encoded").caused_by(error)
}

fn lines(batch: &RecordBatch) -> Result<Vec<String>> {
    let mut text = Vec::new();
    let mut writer = arrow_json::LineDelimitedWriter::new(&mut text);
    writer.write(batch).and_then(|()| writer.finish()).map_err(bug)?;
    Ok(String::from_utf8(text).map_err(bug)?.lines().map(str::to_owned).collect())
}

impl Encoder {
    #[allow(missing_docs, clippy::missing_errors_doc)]
    pub fn new(_: &FormatOptions, _: &str, _: Arc<dyn Clock>) -> Result<Encoder> {
        Ok(Encoder)
    }

    #[allow(missing_docs, clippy::missing_errors_doc)]
    pub fn schema(&mut self, _: &Arc<TableSchema>, _: &str) -> Result<()> {
        Ok(())
    }

    #[allow(missing_docs, clippy::missing_errors_doc)]
    pub fn batch(&mut self, batch: &ChangeBatch, into: &mut Encoded) -> Result<()> {
        into.bytes.clear();
        into.records.clear();
        let key = &batch.schema.key;
        let keys = if key.is_empty() { None } else { Some(lines(&batch.rows.project(key).map_err(bug)?)?) };
        for (row, line) in lines(&batch.rows)?.into_iter().enumerate() {
            let start = into.bytes.len();
            if let Some(key) = keys.as_ref().and_then(|keys| keys.get(row)) {
                into.bytes.extend_from_slice(key.as_bytes());
            }
            let middle = into.bytes.len();
            let op = batch.meta.op.get(row).copied().unwrap_or(Op::Read);
            let text = match op {
                Op::Delete => format!("{{\"before\":{line},\"after\":null,\"op\":\"d\"}}"),
                op => format!("{{\"before\":null,\"after\":{line},\"op\":\"{}\"}}", op.letter()),
            };
            into.bytes.extend_from_slice(text.as_bytes());
            let key = (middle > start).then_some(start..middle);
            into.records.push(EncodedRecord { row, key, value: Some(middle..into.bytes.len()) });
        }
        Ok(())
    }

    #[allow(missing_docs, clippy::missing_errors_doc)]
    pub fn mark(&mut self, _: &TableMark, into: &mut Encoded) -> Result<()> {
        into.bytes.clear();
        into.records.clear();
        into.bytes.extend_from_slice(b"{\"before\":null,\"after\":null,\"op\":\"t\"}");
        into.records.push(EncodedRecord { row: 0, key: None, value: Some(0..into.bytes.len()) });
        Ok(())
    }
}
