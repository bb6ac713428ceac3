//! The same events through `mysql_cdc`: a third opinion on real bytes, from the events' bytes alone (its
//! transport knows no TLS and stops at the PREVIOUS_GTIDS event of MySQL 9.7).
//!
//! What it reads otherwise is listed: [`DIFFERENCES`] by column, each with what explains it exactly, and
//! [`REFUSED`] by table. Everything else must be equal, and what is listed must occur.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use lakeward_core::{ColumnType, TypeOptions};
use lakeward_mysql::rows::append_json_text;
use lakeward_test_support::mysql::MySql;
use mysql_cdc::errors::Error;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;

use crate::binlog_file::{table_map, whole_events};
use crate::charset::bytes;
use crate::decode::{batch, events, hex, schema, shown, without_zeros};
use crate::json::Random;

/// A column that `mysql_cdc` reads otherwise.
struct Difference {
    column: &'static str,
    /// Why, for the message.
    why: &'static str,
    /// Whether our value and theirs differ by that and nothing else.
    explains: fn(ours: &str, theirs: &str) -> bool,
}

const UNSIGNED: &str = "integers are always unsigned";
const MILLISECONDS: &str = "fractions of a second are cut to milliseconds";

const DIFFERENCES: &[Difference] = &[
    Difference { column: "tiny", why: UNSIGNED, explains: |ours, theirs| wraps(ours, theirs, 8) },
    Difference { column: "small", why: UNSIGNED, explains: |ours, theirs| wraps(ours, theirs, 16) },
    Difference { column: "medium", why: UNSIGNED, explains: |ours, theirs| wraps(ours, theirs, 24) },
    Difference { column: "plain", why: UNSIGNED, explains: |ours, theirs| wraps(ours, theirs, 32) },
    Difference { column: "big", why: UNSIGNED, explains: |ours, theirs| wraps(ours, theirs, 64) },
    Difference {
        column: "moment6",
        why: MILLISECONDS,
        explains: |ours, theirs| in_milliseconds(ours) == theirs,
    },
    Difference {
        column: "stamp6",
        why: MILLISECONDS,
        explains: |ours, theirs| in_milliseconds(ours) == theirs,
    },
    Difference {
        column: "span6",
        why: MILLISECONDS,
        explains: |ours, theirs| number(ours) / 1000 * 1000 == number(theirs),
    },
    Difference {
        column: "a_year",
        why: "the year 0 becomes 1900",
        explains: |ours, theirs| ours == "0" && theirs == "1900",
    },
    Difference {
        column: "padded",
        why: "zeros that pad BINARY are not in the log and stay out",
        explains: |ours, theirs| ours.len() == 8 && format!("{theirs:0<8}") == ours,
    },
    Difference {
        column: "doc",
        why: "JSON is left in its binary form",
        explains: |ours, theirs| {
            let mut text = Vec::new();
            append_json_text(&bytes(theirs), &mut text).is_ok() && text == ours.as_bytes()
        },
    },
];

/// Columns for whose values `mysql_cdc` gives no row but an error: the column, a value, its error.
const REFUSED: &[(&str, &str, &str)] = &[
    ("VARCHAR(9) CHARACTER SET latin1", "'é'", "FromUtf8Error"),
    ("BINARY(2)", "x'FF01'", "FromUtf8Error"),
    ("ENUM('é') CHARACTER SET latin1", "'é'", "FromUtf8Error"),
    ("TIME", "'-00:00:01'", "negative TIME"),
    ("TIME(6)", "'-00:00:00.000001'", "negative TIME"),
    ("VECTOR(2)", "TO_VECTOR('[1,2]')", "242"),
];

fn number(text: &str) -> i128 {
    text.parse().unwrap()
}

fn wraps(ours: &str, theirs: &str, bits: u32) -> bool {
    number(ours) < 0 && number(ours) + (1 << bits) == number(theirs)
}

fn in_milliseconds(moment: &str) -> &str {
    let end = moment.find('.').map_or(moment.len(), |point| moment.len().min(point + 4));
    without_zeros(&moment[..end])
}

