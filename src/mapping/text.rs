//! What is done to text, by Unicode. What changes nothing copies nothing.

use std::borrow::Cow;

use icu_casemap::TitlecaseMapper;
use icu_casemap::options::TitlecaseOptions;
use icu_locale_core::LanguageIdentifier;
use icu_normalizer::ComposingNormalizerBorrowed;
use sha2::{Digest, Sha256};
use unicode_segmentation::UnicodeSegmentation;

/// What stands for hidden text, however long that was.
const HIDDEN: &str = "***";

pub(super) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// One space in the place of each run of Unicode's white space.
pub(super) fn collapsed(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut after_space = false;
    let stands = text.chars().all(|character| {
        let fits = !character.is_whitespace() || (character == ' ' && !after_space);
        after_space = character == ' ';
        fits
    });
    if stands {
        return text;
    }
    let mut collapsed = String::with_capacity(text.len());
    let mut after_space = false;
    for character in text.chars() {
        let space = character.is_whitespace();
        if !space {
            collapsed.push(character);
        } else if !after_space {
            collapsed.push(' ');
        }
        after_space = space;
    }
    Cow::Owned(collapsed)
}

pub(super) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() {
        if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return text;
        }
        let mut text = text.into_owned();
        text.make_ascii_lowercase();
        return Cow::Owned(text);
    }
    Cow::Owned(text.to_lowercase())
}

pub(super) fn upper(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() {
        if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return text;
        }
        let mut text = text.into_owned();
        text.make_ascii_uppercase();
        return Cow::Owned(text);
    }
    Cow::Owned(text.to_uppercase())
}

/// Each word's first letter in title case and its others in lower case, where words are those of
/// [UAX 29](https://www.unicode.org/reports/tr29/#Word_Boundaries): `o'neil` is one, `anna-maria` two.
pub(super) fn title(text: &str) -> String {
    let mapper = TitlecaseMapper::new();
    let mut titled = String::with_capacity(text.len());
    for word in text.split_word_bounds() {
        titled += &mapper.titlecase_segment_to_string(word, &LanguageIdentifier::UNKNOWN, TitlecaseOptions::default());
    }
    titled
}

/// Unicode's normal form C.
pub(super) fn nfc(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() {
        return text;
    }
    let normalizer = const { ComposingNormalizerBorrowed::new_nfc() };
    match text {
        Cow::Borrowed(text) => normalizer.normalize(text),
        Cow::Owned(text) if normalizer.is_normalized(&text) => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(normalizer.normalize(&text).into_owned()),
    }
}

/// `length` characters from `start`, which counts from the end where it is negative. A character is an extended grapheme
/// cluster, so that no letter loses its accent and no emoji its skin.
pub(super) fn slice(text: Cow<'_, str>, start: i32, length: Option<u32>) -> Cow<'_, str> {
    let bounds = Bounds::of(&text);
    let count = bounds.count();
    let distance = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let first = if start < 0 {
        count.saturating_sub(distance)
    } else {
        distance.min(count)
    };
    let length = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
    let last = first.saturating_add(length).min(count);
    let (from, to) = (bounds.at(first), bounds.at(last));
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(from..to).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(from..to).unwrap_or_default().to_owned()),
    }
}

/// `***`, after the first and before the last characters that are kept. A text that would be kept whole is hidden whole.
pub(super) fn redacted(text: &str, keep_first: usize, keep_last: usize) -> Cow<'static, str> {
    let bounds = Bounds::of(text);
    let count = bounds.count();
    let kept = keep_first.saturating_add(keep_last);
    if kept == 0 || kept >= count {
        return Cow::Borrowed(HIDDEN);
    }
    let first = text.get(..bounds.at(keep_first)).unwrap_or_default();
    let last = text.get(bounds.at(count - keep_last)..).unwrap_or_default();
    Cow::Owned(format!("{first}{HIDDEN}{last}"))
}

/// Where the characters of a text begin.
enum Bounds {
    /// Each is one byte.
    Bytes(usize),
    Graphemes {
        starts: Vec<usize>,
        end: usize,
    },
}

