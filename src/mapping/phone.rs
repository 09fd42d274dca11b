//! Telephone numbers by the numbering plans that Google's libphonenumber publishes.
//!
//! The plans are in the binary (230 kB) and unpacked when a mapping with an `e164` transform is compiled: 10 ms and 4.5 MB.
//! Their patterns are compiled with `regex-lite`, one country's when a number of it first comes by: 12 MB for all of the
//! world's, where `regex` takes 130 MB and more for every thread. What that costs in time, [`plain`] wins back: it reads
//! the forms that most numbers are written in by hand, and leaves the library only the question whether there is such a
//! number.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};

pub(super) const NOT_A_NUMBER: &str = "is not a valid telephone number of its country";

/// No telephone number with its country code, national prefix, spaces and extension is longer.
const LONGEST: usize = 64;

/// The digits of the longest number and its prefix.
const MOST_DIGITS: usize = 17;

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
    plain(text, country).or_else(|| any(text, country))
}

/// A number in whatever form the library can read.
fn any(text: &str, country: Option<Region>) -> Option<String> {
    let number = PHONE_NUMBER_UTIL.parse(text, country).ok()?;
    PHONE_NUMBER_UTIL
        .is_valid_number(&number)
        .then(|| PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned())
}

/// A number in one of the plain forms: `+`, country code and number; or the number alone, after the national prefix where
/// its country has one. Between the digits stand only signs that mean nothing.
///
/// It takes only what is a valid number read in this way, and finds what the library finds; a test holds the two together.
fn plain(text: &str, country: Option<Region>) -> Option<String> {
    let text = text.trim_ascii();
    let (international, text) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut buffer = [0; MOST_DIGITS];
    let mut length = 0;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                *buffer.get_mut(length)? = byte;
                length += 1;
            }
            b' ' | b'-' | b'.' | b'/' | b'(' | b')' => {}
            _ => return None,
        }
    }
    let digits = std::str::from_utf8(buffer.get(..length)?).ok()?;
    let (country_code, national) = if international {
        // no country's code begins another's
        (1..=3).find_map(|length| {
            let (code, rest) = digits.split_at_checked(length)?;
            let code = code.parse().ok()?;
            PHONE_NUMBER_UTIL
                .get_region_for_country_code(code)
                .map(|_| (code, rest))
        })?
    } else {
        let country = country?;
        let national = Prefix::of(country)?.strip(digits)?;
        (PHONE_NUMBER_UTIL.get_country_code_for_region(country)?, national)
    };
    // a zero here is a prefix that doesn't belong, or Italian: the library knows
    if national.starts_with('0') {
        return None;
    }
    let number = PhoneNumber {
        country_code,
        national_number: national.parse().ok()?,
        ..PhoneNumber::default()
    };
    PHONE_NUMBER_UTIL
        .is_valid_number(&number)
        .then(|| format!("+{country_code}{national}"))
}

/// How a country's numbers are dialled within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    /// `0` before the number, and calls abroad begin with `00`.
    Zero,
    /// `1` before the number or nothing, and the number begins with neither 0 nor 1.
    North,
    /// Nothing, and calls abroad begin with `00`.
    None,
}

impl Prefix {
    /// The countries whose prefix is just that, without operators' codes or rules of their own.
    fn of(country: Region) -> Option<Prefix> {
        let region = country.as_region_str();
        let is_in = |countries: &[&str]| countries.binary_search(&&*region).is_ok();
        if is_in(&ZERO) {
            Some(Prefix::Zero)
        } else if is_in(&["CA", "US"]) {
            Some(Prefix::North)
        } else if is_in(&NOTHING) {
            Some(Prefix::None)
        } else {
            None
        }
    }

    /// The number after the prefix; none where the prefix lacks.
    fn strip(self, digits: &str) -> Option<&str> {
        match self {
            Prefix::Zero => digits.strip_prefix('0'),
            Prefix::North => {
                let number = digits.strip_prefix('1').unwrap_or(digits);
                (number.len() == 10 && number.as_bytes()[0] > b'1').then_some(number)
            }
            Prefix::None => Some(digits),
        }
    }
}