/// A value of theirs in the form in which a column of this type is shown; no more than that is undone.
fn theirs(value: &MySqlValue, ty: &ColumnType) -> String {
    match (value, ty) {
        (MySqlValue::TinyInt(value), _) => value.to_string(),
        (MySqlValue::SmallInt(value), _) | (MySqlValue::Year(value), _) => value.to_string(),
        (MySqlValue::MediumInt(value), _) | (MySqlValue::Int(value), _) => value.to_string(),
        (MySqlValue::BigInt(value), _) => value.to_string(),
        (MySqlValue::Float(value), _) => format!("{:?}", f64::from(*value)),
        (MySqlValue::Double(value), _) => format!("{value:?}"),
        (MySqlValue::Decimal(text), _) => text.clone(),
        (MySqlValue::String(text), ColumnType::Binary { .. }) => hex(text.as_bytes()),
        (MySqlValue::String(text), _) => text.clone(),
        (MySqlValue::Blob(bytes), ColumnType::Text { .. }) => String::from_utf8(bytes.clone()).unwrap(),
        (MySqlValue::Blob(bytes), _) => hex(bytes),
        (MySqlValue::Bit(bits), _) => {
            let value = bits.iter().fold(0u64, |value, bit| value << 1 | u64::from(*bit));
            format!("{value:0width$X}", width = bits.len().div_ceil(8) * 2)
        }
        (MySqlValue::Enum(0), ColumnType::Enum { .. }) => String::new(),
        (MySqlValue::Enum(place), ColumnType::Enum { labels }) => labels[*place as usize - 1].clone(),
        (MySqlValue::Set(set), ColumnType::Set { labels }) => {
            let set = (0..).zip(labels).filter(|(place, _)| set >> place & 1 == 1);
            set.map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(",")
        }
        (MySqlValue::Date(date), _) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
        (MySqlValue::Time(time), _) => {
            let seconds = (i64::from(time.hour) * 60 + i64::from(time.minute)) * 60 + i64::from(time.second);
            ((seconds * 1000 + i64::from(time.millis)) * 1000).to_string()
        }
        (MySqlValue::DateTime(at), _) => {
            let date = format!("{:04}-{:02}-{:02}", at.year, at.month, at.day);
            let time = format!("{:02}:{:02}:{:02}.{:03}", at.hour, at.minute, at.second, at.millis);
            without_zeros(&format!("{date} {time}")).to_owned()
        }
        (MySqlValue::Timestamp(millis), _) => millis.to_string(),
        (value, ty) => panic!("{value:?} of {ty:?}"),
    }
}

/// What `mysql_cdc` makes of a table's rows events: the rows after each, or an error.
fn their_rows(server: &MySql, table: &str) -> Vec<Result<Vec<Vec<Option<MySqlValue>>>, Error>> {
    let mut answers = Vec::new();
    for log in server.rows("SHOW BINARY LOGS") {
        let file = std::fs::read(server.data().join(log[0].as_ref().unwrap())).unwrap();
        let mut parser = EventParser::new();
        let mut id = None;
        for event in whole_events(&file) {
            let body = &event[19..];
            match event[4] {
                15 => {}
                19 => {
                    let (number, (name, _)) = table_map(&body[..body.len() - 4]);
                    if &*name != table {
                        continue;
                    }
                    id = Some(number);
                }
                30..=32 | 39 if id.as_deref() == Some(&body[..6]) => {}
                _ => continue,
            }
            let header = EventHeader::parse(&event[..19]).unwrap();
            match parser.parse_event(&header, body) {
                Ok(BinlogEvent::FormatDescriptionEvent(_) | BinlogEvent::TableMapEvent(_)) => {}
                Ok(BinlogEvent::WriteRowsEvent(event)) => {
                    answers.push(Ok(event.rows.into_iter().map(|row| row.cells).collect()));
                }
                Ok(BinlogEvent::UpdateRowsEvent(event)) => {
                    answers.push(Ok(event.rows.into_iter().map(|row| row.after_update.cells).collect()));
                }
                Ok(BinlogEvent::DeleteRowsEvent(event)) => {
                    answers.push(Ok(event.rows.into_iter().map(|row| row.cells).collect()));
                }
                // The event of a partial update, which it does not know.
                Ok(BinlogEvent::UnknownEvent) => answers.push(Ok(Vec::new())),
                Ok(other) => panic!("{other:?}"),
                Err(error) => answers.push(Err(error)),
            }
        }
    }
    answers
}

