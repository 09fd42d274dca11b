//! What an expression gave, as a value of ours.

use std::borrow::Cow;

use ::cel::Value;
use ::cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelNull, CelString, CelTimestamp, CelUInt};
use ::cel::common::value::CowVal;
use ::cel::objects::Key;
use jiff::Timestamp;

use super::{Gives, LONGEST};
use crate::api::mapping_version::TraitType;
use crate::mapping::typed::{Current, Rule, word};

/// The most items that a list may have which an expression gives, those of lists and maps in it counted as well.
const MOST: usize = 1_000;

const TOO_MANY: &str = "the expression gives more than 1,000 items";
const TOO_LONG: &str = "the expression gives more than 65,536 bytes";
const NOT_EXACT: &str =
    "the expression gives a double in a list or a map, which is not exact: wrap it in string() or int()";
const NO_NAME: &str = "the expression gives a map whose keys are not all strings";

/// What an expression gave, as a value of ours. `wanted` is the type of a trait that is to be made of it without a transform.
pub(super) fn answer<'m>(
    value: CowVal<'_, '_>,
    wanted: Option<TraitType>,
) -> Result<(Current<'m>, Option<Gives>), Rule<'m>> {
    if let Some(boolean) = value.downcast_ref::<CelBool>() {
        return Ok((Current::Boolean(*boolean.inner()), Some(Gives::Boolean)));
    }
    if let Some(integer) = value.downcast_ref::<CelInt>() {
        return Ok((Current::Integer(*integer.inner()), Some(Gives::Integer)));
    }
    if let Some(unsigned) = value.downcast_ref::<CelUInt>() {
        return match i64::try_from(*unsigned.inner()) {
            Ok(integer) => Ok((Current::Integer(integer), Some(Gives::Integer))),
            Err(_) => Err(Cow::Borrowed("the expression gives a uint of more than 63 bits")),
        };
    }
    if let Some(timestamp) = value.downcast_ref::<CelTimestamp>() {
        let instant = timestamp.inner();
        let nanoseconds = i32::try_from(instant.timestamp_subsec_nanos()).unwrap_or_default();
        return match Timestamp::new(instant.timestamp(), nanoseconds) {
            Ok(timestamp) => Ok((Current::Timestamp(timestamp), Some(Gives::Timestamp))),
            Err(_) => Err(Cow::Borrowed("the expression gives a timestamp out of range")),
        };
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Ok((Current::Null, None));
    }
    if value.downcast_ref::<CelString>().is_some() {
        let text = String::try_from(value.into_owned()).unwrap_or_default();
        return Ok((Current::Text(Cow::Owned(text)), Some(Gives::Text)));
    }
    if value.downcast_ref::<CelDouble>().is_some() {
        return Err(Cow::Borrowed(
            "the expression gives a double, which is not exact: give a string and add the transform decimal, or wrap it in int()",
        ));
    }
    if value.downcast_ref::<CelList>().is_some() || value.downcast_ref::<CelMap>().is_some() {
        return several(&value, wanted);
    }
    Err(Cow::Owned(format!(
        "the expression gives a {}, which no trait can hold",
        value.get_type().name()
    )))
}

/// A list or a map: as a JSON document where that is wanted; else a list of scalars, in which lists and maps are documents.
fn several<'m>(value: &CowVal<'_, '_>, wanted: Option<TraitType>) -> Result<(Current<'m>, Option<Gives>), Rule<'m>> {
    let value = Value::try_from(&**value).map_err(|_| Cow::Borrowed("the expression gives what no trait can hold"))?;
    let mut given = Given::default();
    match &value {
        Value::List(items) if wanted != Some(TraitType::Json) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| given.item(item)).collect();
            Ok((Current::List(items?), Some(Gives::List)))
        }
        Value::List(_) => Ok((Current::Json(given.document(&value)?), Some(Gives::List))),
        _ => Ok((Current::Json(given.document(&value)?), Some(Gives::Map))),
    }
}

