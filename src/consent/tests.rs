use super::*;
use crate::api::mapping_version::LegalBasis;

fn gate(required: &[&str]) -> Gate {
    Gate {
        required: required.iter().map(|purpose| (*purpose).to_owned()).collect(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("an instant")
}

#[test]
fn everything_but_every_required_purpose_granted_suppresses() {
    use Decision::{Activate, Suppress};
    use Entity::{Account, Deal, Membership, Person};
    type Case<'a> = (&'a [&'a str], Entity, &'a [(&'a str, bool)], bool, Decision);
    let cases: &[Case] = &[
        (&[], Person, &[], false, Activate),
        (&[], Person, &[("email", false)], false, Activate),
        (&[], Person, &[], true, Suppress),
        (&["email"], Person, &[], false, Suppress),
        (&["email"], Person, &[("email", false)], false, Suppress),
        (&["email"], Person, &[("email", true)], false, Activate),
        (&["email"], Person, &[("email", true)], true, Suppress),
        (&["email"], Person, &[("Email", true)], false, Suppress),
        (
            &["email"],
            Person,
            &[("email", true), ("email", false)],
            false,
            Suppress,
        ),
        (&["email", "sms"], Person, &[("email", true)], false, Suppress),
        (
            &["email", "sms"],
            Person,
            &[("email", true), ("sms", false)],
            false,
            Suppress,
        ),
        (
            &["email", "sms"],
            Person,
            &[("sms", true), ("email", true)],
            false,
            Activate,
        ),
        (&["email"], Deal, &[], false, Suppress),
        (&["email"], Deal, &[("email", true)], false, Activate),
        (&["email"], Membership, &[], false, Suppress),
        (&["email"], Membership, &[("email", true)], false, Activate),
        (&["email"], Membership, &[("email", true)], true, Suppress),
        (&["email"], Account, &[], false, Activate),
        (&["email"], Account, &[], true, Suppress),
    ];
    for (required, entity, consent, deleted, expected) in cases {
        let mut statements: Vec<Statement> = consent.iter().map(|each| (*each).into()).collect();
        let ruling = gate(required).decide(*entity, &mut statements, *deleted, at(0));
        assert_eq!(
            ruling.decision, *expected,
            "{required:?} {entity:?} {consent:?} deleted: {deleted}"
        );
        assert!(!*deleted || statements.iter().all(|each| each.granted == Err(Denial::Deleted)));
    }
}

/// A statement with evidence that counts from one instant and until another.
fn lasting(purpose: &str, begins: i64, ends: i64) -> Statement<'_> {
    Statement {
        begins: Some(at(begins)),
        ends: Some(at(ends)),
        ..Statement::new(purpose, LegalBasis::Consent, Ok(()))
    }
}

#[test]
fn consent_holds_from_its_evidence_until_the_instant_at_which_it_ends() {
    let cases = [
        (9, Err(Denial::EvidenceInFuture)),
        (10, Ok(())),
        (19, Ok(())),
        (20, Err(Denial::Expired)),
        (21, Err(Denial::Expired)),
    ];
    for (now, expected) in cases {
        let mut statements = [lasting("email", 10, 20)];
        let ruling = gate(&["email"]).decide(Entity::Person, &mut statements, false, at(now));
        let activated = Ruling {
            decision: Decision::Activate,
            ends: Some(at(20)),
            ended: None,
        };
        let suppressed = Ruling {
            decision: Decision::Suppress,
            ends: None,
            ended: (expected == Err(Denial::Expired)).then_some(at(20)),
        };
        let ruled = if expected.is_ok() { activated } else { suppressed };
        assert_eq!((statements[0].granted, ruling), (expected, ruled), "at {now}");
    }
}

#[test]
fn what_is_sent_holds_until_the_first_granted_purpose_ends_whether_it_is_required_or_not() {
    let mut statements = [lasting("email", 0, 30), lasting("ads", 0, 20), lasting("old", 0, 5)];
    let ruling = gate(&["email"]).decide(Entity::Person, &mut statements, false, at(10));
    assert_eq!((ruling.decision, ruling.ends), (Decision::Activate, Some(at(20))));
    for (entity, ends) in [(Entity::Deal, Some(at(30))), (Entity::Account, None)] {
        let mut statements = [lasting("email", 0, 30), lasting("ads", 0, 20)];
        let ruling = gate(&["email"]).decide(entity, &mut statements, false, at(10));
        assert_eq!((ruling.decision, ruling.ends), (Decision::Activate, ends), "{entity:?}");
    }
}

#[test]
fn the_clock_grants_nothing_that_the_record_denies() {
    let mut statement = lasting("email", 10, 20);
    statement.granted = Err(Denial::Region(3));
    statement.settle(at(15));
    assert_eq!(
        statement.granted.map_err(|denial| denial.to_string()),
        Err("Region[3]".into())
    );
}
