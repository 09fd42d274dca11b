//! 20,000 contacts, everything goes wrong that can, and each is delivered exactly once.

use std::time::Duration;

use anyhow::{Context, Result};
use ferrygate::api::SyncPipeline;
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::operator::NAMESPACE;
use ferrygate_e2e::tenant::{Simulated, Tenant, WRITE_KEY};
use serde_json::json;

use crate::{manifests, tenant};

const CONTACTS: i64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(420);

fn run_ended(pipeline: &SyncPipeline) -> bool {
    pipeline.status.as_ref().is_some_and(|status| {
        status
            .streams
            .iter()
            .any(|stream| stream.last_success_time.is_some() && stream.active_run.is_none())
    })
}

/// Deletes pods at once, so that the kubelet ends them by SIGKILL.
async fn kill(tenant: &Tenant, namespace: &str, selector: &str) -> Result<String> {
    tenant
        .kubectl(&[
            "delete",
            "pod",
            "-n",
            namespace,
            "-l",
            selector,
            "--grace-period=0",
            "--force",
            "--wait=false",
        ])
        .await
}

#[tokio::test]
async fn twenty_thousand_contacts_arrive_exactly_once_through_every_fault() -> Result<()> {
    let tenant = tenant("exactly-once").await?;
    let seed = json!({"contacts": CONTACTS, "accounts": 10, "tie": {"position": 1998, "records": 4}});
    tenant.tell(Simulated::Salesforce, "POST", "seed", &seed).await?;
    let crm_faults = json!([
        {"match": {"path": "/services/data/v62.0/query"}, "kind": {"latency": {"ms": 700}}},
        {"match": {"path": "/services/data/v62.0/query"}, "after": 3, "times": 1, "kind": "expireSession"},
        {"match": {"path": "/services/data/v62.0/query"}, "after": 6, "times": 1, "kind": {"truncateBody": {"atBytes": 5000}}},
    ]);
    tenant.tell(Simulated::Salesforce, "PUT", "faults", &crm_faults).await?;
    let cdp_faults = json!([
        {"match": {"path": "/v1/batch"}, "after": 2, "times": 2, "kind": {"status": {"code": 429, "headers": {"Retry-After": "1"}}}},
        {"match": {"path": "/v1/batch"}, "after": 8, "times": 3, "kind": {"status": {"code": 503}}},
        {"match": {"path": "/v1/batch"}, "after": 14, "times": 1, "kind": {"dropConnection": {}}},
    ]);
    tenant.tell(Simulated::Segment, "PUT", "faults", &cdp_faults).await?;
    tenant
        .apply(&manifests::whole(manifests::pipeline(
            "people",
            "org",
            "workspace",
            "contact",
            "6h",
        )))
        .await?;

    until(PATIENCE, "the middle of the first run", async || {
        let counts = tenant.get(Simulated::Segment, "counts").await?;
        Ok((counts["distinct"].as_i64().unwrap_or_default() >= 2_000).then_some(()))
    })
    .await?;
    kill(&tenant, tenant.namespace(), "ferrygate.io/pipeline=people").await?;
    kill(&tenant, NAMESPACE, "app.kubernetes.io/component=controller").await?;

    let pipeline = tenant
        .until_pipeline("people", PATIENCE, "the run to end", run_ended)
        .await?;
    let status = pipeline.status.context("a status")?;
    let stream = &status.streams[0];
    let counts = stream.counts.context("counts")?;
    let received = tenant.get(Simulated::Segment, "counts").await?;
    let users = tenant.get(Simulated::Segment, "users").await?;
    let reconciliation = stream.reconciliation.as_ref().context("a count of both sides")?;
    assert_eq!(
        (
            counts.read,
            counts.delivered + counts.suppressed,
            counts.unchanged,
            counts.rejected,
            received["distinct"].as_i64(),
            received["rejected"].as_i64(),
            users.as_array().map(Vec::len),
            (reconciliation.source_count, reconciliation.delivered_count),
        ),
        (
            CONTACTS,
            CONTACTS,
            0,
            0,
            Some(CONTACTS),
            Some(0),
            usize::try_from(CONTACTS).ok(),
            (CONTACTS, CONTACTS),
        ),
        "counts {counts:?}, received {received}"
    );
    assert!(
        stream.watermark.is_some() && stream.complete_as_of.is_some(),
        "{stream:?}"
    );
    tenant
        .kubectl(&[
            "wait",
            "-n",
            tenant.namespace(),
            "syncpipeline/people",
            "--for=condition=Reconciled",
            "--timeout=30s",
        ])
        .await?;
    nothing_confidential(&tenant).await?;
    tenant.remove().await
}

/// Greps all that a person can read of the run for what must not be there.
async fn nothing_confidential(tenant: &Tenant) -> Result<()> {
    let namespace = tenant.namespace();
    let mut said = String::new();
    for words in [
        &[
            "logs",
            "-n",
            namespace,
            "-l",
            "ferrygate.io/pipeline=people",
            "--tail=-1",
        ][..],
        &[
            "logs",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/component=controller",
            "--tail=-1",
        ],
        &["get", "events", "-n", namespace, "-o", "yaml"],
        &[
            "get",
            "crmsources,cdpsinks,syncpipelines",
            "-n",
            namespace,
            "-o",
            "yaml",
        ],
        &[
            "get",
            "--raw",
            "/api/v1/namespaces/ferrygate-system/services/ferrygate-metrics:8080/proxy/metrics",
        ],
    ] {
        said += &tenant.kubectl(words).await?;
    }
    assert!(said.contains("people"), "the logs were read");
    for secret in ["@example", WRITE_KEY, "PRIVATE KEY", "Open - Not Contacted", "Bearer "] {
        assert!(!said.contains(secret), "{secret:?} is in what a person can read");
    }
    Ok(())
}