/// How much has been given so far.
#[derive(Default)]
struct Given {
    items: usize,
    bytes: usize,
}

impl Given {
    fn count(&mut self, bytes: usize) -> Result<(), Rule<'static>> {
        self.items += 1;
        self.bytes += bytes;
        match (self.items > MOST, self.bytes > LONGEST) {
            (true, _) => Err(Cow::Borrowed(TOO_MANY)),
            (_, true) => Err(Cow::Borrowed(TOO_LONG)),
            _ => Ok(()),
        }
    }

    /// An item of a list.
    fn item(&mut self, value: &Value) -> Result<Current<'static>, Rule<'static>> {
        let item = match value {
            Value::Null => Current::Null,
            Value::Bool(boolean) => Current::Boolean(*boolean),
            Value::Int(integer) => Current::Integer(*integer),
            Value::UInt(unsigned) => Current::Integer(i64::try_from(*unsigned).map_err(|_| out_of_range())?),
            Value::String(text) => Current::Text(Cow::Owned(text.to_string())),
            Value::Timestamp(instant) => {
                let nanoseconds = i32::try_from(instant.timestamp_subsec_nanos()).unwrap_or_default();
                Current::Timestamp(Timestamp::new(instant.timestamp(), nanoseconds).map_err(|_| out_of_range())?)
            }
            Value::List(_) | Value::Map(_) => return self.document(value).map(Current::Json),
            Value::Float(_) => return Err(Cow::Borrowed(NOT_EXACT)),
            other => return Err(no_item(other)),
        };
        let bytes = match &item {
            Current::Text(text) => text.len(),
            _ => 0,
        };
        self.count(bytes)?;
        Ok(item)
    }

    fn document(&mut self, value: &Value) -> Result<Cow<'static, str>, Rule<'static>> {
        let mut out = String::new();
        self.write(value, &mut out)?;
        Ok(Cow::Owned(out))
    }

    /// Writes a JSON document. The names of an object are sorted: a map of CEL has no order.
    fn write(&mut self, value: &Value, out: &mut String) -> Result<(), Rule<'static>> {
        let before = out.len();
        match value {
            Value::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    self.write(item, out)?;
                }
                out.push(']');
                return self.count(2);
            }
            Value::Map(map) => {
                let mut members = Vec::with_capacity(map.map.len());
                for (key, member) in map.map.iter() {
                    let Key::String(name) = key else {
                        return Err(Cow::Borrowed(NO_NAME));
                    };
                    members.push((name, member));
                }
                members.sort_by_key(|(name, _)| *name);
                out.push('{');
                for (position, (name, member)) in members.into_iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                    out.push(':');
                    self.bytes += name.len();
                    self.write(member, out)?;
                }
                out.push('}');
                return self.count(2);
            }
            Value::Null => out.push_str("null"),
            Value::Bool(boolean) => out.push_str(word(*boolean)),
            Value::Int(integer) => out.push_str(&integer.to_string()),
            Value::UInt(unsigned) => out.push_str(&unsigned.to_string()),
            Value::String(text) => quote(text, out),
            Value::Timestamp(_) => match self.item(value)? {
                Current::Timestamp(instant) => {
                    out.push('"');
                    out.push_str(&instant.to_string());
                    out.push('"');
                    return Ok(());
                }
                _ => return Err(out_of_range()),
            },
            Value::Float(_) => return Err(Cow::Borrowed(NOT_EXACT)),
            other => return Err(no_item(other)),
        }
        self.count(out.len() - before)
    }
}

fn quote(text: &str, out: &mut String) {
    // Text can always be written.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn out_of_range() -> Rule<'static> {
    Cow::Borrowed("the expression gives a number or a timestamp out of range")
}

fn no_item(value: &Value) -> Rule<'static> {
    Cow::Owned(format!(
        "the expression gives a list or a map with a {} in it, which no trait can hold",
        value.type_of()
    ))
}
