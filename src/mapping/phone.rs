//! Telephone numbers by the numbering plans that Google's libphonenumber publishes.
//!
//! The plans are in the binary (230 kB) and unpacked when the first number is read. The pattern of a country is compiled
//! when a number of it comes by; only a mapping with an `e164` transform pays for either.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

pub(super) const NOT_A_NUMBER: &str = "is not a valid telephone number of its country";

/// No telephone number with its country code, national prefix, spaces and extension is longer.
const LONGEST: usize = 64;

/// A country by its ISO 3166-1 alpha-2 code, if there is a numbering plan for it. A name like `Germany` is no code.
pub(super) fn country(code: &str) -> Option<Region> {
    if code.len() != 2 {
        return None;
    }
    let region = Region::from_code(&code.to_ascii_uppercase()).ok()?;
    PHONE_NUMBER_UTIL.get_country_code_for_region(region).map(|_| region)
}

/// The number in the form of ITU-T E.164, if the numbering plan of its country has such a number. A number that does not
/// begin with `+` (or that country's own prefix for calls abroad) belongs to `country`. An extension is dropped: E.164
/// has none.
pub(super) fn e164(text: &str, country: Option<Region>) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let number = PHONE_NUMBER_UTIL.parse(text, country).ok()?;
    PHONE_NUMBER_UTIL
        .is_valid_number(&number)
        .then(|| PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_codes_and_not_names() {
        let cases = [
            ("DE", true),
            ("de", true),
            ("US", true),
            ("ZZ", false),
            ("Germany", false),
            ("DEU", false),
            ("", false),
            ("ß", false),
        ];
        assert_eq!(cases.map(|(code, _)| (code, country(code).is_some())), cases);
    }

    #[test]
    fn numbers_are_read_by_the_plan_of_their_country() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("030 123456", "DE", Some("+4930123456")),
            ("+49 30 123456", "", Some("+4930123456")),
            ("+49 30 123456", "US", Some("+4930123456")),
            ("0049 30 123456", "DE", Some("+4930123456")),
            ("(650) 253-0000", "US", Some("+16502530000")),
            ("(650) 253-0000 ext. 12", "US", Some("+16502530000")),
            ("02 1234 5678", "IT", Some("+390212345678")),
            ("tel:+44-20-7031-3000", "", Some("+442070313000")),
            ("030 123456", "", None),
            ("123", "DE", None),
            ("not a number", "DE", None),
            ("", "DE", None),
            ("+", "DE", None),
            ("+999 123456", "DE", None),
        ];
        for (text, code, expected) in cases {
            assert_eq!(e164(text, country(code)).as_deref(), *expected, "{text} {code}");
        }
    }

    #[test]
    fn a_text_longer_than_any_number_is_refused_unread() {
        assert_eq!(e164(&"1".repeat(100_000), country("US")), None);
    }
}
