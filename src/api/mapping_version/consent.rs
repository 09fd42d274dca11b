//! Purposes, and what grants them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One purpose that a person has consented to, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentMapping {
    /// The purpose, for example `marketing_email`.
    #[schemars(length(min = 1, max = 63))]
    pub purpose: String,
    /// The CRM field that tells of it.
    #[schemars(length(min = 1, max = 255))]
    pub from: String,
    /// A CEL expression over `value` (the field's) and `record`. Only `true` grants: a null, an error or anything else denies.
    #[schemars(length(min = 1, max = 4096))]
    pub granted: String,
}
