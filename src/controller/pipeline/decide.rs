//! What is to be done for a pipeline: a pure function of what was observed and the clock.

mod due;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;

use self::due::{due, start};
use super::super::act::Notice;
use super::super::admission::{Claimant, Rank};
use super::super::claim;
use super::super::jobs::Run;
use super::super::light::{LightJob, Stage, Standing};
use super::super::observe::Start;
use super::super::outcome::unreported;
use super::health::{Health, verdicts};
use super::moved::{held, moved};
use super::observe::Observed;
use super::resolve::{Resolved, resolve};
use crate::api::common::Outcome;
use crate::api::conditions::conditions;
use crate::api::sync_pipeline::{ActiveRun, LastRun, Stream, StreamStatus};
use crate::api::{CdpSink, CrmSource, SyncPipeline, SyncPipelineStatus};

/// How many finished Jobs of a stream are kept, so that their logs can be read.
const KEPT_JOBS: usize = 2;
/// How long after a Job has failed the exit codes of its Pods may come, which another watch brings.
const EXIT_CODES_WITHIN: SignedDuration = SignedDuration::from_secs(3);

/// What is to be done.
pub struct Decision {
    /// The status to write, if it differs.
    pub status: SyncPipelineStatus,
    /// What to create and delete, after the status is written.
    pub work: Vec<Work>,
    /// What a person must know.
    pub notices: Vec<Notice>,
    /// Streams that are due and wait for a place of the source.
    pub waiting: Vec<(Rank, Claimant)>,
    /// Jobs that do not come to run, whose Events may tell why.
    pub look_into: Vec<String>,
    /// When to decide again, at the latest.
    pub wake: Option<Timestamp>,
}

/// Something to create or delete.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// The claim that holds the state.
    CreateClaim,
    /// That claim is to go with the pipeline, or to stay.
    PatchClaim(json_patch::Patch),
    /// The Job of a run.
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
    /// The instant of the schedule that it is for.
    pub slot: Timestamp,
    mapping: String,
    /// The source, whose Secrets are mounted.
    pub source: Arc<CrmSource>,
    /// The sink, whose Secret is mounted.
    pub sink: Arc<CdpSink>,
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
    let resolved = resolve(pipeline, observed, now);
    let mut decision = Decision {
        status: before.clone(),
        work: Vec::new(),
        notices: Vec::new(),
        waiting: Vec::new(),
        look_into: Vec::new(),
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
        recall(place, observed, &mut decision);
        collect(place, observed, now, &mut decision, &mut health);
    }
    let is_suspended = |stream: &Stream| {
        let source = observed.source.get().is_some_and(|source| source.spec.suspend);
        pipeline.spec.suspend || stream.suspend || source
    };
    decision.status.candidate = observed.candidate.clone();
    if let Some(candidate) = observed
        .candidate
        .as_ref()
        .filter(|_| before.candidate != observed.candidate)
    {
        decision.notices.push(held(candidate));
    }
    if let Ok(resolved) = &resolved {
        let remapped = before
            .mapping
            .as_ref()
            .is_some_and(|mapping| *mapping != resolved.mapping);
        if let (Some(from), Ok(to), true) = (&before.mapping, &observed.mapping, remapped) {
            decision.notices.push(moved(from, to, observed.left.as_deref(), now));
        }
        let changed = remapped || before.observed_generation != Some(generation);
        decision.status.mapping = Some(resolved.mapping.clone());
        let due = due(pipeline, resolved, changed, is_suspended, now, &mut decision);
        start(pipeline, observed, due, now, &mut decision);
        create(pipeline, resolved, observed, &mut decision);
    }
    let letters = decision.status.streams.iter().filter_map(|stream| stream.dead_letters);
    decision.status.dead_letters = letters.reduce(|sum, more| sum + more);
    health.obstacle = resolved.err();
    let suspended_streams = pipeline.spec.streams.iter().filter(|stream| stream.suspend);
    health.suspended_streams = suspended_streams.map(|stream| stream.name.clone()).collect();
    health.suspended = pipeline.spec.streams.iter().all(is_suspended);
    let waiting = decision.waiting.iter().map(|(_, claimant)| claimant.stream.clone());
    health.waiting = (waiting.collect(), observed.places.capacity);
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
fn recall(place: usize, observed: &Observed, decision: &mut Decision) {
    let stream = &mut decision.status.streams[place];
    if stream.active_run.is_some() {
        return;
    }
    let last = stream.last_run.as_ref().map(|run| run.epoch);
    let ours = observed.made.jobs.values().filter(|job| is_of(job, stream));
    let forgotten = ours
        .filter_map(|job| job.as_run())
        .filter(|run| last.is_none_or(|last| run.epoch > last));
    stream.active_run = forgotten.max_by_key(|run| run.epoch);
}

fn is_of(job: &LightJob, stream: &StreamStatus) -> bool {
    job.stream.as_ref() == Some(&stream.name)
}

