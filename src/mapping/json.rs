//! JSON documents inside a field's text.
//!
//! A number's digits are never read as a float: they are copied from the document as they stand there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use serde_json_path::{JsonPath, NormalizedPath, PathElement};

use super::typed::Current;

const NOT_JSON: &str = "is not a JSON document";
const NOT_ONE: &str = "has more than one value at that path; with `all: true` they make a list";
const TOO_MANY: &str = "has more than 1,000 values at that path";

/// The most values that a path may find.
const MOST: usize = 1_000;

/// A JSON document without the white space between its parts. Members keep their order, numbers their digits.
pub(super) fn compact(text: Cow<'_, str>) -> Result<Cow<'_, str>, &'static str> {
    // The whole tree is built, since that alone finds surrogates without their other half.
    serde_json::from_str::<Value>(&text).map_err(|_| NOT_JSON)?;
    Ok(compacted(text))
}

/// [`compact`] of what is known to be a document.
fn compacted(text: Cow<'_, str>) -> Cow<'_, str> {
    let blank = |byte: u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    if !text.bytes().any(blank) {
        return text;
    }
    let mut compacted = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for character in text.chars() {
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, ' ' | '\n' | '\r' | '\t') {
            continue;
        } else {
            quoted = character == '"';
        }
        compacted.push(character);
    }
    Cow::Owned(compacted)
}

/// The items of a JSON array of texts, numbers and booleans.
pub(super) fn scalars(text: &str) -> Result<Vec<Current<'static>>, &'static str> {
    const NO_ARRAY: &str = "is not a JSON array of texts, numbers, true and false";
    let raw: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| NO_ARRAY)?;
    raw.into_iter()
        .map(|item| match serde_json::from_str(item.get()) {
            Ok(Value::String(text)) => Ok(Current::Text(Cow::Owned(text))),
            Ok(Value::Bool(boolean)) => Ok(Current::Boolean(boolean)),
            Ok(Value::Number(_)) => Ok(Current::Digits(Cow::Owned(item.get().to_owned()))),
            _ => Err(NO_ARRAY),
        })
        .collect()
}

/// What the path finds in a JSON text: its one value, or all of them as a list.
pub(super) fn find(path: &JsonPath, all: bool, text: &str) -> Result<Current<'static>, &'static str> {
    let document: Value = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
    let found = path.query_located(&document).all();
    if all {
        if found.len() > MOST {
            return Err(TOO_MANY);
        }
        let items = found.iter().map(|node| current(text, node.node(), node.location()));
        return items.collect::<Result<_, _>>().map(Current::List);
    }
    match &found[..] {
        [] => Ok(Current::Null),
        [node] => current(text, node.node(), node.location()),
        _ => Err(NOT_ONE),
    }
}

fn current(text: &str, node: &Value, location: &NormalizedPath<'_>) -> Result<Current<'static>, &'static str> {
    let written = || raw(text, location).ok_or(NOT_JSON);
    Ok(match node {
        Value::Null => Current::Null,
        Value::Bool(boolean) => Current::Boolean(*boolean),
        Value::String(text) => Current::Text(Cow::Owned(text.clone())),
        Value::Number(_) => Current::Digits(Cow::Owned(written()?)),
        Value::Array(_) | Value::Object(_) => Current::Json(compacted(Cow::Owned(written()?))),
    })
}

/// What stands at a location, just as it is written.
fn raw(text: &str, location: &NormalizedPath<'_>) -> Option<String> {
    let mut at: &RawValue = serde_json::from_str(text).ok()?;
    for element in location.iter() {
        at = match element {
            PathElement::Name(name) => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(at.get()).ok()?;
                members.get(*name).copied()?
            }
            PathElement::Index(index) => {
                let items: Vec<&RawValue> = serde_json::from_str(at.get()).ok()?;
                items.get(*index).copied()?
            }
        };
    }
    Some(at.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_loses_its_white_space_and_nothing_else() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("{}", Ok("{}")),
            (
                " { \"b\" : [ 1.50 , 2E+3 ],\n\t\"a\": null } ",
                Ok("{\"b\":[1.50,2E+3],\"a\":null}"),
            ),
            (r#"{"a": "x \" y \\", "b": " "}"#, Ok(r#"{"a":"x \" y \\","b":" "}"#)),
            ("12345678901234567.89", Ok("12345678901234567.89")),
            ("[\"🦀 ä\", \"\\ud83e\\udd80\"]", Ok("[\"🦀 ä\",\"\\ud83e\\udd80\"]")),
            ("\"\\ud800\"", Err(NOT_JSON)),
            ("{\"a\": 1,}", Err(NOT_JSON)),
            ("NaN", Err(NOT_JSON)),
            ("", Err(NOT_JSON)),
            ("{} {}", Err(NOT_JSON)),
        ];
        for (text, expected) in cases {
            assert_eq!(compact(Cow::Borrowed(text)).as_deref(), expected.as_deref(), "{text}");
        }
    }

    #[test]
    fn a_path_finds_one_value_or_a_list_with_every_digit() {
        let text = r#"{"id": 123456789012345678, "price": 0.10, "long": 12345678901234567.89, "name": "Ada",
            "tags": ["a", "b"], "none": null, "on": true, "deep": {"k'e\"y": [{"v": 1.0}]}}"#;
        let cases: &[(&str, bool, Result<&str, &str>)] = &[
            ("$.id", false, Ok("Digits(\"123456789012345678\")")),
            ("$.price", false, Ok("Digits(\"0.10\")")),
            ("$.long", false, Ok("Digits(\"12345678901234567.89\")")),
            ("$.name", false, Ok("Text(\"Ada\")")),
            ("$.none", false, Ok("Null")),
            ("$.absent", false, Ok("Null")),
            ("$.on", false, Ok("Boolean(true)")),
            ("$.tags", false, Ok("Json(\"[\\\"a\\\",\\\"b\\\"]\")")),
            ("$.tags[-1]", false, Ok("Text(\"b\")")),
            ("$.tags[*]", false, Err(NOT_ONE)),
            ("$.tags[*]", true, Ok("List([Text(\"a\"), Text(\"b\")])")),
            ("$.absent[*]", true, Ok("List([])")),
            ("$.deep[\"k'e\\\"y\"][0].v", false, Ok("Digits(\"1.0\")")),
        ];
        for (path, all, expected) in cases {
            let parsed = JsonPath::parse(path).expect(path);
            let found = find(&parsed, *all, text).map(|found| format!("{found:?}"));
            assert_eq!(found.as_deref().map_err(|rule| *rule), *expected, "{path}");
        }
        let path = JsonPath::parse("$.a").expect("a path");
        assert_eq!(find(&path, false, "no JSON"), Err(NOT_JSON));
    }
}
