//! What the account may do, read from `SHOW GRANTS`.
//!
//! `SHOW GRANTS` without a name lists what the session holds, its active roles' privileges included
//! (MySQL manual, "SHOW GRANTS Statement"). Lines are lexed, so quoted names may hold anything.
//! Database names of grants are patterns (`%`, `_`, `\` escapes) unless `partial_revokes` is on.

use lakeward_core::{Result, TableId};
use mysql::Conn;

use crate::session::{backticked, quoted, rows};

/// The privileges of this session.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The account, as `'user'@'host'`.
    account: String,
    entries: Vec<Entry>,
    partial_revokes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    revoked: bool,
    /// Upper case; column lists are dropped (`SELECT (a)` does not give a table) with their name.
    privileges: Vec<String>,
    scope: Scope,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Everything,
    Database(String),
    Table(String, String),
}

impl Grants {
    /// Reads them.
    pub fn read(conn: &mut Conn) -> Result<Grants> {
        let who = rows(conn, "SELECT CURRENT_USER(), @@GLOBAL.partial_revokes")
            .or_else(|_| rows(conn, "SELECT CURRENT_USER(), 0"))?;
        let mut who = who.into_iter().next().unwrap_or_default().into_iter().flatten();
        let account = who.next().unwrap_or_default();
        let partial_revokes = who.next().is_some_and(|value| value == "1" || value == "ON");
        let lines: Vec<String> = rows(conn, "SHOW GRANTS")?.into_iter().flatten().flatten().collect();
        let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
        Ok(Grants {
            account: format!("{}@{}", quoted(user), quoted(host)),
            entries: lines.iter().filter_map(|line| Entry::parse(line)).collect(),
            partial_revokes,
        })
    }

    /// The account, quoted for use in a statement.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Whether a privilege on `*.*` is held. `SUPER` stands for `REPLICATION CLIENT`.
    pub fn has_global(&self, privilege: &str) -> bool {
        self.entries.iter().any(|entry| {
            entry.scope == Scope::Everything
                && !entry.revoked
                && (entry.names(privilege) || (privilege == "REPLICATION CLIENT" && entry.names("SUPER")))
        })
    }

    /// Whether a privilege is held for the table.
    pub fn may(&self, privilege: &str, table: &TableId) -> bool {
        let covers = |entry: &&Entry| match &entry.scope {
            Scope::Everything => true,
            Scope::Database(database) => self.database_matches(database, &table.database),
            Scope::Table(database, name) => **database == *table.database && **name == *table.table,
        };
        let selects = |revoked: bool| {
            self.entries.iter().filter(move |entry| entry.revoked == revoked && entry.names(privilege))
        };
        // A partial revoke takes a database out of a global grant; a grant below it stands.
        let revoked = selects(true).any(|entry| covers(&entry));
        selects(false).any(|entry| covers(&entry) && !(revoked && entry.scope == Scope::Everything))
    }

    fn database_matches(&self, pattern: &str, database: &str) -> bool {
        match self.partial_revokes {
            true => pattern == database,
            false => like(pattern.as_bytes(), database.as_bytes()),
        }
    }

    /// The statement that gives a global privilege.
    pub fn global_fix(&self, privilege: &str) -> String {
        format!("GRANT {privilege} ON *.* TO {}", self.account)
    }

    /// The statement that gives a privilege on a database.
    pub fn database_fix(&self, privilege: &str, database: &str) -> String {
        let pattern = match self.partial_revokes {
            true => database.to_owned(),
            false => database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"),
        };
        format!("GRANT {privilege} ON {}.* TO {}", backticked(&pattern), self.account)
    }
}

/// LIKE with `%`, `_` and `\` as escape; names are short, so plain recursion by one star.
fn like(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'%', rest)) => {
            (0..=name.len()).any(|skip| name.get(skip..).is_some_and(|tail| like(rest, tail)))
        }
        Some((b'_', rest)) => name.split_first().is_some_and(|(_, tail)| like(rest, tail)),
        Some((b'\\', rest)) if !rest.is_empty() => matches_one(rest, name),
        Some(_) => matches_one(pattern, name),
    }
}

