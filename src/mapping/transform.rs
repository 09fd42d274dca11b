//! The transforms: the closed list of what can be done to a value without an expression.
//!
//! Each takes the value that the one before it left. Null passes through all of them but `default`. What changes nothing
//! copies nothing: text stays borrowed from the page that it was read from.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use jiff::tz::TimeZone;
use rlibphonenumber::Region;
use sha2::{Digest, Sha256};

use super::error::{Errors, did_you_mean};
use super::fields::Fields;
use super::typed::{Current, Kinds, Rule};
use super::{instant, number, phone};
use crate::api::mapping_version::{Otherwise, TraitType, Transform};
use crate::record::Field;

/// One compiled transform.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// `trim`: `" Ada "` → `"Ada"`, by Unicode's white space.
    Trim,
    /// `lower`: `"ADA@Example.COM"` → `"ada@example.com"`.
    Lower,
    /// `upper`: `"de"` → `"DE"`, `"ß"` → `"SS"`.
    Upper,
    /// `sha256`: `"ada@example.com"` → `"b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72"`.
    Sha256,
    /// `e164: {countryFrom: MailingCountry, default: DE}`: `"030 123456"` → `"+4930123456"`.
    E164 {
        country: Option<usize>,
        default: Option<Region>,
    },
    /// `timestamp: {zone: Europe/Berlin}`: `"2020-01-31"` → `2020-01-30T23:00:00Z`.
    Timestamp { zone: TimeZone },
    /// `decimal: {decimalSeparator: ",", groupSeparator: "."}`: `"1.234,50"` → `1234.5`.
    Decimal {
        decimal_separator: char,
        group_separator: Option<char>,
    },
    /// `enum: {table: lifecycle}`: `"Customer"` → what the table says.
    Enum {
        table: HashMap<String, String>,
        otherwise: Otherwise,
        unknown: String,
    },
    /// `default: {value: unknown}`: null → `"unknown"`.
    Default { value: Current<'static> },
}

