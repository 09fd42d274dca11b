//! What a record becomes: typed values, borrowed from the record and the plan wherever nothing changed them.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::api::mapping_version::Entity;
use crate::consent::Statement;

/// A typed value of a trait or a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The CDP is to forget the trait.
    Null,
    /// Text.
    String(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// An exact decimal number, without zeros at the end of its fraction.
    Decimal(Decimal),
    /// True or false.
    Boolean(bool),
    /// An instant.
    Timestamp(Timestamp),
    /// A day of the calendar.
    Date(Date),
    /// An amount of money.
    Money(Money),
    /// Values of one type, without nulls.
    List(Vec<Value<'a>>),
    /// A JSON document without white space between its parts.
    Json(Cow<'a, str>),
    /// What a CDP gets nested, by the mapping's projection for it: names and values, no name twice.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl Value<'_> {
    /// The same value, holding its text itself.
    pub(super) fn owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Value::Integer(integer) => Value::Integer(integer),
            Value::Decimal(decimal) => Value::Decimal(decimal),
            Value::Boolean(boolean) => Value::Boolean(boolean),
            Value::Timestamp(timestamp) => Value::Timestamp(timestamp),
            Value::Date(date) => Value::Date(date),
            Value::Money(money) => Value::Money(money),
            Value::List(items) => Value::List(items.into_iter().map(Value::owned).collect()),
            Value::Json(document) => Value::Json(Cow::Owned(document.into_owned())),
            Value::Object(members) => {
                let members = members.into_iter();
                Value::Object(
                    members
                        .map(|(name, value)| (Cow::Owned(name.into_owned()), value.owned()))
                        .collect(),
                )
            }
        }
    }

    /// The same value, borrowed from this one where it is text.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Null => Value::Null,
            Value::String(text) => Value::String(Cow::Borrowed(text)),
            Value::Integer(integer) => Value::Integer(*integer),
            Value::Decimal(decimal) => Value::Decimal(*decimal),
            Value::Boolean(boolean) => Value::Boolean(*boolean),
            Value::Timestamp(timestamp) => Value::Timestamp(*timestamp),
            Value::Date(date) => Value::Date(*date),
            Value::Money(money) => Value::Money(*money),
            Value::List(items) => Value::List(items.iter().map(Value::borrowed).collect()),
            Value::Json(document) => Value::Json(Cow::Borrowed(document)),
            Value::Object(members) => {
                let members = members.iter();
                Value::Object(
                    members
                        .map(|(name, value)| (Cow::Borrowed(&**name), value.borrowed()))
                        .collect(),
                )
            }
        }
    }
}

/// An exact amount in a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The amount, without zeros at the end of its fraction.
    pub amount: Decimal,
    /// The currency's ISO 4217 code.
    pub currency: &'static str,
}

/// A record as the canonical entity, with what one sink may hold of it.
///
/// It prints customer data with `{:?}`: for tests, never for a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped<'m> {
    /// The canonical entity.
    pub entity: Entity,
    /// The identity that the sink takes as user id: a person's own, a deal's or a membership's subject's. An account has one only where its
    /// mapping names a subject.
    pub user_id: Option<Cow<'m, str>>,
    /// The identity that the sink takes as group id: a person's or a membership's group, an account's own.
    pub group_id: Option<Cow<'m, str>>,
    /// The identities that the sink takes beside the user id. Null and empty ones are left out: an empty id would make one person
    /// of many.
    pub external_ids: Vec<ExternalId<'m>>,
    /// The traits by the names that the CDP has for them, in the mapping's order, without those that the sink may not hold or that
    /// the CDP does not get.
    pub traits: Vec<(&'m str, Value<'m>)>,
    /// What the record states of each purpose. A mapping has no clock: [`Gate::decide`](crate::consent::Gate::decide) settles
    /// them.
    pub consent: Vec<Statement<'m>>,
    /// The events that the record may give rise to, in the mapping's order.
    pub events: Vec<MappedEvent<'m>>,
}

/// An identity that the sink takes beside the user id.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalId<'m> {
    /// Its kind in the mapping.
    pub kind: &'m str,
    /// What the CDP calls the kind.
    pub sent_as: &'m str,
    /// The id.
    pub id: Cow<'m, str>,
}

/// An event that happens if its trigger fires.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedEvent<'m> {
    /// The event's name in the mapping, by which the state store knows it.
    pub name: &'m str,
    /// What the CDP calls it.
    pub sent_as: &'m str,
    /// When it happened.
    pub at: Timestamp,
    /// Its properties by the names that the CDP has for them, without nulls and without those that the sink may not hold.
    pub properties: Vec<(&'m str, Value<'m>)>,
    /// When it fires.
    pub trigger: Trigger,
}

/// When an event fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The record is delivered for the first time.
    Created,
    /// The watched field's value differs from the one at the record's last delivery, or there was none.
    Changed {
        /// A hash of the watched field's value, the same on every machine.
        watched: u64,
    },
}
