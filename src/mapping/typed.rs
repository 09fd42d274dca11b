//! Values on their way from a field to a trait, and the type that they must fit in the end.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::value::{Money, Value};
use super::{instant, json, money, number};
use crate::api::mapping_version::TraitType;
use crate::record::Field;

const NOT_A_LIST: &str = "is not a list";
const NOT_MONEY: &str = "is not an amount of money";
const NOT_JSON: &str = "is not a JSON document";
const NOT_A_BOOLEAN: &str = "is neither true nor false; the transform `boolean` lists the words for both";

/// Why a transform or a type refuses a value: a predicate without the value itself, `is not a day like 2026-05-04`.
pub(super) type Rule<'m> = Cow<'m, str>;

/// A value between two transforms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Current<'m> {
    Null,
    Text(Cow<'m, str>),
    /// A number's digits, as the CRM sent them.
    Digits(Cow<'m, str>),
    Boolean(bool),
    Integer(i64),
    Decimal(Decimal),
    Timestamp(Timestamp),
    Date(Date),
    Money(Money),
    List(Vec<Current<'m>>),
    Json(Cow<'m, str>),
}

/// The type of a trait or a property.
#[derive(Clone, Debug)]
pub(super) struct Type {
    pub kind: TraitType,
    /// Of a list: its items' type.
    pub items: Option<Box<Type>>,
    /// Of an enum: the values that are allowed.
    pub values: Option<Values>,
}

/// The canonical values of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    sorted: Vec<String>,
    unknown: String,
}

impl Values {
    pub fn new<'t>(table: &str, values: impl Iterator<Item = &'t String>) -> Values {
        let mut sorted: Vec<String> = values.cloned().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Values {
            sorted,
            unknown: format!("is no canonical value of enum table {table:?}"),
        }
    }

    fn hold(&self, text: &str) -> bool {
        self.sorted.binary_search_by(|value| value.as_str().cmp(text)).is_ok()
    }
}

impl From<TraitType> for Type {
    fn from(kind: TraitType) -> Type {
        Type {
            kind,
            items: None,
            values: None,
        }
    }
}

impl<'m> Current<'m> {
    pub fn of(field: &'m Field<'m>) -> Current<'m> {
        match field {
            Field::Null => Current::Null,
            Field::Text(text) => Current::Text(Cow::Borrowed(text)),
            Field::Number(digits) => Current::Digits(Cow::Borrowed(digits)),
            Field::Boolean(boolean) => Current::Boolean(*boolean),
        }
    }

    /// Text, or a number's digits as text.
    pub fn text(self) -> Result<Cow<'m, str>, Rule<'m>> {
        match self {
            Current::Text(text) | Current::Digits(text) => Ok(text),
            Current::Integer(integer) => Ok(Cow::Owned(integer.to_string())),
            Current::Boolean(_) => Err(Cow::Borrowed("is true or false, not text")),
            Current::List(_) => Err(Cow::Borrowed("is a list, not text")),
            _ => Err(Cow::Borrowed("is not text")),
        }
    }

    /// The value as one of `to`, null as null.
    pub fn fit<'t: 'm>(self, to: &'t Type) -> Result<Value<'m>, Rule<'m>> {
        match (to.kind, self) {
            (_, Current::Null) => Ok(Value::Null),
            (TraitType::String, text) => text.text().map(Value::String),
            (TraitType::Integer, Current::Integer(integer)) => Ok(Value::Integer(integer)),
            (TraitType::Integer, Current::Digits(digits) | Current::Text(digits)) => {
                number::integer(&digits).map(Value::Integer).map_err(Cow::Borrowed)
            }
            (TraitType::Integer, Current::Decimal(decimal)) => {
                number::integral(decimal).map(Value::Integer).map_err(Cow::Borrowed)
            }
            (TraitType::Decimal, Current::Integer(integer)) => Ok(Value::Decimal(Decimal::from(integer))),
            (TraitType::Decimal, Current::Digits(digits) | Current::Text(digits)) => {
                number::decimal(&digits).map(Value::Decimal).map_err(Cow::Borrowed)
            }
            (TraitType::Decimal, Current::Decimal(decimal)) => Ok(Value::Decimal(decimal)),
            (TraitType::Decimal, Current::Money(money)) => Ok(Value::Decimal(money.amount)),
            (TraitType::Integer | TraitType::Decimal, _) => Err(Cow::Borrowed("is not a number")),
            (TraitType::Boolean, Current::Boolean(boolean)) => Ok(Value::Boolean(boolean)),
            (TraitType::Boolean, _) => Err(Cow::Borrowed(NOT_A_BOOLEAN)),
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
            (TraitType::Money, Current::Money(money)) => Ok(Value::Money(money)),
            (TraitType::Money, _) => Err(Cow::Borrowed(NOT_MONEY)),
            (TraitType::Enum, value) => {
                let text = value.text()?;
                match &to.values {
                    Some(values) if !values.hold(&text) => Err(Cow::Borrowed(&values.unknown)),
                    _ => Ok(Value::String(text)),
                }
            }
            (TraitType::List, Current::List(items)) => {
                let Some(to) = &to.items else {
                    return Err(Cow::Borrowed(NOT_A_LIST));
                };
                let mut fitted = Vec::with_capacity(items.len());
                for item in items.into_iter().filter(|item| *item != Current::Null) {
                    fitted.push(item.fit(to)?);
                }
                Ok(Value::List(fitted))
            }
            (TraitType::List, _) => Err(Cow::Borrowed(NOT_A_LIST)),
            (TraitType::Json, Current::Json(document)) => Ok(Value::Json(document)),
            (TraitType::Json, Current::Text(text)) => json::compact(text).map(Value::Json).map_err(Cow::Borrowed),
            (TraitType::Json, Current::Digits(digits)) => Ok(Value::Json(digits)),
            (TraitType::Json, Current::Boolean(boolean)) => Ok(Value::Json(Cow::Borrowed(word(boolean)))),
            (TraitType::Json, _) => Err(Cow::Borrowed(NOT_JSON)),
        }
    }

    /// The value that text of a trait's type means, for the `default` transform.
    pub fn parse(text: &str, to: &Type) -> Result<Current<'static>, String> {
        let owned = || Cow::Owned(text.to_owned());
        let parsed = match to.kind {
            TraitType::String => Ok(Current::Text(owned())),
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
            TraitType::Money => money::literal(text).map(Current::Money),
            TraitType::Enum => match &to.values {
                Some(values) if !values.hold(text) => return Err(values.unknown.clone()),
                _ => Ok(Current::Text(owned())),
            },
            TraitType::List => {
                let items = json::scalars(text)?;
                if let Some(to) = &to.items {
                    for item in &items {
                        item.clone()
                            .fit(to)
                            .map_err(|rule| format!("has an item that {rule}"))?;
                    }
                }
                Ok(Current::List(items))
            }
            TraitType::Json => json::compact(owned()).map(Current::Json),
        };
        parsed.map_err(str::to_owned)
    }
}

