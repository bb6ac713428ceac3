//! The differences that remain, as data: the README's table. The first that fits is the one.

use super::compare::{Found, Part};
use super::rules::{
    absent, by_snapshot, changes_nothing, clipped_time, columns_schema, comma, decimal_of, fewer_zeros,
    is_escaped, is_header, is_not_told, is_null, near, of_change, of_charset, of_default, on, same_document,
    same_list, says_nothing, ten_days_later, unknown_charset, values, was_default, year_below_100,
};

/// A difference, and why it is there.
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) debezium: &'static str,
    pub(super) lakeward: &'static str,
    pub(super) why: &'static str,
    /// Whether it is this one.
    pub(super) is: fn(&Found) -> bool,
}

/// All of them, in the README's order.
pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "`source.version`",
        debezium: "its version",
        lakeward: "lakeward's",
        why: "it tells who wrote the record",
        is: |found| on(found, &["source.version"]),
    },
    Difference {
        what: "`ts_ms`, `ts_us`, `ts_ns` of the envelope",
        debezium: "its clock",
        lakeward: "lakeward's clock",
        why: "they tell when the record was made",
        is: |found| on(found, &["ts_ms", "ts_us", "ts_ns"]) && near(found),
    },
    Difference {
        what: "`source.snapshot` of rows of a snapshot",
        debezium: "`first`, `true`, `last` …",
        lakeward: "`incremental`",
        why: "ours are read beside the stream, as its incremental ones are",
        is: |found| by_snapshot(found) && on(found, &["source.snapshot"]) && found.says("incremental"),
    },
    Difference {
        what: "`source.ts_…` of rows of a snapshot",
        debezium: "when the snapshot began",
        lakeward: "when the rows took their place in the stream",
        why: "the same",
        is: |found| by_snapshot(found) && on(found, &["source.ts_ms", "source.ts_us", "source.ts_ns"]),
    },
    Difference {
        what: "headers",
        debezium: "`__debezium.context.…`, `__debezium.oldkey`, `__debezium.newkey`",
        lakeward: "`op`, `seq`, `version`, `gtid`, `reason`",
        why: "`load` is exact by ours; an update of the key is a `d` and a `c` for both",
        is: is_header,
    },
    Difference {
        what: "BIGINT UNSIGNED",
        debezium: "by default `long`: negative from 2^63 on",
        lakeward: "`precise`",
        why: "`long` is wrong; `bigint_unsigned_handling_mode: long` gives it",
        is: |found| {
            let is_schema =
                columns_schema(found) && matches!(found.field(), "type" | "name" | "parameters" | "version");
            let same = || {
                let ours = found.ours.as_ref().and_then(decimal_of);
                let theirs = found.theirs.as_ref().and_then(serde_json::Value::as_i64);
                ours.is_some() && ours == theirs.map(|theirs| theirs.cast_unsigned().into())
            };
            found.is_of("BIGINT UNSIGNED") && (is_schema || (values(found) && same()))
        },
    },
    Difference {
        what: "BOOLEAN",
        debezium: "boolean in the stream, `int16` in a snapshot",
        lakeward: "`int16`, as TINYINT(1)",
        why: "MySQL stores TINYINT(1), and numbers in it; `types.tinyint1_as_boolean` gives booleans",
        is: |found| {
            let truth = found.ours.as_ref().and_then(serde_json::Value::as_i64).map(|ours| ours != 0);
            let same =
                || truth.is_some() && truth == found.theirs.as_ref().and_then(serde_json::Value::as_bool);
            found.is_of("BOOLEAN") && ((columns_schema(found) && found.field() == "type") || same())
        },
    },
    Difference {
        what: "FLOAT(m,d)",
        debezium: "`double`",
        lakeward: "`float`",
        why: "MySQL stores four bytes of it; the value is the same",
        is: |found| found.is_of("FLOAT(") && columns_schema(found) && found.field() == "type",
    },
    Difference {
        what: "FLOAT in a snapshot",
        debezium: "six digits",
        lakeward: "exact",
        why: "the server's text of a FLOAT is rounded",
        is: |found| by_snapshot(found) && found.is_of("FLOAT") && values(found) && near(found),
    },
    Difference {
        what: "YEAR 0000",
        debezium: "1900 in the stream, 2000 in a snapshot",
        lakeward: "0",
        why: "it is the value",
        is: |found| found.is_of("YEAR") && values(found) && found.ours == Some(0.into()),
    },
    Difference {
        what: "BINARY(0)",
        debezium: "ten zero bytes",
        lakeward: "no byte",
        why: "it is the value",
        is: |found| found.is_of("BINARY(0)") && values(found) && found.says(""),
    },
    Difference {
        what: "years below 100 in DATE and DATETIME",
        debezium: "2001 for 0001, null or 2000 for 0000",
        lakeward: "as they are",
        why: "its `enable.time.adjuster` takes them for years of two digits",
        is: year_below_100,
    },
    Difference {
        what: "DATETIME from 1582-10-05 to 14 in a snapshot",
        debezium: "ten days later",
        lakeward: "as it is",
        why: "Java's calendar lacks these days, MySQL's has them",
        is: |found| by_snapshot(found) && found.is_of("DATETIME") && values(found) && ten_days_later(found),
    },
    Difference {
        what: "defaults of columns",
        debezium: "`default` in the schema",
        lakeward: "none",
        why: "the binlog does not tell them",
        is: |found| columns_schema(found) && found.field() == "default" && absent(&found.ours),
    },
    Difference {
        what: "NULL in a column with a default",
        debezium: "the default, by its JSON converter's `replace.null.with.default`",
        lakeward: "null",
        why: "it is the value",
        is: was_default,
    },
    Difference {
        what: "zero and partial dates in a NOT NULL column",
        debezium: "1970-01-01",
        lakeward: "null, so those fields are optional",
        why: "they are no dates",
        is: |found| {
            let is_time = ["DATE", "TIMESTAMP"].iter().any(|ty| found.is_of(ty)) && found.has("NOT NULL");
            let is_optional = columns_schema(found) && found.field() == "optional";
            is_time && (is_optional || (values(found) && found.ours == Some(serde_json::Value::Null)))
        },
    },
    Difference {
        what: "a NOT NULL column that is added later",
        debezium: "required, with its default",
        lakeward: "optional",
        why: "without a default only that is compatible with the schema before",
        is: |found| {
            matches!(&*found.table, "evolving" | "altered")
                && columns_schema(found)
                && found.field() == "optional"
        },
    },
    Difference {
        what: "POINT",
        debezium: "a type of its own with `x`, `y`",
        lakeward: "`Geometry`, with the same bytes",
        why: "`x` and `y` stand in the bytes; all geometries have one type",
        is: |found| found.is_of("POINT") && (columns_schema(found) || (values(found) && absent(&found.ours))),
    },
    Difference {
        what: "a geometry that is NOT NULL",
        debezium: "optional",
        lakeward: "required",
        why: "it is NOT NULL",
        is: |found| found.is_of("POLYGON NOT NULL") && columns_schema(found) && found.field() == "optional",
    },
    Difference {
        what: "ENUM label with a comma",
        debezium: "a backslash before it in the value",
        lakeward: "the label as it is",
        why: "it is the value",
        is: |found| found.is_of("ENUM") && values(found) && comma(found),
    },
    Difference {
        what: "ENUM of the charset binary in a snapshot",
        debezium: "null",
        lakeward: "the label",
        why: "it is the value",
        is: |found| {
            let is_null = found.theirs == Some(serde_json::Value::Null);
            by_snapshot(found) && found.is_of("ENUM") && found.has("CHARACTER SET binary") && is_null
        },
    },
    Difference {
        what: "JSON in the stream",
        debezium: "without spaces, numbers written anew",
        lakeward: "as MySQL prints the document",
        why: "so it is the same in a snapshot, for both",
        is: |found| found.is_of("JSON") && values(found) && same_document(found),
    },
    Difference {
        what: "dates, times and bytes in JSON in the stream",
        debezium: "texts of its own, some wrong (`13:0-35:0-57.00000-5`)",
        lakeward: "as MySQL prints them",
        why: "the same",
        is: |found| found.is_of("JSON") && values(found),
    },
    Difference {
        what: "CHAR, VARCHAR, TEXT of the charset binary in the stream",
        debezium: "text, as if it were latin1",
        lakeward: "bytes",
        why: "MySQL makes BINARY, VARBINARY, BLOB of them",
        is: |found| {
            let is_type = columns_schema(found) && found.field() == "type";
            found.has("CHARACTER SET binary") && !found.is_of("ENUM") && (is_type || values(found))
        },
    },
    Difference {
        what: "charsets that Java lacks or knows otherwise, in the stream: armscii8, dec8, eucjpms, euckr, geostd8, hp8, \
               keybcs2, koi8u, sjis, swe7",
        debezium: "other characters",
        lakeward: "the text",
        why: "it is the value",
        is: |found| !by_snapshot(found) && values(found) && unknown_charset(found),
    },
    Difference {
        what: "TIMESTAMP in a snapshot",
        debezium: "without zeros at the end of the fraction",
        lakeward: "the column's digits, as both have them in the stream",
        why: "a row has one form",
        is: |found| by_snapshot(found) && found.is_of("TIMESTAMP") && values(found) && fewer_zeros(found),
    },
    Difference {
        what: "TIME in `isostring` and `connect`",
        debezium: "null if negative or of more than a day, 00:00:00 for 24:00:00",
        lakeward: "with sign and all hours",
        why: "null would be another value",
        is: clipped_time,
    },
    Difference {
        what: "tombstone of a table without a key",
        debezium: "a record without key and value",
        lakeward: "none",
        why: "it tells nothing, and a compacted topic refuses it",
        is: |found| found.part == Part::Record && found.table == "keyless" && absent(&found.ours),
    },
    Difference {
        what: "TRUNCATE",
        debezium: "by default none (`skipped.operations: t`)",
        lakeward: "a record with op `t`",
        why: "rows that are gone would stay",
        is: |found| {
            found.run != "rows" && found.part == Part::Record && found.op == "t" && absent(&found.theirs)
        },
    },
    Difference {
        what: "`source.row`, `thread`, `ts_us`, `ts_ns` of a TRUNCATE, and of schema changes",
        debezium: "the number of an earlier event's row, null, whole milliseconds",
        lakeward: "0, and the statement's",
        why: "they are the statement's",
        is: |found| {
            let places = ["source.row", "source.thread", "source.ts_us", "source.ts_ns"];
            (found.op == "t" || of_change(found)) && on(found, &places)
        },
    },
    Difference {
        what: "a table without a key that a snapshot reads",
        debezium: "its rows",
        lakeward: "its rows, and a record with op `t`",
        why: "all earlier events of the table are void",
        is: |found| {
            found.run == "rows" && found.part == Part::Record && found.op == "t" && absent(&found.theirs)
        },
    },
    Difference {
        what: "schema changes: tables that a snapshot finds",
        debezium: "a CREATE TABLE for each",
        lakeward: "none",
        why: "they did not change; their versions are in the checkpoint topic",
        is: |found| of_change(found) && by_snapshot(found) && is_not_told(found),
    },
    Difference {
        what: "schema changes: statements that change nothing captured",
        debezium: "by default those of all databases",
        lakeward: "none",
        why: "they concern nobody who reads these topics",
        is: |found| of_change(found) && !by_snapshot(found) && is_not_told(found) && changes_nothing(found),
    },
    Difference {
        what: "schema changes: CREATE INDEX, DROP INDEX",
        debezium: "mostly without `tableChanges`, `source.table` empty",
        lakeward: "as ALTER TABLE",
        why: "they concern the table",
        is: |found| {
            let is_empty = found.theirs == Some(serde_json::Value::Null) || says_nothing(&found.theirs);
            of_change(found)
                && on(found, &["tableChanges", "source.table"])
                && is_empty
                && !is_null(&found.ours)
        },
    },
    Difference {
        what: "schema changes: `source.table` of ALTER DATABASE",
        debezium: "an empty text",
        lakeward: "null",
        why: "it concerns no table",
        is: |found| {
            of_change(found)
                && on(found, &["source.table"])
                && says_nothing(&found.theirs)
                && is_null(&found.ours)
        },
    },
    Difference {
        what: "schema changes: `source.table` of several tables",
        debezium: "in the order of Java's hashes",
        lakeward: "in that of the statement",
        why: "it is the order",
        is: |found| of_change(found) && on(found, &["source.table"]) && same_list(found),
    },
    Difference {
        what: "schema changes: `ddl` of each pair of a RENAME TABLE",
        debezium: "as it is written",
        lakeward: "with whole, quoted names",
        why: "it does the same",
        is: |found| {
            let is_quoted = |text: &str| text.starts_with("RENAME TABLE `");
            let ours = found.ours.as_ref().and_then(serde_json::Value::as_str);
            of_change(found) && on(found, &["ddl"]) && ours.is_some_and(is_quoted)
        },
    },
    Difference {
        what: "schema changes: a character set that no statement names, without a snapshot",
        debezium: "null",
        lakeward: "the character set",
        why: "the log tells the server's",
        is: |found| of_charset(found) && is_null(&found.theirs) && !is_null(&found.ours),
    },
    Difference {
        what: "schema changes: utf8, and NCHAR's character set",
        debezium: "`utf8`",
        lakeward: "`utf8mb3`",
        why: "it is the server's name for it",
        is: |found| of_charset(found) && found.says("utf8mb3"),
    },
    Difference {
        what: "schema changes: DEFAULT CHARSET of an ALTER TABLE",
        debezium: "not followed",
        lakeward: "followed",
        why: "new columns have it",
        is: |found| of_charset(found) && found.field() == "defaultCharsetName" && found.says("latin2"),
    },
    Difference {
        what: "schema changes: the present time as a default",
        debezium: "1970-01-01 00:00:00",
        lakeward: "`CURRENT_TIMESTAMP`, with its digits",
        why: "it is the default",
        is: |found| {
            let text = found.ours.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
            of_default(found) && text.starts_with("CURRENT_TIMESTAMP")
        },
    },
    Difference {
        what: "schema changes: hexadecimal defaults",
        debezium: "digits alone",
        lakeward: "with `0x` before them",
        why: "they could be decimal",
        is: |found| {
            let text = found.ours.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
            of_default(found) && text.starts_with("0x")
        },
    },
    Difference {
        what: "schema changes: quotes and backslashes in defaults and labels",
        debezium: "as they are written",
        lakeward: "the value; of labels a literal",
        why: "there are many ways to write one",
        is: |found| {
            of_change(found)
                && matches!(found.field(), "defaultValueExpression" | "enumValues")
                && is_escaped(found)
        },
    },
    Difference {
        what: "schema changes: `autoIncremented` and `generated`",
        debezium: "both of AUTO_INCREMENT and of ON UPDATE, none of a computed column",
        lakeward: "`autoIncremented` of AUTO_INCREMENT alone, `generated` of all of them",
        why: "they tell who gives the value",
        is: |found| {
            let is_set = found.has("ON UPDATE")
                || found.has("GENERATED ALWAYS AS")
                || found.path.iter().any(|name| name == "made" || name == "half");
            of_change(found) && matches!(found.field(), "autoIncremented" | "generated") && is_set
        },
    },
    Difference {
        what: "schema changes: lengths of 0",
        debezium: "10",
        lakeward: "0",
        why: "it is the length",
        is: |found| of_change(found) && found.field() == "length" && found.ours == Some(0.into()),
    },
    Difference {
        what: "schema changes: texts that CONVERT TO CHARACTER SET makes longer",
        debezium: "their type before",
        lakeward: "their type after it: LONGTEXT of MEDIUMTEXT",
        why: "it is the type",
        is: |found| {
            of_change(found)
                && matches!(found.field(), "typeName" | "typeExpression")
                && found.says("LONGTEXT")
        },
    },
];
