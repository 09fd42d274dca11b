//! What becomes of a record.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::mapping::{Mapped, Plan, Rejection, Trigger, Value};
use crate::record::{Field, Record};

fn text(text: &'static str) -> Field<'static> {
    Field::Text(Cow::Borrowed(text))
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn contact() -> BTreeMap<&'static str, Field<'static>> {
    BTreeMap::from([
        ("Id", text("003A")),
        ("AccountId", text("001A")),
        ("Email", text(" Ada@Example.com ")),
        ("Phone", text("030 123456")),
        ("MailingCountry", text("Germany")),
        ("Lifecycle__c", text("Customer")),
        ("LTV__c", Field::Number("1200.50")),
        ("Since__c", text("2020-01-31")),
        ("Employees__c", Field::Number("3.0")),
        ("Birthdate", text("1815-12-10")),
        ("FirstName", text("Ada")),
        ("LastName", text("Lovelace")),
        ("HasOptedOutOfEmail", Field::Boolean(false)),
    ])
}

/// Maps the contact with these fields changed, and hands the result to `check`.
fn map<T>(
    object: &str,
    record: &BTreeMap<&'static str, Field<'static>>,
    check: impl FnOnce(&Plan, &Record<'_>) -> T,
) -> T {
    let spec = mapping(object);
    let plan = Plan::compile(&spec, &spec.objects[0].object, &sink(&[])).expect("a plan");
    let fields: Vec<Field> = plan
        .fields()
        .iter()
        .map(|name| record.get(name.as_str()).cloned().unwrap_or(Field::Null))
        .collect();
    let record = Record {
        id: Cow::Borrowed("003A"),
        stamp: instant("2026-05-04T08:41:07Z"),
        deleted: false,
        fields: &fields,
    };
    check(&plan, &record)
}

fn purposes<'m>(mapped: &Mapped<'m>) -> Vec<(&'m str, bool)> {
    let statements = mapped.consent.iter();
    statements
        .map(|statement| (statement.purpose, statement.is_granted()))
        .collect()
}

fn external_ids<'m>(mapped: &'m Mapped<'_>) -> Vec<(&'m str, &'m str)> {
    let ids = mapped.external_ids.iter();
    ids.map(|external| (external.kind, &*external.id)).collect()
}

fn traits(mapped: &Mapped<'_>) -> Vec<String> {
    mapped
        .traits
        .iter()
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect()
}

#[test]
fn a_contact_becomes_a_person() {
    map(CONTACT, &contact(), |plan, record| {
        let mapped = plan.map(record).expect("mapped");
        assert_eq!(
            (
                mapped.user_id.as_deref(),
                mapped.group_id.as_deref(),
                external_ids(&mapped),
                purposes(&mapped)
            ),
            (
                Some("003A"),
                Some("001A"),
                vec![("email", "ada@example.com")],
                vec![("marketing_email", true)]
            )
        );
        assert_eq!(
            traits(&mapped),
            [
                "email: String(\"ada@example.com\")",
                "phone: String(\"+4930123456\")",
                "stage: String(\"customer\")",
                "value: Decimal(1200.5)",
                "since: Timestamp(2020-01-30T23:00:00Z)",
                "employees: Integer(3)",
                "birthday: Date(1815-12-10)",
                "full_name: String(\"Ada Lovelace\")",
            ]
        );
        let events: Vec<_> = mapped
            .events
            .iter()
            .map(|event| (event.name, event.at, event.properties.clone()))
            .collect();
        assert_eq!(
            events,
            [
                ("Signed Up", instant("2020-01-31T00:00:00Z"), vec![]),
                (
                    "Stage Changed",
                    instant("2026-05-04T08:41:07Z"),
                    vec![("to", Value::String(Cow::Borrowed("Customer")))]
                ),
            ]
        );
        assert_eq!(mapped.events[0].trigger, Trigger::Created);
    });
}

#[test]
fn what_a_null_or_an_error_becomes_is_the_mappings_choice() {
    type Case<'a> = (&'a str, Field<'a>, &'a str, Result<Option<&'a str>, &'a str>);
    let cases: Vec<Case> = vec![
        ("Phone", Field::Null, "phone", Ok(Some("Null"))),
        ("Phone", text("nonsense"), "phone", Ok(Some("Null"))),
        ("Email", Field::Null, "email", Ok(None)),
        ("Email", text(""), "email", Ok(Some("String(\"\")"))),
        ("LTV__c", text("many"), "value", Ok(None)),
        ("LTV__c", Field::Number("1.2E7"), "value", Ok(Some("Decimal(12000000)"))),
        (
            "Employees__c",
            Field::Null,
            "employees",
            Err("traits[employees]: is null"),
        ),
        (
            "Employees__c",
            Field::Number("3.5"),
            "employees",
            Err("traits[employees]: is not a whole number"),
        ),
        (
            "Lifecycle__c",
            text("NA"),
            "stage",
            Err("traits[stage]: enum table \"lifecycle\" has no such value"),
        ),
        ("Lifecycle__c", Field::Null, "stage", Ok(None)),
        (
            "Since__c",
            text("soon"),
            "since",
            Err("traits[since]: is neither an instant like 2026-05-04T08:41:07Z nor a date or a date and time"),
        ),
        (
            "Id",
            Field::Null,
            "email",
            Err("identity[crm_id]: is null or empty, and without it the sink can't tell whose record this is"),
        ),
        (
            "Id",
            text(""),
            "email",
            Err("identity[crm_id]: is null or empty, and without it the sink can't tell whose record this is"),
        ),
        (
            "AccountId",
            Field::Boolean(true),
            "email",
            Err("group[account_id]: is true or false, not text"),
        ),
        ("FirstName", Field::Null, "full_name", Ok(Some("String(\"Lovelace\")"))),
        (
            "LastName",
            Field::Number("1"),
            "full_name",
            Err("traits[full_name]: the expression fails on these values"),
        ),
    ];
    for (field, value, name, expected) in cases {
        let mut record = contact();
        record.insert(field, value.clone());
        let found = map(CONTACT, &record, |plan, record| {
            plan.map(record)
                .map(|mapped| {
                    mapped
                        .traits
                        .iter()
                        .find(|(known, _)| *known == name)
                        .map(|(_, value)| format!("{value:?}"))
                })
                .map_err(|rejection| rejection.to_string())
        });
        let expected = expected.map(|value| value.map(str::to_owned)).map_err(str::to_owned);
        assert_eq!(found, expected, "{field} {value:?}");
    }
}

