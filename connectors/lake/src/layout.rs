//! Where a table's files lie: partition folders of the commit time, and names that hold no clock
//! and no random part.
//!
//! `<database>/<table>/<partition>/<pipeline>-<first seq, 20 digits>-<epoch>-<n>.parquet`. Two
//! files never get one name: `epoch` is claimed by one writer of the pipeline and `n` counts its
//! files. Escaping is injective, so two tables never share a folder.

use lakeward_core::TableId;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::MetaColumns;

/// The folder of the lake's own records, beside those of the databases. No database is named so:
/// escaping never leaves a leading `_`.
pub const RECORDS: &str = "_lakeward";

/// Span of time that one partition folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    /// An hour, UTC.
    #[default]
    Hour,
    /// A day, UTC.
    Day,
}

/// How partition folders are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// `dt=2026-11-21/hr=05`.
    #[default]
    DtHr,
    /// `year=2026/month=11/day=21/hour=05`.
    Ymdh,
}

impl Preset {
    /// Names of the folders, which readers show as columns.
    pub fn folder_names(self, partitioning: Partitioning) -> &'static [&'static str] {
        match (self, partitioning) {
            (Preset::DtHr, Partitioning::Hour) => &["dt", "hr"],
            (Preset::DtHr, Partitioning::Day) => &["dt"],
            (Preset::Ymdh, Partitioning::Hour) => &["year", "month", "day", "hour"],
            (Preset::Ymdh, Partitioning::Day) => &["year", "month", "day"],
        }
    }
}

/// The partition folders of a lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Their names.
    pub preset: Preset,
    /// Their span.
    pub partitioning: Partitioning,
}

/// A partition of time: hours or days since 1970-01-01 UTC, negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition(i64);

const HOUR_US: i64 = 3_600_000_000;

impl Layout {
    /// The partition of a commit time, µs since 1970-01-01 UTC. Total: any time has one.
    pub fn partition(&self, commit_us: i64) -> Partition {
        Partition(commit_us.div_euclid(match self.partitioning {
            Partitioning::Hour => HOUR_US,
            Partitioning::Day => 24 * HOUR_US,
        }))
    }

    /// Its folder, as `dt=2026-11-21/hr=05`. Years before 0 or after 9999 keep their sign and
    /// digits; the others have four.
    pub fn folder(&self, partition: Partition) -> String {
        let (day, hour) = match self.partitioning {
            Partitioning::Hour => (partition.0.div_euclid(24), Some(partition.0.rem_euclid(24))),
            Partitioning::Day => (partition.0, None),
        };
        let (year, month, day) = civil(day);
        match (self.preset, hour) {
            (Preset::DtHr, Some(hour)) => format!("dt={year:04}-{month:02}-{day:02}/hr={hour:02}"),
            (Preset::DtHr, None) => format!("dt={year:04}-{month:02}-{day:02}"),
            (Preset::Ymdh, Some(hour)) => {
                format!("year={year:04}/month={month:02}/day={day:02}/hour={hour:02}")
            }
            (Preset::Ymdh, None) => format!("year={year:04}/month={month:02}/day={day:02}"),
        }
    }

    /// Columns of a table that have the name of a partition folder or of an added column, as
    /// sentences with the fix. Readers of a lake fold case, so names are compared that way.
    pub fn collisions<'a>(
        &self,
        columns: impl IntoIterator<Item = &'a str>,
        added: &MetaColumns,
    ) -> Vec<Collision> {
        let folders = self.preset.folder_names(self.partitioning);
        let mut found = Vec::new();
        for column in columns {
            if folders.iter().any(|folder| folder.eq_ignore_ascii_case(column)) {
                let remedy = match self.preset {
                    Preset::DtHr => "set lake.layout: ymdh",
                    Preset::Ymdh => "set lake.layout: dt_hr",
                };
                found.push(Collision {
                    column: column.to_owned(),
                    with: "a partition folder",
                    remedy: remedy.into(),
                });
            }
            for (key, name) in added.named() {
                if name.eq_ignore_ascii_case(column) {
                    let remedy = format!("set lake.columns.{key} to a name that no table uses");
                    found.push(Collision {
                        column: column.to_owned(),
                        with: "a column that lakeward adds",
                        remedy,
                    });
                }
            }
        }
        found
    }
}

