//! What is to be done for a pipeline: a pure function of what was observed and the clock.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use super::super::act::Notice;
use super::super::jobs::{Run, STREAM_LABEL, Standing, not_starting, run_of, standing, unreported};
use super::super::names;
use super::super::schedule::Cadence;
use super::health::{Health, verdicts};
use super::observe::Observed;
use super::resolve::{Resolved, backoff, resolve};
use crate::api::common::Outcome;
use crate::api::conditions::conditions;
use crate::api::sync_pipeline::{ActiveRun, LastRun, RUN_NOW, SkippedSlots, Stream, StreamStatus};
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
    slot: Timestamp,
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
            slot: self.slot,
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
        recall(pipeline, place, observed, &mut decision);
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
    let suspended_streams = pipeline.spec.streams.iter().filter(|stream| stream.suspend);
    health.suspended_streams = suspended_streams.map(|stream| stream.name.clone()).collect();
    health.suspended = pipeline.spec.suspend
        || resolved.as_ref().is_ok_and(|resolved| resolved.suspended)
        || pipeline.spec.streams.iter().all(|stream| stream.suspend);
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

/// A status that was lost forgets its runs; the newest Job of the stream tells the last one again.
fn recall(pipeline: &SyncPipeline, place: usize, observed: &Observed, decision: &mut Decision) {
    let stream = &mut decision.status.streams[place];
    if stream.active_run.is_some() {
        return;
    }
    let last = stream.last_run.as_ref().map(|run| run.epoch);
    let ours = observed.made.jobs.values().filter(|job| {
        let owners = job.owner_references();
        is_of(job, stream)
            && owners
                .iter()
                .any(|owner| Some(&owner.uid) == pipeline.meta().uid.as_ref())
    });
    let forgotten = ours
        .filter_map(run_of)
        .filter(|run| last.is_none_or(|last| run.epoch > last));
    stream.active_run = forgotten.max_by_key(|run| run.epoch);
}

fn is_of(job: &Job, stream: &StreamStatus) -> bool {
    job.labels().get(STREAM_LABEL).is_some_and(|name| *name == stream.name)
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
                } else {
                    if failed_before {
                        notify(false, "Recovered", &message);
                    }
                    if stream.counts.is_some_and(|counts| counts.rejected > 0) {
                        notify(true, "RecordsRejected", &message);
                    }
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

/// The finished Jobs of a stream beyond the last ones, and the last one that failed; and those under way whose place another run
/// has taken.
fn outlived(observed: &Observed, stream: &StreamStatus) -> Vec<String> {
    let active = stream.active_run.as_ref().map(|run| run.name.as_str());
    let others = observed.made.jobs.values().filter(|job| is_of(job, stream));
    let others = others.filter(|job| Some(job.name_any().as_str()) != active);
    let (mut finished, under_way): (Vec<&Job>, Vec<&Job>) = others.partition(|job| standing(job) != Standing::Active);
    let newest = stream.active_run.as_ref().map(|run| run.epoch);
    let newest = newest.or(stream.last_run.as_ref().map(|run| run.epoch));
    let superseded = under_way
        .into_iter()
        .filter_map(run_of)
        .filter(|run| newest.is_some_and(|newest| run.epoch < newest));
    finished.sort_by_key(|job| std::cmp::Reverse(run_of(job).map(|run| run.epoch)));
    let failed = finished
        .iter()
        .find(|job| standing(job) != Standing::Complete)
        .map(|job| job.name_any());
    let old = finished.into_iter().skip(KEPT_JOBS).map(ResourceExt::name_any);
    old.filter(|name| Some(name) != failed.as_ref())
        .chain(superseded.map(|run| run.name))
        .collect()
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
    let suspended = pipeline.spec.suspend || pipeline.spec.streams[place].suspend || resolved.suspended;
    let request = request(pipeline);
    let stream = &mut decision.status.streams[place];
    if stream.active_run.is_none() {
        if suspended {
            stream.next_run_time = None;
            return;
        }
        let requested = request.is_some() && request != stream.last_handled_request;
        let deadline = pipeline.spec.streams[place].schedule.starting_deadline;
        let next = next_run(stream, cadence, deadline.map(Into::into), changed, requested, now);
        let skipped = next.as_ref().and_then(|next| next.skipped);
        decision.notices.extend(skipped.map(|skipped| skip(stream, skipped)));
        match next {
            Some(Next { slot, start, .. }) if start <= now => {
                // A status without a last run may have been lost: the clock's number is higher than any that was counted.
                let epoch = stream.last_run.as_ref().map_or(now.as_second(), |run| run.epoch + 1);
                let uid = pipeline.uid().unwrap_or_default();
                stream.active_run = Some(ActiveRun {
                    name: names::run(&uid, &pipeline.name_any(), &stream.name, slot, epoch),
                    epoch,
                    slot_time: Time(slot),
                    start_time: Time(now),
                    report: None,
                });
                stream.next_run_time = None;
                stream.last_handled_request = request;
            }
            other => {
                let start = other.map(|next| next.start);
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
            slot: run.slot_time.0,
            mapping: resolved.mapping.name.clone(),
            source: resolved.source.clone(),
            sink: resolved.sink.clone(),
        })));
    }
}

