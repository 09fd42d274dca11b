//! One version's contract, entity by entity.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Definition, Entity, Event, Names, Object, Origin, Source, Trait};
use super::words::{self, Step, Term, further, member, written};
use crate::api::common::Cdp;
use crate::api::common::Classification;
use crate::api::mapping_version::{MappingVersionSpec, ObjectMapping, ProjectedName, Projection, TraitMapping};

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
    for projection in &spec.projections {
        let name = words::text(&written(&projection.entity));
        if let Some(entity) = entities.iter_mut().find(|entity| entity.name == name) {
            project(entity, projection);
        }
    }
    entities
}

/// What a CDP calls an entity's parts.
fn project(entity: &mut Entity, projection: &Projection) {
    let cdp = projection.cdp;
    for found in &mut entity.traits {
        call(&mut found.names, cdp, projection.traits.get(&found.name));
    }
    for object in &mut entity.objects {
        for key in &mut object.identity {
            call(&mut key.names, cdp, projection.identity.get(&key.name));
        }
        for purpose in &mut object.consent {
            call(&mut purpose.names, cdp, projection.consent.get(&purpose.name));
        }
        for event in &mut object.events {
            call(&mut event.names, cdp, projection.events.get(&event.name));
            let given = projection.properties.get(&event.name);
            for property in &mut event.properties {
                call(
                    &mut property.names,
                    cdp,
                    given.and_then(|given| given.get(&property.name)),
                );
            }
        }
    }
}

fn call(names: &mut Names, cdp: Cdp, given: Option<&ProjectedName>) {
    if let Some(ProjectedName(name)) = given {
        names.insert(cdp.as_str(), name.clone());
    }
}

