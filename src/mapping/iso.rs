//! Codes of countries and languages, by the tables of ISO 3166-1 and ISO 639.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use isolang::Language;

use super::text;
use crate::api::mapping_version::{CountryCode, LanguageCode};

pub(super) const NO_COUNTRY: &str =
    "is neither an ISO 3166-1 code nor a country's English short name there; an enum table can give others their code";
pub(super) const NO_LANGUAGE: &str =
    "is neither an ISO 639 code, nor a tag that begins with one, nor a language's English name";
pub(super) const NO_TWO_LETTERS: &str = "is a language without an ISO 639-1 code of two letters; `to: Alpha3` takes it";

/// Countries by their codes and names, all in lower case.
static COUNTRIES: LazyLock<HashMap<String, rust_iso3166::CountryCode>> = LazyLock::new(|| {
    let mut countries = HashMap::new();
    for country in rust_iso3166::ALL {
        for key in [country.alpha2, country.alpha3, country.name] {
            countries.insert(key.to_lowercase(), *country);
        }
        countries.insert(format!("{:03}", country.numeric), *country);
    }
    countries
});

/// A country's code, from any of its codes or its English short name, in whatever case.
pub(super) fn country(text: &str, to: CountryCode) -> Option<Cow<'static, str>> {
    let country = if text.len() <= 3 && text.is_ascii() {
        let mut buffer = [0; 3];
        let key = buffer.get_mut(..text.len())?;
        key.copy_from_slice(text.as_bytes());
        key.make_ascii_lowercase();
        COUNTRIES.get(std::str::from_utf8(key).ok()?)
    } else {
        COUNTRIES.get(&text.to_lowercase())
    }?;
    Some(match to {
        CountryCode::Alpha2 => Cow::Borrowed(country.alpha2),
        CountryCode::Alpha3 => Cow::Borrowed(country.alpha3),
        CountryCode::Numeric => Cow::Owned(format!("{:03}", country.numeric)),
    })
}

/// A language's code, from a code, a tag that begins with one (`de-AT`, `pt_BR`) or its English name, in whatever case.
pub(super) fn language(text: &str, to: LanguageCode) -> Result<&'static str, &'static str> {
    let lower = text::lower(Cow::Borrowed(text));
    let code = lower.split(['-', '_']).next().unwrap_or_default();
    let language = match code.len() {
        2 => Language::from_639_1(code),
        3 => Language::from_639_3(code),
        _ => Language::from_name_lowercase(&lower),
    };
    let language = language
        .or_else(|| Language::from_name_lowercase(&lower))
        .ok_or(NO_LANGUAGE)?;
    match to {
        LanguageCode::Alpha2 => language.to_639_1().ok_or(NO_TWO_LETTERS),
        LanguageCode::Alpha3 => Ok(language.to_639_3()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_known_by_codes_and_english_names_and_by_nothing_else() {
        use CountryCode::{Alpha2, Alpha3, Numeric};
        let cases: &[(&str, CountryCode, Option<&str>)] = &[
            ("DE", Alpha2, Some("DE")),
            ("de", Alpha2, Some("DE")),
            ("DEU", Alpha2, Some("DE")),
            ("276", Alpha2, Some("DE")),
            ("Germany", Alpha2, Some("DE")),
            ("GERMANY", Alpha3, Some("DEU")),
            ("af", Alpha3, Some("AFG")),
            ("Åland Islands", Alpha2, Some("AX")),
            ("DE", Numeric, Some("276")),
            ("BE", Numeric, Some("056")),
            ("056", Alpha2, Some("BE")),
            ("NA", Alpha2, Some("NA")),
            ("Deutschland", Alpha2, None),
            ("🇩🇪", Alpha2, None),
            ("XX", Alpha2, None),
            ("N/A", Alpha2, None),
            (" DE", Alpha2, None),
            ("", Alpha2, None),
        ];
        for (text, to, expected) in cases {
            assert_eq!(country(text, *to).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn languages_are_known_by_codes_tags_and_english_names() {
        use LanguageCode::{Alpha2, Alpha3};
        let cases: &[(&str, LanguageCode, Result<&str, &str>)] = &[
            ("de", Alpha2, Ok("de")),
            ("DE", Alpha2, Ok("de")),
            ("deu", Alpha2, Ok("de")),
            ("de-AT", Alpha2, Ok("de")),
            ("pt_BR", Alpha3, Ok("por")),
            ("zh-Hant-TW", Alpha2, Ok("zh")),
            ("German", Alpha2, Ok("de")),
            ("gsw", Alpha2, Err(NO_TWO_LETTERS)),
            ("gsw", Alpha3, Ok("gsw")),
            ("Ewe", Alpha2, Ok("ee")),
            ("Deutsch", Alpha2, Err(NO_LANGUAGE)),
            ("xx", Alpha2, Err(NO_LANGUAGE)),
            ("N/A", Alpha2, Err(NO_LANGUAGE)),
            ("", Alpha2, Err(NO_LANGUAGE)),
        ];
        for (text, to, expected) in cases {
            assert_eq!(language(text, *to), *expected, "{text}");
        }
    }
}
