//! A manifest against the schema of its kind, as the API server holds it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use kube::core::cel::{self, CompiledSchema, ValidationError, ValidationErrors, compile_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::mapping::did_you_mean;

/// What the API server holds the manifests of a kind against.
pub struct Schema {
    spec: Value,
    validator: Option<Validator>,
    rules: CompiledSchema,
}

/// By kind, from `crds/`, which the tests keep as the types give it: making a schema from the types takes longer than anything else
/// that a command does with a folder.
static SCHEMAS: [(&str, LazyLock<Schema>); 4] = [
    (
        "CrmSource",
        LazyLock::new(|| Schema::new(include_str!("../../crds/crmsources.ferrygate.io.yaml"))),
    ),
    (
        "CdpSink",
        LazyLock::new(|| Schema::new(include_str!("../../crds/cdpsinks.ferrygate.io.yaml"))),
    ),
    (
        "MappingVersion",
        LazyLock::new(|| Schema::new(include_str!("../../crds/mappingversions.ferrygate.io.yaml"))),
    ),
    (
        "SyncPipeline",
        LazyLock::new(|| Schema::new(include_str!("../../crds/syncpipelines.ferrygate.io.yaml"))),
    ),
];

impl Schema {
    /// The schema of a kind; none, where it is not one of ours.
    pub fn of(kind: &str) -> Option<&'static Schema> {
        let (_, schema) = SCHEMAS.iter().find(|(name, _)| *name == kind)?;
        Some(schema)
    }

    fn new(definition: &str) -> Schema {
        // What can't be read or compiled is a defect that the tests find.
        let definition: Value = serde_saphyr::from_str(definition).unwrap_or_default();
        let whole = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let spec = whole["properties"]["spec"].clone();
        Schema {
            validator: jsonschema::validator_for(&nullable(&spec)).ok(),
            rules: compile_schema(whole),
            spec,
        }
    }

    /// What the rules of the kind say against a resource, each with its path.
    pub fn broken_rules(&self, resource: &impl Serialize) -> Vec<ValidationError> {
        let Ok(resource) = serde_json::to_value(resource) else {
            return Vec::new();
        };
        let checked = cel::Validator::new().validate_compiled(&self.rules, &resource, None);
        checked.err().map(ValidationErrors::into_vec).unwrap_or_default()
    }

    /// What the schema says against a manifest's `spec`: a path and words each. Nulls that the API server would drop are dropped from
    /// the manifest.
    pub fn check(&self, document: &mut Value) -> Vec<(String, String)> {
        let Some(spec) = document.get_mut("spec") else {
            return vec![("spec".to_owned(), "must be given".to_owned())];
        };
        let mut found = Vec::new();
        walk("spec", spec, &self.spec, &mut found);
        let broken: Vec<_> = self
            .validator
            .iter()
            .flat_map(|validator| broken(validator, spec))
            .collect();
        // None of several forms fits, for which a field that is in none of them is reason enough.
        let is_explained = |path: &str| found.iter().any(|(other, _)| other.starts_with(&format!("{path}.")));
        let broken: Vec<_> = broken
            .into_iter()
            .filter(|(path, words)| !(words.contains("'oneOf'") && is_explained(path)))
            .collect();
        found.extend(broken);
        found
    }
}

fn broken(validator: &Validator, spec: &Value) -> Vec<(String, String)> {
    let errors = validator.iter_errors(spec);
    let told: BTreeSet<_> = errors
        .map(|error| {
            let path = dotted(&format!("spec{}", error.instance_path().as_str()), '/');
            (path, error.masked_with("the value").to_string())
        })
        .collect();
    told.into_iter().collect()
}

/// `spec.objects[0].traits`, from steps like those of the JSON pointer `/objects/0/traits`.
pub fn dotted(steps: &str, separator: char) -> String {
    let mut path = String::new();
    for step in steps.split(separator) {
        match step.parse::<usize>() {
            Ok(position) => path.push_str(&format!("[{position}]")),
            Err(_) if path.is_empty() => path.push_str(step),
            Err(_) => path.push_str(&format!(".{}", step.replace("~1", "/").replace("~0", "~"))),
        }
    }
    path
}

/// Notes fields that the schema does not have, and drops nulls that it does not allow.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable>
fn walk(path: &str, value: &mut Value, schema: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let known = schema["properties"].as_object();
            let others = schema.get("additionalProperties");
            let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true || others.is_some() || known.is_none();
            let field = |name: &str| known.and_then(|known| known.get(name)).or(others);
            fields
                .retain(|name, value| !value.is_null() || field(name).is_none_or(|schema| schema["nullable"] == true));
            for (name, value) in fields.iter_mut() {
                let path = format!("{path}.{name}");
                match field(name) {
                    Some(schema) => walk(&path, value, schema, found),
                    None if is_open => {}
                    None => {
                        let names = known.into_iter().flat_map(Map::keys).map(String::as_str);
                        found.push((path, format!("unknown field{}", did_you_mean(name, names))));
                    }
                }
            }
        }
        Value::Array(elements) => {
            for (position, element) in elements.iter_mut().enumerate() {
                walk(&format!("{path}[{position}]"), element, &schema["items"], found);
            }
        }
        _ => {}
    }
}

/// The schema in the words of JSON Schema, which has no `nullable`.
fn nullable(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let fields: Map<String, Value> = fields
                .iter()
                .filter(|(name, value)| *name != "nullable" || !value.is_boolean())
                .map(|(name, value)| (name.clone(), nullable(value)))
                .collect();
            if schema["nullable"] == true {
                json!({"anyOf": [{"type": "null"}, fields]})
            } else {
                Value::Object(fields)
            }
        }
        Value::Array(elements) => elements.iter().map(nullable).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_of_all_kinds_can_be_held_against_a_manifest() {
        for (kind, schema) in &SCHEMAS {
            assert!(schema.spec["properties"].is_object(), "{kind}");
            assert!(schema.validator.is_some(), "{kind}");
            assert!(!schema.rules.properties.is_empty(), "{kind}");
        }
    }

    #[test]
    fn bounds_patterns_and_names_are_held_and_nulls_are_treated_as_the_api_server_does() {
        let mut document = json!({"spec": {
            "mapping": "Customer", "version": "1.0", "reviewBy": null, "colour": "blue",
            "objects": [{
                "object": "Contact", "entity": "Person", "identity": [],
                "traits": [{"trait": "", "from": "F", "type": "String", "onEror": "Null", "onError": null}],
            }],
        }});
        let schema = Schema::of("MappingVersion").expect("a kind");
        let found = schema.check(&mut document);
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "spec.colour",
                "spec.objects[0].traits[0].onEror",
                "spec.mapping",
                "spec.objects[0].identity",
                "spec.objects[0].traits[0].trait",
                "spec.version",
            ]
        );
        assert_eq!(found[1].1, "unknown field; did you mean \"onError\"?");
        assert!(document["spec"].get("reviewBy").is_none(), "{document}");
        assert!(
            document["spec"]["objects"][0]["traits"][0]["onError"].is_null(),
            "{document}"
        );
    }
}
