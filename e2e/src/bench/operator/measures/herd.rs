//! Many pipelines that are due in the same second.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use super::{Bench, PATIENCE};
use crate::bench::operator::arrivals::{Arrivals, StreamKey};
use crate::bench::operator::controller::Controller;
use crate::bench::operator::fixture::Place;
use crate::bench::operator::report::Row;

/// How long before the slot the pipelines are told of it.
const NOTICE: i64 = 120;
const STREAM: &str = "contacts";

/// Has the first streams of many pipelines follow a schedule that is due once, soon, and waits for all of their Jobs.
///
/// # Errors
/// When a Job is not created.
pub async fn measure(bench: &Bench, controller: &mut Controller, herd: usize) -> Result<Vec<Row>> {
    let places = bench.fixture.some(herd);
    bench.fixture.claims(&bench.client, &places).await?;
    controller.calm(PATIENCE).await?;
    let arrivals = Arrivals::watch(bench.client.clone()).await?;
    let slot = (Timestamp::now().as_second() + NOTICE).div_euclid(60) * 60 + 60;
    let (minute, hour) = (slot / 60 % 60, slot / 3600 % 24);
    let patch = json!([{
        "op": "replace", "path": "/spec/streams/0/schedule", "value": {"cron": format!("{minute} {hour} * * *")},
    }]);
    bench.fixture.change(&bench.client, &places, &patch).await?;
    controller.calm(PATIENCE).await?;
    let slot = Timestamp::from_second(slot)?;
    ensure!(
        Timestamp::now() < slot,
        "the controller took longer than {NOTICE} s for the new schedules, so that they were due before they were known"
    );
    let (cpu, wanted) = (controller.cpu()?, keys(&places));
    let last = arrivals.until(PATIENCE, "all Jobs of a second", |latest| {
        let seen = |key| latest.get(key).filter(|seen| seen.time >= slot);
        wanted
            .iter()
            .map(seen)
            .collect::<Option<Vec<_>>>()?
            .iter()
            .map(|seen| seen.time)
            .max()
    });
    let took = Duration::try_from(last.await?.duration_since(slot)).context("a Job before its slot")?;
    controller.calm(PATIENCE).await?;
    bench.steps.note(&format!(
        "{} Jobs after {:.1} s; {:.1} s of the controller's CPU until all runs had ended",
        places.len(),
        took.as_secs_f64(),
        (controller.cpu()? - cpu).as_secs_f64(),
    ));
    Ok(vec![Row::time(
        format!("{} pipelines due in the same second → all Jobs created", places.len()),
        took,
        Duration::from_secs(15),
    )])
}

fn keys(places: &[&Place]) -> HashSet<StreamKey> {
    let key = |place: &&Place| StreamKey {
        namespace: place.namespace.clone(),
        pipeline: place.name.clone(),
        stream: STREAM.to_owned(),
    };
    places.iter().map(key).collect()
}
