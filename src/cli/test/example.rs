//! What a file of examples holds.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::sync_pipeline::MappingReference;

/// The examples of one mapping: a document of a file that ends in `.examples.yaml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Examples {
    /// The mapping and its version, or a range, as a pipeline names them.
    #[serde(deserialize_with = "reference")]
    pub mapping: MappingReference,
    /// The CdpSink for which the records are mapped. Without it: a sink that takes every identity and may hold every trait.
    #[serde(default)]
    pub sink: Option<String>,
    /// The examples.
    pub examples: Vec<Example>,
}

/// A record, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Example {
    /// What the example shows.
    pub name: String,
    /// The CRM object.
    pub object: String,
    /// The record's fields, as the CRM would send them. One that is not there is null.
    pub record: Map<String, Value>,
    /// The record at its last delivery. Without it, this is the first one.
    #[serde(default)]
    pub previous: Option<Map<String, Value>>,
    /// When the record was modified.
    #[serde(default)]
    pub modified: Option<Timestamp>,
    /// The clock, by which consent ends and is too old. Without it: the later of `modified` and the newest evidence of consent in
    /// the record, so that an example never changes by the day on which it is run.
    #[serde(default)]
    pub now: Option<Timestamp>,
    /// Whether the record was deleted in the CRM.
    #[serde(default)]
    pub deleted: bool,
    /// What the record becomes.
    #[serde(default)]
    pub expect: Option<Expected>,
    /// The rule that rejects the record.
    #[serde(default)]
    pub rejected: Option<ExpectedRejection>,
}

/// What a record becomes. A part that is not given is not compared; one that is given is compared whole.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expected {
    /// The record's own identities, by kind.
    #[serde(default)]
    pub identity: Option<Value>,
    /// The group that a person belongs to.
    #[serde(default)]
    pub group: Option<Value>,
    /// The person whom the events concern, where the record is not a person itself.
    #[serde(default)]
    pub subject: Option<Value>,
    /// The traits by name. One that the CDP is to forget is null; one that is left out is not there.
    #[serde(default)]
    pub traits: Option<Value>,
    /// The purposes, and whether each is granted: true or false or, of one that is not, why (`Expired`).
    #[serde(default)]
    pub consent: Option<Value>,
    /// Whether nothing is delivered of the record but that it is suppressed: its traits and events stay where they are.
    #[serde(default)]
    pub suppressed: Option<bool>,
    /// The events that happen, in the mapping's order, each with its name, its properties and, where it is given, its instant.
    #[serde(default)]
    pub events: Option<Vec<Value>>,
}

/// Why a record is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectedRejection {
    /// Where in the mapping: `traits[lifecycle_stage]`.
    pub path: String,
    /// Words of the rule.
    #[serde(default)]
    pub rule: Option<String>,
}

/// [`MappingReference`], and no other field.
fn reference<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<MappingReference, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        name: String,
        version: String,
    }
    Strict::deserialize(deserializer).map(|Strict { name, version }| MappingReference { name, version })
}

impl Examples {
    /// Reads the documents of a file.
    ///
    /// # Errors
    /// Where the text is no YAML, or not of this form: what is wrong, with its path.
    pub fn read(text: &str) -> Result<Vec<Examples>, String> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
        let documents = documents.into_iter().filter(|document| !document.is_null());
        let read = documents.map(|document| {
            let examples: Examples = serde_path_to_error::deserialize(document)
                .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
            examples.check()?;
            Ok(examples)
        });
        read.collect()
    }

    fn check(&self) -> Result<(), String> {
        for (position, example) in self.examples.iter().enumerate() {
            if example.expect.is_some() == example.rejected.is_some() {
                return Err(format!(
                    "examples[{position}]: an example has exactly one of expect, rejected"
                ));
            }
            if example.expect == Some(Expected::default()) {
                return Err(format!(
                    "examples[{position}].expect: names nothing that would be compared"
                ));
            }
        }
        Ok(())
    }
}

impl Example {
    /// A field of the record: by its name or, of a related record, by the names on the way (`Account.Name`).
    pub fn field(&self, name: &str) -> Option<&Value> {
        field(&self.record, name)
    }
}

/// A field of a record.
pub(super) fn field<'r>(record: &'r Map<String, Value>, name: &str) -> Option<&'r Value> {
    if let Some(value) = record.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    field(record.get(first)?.as_object()?, rest)
}
