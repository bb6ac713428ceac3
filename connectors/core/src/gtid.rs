//! GTIDs and GTID sets, tags of MySQL 8.3+ included.
//!
//! Text form as the server's (`uuid:1-5:7:tag:1-3,uuid2:1`), intervals inclusive there and
//! half-open in [`GtidSet::intervals`], as the dump command wants them. Source: MySQL manual,
//! "GTID Format and Storage".

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// One transaction's identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gtid {
    /// The server that made it.
    pub uuid: Uuid,
    /// The tag; empty where there is none. Always lower case.
    pub tag: String,
    /// Its number, from 1.
    pub number: u64,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag.as_str() {
            "" => write!(f, "{}:{}", self.uuid, self.number),
            tag => write!(f, "{}:{tag}:{}", self.uuid, self.number),
        }
    }
}

/// Half-open ranges `[start, end)`, sorted, disjoint and not touching.
type Intervals = Vec<(u64, u64)>;

/// A set of GTIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    sources: BTreeMap<(Uuid, String), Intervals>,
}

impl GtidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Adds one transaction.
    pub fn insert(&mut self, gtid: &Gtid) {
        // The usual case touches one interval at the end of one source: no allocation.
        if let Some(intervals) = self.sources.get_mut(&(gtid.uuid, gtid.tag.clone())) {
            if let Some(last) = intervals.last_mut().filter(|last| last.1 == gtid.number) {
                last.1 += 1;
                return;
            }
            insert_interval(intervals, (gtid.number, gtid.number + 1));
            return;
        }
        self.sources.insert((gtid.uuid, gtid.tag.clone()), vec![(gtid.number, gtid.number + 1)]);
    }

    /// Adds the transactions `start..end` of a server and tag; `false`, and nothing added, if that
    /// is not a range of transaction numbers.
    pub fn insert_range(&mut self, uuid: Uuid, tag: &str, start: u64, end: u64) -> bool {
        let valid = start >= 1 && start < end && end <= i64::MAX as u64;
        if valid {
            insert_interval(self.sources.entry((uuid, tag.to_owned())).or_default(), (start, end));
        }
        valid
    }

    /// Whether it holds `gtid`.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.sources
            .get(&(gtid.uuid, gtid.tag.clone()))
            .is_some_and(|list| list.iter().any(|&(start, end)| (start..end).contains(&gtid.number)))
    }

    /// Adds every transaction of `other`.
    pub fn union(&mut self, other: &GtidSet) {
        for (source, intervals) in &other.sources {
            let mine = self.sources.entry(source.clone()).or_default();
            for &interval in intervals {
                insert_interval(mine, interval);
            }
        }
    }

    /// What this set holds and `other` does not.
    #[must_use]
    pub fn minus(&self, other: &GtidSet) -> GtidSet {
        let mut sources = BTreeMap::new();
        for (source, mine) in &self.sources {
            let theirs = other.sources.get(source).map_or(&[][..], Vec::as_slice);
            let rest = subtract(mine, theirs);
            if !rest.is_empty() {
                sources.insert(source.clone(), rest);
            }
        }
        GtidSet { sources }
    }

    /// Whether both hold a common transaction.
    pub fn intersects(&self, other: &GtidSet) -> bool {
        self.minus(other) != *self
    }

    /// Whether every transaction of this set is in `other`.
    pub fn is_subset_of(&self, other: &GtidSet) -> bool {
        self.minus(other).is_empty()
    }

    /// Number of transactions.
    pub fn count(&self) -> u64 {
        self.sources.values().flatten().map(|(start, end)| end - start).sum()
    }

    /// Per server uuid and tag (empty for none): half-open intervals, sorted.
    pub fn intervals(&self) -> impl Iterator<Item = (Uuid, &str, &[(u64, u64)])> {
        self.sources.iter().map(|((uuid, tag), list)| (*uuid, tag.as_str(), list.as_slice()))
    }
}

fn insert_interval(intervals: &mut Intervals, (mut start, mut end): (u64, u64)) {
    let first = intervals.partition_point(|&(_, other_end)| other_end < start);
    let last = intervals.partition_point(|&(other_start, _)| other_start <= end);
    if first < last {
        start = start.min(intervals[first].0);
        end = end.max(intervals[last - 1].1);
    }
    intervals.splice(first..last, [(start, end)]);
}

