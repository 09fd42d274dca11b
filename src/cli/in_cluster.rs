//! A command that needs a pipeline's state, on the cluster: a Job runs it, with the pipeline's volume and with manifests of its own,
//! and its log has the answer, [`sealed`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::core::Duration as KubeDuration;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::sealed;
use crate::api::common::exit;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use crate::controller::errand::{Errand, MANIFESTS, MANIFESTS_FOLDER, STATES_FOLDER, errand_job};
use crate::controller::inquire::last_warning;
use crate::controller::jobs::WorkerImage;
use crate::controller::light::{Cause, JOB_NAME, LightPod, Stage, WatchedPod};

/// By which label the chart's Deployment is known, whatever its release is called.
const CHART: &str = "app.kubernetes.io/name=ferrygate";
/// The flag of the controller that has the workers' image.
const WORKER_IMAGE: &str = "--worker-image=";

/// Where the state of pipelines is: in a folder, or on a cluster.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// The folder with the YAML manifests of the four kinds. Without it, the kubeconfig's cluster is asked: a Job opens the
    /// pipeline's volume.
    #[arg(long)]
    pub files: Option<PathBuf>,
    /// The folder that keeps the state between runs; with --files.
    #[arg(long, default_value = ".ferrygate/state")]
    pub state: PathBuf,
    /// Only this pipeline.
    #[arg(long, required_unless_present = "files")]
    pub pipeline: Option<String>,
    /// Where on the cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Where on a cluster a pipeline is, and what runs beside its state.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// The pipeline's namespace on the cluster; by default the one of the kubeconfig's context.
    #[arg(long, short, conflicts_with = "files")]
    namespace: Option<String>,
    /// The image that the Job runs; by default the one that the controller gives its workers.
    #[arg(long, conflicts_with = "files")]
    image: Option<String>,
    /// How long the Job may take, for example `5m`.
    #[arg(long, default_value = "2m", conflicts_with = "files")]
    timeout: KubeDuration,
}

impl ClusterArgs {
    /// The namespace that is meant.
    pub fn namespace<'n>(&'n self, client: &'n Client) -> &'n str {
        self.namespace.as_deref().unwrap_or(client.default_namespace())
    }
}

/// A question to the state of a pipeline on the cluster.
pub struct Question<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// What it is, in one word of the Job's name.
    pub purpose: &'a str,
    /// The words after `ferrygate`, without those that name the folders and the pipeline; `$(NAME)` stands for a value of `private`.
    pub words: Vec<String>,
    /// Values that no spec and no log may hold, by upper-case names.
    pub private: BTreeMap<String, String>,
}

/// Asks, and waits for the answer.
///
/// # Errors
/// Where there is none: the API server refuses, or the Job has not ended in time.
pub async fn ask(
    client: &Client,
    at: &ClusterArgs,
    question: Question<'_>,
    shutdown: &CancellationToken,
) -> Result<Answer, InClusterError> {
    let pipelines: Api<SyncPipeline> = Api::namespaced(client.clone(), at.namespace(client));
    let pipeline = pipelines.get(question.pipeline).await?;
    let image = match &at.image {
        Some(image) => image.clone(),
        None => image(client).await?,
    };
    let places = [
        "--files",
        MANIFESTS_FOLDER,
        "--state",
        STATES_FOLDER,
        "--pipeline",
        question.pipeline,
    ];
    let mut words = question.words;
    words.extend(places.map(str::to_owned));
    let command = Command {
        pipeline: &pipeline,
        purpose: question.purpose,
        words,
        manifests: manifests(client, &pipeline).await?,
        private: question.private,
    };
    run(client, command, image, at.timeout.into(), shutdown).await
}

/// The pipeline, and what it refers to: all versions of its mapping, since records may have been delivered by any.
async fn manifests(client: &Client, pipeline: &SyncPipeline) -> Result<Vec<Value>, kube::Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let sources: Api<CrmSource> = Api::namespaced(client.clone(), &namespace);
    let sinks: Api<CdpSink> = Api::namespaced(client.clone(), &namespace);
    let versions: Api<MappingVersion> = Api::namespaced(client.clone(), &namespace);
    let everything = ListParams::default();
    let (source, sink, versions) = futures::try_join!(
        sources.get_opt(&pipeline.spec.source_ref.name),
        sinks.get_opt(&pipeline.spec.sink_ref.name),
        versions.list(&everything)
    )?;
    let versions = versions.items.into_iter();
    let versions = versions.filter(|version| version.spec.mapping == pipeline.spec.mapping_ref.name);
    let mut all = vec![manifest(pipeline, &pipeline.spec)];
    all.extend(source.map(|source| manifest(&source, &source.spec)));
    all.extend(sink.map(|sink| manifest(&sink, &sink.spec)));
    all.extend(versions.map(|version| manifest(&version, &version.spec)));
    Ok(all)
}