/// What the annotation that asks for a run holds; of a long text its beginning, since the status keeps it.
fn request(pipeline: &SyncPipeline) -> Option<String> {
    let text = pipeline.annotations().get(RUN_NOW)?;
    Some(text.chars().take(64).collect())
}

/// The run that comes next.
struct Next {
    /// The instant of the schedule that it is for, or of the retry or the request.
    slot: Timestamp,
    /// When it starts: not before the quota's reset.
    start: Timestamp,
    /// How many slots before it get no run, and the last of them.
    skipped: Option<(i64, Timestamp)>,
}

/// The next run: a stream that never ran starts at once, one that failed after a pause that grows, or at once where something
/// was changed that may have mended it. Of slots that were missed the last one makes a late run, unless it is later than the
/// deadline.
fn next_run(
    stream: &StreamStatus,
    cadence: &Cadence,
    deadline: Option<Duration>,
    changed: bool,
    requested: bool,
    now: Timestamp,
) -> Option<Next> {
    let parked = |start: Timestamp| stream.parked_until.as_ref().map_or(start, |parked| parked.0.max(start));
    let at_once = |slot| Next {
        slot,
        start: parked(slot),
        skipped: None,
    };
    let Some(last) = &stream.last_run else {
        return Some(at_once(now));
    };
    let failures = stream.consecutive_failures.unwrap_or_default();
    if failures > 0 {
        let retry = last.completion_time.0.checked_add(backoff(failures)).unwrap_or(now);
        return Some(at_once(if changed || requested { now } else { retry }));
    }
    let skipped = stream.skipped.as_ref().map(|skipped| skipped.last_slot_time.0);
    let last = last.slot_time.0.max(skipped.unwrap_or(last.slot_time.0));
    let too_late = |slot: &Timestamp| {
        let late = Duration::try_from(now.duration_since(*slot)).unwrap_or_default();
        deadline.is_some_and(|deadline| late > deadline)
    };
    let slot = match cadence.due(last, now).filter(|slot| !too_late(slot)) {
        Some(slot) => slot,
        None if requested => return Some(at_once(now)),
        None => cadence.after(last.max(now))?,
    };
    Some(Next {
        slot,
        start: parked(slot),
        skipped: cadence.between(last, slot),
    })
}

/// Counts slots for which no run starts, and tells of them.
fn skip(stream: &mut StreamStatus, (count, slot): (i64, Timestamp)) -> Notice {
    let before = stream.skipped.as_ref().map_or(0, |skipped| skipped.count);
    stream.skipped = Some(SkippedSlots {
        count: before.saturating_add(count),
        last_slot_time: Time(slot),
    });
    Notice {
        warning: true,
        reason: "SlotsSkipped".to_owned(),
        message: format!(
            "stream {}: no run started for {count} instants of its schedule; the next run reads what they would have",
            stream.name
        ),
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
