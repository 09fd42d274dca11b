//! Field values: as they are kept, as JSON brings them, and as JSON shows them.

use std::borrow::Cow;

use jiff::civil::Date;
use serde_json::Value as Json;

use super::error::{ApiError, Result};
use super::id::RecordId;
use super::schema::{Field, FieldType};
use super::time::{Millis, parse_date, parse_datetime, write_date, write_datetime};

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Text(Box<str>),
    Boolean(bool),
    Number(f64),
    Date(Date),
    DateTime(Millis),
    Id(RecordId),
}

/// A value as a query sees it, which some fields compute.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<'a> {
    Null,
    Text(Cow<'a, str>),
    Boolean(bool),
    Number(f64),
    Date(Date),
    DateTime(Millis),
    Id(RecordId),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into_boxed_str())
    }

    pub fn seen(&self) -> Seen<'_> {
        match self {
            Self::Null => Seen::Null,
            Self::Text(text) => Seen::Text(Cow::Borrowed(text)),
            Self::Boolean(boolean) => Seen::Boolean(*boolean),
            Self::Number(number) => Seen::Number(*number),
            Self::Date(date) => Seen::Date(*date),
            Self::DateTime(millis) => Seen::DateTime(*millis),
            Self::Id(id) => Seen::Id(*id),
        }
    }

    /// What the platform stores when JSON brings this for the field. Text is trimmed, and empty text is null: an org
    /// never holds an empty string.
    pub fn from_json(field: &Field, json: &Json) -> Result<Self> {
        let refused = |wanted: &str| {
            let shown = match json {
                Json::String(text) => format!("VALUE_STRING value {text}"),
                Json::Number(number) => format!("VALUE_NUMBER value {number}"),
                Json::Bool(boolean) => format!("VALUE_{}", boolean.to_string().to_uppercase()),
                Json::Array(_) => "START_ARRAY".to_owned(),
                Json::Object(_) => "START_OBJECT".to_owned(),
                Json::Null => "VALUE_NULL".to_owned(),
            };
            let message = format!(
                "Cannot deserialize instance of {wanted} from {shown} or request may be missing a required field"
            );
            ApiError::unparsable_json(message)
        };
        let wanted = field.kind.soap().trim_start_matches("xsd:").trim_start_matches("tns:");
        match (field.kind, json) {
            (FieldType::Boolean, Json::Null) => Ok(Self::Boolean(false)),
            (_, Json::Null) => Ok(Self::Null),
            (FieldType::Boolean, Json::Bool(boolean)) => Ok(Self::Boolean(*boolean)),
            (kind, Json::Number(number)) if kind.is_number() => {
                let number = number.as_f64().ok_or_else(|| refused(wanted))?;
                if kind == FieldType::Int && number.fract() != 0.0 {
                    return Err(refused(wanted));
                }
                Ok(Self::Number(number))
            }
            (FieldType::Date, Json::String(text)) => parse_date(text).map(Self::Date).ok_or_else(|| refused(wanted)),
            (FieldType::DateTime, Json::String(text)) => parse_datetime(text, true)
                .map(|millis| Self::DateTime(millis - millis.rem_euclid(1000)))
                .ok_or_else(|| refused(wanted)),
            (FieldType::Reference, Json::String(text)) if text.is_empty() => Ok(Self::Null),
            (FieldType::Reference, Json::String(text)) => RecordId::parse(text).map(Self::Id).ok_or_else(|| {
                let message = format!("{}: id value of incorrect type: {text}", field.label);
                ApiError::bad("MALFORMED_ID", message).of_fields([field.name.clone()])
            }),
            (kind, Json::String(text)) if kind.is_text() => {
                let text = text.trim();
                Ok(if text.is_empty() { Self::Null } else { Self::text(text) })
            }
            // Numbers and booleans in text fields are taken as they are written.
            (kind, Json::Number(_) | Json::Bool(_)) if kind.is_text() => Ok(Self::text(json.to_string())),
            _ => Err(refused(wanted)),
        }
    }
}

