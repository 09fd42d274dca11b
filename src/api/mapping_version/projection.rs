//! One canonical contract, many CDPs: where a CDP names things its own way.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Entity;
use crate::api::common::Cdp;

/// What one CDP calls an entity's parts. What is not named here keeps its canonical name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Projection {
    /// The CDP, by the name of its member in a `CdpSink`.
    pub cdp: Cdp,
    /// The canonical entity. Each CDP has one projection of it at most.
    pub entity: Entity,
    /// From a trait's canonical name to where this CDP gets it: names with dots between them, each but the last a nested object
    /// (`address.city`). Null, or `"Null"` with quotes, leaves the trait out; client-side `kubectl apply` loses a plain null.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub traits: BTreeMap<String, ProjectedName>,
    /// From an event's canonical name to this CDP's. Null, or `"Null"`, leaves the event out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub events: BTreeMap<String, ProjectedName>,
    /// By the event's canonical name: from a property's canonical name to where this CDP gets it, as of a trait.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub properties: BTreeMap<String, BTreeMap<String, ProjectedName>>,
    /// From an identity's canonical kind to what this CDP calls it beside the user id (Segment: the `type` of an external id).
    /// Null, or `"Null"`, leaves it out. A sink's `identity` names canonical kinds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub identity: BTreeMap<String, ProjectedName>,
    /// From a purpose's canonical name to what this CDP calls it (Segment: the category of `context.consent`). None can be left out:
    /// a CDP must hear what was not agreed to. A sink's `consent.require` names canonical purposes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub consent: BTreeMap<String, ProjectedName>,
}

/// What a CDP calls something; nothing where it does not get it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProjectedName(pub Option<String>);

/// What leaves something out as text, which no client drops on the way to the API server.
const LEFT_OUT: &str = "Null";

impl<'de> Deserialize<'de> for ProjectedName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        Ok(ProjectedName(name.filter(|name| name != LEFT_OUT)))
    }
}

impl Serialize for ProjectedName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_deref().unwrap_or(LEFT_OUT))
    }
}

impl JsonSchema for ProjectedName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ProjectedName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": 255, "nullable": true})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_and_the_word_null_leave_out_and_are_written_as_the_word() {
        let read = |text: &str| serde_json::from_str::<ProjectedName>(text).unwrap();
        assert_eq!(read("null"), ProjectedName(None));
        assert_eq!(read("\"Null\""), ProjectedName(None));
        assert_eq!(read("\"null\""), ProjectedName(Some("null".to_owned())));
        assert_eq!(serde_json::to_string(&read("null")).unwrap(), "\"Null\"");
    }
}