/// A column of the compared table.
#[derive(Clone)]
struct Compared {
    name: &'static str,
    sql: &'static str,
    ty: ColumnType,
    /// A value as SQL.
    make: fn(&mut Random) -> String,
}

fn column(
    name: &'static str,
    sql: &'static str,
    ty: ColumnType,
    make: fn(&mut Random) -> String,
) -> Compared {
    Compared { name, sql, ty, make }
}

fn int(width: u8, unsigned: bool) -> ColumnType {
    ColumnType::Int { width, unsigned, display_one: false }
}

fn numbers() -> Vec<Compared> {
    vec![
        column("id", "INT UNSIGNED", int(4, true), |r| (r.next() as u32).to_string()),
        column("tiny", "TINYINT", int(1, false), |r| (r.next() as i8).to_string()),
        column("small", "SMALLINT", int(2, false), |r| (r.next() as i16).to_string()),
        column("medium", "MEDIUMINT", int(3, false), |r| ((r.next() as i32) >> 8).to_string()),
        column("plain", "INT", int(4, false), |r| (r.next() as i32).to_string()),
        column("big", "BIGINT", int(8, false), |r| r.next().cast_signed().to_string()),
        column("tiny_u", "TINYINT UNSIGNED", int(1, true), |r| (r.next() as u8).to_string()),
        column("medium_u", "MEDIUMINT UNSIGNED", int(3, true), |r| ((r.next() as u32) >> 8).to_string()),
        column("big_u", "BIGINT UNSIGNED", int(8, true), |r| r.next().to_string()),
        column("single", "FLOAT", ColumnType::Float, |r| {
            format!("{}e-3", r.below(1 << 24) as i64 - (1 << 23))
        }),
        column("real8", "DOUBLE", ColumnType::Double, |r| format!("{}e-9", r.next().cast_signed())),
        column("money", "DECIMAL(30,7)", ColumnType::Decimal { precision: 30, scale: 7 }, |r| {
            format!("{}.{:07}", r.next().cast_signed(), r.below(10_000_000))
        }),
        column("long_money", "DECIMAL(65,30)", ColumnType::Decimal { precision: 65, scale: 30 }, |r| {
            format!("{}{:019}.{:020}", r.below(1000) as i64 - 500, r.next() >> 1, r.next())
        }),
        column("bits", "BIT(13)", ColumnType::Bit { bits: 13 }, |r| r.below(1 << 13).to_string()),
        column("a_year", "YEAR", ColumnType::Year, |r| match r.below(4) {
            0 => "0".into(),
            _ => (1901 + r.below(255)).to_string(),
        }),
    ]
}

fn times() -> Vec<Compared> {
    fn moment(r: &mut Random) -> String {
        format!("FROM_UNIXTIME({}.{:06})", 1 + r.below(2_000_000_000), r.below(1_000_000))
    }
    fn span(r: &mut Random) -> String {
        format!("'{}:{:02}:{:02}.{:06}'", r.below(838), r.below(60), r.below(60), r.below(1_000_000))
    }
    vec![
        column("day", "DATE", ColumnType::Date, |r| format!("DATE({})", moment(r))),
        column("moment0", "DATETIME", ColumnType::Datetime { fsp: 0 }, moment),
        column("moment3", "DATETIME(3)", ColumnType::Datetime { fsp: 3 }, moment),
        column("moment6", "DATETIME(6)", ColumnType::Datetime { fsp: 6 }, moment),
        column("stamp2", "TIMESTAMP(2) NULL", ColumnType::Timestamp { fsp: 2 }, moment),
        column("stamp6", "TIMESTAMP(6) NULL", ColumnType::Timestamp { fsp: 6 }, moment),
        column("span0", "TIME", ColumnType::Time { fsp: 0 }, span),
        column("span3", "TIME(3)", ColumnType::Time { fsp: 3 }, span),
        column("span6", "TIME(6)", ColumnType::Time { fsp: 6 }, span),
    ]
}

