//! Starts the operator: the watches, the server, leader election, and a work queue a kind.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::events::{Recorder, Reporter};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info_span, warn};

use super::act::{ActError, Context};
use super::cache::{Cache, Index};
use super::jobs::WorkerImage;
use super::key::{Key, Kind};
use super::leader::{Candidate, Leadership, Term};
use super::light::{WatchedJob, WatchedPod};
use super::metrics::Metrics;
use super::queue::{Ended, work};
use super::watch::{Synced, Watches};
use super::{calls, mapping, pipeline, server, sink, source, undecodable};
use crate::api::common::exit;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use crate::cluster;

/// How long a watch may be silent. It is asked for anew before that.
const SILENCE: Duration = Duration::from_secs(60);
/// How long what is under way at the end may take before the lead is given up: another is to lead within two seconds.
const DRAIN: Duration = Duration::from_millis(500);
/// How long a start waits for the Pods.
const PODS_WITHIN: Duration = Duration::from_secs(2);
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

/// Runs the controller until `shutdown`, and returns the process's exit code.
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
    let (touched, keys) = mpsc::unbounded();
    let cache = Cache::new(touched);
    let mut metrics = Metrics::new();
    metrics.watch(cache.clone());
    let metrics = Arc::new(metrics);

    // Whoever stands by has a warm cache as well.
    let namespaces = match options.namespaces {
        none if none.is_empty() => vec![None],
        these => these.into_iter().map(Some).collect(),
    };
    let watching = cluster::client(SILENCE).await?;
    let mut watches = Watches::new(watching, cache.clone(), metrics.clone(), namespaces);
    let needs = Needs::watch(&mut watches);
    let stop = shutdown.child_token();
    let served = server::serve(options.metrics_address, metrics.clone(), needs.all(), stop.clone());
    let served = tokio::spawn(served);

    let config = cluster::config(cluster::ANSWER).await?;
    let asking = calls::client(config.clone(), metrics.clone(), Term::endless())?;
    let candidate = options
        .lease_namespace
        .as_deref()
        .map(|namespace| Candidate::new(asking, namespace, LEASE_NAME, &options.identity, fastrand::Rng::new()));
    let process = Process {
        config,
        cache,
        metrics,
        worker: WorkerImage {
            image: options.worker_image,
            pull_policy: options.worker_image_pull_policy,
        },
        identity: options.identity,
        needs,
    };
    let led = process.lead(candidate, keys, &shutdown).await;
    stop.cancel();
    let _ = served.await;
    led
}

/// What stays from one term to the next.
struct Process {
    config: kube::Config,
    cache: Cache,
    metrics: Arc<Metrics>,
    worker: WorkerImage,
    identity: String,
    needs: Needs,
}

impl Process {
    /// Leads whenever it may, until `shutdown`. A lead that was lost, as in an outage of the API server, is sought again.
    async fn lead(
        &self,
        mut candidate: Option<Candidate>,
        mut keys: UnboundedReceiver<Key>,
        shutdown: &CancellationToken,
    ) -> Result<(), kube::Error> {
        while !shutdown.is_cancelled() {
            let leadership = match &mut candidate {
                None => None,
                Some(candidate) => {
                    // Whoever stands by has nothing to do with what is touched.
                    let dropped = keys.by_ref().for_each(|_| std::future::ready(()));
                    let leadership = tokio::select! {
                        leadership = candidate.lead(shutdown) => leadership,
                        () = dropped => None,
                    };
                    if leadership.is_none() {
                        return Ok(());
                    }
                    leadership
                }
            };
            self.metrics.leads(true);
            let term = leadership.as_ref().map_or_else(Term::endless, Leadership::term);
            let context = self.context(term)?;
            self.cache.change(Index::begin_term);
            let work = queues(context, &self.needs, keys.by_ref().take_until(shutdown.cancelled()));
            let drained = async {
                shutdown.cancelled().await;
                sleep(DRAIN).await;
            };
            match leadership {
                None => tokio::select! {
                    () = work => {}
                    () = drained => {}
                },
                Some(mut leadership) => {
                    // What is under way is not waited for where the lead is lost: another may begin.
                    tokio::select! {
                        () = work => {}
                        () = drained => {}
                        () = leadership.hold() => {}
                    }
                    leadership.release().await;
                }
            }
            self.metrics.leads(false);
        }
        Ok(())
    }

    /// What reconciles of a term have at hand.
    fn context(&self, term: Term) -> Result<Arc<Context>, kube::Error> {
        let client = calls::client(self.config.clone(), self.metrics.clone(), term)?;
        let reporter = Reporter {
            controller: "ferrygate".to_owned(),
            instance: Some(self.identity.clone()),
        };
        Ok(Arc::new(Context {
            cache: self.cache.clone(),
            recorder: Recorder::new(client.clone(), reporter),
            client,
            worker: self.worker.clone(),
            metrics: self.metrics.clone(),
        }))
    }
}

/// What the cache must hold before a kind is reconciled: a watch that is not permitted holds up only what needs it.
struct Needs {
    sources: Synced,
    sinks: Synced,
    mappings: Synced,
    pipelines: Synced,
    jobs: Synced,
    pods: Synced,
    accounts: Synced,
    claims: Synced,
}

