//! Values of every type, inserted into a real server and compared with what its SELECT shows.

use lakeward_core::{ColumnType, ErrorKind, Op, TypeOptions, ZeroDates};
use lakeward_mysql::rows::RowsEvent;
use lakeward_test_support::mysql::MySql;

use crate::decode::{batch, builder, events, origin, schema, shown, without_zeros};

/// A column: its SQL type, ours, the expression whose text is ours, and literals to insert.
struct Case {
    sql: &'static str,
    ty: ColumnType,
    select: &'static str,
    values: &'static [&'static str],
}

const DATES: &[&str] =
    &["'2026-11-21'", "'0001-01-01'", "'9999-12-31'", "'1969-12-31'", "'0000-01-01'", "'2024-02-29'"];
const ZERO_DATES: &[&str] = &["'0000-00-00'", "'2026-02-00'", "'2026-00-01'", "'2026-02-30'"];

fn case(sql: &'static str, ty: ColumnType, select: &'static str, values: &'static [&'static str]) -> Case {
    Case { sql, ty, select, values }
}

fn int(width: u8, unsigned: bool) -> ColumnType {
    ColumnType::Int { width, unsigned, display_one: false }
}

fn labels(count: usize) -> Vec<String> {
    (1..=count).map(|label| format!("v{label}")).collect()
}

fn text(collation: u16) -> ColumnType {
    ColumnType::Text { collation }
}

fn numbers() -> Vec<Case> {
    vec![
        case("TINYINT", int(1, false), "c", &["-128", "127", "0"]),
        case("TINYINT UNSIGNED", int(1, true), "c", &["255", "0"]),
        case("SMALLINT", int(2, false), "c", &["-32768", "32767"]),
        case("YEAR", ColumnType::Year, "c+0", &["0", "1901", "2155", "2026"]),
        case("SMALLINT UNSIGNED", int(2, true), "c", &["65535"]),
        case("MEDIUMINT", int(3, false), "c", &["-8388608", "8388607", "-1"]),
        case("MEDIUMINT UNSIGNED", int(3, true), "c", &["16777215"]),
        case("INT", int(4, false), "c", &["-2147483648", "2147483647"]),
        case("INT UNSIGNED", int(4, true), "c", &["4294967295"]),
        case("BIGINT", int(8, false), "c", &["-9223372036854775808", "9223372036854775807"]),
        case("BIGINT UNSIGNED", int(8, true), "c", &["18446744073709551615", "0"]),
        case("DECIMAL(1,0)", ColumnType::Decimal { precision: 1, scale: 0 }, "c", &["-9", "0", "9"]),
        case("DECIMAL(5,5)", ColumnType::Decimal { precision: 5, scale: 5 }, "c", &["-0.00001", "0.99999"]),
        case(
            "DECIMAL(12,2)",
            ColumnType::Decimal { precision: 12, scale: 2 },
            "c",
            &["-9999999999.99", "0.05", "1"],
        ),
        case(
            "DECIMAL(18,9)",
            ColumnType::Decimal { precision: 18, scale: 9 },
            "c",
            &["-999999999.999999999", "1e-9"],
        ),
        case(
            "DECIMAL(38,10)",
            ColumnType::Decimal { precision: 38, scale: 10 },
            "c",
            &["-9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999", "0"],
        ),
        case(
            "DECIMAL(65,30)",
            ColumnType::Decimal { precision: 65, scale: 30 },
            "c",
            &[
                "-99999999999999999999999999999999999.999999999999999999999999999999",
                "0.5",
                "-0.000000000000000000000000000001",
                "0",
            ],
        ),
        case(
            "FLOAT",
            ColumnType::Float,
            "CAST(c AS DOUBLE)",
            &["1.5", "-3.4028234e38", "1.17549435e-38", "0.1"],
        ),
        case(
            "DOUBLE",
            ColumnType::Double,
            "c",
            &["0.1", "-1.7976931348623157e308", "2.2250738585072014e-308"],
        ),
        case("BIT(1)", ColumnType::Bit { bits: 1 }, "c+0", &["b'0'", "b'1'"]),
        case("BIT(13)", ColumnType::Bit { bits: 13 }, "LPAD(HEX(c+0),4,'0')", &["b'1000000000001'", "0"]),
        case(
            "BIT(64)",
            ColumnType::Bit { bits: 64 },
            "LPAD(HEX(c+0),16,'0')",
            &["18446744073709551615", "1"],
        ),
    ]
}

