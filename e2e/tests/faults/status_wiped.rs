//! A status that somebody wipes by hand is told again, and starts nothing.

use anyhow::{Context, Result};
use ferrygate::api::common::UNSEEN;
use ferrygate::api::{SyncPipeline, SyncPipelineStatus};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::control_plane::ControlPlane;
use ferrygate_e2e::control_plane::workers::{Ends, Workers, end};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    PATIENCE, condition, control_plane, controller, has_run, is_running, jobs_of, pipeline, pipelines, until_status,
};

const NAMESPACE: &str = "wiped";

/// What is written in place of the status.
const WIPES: [(&str, &str); 2] = [("nulled", "null"), ("emptied", "{}")];

async fn wipe(api: &Api<SyncPipeline>, name: &str, with: &str) -> Result<()> {
    let with: Value = serde_json::from_str(with)?;
    let operations = json!([{"op": "replace", "path": "/status", "value": with}]);
    let patch = Patch::Json::<SyncPipeline>(serde_json::from_value(operations)?);
    let wiped = api.patch_status(name, &PatchParams::default(), &patch).await?;
    // What the API server makes of it is what it gives a resource that no controller has seen.
    let unseen = SyncPipelineStatus {
        observed_generation: Some(UNSEEN),
        ..SyncPipelineStatus::default()
    };
    assert_eq!(wiped.status, Some(unseen), "the status was wiped");
    Ok(())
}

/// Which run a status names, under way or last, and what comes next.
fn told(status: &SyncPipelineStatus) -> Value {
    let stream = &status.streams[0];
    let active = stream
        .active_run
        .as_ref()
        .map(|run| (&run.name, run.epoch, &run.slot_time));
    let last = stream
        .last_run
        .as_ref()
        .map(|run| (&run.name, run.epoch, &run.slot_time, run.outcome));
    let conditions: Vec<_> = ["Ready", "Reconciling", "Stalled", "Suspended"]
        .into_iter()
        .map(|kind| condition(&status.conditions, kind).map(|found| (kind, &found.status, &found.reason)))
        .collect();
    json!({"active": active, "last": last, "next": stream.next_run_time, "conditions": conditions})
}

async fn uids_of_jobs(plane: &ControlPlane, pipeline: &str) -> Result<Vec<Option<String>>> {
    let jobs = jobs_of(plane, NAMESPACE, pipeline).await?;
    Ok(jobs.into_iter().map(|job| job.metadata.uid).collect())
}

#[tokio::test]
async fn a_status_that_was_wiped_is_told_again_and_no_second_job_is_started() -> Result<()> {
    let plane = control_plane(NAMESPACE).await?;
    let _workers = Workers::start(&plane, Ends::Probes);
    let _controller = controller(&plane, "controller", &[]).await?;
    let api = pipelines(&plane, NAMESPACE);
    for (how, _) in WIPES {
        let manifest = pipeline(how, json!({"every": "6h"}));
        plane.apply(NAMESPACE, &manifest.to_string()).await?;
    }
    for (how, with) in WIPES {
        // In the middle of a run.
        let before = until_status(&api, how, PATIENCE, "a run", is_running).await?;
        let jobs = async || uids_of_jobs(&plane, how).await;
        let one = until(PATIENCE, "the run's Job", async || {
            Ok(Some(jobs().await?).filter(|jobs| jobs.len() == 1))
        });
        let one = one.await?;
        wipe(&api, how, with).await?;
        let recalled = until_status(&api, how, PATIENCE, "the status to be told again", is_running).await?;
        assert_eq!(told(&recalled), told(&before), "{how} in the middle of a run");

        // Its worker reports into the new status.
        let job = jobs_of(&plane, NAMESPACE, how)
            .await?
            .into_iter()
            .next()
            .context("a Job")?;
        end(&plane, &job).await?;
        let ended = |status: &SyncPipelineStatus| has_run(status) && status.streams[0].next_run_time.is_some();
        let before = until_status(&api, how, PATIENCE, "the run to end", ended).await?;
        let last = before.streams[0].last_run.as_ref().context("a last run")?;
        assert_eq!(last.message, "read 10 records", "{how}");

        // Between two runs.
        wipe(&api, how, with).await?;
        let again = until_status(&api, how, PATIENCE, "the status to be told again", ended).await?;
        assert_eq!(told(&again), told(&before), "{how} between two runs");
        assert_eq!(jobs().await?, one, "{how}: a Job more, or another one");
    }
    Ok(())
}
