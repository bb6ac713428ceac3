//! Where a new pipeline begins.

use std::str::FromStr;

use lakeward_core::GtidSet;

/// Where a new pipeline begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest binlog the server has.
    Earliest,
    /// At what the server commits from now on.
    Latest,
    /// After these transactions.
    Gtids(GtidSet),
    /// At a place in a binlog.
    File {
        /// Binlog file name.
        file: String,
        /// Byte offset of an event that begins a transaction.
        offset: u64,
    },
}

/// Where the first event of a binlog file begins (MySQL internals: after the magic number).
const FIRST_EVENT: u64 = 4;

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "earliest" => return Ok(StartAt::Earliest),
            "latest" => return Ok(StartAt::Latest),
            "" => return Err("the start is empty".into()),
            _ => {}
        }
        if let Ok(set) = text.parse() {
            return Ok(StartAt::Gtids(set));
        }
        // Binlog file names end in a dot and digits (MySQL manual, "The Binary Log").
        let file = text.trim().rsplit_once(':').and_then(|(file, offset)| {
            let (base, digits) = file.rsplit_once('.')?;
            let numbered =
                !base.is_empty() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let offset = offset.parse().ok().filter(|offset| *offset >= FIRST_EVENT)?;
            numbered.then(|| StartAt::File { file: file.to_owned(), offset })
        });
        file.ok_or_else(|| format!("`{text}` is not a place to start at"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert_eq!("earliest".parse(), Ok(StartAt::Earliest));
        assert_eq!("latest".parse(), Ok(StartAt::Latest));
        let set = format!("{uuid}:1-5:tag:7");
        assert_eq!(set.parse(), Ok(StartAt::Gtids(set.parse().unwrap())));
        let file = StartAt::File { file: "mysql-bin.000042".into(), offset: 5_000_000_000 };
        assert_eq!("mysql-bin.000042:5000000000".parse(), Ok(file));
        for text in ["", "newest", "binlog.000001", "binlog:4", "binlog.000001:x", "binlog.000001:3", ".1:4"]
        {
            assert!(text.parse::<StartAt>().is_err(), "{text}");
        }
    }
}
