//! Text and bytes: every charset of the server with the same samples, lengths around the limits of
//! the length prefixes, padding, ENUM and SET.

use super::{Listed, TypeCase};

/// Text of many scripts. A charset without a character stores `?`, and that is then the value.
const SAMPLES: &[&str] = &[
    "plain ASCII ~!@#$%^&*()",
    "Grüße, naïve Übergröße ÿ €‚„…†‡ˆ‰Š‹Œ",
    "ąćęłńóśźż ĄĆĘŁŃÓŚŹŻ őű Řř",
    "Привет, мир! Ёё Іі Її Єє Ґґ",
    "Ελληνικά ΆΈΉ άέή ς",
    "שלום עולם",
    "مرحبا بالعالم",
    "สวัสดีชาวโลก",
    "Հայերեն",
    "ქართული",
    "你好，世界 繁體字 龍",
    "こんにちは世界 ｱｲｳ 〜 ～ ∥ － ￠￡￢ ①㈱",
    "안녕하세요 세계 똠",
    "emoji 😀 👩‍👩‍👧 𠜎",
    "combining e\u{301} and zero\u{200b}width",
    "quote ' double \" back \\ tab \t newline \n null \0 end",
    "Ţţ Şş Ğğ İı Āā Ēē Ģģ Ņņ",
];

fn literal(text: &str) -> String {
    use std::fmt::Write;
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string succeeds");
        hex
    });
    format!("_utf8mb4 x'{hex}'")
}

/// VARCHAR, TEXT, CHAR and ENUM in every charset of the server.
pub(super) fn charset_cases(charsets: &[String]) -> Vec<TypeCase> {
    let mut cases = Vec::new();
    for charset in charsets {
        let values: Vec<String> = SAMPLES
            .iter()
            .map(|sample| format!("CONVERT({} USING {charset})", literal(sample)))
            .chain(["''".into(), "NULL".into()])
            .collect();
        for (kind, column) in [
            ("varchar", format!("VARCHAR(90) CHARACTER SET {charset}")),
            ("char", format!("CHAR(70) CHARACTER SET {charset}")),
            ("text", format!("TEXT CHARACTER SET {charset}")),
        ] {
            cases.push(TypeCase {
                table: format!("{kind}_in_{charset}"),
                column,
                values: values.clone(),
                updates: Vec::new(),
            });
        }
    }
    cases
}

