//! A statement as tokens, and the names it mentions.

use std::any::TypeId;
use std::collections::BTreeSet;

use lakeward_core::TableId;
use sqlparser::dialect::{Dialect, MySqlDialect};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::SqlSession;

/// MySQL's lexical rules under a session's `sql_mode`.
#[derive(Debug)]
struct Lexical {
    ansi_quotes: bool,
    backslash_escapes: bool,
}

impl Dialect for Lexical {
    fn dialect(&self) -> TypeId {
        TypeId::of::<MySqlDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        // Not `@`: an account is `user`@`host`, three tokens.
        ch != '@' && MySqlDialect {}.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch != '@' && MySqlDialect {}.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || (self.ansi_quotes && ch == '"')
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        self.backslash_escapes
    }

    fn supports_numeric_prefix(&self) -> bool {
        MySqlDialect {}.supports_numeric_prefix()
    }

    fn supports_multiline_comment_hints(&self) -> bool {
        MySqlDialect {}.supports_multiline_comment_hints()
    }

    fn requires_single_line_comment_whitespace(&self) -> bool {
        MySqlDialect {}.requires_single_line_comment_whitespace()
    }
}

/// How much of a statement is read to know what it is.
const HEAD: usize = 64 << 10;

/// The tokens of a text, and why they end before it does.
fn cut(sql: &str, session: &SqlSession<'_>) -> (Vec<TokenWithSpan>, Option<String>) {
    let lexical =
        Lexical { ansi_quotes: session.ansi_quotes, backslash_escapes: !session.no_backslash_escapes };
    let mut tokens = Vec::new();
    let mut tokenizer = Tokenizer::new(&lexical, sql).with_unescape(false);
    let done = tokenizer.tokenize_with_location_into_buf(&mut tokens);
    tokens.iter_mut().for_each(|token| unescape(&mut token.token, lexical.backslash_escapes));
    (tokens, done.err().map(|error| error.to_string()))
}

/// What a quoted token means. The tokenizer's own escapes are not MySQL's.
fn unescape(token: &mut Token, backslashes: bool) {
    match token {
        Token::Word(Word { value, quote_style: Some(quote), .. }) => *value = unescaped(value, *quote, false),
        Token::SingleQuotedString(text) | Token::NationalStringLiteral(text) => {
            *text = unescaped(text, '\'', backslashes);
        }
        Token::DoubleQuotedString(text) => *text = unescaped(text, '"', backslashes),
        _ => {}
    }
}

/// MySQL manual, "String Literals", table "Special Character Escape Sequences": `\%` and `\_` stay as they are, all other
/// letters lose their backslash. A quote within is doubled.
fn unescaped(text: &str, quote: char, backslashes: bool) -> String {
    let mut meant = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == quote {
            letters.next_if_eq(&quote);
        }
        match letters.next_if(|_| letter == '\\' && backslashes) {
            None => meant.push(letter),
            Some('0') => meant.push('\0'),
            Some('b') => meant.push('\u{8}'),
            Some('n') => meant.push('\n'),
            Some('r') => meant.push('\r'),
            Some('t') => meant.push('\t'),
            Some('Z') => meant.push('\u{1a}'),
            Some(wildcard @ ('%' | '_')) => meant.extend(['\\', wildcard]),
            Some(other) => meant.push(other),
        }
    }
    meant
}

