//! How a difference is told from others.

use serde_json::Value;

use super::changes::CHANGES;
use super::compare::{Found, Part};

/// It is a value of an envelope, at one of these places.
pub(super) fn on(found: &Found, places: &[&str]) -> bool {
    found.part == Part::Value && places.contains(&found.place().as_str())
}

/// It is a column's value, in an image or a key.
pub(super) fn values(found: &Found) -> bool {
    match found.part {
        Part::Key => true,
        Part::Value => found.path.first().is_some_and(|image| image == "before" || image == "after"),
        Part::Record | Part::Headers | Part::KeySchema | Part::ValueSchema => false,
    }
}

/// It is in the schema of a column.
pub(super) fn columns_schema(found: &Found) -> bool {
    match found.part {
        Part::KeySchema => found.path.len() > 1,
        Part::ValueSchema => {
            found.path.len() > 2
                && found.path.first().is_some_and(|image| image == "before" || image == "after")
        }
        Part::Record | Part::Headers | Part::Key | Part::Value => false,
    }
}

/// The row was read by a snapshot.
pub(super) fn by_snapshot(found: &Found) -> bool {
    found.run == "rows"
}

/// There is nothing at this place.
pub(super) fn absent(side: &Option<Value>) -> bool {
    side.is_none()
}

/// Both are numbers that are nearly the same: instants within some hours, others to five digits.
pub(super) fn near(found: &Found) -> bool {
    let number = |side: &Option<Value>| side.as_ref().and_then(Value::as_f64);
    number(&found.theirs).zip(number(&found.ours)).is_some_and(|(theirs, ours)| {
        theirs == ours || ((theirs - ours) / theirs.abs().max(ours.abs())).abs() < 1e-5
    })
}

/// Headers are each one's own.
pub(super) fn is_header(found: &Found) -> bool {
    let ours = ["op", "seq", "version", "gtid", "reason"];
    found.part == Part::Headers
        && match (&found.theirs, &found.ours) {
            (Some(_), None) => found.field().starts_with("__debezium."),
            (None, Some(_)) => ours.contains(&found.field()),
            _ => false,
        }
}

/// The unscaled number of Kafka Connect's decimal: base64 of its bytes.
pub(super) fn decimal_of(value: &Value) -> Option<i128> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = value.as_str()?.trim_end_matches('=');
    let mut number = 0_i128;
    for digit in text.chars() {
        number = number << 6 | i128::try_from(DIGITS.find(digit)?).ok()?;
    }
    let bits = text.len() * 6 / 8 * 8;
    let number = number >> (text.len() * 6 - bits);
    let is_negative = bits > 0 && number >> (bits - 1) & 1 == 1;
    Some(if is_negative { number - (1 << bits) } else { number })
}

/// A date of such a year, as ours has it.
pub(super) fn year_below_100(found: &Found) -> bool {
    /// Days before 1970-01-01 of 0100-01-01.
    const DAYS: i64 = -683_003;
    let is_micros = found.run != "rounded" && ["(4)", "(5)", "(6)"].iter().any(|digits| found.has(digits));
    let unit = match () {
        () if found.is_of("DATETIME") && is_micros => 86_400_000_000,
        () if found.is_of("DATETIME") => 86_400_000,
        () if found.is_of("DATE") => 1,
        () => return false,
    };
    values(found)
        && match &found.ours {
            Some(Value::Number(ours)) => ours.as_i64().is_some_and(|ours| ours < DAYS * unit),
            Some(Value::String(ours)) => ours.starts_with("00"),
            _ => false,
        }
}

/// NULL of ours is a default of theirs.
pub(super) fn was_default(found: &Found) -> bool {
    let is_null =
        found.ours == Some(Value::Null) && found.theirs.as_ref().is_some_and(|their| !their.is_null());
    values(found) && is_null && found.has("DEFAULT") && !found.has("NOT NULL")
}

/// Theirs has a backslash before each comma.
pub(super) fn comma(found: &Found) -> bool {
    let text = |side: &Option<Value>| side.as_ref().and_then(Value::as_str).map(str::to_owned);
    text(&found.ours).is_some_and(|ours| text(&found.theirs) == Some(ours.replace(',', "\\,")))
}

/// Both are texts of the same document.
pub(super) fn same_document(found: &Found) -> bool {
    let document = |side: &Option<Value>| -> Option<Value> {
        serde_json::from_str(side.as_ref().and_then(Value::as_str)?).ok()
    };
    document(&found.theirs).zip(document(&found.ours)).is_some_and(|(theirs, ours)| same(&theirs, &ours))
}

fn same(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.len() == ours.len() && theirs.iter().zip(ours).all(|(theirs, ours)| same(theirs, ours))
        }
        (Value::Object(theirs), Value::Object(ours)) => {
            let is_there =
                |(key, their): (&String, &Value)| ours.get(key).is_some_and(|our| same(their, our));
            theirs.len() == ours.len() && theirs.iter().all(is_there)
        }
        (Value::Number(theirs), Value::Number(ours)) => theirs.as_f64() == ours.as_f64(),
        _ => theirs == ours,
    }
}