impl Needs {
    fn watch(watches: &mut Watches) -> Needs {
        Needs {
            sources: watches.watch::<DeserializeGuard<CrmSource>>(),
            sinks: watches.watch::<DeserializeGuard<CdpSink>>(),
            mappings: watches.watch::<DeserializeGuard<MappingVersion>>(),
            pipelines: watches.watch::<DeserializeGuard<SyncPipeline>>(),
            jobs: watches.watch::<WatchedJob>(),
            pods: watches.watch::<WatchedPod>(),
            accounts: watches.watch::<PartialObjectMeta<ServiceAccount>>(),
            claims: watches.watch::<PartialObjectMeta<PersistentVolumeClaim>>(),
        }
    }

    fn all(&self) -> Vec<Synced> {
        let pods = std::iter::once(self.pods.clone());
        self.of(Kind::SyncPipeline).into_iter().chain(pods).collect()
    }

    /// Waits for what a kind needs, and a moment for Pods: they tell more of a run that failed, and nothing rests on them.
    async fn wait(&self, kind: Kind) {
        for need in self.of(kind) {
            need.wait().await;
        }
        let _ = timeout(PODS_WITHIN, self.pods.wait()).await;
    }

    fn of(&self, kind: Kind) -> Vec<Synced> {
        let needs = match kind {
            Kind::CrmSource => vec![&self.sources, &self.pipelines, &self.jobs, &self.accounts],
            Kind::CdpSink => vec![&self.sinks, &self.jobs, &self.accounts],
            Kind::MappingVersion => vec![&self.mappings, &self.pipelines],
            Kind::SyncPipeline => vec![
                &self.sources,
                &self.sinks,
                &self.mappings,
                &self.pipelines,
                &self.jobs,
                &self.accounts,
                &self.claims,
            ],
        };
        needs.into_iter().cloned().collect()
    }
}

/// Works on what is touched, a queue a kind.
async fn queues(context: Arc<Context>, needs: &Needs, keys: impl Stream<Item = Key>) {
    let (senders, queues): (Vec<_>, Vec<_>) = Kind::ALL
        .into_iter()
        .map(|kind| {
            let (sender, keys) = mpsc::unbounded();
            ((kind, sender), queue(kind, context.clone(), needs, keys))
        })
        .unzip();
    tokio::join!(distribute(keys, senders), futures::future::join_all(queues));
}

async fn distribute(keys: impl Stream<Item = Key>, queues: Vec<(Kind, UnboundedSender<Key>)>) {
    let mut keys = pin!(keys);
    while let Some(key) = keys.next().await {
        if let Some((_, queue)) = queues.iter().find(|(kind, _)| *kind == key.kind) {
            let _ = queue.unbounded_send(key);
        }
    }
}

async fn queue(kind: Kind, context: Arc<Context>, needs: &Needs, keys: UnboundedReceiver<Key>) {
    needs.wait(kind).await;
    let reconcile = |key: Key| {
        let span = info_span!(
            "reconcile",
            kind = kind.as_str(),
            namespace = key.name.namespace,
            name = key.name.name
        );
        measured(key, context.clone()).instrument(span)
    };
    let depth = |depth| context.metrics.queued(kind.as_str(), depth);
    work(keys, reconcile, depth).await;
}

async fn measured(key: Key, context: Arc<Context>) -> Ended {
    let started = Instant::now();
    let done = reconcile(&key, &context).await;
    context
        .metrics
        .reconciled(key.kind.as_str(), done.is_ok(), started.elapsed());
    match done {
        Ok(wake) => Ended::Well(wake.map(pause)),
        Err(error) => {
            if !error.is_moot() {
                warn!(%error, "a reconcile failed");
            }
            Ended::Failed
        }
    }
}

async fn reconcile(key: &Key, context: &Context) -> Result<Option<Timestamp>, ActError> {
    let (name, now) = (&key.name, Timestamp::now());
    let undecodable = {
        let index = context.cache.lock();
        let error = match key.kind {
            Kind::CrmSource => index.sources().undecodable(name),
            Kind::CdpSink => index.sinks().undecodable(name),
            Kind::MappingVersion => index.mappings().undecodable(name),
            Kind::SyncPipeline => index.pipelines().undecodable(name),
        };
        error.map(str::to_owned)
    };
    if let Some(error) = undecodable {
        let reported = match key.kind {
            Kind::CrmSource => undecodable::report::<CrmSource>(name, &error, context, now).await,
            Kind::CdpSink => undecodable::report::<CdpSink>(name, &error, context, now).await,
            Kind::MappingVersion => undecodable::report::<MappingVersion>(name, &error, context, now).await,
            Kind::SyncPipeline => undecodable::report::<SyncPipeline>(name, &error, context, now).await,
        };
        return reported.map(|()| None);
    }
    match key.kind {
        Kind::CrmSource => source::reconcile(name, context, now).await,
        Kind::CdpSink => sink::reconcile(name, context, now).await,
        Kind::MappingVersion => mapping::reconcile(name, context, now).await,
        Kind::SyncPipeline => pipeline::reconcile(name, context, now).await,
    }
}

/// How long until an instant, and a moment more, so that the next decision finds it passed.
fn pause(wake: Timestamp) -> Duration {
    let left = Duration::try_from(wake.duration_since(Timestamp::now())).unwrap_or_default();
    left + Duration::from_millis(5)
}
