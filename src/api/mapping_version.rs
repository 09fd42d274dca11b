//! `MappingVersion`: an immutable contract between the people who own the CRM and those who own the CDP.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use super::common::Classification;

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
    cel,
    doc = "One version of one named mapping from a CRM to the canonical entities. Immutable: a change is a new version.",
    printcolumn(name = "Mapping", type_ = "string", json_path = ".spec.mapping"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(
        name = "Compiled",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Compiled\")].status"
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
    /// What is new in this version, for the people who read the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub release_notes: Option<String>,
    /// Tables by name, from the CRM's value to the canonical one, for the `enum` transform.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub enums: BTreeMap<String, BTreeMap<String, String>>,
    /// What becomes of each CRM object.
    #[schemars(length(min = 1, max = 64))]
    pub objects: Vec<ObjectMapping>,
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

/// What becomes of one CRM object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("self.entity != 'Deal' || has(self.subject)")
        .message("an object of entity Deal needs subject: the person whom its events concern")
)]
pub struct ObjectMapping {
    /// The CRM object's API name, for example `Contact`.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z][A-Za-z0-9_]*$"))]
    pub object: String,
    /// The canonical entity that a record of it becomes.
    pub entity: Entity,
    /// The record's identities, in order of precedence.
    #[schemars(length(min = 1, max = 16))]
    pub identity: Vec<IdentityKey>,
    /// The group (an account, a household) that a person belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<IdentityReference>,
    /// Whom the events of an object that is not itself a person concern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The traits of the entity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub traits: Vec<TraitMapping>,
    /// Events derived from the record's changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub events: Vec<EventMapping>,
    /// The purposes that the person has consented to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub consent: Vec<ConsentMapping>,
}

/// The canonical entity that a record becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Entity {
    /// A person: delivered as `identify`, and as `group` where the mapping names one.
    Person,
    /// A company, an account, a household: delivered as `group`.
    Account,
    /// Something that happens to a person: delivered as `track`, by its events.
    Deal,
}

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

/// One trait, and where it comes from: a CRM field with transforms, or a CEL expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.from) != has(self.cel)").message("a trait has exactly one of from, cel")
)]
pub struct TraitMapping {
    /// The trait's name in the canonical entity.
    #[serde(rename = "trait")]
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// The CRM field that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub from: Option<String>,
    /// A [CEL](https://cel.dev) expression over `record`, which holds the CRM's fields by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cel: Option<String>,
    /// The trait's type.
    #[serde(rename = "type")]
    pub kind: TraitType,
    /// What is done to the field's value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub transforms: Vec<Transform>,
    /// What becomes of a null.
    #[serde(default)]
    pub on_null: OnNull,
    /// What becomes of a value that a transform or the type refuses: `Reject`, `Null` or `Keep`. Write `"Null"` with quotes:
    /// YAML reads a plain one as null, which is taken for it, but which client-side `kubectl apply` leaves out.
    #[serde(default, deserialize_with = "null_by_name")]
    #[schemars(schema_with = "reject_null_or_keep")]
    pub on_error: OnError,
    /// How closely the trait must be kept. A sink that may not hold it does not get it.
    #[serde(default)]
    pub classification: Classification,
}

/// The type of a trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TraitType {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// An exact decimal number, never a float.
    Decimal,
    /// True or false.
    Boolean,
    /// An instant, delivered in UTC by RFC 3339.
    Timestamp,
    /// A day of the calendar, delivered as `YYYY-MM-DD`.
    Date,
}

/// What becomes of a null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNull {
    /// The trait is left out: the CDP keeps what it had.
    #[default]
    Keep,
    /// The trait is delivered as null: the CDP forgets it.
    Unset,
    /// The record is rejected to the dead letters.
    Reject,
}

/// What becomes of a value that a transform or the type refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnError {
    /// The record is rejected to the dead letters.
    #[default]
    Reject,
    /// The trait is taken as null, and `onNull` says what follows.
    Null,
    /// The trait is left out: the CDP keeps what it had.
    Keep,
}

