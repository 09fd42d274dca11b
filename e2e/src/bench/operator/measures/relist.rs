//! A list of everything anew: what follows when the API server has gone and come back, and no longer knows where watches were.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::Request;

use super::{Bench, PATIENCE};
use crate::bench::operator::audit::{Mark, lists};
use crate::bench::operator::controller::Controller;
use crate::bench::operator::report::Row;
use crate::cluster::until::until;

/// What it must list before its peak can be told: there is no list worth the name without these.
const HEAVY: [&str; 2] = ["syncpipelines", "jobs"];
/// How long it may take to.
const HEALING: Duration = Duration::from_secs(180);
/// How long the rest is waited for. What was not listed by then is watched on from where it was.
const REST: Duration = Duration::from_secs(60);

/// How often a controller lists each resource, by the log since before it was started.
///
/// # Errors
/// When the log can't be read.
pub fn listed(bench: &Bench, started: Mark) -> Result<BTreeMap<String, usize>> {
    Ok(lists(&bench.audit.since(started)?))
}

/// Kills the API server, waits until the controller has listed from the next one what it listed at its start, and tells its peak.
///
/// # Errors
/// When the API server or the controller does not come back.
pub async fn measure(
    bench: &Bench,
    controller: &mut Controller,
    at_start: &BTreeMap<String, usize>,
) -> Result<Vec<Row>> {
    let node = bench.cluster.local().context("a local cluster")?.node();
    let cpu = controller.cpu()?;
    controller.forget_peak()?;
    let mark = bench.audit.mark();
    node.kill_program("kube-apiserver")?;
    until(PATIENCE, "the API server to be back", async || {
        // One that was killed may leave a request without an answer.
        let ready = bench.client.request_text(Request::get("/readyz").body(vec![])?);
        let answer = tokio::time::timeout(Duration::from_secs(5), ready).await??;
        Ok((answer == "ok").then_some(()))
    })
    .await?;
    let back = Instant::now();
    let missing = || -> Result<Vec<String>> {
        let again = listed(bench, mark)?;
        let less = |(resource, times): &(&String, &usize)| again.get(*resource).unwrap_or(&0) < *times;
        Ok(at_start
            .iter()
            .filter(less)
            .map(|(resource, _)| resource.clone())
            .collect())
    };
    until(HEALING, "the controller to list everything anew", async || {
        let again = listed(bench, mark)?;
        Ok(HEAVY.iter().all(|resource| again.contains_key(*resource)).then_some(()))
    })
    .await?;
    let mut left = missing()?;
    while !left.is_empty() && back.elapsed() < REST {
        tokio::time::sleep(Duration::from_millis(200)).await;
        left = missing()?;
    }
    let again = listed(bench, mark)?;
    let healed = back.elapsed();
    controller.calm(PATIENCE).await?;
    bench.steps.note(&format!(
        "{again:?} listed anew within {:.1} s; {:.1} MiB at the peak, {:.1} MiB after it; {:.1} s of CPU",
        healed.as_secs_f64(),
        mebibytes(controller.peak()?),
        mebibytes(controller.resident()?),
        (controller.cpu()? - cpu).as_secs_f64(),
    ));
    if !left.is_empty() {
        bench
            .steps
            .note(&format!("not as often as at the start: {}", left.join(", ")));
    }
    Ok(vec![Row::memory(
        "resident memory, peak while listing anew",
        controller.peak()?,
        200,
    )])
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
