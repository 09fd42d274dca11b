//! The kinds that the fixture is made of, taken as JSON: what a binary of tomorrow adds to them is kept.

use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};

/// A kind's group, version and name.
pub type Kind = (&'static str, &'static str, &'static str);

/// Syncs.
pub const PIPELINE: Kind = ("ferrygate.io", "v1alpha1", "SyncPipeline");
/// CRM orgs.
pub const SOURCE: Kind = ("ferrygate.io", "v1alpha1", "CrmSource");
/// Destinations.
pub const SINK: Kind = ("ferrygate.io", "v1alpha1", "CdpSink");
/// Contracts.
pub const MAPPING: Kind = ("ferrygate.io", "v1alpha1", "MappingVersion");
/// Runs.
pub const JOB: Kind = ("batch", "v1", "Job");
/// Volumes.
pub const CLAIM: Kind = ("", "v1", "PersistentVolumeClaim");
/// Who workers are.
pub const ACCOUNT: Kind = ("", "v1", "ServiceAccount");
/// What workers may do.
pub const BINDING: Kind = ("rbac.authorization.k8s.io", "v1", "RoleBinding");

/// The API of a kind in a namespace.
pub fn own_api(client: &Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    let (group, version, name) = kind;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, name));
    Api::namespaced_with(client.clone(), namespace, &resource)
}
