//! The chart, rendered and applied: for the permissions that it gives to the controller, and the words that it runs it by.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;

use super::ControlPlane;
use crate::{
    cluster::command::run,
    operator::{NAMESPACE, checkout},
};

/// The ServiceAccount of the controller.
pub const ACCOUNT: &str = "ferrygate-controller";

/// Installs the chart. No pod follows from it here.
///
/// # Errors
/// With what Helm or the API server said.
pub async fn install(plane: &ControlPlane, tenants: &[&str]) -> Result<()> {
    for namespace in tenants.iter().chain([&NAMESPACE]) {
        plane.namespace(namespace).await?;
    }
    let mut helm = plane.tool("helm");
    helm.args(["template", "ferrygate"])
        .arg(checkout().join("charts/ferrygate"));
    helm.args(["--namespace", NAMESPACE, "--skip-crds"]);
    helm.args(["--set-json", &format!("tenantNamespaces={}", json!(tenants))]);
    let rendered = run(&mut helm).await?;
    plane.kubectl_apply(&[], &rendered).await
}

/// The namespaces that the chart has the controller serve, as flags: `--namespace=crm-prod`.
///
/// # Errors
/// When the chart is not installed.
pub async fn namespace_flags(plane: &ControlPlane) -> Result<Vec<String>> {
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), NAMESPACE);
    let deployment = deployments.get("ferrygate-controller").await?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).context("a pod")?;
    let words = pod.containers.into_iter().next().and_then(|container| container.args);
    let words = words.context("a container with arguments")?;
    Ok(words
        .into_iter()
        .filter(|word| word.starts_with("--namespace"))
        .collect())
}
