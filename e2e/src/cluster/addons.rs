//! What a new cluster is given before it is anybody's: a name server's address and a class of volumes.

use anyhow::{Context, Result};
use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice, storage::v1::StorageClass},
    serde::{Serialize, de::DeserializeOwned},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    network::Network,
    storage::{CLASS, PROVISIONER},
};

/// Gives the cluster its additions.
///
/// # Errors
/// When the API server refuses one.
pub async fn apply(client: &Client, network: &Network) -> Result<()> {
    let system = || Api::<Service>::namespaced(client.clone(), "kube-system");
    put(&system(), "kube-dns", dns_service(network)).await?;
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), "kube-system");
    put(&slices, "kube-dns", dns_endpoints(network)).await?;
    put(&Api::<StorageClass>::all(client.clone()), CLASS, storage_class()).await
}

async fn put<K>(api: &Api<K>, name: &str, object: Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let apply = PatchParams::apply("ferrygate-e2e").force();
    api.patch(name, &apply, &Patch::Apply(object))
        .await
        .with_context(|| format!("could not make {name}"))?;
    Ok(())
}

/// CoreDNS runs beside the kubelet rather than in a pod, so its Service selects none.
fn dns_service(network: &Network) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "clusterIP": network.dns_service(),
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    })
}

fn dns_endpoints(network: &Network) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [network.node()], "conditions": {"ready": true}}],
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
    })
}

fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    })
}
