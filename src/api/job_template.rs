//! `jobTemplate`: what a user may say of the Jobs of runs and probes, and what must stay ours.
//!
//! The fields have the names that they have in a pod's `spec`, without its levels: a worker has one container. What a template
//! can't express (the image, the arguments, the container's security context, `hostPath`) is no field here, so that the API
//! server refuses it; what it can express and must not is refused by the rules. The rules are made of the very lists by which
//! the controller leaves out what was stored before a rule existed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, CSIVolumeSource, ConfigMapKeySelector, ConfigMapVolumeSource, EmptyDirVolumeSource,
    PersistentVolumeClaimVolumeSource, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretKeySelector,
    SecretVolumeSource, Toleration,
};
use kube::KubeSchema;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::common::LocalReference;

/// The least deadline of a Job, in seconds: a shorter one would end a worker before its pod has started.
pub const LEAST_DEADLINE: i64 = 60;
/// The controller's ServiceAccount, which no worker may have: it may do more than a worker, and is not fenced.
pub const CONTROLLER_SERVICE_ACCOUNT: &str = "ferrygate-controller";

/// What keys of labels and annotations begin with that Ferrygate, or the Job controller, sets and reads itself. The last two
/// are annotations that loosen what the pod's security context says.
const OWN_KEY_PREFIXES: [&str; 4] = [
    "ferrygate.io/",
    "batch.kubernetes.io/",
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
];
/// Keys of labels and annotations that Ferrygate, or the Job controller, sets and reads itself.
const OWN_KEYS: [&str; 4] = [
    "app.kubernetes.io/managed-by",
    "controller-uid",
    "job-name",
    "seccomp.security.alpha.kubernetes.io/pod",
];
/// What the names of environment variables begin with that lead a worker to the API server.
const OWN_ENV_PREFIX: &str = "KUBERNETES_";
/// Environment variables by which a worker is led to the API server, or told which pod it is.
const OWN_ENV: [&str; 2] = ["KUBECONFIG", "HOSTNAME"];
/// The name of the volume that holds the state.
pub const STATE_VOLUME: &str = "state";
/// What the names of the volumes of Secrets begin with.
pub const SECRET_VOLUME_PREFIX: &str = "secret-";
/// Paths of the container at which something of ours is: the program, its Secrets, its state and its token.
const OWN_PATHS: [&str; 5] = [
    "/ferrygate",
    "/etc/ferrygate",
    "/var/lib/ferrygate",
    "/var/run/secrets",
    "/run/secrets",
];
/// A normalised absolute path of a container.
const PATH: &str = "^(/[-A-Za-z0-9_.]*[-A-Za-z0-9_])+$";

/// A key of a label or an annotation:
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
const KEY: &str = "^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// What the Jobs need beside what every worker has, merged into them by strategic merge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new(no_own_keys("labels")).message(own_keys_message("labels").as_str()),
    validation = Rule::new(no_own_keys("annotations")).message(own_keys_message("annotations").as_str()),
    validation = Rule::new(keys_are_valid("labels")).message("a key of labels must be NAME or PREFIX/NAME, as Kubernetes has it"),
    validation = Rule::new(keys_are_valid("annotations"))
        .message("a key of annotations must be NAME or PREFIX/NAME, as Kubernetes has it"),
    validation = Rule::new(keys_are_valid("nodeSelector"))
        .message("a key of nodeSelector must be NAME or PREFIX/NAME, as Kubernetes has it"),
    validation = Rule::new(format!("!has(self.activeDeadlineSeconds) || self.activeDeadlineSeconds >= {LEAST_DEADLINE}"))
        .message(format!("activeDeadlineSeconds must be at least {LEAST_DEADLINE}").as_str()),
    validation = Rule::new(format!(
        "!has(self.serviceAccountName) || self.serviceAccountName != '{CONTROLLER_SERVICE_ACCOUNT}'"
    ))
    .message(format!("serviceAccountName must not be {CONTROLLER_SERVICE_ACCOUNT}: it may do more than a worker may").as_str()),
    validation = Rule::new(
        "!has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes) && \
         self.volumes.exists(volume, volume.name == mount.name))"
    ).message("each of volumeMounts must name one of volumes"),
)]
pub struct JobTemplate {
    /// Labels of the Job and of its pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Job and of its pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// After how many seconds a Job is ended, whatever it is at; at least 60. By default a day for a run, of which the next goes
    /// on from its checkpoint, and three minutes for a probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// The ServiceAccount of the pods, by default `ferrygate-worker`. Another one needs a RoleBinding to the ClusterRole
    /// `ferrygate-worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub service_account_name: Option<String>,
    /// Secrets by which the kubelet pulls the worker's image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// The [PriorityClass](https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/) of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub priority_class_name: Option<String>,
    /// The labels that a node must have to run the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub node_selector: BTreeMap<String, String>,
    /// The taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), transform = brief)]
    pub tolerations: Vec<Toleration>,
    /// On which nodes, and beside which pods, the pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub affinity: Option<Affinity>,
    /// As whom the pods run. The workers' container is always restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Requests and limits of the worker's container; without them it requests 100m of CPU and 64Mi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources")]
    pub resources: Option<ResourceRequirements>,
    /// Environment variables of the worker: `HTTPS_PROXY` and `NO_PROXY` lead its requests to the CRM and the CDP through a
    /// proxy, `RUST_LOG` sets the level of its logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
    /// Volumes of the pods beside the Secrets and the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,
    /// Where the worker sees them. A CA certificate that is mounted as a file into `/etc/ssl/certs` is trusted beside the
    /// usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".into()]))]
    pub volume_mounts: Vec<VolumeMount>,
}