/// A resource as a folder of manifests has it.
fn manifest<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    resource: &K,
    spec: &impl Serialize,
) -> Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": resource.name_any(), "namespace": resource.namespace()},
        "spec": spec,
    })
}

/// What is run, and for which pipeline.
struct Command<'a> {
    /// The pipeline whose state is mounted.
    pipeline: &'a SyncPipeline,
    /// What it is, in one word of the Job's name.
    purpose: &'a str,
    /// The words after `ferrygate`; `$(NAME)` stands for a value of `private`.
    words: Vec<String>,
    /// The resources that it finds in the folder [`MANIFESTS`].
    manifests: Vec<Value>,
    /// Values that no spec and no log may hold, by upper-case names: a Secret has them for as long as the Job lives.
    private: BTreeMap<String, String>,
}

/// How it ended.
pub struct Answer {
    /// The command's exit code.
    pub exit_code: i32,
    /// What it printed: its answer or, where it failed, what went wrong.
    pub text: String,
}

impl Answer {
    /// Prints it as the command did here: an answer to standard output, what went wrong to standard error.
    pub fn print(&self) {
        if self.exit_code == 0 {
            print!("{}", self.text);
        } else {
            eprint!("{}", self.text);
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum InClusterError {
    /// The API server refused.
    #[error("{}", .0.message)]
    Refused(Box<kube::core::Status>),
    /// It could not be asked.
    #[error("the API server can't be reached: {0}; check the kubeconfig")]
    Unreachable(kube::Error),
    /// It is not known in which image the command is.
    #[error("the controller's Deployment, which tells the image, {0}; name the image by --image")]
    NoImage(&'static str),
    /// The Job has not ended in time.
    #[error("Job {job} has not ended after {} s{}; it was removed. A longer time: --timeout", .after.as_secs(), Because(.cause.as_ref()))]
    TooSlow {
        /// Its name.
        job: String,
        /// How long was waited.
        after: Duration,
        /// What its Pod waits for.
        cause: Option<Cause>,
    },
    /// The Job ended, and nobody knows how.
    #[error("Job {job} ended without an answer{}", Because(.cause.as_ref()))]
    NoAnswer {
        /// Its name.
        job: String,
        /// What the last warning says.
        cause: Option<Cause>,
    },
    /// This machine has no random bytes for a key.
    #[error("the operating system gives no random bytes, without which the answer can't be sealed")]
    NoKey,
    /// The asker gave up.
    #[error("interrupted")]
    Interrupted,
}

impl InClusterError {
    /// The exit code of a process that ends by this.
    pub fn exit_code(&self) -> i32 {
        match self {
            InClusterError::Refused(_) | InClusterError::NoImage(_) => exit::CONFIGURATION,
            InClusterError::Unreachable(_)
            | InClusterError::NoKey
            | InClusterError::TooSlow { .. }
            | InClusterError::NoAnswer { .. }
            | InClusterError::Interrupted => exit::OUTAGE,
        }
    }
}

struct Because<'a>(Option<&'a Cause>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Cause { reason, message }) => write!(formatter, ": {reason}: {message}"),
            None => Ok(()),
        }
    }
}

impl From<kube::Error> for InClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => InClusterError::Refused(status),
            other => InClusterError::Unreachable(other),
        }
    }
}

/// The workers' image, as the controller's Deployment has it.
async fn image(client: &Client) -> Result<String, InClusterError> {
    let deployments: Api<Deployment> = Api::all(client.clone());
    let found = match deployments.list(&ListParams::default().labels(CHART)).await {
        Ok(found) => found.items,
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return Err(InClusterError::NoImage("may not be read by this user"));
        }
        Err(error) => return Err(error.into()),
    };
    let containers = found
        .into_iter()
        .filter_map(|deployment| deployment.spec?.template.spec)
        .flat_map(|pod| pod.containers);
    let mut images = containers
        .flat_map(|container| container.args.unwrap_or_default())
        .filter_map(|word| Some(word.strip_prefix(WORKER_IMAGE)?.to_owned()));
    images.next().ok_or(InClusterError::NoImage("is not there"))
}

