//! Names of character sets and collations, as statements use them.
//!
//! Guarantee: a name that is found has the id that the server gives it; a test compares the lists with
//! a server's. A name that is not found makes the statement one that is not understood.
//! Source: `information_schema.COLLATIONS` and `CHARACTER_SETS` of MySQL 9.7. Ids never change.

/// Collation id of binary strings.
pub(crate) const BINARY: u16 = 63;
/// `utf8mb3_general_ci`: NATIONAL CHAR.
pub(super) const NATIONAL: u16 = 33;
/// `utf8mb4_0900_ai_ci`: the server's own default.
pub(super) const USUAL: u16 = 255;

/// Name and id of each collation.
const COLLATIONS: &str = "\
    big5_chinese_ci 1, latin2_czech_cs 2, dec8_swedish_ci 3, cp850_general_ci 4, latin1_german1_ci 5, \
    hp8_english_ci 6, koi8r_general_ci 7, latin1_swedish_ci 8, latin2_general_ci 9, swe7_swedish_ci 10, \
    ascii_general_ci 11, ujis_japanese_ci 12, sjis_japanese_ci 13, cp1251_bulgarian_ci 14, \
    latin1_danish_ci 15, hebrew_general_ci 16, tis620_thai_ci 18, euckr_korean_ci 19, latin7_estonian_cs 20, \
    latin2_hungarian_ci 21, koi8u_general_ci 22, cp1251_ukrainian_ci 23, gb2312_chinese_ci 24, \
    greek_general_ci 25, cp1250_general_ci 26, latin2_croatian_ci 27, gbk_chinese_ci 28, \
    cp1257_lithuanian_ci 29, latin5_turkish_ci 30, latin1_german2_ci 31, armscii8_general_ci 32, \
    utf8mb3_general_ci 33, cp1250_czech_cs 34, ucs2_general_ci 35, cp866_general_ci 36, \
    keybcs2_general_ci 37, macce_general_ci 38, macroman_general_ci 39, cp852_general_ci 40, \
    latin7_general_ci 41, latin7_general_cs 42, macce_bin 43, cp1250_croatian_ci 44, utf8mb4_general_ci 45, \
    utf8mb4_bin 46, latin1_bin 47, latin1_general_ci 48, latin1_general_cs 49, cp1251_bin 50, \
    cp1251_general_ci 51, cp1251_general_cs 52, macroman_bin 53, utf16_general_ci 54, utf16_bin 55, \
    utf16le_general_ci 56, cp1256_general_ci 57, cp1257_bin 58, cp1257_general_ci 59, utf32_general_ci 60, \
    utf32_bin 61, utf16le_bin 62, binary 63, armscii8_bin 64, ascii_bin 65, cp1250_bin 66, cp1256_bin 67, \
    cp866_bin 68, dec8_bin 69, greek_bin 70, hebrew_bin 71, hp8_bin 72, keybcs2_bin 73, koi8r_bin 74, \
    koi8u_bin 75, utf8mb3_tolower_ci 76, latin2_bin 77, latin5_bin 78, latin7_bin 79, cp850_bin 80, \
    cp852_bin 81, swe7_bin 82, utf8mb3_bin 83, big5_bin 84, euckr_bin 85, gb2312_bin 86, gbk_bin 87, \
    sjis_bin 88, tis620_bin 89, ucs2_bin 90, ujis_bin 91, geostd8_general_ci 92, geostd8_bin 93, \
    latin1_spanish_ci 94, cp932_japanese_ci 95, cp932_bin 96, eucjpms_japanese_ci 97, eucjpms_bin 98, \
    cp1250_polish_ci 99, utf16_unicode_ci 101, utf16_icelandic_ci 102, utf16_latvian_ci 103, \
    utf16_romanian_ci 104, utf16_slovenian_ci 105, utf16_polish_ci 106, utf16_estonian_ci 107, \
    utf16_spanish_ci 108, utf16_swedish_ci 109, utf16_turkish_ci 110, utf16_czech_ci 111, \
    utf16_danish_ci 112, utf16_lithuanian_ci 113, utf16_slovak_ci 114, utf16_spanish2_ci 115, \
    utf16_roman_ci 116, utf16_persian_ci 117, utf16_esperanto_ci 118, utf16_hungarian_ci 119, \
    utf16_sinhala_ci 120, utf16_german2_ci 121, utf16_croatian_ci 122, utf16_unicode_520_ci 123, \
    utf16_vietnamese_ci 124, ucs2_unicode_ci 128, ucs2_icelandic_ci 129, ucs2_latvian_ci 130, \
    ucs2_romanian_ci 131, ucs2_slovenian_ci 132, ucs2_polish_ci 133, ucs2_estonian_ci 134, \
    ucs2_spanish_ci 135, ucs2_swedish_ci 136, ucs2_turkish_ci 137, ucs2_czech_ci 138, ucs2_danish_ci 139, \
    ucs2_lithuanian_ci 140, ucs2_slovak_ci 141, ucs2_spanish2_ci 142, ucs2_roman_ci 143, ucs2_persian_ci 144, \
    ucs2_esperanto_ci 145, ucs2_hungarian_ci 146, ucs2_sinhala_ci 147, ucs2_german2_ci 148, \
    ucs2_croatian_ci 149, ucs2_unicode_520_ci 150, ucs2_vietnamese_ci 151, ucs2_general_mysql500_ci 159, \
    utf32_unicode_ci 160, utf32_icelandic_ci 161, utf32_latvian_ci 162, utf32_romanian_ci 163, \
    utf32_slovenian_ci 164, utf32_polish_ci 165, utf32_estonian_ci 166, utf32_spanish_ci 167, \
    utf32_swedish_ci 168, utf32_turkish_ci 169, utf32_czech_ci 170, utf32_danish_ci 171, \
    utf32_lithuanian_ci 172, utf32_slovak_ci 173, utf32_spanish2_ci 174, utf32_roman_ci 175, \
    utf32_persian_ci 176, utf32_esperanto_ci 177, utf32_hungarian_ci 178, utf32_sinhala_ci 179, \
    utf32_german2_ci 180, utf32_croatian_ci 181, utf32_unicode_520_ci 182, utf32_vietnamese_ci 183, \
    utf8mb3_unicode_ci 192, utf8mb3_icelandic_ci 193, utf8mb3_latvian_ci 194, utf8mb3_romanian_ci 195, \
    utf8mb3_slovenian_ci 196, utf8mb3_polish_ci 197, utf8mb3_estonian_ci 198, utf8mb3_spanish_ci 199, \
    utf8mb3_swedish_ci 200, utf8mb3_turkish_ci 201, utf8mb3_czech_ci 202, utf8mb3_danish_ci 203, \
    utf8mb3_lithuanian_ci 204, utf8mb3_slovak_ci 205, utf8mb3_spanish2_ci 206, utf8mb3_roman_ci 207, \
    utf8mb3_persian_ci 208, utf8mb3_esperanto_ci 209, utf8mb3_hungarian_ci 210, utf8mb3_sinhala_ci 211, \
    utf8mb3_german2_ci 212, utf8mb3_croatian_ci 213, utf8mb3_unicode_520_ci 214, utf8mb3_vietnamese_ci 215, \
    utf8mb3_general_mysql500_ci 223, utf8mb4_unicode_ci 224, utf8mb4_icelandic_ci 225, \
    utf8mb4_latvian_ci 226, utf8mb4_romanian_ci 227, utf8mb4_slovenian_ci 228, utf8mb4_polish_ci 229, \
    utf8mb4_estonian_ci 230, utf8mb4_spanish_ci 231, utf8mb4_swedish_ci 232, utf8mb4_turkish_ci 233, \
    utf8mb4_czech_ci 234, utf8mb4_danish_ci 235, utf8mb4_lithuanian_ci 236, utf8mb4_slovak_ci 237, \
    utf8mb4_spanish2_ci 238, utf8mb4_roman_ci 239, utf8mb4_persian_ci 240, utf8mb4_esperanto_ci 241, \
    utf8mb4_hungarian_ci 242, utf8mb4_sinhala_ci 243, utf8mb4_german2_ci 244, utf8mb4_croatian_ci 245, \
    utf8mb4_unicode_520_ci 246, utf8mb4_vietnamese_ci 247, gb18030_chinese_ci 248, gb18030_bin 249, \
    gb18030_unicode_520_ci 250, utf8mb4_0900_ai_ci 255, utf8mb4_de_pb_0900_ai_ci 256, \
    utf8mb4_is_0900_ai_ci 257, utf8mb4_lv_0900_ai_ci 258, utf8mb4_ro_0900_ai_ci 259, \
    utf8mb4_sl_0900_ai_ci 260, utf8mb4_pl_0900_ai_ci 261, utf8mb4_et_0900_ai_ci 262, \
    utf8mb4_es_0900_ai_ci 263, utf8mb4_sv_0900_ai_ci 264, utf8mb4_tr_0900_ai_ci 265, \
    utf8mb4_cs_0900_ai_ci 266, utf8mb4_da_0900_ai_ci 267, utf8mb4_lt_0900_ai_ci 268, \
    utf8mb4_sk_0900_ai_ci 269, utf8mb4_es_trad_0900_ai_ci 270, utf8mb4_la_0900_ai_ci 271, \
    utf8mb4_eo_0900_ai_ci 273, utf8mb4_hu_0900_ai_ci 274, utf8mb4_hr_0900_ai_ci 275, \
    utf8mb4_vi_0900_ai_ci 277, utf8mb4_0900_as_cs 278, utf8mb4_de_pb_0900_as_cs 279, \
    utf8mb4_is_0900_as_cs 280, utf8mb4_lv_0900_as_cs 281, utf8mb4_ro_0900_as_cs 282, \
    utf8mb4_sl_0900_as_cs 283, utf8mb4_pl_0900_as_cs 284, utf8mb4_et_0900_as_cs 285, \
    utf8mb4_es_0900_as_cs 286, utf8mb4_sv_0900_as_cs 287, utf8mb4_tr_0900_as_cs 288, \
    utf8mb4_cs_0900_as_cs 289, utf8mb4_da_0900_as_cs 290, utf8mb4_lt_0900_as_cs 291, \
    utf8mb4_sk_0900_as_cs 292, utf8mb4_es_trad_0900_as_cs 293, utf8mb4_la_0900_as_cs 294, \
    utf8mb4_eo_0900_as_cs 296, utf8mb4_hu_0900_as_cs 297, utf8mb4_hr_0900_as_cs 298, \
    utf8mb4_vi_0900_as_cs 300, utf8mb4_ja_0900_as_cs 303, utf8mb4_ja_0900_as_cs_ks 304, \
    utf8mb4_0900_as_ci 305, utf8mb4_ru_0900_ai_ci 306, utf8mb4_ru_0900_as_cs 307, utf8mb4_zh_0900_as_cs 308, \
    utf8mb4_0900_bin 309, utf8mb4_nb_0900_ai_ci 310, utf8mb4_nb_0900_as_cs 311, utf8mb4_nn_0900_ai_ci 312, \
    utf8mb4_nn_0900_as_cs 313, utf8mb4_sr_latn_0900_ai_ci 314, utf8mb4_sr_latn_0900_as_cs 315, \
    utf8mb4_bs_0900_ai_ci 316, utf8mb4_bs_0900_as_cs 317, utf8mb4_bg_0900_ai_ci 318, \
    utf8mb4_bg_0900_as_cs 319, utf8mb4_gl_0900_ai_ci 320, utf8mb4_gl_0900_as_cs 321, \
    utf8mb4_mn_cyrl_0900_ai_ci 322, utf8mb4_mn_cyrl_0900_as_cs 323";