/// As whom pods run, within the [restricted profile](https://kubernetes.io/docs/concepts/security/pod-security-standards/).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("!has(self.runAsNonRoot) || self.runAsNonRoot")
        .message("securityContext.runAsNonRoot must not be false: workers never run as root"),
    validation = Rule::new("!has(self.runAsUser) || self.runAsUser != 0")
        .message("securityContext.runAsUser must not be 0: workers never run as root"),
    validation = Rule::new("!has(self.seccompProfile) || self.seccompProfile.type in ['RuntimeDefault', 'Localhost']")
        .message("securityContext.seccompProfile.type must be RuntimeDefault or Localhost")
)]
pub struct PodSecurityContext {
    /// Always true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// The user's number, by default 65532; never 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub run_as_user: Option<i64>,
    /// The number of the user's group, by default 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub run_as_group: Option<i64>,
    /// The number of the group that owns the files of volumes, by default 65532.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub fs_group: Option<i64>,
    /// When the owner of a volume's files is changed, `Always` or `OnRootMismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_group_change_policy: Option<FsGroupChangePolicy>,
    /// Further groups of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub supplemental_groups: Vec<i64>,
    /// Which system calls are allowed, by default what the container runtime holds to be safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub seccomp_profile: Option<SeccompProfile>,
}

/// When the owner of a volume's files is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FsGroupChangePolicy {
    /// Whenever it is mounted.
    Always,
    /// Only where its root folder has another owner: soon done on a large volume.
    OnRootMismatch,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new(no_own_env())
        .message("env must not set KUBECONFIG, HOSTNAME or KUBERNETES_…: they lead the worker to the API server and name its pod"),
    validation = Rule::new("!(has(self.value) && has(self.valueFrom))")
        .message("an environment variable has only one of value, valueFrom")
)]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"))]
    pub name: String,
    /// Its value. One that holds a password belongs into a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where its value stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where the value of an environment variable stands: exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
        .message("valueFrom must name exactly one of secretKeyRef, configMapKeyRef")
)]
pub struct EnvVarSource {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub secret_key_ref: Option<SecretKeySelector>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub config_map_key_ref: Option<ConfigMapKeySelector>,
}

/// A volume of one of the sources that the restricted profile allows and a worker has a use for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new(format!("self.name != '{STATE_VOLUME}' && !self.name.startsWith('{SECRET_VOLUME_PREFIX}')"))
        .message(format!("a volume must not be named {STATE_VOLUME} or {SECRET_VOLUME_PREFIX}…: Ferrygate's own are").as_str()),
    validation = Rule::new(
        "[has(self.configMap), has(self.secret), has(self.projected), has(self.csi), has(self.emptyDir), \
         has(self.persistentVolumeClaim)].filter(there, there).size() == 1"
    ).message(
        "a volume has exactly one of configMap, secret, projected, csi, emptyDir, persistentVolumeClaim; \
         restricted Pod Security allows no hostPath"
    )
)]
pub struct Volume {
    /// Its name, by which `volumeMounts` name it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The keys of a ConfigMap, as files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub config_map: Option<ConfigMapVolumeSource>,
    /// The keys of a Secret, as files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub secret: Option<SecretVolumeSource>,
    /// Several sources in one folder: tokens of the ServiceAccount, ConfigMaps, Secrets, trust bundles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub projected: Option<ProjectedVolumeSource>,
    /// What a CSI driver brings for the time of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub csi: Option<CSIVolumeSource>,
    /// An empty folder for the time of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub empty_dir: Option<EmptyDirVolumeSource>,
    /// A volume claim of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = brief)]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
}