#[test]
fn an_empty_identity_is_left_out() {
    for empty in [Field::Null, text(""), text("   ")] {
        let mut record = contact();
        record.insert("Email", empty.clone());
        record.insert("AccountId", empty.clone());
        map(CONTACT, &record, |plan, record| {
            let mapped = plan.map(record).expect("mapped");
            assert_eq!(external_ids(&mapped), [], "{empty:?}");
        });
    }
}

#[test]
fn consent_is_denied_by_everything_but_true() {
    let cases = [
        (Field::Boolean(false), true),
        (Field::Boolean(true), false),
        (Field::Null, false),
        (text("false"), false),
        (text(""), false),
        (Field::Number("0"), false),
    ];
    for (value, granted) in cases {
        let mut record = contact();
        record.insert("HasOptedOutOfEmail", value.clone());
        map(CONTACT, &record, |plan, record| {
            assert_eq!(
                purposes(&plan.map(record).expect("mapped")),
                [("marketing_email", granted)],
                "{value:?}"
            );
        });
    }
}

#[test]
fn a_rule_that_fails_or_gives_no_boolean_denies() {
    for rule in [
        "value",
        "value + 1 == 2",
        "int(value) == 0",
        "record.Consent__c",
        "1 / 0 == 1",
        "null",
        "value.startsWith('y')",
    ] {
        let object = CONTACT.replace("value == false", &format!("\"{rule}\""));
        let mut record = contact();
        record.insert("HasOptedOutOfEmail", text("yes please"));
        record.insert("Consent__c", text("true"));
        let granted = rule.contains("startsWith");
        map(&object, &record, |plan, record| {
            assert_eq!(
                purposes(&plan.map(record).expect("mapped")),
                [("marketing_email", granted)],
                "{rule}"
            );
        });
    }
}

#[test]
fn a_rejected_record_can_still_be_suppressed() {
    let mut record = contact();
    record.insert("Lifecycle__c", text("Unheard of"));
    record.insert("HasOptedOutOfEmail", Field::Boolean(true));
    record.insert("Email", Field::Boolean(true));
    map(CONTACT, &record, |plan, record| {
        assert_eq!(
            plan.map(record).map_err(|rejection| rejection.path),
            Err("identity[email]".to_owned())
        );
        let mapped = plan.map_suppression(record).expect("mapped");
        assert_eq!(
            (
                mapped.user_id.as_deref(),
                mapped.external_ids.len(),
                mapped.traits.len(),
                mapped.events.len(),
                purposes(&mapped)
            ),
            (Some("003A"), 0, 0, 0, vec![("marketing_email", false)])
        );
    });
}

