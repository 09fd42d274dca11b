//! What differs between what was expected and what came of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::example::Example;
use super::mapped::Outcome;
use super::shown;

/// A line for each difference: `- ` what was expected, `+ ` what came of it.
pub(super) fn differences(example: &Example, outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    match (outcome, &example.expect, &example.rejected) {
        (Outcome::Mapped(items), Some(expected), _) => {
            let parts = [
                ("identity", &expected.identity),
                ("group", &expected.group),
                ("subject", &expected.subject),
                ("traits", &expected.traits),
            ];
            for (name, part) in parts {
                if let Some(part) = part {
                    differ(name, Some(part), items.get(name), &mut lines);
                }
            }
            if let Some(consent) = &expected.consent {
                let found = with_reasons(consent, items);
                differ("consent", Some(consent), Some(&found), &mut lines);
            }
            if let Some(suppressed) = expected.suppressed {
                differ(
                    "suppressed",
                    Some(&json!(suppressed)),
                    items.get("suppressed"),
                    &mut lines,
                );
            }
            if let Some(events) = &expected.events {
                differ_in_events(events, &items["events"], &mut lines);
            }
        }
        (Outcome::Rejected(rejection), None, Some(expected)) => {
            if rejection.path != expected.path {
                lines.push(format!("- rejected by {}", expected.path));
                lines.push(format!("+ rejected by {rejection}"));
            } else if expected
                .rule
                .as_ref()
                .is_some_and(|words| !rejection.rule.contains(words))
            {
                let words = expected.rule.as_deref().unwrap_or_default();
                lines.push(format!("- rejected by {}: … {words} …", expected.path));
                lines.push(format!("+ rejected by {rejection}"));
            }
        }
        (Outcome::Rejected(rejection), _, _) => lines.push(format!("+ rejected by {rejection}")),
        (Outcome::Mapped(_), _, expected) => {
            let path = expected.as_ref().map(|expected| expected.path.as_str());
            lines.push(format!("- rejected by {}", path.unwrap_or_default()));
            lines.push("+ mapped".to_owned());
        }
    }
    lines
}

/// The purposes as they came out: where a reason is expected, with the reason.
fn with_reasons(expected: &Value, items: &Map<String, Value>) -> Value {
    let mut consent = items.get("consent").cloned().unwrap_or_default();
    for (purpose, granted) in consent.as_object_mut().into_iter().flatten() {
        if expected[purpose.as_str()].is_string()
            && let Some(reason) = items["denied"].get(purpose.as_str())
        {
            *granted = reason.clone();
        }
    }
    consent
}

fn differ(path: &str, expected: Option<&Value>, found: Option<&Value>, lines: &mut Vec<String>) {
    if let (Some(Value::Object(expected)), Some(Value::Object(found))) = (expected, found) {
        let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for name in names {
            differ(&format!("{path}.{name}"), expected.get(name), found.get(name), lines);
        }
    } else if !is_same(expected, found) {
        let mut line = |sign, value: Option<&Value>| {
            let text = value.map_or("not there".to_owned(), shown);
            lines.push(format!("{sign} {path}: {text}"));
        };
        line('-', expected);
        line('+', found);
    }
}

/// Instants are the same however they are written, and so are numbers: what is delivered as an exact decimal may be expected as text.
fn is_same(expected: Option<&Value>, found: Option<&Value>) -> bool {
    let (Some(expected), Some(found)) = (expected, found) else {
        return expected.is_none() && found.is_none();
    };
    if expected == found {
        return true;
    }
    match (expected, found) {
        (Value::String(one), Value::String(other)) => {
            let instant = |text: &str| text.parse::<Timestamp>().ok();
            instant(one).is_some() && instant(one) == instant(other)
        }
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::String(text), Value::Number(number)) => *text == number.to_string(),
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len()
                && ones
                    .iter()
                    .zip(others)
                    .all(|(one, other)| is_same(Some(one), Some(other)))
        }
        (Value::Object(ones), Value::Object(others)) => {
            let names: BTreeSet<&String> = ones.keys().chain(others.keys()).collect();
            names.into_iter().all(|name| is_same(ones.get(name), others.get(name)))
        }
        _ => false,
    }
}

/// Events by their order; an instant is compared only where one is expected.
fn differ_in_events(expected: &[Value], found: &Value, lines: &mut Vec<String>) {
    let empty = Vec::new();
    let found = found.as_array().unwrap_or(&empty);
    for place in 0..expected.len().max(found.len()) {
        let wanted = expected.get(place).map(whole_event);
        let mut event = found.get(place).cloned();
        let wants_instant = expected.get(place).is_none_or(|wanted| wanted.get("at").is_some());
        if let Some(Value::Object(parts)) = event.as_mut().filter(|_| !wants_instant) {
            parts.remove("at");
        }
        differ(&format!("events[{place}]"), wanted.as_ref(), event.as_ref(), lines);
    }
}

/// An event without properties need not say so.
fn whole_event(expected: &Value) -> Value {
    let mut event = expected.clone();
    if let Some(parts) = event.as_object_mut() {
        parts.entry("properties").or_insert_with(|| json!(Map::new()));
    }
    event
}
