//! The kinds that are watched, and where the index keeps each.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher;
use serde::de::DeserializeOwned;

use super::super::jobs::MANAGED_BY;
use super::super::key::{Key, Kind, Name};
use super::super::light::{self, LightPod, WatchedJob, WatchedPod};
use super::index::Index;
use super::objects::Objects;
use crate::api::common::{Outcome, ProbeResult};
use crate::api::conditions::{READY, STALLED, is_true};
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};

/// A kind that is watched.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// Which of its objects are watched.
    fn selection() -> watcher::Config {
        watcher::Config::default()
    }

    /// The object is there.
    fn put(self, index: &mut Index, touched: &mut Vec<Key>);

    /// The object of that name is gone.
    fn remove(name: &Name, index: &mut Index, touched: &mut Vec<Key>);

    /// The names of those that are there, in a namespace or in all.
    fn names(index: &Index, namespace: Option<&str>) -> Vec<Name>;
}

/// What is made by the controller carries its label.
fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1))
}

/// One of the four kinds: an object that can't be decoded stops only itself.
trait Own:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    const KIND: Kind;

    fn objects(index: &Index) -> &Objects<Self>;

    fn objects_mut(index: &mut Index) -> &mut Objects<Self>;

    /// The object was put where `before` was.
    fn put(self, index: &mut Index, touched: &mut Vec<Key>) {
        if let Some((object, before)) = Self::objects_mut(index).put(self) {
            touched.push(Key::new(Self::KIND, Name::of(&*object)));
            object.concerns(before.as_deref(), index, touched);
        }
    }

    /// Whom it concerns that the object is as it is, and no longer as before.
    fn concerns(self: &Arc<Self>, before: Option<&Self>, index: &Index, touched: &mut Vec<Key>);

    /// Whom it concerns that the object is gone.
    fn left(&self, index: &mut Index, touched: &mut Vec<Key>);
}

impl<K: Own> Watched for DeserializeGuard<K> {
    fn put(self, index: &mut Index, touched: &mut Vec<Key>) {
        match self.0 {
            Ok(mut object) => {
                object.meta_mut().managed_fields = None;
                object.put(index, touched);
            }
            Err(invalid) => {
                let name = Name {
                    namespace: invalid.metadata.namespace.unwrap_or_default(),
                    name: invalid.metadata.name.unwrap_or_default(),
                };
                touched.push(Key::new(K::KIND, name.clone()));
                if let Some(before) = K::objects_mut(index).put_undecodable(name, invalid.error) {
                    before.left(index, touched);
                }
            }
        }
    }

    fn remove(name: &Name, index: &mut Index, touched: &mut Vec<Key>) {
        if let Some(before) = K::objects_mut(index).remove(name) {
            before.left(index, touched);
        }
    }

    fn names(index: &Index, namespace: Option<&str>) -> Vec<Name> {
        K::objects(index).names(namespace)
    }
}

impl Own for SyncPipeline {
    const KIND: Kind = Kind::SyncPipeline;

    fn objects(index: &Index) -> &Objects<Self> {
        &index.pipelines
    }

    fn objects_mut(index: &mut Index) -> &mut Objects<Self> {
        &mut index.pipelines
    }

    fn put(self, index: &mut Index, touched: &mut Vec<Key>) {
        index.put_pipeline(self, touched);
    }

    fn concerns(self: &Arc<Self>, _: Option<&Self>, _: &Index, _: &mut Vec<Key>) {}

    fn left(&self, index: &mut Index, touched: &mut Vec<Key>) {
        index.drop_pipeline(self, touched);
    }
}

/// What pipelines read of the status of a source or a sink.
fn told(conditions: &[Condition], probe: Option<&ProbeResult>) -> (bool, bool, Option<Outcome>) {
    let probed = probe.map(|probe| probe.outcome);
    (is_true(conditions, READY), is_true(conditions, STALLED), probed)
}

impl Own for CrmSource {
    const KIND: Kind = Kind::CrmSource;

    fn objects(index: &Index) -> &Objects<Self> {
        &index.sources
    }

    fn objects_mut(index: &mut Index) -> &mut Objects<Self> {
        &mut index.sources
    }

    fn concerns(self: &Arc<Self>, before: Option<&Self>, index: &Index, touched: &mut Vec<Key>) {
        let source = Name::of(&**self);
        let told = |one: &Self| {
            one.status
                .as_ref()
                .map(|status| told(&status.conditions, status.probe.as_ref()))
        };
        if before.is_none_or(|before| before.spec != self.spec || told(before) != told(self)) {
            for pipeline in index.pipelines_of(&source) {
                touched.push(Key::new(Kind::SyncPipeline, Name::of(&**pipeline)));
            }
        }
    }

    fn left(&self, index: &mut Index, touched: &mut Vec<Key>) {
        for pipeline in index.pipelines_of(&Name::of(self)) {
            touched.push(Key::new(Kind::SyncPipeline, Name::of(&**pipeline)));
        }
    }
}

impl Own for CdpSink {
    const KIND: Kind = Kind::CdpSink;

    fn objects(index: &Index) -> &Objects<Self> {
        &index.sinks
    }

    fn objects_mut(index: &mut Index) -> &mut Objects<Self> {
        &mut index.sinks
    }

    fn concerns(self: &Arc<Self>, before: Option<&Self>, index: &Index, touched: &mut Vec<Key>) {
        let told = |one: &Self| {
            one.status
                .as_ref()
                .map(|status| told(&status.conditions, status.probe.as_ref()))
        };
        if before.is_none_or(|before| before.spec != self.spec || told(before) != told(self)) {
            touch_pipelines_of_sink(self, index, touched);
        }
    }

