//! The Job of a command that a person runs on the cluster, with a pipeline's state. The controller takes no notice of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, KeyToPath, SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
};
use kube::ResourceExt;

use super::jobs::{JobPlan, MANAGED_BY, PIPELINE_LABEL, STATE_MOUNT, WorkerImage};
use super::{names, template};
use crate::api::SyncPipeline;
use crate::api::job_template::STATE_VOLUME;

/// The folder in which the command finds its manifests.
pub const MANIFESTS_FOLDER: &str = "/etc/ferrygate/manifests";
/// The folder of states, by namespace and pipeline.
pub const STATES_FOLDER: &str = STATE_MOUNT;
/// The key of the manifests in the Secret that is called as the Job is.
pub const MANIFESTS: &str = "manifests.json";

/// By whom the Job is managed: not by the controller.
const MANAGER: &str = "ferrygate-cli";
/// The name of the manifests' volume.
const VOLUME: &str = "manifests";
/// How long the command may take, in seconds, where the template does not say.
const DEADLINE: i64 = 600;
/// How long the Job stays, in seconds, should its maker not remove it.
const TIME_TO_LIVE: i32 = 60;

/// A command for which a person waits.
pub struct Errand<'a> {
    /// What it is, in one word of the Job's name.
    pub purpose: &'a str,
    /// The words after `ferrygate`.
    pub words: &'a [String],
    /// The names of the values that a Secret has, called as the Job is: environment variables, which words name by `$(NAME)`.
    pub private: &'a BTreeSet<&'a str>,
    /// When it was asked for.
    pub at: Timestamp,
}

/// The command's Job, with what a run's has: the image, the volume, the ServiceAccount, the pipeline's template.
pub fn errand_job(pipeline: &SyncPipeline, errand: &Errand<'_>, worker: &WorkerImage) -> Job {
    let name = pipeline.name_any();
    let namespace = pipeline.namespace().unwrap_or_default();
    let plan = JobPlan {
        name: &names::errand(&name, errand.purpose, errand.at),
        labels: BTreeMap::from([(PIPELINE_LABEL.to_owned(), names::label(&name))]),
        annotations: BTreeMap::new(),
        words: errand.words.to_vec(),
        secrets: BTreeSet::new(),
        claim: Some(names::state_claim(&name)),
        template: pipeline.spec.job_template.as_ref(),
        backoff_limit: 0,
        deadline: DEADLINE,
    };
    let mut job = plan.build(pipeline, worker);
    let spec = job.spec.get_or_insert_default();
    spec.ttl_seconds_after_finished = Some(TIME_TO_LIVE);
    for metadata in [Some(&mut job.metadata), spec.template.metadata.as_mut()]
        .into_iter()
        .flatten()
    {
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(MANAGED_BY.0.to_owned(), MANAGER.to_owned());
    }
    let pod = spec.template.spec.get_or_insert_default();
    pod.volumes.get_or_insert_default().push(Volume {
        name: VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(plan.name.to_owned()),
            items: Some(vec![KeyToPath {
                key: MANIFESTS.to_owned(),
                path: MANIFESTS.to_owned(),
                mode: None,
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    for container in pod
        .containers
        .iter_mut()
        .filter(|container| container.name == template::CONTAINER)
    {
        let mounts = container.volume_mounts.get_or_insert_default();
        for mount in mounts.iter_mut().filter(|mount| mount.name == STATE_VOLUME) {
            mount.mount_path = format!("{STATES_FOLDER}/{namespace}/{name}");
        }
        mounts.push(VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: MANIFESTS_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        let env = container.env.get_or_insert_default();
        env.extend(errand.private.iter().map(|key| private(plan.name, key)));
        // What the command logs stands in one stream with its answer.
        env.push(EnvVar {
            name: "RUST_LOG".to_owned(),
            value: Some("error".to_owned()),
            value_from: None,
        });
    }
    job
}

fn private(secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: key.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_s_job_has_the_state_and_its_manifests_and_holds_no_private_value() {
        let pipeline: SyncPipeline = serde_json::from_value(json!({
            "apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline",
            "metadata": {"name": "people", "namespace": "crm", "uid": "u-1"},
            "spec": {
                "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "m", "version": "1.0.0"},
                "streams": [{"name": "contacts", "object": "Contact", "schedule": {"every": "5m"}}],
                "jobTemplate": {"serviceAccountName": "ours", "nodeSelector": {"disk": "fast"}},
            },
        }))
        .unwrap();
        let errand = Errand {
            purpose: "explain",
            words: &["explain", "--identity", "$(IDENTITY)"].map(str::to_owned),
            private: &BTreeSet::from(["IDENTITY"]),
            at: Timestamp::UNIX_EPOCH,
        };
        let worker = WorkerImage {
            image: "ferrygate:1".into(),
            pull_policy: "IfNotPresent".into(),
        };
        let job = serde_json::to_value(errand_job(&pipeline, &errand, &worker)).unwrap();
        let (name, pod) = (&job["metadata"]["name"], &job["spec"]["template"]["spec"]);
        let container = &pod["containers"][0];
        let label = |of: &serde_json::Value| of["metadata"]["labels"][MANAGED_BY.0].clone();
        assert_eq!(
            (
                label(&job),
                label(&job["spec"]["template"]),
                &pod["serviceAccountName"],
                &pod["nodeSelector"]
            ),
            (json!(MANAGER), json!(MANAGER), &json!("ours"), &json!({"disk": "fast"}))
        );
        assert_eq!(
            (&container["volumeMounts"], &container["args"], &container["env"][0]),
            (
                &json!([
                    {"name": STATE_VOLUME, "mountPath": "/var/lib/ferrygate/crm/people"},
                    {"name": VOLUME, "mountPath": MANIFESTS_FOLDER, "readOnly": true},
                ]),
                &json!(["explain", "--identity", "$(IDENTITY)"]),
                &json!({"name": "IDENTITY", "valueFrom": {"secretKeyRef": {"name": name, "key": "IDENTITY"}}}),
            )
        );
        assert_eq!(
            (
                &pod["volumes"][0]["persistentVolumeClaim"]["claimName"],
                &pod["volumes"][1]["secret"]["secretName"]
            ),
            (&json!("people-state"), name)
        );
    }
}