/// The tokens of a statement, comments and white space left out, and a place among them.
#[derive(Clone)]
pub(crate) struct Tokens<'a> {
    tokens: Vec<Token>,
    at: usize,
    session: SqlSession<'a>,
    /// Why the tokens end before the text does.
    pub(crate) broken: Option<String>,
    /// They are those of the text's beginning alone.
    pub(crate) is_cut: bool,
    /// The part of the statement that was not understood, where it is known.
    pub(crate) unread: Option<String>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(sql: &str, session: &SqlSession<'a>) -> Self {
        let (tokens, broken) = cut(sql, session);
        Tokens::with(tokens, broken, session)
    }

    /// All tokens of a text of usual length, and of a longer one those of its beginning.
    pub(crate) fn head(sql: &str, session: &SqlSession<'a>) -> Self {
        let Some(beginning) = sql.get(..sql.floor_char_boundary(HEAD)).filter(|head| head.len() < sql.len())
        else {
            return Tokens::of(sql, session);
        };
        let (mut tokens, broken) = cut(beginning, session);
        if broken.is_none() {
            // It may be a part of one.
            tokens.pop();
        }
        Tokens { is_cut: true, ..Tokens::with(tokens, None, session) }
    }

    fn with(tokens: Vec<TokenWithSpan>, broken: Option<String>, session: &SqlSession<'a>) -> Self {
        let tokens = tokens
            .into_iter()
            .map(|token| token.token)
            .filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF))
            .collect();
        Tokens { tokens, at: 0, session: *session, broken, is_cut: false, unread: None }
    }

    /// Whether one of the tokens is damaged.
    pub(crate) fn are_damaged(&self) -> bool {
        self.session.is_damaged && self.tokens.iter().any(|token| is_damaged(&token.to_string()))
    }

    pub(crate) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn word_at(&self, at: usize) -> Option<&Word> {
        match self.tokens.get(at) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_keyword_at(&self, at: usize, keyword: &str) -> bool {
        self.word_at(at).is_some_and(|w| w.quote_style.is_none() && w.value.eq_ignore_ascii_case(keyword))
    }

    /// Whether the next tokens are these words, not quoted.
    pub(crate) fn sees(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.is_keyword_at(self.at + i, word))
    }

    /// Whether these words, not quoted, stand somewhere from here on.
    pub(crate) fn holds(&self, words: &[&str]) -> bool {
        let mut places = self.at..self.tokens.len();
        places.any(|at| words.iter().enumerate().all(|(i, word)| self.is_keyword_at(at + i, word)))
    }

    /// Whether a foreign key from here on has a rule that changes rows (MySQL manual, "FOREIGN KEY
    /// Constraints"; RESTRICT and NO ACTION change none).
    pub(crate) fn hold_cascade(&self) -> bool {
        ["DELETE", "UPDATE"]
            .iter()
            .any(|event| self.holds(&["ON", event, "CASCADE"]) || self.holds(&["ON", event, "SET"]))
    }

    /// [`Tokens::sees`], and goes past them.
    pub(crate) fn eat(&mut self, words: &[&str]) -> bool {
        let sees = self.sees(words);
        if sees {
            self.at += words.len();
        }
        sees
    }

    /// Goes past one of these words, and says which.
    pub(crate) fn eat_any(&mut self, words: &[&'static str]) -> Option<&'static str> {
        let found = words.iter().copied().find(|word| self.sees(&[word]))?;
        self.at += 1;
        Some(found)
    }

    pub(crate) fn eat_token(&mut self, token: &Token) -> bool {
        let sees = self.peek() == Some(token);
        if sees {
            self.at += 1;
        }
        sees
    }

    pub(crate) fn skip(&mut self) {
        self.at += 1;
    }

    /// The next token is the first of the statement's end: nothing, or a semicolon.
    pub(crate) fn ended(&self) -> bool {
        self.peek().is_none_or(|token| *token == Token::SemiColon)
    }

    /// The first word, in upper case.
    pub(crate) fn verb(&self) -> String {
        match self.word_at(0) {
            Some(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// The tokens up to the next comma outside of parentheses, which is eaten; `None` at the end.
    pub(crate) fn clause(&mut self) -> Option<Tokens<'a>> {
        if self.ended() {
            return None;
        }
        let (start, mut depth) = (self.at, 0u32);
        while let Some(token) = self.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::Comma if depth == 0 => break,
                Token::SemiColon => break,
                _ => {}
            }
            self.at += 1;
        }
        let tokens = self.tokens.get(start..self.at).unwrap_or_default().to_vec();
        self.eat_token(&Token::Comma);
        Some(self.part(tokens))
    }

    fn part(&self, tokens: Vec<Token>) -> Tokens<'a> {
        Tokens { tokens, at: 0, session: self.session, broken: None, is_cut: false, unread: None }
    }

    /// Words that are not quoted and outside of parentheses, each with the token after it (an `=`
    /// between left out).
    pub(crate) fn options(&self) -> Vec<(String, Option<&Token>)> {
        let (mut depth, mut found) = (0u32, Vec::new());
        for (i, token) in self.tokens.iter().enumerate() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::Word(word) if depth == 0 && word.quote_style.is_none() => {
                    let next = match self.tokens.get(i + 1) {
                        Some(Token::Eq) => self.tokens.get(i + 2),
                        other => other,
                    };
                    found.push((word.value.to_ascii_uppercase(), next));
                }
                _ => {}
            }
        }
        found
    }

    /// One name: a word, quoted or not. Its quotes are gone and doubled ones single.
    pub(crate) fn name(&mut self) -> Option<String> {
        let name = self.word_at(self.at)?.value.clone();
        self.at += 1;
        Some(name)
    }

    /// One name of a database, table or index, as the server stores it.
    pub(crate) fn identifier(&mut self) -> Option<String> {
        let name = self.name()?;
        Some(match self.session.lower_case_names {
            true => name.to_lowercase(),
            false => name,
        })
    }

    /// The next token is a name in quotes: no keyword.
    pub(crate) fn sees_quoted(&self) -> bool {
        self.word_at(self.at).is_some_and(|word| word.quote_style.is_some())
    }

    /// One whole number.
    pub(crate) fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let Some(Token::Number(digits, _)) = self.peek() else { return None };
        let number = digits.parse().ok()?;
        self.at += 1;
        Some(number)
    }

    /// One string.
    pub(crate) fn text(&mut self) -> Option<String> {
        let (Token::SingleQuotedString(text)
        | Token::DoubleQuotedString(text)
        | Token::NationalStringLiteral(text)) = self.peek()?
        else {
            return None;
        };
        let text = text.clone();
        self.at += 1;
        Some(text)
    }

    /// What stands in the parentheses that begin here, and goes past them.
    pub(crate) fn parenthesized(&mut self) -> Option<Tokens<'a>> {
        if self.peek() != Some(&Token::LParen) {
            return None;
        }
        let (start, mut depth) = (self.at + 1, 0u32);
        for (at, token) in self.tokens.iter().enumerate().skip(self.at) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let tokens = self.tokens.get(start..at)?.to_vec();
                self.at = at + 1;
                return Some(self.part(tokens));
            }
        }
        None
    }

    /// `table` or `database.table`. `None` also where the name is followed by what could be a part of
    /// it that was cut wrongly (`a.1b` is a name in MySQL), or that is not among the tokens.
    pub(crate) fn table(&mut self) -> Option<TableId> {
        let first = self.identifier()?;
        let table = match self.eat_token(&Token::Period) {
            true => TableId::new(first, self.identifier()?),
            false if self.session.default_database.is_empty() => return None,
            false => match self.session.lower_case_names {
                true => TableId::new(self.session.default_database.to_lowercase(), first),
                false => TableId::new(self.session.default_database, first),
            },
        };
        match self.peek() {
            Some(Token::Period | Token::Number(..) | Token::Minus) => None,
            None if self.is_cut => None,
            _ => Some(table),
        }
    }

    /// The rest as text.
    pub(crate) fn rest(&self) -> String {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let texts: Vec<String> =
            rest.iter().filter(|token| **token != Token::SemiColon).map(ToString::to_string).collect();
        texts.join(" ")
    }
}