impl Step {
    /// Compiles one transform of a chain that ends in `kind`, and moves `kinds` on from what comes into the transform to
    /// what leaves it.
    pub fn compile(
        transform: &Transform,
        kind: TraitType,
        tables: &BTreeMap<String, BTreeMap<String, String>>,
        path: &str,
        kinds: &mut Kinds,
        fields: &mut Fields,
        errors: &mut Errors,
    ) -> Step {
        let text = Kinds::FIELD.or(Kinds::TEXT).or(Kinds::INTEGER);
        let (name, accepted, leaves) = match transform {
            Transform::Trim {} => ("trim", text, Kinds::TEXT),
            Transform::Lower {} => ("lower", text, Kinds::TEXT),
            Transform::Upper {} => ("upper", text, Kinds::TEXT),
            Transform::Sha256 {} => ("sha256", text, Kinds::TEXT),
            Transform::E164 { .. } => ("e164", text, Kinds::TEXT),
            Transform::Enum { .. } => ("enum", text.or(Kinds::BOOLEAN), Kinds::TEXT),
            Transform::Timestamp { .. } => (
                "timestamp",
                Kinds::FIELD.or(Kinds::TEXT).or(Kinds::TIMESTAMP),
                Kinds::TIMESTAMP,
            ),
            Transform::Decimal { .. } => ("decimal", text.or(Kinds::DECIMAL), Kinds::DECIMAL),
            Transform::Default { .. } => ("default", *kinds, kinds.or(Kinds::of(kind))),
        };
        if let Some(stray) = kinds.outside(accepted) {
            errors.add(
                path,
                format!("{name} can't take {stray}, which is what it may get here"),
            );
        }
        *kinds = leaves;
        match transform {
            Transform::Trim {} => Step::Trim,
            Transform::Lower {} => Step::Lower,
            Transform::Upper {} => Step::Upper,
            Transform::Sha256 {} => Step::Sha256,
            Transform::E164 { country_from, default } => {
                let country = country_from
                    .as_ref()
                    .map(|from| fields.index(from, &format!("{path}.e164.countryFrom"), errors));
                let region = default.as_ref().and_then(|code| {
                    let region = phone::country(code);
                    if region.is_none() {
                        errors.add(
                            format_args!("{path}.e164.default"),
                            format!("{code:?} is no country with a numbering plan; give its ISO 3166-1 alpha-2 code, like DE"),
                        );
                    }
                    region
                });
                Step::E164 {
                    country,
                    default: region,
                }
            }
            Transform::Timestamp { zone } => Step::Timestamp {
                zone: match zone {
                    None => TimeZone::UTC,
                    Some(name) => TimeZone::get(name).unwrap_or_else(|_| {
                        let known = jiff::tz::db()
                            .available()
                            .map(|zone| zone.to_string())
                            .collect::<Vec<_>>();
                        let hint = did_you_mean(name, known.iter().map(String::as_str));
                        errors.add(
                            format_args!("{path}.timestamp.zone"),
                            format!("no time zone {name:?} in the IANA database{hint}"),
                        );
                        TimeZone::UTC
                    }),
                },
            },
            Transform::Decimal {
                decimal_separator,
                group_separator,
            } => {
                let mut separator = |key: &str, text: &Option<String>| {
                    let text = text.as_ref()?;
                    let mut characters = text.chars();
                    match (characters.next(), characters.next()) {
                        (Some(single), None) if !single.is_alphanumeric() && !"+-".contains(single) => Some(single),
                        _ => {
                            errors.add(
                                format_args!("{path}.decimal.{key}"),
                                format!("{text:?} is not one character that is neither a letter, a digit nor a sign"),
                            );
                            None
                        }
                    }
                };
                let decimal_separator = separator("decimalSeparator", decimal_separator).unwrap_or('.');
                let group_separator = separator("groupSeparator", group_separator);
                if group_separator == Some(decimal_separator) {
                    errors.add(
                        format_args!("{path}.decimal.groupSeparator"),
                        format!("{decimal_separator:?} is the decimal separator as well"),
                    );
                }
                Step::Decimal {
                    decimal_separator,
                    group_separator,
                }
            }
            Transform::Enum { table, otherwise } => {
                let entries = tables.get(table).unwrap_or_else(|| {
                    let hint = did_you_mean(table, tables.keys().map(String::as_str));
                    errors.add(
                        format_args!("{path}.enum.table"),
                        format!("no enum table {table:?}{hint}"),
                    );
                    const { &BTreeMap::new() }
                });
                Step::Enum {
                    table: entries.iter().map(|(from, to)| (from.clone(), to.clone())).collect(),
                    otherwise: *otherwise,
                    unknown: format!("enum table {table:?} has no such value"),
                }
            }
            Transform::Default { value } => Step::Default {
                value: Current::parse(value, kind).unwrap_or_else(|rule| {
                    errors.add(
                        format_args!("{path}.default.value"),
                        format!("{value:?} {rule}, and the type is {kind:?}"),
                    );
                    Current::Null
                }),
            },
        }
    }

