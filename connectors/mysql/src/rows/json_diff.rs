//! Partial JSON updates (`binlog_row_value_options = PARTIAL_JSON`): the differences that turn the
//! before-image's document into the after-image's.
//!
//! A difference is an operation, a path in MySQL's path language and, unless it removes, a document
//! (`Json_diff_vector::read_binary`); they are applied in order (`apply_json_diffs`). A difference that
//! does not fit the document means that before-image and event do not belong together: an error.

use lakeward_core::{Error, Result};

use super::cursor::{Cursor, corrupt};
use super::json;
use super::json_tree::{Node, find_member};

/// A step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Leg {
    Member(Vec<u8>),
    Cell(usize),
    /// Counted from the last element.
    CellFromEnd(usize),
}

#[cold]
fn unfit(path: &[u8]) -> Error {
    corrupt(format!(
        "a partial JSON update of path {} does not fit the row's previous document",
        String::from_utf8_lossy(path)
    ))
}

/// Appends the text of `before` with `differences` applied.
pub(super) fn append_updated(before: &[u8], differences: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut root = Node::read(before)?;
    let mut differences = Cursor::new(differences);
    while !differences.is_empty() {
        let operation = differences.u8()?;
        let path_len = differences.packed_len()?;
        let path = differences.take(path_len)?;
        let legs = parse_path(path).ok_or_else(|| corrupt("a partial JSON update with a malformed path"))?;
        let applied = match operation {
            0 => replace(&mut root, &legs, value(&mut differences)?),
            1 => insert(&mut root, &legs, value(&mut differences)?),
            2 => remove(&mut root, &legs),
            other => return Err(corrupt(format!("a partial JSON update with operation {other}"))),
        };
        applied.ok_or_else(|| unfit(path))?;
    }
    let start = out.len();
    root.append_text(out)?;
    json::check_utf8(out, start)
}

fn value<'a>(differences: &mut Cursor<'a>) -> Result<Node<'a>> {
    let len = differences.packed_len()?;
    Node::read(differences.take(len)?)
}

/// Follows a path. A scalar or object is taken for the array of itself, as `Json_dom::seek` does.
fn seek<'n, 'a>(node: &'n mut Node<'a>, legs: &[Leg]) -> Option<&'n mut Node<'a>> {
    let Some((leg, rest)) = legs.split_first() else { return Some(node) };
    let next = match (node, leg) {
        (Node::Object(members), Leg::Member(key)) => {
            let index = find_member(members, key).ok()?;
            &mut members.get_mut(index)?.1
        }
        (Node::Array(elements), Leg::Cell(index)) => elements.get_mut(*index)?,
        (Node::Array(elements), Leg::CellFromEnd(back)) => {
            let index = elements.len().checked_sub(1)?.checked_sub(*back)?;
            elements.get_mut(index)?
        }
        (node @ (Node::Object(_) | Node::Scalar(_)), Leg::Cell(0) | Leg::CellFromEnd(0)) => node,
        (Node::Object(_) | Node::Scalar(_), Leg::Cell(_) | Leg::CellFromEnd(_))
        | (Node::Array(_) | Node::Scalar(_), Leg::Member(_)) => return None,
    };
    seek(next, rest)
}

fn replace<'a>(root: &mut Node<'a>, legs: &[Leg], value: Node<'a>) -> Option<()> {
    *seek(root, legs)? = value;
    Some(())
}

fn insert<'a>(root: &mut Node<'a>, legs: &[Leg], value: Node<'a>) -> Option<()> {
    let (last, parent) = legs.split_last()?;
    match (seek(root, parent)?, last) {
        (Node::Object(members), Leg::Member(key)) => {
            let index = find_member(members, key).err()?;
            members.insert(index, (key.clone().into(), value));
        }
        // A cell beyond the end appends, as `Json_array_index` clamps it.
        (Node::Array(elements), Leg::Cell(index)) => elements.insert((*index).min(elements.len()), value),
        (Node::Array(elements), Leg::CellFromEnd(back)) => {
            let index = elements.len().saturating_sub(1).saturating_sub(*back);
            elements.insert(index, value);
        }
        (Node::Object(_) | Node::Scalar(_), Leg::Cell(_) | Leg::CellFromEnd(_))
        | (Node::Array(_) | Node::Scalar(_), Leg::Member(_)) => return None,
    }
    Some(())
}

fn remove(root: &mut Node<'_>, legs: &[Leg]) -> Option<()> {
    let (last, parent) = legs.split_last()?;
    match (seek(root, parent)?, last) {
        (Node::Object(members), Leg::Member(key)) => {
            members.remove(find_member(members, key).ok()?);
        }
        (Node::Array(elements), Leg::Cell(index)) if *index < elements.len() => {
            elements.remove(*index);
        }
        (Node::Array(elements), Leg::CellFromEnd(back)) => {
            let index = elements.len().checked_sub(1)?.checked_sub(*back)?;
            elements.remove(index);
        }
        (Node::Array(_), Leg::Cell(_) | Leg::Member(_)) | (Node::Object(_) | Node::Scalar(_), _) => {
            return None;
        }
    }
    Some(())
}

/// Reads a path such as `$.a."b c"[3][last-1]`, no longer than a document is deep.
fn parse_path(path: &[u8]) -> Option<Vec<Leg>> {
    let mut rest = path.strip_prefix(b"$")?;
    let mut legs = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        if legs.len() == usize::from(json::DEPTH_MAX) {
            return None;
        }
        rest = match first {
            b'.' if after.first() == Some(&b'"') => {
                let (name, after) = quoted(after)?;
                legs.push(Leg::Member(name));
                after
            }
            b'.' => {
                let end = after.iter().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(after.len());
                let (name, after) = after.split_at_checked(end)?;
                legs.push(Leg::Member((!name.is_empty()).then(|| name.to_vec())?));
                after
            }
            b'[' => {
                let end = after.iter().position(|byte| *byte == b']')?;
                let (index, after) = after.split_at_checked(end)?;
                legs.push(cell(std::str::from_utf8(index).ok()?.trim())?);
                after.get(1..)?
            }
            _ => return None,
        };
    }
    Some(legs)
}

fn cell(index: &str) -> Option<Leg> {
    match index.strip_prefix("last") {
        None => index.parse().ok().map(Leg::Cell),
        Some("") => Some(Leg::CellFromEnd(0)),
        Some(back) => back.trim().strip_prefix('-')?.trim().parse().ok().map(Leg::CellFromEnd),
    }
}

/// A quoted member name: a JSON string.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut end = 1;
    while text.get(end)? != &b'"' {
        end += if text.get(end) == Some(&b'\\') { 2 } else { 1 };
    }
    let name: String = serde_json::from_slice(text.get(..=end)?).ok()?;
    Some((name.into_bytes(), text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_mysql_writes_them() {
        let member = |name: &str| Leg::Member(name.as_bytes().to_vec());
        assert_eq!(
            parse_path(br#"$.a."b \"c].\u00e9"[3][last-1].d"#),
            Some(vec![member("a"), member("b \"c].é"), Leg::Cell(3), Leg::CellFromEnd(1), member("d")])
        );
        assert_eq!(parse_path(b"$"), Some(vec![]));
        for malformed in ["", "a", "$.", "$[", "$[x]", "$.\"a", "$a", "$..b", "$.\"\\"] {
            assert_eq!(parse_path(malformed.as_bytes()), None, "{malformed}");
        }
    }
}
