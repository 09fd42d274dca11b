//! Mappings: compiled once per run into a plan, then applied to every record.
//!
//! The same record, mapping and clock give the same bytes, on every machine.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// A typed value of a trait, a property or an identity.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The CDP is to forget the trait.
    Null,
    /// Text.
    String(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// True or false.
    Boolean(bool),
    /// An instant.
    Timestamp(Timestamp),
    /// A day of the calendar.
    Date(Date),
}

/// Why a record was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {rule}")]
pub struct Rejection {
    /// Where in the mapping: `traits[lifecycle_stage]`, `identity[crm_id]`.
    pub path: String,
    /// Which rule, without the value: `enum table "lifecycle" has no such value`.
    pub rule: String,
}
