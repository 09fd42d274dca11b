//! Whether a mapping fits an object as the CRM describes it, beyond that its fields are there; and what a field's change touches.

mod expressions;

use std::collections::BTreeMap;

use serde_json::Value;

use super::projection::Names;
use crate::api::mapping_version::{
    Dependent, ObjectMapping, OnError, OnNull, Otherwise, TraitMapping, TraitType, Transform,
};
use crate::api::{CdpSinkSpec, MappingVersionSpec};
use crate::source::{FieldDescription, ObjectDescription, quoted};

/// Something in which a mapping and an object don't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether every record would be rejected for it.
    pub fatal: bool,
    /// Where in the mapping, as the user wrote it.
    pub path: String,
    /// What does not fit, and what follows.
    pub message: String,
}

/// What the mapping of an object may get wrong for a sink, although each of its fields is there. Traits that the sink does not get
/// may be as they are.
pub fn findings(spec: &MappingVersionSpec, description: &ObjectDescription, sink: &CdpSinkSpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, object) in spec.objects.iter().enumerate() {
        if object.object != description.object {
            continue;
        }
        let path = format!("spec.objects[{place}]");
        let names = Names::of(spec, object.entity, sink);
        let gets = |rule: &TraitMapping| {
            rule.classification <= sink.max_classification && names.of_trait(&rule.name).is_some()
        };
        for (position, rule) in object.traits.iter().enumerate().filter(|(_, rule)| gets(rule)) {
            let path = format!("{path}.traits[{position}]");
            findings.extend(expressions::of_trait(rule, description, &path));
            let field = rule.from.as_deref().and_then(|from| description.field(from));
            let Some(field) = field else { continue };
            findings.extend(of_trait(spec, rule, field, &path));
        }
        for (position, consent) in object.consent.iter().enumerate() {
            let path = format!("{path}.consent[{position}]");
            findings.extend(expressions::of_consent(consent, description, &path));
        }
    }
    findings
}

fn of_trait(spec: &MappingVersionSpec, rule: &TraitMapping, field: &FieldDescription, path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |fatal, path: String, message: String| findings.push(Finding { fatal, path, message });
    if rule.transforms.is_empty()
        && let Some(why) = never_fits(&field.kind, rule.kind)
    {
        let fatal = rule.on_error == OnError::Reject;
        let what = if fatal {
            "every record is rejected"
        } else {
            "no value is ever delivered"
        };
        add(
            fatal,
            format!("{path}.type"),
            format!("{} is of type {} in the CRM, {why}: {what}", field.name, field.kind),
        );
    }
    if field.calculated {
        add(
            false,
            format!("{path}.from"),
            format!(
                "{} is a formula: where its value changes by itself, no stamp of the record moves, and an incremental run does not \
                 see it",
                field.name
            ),
        );
    }
    if rule.on_null == OnNull::Reject && field.nillable {
        add(
            false,
            format!("{path}.onNull"),
            format!("{} can be empty in the CRM: such records are rejected", field.name),
        );
    }
    findings.extend(of_table(spec, rule, field, path));
    findings
}

/// The values that a picklist offers and a table lacks, where the table is what the value meets first.
fn of_table(spec: &MappingVersionSpec, rule: &TraitMapping, field: &FieldDescription, path: &str) -> Option<Finding> {
    if field.values.is_empty() || field.kind != "picklist" {
        return None;
    }
    let (position, transform) = rule.transforms.iter().enumerate().next()?;
    let Transform::Enum { table, otherwise } = transform else {
        return None;
    };
    let known = spec.enums.get(table)?;
    let lacking: Vec<String> = field
        .values
        .iter()
        .filter(|value| !known.contains_key(*value))
        .cloned()
        .collect();
    if lacking.is_empty() {
        return None;
    }
    let follows = match otherwise {
        Otherwise::Reject => "records with them are rejected",
        Otherwise::Null => "they are taken as null",
        Otherwise::Keep => return None,
    };
    Some(Finding {
        fatal: false,
        path: format!("{path}.transforms[{position}].enum.table"),
        message: format!(
            "the picklist {} offers values that the table {table:?} lacks, {}: {follows}",
            field.name,
            quoted(&lacking)
        ),
    })
}

