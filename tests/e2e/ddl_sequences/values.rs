//! Column types and values for them.

use lakeward_test_support::Random;

/// Families of types; within one of them a change keeps most values.
const FAMILIES: &[&[&str]] = &[
    &[
        "TINYINT",
        "SMALLINT",
        "SMALLINT UNSIGNED",
        "MEDIUMINT",
        "INT",
        "INT UNSIGNED",
        "BIGINT",
        "BIGINT UNSIGNED",
    ],
    &["DECIMAL(8,2)", "DECIMAL(12,2)", "DECIMAL(14,4)", "DECIMAL(30,4)"],
    &[
        "VARCHAR(20)",
        "VARCHAR(40)",
        "VARCHAR(300)",
        "CHAR(30)",
        "TEXT",
        "VARCHAR(40) CHARACTER SET latin1",
        "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "VARCHAR(60) CHARACTER SET gbk",
        "MEDIUMTEXT CHARACTER SET latin1",
    ],
    &["VARBINARY(20)", "VARBINARY(300)", "BLOB", "BINARY(20)"],
    &["DATE", "DATETIME", "DATETIME(3)", "DATETIME(6)", "TIMESTAMP(2) NULL"],
    &["TIME", "TIME(3)", "TIME(6)"],
    &["ENUM('a','b','c')", "ENUM('a','b','c','d')", "ENUM('x','a','b','c')", "SET('a','b','c')"],
    &["FLOAT", "DOUBLE"],
    &["JSON"],
    &["BIT(1)", "BIT(8)", "BIT(12)"],
    &["YEAR"],
];

/// Any type.
pub(super) fn any_type(random: &mut Random) -> &'static str {
    let family: &[&'static str] = random.pick::<&[&str]>(FAMILIES);
    one_of(random, family)
}

/// Mostly a type near to this one (as `information_schema` names it).
pub(super) fn other_type(random: &mut Random, data_type: &str) -> &'static str {
    let near = |family: &&&[&str]| family.iter().any(|listed| first_word(listed) == data_type);
    match FAMILIES.iter().find(near) {
        Some(family) if random.below(5) != 0 => one_of(random, family),
        Some(_) | None => any_type(random),
    }
}

fn one_of(random: &mut Random, family: &[&'static str]) -> &'static str {
    random.pick::<&'static str>(family)
}

fn first_word(listed: &str) -> String {
    let end = listed.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(listed.len());
    listed[..end].to_ascii_lowercase()
}

/// A value of a type, as SQL.
pub(super) fn value(random: &mut Random, data_type: &str) -> String {
    let number = random.below(120);
    match data_type {
        "decimal" => format!("{}.{}", number * 7, random.below(100)),
        "float" | "double" => format!("{}.5", number),
        "varbinary" | "blob" | "binary" => format!("x'{:08x}'", random.below(1 << 30)),
        "date" | "datetime" | "timestamp" => {
            format!("'2026-{:02}-{:02} 0{}:11:12.345678'", 1 + number % 12, 1 + number % 28, number % 10)
        }
        "time" => format!("'{}:00:{:02}.125'", number, number % 60),
        "enum" | "set" => format!("'{}'", random.pick(&["a", "b", "c"])),
        "json" => format!("'{{\"k\": {number}}}'"),
        "bit" => format!("b'{}'", number % 2),
        "year" => format!("{}", 1990 + number % 60),
        "char" | "varchar" | "text" | "mediumtext" => {
            format!("'{} {number}'", random.pick(&["wort", "é", "x''y", "ü ß", ""]))
        }
        _ => number.to_string(),
    }
}

/// A constant for DEFAULT, where the type can have one that is plain.
pub(super) fn default_value(random: &mut Random, listed: &str) -> Option<String> {
    let data_type = first_word(listed);
    let plain =
        ["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "varchar", "char", "varbinary"];
    plain.contains(&data_type.as_str()).then(|| value(random, &data_type))
}
