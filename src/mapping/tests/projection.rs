//! What a CDP is sent under its own names.

use super::*;
use crate::consent::Decision;
use crate::mapping::{Mapped, Plan};
use crate::record::{Field, Record};

const OBJECTS: &str = "
mapping: customer
version: 1.0.0
objects:
- object: Contact
  entity: Person
  identity: [{kind: crm_id, from: Id}, {kind: email, from: Email}]
  traits:
  - {trait: city, from: City, type: String, onNull: Unset}
  - {trait: email, from: Email, type: String}
  - {trait: street, from: Street, type: String}
  - {trait: a.b, from: Dotted, type: String}
  - {trait: fax, from: Fax, type: String}
  - {trait: score, from: Score, type: Integer}
  events:
  - name: Joined
    when: {created: {}}
    properties: [{property: by, from: City, type: String}, {property: score, from: Score, type: Integer}]
  - {name: Moved, when: {changed: City}}
  consent:
  - {purpose: email, from: Out, granted: value == false}
  - {purpose: sms, from: Out, granted: value == false}
- object: Lead
  entity: Person
  identity: [{kind: crm_id, from: Id}]
  traits: [{trait: rating, from: Rating, type: String}]
";

fn with(projections: &str) -> MappingVersionSpec {
    spec(&format!("{OBJECTS}projections:\n{projections}"))
}