/// The tables that a statement may mean: by every name that its text holds, where it is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mentions(Held);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    /// This table, and no other.
    Table(TableId),
    /// The text's words, and what its strings and numbers hold, in lower case.
    Names(BTreeSet<String>),
    /// The text, in lower case, where it has not been cut into tokens, or not into whole ones.
    Text(String),
    /// The damaged name of a database, in lower case.
    Database(String),
}

impl Mentions {
    pub(crate) fn of(sql: &str, tokens: &Tokens<'_>) -> Self {
        if tokens.broken.is_some() || tokens.is_cut || tokens.are_damaged() {
            return Mentions::of_text(sql);
        }
        let mut names = BTreeSet::new();
        for token in &tokens.tokens {
            match token {
                Token::Word(Word { value, quote_style: _, keyword: _ }) => {
                    names.insert(value.to_lowercase());
                }
                // Numbers: `a.1b` is a name. Strings: text of PREPARE, and names under other quotes.
                Token::Number(text, _) => {
                    names.insert(text.trim_start_matches('.').to_lowercase());
                }
                Token::SingleQuotedString(text)
                | Token::DoubleQuotedString(text)
                | Token::NationalStringLiteral(text) => {
                    names.insert(text.to_lowercase());
                }
                _ => {}
            }
        }
        Mentions(Held::Names(names))
    }

    pub(crate) fn of_text(sql: &str) -> Self {
        Mentions(Held::Text(sql.to_lowercase()))
    }

    pub(crate) fn of_table(table: TableId) -> Self {
        Mentions(Held::Table(table))
    }

    pub(crate) fn of_database(name: &str) -> Self {
        Mentions(Held::Database(name.to_lowercase()))
    }

    /// The only table that is meant, where that is certain.
    pub fn only(&self) -> Option<&TableId> {
        match &self.0 {
            Held::Table(table) => Some(table),
            Held::Names(_) | Held::Text(_) | Held::Database(_) => None,
        }
    }

    /// Whether the text may name the table; but for the only one that is meant its database is not looked
    /// at, as it may be the session's. `false` is certain.
    pub fn may_name(&self, table: &TableId) -> bool {
        let name = table.table.to_lowercase();
        match &self.0 {
            Held::Table(only) => only == table,
            Held::Names(names) => names.contains(&name),
            // In a quoted name the quote is doubled.
            Held::Text(text) => {
                holds_name(text, &name)
                    || holds_name(text, &name.replace('`', "``"))
                    || holds_name(text, &name.replace('"', "\"\""))
            }
            Held::Database(text) => holds_name(text, &table.database.to_lowercase()),
        }
    }
}

/// Whether a name stands in a text, not as a part of a longer one. What is damaged may end a name, and
/// digits may be the version in `/*!50100name`.
fn holds_name(text: &str, name: &str) -> bool {
    let goes_on =
        |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || (c >= '\u{80}' && c != DAMAGE);
    let begins = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|c| !goes_on(c) || c.is_ascii_digit())
    };
    let ends = |at: usize| text.get(at..).and_then(|rest| rest.chars().next()).is_none_or(|c| !goes_on(c));
    match name.chars().all(goes_on) {
        true => text.match_indices(name).any(|(at, found)| begins(at) && ends(at + found.len())),
        // In quotes. The server has a question mark for a character that is not there.
        false => name.contains('?') || text.contains(name),
    }
}

/// What stands for bytes that are no text.
const DAMAGE: char = char::REPLACEMENT_CHARACTER;

/// Whether a name holds bytes that are no text.
pub(super) fn is_damaged(name: &str) -> bool {
    name.contains(DAMAGE)
}

/// Whether a table's name does, or its database's.
pub(super) fn is_damaged_table(table: &TableId) -> bool {
    is_damaged(&table.database) || is_damaged(&table.table)
}
