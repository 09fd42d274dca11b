//! CEL expressions against the types that the CRM has for the fields which they read.

use super::Finding;
use crate::api::mapping_version::{ConsentMapping, OnError, TraitMapping, TraitType};
use crate::mapping::cel::described;
use crate::source::ObjectDescription;

/// What can never work of a trait's expression.
pub(super) fn of_trait(rule: &TraitMapping, description: &ObjectDescription, path: &str) -> Vec<Finding> {
    let Some(source) = &rule.cel else { return Vec::new() };
    let path = format!("{path}.cel");
    let told = described(source, None, |field| kind(description, field));
    let mut findings = faults(&told.faults, description, &path);
    if rule.transforms.is_empty()
        && let Some(misfit) = told.misfit(rule.kind)
    {
        let fatal = rule.on_error == OnError::Reject;
        let what = if fatal {
            "every record with a value is rejected"
        } else {
            "no value is ever delivered"
        };
        findings.push(Finding {
            fatal,
            path,
            message: format!("as the CRM describes {}, {misfit}: {what}", description.object),
        });
    }
    findings
}

/// What can never work of a purpose's expressions: what does not work grants nothing.
pub(super) fn of_consent(consent: &ConsentMapping, description: &ObjectDescription, path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut hold = |source: &str, about: &str, path: String| {
        // What is not described is told as a field that is not there.
        let Some(value) = kind(description, about) else { return };
        let told = described(source, Some(&value), |field| kind(description, field));
        findings.extend(faults(&told.faults, description, &path));
        if let Some(misfit) = told.misfit(TraitType::Boolean) {
            findings.push(Finding {
                fatal: false,
                path,
                message: format!("as the CRM describes {}, {misfit}: it never grants", description.object),
            });
        }
    };
    hold(&consent.granted, &consent.from, format!("{path}.granted"));
    if let Some(authority) = &consent.authoritative {
        let path = format!("{path}.authoritative.granted");
        hold(&authority.granted, &authority.from, path);
    }
    for (place, region) in consent.regions.iter().enumerate() {
        hold(&region.when, &consent.from, format!("{path}.regions[{place}].when"));
        hold(
            &region.granted,
            &consent.from,
            format!("{path}.regions[{place}].granted"),
        );
    }
    findings
}

fn kind(description: &ObjectDescription, field: &str) -> Option<String> {
    description.field(field).map(|field| field.kind.clone())
}

fn faults(faults: &[impl std::fmt::Display], description: &ObjectDescription, path: &str) -> Vec<Finding> {
    let told = |fault| Finding {
        fatal: false,
        path: path.to_owned(),
        message: format!("as the CRM describes {}, {fault}", description.object),
    };
    faults.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::FieldDescription;

    /// A contact with a field of each type, by the type's name.
    fn description() -> ObjectDescription {
        let field = |kind: &str| FieldDescription {
            name: format!("A_{kind}"),
            kind: kind.into(),
            ..FieldDescription::default()
        };
        ObjectDescription {
            object: "Contact".into(),
            fields: ["string", "boolean", "double", "int", "datetime", "picklist", "address"]
                .map(field)
                .into(),
        }
    }

    #[test]
    fn what_can_never_work_on_the_fields_types_is_told_with_its_place() {
        // An expression, the type of its trait, and what is told: whether it is fatal, and the words.
        type Case<'c> = (&'c str, &'c str, &'c [(bool, &'c str)]);
        let cases: &[Case<'_>] = &[
            ("record.A_string + ' ' + record.A_picklist", "String", &[]),
            ("record.A_double * 2", "Decimal", &[]),
            ("record.A_int > 3 && record.A_boolean", "Boolean", &[]),
            ("timestamp(record.A_datetime)", "Timestamp", &[]),
            ("record.A_address == null", "Boolean", &[]),
            ("record.A_string == null ? 'none' : record.A_string", "String", &[]),
            ("string(record.A_double) + record.A_string", "String", &[]),
            ("[record.A_string].map(x, x + 'a')[0]", "String", &[]),
            ("record.Unknown && record.A_boolean", "Boolean", &[]),
            (
                "record.A_string && record.A_boolean",
                "Boolean",
                &[(false, "column 17: && takes true or false, and here a string")],
            ),
            (
                "record.A_string + record.A_double",
                "String",
                &[(
                    false,
                    "column 17: + can't add a string and a number; wrap the other one in string()",
                )],
            ),
            (
                "record.A_double.contains('1')",
                "Boolean",
                &[(
                    false,
                    "column 25: contains() is called on a string, and here on a number; wrap it in string()",
                )],
            ),
            (
                "record.A_boolean == 'true'",
                "Boolean",
                &[(false, "column 18: a bool and a string are never equal")],
            ),
            (
                "record.A_boolean",
                "String",
                &[(
                    true,
                    "the expression gives a bool, which is no String; wrap it in string(): every record with a value is rejected",
                )],
            ),
            (
                "record.A_datetime",
                "Timestamp",
                &[(
                    true,
                    "the expression gives a string, which is no Timestamp; wrap it in timestamp(), or add the transform timestamp: \
                     every record with a value is rejected",
                )],
            ),
        ];
        for (source, kind, expected) in cases {
            let rule: TraitMapping =
                serde_json::from_value(json!({"trait": "t", "cel": source, "type": kind})).unwrap();
            let found = of_trait(&rule, &description(), "p");
            let told: Vec<_> = found
                .iter()
                .map(|one| {
                    (
                        one.fatal,
                        one.message.strip_prefix("as the CRM describes Contact, ").unwrap(),
                    )
                })
                .collect();
            assert_eq!(&told, expected, "{source}");
            assert!(found.iter().all(|one| one.path == "p.cel"));
        }
    }

    #[test]
    fn a_rule_that_can_never_grant_is_told() {
        let consent: ConsentMapping = serde_json::from_value(json!({
            "purpose": "p", "from": "A_boolean", "granted": "value == 'false'",
            "authoritative": {"from": "A_picklist", "granted": "value == 'Yes'"},
            "regions": [
                {"when": "record.A_string in ['DE']", "granted": "value == false"},
                {"when": "record.A_double", "granted": "record.A_string.startsWith(value)"},
            ],
        }))
        .unwrap();
        let found = of_consent(&consent, &description(), "c");
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.path.as_str(), one.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "c.granted",
                    "as the CRM describes Contact, column 7: a bool and a string are never equal"
                ),
                (
                    "c.regions[1].when",
                    "as the CRM describes Contact, the expression gives a number, which is no Boolean: it never grants"
                ),
            ]
        );
    }
}