/// Runs a command to its end. Whatever happens, nothing of it stays.
async fn run(
    client: &Client,
    mut command: Command<'_>,
    image: String,
    patience: Duration,
    shutdown: &CancellationToken,
) -> Result<Answer, InClusterError> {
    let namespace = command.pipeline.namespace().unwrap_or_default();
    let key = sealed::new_key().ok_or(InClusterError::NoKey)?;
    command.private.insert(sealed::KEY.to_owned(), key.clone());
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let job = jobs.create(&PostParams::default(), &job(&command, image)).await?;
    let name = job.name_any();
    let answer = async {
        // The Job's Pod waits for it, and it goes with the Job.
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        secrets.create(&PostParams::default(), &secret(&command, &job)).await?;
        match tokio::time::timeout(patience, await_condition(jobs.clone(), &name, has_ended())).await {
            Ok(_) => answer(client, &job, &key).await,
            Err(_) => Err(InClusterError::TooSlow {
                job: name.clone(),
                after: patience,
                cause: cause(client, &job).await,
            }),
        }
    };
    let answer = shutdown
        .run_until_cancelled(answer)
        .await
        .unwrap_or(Err(InClusterError::Interrupted));
    let removed = jobs.delete(&name, &DeleteParams::background()).await;
    if let Err(error) = removed {
        tracing::warn!(job = name, %error, "the Job could not be removed; it removes itself");
    }
    answer
}

fn job(command: &Command<'_>, image: String) -> Job {
    let errand = Errand {
        purpose: command.purpose,
        words: &command.words,
        private: &command.private.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        at: Timestamp::now(),
    };
    let worker = WorkerImage {
        image,
        pull_policy: "IfNotPresent".to_owned(),
    };
    errand_job(command.pipeline, &errand, &worker)
}

fn secret(command: &Command<'_>, job: &Job) -> Secret {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": command.manifests});
    let mut values = command.private.clone();
    values.insert(MANIFESTS.to_owned(), list.to_string());
    Secret {
        metadata: kube::api::ObjectMeta {
            name: job.metadata.name.clone(),
            namespace: job.metadata.namespace.clone(),
            owner_references: Some(job.owner_ref(&()).into_iter().collect()),
            ..Default::default()
        },
        string_data: Some(values),
        ..Secret::default()
    }
}

/// Ended, or gone.
fn has_ended() -> impl Condition<Job> {
    |job: Option<&Job>| {
        job.is_none_or(|job| {
            let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let mut ends = conditions.filter(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"));
            ends.any(|condition| condition.status == "True")
        })
    }
}

fn of(job: &Job) -> ListParams {
    ListParams::default().labels(&format!("{}={}", JOB_NAME, job.name_any()))
}

async fn answer(client: &Client, job: &Job, key: &str) -> Result<Answer, InClusterError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    for pod in pods.list(&of(job)).await?.items {
        let statuses = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten());
        let mut ended = statuses.filter_map(|status| status.state.as_ref()?.terminated.as_ref());
        if let Some(ended) = ended.next() {
            let log = pods.logs(&pod.name_any(), &LogParams::default()).await?;
            return Ok(Answer {
                exit_code: ended.exit_code,
                text: sealed::open(key, &log).unwrap_or(log),
            });
        }
    }
    Err(InClusterError::NoAnswer {
        job: job.name_any(),
        cause: cause(client, job).await,
    })
}

/// Why a Job comes to no end, as far as it can be told.
async fn cause(client: &Client, job: &Job) -> Option<Cause> {
    let namespace = job.namespace().unwrap_or_default();
    let pods: Api<WatchedPod> = Api::namespaced(client.clone(), &namespace);
    let pods = pods.list(&of(job)).await.map(|pods| pods.items).unwrap_or_default();
    let pods: Vec<LightPod> = pods.into_iter().map(LightPod::from).collect();
    let waiting = pods.iter().find_map(|pod| match &pod.stage {
        Stage::Waiting(cause) => cause.clone(),
        Stage::Running | Stage::Ended { .. } => None,
    });
    if waiting.is_some() {
        return waiting;
    }
    let uids: Vec<String> = job
        .uid()
        .into_iter()
        .chain(pods.into_iter().map(|pod| pod.uid))
        .collect();
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    last_warning(&events, &uids, &job.name_any()).await.ok().flatten()
}
