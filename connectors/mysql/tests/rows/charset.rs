//! Every code of every character set, against the server's own conversion.

use std::collections::BTreeMap;
use std::fmt::Write;

use lakeward_mysql::rows::charset::to_utf8;
use lakeward_test_support::mysql::MySql;

/// Code points and byte sequences that a character set may hold, as hexadecimal numbers.
fn codes(charset: &str) -> Vec<String> {
    // The server fills short literals up to whole units, which no column does: there, whole units only.
    let in_bytes = !matches!(charset, "ucs2" | "utf16" | "utf16le" | "utf32");
    let mut codes: Vec<String> = (0..256).filter(|_| in_bytes).map(|byte| format!("{byte:02X}")).collect();
    let two = |range: std::ops::RangeInclusive<u32>| range.map(|code| format!("{code:04X}"));
    match charset {
        "big5" | "gbk" | "gb2312" | "sjis" | "cp932" | "euckr" => codes.extend(two(0x8000..=0xFFFF)),
        "ujis" | "eucjpms" => {
            codes.extend(two(0x8000..=0xFFFF));
            codes.extend((0x8080..=0xFFFF).map(|code| format!("8F{code:04X}")));
        }
        "gb18030" => {
            codes.extend(two(0x8000..=0xFFFF));
            // Four bytes count 10 × 126 × 10 below each lead byte; the planes beyond the first begin at
            // 90 30 81 30. All of the first plane, and every 7th of the others.
            let four = |n: u32| {
                let (lead, second) = (0x81 + n / 12_600, 0x30 + n / 1_260 % 10);
                format!("{lead:02X}{second:02X}{:02X}{:02X}", 0x81 + n / 10 % 126, 0x30 + n % 10)
            };
            codes.extend((0..39_420).chain((189_000..1_237_576).step_by(7)).map(four));
        }
        "ucs2" | "utf16" => codes.extend((0..=0xFFFF).map(|unit| format!("{unit:04X}"))),
        "utf16le" => codes.extend((0..=0xFFFFu16).map(|unit| format!("{:04X}", unit.swap_bytes()))),
        "utf32" => codes.extend((0..=0x11_0100).step_by(13).map(|code| format!("{code:08X}"))),
        _ => {}
    }
    if charset == "utf16" {
        codes.extend((0xD800..=0xDBFF).map(|high| format!("{high:04X}DC00")));
    }
    codes
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// What the server makes of each code; `None` where the code has no character.
fn converted(server: &MySql, charset: &str, codes: &[String]) -> Vec<Option<String>> {
    let mut answers = Vec::with_capacity(codes.len());
    let mut conn = server.conn();
    for chunk in codes.chunks(5_000) {
        let mut rows = String::new();
        for (index, code) in chunk.iter().enumerate() {
            write!(rows, "{}ROW({index},0x{code})", if index > 0 { "," } else { "" }).unwrap();
        }
        let query = format!(
            "SELECT HEX(CONVERT(CONVERT(x USING {charset}) USING utf8mb4)) \
             FROM (VALUES {rows}) AS t(n, x) ORDER BY n"
        );
        let found: Vec<Option<String>> = mysql::prelude::Queryable::query(&mut conn, query).unwrap();
        answers.extend(found);
    }
    let known = |(answer, code): (Option<String>, &String)| {
        // A question mark stands for what has no character; so does U+FFFD, except where the character
        // set holds that character itself; and an empty answer for a sequence that ends too early.
        let holds_fffd = charset.starts_with("utf") || matches!(charset, "ucs2" | "gb18030");
        let answer = answer.filter(|hex| !hex.is_empty() && (holds_fffd || !hex.contains("EFBFBD")))?;
        let text = String::from_utf8(bytes(&answer)).unwrap();
        (!text.contains('?') || bytes(code).contains(&b'?')).then_some(text)
    };
    answers.into_iter().zip(codes).map(known).collect()
}

#[test]
fn every_code_of_every_charset_becomes_what_the_server_makes_of_it() {
    let server = MySql::shared();
    let collations =
        server.rows("SELECT character_set_name, MIN(id) FROM information_schema.collations GROUP BY 1");
    assert!(collations.len() >= 40);
    for row in collations {
        let [Some(charset), Some(collation)] = &row[..] else { panic!("{row:?}") };
        let collation: u16 = collation.parse().unwrap();
        if charset == "binary" {
            continue; // Bytes, not text.
        }
        let codes = codes(charset);
        let expected = converted(server, charset, &codes);
        let mut wrong = Vec::new();
        for (code, expected) in codes.iter().zip(expected) {
            let bytes = bytes(code);
            let ours = to_utf8(collation, &bytes).ok();
            if ours.as_deref() != expected.as_deref() {
                wrong.push(format!("{code}: ours {ours:?}, server {expected:?}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{charset}: {} of {}: {:?}",
            wrong.len(),
            codes.len(),
            &wrong[..wrong.len().min(20)]
        );
    }
}

#[test]
fn every_collation_of_the_server_has_its_charset() {
    // A text whose bytes tell the character sets apart as far as their decoders differ.
    let server = MySql::shared();
    let mut samples: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for row in server.rows("SELECT id, character_set_name FROM information_schema.collations") {
        let [Some(id), Some(charset)] = &row[..] else { panic!("{row:?}") };
        if charset == "binary" {
            continue;
        }
        let sample = samples.entry(charset.clone()).or_insert_with(|| {
            let text = "aéß~Яאกあ一가漢ÿ";
            let hex = server.value(&format!("SELECT HEX(CONVERT(_utf8mb4'{text}' USING {charset}))"));
            bytes(&hex)
        });
        let hex: String = sample.iter().map(|byte| format!("{byte:02X}")).collect();
        let expected = server.value(&format!("SELECT CONVERT(_{charset} x'{hex}' USING utf8mb4)"));
        let ours = to_utf8(id.parse().unwrap(), sample);
        assert_eq!(ours.unwrap(), expected, "collation {id} of {charset}");
    }
}