/// A run whose Job has ended becomes the last run; Jobs that were kept long enough are deleted.
fn collect(place: usize, observed: &Observed, now: Timestamp, decision: &mut Decision, health: &mut Health) {
    let name = decision.status.streams[place].name.clone();
    if let Some(run) = decision.status.streams[place].active_run.clone() {
        match observed.made.jobs.get(&run.name) {
            // Created, or created again, by `create`.
            None => {
                let refused = observed.made.causes.get(&run.name).cloned();
                health.not_starting.extend(refused.map(|cause| (name, cause)));
            }
            Some(job) if job.is_active() => {
                let wake = match observed.made.start_of(job, now) {
                    Start::Made => None,
                    Start::Awaited(by) => by,
                    Start::Hindered(cause, by) => {
                        health.not_starting.push((name, cause));
                        by
                    }
                };
                if observed.made.is_to_be_looked_into(job, now) {
                    decision.look_into.push(run.name.clone());
                }
                wake_by(decision, wake);
            }
            Some(job) => match exit_codes_due(&run, job, observed).filter(|due| *due > now) {
                Some(due) => wake_by(decision, Some(due)),
                None => end_of(&run, job, place, observed, now, decision),
            },
        }
    }
    let outlived = outlived(observed, &decision.status.streams[place]);
    decision.work.extend(outlived.into_iter().map(Work::Delete));
}

/// By when the exit codes of a failed run are there, where its outcome rests on them and none is.
fn exit_codes_due(run: &ActiveRun, job: &LightJob, observed: &Observed) -> Option<Timestamp> {
    let Standing::Failed { at, .. } = &job.standing else {
        return None;
    };
    let ended = |stage: &Stage| matches!(stage, Stage::Ended { .. });
    if run.report.is_some() || observed.made.pods_of(&job.name).any(|pod| ended(&pod.stage)) {
        return None;
    }
    at.as_ref()?.checked_add(EXIT_CODES_WITHIN).ok()
}

/// A run has ended: it is the last run now, and what a person must know of it is told.
fn end_of(run: &ActiveRun, job: &LightJob, place: usize, observed: &Observed, now: Timestamp, decision: &mut Decision) {
    let stream = &mut decision.status.streams[place];
    let (outcome, message) = outcome_of(run, job, observed);
    let failed_before = stream.consecutive_failures.unwrap_or_default() > 0;
    end(stream, run, outcome, &message, now);
    decision.status.last_run_time = Some(Time(now));
    let mut notify = |warning, reason: &'static str| {
        decision.notices.push(Notice {
            warning,
            reason,
            message: format!("run {} of stream {}: {message}", run.name, stream.name),
        });
    };
    if outcome != Outcome::Succeeded {
        notify(true, outcome.reason().as_str());
    } else {
        if failed_before {
            notify(false, "Recovered");
        }
        if stream.counts.is_some_and(|counts| counts.rejected > 0) {
            notify(true, "RecordsRejected");
        }
    }
}

fn outcome_of(run: &ActiveRun, job: &LightJob, observed: &Observed) -> (Outcome, String) {
    match (&job.standing, &run.report) {
        (Standing::Failed { reason, message, .. }, report) => match report {
            Some(report) if report.outcome != Outcome::Succeeded => (report.outcome, report.message.clone()),
            _ => unreported(reason, message, observed.made.pods_of(&run.name)),
        },
        (_, Some(report)) => (report.outcome, report.message.clone()),
        (_, None) => (
            Outcome::Succeeded,
            "the run succeeded; its report did not reach the status".to_owned(),
        ),
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
    let active = stream.active_run.as_ref().map(|run| &run.name);
    let others = observed.made.jobs.values().filter(|job| is_of(job, stream));
    let others = others.filter(|job| Some(&job.name) != active);
    let (under_way, mut finished): (Vec<&Arc<LightJob>>, Vec<_>) = others.partition(|job| job.is_active());
    let newest = stream.active_run.as_ref().map(|run| run.epoch);
    let newest = newest.or(stream.last_run.as_ref().map(|run| run.epoch));
    let epoch = |job: &LightJob| job.run.map(|(epoch, _)| epoch);
    let superseded = under_way
        .into_iter()
        .filter(|job| epoch(job).zip(newest).is_some_and(|(epoch, newest)| epoch < newest));
    finished.sort_by_key(|job| std::cmp::Reverse(epoch(job)));
    let failed = finished.iter().find(|job| job.standing != Standing::Complete).copied();
    let old = finished.iter().skip(KEPT_JOBS).copied();
    old.filter(|job| failed.is_none_or(|failed| failed.name != job.name))
        .chain(superseded)
        .map(|job| job.name.clone())
        .collect()
}

/// Creates the Jobs of the runs that the status names.
fn create(pipeline: &SyncPipeline, resolved: &Resolved, observed: &Observed, decision: &mut Decision) {
    let runs = decision
        .status
        .streams
        .iter()
        .filter_map(|stream| Some((stream, stream.active_run.as_ref()?)));
    let missing = runs.filter(|(_, run)| !observed.made.jobs.contains_key(&run.name));
    let jobs: Vec<_> = missing
        .map(|(stream, run)| {
            Work::Create(Box::new(OwnedRun {
                name: run.name.clone(),
                stream: stream.name.clone(),
                epoch: run.epoch,
                slot: run.slot_time.0,
                mapping: resolved.mapping.name.clone(),
                source: resolved.source.clone(),
                sink: resolved.sink.clone(),
            }))
        })
        .collect();
    let claim = observed.claim.as_deref();
    if !jobs.is_empty() && !claim.is_some_and(|there| claim::is_usable(there, &claim::state_claim(pipeline))) {
        decision.work.push(Work::CreateClaim);
    }
    let patch = claim.and_then(|there| claim::claim_patch(there, pipeline));
    decision.work.extend(patch.map(Work::PatchClaim));
    decision.work.extend(jobs);
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
