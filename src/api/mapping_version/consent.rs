//! Purposes, what grants them, and for how long.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One purpose that a person has consented to, or not. It fails closed: a null, an error, a value that is not understood,
/// evidence that is missing or too old, and a region's rule that does not say yes are each no consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("!has(self.expiresAfter) || has(self.at)")
        .message("expiresAfter counts from the evidence: at names the field with its instant")
)]
pub struct ConsentMapping {
    /// The purpose, for example `marketing_email`.
    #[schemars(length(min = 1, max = 63))]
    pub purpose: String,
    /// The CRM field that tells of it. Where it is null, nothing is known, and that is no consent.
    #[schemars(length(min = 1, max = 255))]
    pub from: String,
    /// A CEL expression over `value` (the field's) and `record`. Only `true` grants: a null, an error or anything else denies.
    #[schemars(length(min = 1, max = 4096))]
    pub granted: String,
    /// Another field that outranks `from` wherever it is not null: what it says is then all that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authoritative: Option<Authority>,
    /// The CRM field with the instant of the evidence: when the person said so. A date, and a date and time without an offset,
    /// are in UTC. Where it is named, a null in it, or what is no instant, is no consent; so is an instant that is still to
    /// come, by more than 5 minutes, or by more than 14 hours where the field has no offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub at: Option<String>,
    /// How long the evidence holds: a number of days, weeks, months or years by the calendar in UTC: `730d`, `52w`, `24mo`,
    /// `2y`. From then on there is no consent, and a run suppresses the person, whether the record changed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = r"^[1-9][0-9]{0,4}(d|w|mo|y)$"))]
    pub expires_after: Option<String>,
    /// On which ground the person's data is used, for the audit trail.
    #[serde(default)]
    pub legal_basis: LegalBasis,
    /// What is asked for beside `granted` where the law is stricter. Each region that a record is in must grant as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub regions: Vec<RegionRule>,
}

/// A field that outranks another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// The CRM field.
    #[schemars(length(min = 1, max = 255))]
    pub from: String,
    /// A CEL expression over `value` (this field's) and `record`. Only `true` grants.
    #[schemars(length(min = 1, max = 4096))]
    pub granted: String,
}

/// What is asked for beside `granted` in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionRule {
    /// A CEL expression over `value` and `record`: whether the record is in the region. Where it gives neither `true` nor
    /// `false`, that is no consent. `null in ['DE']` is `false`: a rule that is to hold for unknown countries too says so.
    #[schemars(length(min = 1, max = 4096))]
    pub when: String,
    /// A CEL expression over `value` and `record`. Only `true` grants.
    #[schemars(length(min = 1, max = 4096))]
    pub granted: String,
}

/// On which ground a person's data is used: the grounds of the GDPR's
/// [article 6](https://eur-lex.europa.eu/eli/reg/2016/679/oj#art_6) that a CRM's record can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LegalBasis {
    /// The person has said yes.
    #[default]
    Consent,
    /// An interest that outweighs the person's, until the person objects.
    LegitimateInterest,
    /// A contract with the person can't be fulfilled without.
    Contract,
    /// A law demands it.
    LegalObligation,
}

impl LegalBasis {
    /// The word that a mapping has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            LegalBasis::Consent => "Consent",
            LegalBasis::LegitimateInterest => "LegitimateInterest",
            LegalBasis::Contract => "Contract",
            LegalBasis::LegalObligation => "LegalObligation",
        }
    }
}
