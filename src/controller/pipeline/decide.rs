//! What is to be done for a pipeline: a pure function of what was observed and the clock.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use super::super::act::Notice;
use super::super::jobs::{Run, STREAM_LABEL, Standing, not_starting, standing, unreported};
use super::super::names;
use super::super::schedule::Cadence;
use super::health::{Health, verdicts};
use super::observe::Observed;
use super::resolve::{Resolved, backoff, resolve};
use crate::api::common::Outcome;
use crate::api::conditions::conditions;
use crate::api::sync_pipeline::{ActiveRun, LastRun, Stream, StreamStatus};
use crate::api::{CdpSinkSpec, CrmSourceSpec, SyncPipeline, SyncPipelineStatus};

/// How many finished Jobs of a stream are kept, so that their logs can be read.
const KEPT_JOBS: usize = 2;

/// What is to be done.
pub struct Decision {
    /// The status to write, if it differs.
    pub status: SyncPipelineStatus,
    /// What to create and delete, after the status is written.
    pub work: Vec<Work>,
    /// What a person must know.
    pub notices: Vec<Notice>,
    /// When to decide again, at the latest.
    pub wake: Option<Timestamp>,
}

/// Something to create or delete.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// The Job of a run, and the claim that it needs.
    Create(Box<OwnedRun>),
    /// A Job that is no longer needed.
    Delete(String),
}

/// A run whose Job is to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedRun {
    name: String,
    stream: String,
    epoch: i64,
    mapping: String,
    /// The source, whose Secrets are mounted.
    pub source: CrmSourceSpec,
    /// The sink, whose Secret is mounted.
    pub sink: CdpSinkSpec,
}

impl OwnedRun {
    /// The run as a Job is built from it.
    pub fn borrowed(&self) -> Run<'_> {
        Run {
            name: &self.name,
            stream: &self.stream,
            epoch: self.epoch,
            mapping: &self.mapping,
        }
    }
}

/// Decides.
pub fn decide(pipeline: &SyncPipeline, observed: &Observed, now: Timestamp) -> Decision {
    let before = pipeline.status.clone().unwrap_or_default();
    let generation = pipeline.meta().generation.unwrap_or_default();
    let changed = before.observed_generation != Some(generation);
    let resolved = resolve(pipeline, observed, now);
    let mut decision = Decision {
        status: before.clone(),
        work: Vec::new(),
        notices: Vec::new(),
        wake: None,
    };
    let mut health = Health::default();

    decision.status.streams = pipeline
        .spec
        .streams
        .iter()
        .map(|stream| known(&before, stream))
        .collect();
    remove_others(pipeline, &before, observed, &mut decision);
    for place in 0..decision.status.streams.len() {
        collect(place, observed, now, &mut decision, &mut health);
    }
    if let Ok(resolved) = &resolved {
        let remapped = before
            .mapping
            .as_ref()
            .is_some_and(|mapping| *mapping != resolved.mapping);
        decision.status.mapping = Some(resolved.mapping.clone());
        for place in 0..resolved.cadences.len() {
            advance(
                pipeline,
                place,
                resolved,
                changed || remapped,
                observed,
                now,
                &mut decision,
            );
        }
    }
    let letters = decision.status.streams.iter().filter_map(|stream| stream.dead_letters);
    decision.status.dead_letters = letters.reduce(|sum, more| sum + more);
    health.obstacle = resolved.as_ref().err().cloned();
    health.suspended = pipeline.spec.suspend || resolved.as_ref().is_ok_and(|resolved| resolved.suspended);
    let (said, wake) = verdicts(pipeline, &decision.status, &health, now);
    decision.status.conditions = conditions(&before.conditions, said, generation, now);
    decision.status.observed_generation = Some(generation);
    wake_by(&mut decision, wake);
    decision
}

fn wake_by(decision: &mut Decision, instant: Option<Timestamp>) {
    decision.wake = decision.wake.into_iter().chain(instant).min();
}

fn known(before: &SyncPipelineStatus, stream: &Stream) -> StreamStatus {
    let known = before.streams.iter().find(|known| known.name == stream.name).cloned();
    known.unwrap_or_else(|| StreamStatus {
        name: stream.name.clone(),
        ..StreamStatus::default()
    })
}

/// The Jobs of streams that the spec no longer has are deleted.
fn remove_others(pipeline: &SyncPipeline, before: &SyncPipelineStatus, observed: &Observed, decision: &mut Decision) {
    let gone = before
        .streams
        .iter()
        .filter(|known| pipeline.spec.streams.iter().all(|stream| stream.name != known.name));
    for run in gone.filter_map(|stream| stream.active_run.as_ref()) {
        if observed.made.jobs.contains_key(&run.name) {
            decision.work.push(Work::Delete(run.name.clone()));
        }
    }
}