impl Seen<'_> {
    pub fn write(&self, kind: FieldType, out: &mut Vec<u8>) {
        match self {
            Seen::Null => out.extend_from_slice(b"null"),
            Seen::Text(text) => write_text(out, text),
            Seen::Boolean(true) => out.extend_from_slice(b"true"),
            Seen::Boolean(false) => out.extend_from_slice(b"false"),
            Seen::Number(number) if kind == FieldType::Int => write_number(out, *number, 0),
            Seen::Number(number) => write_number(out, *number, 1),
            Seen::Date(date) => {
                out.push(b'"');
                write_date(out, *date);
                out.push(b'"');
            }
            Seen::DateTime(millis) => {
                out.push(b'"');
                write_datetime(out, *millis);
                out.push(b'"');
            }
            Seen::Id(id) => {
                out.push(b'"');
                out.extend_from_slice(&id.whole());
                out.push(b'"');
            }
        }
    }
}

impl Seen<'_> {
    /// What stands between the quotes of a cell: null is empty, an instant ends with `Z`.
    /// <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_date_format.htm>
    pub fn write_csv(&self, kind: FieldType, out: &mut Vec<u8>) {
        match self {
            Seen::Null => {}
            Seen::Text(text) => out.extend(text.replace('"', "\"\"").into_bytes()),
            Seen::Date(date) => write_date(out, *date),
            Seen::DateTime(millis) => {
                write_datetime(out, *millis);
                out.truncate(out.len() - "+0000".len());
                out.push(b'Z');
            }
            Seen::Id(id) => out.extend_from_slice(&id.whole()),
            Seen::Boolean(_) | Seen::Number(_) => self.write(kind, out),
        }
    }
}

pub fn write_text(out: &mut Vec<u8>, text: &str) {
    // A string always serializes, and a Vec always takes it.
    serde_json::to_writer(out, text).unwrap_or_default();
}

/// Whole numbers of decimal fields carry `.0`, those of int fields do not.
fn write_number(out: &mut Vec<u8>, number: f64, decimals: usize) {
    use std::io::Write as _;
    if number.fract() == 0.0 && number.abs() < 1e15 {
        write!(out, "{number:.decimals$}").unwrap_or_default();
    } else {
        serde_json::to_writer(out, &number).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Field, FieldType, Value};

    fn stored(kind: FieldType, json: &serde_json::Value) -> Option<String> {
        let value = Value::from_json(&Field::new("X__c", "X", kind), json).ok()?;
        let mut out = Vec::new();
        value.seen().write(kind, &mut out);
        String::from_utf8(out).ok()
    }

    #[test]
    fn a_value_is_stored_by_its_fields_type_or_refused() {
        let cases = [
            (FieldType::String, json!(" NA "), Some("\"NA\"")),
            (FieldType::String, json!(""), Some("null")),
            (FieldType::String, json!("null"), Some("\"null\"")),
            (FieldType::String, json!({}), None),
            (FieldType::Boolean, json!(null), Some("false")),
            (FieldType::Boolean, json!("true"), None),
            (FieldType::Currency, json!(1200), Some("1200.0")),
            (FieldType::Currency, json!(12.34), Some("12.34")),
            (FieldType::Currency, json!("12.34"), None),
            (FieldType::Int, json!(5), Some("5")),
            (FieldType::Int, json!(5.5), None),
            (FieldType::Date, json!("2020-01-31"), Some("\"2020-01-31\"")),
            (FieldType::Date, json!("31.01.2020"), None),
            (
                FieldType::DateTime,
                json!("2026-05-04T08:41:07.999Z"),
                Some("\"2026-05-04T08:41:07.000+0000\""),
            ),
            (
                FieldType::Reference,
                json!("001D000000IRFma"),
                Some("\"001D000000IRFmaIAH\""),
            ),
            (FieldType::Reference, json!("abc"), None),
        ];
        for (kind, json, expected) in cases {
            assert_eq!(stored(kind, &json).as_deref(), expected, "{kind:?} {json}");
        }
    }
}
