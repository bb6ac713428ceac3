//! What is wrong with a config file, said with the key, the line and the nearest known word.

use lakeward_core::{Error, ErrorKind};
use serde_path_to_error::Segment;

use super::locate::{self, Step};

/// Turns errors about `text` into errors that say where.
pub(super) struct Trouble<'a> {
    text: &'a str,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Trouble { text }
    }

    /// The text is not YAML.
    pub(super) fn syntax(&self, error: &yaml_serde::Error) -> Error {
        let mut text = error.to_string();
        let mut place = error.location().map(|at| at.line());
        // Of a key that stands twice the parser tells where its group begins.
        if text.contains("duplicate entry") {
            text.truncate(text.find(" at line ").unwrap_or(text.len()));
            place = None;
        }
        let wrong = Error::new(ErrorKind::Config, format!("the config file is not valid YAML: {text}"));
        let wrong = match place {
            Some(line) => wrong.at("line", line),
            None => wrong,
        };
        wrong.remedy("correct the line; indentation is by spaces, and each key stands once")
    }

    /// An error that names its key; adds the line.
    pub(super) fn placed(&self, error: Error) -> Error {
        let key = error.context().iter().find(|(what, _)| *what == "key").map(|(_, key)| key.clone());
        match key.and_then(|key| locate::line(self.text, &locate::dotted(&key))) {
            Some(line) => error.at("line", line),
            None => error,
        }
    }

    /// A value does not have the shape that its key asks for. Values that came in by a reference,
    /// whose paths are `referenced`, are not shown.
    pub(super) fn shape(
        &self,
        error: &serde_path_to_error::Error<yaml_serde::Error>,
        referenced: &[Vec<Step>],
    ) -> Error {
        let path: Vec<Step> = error.path().iter().filter_map(step).collect();
        let message = error.inner().to_string();
        let hidden = referenced.iter().any(|other| other.starts_with(&path));
        let (message, remedy) = said(&message, &locate::shown(&path), hidden);
        let error = Error::new(ErrorKind::Config, message);
        let error = match path.is_empty() {
            true => error.at("place", "the file's outermost keys"),
            false => error.at("key", locate::shown(&path)),
        };
        let error = match locate::line(self.text, &path) {
            Some(line) => error.at("line", line),
            None => error,
        };
        error.remedy(remedy)
    }
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

const SEE: &str = "`lakeward config schema` prints all keys and their types";

/// Message and remedy for one of serde's messages (crate serde, `de::Error`) about what stands at `place`.
fn said(message: &str, place: &str, hidden: bool) -> (String, String) {
    let mut words = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let wrong = words.next().unwrap_or_default();
        return (format!("the key `{wrong}` is not known"), nearest(wrong, &words.collect::<Vec<_>>()));
    }
    if message.starts_with("missing field") {
        let missing = words.next().unwrap_or_default();
        // It may stand there, and belong to another group by its indentation.
        let below = if place.is_empty() { String::new() } else { format!(", indented below `{place}:`") };
        return (format!("the key `{missing}` is missing"), format!("add `{missing}:`{below}; {SEE}"));
    }
    if message.starts_with("unknown variant") {
        let wrong = words.next().unwrap_or_default();
        let known: Vec<_> = words.collect();
        let remedy = format!("write one of: {}", known.join(", "));
        return match hidden {
            true => ("the value is not one of those known here".into(), remedy),
            false => (format!("`{wrong}` is not one of the values known here"), remedy),
        };
    }
    // "invalid type: string \"hunter2\", expected u16": the value may be a secret in a wrong place.
    if let Some(rest) = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: ")) {
        let kind = rest.split(['"', '`', ',']).next().unwrap_or_default().trim();
        let expected = rest.rsplit_once(", expected ").map_or("another type", |(_, expected)| expected);
        let (kind, remedy) = match kind {
            "unit value" => ("nothing, or null", "give it a value; the word null is written `\"null\"`"),
            kind => (kind, "correct the value"),
        };
        return (format!("found: {kind}; expected: {}", plainly(expected)), format!("{remedy}; {SEE}"));
    }
    if message.starts_with("data did not match any variant") {
        return ("the value is not of a form that is known here".into(), format!("correct it; {SEE}"));
    }
    match hidden {
        true => {
            ("the value that the reference brings cannot be used here".into(), format!("correct it; {SEE}"))
        }
        false => (message.to_owned(), format!("correct the value; {SEE}")),
    }
}

fn plainly(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" | "usize" => "a whole number, not negative, in range",
        "i32" | "i64" => "a whole number in range",
        "a Value::Tagged enum" => "one of the words known here",
        expected if expected.starts_with("struct ") => "a group of keys",
        expected => expected,
    }
}

fn nearest(wrong: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|word| (strsim::jaro_winkler(wrong, word), *word))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None if known.is_empty() => "remove it, or correct its name".into(),
        None => {
            format!("remove it, indent it below the key it belongs to, or use one of: {}", known.join(", "))
        }
    }
}