/// Name of each character set, id of its default collation, bytes of a character at most.
const CHARSETS: &str = "\
    big5 1 2, dec8 3 1, cp850 4 1, hp8 6 1, koi8r 7 1, latin1 8 1, latin2 9 1, swe7 10 1, ascii 11 1, \
    ujis 12 3, sjis 13 2, hebrew 16 1, tis620 18 1, euckr 19 2, koi8u 22 1, gb2312 24 2, greek 25 1, \
    cp1250 26 1, gbk 28 2, latin5 30 1, armscii8 32 1, utf8mb3 33 3, ucs2 35 2, cp866 36 1, keybcs2 37 1, \
    macce 38 1, macroman 39 1, cp852 40 1, latin7 41 1, cp1251 51 1, utf16 54 4, utf16le 56 4, cp1256 57 1, \
    cp1257 59 1, utf32 60 4, binary 63 1, geostd8 92 1, cp932 95 2, eucjpms 97 3, gb18030 248 4, \
    utf8mb4 255 4";

/// The id of a collation.
pub(crate) fn collation(name: &str) -> Option<u16> {
    let name = current(name);
    COLLATIONS.split(", ").find_map(|entry| {
        let (known, id) = entry.split_once(' ')?;
        if known == name { id.parse().ok() } else { None }
    })
}

