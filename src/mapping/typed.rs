//! Values on their way from a field to a trait, and the type that they must fit in the end.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::value::Value;
use super::{instant, number};
use crate::api::mapping_version::TraitType;
use crate::record::Field;

/// Why a transform or a type refuses a value: a predicate without the value itself, `is not a day like 2026-05-04`.
pub(super) type Rule<'m> = Cow<'m, str>;

/// A value between two transforms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Current<'m> {
    Null,
    Text(Cow<'m, str>),
    /// A number's digits, as the CRM sent them.
    Digits(&'m str),
    Boolean(bool),
    Integer(i64),
    Decimal(Decimal),
    Timestamp(Timestamp),
    Date(Date),
}

impl<'m> Current<'m> {
    pub fn of(field: &'m Field<'m>) -> Current<'m> {
        match field {
            Field::Null => Current::Null,
            Field::Text(text) => Current::Text(Cow::Borrowed(text)),
            Field::Number(digits) => Current::Digits(digits),
            Field::Boolean(boolean) => Current::Boolean(*boolean),
        }
    }

    /// Text, or a number's digits as text.
    pub fn text(self) -> Result<Cow<'m, str>, Rule<'m>> {
        match self {
            Current::Text(text) => Ok(text),
            Current::Digits(digits) => Ok(Cow::Borrowed(digits)),
            Current::Integer(integer) => Ok(Cow::Owned(integer.to_string())),
            Current::Boolean(_) => Err(Cow::Borrowed("is true or false, not text")),
            _ => Err(Cow::Borrowed("is not text")),
        }
    }

    /// The value as one of `kind`, null as null.
    pub fn fit(self, kind: TraitType) -> Result<Value<'m>, Rule<'m>> {
        match (kind, self) {
            (_, Current::Null) => Ok(Value::Null),
            (TraitType::String, text) => text.text().map(Value::String),
            (TraitType::Integer, Current::Integer(integer)) => Ok(Value::Integer(integer)),
            (TraitType::Integer, Current::Digits(digits)) => {
                number::integer(digits).map(Value::Integer).map_err(Cow::Borrowed)
            }
            (TraitType::Integer, Current::Text(text)) => {
                number::integer(&text).map(Value::Integer).map_err(Cow::Borrowed)
            }
            (TraitType::Integer, Current::Decimal(decimal)) => {
                number::integral(decimal).map(Value::Integer).map_err(Cow::Borrowed)
            }
            (TraitType::Decimal, Current::Integer(integer)) => Ok(Value::Decimal(Decimal::from(integer))),
            (TraitType::Decimal, Current::Digits(digits)) => {
                number::decimal(digits).map(Value::Decimal).map_err(Cow::Borrowed)
            }
            (TraitType::Decimal, Current::Text(text)) => {
                number::decimal(&text).map(Value::Decimal).map_err(Cow::Borrowed)
            }
            (TraitType::Decimal, Current::Decimal(decimal)) => Ok(Value::Decimal(decimal)),
            (TraitType::Integer | TraitType::Decimal, _) => Err(Cow::Borrowed("is not a number")),
            (TraitType::Boolean, Current::Boolean(boolean)) => Ok(Value::Boolean(boolean)),
            (TraitType::Boolean, _) => Err(Cow::Borrowed(
                "is neither true nor false; a CEL expression can say which of the two it means",
            )),
            (TraitType::Timestamp, Current::Timestamp(timestamp)) => Ok(Value::Timestamp(timestamp)),
            (TraitType::Timestamp, Current::Text(text)) => instant::instant(&text)
                .map(Value::Timestamp)
                .ok_or(Cow::Borrowed(instant::NOT_AN_INSTANT)),
            (TraitType::Timestamp, _) => Err(Cow::Borrowed(instant::NOT_AN_INSTANT)),
            (TraitType::Date, Current::Date(date)) => Ok(Value::Date(date)),
            (TraitType::Date, Current::Text(text)) => instant::day(&text)
                .map(Value::Date)
                .ok_or(Cow::Borrowed(instant::NOT_A_DATE)),
            (TraitType::Date, _) => Err(Cow::Borrowed(instant::NOT_A_DATE)),
        }
    }

    /// The value that text of a trait's type means, for the `default` transform.
    pub fn parse(text: &str, kind: TraitType) -> Result<Current<'static>, &'static str> {
        match kind {
            TraitType::String => Ok(Current::Text(Cow::Owned(text.to_owned()))),
            TraitType::Integer => number::integer(text).map(Current::Integer),
            TraitType::Decimal => number::decimal(text).map(Current::Decimal),
            TraitType::Boolean => match text {
                "true" => Ok(Current::Boolean(true)),
                "false" => Ok(Current::Boolean(false)),
                _ => Err("is neither true nor false"),
            },
            TraitType::Timestamp => instant::instant(text)
                .map(Current::Timestamp)
                .ok_or(instant::NOT_AN_INSTANT),
            TraitType::Date => instant::day(text).map(Current::Date).ok_or(instant::NOT_A_DATE),
        }
    }
}