#[test]
fn a_deleted_record_keeps_its_identity_and_nothing_else() {
    map(CONTACT, &contact(), |plan, record| {
        let mapped = plan.map_deleted(record).expect("mapped");
        assert_eq!(
            (
                mapped.user_id.as_deref(),
                mapped.group_id.as_deref(),
                mapped.traits.len(),
                mapped.events.len(),
                purposes(&mapped)
            ),
            (Some("003A"), Some("001A"), 0, 0, vec![("marketing_email", false)])
        );
    });
}

#[test]
fn a_deal_is_its_subjects() {
    let record = BTreeMap::from([
        ("ContactId", text("003A")),
        ("StageName", text("Closed Won")),
        ("LastStageChangeDate", text("2026-05-03T10:00:00.000+0000")),
        ("Amount", Field::Number("99.90")),
    ]);
    let watched = map(OPPORTUNITY, &record, |plan, record| {
        let mapped = plan.map(record).expect("mapped");
        assert_eq!((mapped.user_id.as_deref(), mapped.group_id), (Some("003A"), None));
        let event = &mapped.events[0];
        assert_eq!(
            (event.name, event.at, format!("{:?}", event.properties)),
            (
                "Opportunity Stage Changed",
                instant("2026-05-03T10:00:00Z"),
                "[(\"to_stage\", String(\"Closed Won\")), (\"amount\", Decimal(99.9))]".to_owned()
            )
        );
        event.trigger
    });
    let mut moved = record.clone();
    moved.insert("StageName", text("Closed Lost"));
    let after = map(OPPORTUNITY, &moved, |plan, record| {
        plan.map(record).expect("mapped").events[0].trigger
    });
    assert_ne!(watched, after);

    let cases = [
        (
            "ContactId",
            Field::Null,
            "subject[crm_id]: is null or empty, and without it the sink can't tell whose record this is",
        ),
        (
            "LastStageChangeDate",
            text("soon"),
            "events[Opportunity Stage Changed].at: is neither an instant like 2026-05-04T08:41:07Z nor a date or a date and time",
        ),
        (
            "Amount",
            text("much"),
            "events[Opportunity Stage Changed].properties[amount]: is not a decimal number",
        ),
    ];
    for (field, value, expected) in cases {
        let mut record = record.clone();
        record.insert(field, value);
        let rejection: Result<(), Rejection> = map(OPPORTUNITY, &record, |plan, record| plan.map(record).map(drop));
        assert_eq!(
            rejection.map_err(|rejection| rejection.to_string()),
            Err(expected.to_owned())
        );
    }
}

#[test]
fn an_account_is_a_group() {
    let record = BTreeMap::from([("Id", text("001A")), ("Name", text("Acme"))]);
    map(ACCOUNT, &record, |plan, record| {
        let mapped = plan.map(record).expect("mapped");
        assert_eq!(
            (mapped.user_id.as_deref(), mapped.group_id.as_deref(), traits(&mapped)),
            (None, Some("001A"), vec!["name: String(\"Acme\")".to_owned()])
        );
    });
}

#[test]
fn a_plan_is_shared_by_the_threads_of_a_run() {
    fn shared<T: Send + Sync>() {}
    shared::<Plan>();
}

#[test]
fn an_expressions_list_is_a_lists_value_and_its_items_must_fit() {
    let object = "\
object: Contact
entity: Person
identity: [{kind: crm_id, from: Id}]
traits:
- {trait: tags, cel: \"record.Tags.split(';')\", type: List, items: String, transforms: [{trim: {}}, {upper: {}}]}
- {trait: scores, cel: \"[1, record.Score, null]\", type: List, items: Integer}
- {trait: all, cel: \"{'tags': record.Tags.split(';'), 'score': record.Score}\", type: Json}
- {trait: days, cel: \"[record.Tags]\", type: List, items: Date, onError: \"Null\", onNull: Unset}
";
    let fields = BTreeMap::from([
        ("Id", text("003A")),
        ("Tags", text("a; b")),
        ("Score", Field::Number("7")),
    ]);
    map(object, &fields, |plan, record| {
        let mapped = plan.map(record).expect("mapped");
        assert_eq!(
            traits(&mapped),
            [
                "tags: List([String(\"A\"), String(\"B\")])",
                "scores: List([Integer(1), Integer(7)])",
                r#"all: Json("{\"score\":7,\"tags\":[\"a\",\" b\"]}")"#,
                "days: Null",
            ]
        );
    });
}