/// The id of a character set's default collation.
pub(super) fn default_of_charset(name: &str) -> Option<u16> {
    let name = current(name);
    charsets().find_map(|(known, id, _)| if known == name { Some(id) } else { None })
}

/// The id of the binary collation of a collation's character set.
pub(super) fn binary_of(id: u16) -> Option<u16> {
    match id {
        BINARY => Some(BINARY),
        _ => collation(&format!("{}_bin", charset_of(id)?)),
    }
}

/// Whether two collations are of one character set.
pub(super) fn same_charset(one: u16, other: u16) -> bool {
    charset_of(one).is_some_and(|charset| charset_of(other) == Some(charset))
}

/// Whether a collation's character set has every character.
pub(super) fn is_universal(id: u16) -> bool {
    matches!(charset_of(id), Some("utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030"))
}

/// Bytes of a character at most.
pub(crate) fn bytes_per_character(id: u16) -> Option<u32> {
    let charset = charset_of(id)?;
    charsets().find_map(|(known, _, bytes)| if known == charset { Some(bytes) } else { None })
}

/// The name of a collation's character set.
pub(super) fn charset_of(id: u16) -> Option<&'static str> {
    COLLATIONS.split(", ").find_map(|entry| {
        let (name, known) = entry.split_once(' ')?;
        let charset = name.split_once('_').map_or(name, |(charset, _)| charset);
        (known.parse() == Ok(id)).then_some(charset)
    })
}

