//! The closed list of transforms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::traits::{null_by_name, reject_null_or_keep};

/// One step from the CRM's value to the trait's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Transform {
    /// Removes white space at both ends.
    Trim {},
    /// Lower case, by Unicode.
    Lower {},
    /// Upper case, by Unicode.
    Upper {},
    /// The SHA-256 of the UTF-8 text, as 64 lower-case hexadecimal digits.
    Sha256 {},
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
    /// An instant from RFC 3339, or from a date or a date and time in a time zone.
    Timestamp {
        /// The IANA time zone of a value that has none, by default `UTC`.
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
        /// The value, as text of the trait's type.
        value: String,
    },
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