fn add(entity: &mut Entity, mapped: &ObjectMapping, tables: &Tables) {
    let part = written(mapped);
    for (position, rule) in mapped.traits.iter().enumerate() {
        let definition = definition(rule, &part["traits"][position], &part, tables);
        match entity.traits.iter_mut().find(|known| known.name == rule.name) {
            Some(known) => known.definitions.push(definition),
            None => entity.traits.push(Trait {
                name: rule.name.clone(),
                definitions: vec![definition],
                dependents: Vec::new(),
                names: Names::new(),
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
    entity.objects.push(object(&part, tables));
}

fn object(part: &Value, tables: &Tables) -> Object {
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
        name: member(part, "object"),
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
            part,
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
        items: member(part, "items"),
        values: values(part, &transforms, &kind, tables),
        classification: part
            .get("classification")
            .and_then(|named| serde_json::from_value::<Classification>(named.clone()).ok()),
        names: Names::new(),
        further: further(
            part,
            &[
                name,
                "from",
                "cel",
                "type",
                "items",
                "enum",
                "transforms",
                "classification",
            ],
        ),
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
        names: Names::new(),
        further: further(part, &["name", "when", "properties"]),
    }
}

/// `part` is the rule as users write it, `object` the whole of its object.
fn definition(rule: &TraitMapping, part: &Value, object: &Value, tables: &Tables) -> Definition {
    let transforms = transforms(part);
    let origin = match part.get("cel") {
        Some(expression) => Origin::Expression(words::text(expression)),
        None => Origin::Field(member(part, "from")),
    };
    let kind = words::variant(&part["type"]).0;
    Definition {
        object: member(object, "object"),
        tables: used_tables(&transforms, tables),
        items: member(part, "items"),
        default: part.get("default").map(words::text),
        values: values(part, &transforms, &kind, tables),
        same_field: match &origin {
            Origin::Field(field) => same_field(field, &rule.name, object),
            Origin::Expression(_) => Vec::new(),
        },
        origin,
        steps: transforms.iter().map(words::step).collect::<Vec<Step>>(),
        on_null: member(part, "onNull"),
        on_error: member(part, "onError"),
        classification: rule.classification,
        description: rule.description.clone(),
        critical: rule.critical,
        deprecated: rule.deprecated.clone(),
        further: further(
            part,
            &[
                "trait",
                "from",
                "cel",
                "type",
                "items",
                "enum",
                "default",
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

/// The values that can come of a rule, or the items of a list: for the type `Enum` those of its table; for text those of the
/// table that translates it, when nothing but a standard value comes after and values that the table lacks don't get through.
fn values(part: &Value, transforms: &[Value], kind: &str, tables: &Tables) -> Option<Vec<String>> {
    let values = if kind == "Enum" || member(part, "items") == "Enum" {
        let named = tables.get(&member(part, "enum"));
        let last = || transforms.iter().rev().find_map(|transform| table(transform, tables));
        named.or_else(|| last().map(|(_, table)| table)).map(canonical)
    } else if kind == "String" {
        transforms
            .iter()
            .fold(None, |values, transform| translated(values, transform, tables))
    } else {
        None
    };
    values.map(|mut values| {
        values.extend(part.get("default").filter(|_| kind == "String").map(words::text));
        values.sort();
        values.dedup();
        values
    })
}

fn canonical(table: &BTreeMap<String, String>) -> Vec<String> {
    table.values().cloned().collect()
}

/// The values of text after one more transform.
fn translated(before: Option<Vec<String>>, transform: &Value, tables: &Tables) -> Option<Vec<String>> {
    let (name, parameters) = words::variant(transform);
    match (name.as_str(), before) {
        ("enum", _) if member(&transform["enum"], "otherwise") == "Keep" => None,
        ("enum", _) => table(transform, tables).map(|(_, table)| canonical(table)),
        ("default", Some(mut values)) => {
            values.extend(parameters.get("value").map(words::text));
            Some(values)
        }
        _ => None,
    }
}

/// What else the object takes from a field.
fn same_field(field: &str, name: &str, object: &Value) -> Vec<String> {
    let mut said = Vec::new();
    for (list, naming, what) in [
        ("identity", "kind", "the identity"),
        ("traits", "trait", "the trait"),
        ("consent", "purpose", "consent to"),
    ] {
        for other in object[list].as_array().into_iter().flatten() {
            let named = member(other, naming);
            if member(other, "from") == field && !(list == "traits" && named == name) {
                said.push(format!("{what} {named}"));
            }
        }
    }
    for event in object["events"].as_array().into_iter().flatten() {
        let mut properties = event["properties"].as_array().into_iter().flatten();
        let watched = event["when"]["changed"].as_str() == Some(field);
        if watched || properties.any(|property| member(property, "from") == field) {
            said.push(format!("the event {}", member(event, "name")));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_values_of_a_rule_are_told_where_they_are_known() {
        let table = |values: &[&str]| {
            let pairs = values.iter().map(|value| (value.to_uppercase(), (*value).to_owned()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let tables = Tables::from([("one".into(), table(&["b", "a"])), ("two".into(), table(&["c"]))]);
        let through = |name: &str, otherwise: &str| json!({"enum": {"table": name, "otherwise": otherwise}});
        let cases = [
            (
                json!({"type": "String", "transforms": [through("one", "Reject")]}),
                Some(vec!["a", "b"]),
            ),
            (
                json!({"type": "String", "transforms": [through("one", "Null"), through("two", "Null")]}),
                Some(vec!["c"]),
            ),
            (
                json!({"type": "String", "transforms": [through("one", "Null"), {"default": {"value": "z"}}]}),
                Some(vec!["a", "b", "z"]),
            ),
            (
                json!({"type": "String", "default": "y", "transforms": [through("two", "Null")]}),
                Some(vec!["c", "y"]),
            ),
            (json!({"type": "String", "transforms": [through("one", "Keep")]}), None),
            (
                json!({"type": "String", "transforms": [through("one", "Reject"), {"upper": {}}]}),
                None,
            ),
            (
                json!({"type": "String", "transforms": [through("gone", "Reject")]}),
                None,
            ),
            (
                json!({"type": "Integer", "transforms": [through("one", "Reject")]}),
                None,
            ),
            (
                json!({"type": "Enum", "enum": "two", "transforms": [through("one", "Keep")]}),
                Some(vec!["c"]),
            ),
            (
                json!({"type": "Enum", "transforms": [through("one", "Reject"), {"trim": {}}]}),
                Some(vec!["a", "b"]),
            ),
            (
                json!({"type": "List", "items": "Enum", "enum": "one"}),
                Some(vec!["a", "b"]),
            ),
        ];
        for (part, expected) in cases {
            let kind = member(&part, "type");
            let found = values(&part, &transforms(&part), &kind, &tables);
            let expected = expected.map(|values| values.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(found, expected, "{part}");
        }
    }
}