/// Maps a contact whose fields hold their own names, but for those that are empty.
fn mapped<T>(spec: &MappingVersionSpec, empty: &[&str], then: impl FnOnce(&Plan, Mapped<'_>) -> T) -> T {
    let plan = Plan::compile(spec, "Contact", &sink(&[])).unwrap();
    let fields: Vec<Field<'_>> = plan
        .fields()
        .iter()
        .map(|name| match name.as_str() {
            name if empty.contains(&name) => Field::Null,
            "Score" => Field::Number("7"),
            name => Field::Text(name.into()),
        })
        .collect();
    let record = Record {
        id: "003A".into(),
        stamp: "2026-05-04T10:00:00Z".parse().unwrap(),
        deleted: false,
        fields: &fields,
    };
    then(&plan, plan.map(&record).unwrap())
}

fn traits(spec: &MappingVersionSpec, empty: &[&str]) -> serde_json::Value {
    mapped(spec, empty, |_, mapped| as_json(&mapped.traits))
}

fn as_json(members: &[(&str, crate::mapping::Value<'_>)]) -> serde_json::Value {
    let mut text = Vec::new();
    crate::sink::segment::json::values(&mut text, members);
    serde_json::from_slice(&text).unwrap()
}

const SEGMENT: &str = "\
- cdp: segment
  entity: Person
  traits: {city: address.city, street: address.street, fax: null, score: address.rating.score}
  events: {Joined: Signed Up, Moved: \"Null\"}
  properties: {Joined: {by: referrer.name, score: null}}
  identity: {email: E-Mail}
";

#[test]
fn a_cdp_gets_its_own_names_and_shapes_and_not_what_is_left_out() {
    let spec = with(SEGMENT);
    assert_eq!(lines(&Plan::check_spec(&spec)), [""; 0]);
    assert_eq!(
        traits(&spec, &[]),
        serde_json::json!({
            "address": {"city": "City", "street": "Street", "rating": {"score": 7}}, "email": "Email", "a.b": "Dotted",
        })
    );
    mapped(&spec, &[], |plan, mapped| {
        let ids: Vec<_> = mapped.external_ids.iter().map(|id| (id.kind, id.sent_as)).collect();
        assert_eq!(ids, [("email", "E-Mail")]);
        let events: Vec<_> = mapped
            .events
            .iter()
            .map(|event| (event.name, event.sent_as, as_json(&event.properties)))
            .collect();
        assert_eq!(
            events,
            [("Joined", "Signed Up", serde_json::json!({"referrer": {"name": "City"}}))]
        );
        assert!(
            !plan.fields().contains(&"Fax".to_owned()),
            "what is left out is not read"
        );
        assert_eq!(plan.find(&mapped, "score"), Some(&crate::mapping::Value::Integer(7)));
        assert_eq!(plan.find(&mapped, "fax"), None);
    });
}

#[test]
fn an_object_is_there_if_one_of_its_values_is() {
    let spec = with(SEGMENT);
    let cases = [
        (vec!["Street", "Score"], serde_json::json!({"city": "City"})),
        (vec!["Street", "City", "Score"], serde_json::json!({"city": null})),
        (
            vec!["City", "Street"],
            serde_json::json!({"city": null, "rating": {"score": 7}}),
        ),
    ];
    for (empty, expected) in cases {
        assert_eq!(traits(&spec, &empty)["address"], expected, "{empty:?}");
    }
    let kept = with("- {cdp: segment, entity: Person, traits: {street: address.street}}");
    assert_eq!(traits(&kept, &["Street"]).get("address"), None);
}

#[test]
fn another_cdps_projection_changes_nothing() {
    let (plain, other) = (spec(OBJECTS), with(&SEGMENT.replace("segment", "unomi")));
    assert_eq!(traits(&plain, &[]), traits(&other, &[]));
}

#[test]
fn a_projection_that_changes_what_is_sent_changes_the_fingerprint() {
    let of = |spec: &MappingVersionSpec| mapped(spec, &[], |_, mapped| mapped.fingerprint(&Decision::Activate));
    let plain = spec(OBJECTS);
    let same = with("- {cdp: segment, entity: Person, traits: {email: email}}");
    assert_eq!(of(&plain), of(&same));
    let others = [
        "- {cdp: segment, entity: Person, traits: {email: mail}}",
        "- {cdp: segment, entity: Person, traits: {email: mail.mail}}",
        "- {cdp: segment, entity: Person, traits: {fax: null}}",
        "- {cdp: segment, entity: Person, identity: {email: mail}}",
    ];
    let mut seen = vec![of(&plain)];
    for projection in others {
        let fingerprint = of(&with(projection));
        assert!(!seen.contains(&fingerprint), "{projection}");
        seen.push(fingerprint);
    }
}

#[test]
fn a_purpose_is_sent_under_the_cdp_s_name_and_ruled_by_its_own() {
    let spec = with("- {cdp: segment, entity: Person, consent: {email: Email Marketing}}");
    let named = mapped(&spec, &[], |_, mapped| {
        let named = mapped
            .consent
            .iter()
            .map(|statement| (statement.purpose.to_owned(), statement.sent_as.to_owned()));
        named.collect::<Vec<_>>()
    });
    let own = |purpose: &str, sent_as: &str| (purpose.to_owned(), sent_as.to_owned());
    assert_eq!(named, [own("email", "Email Marketing"), own("sms", "sms")]);
}

#[test]
fn a_rejection_names_the_canonical_trait() {
    let spec = with(SEGMENT);
    let plan = Plan::compile(&spec, "Contact", &sink(&[])).unwrap();
    let fields: Vec<Field<'_>> = plan.fields().iter().map(|_| Field::Text("x".into())).collect();
    let record = Record {
        id: "003A".into(),
        stamp: "2026-05-04T10:00:00Z".parse().unwrap(),
        deleted: false,
        fields: &fields,
    };
    assert_eq!(plan.map(&record).unwrap_err().path, "traits[score]");
}

#[test]
fn everything_wrong_with_projections_is_told_at_once() {
    let spec = with(
        "
- cdp: segment
  entity: Person
  traits: {emial: mail, city: address..city, street: '', fax: a, score: a.b}
  events: {Joind: Signed Up, Joined: Moved}
  properties:
    Joined: {form: via, score: by}
    Moed: {by: via}
  identity: {crm_id: id, email: id}
  consent: {emial: mail, sms: null}
- {cdp: segment, entity: Person}
- {cdp: unomi, entity: Deal}
- {cdp: http, entity: Person, traits: {email: city, fax: fax.number, street: fax}, events: {Joined: null}, properties: {Joined: {by: b}}}
- {cdp: postgres, entity: Person, traits: {city: email, street: score.street, rating: fax}, events: {Moved: Joined}}
",
    );
    assert_eq!(
        lines(&Plan::check_spec(&spec)),
        [
            "spec.projections[0].traits.city: \"address..city\" has an empty part; a name stands before and after each dot",
            "spec.projections[0].traits.emial: no trait \"emial\" of a Person; did you mean \"email\"?",
            "spec.projections[0].traits.street: \"\" has an empty part; a name stands before and after each dot",
            "spec.projections[0].traits.score: \"a\" can't be both the trait \"fax\" and an object with the trait \"score\" in it",
            "spec.projections[0].events.Joind: no event \"Joind\" of a Person; did you mean \"Joined\"?",
            "spec.projections[0].events.Joined: the event \"Moved\" lands at \"Moved\" as well",
            "spec.projections[0].identity.email: the identity \"crm_id\" lands at \"id\" as well",
            "spec.projections[0].consent.emial: no purpose \"emial\" of a Person; did you mean \"email\"?",
            "spec.projections[0].consent.sms: a purpose can't be left out: the CDP must hear what was not agreed to",
            "spec.projections[0].properties.Joined.form: no property \"form\" of the event \"Joined\"",
            "spec.projections[0].properties.Joined.score: the property \"by\" lands at \"by\" as well",
            "spec.projections[0].properties.Moed: no event \"Moed\" of a Person; did you mean \"Moved\"?",
            "spec.projections[1]: segment has a projection of Person already, projections[0]; put both into one",
            "spec.projections[2].entity: no object of the mapping becomes a Deal",
            "spec.projections[3].traits.email: the trait \"city\" lands at \"city\" as well",
            "spec.projections[3].traits.fax: \"fax\" can't be both the trait \"street\" and an object with the trait \"fax\" in it",
            "spec.projections[3].properties.Joined: the event \"Joined\" is left out; leave its properties out as well",
            "spec.projections[4].traits.city: the trait \"email\" lands at \"email\" as well",
            "spec.projections[4].traits.rating: the trait \"fax\" lands at \"fax\" as well",
            "spec.projections[4].traits.street: \"score\" can't be both the trait \"score\" and an object with the trait \"street\" in it",
            "spec.projections[4].events.Moved: the event \"Joined\" lands at \"Joined\" as well",
        ]
    );
}
