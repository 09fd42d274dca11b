//! Each rule by a pair of versions, and who is told.

use serde_json::{Value, json};

use super::*;

/// A contract with one of everything.
fn contract() -> Value {
    json!({
        "mapping": "customer", "version": "2.0.3",
        "owners": [{"team": "crm", "contact": "crm@acme.example", "role": "Accountable"}],
        "enums": {"stage": {"Working": "lead"}, "words": {"yes": "true"}, "unused": {"a": "b"}},
        "objects": [
            {
                "object": "Contact", "entity": "Person",
                "identity": [{"kind": "crm_id", "from": "Id"}, {"kind": "email", "from": "Email"}],
                "traits": [
                    {"trait": "email", "from": "Email", "type": "String", "critical": true},
                    {"trait": "phone", "from": "Phone", "type": "String", "onNull": "Reject", "classification": "Personal"},
                    {"trait": "stage", "from": "Stage", "type": "String", "transforms": [{"enum": {"table": "stage"}}]},
                    {"trait": "word", "from": "Word", "type": "String",
                     "transforms": [{"enum": {"table": "words", "otherwise": "Keep"}}]},
                    {"trait": "fax", "from": "Fax", "type": "String",
                     "deprecated": {"since": "2.0.0", "removeAfter": "2026-06-01", "use": "phone"}},
                ],
                "dependents": [
                    {"trait": "stage", "kind": "Audience", "name": "EU win-back", "owner": "#lifecycle"},
                    {"trait": "email", "kind": "Journey", "name": "Welcome", "owner": "#crm"},
                ],
                "consent": [{"purpose": "marketing", "from": "OptOut", "granted": "value == false"}],
            },
            {
                "object": "Opportunity", "entity": "Deal", "identity": [{"kind": "deal_id", "from": "Id"}],
                "subject": {"entity": "Person", "kind": "crm_id", "from": "ContactId"},
                "events": [{"name": "Stage Changed", "when": {"changed": "StageName"},
                    "properties": [{"property": "stage", "from": "StageName", "type": "String"}]}],
            },
        ],
    })
}

fn compared(change: impl FnOnce(&mut Value), today: &str) -> Comparison {
    let mut after = contract();
    change(&mut after);
    let spec = |value: Value| serde_json::from_value(value).unwrap();
    compare(&spec(contract()), &spec(after), today.parse().unwrap())
}

