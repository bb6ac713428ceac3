//! Dates and times of row images and of JSON: from their packed forms to numbers and to the text that
//! MySQL prints.
//!
//! Layouts: `my_datetime_packed_from_binary`, `my_time_packed_from_binary` and
//! `my_timestamp_from_binary` of MySQL's sql-common/my_time.cc; the forms of before 5.6 as
//! `Field_time`, `Field_datetime` and `Field_timestamp` store them.
//!
//! Every field of a date is checked against the calendar, so no sum below can leave 64 bits: the
//! greatest year is 9999.

use std::io::Write;

use lakeward_core::{Error, Result};

use super::cursor::{Cursor, corrupt, unreadable};

/// A date and time as MySQL stores it; may be zero or partial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    pub(super) micros: u32,
}

/// A span of time with its sign, as TIME holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) negative: bool,
    pub(super) hours: u16,
    pub(super) minutes: u8,
    pub(super) seconds: u8,
    pub(super) micros: u32,
}

const SECONDS_PER_DAY: i64 = 86_400;
const MICROS: i64 = 1_000_000;

#[cold]
fn impossible(what: &str) -> Error {
    unreadable(format!("a {what} with a field out of its range"))
}

/// The low byte: for fields that a mask has already cut to it.
#[inline]
fn low(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// A fraction of `fsp` digits, big-endian, as microseconds.
#[inline]
fn fraction(image: &mut Cursor<'_>, fsp: u8) -> Result<u32> {
    let micros = match fsp.div_ceil(2) {
        0 => 0,
        1 => u32::from(image.u8()?) * 10_000,
        2 => u32::from(u16::from_be_bytes(image.array()?)) * 100,
        _ => {
            let [a, b, c] = image.array()?;
            u32::from_be_bytes([0, a, b, c])
        }
    };
    if micros >= 1_000_000 {
        return Err(impossible("fraction"));
    }
    Ok(micros)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, of a month 1 to 12.
#[inline]
fn days_from_civil(year: u16, month: u8, day: u8) -> i64 {
    // The year begins in March, so that the leap day is its last; 400-year eras of 146 097 days.
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[inline]
fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

impl Civil {
    /// DATE: 3 bytes.
    #[inline]
    pub(super) fn date(image: &mut Cursor<'_>) -> Result<Self> {
        let packed = image.uint(3)?;
        let year = u16::try_from(packed >> 9).map_err(|_| impossible("DATE"))?;
        Civil { year, month: low(packed >> 5 & 15), day: low(packed & 31), ..Civil::default() }
            .checked("DATE")
    }

    /// DATETIME(fsp) since MySQL 5.6.
    #[inline]
    pub(super) fn datetime(image: &mut Cursor<'_>, fsp: u8) -> Result<Self> {
        let [a, b, c, d, e] = image.array()?;
        let packed = u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
            .checked_sub(0x80_0000_0000)
            .ok_or_else(|| impossible("DATETIME"))?;
        Self::unpack(packed, fraction(image, fsp)?)
    }

    /// The 40-bit integer part of a packed datetime.
    #[inline]
    fn unpack(packed: u64, micros: u32) -> Result<Self> {
        let (date, time) = (packed >> 17, packed & 0x1_FFFF);
        let months = date >> 5;
        Civil {
            year: u16::try_from(months / 13).map_err(|_| impossible("DATETIME"))?,
            month: low(months % 13),
            day: low(date & 31),
            hour: low(time >> 12),
            minute: low(time >> 6 & 63),
            second: low(time & 63),
            micros,
        }
        .checked("DATETIME")
    }

    /// DATETIME before MySQL 5.6: the decimal number YYYYMMDDhhmmss.
    pub(super) fn old_datetime(image: &mut Cursor<'_>) -> Result<Self> {
        let number = image.u64()?;
        let pair = |divisor: u64| low(number / divisor % 100);
        Civil {
            year: u16::try_from(number / 10_000_000_000).map_err(|_| impossible("DATETIME"))?,
            month: pair(100_000_000),
            day: pair(1_000_000),
            hour: pair(10_000),
            minute: pair(100),
            second: pair(1),
            micros: 0,
        }
        .checked("DATETIME")
    }

    /// A date or datetime inside JSON: 8 bytes, microseconds in the low 24 bits.
    pub(super) fn packed(bytes: [u8; 8]) -> Result<Self> {
        let packed = i64::from_le_bytes(bytes);
        let unsigned = u64::try_from(packed).map_err(|_| impossible("DATETIME"))?;
        Self::unpack(unsigned >> 24, json_fraction(unsigned)?)
    }

    /// A moment, in seconds since 1970 and microseconds, in UTC.
    pub(super) fn from_unix(seconds: u32, micros: u32) -> Self {
        // Inverse of days_from_civil, for days 0 to 49 710.
        let days = seconds / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + u32::from(month <= 2);
        let second = seconds % 86_400;
        let byte = |value: u32| low(u64::from(value));
        Civil {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: byte(month),
            day: byte(of_year - (153 * march_month + 2) / 5 + 1),
            hour: byte(second / 3_600),
            minute: byte(second / 60 % 60),
            second: byte(second % 60),
            micros,
        }
    }

    #[inline]
    fn checked(self, what: &str) -> Result<Self> {
        let Civil { year, month, day, hour, minute, second, .. } = self;
        let fits = year <= 9999 && month <= 12 && day <= 31 && hour < 24 && minute < 60 && second < 60;
        if fits { Ok(self) } else { Err(impossible(what)) }
    }

    /// Whether the calendar has this day: neither zero, nor partial, nor a 30 February.
    #[inline]
    pub(super) fn is_day(self) -> bool {
        self.day >= 1
            && (self.day <= 28 || self.day <= days_in_month(self.year, self.month))
            && self.month >= 1
    }

    /// Days since 1970-01-01; `None` for zero and partial dates.
    #[inline]
    pub(super) fn days(self) -> Option<i32> {
        if !self.is_day() {
            return None;
        }
        i32::try_from(days_from_civil(self.year, self.month, self.day)).ok()
    }

    /// Microseconds since 1970-01-01 00:00:00; `None` for zero and partial dates.
    #[inline]
    pub(super) fn micros(self) -> Option<i64> {
        if !self.is_day() {
            return None;
        }
        let days = days_from_civil(self.year, self.month, self.day);
        let seconds = i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second);
        Some((days * SECONDS_PER_DAY + seconds) * MICROS + i64::from(self.micros))
    }

    /// `YYYY-MM-DD`.
    pub(super) fn append_date(self, out: &mut Vec<u8>) {
        append(out, format_args!("{:04}-{:02}-{:02}", self.year, self.month, self.day));
    }

    /// `YYYY-MM-DD hh:mm:ss`, with `fsp` digits of the fraction.
    pub(super) fn append_datetime(self, fsp: u8, out: &mut Vec<u8>) {
        self.append_date(out);
        append(out, format_args!(" {:02}:{:02}:{:02}", self.hour, self.minute, self.second));
        append_fraction(self.micros, fsp, out);
    }
}

/// TIMESTAMP(fsp) since MySQL 5.6: seconds since 1970 and microseconds, UTC. (0, 0) is the zero date.
#[inline]
pub(super) fn timestamp(image: &mut Cursor<'_>, fsp: u8) -> Result<(u32, u32)> {
    Ok((u32::from_be_bytes(image.array()?), fraction(image, fsp)?))
}

impl Span {
    /// TIME(fsp) since MySQL 5.6: integer and fraction as one big-endian number, biased.
    #[inline]
    pub(super) fn time(image: &mut Cursor<'_>, fsp: u8) -> Result<Self> {
        let bytes = image.take(usize::from(3 + fsp.div_ceil(2)))?;
        let stored = bytes.iter().fold(0i64, |value, byte| value << 8 | i64::from(*byte));
        // Negative times are stored as the two's complement of integer and fraction together.
        let fraction_bits = 8 * u32::from(fsp.div_ceil(2));
        let signed = stored - (0x80_0000 << fraction_bits);
        let size = signed.unsigned_abs();
        let scale = match fsp.div_ceil(2) {
            0 => 0,
            1 => 10_000,
            2 => 100,
            _ => 1,
        };
        let micros = (size & ((1 << fraction_bits) - 1)) * scale;
        Self::unpack(signed < 0, size >> fraction_bits, micros)
    }

    fn unpack(negative: bool, packed: u64, micros: u64) -> Result<Self> {
        let span = Span {
            negative,
            hours: u16::try_from(packed >> 12 & 0x3FF).unwrap_or(u16::MAX),
            minutes: low(packed >> 6 & 63),
            seconds: low(packed & 63),
            micros: u32::try_from(micros).map_err(|_| impossible("TIME"))?,
        };
        if span.minutes >= 60 || span.seconds >= 60 || span.micros >= 1_000_000 || packed >> 22 != 0 {
            return Err(impossible("TIME"));
        }
        Ok(span)
    }

    /// TIME before MySQL 5.6: the signed decimal number hhmmss.
    pub(super) fn old_time(image: &mut Cursor<'_>) -> Result<Self> {
        let [a, b, c] = image.array()?;
        let number = i32::from_le_bytes([0, a, b, c]) >> 8;
        let size = u64::from(number.unsigned_abs());
        let packed = (size / 10_000) << 12 | (size / 100 % 100) << 6 | (size % 100);
        if size / 100 % 100 >= 60 || size % 100 >= 60 {
            return Err(impossible("TIME"));
        }
        Self::unpack(number < 0, packed, 0)
    }

    /// A time inside JSON: 8 bytes, microseconds in the low 24 bits.
    pub(super) fn packed(bytes: [u8; 8]) -> Result<Self> {
        let packed = i64::from_le_bytes(bytes);
        let size = packed.unsigned_abs();
        Self::unpack(packed < 0, size >> 24, size & 0xFF_FFFF)
    }

    /// Microseconds.
    #[inline]
    pub(super) fn micros(self) -> i64 {
        let seconds = i64::from(self.hours) * 3_600 + i64::from(self.minutes) * 60 + i64::from(self.seconds);
        let micros = seconds * MICROS + i64::from(self.micros);
        if self.negative { -micros } else { micros }
    }

    /// `hh:mm:ss`, with `fsp` digits of the fraction.
    pub(super) fn append_text(self, fsp: u8, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        append(out, format_args!("{:02}:{:02}:{:02}", self.hours, self.minutes, self.seconds));
        append_fraction(self.micros, fsp, out);
    }
}

fn json_fraction(packed: u64) -> Result<u32> {
    match u32::try_from(packed & 0xFF_FFFF) {
        Ok(micros) if micros < 1_000_000 => Ok(micros),
        _ => Err(corrupt("a time in JSON with a fraction of more than a second")),
    }
}

fn append_fraction(micros: u32, fsp: u8, out: &mut Vec<u8>) {
    if fsp > 0 {
        let digits = micros / 10u32.pow(6u32.saturating_sub(u32::from(fsp)));
        append(out, format_args!(".{digits:0width$}", width = usize::from(fsp)));
    }
}

#[expect(clippy::let_underscore_must_use, reason = "writing to a Vec cannot fail")]
fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(fsp: u8, bytes: &[u8]) -> (i64, String) {
        let span = Span::time(&mut Cursor::new(bytes), fsp).unwrap();
        let mut out = Vec::new();
        span.append_text(fsp, &mut out);
        (span.micros(), String::from_utf8(out).unwrap())
    }

    #[test]
    fn negative_times_with_a_fraction_are_exact() {
        // Examples in the comment of my_time_packed_to_binary: -00:00:00.01 is 7FFFFF.FF.
        assert_eq!(time(2, &[0x7F, 0xFF, 0xFF, 0xFF]), (-10_000, "-00:00:00.01".into()));
        assert_eq!(time(2, &[0x7F, 0xFF, 0xFF, 0x9D]), (-990_000, "-00:00:00.99".into()));
        assert_eq!(time(2, &[0x7F, 0xFF, 0xFF, 0x00]), (-1_000_000, "-00:00:01.00".into()));
        assert_eq!(time(2, &[0x7F, 0xFF, 0xFE, 0xFF]), (-1_010_000, "-00:00:01.01".into()));
        assert_eq!(time(0, &[0x80, 0, 0]), (0, "00:00:00".into()));
        // ~ 838:59:59.000000
        assert_eq!(time(6, &[0xB4, 0x6E, 0xFB, 0, 0, 0]).1, "838:59:59.000000");
    }

    #[test]
    fn every_day_from_1970_to_2106_comes_back() {
        for day in 0..=49_709u32 {
            let civil = Civil::from_unix(day * 86_400 + 3_661, 7);
            assert_eq!(civil.micros(), Some((i64::from(day) * 86_400 + 3_661) * MICROS + 7));
            assert_eq!(civil.days(), i32::try_from(day).ok());
        }
    }

    #[test]
    fn days_that_the_calendar_lacks_have_no_number() {
        let date = |year, month, day| Civil { year, month, day, ..Civil::default() };
        assert_eq!(date(0, 0, 0).days(), None);
        assert_eq!(date(2026, 2, 0).days(), None);
        assert_eq!(date(2026, 0, 5).days(), None);
        assert_eq!(date(2026, 2, 29).days(), None);
        assert_eq!(date(2024, 2, 29).days(), Some(19_782));
        assert_eq!(date(0, 1, 1).days(), Some(-719_528));
        assert_eq!(date(9999, 12, 31).days(), Some(2_932_896));
    }

    #[test]
    fn times_of_before_5_6_are_read() {
        let stamp = 20_261_121_235_959u64.to_le_bytes();
        let civil = Civil::old_datetime(&mut Cursor::new(&stamp)).unwrap();
        let mut out = Vec::new();
        civil.append_datetime(0, &mut out);
        assert_eq!(out, b"2026-11-21 23:59:59");
        let number = (-8_385_959i32).to_le_bytes();
        let span = Span::old_time(&mut Cursor::new(&number[..3])).unwrap();
        let mut out = Vec::new();
        span.append_text(0, &mut out);
        assert_eq!(out, b"-838:59:59");
    }
}