/// YAML takes a plain `Null` for null, so null is the variant `Null`; only an absent field is the default.
fn null_by_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    match Option::deserialize(deserializer)? {
        Some(named) => Ok(named),
        None => T::deserialize("Null".into_deserializer()),
    }
}

/// The schema of [`OnError`] and [`Otherwise`], which takes null for `Null`: a field that is not nullable would lose the null
/// and be given its default. A pattern, since the API server holds null against an `enum` even where that lists it.
fn reject_null_or_keep(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^(Reject|Null|Keep)$",
        "default": "Reject",
        "nullable": true,
    })
}

/// One step from the CRM's value to the trait's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Transform {
    /// Removes white space at both ends.
    Trim {},
    /// Lower case, by Unicode.
    Lower {},
    /// Upper case, by Unicode.
    Upper {},
    /// The SHA-256 of the UTF-8 text, as 64 lower-case hexadecimal digits.
    Sha256 {},
    /// A telephone number in the form of ITU-T E.164: `+4930123456`.
    #[serde(rename_all = "camelCase")]
    E164 {
        /// The CRM field that holds the ISO 3166-1 alpha-2 code of the country a national number belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        country_from: Option<String>,
        /// The country where `countryFrom` is absent, null or not a code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = r"^[A-Z]{2}$"))]
        default: Option<String>,
    },
    /// An instant from RFC 3339, or from a date or a date and time in a time zone.
    Timestamp {
        /// The IANA time zone of a value that has none, by default `UTC`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// An exact decimal number from a number or its text.
    #[serde(rename_all = "camelCase")]
    Decimal {
        /// The sign before the fraction, by default `.`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1))]
        decimal_separator: Option<String>,
        /// The sign between groups of digits, by default none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(length(min = 1, max = 1))]
        group_separator: Option<String>,
    },
    /// A value by one of the mapping's tables.
    Enum {
        /// The table's name in `spec.enums`.
        table: String,
        /// What becomes of a value that the table lacks: `Reject`, `"Null"` or `Keep`, as for `onError`.
        #[serde(default, deserialize_with = "null_by_name")]
        #[schemars(schema_with = "reject_null_or_keep")]
        otherwise: Otherwise,
    },
    /// A value in place of a null.
    Default {
        /// The value, as text of the trait's type.
        value: String,
    },
}

/// What becomes of a value that an enum's table lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Otherwise {
    /// An error, and the trait's `onError` says what follows.
    #[default]
    Reject,
    /// Null, and the trait's `onNull` says what follows.
    Null,
    /// The value as it is.
    Keep,
}

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
    /// What is done to the field's value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub transforms: Vec<Transform>,
    /// How closely the property must be kept. A sink that may not hold it does not get it.
    #[serde(default)]
    pub classification: Classification,
}

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

/// What is known of a mapping version. Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct MappingVersionStatus {
    /// The generation that the conditions speak of; -1 until a controller has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = super::common::UNSEEN))]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Stalled`, `Compiled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many pipelines take this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<i32>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_null_is_the_variant_of_that_name_and_only_an_absent_field_the_default() {
        let rule = |on_error| {
            let mut rule = json!({"trait": "phone", "from": "Phone", "type": "String"});
            if let Some(on_error) = on_error {
                rule["onError"] = on_error;
            }
            serde_json::from_value::<TraitMapping>(rule).map(|rule| rule.on_error)
        };
        assert_eq!(rule(Some(json!(null))).unwrap(), OnError::Null);
        assert_eq!(rule(Some(json!("Null"))).unwrap(), OnError::Null);
        assert_eq!(rule(Some(json!("Keep"))).unwrap(), OnError::Keep);
        assert_eq!(rule(None).unwrap(), OnError::Reject);
        let refused = rule(Some(json!("null"))).unwrap_err().to_string();
        assert!(refused.contains("`Reject`, `Null`, `Keep`"), "{refused}");
    }
}