fn matches_one(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (Some((p, pattern)), Some((n, name))) => p == n && like(pattern, name),
        _ => false,
    }
}

impl Entry {
    fn names(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|held| held == privilege || held == "ALL PRIVILEGES" || held == "ALL")
    }

    /// `GRANT a, b (c, d) ON scope TO …` or `REVOKE … ON scope FROM …`; `None` for roles, proxies and
    /// routines, which give none of the privileges asked for here.
    fn parse(line: &str) -> Option<Entry> {
        let mut words = Words { rest: line };
        let revoked = match words.next()?.plain()?.to_uppercase().as_str() {
            "GRANT" => false,
            "REVOKE" => true,
            _ => return None,
        };
        let (mut privileges, mut current, mut depth) = (Vec::new(), String::new(), 0u32);
        let mut columns = false;
        loop {
            match words.next()? {
                Word::Plain(word) if depth == 0 && word.eq_ignore_ascii_case("ON") => break,
                Word::Plain(word) if depth == 0 => {
                    if !current.is_empty() {
                        current.push(' ');
                    }
                    current.push_str(&word.to_uppercase());
                }
                Word::Mark('(') => (depth, columns) = (depth + 1, true),
                Word::Mark(')') => depth = depth.saturating_sub(1),
                Word::Mark(',') if depth == 0 => {
                    let name = std::mem::take(&mut current);
                    if !std::mem::take(&mut columns) {
                        privileges.push(name);
                    }
                }
                Word::Quoted(_) if depth == 0 => return None,
                Word::Plain(_) | Word::Quoted(_) | Word::Mark(_) => {}
            }
        }
        if !columns {
            privileges.push(current);
        }
        Some(Entry { revoked, privileges, scope: Scope::parse(&mut words)? })
    }
}

impl Scope {
    fn parse(words: &mut Words<'_>) -> Option<Scope> {
        let database = words.next()?;
        match words.next()? {
            Word::Mark('.') => {}
            // `ON PROCEDURE a.b`
            Word::Plain(_) | Word::Quoted(_) | Word::Mark(_) => return None,
        }
        match (database, words.next()?) {
            (Word::Mark('*'), Word::Mark('*')) => Some(Scope::Everything),
            (Word::Quoted(database), Word::Mark('*')) => Some(Scope::Database(database)),
            (Word::Quoted(database), Word::Quoted(table)) => Some(Scope::Table(database, table)),
            _ => None,
        }
    }
}

enum Word {
    Plain(String),
    Quoted(String),
    Mark(char),
}

impl Word {
    fn plain(&self) -> Option<&str> {
        match self {
            Word::Plain(word) => Some(word),
            Word::Quoted(_) | Word::Mark(_) => None,
        }
    }
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn next(&mut self) -> Option<Word> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        if matches!(first, '`' | '"' | '\'') {
            let mut name = String::new();
            let mut chars = self.rest.char_indices().skip(1).peekable();
            while let Some((at, c)) = chars.next() {
                match c == first {
                    false => name.push(c),
                    true if chars.peek().is_some_and(|(_, next)| *next == first) => {
                        name.push(c);
                        chars.next();
                    }
                    true => {
                        self.rest = self.rest.get(at + 1..)?;
                        return Some(Word::Quoted(name));
                    }
                }
            }
            return None;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match is_word(first) {
            true => self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len()),
            false => first.len_utf8(),
        };
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(match is_word(first) {
            true => Word::Plain(word.to_owned()),
            false => Word::Mark(first),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str], partial_revokes: bool) -> Grants {
        Grants {
            account: "'u'@'%'".into(),
            entries: lines.iter().filter_map(|line| Entry::parse(line)).collect(),
            partial_revokes,
        }
    }

