//! Column chunks of very large values, written by us.
//!
//! The Parquet writer holds a value four times while it makes a page of it: the array, the encoded
//! values, the page, the compressed page. Here the values go from the array straight into the
//! compressor, so that two are held: the array and what it is compressed to. With the event that the
//! source still holds that makes three, which is what a run is allowed (`tests/e2e/bounded.rs`).
//!
//! The bytes are what the Parquet writer would have made: data pages of version 1, plain values behind
//! definition levels in runs. (Format: parquet.thrift, `PageHeader`, `DataPageHeader`; Encodings.md,
//! "Run Length Encoding / Bit-Packing Hybrid".) No statistics: nobody prunes by such values.

use std::io::{self, Read, Write};

use arrow::array::{Array, AsArray, GenericByteArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{BinaryType, ByteArrayType, DataType, Utf8Type};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::ColumnDescPtr;

/// A value from this size on is large. Below, four copies are as nothing.
const LARGE_VALUE: usize = 4 << 20;
/// Bytes of values after which a page ends.
const PAGE_BYTES: usize = 1 << 20;
/// Snappy looks back this far, and its blocks are this long.
const SNAPPY_BLOCK: usize = 64 << 10;

/// Whether a column has a large value.
pub(super) fn has_large_value(column: &dyn Array) -> bool {
    let offsets = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_offsets(),
        DataType::Binary => column.as_binary::<i32>().value_offsets(),
        _ => return false,
    };
    let length = |from: &i32, to: &i32| usize::try_from(to - from).unwrap_or(0);
    let all = offsets.first().zip(offsets.last()).map_or(0, |(first, last)| length(first, last));
    let lengths =
        offsets.windows(2).map(|pair| pair.first().zip(pair.last()).map_or(0, |(a, b)| length(a, b)));
    all >= LARGE_VALUE && lengths.max().is_some_and(|longest| longest >= LARGE_VALUE)
}

/// A column chunk as it will stand in the file.
#[derive(Default)]
pub(super) struct Chunk {
    pieces: Vec<Bytes>,
    bytes: usize,
}

/// Makes the chunk of a column of strings or bytes. `parent` tells where the struct around it is null.
pub(super) fn chunk(
    column: &dyn Array,
    parent: Option<&NullBuffer>,
    described: ColumnDescPtr,
    compression: Compression,
) -> Result<(Chunk, ColumnCloseResult)> {
    match column.data_type() {
        DataType::Utf8 => chunk_of::<Utf8Type>(column.as_bytes(), parent, described, compression),
        DataType::Binary => chunk_of::<BinaryType>(column.as_bytes(), parent, described, compression),
        other => Err(ParquetError::General(format!("{other} has no large values"))),
    }
}

fn chunk_of<T: ByteArrayType<Offset = i32>>(
    values: &GenericByteArray<T>,
    parent: Option<&NullBuffer>,
    described: ColumnDescPtr,
    compression: Compression,
) -> Result<(Chunk, ColumnCloseResult)> {
    let deepest = described.max_def_level();
    let level = |row: usize| match (parent.is_none_or(|parent| parent.is_valid(row)), values.is_valid(row)) {
        (true, true) => deepest,
        (true, false) => deepest - 1,
        (false, _) => 0,
    };
    let value = |row: usize| -> &[u8] { values.value(row).as_ref() };
    let (mut chunk, mut index, mut uncompressed) = (Chunk::default(), OffsetIndexBuilder::new(), 0);
    let mut row = 0;
    while row < values.len() {
        let first = row;
        let mut bytes = 0;
        while row < values.len() && bytes < PAGE_BYTES {
            if level(row) == deepest {
                bytes += 4 + value(row).len();
            }
            row += 1;
        }
        let levels = run_lengths((first..row).map(level));
        let size = levels.len() + bytes;
        let mut body = Body::new(compression, size)?;
        body.write_all(&levels)?;
        for row in (first..row).filter(|row| level(*row) == deepest) {
            let value = value(row);
            body.write_all(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes())?;
            body.write_all(value)?;
        }
        let body = body.finish()?;
        let header = page_header(size, body.len(), row - first)?;
        index.append_row_count(as_i64(row - first));
        index.append_offset_and_size(as_i64(chunk.bytes), as_i32(header.len() + body.len())?);
        index.append_unencoded_byte_array_data_bytes(None);
        uncompressed += header.len() + size;
        chunk.push(header);
        chunk.push(body);
    }
    let metadata = ColumnChunkMetaData::builder(described)
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
        .set_compression(compression)
        .set_num_values(as_i64(values.len()))
        .set_total_compressed_size(as_i64(chunk.bytes))
        .set_total_uncompressed_size(as_i64(uncompressed))
        .set_data_page_offset(0)
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: chunk.bytes as u64,
        rows_written: values.len() as u64,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: Some(index.build()),
    };
    Ok((chunk, close))
}

fn as_i64(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn as_i32(size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| ParquetError::General(format!("a page of {size} bytes")))
}

