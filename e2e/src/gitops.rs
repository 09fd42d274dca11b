//! What GitOps tools make of a resource: kstatus, Argo CD with `config/argocd`, and Flux with `config/flux`, each by its own
//! code.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::cluster::binaries::Binaries;
use crate::operator::checkout;
use crate::progress::Steps;

/// What each says of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// The resource's kind.
    pub kind: String,
    /// The resource's name.
    pub name: String,
    /// `Current`, `InProgress`, `Failed` …
    pub kstatus: String,
    /// None where Argo CD has no health check for the kind.
    pub argocd: Option<ArgoCdHealth>,
    /// As of kstatus; `Unknown` where the expressions can't be evaluated.
    pub flux: String,
}

/// What Argo CD shows of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ArgoCdHealth {
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended` …
    pub status: String,
    /// The words beside it.
    #[serde(default)]
    pub message: String,
}

/// What each says of these resources, in their order. The first time, the program that asks them is compiled.
///
/// # Errors
/// When the program can't be built, or a resource or a check can't be read.
pub async fn evaluate(resources: &[Value]) -> Result<Vec<Health>> {
    let program = Binaries::ensure_gitops(&Steps::silent()).await?.path("health");
    let mut child = Command::new(program)
        .current_dir(checkout())
        .args(["-argocd", "e2e/gitops/argocd", "-flux", "config/flux/tenant.yaml"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("the program has no standard input")?;
    let input = serde_json::to_vec(resources)?;
    let written = tokio::spawn(async move { stdin.write_all(&input).await });
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    written.await??;
    Ok(serde_json::from_slice(&output.stdout)?)
}
