//! From a change of a spec to the Job that follows.

use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::Bench;
use crate::bench::operator::arrivals::{Arrivals, StreamKey};
use crate::bench::operator::controller::Controller;
use crate::bench::operator::fixture::change;
use crate::bench::operator::report::{Row, percentile};

/// How long one Job may take before the measurement is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// Puts a new stream in the place of a pipeline's third, one pipeline after the other: a stream that never ran starts at once.
/// Meanwhile the runs of those before go on.
///
/// # Errors
/// When a Job is not created.
pub async fn measure(bench: &Bench, controller: &mut Controller, changes: usize) -> Result<Vec<Row>> {
    let places = bench.fixture.some(changes);
    bench.fixture.claims(&bench.client, &places).await?;
    controller.calm(super::PATIENCE).await?;
    let arrivals = Arrivals::watch(bench.client.clone()).await?;
    let stream = format!("opportunities-{}", Timestamp::now().as_second());
    let patch = json!([{"op": "replace", "path": "/spec/streams/2/name", "value": stream}]);
    let mut times = Vec::with_capacity(places.len());
    for place in places {
        let key = StreamKey {
            namespace: place.namespace.clone(),
            pipeline: place.name.clone(),
            stream: stream.clone(),
        };
        let begun = Instant::now();
        change(&bench.client, place, &patch).await?;
        let seen = arrivals.until(PATIENCE, "a Job to follow a change", |latest| latest.get(&key).copied());
        times.push(seen.await?.instant.duration_since(begun));
    }
    controller.calm(super::PATIENCE).await?;
    let wanted = [(50, 50), (99, 250)];
    Ok(wanted
        .map(|(percent, wanted)| {
            Row::time(
                format!("spec change → Job created, p{percent} of {}", times.len()),
                percentile(&mut times, percent),
                Duration::from_millis(wanted),
            )
        })
        .into())
}