fn charsets() -> impl Iterator<Item = (&'static str, u16, u32)> {
    CHARSETS.split(", ").filter_map(|entry| {
        let mut fields = entry.split(' ');
        Some((fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// A name in lower case and as servers write it since 8.0.30: `utf8` is `utf8mb3`.
fn current(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("utf8").filter(|rest| rest.is_empty() || rest.starts_with('_')) {
        Some(rest) => format!("utf8mb3{rest}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_belong_together() {
        assert_eq!(collation("utf8mb4_0900_ai_ci"), Some(USUAL));
        assert_eq!(collation("UTF8_general_ci"), Some(NATIONAL));
        assert_eq!([default_of_charset("latin1"), default_of_charset("utf8")], [Some(8), Some(NATIONAL)]);
        assert_eq!([binary_of(8), binary_of(USUAL), binary_of(BINARY)], [Some(47), Some(46), Some(BINARY)]);
        assert_eq!(
            [bytes_per_character(8), bytes_per_character(33), bytes_per_character(255)],
            [Some(1), Some(3), Some(4)]
        );
        assert!(same_charset(8, 47) && !same_charset(8, 255) && !same_charset(9999, 9999));
        assert_eq!(collation("klingon_ci"), None);
    }

    #[test]
    fn every_character_set_has_its_default_and_a_binary_collation() {
        for (name, id, _) in charsets() {
            assert_eq!(charset_of(id), Some(name));
            assert!(binary_of(id).is_some(), "{name}");
        }
        assert_eq!(charsets().count(), 41);
        assert_eq!(COLLATIONS.split(", ").count(), 286);
    }
}