/// Why no value of a field of this type can be of the trait's type, without a transform.
/// <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/field_types.htm>
fn never_fits(field: &str, kind: TraitType) -> Option<&'static str> {
    let is_number = matches!(field, "int" | "long" | "double" | "currency" | "percent");
    match (field, kind) {
        ("boolean", TraitType::Boolean) => None,
        ("boolean", TraitType::String) => Some("which is not text"),
        ("boolean", TraitType::Integer | TraitType::Decimal) => Some("which is no number"),
        ("boolean" | "datetime", TraitType::Date) => {
            Some("which is no date; a CEL expression can take the day from it")
        }
        ("boolean" | "date", TraitType::Timestamp) => {
            Some("which is no instant; the timestamp transform makes one of a date in a time zone")
        }
        ("date" | "datetime", TraitType::Integer | TraitType::Decimal) => Some("which is no number"),
        (_, TraitType::Timestamp | TraitType::Date) if is_number => Some("which is neither a date nor an instant"),
        (_, TraitType::Boolean) => Some("which is neither true nor false; a CEL expression can say which it means"),
        _ => None,
    }
}

/// What a change of one field touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The traits, the events and the purposes that read it, by name.
    pub reads: Vec<String>,
    /// What rests on those traits outside of Ferrygate.
    pub dependents: Vec<Dependent>,
}

/// What of a mapping reads a field of an object.
pub fn touched(spec: &MappingVersionSpec, object: &str, field: &str) -> Touched {
    let mut touched = Touched::default();
    let mut dependents: BTreeMap<(String, String), Dependent> = BTreeMap::new();
    for mapping in spec.objects.iter().filter(|mapping| mapping.object == object) {
        for (name, what) in readers(mapping) {
            if !reads(&what, field) {
                continue;
            }
            let on_it = mapping
                .dependents
                .iter()
                .filter(|dependent| dependent.trait_name == name);
            dependents.extend(on_it.map(|one| ((one.trait_name.clone(), one.name.clone()), one.clone())));
            if !touched.reads.contains(&name) {
                touched.reads.push(name);
            }
        }
    }
    touched.dependents = dependents.into_values().collect();
    touched
}

/// All that reads fields, by name.
fn readers(mapping: &ObjectMapping) -> Vec<(String, Value)> {
    let value = |what: serde_json::Result<Value>| what.unwrap_or_default();
    let traits = mapping
        .traits
        .iter()
        .map(|rule| (rule.name.clone(), value(serde_json::to_value(rule))));
    let keys = mapping
        .identity
        .iter()
        .map(|key| (format!("identity {}", key.kind), value(serde_json::to_value(key))));
    let group = mapping
        .group
        .iter()
        .map(|group| (format!("group {}", group.kind), value(serde_json::to_value(group))));
    let subject = mapping.subject.iter();
    let subject = subject.map(|one| (format!("subject {}", one.kind), value(serde_json::to_value(one))));
    let events = mapping
        .events
        .iter()
        .map(|event| (format!("event {}", event.name), value(serde_json::to_value(event))));
    let consent = mapping.consent.iter();
    let consent = consent.map(|one| (format!("purpose {}", one.purpose), value(serde_json::to_value(one))));
    traits
        .chain(keys)
        .chain(group)
        .chain(subject)
        .chain(events)
        .chain(consent)
        .collect()
}

/// Names under which a mapping holds words that are no field's.
const NO_FIELDS: [&str; 6] = ["trait", "property", "description", "purpose", "kind", "name"];

/// Whether a part of a mapping reads a field: by its name, or in a CEL expression.
fn reads(part: &Value, field: &str) -> bool {
    match part {
        Value::String(text) => text == field || in_expression(text, field),
        Value::Array(parts) => parts.iter().any(|part| reads(part, field)),
        Value::Object(parts) => parts
            .iter()
            .any(|(name, part)| !NO_FIELDS.contains(&name.as_str()) && reads(part, field)),
        _ => false,
    }
}