/// Definition levels of a page: a length, then a run for each stretch of equal levels.
fn run_lengths(levels: impl Iterator<Item = i16>) -> Vec<u8> {
    let mut runs: Vec<(u64, i16)> = Vec::new();
    for level in levels {
        match runs.last_mut() {
            Some((length, last)) if *last == level => *length += 1,
            _ => runs.push((1, level)),
        }
    }
    let mut out = vec![0; 4];
    for (length, level) in runs {
        varint(length << 1, &mut out);
        // Two levels of nesting at most: one byte.
        out.extend(u8::try_from(level));
    }
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX).to_le_bytes();
    out.iter_mut().zip(length).for_each(|(out, byte)| *out = byte);
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The header of a data page, in Thrift's compact protocol.
fn page_header(uncompressed: usize, compressed: usize, values: usize) -> Result<Vec<u8>> {
    const I32: u8 = 0x15; // the next field, an i32
    const STRUCT_TWO_ON: u8 = 0x2C; // the field after the next, a struct
    const STOP: u8 = 0;
    let mut out = Vec::with_capacity(32);
    let number = |out: &mut Vec<u8>, value: i32| {
        out.push(I32);
        // Zigzag: no value here is negative.
        varint(u64::from(value.unsigned_abs()) << 1, out);
    };
    number(&mut out, 0); // type: DATA_PAGE
    number(&mut out, as_i32(uncompressed)?);
    number(&mut out, as_i32(compressed)?);
    out.push(STRUCT_TWO_ON); // data_page_header
    number(&mut out, as_i32(values)?);
    number(&mut out, 0); // encoding: PLAIN
    number(&mut out, 3); // definition levels: RLE
    number(&mut out, 3); // repetition levels: RLE; there are none
    out.extend([STOP, STOP]);
    Ok(out)
}

/// The body of a page on its way through the compressor.
enum Body {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// The blocks of raw Snappy do not refer to one another: each is compressed alone and loses its
    /// own length, which the whole has in front.
    Snappy {
        encoder: Box<snap::raw::Encoder>,
        block: Vec<u8>,
        out: Vec<u8>,
    },
    Plain(Vec<u8>),
}

impl Body {
    /// For `size` bytes.
    fn new(compression: Compression, size: usize) -> Result<Self> {
        Ok(match compression {
            Compression::ZSTD(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level.compression_level())?;
                encoder.set_pledged_src_size(Some(size as u64))?;
                Body::Zstd(encoder)
            }
            Compression::SNAPPY => {
                let mut out = Vec::new();
                varint(size as u64, &mut out);
                let block = Vec::with_capacity(SNAPPY_BLOCK);
                Body::Snappy { encoder: Box::new(snap::raw::Encoder::new()), block, out }
            }
            Compression::UNCOMPRESSED => Body::Plain(Vec::with_capacity(size)),
            other => return Err(ParquetError::General(format!("{other} is not written"))),
        })
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.flush()?;
        Ok(match self {
            Body::Zstd(encoder) => encoder.finish()?,
            Body::Snappy { out, .. } | Body::Plain(out) => out,
        })
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Body::Zstd(encoder) => encoder.write(bytes),
            Body::Plain(out) => out.write(bytes),
            Body::Snappy { block, .. } => {
                let taken = bytes.get(..SNAPPY_BLOCK - block.len()).unwrap_or(bytes);
                block.extend_from_slice(taken);
                let (full, taken) = (block.len() == SNAPPY_BLOCK, taken.len());
                if full {
                    self.flush()?;
                }
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Body::Snappy { encoder, block, out } = self {
            let compressed = encoder.compress_vec(block)?;
            let own_length = compressed.iter().position(|byte| byte & 0x80 == 0).map_or(0, |last| last + 1);
            out.extend_from_slice(compressed.get(own_length..).unwrap_or_default());
            block.clear();
        }
        Ok(())
    }
}

impl Chunk {
    fn push(&mut self, piece: Vec<u8>) {
        self.bytes += piece.len();
        self.pieces.push(piece.into());
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.bytes as u64
    }
}

impl ChunkReader for Chunk {
    type T = ChunkBytes;

    fn get_read(&self, start: u64) -> Result<ChunkBytes> {
        match start {
            0 => Ok(ChunkBytes(self.pieces.clone().into_iter())),
            other => Err(ParquetError::General(format!("a chunk is read from byte {other}"))),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// The bytes of a [`Chunk`], front to back.
pub(super) struct ChunkBytes(std::vec::IntoIter<Bytes>);

impl Read for ChunkBytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.0.as_mut_slice().first_mut() {
            if piece.is_empty() {
                self.0.next();
                continue;
            }
            let length = piece.len().min(out.len());
            let taken = piece.split_to(length);
            if let Some(out) = out.get_mut(..length) {
                out.copy_from_slice(&taken);
            }
            return Ok(length);
        }
        Ok(0)
    }
}
