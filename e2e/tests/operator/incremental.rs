//! The runs after the first one: records that were committed late, a quota that is used up, and a run on request.

use std::time::Duration;

use anyhow::{Context, Result};
use ferrygate::api::SyncPipeline;
use ferrygate::cli::run_now;
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::tenant::{Simulated, Tenant};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{manifests, tenant};

const PATIENCE: Duration = Duration::from_secs(180);

/// A tenant whose first run has ended.
async fn synced(namespace: &str, every: &str) -> Result<Tenant> {
    synced_by(
        namespace,
        manifests::pipeline("people", "org", "workspace", "contact", every),
    )
    .await
}

/// A tenant with this pipeline, whose first run has ended.
async fn synced_by(namespace: &str, pipeline: Value) -> Result<Tenant> {
    let tenant = tenant(namespace).await?;
    tenant
        .tell(
            Simulated::Salesforce,
            "POST",
            "seed",
            &json!({"contacts": 20, "to": ago(20)}),
        )
        .await?;
    tenant.apply(&manifests::whole(pipeline)).await?;
    tenant
        .until_pipeline("people", PATIENCE, "the first run", |pipeline| runs(pipeline) >= 1)
        .await?;
    Ok(tenant)
}

fn ago(minutes: i64) -> String {
    (Timestamp::now() - SignedDuration::from_mins(minutes)).to_string()
}

/// The number of the stream's last run.
fn runs(pipeline: &SyncPipeline) -> i64 {
    let streams = pipeline.status.iter().flat_map(|status| &status.streams);
    let last = streams.filter_map(|stream| stream.last_run.as_ref());
    last.map(|run| run.epoch).max().unwrap_or_default()
}

#[tokio::test]
async fn a_record_that_is_committed_long_after_it_was_stamped_arrives_once() -> Result<()> {
    // Nothing but the org's word on its open transactions holds the watermark back.
    let mut pipeline = manifests::pipeline("people", "org", "workspace", "contact", "4s");
    pipeline["spec"]["streams"][0]["lookBack"] = json!("0s");
    let tenant = synced_by("late-commit", pipeline).await?;
    let created = json!({"op": "create", "object": "Contact", "fields": {"LastName": "Late"}});
    tenant
        .tell(
            Simulated::Salesforce,
            "POST",
            "transactions",
            &json!({"name": "late", "started": ago(10), "changes": [created]}),
        )
        .await?;
    // Another record is modified after that, and delivered.
    let users = tenant.get(Simulated::Segment, "users").await?;
    let fields = json!({"Email": "passing@example.com", "HasOptedOutOfEmail": false});
    let update = json!({"op": "update", "id": users[0], "fields": fields});
    let changed = tenant
        .tell(
            Simulated::Salesforce,
            "POST",
            "changes",
            &json!({"at": ago(5), "changes": [update]}),
        )
        .await?;
    let passing = changed["ids"][0].as_str().context("an id")?.to_owned();
    let path = format!("events?userId={passing}&type=identify");
    until(PATIENCE, "the change to arrive", async || {
        let events = tenant.get(Simulated::Segment, &path).await?;
        Ok((events["events"].as_array().map(Vec::len) == Some(2)).then_some(()))
    })
    .await?;
    let passed = tenant
        .until_pipeline("people", PATIENCE, "one more run", {
            let seen = runs(&tenant.pipeline("people").await?) + 1;
            move |pipeline| runs(pipeline) >= seen
        })
        .await?;
    let mut streams = passed.status.iter().flat_map(|status| &status.streams);
    assert!(!streams.any(|stream| stream.watermark.as_ref().is_some_and(|mark| mark.id == passing)));
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

    // Runs that read it again, until the watermark has passed it, send nothing more.
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
