//! The API server is away for long: first it does not answer, then it refuses. The controller heals without a restart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrygate::api::SyncPipelineStatus;
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::control_plane::workers::{Ends, Workers};
use ferrygate_e2e::operator::NAMESPACE;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{PATIENCE, control_plane, controller, events, has_run, jobs_of, pipeline, pipelines, until_status};

/// For how long the API server is away in all. By default long enough that the leader has lost its lead, and that pauses which
/// double from one second to half a minute have grown to that.
const OUTAGE_SECONDS: u64 = 80;
/// From the API server's return to a new run.
const HEALED: Duration = Duration::from_secs(40);
/// Of the slots, in seconds: far enough apart that a busy machine skips none, and several in an outage.
const EVERY: i64 = 20;

fn outage() -> Duration {
    let given = std::env::var("OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(OUTAGE_SECONDS))
}

fn last_slot(status: &SyncPipelineStatus) -> Option<i64> {
    let last = status.streams.first()?.last_run.as_ref()?;
    Some(last.slot_time.0.as_second())
}

#[tokio::test]
async fn after_an_outage_of_the_api_server_the_controller_heals_without_a_restart_and_starts_no_run_twice() -> Result<()>
{
    let mut plane = control_plane("outage").await?;
    let workers = Workers::start(&plane, Ends::All);
    let mut controller = controller(&plane, "controller", &["--lease-namespace", NAMESPACE]).await?;
    let api = pipelines(&plane, "outage");
    let manifest = pipeline("people", json!({"every": format!("{EVERY}s")}));
    plane.apply("outage", &manifest.to_string()).await?;
    plane
        .apply("outage", &pipeline("changed", json!({"every": "6h"})).to_string())
        .await?;
    until_status(&api, "changed", PATIENCE, "the first run", has_run).await?;
    let before = until_status(&api, "people", PATIENCE, "the first run", has_run).await?;
    let first = last_slot(&before).context("a last run")?;

    plane.freeze_api_server()?;
    tokio::time::sleep(outage() / 4).await;
    plane.kill_api_server()?;
    tokio::time::sleep(outage() * 3 / 4).await;
    assert!(controller.runs()?, "the controller has ended:\n{}", controller.log()?);
    plane.start_api_server().await?;
    let returned = Instant::now();

    let mut stream = manifest["spec"]["streams"][0].clone();
    stream["name"] = json!("more");
    stream["schedule"] = json!({"every": "6h"});
    let change = json!([{"op": "add", "path": "/spec/streams/-", "value": stream}]);
    let change = Patch::Json::<()>(serde_json::from_value(change)?);
    api.patch("changed", &PatchParams::default(), &change).await?;
    let new = until(HEALED, "the changed pipeline's new stream to get its Job", async || {
        let jobs = jobs_of(&plane, "outage", "changed").await?;
        let mut streams = jobs
            .iter()
            .filter_map(|job| job.metadata.labels.as_ref()?.get("ferrygate.io/stream"));
        Ok(streams.any(|stream| stream == "more").then_some(()))
    });
    new.await?;
    println!(
        "healed {:.1} s after the API server's return",
        returned.elapsed().as_secs_f64()
    );
    assert!(controller.runs()?, "the controller was not restarted");

    // Missed slots make one late run, for the last of them.
    let left = HEALED.saturating_sub(returned.elapsed());
    let late = |status: &SyncPipelineStatus| has_run(status) && last_slot(status) > Some(first);
    let after = until_status(&api, "people", left, "the late run", late).await?;
    let last = last_slot(&after).context("a last run")?;
    let mut runs = BTreeMap::<i64, usize>::new();
    for run in workers.runs().iter().filter(|run| run.pipeline == "people") {
        *runs.entry(run.slot.as_second()).or_default() += 1;
    }
    assert!(runs.values().all(|count| *count == 1), "a slot has two Jobs: {runs:?}");
    let skipped = after.streams[0].skipped.as_ref().map_or(0, |skipped| skipped.count);
    let started = runs.keys().filter(|slot| **slot > first && **slot <= last).count();
    // The first run's slot is the moment of its start, which is none of the schedule's.
    let slots = (last - first + EVERY - 1) / EVERY;
    assert_eq!(
        i64::try_from(started)? + skipped,
        slots,
        "each slot is run or skipped: {runs:?}, {:?}",
        after.streams[0].skipped
    );
    // An Event comes a moment after the status that it tells of; a busy machine may skip another slot, which has an Event too.
    until(
        PATIENCE,
        "Events that tell of as many slots as were skipped",
        async || {
            let told = events(&plane, "outage", "people", "SlotsSkipped").await?;
            let counts = told.iter().filter_map(|note| {
                note.split("no run started for ")
                    .nth(1)?
                    .split(' ')
                    .next()?
                    .parse::<i64>()
                    .ok()
            });
            if counts.sum::<i64>() != skipped {
                bail!("{skipped} were skipped, and told was {told:?}; {runs:?}");
            }
            Ok(Some(()))
        },
    )
    .await?;
    Ok(())
}
