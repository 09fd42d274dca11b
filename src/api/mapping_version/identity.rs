//! Identities of a record, and references to other entities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Transform;

/// One identity of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityKey {
    /// The identity's kind, for example `crm_id`, `email`, `email_sha256`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The CRM field that holds it.
    #[schemars(length(min = 1, max = 255))]
    pub from: String,
    /// What is done to the field's value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub transforms: Vec<Transform>,
    /// What the key may do: an `Informational` one never merges two profiles, and is delivered all the same where the sink
    /// takes it.
    #[serde(default)]
    pub role: IdentityRole,
    /// A value that so many records, or more, share identifies nobody, and is delivered for none of them. With it, whoever
    /// takes a value that another record has given up is not taken for that one. The stream then reads its keys before its
    /// records; the first time, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1000), extend("format" = "int32"))]
    pub block_when_shared_by: Option<u32>,
    /// Values that identify nobody, as the transforms leave them. An entry that ends in `@` is the part before the `@` of an
    /// address (`info@`), any other a whole value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 255)))]
    pub block_values: Vec<String>,
}

/// What an identity key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IdentityRole {
    /// Whoever has the value is the person.
    #[default]
    Identifying,
    /// It is told of the person, and never makes one person of two.
    Informational,
}

/// A reference from a record to another entity, by an identity of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityReference {
    /// The identity's kind, for example `account_id`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The CRM field that holds it.
    #[schemars(length(min = 1, max = 255))]
    pub from: String,
}

/// Whom the events of a record concern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The canonical entity: a person.
    pub entity: SubjectEntity,
    /// The identity's kind, for example `crm_id`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The CRM field that holds it.
    #[schemars(length(min = 1, max = 255))]
    pub from: String,
}

/// The entity that an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectEntity {
    /// A person.
    Person,
}
