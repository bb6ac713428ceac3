//! How the values of a column stand in records: chosen once per column and table version, the same for
//! every format.
//!
//! A codec names both sides: the Arrow type that [`lakeward_core::ColumnType`] has, and what Debezium writes
//! for the column's type. What differs between formats is how a number, a text or bytes are put into a
//! record and taken from it: [`Put`] and [`Take`].

use lakeward_core::schema::DECIMAL_DIGITS_MAX;
use lakeward_core::{ColumnType, Result, TypeOptions, ZeroDates};

use super::options::{BinaryMode, DecimalMode, FormatOptions, TimeMode, UnsignedMode};

/// The form of a column's values in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Boolean,
    /// All whole numbers but BIGINT UNSIGNED.
    Int,
    Float,
    Double,
    Text,
    Binary(BinaryMode),
    /// BIT(n): bytes, the lowest first.
    Bits,
    /// DECIMAL of up to 38 digits, BIGINT UNSIGNED.
    Decimal {
        scale: u8,
        mode: DecimalMode,
    },
    /// DECIMAL of more digits: text in Arrow.
    WideDecimal {
        scale: u8,
        mode: DecimalMode,
    },
    /// BIGINT UNSIGNED as a signed number with the same bits.
    UnsignedLong,
    Days,
    IsoDate,
    TimeMicros,
    TimeMillis,
    IsoTime,
    EpochMicros,
    EpochMillis,
    IsoTimestamp,
    /// TIMESTAMP as text of so many digits of a fraction.
    Zoned {
        fsp: u8,
    },
    Geometry,
    Vector,
}

impl Codec {
    /// The codec of a column's type.
    pub(super) fn new(ty: &ColumnType, options: &TypeOptions, format: &FormatOptions) -> Codec {
        let time = format.time_precision_mode;
        let dates_as_text = options.zero_dates == ZeroDates::String;
        match ty {
            ColumnType::Int { width: 1, display_one: true, .. } if options.tinyint1_as_boolean => {
                Codec::Boolean
            }
            ColumnType::Int { width: 8, unsigned: true, .. } => match format.bigint_unsigned_handling_mode {
                UnsignedMode::Precise => Codec::Decimal { scale: 0, mode: DecimalMode::Precise },
                UnsignedMode::Long => Codec::UnsignedLong,
            },
            ColumnType::Int { .. } | ColumnType::Year => Codec::Int,
            ColumnType::Decimal { precision, scale } => {
                let (scale, mode) = (*scale, format.decimal_handling_mode);
                match *precision <= DECIMAL_DIGITS_MAX {
                    true => Codec::Decimal { scale, mode },
                    false => Codec::WideDecimal { scale, mode },
                }
            }
            ColumnType::Float => Codec::Float,
            ColumnType::Double => Codec::Double,
            ColumnType::Bit { bits: 1 } => Codec::Boolean,
            ColumnType::Bit { .. } => Codec::Bits,
            ColumnType::Date | ColumnType::Datetime { .. } | ColumnType::Timestamp { .. }
                if dates_as_text =>
            {
                Codec::Text
            }
            ColumnType::Date => match time {
                TimeMode::AdaptiveTimeMicroseconds | TimeMode::Connect => Codec::Days,
                TimeMode::Isostring => Codec::IsoDate,
            },
            ColumnType::Time { .. } if options.time_as_string => Codec::Text,
            ColumnType::Time { .. } => match time {
                TimeMode::AdaptiveTimeMicroseconds => Codec::TimeMicros,
                TimeMode::Connect => Codec::TimeMillis,
                TimeMode::Isostring => Codec::IsoTime,
            },
            ColumnType::Datetime { fsp } => match time {
                TimeMode::AdaptiveTimeMicroseconds if *fsp > 3 => Codec::EpochMicros,
                TimeMode::AdaptiveTimeMicroseconds | TimeMode::Connect => Codec::EpochMillis,
                TimeMode::Isostring => Codec::IsoTimestamp,
            },
            ColumnType::Timestamp { fsp } => Codec::Zoned { fsp: *fsp },
            ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => {
                Codec::Text
            }
            ColumnType::Binary { .. } => Codec::Binary(format.binary_handling_mode),
            ColumnType::Geometry => Codec::Geometry,
            ColumnType::Vector => Codec::Vector,
        }
    }
}

/// Puts values into a record.
pub(super) trait Put {
    /// Whether a field that must not lack a value may be written without one all the same.
    fn holds_null_anywhere(&self) -> bool;
    /// No value, of a field that may lack one.
    fn null(&mut self);
    /// A value follows, of a field that may lack one if it is `optional`.
    fn present(&mut self, optional: bool);
    fn boolean(&mut self, value: bool);
    fn int(&mut self, value: i64);
    fn float(&mut self, value: f32);
    fn double(&mut self, value: f64);
    fn text(&mut self, value: &str);
    /// Text of ASCII without quotes, backslashes and control characters.
    fn plain(&mut self, value: &[u8]);
    fn bytes(&mut self, value: &[u8]);
    fn geometry(&mut self, wkb: &[u8], srid: Option<i32>);
    fn floats(&mut self, values: &[f32]);
}

/// Takes values from a record, in the order of its fields.
pub(super) trait Take {
    /// Whether the next value is none; if so it is taken.
    fn null(&mut self) -> Result<bool>;
    fn boolean(&mut self) -> Result<bool>;
    fn int(&mut self) -> Result<i64>;
    fn float(&mut self) -> Result<f32>;
    fn double(&mut self) -> Result<f64>;
    fn text(&mut self) -> Result<&str>;
    fn bytes(&mut self) -> Result<&[u8]>;
    /// Well-known binary, and the reference system.
    fn geometry(&mut self) -> Result<(&[u8], Option<i32>)>;
    fn floats(&mut self, into: &mut Vec<f32>) -> Result<()>;
}
