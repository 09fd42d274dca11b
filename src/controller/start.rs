//! Starts the operator: leader election, the server, and a controller a kind.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::Action;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::act::{ActError, Context};
use super::jobs::{MANAGED_BY, PIPELINE_LABEL, SINK_LABEL, SOURCE_LABEL, WorkerImage};
use super::leader::{Candidate, Leadership, Term};
use super::metrics::Metrics;
use super::{mapping, names, pipeline, server, sink, source};
use crate::api::common::exit;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use crate::cluster;

/// How long the API server may take to answer; a watch is answered bit by bit, so this bounds its silence too.
const API_TIMEOUT: Duration = Duration::from_secs(300);
/// How soon a reconcile that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long what is under way at the end may take before the lead is given up: another is to lead within two seconds.
const DRAIN: Duration = Duration::from_millis(500);
/// The Lease's name.
const LEASE_NAME: &str = "ferrygate-controller";

/// How the controller is run. The chart sets these.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// A namespace to serve; may be repeated. All of them where none is named.
    #[arg(long = "namespace")]
    namespaces: Vec<String>,
    /// The image of the workers.
    #[arg(long)]
    worker_image: String,
    /// When the kubelet pulls it.
    #[arg(long, default_value = "IfNotPresent")]
    worker_image_pull_policy: String,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// The namespace of the Lease; without it, this process leads without asking.
    #[arg(long, env = "POD_NAMESPACE")]
    lease_namespace: Option<String>,
    /// This process's name among the candidates.
    #[arg(long, env = "POD_NAME", default_value = "ferrygate-controller")]
    identity: String,
}

/// Runs the controller until `shutdown`, or until it no longer leads, and returns the process's exit code.
pub async fn run(options: Options, shutdown: CancellationToken) -> i32 {
    match started(options, shutdown).await {
        Ok(()) => 0,
        Err(error) => {
            error!(%error, "the controller could not start; it needs a kubeconfig or a pod's ServiceAccount");
            exit::OUTAGE
        }
    }
}

async fn started(options: Options, shutdown: CancellationToken) -> Result<(), kube::Error> {
    let client = cluster::client(API_TIMEOUT).await?;
    let metrics = Arc::new(Metrics::new());
    let stop = shutdown.child_token();
    let served = tokio::spawn(server::serve(options.metrics_address, metrics.clone(), stop.clone()));

    let leadership = match options.lease_namespace.as_deref() {
        None => None,
        Some(namespace) => {
            let rng = fastrand::Rng::new();
            let mut candidate = Candidate::new(client.clone(), namespace, LEASE_NAME, &options.identity, rng);
            match candidate.lead(&shutdown).await {
                None => return Ok(()),
                leadership => leadership,
            }
        }
    };
    metrics.leads(true);
    let context = Arc::new(Context {
        client: client.clone(),
        recorder: Recorder::new(
            client.clone(),
            Reporter {
                controller: "ferrygate".to_owned(),
                instance: Some(options.identity.clone()),
            },
        ),
        worker: WorkerImage {
            image: options.worker_image,
            pull_policy: options.worker_image_pull_policy,
        },
        metrics: metrics.clone(),
    });
    let scopes = if options.namespaces.is_empty() {
        vec![None]
    } else {
        options.namespaces.into_iter().map(Some).collect()
    };
    let term = leadership.as_ref().map_or_else(Term::endless, Leadership::term);
    let controllers: FuturesUnordered<_> = scopes
        .iter()
        .map(|scope| serve_scope(scope.as_deref(), context.clone(), term.clone(), stop.clone()))
        .collect();
    let controllers = controllers.collect::<Vec<()>>();
    match leadership {
        None => {
            controllers.await;
        }
        Some(mut leadership) => {
            let drained = async {
                shutdown.cancelled().await;
                sleep(DRAIN).await;
            };
            // One that can't renew ends at once, before another may begin: nothing that is under way here is waited for.
            tokio::select! {
                _ = controllers => {}
                () = drained => {}
                () = leadership.hold() => {}
            }
            leadership.release().await;
        }
    }
    metrics.leads(false);
    stop.cancel();
    let _ = served.await;
    Ok(())
}

