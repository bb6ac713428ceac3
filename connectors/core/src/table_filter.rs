//! Which tables a pipeline captures: patterns `database.table` with `*` and `?`.
//!
//! Ghost tables, in which gh-ost and pt-online-schema-change build the new form of a captured table
//! beside it, are never captured, unless one is included by its very name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TableId;

/// Patterns of tables to capture and to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableFilter {
    /// `database.table`, where `*` stands for any characters and `?` for one. A backtick-quoted
    /// part is taken literally: `` `a.b`.* ``. Ghost tables of gh-ost and pt-online-schema-change
    /// (`_t_gho`, `_t_new`, … beside a captured `t`) are included only by their full name.
    pub include: Vec<String>,
    /// Patterns of tables to leave out of those included.
    pub exclude: Vec<String>,
}

/// Databases of the server itself, which no pattern captures.
const SYSTEM: &[&str] = &["mysql", "sys", "information_schema", "performance_schema"];

impl TableFilter {
    /// Whether `table` is captured.
    pub fn captures(&self, table: &TableId) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| pattern_matches(pattern, table));
        !SYSTEM.contains(&&*table.database)
            && matches(&self.include)
            && !matches(&self.exclude)
            && (!self.is_ghost(table) || self.named().any(|named| named == *table))
    }

    /// Whether a table of `database` may be captured.
    pub fn may_capture_of(&self, database: &str) -> bool {
        let is_of = |pattern: &String| split(pattern).is_some_and(|(part, _)| part_matches(part, database));
        !SYSTEM.contains(&database) && self.include.iter().any(is_of)
    }

    /// Whether an online schema change of a captured table uses `table`.
    fn is_ghost(&self, table: &TableId) -> bool {
        real_names(&table.table).any(|name| self.captures(&TableId::new(table.database.clone(), name)))
    }

    /// The first pattern that is not of the form `database.table`.
    pub fn malformed(&self) -> Option<&str> {
        self.include.iter().chain(&self.exclude).find(|pattern| split(pattern).is_none()).map(String::as_str)
    }

    /// Patterns that match none of `tables`, each with its key; but for those of [`TableFilter::named`].
    pub fn idle<'a>(&'a self, tables: &'a [TableId]) -> impl Iterator<Item = (&'static str, &'a str)> {
        let idle = move |(_, pattern): &(&'static str, &'a str)| {
            !tables.iter().any(|table| pattern_matches(pattern, table))
        };
        let included = self.include.iter().map(|pattern| ("tables.include", pattern.as_str()));
        let excluded = self.exclude.iter().map(|pattern| ("tables.exclude", pattern.as_str()));
        included.filter(|(_, pattern)| name(pattern).is_none()).chain(excluded).filter(idle)
    }

    /// Databases that are included by name, whatever their tables.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        let databases =
            self.include.iter().filter_map(|pattern| split(pattern)).map(|(database, _)| database);
        databases.filter(|database| database.is_literal()).map(|database| database.text)
    }

    /// Included names without a wildcard: tables the user expects to exist.
    pub fn named(&self) -> impl Iterator<Item = TableId> {
        self.include.iter().filter_map(|pattern| name(pattern))
    }
}

/// The table that a pattern without a wildcard names.
fn name(pattern: &str) -> Option<TableId> {
    let (database, table) = split(pattern)?;
    let literal = |part: Part<'_>| part.is_literal().then(|| part.text.to_owned());
    Some(TableId::new(literal(database)?, literal(table)?))
}

/// Whether `ghost` is a name that an online schema change of `table` uses.
pub fn is_ghost_of(ghost: &TableId, table: &TableId) -> bool {
    // A ghost's name that would be longer than names can be loses characters of the table's.
    let is_cut = ghost.table.chars().count() == NAME_CHARACTERS;
    let is_of = |name: &str| *name == *table.table || is_cut && table.table.starts_with(name);
    ghost.database == table.database && real_names(&ghost.table).any(is_of)
}

/// Whether a tool ends an online schema change of `table` by moving it to the name `old`, and the copy of its rows
/// from the name `ghost` to its own, in one statement: `_t_del` and `_t_gho` (gh-ost), `_t_old` and `_t_new`
/// (pt-online-schema-change). Other moves between such names bring back what was, or what is no copy.
pub fn is_cut_over(ghost: &TableId, old: &TableId, table: &TableId) -> bool {
    const ENDS: [(&str, &str); 2] = [("_gho", "_del"), ("_new", "_old")];
    ENDS.iter().any(|(copy, gone)| ghost.table.ends_with(copy) && old.table.ends_with(gone))
        && is_ghost_of(ghost, table)
        && is_ghost_of(old, table)
}