impl Bounds {
    fn of(text: &str) -> Bounds {
        // CR and LF together are the only cluster of several ASCII characters
        if text.is_ascii() && !text.contains('\r') {
            return Bounds::Bytes(text.len());
        }
        Bounds::Graphemes {
            starts: text.grapheme_indices(true).map(|(start, _)| start).collect(),
            end: text.len(),
        }
    }

    fn count(&self) -> usize {
        match self {
            Bounds::Bytes(count) => *count,
            Bounds::Graphemes { starts, .. } => starts.len(),
        }
    }

    fn at(&self, character: usize) -> usize {
        match self {
            Bounds::Bytes(count) => character.min(*count),
            Bounds::Graphemes { starts, end } => starts.get(character).copied().unwrap_or(*end),
        }
    }
}

/// The SHA-256 of a text's UTF-8 bytes, in lower-case hexadecimal digits.
pub(super) fn sha256(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

/// Lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            digits.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_get_a_capital_by_unicodes_rules() {
        let cases = [
            ("ada lovelace", "Ada Lovelace"),
            ("ADA LOVELACE", "Ada Lovelace"),
            ("anna-maria o'neil", "Anna-Maria O'neil"),
            ("ÉCOLE ÖZIL ßen", "École Özil Ssen"),
            ("ΑΣ ΟΔΟΣ", "Ας Οδος"),
            ("ǆungla 3RD", "ǅungla 3rd"),
            ("🦀 crab", "🦀 Crab"),
            ("李 小龍", "李 小龍"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(title(text), expected);
        }
    }

    #[test]
    fn characters_are_what_a_reader_sees() {
        let family = "a👨‍👩‍👧e\u{301}🇩🇪z";
        let cases: &[(&str, i32, Option<u32>, &str)] = &[
            ("Lovelace", 0, Some(4), "Love"),
            ("Lovelace", -4, None, "lace"),
            ("Lovelace", -4, Some(2), "la"),
            ("Lovelace", 20, Some(2), ""),
            ("Lovelace", -20, Some(2), "Lo"),
            ("Lovelace", 2, Some(u32::MAX), "velace"),
            ("Lovelace", i32::MIN, Some(0), ""),
            (family, 1, Some(1), "👨‍👩‍👧"),
            (family, 2, Some(1), "e\u{301}"),
            (family, -2, Some(1), "🇩🇪"),
            ("a\r\nb", 1, Some(1), "\r\n"),
            ("", 0, Some(1), ""),
        ];
        for (text, start, length, expected) in cases {
            assert_eq!(
                slice(Cow::Borrowed(text), *start, *length),
                *expected,
                "{text} {start} {length:?}"
            );
        }
    }

    #[test]
    fn what_is_hidden_does_not_show_how_long_it_was() {
        let cases = [
            ("4111111111111111", 0, 4, "***1111"),
            ("DE89370400440532013000", 2, 2, "DE***00"),
            ("ada@example.com", 0, 0, "***"),
            ("1234", 0, 4, "***"),
            ("12345", 0, 4, "***2345"),
            ("e\u{301}🇩🇪z", 1, 1, "e\u{301}***z"),
            ("", 0, 0, "***"),
        ];
        for (text, first, last, expected) in cases {
            assert_eq!(redacted(text, first, last), expected, "{text}");
        }
    }

    #[test]
    fn white_space_is_collapsed_and_letters_composed_where_they_need_it() {
        let cases = [
            ("a  b\u{a0}\u{2003}c\td", "a b c d"),
            ("  a ", " a "),
            ("a\u{a0}b", "a b"),
            ("a b", "a b"),
        ];
        for (text, expected) in cases {
            assert_eq!(collapsed(Cow::Borrowed(text)), expected);
        }
        let cases = [("e\u{301}", "é"), ("é", "é"), ("\u{212b}", "Å"), ("ﬁ", "ﬁ"), ("a", "a")];
        for (text, expected) in cases {
            assert_eq!(nfc(Cow::Borrowed(text)), expected);
            assert_eq!(nfc(Cow::Owned(text.to_owned())), expected);
        }
        for text in ["é", "Ada", "a b"] {
            assert!(matches!(nfc(Cow::Borrowed(text)), Cow::Borrowed(_)), "{text}");
            assert!(matches!(collapsed(Cow::Borrowed(text)), Cow::Borrowed(_)), "{text}");
        }
    }
}
