//! Simulated nodes: kwok moves their pods from pending to succeeded, and nothing runs.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::process::{Child, Command};

use super::controller::without_proxy;
use crate::cluster::Cluster;
use crate::cluster::binaries::Binaries;
use crate::cluster::until::until;
use crate::progress::Steps;

/// The annotation by which kwok knows its nodes.
const OURS: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// How many nodes are simulated. Each takes as many pods as there may be.
const NODES: usize = 4;
const STAGES: &str = include_str!("stages.yaml");

/// kwok, which ends with this.
pub struct Simulation {
    _process: Child,
    nodes: Api<Node>,
    real: String,
}

/// Where pods go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// To the simulated nodes: they only pretend to run.
    Simulated,
    /// To the real one.
    Real,
}

impl Simulation {
    /// Starts kwok, and waits until its nodes are ready. The real node takes no pods from here on.
    ///
    /// # Errors
    /// When kwok can't be built, or the nodes don't become ready.
    pub async fn start(cluster: &Cluster, folder: &Path, steps: &Steps) -> Result<Self> {
        let program = Binaries::ensure_kwok(steps).await?;
        let stages = folder.join("stages.yaml");
        std::fs::write(&stages, STAGES)?;
        let log = File::create(folder.join("kwok.log"))?;
        let process = without_proxy(&mut Command::new(&program))
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .arg("--config")
            .arg(&stages)
            .arg(format!("--manage-nodes-with-annotation-selector={}={}", OURS.0, OURS.1))
            .arg("--node-lease-duration-seconds=40")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let simulation = Simulation {
            _process: process,
            nodes: Api::all(cluster.client().await?),
            real: cluster.name().to_owned(),
        };
        for number in 0..NODES {
            let node = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name(number), "annotations": {OURS.0: OURS.1}},
            });
            let apply = PatchParams::apply("ferrygate-e2e").force();
            simulation
                .nodes
                .patch(&name(number), &apply, &Patch::Apply(node))
                .await?;
        }
        simulation.send(Pods::Simulated).await?;
        until(Duration::from_secs(60), "the simulated nodes to be ready", async || {
            for number in 0..NODES {
                if !is_ready(&simulation.nodes.get(&name(number)).await?) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        Ok(simulation)
    }

    /// Has the scheduler send new pods to the nodes of one kind only.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn send(&self, pods: Pods) -> Result<()> {
        let real = std::iter::once((self.real.clone(), pods == Pods::Simulated));
        let simulated = (0..NODES).map(|number| (name(number), pods == Pods::Real));
        for (node, unschedulable) in real.chain(simulated) {
            let patch = Patch::Merge(json!({"spec": {"unschedulable": unschedulable}}));
            self.nodes.patch(&node, &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }
}

/// Has the real node take pods again: a cluster none of whose nodes would is taken for a broken one.
///
/// # Errors
/// When the API server refuses.
pub async fn leave(cluster: &Cluster) -> Result<()> {
    let nodes: Api<Node> = Api::all(cluster.client().await?);
    let patch = Patch::Merge(json!({"spec": {"unschedulable": false}}));
    nodes.patch(cluster.name(), &PatchParams::default(), &patch).await?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("simulated-{number}")
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let untainted = node
        .spec
        .as_ref()
        .is_none_or(|spec| spec.taints.iter().flatten().count() == 0);
    untainted
        && conditions
            .into_iter()
            .any(|one| one.type_ == "Ready" && one.status == "True")
}
