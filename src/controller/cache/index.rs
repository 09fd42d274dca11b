//! The objects, and what hangs together with what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::civil::Date;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::super::admission::{Claimant, Places, Queue, Rank};
use super::super::key::{Key, Kind, Name};
use super::super::light::{Cause, LightJob, LightPod};
use super::objects::Objects;
use crate::api::sync_pipeline::{StreamSchema, StreamStatus};
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use crate::mapping::diff::compare;
use crate::mapping::{CompileError, Plan};

/// All that the controller knows.
#[derive(Default)]
pub struct Index {
    pub(super) sources: Objects<CrmSource>,
    pub(super) sinks: Objects<CdpSink>,
    pub(super) mappings: Objects<MappingVersion>,
    pub(super) pipelines: Objects<SyncPipeline>,
    /// Jobs by the resource that they were made for, and by name.
    pub(super) jobs: HashMap<Key, BTreeMap<String, Arc<LightJob>>>,
    /// Of each Job, for whom it was made.
    pub(super) owners: HashMap<Name, Key>,
    /// Pods by their Job, and by name.
    pub(super) pods: HashMap<Name, BTreeMap<String, Arc<LightPod>>>,
    /// Of each Pod, its Job.
    pub(super) jobs_of_pods: HashMap<Name, Name>,
    /// The ServiceAccounts.
    pub(super) accounts: BTreeSet<Name>,
    /// The claims that hold states.
    pub(super) claims: HashMap<Name, Arc<ObjectMeta>>,
    /// The pipelines of each source.
    by_source: HashMap<Name, BTreeSet<String>>,
    queues: HashMap<Name, Queue>,
    /// Why Jobs do not come to run, as far as it was asked for.
    causes: HashMap<Name, Cause>,
    plans: HashMap<PlanKey, Arc<[CompileError]>>,
    /// Of two versions of a mapping, why the later one's number is too low, and on which day that was asked.
    numbers: HashMap<(String, String), (Date, Option<CompileError>)>,
}

/// A mapping of an object for a sink: specs of both, by uid and generation.
type PlanKey = (String, i64, String, String, i64);

/// How many compiled plans are remembered before all are forgotten.
const PLANS: usize = 10_000;

impl Index {
    /// The sources.
    pub fn sources(&self) -> &Objects<CrmSource> {
        &self.sources
    }

    /// The sinks.
    pub fn sinks(&self) -> &Objects<CdpSink> {
        &self.sinks
    }

    /// The mapping versions.
    pub fn mappings(&self) -> &Objects<MappingVersion> {
        &self.mappings
    }

    /// The pipelines.
    pub fn pipelines(&self) -> &Objects<SyncPipeline> {
        &self.pipelines
    }

    /// The pipelines of a source.
    pub fn pipelines_of(&self, source: &Name) -> impl Iterator<Item = &Arc<SyncPipeline>> {
        let names = self.by_source.get(source).into_iter().flatten();
        names.filter_map(|name| self.pipelines.get(&source.beside(name)))
    }

    /// The Jobs that were made for a resource, by name.
    pub fn jobs_of(&self, owner: &Key) -> impl Iterator<Item = &Arc<LightJob>> {
        self.jobs.get(owner).into_iter().flat_map(BTreeMap::values)
    }

    /// One Job.
    pub fn job(&self, name: &Name) -> Option<&Arc<LightJob>> {
        self.jobs.get(self.owners.get(name)?)?.get(&name.name)
    }

