//! Volumes for claims of the StorageClass `local`: a folder of the node's for each.
//!
//! It runs as one of the node's programs, beside the kubelet. A claim gets a PersistentVolume over a new folder that
//! anyone may write to; when the claim is gone, so are both.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use super::paths::NODE_HOME;

/// The default StorageClass of the cluster.
pub const CLASS: &str = "local";

/// Who provisions it.
pub const PROVISIONER: &str = "ferrygate.io/local";

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

enum Seen {
    Claim(Box<PersistentVolumeClaim>),
    Volume(Box<PersistentVolume>),
}

/// Serves claims for as long as it runs.
///
/// # Errors
/// When a claim could not be served: who starts it again has it look at all claims anew.
pub async fn run(client: Client) -> Result<()> {
    let claims = Api::<PersistentVolumeClaim>::all(client.clone());
    let volumes = Api::<PersistentVolume>::all(client.clone());
    let claims = watcher(claims, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let volumes = watcher(volumes, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let mut seen = stream::select(
        claims.map(|claim| claim.map(Box::new).map(Seen::Claim)).boxed(),
        volumes.map(|volume| volume.map(Box::new).map(Seen::Volume)).boxed(),
    );
    while let Some(seen) = seen.next().await {
        match seen {
            Ok(Seen::Claim(claim)) if is_unserved(&claim) => provision(&client, &claim).await?,
            Ok(Seen::Volume(volume)) if is_released(&volume) => reclaim(&client, &volume).await?,
            Ok(_) => {}
            Err(error) => eprintln!("the watch goes on after: {error:#}"),
        }
    }
    Ok(())
}

fn is_unserved(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.as_ref().is_some_and(|spec| {
        spec.storage_class_name.as_deref() == Some(CLASS) && spec.volume_name.as_deref().unwrap_or("").is_empty()
    }) && claim.meta().deletion_timestamp.is_none()
}

fn is_released(volume: &PersistentVolume) -> bool {
    volume
        .annotations()
        .get(PROVISIONED_BY)
        .is_some_and(|by| by == PROVISIONER)
        && volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released")
}

async fn provision(client: &Client, claim: &PersistentVolumeClaim) -> Result<()> {
    let uid = claim.uid().context("a claim without a uid")?;
    let name = format!("local-{uid}");
    let folder = folder(&name);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    let spec = claim.spec.as_ref().context("a claim that claims nothing")?;
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "storageClassName": CLASS,
            "capacity": spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
            "accessModes": spec.access_modes,
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "hostPath": {"path": folder, "type": "Directory"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(),
                "name": claim.name_any(),
                "uid": uid,
            },
        },
    }))?;
    match Api::<PersistentVolume>::all(client.clone())
        .create(&PostParams::default(), &volume)
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        created => created
            .map(|_| ())
            .with_context(|| format!("could not make the volume {name}")),
    }
}

async fn reclaim(client: &Client, volume: &PersistentVolume) -> Result<()> {
    let name = volume.name_any();
    let folder = folder(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    match Api::<PersistentVolume>::all(client.clone())
        .delete(&name, &DeleteParams::default())
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted
            .map(|_| ())
            .with_context(|| format!("could not remove the volume {name}")),
    }
}

fn folder(volume: &str) -> PathBuf {
    PathBuf::from(NODE_HOME).join("volumes").join(volume)
}
