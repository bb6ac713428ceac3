//! DECIMAL in row images and in JSON: groups of nine digits, big-endian, sign in the first bit.
//!
//! The format is `decimal2bin` of MySQL's strings/decimal.cc: a full group takes 4 bytes, a rest of
//! 1 to 8 digits the fewest that hold it; negative numbers are stored with every bit flipped, and the
//! first bit of all is flipped once more so that bytes sort as numbers do.

use lakeward_core::Result;

use super::cursor::corrupt;

/// Bytes of a group of so many digits.
const GROUP_BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const POWERS: [u32; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// How the digits of a DECIMAL(precision, scale) are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Digits of the first, short group before the point.
    lead: u8,
    /// Full groups before the point.
    whole: u8,
    /// Full groups after it.
    fraction: u8,
    /// Digits of the last, short group.
    tail: u8,
}

impl Format {
    /// `precision` of at most 81 and `scale` not above it, as the callers check.
    pub(super) fn new(precision: u8, scale: u8) -> Self {
        let whole = precision.saturating_sub(scale);
        Format { lead: whole % 9, whole: whole / 9, fraction: scale / 9, tail: scale % 9 }
    }

    /// Digits after the point.
    pub(super) fn scale(self) -> u8 {
        9 * self.fraction + self.tail
    }

    /// Bytes of a value; at most 40.
    pub(super) fn width(self) -> u8 {
        GROUP_BYTES[usize::from(self.lead)]
            + 4 * (self.whole + self.fraction)
            + GROUP_BYTES[usize::from(self.tail)]
    }

    /// Hands each group to `each` as (value, digits), highest first; says whether the number is negative.
    #[inline(always)]
    fn groups(self, bytes: &[u8], mut each: impl FnMut(u32, u8)) -> Result<bool> {
        let negative = bytes.first().is_none_or(|first| first & 0x80 == 0);
        let flip = if negative { u8::MAX } else { 0 };
        let mut first = 0x80;
        let mut rest = bytes;
        let mut group = |digits: u8| -> Result<()> {
            let width = usize::from(GROUP_BYTES[usize::from(digits)]);
            let Some((taken, after)) = rest.split_at_checked(width) else {
                return Err(corrupt("a DECIMAL shorter than its digits"));
            };
            rest = after;
            let mut value = 0u32;
            for byte in taken {
                value = value << 8 | u32::from(byte ^ flip ^ first);
                first = 0;
            }
            if value >= POWERS[usize::from(digits)] {
                return Err(corrupt("a DECIMAL with a digit group that is too large"));
            }
            each(value, digits);
            Ok(())
        };
        if self.lead > 0 {
            group(self.lead)?;
        }
        for _ in 0..self.whole + self.fraction {
            group(9)?;
        }
        if self.tail > 0 {
            group(self.tail)?;
        }
        Ok(negative)
    }