/// A time as people read it, as `2026-11-21 05:06:07 UTC`.
pub(crate) fn utc(us: i64) -> String {
    let seconds = us.div_euclid(1_000_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A table's column whose name is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The column.
    pub column: String,
    /// What has its name.
    pub with: &'static str,
    /// The config that solves it.
    pub remedy: String,
}

/// The folder of a table below the lake's root: `<database>/<table>`, both escaped.
pub fn table_folder(table: &TableId) -> String {
    format!("{}/{}", escape(&table.database), escape(&table.table))
}

/// The key of a file.
pub fn file_key(table: &TableId, folder: &str, pipeline: &str, first_seq: i64, epoch: u64, n: u64) -> String {
    let table = table_folder(table);
    format!("{table}/{folder}/{}-{first_seq:020}-{epoch}-{n}.parquet", escape(pipeline))
}

/// What the name of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName {
    /// The number of its first row.
    pub first_seq: i64,
    /// The epoch of its writer.
    pub epoch: u64,
}

impl FileName {
    /// The name of a file of `pipeline`, which is `key` or its end; `None` for any other, and for a key that
    /// is of another lake, whose prefix lies below ours.
    pub fn of(pipeline: &str, key: &str) -> Option<FileName> {
        let name = match key.rsplit_once('/') {
            Some((folders, name)) => are_of_a_table(folders).then_some(name)?,
            None => key,
        };
        let name = name.strip_suffix(".parquet")?;
        let numbers = name.strip_prefix(&escape(pipeline))?.strip_prefix('-')?;
        let mut parts = numbers.split('-');
        let (seq, epoch, n) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.next().is_some() || seq.len() != 20 || !digits(seq) || !digits(epoch) || !digits(n) {
            return None;
        }
        Some(FileName { first_seq: seq.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// Whether folders are `<database>/<table>/<partition>`: the first two hold no `=`, as escaping leaves none,
/// and all others do. Those of a lake whose prefix lies below ours are not: its prefix stands before its
/// database, so its table is the third or later.
fn are_of_a_table(folders: &str) -> bool {
    let mut parts = folders.split('/');
    let names = parts.by_ref().take(2).filter(|part| !part.is_empty() && !part.contains('=')).count();
    let mut partition = parts.peekable();
    names == 2 && partition.peek().is_some() && partition.all(|part| part.contains('='))
}

/// A name as one part of a path: letters and digits of any script, `-`, `.`, `_` stay (so that the
/// longest name of a MySQL table stays within a file name's 255 bytes); every other character
/// becomes `%XX` for each byte of its UTF-8, and so does a leading `_` or `.` (readers pass over
/// such folders) and `%` itself. Injective: decoding `%XX` gives the name back.
pub fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (place, c) in name.char_indices() {
        let plain = match c {
            '_' | '.' => place > 0,
            '-' => true,
            _ => c.is_alphanumeric(),
        };
        if plain {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push_str(percent_encoding::percent_encode_byte(byte));
            }
        }
    }
    out
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOURS: Layout = Layout { preset: Preset::DtHr, partitioning: Partitioning::Hour };

    fn folder(layout: Layout, commit_us: i64) -> String {
        layout.folder(layout.partition(commit_us))
    }

    #[test]
    fn a_commit_time_lies_in_its_utc_hour() {
        let day = Layout { partitioning: Partitioning::Day, ..HOURS };
        let ymdh = Layout { preset: Preset::Ymdh, ..HOURS };
        let us = 1_795_236_661_999_999;
        assert_eq!(utc(us), "2026-11-21 04:51:01 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59:59 UTC");
        assert_eq!(folder(HOURS, us), "dt=2026-11-21/hr=04");
        assert_eq!(folder(day, us), "dt=2026-11-21");
        assert_eq!(folder(ymdh, us), "year=2026/month=11/day=21/hour=04");
        assert_eq!(folder(HOURS, 0), "dt=1970-01-01/hr=00");
        assert_eq!(folder(HOURS, -1), "dt=1969-12-31/hr=23");
        assert_eq!(folder(HOURS, i64::MAX), "dt=294247-01-10/hr=04");
        assert_eq!(folder(HOURS, i64::MIN), "dt=-290308-12-21/hr=19");
    }

    #[test]
    fn dates_follow_the_calendar_day_by_day() {
        let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let (mut year, mut month, mut date) = (1899, 1, 1);
        for day in -25_932..100_000 {
            assert_eq!(civil(day), (year, month, date));
            let length = match month {
                2 => 28 + i64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            date += 1;
            if date > length {
                (date, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn names_become_safe_parts_of_a_path() {
        assert_eq!(escape("orders_2.x-y"), "orders_2.x-y");
        assert_eq!(escape("_lakeward"), "%5Flakeward");
        assert_eq!(escape(".."), "%2E.");
        assert_eq!(escape("a/b=c%é☃\n"), "a%2Fb%3Dc%25é%E2%98%83%0A");
        let table = TableId::new("shop", "a/b");
        assert_eq!(
            file_key(&table, "dt=2026-11-21/hr=05", "p/1", 42, 7, 3),
            "shop/a%2Fb/dt=2026-11-21/hr=05/p%2F1-00000000000000000042-7-3.parquet"
        );
    }

    #[test]
    fn the_name_of_a_file_is_told_for_its_pipeline_only() {
        let key = "db/t/dt=2026-11-21/hr=05/a-00000000000000000042-7-3.parquet";
        let name = Some(FileName { first_seq: 42, epoch: 7 });
        assert_eq!(FileName::of("a", key), name);
        assert_eq!(FileName::of("b", key), None);
        assert_eq!(FileName::of("a", "a-00000000000000000042-7-3.parquet"), name);
        assert_eq!(FileName::of("a", "a-b-00000000000000000042-7-3.parquet"), None);
        assert_eq!(FileName::of("a-b", "a-b-00000000000000000042-7-3.parquet"), name);
        assert_eq!(FileName::of("a", "a-42-7-3.parquet"), None);
        assert_eq!(FileName::of("a", "a-00000000000000000042-7-3.txt"), None);
    }

    #[test]
    fn a_file_of_a_lake_below_ours_is_not_ours() {
        for preset in [Preset::DtHr, Preset::Ymdh] {
            for partitioning in [Partitioning::Hour, Partitioning::Day] {
                let layout = Layout { preset, partitioning };
                let table = TableId::new("_d=b", "t=/x=1");
                let key = file_key(&table, &folder(layout, 0), "a", 42, 7, 3);
                assert_eq!(FileName::of("a", &key), Some(FileName { first_seq: 42, epoch: 7 }), "{key}");
                for prefix in
                    ["staging", "a/b", "env=staging", "a/b/dt=1970-01-01", "a/b/dt=1970-01-01/hr=00"]
                {
                    assert_eq!(FileName::of("a", &format!("{prefix}/{key}")), None, "{prefix}/{key}");
                }
            }
        }
        assert_eq!(FileName::of("a", "db/t/a-00000000000000000042-7-3.parquet"), None);
    }

    #[test]
    fn collisions_are_named_with_their_fix() {
        let found = HOURS.collisions(["id", "DT", "_op"], &MetaColumns::default());
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].column.as_str(), found[0].remedy.as_str()), ("DT", "set lake.layout: ymdh"));
        assert!(found[1].remedy.contains("lake.columns.op"));
    }

    proptest! {
        #[test]
        fn escaping_is_injective(name in ".*") {
            let escaped = escape(&name);
            let back = percent_encoding::percent_decode_str(&escaped).decode_utf8().unwrap();
            prop_assert_eq!(&*back, name.as_str());
            prop_assert!(!escaped.starts_with(['_', '.']) && !escaped.contains(['/', '=']));
        }

        #[test]
        fn later_times_never_lie_in_earlier_partitions(a: i64, b: i64) {
            let (early, late) = (a.min(b), a.max(b));
            prop_assert!(HOURS.partition(early) <= HOURS.partition(late));
        }
    }
}