fn texts() -> Vec<Compared> {
    fn words(r: &mut Random) -> String {
        format!("REPEAT('é{}', {})", r.below(100), r.below(40))
    }
    let text = || ColumnType::Text { collation: 255 };
    let labels = || ["v1", "v2", "v3"].map(String::from).to_vec();
    vec![
        column("fixed", "CHAR(20)", text(), |r| format!("LEFT({}, 20)", words(r))),
        column("wide", "CHAR(255)", text(), words),
        column("name", "VARCHAR(40)", text(), |r| format!("LEFT({}, 40)", words(r))),
        column("title", "VARCHAR(300)", text(), words),
        column("note", "TEXT", text(), words),
        column("padded", "BINARY(4)", ColumnType::Binary { fixed: Some(4) }, |r| match r.below(3) {
            0 => "x'4100'".into(),
            _ => "x'41424344'".into(),
        }),
        column("ascii", "VARBINARY(20)", ColumnType::Binary { fixed: None }, |r| format!("'{}'", r.next())),
        column("raw", "BLOB", ColumnType::Binary { fixed: None }, |r| format!("x'FE{:016X}'", r.next())),
        column("kind", "ENUM('v1','v2','v3')", ColumnType::Enum { labels: labels() }, |r| {
            (1 + r.below(3)).to_string()
        }),
        column("tags", "SET('v1','v2','v3')", ColumnType::Set { labels: labels() }, |r| {
            r.below(8).to_string()
        }),
        column("doc", "JSON", ColumnType::Json, |r| {
            format!("JSON_OBJECT('k', JSON_ARRAY({}, 'é'))", r.next())
        }),
    ]
}

/// Inserts, updates and deletes random rows; every seventh value is NULL.
fn fill(server: &MySql, database: &str, columns: &[Compared], random: &mut Random) {
    let definitions: Vec<String> =
        columns.iter().map(|column| format!("{} {}", column.name, column.sql)).collect();
    let mut script = format!(
        "SET NAMES utf8mb4; USE {database}; \
         CREATE TABLE t (n INT UNSIGNED PRIMARY KEY, {}) CHARACTER SET utf8mb4;\n",
        definitions.join(", ")
    );
    let mut value = |make: fn(&mut Random) -> String| match random.below(7) {
        0 => "NULL".to_owned(),
        _ => make(random),
    };
    for n in 0..300 {
        let values: Vec<String> = columns.iter().map(|column| value(column.make)).collect();
        script.push_str(&format!("INSERT INTO t VALUES ({n}, {});\n", values.join(", ")));
    }
    for Compared { name, make, .. } in columns {
        script.push_str(&format!("UPDATE t SET {name} = {} WHERE n % 5 = 0;\n", value(*make)));
    }
    script.push_str("DELETE FROM t WHERE n % 3 = 0;\n");
    server.script(&script);
}

/// Counts where a listed difference occurs; any other fails.
fn compare(
    (name, ty): (&'static str, &ColumnType),
    ours: Option<String>,
    theirs_value: Option<&MySqlValue>,
    occurred: &mut BTreeMap<&'static str, u32>,
) {
    let mut theirs = theirs_value.map(|value| theirs(value, ty));
    let mut ours = ours;
    if let (ColumnType::Timestamp { .. }, Some(millis)) = (ty, &mut theirs) {
        // Theirs is a number: shown as ours are.
        let micros = millis.parse::<i64>().unwrap() * 1000;
        let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![micros]));
        *millis = shown(&array, 0).unwrap();
    }
    if ours == theirs {
        return;
    }
    let (Some(ours), Some(theirs)) = (ours.take(), theirs) else { panic!("{name}: one of both is NULL") };
    let listed = DIFFERENCES.iter().find(|difference| difference.column == name);
    let explained = listed.is_some_and(|difference| (difference.explains)(&ours, &theirs));
    let why = listed.map_or("nothing listed", |difference| difference.why);
    assert!(explained, "{name}: ours {ours:?}, theirs {theirs:?}; {why} does not explain it");
    *occurred.entry(name).or_default() += 1;
}

