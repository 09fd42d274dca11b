//! [JSON Schema 2020-12](https://json-schema.org/draft/2020-12) of what is delivered: the traits of an entity, the properties
//! of an event.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::model::{Entity, Event, Mapping, Names, Source, Trait, Version};
use super::names::file_name;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Schema<'a> {
    #[serde(rename = "$schema")]
    dialect: &'static str,
    #[serde(rename = "$id")]
    id: String,
    title: &'a str,
    description: String,
    #[serde(rename = "type")]
    kind: &'static str,
    properties: BTreeMap<&'a str, Property<'a>>,
    required: Vec<&'a str>,
    additional_properties: bool,
    /// Of an event: what CDPs call it, as of a property.
    #[serde(rename = "x-names", skip_serializing_if = "Option::is_none")]
    names: Option<&'a Names>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Property<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(flatten)]
    shape: Option<Shape>,
    /// Where the CRM objects that become the entity differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    any_of: Vec<Shape>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deprecated: bool,
    #[serde(rename = "x-classification", skip_serializing_if = "Option::is_none")]
    classification: Option<String>,
    /// What CDPs call it that have a name of their own for it; null where one does not get it.
    #[serde(rename = "x-names", skip_serializing_if = "BTreeMap::is_empty")]
    names: &'a Names,
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(
        rename = "type",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "one_or_many"
    )]
    kind: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Box<Shape>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<BTreeMap<&'static str, Shape>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required: Vec<&'static str>,
}

impl Shape {
    fn differs_in_values_alone(&self, other: &Shape) -> bool {
        let plain = |shape: &Shape| shape.items.is_none() && shape.properties.is_none();
        plain(self) && plain(other) && self.kind == other.kind && self.format == other.format
    }

    /// Allows the values of another shape as well.
    fn take_in(&mut self, values: Option<Vec<Value>>) {
        self.values = match (self.values.take(), values) {
            (Some(mut known), Some(more)) => {
                let new: Vec<_> = more.into_iter().filter(|value| !known.contains(value)).collect();
                known.extend(new);
                Some(known)
            }
            _ => None,
        };
    }
}

/// The schema of an entity's traits as one version delivers them, under their canonical names.
pub(super) fn of_entity(mapping: &Mapping, version: &Version, entity: &Entity) -> String {
    written(&entity_schema(mapping, version, entity))
}

/// The schema of an entity's traits as one version delivers them to a CDP that has names of its own for some: under those, and in
/// that CDP's nested objects.
pub(super) fn of_entity_for(mapping: &Mapping, version: &Version, entity: &Entity, cdp: &str) -> String {
    let mut schema = json!(entity_schema(mapping, version, entity));
    schema["$id"] = json!(id(mapping, version, &format!("{} {cdp}", entity.name)));
    schema["description"] = json!(format!(
        "The traits of {} by mapping {} {}, as delivered to a destination of the kind {cdp} that may hold all of them.",
        entity.name, mapping.name, version.number
    ));
    let canonical = schema["properties"].take();
    let always = schema["required"].take();
    (schema["properties"], schema["required"]) = (json!({}), json!([]));
    for found in &entity.traits {
        let path: Vec<&str> = match found.names.get(cdp) {
            None => vec![&found.name],
            Some(None) => continue,
            Some(Some(path)) => path.split('.').collect(),
        };
        let mut property = canonical[&found.name].clone();
        if let Some(members) = property.as_object_mut() {
            members.remove("x-names");
        }
        let is_required = always
            .as_array()
            .is_some_and(|names| names.contains(&json!(found.name)));
        place(&mut schema, &path, property, is_required);
    }
    in_lines(&schema)
}

/// Puts a property at its place, with the objects around it.
fn place(object: &mut Value, path: &[&str], property: Value, is_required: bool) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if is_required
        && let Some(required) = object["required"].as_array_mut()
        && !required.contains(&json!(first))
    {
        required.push(json!(first));
    }
    if rest.is_empty() {
        object["properties"][*first] = property;
        return;
    }
    let inner = &mut object["properties"][*first];
    if inner.is_null() {
        *inner = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
    }
    place(inner, rest, property, is_required);
}

fn entity_schema<'e>(mapping: &Mapping, version: &Version, entity: &'e Entity) -> Schema<'e> {
    let properties = entity.traits.iter().map(|found| (found.name.as_str(), of_trait(found)));
    let always = |found: &&Trait| {
        let everywhere = entity.objects.iter().all(|object| {
            found
                .definitions
                .iter()
                .any(|definition| definition.object == object.name && definition.always_there())
        });
        everywhere && !found.definitions.is_empty()
    };
    Schema {
        dialect: DIALECT,
        id: id(mapping, version, &entity.name),
        title: &entity.name,
        description: format!(
            "The traits of {} by mapping {} {}, as delivered to a destination that may hold all of them.",
            entity.name, mapping.name, version.number
        ),
        kind: "object",
        properties: properties.collect(),
        required: entity
            .traits
            .iter()
            .filter(always)
            .map(|found| found.name.as_str())
            .collect(),
        additional_properties: false,
        names: None,
    }
}

