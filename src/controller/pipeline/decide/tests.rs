//! What is decided, without a cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::super::admission::Places;
use super::super::super::jobs::{WorkerImage, sync_job};
use super::super::super::light::{Cause, LightPod, WatchedJob};
use super::super::super::observe::Made;
use super::super::observe::Found;
use super::*;
use crate::api::MappingVersion;
use crate::api::conditions::{CONSENT_CURRENT, FRESH, READY, RECONCILED, RECONCILING, STALLED, SUSPENDED, violations};
use crate::api::sync_pipeline::{Deletes, MappingCandidate, RUN_NOW};
use crate::worker::UnresolvedMapping;

/// Decides, and holds what is decided to the rules of conditions.
pub(super) fn decide(pipeline: &SyncPipeline, observed: &Observed, now: Timestamp) -> Decision {
    let decision = super::decide(pipeline, observed, now);
    let before = pipeline.status.clone().unwrap_or_default();
    let generation = pipeline.metadata.generation.unwrap();
    let broken = violations(&before.conditions, &decision.status.conditions, generation);
    assert_eq!(broken, Vec::<String>::new());
    assert_eq!(decision.status.observed_generation, Some(generation));
    decision
}

pub(super) fn at(text: &str) -> Timestamp {
    format!("2026-05-04T{text}Z").parse().unwrap()
}

/// When the first run of the tests starts; its second is the run's number.
const FIRST: Timestamp = Timestamp::constant(1_777_881_601, 0);