/// Where the worker sees a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new(format!("self.mountPath.matches('{PATH}')"))
        .message("mountPath must be an absolute path without . and .., and not end with a slash"),
    validation = Rule::new(beside_own_paths()).message(format!(
        "mountPath must not be at, below or above a path of Ferrygate's own: {}", OWN_PATHS.join(", ")
    ).as_str())
)]
pub struct VolumeMount {
    /// The volume's name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The path in the container.
    #[schemars(length(min = 1, max = 255))]
    pub mount_path: String,
    /// The file or folder of the volume that is mounted, by default its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub sub_path: Option<String>,
    /// Whether the worker may only read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// Whether a label or an annotation is Ferrygate's or the Job controller's to set.
pub fn is_own_key(key: &str) -> bool {
    OWN_KEYS.contains(&key) || OWN_KEY_PREFIXES.iter().any(|own| key.starts_with(own))
}

impl EnvVar {
    /// Whether a worker itself relies on it.
    pub fn is_own(&self) -> bool {
        OWN_ENV.contains(&self.name.as_str()) || self.name.starts_with(OWN_ENV_PREFIX)
    }
}

impl Volume {
    /// Whether its name is one that Ferrygate gives to its own volumes.
    pub fn is_own(&self) -> bool {
        self.name == STATE_VOLUME || self.name.starts_with(SECRET_VOLUME_PREFIX)
    }
}

impl VolumeMount {
    /// Whether it would hide, or be hidden by, something of Ferrygate's own.
    pub fn is_in_the_way(&self) -> bool {
        let below = |path: &str, other: &str| path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
        let path = self.mount_path.as_str();
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let plain = path.starts_with('/') && parts.iter().all(|part| !part.is_empty() && !part.ends_with('.'));
        !plain
            || OWN_PATHS
                .iter()
                .any(|own| path == *own || below(path, own) || below(own, path))
    }
}

fn no_own_keys(field: &str) -> String {
    let prefixes = OWN_KEY_PREFIXES
        .map(|own| format!("!key.startsWith('{own}')"))
        .join(" && ");
    format!(
        "!has(self.{field}) || self.{field}.all(key, {prefixes} && !(key in {}))",
        texts(&OWN_KEYS)
    )
}

/// A wrong key would have the Job refused, when nobody looks.
fn keys_are_valid(field: &str) -> String {
    format!("!has(self.{field}) || self.{field}.all(key, key.matches('{KEY}'))")
}

fn own_keys_message(field: &str) -> String {
    let prefixes = OWN_KEY_PREFIXES.map(|own| format!("{own}…")).join(", ");
    format!(
        "{field} must not set what Ferrygate, Jobs or the pod's security context set: {prefixes}, {}",
        OWN_KEYS.join(", ")
    )
}

fn no_own_env() -> String {
    format!(
        "!self.name.startsWith('{OWN_ENV_PREFIX}') && !(self.name in {})",
        texts(&OWN_ENV)
    )
}

fn beside_own_paths() -> String {
    let beside = |own| {
        format!(
            "self.mountPath != '{own}' && !self.mountPath.startsWith('{own}/') && !'{own}'.startsWith(self.mountPath + '/')"
        )
    };
    OWN_PATHS.map(beside).join(" && ")
}

/// A list of texts, as CEL writes it.
fn texts(all: &[&str]) -> String {
    format!("['{}']", all.join("', '"))
}

/// A name as resources have it.
const SUBDOMAIN: &str = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$";

/// Leaves of each description its first sentence: what Kubernetes' own types say is twice as long as all of ours.
fn brief(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let sentence = description.match_indices(". ").find(|(end, _)| {
            let next = description[end + 2..].chars().next();
            next.is_some_and(char::is_uppercase)
        });
        let ends = [sentence.map(|(end, _)| end), description.find('\n')];
        let end = ends.into_iter().flatten().min().unwrap_or(description.len());
        description.truncate(end);
    }
    transform_subschemas(&mut brief, schema);
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        },
    })
}

/// A [quantity](https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/): the generated schema would
/// take any text, and it would be the Job that is refused, when nobody looks.
pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i|[eE][0-9]{1,2})?$",
    })
}

fn resources(generator: &mut SchemaGenerator) -> Schema {
    let quantities = |description: &str, generator: &mut SchemaGenerator| {
        json_schema!({
            "type": "object",
            "description": description,
            "additionalProperties": quantity(generator),
        })
    };
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "limits": quantities("The most that a worker may use, by resource: `cpu`, `memory`.", generator),
            "requests": quantities("What a node must have free for a worker, by resource: `cpu`, `memory`.", generator),
        },
    })
}
