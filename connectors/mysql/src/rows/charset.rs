//! Every MySQL character set to UTF-8, exactly as the server converts it.
//!
//! Single-byte sets are tables of the server's own answers. Double-byte sets are decoded by
//! `encoding_rs` and corrected where MySQL's mapping differs; the differences are data of the same
//! origin. In a value, a byte sequence without a character is an error, never a replacement character: the
//! lake would otherwise hold a value that the source does not. Only of a statement's text the rest is wanted
//! ([`to_utf8_lossy`]).
//!
//! Unknown: what a server older than 9.7 answers where its tables differ. None is known to.

use std::borrow::Cow;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS};
use lakeward_core::{Error, Result};

use super::charset_tables::{self as tables, Differences, HighHalf};
use super::cursor::unreadable;

/// A character set, as far as decoding depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Charset {
    /// utf8mb4 and utf8mb3, which is a part of it.
    Utf8,
    /// Seven bits.
    Ascii,
    /// `binary`: bytes without characters; text only where they happen to be UTF-8 (labels of an ENUM).
    Binary,
    /// ASCII below 0x80, a table above.
    SingleByte(&'static HighHalf),
    /// SEN 850200: seven bits with national letters.
    Swe7,
    /// UTF-16, big-endian, without surrogates.
    Ucs2,
    /// UTF-16, big-endian.
    Utf16,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-32, big-endian.
    Utf32,
    /// Big5.
    Big5,
    /// GBK.
    Gbk,
    /// EUC-CN.
    Gb2312,
    /// GB 18030.
    Gb18030,
    /// EUC-KR.
    Euckr,
    /// Shift-JIS.
    Sjis,
    /// Windows code page 932.
    Cp932,
    /// EUC-JP.
    Ujis,
    /// EUC-JP as Windows maps it.
    Eucjpms,
}

/// Whether bytes are UTF-8. Most text is ASCII, which is told much faster.
#[inline]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// Converts text of a collation's character set to UTF-8.
///
/// # Errors
/// `UnreadableValue` if the collation is unknown or the bytes are not text of its character set.
pub fn to_utf8(collation: u16, bytes: &[u8]) -> Result<Cow<'_, str>> {
    let charset = Charset::of(collation)?;
    let out = match charset {
        Charset::Utf8 | Charset::Binary => {
            return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| no_character(charset, bytes));
        }
        _ => {
            let mut out = Vec::with_capacity(bytes.len());
            charset.append_utf8(bytes, &mut out)?;
            out
        }
    };
    String::from_utf8(out).map(Cow::Owned).map_err(|_| no_character(charset, bytes))
}

/// Converts text as [`to_utf8`] does, with U+FFFD for what has no character: all other characters are those
/// that the server's own lexer sees. `None`: the collation is not told.
pub(crate) fn to_utf8_lossy(collation: Option<u16>, bytes: &[u8]) -> Cow<'_, str> {
    match collation.map(Charset::of) {
        Some(Ok(charset))
            if charset.contains_ascii() && !matches!(charset, Charset::Utf8 | Charset::Binary) =>
        {
            charset.each_char_lossy(bytes).into()
        }
        Some(_) | None => String::from_utf8_lossy(bytes),
    }
}

#[cold]
fn no_character(charset: Charset, bytes: &[u8]) -> Error {
    let shown: String = bytes.iter().take(16).map(|byte| format!("{byte:02X}")).collect();
    let name = match charset {
        Charset::SingleByte(_) => "its single-byte character set".to_owned(),
        named => format!("{named:?}").to_lowercase(),
    };
    unreadable(format!("the text (0x{shown}…) has no characters in {name}"))
}

impl Charset {
    /// The character set of a collation id.
    pub(crate) fn of(collation: u16) -> Result<Self> {
        tables::charset_of(collation)
            .ok_or_else(|| unreadable(format!("the collation id {collation} is not known")))
    }

    /// Appends `bytes` to `out` as UTF-8. On an error `out` may hold a part.
    #[inline]
    pub(super) fn append_utf8(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self {
            Charset::Utf8 | Charset::Binary if is_utf8(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            _ if bytes.is_ascii() && self.contains_ascii() => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            _ => self.append_converted(bytes, out).ok_or_else(|| no_character(self, bytes)),
        }
    }

    /// Whether bytes below 0x80 are always their ASCII characters.
    fn contains_ascii(self) -> bool {
        !matches!(self, Charset::Swe7 | Charset::Ucs2 | Charset::Utf16 | Charset::Utf16Le | Charset::Utf32)
    }

    fn append_converted(self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            // Valid UTF-8 was taken before, and so were seven-bit bytes.
            Charset::Utf8 | Charset::Binary | Charset::Ascii => None,
            Charset::SingleByte(high) => each_byte(bytes, out, |byte| single_byte(high, byte)),
            Charset::Swe7 => each_byte(bytes, out, swe7),
            Charset::Ucs2 => ucs2(bytes, out),
            Charset::Utf16 => utf16(bytes, u16::from_be_bytes, out),
            Charset::Utf16Le => utf16(bytes, u16::from_le_bytes, out),
            Charset::Utf32 => utf32(bytes, out),
            Charset::Big5 => multi_byte(BIG5, tables::BIG5, self.char_len(), bytes, out),
            Charset::Gbk => multi_byte(GBK, tables::GBK, self.char_len(), bytes, out),
            Charset::Gb2312 => multi_byte(GBK, tables::GB2312, self.char_len(), bytes, out),
            Charset::Gb18030 => multi_byte(GB18030, tables::GB18030, self.char_len(), bytes, out),
            Charset::Euckr => multi_byte(EUC_KR, &[], self.char_len(), bytes, out),
            Charset::Sjis => multi_byte(SHIFT_JIS, tables::SJIS, self.char_len(), bytes, out),
            Charset::Cp932 => multi_byte(SHIFT_JIS, &[], self.char_len(), bytes, out),
            Charset::Ujis => multi_byte(EUC_JP, tables::UJIS, self.char_len(), bytes, out),
            Charset::Eucjpms => multi_byte(EUC_JP, tables::EUCJPMS, self.char_len(), bytes, out),
        }
    }