/// JSON's word.
pub(super) fn word(boolean: bool) -> &'static str {
    if boolean { "true" } else { "false" }
}

/// The kinds that a value can have at one place of a chain of transforms, as far as that is known before a record is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    whole: u16,
    /// Of a list: those of its items.
    items: u16,
}

impl Kinds {
    /// Whatever the CRM's field holds: text, digits, true or false.
    pub const FIELD: Kinds = Kinds::one(1);
    pub const TEXT: Kinds = Kinds::one(2);
    pub const INTEGER: Kinds = Kinds::one(4);
    pub const DECIMAL: Kinds = Kinds::one(8);
    pub const BOOLEAN: Kinds = Kinds::one(16);
    pub const TIMESTAMP: Kinds = Kinds::one(32);
    pub const DATE: Kinds = Kinds::one(64);
    /// An amount whose currency only the record tells.
    pub const MONEY: Kinds = Kinds::one(128);
    /// An amount whose currency is the same for every record.
    pub const AMOUNT: Kinds = Kinds::one(256);
    pub const JSON: Kinds = Kinds::one(512);
    const LIST: u16 = 1024;

    const NAMES: [(u16, &'static str); 11] = [
        (1, "the field's own value"),
        (2, "text"),
        (4, "an integer"),
        (8, "a decimal number"),
        (16, "true or false"),
        (32, "a timestamp"),
        (64, "a date"),
        (128, "an amount in whatever currency the record has"),
        (256, "an amount of money"),
        (512, "a JSON document"),
        (Kinds::LIST, "a list"),
    ];

    const fn one(whole: u16) -> Kinds {
        Kinds { whole, items: 0 }
    }

    /// A list of items of these kinds.
    pub const fn list(items: Kinds) -> Kinds {
        Kinds {
            whole: Kinds::LIST,
            items: items.whole,
        }
    }

    pub const fn or(self, other: Kinds) -> Kinds {
        Kinds {
            whole: self.whole | other.whole,
            items: self.items | other.items,
        }
    }

    /// The kind of a value of this type.
    pub fn of(to: &Type) -> Kinds {
        match (to.kind, &to.items) {
            (TraitType::String | TraitType::Enum, _) => Kinds::TEXT,
            (TraitType::Integer, _) => Kinds::INTEGER,
            (TraitType::Decimal, _) => Kinds::DECIMAL,
            (TraitType::Boolean, _) => Kinds::BOOLEAN,
            (TraitType::Timestamp, _) => Kinds::TIMESTAMP,
            (TraitType::Date, _) => Kinds::DATE,
            (TraitType::Money, _) => Kinds::MONEY,
            (TraitType::List, Some(items)) => Kinds::list(Kinds::of(items)),
            (TraitType::List, None) => Kinds::list(Kinds::FIELD),
            (TraitType::Json, _) => Kinds::JSON,
        }
    }

    /// The kinds from which [`Current::fit`] can make a value of this type.
    pub fn fitting(to: &Type) -> Kinds {
        let own = Kinds::of(to);
        let field = own.or(Kinds::FIELD);
        match (to.kind, &to.items) {
            (TraitType::String | TraitType::Enum | TraitType::Boolean, _) => field,
            (TraitType::Integer, _) => field.or(Kinds::TEXT).or(Kinds::DECIMAL),
            (TraitType::Decimal, _) => field.or(Kinds::TEXT).or(Kinds::INTEGER).or(Kinds::AMOUNT),
            (TraitType::Timestamp | TraitType::Date | TraitType::Json, _) => field.or(Kinds::TEXT),
            (TraitType::Money, _) => own.or(Kinds::AMOUNT),
            (TraitType::List, Some(items)) => Kinds::list(Kinds::fitting(items)),
            (TraitType::List, None) => own,
        }
    }

    /// The first kind that is not among `accepted`, in words.
    pub fn outside(self, accepted: Kinds) -> Option<&'static str> {
        let stray = self.whole & !accepted.whole;
        let item = match self.whole & accepted.whole & Kinds::LIST {
            0 => 0,
            _ => self.items & !accepted.items,
        };
        let named = |kinds: u16| {
            Kinds::NAMES
                .iter()
                .find(|(kind, _)| kind & kinds != 0)
                .map(|(_, name)| *name)
        };
        named(stray).or_else(|| named(item))
    }

    /// The kinds after a transform that takes `accepted` and leaves `leaves`, of a list's items in its turn where it is one
    /// that is applied to each; and the first kind that it can't take.
    pub fn through(self, accepted: Kinds, leaves: Kinds, each: bool) -> (Kinds, Option<&'static str>) {
        if !each || self.whole & Kinds::LIST == 0 {
            return (leaves, self.outside(accepted));
        }
        let items = Kinds::one(self.items);
        let (left, stray) = (Kinds::list(leaves), items.outside(accepted));
        let rest = Kinds::one(self.whole & !Kinds::LIST);
        if rest.whole == 0 {
            (left, stray)
        } else {
            (left.or(leaves), stray.or_else(|| rest.outside(accepted)))
        }
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
                Err("is neither true nor false; the transform `boolean` lists the words for both"),
            ),
            (
                Field::Number("1"),
                Boolean,
                Err("is neither true nor false; the transform `boolean` lists the words for both"),
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
            let kind = Type::from(*kind);
            let fitted = Current::of(field).fit(&kind);
            let fitted = fitted.map(|value| format!("{value:?}")).map_err(Cow::into_owned);
            assert_eq!(fitted, expected.clone().map_err(str::to_owned), "{field:?} as {kind:?}");
        }
    }
}
