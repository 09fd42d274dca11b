//! The operator's faults, each on a control plane of its own that may be broken: no node, no pod, the real API server.
//!
//! `OUTAGE_SECONDS=600 cargo test -p ferrygate-e2e --test faults outage` takes the API server away for ten minutes.

mod api_server_gone;
mod deletion;
mod forbidden;
mod history_gone;
mod leaders;
#[path = "../operator/manifests.rs"]
#[allow(dead_code, reason = "the operator's tests use more of it")]
mod manifests;
mod namespaced;
mod status_wiped;
mod undecodable;

use std::time::Duration;

use anyhow::Result;
use ferrygate::api::{SyncPipeline, SyncPipelineStatus};
use ferrygate_e2e::cluster::{command::run, until::until};
use ferrygate_e2e::control_plane::{ControlPlane, chart, controller::Controller};
use ferrygate_e2e::operator::{NAMESPACE, checkout};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

/// For what takes a moment, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane with the chart in it, and a namespace with all that a pipeline refers to.
async fn control_plane(namespace: &str) -> Result<ControlPlane> {
    let plane = ControlPlane::start().await?;
    chart::install(&plane, &[]).await?;
    tenant(&plane, namespace).await?;
    Ok(plane)
}

/// A controller with the rights that the chart gives it.
async fn controller(plane: &ControlPlane, name: &str, more: &[&str]) -> Result<Controller> {
    let kubeconfig = plane.kubeconfig_of(NAMESPACE, chart::ACCOUNT).await?;
    Controller::start(plane, name, &kubeconfig, more).await
}

/// A namespace with the workers' ServiceAccount, a source, a sink and a mapping.
async fn tenant(plane: &ControlPlane, namespace: &str) -> Result<()> {
    plane.namespace(namespace).await?;
    let mut kubectl = plane.kubectl();
    run(kubectl
        .args(["apply", "-n", namespace, "-k"])
        .arg(checkout().join("config/tenant")))
    .await?;
    let mut source = manifests::source("org");
    // Nobody waits for a place here.
    source["spec"]["maxConcurrentRuns"] = json!(1000);
    let referred = vec![source, manifests::sink("workspace"), manifests::mapping("contact")];
    plane.apply(namespace, &manifests::list(referred)).await
}

/// A pipeline of that name, with everything that the tenant has, and a schedule.
fn pipeline(name: &str, schedule: Value) -> Value {
    let mut pipeline = manifests::pipeline(name, "org", "workspace", "contact", "6h");
    pipeline["spec"]["streams"][0]["schedule"] = schedule;
    pipeline
}

fn pipelines(plane: &ControlPlane, namespace: &str) -> Api<SyncPipeline> {
    Api::namespaced(plane.client(), namespace)
}

/// The Jobs of a pipeline's runs.
async fn jobs_of(plane: &ControlPlane, namespace: &str, pipeline: &str) -> Result<Vec<Job>> {
    let labelled = ListParams::default().labels(&format!("ferrygate.io/pipeline={pipeline}"));
    let jobs: Api<Job> = Api::namespaced(plane.client(), namespace);
    Ok(jobs.list(&labelled).await?.items)
}

/// Waits until the pipeline's status is as `wanted`, and returns it; in vain, the error has the status as it was last.
async fn until_status(
    api: &Api<SyncPipeline>,
    name: &str,
    patience: Duration,
    what: &str,
    wanted: impl Fn(&SyncPipelineStatus) -> bool,
) -> Result<SyncPipelineStatus> {
    let found = until(patience, what, async || {
        Ok(api.get(name).await?.status.filter(|status| wanted(status)))
    });
    match found.await {
        Ok(status) => Ok(status),
        Err(error) => {
            let last = json!(api.get(name).await.map(|pipeline| pipeline.status).ok());
            Err(error.context(format!("the status of {name} was {last:#}")))
        }
    }
}

/// Whether the first stream has had a run that succeeded, and has none under way.
fn has_run(status: &SyncPipelineStatus) -> bool {
    let stream = status.streams.first();
    stream.is_some_and(|stream| stream.last_success_time.is_some() && stream.active_run.is_none())
}

/// Whether the first stream has a run under way.
fn is_running(status: &SyncPipelineStatus) -> bool {
    status.streams.first().is_some_and(|stream| stream.active_run.is_some())
}

fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Asks for a run of each stream, beside the schedule.
async fn run_now(api: &Api<SyncPipeline>, name: &str, request: &str) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {"ferrygate.io/run-now": request}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// The notes of the Events of a reason about a resource, each once however often it was counted.
async fn events(plane: &ControlPlane, namespace: &str, about: &str, reason: &str) -> Result<Vec<String>> {
    use k8s_openapi::api::events::v1::Event;
    let events: Api<Event> = Api::namespaced(plane.client(), namespace);
    let events = events.list(&ListParams::default()).await?.items.into_iter();
    let about = events.filter(|event| {
        let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
        regarding == Some(about) && event.reason.as_deref() == Some(reason)
    });
    Ok(about.filter_map(|event| event.note).collect())
}
