//! What the status of a mapping version says, by the versions and the pipelines around it and by the day.

use serde_json::{Value, json};

use super::*;
use crate::api::conditions::violations;

fn version(number: &str, more: Value) -> Arc<MappingVersion> {
    let mut spec = json!({
        "mapping": "customer", "version": number,
        "objects": [{
            "object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}],
            "traits": [{"trait": "email", "from": "Email", "type": "String"}],
        }],
    });
    json_patch::merge(&mut spec, &more);
    let object = json!({
        "apiVersion": "ferrygate.io/v1alpha1", "kind": "MappingVersion", "spec": spec,
        "metadata": {"name": format!("customer-{number}"), "namespace": "crm", "generation": 1},
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn alone(mapping: Arc<MappingVersion>) -> Observed {
    Observed {
        mapping,
        before: None,
        twins: Vec::new(),
        users: vec!["customers".to_owned()],
        uses: Vec::new(),
        others: Vec::new(),
    }
}

fn at(instant: &str) -> Timestamp {
    instant.parse().unwrap()
}

/// Status and reason of a condition.
fn told(status: &MappingVersionStatus, kind: &str) -> String {
    assert_eq!(violations(&[], &status.conditions, 1), Vec::<String>::new());
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .unwrap();
    format!("{} {}: {}", condition.status, condition.reason, condition.message)
}

#[test]
fn the_first_version_of_a_mapping_has_nothing_to_be_held_against() {
    let (status, wake) = decide(&alone(version("1.0.0", json!({}))), at("2026-05-04T08:00:00Z"));
    let first = "True FirstVersion: there is no version of the mapping before this one in its namespace";
    assert_eq!(told(&status, SEMVER_COMPLIANT), first);
    assert_eq!(
        told(&status, REVIEW_DUE),
        "False NoReviewDate: spec.reviewBy names no day"
    );
    assert_eq!((status.changes, wake), (None, None));
}

#[test]
fn a_number_that_hides_a_breaking_change_is_marked_with_the_number_that_it_needs() {
    let typed = json!({"objects": [{
        "object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}],
        "traits": [{"trait": "email", "from": "Email", "type": "Boolean"}],
    }]});
    let observed = |number| Observed {
        before: Some(version("1.0.0", json!({}))),
        ..alone(version(number, typed.clone()))
    };
    let now = at("2026-05-04T08:00:00Z");
    let (status, _) = decide(&observed("1.1.0"), now);
    let change = "objects[Contact].traits[email].type: String → Boolean (breaking)";
    assert_eq!(
        told(&status, SEMVER_COMPLIANT),
        format!(
            "False NumberTooLow: spec.version: 1.1.0 is too low for what changed since 1.0.0: {change}. The next version \
             with such changes is 2.0.0"
        )
    );
    assert_eq!(
        json!(status.changes),
        json!({
            "since": "1.0.0", "breaking": 1, "compatible": 0, "editorial": 0, "leastVersion": "2.0.0", "first": [change],
        })
    );
    let (status, _) = decide(&observed("2.0.0"), now);
    let fits = "True NumberFits: the number fits what changed since 1.0.0, which is breaking";
    assert_eq!(told(&status, SEMVER_COMPLIANT), fits);
}

#[test]
fn a_version_that_is_there_twice_is_marked() {
    let observed = Observed {
        twins: vec!["customer-copy".to_owned()],
        ..alone(version("1.0.0", json!({})))
    };
    let (status, _) = decide(&observed, at("2026-05-04T08:00:00Z"));
    let twice = "False VersionTwice: spec.version: the same version of the mapping is in customer-copy as well; delete all but \
                 one";
    assert_eq!(told(&status, SEMVER_COMPLIANT), twice);
}

#[test]
fn a_review_is_due_from_the_first_instant_after_its_day_and_that_instant_wakes() {
    let observed = alone(version("1.0.0", json!({"reviewBy": "2026-05-04"})));
    let (status, wake) = decide(&observed, at("2026-05-04T23:59:59Z"));
    let not_due = "False ReviewNotDue: a review is due after 2026-05-04";
    assert_eq!(
        (told(&status, REVIEW_DUE).as_str(), wake),
        (not_due, Some(at("2026-05-05T00:00:00Z")))
    );
    let (status, wake) = decide(&observed, at("2026-05-05T00:00:00Z"));
    assert!(told(&status, REVIEW_DUE).starts_with("True ReviewOverdue: spec.reviewBy: 2026-05-04 has passed"));
    assert_eq!(wake, None);
}

#[test]
fn a_trait_is_gone_too_early_until_the_day_of_its_deprecation() {
    let with_fax = json!({"objects": [{
        "object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}],
        "traits": [
            {"trait": "email", "from": "Email", "type": "String"},
            {"trait": "fax", "from": "Fax", "type": "String", "deprecated": {"since": "1.0.0", "removeAfter": "2026-06-01"}},
        ],
    }]});
    let before = version("1.0.0", with_fax);
    let observed = Observed {
        before: Some(before.clone()),
        ..alone(version("1.1.0", json!({})))
    };
    let (status, wake) = decide(&observed, at("2026-05-31T12:00:00Z"));
    assert!(told(&status, SEMVER_COMPLIANT).starts_with("False NumberTooLow"));
    assert_eq!(wake, Some(at("2026-06-01T00:00:00Z")));
    let (status, wake) = decide(&observed, at("2026-06-01T00:00:00Z"));
    assert!(told(&status, SEMVER_COMPLIANT).starts_with("True NumberFits"));
    assert_eq!(wake, None);
    let (status, _) = decide(&alone(before), at("2026-06-01T00:00:00Z"));
    assert!(told(&status, REMOVAL_DUE).starts_with("True RemovalOverdue: spec.objects[0].traits[1].deprecated: "));
}

#[test]
fn who_takes_a_version_is_told_and_that_nobody_does() {
    let cases: [(&[&str], &[&str], &str); 3] = [
        (&["a", "b"], &["c (2.0.0)"], "True InUse: taken by the pipelines: a, b"),
        (&[], &[], "False Unused: no pipeline takes this mapping"),
        (
            &[],
            &["c (2.0.0)"],
            "False Unused: no pipeline takes this version; other versions are taken by: c (2.0.0)",
        ),
    ];
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (users, others, expected) in cases {
        let observed = Observed {
            users: owned(users),
            others: owned(others),
            ..alone(version("1.0.0", json!({})))
        };
        let (status, _) = decide(&observed, at("2026-05-04T08:00:00Z"));
        assert_eq!(told(&status, IN_USE), expected);
        assert_eq!(status.used_by, Some(users.len() as i32));
    }
}

#[test]
fn errors_are_listed_with_their_paths_and_a_long_list_ends_with_how_many_more() {
    let traits: Vec<_> = (0..25)
        .map(|number| json!({"trait": format!("t{number}"), "from": "F", "type": "String", "cel": "record."}))
        .collect();
    let broken = json!({"objects": [{
        "object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}], "traits": traits,
    }]});
    let (status, _) = decide(&alone(version("1.0.0", broken)), at("2026-05-04T08:00:00Z"));
    let words = told(&status, COMPILED);
    assert!(
        words.starts_with("False CompileFailed: spec.objects[0].traits[0]: a trait has exactly one of from, cel; "),
        "{words}"
    );
    assert!(
        words.contains("; and 5 more, which `ferrygate validate --files` lists"),
        "{words}"
    );
}

#[test]
fn a_status_that_says_the_same_is_not_written_again() {
    let observed = alone(version("1.0.0", json!({"reviewBy": "2026-05-04"})));
    let (status, _) = decide(&observed, at("2026-05-01T00:00:00Z"));
    let mut again = (*observed.mapping).clone();
    again.status = Some(status.clone());
    let (later, _) = decide(&alone(Arc::new(again)), at("2026-05-03T17:00:00Z"));
    assert_eq!(later, status);
}
