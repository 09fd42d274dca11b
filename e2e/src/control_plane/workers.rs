//! Jobs come to an end as if a node ran them: the worker's report is written into the status by the worker's own code, then the
//! Job is complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ferrygate::{
    api::{
        CdpSink, CrmSource, SyncPipeline,
        common::Outcome,
        sync_pipeline::{Counts, Reconciliation},
    },
    worker::{RunResult, publish::StreamStatusWriter},
};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::ControlPlane;

/// What every Job of Ferrygate's carries.
const OURS: &str = "app.kubernetes.io/managed-by=ferrygate";
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// How many records a run reads.
const RECORDS: i64 = 10;

/// Which Jobs come to an end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Only probes; runs go on for ever.
    Probes,
    /// Probes and runs.
    All,
}

/// A run whose Job was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The pipeline's namespace.
    pub namespace: String,
    /// The pipeline.
    pub pipeline: String,
    /// The stream.
    pub stream: String,
    /// The instant of the schedule.
    pub slot: Timestamp,
    /// The Job's name.
    pub name: String,
}

/// Simulated nodes, at work until they are dropped, through any outage of the API server.
pub struct Workers {
    tasks: [JoinHandle<()>; 2],
    seen: Arc<Mutex<BTreeMap<String, Run>>>,
}

impl Workers {
    /// Begins to work, as the control plane is now.
    pub fn start(plane: &ControlPlane, ends: Ends) -> Self {
        let seen = Arc::default();
        let tasks = [
            tokio::spawn(work(Node::of(plane), ends, Arc::clone(&seen))),
            tokio::spawn(terminate(plane.client())),
        ];
        Self { tasks, seen }
    }

    /// Every Job of a run that was ever there: one that was deleted and made again counts twice.
    pub fn runs(&self) -> Vec<Run> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values().cloned().collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn work(node: Node, ends: Ends, seen: Arc<Mutex<BTreeMap<String, Run>>>) {
    let jobs = Api::<Job>::all(node.client.clone());
    let mut events = Box::pin(watcher(jobs, watcher::Config::default().labels(OURS)));
    let mut begun = JoinSet::new();
    let mut known = BTreeSet::new();
    while let Some(event) = events.next().await {
        let job = match event {
            Ok(watcher::Event::Apply(job) | watcher::Event::InitApply(job)) => job,
            Ok(_) => continue,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let uid = job.uid().unwrap_or_default();
        if !known.insert(uid.clone()) {
            continue;
        }
        let run = run_of(&job);
        let is_run = run.is_ok();
        if let Ok(run) = run {
            seen.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, run);
        }
        if ends == Ends::All || !is_run {
            let node = node.clone();
            begun.spawn(async move { node.until_ended(&job).await });
        }
    }
}

/// Pods that are to end do so at once, as a kubelet tells: a Job with a `podFailurePolicy` holds them until it is told, and a
/// namespace holds all else until they are gone.
async fn terminate(client: Client) {
    let mut events = Box::pin(watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()));
    while let Some(event) = events.next().await {
        let pod = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => pod,
            Ok(_) => continue,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if pod.metadata.deletion_timestamp.is_some() && !matches!(phase, Some("Succeeded" | "Failed")) {
            let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            let status = Patch::Merge(json!({"status": {"phase": "Failed"}}));
            // One that is gone meanwhile need not be told of.
            let _ = pods
                .patch_status(&pod.name_any(), &PatchParams::default(), &status)
                .await;
        }
    }
}

fn run_of(job: &Job) -> Result<Run> {
    let words = words(job)?;
    let slot = job.annotations().get("ferrygate.io/slot-time").context("no slot")?;
    Ok(Run {
        namespace: job.namespace().unwrap_or_default(),
        pipeline: flag(&words, "--pipeline")?.to_owned(),
        stream: flag(&words, "--stream")?.to_owned(),
        slot: slot.parse()?,
        name: job.name_any(),
    })
}

/// Ends a Job well, and reports so.
///
/// # Errors
/// When the report or the Job's end is not taken; all of it may be tried again.
pub async fn end(plane: &ControlPlane, job: &Job) -> Result<()> {
    Node::of(plane).end(job).await
}

/// What would run a Job's pod.
#[derive(Clone)]
struct Node {
    client: Client,
    /// A Job ends by its pods, of which Kubernetes' own controller makes one.
    has_pods: bool,
}

impl Node {
    fn of(plane: &ControlPlane) -> Self {
        Self {
            client: plane.client(),
            has_pods: plane.has_pods(),
        }
    }

