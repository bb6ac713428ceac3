//! Dates and times as ISO 8601, in the proleptic Gregorian calendar.

use std::io::Write;

use lakeward_core::Result;

use super::unreadable;

const DAY_US: i64 = 86_400_000_000;
const SECOND_US: i64 = 1_000_000;

/// Year, month and day of a day since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // The year begins in March, so that the leap day is its last; 400-year eras of 146 097 days.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Appends a number of at least `width` digits.
fn push(value: i64, width: usize, into: &mut Vec<u8>) {
    if let (2, 0..=99) = (width, value) {
        let digit = |digit: i64| b'0' + digit.to_le_bytes()[0];
        into.extend_from_slice(&[digit(value / 10), digit(value % 10)]);
    } else if write!(into, "{value:0width$}").is_err() {
        into.push(b'?');
    }
}

/// Appends a fraction of a second with `digits` digits.
fn push_fraction(micros: i64, digits: u8, into: &mut Vec<u8>) {
    if digits > 0 {
        let cut = 10_i64.pow(6 - u32::from(digits.min(6)));
        into.push(b'.');
        push(micros / cut, digits.min(6).into(), into);
    }
}

/// Appends `2026-11-21`.
pub(super) fn push_date(day: i64, into: &mut Vec<u8>) {
    let (year, month, day) = civil(day);
    push(year, 4, into);
    into.push(b'-');
    push(month, 2, into);
    into.push(b'-');
    push(day, 2, into);
}

/// Appends `2026-11-21T05:06:07.089Z`, with `digits` digits of a fraction.
pub(super) fn push_timestamp(us: i64, digits: u8, into: &mut Vec<u8>) {
    push_date(us.div_euclid(DAY_US), into);
    into.push(b'T');
    push_clock(us.rem_euclid(DAY_US), digits, into);
    into.push(b'Z');
}

fn push_clock(us: i64, digits: u8, into: &mut Vec<u8>) {
    let seconds = us / SECOND_US;
    push(seconds / 3600, 2, into);
    into.push(b':');
    push(seconds / 60 % 60, 2, into);
    into.push(b':');
    push(seconds % 60, 2, into);
    push_fraction(us % SECOND_US, digits, into);
}

/// Appends `05:06:07.089Z`; a negative span has a sign, a long one more hours.
pub(super) fn push_time(us: i64, digits: u8, into: &mut Vec<u8>) {
    if us < 0 {
        into.push(b'-');
    }
    // A TIME is at most 839 hours.
    push_clock(us.saturating_abs(), digits, into);
    into.push(b'Z');
}

/// Walks over a text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self, width_min: usize) -> Option<i64> {
        let width = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        (width_min..=9).contains(&width).then_some(())?;
        Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == byte).then_some(())
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        self.skip(b'-')?;
        let month = self.number(2)?;
        self.skip(b'-')?;
        let day = self.number(2)?;
        let days = days(year, month, day);
        (civil(days) == (year, month, day)).then_some(days)
    }

    /// Microseconds of `05:06:07.089`.
    fn clock(&mut self) -> Option<i64> {
        let hours = self.number(2)?;
        self.skip(b':')?;
        let minutes = self.number(2)?;
        let mut seconds = 0;
        if self.0.first() == Some(&b':') {
            self.skip(b':')?;
            seconds = self.number(2)?;
        }
        let mut micros = 0;
        if self.0.first() == Some(&b'.') {
            self.skip(b'.')?;
            let length = self.0.len();
            let fraction = self.number(1)?;
            let digits = u32::try_from(length - self.0.len()).ok()?;
            micros = match digits {
                0..=6 => fraction * 10_i64.pow(6 - digits),
                // Nanoseconds, of a source that has none.
                _ => (fraction % 10_i64.pow(digits - 6) == 0).then(|| fraction / 10_i64.pow(digits - 6))?,
            };
        }
        (minutes < 60 && seconds < 60).then(|| ((hours * 60 + minutes) * 60 + seconds) * SECOND_US + micros)
    }

    /// An offset in microseconds: `Z`, `+05:30`.
    fn offset(&mut self) -> Option<i64> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match sign {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.clock().map(|us| sign * us)
    }
}

fn whole<T>(text: &str, what: &str, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T> {
    let mut reader = Reader(text.as_bytes());
    let value = read(&mut reader).filter(|_| reader.0.is_empty());
    value.ok_or_else(|| unreadable(format!("`{text}` is no {what}")))
}

/// Days since 1970-01-01 of `2026-11-21`, with or without a `Z`.
pub(super) fn date(text: &str) -> Result<i32> {
    whole(text.strip_suffix('Z').unwrap_or(text), "date", |reader| i32::try_from(reader.date()?).ok())
}

/// Microseconds since 1970-01-01 UTC of `2026-11-21T05:06:07.089Z`.
pub(super) fn timestamp(text: &str) -> Result<i64> {
    whole(text, "time", |reader| {
        let day = reader.date()?;
        reader.skip(b'T')?;
        let us = reader.clock()?;
        (day * DAY_US + us).checked_sub(reader.offset()?)
    })
}

/// Microseconds of `05:06:07.089`, with or without a `Z` and a sign.
pub(super) fn time(text: &str) -> Result<i64> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    whole(rest.strip_suffix('Z').unwrap_or(rest), "time of day", |reader| Some(sign * reader.clock()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn times_are_written_as_java_prints_them() {
        assert_eq!(text(|t| push_timestamp(0, 0, t)), "1970-01-01T00:00:00Z");
        assert_eq!(text(|t| push_timestamp(-1, 6, t)), "1969-12-31T23:59:59.999999Z");
        assert_eq!(text(|t| push_timestamp(951_827_696_100_000, 1, t)), "2000-02-29T12:34:56.1Z");
        assert_eq!(text(|t| push_time(-3_020_399_000_000, 0, t)), "-838:59:59Z");
        assert_eq!(timestamp("2000-02-29T12:34:56.1+01:00").unwrap(), 951_824_096_100_000);
        assert!(timestamp("2001-02-29T00:00:00Z").is_err());
        assert!(date("2026-11-21x").is_err());
    }

    proptest! {
        #[test]
        fn times_come_back(us in -62_167_219_200_000_000_i64..253_402_300_800_000_000, span in -3_020_399_000_000_i64..=3_020_399_000_000) {
            prop_assert_eq!(timestamp(&text(|t| push_timestamp(us, 6, t))).unwrap(), us);
            let day = us.div_euclid(DAY_US);
            prop_assert_eq!(i64::from(date(&text(|t| push_date(day, t))).unwrap()), day);
            prop_assert_eq!(time(&text(|t| push_time(span, 6, t))).unwrap(), span);
        }
    }
}