fn texts() -> Vec<Case> {
    vec![
        case("CHAR(10) CHARACTER SET utf8mb4", text(255), "c", &["'a  '", "''", "'日本語😀'"]),
        case("CHAR(255) CHARACTER SET utf8mb4", text(255), "c", &["'short'", "REPEAT('€',255)"]),
        case("VARCHAR(63) CHARACTER SET utf8mb4", text(255), "c", &["'a  '", "REPEAT('x',63)"]),
        case("VARCHAR(64) CHARACTER SET utf8mb4", text(255), "c", &["'a  '", "REPEAT('😀',64)"]),
        case("VARCHAR(10) CHARACTER SET latin1", text(8), "c", &["'é€ÿ'"]),
        case("VARCHAR(10) CHARACTER SET cp1251", text(51), "c", &["'Яѓ'"]),
        case("VARCHAR(10) CHARACTER SET sjis", text(13), "c", &["'あa漢'"]),
        case("VARCHAR(10) CHARACTER SET utf16", text(54), "c", &["'a😀'"]),
        case("TINYTEXT", text(255), "c", &["'t'"]),
        case("TEXT", text(255), "c", &["REPEAT('é',300)", "''"]),
        case("MEDIUMTEXT", text(255), "c", &["REPEAT('x',70000)"]),
        case("LONGTEXT", text(255), "c", &["REPEAT('y',200000)"]),
        case(
            "BINARY(4)",
            ColumnType::Binary { fixed: Some(4) },
            "HEX(c)",
            &["x'0100'", "x'00000000'", "x'01020304'", "x'2020'"],
        ),
        case("BINARY(255)", ColumnType::Binary { fixed: Some(255) }, "HEX(c)", &["x'FF'", "x''"]),
        case(
            "VARBINARY(300)",
            ColumnType::Binary { fixed: None },
            "HEX(c)",
            &["x'0100'", "REPEAT(x'00',300)"],
        ),
        case("TINYBLOB", ColumnType::Binary { fixed: None }, "HEX(c)", &["x'FF00'"]),
        case("BLOB", ColumnType::Binary { fixed: None }, "HEX(c)", &["REPEAT(x'FE',1000)"]),
        case("LONGBLOB", ColumnType::Binary { fixed: None }, "HEX(c)", &["REPEAT(x'FE',100000)"]),
        case(
            "ENUM('v1','v2','v3')",
            ColumnType::Enum { labels: labels(3) },
            "c",
            &["'v1'", "3", "'nothing'"],
        ),
        case("SET('v1','v2','v3')", ColumnType::Set { labels: labels(3) }, "c", &["'v1,v3'", "''", "7"]),
        case(
            "JSON",
            ColumnType::Json,
            "c",
            &["'{\"b\": [1, 2.5, null], \"a\": \"é\\\\n\"}'", "'null'", "'[]'"],
        ),
        case("VECTOR(3)", ColumnType::Vector, "HEX(c)", &["TO_VECTOR('[1,-2.5,3e10]')"]),
        case(
            "GEOMETRY",
            ColumnType::Geometry,
            "HEX(ST_AsWKB(c))",
            &[
                "ST_GeomFromText('POINT(1 2)')",
                "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))')",
            ],
        ),
        case(
            "POINT SRID 4326",
            ColumnType::Geometry,
            "CONCAT('0101000020E6100000', SUBSTR(HEX(ST_AsWKB(c,'axis-order=long-lat')),11))",
            &["ST_SRID(POINT(10,20),4326)"],
        ),
    ]
}