    /// How many bytes the first character has, of a character set that contains ASCII.
    fn char_len(self) -> fn(&[u8]) -> usize {
        match self {
            Charset::Big5 | Charset::Gbk | Charset::Gb2312 | Charset::Euckr => two_bytes,
            Charset::Gb18030 => gb18030_len,
            Charset::Sjis | Charset::Cp932 => sjis_len,
            Charset::Ujis | Charset::Eucjpms => eucjp_len,
            Charset::Utf8
            | Charset::Ascii
            | Charset::Binary
            | Charset::SingleByte(_)
            | Charset::Swe7
            | Charset::Ucs2
            | Charset::Utf16
            | Charset::Utf16Le
            | Charset::Utf32 => |_| 1,
        }
    }

    fn each_char_lossy(self, bytes: &[u8]) -> String {
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let before = out.len();
            let len = self.char_len()(rest);
            let is_read = match (first, rest.get(..len)) {
                (0..0x80, _) => {
                    out.push(*first);
                    true
                }
                (_, Some(character)) => self.append_utf8(character, &mut out).is_ok(),
                (_, None) => false,
            };
            if !is_read {
                out.truncate(before);
                append_char(char::REPLACEMENT_CHARACTER, &mut out);
            }
            let taken = if is_read { len } else { self.unread_len(rest) };
            rest = rest.get(taken..).unwrap_or_default();
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// How many bytes the server's lexer passes by where there is no character: two where they have the
    /// form of one, so that no quote is seen in the second.
    fn unread_len(self, rest: &[u8]) -> usize {
        let [lead, 0x40..=0x7E, ..] = rest else { return 1 };
        let is_lead = match self {
            Charset::Gbk | Charset::Gb18030 => (0x81..=0xFE).contains(lead),
            Charset::Big5 => (0xA1..=0xF9).contains(lead),
            Charset::Sjis | Charset::Cp932 => sjis_len(rest) == 2,
            // The second byte of a character is none of ASCII's quotes.
            Charset::Gb2312
            | Charset::Euckr
            | Charset::Ujis
            | Charset::Eucjpms
            | Charset::Utf8
            | Charset::Ascii
            | Charset::Binary
            | Charset::SingleByte(_)
            | Charset::Swe7
            | Charset::Ucs2
            | Charset::Utf16
            | Charset::Utf16Le
            | Charset::Utf32 => false,
        };
        if is_lead { 2 } else { 1 }
    }
}

fn append_char(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn each_byte(bytes: &[u8], out: &mut Vec<u8>, decode: impl Fn(u8) -> Option<char>) -> Option<()> {
    for byte in bytes {
        append_char(decode(*byte)?, out);
    }
    Some(())
}

fn single_byte(high: &HighHalf, byte: u8) -> Option<char> {
    match byte.checked_sub(0x80) {
        None => Some(char::from(byte)),
        Some(index) => match high.get(usize::from(index)) {
            None | Some(0) => None,
            Some(unit) => char::from_u32(u32::from(*unit)),
        },
    }
}

fn swe7(byte: u8) -> Option<char> {
    Some(match byte {
        b'@' => 'É',
        b'[' => 'Ä',
        b'\\' => 'Ö',
        b']' => 'Å',
        b'^' => 'Ü',
        b'`' => 'é',
        b'{' => 'ä',
        b'|' => 'ö',
        b'}' => 'å',
        b'~' => 'ü',
        0x7F.. => return None,
        _ => char::from(byte),
    })
}

fn ucs2(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    for pair in pairs {
        append_char(char::from_u32(u32::from(u16::from_be_bytes(*pair)))?, out);
    }
    rest.is_empty().then_some(())
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, out: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        append_char(character.ok()?, out);
    }
    rest.is_empty().then_some(())
}

fn utf32(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        append_char(char::from_u32(u32::from_be_bytes(*word))?, out);
    }
    rest.is_empty().then_some(())
}