/// Characters of a table's name at most (MySQL manual, "Identifier Length Limits").
const NAME_CHARACTERS: usize = 64;

/// The tables whose ghost a table of this name may be. gh-ost: `_t_gho`, `_t_ghc`, `_t_ghk`, `_t_del`, and
/// `_t_20260102030405_del` with `--timestamp-old-table`; pt-online-schema-change: `_t_new`, `_t_old`,
/// and with more underscores in front where such a name was taken.
fn real_names(ghost: &str) -> impl Iterator<Item = &str> {
    const TIME_DIGITS: usize = 14;
    let by_gh_ost = ["_gho", "_ghc", "_ghk", "_del"].iter().find_map(|end| ghost.strip_suffix(end));
    let by_gh_ost = by_gh_ost.and_then(|name| name.strip_prefix('_'));
    let before_time = by_gh_ost.filter(|_| ghost.ends_with("_del")).and_then(|name| {
        let (name, time) = name.rsplit_once('_')?;
        (time.len() == TIME_DIGITS && time.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
    });
    let by_pt = ["_new", "_old"].iter().find_map(|end| ghost.strip_suffix(end)).unwrap_or_default();
    let underscores = by_pt.bytes().take_while(|byte| *byte == b'_').count();
    let by_pt = (1..=underscores).filter_map(move |count| by_pt.get(count..));
    by_gh_ost.into_iter().chain(before_time).chain(by_pt).filter(|name| !name.is_empty())
}

impl Part<'_> {
    fn is_literal(self) -> bool {
        self.quoted || !self.text.contains(['*', '?'])
    }
}

#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    quoted: bool,
}

/// Splits at the dot outside of backticks; `None` unless there is exactly one.
fn split(pattern: &str) -> Option<(Part<'_>, Part<'_>)> {
    let mut quoted = false;
    let mut dots = pattern.char_indices().filter(|&(_, c)| {
        quoted ^= c == '`';
        c == '.' && !quoted
    });
    let (dot, _) = dots.next()?;
    if dots.next().is_some() {
        return None;
    }
    let part = |text: &'_ str| -> Option<(usize, usize, bool)> {
        let inner = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
        match inner {
            Some(inner) => (!inner.is_empty()).then_some((1, text.len() - 1, true)),
            None => (!text.is_empty()).then_some((0, text.len(), false)),
        }
    };
    let (left, right) = (&pattern[..dot], &pattern[dot + 1..]);
    let (a, b, left_quoted) = part(left)?;
    let (c, d, right_quoted) = part(right)?;
    Some((Part { text: &left[a..b], quoted: left_quoted }, Part { text: &right[c..d], quoted: right_quoted }))
}

fn pattern_matches(pattern: &str, table: &TableId) -> bool {
    split(pattern).is_some_and(|(database, name)| {
        part_matches(database, &table.database) && part_matches(name, &table.table)
    })
}

fn part_matches(part: Part<'_>, name: &str) -> bool {
    match part.quoted {
        true => part.text == name,
        false => wildcard(part.text.as_bytes(), name.as_bytes()),
    }
}

