//! What the conditions say of a pipeline: an ordered chain, of which the first thing that is wrong gives the reason.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::super::light::Cause;
use super::super::probe::{needs_a_person, not_starting};
use super::resolve::Obstacle;
use crate::api::common::Outcome;
use crate::api::conditions::{
    CONSENT_CURRENT, FRESH, RECONCILED, Reason, SCHEMA_ALIGNED, SUSPENDED, Standing, Status, Verdict,
};
use crate::api::sync_pipeline::{Stream, StreamStatus};
use crate::api::{SyncPipeline, SyncPipelineStatus};

const SUSPENDED_WORDS: &str =
    "no run is started while suspend of the pipeline, of its source or of each of its streams is true";

/// What was seen beside the status.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Why there can't be a run.
    pub obstacle: Option<Obstacle>,
    /// No run is started, because the pipeline, its source or all its streams say so.
    pub suspended: bool,
    /// Streams of which no run is started, because they say so.
    pub suspended_streams: Vec<String>,
    /// Streams whose pod does not start, and why.
    pub not_starting: Vec<(String, Cause)>,
    /// Streams that wait for a place of the source, and how many places it has.
    pub waiting: (Vec<String>, usize),
}

/// The conditions, and the instant at which one of them changes by the clock alone.
pub fn verdicts(
    pipeline: &SyncPipeline,
    status: &SyncPipelineStatus,
    health: &Health,
    now: Timestamp,
) -> (Vec<Verdict>, Option<Timestamp>) {
    let (fresh, stale_from) = fresh(pipeline, status, health, now);
    let (consent, late_from) = consent_current(pipeline, status, health, now);
    let mut said = readiness(status, health);
    said.extend([fresh, consent, reconciled(status), aligned(status), suspended(health)]);
    (said, stale_from.into_iter().chain(late_from).min())
}

/// `Ready`, `Reconciling` and `Stalled`: a pipeline is ready, on its way, or waits for a person.
fn readiness(status: &SyncPipelineStatus, health: &Health) -> Vec<Verdict> {
    let (standing, reason, message) = judge(status, health);
    standing.verdicts(reason, message)
}

fn judge(status: &SyncPipelineStatus, health: &Health) -> (Standing, Reason, String) {
    if let Some(obstacle) = &health.obstacle {
        let standing = Standing::unready(obstacle.needs_a_person);
        return (standing, obstacle.reason, obstacle.message.clone());
    }
    if let Some((stream, cause)) = health.not_starting.first() {
        let (reason, words) = not_starting(&format!("stream {stream}"), cause);
        return (Standing::Reconciling, reason, words);
    }
    let failed = status
        .streams
        .iter()
        .filter_map(|stream| Some((stream, failure(stream)?)));
    // What waits for a person is said before what passes by itself.
    if let Some((stream, (outcome, message))) = failed.max_by_key(|(_, (outcome, _))| needs_a_person(*outcome)) {
        let message = format!("stream {}: {message}", stream.name);
        return (Standing::unready(needs_a_person(outcome)), outcome.reason(), message);
    }
    if health.suspended {
        return (Standing::Ready, Reason::Suspended, SUSPENDED_WORDS.to_owned());
    }
    let first = status
        .streams
        .iter()
        .find(|stream| stream.last_success_time.is_none() && !health.suspended_streams.contains(&stream.name));
    match first {
        Some(stream) => {
            let waits = if health.waiting.0.contains(&stream.name) {
                format!("; it {}", waits(health.waiting.1))
            } else {
                String::new()
            };
            let message = format!("the first run of stream {} has not ended yet{waits}", stream.name);
            (Standing::Reconciling, Reason::FirstRun, message)
        }
        None => (
            Standing::Ready,
            Reason::Succeeded,
            "the last run of every stream succeeded".to_owned(),
        ),
    }
}

fn waits(places: usize) -> String {
    format!(
        "waits for one of the source's {places} places (maxConcurrentRuns); WithinBudget of the source says who holds them"
    )
}