/// A change of the contract, and what is told of it: path and rule of each change.
type Case = (&'static str, fn(&mut Value), &'static [(&'static str, Rule)]);

const CASES: &[Case] = &[
    ("nothing", |_| {}, &[]),
    (
        "another mapping",
        |spec| spec["mapping"] = json!("lead"),
        &[("mapping", Rule::OtherMapping)],
    ),
    (
        "words for people",
        |spec| {
            spec["releaseNotes"] = json!("New.");
            spec["reviewBy"] = json!("2027-01-01");
            spec["objects"][0]["traits"][0]["description"] = json!("Where we write to.");
            spec["objects"][0]["dependents"] = json!([]);
        },
        &[
            ("reviewBy", Rule::Wording),
            ("releaseNotes", Rule::Wording),
            ("objects[Contact].traits[email].description", Rule::Wording),
            ("objects[Contact].dependents[stage Audience EU win-back]", Rule::Wording),
            ("objects[Contact].dependents[email Journey Welcome]", Rule::Wording),
        ],
    ),
    (
        "an object added",
        |spec| {
            let mut lead = spec["objects"][0].clone();
            lead["object"] = json!("Lead");
            spec["objects"].as_array_mut().unwrap().push(lead);
        },
        &[("objects[Lead]", Rule::ObjectAdded)],
    ),
    (
        "an object removed",
        |spec| {
            spec["objects"].as_array_mut().unwrap().pop();
        },
        &[("objects[Opportunity]", Rule::ObjectRemoved)],
    ),
    (
        "another entity",
        |spec| spec["objects"][0]["entity"] = json!("Account"),
        &[("objects[Contact].entity", Rule::Entity)],
    ),
    (
        "an identity from elsewhere",
        |spec| spec["objects"][0]["identity"][1]["from"] = json!("Email2"),
        &[("objects[Contact].identity[email].from", Rule::Identity)],
    ),
    (
        "another order of the identities",
        |spec| spec["objects"][0]["identity"].as_array_mut().unwrap().reverse(),
        &[("objects[Contact].identity", Rule::Identity)],
    ),
    (
        "an identity added",
        |spec| {
            spec["objects"][0]["identity"]
                .as_array_mut()
                .unwrap()
                .push(json!({"kind": "k", "from": "K"}))
        },
        &[("objects[Contact].identity[k]", Rule::Identity)],
    ),
    (
        "a group added",
        |spec| spec["objects"][0]["group"] = json!({"kind": "account_id", "from": "AccountId"}),
        &[("objects[Contact].group", Rule::GroupAdded)],
    ),
    (
        "another subject",
        |spec| spec["objects"][1]["subject"]["from"] = json!("OwnerId"),
        &[("objects[Opportunity].subject", Rule::Subject)],
    ),
    (
        "a trait added",
        |spec| add_trait(spec, json!({"trait": "city", "from": "City", "type": "String"})),
        &[("objects[Contact].traits[city]", Rule::TraitAdded)],
    ),
    (
        "a trait added that rejects",
        |spec| {
            add_trait(
                spec,
                json!({"trait": "city", "from": "City", "type": "String", "onNull": "Reject"}),
            )
        },
        &[("objects[Contact].traits[city]", Rule::TraitRequired)],
    ),
    (
        "a trait removed",
        |spec| remove_trait(spec, "word"),
        &[("objects[Contact].traits[word]", Rule::TraitRemoved)],
    ),
    (
        "a deprecated trait removed",
        |spec| remove_trait(spec, "fax"),
        &[("objects[Contact].traits[fax]", Rule::TraitRetired)],
    ),
    (
        "another type",
        |spec| spec["objects"][0]["traits"][0]["type"] = json!("Integer"),
        &[("objects[Contact].traits[email].type", Rule::Type)],
    ),
    (
        "another source",
        |spec| {
            spec["objects"][0]["traits"][0] = json!({"trait": "email", "cel": "record.Email", "type": "String", "critical": true,
            "transforms": [{"trim": {}}]});
        },
        &[
            ("objects[Contact].traits[email].from", Rule::Meaning),
            ("objects[Contact].traits[email].cel", Rule::Meaning),
            ("objects[Contact].traits[email].transforms", Rule::Meaning),
        ],
    ),
    (
        "nulls told",
        |spec| spec["objects"][0]["traits"][0]["onNull"] = json!("Unset"),
        &[("objects[Contact].traits[email].onNull", Rule::Nulls)],
    ),
    (
        "nulls let through",
        |spec| spec["objects"][0]["traits"][1]["onNull"] = json!("Keep"),
        &[("objects[Contact].traits[phone].onNull", Rule::NullsLoosened)],
    ),
    (
        "errors let through",
        |spec| spec["objects"][0]["traits"][0]["onError"] = json!("Keep"),
        &[("objects[Contact].traits[email].onError", Rule::ErrorsLoosened)],
    ),
    (
        "raised",
        |spec| spec["objects"][0]["traits"][0]["classification"] = json!("Personal"),
        &[(
            "objects[Contact].traits[email].classification",
            Rule::ClassificationRaised,
        )],
    ),
    (
        "lowered",
        |spec| spec["objects"][0]["traits"][1]["classification"] = json!("Public"),
        &[(
            "objects[Contact].traits[phone].classification",
            Rule::ClassificationLowered,
        )],
    ),
    (
        "deprecated",
        |spec| spec["objects"][0]["traits"][0]["deprecated"] = json!({"since": "2.1.0"}),
        &[("objects[Contact].traits[email].deprecated", Rule::Deprecation)],
    ),
    (
        "deprecated for longer",
        |spec| spec["objects"][0]["traits"][4]["deprecated"]["removeAfter"] = json!("2026-06-02"),
        &[("objects[Contact].traits[fax].deprecated", Rule::Deprecation)],
    ),
    (
        "deprecated for less long",
        |spec| spec["objects"][0]["traits"][4]["deprecated"]["removeAfter"] = json!("2026-05-31"),
        &[("objects[Contact].traits[fax].deprecated", Rule::DeprecationHastened)],
    ),
    (
        "an enum's value added",
        |spec| spec["enums"]["stage"]["Open"] = json!("lead"),
        &[("enums[stage][Open]", Rule::EnumValueAdded)],
    ),
    (
        "an enum's value changed",
        |spec| spec["enums"]["stage"]["Working"] = json!("prospect"),
        &[("enums[stage][Working]", Rule::EnumValue)],
    ),
    (
        "a value added where others are kept",
        |spec| spec["enums"]["words"]["no"] = json!("false"),
        &[("enums[words][no]", Rule::EnumValue)],
    ),
    (
        "an unused enum",
        |spec| {
            spec["enums"].as_object_mut().unwrap().remove("unused");
        },
        &[("enums[unused][a]", Rule::EnumUnused)],
    ),
    (
        "an event added",
        |spec| {
            spec["objects"][1]["events"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "Made", "when": {"created": {}}}));
        },
        &[("objects[Opportunity].events[Made]", Rule::EventAdded)],
    ),
    (
        "an event at other occasions",
        |spec| spec["objects"][1]["events"][0]["when"] = json!({"created": {}}),
        &[("objects[Opportunity].events[Stage Changed].when", Rule::Event)],
    ),
    (
        "an event removed",
        |spec| spec["objects"][1]["events"] = json!([]),
        &[("objects[Opportunity].events[Stage Changed]", Rule::EventRemoved)],
    ),
    (
        "a property changed, one added",
        |spec| {
            let properties = &mut spec["objects"][1]["events"][0]["properties"];
            properties[0]["type"] = json!("Integer");
            properties
                .as_array_mut()
                .unwrap()
                .push(json!({"property": "amount", "from": "Amount", "type": "Decimal"}));
        },
        &[
            (
                "objects[Opportunity].events[Stage Changed].properties[stage].type",
                Rule::Type,
            ),
            (
                "objects[Opportunity].events[Stage Changed].properties[amount]",
                Rule::PropertyAdded,
            ),
        ],
    ),
    (
        "a purpose added",
        |spec| {
            spec["objects"][0]["consent"]
                .as_array_mut()
                .unwrap()
                .push(json!({"purpose": "p", "from": "P", "granted": "value"}));
        },
        &[("objects[Contact].consent[p]", Rule::ConsentAdded)],
    ),
    (
        "a stricter consent",
        |spec| spec["objects"][0]["consent"][0]["granted"] = json!("value == false && record.DOI"),
        &[("objects[Contact].consent[marketing].granted", Rule::Consent)],
    ),
];

fn add_trait(spec: &mut Value, one: Value) {
    spec["objects"][0]["traits"].as_array_mut().unwrap().push(one);
}

fn remove_trait(spec: &mut Value, name: &str) {
    spec["objects"][0]["traits"]
        .as_array_mut()
        .unwrap()
        .retain(|one| one["trait"] != name);
}

#[test]
fn each_change_falls_under_its_rule() {
    for (case, change, expected) in CASES {
        let comparison = compared(change, "2026-06-01");
        let found: Vec<_> = comparison
            .changes
            .iter()
            .map(|one| (one.path.as_str(), one.rule))
            .collect();
        assert_eq!(&found, expected, "{case}");
    }
}

#[test]
fn a_deprecated_trait_may_be_gone_from_its_day_on() {
    let on = |day| compared(|spec| remove_trait(spec, "fax"), day);
    let told = |comparison: &Comparison| {
        let change = &comparison.changes[0];
        (
            change.rule,
            comparison.until.map(|day| day.to_string()),
            change.hint.clone(),
        )
    };
    assert_eq!(
        told(&on("2026-05-31")),
        (
            Rule::TraitRemoved,
            Some("2026-06-01".into()),
            Some("it may be gone from 2026-06-01 on".into())
        )
    );
    assert_eq!(told(&on("2026-06-01")), (Rule::TraitRetired, None, None));
}

#[test]
fn who_rests_on_what_changed_is_told() {
    let comparison = compared(
        |spec| {
            spec["enums"]["stage"]["Working"] = json!("prospect");
            spec["objects"][0]["consent"][0]["from"] = json!("HasOptedOut");
            spec["objects"][0]["traits"][0]["onNull"] = json!("Unset");
            spec["objects"][0]["traits"][1]["description"] = json!("A number.");
        },
        "2026-06-01",
    );
    let told = json!(comparison.told());
    assert_eq!(
        told,
        json!({
            "#lifecycle": {"Audience \"EU win-back\"": [
                "enums[stage][Working]", "objects[Contact].consent[marketing].from",
            ]},
            "#crm": {"Journey \"Welcome\"": [
                "objects[Contact].traits[email].onNull", "objects[Contact].consent[marketing].from",
            ]},
        })
    );
    let critical: Vec<_> = comparison
        .changes
        .iter()
        .filter(|one| !one.critical.is_empty())
        .collect();
    assert_eq!(critical.len(), 2, "{critical:?}");
}

#[test]
fn other_rates_concern_the_traits_that_are_converted_by_them() {
    let version = |rate: &str| -> MappingVersionSpec {
        let mut spec = contract();
        spec["rates"] = json!({"base": "EUR", "date": "2026-01-01", "rates": {"USD": rate}});
        spec["objects"][0]["traits"][2] = json!({
            "trait": "stage", "from": "Stage", "type": "Money", "transforms": [{"money": {"currency": "USD", "to": "EUR"}}],
        });
        serde_json::from_value(spec).unwrap()
    };
    let comparison = compare(&version("1.1"), &version("1.2"), "2026-06-01".parse().unwrap());
    let [change] = comparison.changes.as_slice() else {
        panic!("{:?}", comparison.changes)
    };
    let dependents: Vec<_> = change.dependents.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        (change.rule, dependents, change.hint.as_deref()),
        (Rule::Rates, vec!["EU win-back"], Some("used by Contact.stage"))
    );
}

