//! The Jobs of runs and probes, and the claim that holds a pipeline's state.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::{names, template};
use crate::api::common::{SecretKeySelector, exit};
use crate::api::job_template::{SECRET_VOLUME_PREFIX, STATE_VOLUME};
use crate::api::{CdpSinkSpec, CrmSourceSpec, JobTemplate, MappingVersionSpec, SyncPipeline};
use crate::secrets::MOUNT;

/// The workers' ServiceAccount in every tenant's namespace, where a template names no other.
pub const SERVICE_ACCOUNT: &str = "ferrygate-worker";
/// Where a run's volume is mounted.
pub const STATE_MOUNT: &str = "/var/lib/ferrygate";
/// The label that all that the controller creates carries, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "ferrygate");
/// The label that names the pipeline.
pub const PIPELINE_LABEL: &str = "ferrygate.io/pipeline";
/// The label that names the stream.
pub const STREAM_LABEL: &str = "ferrygate.io/stream";
/// The label that names the source that is probed.
pub const SOURCE_LABEL: &str = "ferrygate.io/source";
/// The label that names the sink that is probed.
pub const SINK_LABEL: &str = "ferrygate.io/sink";

/// The annotation of a run's Job that has the run's number.
pub const EPOCH_ANNOTATION: &str = "ferrygate.io/run-epoch";
/// The annotation of a run's Job that has the instant of the schedule that the run is for.
pub const SLOT_ANNOTATION: &str = "ferrygate.io/slot-time";

/// How often a run's pod is tried again after an outage, with Kubernetes' own growing pause, before the run has failed.
const RUN_BACKOFF_LIMIT: i32 = 4;
/// A run that takes longer, in seconds, is ended; the next goes on from its checkpoint.
const RUN_DEADLINE: i64 = 24 * 3600;
/// A probe that takes longer, in seconds, is ended.
const PROBE_DEADLINE: i64 = 180;
/// How long a finished Job stays, in seconds, where the controller does not remove it before.
const TIME_TO_LIVE: i32 = 3600;
/// How long a worker may take, in seconds, to drain and checkpoint after SIGTERM. A namespace that is deleted waits about as long.
const GRACE: i64 = 30;

/// The container that workers run in.
#[derive(Clone, Debug)]
pub struct WorkerImage {
    /// The image's reference.
    pub image: String,
    /// When the kubelet pulls it.
    pub pull_policy: String,
}

/// A Job that is to be created.
pub struct JobPlan<'a> {
    /// Its name, which is the run's.
    pub name: &'a str,
    /// The labels that name what it is for.
    pub labels: BTreeMap<String, String>,
    /// What the Job tells of the run, should the status forget it.
    pub annotations: BTreeMap<String, String>,
    /// The words after `ferrygate`.
    pub words: Vec<String>,
    /// The keys of Secrets that are mounted.
    pub secrets: BTreeSet<SecretKeySelector>,
    /// The claim that is mounted for the state.
    pub claim: Option<String>,
    /// What the user says of it.
    pub template: Option<&'a JobTemplate>,
    /// How often its pod is tried again.
    pub backoff_limit: i32,
    /// When it is ended, in seconds, where the template does not say.
    pub deadline: i64,
}

impl JobPlan<'_> {
    /// The Job, owned by the resource that it is for.
    pub fn build<K: Resource<DynamicType = ()>>(&self, owner: &K, worker: &WorkerImage) -> Job {
        let mut labels = self.labels.clone();
        labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
        let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
        for (number, (secret, keys)) in grouped(&self.secrets).into_iter().enumerate() {
            let name = format!("{SECRET_VOLUME_PREFIX}{number}");
            let items: Vec<_> = keys.iter().map(|key| json!({"key": key, "path": key})).collect();
            // Optional: the worker itself says which key is missing, where a pod that hangs would not.
            volumes.push(json!({"name": name, "secret": {"secretName": secret, "items": items, "optional": true}}));
            mounts.push(json!({"name": name, "mountPath": format!("{MOUNT}/{secret}"), "readOnly": true}));
        }
        if let Some(claim) = &self.claim {
            volumes.push(json!({"name": STATE_VOLUME, "persistentVolumeClaim": {"claimName": claim}}));
            mounts.push(json!({"name": STATE_VOLUME, "mountPath": STATE_MOUNT}));
        }
        let job = json!({
            "metadata": {
                "name": self.name,
                "namespace": owner.namespace(),
                "labels": labels,
                "annotations": self.annotations,
                "ownerReferences": owner.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
            },
            "spec": {
                "backoffLimit": self.backoff_limit,
                "activeDeadlineSeconds": template::deadline(self.template, self.deadline),
                "ttlSecondsAfterFinished": TIME_TO_LIVE,
                "podFailurePolicy": failure_policy(),
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "automountServiceAccountToken": true,
                        "restartPolicy": "Never",
                        "terminationGracePeriodSeconds": GRACE,
                        "securityContext": {"runAsNonRoot": true},
                        "volumes": volumes,
                        "containers": [{
                            "name": template::CONTAINER,
                            "image": worker.image,
                            "imagePullPolicy": worker.pull_policy,
                            "args": self.words,
                            "volumeMounts": mounts,
                            "securityContext": {
                                "allowPrivilegeEscalation": false,
                                "readOnlyRootFilesystem": true,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }],
                    },
                },
            },
        });
        let ours = serde_json::from_value(job).expect("the manifest is of a Job's form, which the tests hold it to");
        template::merged(self.template, ours)
    }
}