/// A run whose Job has ended becomes the last run; Jobs that were kept long enough are deleted.
fn collect(place: usize, observed: &Observed, now: Timestamp, decision: &mut Decision, health: &mut Health) {
    let stream = &mut decision.status.streams[place];
    if let Some(run) = stream.active_run.clone() {
        match observed.made.jobs.get(&run.name).map(standing) {
            // Created, or created again, by `advance`.
            None => {}
            Some(Standing::Active) => {
                if let Some((why, words)) = not_starting(&observed.made.pods_of(&run.name)) {
                    health.not_starting.push((stream.name.clone(), why, words));
                }
            }
            Some(ended) => {
                let (outcome, message) = outcome_of(&run, &ended, observed);
                let failed_before = stream.consecutive_failures.unwrap_or_default() > 0;
                end(stream, &run, outcome, &message, now);
                decision.status.last_run_time = Some(Time(now));
                let mut notify = |warning, reason: &str, message: &str| {
                    decision.notices.push(Notice {
                        warning,
                        reason: reason.to_owned(),
                        message: format!("run {} of stream {}: {message}", run.name, stream.name),
                    });
                };
                if outcome != Outcome::Succeeded {
                    notify(true, outcome.reason(), &message);
                } else if stream.counts.is_some_and(|counts| counts.rejected > 0) {
                    notify(true, "RecordsRejected", &message);
                } else if failed_before {
                    notify(false, "Recovered", &message);
                }
            }
        }
    }
    let stream = &decision.status.streams[place];
    let outlived = outlived(observed, stream);
    decision.work.extend(outlived.into_iter().map(Work::Delete));
}

fn outcome_of(run: &ActiveRun, ended: &Standing, observed: &Observed) -> (Outcome, String) {
    match (ended, &run.report) {
        (Standing::Complete, Some(report)) => (report.outcome, report.message.clone()),
        (Standing::Complete, None) => (
            Outcome::Succeeded,
            "the run succeeded; its report did not reach the status".to_owned(),
        ),
        (_, Some(report)) if report.outcome != Outcome::Succeeded => (report.outcome, report.message.clone()),
        (Standing::Failed(reason, message), _) => unreported(reason, message, &observed.made.pods_of(&run.name)),
        (Standing::Active, _) => (Outcome::InternalError, "the run has not ended".to_owned()),
    }
}

fn end(stream: &mut StreamStatus, run: &ActiveRun, outcome: Outcome, message: &str, now: Timestamp) {
    stream.active_run = None;
    stream.next_run_time = None;
    if outcome == Outcome::Succeeded {
        stream.last_success_time = Some(Time(now));
        stream.consecutive_failures = None;
        stream.parked_until = None;
    } else {
        stream.consecutive_failures = Some(stream.consecutive_failures.unwrap_or_default().saturating_add(1));
    }
    stream.last_run = Some(LastRun {
        name: run.name.clone(),
        epoch: run.epoch,
        slot_time: run.slot_time.clone(),
        completion_time: Time(now),
        outcome,
        message: message.to_owned(),
    });
}

/// The finished Jobs of a stream beyond the last ones, and the last one that failed.
fn outlived(observed: &Observed, stream: &StreamStatus) -> Vec<String> {
    let active = stream.active_run.as_ref().map(|run| run.name.as_str());
    let mut finished: Vec<&Job> = observed
        .made
        .jobs
        .values()
        .filter(|job| job.labels().get(STREAM_LABEL).is_some_and(|name| *name == stream.name))
        .filter(|job| Some(job.name_any().as_str()) != active && standing(job) != Standing::Active)
        .collect();
    finished.sort_by_key(|job| std::cmp::Reverse(job.creation_timestamp().map(|time| time.0)));
    let failed = finished
        .iter()
        .find(|job| standing(job) != Standing::Complete)
        .map(|job| job.name_any());
    let old = finished.into_iter().skip(KEPT_JOBS).map(ResourceExt::name_any);
    old.filter(|name| Some(name) != failed.as_ref()).collect()
}

/// Starts the run that is due, or creates the Job of the one that the status names.
fn advance(
    pipeline: &SyncPipeline,
    place: usize,
    resolved: &Resolved<'_>,
    changed: bool,
    observed: &Observed,
    now: Timestamp,
    decision: &mut Decision,
) {
    let cadence = &resolved.cadences[place];
    let suspended = pipeline.spec.suspend || resolved.suspended;
    let stream = &mut decision.status.streams[place];
    if stream.active_run.is_none() {
        let next = next_run(stream, cadence, changed, now);
        if suspended {
            stream.next_run_time = None;
            return;
        }
        match next {
            Some((slot, start)) if start <= now => {
                let epoch = stream.last_run.as_ref().map_or(0, |run| run.epoch) + 1;
                let uid = pipeline.uid().unwrap_or_default();
                stream.active_run = Some(ActiveRun {
                    name: names::run(&uid, &pipeline.name_any(), &stream.name, slot, epoch),
                    epoch,
                    slot_time: Time(slot),
                    start_time: Time(now),
                    report: None,
                });
                stream.next_run_time = None;
            }
            other => {
                let start = other.map(|(_, start)| start);
                stream.next_run_time = start.map(Time);
                wake_by(decision, start);
                return;
            }
        }
    }
    let stream = &decision.status.streams[place];
    if let Some(run) = stream
        .active_run
        .as_ref()
        .filter(|run| !observed.made.jobs.contains_key(&run.name))
    {
        decision.work.push(Work::Create(Box::new(OwnedRun {
            name: run.name.clone(),
            stream: stream.name.clone(),
            epoch: run.epoch,
            mapping: resolved.mapping.name.clone(),
            source: resolved.source.clone(),
            sink: resolved.sink.clone(),
        })));
    }
}

