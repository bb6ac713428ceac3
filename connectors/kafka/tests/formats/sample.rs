//! Change batches with values of every column type, made from a seed.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float32Builder,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use lakeward_core::{
    ChangeBatch, ChangeMeta, Column, ColumnType, Op, Origin, OriginRun, TableId, TableSchema, TypeOptions,
};

use lakeward_kafka::format::FormatOptions;

/// A generator of numbers (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number between the two, often one of them.
    fn between(&mut self, low: i128, high: i128) -> i128 {
        let wide = u128::from(self.next()) << 64 | u128::from(self.next());
        match self.below(6) {
            0 => low,
            1 => high,
            2 => 0_i128.clamp(low, high),
            _ => match high.abs_diff(low) {
                u128::MAX => wide.cast_signed(),
                span => low.wrapping_add_unsigned(wide % (span + 1)),
            },
        }
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 9] =
            ["", "naïve", "\"", "\\", "\0\u{1f}\n", "☃ 𝄞", "plain text", "{\"a\": 1}", "\u{7f}"];
        (0..self.below(4)).map(|_| PARTS[self.below(9) as usize]).collect()
    }
}

/// BIGINT.
pub(crate) const LONG: ColumnType = ColumnType::Int { width: 8, unsigned: false, display_one: false };

/// A table with a column of every type.
pub(crate) fn schema(options: TypeOptions, key: bool) -> Arc<TableSchema> {
    let int = |width, unsigned, display_one| ColumnType::Int { width, unsigned, display_one };
    let mut columns =
        vec![Column::new("id", LONG, false), Column::new("must", ColumnType::Text { collation: 255 }, false)];
    let labels = vec!["a".to_owned(), "b".to_owned()];
    let mut types = vec![
        int(1, false, false),
        int(1, false, true),
        int(1, true, false),
        int(2, false, false),
        int(2, true, false),
        int(3, false, false),
        int(3, true, false),
        int(4, false, false),
        int(4, true, false),
        int(8, true, false),
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::Bit { bits: 1 },
        ColumnType::Bit { bits: 9 },
        ColumnType::Bit { bits: 64 },
        ColumnType::Year,
        ColumnType::Date,
        ColumnType::Text { collation: 8 },
        ColumnType::Binary { fixed: Some(4) },
        ColumnType::Binary { fixed: None },
        ColumnType::Enum { labels: labels.clone() },
        ColumnType::Set { labels },
        ColumnType::Json,
        ColumnType::Geometry,
        ColumnType::Vector,
    ];
    for (precision, scale) in [(1, 0), (9, 9), (18, 4), (38, 30), (39, 0), (65, 30)] {
        types.push(ColumnType::Decimal { precision, scale });
    }
    for fsp in 0..=6 {
        types.extend([ColumnType::Time { fsp }, ColumnType::Datetime { fsp }, ColumnType::Timestamp { fsp }]);
    }
    columns.extend(types.into_iter().enumerate().map(|(n, ty)| Column::new(format!("c \"{n}"), ty, true)));
    let key = if key { vec![0] } else { Vec::new() };
    Arc::new(TableSchema::new(TableId::new("d", "t"), 3, columns, key, options))
}

/// Values of a column, null where `present` says so.
fn array(ty: &ColumnType, arrow: &DataType, present: &[bool], random: &mut Random) -> ArrayRef {
    fn some<T>(present: &[bool], mut value: impl FnMut() -> T) -> Vec<Option<T>> {
        present.iter().map(|present| present.then(&mut value)).collect()
    }
    macro_rules! ints {
        ($array:ty, $low:expr, $high:expr, $int:ty) => {
            Arc::new(<$array>::from(some(present, || random.between($low as i128, $high as i128) as $int)))
        };
    }
    let step = |fsp: u8| 10_i128.pow(6 - u32::from(fsp));
    match (ty, arrow) {
        (_, DataType::Boolean) => Arc::new(BooleanArray::from(some(present, || random.below(2) == 1))),
        (_, DataType::Int8) => ints!(Int8Array, i8::MIN, i8::MAX, i8),
        (_, DataType::Int16) => ints!(Int16Array, i16::MIN, i16::MAX, i16),
        (_, DataType::Int32) => ints!(Int32Array, i32::MIN, i32::MAX, i32),
        (ColumnType::Time { fsp }, DataType::Int64) => {
            let most = 3_020_399_000_000 / step(*fsp);
            Arc::new(Int64Array::from(some(present, || (random.between(-most, most) * step(*fsp)) as i64)))
        }
        (_, DataType::Int64) => ints!(Int64Array, i64::MIN, i64::MAX, i64),
        (_, DataType::Float32) => Arc::new(Float32Array::from(some(present, || finite32(random)))),
        (_, DataType::Float64) => Arc::new(Float64Array::from(some(present, || {
            let value = f64::from_bits(random.next());
            if value.is_finite() { value } else { f64::MIN_POSITIVE }
        }))),
        (_, DataType::Decimal128(precision, _)) => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            let (low, high) = match ty {
                ColumnType::Int { .. } => (0, i128::from(u64::MAX)),
                _ => (-most, most),
            };
            let values = Decimal128Array::from(some(present, || random.between(low, high)));
            Arc::new(values.with_data_type(arrow.clone()))
        }
        (_, DataType::Date32) => {
            Arc::new(Date32Array::from(some(present, || random.between(-354_285, 2_932_896) as i32)))
        }
        (ColumnType::Datetime { fsp } | ColumnType::Timestamp { fsp }, DataType::Timestamp(_, zone)) => {
            let (low, high) = (-30_610_224_000_000_000 / step(*fsp), 253_402_300_799_000_000 / step(*fsp));
            let values = some(present, || (random.between(low, high) * step(*fsp)) as i64);
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone.clone()))
        }
        (ColumnType::Decimal { precision, scale }, DataType::Utf8) => {
            Arc::new(StringArray::from(some(present, || {
                let whole = usize::from(*precision - *scale);
                let digit = |random: &mut Random| char::from(b'0' + random.below(10) as u8);
                let mut digits: String = (0..whole).map(|_| digit(random)).collect();
                digits = digits.trim_start_matches('0').to_owned();
                let fraction: String = (0..*scale).map(|_| digit(random)).collect();
                let sign = if random.below(2) == 0 && !digits.is_empty() { "-" } else { "" };
                let whole = if digits.is_empty() { "0" } else { &digits };
                let point = if *scale > 0 { "." } else { "" };
                format!("{sign}{whole}{point}{fraction}")
            })))
        }
        (_, DataType::Utf8) => Arc::new(StringArray::from(some(present, || random.text()))),
        (ColumnType::Bit { bits }, DataType::Binary) => {
            let values = some(present, || random.bytes(u64::from(bits.div_ceil(8))));
            Arc::new(BinaryArray::from_iter(values))
        }
        (ColumnType::Geometry, DataType::Binary) => Arc::new(BinaryArray::from_iter(some(present, || {
            let srid = [0xE6, 0x10, 0, 0];
            let (flag, srid) = if random.below(2) == 0 { (0, &[][..]) } else { (0x20, &srid[..]) };
            [&[1, 1, 0, 0, flag], srid, &random.bytes(16)].concat()
        }))),
        (_, DataType::Binary) => Arc::new(BinaryArray::from_iter(some(present, || {
            let length = random.below(20);
            random.bytes(length)
        }))),
        (_, DataType::List(item)) => {
            let mut lists = ListBuilder::new(Float32Builder::new()).with_field(Arc::clone(item));
            for present in present {
                for _ in 0..if *present { random.below(4) } else { 0 } {
                    lists.values().append_value(finite32(random));
                }
                lists.append(*present);
            }
            Arc::new(lists.finish())
        }
        (ty, arrow) => panic!("no values of {ty:?} in {arrow}"),
    }
}

