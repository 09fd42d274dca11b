//! Which streams are due, who of them may start, and under which slot.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::super::super::act::Notice;
use super::super::super::admission::{Claimant, Rank};
use super::super::super::names;
use super::super::super::schedule::Cadence;
use super::super::observe::Observed;
use super::super::resolve::{Resolved, backoff};
use super::{Decision, wake_by};
use crate::api::SyncPipeline;
use crate::api::sync_pipeline::{ActiveRun, RUN_NOW, SkippedSlots, Stream, StreamStatus};

/// A stream whose run is due.
pub(super) struct Due {
    place: usize,
    next: Next,
    claim: (Rank, Claimant),
}

/// The streams whose runs are due; of the others, when their next run is.
pub(super) fn due(
    pipeline: &SyncPipeline,
    resolved: &Resolved,
    changed: bool,
    is_suspended: impl Fn(&Stream) -> bool,
    now: Timestamp,
    decision: &mut Decision,
) -> Vec<Due> {
    let request = request(pipeline);
    let mut due = Vec::new();
    for (place, (spec, cadence)) in pipeline.spec.streams.iter().zip(&resolved.cadences).enumerate() {
        let stream = &mut decision.status.streams[place];
        if stream.active_run.is_some() {
            continue;
        }
        if is_suspended(spec) {
            stream.next_run_time = None;
            continue;
        }
        let requested = request.is_some() && request != stream.last_handled_request;
        let deadline = spec.schedule.starting_deadline.map(Into::into);
        match next_run(stream, cadence, deadline, changed, requested, now) {
            Some(next) if next.start <= now => {
                let claim = claim(pipeline, spec, stream, next.start, now);
                due.push(Due { place, next, claim });
            }
            other => {
                let skipped = other.as_ref().and_then(|next| next.skipped);
                decision.notices.extend(skipped.map(|skipped| skip(stream, skipped)));
                let start = other.map(|next| next.start);
                stream.next_run_time = start.map(Time);
                wake_by(decision, start);
            }
        }
    }
    due
}

/// The claim of a stream to a place of its source.
fn claim(
    pipeline: &SyncPipeline,
    spec: &Stream,
    stream: &StreamStatus,
    since: Timestamp,
    now: Timestamp,
) -> (Rank, Claimant) {
    let freshness = spec.freshness.as_ref().map(|freshness| freshness.objective);
    let consent = spec.consent.as_ref().map(|consent| consent.objective);
    let objective = freshness
        .into_iter()
        .chain(consent)
        .map(|objective| SignedDuration::try_from(Duration::from(objective)).unwrap_or(SignedDuration::MAX))
        .min();
    let complete = stream.complete_as_of.as_ref().map(|time| time.0);
    let claimant = Claimant {
        pipeline: pipeline.name_any(),
        stream: spec.name.clone(),
    };
    // A stream whose first slot is this very instant waits since it was made.
    let since = match &stream.last_run {
        Some(_) => since,
        None => pipeline.creation_timestamp().map_or(since, |time| time.0),
    };
    (Rank::of(spec.lane, since, complete, objective, now), claimant)
}

/// Names the runs that are due and have a place of the source; the others wait.
pub(super) fn start(
    pipeline: &SyncPipeline,
    observed: &Observed,
    due: Vec<Due>,
    now: Timestamp,
    decision: &mut Decision,
) {
    let claims: Vec<_> = due.iter().map(|due| due.claim.clone()).collect();
    let admitted = observed.places.admit(&claims);
    for Due { place, next, claim } in due {
        let stream = &mut decision.status.streams[place];
        stream.next_run_time = None;
        if !admitted.contains(&claim.1) {
            // It is called when a place is free; it may have lost its patience, or its slot another, before.
            wake_by(decision, now.checked_add(LOOK_AGAIN).ok());
            decision.waiting.push(claim);
            continue;
        }
        decision
            .notices
            .extend(next.skipped.map(|skipped| skip(stream, skipped)));
        // A status without a last run may have been lost: the clock's number is higher than any that was counted.
        let epoch = stream.last_run.as_ref().map_or(now.as_second(), |run| run.epoch + 1);
        let uid = pipeline.uid().unwrap_or_default();
        stream.active_run = Some(ActiveRun {
            name: names::run(&uid, &pipeline.name_any(), &stream.name, next.slot, epoch),
            epoch,
            slot_time: Time(next.slot),
            start_time: Time(now),
            report: None,
        });
        stream.last_handled_request = request(pipeline);
    }
}

/// How often a stream that waits for a place is ranked anew.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

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
        reason: "SlotsSkipped",
        message: format!(
            "stream {}: no run started for {count} instants of its schedule; the next run reads what they would have",
            stream.name
        ),
    }
}
