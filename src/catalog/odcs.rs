//! A version as a document of the [Open Data Contract Standard](https://bitol-io.github.io/open-data-contract-standard/) 3.0.2.
//!
//! An entity and an event are an object of its schema each. What the standard has no member for stands in `customProperties`.

use serde::Serialize;
use serde_json::Value;

use super::model::{Definition, Entity, Event, Mapping, Origin, Source, Standing, Trait, Version};
use super::names::file_name;
use super::words::{Step, Term};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    id: String,
    name: &'a str,
    version: &'a str,
    status: &'static str,
    tenant: &'a str,
    description: Description<'a>,
    schema: Vec<Object<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    support: Vec<Support<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    team: Vec<Member<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sla_properties: Vec<Agreement<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    custom_properties: Vec<Custom>,
}

#[derive(Serialize)]
struct Description<'a> {
    purpose: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    name: &'a str,
    logical_type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    physical_name: String,
    description: String,
    properties: Vec<Property<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    custom_properties: Vec<Custom>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Property<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logical_type: Option<&'static str>,
    physical_type: &'a str,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    classification: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    critical_data_element: bool,
    transform_source_objects: Vec<&'a str>,
    transform_logic: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    transform_description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    custom_properties: Vec<Custom>,
}

#[derive(Serialize)]
struct Support<'a> {
    channel: &'a str,
    url: String,
}

#[derive(Serialize)]
struct Member<'a> {
    username: &'a str,
    role: String,
}

#[derive(Serialize)]
struct Agreement<'a> {
    property: &'static str,
    value: u64,
    unit: &'static str,
    element: &'a str,
    driver: &'static str,
}

#[derive(Serialize)]
struct Custom {
    property: &'static str,
    value: Value,
}

/// The document of one version, in YAML.
pub(super) fn of_version(mapping: &Mapping, version: &Version) -> String {
    let document = Document {
        api_version: "v3.0.2",
        kind: "DataContract",
        id: format!("urn:ferrygate:{}:{}", file_name(&mapping.namespace), file_name(&mapping.name)),
        name: &mapping.name,
        version: &version.number,
        status: match version.standing {
            Standing::Active => "active",
            Standing::Proposed => "proposed",
            Standing::Draft => "draft",
            Standing::Retired => "retired",
        },
        tenant: &mapping.namespace,
        description: Description {
            purpose: format!("What customer data platforms receive from the CRM by the mapping {}.", mapping.name),
            usage: version.release_notes.as_deref(),
        },
        schema: schema(version),
        support: version
            .owners
            .iter()
            .filter_map(|owner| {
                Some(Support {
                    channel: &owner.team,
                    url: super::contact_address(&owner.contact)?,
                })
            })
            .collect(),
        team: version
            .owners
            .iter()
            .map(|owner| Member {
                username: &owner.contact,
                role: format!("{:?} ({})", owner.role, owner.team),
            })
            .collect(),
        sla_properties: agreements(mapping, version),
        custom_properties: [version.review_by.map(|day| custom("reviewBy", day.to_string()))]
            .into_iter()
            .flatten()
            .chain(terms(&version.further))
            .collect(),
    };
    // Nothing in it can fail to be written: its keys are text.
    serde_saphyr::to_string(&document).unwrap_or_default()
}

fn schema(version: &Version) -> Vec<Object<'_>> {
    let mut objects = Vec::new();
    for entity in &version.entities {
        objects.push(of_entity(entity));
        for object in &entity.objects {
            objects.extend(object.events.iter().map(|event| of_event(&object.name, event)));
        }
    }
    objects
}

fn of_entity(entity: &Entity) -> Object<'_> {
    let mut custom_properties = Vec::new();
    for object in &entity.objects {
        custom_properties.extend(object.identity.iter().map(|key| custom("identity", named(&object.name, key))));
        custom_properties.extend(object.consent.iter().map(|consent| custom("consent", named(&object.name, consent))));
        custom_properties.extend(terms(&object.references));
        custom_properties.extend(terms(&object.further));
    }
    Object {
        name: &entity.name,
        logical_type: "object",
        physical_name: entity.object_names(),
        description: format!("The canonical entity {}.", entity.name),
        properties: entity.traits.iter().map(of_trait).collect(),
        custom_properties,
    }
}

