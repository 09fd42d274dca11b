//! etcd has forgotten what happened while nobody watched: the controller lists anew, and sees what is gone and what has ended.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::control_plane::ControlPlane;
use ferrygate_e2e::control_plane::workers::{Ends, Workers, end};
use futures::TryStreamExt;
use kube::Api;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{PATIENCE, control_plane, controller, has_run, is_running, jobs_of, pipeline, pipelines, until_status};

/// From the end of the fault to a whole view.
const HEALED: Duration = Duration::from_secs(40);

const NAMESPACE: &str = "history";

#[tokio::test]
async fn what_ended_and_was_deleted_in_a_lost_part_of_history_is_seen() -> Result<()> {
    let mut plane = control_plane(NAMESPACE).await?;
    let _workers = Workers::start(&plane, Ends::Probes);
    let controller = controller(&plane, "controller", &[]).await?;
    let api = pipelines(&plane, NAMESPACE);
    for name in ["deleted", "ends"] {
        let manifest = pipeline(name, json!({"every": "6h"}));
        plane.apply(NAMESPACE, &manifest.to_string()).await?;
        until_status(&api, name, PATIENCE, "a run", is_running).await?;
    }
    end_run_of(&plane, "deleted").await?;
    until_status(&api, "deleted", PATIENCE, "the end of the run", has_run).await?;
    let series = "pipeline=\"deleted\"";
    until(PATIENCE, "the pipeline's metrics", async || {
        Ok(controller.metrics().await?.contains(series).then_some(()))
    })
    .await?;

    controller.signal(Signal::SIGSTOP)?;
    let seen = api
        .list(&ListParams::default())
        .await?
        .metadata
        .resource_version
        .context("a version")?;
    api.delete("deleted", &DeleteParams::default()).await?;
    end_run_of(&plane, "ends").await?;
    let manifest = pipeline("created", json!({"every": "6h"}));
    plane.apply(NAMESPACE, &manifest.to_string()).await?;
    plane.compact().await?;
    plane.kill_api_server()?;
    plane.start_api_server().await?;
    is_gone(&plane, &seen).await?;
    controller.signal(Signal::SIGCONT)?;

    until(HEALED, "the deleted pipeline to leave the metrics", async || {
        Ok((!controller.metrics().await?.contains(series)).then_some(()))
    })
    .await?;
    let ended = until_status(&api, "ends", HEALED, "the ended run to be collected", has_run).await?;
    let last = ended.streams[0].last_run.as_ref().context("a last run")?;
    assert_eq!(last.message, "read 10 records");
    until_status(&api, "created", HEALED, "the new pipeline's run", is_running).await?;
    Ok(())
}

async fn end_run_of(plane: &ControlPlane, pipeline: &str) -> Result<()> {
    let job = until(PATIENCE, "the run's Job", async || {
        Ok(jobs_of(plane, NAMESPACE, pipeline).await?.into_iter().next())
    })
    .await?;
    end(plane, &job).await
}

/// The fault is there: who asks for what followed upon `version` is told `410 Gone`.
async fn is_gone(plane: &ControlPlane, version: &str) -> Result<()> {
    let api: Api<ferrygate::api::SyncPipeline> = pipelines(plane, NAMESPACE);
    let mut events = match api.watch(&WatchParams::default(), version).await {
        Ok(events) => Box::pin(events),
        Err(kube::Error::Api(status)) if status.code == 410 => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match events.try_next().await? {
        Some(WatchEvent::Error(status)) if status.code == 410 => Ok(()),
        other => bail!("the API server still knows the past: {other:?}"),
    }
}