/// The kinds that a value can have at one place of a chain of transforms, as far as that is known before a record is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    /// Whatever the CRM's field holds: text, digits, true or false.
    pub const FIELD: Kinds = Kinds(1);
    pub const TEXT: Kinds = Kinds(2);
    pub const INTEGER: Kinds = Kinds(4);
    pub const DECIMAL: Kinds = Kinds(8);
    pub const BOOLEAN: Kinds = Kinds(16);
    pub const TIMESTAMP: Kinds = Kinds(32);
    pub const DATE: Kinds = Kinds(64);

    const NAMES: [(Kinds, &'static str); 7] = [
        (Kinds::FIELD, "the field's own value"),
        (Kinds::TEXT, "text"),
        (Kinds::INTEGER, "an integer"),
        (Kinds::DECIMAL, "a decimal number"),
        (Kinds::BOOLEAN, "true or false"),
        (Kinds::TIMESTAMP, "a timestamp"),
        (Kinds::DATE, "a date"),
    ];

    pub const fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// The kind of a value of this type.
    pub fn of(kind: TraitType) -> Kinds {
        match kind {
            TraitType::String => Kinds::TEXT,
            TraitType::Integer => Kinds::INTEGER,
            TraitType::Decimal => Kinds::DECIMAL,
            TraitType::Boolean => Kinds::BOOLEAN,
            TraitType::Timestamp => Kinds::TIMESTAMP,
            TraitType::Date => Kinds::DATE,
        }
    }

    /// The kinds from which [`Current::fit`] can make a value of this type.
    pub fn fitting(kind: TraitType) -> Kinds {
        let own = Kinds::of(kind).or(Kinds::FIELD);
        match kind {
            TraitType::String | TraitType::Boolean => own,
            TraitType::Integer => own.or(Kinds::TEXT).or(Kinds::DECIMAL),
            TraitType::Decimal => own.or(Kinds::TEXT).or(Kinds::INTEGER),
            TraitType::Timestamp | TraitType::Date => own.or(Kinds::TEXT),
        }
    }

    /// The first kind that is not among `accepted`, in words.
    pub fn outside(self, accepted: Kinds) -> Option<&'static str> {
        let stray = self.0 & !accepted.0;
        Kinds::NAMES
            .iter()
            .find(|(kind, _)| kind.0 & stray != 0)
            .map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TraitType::{Boolean, Date, Decimal, Integer, String, Timestamp};

    #[test]
    fn a_fields_value_fits_its_type_or_is_refused() {
        let text = |text: &'static str| Field::Text(Cow::Borrowed(text));
        let cases: Vec<(Field, TraitType, Result<std::string::String, &str>)> = vec![
            (Field::Null, String, Ok("Null".into())),
            (text("NA"), String, Ok("String(\"NA\")".into())),
            (text("null"), String, Ok("String(\"null\")".into())),
            (text(""), String, Ok("String(\"\")".into())),
            (Field::Number("12.50"), String, Ok("String(\"12.50\")".into())),
            (Field::Boolean(true), String, Err("is true or false, not text")),
            (Field::Number("3.0"), Integer, Ok("Integer(3)".into())),
            (text("3"), Integer, Ok("Integer(3)".into())),
            (text(""), Integer, Err("is not a decimal number")),
            (Field::Boolean(true), Integer, Err("is not a number")),
            (Field::Number("12.50"), Decimal, Ok("Decimal(12.5)".into())),
            (text("12.50"), Decimal, Ok("Decimal(12.5)".into())),
            (Field::Boolean(false), Boolean, Ok("Boolean(false)".into())),
            (
                text("true"),
                Boolean,
                Err("is neither true nor false; a CEL expression can say which of the two it means"),
            ),
            (
                Field::Number("1"),
                Boolean,
                Err("is neither true nor false; a CEL expression can say which of the two it means"),
            ),
            (
                text("2026-05-04T08:41:07.000+0000"),
                Timestamp,
                Ok("Timestamp(2026-05-04T08:41:07Z)".into()),
            ),
            (text("2026-05-04"), Timestamp, Err(instant::NOT_AN_INSTANT)),
            (Field::Number("1746348067000"), Timestamp, Err(instant::NOT_AN_INSTANT)),
            (text("2020-01-31"), Date, Ok("Date(2020-01-31)".into())),
            (text("2020-01-31T00:00:00Z"), Date, Err(instant::NOT_A_DATE)),
        ];
        for (field, kind, expected) in &cases {
            let fitted = Current::of(field).fit(*kind);
            let fitted = fitted.map(|value| format!("{value:?}")).map_err(Cow::into_owned);
            assert_eq!(fitted, expected.clone().map_err(str::to_owned), "{field:?} as {kind:?}");
        }
    }
}