#[test]
fn a_trait_that_comes_from_the_same_field_under_another_name_may_have_been_renamed() {
    let comparison = compared(
        |spec| spec["objects"][0]["traits"][0]["trait"] = json!("mail"),
        "2026-06-01",
    );
    let gone = &comparison.changes[0];
    assert_eq!(
        (gone.rule, gone.hint.as_deref()),
        (Rule::TraitRemoved, Some("mail has the same source: was it renamed?"))
    );
}

#[test]
fn a_field_that_no_rule_names_is_taken_for_breaking() {
    let (old, mut new) = (contract(), contract());
    new["tomorrows"] = json!(1);
    new["objects"][0]["traits"][0]["tomorrows"] = json!(1);
    let spec: MappingVersionSpec = serde_json::from_value(contract()).unwrap();
    let (changes, _) = super::compare::walk(&spec, &spec, (&old, &new), "2026-06-01".parse().unwrap());
    let found: Vec<_> = changes.iter().map(|one| (one.path.as_str(), one.rule)).collect();
    assert_eq!(
        found,
        [
            ("objects[Contact].traits[email].tomorrows", Rule::Unruled),
            ("tomorrows", Rule::Unruled)
        ]
    );
}

#[test]
fn a_number_that_hides_a_breaking_change_is_told() {
    let change = |version: &'static str| {
        compared(
            |spec| {
                spec["version"] = json!(version);
                spec["objects"][0]["traits"][0]["type"] = json!("Integer");
            },
            "2026-06-01",
        )
    };
    let told = change("2.1.0").misnumbered().map(|error| error.to_string());
    assert_eq!(
        told.as_deref(),
        Some(
            "spec.version: 2.1.0 is too low for what changed since 2.0.3: objects[Contact].traits[email].type: String → \
             Integer (breaking). The next version with such changes is 3.0.0"
        )
    );
    assert_eq!(change("3.0.0").misnumbered(), None);
}

#[test]
fn every_rule_is_documented_with_what_it_makes_of_a_change() {
    let documented = include_str!("../../../docs/versions.md");
    let missing: Vec<_> = Rule::ALL
        .iter()
        .map(|rule| format!("| `{}` | {} |", rule.as_str(), rule.effect().as_adjective()))
        .filter(|row| !documented.contains(row))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