/// The next run's slot, and when it starts: a stream that never ran starts at once, one that failed after a pause that grows, or
/// at once where something was changed that may have mended it; none before the quota's reset.
fn next_run(stream: &StreamStatus, cadence: &Cadence, changed: bool, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let Some(last) = &stream.last_run else {
        return Some((now, now));
    };
    let failures = stream.consecutive_failures.unwrap_or_default();
    let (slot, start) = if failures > 0 {
        let retry = last.completion_time.0.checked_add(backoff(failures)).unwrap_or(now);
        let retry = if changed { now } else { retry };
        (retry, retry)
    } else {
        let slot = cadence
            .due(last.slot_time.0, now)
            .or_else(|| cadence.after(last.slot_time.0.max(now)))?;
        (slot, slot)
    };
    let parked = stream.parked_until.as_ref().map_or(start, |parked| parked.0.max(start));
    Some((slot, parked))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use super::super::super::observe::Made;
    use super::*;
    use crate::api::conditions::{FRESH, READY, RECONCILED, RECONCILING, STALLED};
    use crate::api::{CdpSink, CrmSource, MappingVersion};

    fn at(text: &str) -> Timestamp {
        format!("2026-05-04T{text}Z").parse().unwrap()
    }

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

    fn observed() -> Observed {
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
            sources: vec![source],
            sinks: vec![sink],
            mappings: vec![mapping],
            made: Made {
                has_service_account: true,
                ..Made::default()
            },
        }
    }

    fn pipeline(status: Value) -> SyncPipeline {
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

    fn job(name: &str, condition: &str) -> (String, Job) {
        let job = json!({
            "metadata": {"name": name, "labels": {STREAM_LABEL: "contacts"}},
            "status": {"conditions": [{"type": condition, "status": "True"}]},
        });
        (name.to_owned(), serde_json::from_value(job).unwrap())
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
            (vec![run.name.clone()], 1, "True")
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
        seen.made.jobs = BTreeMap::from([job(&name, "SuccessCriteriaMet")]);
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
        seen.made.jobs = BTreeMap::from([job(&name, "Complete")]);
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
            Some((2, next))
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
                Work::Delete(_) => None,
            });
            // Through JSON, as the API server keeps it: its times have no fractions of a second.
            pipeline.status = serde_json::from_value(json!(decision.status)).unwrap();
            now = match created {
                Some(name) => {
                    seen.made.jobs = BTreeMap::from([job(&name, "Complete")]);
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
        let told = |rejected: i64| {
            let mut status = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
            let run = status.streams[0].active_run.as_mut().unwrap();
            run.report =
                serde_json::from_value(json!({"outcome": "Succeeded", "message": "2 at traits[0]: too long"})).unwrap();
            let name = run.name.clone();
            status.streams[0].counts = serde_json::from_value(json!({
                "read": 5, "delivered": 3, "unchanged": 2 - rejected, "suppressed": 0, "rejected": rejected,
            }))
            .unwrap();
            let mut seen = observed();
            seen.made.jobs = BTreeMap::from([job(&name, "Complete")]);
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
        assert_eq!(told(0), vec![]);
        assert_eq!(told(2), vec![(true, "RecordsRejected".to_owned(), true)]);
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
    fn a_failed_run_is_tried_again_after_a_pause_or_at_once_when_something_was_changed() {
        let mut status = decide(&pipeline(Value::Null), &observed(), at("08:00:01")).status;
        let run = status.streams[0].active_run.as_mut().unwrap();
        run.report =
            serde_json::from_value(json!({"outcome": "SchemaDrifted", "message": "field Fax is gone"})).unwrap();
        let name = run.name.clone();
        let mut seen = observed();
        seen.made.jobs = BTreeMap::from([job(&name, "Failed")]);
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
        assert_eq!(
            again.status.streams[0].active_run.as_ref().map(|run| run.epoch),
            Some(2)
        );
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
            (|seen| seen.sources.clear(), "SourceNotFound", "True"),
            (|seen| seen.sinks.clear(), "SinkNotFound", "True"),
            (|seen| seen.mappings.clear(), "MappingNotFound", "True"),
            (
                |seen| seen.made.has_service_account = false,
                "WorkerServiceAccountMissing",
                "True",
            ),
            (|seen| seen.sources[0].status = None, "SourceNotReady", "False"),
        ];
        for (change, reason, stalled) in cases {
            assert_eq!(missing(change), (reason.to_owned(), stalled.to_owned(), 0));
        }
    }
}
