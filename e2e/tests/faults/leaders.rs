//! Two controllers, of which one leads: another goes on where it ends, and in the middle of a burst no run is doubled or lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::control_plane::ControlPlane;
use ferrygate_e2e::control_plane::controller::Controller;
use ferrygate_e2e::control_plane::workers::{Ends, Workers};
use ferrygate_e2e::operator::NAMESPACE;
use jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{PATIENCE, control_plane, controller, has_run, jobs_of, pipeline, pipelines, run_now, until_status};

/// How long a leader that is not heard of stays one.
const LEASE: Duration = Duration::from_secs(15);
/// How soon after that another acts.
const TAKES_OVER: Duration = Duration::from_secs(2);
/// What a debug build on a machine that is busy with other tests may take longer; the benchmark holds the figures.
const SLACK: Duration = Duration::from_secs(2);
/// How many pipelines are due in the same second.
const BURST: usize = 120;

const TENANT: &str = "leaders";

async fn until_one_leads(of: &[&Controller]) -> Result<usize> {
    until(PATIENCE, "a leader", async || {
        for (place, controller) in of.iter().enumerate() {
            if controller.leads().await {
                return Ok(Some(place));
            }
        }
        Ok(None)
    })
    .await
}

#[tokio::test]
async fn another_leads_at_once_after_sigterm_and_after_the_lease_where_the_leader_was_killed_in_a_burst() -> Result<()>
{
    let plane = control_plane(TENANT).await?;
    let workers = Workers::start(&plane, Ends::All);
    let leased = ["--lease-namespace", NAMESPACE];
    let mut all = vec![
        controller(&plane, "first", &leased).await?,
        controller(&plane, "second", &leased).await?,
    ];
    let leader = until_one_leads(&[&all[0], &all[1]]).await?;
    let api = pipelines(&plane, TENANT);
    api.create(
        &PostParams::default(),
        &serde_json::from_value(pipeline("asked", json!({"every": "6h"})))?,
    )
    .await?;
    until_status(&api, "asked", PATIENCE, "the first run", has_run).await?;

    let mut ended = all.remove(leader);
    let started = Instant::now();
    ended.signal(Signal::SIGTERM)?;
    run_now(&api, "asked", "by the other").await?;
    until(TAKES_OVER + SLACK, "the other to start a run", async || {
        Ok((jobs_of(&plane, TENANT, "asked").await?.len() == 2).then_some(()))
    })
    .await?;
    println!("a run {:.2} s after SIGTERM", started.elapsed().as_secs_f64());
    until(PATIENCE, "the terminated controller to end", async || {
        Ok((!ended.runs()?).then_some(()))
    })
    .await?;
    drop(ended);

    all.push(controller(&plane, "third", &leased).await?);
    burst(&plane, &workers, &mut all).await
}

/// All pipelines are due at the same minute; the leader is killed when some of the Jobs are there.
async fn burst(plane: &ControlPlane, workers: &Workers, all: &mut [Controller]) -> Result<()> {
    let api = pipelines(plane, TENANT);
    for number in 0..BURST {
        let manifest = pipeline(&format!("burst-{number}"), json!({"cron": "* * * * *"}));
        api.create(&PostParams::default(), &serde_json::from_value(manifest)?)
            .await?;
    }
    let count = |slot: Timestamp| {
        let mut runs = BTreeMap::<String, usize>::new();
        for run in workers.runs() {
            if run.slot == slot && run.pipeline.starts_with("burst-") {
                *runs.entry(run.pipeline).or_default() += 1;
            }
        }
        runs
    };
    until(2 * PATIENCE, "the first run of each", async || {
        let all = api.list(&ListParams::default()).await?.items;
        let ran = all.iter().all(|one| one.status.as_ref().is_some_and(has_run));
        Ok(ran.then_some(()))
    })
    .await?;

    let minute = Timestamp::now().as_second() / 60 + 1;
    let slot = Timestamp::from_second(minute * 60)?;
    until(2 * PATIENCE, "some Jobs of the burst", async || {
        Ok((count(slot).len() >= BURST / 10).then_some(()))
    })
    .await?;
    let leader = until_one_leads(&[&all[0], &all[1]]).await?;
    all[leader].kill()?;
    let killed = Instant::now();
    let before = count(slot).len();
    println!("killed with {before} of {BURST} Jobs");
    until(LEASE + TAKES_OVER + SLACK, "the other to lead", async || {
        Ok(all[1 - leader].leads().await.then_some(()))
    })
    .await?;
    println!("led {:.2} s after SIGKILL", killed.elapsed().as_secs_f64());
    until(PATIENCE, "a Job for each pipeline", async || {
        Ok((count(slot).len() == BURST).then_some(()))
    })
    .await
    .with_context(|| format!("{} of {BURST}", count(slot).len()))?;
    let slots = workers
        .runs()
        .into_iter()
        .map(|run| (run.pipeline, run.stream, run.slot));
    let mut times = BTreeMap::<_, usize>::new();
    slots.for_each(|slot| *times.entry(slot).or_default() += 1);
    let doubled: Vec<_> = times.into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(doubled.is_empty(), "slots with more than one Job: {doubled:?}");
    assert!(before < BURST, "the leader was killed in the middle of the burst");
    Ok(())
}