    /// The Pods of a Job that have not succeeded.
    pub fn pods_of(&self, job: &Name) -> impl Iterator<Item = &Arc<LightPod>> {
        self.pods.get(job).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether a ServiceAccount is there.
    pub fn has_service_account(&self, account: &Name) -> bool {
        self.accounts.contains(account)
    }

    /// A claim that holds a state.
    pub fn claim(&self, name: &Name) -> Option<&Arc<ObjectMeta>> {
        self.claims.get(name)
    }

    /// Why a Job does not come to run.
    pub fn cause(&self, job: &Name) -> Option<&Cause> {
        self.causes.get(job)
    }

    /// Notes why a Job does not come to run, or that nothing keeps it any more. Returns whether that is new.
    pub fn set_cause(&mut self, job: Name, cause: Option<Cause>) -> bool {
        let before = match cause.clone() {
            Some(cause) => self.causes.insert(job, cause),
            None => self.causes.remove(&job),
        };
        before != cause
    }

    /// What is wrong with a mapping of an object for a sink. It is compiled once for each state of the two.
    pub fn plan_errors(&mut self, mapping: &MappingVersion, object: &str, sink: &CdpSink) -> Arc<[CompileError]> {
        let identity =
            |uid: Option<String>, generation: Option<i64>| (uid.unwrap_or_default(), generation.unwrap_or_default());
        let (mapping_uid, mapping_generation) = identity(mapping.uid(), mapping.metadata.generation);
        let (sink_uid, sink_generation) = identity(sink.uid(), sink.metadata.generation);
        let key = (
            mapping_uid,
            mapping_generation,
            object.to_owned(),
            sink_uid,
            sink_generation,
        );
        if let Some(errors) = self.plans.get(&key) {
            return errors.clone();
        }
        if self.plans.len() >= PLANS {
            self.plans.clear();
        }
        let errors: Arc<[CompileError]> = Plan::compile(&mapping.spec, object, &sink.spec)
            .err()
            .unwrap_or_default()
            .into();
        self.plans.insert(key, errors.clone());
        errors
    }

    /// Why a version's number is too low for what it changes against an earlier one. They are compared once a day: a version never
    /// changes, and the day decides what may be gone.
    pub fn misnumbered(
        &mut self,
        before: &MappingVersion,
        after: &MappingVersion,
        today: Date,
    ) -> Option<CompileError> {
        let identity = |version: &MappingVersion| version.uid().unwrap_or_else(|| version.name_any());
        let key = (identity(before), identity(after));
        if let Some((_, error)) = self.numbers.get(&key).filter(|(day, _)| *day == today) {
            return error.clone();
        }
        if self.numbers.len() >= PLANS {
            self.numbers.clear();
        }
        let error = compare(&before.spec, &after.spec, today).misnumbered();
        self.numbers.insert(key, (today, error.clone()));
        error
    }

    /// The places of a source, as a pipeline sees them.
    pub fn places(&self, source: &CrmSource, pipeline: &str) -> Places {
        let capacity = source.spec.max_concurrent_runs as usize;
        self.queues
            .get(&Name::of(source))
            .map_or(Places::free(capacity), |queue| queue.places(capacity, pipeline))
    }

    /// The runs of a source, and those that wait.
    pub fn queue(&mut self, source: &Name) -> Option<&mut Queue> {
        self.queues.get_mut(source)
    }

    /// A new term begins: what was decided in another is worth nothing, and all is to be looked at.
    pub fn begin_term(&mut self) -> Vec<Key> {
        self.queues.clear();
        let pipelines: Vec<_> = self.pipelines.all().cloned().collect();
        for pipeline in &pipelines {
            self.observe_runs(&source_of(pipeline), &Name::of(&**pipeline));
        }
        let kinds = [
            (Kind::CrmSource, self.sources.names(None)),
            (Kind::CdpSink, self.sinks.names(None)),
            (Kind::MappingVersion, self.mappings.names(None)),
            (Kind::SyncPipeline, self.pipelines.names(None)),
        ];
        let keys = kinds.map(|(kind, names)| names.into_iter().map(move |name| Key::new(kind, name)));
        keys.into_iter().flatten().collect()
    }

    /// What was decided for a pipeline and is about to be written: which streams run, and which wait.
    pub fn decided(
        &mut self,
        pipeline: &SyncPipeline,
        streams: &[StreamStatus],
        waiting: &[(Rank, Claimant)],
    ) -> Vec<Key> {
        let source = source_of(pipeline);
        let name = pipeline.name_any();
        let running = running(&name, streams);
        let queue = self.queues.entry(source.clone()).or_default();
        let waited = queue.waiting() > 0;
        queue.decide(&name, running, waiting.iter().cloned());
        // The source's condition says who holds the places where others wait.
        if waited || queue.waiting() > 0 {
            vec![Key::new(Kind::CrmSource, source)]
        } else {
            Vec::new()
        }
    }

    /// The write of what was decided has ended: `written` is the newest state, if there was something to write. Who could not be
    /// written waits for nothing, so that nobody stands in the others' way.
    pub fn settled(&mut self, pipeline: &SyncPipeline, written: Option<SyncPipeline>, failed: bool) -> Vec<Key> {
        let (source, name) = (source_of(pipeline), Name::of(pipeline));
        if let Some(queue) = self.queues.get_mut(&source) {
            queue.settle(&name.name);
            if failed {
                queue.wait_no_more(&name.name);
            }
        }
        let mut touched = Vec::new();
        if let Some(written) = written {
            self.put_pipeline(written, &mut touched);
        }
        self.observe_runs(&source, &name);
        self.call_next(&source, &mut touched);
        touched
    }

    /// Puts a pipeline in, and tells whom that concerns.
    pub(super) fn put_pipeline(&mut self, pipeline: SyncPipeline, touched: &mut Vec<Key>) {
        let name = Name::of(&pipeline);
        let Some((pipeline, before)) = self.pipelines.put(pipeline) else {
            return;
        };
        let source = source_of(&pipeline);
        if let Some(before) = &before {
            let old = source_of(before);
            if old != source {
                self.leave(&old, &name.name, touched);
            }
        }
        self.by_source
            .entry(source.clone())
            .or_default()
            .insert(name.name.clone());
        self.observe_runs(&source, &name);
        self.call_next(&source, touched);
        let changed = before.as_ref().is_none_or(|before| before.spec != pipeline.spec);
        if changed {
            // Which objects a probe describes.
            touched.push(Key::new(Kind::CrmSource, source));
        }
        let mapping = |one: &SyncPipeline| one.status.as_ref().and_then(|status| status.mapping.clone());
        if changed || before.as_deref().and_then(mapping) != mapping(&pipeline) {
            let both = [Some(&*pipeline), before.as_deref()];
            for one in both.into_iter().flatten() {
                self.touch_versions(&name.namespace, &one.spec.mapping_ref.name, touched);
            }
        }
        if before.as_deref().is_some_and(|before| !same_schemas(before, &pipeline)) {
            // Whether the version that it takes fits its source.
            let taken = pipeline.status.as_ref().and_then(|status| status.mapping.as_ref());
            touched.extend(taken.map(|taken| Key::new(Kind::MappingVersion, name.beside(&taken.name))));
        }
        touched.push(Key::new(Kind::SyncPipeline, name));
    }

    /// A pipeline is gone, or can't be decoded any more.
    pub(super) fn drop_pipeline(&mut self, pipeline: &SyncPipeline, touched: &mut Vec<Key>) {
        let source = source_of(pipeline);
        let namespace = pipeline.namespace().unwrap_or_default();
        self.leave(&source, &pipeline.name_any(), touched);
        touched.push(Key::new(Kind::CrmSource, source));
        self.touch_versions(&namespace, &pipeline.spec.mapping_ref.name, touched);
    }

    fn leave(&mut self, source: &Name, pipeline: &str, touched: &mut Vec<Key>) {
        if let Some(names) = self.by_source.get_mut(source) {
            names.remove(pipeline);
            if names.is_empty() {
                self.by_source.remove(source);
            }
        }
        if let Some(queue) = self.queues.get_mut(source) {
            queue.decide(pipeline, [], []);
            if queue.running().next().is_none() && queue.waiting() == 0 {
                self.queues.remove(source);
            }
        }
        self.call_next(source, touched);
    }

    /// Tells the queue of a source which runs a pipeline's status names.
    fn observe_runs(&mut self, source: &Name, pipeline: &Name) {
        let Some(held) = self.pipelines.get(pipeline).filter(|held| source_of(held) == *source) else {
            return;
        };
        let streams = held.status.as_ref().map(|status| status.streams.as_slice());
        let running = running(&pipeline.name, streams.unwrap_or_default());
        self.queues
            .entry(source.clone())
            .or_default()
            .observe(&pipeline.name, running);
    }

    /// The pipelines that have a place now.
    pub(super) fn call_next(&self, source: &Name, touched: &mut Vec<Key>) {
        let (Some(queue), Some(held)) = (self.queues.get(source), self.sources.get(source)) else {
            return;
        };
        let next = queue.next(held.spec.max_concurrent_runs as usize);
        touched.extend(
            next.into_iter()
                .map(|name| Key::new(Kind::SyncPipeline, source.beside(name))),
        );
    }

    pub(super) fn touch_versions(&self, namespace: &str, mapping: &str, touched: &mut Vec<Key>) {
        let versions = self
            .mappings
            .of(namespace)
            .filter(|(_, version)| version.spec.mapping == mapping);
        touched.extend(versions.map(|(_, version)| Key::new(Kind::MappingVersion, Name::of(&**version))));
    }

    pub(super) fn touch_pipelines(&self, namespace: &str, of: impl Fn(&SyncPipeline) -> bool, touched: &mut Vec<Key>) {
        let pipelines = self.pipelines.of(namespace).filter(|(_, pipeline)| of(pipeline));
        touched.extend(pipelines.map(|(_, pipeline)| Key::new(Kind::SyncPipeline, Name::of(&**pipeline))));
    }

    pub(super) fn put_job(&mut self, name: Name, job: LightJob, touched: &mut Vec<Key>) {
        let Some((owner, _)) = job.owner.clone() else { return };
        if let Some(old) = self
            .owners
            .insert(name.clone(), owner.clone())
            .filter(|old| *old != owner)
        {
            self.take_job(&old, &name);
        }
        self.jobs
            .entry(owner.clone())
            .or_default()
            .insert(name.name, Arc::new(job));
        touched.push(owner);
    }

    pub(super) fn remove_job(&mut self, name: &Name, touched: &mut Vec<Key>) {
        self.causes.remove(name);
        let Some(owner) = self.owners.remove(name) else { return };
        self.take_job(&owner, name);
        touched.push(owner);
    }

    fn take_job(&mut self, owner: &Key, name: &Name) {
        if let Some(jobs) = self.jobs.get_mut(owner) {
            jobs.remove(&name.name);
            if jobs.is_empty() {
                self.jobs.remove(owner);
            }
        }
    }

    pub(super) fn put_pod(&mut self, name: Name, pod: LightPod, touched: &mut Vec<Key>) {
        let job = name.beside(&pod.job);
        self.jobs_of_pods.insert(name.clone(), job.clone());
        touched.extend(self.owners.get(&job).cloned());
        self.pods.entry(job).or_default().insert(name.name, Arc::new(pod));
    }

    pub(super) fn remove_pod(&mut self, name: &Name, touched: &mut Vec<Key>) {
        let Some(job) = self.jobs_of_pods.remove(name) else {
            return;
        };
        if let Some(pods) = self.pods.get_mut(&job) {
            pods.remove(&name.name);
            if pods.is_empty() {
                self.pods.remove(&job);
            }
        }
        touched.extend(self.owners.get(&job).cloned());
    }
}

/// Whether the streams of two states of a pipeline tell the same of their objects' schemas.
fn same_schemas(one: &SyncPipeline, other: &SyncPipeline) -> bool {
    fn schemas(pipeline: &SyncPipeline) -> impl Iterator<Item = (&str, Option<&StreamSchema>)> {
        let streams = pipeline.status.iter().flat_map(|status| &status.streams);
        streams.map(|stream| (stream.name.as_str(), stream.schema.as_ref()))
    }
    schemas(one).eq(schemas(other))
}

/// The source that a pipeline names.
fn source_of(pipeline: &SyncPipeline) -> Name {
    Name::of(pipeline).beside(&pipeline.spec.source_ref.name)
}

fn running<'a>(pipeline: &'a str, streams: &'a [StreamStatus]) -> impl Iterator<Item = Claimant> + 'a {
    let running = streams.iter().filter(|stream| stream.active_run.is_some());
    running.map(move |stream| Claimant {
        pipeline: pipeline.to_owned(),
        stream: stream.name.clone(),
    })
}
