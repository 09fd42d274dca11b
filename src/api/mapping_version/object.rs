//! What becomes of one CRM object.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConsentMapping, EventMapping, IdentityKey, IdentityReference, Subject, TraitMapping};

/// What becomes of one CRM object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("self.entity != 'Deal' || has(self.subject)")
        .message("an object of entity Deal needs subject: the person whom its events concern"),
    validation = Rule::new("self.entity != 'Membership' || (has(self.subject) && has(self.group))")
        .message("an object of entity Membership needs subject and group: the person, and what they belong to")
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
    /// The group (an account, a household) that a person, or a membership's subject, belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<IdentityReference>,
    /// The field that names the record which a person was merged into (Salesforce's `MasterRecordId`). It needs a stream that
    /// reads deleted records: the CRM deletes the ones that lose a merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<IdentityReference>,
    /// The field that names the record which a person goes on as, of another object (a lead's `ConvertedContactId`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted_into: Option<IdentityReference>,
    /// Whom the events of an object that is not itself a person concern, or whose membership it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The traits of the entity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub traits: Vec<TraitMapping>,
    /// What rests on a trait outside of Ferrygate, and whom it concerns when the trait changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub dependents: Vec<Dependent>,
    /// Events derived from the record's changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub events: Vec<EventMapping>,
    /// The purposes that the person has consented to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub consent: Vec<ConsentMapping>,
}

/// Something outside of Ferrygate that rests on a trait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependent {
    /// The trait's name.
    #[serde(rename = "trait")]
    #[schemars(length(min = 1, max = 255))]
    pub trait_name: String,
    /// What it is.
    pub kind: DependentKind,
    /// Its name where it is kept, for example an audience's in the CDP.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Who is told when the trait changes: an address or a channel.
    #[schemars(length(min = 1, max = 255))]
    pub owner: String,
}

/// What rests on a trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DependentKind {
    /// A set of people in the CDP.
    Audience,
    /// A journey, a campaign, a canvas.
    Journey,
    /// A computed trait or a score.
    ComputedTrait,
    /// A report or a dashboard.
    Report,
    /// Another system that the CDP delivers to.
    Destination,
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
    /// That a person belongs to a group, in one of several roles or to one of several groups (Salesforce's
    /// `AccountContactRelation`): delivered as `group` of the person, with its traits as those of the person in this group.
    Membership,
}