/// Countries of [`Prefix::Zero`], in alphabetical order.
#[rustfmt::skip]
const ZERO: [&str; 92] = [
    "AE", "AF", "AL", "AM", "AT", "AX", "AZ", "BA", "BD", "BE", "BG", "BL", "CD", "CH", "DE", "DZ",
    "EC", "EG", "EH", "ER", "ET", "FI", "FR", "GB", "GE", "GF", "GH", "GP", "HR", "ID", "IE", "IN",
    "IQ", "IR", "JO", "KE", "KG", "KH", "KI", "KP", "LA", "LB", "LK", "LR", "LY", "MA", "MC", "MD",
    "ME", "MF", "MK", "MM", "MN", "MQ", "MW", "MY", "NA", "NG", "NL", "NP", "PE", "PH", "PK", "PM",
    "PS", "PY", "RE", "RO", "RS", "RW", "SA", "SD", "SE", "SI", "SK", "SL", "SO", "SS", "SY", "TH",
    "TR", "TZ", "UA", "UG", "VE", "VN", "XK", "YE", "YT", "ZA", "ZM", "ZW",
];

/// Countries of [`Prefix::None`], in alphabetical order.
#[rustfmt::skip]
const NOTHING: [&str; 78] = [
    "AC", "AD", "AO", "AW", "BF", "BH", "BI", "BJ", "BN", "BQ", "BT", "BW", "BZ", "CF", "CG", "CI",
    "CK", "CM", "CW", "CY", "CZ", "DJ", "DK", "EE", "ES", "FK", "FM", "GI", "GL", "GM", "GN", "GQ",
    "GR", "GT", "GW", "HN", "HT", "IO", "IT", "KM", "KW", "LS", "LV", "ML", "MO", "MR", "MT", "MZ",
    "NC", "NE", "NI", "NO", "NR", "NU", "OM", "PA", "PF", "PL", "PT", "QA", "SH", "SJ", "SN", "SR",
    "ST", "SV", "SZ", "TA", "TG", "TK", "TL", "TN", "TO", "TV", "UZ", "VA", "VU", "WF",
];

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

    #[test]
    fn plain_forms_read_by_hand_are_what_the_library_reads() {
        use rlibphonenumber::PhoneNumberType::{
            FixedLine, Mobile, Pager, PersonalNumber, PremiumRate, SharedCost, TollFree, UAN, VoIP, VoiceMail,
        };
        assert!(ZERO.is_sorted() && NOTHING.is_sorted());
        let mut by_hand = 0;
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            for kind in [
                FixedLine,
                Mobile,
                Pager,
                PersonalNumber,
                PremiumRate,
                SharedCost,
                TollFree,
                UAN,
                VoIP,
                VoiceMail,
            ] {
                let Ok(number) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind) else {
                    continue;
                };
                let e164 = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned();
                let digits = rlibphonenumber::get_national_significant_number_owned(&number);
                let international = PHONE_NUMBER_UTIL
                    .format(&number, PhoneNumberFormat::International)
                    .into_owned();
                let national = PHONE_NUMBER_UTIL
                    .format(&number, PhoneNumberFormat::National)
                    .into_owned();
                let abroad = format!("00{}", &e164[1..]);
                let doubled = format!("{} (0) {digits}", &e164[..e164.len() - digits.len()]);
                let prefixed = ["0", "1", "8"].map(|prefix| format!("{prefix}{digits}"));
                let longer = digits.clone() + &digits[..1];
                let texts = [e164, digits, international, national, abroad, doubled, longer];
                for text in texts.iter().chain(&prefixed) {
                    if let Some(number) = plain(text, Some(region)) {
                        by_hand += 1;
                        assert_eq!(Some(number), any(text, Some(region)), "{text} in {region}");
                    }
                }
            }
        }
        assert!(by_hand > 3_000, "only {by_hand} of some 11,000 were plain");
    }
}
