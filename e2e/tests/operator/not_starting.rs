//! Runs that never come to start, and what `Ready` then says: the words of the cause, and nothing of it once the cause is gone.

use std::time::Duration;

use anyhow::Result;
use ferrygate::api::SyncPipeline;
use ferrygate::api::conditions::READY;
use ferrygate_e2e::tenant::{Simulated, Tenant};
use serde_json::{Value, json};

use crate::{manifests, tenant};

/// The kubelet tells after some tries only that a volume can't be mounted.
const PATIENCE: Duration = Duration::from_secs(300);

fn pipeline(name: &str, template: Value) -> Value {
    let mut pipeline = manifests::pipeline(name, "org", "workspace", "contact", "6h");
    pipeline["spec"]["jobTemplate"] = template;
    pipeline
}

/// Waits until `Ready` has this status, and its reason and its message hold these words.
async fn until_ready(tenant: &Tenant, pipeline: &str, status: &str, words: &[&str]) -> Result<SyncPipeline> {
    let what = format!("Ready={status} with {words:?}");
    tenant
        .until_pipeline(pipeline, PATIENCE, &what, |pipeline| {
            let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
            let mut ready = conditions.filter(|condition| condition.type_ == READY);
            ready.any(|ready| {
                let said = format!("{}: {}", ready.reason, ready.message);
                ready.status == status && words.iter().all(|word| said.contains(word))
            })
        })
        .await
}

#[tokio::test]
async fn a_run_that_does_not_start_is_told_in_the_words_of_its_cause_until_that_is_mended() -> Result<()> {
    let tenant = tenant("not-starting").await?;
    tenant
        .tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": 10}))
        .await?;
    let secret = json!([{"name": "ca", "secret": {"secretName": "egress-ca"}}]);
    let mounted = json!([{"name": "ca", "mountPath": "/etc/ssl/egress", "readOnly": true}]);
    tenant
        .apply(&manifests::list(vec![
            manifests::source("org"),
            manifests::sink("workspace"),
            manifests::mapping("contact"),
            pipeline("secretless", json!({"volumes": secret, "volumeMounts": mounted})),
            pipeline("placeless", json!({"nodeSelector": {"example.com/egress": "true"}})),
        ]))
        .await?;
    until_ready(
        &tenant,
        "placeless",
        "False",
        &["PodNotStarting", "Unschedulable", "node"],
    )
    .await?;
    until_ready(
        &tenant,
        "secretless",
        "False",
        &["PodNotStarting", "FailedMount", "egress-ca"],
    )
    .await?;

    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-more-jobs"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    });
    tenant.apply(&quota.to_string()).await?;
    quota_counts(&tenant).await?;
    let refused = manifests::pipeline("refused", "org", "workspace", "contact", "6h");
    tenant.apply(&refused.to_string()).await?;
    until_ready(
        &tenant,
        "refused",
        "False",
        &["JobRefused", "exceeded quota", "no-more-jobs"],
    )
    .await?;

    let namespace = tenant.namespace();
    tenant
        .kubectl(&["delete", "resourcequota", "no-more-jobs", "-n", namespace])
        .await?;
    let egress = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "egress-ca"}, "stringData": {"ca.crt": "none"},
    });
    tenant.apply(&egress.to_string()).await?;
    until_ready(&tenant, "refused", "True", &["Succeeded"]).await?;
    until_ready(&tenant, "secretless", "True", &["Succeeded"]).await?;
    tenant.remove().await
}

/// Waits until the quota is known to the API server, which refuses nothing before.
async fn quota_counts(tenant: &Tenant) -> Result<()> {
    let known = "--for=jsonpath={.status.hard.count/jobs\\.batch}=0";
    let words = [
        "wait",
        "-n",
        tenant.namespace(),
        "resourcequota/no-more-jobs",
        known,
        "--timeout=120s",
    ];
    tenant.kubectl(&words).await?;
    Ok(())
}
