//! What is kept of Jobs and Pods: a cluster has many, and most of what each says is not asked for here.
//!
//! [`WatchedJob`] and [`WatchedPod`] are what is decoded of the API server's answers; [`LightJob`] and [`LightPod`] are what
//! stays.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStateWaiting, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Deserializer};

use super::jobs::{EPOCH_ANNOTATION, SLOT_ANNOTATION, STREAM_LABEL};
use super::key::{Key, Kind, Name};
use crate::api::GROUP;
use crate::api::sync_pipeline::ActiveRun;

/// A Job that the controller made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightJob {
    /// Its name, which is the run's or the probe's.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The resource that it was made for, and that one's uid.
    pub owner: Option<(Key, String)>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The stream whose run it is.
    pub stream: Option<String>,
    /// The run's number, and the instant of the schedule that it is for.
    pub run: Option<(i64, Timestamp)>,
    /// How it stands.
    pub standing: Standing,
}

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is under way.
    Active,
    /// It has succeeded.
    Complete,
    /// It has failed.
    Failed {
        /// The reason that Kubernetes gives.
        reason: String,
        /// Its words.
        message: String,
        /// When it failed.
        at: Option<Timestamp>,
    },
}

impl LightJob {
    /// Whether it was made for the resource of that uid.
    pub fn is_of(&self, uid: Option<&str>) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|(_, owner)| Some(owner.as_str()) == uid)
    }

    /// Whether it has not ended.
    pub fn is_active(&self) -> bool {
        self.standing == Standing::Active
    }

    /// The run that it was made for, as its annotations tell; `None` where they don't.
    pub fn as_run(&self) -> Option<ActiveRun> {
        let (epoch, slot) = self.run?;
        Some(ActiveRun {
            name: self.name.clone(),
            epoch,
            slot_time: Time(slot),
            start_time: Time(self.created.unwrap_or(slot)),
            report: None,
        })
    }
}

/// A Job as it is decoded.
#[derive(Clone, Debug, Deserialize)]
pub struct WatchedJob {
    #[serde(deserialize_with = "light_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: WatchedJobStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct WatchedJobStatus {
    #[serde(default)]
    conditions: Vec<WatchedCondition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WatchedCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    last_transition_time: Option<Time>,
}

impl From<WatchedJob> for LightJob {
    fn from(job: WatchedJob) -> LightJob {
        let holds = |kind: &str| {
            let conditions = &job.status.conditions;
            conditions
                .iter()
                .find(|condition| condition.kind == kind && condition.status == "True")
        };
        let standing = if holds("Complete").is_some() {
            Standing::Complete
        } else if let Some(failed) = holds("Failed") {
            Standing::Failed {
                reason: failed.reason.clone(),
                message: failed.message.clone(),
                at: failed.last_transition_time.as_ref().map(|time| time.0),
            }
        } else {
            Standing::Active
        };
        let annotation = |name: &str| job.annotations().get(name);
        let epoch = annotation(EPOCH_ANNOTATION).and_then(|text| text.parse().ok());
        let slot = annotation(SLOT_ANNOTATION).and_then(|text| text.parse().ok());
        LightJob {
            name: job.name_any(),
            uid: job.uid().unwrap_or_default(),
            owner: owner(&job.metadata),
            created: job.creation_timestamp().map(|time| time.0),
            stream: job.labels().get(STREAM_LABEL).cloned(),
            run: epoch.zip(slot),
            standing,
        }
    }
}

/// The resource of ours that controls an object, and its uid.
pub fn owner(metadata: &ObjectMeta) -> Option<(Key, String)> {
    let mut references = metadata.owner_references.iter().flatten();
    let ours = |reference: &&OwnerReference| {
        reference.controller == Some(true)
            && reference
                .api_version
                .split_once('/')
                .is_some_and(|(group, _)| group == GROUP)
    };
    let reference = references.find(ours)?;
    let name = Name {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: reference.name.clone(),
    };
    Some((Key::new(Kind::named(&reference.kind)?, name), reference.uid.clone()))
}

/// A Pod of a Job, until it has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The Job that it is of.
    pub job: String,
    /// How far it is.
    pub stage: Stage,
}

/// How far a Pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its container was not started yet; why, where that is not of the kind that passes in seconds.
    Waiting(Option<Cause>),
    /// Its container runs.
    Running,
    /// Its container has ended.
    Ended {
        /// Its exit code.
        exit_code: i32,
        /// Why, in one word: `Error`, `OOMKilled` …
        reason: String,
        /// When.
        at: Option<Timestamp>,
    },
}

/// Why something does not start, in the words of whoever knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One CamelCase word of Kubernetes'.
    pub reason: String,
    /// Its sentence.
    pub message: String,
}

/// A Pod as it is decoded.
#[derive(Clone, Debug, Deserialize)]
pub struct WatchedPod {
    #[serde(deserialize_with = "light_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: WatchedPodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WatchedPodStatus {
    #[serde(default)]
    conditions: Vec<WatchedCondition>,
    #[serde(default)]
    container_statuses: Vec<WatchedContainer>,
}

