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