fn scoped<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Runs the four controllers over a namespace, or over all.
async fn serve_scope(scope: Option<&str>, context: Arc<Context>, term: Term, stop: CancellationToken) {
    let client = &context.client;
    let all = watcher::Config::default;
    let ours = watcher::Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));

    let pipelines = Controller::new(scoped::<SyncPipeline>(client, scope), all());
    let store = pipelines.store();
    context.metrics.watch(store.clone());
    let by_source = referring(&store, |pipeline, source: &CrmSource| {
        pipeline.spec.source_ref.name == source.name_any()
    });
    let by_sink = referring(&store, |pipeline, sink: &CdpSink| {
        pipeline.spec.sink_ref.name == sink.name_any()
    });
    let by_mapping = referring(&store, |pipeline, mapping: &MappingVersion| {
        pipeline.spec.mapping_ref.name == mapping.spec.mapping
    });
    let pipelines = pipelines
        .owns(scoped::<Job>(client, scope), ours.clone())
        .watches(
            scoped::<Pod>(client, scope),
            ours.clone(),
            labelled(&store, PIPELINE_LABEL),
        )
        .watches(scoped::<CrmSource>(client, scope), all(), by_source)
        .watches(scoped::<CdpSink>(client, scope), all(), by_sink)
        .watches(scoped::<MappingVersion>(client, scope), all(), by_mapping);

    let sources = Controller::new(scoped::<CrmSource>(client, scope), all());
    let source_pods = labelled(&sources.store(), SOURCE_LABEL);
    let sources = sources
        .owns(scoped::<Job>(client, scope), ours.clone())
        .watches(scoped::<Pod>(client, scope), ours.clone(), source_pods)
        .watches(scoped::<SyncPipeline>(client, scope), all(), |pipeline| {
            let namespace = pipeline.namespace().unwrap_or_default();
            Some(ObjectRef::new(&pipeline.spec.source_ref.name).within(&namespace))
        });

    let sinks = Controller::new(scoped::<CdpSink>(client, scope), all());
    let sink_pods = labelled(&sinks.store(), SINK_LABEL);
    let sinks =
        sinks
            .owns(scoped::<Job>(client, scope), ours.clone())
            .watches(scoped::<Pod>(client, scope), ours, sink_pods);

    let mappings = Controller::new(scoped::<MappingVersion>(client, scope), all());
    let versions = mappings.store();
    let mappings = mappings.watches(
        scoped::<SyncPipeline>(client, scope),
        all(),
        move |pipeline: SyncPipeline| {
            let same = move |mapping: &Arc<MappingVersion>| {
                mapping.namespace() == pipeline.namespace() && mapping.spec.mapping == pipeline.spec.mapping_ref.name
            };
            versions
                .state()
                .into_iter()
                .filter(same)
                .map(|mapping| ObjectRef::from_obj(&*mapping))
                .collect::<Vec<_>>()
        },
    );

    tokio::join!(
        drive("SyncPipeline", pipelines, pipeline::reconcile, &context, &term, &stop),
        drive("CrmSource", sources, source::reconcile, &context, &term, &stop),
        drive("CdpSink", sinks, sink::reconcile, &context, &term, &stop),
        drive("MappingVersion", mappings, mapping::reconcile, &context, &term, &stop),
    );
}

/// The pipelines of a cache that refer to a resource.
fn referring<K, F>(store: &Store<SyncPipeline>, refers: F) -> impl Fn(K) -> Vec<ObjectRef<SyncPipeline>> + use<K, F>
where
    K: Resource<DynamicType = ()>,
    F: Fn(&SyncPipeline, &K) -> bool,
{
    let store = store.clone();
    move |resource| {
        let same =
            |pipeline: &Arc<SyncPipeline>| pipeline.namespace() == resource.namespace() && refers(pipeline, &resource);
        store
            .state()
            .into_iter()
            .filter(same)
            .map(|pipeline| ObjectRef::from_obj(&*pipeline))
            .collect()
    }
}

/// The resources of a cache that a Pod's label names.
fn labelled<K>(store: &Store<K>, label: &'static str) -> impl Fn(Pod) -> Vec<ObjectRef<K>> + use<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let store = store.clone();
    move |pod| {
        let Some(value) = pod.labels().get(label) else {
            return Vec::new();
        };
        let same = |one: &Arc<K>| one.namespace() == pod.namespace() && names::label(&one.name_any()) == *value;
        store
            .state()
            .into_iter()
            .filter(same)
            .map(|one| ObjectRef::from_obj(&*one))
            .collect()
    }
}

async fn drive<K, R, F>(
    kind: &'static str,
    controller: Controller<K>,
    reconcile: R,
    context: &Arc<Context>,
    term: &Term,
    stop: &CancellationToken,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
    R: Fn(Arc<K>, Arc<Context>) -> F + Clone,
    F: Future<Output = Result<Action, ActError>> + Send + 'static,
{
    let measured = |resource: Arc<K>, context: Arc<Context>| {
        let (started, metrics) = (Instant::now(), context.metrics.clone());
        let work = reconcile(resource, context);
        let term = term.clone();
        async move {
            if !term.is_current() {
                return Ok(Action::requeue(RETRY));
            }
            let done = work.await;
            metrics.reconciled(kind, done.is_ok(), started.elapsed());
            done
        }
    };
    let failed = |resource: Arc<K>, error: &ActError, _: Arc<Context>| {
        if !error.is_moot() {
            warn!(kind, namespace = resource.namespace(), name = resource.name_any(), %error, "a reconcile failed");
        }
        Action::requeue(RETRY)
    };
    controller
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(measured, failed, context.clone())
        .for_each(|ended| async move {
            if let Err(error) = ended {
                log_queue_error(kind, &error);
            }
        })
        .await;
    info!(kind, "stopped");
}

fn log_queue_error(kind: &str, error: &dyn Display) {
    tracing::debug!(kind, %error, "the queue");
}

/// Decide again at an instant, or when something changes.
pub fn wake_at(wake: Option<Timestamp>, now: Timestamp) -> Action {
    match wake {
        None => Action::await_change(),
        // A moment past it, so that the decision finds it passed.
        Some(wake) => {
            let left = Duration::try_from(wake.duration_since(now)).unwrap_or_default();
            Action::requeue(left + Duration::from_millis(5))
        }
    }
}
