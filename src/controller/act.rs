//! Performs what was decided: status first, so that a Job is never there without the status that names it.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::info;

use super::jobs::WorkerImage;

/// What every reconcile has at hand.
pub struct Context {
    /// Talks to the API server.
    pub client: Client,
    /// Publishes Events.
    pub recorder: Recorder,
    /// What workers run in.
    pub worker: WorkerImage,
    /// Counts and times reconciles.
    pub metrics: Arc<super::metrics::Metrics>,
}

/// Why an action was not performed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The API server refused, or could not be reached.
    #[error("the API server did not do what was asked: {0}")]
    Api(#[from] kube::Error),
    /// Something of that name is there, and is not ours.
    #[error("{kind} {name} is there already and belongs to something else; remove it, or rename the resource")]
    NotOurs {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

/// Something that a person must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it needs attention.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: String,
    /// What happened and what to do.
    pub message: String,
}

/// Writes the whole status where it differs, under the resource's `resourceVersion`: a stale view is refused and decided anew.
pub async fn write_status<K, S>(
    context: &Context,
    resource: &K,
    before: Option<&S>,
    after: &S,
) -> Result<bool, ActError>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
    S: Serialize + PartialEq,
{
    if before == Some(after) {
        return Ok(false);
    }
    // A merge patch leaves what it does not name: a field that is gone must be named null.
    let mut status = json!(after);
    if let (Some(fields), Some(was)) = (status.as_object_mut(), json!(before).as_object()) {
        for name in was.keys() {
            fields.entry(name.clone()).or_insert(serde_json::Value::Null);
        }
    }
    let patch = json!({"metadata": {"resourceVersion": resource.resource_version()}, "status": status});
    let api: Api<K> = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    api.patch_status(&resource.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(true)
}

/// Creates a Job. One of that name that is ours is the very run that is wanted: nothing is started twice.
pub async fn create_job(context: &Context, job: &Job, owner_uid: Option<&str>) -> Result<(), ActError> {
    let api: Api<Job> = Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), job).await {
        Ok(_) => {
            info!(job = job.name_any(), "created");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api.get(&job.name_any()).await?;
            if there
                .owner_references()
                .iter()
                .any(|owner| Some(owner.uid.as_str()) == owner_uid)
            {
                Ok(())
            } else {
                Err(ActError::NotOurs {
                    kind: "Job",
                    name: job.name_any(),
                })
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Creates the claim that holds a pipeline's state, where it is not there.
pub async fn create_claim(context: &Context, claim: &PersistentVolumeClaim) -> Result<(), ActError> {
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(context.client.clone(), &claim.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), claim).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a Job and its Pods.
pub async fn delete_job(context: &Context, namespace: &str, name: &str) -> Result<(), ActError> {
    let api: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Publishes an Event about a resource. An Event that could not be published is not worth a failed reconcile.
pub async fn notify(context: &Context, about: &ObjectReference, notice: &Notice) {
    let event = Event {
        type_: if notice.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason.clone(),
        note: Some(notice.message.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, about).await {
        tracing::warn!(%error, "an Event was not published");
    }
}