    fn may_select(lines: &[&str], partial: bool, database: &str, table: &str) -> bool {
        grants(lines, partial).may("SELECT", &TableId::new(database, table))
    }

    #[test]
    fn global_privileges_are_found_by_name() {
        let held = grants(
            &[
                "GRANT USAGE, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%` WITH GRANT OPTION",
                "GRANT `r`@`%` TO `u`@`%`",
            ],
            false,
        );
        assert!(held.has_global("REPLICATION SLAVE") && held.has_global("REPLICATION CLIENT"));
        assert!(!held.has_global("SELECT"));
        assert!(grants(&["GRANT SUPER ON *.* TO `u`@`%`"], false).has_global("REPLICATION CLIENT"));
        assert!(
            !grants(&["GRANT REPLICATION SLAVE ON `a`.* TO `u`@`%`"], false).has_global("REPLICATION SLAVE")
        );
        assert!(grants(&["GRANT ALL PRIVILEGES ON *.* TO `u`@`%`"], false).has_global("REPLICATION SLAVE"));
    }

    #[test]
    fn select_is_found_at_every_level_and_not_by_columns() {
        assert!(may_select(&["GRANT SELECT ON *.* TO `u`@`%`"], false, "shop", "t"));
        assert!(may_select(&["GRANT SELECT, INSERT ON `shop`.* TO `u`@`%`"], false, "shop", "t"));
        assert!(may_select(&["GRANT SELECT ON `shop`.`t` TO `u`@`%`"], false, "shop", "t"));
        assert!(!may_select(&["GRANT SELECT ON `shop`.`t` TO `u`@`%`"], false, "shop", "t2"));
        assert!(!may_select(
            &["GRANT SELECT (`a`, `b`), INSERT ON `shop`.`t` TO `u`@`%`"],
            false,
            "shop",
            "t"
        ));
        assert!(!may_select(&["GRANT EXECUTE ON PROCEDURE `shop`.`t` TO `u`@`%`"], false, "shop", "t"));
    }

    #[test]
    fn database_names_are_patterns_unless_partial_revokes_are_on() {
        assert!(may_select(&["GRANT SELECT ON `sh%`.* TO `u`@`%`"], false, "shop", "t"));
        assert!(may_select(&[r"GRANT SELECT ON `a\_b`.* TO `u`@`%`"], false, "a_b", "t"));
        assert!(!may_select(&[r"GRANT SELECT ON `a\_b`.* TO `u`@`%`"], false, "axb", "t"));
        assert!(!may_select(&["GRANT SELECT ON `sh%`.* TO `u`@`%`"], true, "shop", "t"));
        assert!(may_select(&["GRANT SELECT ON `we``ird on .`.* TO `u`@`%`"], false, "we`ird on .", "t"));
    }

    #[test]
    fn a_partial_revoke_takes_a_database_out_of_a_global_grant_only() {
        let lines = ["GRANT SELECT ON *.* TO `u`@`%`", "REVOKE SELECT ON `secret`.* FROM `u`@`%`"];
        assert!(may_select(&lines, true, "shop", "t"));
        assert!(!may_select(&lines, true, "secret", "t"));
        let mut more = lines.to_vec();
        more.push("GRANT SELECT ON `secret`.`t` TO `u`@`%`");
        assert!(may_select(&more, true, "secret", "t") && !may_select(&more, true, "secret", "t2"));
    }

    #[test]
    fn fixes_escape_what_would_be_a_pattern() {
        let held = grants(&[], false);
        assert_eq!(held.database_fix("SELECT", "a_b"), r"GRANT SELECT ON `a\_b`.* TO 'u'@'%'");
        assert_eq!(held.global_fix("REPLICATION SLAVE"), "GRANT REPLICATION SLAVE ON *.* TO 'u'@'%'");
    }
}
