//! Lengths of time, written in config as `60s`, `5m`, `250ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::quantity::{number_and_unit, quantity};

/// A length of time, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Period(Duration::from_secs(n))
    }

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Period(Duration::from_millis(n))
    }
}

/// Units and their milliseconds, smallest first.
const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = number_and_unit(text)
            .ok_or_else(|| format!("`{text}` is not a length of time; write it like 60s"))?;
        let (_, millis) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("`{text}` needs a unit of time: ms, s, m, h or d"))?;
        number
            .checked_mul(*millis)
            .map(|millis| Period(Duration::from_millis(millis)))
            .ok_or_else(|| format!("`{text}` is too long"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let fits = |unit: &&(&str, u64)| millis > 0 && millis.is_multiple_of(u128::from(unit.1));
        match UNITS.iter().rev().find(fits) {
            Some((name, unit)) => write!(f, "{}{name}", millis / u128::from(*unit)),
            None => write!(f, "{millis}ms"),
        }
    }
}

quantity!(Period, {
    "description": "A length of time like `60s`, `5m`, `250ms`.",
    "type": "string",
    "pattern": "^[0-9]+ *(ms|s|m|h|d)$"
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_written_alike() {
        for text in ["60ms", "59s", "5m", "36h", "2d", "0ms"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        assert_eq!("90 s".parse(), Ok(Period::secs(90)));
        assert!("60".parse::<Period>().unwrap_err().contains("unit"));
        assert!("-1s".parse::<Period>().is_err());
        assert!("99999999999999999d".parse::<Period>().unwrap_err().contains("too long"));
    }
}
