//! What applying would do, by what is there and what is wanted.

use serde_json::{Value, json};

use super::decide::Action;
use super::*;

fn resource(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "ferrygate.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn version(number: &str, kind: &str) -> Value {
    let spec = json!({
        "mapping": "contact", "version": number,
        "objects": [{
            "object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}],
            "traits": [{"trait": "vip", "from": "Vip", "type": kind}],
            "dependents": [{"trait": "vip", "kind": "Audience", "name": "Guests", "owner": "#crm"}],
        }],
    });
    resource("MappingVersion", &format!("contact-{number}"), spec)
}

/// A source, a sink, a mapping version and a pipeline.
fn all() -> Vec<Value> {
    let key = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    vec![
        resource(
            "CrmSource",
            "org",
            json!({"salesforce": {
                "instanceUrl": "https://a.example", "auth": {"clientCredentials": {"clientId": key, "clientSecret": key}},
            }}),
        ),
        resource(
            "CdpSink",
            "cdp",
            json!({
                "segment": {"endpoint": "https://b.example/v1", "writeKey": key}, "identity": {"userId": "crm_id"},
            }),
        ),
        version("1.0.0", "String"),
        resource(
            "SyncPipeline",
            "people",
            json!({
                "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "contact", "version": "1"},
                "streams": [{"name": "contacts", "object": "Contact", "schedule": {"every": "5m"}}],
            }),
        ),
    ]
}

fn namespace(resources: &[Value]) -> Namespace {
    fn of<K: DeserializeOwned + ResourceExt>(kind: &str, resources: &[Value]) -> BTreeMap<String, K> {
        let these = resources.iter().filter(|one| one["kind"] == kind);
        let read = these.map(|one| serde_json::from_value::<K>(one.clone()).unwrap());
        read.map(|one| (one.name_any(), one)).collect()
    }
    Namespace::of(
        of("CrmSource", resources),
        of("CdpSink", resources),
        of("MappingVersion", resources),
        of("SyncPipeline", resources),
    )
}

fn planned(desired: &[Value], live: &[Value]) -> Plan {
    decide(
        "crm",
        &namespace(desired),
        &namespace(live),
        "2026-05-04".parse().unwrap(),
    )
}

fn actions(plan: &Plan) -> Vec<(&str, Action)> {
    plan.resources
        .iter()
        .map(|one| (one.resource.as_str(), one.action))
        .collect()
}

#[test]
fn the_same_on_both_sides_is_nothing_to_do() {
    let plan = planned(&all(), &all());
    assert!(plan.is_empty() && !plan.is_disruptive(), "{plan:?}");
    assert_eq!(show::text(&[plan]), "namespace crm\n  nothing would change\n");
}

#[test]
fn an_empty_namespace_gets_everything_and_nothing_starts_over() {
    let plan = planned(&all(), &[]);
    assert_eq!(
        actions(&plan),
        [
            ("CrmSource org", Action::Create),
            ("CdpSink cdp", Action::Create),
            ("MappingVersion contact-1.0.0", Action::Create),
            ("SyncPipeline people", Action::Create),
        ]
    );
    assert!(!plan.is_disruptive());
}

#[test]
fn fields_that_change_are_named_and_what_the_folder_lacks_is_left() {
    let mut desired = all();
    desired[3]["spec"]["streams"][0]["schedule"]["every"] = json!("10m");
    let mut live = all();
    live.push(version("0.9.0", "String"));
    let plan = planned(&desired, &live);
    assert_eq!(
        actions(&plan),
        [
            ("MappingVersion contact-0.9.0", Action::Leave),
            ("SyncPipeline people", Action::Change)
        ]
    );
    assert_eq!(
        plan.resources[1].fields,
        ["spec.streams[contacts].schedule.every: \"300s\" → \"600s\""]
    );
    assert!(!plan.is_disruptive());
}

#[test]
fn a_mapping_version_that_is_there_can_not_be_changed() {
    let mut desired = all();
    desired[2] = version("1.0.0", "Boolean");
    let plan = planned(&desired, &all());
    assert_eq!(actions(&plan), [("MappingVersion contact-1.0.0", Action::Refused)]);
    // The pipeline goes on with what is there.
    assert_eq!((plan.moves.len(), plan.is_disruptive()), (0, true));
}