    fn left(&self, index: &mut Index, touched: &mut Vec<Key>) {
        touch_pipelines_of_sink(self, index, touched);
    }
}

fn touch_pipelines_of_sink(sink: &CdpSink, index: &Index, touched: &mut Vec<Key>) {
    let name = Name::of(sink);
    index.touch_pipelines(&name.namespace, |one| one.spec.sink_ref.name == name.name, touched);
}

impl Own for MappingVersion {
    const KIND: Kind = Kind::MappingVersion;

    fn objects(index: &Index) -> &Objects<Self> {
        &index.mappings
    }

    fn objects_mut(index: &mut Index) -> &mut Objects<Self> {
        &mut index.mappings
    }

    fn concerns(self: &Arc<Self>, before: Option<&Self>, index: &Index, touched: &mut Vec<Key>) {
        // Its spec never changes: whoever may take it needs to know once.
        if before.is_none_or(|before| before.metadata.uid != self.metadata.uid) {
            touch_pipelines_of_mapping(self, index, touched);
            touch_other_versions(self, index, touched);
        }
    }

    fn left(&self, index: &mut Index, touched: &mut Vec<Key>) {
        touch_pipelines_of_mapping(self, index, touched);
        touch_other_versions(self, index, touched);
    }
}

/// Which version is the one before another depends on all that there are.
fn touch_other_versions(version: &MappingVersion, index: &Index, touched: &mut Vec<Key>) {
    index.touch_versions(&Name::of(version).namespace, &version.spec.mapping, touched);
}

fn touch_pipelines_of_mapping(version: &MappingVersion, index: &Index, touched: &mut Vec<Key>) {
    let mapping = &version.spec.mapping;
    let namespace = Name::of(version).namespace;
    index.touch_pipelines(&namespace, |one| one.spec.mapping_ref.name == *mapping, touched);
}

impl Watched for WatchedJob {
    fn selection() -> watcher::Config {
        ours()
    }

    fn put(self, index: &mut Index, touched: &mut Vec<Key>) {
        index.put_job(Name::of(&self), self.into(), touched);
    }

    fn remove(name: &Name, index: &mut Index, touched: &mut Vec<Key>) {
        index.remove_job(name, touched);
    }

    fn names(index: &Index, namespace: Option<&str>) -> Vec<Name> {
        within(index.owners.keys(), namespace)
    }
}

impl Watched for WatchedPod {
    /// Of a Pod that has succeeded nothing more is asked for, and there is one a finished run.
    fn selection() -> watcher::Config {
        ours().fields("status.phase!=Succeeded")
    }

    fn put(self, index: &mut Index, touched: &mut Vec<Key>) {
        index.put_pod(Name::of(&self), LightPod::from(self), touched);
    }

    fn remove(name: &Name, index: &mut Index, touched: &mut Vec<Key>) {
        index.remove_pod(name, touched);
    }

    fn names(index: &Index, namespace: Option<&str>) -> Vec<Name> {
        within(index.jobs_of_pods.keys(), namespace)
    }
}

impl Watched for PartialObjectMeta<ServiceAccount> {
    fn put(self, index: &mut Index, touched: &mut Vec<Key>) {
        let name = Name::of(&self);
        if index.accounts.insert(name.clone()) {
            touch_namespace(index, &name.namespace, touched);
        }
    }

    fn remove(name: &Name, index: &mut Index, touched: &mut Vec<Key>) {
        if index.accounts.remove(name) {
            touch_namespace(index, &name.namespace, touched);
        }
    }

    fn names(index: &Index, namespace: Option<&str>) -> Vec<Name> {
        within(index.accounts.iter(), namespace)
    }
}

/// All of a namespace that needs workers.
fn touch_namespace(index: &Index, namespace: &str, touched: &mut Vec<Key>) {
    let kinds = [
        (Kind::CrmSource, index.sources.names(Some(namespace))),
        (Kind::CdpSink, index.sinks.names(Some(namespace))),
        (Kind::SyncPipeline, index.pipelines.names(Some(namespace))),
    ];
    for (kind, names) in kinds {
        touched.extend(names.into_iter().map(|name| Key::new(kind, name)));
    }
}

impl Watched for PartialObjectMeta<PersistentVolumeClaim> {
    fn selection() -> watcher::Config {
        ours()
    }

    fn put(self, index: &mut Index, touched: &mut Vec<Key>) {
        let name = Name::of(&self);
        let mut metadata = self.metadata;
        metadata.managed_fields = None;
        metadata.annotations = None;
        touched.extend(light::owner(&metadata).map(|(owner, _)| owner));
        index.claims.insert(name, Arc::new(metadata));
    }

    fn remove(name: &Name, index: &mut Index, touched: &mut Vec<Key>) {
        let gone = index.claims.remove(name);
        touched.extend(
            gone.and_then(|metadata| light::owner(&metadata))
                .map(|(owner, _)| owner),
        );
    }

    fn names(index: &Index, namespace: Option<&str>) -> Vec<Name> {
        within(index.claims.keys(), namespace)
    }
}

fn within<'a>(names: impl Iterator<Item = &'a Name>, namespace: Option<&str>) -> Vec<Name> {
    names
        .filter(|name| namespace.is_none_or(|namespace| name.namespace == namespace))
        .cloned()
        .collect()
}
