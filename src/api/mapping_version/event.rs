//! Events derived from changes of a record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TraitType, Transform};
use crate::api::common::Classification;

/// An event derived from a record's change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventMapping {
    /// The event's name, for example `Opportunity Stage Changed`.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// When the event happens.
    pub when: EventTrigger,
    /// The CRM field that holds the event's instant; by default the record's modification stamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub at: Option<String>,
    /// The event's properties.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 255))]
    pub properties: Vec<PropertyMapping>,
}

/// When an event happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EventTrigger {
    /// A field's value differs from the one at the last delivery of the record, or the record is seen for the first time.
    Changed(String),
    /// The record is seen for the first time.
    Created {},
}

/// One property of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PropertyMapping {
    /// The property's name.
    #[schemars(length(min = 1, max = 255))]
    pub property: String,
    /// The CRM field that it comes from.
    #[schemars(length(min = 1, max = 255))]
    pub from: String,
    /// The property's type.
    #[serde(rename = "type")]
    pub kind: TraitType,
    /// Of a `List`: the type of its items, as of a trait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<TraitType>,
    /// Of an `Enum`, or of a `List` of them: the table of the allowed values, as of a trait.
    #[serde(default, rename = "enum", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub table: Option<String>,
    /// What is done to the field's value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub transforms: Vec<Transform>,
    /// How closely the property must be kept. A sink that may not hold it does not get it.
    #[serde(default)]
    pub classification: Classification,
}