#[test]
fn a_pipeline_with_a_range_moves_to_a_higher_version_and_the_audiences_are_named() {
    let mut desired = all();
    desired.push(version("2.0.0", "Boolean"));
    desired[3]["spec"]["mappingRef"]["version"] = json!(">=1");
    let mut live = all();
    live[3]["spec"]["mappingRef"]["version"] = json!(">=1");
    live[3]["status"] = json!({"mapping": {"name": "contact-1.0.0", "version": "1.0.0"}});
    let plan = planned(&desired, &live);
    assert_eq!(actions(&plan), [("MappingVersion contact-2.0.0", Action::Create)]);
    let moves: Vec<_> = plan.moves.iter().map(|one| one.pipeline.as_str()).collect();
    assert_eq!((moves, plan.is_disruptive()), (vec!["people"], true));
    let text = show::text(&[plan]);
    for words in [
        "  + MappingVersion contact-2.0.0\n",
        "  pipeline people would take another mapping version\n",
        "touches Audience \"Guests\" (#crm)",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
fn a_pipeline_with_a_range_does_not_move_to_a_version_whose_number_hides_what_it_changes() {
    let range = |these: &mut Vec<Value>| these[3]["spec"]["mappingRef"]["version"] = json!("^1");
    let (mut desired, mut live) = (all(), all());
    desired.push(version("1.1.0", "Boolean"));
    range(&mut desired);
    range(&mut live);
    live[3]["status"] = json!({"mapping": {"name": "contact-1.0.0", "version": "1.0.0"}});
    let plan = planned(&desired, &live);
    assert_eq!((plan.moves.len(), plan.is_disruptive()), (0, true));
    let told = "SyncPipeline people: its range does not take MappingVersion contact-1.1.0, whose number hides what it changes: \
                spec.version: 1.1.0 is too low for what changed since 1.0.0";
    assert!(plan.problems[0].starts_with(told), "{:?}", plan.problems);
    // Named exactly, it is taken.
    desired[3]["spec"]["mappingRef"]["version"] = json!("1.1.0");
    let plan = planned(&desired, &live);
    assert_eq!((plan.moves.len(), plan.problems.len()), (1, 0), "{:?}", plan.problems);
}

#[test]
fn a_stream_starts_over_when_its_object_its_source_or_its_sink_is_another() {
    type Change = fn(&mut Vec<Value>);
    let changes: [(&str, Change); 5] = [
        ("its object", |these| {
            these[3]["spec"]["streams"][0]["object"] = json!("Lead")
        }),
        ("its source's address", |these| {
            these[0]["spec"]["salesforce"]["instanceUrl"] = json!("https://c.example")
        }),
        ("its sink's address", |these| {
            these[1]["spec"]["segment"]["endpoint"] = json!("https://d.example/v1")
        }),
        ("its sink", |these| {
            let mut other = these[1].clone();
            other["metadata"]["name"] = json!("other");
            these.push(other);
            these[3]["spec"]["sinkRef"]["name"] = json!("other");
        }),
        ("its name", |these| {
            these[3]["spec"]["streams"][0]["name"] = json!("people")
        }),
    ];
    for (what, change) in changes {
        let mut desired = all();
        change(&mut desired);
        let plan = planned(&desired, &all());
        assert_eq!(
            (plan.restarts.len(), plan.is_disruptive()),
            (1, true),
            "{what}: {plan:?}"
        );
    }
    // A pipeline that the folder lacks is concerned as well.
    let mut desired = all();
    desired[0]["spec"]["salesforce"]["instanceUrl"] = json!("https://c.example");
    desired.pop();
    assert_eq!(planned(&desired, &all()).restarts.len(), 1);
}

#[test]
fn a_pipeline_that_would_find_no_mapping_is_told() {
    let mut desired = all();
    desired[3]["spec"]["mappingRef"]["version"] = json!("~7");
    let plan = planned(&desired, &all());
    assert_eq!(
        plan.problems,
        [
            "SyncPipeline people: spec.mappingRef.version: mapping \"contact\" has no version that fits \"~7\"; versions: 1.0.0"
        ]
    );
}
