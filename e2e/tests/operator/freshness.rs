//! `Fresh` turns False at the instant the objective is missed, with nothing else happening.

use std::time::Duration;

use anyhow::{Context, Result};
use ferrygate::api::SyncPipeline;
use ferrygate::api::conditions::{FRESH, is_true};
use ferrygate_e2e::tenant::Simulated;
use serde_json::json;

use crate::{manifests, tenant};

const OBJECTIVE: i64 = 25;

fn is_fresh(pipeline: &SyncPipeline) -> bool {
    pipeline.status.as_ref().is_some_and(|status| {
        is_true(&status.conditions, FRESH) && status.streams.iter().all(|stream| stream.complete_as_of.is_some())
    })
}

fn is_stale(pipeline: &SyncPipeline) -> bool {
    let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.type_ == FRESH && condition.status == "False")
}

#[tokio::test]
async fn fresh_turns_false_at_the_instant_the_objective_is_missed() -> Result<()> {
    let tenant = tenant("freshness").await?;
    tenant
        .tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": 10}))
        .await?;
    let mut pipeline = manifests::pipeline("people", "org", "workspace", "contact", "6h");
    pipeline["spec"]["streams"][0]["freshness"]["objective"] = json!(format!("{OBJECTIVE}s"));
    tenant.apply(&manifests::whole(pipeline)).await?;
    tenant
        .until_pipeline("people", Duration::from_secs(180), "the first run", is_fresh)
        .await?;
    let stale = tenant
        .until_pipeline("people", Duration::from_secs(90), "Fresh to turn False", is_stale)
        .await?;
    let status = stale.status.context("a status")?;
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == FRESH)
        .context("the condition")?;
    let complete = status.streams[0].complete_as_of.as_ref().context("an instant")?.0;
    let late = condition.last_transition_time.0.as_second() - (complete.as_second() + OBJECTIVE);
    assert!(
        (0..=5).contains(&late),
        "Fresh turned False {late} s after the objective was missed"
    );
    assert!(condition.message.contains("contacts"), "{}", condition.message);
    tenant.remove().await
}