/// The cases that need no list of charsets.
pub(super) const CASES: &[Listed] = &[
    (
        "varchar_255",
        "VARCHAR(255) CHARACTER SET latin1",
        &["''", "REPEAT('x', 255)", "REPEAT('y', 300)", "NULL"],
    ),
    (
        "varchar_256",
        "VARCHAR(256) CHARACTER SET latin1",
        &["''", "REPEAT('x', 255)", "REPEAT('y', 256)", "NULL"],
    ),
    ("varchar_63_utf8mb4", "VARCHAR(63) CHARACTER SET utf8mb4", &["REPEAT('😀', 63)", "'a'", "NULL"]),
    ("varchar_64_utf8mb4", "VARCHAR(64) CHARACTER SET utf8mb4", &["REPEAT('😀', 64)", "'a'", "NULL"]),
    ("varchar_max", "VARCHAR(16000) CHARACTER SET utf8mb4", &["REPEAT('é', 16000)", "'a'", "NULL"]),
    ("varchar_spaces", "VARCHAR(20)", &["'a  '", "'  a'", "'   '", "NULL"]),
    ("char_spaces", "CHAR(20)", &["'a  '", "'  a'", "'   '", "''", "NULL"]),
    ("char_wide", "CHAR(255) CHARACTER SET utf8mb4", &["REPEAT('😀', 255)", "''", "'a'", "NULL"]),
    ("char_64_utf8mb4", "CHAR(64) CHARACTER SET utf8mb4", &["REPEAT('😀', 64)", "'a'", "NULL"]),
    ("char_zero", "CHAR(0)", &["''", "NULL"]),
    ("varchar_zero", "VARCHAR(0)", &["''", "NULL"]),
    ("varchar_not_null", "VARCHAR(10) NOT NULL", &["''", "'x'"]),
    ("tinytext_full", "TINYTEXT CHARACTER SET latin1", &["REPEAT('z', 255)", "''", "NULL"]),
    ("text_full", "TEXT CHARACTER SET latin1", &["REPEAT('z', 65535)", "''", "NULL"]),
    ("mediumtext_some", "MEDIUMTEXT", &["REPEAT('m', 70000)", "''", "NULL"]),
    ("longtext_some", "LONGTEXT", &["REPEAT('l', 1000000)", "''", "NULL"]),
    (
        "binary_padded",
        "BINARY(4)",
        &["x'01'", "x'0100'", "x'01020304'", "''", "x'20'", "x'00000000'", "NULL"],
    ),
    ("binary_16", "BINARY(16)", &["UNHEX(REPLACE(UUID(),'-',''))", "x'ff'", "NULL"]),
    ("binary_255", "BINARY(255)", &["x'ff'", "''", "REPEAT(x'aa', 255)", "NULL"]),
    ("binary_zero", "BINARY(0)", &["''", "NULL"]),
    ("varbinary_short", "VARBINARY(8)", &["x'00'", "x'0100'", "''", "x'ff00ff00ff00ff00'", "NULL"]),
    ("varbinary_long", "VARBINARY(300)", &["REPEAT(x'00', 300)", "x'80'", "''", "NULL"]),
    ("tinyblob_full", "TINYBLOB", &["REPEAT(x'fe', 255)", "''", "NULL"]),
    ("blob_some", "BLOB", &["x'0001fe'", "REPEAT(x'fe', 65535)", "''", "NULL"]),
    ("mediumblob_some", "MEDIUMBLOB", &["REPEAT(x'00', 66000)", "''", "NULL"]),
    ("longblob_some", "LONGBLOB", &["REPEAT(x'fe', 300000)", "''", "NULL"]),
    ("enum_plain", "ENUM('a','b','c')", &["'a'", "'c'", "''", "'nonsense'", "0", "2", "NULL"]),
    (
        "enum_odd_labels",
        "ENUM('','it''s','a,b','ünï','x y')",
        &["''", "'it''s'", "'a,b'", "'ünï'", "'x y'", "'no'", "NULL"],
    ),
    ("enum_latin1", "ENUM('é','ß','ü') CHARACTER SET latin1", &["'é'", "'ß'", "'ü'", "NULL"]),
    ("enum_gbk", "ENUM('你好','世界') CHARACTER SET gbk", &["'你好'", "'世界'", "NULL"]),
    ("enum_binary", "ENUM('a','b') CHARACTER SET binary", &["'a'", "'b'", "NULL"]),
    ("enum_not_null", "ENUM('a','b') NOT NULL", &["'a'", "'b'", "'c'"]),
    ("set_plain", "SET('a','b','c')", &["'a'", "'a,c'", "'c,b,a'", "''", "'nonsense'", "7", "NULL"]),
    ("set_nine", "SET('1','2','3','4','5','6','7','8','9')", &["'9'", "'1,9'", "511", "256", "NULL"]),
    ("set_utf8", "SET('ä','ö','日本')", &["'ä'", "'ä,日本'", "''", "NULL"]),
    (
        "set_64",
        "SET('s01','s02','s03','s04','s05','s06','s07','s08','s09','s10','s11','s12','s13','s14','s15','s16','s17',\
         's18','s19','s20','s21','s22','s23','s24','s25','s26','s27','s28','s29','s30','s31','s32','s33','s34','s35',\
         's36','s37','s38','s39','s40','s41','s42','s43','s44','s45','s46','s47','s48','s49','s50','s51','s52','s53',\
         's54','s55','s56','s57','s58','s59','s60','s61','s62','s63','s64')",
        &["'s64'", "'s01,s64'", "18446744073709551615", "9223372036854775808", "NULL"],
    ),
];
