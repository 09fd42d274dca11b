//! Time in which nothing happens.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use crate::bench::operator::audit::summary;
use crate::bench::operator::controller::{Controller, USER};
use crate::bench::operator::report::Row;

/// How often its metrics are scraped meanwhile, as Prometheus does.
const SCRAPE: Duration = Duration::from_secs(30);

/// Lets a controller idle, and counts what it writes all the same.
///
/// # Errors
/// When it ends.
pub async fn measure(bench: &Bench, controller: &Controller, length: Duration) -> Result<Vec<Row>> {
    let mark = bench.audit.mark();
    let (begun, cpu) = (Instant::now(), controller.cpu()?);
    let mut steady = controller.resident()?;
    while let Some(left) = length.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        tokio::time::sleep(left.min(SCRAPE)).await;
        controller.reconciles("SyncPipeline").await?;
        steady = steady.max(controller.resident()?);
    }
    let writes = bench.audit.writes_since(mark, |user| user == USER)?;
    bench.steps.note(&format!(
        "{} writes ({}); {:.2} s of CPU",
        writes.len(),
        summary(&writes),
        (controller.cpu()? - cpu).as_secs_f64(),
    ));
    Ok(vec![
        Row::memory("resident memory, steady", steady, 128),
        Row::count(
            format!("writes in {} idle s, besides the Lease", length.as_secs()),
            writes.len(),
            0,
        ),
    ])
}