/// `*` any bytes, `?` one character. Greedy with one point of return, so linear in practice.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n += 1;
                while name.get(n).is_some_and(|byte| byte & 0xC0 == 0x80) {
                    n += 1;
                }
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_may_have_captured_tables_if_a_pattern_names_it() {
        let filter =
            TableFilter { include: vec!["shop*.orders".into(), "`a.b`.*".into()], exclude: Vec::new() };
        assert!(["shop", "shop_2", "a.b"].iter().all(|database| filter.may_capture_of(database)));
        assert!(["sho", "a", "mysql"].iter().all(|database| !filter.may_capture_of(database)));
    }

    fn captures(include: &[&str], exclude: &[&str], database: &str, table: &str) -> bool {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        TableFilter { include: owned(include), exclude: owned(exclude) }
            .captures(&TableId::new(database, table))
    }

    #[test]
    fn patterns_choose_tables() {
        assert!(captures(&["shop.*"], &[], "shop", "orders"));
        assert!(!captures(&["shop.*"], &["shop.tmp_*"], "shop", "tmp_1"));
        assert!(captures(&["shop_?.o*s"], &[], "shop_é", "orders"));
        assert!(captures(&["`a.b`.c"], &[], "a.b", "c"));
        assert!(!captures(&["`*`.c"], &[], "x", "c"));
        assert!(!captures(&["*.*"], &[], "mysql", "user"));
        assert!(!captures(&[], &[], "shop", "orders"));
    }

    #[test]
    fn ghost_tables_are_captured_only_by_their_very_name() {
        let ghosts = [
            "_t_gho",
            "_t_ghc",
            "_t_ghk",
            "_t_del",
            "_t_20260102030405_del",
            "_t_new",
            "__t_old",
            "___t_new",
        ];
        for ghost in ghosts {
            assert!(!captures(&["shop.*"], &[], "shop", ghost), "{ghost}");
            assert!(captures(&["shop.*", &format!("shop.{ghost}")], &[], "shop", ghost), "{ghost}");
            assert!(is_ghost_of(&TableId::new("shop", ghost), &TableId::new("shop", "t")), "{ghost}");
            assert!(!is_ghost_of(&TableId::new("other", ghost), &TableId::new("shop", "t")), "{ghost}");
        }
        for table in ["t_gho", "_gho", "_new", "__new_", "_t_2026_dell", "t_old", "_t"] {
            assert!(captures(&["shop.*"], &[], "shop", table), "{table}");
        }
        // Ghosts of a table that is left out are tables like others.
        assert!(captures(&["shop.*"], &["shop.t"], "shop", "_t_new"));
        // With one underscore less it is a ghost of `_t`, which is a table like others.
        assert!(is_ghost_of(&TableId::new("shop", "__t_new"), &TableId::new("shop", "_t")));
        let (long, cut) = ("t".repeat(62), format!("_{}_gho", "t".repeat(59)));
        assert!(is_ghost_of(&TableId::new("shop", cut), &TableId::new("shop", long.clone())));
        assert!(!is_ghost_of(&TableId::new("shop", "_ttt_gho"), &TableId::new("shop", long)));
    }

    #[test]
    fn a_copy_takes_its_tables_place_as_the_tools_have_it() {
        let is_cut_over = |ghost: &str, old: &str, table: &str| {
            let of_shop = |name: &str| TableId::new("shop", name);
            is_cut_over(&of_shop(ghost), &of_shop(old), &of_shop(table))
        };
        assert!(is_cut_over("_t_gho", "_t_del", "t"));
        assert!(is_cut_over("_t_gho", "_t_20260102030405_del", "t"));
        assert!(is_cut_over("_t_new", "_t_old", "t"));
        assert!(is_cut_over("___t_new", "__________t_old", "t"));
        assert!(is_cut_over("__t_gho", "__t_del", "_t"));
        let name = "t".repeat(64);
        let (ghost, old) = (format!("_{}_gho", &name[..59]), format!("_{}_20260102030405_del", &name[..44]));
        assert!(is_cut_over(&ghost, &old, &name));
        for (ghost, old) in [
            // Back, by hand and by the tool.
            ("_t_del", "t_bad"),
            ("_t_del", "_t_gho"),
            ("_t_del", "_t_rev_del"),
            ("_t_old", "_t_new"),
            ("_t_old", "__t_old"),
            // A table that begins anew.
            ("_t_new", "t_2025"),
            ("_t_new", "_u_old"),
            // Of two tools, or of none.
            ("_t_gho", "_t_old"),
            ("_t_new", "_t_del"),
            ("_t_ghc", "_t_del"),
            ("t_new", "t_old"),
        ] {
            assert!(!is_cut_over(ghost, old, "t"), "{ghost}, {old}");
        }
        let old = TableId::new("archive", "_t_del");
        assert!(!super::is_cut_over(&TableId::new("shop", "_t_gho"), &old, &TableId::new("shop", "t")));
    }

    #[test]
    fn patterns_without_a_table_are_found() {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let filter = TableFilter {
            include: owned(&["shop.*", "crm.*", "shop.gone"]),
            exclude: owned(&["^shop.*", "shop.secret", "shop.o*"]),
        };
        let tables = ["orders", "secrets"].map(|table| TableId::new("shop", table));
        let idle: Vec<_> = filter.idle(&tables).collect();
        assert_eq!(
            idle,
            [("tables.include", "crm.*"), ("tables.exclude", "^shop.*"), ("tables.exclude", "shop.secret")]
        );
    }

    #[test]
    fn malformed_patterns_are_found() {
        for pattern in ["orders", "a.b.c", ".x", "x.", ""] {
            let filter = TableFilter { include: vec![pattern.into()], exclude: vec![] };
            assert_eq!(filter.malformed(), Some(pattern));
        }
        let filter =
            TableFilter { include: vec!["a.b".into(), "c.*".into(), "`x*`.y".into()], exclude: vec![] };
        assert_eq!(filter.named().collect::<Vec<_>>(), [TableId::new("a", "b"), TableId::new("x*", "y")]);
    }
}
