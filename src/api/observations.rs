//! What the runs of a stream have seen of the CRM: the object as it is described, and how full its fields are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mapping_version::Dependent;

/// How many of the records of a run had a value for each trait. `ferrygate catalog --status` tells it by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FillRates {
    /// The version of the mapping.
    #[schemars(length(max = 63))]
    pub mapping_version: String,
    /// How many records were read and mapped.
    pub records: i64,
    /// When the run ended.
    pub time: Time,
    /// Of a thousand records, how many had a value: a number for each trait of the stream's object, in the mapping's order. 1000 only
    /// where all had one, 0 only where none had, -1 where the sink does not get the trait.
    #[schemars(length(max = 1000))]
    pub per_mille: Vec<i32>,
}

impl FillRates {
    /// A run of so many records tells how full fields are, whatever earlier ones told.
    const TELLING: i64 = 1_000;

    /// Whether these take the place of what is there: a run that reads only what changed since a minute ago tells little.
    pub fn replace(&self, before: Option<&FillRates>) -> bool {
        before.is_none_or(|before| {
            self.records >= FillRates::TELLING.min(before.records) || self.mapping_version != before.mapping_version
        })
    }
}

/// The CRM object of a stream, as it is described to the integration user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamSchema {
    /// A hash of the description: what the annotation `ferrygate.io/accept-schema` names to accept it.
    pub hash: String,
    /// The version of the mapping that the description was held against.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub mapping_version: String,
    /// Whether a person has accepted this very description.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// What changed since the mapping version first ran, or a description was last accepted. The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<SchemaChange>,
    /// In what the mapping and the object do not fit, each with its path in the MappingVersion. The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

impl StreamSchema {
    /// Whether there is nothing that a person should look at.
    pub fn is_aligned(&self) -> bool {
        self.accepted || self.findings.is_empty() && !self.changes.iter().any(|change| change.matters)
    }

    /// What a person should look at, in words.
    pub fn words(&self) -> String {
        let changes = self.changes.iter().filter(|change| change.matters);
        let words = changes.map(SchemaChange::words).chain(self.findings.iter().cloned());
        words.collect::<Vec<_>>().join("; ")
    }
}

/// A change of a field in the CRM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaChange {
    /// The field's API name.
    pub field: String,
    /// What changed, in words.
    pub change: String,
    /// Whether the mapping reads the field, and what it reads may mean something else now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub matters: bool,
    /// The traits, events, identities and purposes that read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touches: Vec<String>,
    /// What rests on those traits outside of Ferrygate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<Dependent>,
}

impl SchemaChange {
    fn words(&self) -> String {
        let mut words = format!("{} {}", self.field, self.change);
        if !self.touches.is_empty() {
            words += &format!("; it is read by {}", self.touches.join(", "));
        }
        for Dependent { kind, name, owner, .. } in &self.dependents {
            words += &format!("; {kind:?} {name} ({owner}) rests on it");
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_read_little_does_not_hide_what_one_that_read_much_has_told() {
        let rates = |records, version: &str| FillRates {
            mapping_version: version.to_owned(),
            records,
            time: Time(jiff::Timestamp::UNIX_EPOCH),
            per_mille: Vec::new(),
        };
        let cases = [
            (5, "1.0.0", None, true),
            (5, "1.0.0", Some(rates(4, "1.0.0")), true),
            (5, "1.0.0", Some(rates(6, "1.0.0")), false),
            (1_000, "1.0.0", Some(rates(1_000_000, "1.0.0")), true),
            (999, "1.0.0", Some(rates(1_000_000, "1.0.0")), false),
            (1, "1.1.0", Some(rates(1_000_000, "1.0.0")), true),
        ];
        for (records, version, before, expected) in cases {
            assert_eq!(
                rates(records, version).replace(before.as_ref()),
                expected,
                "{records} {before:?}"
            );
        }
    }
}