    /// The number times 10^scale. Exact to 38 digits: a sum of checked groups stays below 10^38.
    #[inline]
    pub(super) fn unscaled(self, bytes: &[u8]) -> Result<i128> {
        if self.width() <= 8 {
            // At most 18 digits: a byte holds at least two, and 8 bytes are two full groups.
            let mut value = 0u64;
            let negative = self.groups(bytes, |group, digits| {
                value =
                    value.wrapping_mul(u64::from(POWERS[usize::from(digits)])).wrapping_add(u64::from(group));
            })?;
            let value = i128::from(value);
            return Ok(if negative { -value } else { value });
        }
        let mut value = 0i128;
        let negative = self.groups(bytes, |group, digits| {
            value =
                value.wrapping_mul(i128::from(POWERS[usize::from(digits)])).wrapping_add(i128::from(group));
        })?;
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    /// The number as MySQL prints it: no leading zeros, every digit of the scale.
    pub(super) fn append_text(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut digits = [0u8; 90];
        let mut len = 0;
        let negative = self.groups(bytes, |group, count| {
            for place in (0..usize::from(count)).rev() {
                if let Some(digit) = digits.get_mut(len) {
                    *digit = b'0' + (group / POWERS[place] % 10).to_le_bytes()[0];
                    len += 1;
                }
            }
        })?;
        let whole_len = usize::from(self.lead) + 9 * usize::from(self.whole);
        let digits = digits.get(..len).unwrap_or(&digits);
        let (whole, fraction) = digits.split_at_checked(whole_len).unwrap_or((digits, &[]));
        let first = whole.iter().position(|digit| *digit != b'0').unwrap_or(whole.len());
        if negative && digits.iter().any(|digit| *digit != b'0') {
            out.push(b'-');
        }
        match whole.get(first..) {
            Some(significant) if !significant.is_empty() => out.extend_from_slice(significant),
            _ => out.push(b'0'),
        }
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(precision: u8, scale: u8, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        Format::new(precision, scale).append_text(bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_manuals_example_is_read() {
        // strings/decimal.cc, comment of decimal2bin: 1234567890.1234 as DECIMAL(14,4).
        let bytes = [0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
        assert_eq!(Format::new(14, 4).unscaled(&bytes).unwrap(), 12_345_678_901_234);
        assert_eq!(text(14, 4, &bytes), "1234567890.1234");
        let negative = [0x7E, 0xF2, 0x04, 0xC7, 0x2D, 0xFB, 0x2D];
        assert_eq!(Format::new(14, 4).unscaled(&negative).unwrap(), -12_345_678_901_234);
        assert_eq!(text(14, 4, &negative), "-1234567890.1234");
    }

    #[test]
    fn the_widest_decimal_and_zero_are_printed() {
        assert_eq!(text(1, 1, &[0x80]), "0.0");
        assert_eq!(text(2, 0, &[0x80]), "0");
        assert_eq!(Format::new(65, 30).width(), 30);
        assert_eq!(Format::new(65, 0).width(), 29);
    }

    #[test]
    fn damaged_groups_are_refused() {
        assert!(Format::new(9, 0).unscaled(&[0xFF; 4]).is_err());
        assert!(Format::new(9, 0).unscaled(&[0x80]).is_err());
    }

    /// `decimal2bin`, from the digits of the number without its point.
    fn stored(precision: u8, scale: u8, negative: bool, digits: &str) -> Vec<u8> {
        let format = Format::new(precision, scale);
        let mut counts = vec![format.lead];
        counts.extend(vec![9; usize::from(format.whole + format.fraction)]);
        counts.push(format.tail);
        let mut bytes = Vec::new();
        let mut rest = digits;
        for count in counts {
            let (group, after) = rest.split_at(usize::from(count));
            rest = after;
            let value: u32 = if group.is_empty() { 0 } else { group.parse().unwrap() };
            let width = usize::from(GROUP_BYTES[usize::from(count)]);
            bytes.extend_from_slice(&value.to_be_bytes()[4 - width..]);
        }
        if negative {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        bytes[0] ^= 0x80;
        bytes
    }

    proptest::proptest! {
        #[test]
        fn every_decimal_comes_back(
            digits in "[0-9]{65}", precision in 1u8..=65, scale in 0u8..=30, negative: bool,
        ) {
            let scale = scale.min(precision);
            let digits = &digits[..usize::from(precision)];
            let zero = digits.bytes().all(|digit| digit == b'0');
            let bytes = stored(precision, scale, negative && !zero, digits);
            let (whole, fraction) = digits.split_at(usize::from(precision - scale));
            let whole = match whole.trim_start_matches('0') { "" => "0", whole => whole };
            let sign = if negative && !zero { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            proptest::prop_assert_eq!(text(precision, scale, &bytes), format!("{sign}{whole}{point}{fraction}"));
            if precision <= 38 {
                let number: i128 = digits.parse().unwrap();
                let number = if negative { -number } else { number };
                proptest::prop_assert_eq!(Format::new(precision, scale).unscaled(&bytes).unwrap(), number);
            }
        }
    }
}
