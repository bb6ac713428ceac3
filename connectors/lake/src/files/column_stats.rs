//! Statistics of a file's columns for its commit record: nulls counted by us, least and greatest
//! values from the Parquet statistics where they are exact and short.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::shape::Shape;
use crate::commit::record::ColumnStats;

/// Longest text of a value in a record, in bytes.
const TEXT_MAX: usize = 64;

/// A least or greatest value.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Bound {
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
}

/// Statistics of the table's own columns, in their order. They are the first leaves of the file,
/// one per column: lists have one leaf too.
pub(super) fn column_stats(shape: &Shape, metadata: &ParquetMetaData, nulls: &[u64]) -> Vec<ColumnStats> {
    let columns = shape.arrow.fields().iter().zip(nulls);
    columns
        .enumerate()
        .map(|(leaf, (field, nulls))| {
            let bounds = bounds(metadata, leaf, field.data_type());
            let text = |bound: &Bound| text(bound, field.data_type());
            let (min, max) = bounds.map_or((None, None), |(min, max)| (text(&min), text(&max)));
            ColumnStats { name: field.name().clone(), nulls: *nulls, min, max }
        })
        .collect()
}

/// Least and greatest value over all row groups; `None` unless known for each that has values.
fn bounds(metadata: &ParquetMetaData, leaf: usize, ty: &DataType) -> Option<(Bound, Bound)> {
    let mut found: Option<(Bound, Bound)> = None;
    for row_group in metadata.row_groups() {
        let statistics = row_group.columns().get(leaf)?.statistics()?;
        if statistics.null_count_opt() == Some(row_group.num_rows().cast_unsigned()) {
            continue;
        }
        let (min, max) = of_row_group(statistics, ty)?;
        found = Some(match found {
            None => (min, max),
            Some((least, greatest)) => {
                (lesser(least, min, Ordering::Less), lesser(greatest, max, Ordering::Greater))
            }
        });
    }
    found
}

fn lesser(one: Bound, other: Bound, keep: Ordering) -> Bound {
    if other.partial_cmp(&one) == Some(keep) { other } else { one }
}

fn of_row_group(statistics: &Statistics, ty: &DataType) -> Option<(Bound, Bound)> {
    if !(statistics.min_is_exact() && statistics.max_is_exact()) {
        return None;
    }
    let (min, max) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
    Some(match statistics {
        Statistics::Boolean(s) => (Bound::Bool(*s.min_opt()?), Bound::Bool(*s.max_opt()?)),
        Statistics::Int32(s) => (Bound::Whole((*s.min_opt()?).into()), Bound::Whole((*s.max_opt()?).into())),
        Statistics::Int64(s) => (Bound::Whole((*s.min_opt()?).into()), Bound::Whole((*s.max_opt()?).into())),
        Statistics::Float(s) => (Bound::Real((*s.min_opt()?).into()), Bound::Real((*s.max_opt()?).into())),
        Statistics::Double(s) => (Bound::Real(*s.min_opt()?), Bound::Real(*s.max_opt()?)),
        Statistics::ByteArray(_) if *ty == DataType::Utf8 => (short(min)?, short(max)?),
        Statistics::FixedLenByteArray(_) if matches!(ty, DataType::Decimal128(..)) => {
            (whole(min)?, whole(max)?)
        }
        // Bytes have no text; Parquet's 96-bit integers are never written.
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) | Statistics::Int96(_) => return None,
    })
}

fn short(bytes: &[u8]) -> Option<Bound> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= TEXT_MAX).then(|| Bound::Text(text.to_owned()))
}

/// A decimal as Parquet stores it: big-endian, two's complement.
fn whole(bytes: &[u8]) -> Option<Bound> {
    let sign = bytes.first()? >> 7;
    let mut wide = [if sign == 1 { 0xFF } else { 0 }; 16];
    wide.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(Bound::Whole(i128::from_be_bytes(wide)))
}

/// A value as Arrow prints it.
fn text(bound: &Bound, ty: &DataType) -> Option<String> {
    let array: ArrayRef = match (bound, ty) {
        (Bound::Text(text), _) => return Some(text.clone()),
        (Bound::Bool(value), _) => std::sync::Arc::new(BooleanArray::from(vec![*value])),
        (Bound::Real(value), DataType::Float32) => one::<Float32Type>(*value as f32, ty),
        (Bound::Real(value), _) => one::<Float64Type>(*value, ty),
        (Bound::Whole(value), DataType::Decimal128(precision, scale)) => {
            let array =
                Decimal128Array::from(vec![*value]).with_precision_and_scale(*precision, *scale).ok()?;
            std::sync::Arc::new(array)
        }
        (Bound::Whole(value), DataType::Int8) => one::<Int8Type>((*value).try_into().ok()?, ty),
        (Bound::Whole(value), DataType::Int16) => one::<Int16Type>((*value).try_into().ok()?, ty),
        (Bound::Whole(value), DataType::Int32) => one::<Int32Type>((*value).try_into().ok()?, ty),
        (Bound::Whole(value), DataType::Int64) => one::<Int64Type>((*value).try_into().ok()?, ty),
        (Bound::Whole(value), DataType::Date32) => one::<Date32Type>((*value).try_into().ok()?, ty),
        (Bound::Whole(value), DataType::Timestamp(..)) => {
            // Without its zone, which Arrow prints only if it is a number; it is always UTC.
            let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
            one::<TimestampMicrosecondType>((*value).try_into().ok()?, &plain)
        }
        (Bound::Whole(_), _) => return None,
    };
    let options = FormatOptions::default();
    let zone = if matches!(ty, DataType::Timestamp(_, Some(_))) { "Z" } else { "" };
    let printed = ArrayFormatter::try_new(&array, &options).ok()?.value(0).try_to_string().ok()? + zone;
    (printed.len() <= TEXT_MAX).then_some(printed)
}

fn one<T: ArrowPrimitiveType>(value: T::Native, ty: &DataType) -> ArrayRef {
    std::sync::Arc::new(PrimitiveArray::<T>::from_value(value, 1).with_data_type(ty.clone()))
}