/// How the last run of a stream failed, if it did.
fn failure(stream: &StreamStatus) -> Option<(Outcome, &str)> {
    let last = stream.last_run.as_ref()?;
    (last.outcome != Outcome::Succeeded).then_some((last.outcome, last.message.as_str()))
}

/// `Fresh`: what was delivered is complete up to an instant no longer ago than the objective.
fn fresh(
    pipeline: &SyncPipeline,
    status: &SyncPipelineStatus,
    health: &Health,
    now: Timestamp,
) -> (Verdict, Option<Timestamp>) {
    let objective = |spec: &Stream| spec.freshness.as_ref().map(|freshness| freshness.objective);
    let words = Words {
        kind: FRESH,
        missed: "its objective",
        runbook: "FerrygateFreshnessMissed",
        unknown: "a stream with an objective has not been complete yet",
        none: "no stream has a freshness objective",
        met: "every stream meets its freshness objective",
    };
    within(pipeline, status, health, now, objective, &words)
}

/// `ConsentCurrent`: a withdrawal that the CDP was not told of is no older than the objective. What is delivered is complete up to
/// `completeAsOf`, so that such a withdrawal was made after it.
fn consent_current(
    pipeline: &SyncPipeline,
    status: &SyncPipelineStatus,
    health: &Health,
    now: Timestamp,
) -> (Verdict, Option<Timestamp>) {
    let objective = |spec: &Stream| spec.consent.as_ref().map(|consent| consent.objective);
    let words = Words {
        kind: CONSENT_CURRENT,
        missed: "its objective for withdrawals of consent",
        runbook: "FerrygateConsentLate",
        unknown: "a stream with an objective for withdrawals of consent has not been complete yet",
        none: "no stream has an objective for withdrawals of consent",
        met: "every stream delivers withdrawals of consent within its objective",
    };
    within(pipeline, status, health, now, objective, &words)
}

/// What a condition says that holds streams to an objective.
struct Words {
    kind: &'static str,
    /// What a stream has missed.
    missed: &'static str,
    runbook: &'static str,
    unknown: &'static str,
    none: &'static str,
    met: &'static str,
}

/// Whether what was delivered of every stream with an objective is complete up to an instant no longer ago than that, and when
/// that changes by the clock alone.
fn within(
    pipeline: &SyncPipeline,
    status: &SyncPipelineStatus,
    health: &Health,
    now: Timestamp,
    objective: impl Fn(&Stream) -> Option<kube::core::Duration>,
    words: &Words,
) -> (Verdict, Option<Timestamp>) {
    let created = pipeline.creation_timestamp().map_or(now, |time| time.0);
    let (mut late, mut unknown, mut wake): (Vec<String>, bool, Option<Timestamp>) = (Vec::new(), false, None);
    for (spec, stream) in pipeline.spec.streams.iter().zip(&status.streams) {
        let Some(objective) = objective(spec) else { continue };
        let allowed = SignedDuration::try_from(std::time::Duration::from(objective)).unwrap_or(SignedDuration::MAX);
        let complete = stream.complete_as_of.as_ref().map(|time| time.0);
        let deadline = complete
            .unwrap_or(created)
            .checked_add(allowed)
            .unwrap_or(Timestamp::MAX);
        if deadline > now {
            wake = wake.into_iter().chain([deadline]).min();
            unknown |= complete.is_none();
            continue;
        }
        let how = match failure(stream) {
            Some((outcome, message)) => {
                let run = stream
                    .last_run
                    .as_ref()
                    .map(|run| run.name.as_str())
                    .unwrap_or_default();
                format!(
                    "the last run ended with {} (run {run}): {message}",
                    outcome.reason().as_str()
                )
            }
            None if stream.active_run.is_some() => "a run is under way".to_owned(),
            None if health.waiting.0.contains(&spec.name) => format!("a run {}", waits(health.waiting.1)),
            None => "the last run succeeded; runs start too seldom, or are not started".to_owned(),
        };
        late.push(format!(
            "stream {} missed {} of {objective:?}; {how}",
            spec.name, words.missed
        ));
    }
    let (status, reason, message) = if !late.is_empty() {
        let message = format!(
            "{}. completeAsOf has the instant. See runbook {}.",
            late.join(". "),
            words.runbook
        );
        (Status::False, Reason::ObjectiveMissed, message)
    } else if unknown {
        (Status::Unknown, Reason::FirstRun, words.unknown.to_owned())
    } else if wake.is_none() {
        (Status::True, Reason::NoObjective, words.none.to_owned())
    } else {
        (Status::True, Reason::ObjectiveMet, words.met.to_owned())
    };
    (Verdict::new(words.kind, status, reason, message), wake)
}

