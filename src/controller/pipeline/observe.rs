//! What a pipeline refers to, and what was made for it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::super::admission::Places;
use super::super::cache::Index;
use super::super::key::{Key, Kind, Name};
use super::super::names;
use super::super::observe::Made;
use super::rollout::{Chosen, choose};
use crate::api::sync_pipeline::MappingCandidate;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline, SyncPipelineSpec};
use crate::mapping::CompileError;
use crate::worker::{UnresolvedMapping, fitting_mappings};

/// All that a decision about a pipeline rests on, but for the clock.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The source that it names.
    pub source: Found<CrmSource>,
    /// The sink that it names.
    pub sink: Found<CdpSink>,
    /// The mapping version that its reference comes to.
    pub mapping: Result<Arc<MappingVersion>, UnresolvedMapping>,
    /// The version that runs have taken so far, where it is another one and still there.
    pub left: Option<Arc<MappingVersion>>,
    /// A higher version in range that is not let in, and why.
    pub candidate: Option<MappingCandidate>,
    /// What is wrong with the mapping for this sink, over the objects of all streams.
    pub plan_errors: Vec<CompileError>,
    /// The Jobs and Pods of the pipeline's runs.
    pub made: Made,
    /// The claim that holds its state, where it is there.
    pub claim: Option<Arc<ObjectMeta>>,
    /// The places of the source.
    pub places: Places,
}

/// What a reference by name comes to.
#[derive(Clone, Debug)]
pub enum Found<K> {
    /// The resource.
    There(Arc<K>),
    /// None of that name; the names that there are.
    Missing(Vec<String>),
}

impl<K> Found<K> {
    /// The resource, if it is there.
    pub fn get(&self) -> Option<&Arc<K>> {
        match self {
            Found::There(resource) => Some(resource),
            Found::Missing(_) => None,
        }
    }
}

/// Gathers it from the cache.
pub fn observe(index: &mut Index, pipeline: &SyncPipeline, now: Timestamp) -> Observed {
    let name = Name::of(pipeline);
    let spec = &pipeline.spec;
    let source = match index.sources().get(&name.beside(&spec.source_ref.name)) {
        Some(source) => Found::There(source.clone()),
        None => Found::Missing(
            index
                .sources()
                .of(&name.namespace)
                .map(|(name, _)| name.clone())
                .collect(),
        ),
    };
    let sink = match index.sinks().get(&name.beside(&spec.sink_ref.name)) {
        Some(sink) => Found::There(sink.clone()),
        None => Found::Missing(
            index
                .sinks()
                .of(&name.namespace)
                .map(|(name, _)| name.clone())
                .collect(),
        ),
    };
    let versions = index.mappings().of(&name.namespace);
    let versions: Vec<_> = versions.map(|(_, version)| version.clone()).collect();
    let taken = pipeline.status.as_ref().and_then(|status| status.mapping.as_ref());
    let taken_name = taken.map(|taken| taken.name.as_str());
    let today = now.to_zoned(TimeZone::UTC).date();
    let fitting = fitting_mappings(&spec.mapping_ref, versions, taken_name, |before, after| {
        index.misnumbered(before, after, today)
    });
    let chosen = fitting.map(|fitting| {
        choose(fitting, taken_name, |version| {
            errors_of(index, spec, version, sink.get())
        })
    });
    let (mapping, plan_errors, candidate) = match chosen {
        Ok(Chosen { version, errors, held }) => (Ok(version), errors, held),
        Err(error) => (Err(error), Vec::new(), None),
    };
    let left = taken.and_then(|taken| index.mappings().get(&name.beside(&taken.name)));
    let left = left.filter(|left| mapping.as_ref().is_ok_and(|mapping| !Arc::ptr_eq(left, mapping)));
    let left = left.cloned();
    let streams = pipeline.status.iter().flat_map(|status| &status.streams);
    let runs = streams.filter_map(|stream| Some(stream.active_run.as_ref()?.name.clone()));
    let owner = Key::new(Kind::SyncPipeline, name.clone());
    Observed {
        places: source
            .get()
            .map_or(Places::free(0), |source| index.places(source, &name.name)),
        made: Made::of(
            index,
            &owner,
            pipeline.meta().uid.as_deref(),
            spec.job_template.as_ref(),
            runs,
        ),
        claim: index.claim(&name.beside(&names::state_claim(&name.name))).cloned(),
        source,
        sink,
        mapping,
        left,
        candidate,
        plan_errors,
    }
}

/// What is wrong with a mapping for a sink, over the objects of all streams.
fn errors_of(
    index: &mut Index,
    spec: &SyncPipelineSpec,
    mapping: &MappingVersion,
    sink: Option<&Arc<CdpSink>>,
) -> Vec<CompileError> {
    let mut errors = Vec::new();
    let Some(sink) = sink else { return errors };
    for stream in &spec.streams {
        for error in index.plan_errors(mapping, &stream.object, sink).iter() {
            if !errors.contains(error) {
                errors.push(error.clone());
            }
        }
    }
    errors
}