/// What the exit codes mean to the Job: see [`Outcome::exit_code`].
fn failure_policy() -> Value {
    json!({"rules": [
        {"action": "FailJob", "onExitCodes": {
            "containerName": template::CONTAINER, "operator": "In",
            "values": [exit::PARKED, exit::DEFECT, exit::SUPERSEDED, exit::CONFIGURATION],
        }},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]})
}

fn grouped(selectors: &BTreeSet<SecretKeySelector>) -> BTreeMap<&str, Vec<&str>> {
    let mut secrets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for selector in selectors {
        secrets.entry(&selector.name).or_default().push(&selector.key);
    }
    secrets
}

/// The keys of Secrets that a source names.
pub fn source_secrets(spec: &CrmSourceSpec) -> BTreeSet<SecretKeySelector> {
    let mut values = Vec::new();
    if let Some(salesforce) = &spec.salesforce {
        values.extend(
            salesforce
                .auth
                .jwt_bearer
                .iter()
                .flat_map(|auth| [&auth.client_id, &auth.private_key]),
        );
        values.extend(
            salesforce
                .auth
                .client_credentials
                .iter()
                .flat_map(|auth| [&auth.client_id, &auth.client_secret]),
        );
    }
    values.into_iter().map(|value| value.secret_key_ref.clone()).collect()
}

/// The keys of Secrets that a sink names.
pub fn sink_secrets(spec: &CdpSinkSpec) -> BTreeSet<SecretKeySelector> {
    let segment = spec.segment.iter();
    let values = segment.flat_map(|segment| {
        let privacy = segment.privacy_api.as_ref().map(|privacy| &privacy.token);
        let profiles = segment.read_back.as_ref().map(|read_back| &read_back.profile_api.token);
        [Some(&segment.write_key), privacy, profiles]
    });
    values.flatten().map(|value| value.secret_key_ref.clone()).collect()
}

/// The Job of a run of a stream.
pub fn sync_job(
    pipeline: &SyncPipeline,
    run: &Run<'_>,
    source: &CrmSourceSpec,
    sink: &CdpSinkSpec,
    mapping: Option<&MappingVersionSpec>,
    worker: &WorkerImage,
) -> Job {
    let name = pipeline.name_any();
    let epoch = run.epoch.to_string();
    let words = [
        "worker",
        "sync",
        "--namespace",
        &pipeline.namespace().unwrap_or_default(),
        "--pipeline",
        &name,
        "--stream",
        run.stream,
        "--run",
        run.name,
        "--epoch",
        &epoch,
        "--mapping",
        run.mapping,
        "--state",
        STATE_MOUNT,
    ];
    let plan = JobPlan {
        name: run.name,
        labels: BTreeMap::from([
            (PIPELINE_LABEL.to_owned(), names::label(&name)),
            (STREAM_LABEL.to_owned(), run.stream.to_owned()),
        ]),
        annotations: BTreeMap::from([
            (EPOCH_ANNOTATION.to_owned(), epoch.clone()),
            (SLOT_ANNOTATION.to_owned(), run.slot.to_string()),
        ]),
        words: words.map(str::to_owned).to_vec(),
        secrets: source_secrets(source)
            .into_iter()
            .chain(sink_secrets(sink))
            .chain(mapping.into_iter().flat_map(MappingVersionSpec::secrets))
            .collect(),
        claim: Some(names::state_claim(&name)),
        template: pipeline.spec.job_template.as_ref(),
        backoff_limit: RUN_BACKOFF_LIMIT,
        deadline: RUN_DEADLINE,
    };
    plan.build(pipeline, worker)
}

