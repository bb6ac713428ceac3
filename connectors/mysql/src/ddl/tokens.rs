//! A statement as tokens, and the names it mentions.

use std::any::TypeId;
use std::collections::BTreeSet;

use lakeward_core::TableId;
use sqlparser::dialect::{Dialect, MySqlDialect};
use sqlparser::tokenizer::{Token, Tokenizer, Word};

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

/// The tokens of a statement, comments and white space left out, and a place among them.
#[derive(Clone)]
pub(crate) struct Tokens<'a> {
    tokens: Vec<Token>,
    at: usize,
    session: SqlSession<'a>,
    /// Why the tokens end before the text does.
    pub(crate) broken: Option<String>,
    /// The part of the statement that was not understood, where it is known.
    pub(crate) unread: Option<String>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(sql: &str, session: &SqlSession<'a>) -> Self {
        let lexical =
            Lexical { ansi_quotes: session.ansi_quotes, backslash_escapes: !session.no_backslash_escapes };
        let mut buffer = Vec::new();
        let broken = Tokenizer::new(&lexical, sql)
            .tokenize_with_location_into_buf(&mut buffer)
            .err()
            .map(|error| error.to_string());
        let tokens = buffer
            .into_iter()
            .map(|token| token.token)
            .filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF))
            .collect();
        Tokens { tokens, at: 0, session: *session, broken, unread: None }
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
        Some(Tokens { tokens, at: 0, session: self.session, broken: None, unread: None })
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

    /// Whether the last tokens are these words.
    pub(crate) fn ends_with(&self, words: &[&str]) -> bool {
        let end = match self.tokens.last() {
            Some(Token::SemiColon) => self.tokens.len() - 1,
            _ => self.tokens.len(),
        };
        end.checked_sub(words.len()).is_some_and(|start| {
            words.iter().enumerate().all(|(i, word)| self.is_keyword_at(start + i, word))
        })
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
                return Some(Tokens { tokens, at: 0, session: self.session, broken: None, unread: None });
            }
        }
        None
    }

    /// `table` or `database.table`. `None` also where the name is followed by what could be a part of
    /// it that was cut wrongly (`a.1b` is a name in MySQL).
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

/// Every name that a text holds: for a statement that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mentions(Held);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    /// The text's words, and what its strings and numbers hold, in lower case.
    Names(BTreeSet<String>),
    /// The text, in lower case, where it could not be cut into tokens.
    Text(String),
}

impl Mentions {
    pub(crate) fn of(sql: &str, tokens: &Tokens<'_>) -> Self {
        if tokens.broken.is_some() {
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

    /// Whether the text may name the table; its database is not looked at, as it may be the
    /// session's. `false` is certain.
    pub fn may_name(&self, table: &TableId) -> bool {
        let name = table.table.to_lowercase();
        match &self.0 {
            Held::Names(names) => names.contains(&name),
            // In a quoted name the quote is doubled.
            Held::Text(text) => {
                text.contains(&name)
                    || text.contains(&name.replace('`', "``"))
                    || text.contains(&name.replace('"', "\"\""))
            }
        }
    }
}