fn ready() -> Value {
    let now = at("07:00:00").to_string();
    json!([{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": now}])
}

fn resource(kind: &str, name: &str, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": "ferrygate.io/v1alpha1", "kind": kind, "spec": spec, "status": status,
        "metadata": {
            "name": name, "namespace": "crm", "uid": format!("uid-{name}"), "generation": 1,
            "creationTimestamp": at("08:00:00").to_string(),
        },
    })
}

pub(super) fn observed() -> Observed {
    let key = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let source: CrmSource = serde_json::from_value(resource(
        "CrmSource",
        "org",
        json!({"salesforce": {"instanceUrl": "https://a.example", "auth": {"clientCredentials": {"clientId": key, "clientSecret": key}}}}),
        json!({"conditions": ready()}),
    ))
    .unwrap();
    let sink: CdpSink = serde_json::from_value(resource(
        "CdpSink",
        "cdp",
        json!({"segment": {"endpoint": "https://b.example/v1", "writeKey": key}, "identity": {"userId": "crm_id"}}),
        json!({"conditions": ready()}),
    ))
    .unwrap();
    let mapping: MappingVersion = serde_json::from_value(resource(
        "MappingVersion",
        "contact-1.0.0",
        json!({
            "mapping": "contact", "version": "1.0.0",
            "objects": [{"object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}]}],
        }),
        Value::Null,
    ))
    .unwrap();
    Observed {
        source: Found::There(Arc::new(source)),
        sink: Found::There(Arc::new(sink)),
        mapping: Ok(Arc::new(mapping)),
        left: None,
        candidate: None,
        plan_errors: Vec::new(),
        made: Made::default(),
        claim: Some(Arc::new(claim::state_claim(&pipeline(Value::Null)).metadata)),
        places: Places::free(4),
    }
}

pub(super) fn pipeline(status: Value) -> SyncPipeline {
    serde_json::from_value(resource(
        "SyncPipeline",
        "people",
        json!({
            "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "contact", "version": "1.0.0"},
            "streams": [{
                "name": "contacts", "object": "Contact", "schedule": {"every": "5m"}, "freshness": {"objective": "15m"},
            }],
        }),
        status,
    ))
    .unwrap()
}

/// A Job of the stream, in a state.
pub(super) fn job(name: &str, standing: Standing) -> (String, Arc<LightJob>) {
    let job = LightJob {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        owner: None,
        created: Some(at("08:00:01")),
        stream: Some("contacts".to_owned()),
        run: None,
        standing,
    };
    (name.to_owned(), Arc::new(job))
}

pub(super) fn failed() -> Standing {
    Standing::Failed {
        reason: "BackoffLimitExceeded".to_owned(),
        message: "it failed too often".to_owned(),
        at: None,
    }
}

/// What the cache keeps of a Job.
pub(super) fn light(job: &Job) -> LightJob {
    let text = serde_json::to_string(job).unwrap();
    serde_json::from_str::<WatchedJob>(&text).unwrap().into()
}

fn condition<'a>(decision: &'a Decision, kind: &str) -> (&'a str, &'a str) {
    let found = decision
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .unwrap();
    (&found.status, &found.reason)
}

#[test]
fn a_new_stream_starts_at_once_and_its_job_is_created_after_the_status_names_it() {
    let now = at("08:00:01");
    let first = decide(&pipeline(Value::Null), &observed(), now);
    let run = first.status.streams[0].active_run.clone().unwrap();
    let created: Vec<_> = first
        .work
        .iter()
        .filter_map(|work| {
            if let Work::Create(run) = work {
                Some(run.name.clone())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        (created, run.epoch, condition(&first, RECONCILING).0),
        (vec![run.name.clone()], FIRST.as_second(), "True")
    );

    // The process ended before the Job was created: the very same one is created, and the status stays.
    let again = decide(&pipeline(json!(first.status)), &observed(), at("08:00:09"));
    assert_eq!((again.work, again.status), (first.work, first.status));
}

#[test]
fn while_a_run_is_under_way_none_is_started_and_nothing_is_written() {
    let started = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
    let name = started.streams[0].active_run.clone().unwrap().name;
    let mut seen = observed();
    seen.made.jobs = BTreeMap::from([job(&name, Standing::Active)]);
    let decision = decide(&pipeline(json!(started)), &seen, at("08:14:00"));
    assert_eq!((decision.work, decision.status), (vec![], started));
}

#[test]
fn a_run_that_ended_is_collected_and_the_next_starts_at_its_slot() {
    let mut status = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
    let run = status.streams[0].active_run.as_mut().unwrap();
    run.report = serde_json::from_value(json!({"outcome": "Succeeded", "message": "all done"})).unwrap();
    let name = run.name.clone();
    status.streams[0].complete_as_of = Some(Time(at("08:00:02")));
    status.streams[0].reconciliation = serde_json::from_value(json!({
        "sourceCount": 10, "deliveredCount": 9, "changedMeanwhile": 1, "time": at("08:00:03").to_string(),
    }))
    .unwrap();
    let mut seen = observed();
    seen.made.jobs = BTreeMap::from([job(&name, Standing::Complete)]);
    let ended = decide(&pipeline(json!(status)), &seen, at("08:00:05"));
    let stream = &ended.status.streams[0];
    let next = stream.next_run_time.clone().unwrap().0;
    assert_eq!(
        (
            stream.active_run.is_none(),
            stream.last_run.as_ref().map(|run| run.outcome),
            condition(&ended, READY),
            condition(&ended, FRESH).0,
            condition(&ended, RECONCILED).0,
            next > at("08:00:05") && next <= at("08:05:05"),
            ended.wake,
        ),
        (
            true,
            Some(Outcome::Succeeded),
            ("True", "Succeeded"),
            "True",
            "True",
            true,
            Some(next)
        ),
    );
    let due = decide(&pipeline(json!(ended.status)), &seen, next);
    assert_eq!(
        due.status.streams[0]
            .active_run
            .as_ref()
            .map(|run| (run.epoch, run.slot_time.0)),
        Some((FIRST.as_second() + 1, next))
    );
}

#[test]
fn an_interval_of_five_minutes_makes_twelve_runs_an_hour() {
    let mut now = at("08:00:01");
    let mut pipeline = pipeline(Value::Null);
    let mut seen = observed();
    let mut runs = Vec::new();
    while now < at("10:00:01") {
        let decision = decide(&pipeline, &seen, now);
        let created = decision.work.iter().find_map(|work| match work {
            Work::Create(run) => Some(run.name.clone()),
            _ => None,
        });
        // Through JSON, as the API server keeps it: its times have no fractions of a second.
        pipeline.status = serde_json::from_value(json!(decision.status)).unwrap();
        now = match created {
            Some(name) => {
                seen.made.jobs = BTreeMap::from([job(&name, Standing::Complete)]);
                runs.push(name);
                now + SignedDuration::from_millis(1_700)
            }
            None => decision.wake.unwrap(),
        };
    }
    let mut distinct = runs.clone();
    distinct.dedup();
    // The first one starts at once, beside the schedule.
    assert_eq!((distinct.len(), runs.len()), (25, 25));
}

#[test]
fn a_run_with_dead_letters_is_told_with_their_causes_and_one_without_is_not() {
    let told = |rejected: i64, failures: Option<i32>| {
        let mut status = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
        let run = status.streams[0].active_run.as_mut().unwrap();
        run.report =
            serde_json::from_value(json!({"outcome": "Succeeded", "message": "2 at traits[0]: too long"})).unwrap();
        let name = run.name.clone();
        status.streams[0].consecutive_failures = failures;
        status.streams[0].counts = serde_json::from_value(json!({
            "read": 5, "delivered": 3, "unchanged": 2 - rejected, "suppressed": 0, "rejected": rejected,
        }))
        .unwrap();
        let mut seen = observed();
        seen.made.jobs = BTreeMap::from([job(&name, Standing::Complete)]);
        let notices = decide(&pipeline(json!(status)), &seen, at("08:00:05")).notices;
        notices
            .into_iter()
            .map(|notice| {
                (
                    notice.warning,
                    notice.reason,
                    notice.message.contains("traits[0]: too long"),
                )
            })
            .collect::<Vec<_>>()
    };
    let rejected = (true, "RecordsRejected", true);
    let recovered = (false, "Recovered", true);
    assert_eq!(told(0, None), vec![]);
    assert_eq!(told(2, None), vec![rejected]);
    assert_eq!(told(0, Some(1)), vec![recovered]);
    assert_eq!(told(2, Some(1)), vec![recovered, rejected]);
}

/// The status after the first run, and what is seen then.
fn after_the_first_run() -> (SyncPipelineStatus, Observed) {
    let status = decide(&pipeline(Value::Null), &observed(), FIRST).status;
    let name = &status.streams[0].active_run.as_ref().unwrap().name;
    let mut seen = observed();
    seen.made.jobs = BTreeMap::from([job(name, Standing::Complete)]);
    let ended = decide(&pipeline(json!(status)), &seen, at("08:00:05")).status;
    (ended, seen)
}

#[test]
fn slots_without_a_run_are_counted_once_and_a_late_run_is_made_or_not_by_the_deadline() {
    let (ended, seen) = after_the_first_run();
    let next = ended.streams[0].next_run_time.clone().unwrap().0;
    // The controller comes back between two slots; nine of ten were missed before the one that makes the late run.
    let back = next + SignedDuration::from_mins(47);
    let at_return = |deadline: Option<&str>| {
        let mut pipeline = pipeline(json!(ended));
        pipeline.spec.streams[0].schedule.starting_deadline = deadline.map(|text| text.parse().unwrap());
        let first = decide(&pipeline, &seen, back);
        pipeline.status = serde_json::from_value(json!(first.status)).unwrap();
        let again = decide(&pipeline, &seen, back);
        let skipped = first.status.streams[0].skipped.as_ref().map(|skipped| skipped.count);
        assert_eq!(again.status, first.status, "{deadline:?}");
        (started(&first), skipped, first.notices.len(), again.notices.len())
    };
    assert_eq!(at_return(None), (Some(2), Some(9), 1, 0));
    assert_eq!(at_return(Some("3m")), (Some(2), Some(9), 1, 0));
    assert_eq!(at_return(Some("1m")), (None, Some(10), 1, 0));
}

/// Which run starts, of those since the first.
fn started(decision: &Decision) -> Option<i64> {
    let run = decision.status.streams[0].active_run.as_ref();
    run.map(|run| run.epoch - FIRST.as_second() + 1)
}

#[test]
fn a_run_that_is_asked_for_starts_at_once_and_once() {
    let (ended, seen) = after_the_first_run();
    let asked = |status: &SyncPipelineStatus, token: &str, now: &str| {
        let mut pipeline = pipeline(json!(status));
        pipeline.annotations_mut().insert(RUN_NOW.to_owned(), token.to_owned());
        decide(&pipeline, &seen, at(now))
    };
    let first = asked(&ended, "a", "08:00:06");
    assert_eq!(started(&first), Some(2));

    // It ended: the same token asks for nothing, another one does, and none overrides the CRM's quota.
    let mut handled = first.status;
    handled.streams[0].active_run = None;
    handled.streams[0].last_run = ended.streams[0].last_run.clone();
    assert_eq!(started(&asked(&handled, "a", "08:00:07")), None);
    assert_eq!(started(&asked(&handled, "b", "08:00:07")), Some(2));
    handled.streams[0].parked_until = Some(Time(at("08:30:00")));
    let parked = asked(&handled, "b", "08:00:07");
    assert_eq!((started(&parked), parked.wake), (None, Some(at("08:15:00"))));
    assert_eq!(started(&asked(&handled, "b", "08:30:00")), Some(2));
}

#[test]
fn a_suspended_stream_starts_no_run_and_keeps_the_pipeline_from_nothing() {
    let mut pipeline = pipeline(Value::Null);
    let mut other = pipeline.spec.streams[0].clone();
    other.name = "archive".to_owned();
    other.suspend = true;
    pipeline.spec.streams.push(other);
    let decision = decide(&pipeline, &observed(), at("08:00:01"));
    let running = decision.status.streams.iter().map(|stream| stream.active_run.is_some());
    assert_eq!(running.collect::<Vec<_>>(), [true, false]);
    assert_eq!(condition(&decision, SUSPENDED).0, "False");

    pipeline.spec.streams[0].suspend = true;
    let decision = decide(&pipeline, &observed(), at("08:00:01"));
    assert_eq!(
        (
            decision.work.len(),
            condition(&decision, SUSPENDED),
            condition(&decision, READY)
        ),
        (0, ("True", "Suspended"), ("True", "Suspended"))
    );
}

#[test]
fn fresh_turns_false_at_the_instant_the_objective_is_missed() {
    let mut status = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
    status.streams[0].complete_as_of = Some(Time(at("08:00:00")));
    let fresh = |now: &str| {
        let decision = decide(&pipeline(json!(status)), &observed(), at(now));
        (condition(&decision, FRESH).0.to_owned(), decision.wake)
    };
    assert_eq!(fresh("08:14:59"), ("True".to_owned(), Some(at("08:15:00"))));
    assert_eq!(fresh("08:15:00").0, "False");
}

#[test]
fn consent_current_turns_false_at_the_instant_a_withdrawal_may_be_older_than_its_objective() {
    let looked = |consent: Value, complete: Option<&str>, now| {
        let first = decide(&pipeline(Value::Null), &observed(), FIRST);
        let mut status = first.status;
        status.streams[0].active_run = None;
        status.streams[0].complete_as_of = complete.map(|complete| Time(at(complete)));
        status.streams[0].next_run_time = Some(Time(at("23:00:00")));
        let mut pipeline = pipeline(json!(status));
        pipeline.spec.streams[0].consent = serde_json::from_value(consent).unwrap();
        let decision = decide(&pipeline, &observed(), at(now));
        let (status, reason) = condition(&decision, CONSENT_CURRENT);
        (status.to_owned(), reason.to_owned(), decision.wake)
    };
    let told = |status: &str, reason: &str, wake| (status.to_owned(), reason.to_owned(), Some(at(wake)));
    let minute = json!({"objective": "60s"});
    assert_eq!(
        [
            looked(Value::Null, Some("08:00:00"), "08:00:59"),
            looked(minute.clone(), Some("08:00:00"), "08:00:59"),
            looked(minute, Some("08:00:00"), "08:01:00"),
        ],
        [
            told("True", "NoObjective", "08:15:00"),
            told("True", "ObjectiveMet", "08:01:00"),
            told("False", "ObjectiveMissed", "08:15:00"),
        ]
    );
}

#[test]
fn a_failed_run_is_tried_again_after_a_pause_or_at_once_when_something_was_changed() {
    let mut status = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
    let run = status.streams[0].active_run.as_mut().unwrap();
    run.report = serde_json::from_value(json!({"outcome": "SchemaDrifted", "message": "field Fax is gone"})).unwrap();
    let name = run.name.clone();
    let mut seen = observed();
    seen.made.jobs = BTreeMap::from([job(&name, failed())]);
    let failed = decide(&pipeline(json!(status)), &seen, at("08:01:00"));
    assert_eq!(
        (
            condition(&failed, READY),
            condition(&failed, STALLED).0,
            failed.notices.len(),
            failed.status.streams[0].next_run_time.clone().map(|time| time.0),
        ),
        (("False", "SchemaDrifted"), "True", 1, Some(at("08:01:30")))
    );
    let mut changed = pipeline(json!(failed.status));
    changed.metadata.generation = Some(2);
    let again = decide(&changed, &seen, at("08:01:05"));
    assert_eq!(started(&again), Some(2));
}

#[test]
fn what_is_missing_is_said_and_starts_nothing() {
    type Change = fn(&mut Observed);
    let missing = |change: Change| {
        let mut seen = observed();
        change(&mut seen);
        let decision = decide(&pipeline(Value::Null), &seen, at("08:00:01"));
        (
            condition(&decision, READY).1.to_owned(),
            condition(&decision, STALLED).0.to_owned(),
            decision.work.len(),
        )
    };
    let cases: [(Change, &str, &str); 5] = [
        (
            |seen| seen.source = Found::Missing(vec!["other".into()]),
            "SourceNotFound",
            "True",
        ),
        (|seen| seen.sink = Found::Missing(vec![]), "SinkNotFound", "True"),
        (
            |seen| {
                seen.mapping = Err(UnresolvedMapping::NoMapping {
                    name: "contact".into(),
                    mappings: "none".into(),
                });
            },
            "MappingNotFound",
            "True",
        ),
        (
            |seen| seen.made.missing_account = Some("ferrygate-worker".into()),
            "WorkerServiceAccountMissing",
            "True",
        ),
        (
            |seen| {
                if let Found::There(source) = &mut seen.source {
                    Arc::make_mut(source).status = None;
                }
            },
            "SourceNotReady",
            "False",
        ),
    ];
    for (change, reason, stalled) in cases {
        assert_eq!(missing(change), (reason.to_owned(), stalled.to_owned(), 0));
    }
}

#[test]
fn a_stream_that_erases_where_the_sink_names_no_privacy_api_waits_for_a_person() {
    let mut erasing = pipeline(Value::Null);
    erasing.spec.streams[0].deletes = Deletes::Erase;
    let decision = decide(&erasing, &observed(), at("08:00:01"));
    let told: Vec<_> = [READY, STALLED].map(|kind| condition(&decision, kind)).into();
    assert_eq!(told[0].1, "ConfigurationInvalid");
    assert_eq!((told[1].0, decision.work.len()), ("True", 0));
    let stalled = decision
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == STALLED);
    let words = &stalled.unwrap().message;
    assert!(
        words.starts_with("spec.streams[0].deletes: Erase needs spec.segment.privacyApi of the CdpSink"),
        "{words}"
    );
}

#[test]
fn a_status_that_was_lost_is_recalled_from_the_jobs_and_those_that_were_superseded_are_deleted() {
    let first = decide(&pipeline(Value::Null), &observed(), FIRST);
    let Some(Work::Create(run)) = first.work.into_iter().next() else {
        panic!("no run started");
    };
    let worker = WorkerImage {
        image: "ferrygate".to_owned(),
        pull_policy: "Never".to_owned(),
    };
    let owner = pipeline(Value::Null);
    let under_way = light(&sync_job(
        &owner,
        &run.borrowed(),
        &run.source.spec,
        &run.sink.spec,
        None,
        &worker,
    ));
    let seeing = |job: &LightJob| {
        let mut seen = observed();
        seen.made.jobs = BTreeMap::from([(job.name.clone(), Arc::new(job.clone()))]);
        seen
    };
    let named = |decision: &Decision| {
        decision.status.streams[0]
            .active_run
            .as_ref()
            .map(|run| run.name.clone())
    };
    let now = at("08:00:20");

    let recalled = decide(&pipeline(Value::Null), &seeing(&under_way), now);
    assert_eq!((named(&recalled), recalled.work), (Some(run.name.clone()), vec![]));

    let ended = LightJob {
        standing: Standing::Complete,
        ..under_way.clone()
    };
    let recalled = decide(&pipeline(Value::Null), &seeing(&ended), now);
    let last = recalled.status.streams[0].last_run.as_ref();
    assert_eq!(
        (named(&recalled), last.map(|run| run.epoch), recalled.work),
        (None, Some(FIRST.as_second()), vec![])
    );

    // The status names a later run.
    let mut status = first.status;
    let later = status.streams[0].active_run.as_mut().unwrap();
    (later.name, later.epoch) = ("later".to_owned(), later.epoch + 1);
    let superseded = decide(&pipeline(json!(status)), &seeing(&under_way), now);
    assert!(
        superseded.work.contains(&Work::Delete(run.name.clone())),
        "{:?}",
        superseded.work
    );
}

#[test]
fn the_claim_for_the_state_is_made_with_the_first_run() {
    let mut seen = observed();
    seen.claim = None;
    let decision = decide(&pipeline(Value::Null), &seen, FIRST);
    assert!(
        matches!(decision.work[..], [Work::CreateClaim, Work::Create(_)]),
        "{:?}",
        decision.work
    );
}

#[test]
fn a_run_waits_for_a_place_of_its_source_and_the_suppression_lane_goes_first() {
    let mut pipeline = pipeline(Value::Null);
    let mut withdrawals = pipeline.spec.streams[0].clone();
    withdrawals.name = "opt-outs".to_owned();
    withdrawals.lane = crate::api::sync_pipeline::Lane::Suppression;
    pipeline.spec.streams.push(withdrawals);
    let with = |capacity, taken| {
        let mut seen = observed();
        seen.places = Places {
            taken,
            ..Places::free(capacity)
        };
        let decision = decide(&pipeline, &seen, at("08:00:01"));
        let streams = decision.status.streams.iter();
        let running = streams.filter(|stream| stream.active_run.is_some());
        let running: Vec<_> = running.map(|stream| stream.name.clone()).collect();
        let waiting: Vec<_> = decision
            .waiting
            .iter()
            .map(|(_, claimant)| claimant.stream.clone())
            .collect();
        (running, waiting, condition(&decision, RECONCILING).1.to_owned())
    };
    let streams = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let first = "FirstRun".to_owned();
    assert_eq!(
        with(4, 2),
        (streams(&["contacts", "opt-outs"]), streams(&[]), first.clone())
    );
    assert_eq!(
        with(4, 3),
        (streams(&["opt-outs"]), streams(&["contacts"]), first.clone())
    );
    assert_eq!(with(4, 4), (streams(&[]), streams(&["contacts", "opt-outs"]), first));
}

#[test]
fn a_job_that_is_refused_or_does_not_start_is_told_in_the_words_of_the_cause() {
    let started = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
    let name = started.streams[0].active_run.clone().unwrap().name;
    let cause = |reason: &str| Cause {
        reason: reason.to_owned(),
        message: "exceeded quota: pods=0".to_owned(),
    };
    let told = |seen: &Observed, now: &str| {
        let decision = decide(&pipeline(json!(started)), seen, at(now));
        let ready = decision
            .status
            .conditions
            .iter()
            .find(|each| each.type_ == READY)
            .unwrap();
        let words = ready.message.contains("exceeded quota: pods=0");
        (ready.reason.clone(), words, decision.look_into.len())
    };
    let mut refused = observed();
    refused.made.causes = BTreeMap::from([(name.clone(), cause("JobRefused"))]);
    assert_eq!(told(&refused, "08:00:09"), ("JobRefused".to_owned(), true, 0));

    let mut quiet = observed();
    quiet.made.jobs = BTreeMap::from([job(&name, Standing::Active)]);
    assert_eq!(told(&quiet, "08:00:09"), ("FirstRun".to_owned(), false, 0));
    assert_eq!(told(&quiet, "08:00:11"), ("FirstRun".to_owned(), false, 1));
    quiet.made.causes = BTreeMap::from([(name.clone(), cause("FailedCreate"))]);
    assert_eq!(told(&quiet, "08:00:12"), ("PodNotStarting".to_owned(), true, 1));

    let mut pulls = observed();
    pulls.made.jobs = BTreeMap::from([job(&name, Standing::Active)]);
    pulls.made.pods = vec![Arc::new(LightPod {
        name: format!("{name}-x7k2q"),
        uid: "p".to_owned(),
        job: name,
        stage: Stage::Waiting(Some(cause("ImagePullBackOff"))),
    })];
    assert_eq!(told(&pulls, "08:00:12"), ("PodNotStarting".to_owned(), true, 0));
}

#[test]
fn a_failed_run_without_a_report_waits_for_its_pods_exit_codes_and_not_for_ever() {
    let started = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
    let name = started.streams[0].active_run.clone().unwrap().name;
    let mut seen = observed();
    let standing = Standing::Failed {
        reason: "PodFailurePolicy".to_owned(),
        message: "exit code".to_owned(),
        at: Some(at("08:00:09")),
    };
    seen.made.jobs = BTreeMap::from([job(&name, standing)]);
    let outcome = |seen: &Observed, now: &str| {
        let decision = decide(&pipeline(json!(started)), seen, at(now));
        let last = decision.status.streams[0].last_run.as_ref().map(|run| run.outcome);
        (last, decision.wake == Some(at("08:00:12")))
    };
    assert_eq!(outcome(&seen, "08:00:10"), (None, true));
    assert_eq!(outcome(&seen, "08:00:12").0, Some(Outcome::Interrupted));
    seen.made.pods = vec![Arc::new(LightPod {
        name: format!("{name}-x7k2q"),
        uid: "p".to_owned(),
        job: name,
        stage: Stage::Ended {
            exit_code: 78,
            reason: "Error".to_owned(),
            at: None,
        },
    })];
    assert_eq!(outcome(&seen, "08:00:10").0, Some(Outcome::ConfigurationInvalid));
}

#[test]
fn a_pipeline_that_moves_to_another_version_says_so_and_what_that_breaks() {
    let version = |number: &str, kind: &str| -> Arc<MappingVersion> {
        let spec = json!({
            "mapping": "contact", "version": number,
            "objects": [{
                "object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}],
                "traits": [{"trait": "vip", "from": "Vip", "type": kind}],
            }],
        });
        let name = format!("contact-{number}");
        Arc::new(serde_json::from_value(resource("MappingVersion", &name, spec, Value::Null)).unwrap())
    };
    let taken = json!({"mapping": {"name": "contact-1.0.0", "version": "1.0.0"}});
    let told = |to: Arc<MappingVersion>, left: Option<Arc<MappingVersion>>| {
        let seen = Observed {
            mapping: Ok(to),
            left,
            ..observed()
        };
        let notices = decide(&pipeline(taken.clone()), &seen, at("08:00:01")).notices;
        let told = notices.into_iter().filter(|notice| notice.reason == "MappingChanged");
        told.map(|notice| (notice.warning, notice.message)).collect::<Vec<_>>()
    };
    let before = version("1.0.0", "String");
    let moved = "runs take contact 1.0.1 (MappingVersion contact-1.0.1) in place of 1.0.0";
    let cases = [
        (version("1.0.0", "String"), Some(before.clone()), vec![]),
        (version("1.0.1", "String"), None, vec![(false, moved.to_owned())]),
        (
            version("1.0.1", "String"),
            Some(before.clone()),
            vec![(false, moved.to_owned())],
        ),
        (
            version("1.0.1", "Boolean"),
            Some(before),
            vec![(
                true,
                format!(
                    "{moved}; breaking: objects[Contact].traits[vip].type: String → Boolean. spec.version: 1.0.1 is too low \
                     for what changed since 1.0.0: objects[Contact].traits[vip].type: String → Boolean (breaking). The next \
                     version with such changes is 2.0.0"
                ),
            )],
        ),
    ];
    for (to, left, expected) in cases {
        assert_eq!(told(to, left), expected);
    }
}

#[test]
fn a_version_that_is_not_let_in_is_told_once_and_stays_in_the_status() {
    let candidate = MappingCandidate {
        name: "contact-1.0.1".to_owned(),
        version: "1.0.1".to_owned(),
        message: "it does not serve this pipeline: spec: no".to_owned(),
    };
    let seen = Observed {
        candidate: Some(candidate.clone()),
        ..observed()
    };
    let told = |decision: &Decision| {
        decision
            .notices
            .iter()
            .filter(|one| one.reason == "MappingHeld")
            .count()
    };
    let first = decide(&pipeline(Value::Null), &seen, at("08:00:01"));
    assert_eq!((told(&first), &first.status.candidate), (1, &Some(candidate)));
    let second = decide(&pipeline(json!(first.status)), &seen, at("08:00:02"));
    assert_eq!((told(&second), &second.status.candidate), (0, &first.status.candidate));
    let third = decide(&pipeline(json!(second.status)), &observed(), at("08:00:03"));
    assert_eq!((told(&third), third.status.candidate), (0, None));
}
