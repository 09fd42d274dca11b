//! What a record states of a purpose.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::api::mapping_version::LegalBasis;
use crate::consent::{Denial, Statement};
use crate::mapping::Plan;
use crate::record::{Field, Record};

const PERSON: &str = "\
object: Contact
entity: Person
identity: [{kind: crm_id, from: Id}]
consent:
- purpose: marketing_email
  from: Opt__c
  granted: value == 'yes'
  authoritative: {from: Center__c, granted: value == 'in'}
  at: At__c
  expiresAfter: 1y
  legalBasis: LegitimateInterest
  regions:
  - {when: \"record.Country in ['DE', 'AT']\", granted: record.Double__c == true}
  - {when: record.Strict__c, granted: record.Opt__c == 'yes'}
";

fn text(text: &'static str) -> Field<'static> {
    Field::Text(Cow::Borrowed(text))
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Hands what the contact states, with these fields changed, to `check`.
fn state<T>(object: &str, changes: &[(&'static str, Field<'static>)], check: impl FnOnce(&Statement<'_>) -> T) -> T {
    let mut record = BTreeMap::from([
        ("Id", text("003A")),
        ("Opt__c", text("yes")),
        ("At__c", text("2026-01-01T12:00:00.000+0000")),
        ("Country", text("FR")),
        ("Strict__c", Field::Boolean(false)),
    ]);
    record.extend(changes.iter().cloned());
    let plan = Plan::compile(&mapping(object), "Contact", &sink(&["marketing_email"])).expect("a plan");
    let field = |name: &String| record.get(name.as_str()).cloned().unwrap_or(Field::Null);
    let fields: Vec<Field> = plan.fields().iter().map(field).collect();
    let record = Record {
        id: Cow::Borrowed("003A"),
        stamp: instant("2026-05-04T08:41:07Z"),
        deleted: false,
        fields: &fields,
    };
    let mapped = plan.map(&record).expect("mapped");
    check(&mapped.consent[0])
}

#[test]
fn everything_but_a_plain_yes_with_evidence_is_a_typed_denial() {
    use Denial::{EvidenceUnparsable, NoEvidence, Refused, Region, RegionUnclear, Unknown};
    type Case<'a> = (&'a [(&'static str, Field<'static>)], Result<(), Denial>);
    let cases: &[Case] = &[
        (&[], Ok(())),
        (&[("Opt__c", Field::Null)], Err(Unknown)),
        (&[("Opt__c", text(""))], Err(Refused)),
        (&[("Opt__c", text("no"))], Err(Refused)),
        (&[("Center__c", text("out"))], Err(Refused)),
        (&[("Center__c", text("in")), ("Opt__c", text("no"))], Ok(())),
        (&[("Center__c", text("in")), ("Opt__c", Field::Null)], Ok(())),
        (&[("At__c", Field::Null)], Err(NoEvidence)),
        (&[("At__c", Field::Null), ("Opt__c", text("no"))], Err(Refused)),
        (&[("At__c", text("soon"))], Err(EvidenceUnparsable)),
        (&[("At__c", text("2026-02-30"))], Err(EvidenceUnparsable)),
        (&[("At__c", Field::Number("1767225600000"))], Err(EvidenceUnparsable)),
        (&[("Country", text("DE"))], Err(Region(0))),
        (&[("Country", text("DE")), ("Double__c", text("true"))], Err(Region(0))),
        (&[("Country", text("DE")), ("Double__c", Field::Boolean(true))], Ok(())),
        (&[("Country", Field::Null)], Ok(())),
        (&[("Strict__c", Field::Boolean(true))], Ok(())),
        (
            &[
                ("Strict__c", Field::Boolean(true)),
                ("Center__c", text("in")),
                ("Opt__c", text("no")),
            ],
            Err(Region(1)),
        ),
        (&[("Strict__c", Field::Null)], Err(RegionUnclear(1))),
        (&[("Strict__c", text("true"))], Err(RegionUnclear(1))),
    ];
    for (changes, expected) in cases {
        let granted = state(PERSON, changes, |statement| statement.granted);
        assert_eq!(granted, *expected, "{changes:?}");
    }
}

#[test]
fn what_an_expression_gives_beside_true_and_false_is_told_apart() {
    let cases = [
        ("record.Opt__c", Denial::Unparsable),
        ("record.Double__c", Denial::Unknown),
        ("1 / 0 == 1", Denial::Failed),
    ];
    for (granted, expected) in cases {
        let object = PERSON.replace("granted: value == 'yes'", &format!("granted: {granted}"));
        assert_eq!(
            state(&object, &[], |statement| statement.granted),
            Err(expected),
            "{granted}"
        );
    }
}

#[test]
fn evidence_counts_from_its_instant_until_it_expires() {
    let told = |at: &'static str, object: &str| {
        state(object, &[("At__c", text(at))], |statement| {
            let text = |instant: Option<Timestamp>| instant.map(|instant| instant.to_string()).unwrap_or_default();
            assert_eq!(statement.basis, LegalBasis::LegitimateInterest);
            [text(statement.evidence), text(statement.begins), text(statement.ends)]
        })
    };
    let lasting = PERSON.replace("  expiresAfter: 1y\n", "");
    let cases = [
        (
            "2026-01-01T12:00:00+02:00",
            PERSON,
            ["2026-01-01T10:00:00Z", "2026-01-01T09:55:00Z", "2027-01-01T10:00:00Z"],
        ),
        (
            "2026-01-01",
            PERSON,
            ["2026-01-01T00:00:00Z", "2025-12-31T09:55:00Z", "2027-01-01T00:00:00Z"],
        ),
        (
            "2026-01-01",
            &lasting,
            ["2026-01-01T00:00:00Z", "2025-12-31T09:55:00Z", ""],
        ),
    ];
    for (at, object, expected) in cases {
        assert_eq!(told(at, object), expected, "{at}");
    }
}

#[test]
fn everything_wrong_with_a_purpose_is_told_with_its_place() {
    let object = PERSON.split("consent:").next().expect("the rest").to_owned()
        + "\
consent:
- purpose: email
  from: Opt.Out
  granted: value == 'yes'
  authoritative: {from: Center__c, granted: size(value)}
  at: 1At
  expiresAfter: 2x
  regions:
  - {when: 1 + 1, granted: vlaue == 1}
- {purpose: sms, from: Opt__c, granted: value == 'yes', expiresAfter: 2y}
";
    let found: Vec<String> = Plan::check_spec(&mapping(&object))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "spec.objects[0].consent[0].from: \"Opt.Out\": only the object's own fields, as they are now, can be read; no dot can be in their names",
            "spec.objects[0].consent[0].authoritative.granted: the expression gives an int, which is no Boolean; only true grants",
            "spec.objects[0].consent[0].at: \"1At\" can't be a field's API name: letters, digits and _ after a letter",
            "spec.objects[0].consent[0].expiresAfter: \"2x\" is no number of days, weeks, months or years like 730d, 52w, 24mo or 2y",
            "spec.objects[0].consent[0].regions[0].when: the expression gives an int, which is no Boolean; what is neither denies",
            "spec.objects[0].consent[0].regions[0].granted: column 1: there is no variable \"vlaue\"; did you mean \"value\"?",
            "spec.objects[0].consent[1].expiresAfter: it counts from the evidence, and nothing says when that is; name the field with its instant in at",
        ]
    );
}