#[derive(Clone, Debug, Deserialize)]
struct WatchedContainer {
    #[serde(default)]
    state: WatchedState,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct WatchedState {
    waiting: Option<ContainerStateWaiting>,
    running: Option<serde::de::IgnoredAny>,
    terminated: Option<ContainerStateTerminated>,
}

impl From<WatchedPod> for LightPod {
    fn from(pod: WatchedPod) -> LightPod {
        LightPod {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            job: pod.labels().get(JOB_NAME).cloned().unwrap_or_default(),
            stage: stage(pod.status),
        }
    }
}

/// The label by which Kubernetes names a Pod's Job.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#batchkubernetesio-job-name>
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

fn stage(status: WatchedPodStatus) -> Stage {
    /// What every Pod waits for at first.
    const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let worker = status.container_statuses.into_iter().next();
    let state = worker.map(|container| container.state).unwrap_or_default();
    if let Some(ended) = state.terminated {
        return Stage::Ended {
            exit_code: ended.exit_code,
            reason: ended.reason.unwrap_or_default(),
            at: ended.finished_at.map(|time| time.0),
        };
    }
    if state.running.is_some() {
        return Stage::Running;
    }
    let waiting = state.waiting.and_then(|waiting| {
        let reason = waiting.reason.filter(|reason| !PASSING.contains(&reason.as_str()))?;
        let message = waiting.message.unwrap_or_default();
        Some(Cause { reason, message })
    });
    Stage::Waiting(waiting.or_else(|| {
        let conditions = status.conditions.into_iter();
        let mut unscheduled =
            conditions.filter(|condition| condition.kind == "PodScheduled" && condition.status == "False");
        unscheduled.next().map(|condition| Cause {
            reason: condition.reason,
            message: condition.message,
        })
    }))
}

/// Metadata without what is large and not asked for: `managedFields` is often more than all the rest.
fn light_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Light {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        labels: Option<std::collections::BTreeMap<String, String>>,
        annotations: Option<std::collections::BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let light = Light::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: light.name,
        namespace: light.namespace,
        uid: light.uid,
        resource_version: light.resource_version,
        creation_timestamp: light.creation_timestamp,
        labels: light.labels,
        annotations: light.annotations,
        owner_references: light.owner_references,
        ..ObjectMeta::default()
    })
}

/// A light type is watched at the address of the whole one.
macro_rules! resource_of {
    ($light:ty, $whole:ty) => {
        impl Resource for $light {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                <$whole as Resource>::kind(&())
            }

            fn group((): &()) -> Cow<'_, str> {
                <$whole as Resource>::group(&())
            }

            fn version((): &()) -> Cow<'_, str> {
                <$whole as Resource>::version(&())
            }

            fn plural((): &()) -> Cow<'_, str> {
                <$whole as Resource>::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource_of!(WatchedJob, Job);
resource_of!(WatchedPod, Pod);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(conditions: Value) -> LightJob {
        let text = json!({
            "metadata": {
                "name": "people-contacts-1", "namespace": "crm", "uid": "j-1", "managedFields": [{"manager": "x"}],
                "creationTimestamp": "2026-05-04T08:00:02Z", "labels": {STREAM_LABEL: "contacts"},
                "annotations": {EPOCH_ANNOTATION: "7", SLOT_ANNOTATION: "2026-05-04T08:00:00Z"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "SyncPipeline", "name": "other", "uid": "o", "controller": true},
                    {"apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline", "name": "people", "uid": "u", "controller": true},
                ],
            },
            "spec": {"template": {"spec": {"containers": []}}},
            "status": {"active": 1, "conditions": conditions},
        })
        .to_string();
        serde_json::from_str::<WatchedJob>(&text).unwrap().into()
    }

    #[test]
    fn a_job_is_known_by_its_run_its_owner_and_how_it_stands() {
        let failed = json!([
            {"type": "FailureTarget", "status": "True"},
            {
                "type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 78",
                "lastTransitionTime": "2026-05-04T08:00:09Z",
            },
        ]);
        let cases = [
            (json!([]), Standing::Active),
            (json!([{"type": "FailureTarget", "status": "True"}]), Standing::Active),
            (json!([{"type": "Complete", "status": "True"}]), Standing::Complete),
            (
                failed,
                Standing::Failed {
                    reason: "PodFailurePolicy".into(),
                    message: "exit code 78".into(),
                    at: "2026-05-04T08:00:09Z".parse().ok(),
                },
            ),
        ];
        for (conditions, expected) in cases {
            assert_eq!(job(conditions).standing, expected);
        }
        let light = job(json!([]));
        let owner = Key::new(
            Kind::SyncPipeline,
            Name {
                namespace: "crm".into(),
                name: "people".into(),
            },
        );
        assert_eq!(
            (
                light.owner.clone(),
                light.as_run().map(|run| run.epoch),
                light.is_of(Some("u")),
                light.is_of(None)
            ),
            (Some((owner, "u".to_owned())), Some(7), true, false)
        );
    }

    #[test]
    fn a_pod_tells_why_it_does_not_start_and_how_it_ended() {
        let waiting =
            |reason: &str| json!({"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "m"}}}]});
        let because = |reason: &str, message: &str| {
            Stage::Waiting(Some(Cause {
                reason: reason.into(),
                message: message.into(),
            }))
        };
        let cases = [
            (json!({"phase": "Pending"}), Stage::Waiting(None)),
            (waiting("ContainerCreating"), Stage::Waiting(None)),
            (waiting("ErrImageNeverPull"), because("ErrImageNeverPull", "m")),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]}),
                because("Unschedulable", "no node"),
            ),
            (
                json!({"containerStatuses": [{"state": {"running": {"startedAt": null}}}]}),
                Stage::Running,
            ),
            (
                json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 78, "reason": "Error"}}}]}),
                Stage::Ended {
                    exit_code: 78,
                    reason: "Error".into(),
                    at: None,
                },
            ),
        ];
        for (status, expected) in cases {
            let text = json!({"metadata": {"name": "p", "labels": {JOB_NAME: "j"}}, "status": status}).to_string();
            let pod: LightPod = serde_json::from_str::<WatchedPod>(&text).unwrap().into();
            assert_eq!((pod.stage, pod.job.as_str()), (expected, "j"));
        }
    }
}