    async fn until_ended(&self, job: &Job) {
        while let Err(error) = self.end(job).await {
            if matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 404) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn end(&self, job: &Job) -> Result<()> {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &job.namespace().unwrap_or_default());
        let job = jobs.get(&job.name_any()).await?;
        if job
            .status
            .as_ref()
            .is_some_and(|status| status.completion_time.is_some())
        {
            return Ok(());
        }
        let words = words(&job)?;
        match words.get(1).map(String::as_str) {
            Some("sync") => report_run(&self.client, &job, &words).await?,
            Some("probe") => report_probe(&self.client, &job, &words).await?,
            other => bail!("a worker that does {other:?}"),
        }
        if self.has_pods {
            self.end_pod(&job).await
        } else {
            complete(&jobs, &job).await
        }
    }

    async fn end_pod(&self, job: &Job) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &job.namespace().unwrap_or_default());
        let labelled = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", job.name_any()));
        let pod = pods.list(&labelled).await?.items.pop().context("a pod")?;
        let status = json!({"status": {"phase": "Succeeded"}});
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(())
    }
}

async fn complete(jobs: &Api<Job>, job: &Job) -> Result<()> {
    let now = Time(Timestamp::now());
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "CompletionsReached", "message": "", "lastTransitionTime": now});
    let status = json!({"status": {
        "startTime": now,
        "completionTime": now,
        "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    jobs.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

async fn report_run(client: &Client, job: &Job, words: &[String]) -> Result<()> {
    let pipelines: Api<SyncPipeline> = Api::namespaced(client.clone(), flag(words, "--namespace")?);
    let writer = StreamStatusWriter::new(
        pipelines,
        flag(words, "--pipeline")?,
        flag(words, "--stream")?,
        flag(words, "--run")?,
    );
    let now = Timestamp::now();
    let result = RunResult {
        outcome: Outcome::Succeeded,
        message: format!("read {RECORDS} records"),
        counts: Counts {
            read: RECORDS,
            delivered: RECORDS,
            ..Counts::default()
        },
        watermark: None,
        complete_as_of: Some(now),
        dead_letters: 0,
        erasures: None,
        schema: None,
        fill: None,
        reconciliation: Some(Reconciliation {
            source_count: RECORDS,
            delivered_count: RECORDS,
            changed_meanwhile: 0,
            time: Time(now),
        }),
        parked_until: None,
    };
    // A run that was superseded ends without a report.
    if writer.report(&result).await.is_err() {
        bail!("{} was superseded", job.name_any());
    }
    Ok(())
}

async fn report_probe(client: &Client, job: &Job, words: &[String]) -> Result<()> {
    let namespace = flag(words, "--namespace")?;
    let run = job.name_any();
    let probe = json!({
        "run": run,
        "observedGeneration": flag(words, "--generation")?.parse::<i64>()?,
        "time": Time(Timestamp::now()),
        "outcome": "Succeeded",
        "message": "well",
    });
    let mut operations = vec![
        json!({"op": "test", "path": "/status/activeProbe", "value": run}),
        json!({"op": "add", "path": "/status/probe", "value": probe}),
    ];
    if let Ok(source) = flag(words, "--source") {
        let objects = words.windows(2).filter(|pair| pair[0] == "--object");
        let schema: Vec<_> = objects
            .map(|pair| json!({"object": pair[1], "fields": 5, "hash": "0123456789abcdef"}))
            .collect();
        operations.push(json!({"op": "add", "path": "/status/schema", "value": schema}));
        let sources: Api<CrmSource> = Api::namespaced(client.clone(), namespace);
        let patch = Patch::Json::<CrmSource>(serde_json::from_value(Value::Array(operations))?);
        sources.patch_status(source, &PatchParams::default(), &patch).await?;
    } else {
        let sinks: Api<CdpSink> = Api::namespaced(client.clone(), namespace);
        let patch = Patch::Json::<CdpSink>(serde_json::from_value(Value::Array(operations))?);
        let sink = flag(words, "--sink")?;
        sinks.patch_status(sink, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// The words that a Job's worker is started by.
fn words(job: &Job) -> Result<Vec<String>> {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let container = pod.and_then(|pod| pod.containers.first());
    container
        .and_then(|container| container.args.clone())
        .context("a Job without a worker")
}

fn flag<'a>(words: &'a [String], name: &str) -> Result<&'a str> {
    let at = words.iter().position(|word| word == name);
    let value = at.and_then(|at| words.get(at + 1));
    value
        .map(String::as_str)
        .with_context(|| format!("no {name} in {words:?}"))
}