/// A text in a charset for which Java has none, or another one.
pub(super) fn unknown_charset(found: &Found) -> bool {
    let charsets =
        ["armscii8", "dec8", "eucjpms", "euckr", "geostd8", "hp8", "keybcs2", "koi8u", "sjis", "swe7"];
    charsets.iter().any(|charset| found.has(&format!("CHARACTER SET {charset}")))
}

/// A TIME that is no time of day.
pub(super) fn clipped_time(found: &Found) -> bool {
    const DAY_MS: i64 = 86_400_000;
    let hours = |text: &str| text.split(':').next().and_then(|hours| hours.parse::<i64>().ok());
    let is_lost = match &found.theirs {
        Some(Value::Null) => true,
        Some(Value::String(theirs)) => theirs == "00:00:00Z",
        _ => false,
    };
    let is_no_time_of_day = match &found.ours {
        Some(Value::String(ours)) => ours.starts_with('-') || hours(ours).is_some_and(|hours| hours >= 24),
        // A negative one of less than a millisecond is 0.
        Some(Value::Number(ours)) => ours.as_i64().is_some_and(|ours| ours <= 0 || ours >= DAY_MS),
        _ => false,
    };
    (found.is_of("TIME(") || found.column.as_deref() == Some("TIME"))
        && values(found)
        && is_lost
        && is_no_time_of_day
}

/// Both are the same instant, theirs without zeros at the end of its fraction.
pub(super) fn fewer_zeros(found: &Found) -> bool {
    let trimmed = |value: &Option<Value>| {
        let text = value.as_ref().and_then(|value| value.as_str()?.strip_suffix('Z'))?;
        Some(match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text.to_owned(),
        })
    };
    trimmed(&found.theirs).is_some() && trimmed(&found.ours) == trimmed(&found.theirs)
}

/// Theirs is ten days later.
pub(super) fn ten_days_later(found: &Found) -> bool {
    let number = |side: &Option<Value>| side.as_ref().and_then(Value::as_i64);
    let later = number(&found.theirs).zip(number(&found.ours)).map(|(theirs, ours)| theirs - ours);
    later.is_some_and(|later| [864_000_000, 864_000_000_000].contains(&later))
}

/// It is in a record of a schema change.
pub(super) fn of_change(found: &Found) -> bool {
    found.table == CHANGES
}

/// Only they tell the change.
pub(super) fn is_not_told(found: &Found) -> bool {
    found.part == Part::Record && absent(&found.ours)
}

/// Their change is of no captured table, and of no database with one.
pub(super) fn changes_nothing(found: &Found) -> bool {
    let Some(theirs) = &found.theirs else { return false };
    let value = &theirs["value"]["payload"];
    let ddl = value["ddl"].as_str().unwrap_or_default();
    value["databaseName"] == "elsewhere" || ddl.starts_with("CREATE TABLE IF NOT EXISTS")
}

pub(super) fn is_null(side: &Option<Value>) -> bool {
    side.as_ref().is_none_or(Value::is_null)
}

/// It is an empty text.
pub(super) fn says_nothing(side: &Option<Value>) -> bool {
    side.as_ref().and_then(Value::as_str) == Some("")
}

/// Both are the same words with commas between, in any order.
pub(super) fn same_list(found: &Found) -> bool {
    let words = |side: &Option<Value>| {
        let mut words: Vec<String> = side.as_ref()?.as_str()?.split(',').map(str::to_owned).collect();
        words.sort();
        Some(words)
    };
    words(&found.ours).is_some_and(|ours| ours.len() > 1 && words(&found.theirs) == Some(ours))
}

/// It is a character set of a schema change.
pub(super) fn of_charset(found: &Found) -> bool {
    of_change(found) && matches!(found.field(), "charsetName" | "defaultCharsetName")
}

/// It is a default of a schema change.
pub(super) fn of_default(found: &Found) -> bool {
    of_change(found) && found.field() == "defaultValueExpression"
}

/// Theirs is another way to write the same.
pub(super) fn is_escaped(found: &Found) -> bool {
    let texts = |side: &Option<Value>| -> Vec<String> {
        let list = match side {
            Some(Value::Array(list)) => list.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        };
        list.iter().filter_map(Value::as_str).map(unescaped).collect()
    };
    texts(&found.theirs) == texts(&found.ours)
}

/// A text without its escapes, the quotes around it, and spaces at its end, which labels lose.
fn unescaped(text: &str) -> String {
    let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    let mut chars = inner.chars().peekable();
    let mut plain = String::new();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('\'', Some('\'')) => drop(chars.next()),
            ('\\', Some(_)) => {
                plain.extend(chars.next());
                continue;
            }
            _ => {}
        }
        plain.push(char);
    }
    plain.trim_end_matches(' ').to_owned()
}
