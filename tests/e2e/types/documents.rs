//! JSON, geometry, vectors, and columns that are invisible or computed.

use super::{Listed, TypeCase};

/// The cases.
pub(super) const CASES: &[Listed] = &[
    (
        "json_scalars",
        "JSON",
        &[
            "'null'",
            "'true'",
            "'false'",
            "'0'",
            "'-1'",
            "'32767'",
            "'32768'",
            "'-32769'",
            "'2147483648'",
            "'-2147483649'",
            "'9223372036854775807'",
            "'-9223372036854775808'",
            "'18446744073709551615'",
            "'1.0'",
            "'0.1'",
            "'-0.0'",
            "'1e20'",
            "'1.5e-7'",
            "'1e308'",
            "'123456789012345678901234567890'",
            "'\"\"'",
            "'\"text\"'",
            "NULL",
        ],
    ),
    (
        "json_opaque",
        "JSON",
        &[
            "CAST(CAST(12.50 AS DECIMAL(10,2)) AS JSON)",
            "CAST(CAST('-12345678901234567890.123456789' AS DECIMAL(40,9)) AS JSON)",
            "CAST(CAST('0.0' AS DECIMAL(5,1)) AS JSON)",
            "CAST(CAST('2026-11-21' AS DATE) AS JSON)",
            "CAST(CAST('2026-11-21 05:06:07.123456' AS DATETIME(6)) AS JSON)",
            "CAST(CAST('1999-01-01 00:00:00' AS DATETIME) AS JSON)",
            "CAST(CAST('-12:34:56.5' AS TIME(1)) AS JSON)",
            "CAST(CAST('838:59:59' AS TIME) AS JSON)",
            "JSON_OBJECT('d', CAST('2026-11-21' AS DATE), 't', CAST('10:00' AS TIME), 'n', CAST(1.10 AS DECIMAL(5,2)))",
            "JSON_ARRAY(CAST(x'00ff80' AS BINARY), _binary 'abc')",
            "JSON_ARRAY(b'101', CAST(2026 AS YEAR))",
            "JSON_OBJECT('g', ST_GeomFromText('POINT(1 2)'))",
            "JSON_ARRAY(CAST(1.5 AS FLOAT), 1e0, 1.0e-10, 123456.789e0)",
            "NULL",
        ],
    ),
    (
        "json_structures",
        "JSON",
        &[
            "'{}'",
            "'[]'",
            "'[[], {}, [[]]]'",
            "'{\"b\": 1, \"a\": 2, \"aa\": 3, \"\": 4, \"ä\": 5, \"B\": 6}'",
            "'{\"dup\": 1, \"dup\": 2}'",
            "'[1, \"two\", 3.5, null, true, {\"k\": [1, 2, {\"deep\": {\"er\": [false]}}]}]'",
            "'{\"esc\": \"quote \\\\\" back \\\\\\\\ slash / tab \\\\t nl \\\\n bell \\\\u0007 del \\\\u007f\"}'",
            "'{\"uni\": \"ü € 😀 \\\\u4e2d\"}'",
            "JSON_OBJECT('long', REPEAT('x', 200), 'longer', REPEAT('y', 20000))",
            "JSON_ARRAY(REPEAT('large ', 15000))",
            "CAST(CONCAT('[', REPEAT('[', 90), REPEAT(']', 90), ']') AS JSON)",
            "CAST(CONCAT('[0', REPEAT(', 12345', 12000), ']') AS JSON)",
            "NULL",
        ],
    ),
    (
        "geometry_any",
        "GEOMETRY",
        &[
            "ST_GeomFromText('POINT(1.5 -2.5)')",
            "ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)')",
            "ST_GeomFromText('POLYGON((0 0, 10 0, 10 10, 0 10, 0 0), (2 2, 4 2, 4 4, 2 2))')",
            "ST_GeomFromText('MULTIPOINT(0 0, 1 1)')",
            "ST_GeomFromText('MULTILINESTRING((0 0, 1 1), (2 2, 3 3))')",
            "ST_GeomFromText('MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))')",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1), GEOMETRYCOLLECTION(POINT(2 2)))')",
            "ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')",
            "ST_GeomFromText('POINT(48.1 11.6)', 4326)",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))', 3857)",
            "NULL",
        ],
    ),
    ("geometry_srid", "POINT SRID 4326", &["ST_GeomFromText('POINT(-33.9 151.2)', 4326)", "NULL"]),
    ("polygon_not_null", "POLYGON NOT NULL", &["ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))')"]),
    (
        "vector_some",
        "VECTOR(8)",
        &[
            "TO_VECTOR('[1.5, -2, 0]')",
            "TO_VECTOR('[1,2,3,4,5,6,7,8]')",
            "TO_VECTOR('[3.4028234e38, 1.17549435e-38]')",
            "NULL",
        ],
    ),
    ("vector_default", "VECTOR", &["TO_VECTOR('[0.1]')", "NULL"]),
    ("invisible_int", "INT INVISIBLE", &["1", "-5", "NULL"]),
    (
        "invisible_text",
        "VARCHAR(20) CHARACTER SET latin1 INVISIBLE DEFAULT 'hidden'",
        &["DEFAULT", "'é'", "NULL"],
    ),
    ("stored_column", "INT GENERATED ALWAYS AS (id * 7 - n) STORED", &["DEFAULT", "DEFAULT"]),
    ("virtual_column", "BIGINT GENERATED ALWAYS AS (id * -3000000000 + n) VIRTUAL", &["DEFAULT", "DEFAULT"]),
    (
        "stored_text",
        "VARCHAR(30) GENERATED ALWAYS AS (CONCAT('row ', id, '/', n)) STORED",
        &["DEFAULT", "DEFAULT"],
    ),
    ("virtual_json", "JSON GENERATED ALWAYS AS (JSON_OBJECT('id', id)) VIRTUAL", &["DEFAULT"]),
    ("default_expression", "VARCHAR(40) DEFAULT (CONCAT('id ', 7 * 6))", &["DEFAULT", "'given'", "NULL"]),
];

