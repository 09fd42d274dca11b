//! Performs what was decided: status first, so that a Job is never there without the status that names it.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::info;

use super::cache::Cache;
use super::jobs::WorkerImage;
use super::key::Name;
use super::light::{self, Cause, WatchedJob};
use super::metrics::Metrics;
use super::{claim, names};
use crate::api::SyncPipeline;
use crate::api::conditions::Reason;

/// What every reconcile has at hand.
pub struct Context {
    /// What is known of the cluster.
    pub cache: Cache,
    /// Talks to the API server.
    pub client: Client,
    /// Publishes Events.
    pub recorder: Recorder,
    /// What workers run in.
    pub worker: WorkerImage,
    /// Counts and times what is done.
    pub metrics: Arc<Metrics>,
}

/// Why an action was not performed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The API server refused, or could not be reached.
    #[error("the API server did not do what was asked: {}", in_short(.0))]
    Api(#[from] kube::Error),
    /// The claim for the state is one that goes with a pipeline that was deleted.
    #[error("the claim {0} is of a pipeline of the same name that was deleted, and is about to go")]
    Leaving(String),
    /// Something of that name is there, and is not ours.
    #[error("{kind} {name} is there already and belongs to something else; remove it, or rename the resource")]
    NotOurs {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

impl ActError {
    /// Whether there is nothing to tell: the view was stale and the newer one is on its way, or what was worked for is being
    /// deleted.
    pub fn is_moot(&self) -> bool {
        let ActError::Api(kube::Error::Api(status)) = self else {
            return false;
        };
        let details = || status.details.iter();
        match status.code {
            409 => true,
            // A kind that is not installed is 404 as well, without a name.
            404 => details().any(|details| !details.name.is_empty()),
            _ => details()
                .flat_map(|details| &details.causes)
                .any(|cause| cause.reason == "NamespaceTerminating"),
        }
    }
}

/// A refusal in the API server's own words, without the structure around them.
fn in_short(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}

/// Something that a person must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it needs attention.
    pub warning: bool,
    /// One CamelCase word of the documented list.
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
}

/// Writes the whole status where it differs, under the resource's `resourceVersion`: a stale view is refused and decided anew.
/// Returns the resource as it is after a write.
pub async fn write_status<K, S>(
    context: &Context,
    resource: &K,
    before: Option<&S>,
    after: &S,
) -> Result<Option<K>, ActError>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
    S: Serialize + PartialEq,
{
    if before == Some(after) {
        return Ok(None);
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
    let mut written = api
        .patch_status(&resource.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    written.meta_mut().managed_fields = None;
    Ok(Some(written))
}

/// Whether a view of a resource is the newest one.
pub async fn is_current<K>(context: &Context, resource: &K) -> Result<bool, ActError>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default());
    let newest = api.get_metadata_opt(&resource.name_any()).await?;
    Ok(newest.is_some_and(|newest| newest.resource_version() == resource.resource_version()))
}

/// Creates a Job. One of that name that is ours is the very run that is wanted: nothing is started twice. A refusal is noted, so
/// that the next decision tells it.
pub async fn create_job(context: &Context, job: &Job, owner_uid: Option<&str>) -> Result<(), ActError> {
    let created = try_create_job(context, job, owner_uid).await;
    let refused = match &created {
        Err(error @ ActError::Api(kube::Error::Api(_)) | error @ ActError::NotOurs { .. }) if !error.is_moot() => {
            Some(Cause {
                reason: Reason::JobRefused.as_str().to_owned(),
                message: error.to_string(),
            })
        }
        _ => None,
    };
    context.cache.change(|index| {
        let name = Name::of(job);
        let is_new = (refused.is_some() || created.is_ok()) && index.set_cause(name, refused);
        light::owner(&job.metadata)
            .filter(|_| is_new)
            .map(|(owner, _)| owner)
            .into_iter()
            .collect()
    });
    created
}

async fn try_create_job(context: &Context, job: &Job, owner_uid: Option<&str>) -> Result<(), ActError> {
    let namespace = job.namespace().unwrap_or_default();
    let body = serde_json::to_vec(job).map_err(kube::Error::SerdeError)?;
    let request = Request::new(Job::url_path(&(), Some(&namespace)))
        .create(&PostParams::default(), body)
        .map_err(kube::Error::BuildRequest)?;
    // The answer is as light as what is watched.
    match context.client.request::<WatchedJob>(request).await {
        Ok(created) => {
            info!(job = job.name_any(), "created");
            context.cache.put(created);
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = Api::<WatchedJob>::namespaced(context.client.clone(), &namespace)
                .get(&job.name_any())
                .await?;
            let is_ours = |owner: &OwnerReference| Some(owner.uid.as_str()) == owner_uid;
            if there.owner_references().iter().any(is_ours) {
                context.cache.put(there);
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
///
/// # Errors
/// [`ActError::Leaving`] where the claim of another pipeline of that name, which was deleted, is about to go.
pub async fn create_claim(context: &Context, claim: &PersistentVolumeClaim) -> Result<(), ActError> {
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(context.client.clone(), &claim.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), claim).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api.get_metadata_opt(&claim.name_any()).await?;
            match there {
                Some(there) if claim::is_usable(&there.metadata, claim) => Ok(()),
                _ => Err(ActError::Leaving(claim.name_any())),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Has the claim that holds a pipeline's state go with the pipeline, or stay.
pub async fn patch_claim(
    context: &Context,
    pipeline: &SyncPipeline,
    patch: &json_patch::Patch,
) -> Result<(), ActError> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &namespace);
    let name = names::state_claim(&pipeline.name_any());
    let patch = Patch::<PersistentVolumeClaim>::Json(patch.clone());
    match api.patch(&name, &PatchParams::default(), &patch).await {
        // The claim was changed meanwhile, and is looked at again when that is seen.
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 422) => Ok(()),
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
        reason: notice.reason.to_owned(),
        note: Some(notice.message.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, about).await {
        tracing::warn!(%error, "an Event was not published");
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_told_in_short_unless_it_is_moot() {
        let refused = |status: serde_json::Value| {
            let status: Status = serde_json::from_value(status).unwrap();
            ActError::from(kube::Error::Api(status.boxed()))
        };
        let forbidden =
            refused(json!({"code": 403, "reason": "Forbidden", "message": "jobs.batch is forbidden: quota"}));
        assert_eq!(
            (forbidden.is_moot(), forbidden.to_string().as_str()),
            (
                false,
                "the API server did not do what was asked: jobs.batch is forbidden: quota (403)"
            )
        );
        let terminating = json!({"code": 403, "details": {"causes": [{"reason": "NamespaceTerminating"}]}});
        let gone = json!({"code": 404, "details": {"name": "customers"}});
        for status in [terminating, gone, json!({"code": 409})] {
            assert!(refused(status.clone()).is_moot(), "{status}");
        }
        assert!(!refused(json!({"code": 404, "message": "page not found"})).is_moot());
    }
}
