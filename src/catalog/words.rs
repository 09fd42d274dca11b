//! The contract's terms in plain words, for people who read no YAML.
//!
//! What is described here is taken from its serialised form, by the names that users write: a transform or a rule for which
//! there are no words yet is shown by its own name and parameters, so that the catalog never leaves out a part of the contract.

use serde::Serialize;
use serde_json::{Map, Value};

use super::model::{Fill, Names};
use crate::api::mapping_version::DependentKind;

/// One transform, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in the contract, for example `e164`.
    pub name: String,
    /// What it does.
    pub words: String,
}

/// A label and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The label.
    pub label: String,
    /// What it says.
    pub text: String,
}

/// A part of the contract as users write it.
pub(super) fn written(part: &impl Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

/// A member of it as text; empty where it is absent.
pub(super) fn member(part: &Value, name: &str) -> String {
    part.get(name).map(text).unwrap_or_default()
}

/// The name of a variant, with or without parameters.
pub(super) fn variant(part: &Value) -> (String, Map<String, Value>) {
    match part {
        Value::Object(members) => match members.iter().next() {
            Some((name, Value::Object(parameters))) => (name.clone(), parameters.clone()),
            Some((name, other)) => (name.clone(), Map::from_iter([(name.clone(), other.clone())])),
            None => Default::default(),
        },
        other => (text(other), Map::new()),
    }
}

/// The members of a part that have no place of their own in the catalog.
pub(super) fn further(part: &Value, known: &[&str]) -> Vec<Term> {
    let mut terms: Vec<Term> = part
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !known.contains(&name.as_str()))
        .map(|(name, value)| Term {
            label: sentence(&label(name)),
            text: text(value),
        })
        .collect();
    terms.sort_by(|left, right| left.label.cmp(&right.label));
    terms
}

/// What a CDP calls something.
fn called(cdp: &str, name: Option<&str>) -> Term {
    Term {
        label: format!("For {}", sentence(&label(cdp))),
        text: match name {
            Some(name) => format!("called {name}"),
            None => "left out".to_owned(),
        },
    }
}

/// How full a field is: its share, and of what.
pub(super) fn fill(fill: &Fill) -> (String, String) {
    let share = match fill.per_mille {
        0 => "None".to_owned(),
        1_000 => "All".to_owned(),
        share => format!("{}.{} %", share / 10, share % 10),
    };
    let of = format!(
        "of the {} records of {} that the pipeline {} read on {}, with version {}",
        fill.records, fill.object, fill.pipeline, fill.day, fill.version
    );
    (share, of)
}

/// What each CDP calls something that it has a name of its own for.
pub(super) fn names(names: &Names) -> Vec<Term> {
    names.iter().map(|(cdp, name)| called(cdp, name.as_deref())).collect()
}

/// A transform in words.
pub(super) fn step(transform: &Value) -> Step {
    let (name, parameters) = variant(transform);
    let words = match name.as_str() {
        "enum" => translation(&parameters),
        "default" => format!(
            "Where there is no value, take “{}”",
            parameters.get("value").map(text).unwrap_or_default()
        ),
        _ => general_step(&name, &parameters),
    };
    Step { name, words }
}

fn translation(parameters: &Map<String, Value>) -> String {
    let said = |name: &str| parameters.get(name).map(text).unwrap_or_default();
    let otherwise = match said("otherwise").as_str() {
        "Null" => "is taken as no value",
        "Keep" => "stays as it is",
        _ => "can't be used",
    };
    format!(
        "Translate by the table “{}”; a value that it lacks {otherwise}",
        said("table")
    )
}

fn general_step(name: &str, parameters: &Map<String, Value>) -> String {
    let does = match name {
        "trim" => "Remove spaces at both ends",
        "collapseSpaces" => "Turn runs of spaces into one space",
        "lower" => "Write in lower case",
        "upper" => "Write in upper case",
        "title" => "Begin each word with a capital",
        "nfc" | "unicodeNfc" => "Write accented characters in the one standard way (Unicode NFC)",
        "sha256" => "Replace by its fingerprint (SHA-256): others can match it, but not read it",
        "hmac" | "hmacSha256" => "Replace by a fingerprint made with a secret key (HMAC)",
        "e164" => "Write as an international phone number, like +4930123456",
        "email" => "Check and tidy as an e-mail address",
        "url" => "Check and tidy as a web address",
        "isoCountry" => "Write as a country code of ISO 3166",
        "isoLanguage" => "Write as a language code of ISO 639",
        "isoCurrency" => "Write as a currency code of ISO 4217",
        "timestamp" => "Read as a date and time",
        "date" => "Read as a date",
        "decimal" => "Read as a decimal number",
        "money" => "Read as an amount of money",
        "boolean" => "Read as yes or no",
        "coalesce" => "Where there is no value, take that of another field",
        "concat" => "Join with other values",
        "split" => "Take apart at a separator",
        "slice" => "Take a part of the text",
        "replace" | "regexReplace" => "Replace what fits a pattern",
        "redact" => "Hide the value, or a part of it",
        "jsonPath" => "Take a part of a structured value",
        "list" | "multiSelect" => "Turn several choices (A;B;C) into a list",
        other => &sentence(&spaced(other)),
    };
    let mut said: Vec<String> = parameters
        .iter()
        .map(|(parameter, value)| match value.as_str() {
            Some(separator) if parameter.ends_with("eparator") => format!("{}: “{separator}”", label(parameter)),
            _ => format!("{}: {}", label(parameter), text(value)),
        })
        .collect();
    said.sort();
    if said.is_empty() {
        does.to_owned()
    } else {
        format!("{does} ({})", said.join("; "))
    }
}

