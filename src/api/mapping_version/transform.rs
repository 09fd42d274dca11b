//! The closed list of transforms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::traits::{null_by_name, reject_null_or_keep};
use crate::api::common::SecretValue;

/// One step from the CRM's value to the trait's. A transform of text is applied to every item of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Transform {
    /// Removes white space at both ends.
    Trim {},
    /// Replaces each run of white space by one space.
    CollapseSpaces {},
    /// Lower case, by Unicode.
    Lower {},
    /// Upper case, by Unicode.
    Upper {},
    /// Upper case for the first letter of each word and lower case for the rest, by Unicode's words.
    Title {},
    /// Unicode's normal form C: one way to write each accented letter.
    Nfc {},
    /// The SHA-256 of the UTF-8 text, as 64 lower-case hexadecimal digits.
    Sha256 {},
    /// The HMAC-SHA-256 of the UTF-8 text with a key from a Secret, as 64 lower-case hexadecimal digits.
    HmacSha256(SecretValue),
    /// A part of the text, counted in characters as a reader sees them (Unicode's extended grapheme clusters), never in bytes.
    Slice {
        /// The first character: 0 is the first of the text, -1 the last.
        #[serde(default, skip_serializing_if = "is_zero")]
        start: i32,
        /// How many characters; by default all that follow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<u32>,
    },
    /// Replaces what a [regular expression](https://docs.rs/regex/latest/regex/#syntax) matches, wherever it does.
    RegexReplace {
        /// The expression. It is matched in linear time, and has no look-around and no back-references.
        #[schemars(length(min = 1, max = 1024))]
        pattern: String,
        /// What stands in its place; `$1` or `${name}` is what a group matched, `$$` a dollar sign.
        #[serde(default)]
        #[schemars(length(max = 1024))]
        replacement: String,
    },
    /// Hides text: `***` in the place of all of it, or of all but its ends. How long the text was is not to be seen.
    #[serde(rename_all = "camelCase")]
    Redact {
        /// How many characters stay at the beginning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_first: Option<u32>,
        /// How many characters stay at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_last: Option<u32>,
    },
    /// A telephone number in the form of ITU-T E.164: `+4930123456`.
    #[serde(rename_all = "camelCase")]
    E164 {
        /// The CRM field that holds the ISO 3166-1 alpha-2 code of the country a national number belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        country_from: Option<String>,
        /// The country where `countryFrom` is absent, null or not a code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = r"^[A-Z]{2}$"))]
        default: Option<String>,
    },
    /// An e-mail address, its domain in lower case and in the ASCII form of an internationalized one. The part before the `@`
    /// stays as it is.
    Email {},
    /// A URL in the normal form of the [WHATWG](https://url.spec.whatwg.org).
    #[serde(rename_all = "camelCase")]
    Url {
        /// The scheme of an address that has none, like `www.acme.example`; by default such a one is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = 32))]
        default_scheme: Option<String>,
        /// The schemes that are taken, by default `http` and `https`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 16), inner(length(max = 32)))]
        schemes: Vec<String>,
    },
    /// A country's ISO 3166-1 code, from a code of any of the three forms or from its English short name.
    IsoCountry {
        /// Which code.
        #[serde(default)]
        to: CountryCode,
    },
    /// A language's ISO 639 code, from a code of two or three letters, a tag like `de-AT` or `de_AT`, or its English name.
    IsoLanguage {
        /// Which code.
        #[serde(default)]
        to: LanguageCode,
    },
    /// A currency's ISO 4217 code of three letters, in upper case.
    IsoCurrency {},
    /// An instant from RFC 3339, or from a date or a date and time in a time zone.
    Timestamp {
        /// The IANA time zone of a value that has none, by default `UTC`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// How the value is written, by the directives of strptime: `%d.%m.%Y %H:%M`; the first one that fits is taken. By
        /// default RFC 3339 and its parts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 8), inner(length(min = 1, max = 64)))]
        formats: Vec<String>,
        /// Which instant is meant by a local time that comes twice or not at all, since clocks are set back or forward. By
        /// default that of RFC 5545: the first of two, and one that is skipped as if the clocks hadn't been set yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ambiguous: Option<AmbiguousTime>,
    },
    /// A day from `YYYY-MM-DD` or other formats, or the day that an instant is in a time zone.
    Date {
        /// How the value is written, by the directives of strptime: `%d.%m.%Y`; the first one that fits is taken.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 8), inner(length(min = 1, max = 64)))]
        formats: Vec<String>,
        /// The IANA time zone in which an instant's day is taken; without it an instant is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// An exact decimal number from a number or its text.
    #[serde(rename_all = "camelCase")]
    Decimal {
        /// The sign before the fraction, by default `.`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1))]
        decimal_separator: Option<String>,
        /// The sign between groups of digits, by default none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1))]
        group_separator: Option<String>,
    },
    /// An amount of money in its currency, rounded to the currency's minor unit by ISO 4217.
    #[serde(rename_all = "camelCase")]
    Money {
        /// The CRM field that holds the ISO 4217 code of the amount's currency.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency_from: Option<String>,
        /// The currency where neither `currencyFrom` nor the text itself (`12.50 EUR`) names one. Without `currencyFrom` and
        /// `to` it is the only one: text that names another is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 3, max = 3))]
        currency: Option<String>,
        /// The currency to convert to, by `spec.rates`; by default the amount stays in its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 3, max = 3))]
        to: Option<String>,
        /// How an amount between two minor units is rounded.
        #[serde(default)]
        rounding: Rounding,
        /// The sign before the fraction, by default `.`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1))]
        decimal_separator: Option<String>,
        /// The sign between groups of digits, by default none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1))]
        group_separator: Option<String>,
    },
    /// True or false from words, each of which must be listed, just as the CRM writes it.
    #[serde(rename_all = "camelCase")]
    Boolean {
        /// The words for true.
        #[schemars(length(max = 64), inner(length(max = 255)))]
        true_words: Vec<String>,
        /// The words for false.
        #[schemars(length(max = 64), inner(length(max = 255)))]
        false_words: Vec<String>,
    },
    /// A value by one of the mapping's tables.
    Enum {
        /// The table's name in `spec.enums`.
        table: String,
        /// What becomes of a value that the table lacks: `Reject`, `"Null"` or `Keep`, as for `onError`.
        #[serde(default, deserialize_with = "null_by_name")]
        #[schemars(schema_with = "reject_null_or_keep")]
        otherwise: Otherwise,
    },
    /// A value in place of a null.
    Default {
        /// The value, as text of the trait's type; a list's as a JSON array.
        value: String,
    },
    /// In place of a null, the first of these fields that is not null. Empty text is not null.
    Coalesce {
        /// The CRM fields, in order.
        #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 255)))]
        fields: Vec<String>,
    },
    /// The value and these fields as one text, without those that are null.
    Concat {
        /// The CRM fields that follow the value, in order.
        #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 255)))]
        fields: Vec<String>,
        /// What stands between them, by default nothing.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[schemars(length(max = 64))]
        separator: String,
    },
    /// The parts of a text, as a list, or one of them.
    Split {
        /// What stands between the parts.
        #[schemars(length(min = 1, max = 64))]
        separator: String,
        /// Only this part: 0 is the first, -1 the last. Where there is none, null.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        index: Option<i32>,
    },
    /// A multi-select's values, `A;B;C`, as a list: each once, without white space around them and without empty ones.
    MultiSelect {
        /// What stands between the values, by default `;`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 8))]
        separator: Option<String>,
    },
    /// What a JSONPath ([RFC 9535](https://www.rfc-editor.org/rfc/rfc9535)) finds in a JSON text; null where it finds nothing.
    JsonPath {
        /// The path, for example `$.address.city`.
        #[schemars(length(min = 1, max = 1024))]
        path: String,
        /// All that is found, as a list; by default more than one value is an error.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all: bool,
    },
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// Which ISO 3166-1 code of a country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CountryCode {
    /// `DE`
    #[default]
    Alpha2,
    /// `DEU`
    Alpha3,
    /// `276`
    Numeric,
}

/// Which ISO 639 code of a language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LanguageCode {
    /// ISO 639-1: `de`. A language without one is refused.
    #[default]
    Alpha2,
    /// ISO 639-3: `deu`.
    Alpha3,
}

/// How an amount between two minor units is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rounding {
    /// To the nearer, and from the middle to the even one: 0.125 → 0.12, 0.135 → 0.14.
    #[default]
    HalfEven,
    /// To the nearer, and from the middle away from zero: 0.125 → 0.13.
    HalfUp,
}

/// Which instant is meant by a local time that comes twice or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AmbiguousTime {
    /// The earlier one.
    Earlier,
    /// The later one.
    Later,
    /// Neither: such a time is refused.
    Reject,
}

/// What becomes of a value that an enum's table lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Otherwise {
    /// An error, and the trait's `onError` says what follows.
    #[default]
    Reject,
    /// Null, and the trait's `onNull` says what follows.
    Null,
    /// The value as it is.
    Keep,
}