/// Temporal columns; the expressions give null for days that the calendar lacks.
fn times(options: &TypeOptions) -> Vec<Case> {
    let as_text = options.zero_dates == ZeroDates::String;
    let date = if as_text { "c" } else { "IF(LAST_DAY(c) IS NULL OR DAY(c)=0, NULL, c)" };
    let time = if options.time_as_string {
        "c"
    } else {
        "IF(c<0,-1,1)*(ABS(TIME_TO_SEC(c))*1000000+MICROSECOND(c))"
    };
    const TIMES: &[&str] = &[
        "'-838:59:59'",
        "'838:59:59'",
        "'-00:00:01.5'",
        "'-01:02:03.25'",
        "'00:00:00.999999'",
        "'-00:00:00.01'",
        "'0'",
    ];
    const MOMENTS: &[&str] = &[
        "'1970-01-01 00:00:01'",
        "'2038-01-19 03:14:07.499'",
        "'2026-11-21 01:02:03.456789'",
        "'0000-00-00'",
    ];
    const DATETIMES: &[&str] = &[
        "'2026-11-21 23:59:58.123456'",
        "'0001-01-01'",
        "'9999-12-31 23:59:59'",
        "'0000-01-01 00:00:00.5'",
        "'1969-12-31 23:59:59.4'",
        "'0000-00-00'",
        "'2026-02-00 01:02:03'",
    ];
    let mut cases = vec![
        case("DATE", ColumnType::Date, date, DATES),
        case("DATE", ColumnType::Date, date, &ZERO_DATES[..3]),
    ];
    const DATETIME: [&str; 7] = [
        "DATETIME(0)",
        "DATETIME(1)",
        "DATETIME(2)",
        "DATETIME(3)",
        "DATETIME(4)",
        "DATETIME(5)",
        "DATETIME(6)",
    ];
    const TIMESTAMP: [&str; 7] = [
        "TIMESTAMP(0)",
        "TIMESTAMP(1)",
        "TIMESTAMP(2)",
        "TIMESTAMP(3)",
        "TIMESTAMP(4)",
        "TIMESTAMP(5)",
        "TIMESTAMP(6)",
    ];
    const TIME: [&str; 7] = ["TIME(0)", "TIME(1)", "TIME(2)", "TIME(3)", "TIME(4)", "TIME(5)", "TIME(6)"];
    for (fsp, ((datetime_type, timestamp_type), time_type)) in
        (0u8..).zip(DATETIME.iter().zip(TIMESTAMP).zip(TIME))
    {
        cases.push(case(datetime_type, ColumnType::Datetime { fsp }, date, DATETIMES));
        cases.push(case(timestamp_type, ColumnType::Timestamp { fsp }, date, MOMENTS));
        cases.push(case(time_type, ColumnType::Time { fsp }, time, TIMES));
    }
    cases
}

/// Inserts each case's values, one column at a time, and compares each row with SELECT.
fn compare(name: &str, cases: &[Case], options: TypeOptions) {
    let server = MySql::shared();
    let database = server.database(name);
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(n, case)| format!("c{n} {} NULL", case.sql)).collect();
    let mut statements = format!(
        "SET sql_mode='ALLOW_INVALID_DATES'; SET NAMES utf8mb4; USE {database}; \
         CREATE TABLE t (id INT PRIMARY KEY, {}) CHARACTER SET utf8mb4;\n",
        columns.join(",")
    );
    let as_text = options.zero_dates == ZeroDates::String;
    let mut id = 0;
    let mut row_of = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        for value in case.values {
            id += 1;
            row_of.push((n, *value));
            statements.push_str(&format!("INSERT INTO t (id, c{n}) VALUES ({id}, {value});\n"));
        }
    }
    server.script(&statements);
    let selected: Vec<String> =
        cases.iter().enumerate().map(|(n, case)| case.select.replace('c', &format!("c{n}"))).collect();
    let expected: Vec<Vec<Option<String>>> = row_of
        .iter()
        .zip(1..)
        .map(|((n, _), id)| {
            server.rows(&format!("SELECT {} FROM {database}.t WHERE id={id}", selected[*n])).remove(0)
        })
        .collect();
    let types = [int(4, false)].into_iter().chain(cases.iter().map(|case| case.ty.clone())).collect();
    let events = events(server, &format!("{database}.t"));
    let batch = batch(&events, schema(types, options), false);
    assert_eq!(batch.rows.num_rows(), row_of.len());
    for (row, ((n, value), expected)) in row_of.iter().zip(expected).enumerate() {
        let ours = shown(batch.rows.column(n + 1), row);
        let expected = expected[0].clone();
        let equal = match (&cases[*n].ty, &ours, &expected) {
            // Printed with other notations; the numbers must be the same to the last bit.
            (ColumnType::Float | ColumnType::Double, Some(ours), Some(expected)) => {
                ours.parse::<f64>().unwrap().to_bits() == expected.parse::<f64>().unwrap().to_bits()
            }
            (ColumnType::Time { .. }, Some(ours), Some(expected)) if !options.time_as_string => {
                ours.parse::<f64>().unwrap() == expected.parse::<f64>().unwrap()
            }
            (ColumnType::Datetime { .. } | ColumnType::Timestamp { .. }, Some(ours), Some(expected)) => {
                ours == if as_text { expected } else { without_zeros(expected) }
            }
            _ => ours == expected,
        };
        assert!(equal, "{} {value}: ours {ours:?}, SELECT {expected:?}", cases[*n].sql);
        let nulls = batch.rows.columns().iter().filter(|column| column.is_null(row)).count();
        assert!(nulls >= cases.len() - 1, "another column of row {row} has a value");
    }
}

#[test]
fn numbers_are_what_select_shows() {
    compare("numbers", &numbers(), TypeOptions::default());
}

#[test]
fn texts_and_bytes_are_what_select_shows() {
    compare("texts", &texts(), TypeOptions::default());
}

