//! One version's contract, entity by entity.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Definition, Entity, Event, Object, Origin, Source, Trait};
use super::words::{self, Step, Term, further, member, written};
use crate::api::common::Classification;
use crate::api::mapping_version::{MappingVersionSpec, ObjectMapping, TraitMapping};

type Tables = BTreeMap<String, BTreeMap<String, String>>;

/// The entities in the order in which the mapping first names them.
pub(super) fn entities(spec: &MappingVersionSpec) -> Vec<Entity> {
    let mut entities: Vec<Entity> = Vec::new();
    for mapped in &spec.objects {
        let name = words::text(&written(&mapped.entity));
        let position = entities
            .iter()
            .position(|entity| entity.name == name)
            .unwrap_or_else(|| {
                entities.push(Entity {
                    name,
                    objects: Vec::new(),
                    traits: Vec::new(),
                });
                entities.len() - 1
            });
        add(&mut entities[position], mapped, &spec.enums);
    }
    entities
}

fn add(entity: &mut Entity, mapped: &ObjectMapping, tables: &Tables) {
    for rule in &mapped.traits {
        let definition = definition(rule, mapped, tables);
        match entity.traits.iter_mut().find(|known| known.name == rule.name) {
            Some(known) => known.definitions.push(definition),
            None => entity.traits.push(Trait {
                name: rule.name.clone(),
                definitions: vec![definition],
                dependents: Vec::new(),
            }),
        }
    }
    for dependent in &mapped.dependents {
        let target = entity
            .traits
            .iter_mut()
            .find(|known| known.name == dependent.trait_name);
        if let Some(target) = target.filter(|target| !target.dependents.contains(dependent)) {
            target.dependents.push(dependent.clone());
        }
    }
    entity.objects.push(object(mapped, tables));
}

fn object(mapped: &ObjectMapping, tables: &Tables) -> Object {
    let part = written(mapped);
    let list = |name: &str| part[name].as_array().cloned().unwrap_or_default();
    let reference = |name: &str, label: &str| {
        let reference = part.get(name)?;
        Some(Term {
            label: label.into(),
            text: format!(
                "{} from the field {}",
                member(reference, "kind"),
                member(reference, "from")
            ),
        })
    };
    Object {
        name: mapped.object.clone(),
        identity: list("identity").iter().map(|key| source(key, "kind", tables)).collect(),
        references: [
            reference("group", "Belongs to the account"),
            reference("subject", "Concerns the person"),
        ]
        .into_iter()
        .flatten()
        .collect(),
        consent: list("consent")
            .iter()
            .map(|consent| source(consent, "purpose", tables))
            .collect(),
        events: list("events").iter().map(|happens| event(happens, tables)).collect(),
        further: further(
            &part,
            &[
                "object",
                "entity",
                "identity",
                "group",
                "subject",
                "traits",
                "dependents",
                "events",
                "consent",
            ],
        ),
    }
}

/// An identity, a purpose or a property. `name` is the member that holds its name: `kind` is an identity's, a property's type
/// is in `type`.
fn source(part: &Value, name: &str, tables: &Tables) -> Source {
    let transforms = transforms(part);
    let kind = part.get("type").map(|kind| words::variant(kind).0).unwrap_or_default();
    Source {
        name: member(part, name),
        from: member(part, if part.get("from").is_some() { "from" } else { "cel" }),
        steps: transforms.iter().map(words::step).collect(),
        values: values(&transforms, &kind, tables),
        classification: part
            .get("classification")
            .and_then(|named| serde_json::from_value::<Classification>(named.clone()).ok()),
        further: further(part, &[name, "from", "cel", "type", "transforms", "classification"]),
        kind,
    }
}

fn event(part: &Value, tables: &Tables) -> Event {
    let properties = part["properties"].as_array().into_iter().flatten();
    Event {
        name: member(part, "name"),
        when: words::trigger(&part["when"]),
        properties: properties
            .map(|property| source(property, "property", tables))
            .collect(),
        further: further(part, &["name", "when", "properties"]),
    }
}

fn definition(rule: &TraitMapping, mapped: &ObjectMapping, tables: &Tables) -> Definition {
    let part = written(rule);
    let transforms = transforms(&part);
    let origin = match part.get("cel") {
        Some(expression) => Origin::Expression(words::text(expression)),
        None => Origin::Field(member(&part, "from")),
    };
    let kind = words::variant(&part["type"]).0;
    Definition {
        object: mapped.object.clone(),
        tables: used_tables(&transforms, tables),
        values: values(&transforms, &kind, tables),
        same_field: match &origin {
            Origin::Field(field) => same_field(field, &rule.name, mapped),
            Origin::Expression(_) => Vec::new(),
        },
        origin,
        steps: transforms.iter().map(words::step).collect::<Vec<Step>>(),
        on_null: member(&part, "onNull"),
        on_error: member(&part, "onError"),
        classification: rule.classification,
        description: rule.description.clone(),
        critical: rule.critical,
        deprecated: rule.deprecated.clone(),
        further: further(
            &part,
            &[
                "trait",
                "from",
                "cel",
                "type",
                "transforms",
                "onNull",
                "onError",
                "classification",
                "description",
                "critical",
                "deprecated",
            ],
        ),
        kind,
    }
}

fn transforms(part: &Value) -> Vec<Value> {
    part["transforms"].as_array().cloned().unwrap_or_default()
}

/// The table that a step names, if it is one that translates.
fn table<'a>(transform: &Value, tables: &'a Tables) -> Option<(String, &'a BTreeMap<String, String>)> {
    let name = member(transform.get("enum")?, "table");
    tables.get(&name).map(|table| (name, table))
}

fn used_tables(transforms: &[Value], tables: &Tables) -> Tables {
    transforms
        .iter()
        .filter_map(|transform| table(transform, tables))
        .map(|(name, table)| (name, table.clone()))
        .collect()
}

/// The values that can come out of the steps: of text that a table translates, when nothing but a standard value comes after
/// and values that the table lacks don't get through.
fn values(transforms: &[Value], kind: &str, tables: &Tables) -> Option<Vec<String>> {
    if !matches!(kind, "String" | "Enum") {
        return None;
    }
    let mut values: Option<Vec<String>> = None;
    for transform in transforms {
        let (name, parameters) = words::variant(transform);
        values = match (name.as_str(), values) {
            ("enum", _) if member(&transform["enum"], "otherwise") == "Keep" => None,
            ("enum", _) => table(transform, tables).map(|(_, table)| table.values().cloned().collect()),
            ("default", Some(mut values)) => {
                values.extend(parameters.get("value").map(words::text));
                Some(values)
            }
            _ => None,
        };
    }
    values.map(|mut values| {
        values.sort();
        values.dedup();
        values
    })
}

/// What else the object takes from a field.
fn same_field(field: &str, name: &str, mapped: &ObjectMapping) -> Vec<String> {
    let part = written(mapped);
    let mut said = Vec::new();
    for (list, naming, what) in [
        ("identity", "kind", "the identity"),
        ("traits", "trait", "the trait"),
        ("consent", "purpose", "consent to"),
    ] {
        for other in part[list].as_array().into_iter().flatten() {
            let named = member(other, naming);
            if member(other, "from") == field && !(list == "traits" && named == name) {
                said.push(format!("{what} {named}"));
            }
        }
    }
    for event in part["events"].as_array().into_iter().flatten() {
        let mut properties = event["properties"].as_array().into_iter().flatten();
        let watched = event["when"]["changed"].as_str() == Some(field);
        if watched || properties.any(|property| member(property, "from") == field) {
            said.push(format!("the event {}", member(event, "name")));
        }
    }
    said
}
