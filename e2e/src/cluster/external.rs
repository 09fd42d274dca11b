//! Clusters that others made: by kind, or whoever the current kubeconfig is from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::config::Kubeconfig;

use super::{
    command::{find, sh},
    paths::cache,
};
use crate::progress::Steps;

/// The kubeconfig of kind's cluster `name`, which is made if it isn't there.
///
/// # Errors
/// When kind, or what it needs, is missing.
pub async fn ensure_kind(name: &str, steps: &Steps) -> Result<PathBuf> {
    if find("kind").is_none() {
        bail!("CLUSTER=kind, but kind is not on the PATH: install kind and Docker, or unset CLUSTER");
    }
    let kubeconfig = kind_kubeconfig(name)?;
    std::fs::create_dir_all(kubeconfig.parent().context("the cache has no folder")?)?;
    let path = kubeconfig.to_string_lossy();
    if kind_clusters().await?.contains(name) {
        sh(["kind", "export", "kubeconfig", "--name", name, "--kubeconfig", &path]).await?;
    } else {
        let make = [
            "kind",
            "create",
            "cluster",
            "--name",
            name,
            "--kubeconfig",
            &path,
            "--wait",
            "120s",
        ];
        steps
            .step(&format!("Making the cluster {name} with kind"), sh(make))
            .await?;
    }
    Ok(kubeconfig)
}

/// Whether kind has a cluster `name`.
pub async fn has_kind(name: &str) -> bool {
    kind_clusters().await.is_ok_and(|clusters| clusters.contains(name))
}

/// Has kind delete its cluster `name`, if it has one.
///
/// # Errors
/// When kind does not.
pub async fn delete_kind(name: &str, steps: &Steps) -> Result<()> {
    if kind_clusters().await?.contains(name) {
        let delete = sh(["kind", "delete", "cluster", "--name", name]);
        steps
            .step(&format!("Having kind delete the cluster {name}"), delete)
            .await?;
    }
    let kubeconfig = kind_kubeconfig(name)?;
    if kubeconfig.exists() {
        std::fs::remove_file(kubeconfig)?;
    }
    Ok(())
}

/// Gives kind's cluster an image.
///
/// # Errors
/// When kind does not take it.
pub async fn load_into_kind(name: &str, archive: &Path) -> Result<()> {
    sh([
        "kind",
        "load",
        "image-archive",
        &archive.to_string_lossy(),
        "--name",
        name,
    ])
    .await
    .map(|_| ())
}

/// The kubeconfig that `kubectl` would use.
///
/// # Errors
/// When there is none.
pub fn current() -> Result<PathBuf> {
    let given = std::env::var_os("KUBECONFIG")
        .filter(|given| !given.is_empty())
        .map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    match given.or_else(home) {
        Some(kubeconfig) if kubeconfig.is_file() => Ok(kubeconfig),
        _ => bail!(
            "CLUSTER=current, but there is no kubeconfig: set KUBECONFIG to the file of one cluster, or unset CLUSTER"
        ),
    }
}

/// Gives the current cluster an image, if it is of a kind that can be given one.
///
/// # Errors
/// When it is not, or does not take it.
pub async fn load_into_current(kubeconfig: &Path, archive: &Path, reference: &str) -> Result<()> {
    let context = Kubeconfig::read_from(kubeconfig)?.current_context.unwrap_or_default();
    if let Some(name) = context.strip_prefix("kind-") {
        return load_into_kind(name, archive).await;
    }
    if context == "minikube" {
        return sh(["minikube", "image", "load", &archive.to_string_lossy()])
            .await
            .map(|_| ());
    }
    bail!(
        "the cluster of the context `{context}` can't be given an image from here: load {} into its nodes as \
         {reference}, or unset CLUSTER to use a local cluster",
        archive.display()
    )
}

async fn kind_clusters() -> Result<KindClusters> {
    Ok(KindClusters(
        sh(["kind", "get", "clusters"]).await.context("does Docker run?")?,
    ))
}

struct KindClusters(String);

impl KindClusters {
    fn contains(&self, name: &str) -> bool {
        self.0.lines().any(|line| line == name)
    }
}

fn kind_kubeconfig(name: &str) -> Result<PathBuf> {
    Ok(cache()?.join("kind").join(name))
}
