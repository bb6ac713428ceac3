//! `${env:NAME}` and `${file:PATH}` in the strings of a config file.
//!
//! Replaced in the parsed values, never in the text, so a password may hold any character.

use std::path::Path;

use lakeward_core::{Error, ErrorKind, Result};
use yaml_serde::Value;

use super::locate::Step;

/// Where references are looked up.
pub struct Outside<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    pub file: &'a dyn Fn(&Path) -> std::io::Result<String>,
}

/// The process's own environment and files.
pub fn process() -> Outside<'static> {
    #[expect(clippy::disallowed_methods, reason = "src/config is where the environment is read")]
    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    Outside { variable: &variable, file: &|path| std::fs::read_to_string(path) }
}

/// Replaces every reference; returns the paths of the values that held one.
pub(super) fn resolve(value: &mut Value, outside: &Outside<'_>) -> Result<Vec<Vec<Step>>> {
    let mut found = Vec::new();
    walk(value, outside, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn walk(
    value: &mut Value,
    outside: &Outside<'_>,
    path: &mut Vec<Step>,
    found: &mut Vec<Vec<Step>>,
) -> Result<()> {
    match value {
        Value::String(text) if text.contains("${") => {
            *text = replaced(text, outside).map_err(|error| error.at("key", super::locate::shown(path)))?;
            found.push(path.clone());
        }
        Value::Mapping(entries) => {
            for (key, inner) in entries.iter_mut() {
                path.push(Step::Key(key.as_str().unwrap_or("?").to_owned()));
                walk(inner, outside, path, found)?;
                path.pop();
            }
        }
        Value::Sequence(items) => {
            for (index, inner) in items.iter_mut().enumerate() {
                path.push(Step::Index(index));
                walk(inner, outside, path, found)?;
                path.pop();
            }
        }
        Value::Tagged(tagged) => walk(&mut tagged.value, outside, path, found)?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn replaced(text: &str, outside: &Outside<'_>) -> Result<String> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            done.push_str(literal);
            done.push_str("${");
            rest = after;
            continue;
        }
        done.push_str(before);
        let (inside, after) = after.split_once('}').ok_or_else(|| {
            Error::new(ErrorKind::Config, "a reference `${` has no end")
                .remedy("add `}`, or write `$${` for `${`")
        })?;
        done.push_str(&looked_up(inside, outside)?);
        rest = after;
    }
    done.push_str(rest);
    Ok(done)
}

fn looked_up(inside: &str, outside: &Outside<'_>) -> Result<String> {
    match inside.split_once(':') {
        Some(("env", name)) => (outside.variable)(name).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("the environment variable {name} is not set"))
                .remedy(format!("set it before the start: export {name}=…"))
        }),
        Some(("file", path)) => {
            let text = (outside.file)(Path::new(path)).map_err(|error| {
                Error::new(ErrorKind::Config, format!("the file {path} cannot be read"))
                    .remedy("make it readable for this process")
                    .caused_by(error)
            })?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
        }
        _ => Err(Error::new(ErrorKind::Config, format!("`${{{inside}}}` is not a known reference"))
            .remedy("write `${env:NAME}` or `${file:PATH}`; `$${` stands for `${` itself")),
    }
}