/// `Reconciled`: the counts of the source and of what was delivered agree.
fn reconciled(status: &SyncPipelineStatus) -> Verdict {
    let mut apart = Vec::new();
    let mut counted = 0;
    for stream in &status.streams {
        let Some(counts) = &stream.reconciliation else { continue };
        counted += 1;
        if (counts.source_count - counts.delivered_count).abs() > counts.changed_meanwhile {
            apart.push(format!(
                "stream {}: the CRM has {} records, {} were delivered or are known as suppressed or rejected; {} changed while \
                 they were counted",
                stream.name, counts.source_count, counts.delivered_count, counts.changed_meanwhile
            ));
        }
    }
    if !apart.is_empty() {
        let message = format!(
            "{}. If it stays so after the next run, records are missing: look at the integration user's access to the object.",
            apart.join("; ")
        );
        Verdict::new(RECONCILED, Status::False, Reason::CountsDiffer, message)
    } else if counted < status.streams.len() {
        Verdict::new(
            RECONCILED,
            Status::Unknown,
            Reason::NotCounted,
            "not every stream has been counted yet",
        )
    } else {
        Verdict::new(
            RECONCILED,
            Status::True,
            Reason::CountsAgree,
            "the CRM and the delivered state have the same records",
        )
    }
}

/// `SchemaAligned`: the mapping fits the objects as the CRM describes them, and nothing that it reads has changed.
fn aligned(status: &SyncPipelineStatus) -> Verdict {
    let schemas = status
        .streams
        .iter()
        .filter_map(|stream| Some((stream, stream.schema.as_ref()?)));
    let apart: Vec<_> = schemas
        .clone()
        .filter(|(_, schema)| !schema.is_aligned())
        .map(|(stream, schema)| format!("stream {}: {} (schema {})", stream.name, schema.words(), schema.hash))
        .collect();
    if !apart.is_empty() {
        let message = format!(
            "{}. Take it up in a new mapping version, or accept it with the annotation ferrygate.io/accept-schema, which names the \
             schema.",
            apart.join(". ")
        );
        Verdict::new(SCHEMA_ALIGNED, Status::False, Reason::SchemaChanged, message)
    } else if schemas.count() < status.streams.len() {
        Verdict::new(
            SCHEMA_ALIGNED,
            Status::Unknown,
            Reason::NotDescribed,
            "not every stream has had a run that saw its object described",
        )
    } else {
        Verdict::new(
            SCHEMA_ALIGNED,
            Status::True,
            Reason::Aligned,
            "the mapping fits the CRM's objects, and nothing that it reads has changed",
        )
    }
}

fn suspended(health: &Health) -> Verdict {
    if health.suspended {
        Verdict::new(SUSPENDED, Status::True, Reason::Suspended, SUSPENDED_WORDS)
    } else if health.suspended_streams.is_empty() {
        let message = "runs are started by the schedules";
        Verdict::new(SUSPENDED, Status::False, Reason::NotSuspended, message)
    } else {
        let message = format!(
            "runs are started by the schedules, but none of the suspended streams: {}",
            health.suspended_streams.join(", ")
        );
        Verdict::new(SUSPENDED, Status::False, Reason::NotSuspended, message)
    }
}
