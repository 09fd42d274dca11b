//! A list of everything anew: what follows when the API server has gone and come back, and no longer knows where watches were.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Request;

use super::{Bench, PATIENCE};
use crate::bench::operator::controller::Controller;
use crate::bench::operator::report::Row;
use crate::cluster::until::until;

/// What must be listed anew.
const RESOURCES: [&str; 2] = ["syncpipelines", "jobs"];

/// Kills the API server, waits until the controller has listed everything from the next one, and tells its peak.
///
/// # Errors
/// When the API server or the controller does not come back.
pub async fn measure(bench: &Bench, controller: &mut Controller) -> Result<Vec<Row>> {
    let node = bench.cluster.local().context("a local cluster")?.node();
    let cpu = controller.cpu()?;
    controller.forget_peak()?;
    let mark = bench.audit.mark();
    node.kill_program("kube-apiserver")?;
    until(PATIENCE, "the API server to be back", async || {
        let answer = bench.client.request_text(Request::get("/readyz").body(vec![])?).await?;
        Ok((answer == "ok").then_some(()))
    })
    .await?;
    until(
        Duration::from_secs(180),
        "the controller to list everything anew",
        async || {
            let requests = bench.audit.since(mark)?;
            let listed = |resource: &&str| requests.iter().any(|request| request.lists_all_of(resource));
            Ok(RESOURCES.iter().all(|resource| listed(resource)).then_some(()))
        },
    )
    .await?;
    controller.calm(PATIENCE).await?;
    bench.steps.note(&format!(
        "{:.1} MiB at the peak, {:.1} MiB after it; {:.1} s of CPU",
        mebibytes(controller.peak()?),
        mebibytes(controller.resident()?),
        (controller.cpu()? - cpu).as_secs_f64(),
    ));
    Ok(vec![Row::memory(
        "resident memory, peak while listing anew",
        controller.peak()?,
        200,
    )])
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