/// Decodes runs of characters on which MySQL and WHATWG agree, and the others by `differences`.
fn multi_byte(
    encoding: &'static Encoding,
    differences: &Differences,
    char_len: fn(&[u8]) -> usize,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut agreed = 0;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let len = char_len(rest);
        let code = rest.get(..len)?.iter().fold(0u32, |code, byte| code << 8 | u32::from(*byte));
        if (len > 1 || code == 0x80)
            && let Some(character) = different(differences, code)?
        {
            decode_agreed(encoding, bytes.get(agreed..at)?, out)?;
            append_char(character, out);
            agreed = at + len;
        }
        at += len;
    }
    decode_agreed(encoding, bytes.get(agreed..)?, out)
}

/// `Some(None)`: as WHATWG has it; `Some(Some(c))`: otherwise; `None`: no character.
fn different(differences: &Differences, code: u32) -> Option<Option<char>> {
    // A lead byte of 0x80 is a character in some WHATWG encodings and in none of MySQL's.
    if code == 0x80 || code >> 8 == 0x80 {
        return None;
    }
    let index = differences.partition_point(|(_, last, _)| *last < code);
    match differences.get(index) {
        Some((first, _, 0)) if *first <= code => None,
        Some((first, _, character)) if *first <= code => char::from_u32(character + (code - first)).map(Some),
        _ => Some(None),
    }
}

fn decode_agreed(encoding: &'static Encoding, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    out.extend_from_slice(text.as_bytes());
    Some(())
}

fn two_bytes(rest: &[u8]) -> usize {
    if rest.first().is_some_and(|lead| *lead >= 0x80) { 2 } else { 1 }
}

fn sjis_len(rest: &[u8]) -> usize {
    match rest.first() {
        Some(0x81..=0x9F | 0xE0..=0xFC) => 2,
        _ => 1,
    }
}

fn eucjp_len(rest: &[u8]) -> usize {
    match rest.first() {
        Some(0x8F) => 3,
        Some(0x80..) => 2,
        _ => 1,
    }
}

fn gb18030_len(rest: &[u8]) -> usize {
    match rest {
        [0x81..=0xFE, b'0'..=b'9', ..] => 4,
        [0x80..=0xFF, ..] => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(collation: u16, bytes: &[u8]) -> Option<String> {
        to_utf8(collation, bytes).ok().map(Cow::into_owned)
    }

    #[test]
    fn text_of_each_kind_of_charset_becomes_utf8() {
        assert_eq!(text(255, "zażółć 😀".as_bytes()).as_deref(), Some("zażółć 😀"));
        assert_eq!(text(8, b"\x80 caf\xE9 \x81").as_deref(), Some("€ café \u{81}"));
        assert_eq!(text(10, b"@").as_deref(), Some("É"));
        assert_eq!(text(35, &[0x30, 0x42]).as_deref(), Some("あ"));
        assert_eq!(text(54, &[0xD8, 0x3D, 0xDE, 0x00]).as_deref(), Some("😀"));
        assert_eq!(text(56, &[0x3D, 0xD8, 0x00, 0xDE]).as_deref(), Some("😀"));
        assert_eq!(text(60, &[0, 1, 0xF6, 0]).as_deref(), Some("😀"));
        assert_eq!(text(13, &[b'a', 0x81, 0x60, 0x82, 0xA0]).as_deref(), Some("a〜あ"));
        assert_eq!(text(95, &[b'a', 0x81, 0x60, 0x82, 0xA0]).as_deref(), Some("a～あ"));
    }

    #[test]
    fn of_a_statement_all_but_what_has_no_character_is_read() {
        for (collation, bytes, expected) in [
            (Some(255), &b"caf\xE9' \xC3"[..], "caf\u{FFFD}' \u{FFFD}"),
            (Some(63), b"'\xFF\xFE'", "'\u{FFFD}\u{FFFD}'"),
            (None, b"'\xFF'", "'\u{FFFD}'"),
            (Some(9999), b"'\xFF'", "'\u{FFFD}'"),
            (Some(11), b"a\x80'", "a\u{FFFD}'"),
            (Some(10), b"[\x80", "[\u{FFFD}"),
            // A byte that can begin a character does not take the quote behind it, but it takes a backslash.
            (Some(28), b"'\xA2' \xC4\xE3 \xFE\x5C'", "'\u{FFFD}' \u{4F60} \u{FFFD}'"),
            (Some(13), b"\xA6 \x81'", "\u{FF66} \u{FFFD}'"),
            (Some(1), b"\x80\x60", "\u{FFFD}`"),
        ] {
            assert_eq!(to_utf8_lossy(collation, bytes), expected, "collation {collation:?}: {bytes:?}");
        }
    }

    #[test]
    fn bytes_without_a_character_are_refused() {
        for (collation, bytes) in [
            (255, &b"\xFF"[..]),
            (11, b"\x80"),
            (28, b"\x80"),
            (28, b"\x81"),
            (35, b"\x00"),
            (54, b"\xD8\x00"),
            (60, b"\x00\x11\x00\x00"),
            (26, b"\x81"),
            (9999, b"a"),
        ] {
            assert!(text(collation, bytes).is_none(), "collation {collation}: {bytes:?}");
        }
    }
}
