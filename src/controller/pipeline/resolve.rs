//! What a run needs, or what a person must mend before there can be one.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::super::observe::missing_service_account;
use super::super::probe::needs_a_person;
use super::super::schedule::Cadence;
use super::observe::{Found, Observed};
use crate::api::common::{Outcome, ProbeResult};
use crate::api::conditions::{READY, Reason, STALLED, is_true};
use crate::api::sync_pipeline::ResolvedMapping;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use crate::mapping::CompileError;
use crate::worker::unerasable;

/// A pipeline whose references hold.
pub struct Resolved {
    /// The source.
    pub source: Arc<CrmSource>,
    /// The sink.
    pub sink: Arc<CdpSink>,
    /// The mapping version.
    pub mapping: ResolvedMapping,
    /// The cadences of the streams, in the spec's order.
    pub cadences: Vec<Cadence>,
}

/// Why there can't be a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// One of the documented reasons.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it goes only by somebody mending it.
    pub needs_a_person: bool,
}

impl Obstacle {
    fn mend(reason: Reason, message: impl Into<String>) -> Self {
        Obstacle {
            reason,
            message: message.into(),
            needs_a_person: true,
        }
    }

    fn wait(reason: Reason, message: impl Into<String>) -> Self {
        Obstacle {
            reason,
            message: message.into(),
            needs_a_person: false,
        }
    }
}

/// Resolves a pipeline, or says the first thing that is in the way.
pub fn resolve(pipeline: &SyncPipeline, observed: &Observed, now: Timestamp) -> Result<Resolved, Obstacle> {
    let namespace = pipeline.namespace().unwrap_or_default();
    if let Some(account) = &observed.made.missing_account {
        return Err(Obstacle::mend(
            Reason::WorkerServiceAccountMissing,
            missing_service_account(&namespace, account),
        ));
    }
    let mut cadences = Vec::new();
    for stream in &pipeline.spec.streams {
        let identity = format!("{namespace}/{}/{}", pipeline.name_any(), stream.name);
        let cadence = Cadence::of(&stream.schedule, &identity, now)
            .map_err(|error| Obstacle::mend(Reason::InvalidSchedule, format!("stream {}: {error}", stream.name)))?;
        cadences.push(cadence);
    }
    let source = match &observed.source {
        Found::There(source) => source.clone(),
        Found::Missing(there) => {
            let words = not_found("sourceRef", "CrmSource", &pipeline.spec.source_ref.name, there);
            return Err(Obstacle::mend(Reason::SourceNotFound, words));
        }
    };
    let sink = match &observed.sink {
        Found::There(sink) => sink.clone(),
        Found::Missing(there) => {
            let words = not_found("sinkRef", "CdpSink", &pipeline.spec.sink_ref.name, there);
            return Err(Obstacle::mend(Reason::SinkNotFound, words));
        }
    };
    let mapping = observed
        .mapping
        .as_ref()
        .map_err(|error| Obstacle::mend(Reason::MappingNotFound, error.to_string()))?;
    check_plans(mapping, &observed.plan_errors)?;
    let unerasable = unerasable(&pipeline.spec, &mapping.spec, &sink.spec);
    if !unerasable.is_empty() {
        return Err(Obstacle::mend(Reason::ConfigurationInvalid, listed(&unerasable)));
    }
    let status = source.status.as_ref();
    answers(
        Reason::SourceNotReady,
        &format!("CrmSource {}", source.name_any()),
        status.map(|status| &status.conditions[..]).unwrap_or_default(),
        status.and_then(|status| status.probe.as_ref()),
    )?;
    let status = sink.status.as_ref();
    answers(
        Reason::SinkNotReady,
        &format!("CdpSink {}", sink.name_any()),
        status.map(|status| &status.conditions[..]).unwrap_or_default(),
        status.and_then(|status| status.probe.as_ref()),
    )?;
    Ok(Resolved {
        mapping: ResolvedMapping {
            name: mapping.name_any(),
            version: mapping.spec.version.clone(),
        },
        source,
        sink,
        cadences,
    })
}

fn not_found(field: &str, kind: &str, name: &str, there: &[String]) -> String {
    let there = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    format!("spec.{field}.name: there is no {kind} {name:?} in this namespace; there are: {there}")
}

/// Every stream's object must compile for this sink.
fn check_plans(mapping: &MappingVersion, errors: &[CompileError]) -> Result<(), Obstacle> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Obstacle::mend(
        Reason::MappingInvalid,
        format!(
            "MappingVersion {} does not serve this pipeline: {}",
            mapping.name_any(),
            listed(errors)
        ),
    ))
}

fn listed(errors: &[CompileError]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

/// A source or a sink that was never found well, or that waits for a person, gets no run. One that is only away does: a run
/// has more patience than a probe.
fn answers(reason: Reason, who: &str, conditions: &[Condition], probed: Option<&ProbeResult>) -> Result<(), Obstacle> {
    if is_true(conditions, READY) {
        return Ok(());
    }
    let ready = conditions.iter().find(|condition| condition.type_ == READY);
    let words = ready.map_or("it was not probed yet", |condition| condition.message.as_str());
    let message = format!("{who} is not ready: {words}");
    if is_true(conditions, STALLED) {
        return Err(Obstacle::mend(reason, message));
    }
    match probed {
        Some(result) if !needs_a_person(result.outcome) && result.outcome != Outcome::Succeeded => Ok(()),
        _ => Err(Obstacle::wait(reason, message)),
    }
}

/// The pause before the next try after so many failures in a row: 30 s, twice as long each time, ten minutes at most.
pub fn backoff(failures: i32) -> SignedDuration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or_default().min(5);
    SignedDuration::from_secs((30_i64 << doublings).min(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_tries_grows_and_ends_at_ten_minutes() {
        let pauses: Vec<_> = [0, 1, 2, 3, 5, 6, 1000]
            .map(|failures| backoff(failures).as_secs())
            .into();
        assert_eq!(pauses, [30, 30, 60, 120, 480, 600, 600]);
    }
}
