//! The runs after the first one: records that were committed late, a quota that is used up, and a run on request.

use std::time::Duration;

use anyhow::{Context, Result};
use ferrygate::api::SyncPipeline;
use ferrygate::cli::run_now;
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::tenant::{Simulated, Tenant};
use serde_json::{Value, json};

use crate::{manifests, tenant};

const PATIENCE: Duration = Duration::from_secs(180);

/// A tenant whose first run has ended.
async fn synced(namespace: &str, every: &str) -> Result<Tenant> {
    let tenant = tenant(namespace).await?;
    tenant
        .tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": 20}))
        .await?;
    tenant
        .apply(&manifests::whole(manifests::pipeline(
            "people",
            "org",
            "workspace",
            "contact",
            every,
        )))
        .await?;
    tenant
        .until_pipeline("people", PATIENCE, "the first run", |pipeline| runs(pipeline) >= 1)
        .await?;
    Ok(tenant)
}

/// The number of the stream's last run.
fn runs(pipeline: &SyncPipeline) -> i64 {
    let streams = pipeline.status.iter().flat_map(|status| &status.streams);
    let last = streams.filter_map(|stream| stream.last_run.as_ref());
    last.map(|run| run.epoch).max().unwrap_or_default()
}

#[tokio::test]
async fn a_record_that_is_committed_after_the_watermark_passed_it_arrives_once() -> Result<()> {
    let tenant = synced("late-commit", "4s").await?;
    let created = json!({"op": "create", "object": "Contact", "fields": {"LastName": "Late"}});
    tenant
        .tell(
            Simulated::Salesforce,
            "POST",
            "transactions",
            &json!({"name": "late", "changes": [created]}),
        )
        .await?;
    // Another record moves the watermark past the open transaction's stamp.
    let users = tenant.get(Simulated::Segment, "users").await?;
    let update = json!({"op": "update", "id": users[0], "fields": {"Email": "passing@example.com"}});
    let changed = tenant
        .tell(Simulated::Salesforce, "POST", "changes", &json!({"changes": [update]}))
        .await?;
    let passing = changed["ids"][0].as_str().context("an id")?.to_owned();
    let passed = tenant
        .until_pipeline("people", PATIENCE, "the watermark to move", |pipeline| {
            let mut streams = pipeline.status.iter().flat_map(|status| &status.streams);
            streams.any(|stream| stream.watermark.as_ref().is_some_and(|mark| mark.id == passing))
        })
        .await?;
    let committed = tenant
        .tell(Simulated::Salesforce, "POST", "transactions/late/commit", &Value::Null)
        .await?;
    let late = committed["ids"][0].clone();
    until(PATIENCE, "the late record to arrive", async || {
        let users = tenant.get(Simulated::Segment, "users").await?;
        Ok(users
            .as_array()
            .is_some_and(|users| users.contains(&late))
            .then_some(()))
    })
    .await?;

    // Runs that read it again in their look-back send nothing more.
    let seen = runs(&passed) + 3;
    tenant
        .until_pipeline("people", PATIENCE, "more runs", |pipeline| runs(pipeline) >= seen)
        .await?;
    let path = format!("events?userId={}&type=identify", late.as_str().context("an id")?);
    let events = tenant.get(Simulated::Segment, &path).await?;
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1), "{events}");
    tenant.remove().await
}

#[tokio::test]
async fn a_quota_that_is_used_up_parks_the_stream_and_says_until_when() -> Result<()> {
    let tenant = synced("quota", "4s").await?;
    let quota = json!({"used": 15_000, "allowed": 15_000});
    tenant.tell(Simulated::Salesforce, "PUT", "quota", &quota).await?;
    let pipeline = tenant
        .until_pipeline("people", PATIENCE, "the stream to be parked", |pipeline| {
            pipeline.status.iter().any(|status| {
                let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
                ready.is_some_and(|ready| ready.reason == "SourceThrottled")
                    && status.streams[0].parked_until.is_some()
                    && status.streams[0].active_run.is_none()
            })
        })
        .await?;
    let stream = &pipeline.status.context("a status")?.streams[0];
    assert!(
        stream.next_run_time >= stream.parked_until,
        "the next run comes before the quota's reset: {stream:?}"
    );
    until(Duration::from_secs(60), "its Event", async || {
        let events = tenant
            .kubectl(&["events", "-n", tenant.namespace(), "--for", "syncpipeline/people"])
            .await?;
        Ok(events.contains("SourceThrottled").then_some(()))
    })
    .await?;
    tenant.remove().await
}

#[tokio::test]
async fn a_run_that_is_asked_for_starts_once() -> Result<()> {
    let tenant = synced("run-now", "6h").await?;
    let first = runs(&tenant.pipeline("people").await?);
    for expected in [first + 1, first + 2] {
        run_now::request(tenant.client().clone(), tenant.namespace(), "people").await?;
        tenant
            .until_pipeline("people", PATIENCE, "the run that was asked for", |pipeline| {
                runs(pipeline) == expected
            })
            .await?;
    }
    let status = tenant.pipeline("people").await?.status.context("a status")?;
    assert!(status.streams[0].active_run.is_none(), "{status:?}");
    tenant.remove().await
}