/// Documents that updates change in place: with partial JSON the log holds only the difference.
pub(super) fn partial_json_cases() -> Vec<TypeCase> {
    let document = "JSON_OBJECT('name', REPEAT('long name ', 30), 'tags', JSON_ARRAY('a', 'b', 'c', 'd'), \
                    'inner', JSON_OBJECT('x', 1, 'y', JSON_ARRAY(1, 2, 3), 'pad', REPEAT('p', 300)), \
                    'price', CAST(12.50 AS DECIMAL(10,2)), 'ä.b', 'key to quote')";
    let updates = [
        "JSON_SET(v, '$.name', 'short')",
        "JSON_SET(v, '$.inner.x', -70000)",
        "JSON_SET(v, '$.fresh', JSON_OBJECT('k', 'v'))",
        "JSON_SET(v, '$.tags[2]', 'C', '$.inner.y[1]', NULL)",
        "JSON_REPLACE(v, '$.price', CAST(99999.99 AS DECIMAL(10,2)))",
        "JSON_REMOVE(v, '$.tags[1]')",
        "JSON_REMOVE(v, '$.inner.pad', '$.fresh')",
        "JSON_SET(v, '$.\"ä.b\"', CAST('2026-11-21 01:02:03.5' AS DATETIME(1)))",
        "JSON_SET(v, '$.tags[last]', JSON_ARRAY(1, JSON_OBJECT()))",
        "JSON_SET(v, '$.name', REPEAT('longer than ever ', 500))",
        "JSON_ARRAY_APPEND(v, '$.tags', 'z')",
        "v",
        "JSON_SET(v, '$', 5)",
    ];
    let scalars =
        ["JSON_SET(v, '$[0]', 2)", "JSON_REMOVE(v, '$[0]')", "JSON_ARRAY_INSERT(v, '$[0]', 'front')"];
    let case = |table: &str, column: &str, values: &[&str], updates: &[&str]| TypeCase {
        table: table.into(),
        column: column.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        updates: updates.iter().map(|update| (*update).to_owned()).collect(),
    };
    vec![
        case("json_partial_object", "JSON", &[document, "JSON_OBJECT()", "NULL"], &updates),
        case("json_partial_array", "JSON", &["JSON_ARRAY(1, 2, 3)", "'[]'", "'7'", "NULL"], &scalars),
    ]
}