#[test]
fn times_as_numbers_are_what_select_shows_and_zero_dates_are_null() {
    let options = TypeOptions::default();
    compare("times", &times(&options), options);
}

#[test]
fn times_as_strings_are_what_select_shows() {
    let options =
        TypeOptions { time_as_string: true, zero_dates: ZeroDates::String, ..TypeOptions::default() };
    let mut cases = times(&options);
    cases.push(case("DATE", ColumnType::Date, "c", ZERO_DATES));
    compare("time_texts", &cases, options);
}

#[test]
fn an_update_of_the_key_is_a_delete_and_an_insert_with_two_numbers() {
    let server = MySql::shared();
    let database = server.database("rekeyed");
    server.script(&format!(
        "USE {database}; CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(300));
         INSERT INTO t VALUES (1,'a'),(2,NULL); UPDATE t SET v='b' WHERE id=1; UPDATE t SET id=id+10 ORDER BY id DESC;
         DELETE FROM t WHERE id=12;"
    ));
    let events = events(server, &format!("{database}.t"));
    let batch = batch(&events, schema(vec![int(4, false), text(255)], TypeOptions::default()), true);
    let before = batch.before.as_ref().unwrap();
    let shown_row = |row: usize| {
        let all = |columns: &[arrow::array::ArrayRef]| {
            columns.iter().map(|c| shown(c, row).unwrap_or_default()).collect::<Vec<_>>().join("/")
        };
        format!("{} {} <{}>", batch.meta.op[row].letter(), all(batch.rows.columns()), all(before.columns()))
    };
    let rows: Vec<String> = (0..batch.rows.num_rows()).map(shown_row).collect();
    assert_eq!(
        rows,
        [
            "c 1/a </>",
            "c 2/ </>",
            "u 1/b <1/a>",
            "d 2/ <2/>",
            "c 12/ </>",
            "d 1/b <1/b>",
            "c 11/b </>",
            "d 12/ <12/>"
        ]
    );
    assert_eq!(batch.meta.op.iter().filter(|op| **op == Op::Update).count(), 1);
}

#[test]
fn an_image_that_lacks_a_column_names_it() {
    let server = MySql::shared();
    let database = server.database("minimal");
    server.script(&format!(
        "USE {database}; CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT); INSERT INTO t VALUES (1,2,3);
         SET SESSION binlog_row_image=MINIMAL; UPDATE t SET w=4;"
    ));
    let events = events(server, &format!("{database}.t"));
    let types = vec![int(4, false), int(4, false), int(4, false)];
    let mut builder = builder(&events, schema(types, TypeOptions::default()), false);
    let parsed: Vec<RowsEvent<'_>> =
        events.iter().map(|event| RowsEvent::parse(event.event_type, 10, &event.body).unwrap()).collect();
    let mut next_seq = 7;
    builder.push(&parsed[0], &origin(), &mut next_seq).unwrap();
    let error = builder.push(&parsed[1], &origin(), &mut next_seq).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompleteImage);
    assert!(error.to_string().contains("`c1`"), "{error}");
    assert_eq!((next_seq, builder.rows()), (8, 1));
}

#[test]
fn a_row_that_fails_leaves_nothing_behind() {
    let server = MySql::shared();
    let database = server.database("failing");
    server.script(&format!(
        "SET sql_mode=''; USE {database}; CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9), n INT, d DATE);
         INSERT INTO t VALUES (1,'a',NULL,'2026-01-01'),(2,'b',7,'2026-01-02'),(3,'long',8,'0000-00-00'),(4,'c',9,NULL);"
    ));
    let events = events(server, &format!("{database}.t"));
    let types = vec![int(4, false), text(255), int(4, false), ColumnType::Date];
    let options = TypeOptions { zero_dates: ZeroDates::Error, ..TypeOptions::default() };
    let mut builder = builder(&events, schema(types, options), true);
    let event = RowsEvent::parse(events[0].event_type, 10, &events[0].body).unwrap();
    let mut next_seq = 100;
    let error = builder.push(&event, &origin(), &mut next_seq).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnreadableValue);
    assert!(error.to_string().contains("column c3"), "{error}");
    assert_eq!((next_seq, builder.rows()), (102, 2));
    let batch = builder.finish().unwrap().unwrap();
    let row = |row: usize| batch.rows.columns().iter().map(|column| shown(column, row)).collect::<Vec<_>>();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(row(0), [some("1"), some("a"), None, some("2026-01-01")]);
    assert_eq!(row(1), [some("2"), some("b"), some("7"), some("2026-01-02")]);
    assert!(builder.finish().unwrap().is_none());
}
