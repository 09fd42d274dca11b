//! What one successful run writes to the API: a real one, by a worker in a container, of a record that changed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrygate::api::SyncPipeline;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Bench, PATIENCE};
use crate::bench::operator::audit::{Mark, Request, summary};
use crate::bench::operator::controller::{Controller, USER};
use crate::bench::operator::kwok::Pods;
use crate::bench::operator::report::Row;
use crate::cluster::until::until;
use crate::image::BuiltImages;
use crate::tenant::{Simulated, Tenant};

const NAMESPACE: &str = "bench-run";
const WORKER: &str = "system:serviceaccount:bench-run:ferrygate-worker";
const PIPELINE: &str = "customers";
/// How many runs are made. Only from the third on is there a Job that is no longer kept.
const RUNS: usize = 4;
/// Nothing was written for so long: the run is over.
const QUIET: Duration = Duration::from_secs(3);
const RUN_PATIENCE: Duration = Duration::from_secs(180);

/// Makes several runs on the real node, and counts the writes of the last.
///
/// # Errors
/// When a run does not succeed.
pub async fn measure(bench: &Bench, controller: &mut Controller, images: &BuiltImages) -> Result<Vec<Row>> {
    bench.nodes.send(Pods::Real).await?;
    let tenant = Tenant::create(&bench.cluster, images, NAMESPACE).await?;
    let counted = writes(bench, controller, &tenant).await;
    tenant.remove().await?;
    bench.nodes.send(Pods::Simulated).await?;
    let writes = counted?;
    bench
        .steps
        .note(&format!("the last of {RUNS} runs: {}", summary(&writes)));
    Ok(vec![Row::count("API writes for one successful run", writes.len(), 6)])
}

async fn writes(bench: &Bench, controller: &mut Controller, tenant: &Tenant) -> Result<Vec<Request>> {
    tenant
        .tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": 1000}))
        .await?;
    tenant.apply_samples().await?;
    // The first run starts at once, and the schedule starts no other.
    let patch = json!([
        {"op": "replace", "path": "/spec/streams/0/schedule", "value": {"every": "24h"}},
        {"op": "replace", "path": "/spec/streams/0/freshness/objective", "value": "26h"},
    ]);
    let pipelines: Api<SyncPipeline> = Api::namespaced(bench.client.clone(), NAMESPACE);
    let patch = Patch::Json::<SyncPipeline>(serde_json::from_value(patch)?);
    pipelines.patch(PIPELINE, &PatchParams::default(), &patch).await?;
    let mut mark = bench.audit.mark();
    let mut last = ended(tenant, 0).await?;
    let users = tenant.get(Simulated::Segment, "users").await?;
    for number in 2..=RUNS {
        quiet(bench, mark).await?;
        controller.calm(PATIENCE).await?;
        let email = format!("run-{number}@example.com");
        let update = json!({"op": "update", "id": users[0], "fields": {"Email": email}});
        tenant
            .tell(Simulated::Salesforce, "POST", "changes", &json!({"changes": [update]}))
            .await?;
        mark = bench.audit.mark();
        let request = json!({"metadata": {"annotations": {"ferrygate.io/run-now": format!("run {number}")}}});
        pipelines
            .patch(PIPELINE, &PatchParams::default(), &Patch::Merge::<Value>(request))
            .await?;
        last = ended(tenant, last).await?;
    }
    quiet(bench, mark).await?;
    written(bench, mark)
}

/// Waits until a run after the one of a number has succeeded, and returns its number.
async fn ended(tenant: &Tenant, before: i64) -> Result<i64> {
    let newer = |pipeline: &SyncPipeline| {
        let stream = pipeline.status.as_ref()?.streams.first()?;
        let last = stream.last_run.as_ref()?;
        let succeeded = last.outcome == ferrygate::api::common::Outcome::Succeeded;
        (stream.active_run.is_none() && succeeded && last.epoch > before).then_some(last.epoch)
    };
    let pipeline = tenant
        .until_pipeline(PIPELINE, RUN_PATIENCE, "a run to succeed", |pipeline| {
            newer(pipeline).is_some()
        })
        .await?;
    newer(&pipeline).context("a run that succeeded")
}

fn written(bench: &Bench, mark: Mark) -> Result<Vec<Request>> {
    bench.audit.writes_since(mark, |user| [USER, WORKER].contains(&user))
}

/// Waits until nothing more is written.
async fn quiet(bench: &Bench, mark: Mark) -> Result<()> {
    let mut seen = (0, Instant::now());
    until(RUN_PATIENCE, "the writes to end", async || {
        let writes = written(bench, mark)?.len();
        if writes != seen.0 {
            seen = (writes, Instant::now());
        }
        Ok((seen.1.elapsed() >= QUIET).then_some(()))
    })
    .await
}