fn finite32(random: &mut Random) -> f32 {
    let value = f32::from_bits(random.next() as u32);
    if value.is_finite() { value } else { f32::MAX }
}

fn image(schema: &TableSchema, key_only: &[bool], random: &mut Random) -> RecordBatch {
    let columns = schema.columns.iter().zip(schema.arrow.fields()).enumerate();
    let arrays = columns.map(|(index, (column, field))| {
        let of_key = schema.key.contains(&index);
        let present = key_only
            .iter()
            .map(|key_only| of_key || !(*key_only || (column.nullable && random.below(4) == 0)));
        let present: Vec<bool> = present.collect();
        array(&column.ty, field.data_type(), &present, random)
    });
    let arrays = arrays.collect();
    RecordBatch::try_new(Arc::clone(&schema.arrow), arrays).unwrap()
}

/// Runs of changes and of rows read, as sources give them.
fn meta(random: &mut Random) -> ChangeMeta {
    let mut meta = ChangeMeta::default();
    let mut seq = 1;
    for offset in 1..=1 + random.below(5) {
        let rows = 1 + random.below(4) as usize;
        let read = random.below(4) == 0;
        for _ in 0..rows {
            let op = [Op::Create, Op::Update, Op::Delete][random.below(3) as usize];
            meta.op.push(if read { Op::Read } else { op });
            meta.seq.push(seq);
            seq += 1 + random.below(3) as i64;
        }
        let origin = Origin {
            commit_us: random.between(-1, 1 << 52) as i64 * 1000 / 1000,
            gtid: (random.below(2) == 0).then(|| format!("uuid:tag:{offset}").into()),
            file: "binlog \"1\"".into(),
            offset,
            server_id: if read { 0 } else { random.next() as u32 },
            thread: (!read && random.below(3) > 0).then(|| random.next() as u32),
            began: None,
        };
        let first_row = if read { 0 } else { random.below(3) as u32 };
        meta.origins.push(OriginRun { rows, first_row, origin: origin.clone() });
        if !read && random.below(3) == 0 {
            // The other half of an update of the key: the number of the one before, once more.
            meta.op.push(Op::Create);
            meta.seq.push(seq);
            seq += 1;
            let number = first_row + rows as u32 - 1;
            meta.origins.push(OriginRun { rows: 1, first_row: number, origin });
        }
    }
    meta
}

/// A batch of a few rows.
pub(crate) fn batch(
    schema: &Arc<TableSchema>,
    options: &FormatOptions,
    want_before: bool,
    random: &mut Random,
) -> ChangeBatch {
    let meta = meta(random);
    let told_by_key = !schema.key.is_empty() && options.message_key_columns.is_empty();
    let key_only: Vec<bool> =
        meta.op.iter().map(|op| told_by_key && *op == Op::Delete && random.below(3) == 0).collect();
    let rows = image(schema, &key_only, random);
    let before = want_before.then(|| {
        let old = image(schema, &vec![false; meta.op.len()], random);
        let choices = meta.op.iter().zip(&key_only).enumerate().map(|(row, (op, key_only))| match op {
            Op::Delete if !key_only => (0, row),
            Op::Update if random.below(4) > 0 => (1, row),
            _ => (2, 0),
        });
        let choices: Vec<(usize, usize)> = choices.collect();
        let columns = rows.columns().iter().zip(old.columns()).map(|(rows, old)| {
            interleave(&[rows, old, &new_null_array(rows.data_type(), 1)], &choices).unwrap()
        });
        RecordBatch::try_new(Arc::clone(&schema.arrow), columns.collect()).unwrap()
    });
    ChangeBatch { schema: Arc::clone(schema), rows, before, meta }
}
