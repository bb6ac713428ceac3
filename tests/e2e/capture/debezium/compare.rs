//! Two records, field by field, schema parts included.

use serde_json::{Map, Value};

/// Where in a record something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The record itself: one side has none.
    Record,
    Headers,
    KeySchema,
    Key,
    ValueSchema,
    Value,
}

/// What differs.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The run in which it does.
    pub(super) run: &'static str,
    pub(super) table: String,
    /// Debezium's letter of the event, else ours.
    pub(super) op: String,
    pub(super) part: Part,
    /// The field's place, as `after.price`; in schemas as `after.price.name`.
    pub(super) path: Vec<String>,
    /// The definition of the column that it is of, where that is one of the suite.
    pub(super) column: Option<String>,
    pub(super) theirs: Option<Value>,
    pub(super) ours: Option<Value>,
}

impl Found {
    /// Ours is this text.
    pub(super) fn says(&self, text: &str) -> bool {
        self.ours.as_ref().and_then(Value::as_str) == Some(text)
    }

    /// The column's definition has these words.
    pub(super) fn has(&self, words: &str) -> bool {
        self.column.as_deref().is_some_and(|column| column.contains(words))
    }

    /// The place in one word.
    pub(super) fn place(&self) -> String {
        self.path.join(".")
    }

    /// The last name of the place.
    pub(super) fn field(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The column's type begins so.
    pub(super) fn is_of(&self, ty: &str) -> bool {
        self.column.as_deref().is_some_and(|column| column.starts_with(ty))
    }
}

/// Fields by their names, so that each is compared with the one that is called the same; their order beside them.
pub(super) fn by_name(schema: &Value) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let mut named = Map::new();
    for (key, value) in map {
        match (key.as_str(), value) {
            ("fields", Value::Array(fields)) => {
                let order: Vec<&str> = fields.iter().filter_map(|field| field["field"].as_str()).collect();
                named.insert("order".into(), order.join(",").into());
                for field in fields {
                    let name = field["field"].as_str().expect("a field has a name");
                    named.insert(name.into(), by_name(field));
                }
            }
            // It is the name that it is found by.
            ("field", _) => {}
            _ => drop(named.insert(key.clone(), by_name(value))),
        }
    }
    Value::Object(named)
}

/// Tells each place at which the two differ: the innermost ones.
pub(super) fn walk(
    theirs: Option<&Value>,
    ours: Option<&Value>,
    path: &mut Vec<String>,
    tell: &mut impl FnMut(&[String], Option<&Value>, Option<&Value>),
) {
    if theirs == ours {
        return;
    }
    let (Some(Value::Object(left)), Some(Value::Object(right))) = (theirs, ours) else {
        return tell(path, theirs, ours);
    };
    let only_ours = right.keys().filter(|key| !left.contains_key(*key));
    for key in left.keys().chain(only_ours) {
        path.push(key.clone());
        walk(left.get(key), right.get(key), path, tell);
        path.pop();
    }
}
