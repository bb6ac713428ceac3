//! Sizes in bytes, written in config as `128MiB`, `64 MB`, `4096`.

use std::fmt;
use std::str::FromStr;

use crate::quantity::{number_and_unit, quantity};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        ByteSize(n << 20)
    }
}

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) =
            number_and_unit(text).ok_or_else(|| format!("`{text}` is not a size; write it like 128MiB"))?;
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("`{unit}` is not a unit of size; use B, KB, MB, GB, KiB, MiB or GiB"))?;
        number.checked_mul(*factor).map(ByteSize).ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1 << 30 && n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n >= 1 << 20 && n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n >= 1 << 10 && n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

quantity!(ByteSize, {
    "description": "A size in bytes, as a number or like `128MiB`.",
    "type": ["string", "integer"],
    "pattern": "^[0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)?$",
    "minimum": 0
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_alike() {
        for text in ["128MiB", "1GiB", "17B", "3KiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert_eq!("64 MB".parse(), Ok(ByteSize(64_000_000)));
        assert!("12 parsecs".parse::<ByteSize>().unwrap_err().contains("parsecs"));
        assert!("99999999999GiB".parse::<ByteSize>().is_err());
    }
}
