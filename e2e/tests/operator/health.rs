//! `kubectl wait`, kstatus, Argo CD and Flux on what the API server has, from the instant at which a resource is created.

use anyhow::Result;
use ferrygate::api::conditions::{READY, RECONCILING, STALLED};
use ferrygate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use ferrygate_e2e::gitops::{Health, evaluate};
use ferrygate_e2e::tenant::{Simulated, Tenant};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use crate::{manifests, tenant};

/// kind, name, kstatus, Argo CD, Flux.
type Said<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn said(health: &Health) -> Said<'_> {
    let argocd = health.argocd.as_ref().map_or("none", |argocd| argocd.status.as_str());
    (&health.kind, &health.name, &health.kstatus, argocd, &health.flux)
}

/// The four kinds, without our types: what the API server says is not to be read by what wrote it.
fn kinds(tenant: &Tenant) -> [Api<DynamicObject>; 4] {
    [
        ApiResource::erase::<CrmSource>(&()),
        ApiResource::erase::<CdpSink>(&()),
        ApiResource::erase::<MappingVersion>(&()),
        ApiResource::erase::<SyncPipeline>(&()),
    ]
    .map(|kind| Api::namespaced_with(tenant.client().clone(), tenant.namespace(), &kind))
}

async fn wait(tenant: &Tenant, condition: &str, resources: &[&str]) -> Result<()> {
    let condition = format!("--for=condition={condition}");
    let words = ["wait", "-n", tenant.namespace(), &condition, "--timeout=180s"];
    tenant.kubectl(&[&words, resources].concat()).await?;
    Ok(())
}

/// The types among `Ready`, `Reconciling` and `Stalled` that a resource has, each with its status.
fn readiness(resource: &Value) -> Vec<(&str, &str)> {
    let conditions = resource["status"]["conditions"].as_array();
    let read = conditions
        .into_iter()
        .flatten()
        .filter_map(|condition| Some((condition["type"].as_str()?, condition["status"].as_str()?)));
    read.filter(|(kind, _)| [READY, RECONCILING, STALLED].contains(kind))
        .collect()
}

#[tokio::test]
async fn kubectl_wait_and_every_gitops_tool_agree_with_ready() -> Result<()> {
    let tenant = tenant("health").await?;
    tenant
        .tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": 10}))
        .await?;
    let lost = manifests::pipeline("lost", "nowhere", "workspace", "contact", "6h");
    let mut held = manifests::pipeline("held", "org", "workspace", "contact", "6h");
    held["spec"]["suspend"] = json!(true);
    let [sources, sinks, mappings, pipelines] = kinds(&tenant);
    let mut created = Vec::new();
    for (kind, resource) in [
        (&sources, manifests::source("org")),
        (&sinks, manifests::sink("workspace")),
        (&mappings, manifests::mapping("contact")),
        (
            &pipelines,
            manifests::pipeline("people", "org", "workspace", "contact", "6h"),
        ),
        (&pipelines, lost),
        (&pipelines, held),
    ] {
        // What the API server answers to this was made before any controller could see the resource.
        let resource = serde_json::from_value(resource)?;
        created.push(json!(kind.create(&PostParams::default(), &resource).await?));
    }
    #[rustfmt::skip]
    assert_eq!(evaluate(&created).await?.iter().map(said).collect::<Vec<_>>(), [
        ("CrmSource", "org", "InProgress", "Progressing", "InProgress"),
        ("CdpSink", "workspace", "InProgress", "Progressing", "InProgress"),
        ("MappingVersion", "contact-1.0.0", "InProgress", "Progressing", "InProgress"),
        ("SyncPipeline", "people", "InProgress", "Progressing", "InProgress"),
        ("SyncPipeline", "lost", "InProgress", "Progressing", "InProgress"),
        ("SyncPipeline", "held", "InProgress", "Progressing", "InProgress"),
    ], "{created:#?}");

    wait(&tenant, "Fresh", &["syncpipeline/people"]).await?;
    let well = ["crmsource/org", "cdpsink/workspace", "mappingversion/contact-1.0.0"];
    wait(&tenant, "Ready", &well).await?;
    wait(&tenant, "Ready", &["syncpipeline/people", "syncpipeline/held"]).await?;
    wait(&tenant, "Suspended", &["syncpipeline/held"]).await?;
    wait(&tenant, "Stalled", &["syncpipeline/lost"]).await?;

    let mut found = Vec::new();
    for kind in kinds(&tenant) {
        let listed = kind.list(&ListParams::default()).await?;
        found.extend(listed.items.into_iter().map(|item| json!(item)));
    }
    let health = evaluate(&found).await?;
    #[rustfmt::skip]
    assert_eq!(health.iter().map(said).collect::<Vec<_>>(), [
        ("CrmSource", "org", "Current", "Healthy", "Current"),
        ("CdpSink", "workspace", "Current", "Healthy", "Current"),
        ("MappingVersion", "contact-1.0.0", "Current", "Healthy", "Current"),
        ("SyncPipeline", "held", "Current", "Suspended", "Current"),
        ("SyncPipeline", "lost", "Failed", "Degraded", "Failed"),
        ("SyncPipeline", "people", "Current", "Healthy", "Current"),
    ], "{found:#?}");
    for (resource, health) in found.iter().zip(&health) {
        let one = |holds: &str| {
            [READY, RECONCILING, STALLED].map(|kind| (kind, if kind == holds { "True" } else { "False" }))
        };
        let holds = if health.kstatus == "Current" { READY } else { STALLED };
        assert_eq!(readiness(resource), one(holds), "{resource:#}");
    }
    tenant.remove().await
}
