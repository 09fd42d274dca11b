//! `MappingVersion`: an immutable contract between the people who own the CRM and those who own the CDP.

mod consent;
mod event;
mod identity;
mod object;
mod projection;
mod rates;
mod traits;
mod transform;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::SecretKeySelector;

pub use consent::{Authority, ConsentMapping, LegalBasis, RegionRule};
pub use event::{EventMapping, EventTrigger, PropertyMapping};
pub use identity::{IdentityKey, IdentityReference, IdentityRole, Subject, SubjectEntity};
pub use object::{Dependent, DependentKind, Entity, ObjectMapping};
pub use projection::{ProjectedName, Projection};
pub use rates::ExchangeRates;
pub use traits::{Deprecation, OnError, OnNull, TraitMapping, TraitType};
pub use transform::{AmbiguousTime, CountryCode, LanguageCode, Otherwise, Rounding, Transform};

/// One version of one named mapping. Immutable: a change is a new version in a new object.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ferrygate.io",
    version = "v1alpha1",
    kind = "MappingVersion",
    plural = "mappingversions",
    shortname = "mapv",
    category = "ferrygate",
    namespaced,
    status = "MappingVersionStatus",
    derive = "PartialEq",
    doc = "One version of one named mapping from a CRM to the canonical entities. Immutable: a change is a new version.",
    printcolumn(name = "Mapping", type_ = "string", json_path = ".spec.mapping"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(
        name = "Compiled",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Compiled\")].status"
    ),
    printcolumn(
        name = "Compatible",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Compatible\")].status"
    ),
    printcolumn(name = "Used By", type_ = "integer", json_path = ".status.usedBy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("self == oldSelf")
        .message("spec is immutable: write the change as a new version in a new MappingVersion")
)]
pub struct MappingVersionSpec {
    /// The mapping's name, which all of its versions share.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub mapping: String,
    /// The version, by [Semantic Versioning](https://semver.org): `2.1.0`.
    #[schemars(
        length(max = 63),
        regex(pattern = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$")
    )]
    pub version: String,
    /// Who is asked about this contract.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub owners: Vec<Owner>,
    /// Past this day the contract is due for a review, as the condition `ReviewDue` then says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::common::day")]
    pub review_by: Option<Date>,
    /// What is new in this version, for the people who read the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub release_notes: Option<String>,
    /// Tables by name, from the CRM's value to the canonical one, for the `enum` transform.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub enums: BTreeMap<String, BTreeMap<String, String>>,
    /// The rates by which the `money` transform converts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<ExchangeRates>,
    /// What becomes of each CRM object.
    #[schemars(length(min = 1, max = 64))]
    pub objects: Vec<ObjectMapping>,
    /// Where a CDP names things its own way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub projections: Vec<Projection>,
}

impl MappingVersionSpec {
    /// The keys of Secrets that the mapping's transforms name.
    pub fn secrets(&self) -> BTreeSet<SecretKeySelector> {
        let chains = self.objects.iter().flat_map(|object| {
            let identities = object.identity.iter().map(|identity| &identity.transforms);
            let traits = object.traits.iter().map(|rule| &rule.transforms);
            let properties = object.events.iter().flat_map(|event| &event.properties);
            identities
                .chain(traits)
                .chain(properties.map(|property| &property.transforms))
        });
        chains
            .flatten()
            .filter_map(|transform| match transform {
                Transform::HmacSha256(key) => Some(key.secret_key_ref.clone()),
                _ => None,
            })
            .collect()
    }
}

/// Someone who is asked about a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The team's name.
    pub team: String,
    /// How to reach it: an address or a channel.
    pub contact: String,
    /// The team's part in the contract.
    pub role: OwnerRole,
}

/// A team's part in a contract, by the RACI matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OwnerRole {
    /// Does the work.
    Responsible,
    /// Answers for it.
    Accountable,
    /// Is asked before a change.
    Consulted,
    /// Is told after a change.
    Informed,
}

/// What is known of a mapping version. Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct MappingVersionStatus {
    /// The generation that the conditions speak of; -1 until a controller has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = super::common::UNSEEN))]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Compiled`, `Compatible`, `SemverCompliant`, `ReviewDue`, `RemovalDue`, `InUse`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many pipelines take this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<i32>,
    /// What changed since the version before, which is the highest release below this one in the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<MappingChanges>,
}

/// What changed since the version before. `ferrygate diff` tells all of it, and whom it concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MappingChanges {
    /// The version before.
    pub since: String,
    /// How many changes break what relies on that version.
    pub breaking: i32,
    /// How many add something and break nothing.
    pub compatible: i32,
    /// How many are for readers only.
    pub editorial: i32,
    /// The lowest number that a version with such changes may have.
    pub least_version: String,
    /// The first of the changes, the breaking ones before the others.
    #[serde(default)]
    pub first: Vec<String>,
}
