//! A version as a document of the [Open Data Contract Standard](https://bitol-io.github.io/open-data-contract-standard/) 3.0.2.
//!
//! An entity and an event are an object of its schema each. What the standard has no member for stands in `customProperties`.

use serde::Serialize;

use super::model::{Definition, Entity, Event, Mapping, Names, Origin, Source, Standing, Trait, Version};
use super::names::file_name;
use super::words::{self, Step, Term};

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
    custom_properties: Vec<Custom<'a>>,
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
    custom_properties: Vec<Custom<'a>>,
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
    custom_properties: Vec<Custom<'a>>,
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
struct Custom<'a> {
    property: &'a str,
    value: CustomValue<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CustomValue<'a> {
    Text(String),
    List(Vec<String>),
    Rules(Vec<Rules<'a>>),
}

/// What holds of a trait where it comes from one CRM object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rules<'a> {
    object: &'a str,
    on_null: &'a str,
    on_error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_values: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    further: Vec<String>,
}

/// The document of one version, in YAML.
pub(super) fn of_version(mapping: &Mapping, version: &Version) -> String {
    let document = Document {
        api_version: "v3.0.2",
        kind: "DataContract",
        id: format!(
            "urn:ferrygate:{}:{}",
            file_name(&mapping.namespace),
            file_name(&mapping.name)
        ),
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
            purpose: format!(
                "What customer data platforms receive from the CRM by the mapping {}.",
                mapping.name
            ),
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
        custom_properties: [
            version.review_by.map(|day| text("reviewBy", day.to_string())),
            list("further", version.further.iter().map(said).collect()),
        ]
        .into_iter()
        .flatten()
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
    let (mut identity, mut consent, mut further) = (Vec::new(), Vec::new(), Vec::new());
    for object in &entity.objects {
        identity.extend(object.identity.iter().map(|key| named(&object.name, key)));
        consent.extend(object.consent.iter().map(|purpose| named(&object.name, purpose)));
        let terms = object.references.iter().chain(&object.further);
        further.extend(terms.map(|term| format!("{}: {}", object.name, said(term))));
    }
    Object {
        name: &entity.name,
        logical_type: "object",
        physical_name: entity.object_names(),
        description: format!("The canonical entity {}.", entity.name),
        properties: entity.traits.iter().map(of_trait).collect(),
        custom_properties: [
            list("identity", identity),
            list("consent", consent),
            list("further", further),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

fn of_event<'a>(object: &'a str, event: &'a Event) -> Object<'a> {
    Object {
        name: &event.name,
        logical_type: "object",
        physical_name: object.into(),
        description: format!("An event. {}.", event.when),
        properties: event
            .properties
            .iter()
            .map(|property| of_property(object, property))
            .collect(),
        custom_properties: custom(&event.names, &event.further),
    }
}

fn of_trait(found: &Trait) -> Property<'_> {
    let rules = found.definitions.iter().map(|definition| Rules {
        object: &definition.object,
        on_null: &definition.on_null,
        on_error: &definition.on_error,
        valid_values: definition.values.as_deref(),
        further: definition.further.iter().map(said).collect(),
    });
    let mut custom_properties = vec![Custom {
        property: "rules",
        value: CustomValue::Rules(rules.collect()),
    }];
    if let Some(deprecation) = found.deprecated() {
        custom_properties.push(text("deprecatedSince", deprecation.since.clone()));
        custom_properties.extend(deprecation.remove_after.map(|day| text("removeAfter", day.to_string())));
        custom_properties.extend(deprecation.use_instead.clone().map(|other| text("replacedBy", other)));
    }
    let dependents = found.dependents.iter().map(|dependent| {
        let kind = words::dependent(dependent.kind);
        format!("{kind} {} ({})", dependent.name, dependent.owner)
    });
    custom_properties.extend(list("dependents", dependents.collect()));
    custom_properties.extend(list("names", called(&found.names)));
    Property {
        name: &found.name,
        description: found.description(),
        logical_type: logical(found.kind()),
        physical_type: found.kind(),
        required: false,
        classification: Some(format!("{:?}", found.classification())),
        critical_data_element: found.critical(),
        transform_source_objects: found
            .definitions
            .iter()
            .map(|definition| definition.object.as_str())
            .collect(),
        transform_logic: joined(found.definitions.iter().map(logic), "; "),
        transform_description: described(&found.definitions),
        custom_properties,
    }
}

/// What is done to the value, by CRM object where there are several.
fn described(definitions: &[Definition]) -> String {
    let of = |definition: &Definition| match (steps(&definition.steps), definitions.len()) {
        (none, _) if none.is_empty() => none,
        (said, 1) => said,
        (said, _) => format!("{}: {said}", definition.object),
    };
    joined(definitions.iter().map(of), "; ")
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
        custom_properties: custom(&property.names, &property.further),
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
        "Money" => "object",
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
    let parts = [
        source.name.clone(),
        format!("from {object}.{}", source.from),
        steps(&source.steps),
    ];
    let further = source.further.iter().map(said);
    joined(parts.into_iter().chain(called(&source.names)).chain(further), "; ")
}

/// What each CDP calls something: the standard has no member for a name that differs by the recipient.
fn called(names: &Names) -> Vec<String> {
    words::names(names).iter().map(said).collect()
}

fn custom<'a>(names: &Names, further: &[Term]) -> Vec<Custom<'a>> {
    [
        list("names", called(names)),
        list("further", further.iter().map(said).collect()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn steps(steps: &[Step]) -> String {
    joined(steps.iter().map(|step| step.words.clone()), "; ")
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

fn said(term: &Term) -> String {
    format!("{}: {}", term.label, term.text)
}

fn text(property: &str, value: String) -> Custom<'_> {
    Custom {
        property,
        value: CustomValue::Text(value),
    }
}

/// Nothing where there is nothing to list.
fn list(property: &str, values: Vec<String>) -> Option<Custom<'_>> {
    (!values.is_empty()).then_some(Custom {
        property,
        value: CustomValue::List(values),
    })
}
