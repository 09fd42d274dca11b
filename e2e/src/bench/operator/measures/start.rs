//! A start over everything that is there.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Bench, PATIENCE};
use crate::bench::operator::audit::summary;
use crate::bench::operator::controller::{Controller, USER};
use crate::bench::operator::report::Row;

/// How often it is asked whether the first pass is over. An answer tells of every stream of every pipeline, which is work too.
const LOOK: Duration = Duration::from_millis(500);

/// Starts a controller and waits until it has reconciled every pipeline. A first start of a fixture may write; one after that has
/// nothing to write.
///
/// # Errors
/// When it ends, or never gets there.
pub async fn measure(bench: &Bench, identity: &str) -> Result<(Controller, Vec<Row>)> {
    let mark = bench.audit.mark();
    let mut controller = bench.launch.start(identity, false)?;
    let pipelines = bench.fixture.pipelines.len();
    let passed = loop {
        tokio::time::sleep(LOOK).await;
        // Until it serves, it has reconciled nothing.
        let reconciled = controller.reconciles("SyncPipeline").await.unwrap_or_default();
        let passed = controller.started().elapsed();
        if reconciled >= pipelines as u64 {
            break passed;
        }
        controller.cpu()?;
        if passed > PATIENCE {
            bail!("after {passed:?}, {reconciled} of {pipelines} pipelines were reconciled");
        }
    };
    controller.calm(PATIENCE).await?;
    let writes = bench.audit.writes_since(mark, |user| user == USER)?;
    bench.steps.note(&format!(
        "first pass after {:.1} s, with {} writes ({}); {:.1} s of CPU, {} reconciles of pipelines",
        passed.as_secs_f64(),
        writes.len(),
        summary(&writes),
        controller.cpu()?.as_secs_f64(),
        controller.reconciles("SyncPipeline").await?,
    ));
    let rows = vec![
        Row::time("start → first pass over all done", passed, Duration::from_secs(10)),
        Row::count("writes of that pass", writes.len(), 0),
    ];
    Ok((controller, rows))
}
