//! What a run needs, or what a person must mend before there can be one.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::super::observe::missing_service_account;
use super::super::probe::needs_a_person;
use super::super::schedule::Cadence;
use super::observe::Observed;
use crate::api::conditions::{READY, STALLED, is_true};
use crate::api::sync_pipeline::ResolvedMapping;
use crate::api::{CdpSinkSpec, CrmSourceSpec, MappingVersion, SyncPipeline};
use crate::mapping::Plan;
use crate::worker::resolve_mapping;

/// A pipeline whose references hold.
pub struct Resolved<'a> {
    /// The source.
    pub source: &'a CrmSourceSpec,
    /// The sink.
    pub sink: &'a CdpSinkSpec,
    /// The mapping version.
    pub mapping: ResolvedMapping,
    /// The cadences of the streams, in the spec's order.
    pub cadences: Vec<Cadence>,
    /// The source's own word that no run is to be started.
    pub suspended: bool,
}

/// Why there can't be a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it goes only by somebody mending it.
    pub needs_a_person: bool,
}

impl Obstacle {
    fn mend(reason: &'static str, message: impl Into<String>) -> Self {
        Obstacle {
            reason,
            message: message.into(),
            needs_a_person: true,
        }
    }

    fn wait(reason: &'static str, message: impl Into<String>) -> Self {
        Obstacle {
            reason,
            message: message.into(),
            needs_a_person: false,
        }
    }
}

/// Resolves a pipeline, or says the first thing that is in the way.
pub fn resolve<'a>(
    pipeline: &'a SyncPipeline,
    observed: &'a Observed,
    now: Timestamp,
) -> Result<Resolved<'a>, Obstacle> {
    let namespace = pipeline.namespace().unwrap_or_default();
    if !observed.made.has_service_account {
        return Err(Obstacle::mend(
            "WorkerServiceAccountMissing",
            missing_service_account(&namespace),
        ));
    }
    let mut cadences = Vec::new();
    for stream in &pipeline.spec.streams {
        let identity = format!("{namespace}/{}/{}", pipeline.name_any(), stream.name);
        let cadence = Cadence::of(&stream.schedule, &identity, now)
            .map_err(|error| Obstacle::mend("InvalidSchedule", format!("stream {}: {error}", stream.name)))?;
        cadences.push(cadence);
    }
    let name = &pipeline.spec.source_ref.name;
    let source = observed
        .sources
        .iter()
        .find(|source| source.name_any() == *name)
        .ok_or_else(|| {
            Obstacle::mend(
                "SourceNotFound",
                not_found(
                    "sourceRef",
                    "CrmSource",
                    name,
                    observed.sources.iter().map(ResourceExt::name_any),
                ),
            )
        })?;
    let name = &pipeline.spec.sink_ref.name;
    let sink = observed
        .sinks
        .iter()
        .find(|sink| sink.name_any() == *name)
        .ok_or_else(|| {
            Obstacle::mend(
                "SinkNotFound",
                not_found(
                    "sinkRef",
                    "CdpSink",
                    name,
                    observed.sinks.iter().map(ResourceExt::name_any),
                ),
            )
        })?;
    let mapping = resolve_mapping(&pipeline.spec.mapping_ref, &observed.mappings)
        .map_err(|error| Obstacle::mend("MappingNotFound", error.to_string()))?;
    check_plans(pipeline, mapping, &sink.spec)?;
    let source_conditions = source
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let probed = source.status.as_ref().and_then(|status| status.probe.as_ref());
    answers(
        "SourceNotReady",
        &format!("CrmSource {}", source.name_any()),
        source_conditions,
        probed,
    )?;
    let sink_conditions = sink
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let probed = sink.status.as_ref().and_then(|status| status.probe.as_ref());
    answers(
        "SinkNotReady",
        &format!("CdpSink {}", sink.name_any()),
        sink_conditions,
        probed,
    )?;
    Ok(Resolved {
        source: &source.spec,
        sink: &sink.spec,
        mapping: ResolvedMapping {
            name: mapping.name_any(),
            version: mapping.spec.version.clone(),
        },
        cadences,
        suspended: source.spec.suspend,
    })
}

fn not_found(field: &str, kind: &str, name: &str, there: impl Iterator<Item = String>) -> String {
    let there: Vec<_> = there.collect();
    let there = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    format!("spec.{field}.name: there is no {kind} {name:?} in this namespace; there are: {there}")
}

/// Every stream's object must compile for this sink.
fn check_plans(pipeline: &SyncPipeline, mapping: &MappingVersion, sink: &CdpSinkSpec) -> Result<(), Obstacle> {
    let mut errors: Vec<String> = Vec::new();
    for stream in &pipeline.spec.streams {
        if let Err(found) = Plan::compile(&mapping.spec, &stream.object, sink) {
            errors.extend(found.iter().map(ToString::to_string));
        }
    }
    errors.dedup();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Obstacle::mend(
        "MappingInvalid",
        format!(
            "MappingVersion {} does not serve this pipeline: {}",
            mapping.name_any(),
            errors.join("; ")
        ),
    ))
}

/// A source or a sink that was never found well, or that waits for a person, gets no run. One that is only away does: a run
/// has more patience than a probe.
fn answers(
    reason: &'static str,
    who: &str,
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    probed: Option<&crate::api::common::ProbeResult>,
) -> Result<(), Obstacle> {
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
        Some(result) if !needs_a_person(result.outcome) && result.outcome != crate::api::common::Outcome::Succeeded => {
            Ok(())
        }
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