/// Whether an expression has `record.FIELD` or `previous.FIELD`.
fn in_expression(text: &str, field: &str) -> bool {
    let whole = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    ["record.", "previous."].iter().any(|of| {
        let mut places = text.match_indices(of).map(|(place, _)| &text[place + of.len()..]);
        places.any(|rest| rest.strip_prefix(field).is_some_and(whole))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> MappingVersionSpec {
        serde_json::from_value(json!({
            "mapping": "customer", "version": "1.0.0",
            "enums": {"stage": {"Open": "lead"}},
            "objects": [{
                "object": "Contact", "entity": "Person", "identity": [{"kind": "email", "from": "Email"}],
                "traits": [
                    {"trait": "stage", "from": "Stage__c", "type": "String", "transforms": [{"enum": {"table": "stage"}}]},
                    {"trait": "active", "from": "Active__c", "type": "String"},
                    {"trait": "name", "cel": "record.FirstName + record.Stage__c", "type": "String"},
                    {"trait": "score", "from": "Score__c", "type": "Integer", "onNull": "Reject"},
                ],
                "dependents": [{"trait": "stage", "kind": "Audience", "name": "EU win-back", "owner": "#lifecycle"}],
            }],
        }))
        .unwrap()
    }

    fn field(name: &str, kind: &str) -> FieldDescription {
        FieldDescription {
            name: name.into(),
            kind: kind.into(),
            ..FieldDescription::default()
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_path() {
        let description = ObjectDescription {
            object: "Contact".into(),
            fields: vec![
                FieldDescription {
                    values: vec!["Open".into(), "Partner".into()],
                    ..field("Stage__c", "picklist")
                },
                field("Active__c", "boolean"),
                FieldDescription {
                    calculated: true,
                    nillable: true,
                    ..field("Score__c", "double")
                },
            ],
        };
        let found = findings(&spec(), &description, &crate::mapping::tests::sink(&[]));
        let told: Vec<_> = found.iter().map(|found| (found.fatal, found.path.as_str())).collect();
        assert_eq!(
            told,
            [
                (false, "spec.objects[0].traits[0].transforms[0].enum.table"),
                (true, "spec.objects[0].traits[1].type"),
                (false, "spec.objects[0].traits[3].from"),
                (false, "spec.objects[0].traits[3].onNull"),
            ]
        );
        assert!(
            found[0].message.contains("\"Partner\": records with them are rejected"),
            "{found:?}"
        );
    }

    #[test]
    fn what_the_sink_does_not_get_may_be_as_it_is() {
        let description = ObjectDescription {
            object: "Contact".into(),
            fields: vec![field("Active__c", "boolean"), field("FirstName", "boolean")],
        };
        let told = |change: fn(&mut MappingVersionSpec)| {
            let mut spec = spec();
            change(&mut spec);
            let found = findings(&spec, &description, &crate::mapping::tests::sink(&[]));
            found.into_iter().map(|one| one.path).collect::<Vec<_>>()
        };
        let both = ["spec.objects[0].traits[1].type", "spec.objects[0].traits[2].cel"];
        assert_eq!(told(|_| {}), both);
        assert_eq!(
            told(|spec| spec.objects[0].traits[1].classification = crate::api::Classification::Sensitive),
            both[1..]
        );
        assert_eq!(
            told(|spec| {
                let projection = json!({"cdp": "segment", "entity": "Person", "traits": {"name": null}});
                spec.projections = vec![serde_json::from_value(projection).unwrap()];
            }),
            both[..1]
        );
    }

    #[test]
    fn a_field_touches_what_reads_it_and_what_rests_on_that() {
        let spec = spec();
        let stage = touched(&spec, "Contact", "Stage__c");
        assert_eq!(stage.reads, ["stage", "name"]);
        assert_eq!(stage.dependents.len(), 1);
        assert_eq!(touched(&spec, "Contact", "Email").reads, ["identity email"]);
        assert_eq!(touched(&spec, "Contact", "First"), Touched::default());
        assert_eq!(touched(&spec, "Lead", "Email"), Touched::default());
    }
}