fn subtract(mine: &[(u64, u64)], theirs: &[(u64, u64)]) -> Intervals {
    let mut rest = Vec::new();
    for &(mut start, end) in mine {
        for &(other_start, other_end) in theirs {
            if other_end <= start || other_start >= end {
                continue;
            }
            if other_start > start {
                rest.push((start, other_start));
            }
            start = start.max(other_end);
        }
        if start < end {
            rest.push((start, end));
        }
    }
    rest
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut current = None;
        for (uuid, tag, intervals) in self.intervals() {
            match current {
                Some(shown) if shown == uuid => {}
                Some(_) => write!(f, ",{uuid}")?,
                None => write!(f, "{uuid}")?,
            }
            current = Some(uuid);
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for &(start, end) in intervals {
                match end - start {
                    1 => write!(f, ":{start}")?,
                    _ => write!(f, ":{start}-{}", end - 1)?,
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut set = GtidSet::new();
        for source in text.split(',').map(str::trim).filter(|source| !source.is_empty()) {
            let mut parts = source.split(':').map(str::trim);
            let uuid = parts.next().unwrap_or_default();
            let uuid: Uuid =
                uuid.parse().map_err(|_| format!("`{uuid}` in GTID set is not a server uuid"))?;
            let mut tag = String::new();
            let mut any = false;
            for part in parts {
                any = true;
                if part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    tag = parse_tag(part)?;
                } else {
                    let intervals = set.sources.entry((uuid, tag.clone())).or_default();
                    insert_interval(intervals, parse_interval(part)?);
                }
            }
            if !any {
                return Err(format!("`{source}` in GTID set has no transaction number"));
            }
        }
        set.sources.retain(|_, intervals| !intervals.is_empty());
        Ok(set)
    }
}

fn parse_tag(text: &str) -> Result<String, String> {
    let valid = text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    valid.then(|| text.to_ascii_lowercase()).ok_or_else(|| format!("`{text}` is not a GTID tag"))
}

fn parse_interval(text: &str) -> Result<(u64, u64), String> {
    let number = |part: &str| part.trim().parse::<u64>().ok().filter(|n| (1..i64::MAX as u64).contains(n));
    let range = match text.split_once('-') {
        Some((start, end)) => number(start).zip(number(end)),
        None => number(text).map(|n| (n, n)),
    };
    match range {
        Some((start, end)) if start <= end => Ok((start, end + 1)),
        _ => Err(format!("`{text}` in GTID set is not a transaction number or range")),
    }
}

impl Serialize for GtidSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GtidSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";

    fn set(text: &str) -> GtidSet {
        text.replace('A', A).replace('B', B).parse().unwrap()
    }

    #[test]
    fn text_of_the_server_is_read_and_written_alike() {
        let text = format!("{A}:1-5:7:blue:1-3:9:red:4,{B}:1");
        assert_eq!(set(&text).to_string(), text);
        assert_eq!(set("A:1-2:3-4, B:5\n,").to_string(), format!("{A}:1-4,{B}:5"));
        assert_eq!(set(""), GtidSet::new());
    }

    #[test]
    fn broken_text_is_refused_by_name() {
        for (text, word) in
            [("x:1", "`x`"), ("A", "no transaction"), ("A:0", "`0`"), ("A:5-3", "`5-3`"), ("A:a-b:1", "tag")]
        {
            let error = text.replace('A', A).parse::<GtidSet>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn sets_are_compared_with_gaps_and_tags() {
        assert_eq!(set("A:1-10").minus(&set("A:3-4:7")), set("A:1-2:5-6:8-10"));
        assert!(!set("A:tag:1").is_subset_of(&set("A:1")));
        assert!(set("A:2:4").is_subset_of(&set("A:1-4,B:1")));
        assert!(set("A:1-3").intersects(&set("A:3")) && !set("A:1-3").intersects(&set("A:4,B:1-3")));
    }

    proptest! {
        #[test]
        fn a_set_behaves_like_a_set_of_numbers(mine in prop::collection::vec(1u64..40, 0..30), theirs in prop::collection::vec(1u64..40, 0..30)) {
            let uuid: Uuid = A.parse().unwrap();
            let build = |numbers: &[u64]| {
                let mut set = GtidSet::new();
                for &number in numbers { set.insert(&Gtid { uuid, tag: String::new(), number }); }
                set
            };
            let (a, b) = (build(&mine), build(&theirs));
            let rest: Vec<u64> = mine.iter().copied().filter(|n| !theirs.contains(n)).collect();
            prop_assert_eq!(a.minus(&b), build(&rest));
            let mut both = a.clone();
            both.union(&b);
            prop_assert_eq!(&both, &build(&[mine.clone(), theirs.clone()].concat()));
            prop_assert_eq!(both.to_string().parse::<GtidSet>().unwrap(), both);
            prop_assert_eq!(a.is_subset_of(&b), mine.iter().all(|n| theirs.contains(n)));
        }
    }
}