/// A trait's type, or a property's; `items` is the type of a list's.
pub(super) fn kind(kind: &str, items: &str) -> String {
    let words = match kind {
        "String" => "Text",
        "Integer" => "Whole number",
        "Decimal" => "Decimal number",
        "Boolean" => "Yes or no",
        "Timestamp" => "Date and time",
        "Money" => "Amount of money",
        "Enum" => "One of a list",
        "Json" => "Structured data",
        other => other,
    };
    if items.is_empty() {
        words.into()
    } else {
        format!("{words} of: {}", self::kind(items, "").to_lowercase())
    }
}

/// What becomes of a value that is not there.
pub(super) fn on_null(rule: &str) -> String {
    match rule {
        "Keep" => "Nothing is sent: destinations keep the value they had.".into(),
        "Unset" => "The value is removed at the destinations.".into(),
        "Reject" => "The whole record is held back until somebody looks at it.".into(),
        "Default" => "A standard value is sent.".into(),
        other => sentence(&spaced(other)),
    }
}

/// What becomes of a value that can't be used.
pub(super) fn on_error(rule: &str) -> String {
    match rule {
        "Keep" => "Nothing is sent: destinations keep the value they had.".into(),
        "Null" => "It is taken as no value.".into(),
        "Reject" => "The whole record is held back until somebody looks at it.".into(),
        other => sentence(&spaced(other)),
    }
}

/// What a classification means.
pub(super) fn classification(name: &str) -> &'static str {
    match name {
        "Public" => "May be published.",
        "Internal" => "For the company's own people.",
        "Personal" => "Says something about a person who can be named.",
        "Sensitive" => "A special category, such as health or belief: the strictest of all.",
        _ => "",
    }
}

/// What rests on a trait, for example `Computed trait`.
pub(super) fn dependent(kind: DependentKind) -> String {
    sentence(&spaced(&text(&written(&kind))))
}

/// When an event happens.
pub(super) fn trigger(when: &Value) -> String {
    let (name, parameters) = variant(when);
    let says = parameters
        .values()
        .map(text)
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    match (name.as_str(), says.as_str()) {
        ("changed", field) => format!("When the field {field} changes"),
        ("created", "") => "When the record is first seen".into(),
        ("created", says) => format!("When the record is first seen, and {says}"),
        (_, "") => sentence(&spaced(&name)),
        (_, says) => format!("{}: {says}", sentence(&spaced(&name))),
    }
}

/// A value of the contract as text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let mut said: Vec<String> = members
                .iter()
                .map(|(name, value)| match text(value) {
                    empty if empty.is_empty() => spaced(name),
                    text => format!("{}: {text}", label(name)),
                })
                .collect();
            said.sort();
            said.join("; ")
        }
    }
}

/// `Contact`'s or `preferred_language`'s words with a capital first.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    match letters.next() {
        None => String::new(),
        Some(first) => first.to_uppercase().chain(letters).collect(),
    }
}

/// A member's name in words.
fn label(name: &str) -> String {
    match name {
        "countryFrom" => "country from the field".into(),
        "currencyFrom" => "currency from the field".into(),
        "zone" => "time zone".into(),
        "default" => "otherwise".into(),
        "decimalSeparator" => "before the fraction".into(),
        "groupSeparator" => "between groups of digits".into(),
        "blockWhenSharedBy" => "identifies nobody once shared by so many records".into(),
        "blockValues" => "identifies nobody".into(),
        "at" => "time from the field".into(),
        "legalBasis" => "legal basis".into(),
        "when" => "where".into(),
        "granted" => "granted if".into(),
        "expect" => "quality checks".into(),
        "trueWords" => "yes is written".into(),
        "falseWords" => "no is written".into(),
        "secretKeyRef" => "the key is in the Secret".into(),
        "from" => "from the field".into(),
        other => spaced(other),
    }
}

/// `legalBasis` as `legal basis`.
fn spaced(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before_is_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && before_is_lower {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else {
            words.push(letter);
        }
        before_is_lower = letter.is_lowercase() || letter.is_ascii_digit();
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_transform_is_told_in_words_and_one_that_is_new_by_its_own_name() {
        let cases = [
            (json!({"trim": {}}), "Remove spaces at both ends"),
            (
                json!({"e164": {"countryFrom": "MailingCountry", "default": "DE"}}),
                "Write as an international phone number, like +4930123456 (country from the field: MailingCountry; otherwise: DE)",
            ),
            (
                json!({"enum": {"table": "lifecycle", "otherwise": "Reject"}}),
                "Translate by the table “lifecycle”; a value that it lacks can't be used",
            ),
            (
                json!({"default": {"value": "unknown"}}),
                "Where there is no value, take “unknown”",
            ),
            (
                json!({"soundLike": {"maxLength": 4, "also": ["a", "b"]}}),
                "Sound like (also: a, b; max length: 4)",
            ),
        ];
        for (transform, words) in cases {
            assert_eq!(step(&transform).words, words);
        }
    }

    #[test]
    fn a_trigger_is_told_in_words() {
        let cases = [
            (json!({"changed": "StageName"}), "When the field StageName changes"),
            (json!({"created": {}}), "When the record is first seen"),
            (json!({"cel": "current.Amount > 5"}), "Cel: current.Amount > 5"),
        ];
        for (when, words) in cases {
            assert_eq!(trigger(&when), words);
        }
    }
}
