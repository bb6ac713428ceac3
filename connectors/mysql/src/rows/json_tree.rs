//! A JSON document taken apart, so that it can be changed; printed the same way as a stored one.

use std::borrow::Cow;

use lakeward_core::Result;

use super::json::{self, Budget, DEPTH_MAX, Value};

/// A value whose containers can be changed.
#[derive(Clone, Debug)]
pub(super) enum Node<'a> {
    /// Members in the server's order: by length of the key, then by its bytes.
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
    Array(Vec<Node<'a>>),
    Scalar(Value<'a>),
}

impl<'a> Node<'a> {
    /// Takes a stored document apart.
    pub(super) fn read(document: &'a [u8]) -> Result<Self> {
        Self::of(json::document(document)?, DEPTH_MAX, &mut Budget::of(document))
    }

    fn of(value: Value<'a>, depth: u8, budget: &mut Budget) -> Result<Self> {
        match value {
            Value::Object(object) => {
                let depth = json::deeper(depth)?;
                object.spend_entries(budget)?;
                let members = (0..object.len()).map(|index| {
                    let member = Self::of(object.value(index)?, depth, budget)?;
                    Ok((Cow::Borrowed(object.key(index)?), member))
                });
                Ok(Node::Object(members.collect::<Result<_>>()?))
            }
            Value::Array(array) => {
                let depth = json::deeper(depth)?;
                array.spend_entries(budget)?;
                let elements = (0..array.len()).map(|index| Self::of(array.value(index)?, depth, budget));
                Ok(Node::Array(elements.collect::<Result<_>>()?))
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::UInt(_)
            | Value::Double(_)
            | Value::String(_)
            | Value::Opaque { .. } => Ok(Node::Scalar(value)),
        }
    }

    /// Appends its text.
    pub(super) fn append_text(&self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Node::Object(members) => {
                out.push(b'{');
                for (index, (key, member)) in members.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    json::append_quoted(key, out);
                    out.extend_from_slice(b": ");
                    member.append_text(out)?;
                }
                out.push(b'}');
                Ok(())
            }
            Node::Array(elements) => {
                out.push(b'[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    element.append_text(out)?;
                }
                out.push(b']');
                Ok(())
            }
            Node::Scalar(value) => json::append_scalar(*value, out),
        }
    }
}

/// Where a key stands, or would stand, among an object's members.
pub(super) fn find_member(members: &[(Cow<'_, [u8]>, Node<'_>)], key: &[u8]) -> Result<usize, usize> {
    members.binary_search_by(|(member, _)| member.len().cmp(&key.len()).then_with(|| (**member).cmp(key)))
}