#[test]
fn random_rows_are_the_same_as_mysql_cdc_decodes_them_but_for_its_known_errors() {
    const SEED: u64 = 7_919;
    println!("seed {SEED}");
    let server = MySql::shared();
    let database = server.database("cdc_differential");
    let columns = [numbers(), times(), texts()].concat();
    fill(server, &database, &columns, &mut Random(SEED));
    let table = format!("{database}.t");
    let types = columns.iter().map(|column| column.ty.clone());
    let types: Vec<ColumnType> = [int(4, true)].into_iter().chain(types).collect();
    let names: Vec<&str> = ["n"].into_iter().chain(columns.iter().map(|column| column.name)).collect();
    let ours = batch(&events(server, &table), schema(types.clone(), TypeOptions::default()), false);
    let rows: Vec<_> = their_rows(server, &table).into_iter().flat_map(|event| event.unwrap()).collect();
    assert_eq!(ours.rows.num_rows(), rows.len());
    assert!(rows.len() > 1_500, "{}", rows.len());
    let mut occurred = BTreeMap::new();
    for (row, cells) in rows.iter().enumerate() {
        assert_eq!(cells.len(), names.len());
        for (at, cell) in cells.iter().enumerate() {
            let ours = shown(ours.rows.column(at), row);
            compare((names[at], &types[at]), ours, cell.as_ref(), &mut occurred);
        }
    }
    let listed: BTreeMap<_, _> = DIFFERENCES.iter().map(|known| (known.column, known.why)).collect();
    assert_eq!(occurred.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>(), "not all occurred");
}

#[test]
fn what_mysql_cdc_refuses_is_read() {
    let server = MySql::shared();
    let database = server.database("cdc_refused");
    for (n, (sql, value, error)) in REFUSED.iter().enumerate() {
        server.script(&format!(
            "SET NAMES utf8mb4; USE {database}; CREATE TABLE t{n} (c {sql}); INSERT INTO t{n} VALUES ({value});"
        ));
        let table = format!("{database}.t{n}");
        let answers = their_rows(server, &table);
        let refused = answers.iter().find_map(|answer| answer.as_ref().err()).unwrap();
        assert!(format!("{refused:?}").contains(error), "{sql}: {refused:?}");
        let ty = match *sql {
            "BINARY(2)" => ColumnType::Binary { fixed: Some(2) },
            "VECTOR(2)" => ColumnType::Vector,
            "TIME" => ColumnType::Time { fsp: 0 },
            "TIME(6)" => ColumnType::Time { fsp: 6 },
            "ENUM('é') CHARACTER SET latin1" => ColumnType::Enum { labels: vec!["é".into()] },
            _ => ColumnType::Text { collation: 8 },
        };
        let ours = batch(&events(server, &table), schema(vec![ty], TypeOptions::default()), false);
        assert!(shown(ours.rows.column(0), 0).is_some(), "{sql}");
    }
}

#[test]
fn a_partial_update_that_mysql_cdc_drops_is_read() {
    let server = MySql::shared();
    let database = server.database("cdc_partial");
    server.script(&format!(
        "USE {database}; CREATE TABLE t (id INT PRIMARY KEY, doc JSON);
         INSERT INTO t VALUES (1, JSON_OBJECT('a', REPEAT('x', 100), 'b', 1));
         SET binlog_row_value_options = PARTIAL_JSON; UPDATE t SET doc = JSON_SET(doc, '$.b', 2);"
    ));
    let table = format!("{database}.t");
    let rows = their_rows(server, &table).into_iter().map(|event| event.unwrap().len());
    assert_eq!(rows.collect::<Vec<_>>(), [1, 0]);
    let types = vec![int(4, false), ColumnType::Json];
    let ours = batch(&events(server, &table), schema(types, TypeOptions::default()), false);
    assert!(shown(ours.rows.column(1), 1).unwrap().contains("\"b\": 2"));
}
