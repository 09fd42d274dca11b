//! A Job that is ours, with what a user's template says of it: Kubernetes' own strategic merge, by the merge keys of its schema.
//!
//! Three layers, each over the one before: what a worker has where nobody says otherwise, what the template says, what is ours.
//! The rules on [`JobTemplate`] refuse a template that says something of what is ours; [`stated`] leaves it out once more, for
//! a resource that was stored before there was a rule.

use std::collections::BTreeMap;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::jobs::SERVICE_ACCOUNT;
use crate::api::job_template::{self, CONTROLLER_SERVICE_ACCOUNT, FsGroupChangePolicy, JobTemplate, LEAST_DEADLINE};

/// The name of the container that a worker runs in.
pub const CONTAINER: &str = "worker";
/// The user and the group of the image.
const USER: i64 = 65532;

/// The ServiceAccount of the pods of a resource with this template.
pub fn service_account(template: Option<&JobTemplate>) -> &str {
    template
        .and_then(|template| template.service_account_name.as_deref())
        .filter(|name| !name.is_empty() && *name != CONTROLLER_SERVICE_ACCOUNT)
        .unwrap_or(SERVICE_ACCOUNT)
}

/// The deadline of the Jobs of a resource with this template, in seconds.
pub fn deadline(template: Option<&JobTemplate>, default: i64) -> i64 {
    template
        .and_then(|template| template.active_deadline_seconds)
        .map_or(default, |stated| stated.max(LEAST_DEADLINE))
}

/// The Job with what the template says. Nothing of `ours` is changed by it.
pub fn merged(template: Option<&JobTemplate>, ours: Job) -> Job {
    let nothing = JobTemplate::default();
    let template = template.unwrap_or(&nothing);
    let mut job = defaults(template);
    job.merge_from(stated(template));
    job.merge_from(ours);
    job
}

/// What a worker has where nobody says otherwise. Resources are taken as a whole: a limit that is stated might be lower than a
/// request that is not.
fn defaults(template: &JobTemplate) -> Job {
    let requests = [("cpu", "100m"), ("memory", "64Mi")]
        .map(|(resource, amount)| (resource.to_owned(), Quantity(amount.to_owned())));
    let resources = ResourceRequirements {
        requests: Some(BTreeMap::from(requests)),
        ..ResourceRequirements::default()
    };
    job(
        ObjectMeta::default(),
        PodSpec {
            service_account_name: Some(SERVICE_ACCOUNT.to_owned()),
            security_context: Some(PodSecurityContext {
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            containers: vec![Container {
                name: CONTAINER.to_owned(),
                resources: template.resources.is_none().then_some(resources),
                ..Container::default()
            }],
            ..PodSpec::default()
        },
    )
}

/// What a template says, as a Job that says nothing else.
fn stated(template: &JobTemplate) -> Job {
    let not_own = |map: &BTreeMap<String, String>| {
        let kept = map.iter().filter(|(key, _)| !job_template::is_own_key(key));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let metadata = ObjectMeta {
        labels: Some(not_own(&template.labels)),
        annotations: Some(not_own(&template.annotations)),
        ..ObjectMeta::default()
    };
    let volumes: Vec<Volume> = template
        .volumes
        .iter()
        .filter(|volume| !volume.is_own())
        .map(volume)
        .collect();
    let mounts = template
        .volume_mounts
        .iter()
        .filter(|mount| !mount.is_in_the_way() && volumes.iter().any(|volume| volume.name == mount.name));
    let container = Container {
        name: CONTAINER.to_owned(),
        resources: template.resources.clone(),
        env: listed(template.env.iter().filter(|variable| !variable.is_own()).map(variable)),
        volume_mounts: listed(mounts.map(mount)),
        ..Container::default()
    };
    let pull_secrets = template.image_pull_secrets.iter().map(|secret| LocalObjectReference {
        name: secret.name.clone(),
    });
    let pod = PodSpec {
        service_account_name: Some(service_account(Some(template)).to_owned()),
        image_pull_secrets: listed(pull_secrets),
        priority_class_name: template.priority_class_name.clone(),
        node_selector: Some(template.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: listed(template.tolerations.iter().cloned()),
        affinity: template.affinity.clone(),
        security_context: template.security_context.as_ref().map(security),
        volumes: listed(volumes.into_iter()),
        containers: vec![container],
        ..PodSpec::default()
    };
    job(metadata, pod)
}

/// A Job whose pods have the same labels and annotations.
fn job(metadata: ObjectMeta, pod: PodSpec) -> Job {
    Job {
        metadata: metadata.clone(),
        spec: Some(JobSpec {
            template: PodTemplateSpec {
                metadata: Some(metadata),
                spec: Some(pod),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn security(stated: &job_template::PodSecurityContext) -> PodSecurityContext {
    let confined = |profile: &&SeccompProfile| ["RuntimeDefault", "Localhost"].contains(&profile.type_.as_str());
    PodSecurityContext {
        run_as_user: stated.run_as_user.filter(|user| *user != 0),
        run_as_group: stated.run_as_group,
        fs_group: stated.fs_group,
        fs_group_change_policy: stated.fs_group_change_policy.map(|policy| match policy {
            FsGroupChangePolicy::Always => "Always".to_owned(),
            FsGroupChangePolicy::OnRootMismatch => "OnRootMismatch".to_owned(),
        }),
        supplemental_groups: listed(stated.supplemental_groups.iter().copied()),
        seccomp_profile: stated.seccomp_profile.as_ref().filter(confined).cloned(),
        ..PodSecurityContext::default()
    }
}

fn variable(stated: &job_template::EnvVar) -> EnvVar {
    EnvVar {
        name: stated.name.clone(),
        value: stated.value.clone(),
        value_from: stated.value_from.as_ref().map(|source| EnvVarSource {
            secret_key_ref: source.secret_key_ref.clone(),
            config_map_key_ref: source.config_map_key_ref.clone(),
            ..EnvVarSource::default()
        }),
    }
}

fn volume(stated: &job_template::Volume) -> Volume {
    Volume {
        name: stated.name.clone(),
        config_map: stated.config_map.clone(),
        secret: stated.secret.clone(),
        projected: stated.projected.clone(),
        csi: stated.csi.clone(),
        empty_dir: stated.empty_dir.clone(),
        persistent_volume_claim: stated.persistent_volume_claim.clone(),
        ..Volume::default()
    }
}

fn mount(stated: &job_template::VolumeMount) -> VolumeMount {
    VolumeMount {
        name: stated.name.clone(),
        mount_path: stated.mount_path.clone(),
        sub_path: stated.sub_path.clone(),
        read_only: stated.read_only,
        ..VolumeMount::default()
    }
}

/// A list, or none where it would be empty.
fn listed<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

#[cfg(test)]
mod tests;