/// The schema of an event's properties.
pub(super) fn of_event(mapping: &Mapping, version: &Version, event: &Event) -> String {
    written(&Schema {
        dialect: DIALECT,
        id: id(mapping, version, &event.name),
        title: &event.name,
        description: format!(
            "The properties of the event by mapping {} {}. One without a value is left out.",
            mapping.name, version.number
        ),
        kind: "object",
        properties: event
            .properties
            .iter()
            .map(|property| (property.name.as_str(), of_property(property)))
            .collect(),
        required: Vec::new(),
        additional_properties: false,
        names: Some(&event.names).filter(|names| !names.is_empty()),
    })
}

fn of_trait(found: &Trait) -> Property<'_> {
    let mut shapes: Vec<Shape> = Vec::new();
    for definition in &found.definitions {
        let nullable = definition.on_null == "Unset";
        let shape = shape(
            &definition.kind,
            &definition.items,
            nullable,
            definition.values.as_deref(),
        );
        let known = shapes.iter().position(|known| known.differs_in_values_alone(&shape));
        match known {
            Some(position) => shapes[position].take_in(shape.values),
            None if shapes.contains(&shape) => {}
            None => shapes.push(shape),
        }
    }
    let alone = if shapes.len() == 1 { shapes.pop() } else { None };
    Property {
        description: found.description(),
        shape: alone,
        any_of: shapes,
        deprecated: found.deprecated().is_some(),
        classification: Some(format!("{:?}", found.classification())),
        names: &found.names,
    }
}

fn of_property(property: &Source) -> Property<'_> {
    Property {
        description: None,
        shape: Some(shape(
            &property.kind,
            &property.items,
            false,
            property.values.as_deref(),
        )),
        any_of: Vec::new(),
        deprecated: false,
        classification: property.classification.map(|named| format!("{named:?}")),
        names: &property.names,
    }
}

/// What a value of a type looks like; `items` is the type of a list's. A type that has no one shape of its own is left open.
fn shape(kind: &str, items: &str, nullable: bool, values: Option<&[String]>) -> Shape {
    let (name, format) = match kind {
        "String" | "Enum" => (Some("string"), None),
        "Integer" => (Some("integer"), None),
        "Decimal" => (Some("number"), None),
        "Boolean" => (Some("boolean"), None),
        "Timestamp" => (Some("string"), Some("date-time")),
        "Date" => (Some("string"), Some("date")),
        "List" => (Some("array"), None),
        "Money" => (Some("object"), None),
        _ => (None, None),
    };
    let null = nullable && name.is_some();
    let list = kind == "List";
    Shape {
        kind: name.into_iter().chain(null.then_some("null")).collect(),
        format,
        minimum: (kind == "Integer").then_some(i64::MIN),
        maximum: (kind == "Integer").then_some(i64::MAX),
        values: values.filter(|_| !list).map(|values| {
            let named = values.iter().map(|value| Value::from(value.as_str()));
            named.chain(null.then_some(Value::Null)).collect()
        }),
        items: (list && !items.is_empty()).then(|| Box::new(shape(items, "", false, values))),
        properties: (kind == "Money").then(|| {
            let currency = Shape {
                pattern: Some("^[A-Z]{3}$"),
                ..shape("String", "", false, None)
            };
            BTreeMap::from([("amount", shape("Decimal", "", false, None)), ("currency", currency)])
        }),
        required: if kind == "Money" {
            vec!["amount", "currency"]
        } else {
            Vec::new()
        },
        ..Shape::default()
    }
}

fn one_or_many<S: serde::Serializer>(kinds: &[&'static str], serializer: S) -> Result<S::Ok, S::Error> {
    match kinds {
        [one] => one.serialize(serializer),
        many => many.serialize(serializer),
    }
}

fn id(mapping: &Mapping, version: &Version, name: &str) -> String {
    let parts = [&mapping.namespace, &mapping.name, &version.number, name].map(file_name);
    format!("urn:ferrygate:{}", parts.join(":"))
}

fn written(schema: &Schema<'_>) -> String {
    in_lines(schema)
}

fn in_lines(schema: &impl Serialize) -> String {
    // Nothing in it can fail to be written: its keys are text.
    let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_shape() {
        let values = ["a".to_owned(), "b".to_owned()];
        let cases = [
            (shape("String", "", true, None), json!({"type": ["string", "null"]})),
            (
                shape("Enum", "", false, Some(&values)),
                json!({"type": "string", "enum": ["a", "b"]}),
            ),
            (
                shape("Enum", "", true, Some(&values)),
                json!({"type": ["string", "null"], "enum": ["a", "b", null]}),
            ),
            (
                shape("List", "Enum", false, Some(&values)),
                json!({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}),
            ),
            (
                shape("Money", "", false, None),
                json!({
                    "type": "object",
                    "properties": {"amount": {"type": "number"}, "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}},
                    "required": ["amount", "currency"],
                }),
            ),
            (shape("Json", "", true, None), json!({})),
        ];
        for (shape, expected) in cases {
            assert_eq!(serde_json::to_value(&shape).unwrap(), expected);
        }
    }
}
