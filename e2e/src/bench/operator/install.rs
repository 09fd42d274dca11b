//! What the controller needs in a cluster: the CRDs, and of the chart all but the Deployment, whose place a process takes.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::controller::SERVICE_ACCOUNT;
use crate::cluster::Cluster;
use crate::cluster::command::run;
use crate::operator::{NAMESPACE, checkout};

/// The chart's files that hold no Deployment.
const TEMPLATES: [&str; 2] = ["templates/rbac.yaml", "templates/fencing.yaml"];

/// Installs them, or brings what is there to the checkout's.
///
/// # Errors
/// With what kubectl or Helm said.
pub async fn install(cluster: &Cluster) -> Result<()> {
    let crds = checkout().join("crds");
    let mut apply = cluster.kubectl().await?;
    apply
        .args(["apply", "--server-side", "--force-conflicts", "-f"])
        .arg(&crds);
    run(&mut apply).await?;
    let mut wait = cluster.kubectl().await?;
    wait.args(["wait", "--for=condition=Established", "--timeout=60s", "-f"])
        .arg(&crds);
    run(&mut wait).await?;

    let client = cluster.client().await?;
    let ours = PatchParams::apply("ferrygate-e2e").force();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    Api::<Namespace>::all(client.clone())
        .patch(NAMESPACE, &ours, &Patch::Apply(namespace))
        .await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SERVICE_ACCOUNT}});
    Api::<ServiceAccount>::namespaced(client, NAMESPACE)
        .patch(SERVICE_ACCOUNT, &ours, &Patch::Apply(account))
        .await?;

    let mut template = cluster.helm().await?;
    template
        .args(["template", "ferrygate"])
        .arg(checkout().join("charts/ferrygate"));
    template.args(["--namespace", NAMESPACE]);
    for file in TEMPLATES {
        template.args(["--show-only", file]);
    }
    let manifests = run(&mut template).await?;
    let mut kubectl = cluster.kubectl().await?;
    let mut child = kubectl
        .args(["apply", "--server-side", "--force-conflicts", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
    stdin.write_all(manifests.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
