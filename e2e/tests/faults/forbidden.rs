//! A kind that the controller may not watch: it serves the others as if nothing were, says so, and heals by the permission alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrygate::api::{CrmSource, MappingVersion};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::control_plane::ControlPlane;
use ferrygate_e2e::control_plane::controller::Controller;
use ferrygate_e2e::control_plane::workers::{Ends, Workers};
use ferrygate_e2e::operator::NAMESPACE;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::{control_plane, has_run, manifests, pipeline, pipelines, tenant, until_status};

/// How soon what is new has a status. A pause that one failing watch puts upon the others is longer, once it has grown.
const AT_ONCE: Duration = Duration::from_secs(4);
/// How long the watch has been failing when the last one comes: a pause that doubles from one second has grown to eight.
const FAILING: Duration = Duration::from_secs(18);
/// Between two that come.
const BETWEEN: Duration = Duration::from_secs(1);
/// A pause between two tries of a watch is half a minute at most.
const HEALED: Duration = Duration::from_secs(40);

/// The controller's permissions by the chart in one namespace, without `list` and `watch` of one kind.
async fn grant(plane: &ControlPlane, namespace: &str, without: Option<&str>) -> Result<()> {
    let chart = Api::<ClusterRole>::all(plane.client())
        .get("ferrygate-controller")
        .await?;
    let mut rules: Vec<Value> = Vec::new();
    for rule in chart.rules.context("rules")? {
        let mut kept = json!(rule);
        let resources = rule.resources.unwrap_or_default();
        if let Some(kind) = without.filter(|kind| resources.iter().any(|resource| resource == kind)) {
            let others: Vec<_> = resources.iter().filter(|resource| *resource != kind).collect();
            rules.push(json!({"apiGroups": rule.api_groups, "resources": [kind], "verbs": ["get"]}));
            kept["resources"] = json!(others);
        }
        rules.push(kept);
    }
    rules.retain(|rule| rule["resources"] != json!([]));
    let role = |kind: &str, more: Value| {
        let mut object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "controller"},
        });
        object
            .as_object_mut()
            .into_iter()
            .for_each(|object| object.extend(more.as_object().cloned().unwrap_or_default()));
        object
    };
    let granted = manifests::list(vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "controller"}}),
        role("Role", json!({"rules": rules})),
        role(
            "RoleBinding",
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "controller"},
                "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": namespace}],
            }),
        ),
    ]);
    plane.apply(namespace, &granted).await
}

/// The chart's policies know its own controller only, and would fence one that runs by another ServiceAccount.
async fn unfence(plane: &ControlPlane) -> Result<()> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(plane.client());
    for name in ["ferrygate-worker-runs", "ferrygate-worker-probes"] {
        bindings.delete(name, &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn start(plane: &ControlPlane, namespace: &str) -> Result<Controller> {
    let kubeconfig = plane.kubeconfig_of(namespace, "controller").await?;
    Controller::start(plane, namespace, &kubeconfig, &["--namespace", namespace]).await
}

/// What comes while the watch fails has its status at once, as far as it is of another kind.
async fn others_are_served(plane: &ControlPlane, namespace: &str, kind: &str) -> Result<()> {
    let sources: Api<CrmSource> = Api::namespaced(plane.client(), namespace);
    let mappings: Api<MappingVersion> = Api::namespaced(plane.client(), namespace);
    let (started, mut number) = (Instant::now(), 0);
    while started.elapsed() < FAILING {
        number += 1;
        let (source, mapping) = (format!("org-{number}"), format!("mapping-{number}"));
        let came = started.elapsed();
        let failing = || format!("number {number}, which came when {kind} had not been watched for {came:?}");
        let manifest = serde_json::from_value(manifests::source(&source))?;
        sources.create(&PostParams::default(), &manifest).await?;
        let probed = until(AT_ONCE, "the new source's status and probe", async || {
            let status = sources.get(&source).await?.status.unwrap_or_default();
            let probed = status.active_probe.is_some() || status.probe.is_some();
            Ok((probed && !status.conditions.is_empty()).then_some(()))
        });
        probed.await.with_context(failing)?;
        if kind != "mappingversions" {
            let manifest = serde_json::from_value(manifests::mapping(&mapping))?;
            mappings.create(&PostParams::default(), &manifest).await?;
            until_told(&mappings, &format!("{mapping}-1.0.0"), AT_ONCE)
                .await
                .with_context(failing)?;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}

async fn until_told(mappings: &Api<MappingVersion>, name: &str, patience: Duration) -> Result<()> {
    until(patience, "the mapping's status", async || {
        let status = mappings.get(name).await?.status.unwrap_or_default();
        Ok((!status.conditions.is_empty()).then_some(()))
    })
    .await
}

async fn a_kind(plane: &ControlPlane, kind: &str) -> Result<()> {
    let namespace = format!("without-{kind}");
    tenant(plane, &namespace).await?;
    unfence(plane).await?;
    grant(plane, &namespace, Some(kind)).await?;
    let mut controller = start(plane, &namespace).await?;
    others_are_served(plane, &namespace, kind).await?;
    let said = controller.log()?;
    let told = said
        .lines()
        .any(|line| line.contains("forbidden") && line.contains(kind));
    assert!(told, "the log names no {kind} that is forbidden:\n{said}");

    grant(plane, &namespace, None).await?;
    let mappings: Api<MappingVersion> = Api::namespaced(plane.client(), &namespace);
    plane
        .apply(&namespace, &pipeline("people", json!({"every": "6h"})).to_string())
        .await?;
    until_told(&mappings, "contact-1.0.0", HEALED).await?;
    let api = pipelines(plane, &namespace);
    until_status(&api, "people", HEALED, "a run", has_run).await?;
    assert!(controller.runs()?, "the controller was not restarted");
    Ok(())
}

#[tokio::test]
async fn mapping_versions_that_may_not_be_watched_delay_no_other_kind() -> Result<()> {
    let plane = control_plane(NAMESPACE).await?;
    let _workers = Workers::start(&plane, Ends::All);
    a_kind(&plane, "mappingversions").await
}

#[tokio::test]
async fn pods_that_may_not_be_watched_delay_no_other_kind() -> Result<()> {
    let plane = control_plane(NAMESPACE).await?;
    let _workers = Workers::start(&plane, Ends::All);
    a_kind(&plane, "pods").await
}