    /// Applies the transform to a value of the record with these fields.
    pub fn apply<'m>(&'m self, value: Current<'m>, fields: &'m [Field<'m>]) -> Result<Current<'m>, Rule<'m>> {
        match (self, value) {
            (Step::Default { value }, Current::Null) => Ok(value.clone()),
            (_, Current::Null) => Ok(Current::Null),
            (Step::Default { .. }, value) => Ok(value),
            (Step::Trim, value) => value.text().map(|text| Current::Text(trimmed(text))),
            (Step::Lower, value) => value.text().map(|text| Current::Text(lower(text))),
            (Step::Upper, value) => value.text().map(|text| Current::Text(upper(text))),
            (Step::Sha256, value) => value.text().map(|text| Current::Text(Cow::Owned(sha256(&text)))),
            (Step::E164 { country, default }, value) => {
                let text = value.text()?;
                let named = match country.and_then(|field| fields.get(field)) {
                    Some(Field::Text(code)) => phone::country(code.trim()),
                    _ => None,
                };
                match phone::e164(&text, named.or(*default)) {
                    Some(number) if number == text => Ok(Current::Text(text)),
                    Some(number) => Ok(Current::Text(Cow::Owned(number))),
                    None => Err(Cow::Borrowed(phone::NOT_A_NUMBER)),
                }
            }
            (Step::Timestamp { .. }, Current::Timestamp(timestamp)) => Ok(Current::Timestamp(timestamp)),
            (Step::Timestamp { zone }, Current::Text(text)) => instant::instant_in(&text, zone)
                .map(Current::Timestamp)
                .ok_or(Cow::Borrowed(instant::NOT_A_LOCAL_TIME)),
            (Step::Timestamp { .. }, _) => Err(Cow::Borrowed(instant::NOT_A_LOCAL_TIME)),
            (Step::Decimal { .. }, Current::Decimal(decimal)) => Ok(Current::Decimal(decimal)),
            (Step::Decimal { .. }, Current::Integer(integer)) => Ok(Current::Decimal(integer.into())),
            (Step::Decimal { .. }, Current::Digits(digits)) => {
                number::decimal(digits).map(Current::Decimal).map_err(Cow::Borrowed)
            }
            (
                Step::Decimal {
                    decimal_separator,
                    group_separator,
                },
                value,
            ) => number::plain_digits(&value.text()?, *decimal_separator, *group_separator)
                .and_then(|digits| number::decimal(&digits))
                .map(Current::Decimal)
                .map_err(Cow::Borrowed),
            (
                Step::Enum {
                    table,
                    otherwise,
                    unknown,
                },
                value,
            ) => {
                let key = match value {
                    Current::Boolean(boolean) => Cow::Borrowed(if boolean { "true" } else { "false" }),
                    value => value.text()?,
                };
                match (table.get(&*key), otherwise) {
                    (Some(canonical), _) => Ok(Current::Text(Cow::Borrowed(canonical))),
                    (None, Otherwise::Keep) => Ok(Current::Text(key)),
                    (None, Otherwise::Null) => Ok(Current::Null),
                    (None, Otherwise::Reject) => Err(Cow::Borrowed(unknown)),
                }
            }
        }
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
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

fn upper(text: Cow<'_, str>) -> Cow<'_, str> {
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

/// The SHA-256 of a text's UTF-8 bytes, in lower-case hexadecimal digits.
fn sha256(text: &str) -> String {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        for nibble in [byte >> 4, byte & 15] {
            digits.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::error::CompileError;

    fn compile(yaml: &str, kind: TraitType) -> (Step, Kinds, Vec<CompileError>) {
        let transform: Transform = serde_saphyr::from_str(yaml).expect(yaml);
        let lifecycle = [("Customer", "customer"), ("true", "yes")].map(|(from, to)| (from.to_owned(), to.to_owned()));
        let tables = BTreeMap::from([("lifecycle".to_owned(), BTreeMap::from(lifecycle))]);
        let (mut kinds, mut errors) = (Kinds::FIELD, Errors::default());
        let mut fields = Fields {
            names: vec!["Phone".to_owned(), "MailingCountry".to_owned()],
            uses: Vec::new(),
        };
        let step = Step::compile(&transform, kind, &tables, "t", &mut kinds, &mut fields, &mut errors);
        (step, kinds, errors.into_vec())
    }

    fn text(text: &str) -> Field<'_> {
        Field::Text(Cow::Borrowed(text))
    }

    #[test]
    fn each_transform_does_one_thing_to_a_value() {
        use TraitType::{Decimal, Integer, String, Timestamp};
        let sha = "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72";
        let cases: Vec<(&str, TraitType, Field, Result<std::string::String, &str>)> = vec![
            ("trim: {}", String, text(" \u{a0}Ada\n"), Ok("Text(\"Ada\")".into())),
            ("trim: {}", String, text("  "), Ok("Text(\"\")".into())),
            ("trim: {}", String, Field::Null, Ok("Null".into())),
            ("trim: {}", String, Field::Number("7"), Ok("Text(\"7\")".into())),
            (
                "trim: {}",
                String,
                Field::Boolean(true),
                Err("is true or false, not text"),
            ),
            (
                "lower: {}",
                String,
                text("Ada@Example.COM"),
                Ok("Text(\"ada@example.com\")".into()),
            ),
            ("lower: {}", String, text("ÄÖÜ ΑΣ"), Ok("Text(\"äöü ας\")".into())),
            ("upper: {}", String, text("de"), Ok("Text(\"DE\")".into())),
            ("upper: {}", String, text("groß"), Ok("Text(\"GROSS\")".into())),
            (
                "sha256: {}",
                String,
                text("ada@example.com"),
                Ok(format!("Text({sha:?})")),
            ),
            ("sha256: {}", String, Field::Null, Ok("Null".into())),
            (
                "e164: {}",
                String,
                text("+49 30 123456"),
                Ok("Text(\"+4930123456\")".into()),
            ),
            ("e164: {}", String, text("030 123456"), Err(phone::NOT_A_NUMBER)),
            (
                "e164: {default: DE}",
                String,
                text("030 123456"),
                Ok("Text(\"+4930123456\")".into()),
            ),
            (
                "e164: {default: DE}",
                String,
                Field::Number("30123456"),
                Ok("Text(\"+4930123456\")".into()),
            ),
            (
                "timestamp: {zone: Europe/Berlin}",
                Timestamp,
                text("2020-01-31"),
                Ok("Timestamp(2020-01-30T23:00:00Z)".into()),
            ),
            (
                "timestamp: {}",
                Timestamp,
                text("2020-01-31"),
                Ok("Timestamp(2020-01-31T00:00:00Z)".into()),
            ),
            (
                "timestamp: {}",
                Timestamp,
                text("yesterday"),
                Err(instant::NOT_A_LOCAL_TIME),
            ),
            (
                "timestamp: {}",
                Timestamp,
                Field::Number("1"),
                Err(instant::NOT_A_LOCAL_TIME),
            ),
            (
                "decimal: {}",
                Decimal,
                Field::Number("12.50"),
                Ok("Decimal(12.5)".into()),
            ),
            (
                "decimal: {decimalSeparator: \",\", groupSeparator: \".\"}",
                Decimal,
                text("1.234,50"),
                Ok("Decimal(1234.5)".into()),
            ),
            (
                "decimal: {decimalSeparator: \",\"}",
                Decimal,
                text("1.5"),
                Err(number::NOT_A_NUMBER),
            ),
            (
                "decimal: {}",
                Decimal,
                Field::Boolean(true),
                Err("is true or false, not text"),
            ),
            (
                "enum: {table: lifecycle}",
                String,
                text("Customer"),
                Ok("Text(\"customer\")".into()),
            ),
            (
                "enum: {table: lifecycle}",
                String,
                text("customer"),
                Err("enum table \"lifecycle\" has no such value"),
            ),
            (
                "enum: {table: lifecycle, otherwise: Null}",
                String,
                text("x"),
                Ok("Null".into()),
            ),
            (
                "enum: {table: lifecycle, otherwise: Keep}",
                String,
                text("x"),
                Ok("Text(\"x\")".into()),
            ),
            (
                "enum: {table: lifecycle}",
                String,
                Field::Boolean(true),
                Ok("Text(\"yes\")".into()),
            ),
            (
                "default: {value: none}",
                String,
                Field::Null,
                Ok("Text(\"none\")".into()),
            ),
            ("default: {value: none}", String, text(""), Ok("Text(\"\")".into())),
            ("default: {value: '7'}", Integer, Field::Null, Ok("Integer(7)".into())),
            (
                "default: {value: '7'}",
                Integer,
                Field::Number("8"),
                Ok("Digits(\"8\")".into()),
            ),
        ];
        for (yaml, kind, field, expected) in &cases {
            let (step, _, errors) = compile(yaml, *kind);
            assert_eq!(errors, [], "{yaml}");
            let fields = [field.clone(), Field::Null];
            let applied = step
                .apply(Current::of(&fields[0]), &fields)
                .map(|value| format!("{value:?}"));
            assert_eq!(
                applied.map_err(Cow::into_owned),
                expected.clone().map_err(str::to_owned),
                "{yaml} of {field:?}"
            );
        }
    }

    #[test]
    fn a_numbers_country_is_the_fields_code_or_else_the_default() {
        let (step, _, _) = compile("e164: {countryFrom: MailingCountry, default: DE}", TraitType::String);
        let cases = [
            (text("US"), Some("+16502530000")),
            (text(" us "), Some("+16502530000")),
            (text("United States"), Some("+496502530000")),
            (Field::Null, Some("+496502530000")),
            (Field::Boolean(true), Some("+496502530000")),
        ];
        for (country, expected) in cases {
            let fields = [text("(650) 253-0000"), country];
            let applied = step.apply(Current::of(&fields[0]), &fields).ok();
            assert_eq!(
                applied,
                expected.map(|number| Current::Text(Cow::Borrowed(number))),
                "{:?}",
                fields[1]
            );
        }
    }

    #[test]
    fn what_a_transform_leaves_alone_stays_borrowed() {
        for (yaml, unchanged) in [
            ("trim: {}", "Ada Lovelace"),
            ("trim: {}", " Ada "),
            ("lower: {}", "ada@example.com"),
            ("upper: {}", "DE 1"),
            ("e164: {}", "+4930123456"),
            ("enum: {table: lifecycle, otherwise: Keep}", "x"),
            ("enum: {table: lifecycle}", "Customer"),
        ] {
            let fields = [text(unchanged)];
            let (step, _, _) = compile(yaml, TraitType::String);
            let applied = step.apply(Current::of(&fields[0]), &fields);
            assert!(
                matches!(applied, Ok(Current::Text(Cow::Borrowed(_)))),
                "{yaml}: {applied:?}"
            );
        }
    }

    #[test]
    fn settings_that_mean_nothing_are_compile_errors() {
        let cases = [
            (
                "enum: {table: lifecyle}",
                "t.enum.table: no enum table \"lifecyle\"; did you mean \"lifecycle\"?",
            ),
            (
                "timestamp: {zone: Europe/Berln}",
                "t.timestamp.zone: no time zone \"Europe/Berln\" in the IANA database; did you mean \"Europe/Berlin\"?",
            ),
            (
                "e164: {default: ZZ}",
                "t.e164.default: \"ZZ\" is no country with a numbering plan; give its ISO 3166-1 alpha-2 code, like DE",
            ),
            (
                "e164: {countryFrom: Account.BillingCountry}",
                "t.e164.countryFrom: \"Account.BillingCountry\": only the object's own fields, as they are now, can be read; no dot can be in their names",
            ),
            (
                "decimal: {decimalSeparator: x}",
                "t.decimal.decimalSeparator: \"x\" is not one character that is neither a letter, a digit nor a sign",
            ),
            (
                "decimal: {groupSeparator: .}",
                "t.decimal.groupSeparator: '.' is the decimal separator as well",
            ),
            (
                "default: {value: many}",
                "t.default.value: \"many\" is not a decimal number, and the type is Integer",
            ),
        ];
        for (yaml, expected) in cases {
            let (_, _, errors) = compile(yaml, TraitType::Integer);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, [expected], "{yaml}");
        }
    }
}