fn of_event<'a>(object: &'a str, event: &'a Event) -> Object<'a> {
    Object {
        name: &event.name,
        logical_type: "object",
        physical_name: object.into(),
        description: format!("An event. {}.", event.when),
        properties: event.properties.iter().map(|property| of_property(object, property)).collect(),
        custom_properties: terms(&event.further).collect(),
    }
}

fn of_trait(found: &Trait) -> Property<'_> {
    let mut custom_properties = Vec::new();
    for definition in &found.definitions {
        custom_properties.push(custom("onNull", definition.on_null.clone()));
        custom_properties.push(custom("onError", definition.on_error.clone()));
        if let Some(values) = &definition.values {
            custom_properties.push(custom("validValues", values.clone()));
        }
        if let Some(deprecation) = &definition.deprecated {
            custom_properties.push(custom("deprecatedSince", deprecation.since.clone()));
            custom_properties.extend(deprecation.remove_after.map(|day| custom("removeAfter", day.to_string())));
            custom_properties.extend(deprecation.use_instead.clone().map(|other| custom("replacedBy", other)));
        }
        custom_properties.extend(terms(&definition.further));
    }
    let dependents = found.dependents.iter();
    custom_properties.extend(dependents.map(|dependent| {
        let words = format!("{:?} {} ({})", dependent.kind, dependent.name, dependent.owner);
        custom("dependent", words)
    }));
    Property {
        name: &found.name,
        description: found.description(),
        logical_type: logical(found.kind()),
        physical_type: found.kind(),
        required: false,
        classification: Some(format!("{:?}", found.classification())),
        critical_data_element: found.critical(),
        transform_source_objects: found.definitions.iter().map(|definition| definition.object.as_str()).collect(),
        transform_logic: joined(found.definitions.iter().map(logic), "; "),
        transform_description: joined(found.definitions.iter().map(|definition| steps(&definition.steps)), "; "),
        custom_properties,
    }
}

fn of_property<'a>(object: &'a str, property: &'a Source) -> Property<'a> {
    Property {
        name: &property.name,
        description: None,
        logical_type: logical(&property.kind),
        physical_type: &property.kind,
        required: false,
        classification: property.classification.map(|named| format!("{named:?}")),
        critical_data_element: false,
        transform_source_objects: vec![object],
        transform_logic: format!("{object}.{}", property.from),
        transform_description: steps(&property.steps),
        custom_properties: terms(&property.further).collect(),
    }
}

/// The standard's logical type. It has no instant apart from a date.
fn logical(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "String" | "Enum" => "string",
        "Integer" => "integer",
        "Decimal" => "number",
        "Boolean" => "boolean",
        "Timestamp" | "Date" => "date",
        "List" => "array",
        _ => return None,
    })
}

fn logic(definition: &Definition) -> String {
    let origin = match &definition.origin {
        Origin::Field(field) => format!("{}.{field}", definition.object),
        Origin::Expression(expression) => expression.clone(),
    };
    let names = definition.steps.iter().map(|step| step.name.clone());
    joined([origin].into_iter().chain(names), " | ")
}

/// How old the destinations' picture may grow, by the strictest of the pipelines that take the version.
fn agreements<'a>(mapping: &'a Mapping, version: &'a Version) -> Vec<Agreement<'a>> {
    let mut agreements = Vec::new();
    for entity in &version.entities {
        let objectives = mapping
            .taken_by(&version.number)
            .flat_map(|pipeline| &pipeline.freshness)
            .filter(|(name, _)| entity.objects.iter().any(|object| object.name == **name))
            .map(|(_, objective)| objective.as_secs());
        agreements.extend(objectives.min().map(|seconds| Agreement {
            property: "latency",
            value: seconds,
            unit: "s",
            element: &entity.name,
            driver: "operational",
        }));
    }
    agreements
}

fn named(object: &str, source: &Source) -> String {
    let said = [
        source.name.clone(),
        format!("from {object}.{}", source.from),
        steps(&source.steps),
    ];
    let further = source.further.iter().map(|term| format!("{}: {}", term.label, term.text));
    joined(said.into_iter().chain(further), "; ")
}

fn steps(steps: &[Step]) -> String {
    joined(steps.iter().map(|step| step.words.clone()), "; ")
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

fn terms(terms: &[Term]) -> impl Iterator<Item = Custom> + '_ {
    terms.iter().map(|term| custom("contract", format!("{}: {}", term.label, term.text)))
}

fn custom(property: &'static str, value: impl Into<Value>) -> Custom {
    Custom {
        property,
        value: value.into(),
    }
}
