//! Decimals: numbers in Arrow, Kafka Connect's bytes (the unscaled number in two's complement, the highest
//! byte first, as few as hold it), and digits.

use arrow::datatypes::i256;
use lakeward_core::Result;

use super::unreadable;

/// The shortest two's complement of a number whose bytes are `wide`, the highest first.
pub(super) fn shortest(wide: &[u8]) -> &[u8] {
    let mut rest = wide;
    while let [first, second, ..] = rest {
        let repeats = (*first == 0 && *second < 0x80) || (*first == 0xFF && *second >= 0x80);
        if !repeats {
            break;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    rest
}

/// The number of these bytes, widened to `N` of them; `None` if it is wider.
fn widened<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let mut wide = [if negative { 0xFF } else { 0 }; N];
    let bytes = shortest(bytes);
    wide.get_mut(N.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(wide)
}

/// A decimal of up to 38 digits.
pub(super) fn narrow_of_bytes(bytes: &[u8]) -> Result<i128> {
    let wide = widened(bytes).filter(|_| !bytes.is_empty());
    wide.map(i128::from_be_bytes)
        .ok_or_else(|| unreadable("a decimal of more than 38 digits, or of no bytes"))
}

/// A decimal of up to 65 digits, as text with `scale` digits after the point.
pub(super) fn wide_of_bytes(bytes: &[u8], scale: u8, into: &mut String) -> Result<()> {
    let wide = widened(bytes).filter(|_| !bytes.is_empty());
    let number =
        wide.map(i256::from_be_bytes).ok_or_else(|| unreadable("a decimal of more than 65 digits"))?;
    into.clear();
    push_scaled(&number.to_string(), scale, into);
    Ok(())
}

/// The bytes of a decimal given as text with exactly `scale` digits after the point.
pub(super) fn bytes_of_wide(text: &str, scale: u8) -> Result<[u8; 32]> {
    let malformed = || unreadable(format!("`{text}` is no decimal of scale {scale}"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() != usize::from(scale) {
        return Err(malformed());
    }
    let digits = [whole, fraction].concat();
    digits.parse::<i256>().map(i256::to_be_bytes).map_err(|_| malformed())
}

/// Appends an unscaled number with `scale` digits after the point, as MySQL prints it.
fn push_scaled(digits: &str, scale: u8, into: &mut String) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let scale = usize::from(scale);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    into.push_str(sign);
    into.push_str(whole);
    if !fraction.is_empty() {
        into.push('.');
        into.push_str(fraction);
    }
}

/// A decimal of up to 38 digits as text.
pub(super) fn text_of_narrow(value: i128, scale: u8, into: &mut String) {
    into.clear();
    push_scaled(&value.to_string(), scale, into);
}

/// The unscaled number of a text with at most `scale` digits after the point.
pub(super) fn narrow_of_text(text: &str, scale: u8) -> Result<i128> {
    let malformed = || unreadable(format!("`{text}` is no decimal of scale {scale}"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let zeros = usize::from(scale).checked_sub(fraction.len()).ok_or_else(malformed)?;
    let digits = [whole, fraction, "0".repeat(zeros).as_str()].concat();
    digits.parse().map_err(|_| malformed())
}

/// The nearest number.
pub(super) fn double_of_narrow(value: i128, scale: u8) -> f64 {
    let mut text = String::new();
    text_of_narrow(value, scale, &mut text);
    text.parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_as_few_as_java_writes() {
        let bytes = |value: i128| shortest(&value.to_be_bytes()).to_vec();
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [0x7F]);
        assert_eq!(bytes(128), [0, 0x80]);
        assert_eq!(bytes(-128), [0x80]);
        assert_eq!(bytes(-129), [0xFF, 0x7F]);
        assert_eq!(bytes(u64::MAX.into()), [0, 255, 255, 255, 255, 255, 255, 255, 255]);
    }

    #[test]
    fn text_has_the_digits_of_its_scale() {
        let text = |value, scale| {
            let mut text = String::new();
            text_of_narrow(value, scale, &mut text);
            text
        };
        assert_eq!(text(-1, 2), "-0.01");
        assert_eq!(text(0, 3), "0.000");
        assert_eq!(text(1234, 2), "12.34");
        assert_eq!(text(99, 2), "0.99");
        assert_eq!(text(100, 2), "1.00");
        assert_eq!(text(-7, 0), "-7");
    }

    proptest! {
        #[test]
        fn decimals_come_back(value: i128, scale in 0_u8..=30) {
            prop_assert_eq!(narrow_of_bytes(shortest(&value.to_be_bytes())).unwrap(), value);
            let mut text = String::new();
            text_of_narrow(value, scale, &mut text);
            prop_assert_eq!(narrow_of_text(&text, scale).unwrap(), value);
            let mut wide = String::new();
            wide_of_bytes(shortest(&bytes_of_wide(&text, scale).unwrap()), scale, &mut wide).unwrap();
            prop_assert_eq!(wide, text);
        }
    }
}