/// Which run a Job is for.
pub struct Run<'a> {
    /// The run's name.
    pub name: &'a str,
    /// The stream's name.
    pub stream: &'a str,
    /// The run's number.
    pub epoch: i64,
    /// The instant of the schedule that it is for.
    pub slot: Timestamp,
    /// The MappingVersion's name.
    pub mapping: &'a str,
}

/// The Job of a probe: `selector` is the flag and the label that name the resource.
pub fn probe_job<K: Resource<DynamicType = ()>>(
    owner: &K,
    selector: (&str, &str),
    run: &str,
    objects: &[String],
    secrets: BTreeSet<SecretKeySelector>,
    template: Option<&JobTemplate>,
    worker: &WorkerImage,
) -> Job {
    let (flag, label) = selector;
    let name = owner.name_any();
    let generation = owner.meta().generation.unwrap_or_default().to_string();
    let namespace = owner.namespace().unwrap_or_default();
    let mut words: Vec<String> = [
        "worker",
        "probe",
        "--namespace",
        &namespace,
        flag,
        &name,
        "--run",
        run,
        "--generation",
        &generation,
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend(
        objects
            .iter()
            .flat_map(|object| ["--object".to_owned(), object.clone()]),
    );
    let labels = BTreeMap::from([(label.to_owned(), names::label(&name))]);
    let plan = JobPlan {
        name: run,
        labels,
        annotations: BTreeMap::new(),
        words,
        secrets,
        claim: None,
        template,
        backoff_limit: 1,
        deadline: PROBE_DEADLINE,
    };
    plan.build(owner, worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_s_job_is_restricted_owned_and_mounts_only_the_keys_that_are_named() {
        let pipeline: SyncPipeline = serde_json::from_value(json!({
            "apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline",
            "metadata": {"name": "people", "namespace": "crm", "uid": "u-1"},
            "spec": {
                "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "m", "version": "1.0.0"},
                "streams": [{"name": "contacts", "object": "Contact", "schedule": {"every": "5m"}}],
            },
        }))
        .unwrap();
        let key = |key: &str| json!({"secretKeyRef": {"name": "org", "key": key}});
        let source: CrmSourceSpec = serde_json::from_value(json!({"salesforce": {
            "instanceUrl": "https://a.example",
            "auth": {"clientCredentials": {"clientId": key("id"), "clientSecret": key("secret")}},
        }}))
        .unwrap();
        let sink: CdpSinkSpec = serde_json::from_value(json!({
            "segment": {"endpoint": "https://b.example/v1", "writeKey": {"secretKeyRef": {"name": "cdp", "key": "k"}}},
            "identity": {"userId": "crm_id"},
        }))
        .unwrap();
        let mapping: MappingVersionSpec = serde_json::from_value(json!({
            "mapping": "m", "version": "1.0.0",
            "objects": [{"object": "Contact", "entity": "Person", "identity": [
                {"kind": "crm_id", "from": "Id"},
                {"kind": "hash", "from": "Email", "transforms": [{"hmacSha256": {"secretKeyRef": {"name": "hash", "key": "pepper"}}}]},
            ]}],
        }))
        .unwrap();
        let run = Run {
            name: "people-contacts-1",
            stream: "contacts",
            epoch: 7,
            slot: "2026-05-04T08:00:00Z".parse().unwrap(),
            mapping: "m-1.0.0",
        };
        let worker = WorkerImage {
            image: "ferrygate:1".into(),
            pull_policy: "Never".into(),
        };
        let job = serde_json::to_value(sync_job(&pipeline, &run, &source, &sink, Some(&mapping), &worker)).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(
            (
                &job["metadata"]["ownerReferences"][0]["uid"],
                &pod["volumes"][2]["secret"]["items"],
                &pod["volumes"][1]["secret"]["items"],
                &container["args"][9],
                &container["securityContext"]["allowPrivilegeEscalation"],
                &pod["securityContext"]["runAsNonRoot"],
                pod["volumes"].as_array().map(Vec::len),
            ),
            (
                &json!("u-1"),
                &json!([{"key": "id", "path": "id"}, {"key": "secret", "path": "secret"}]),
                &json!([{"key": "pepper", "path": "pepper"}]),
                &json!("people-contacts-1"),
                &json!(false),
                &json!(true),
                Some(4),
            )
        );
    }
}
