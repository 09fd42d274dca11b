//! Telling the pipeline's status how far a run got, by compare-and-swap: only while the status still names this run.
//!
//! Each write is a JSON Patch whose first operations test that the stream's `activeRun` is this run, so that the API server
//! itself refuses a run that was superseded. It touches this stream's fields only, and never conflicts with the controller's.

use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tracing::warn;

use super::{Progress, Publish, RunResult};
use crate::api::SyncPipeline;
use crate::api::common::Outcome;
use crate::api::sync_pipeline::{FillRates, RunReport};

/// How often the last write of a run is tried before the run ends without it; the controller then goes by the exit code.
const REPORT_TRIES: u32 = 8;

/// The status of one stream of one pipeline, as one run may write it.
pub struct StreamStatusWriter {
    api: Api<SyncPipeline>,
    pipeline: String,
    stream: String,
    run: String,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the status names another run")]
    Superseded,
    #[error("the API server did not take the status: {0}")]
    Unavailable(#[from] kube::Error),
}

impl StreamStatusWriter {
    /// A writer for `run` of `stream` of `pipeline`; `api` is of the pipeline's namespace.
    pub fn new(api: Api<SyncPipeline>, pipeline: &str, stream: &str, run: &str) -> Self {
        StreamStatusWriter {
            api,
            pipeline: pipeline.to_owned(),
            stream: stream.to_owned(),
            run: run.to_owned(),
        }
    }

    /// Writes how the run ended. An API server that is away is tried again for about two minutes.
    ///
    /// # Errors
    /// [`Outcome::Superseded`] where the status names another run.
    pub async fn report(&self, result: &RunResult) -> Result<(), Outcome> {
        let mut fields = progress_fields(&result.progress());
        let report = RunReport {
            outcome: result.outcome,
            message: result.message.clone(),
        };
        fields.push(("activeRun/report", json!(report)));
        fields.push((
            "parkedUntil",
            json!(result.parked_until.map(|instant| instant.to_string())),
        ));
        if let Some(schema) = &result.schema {
            fields.push(("schema", json!(schema)));
        }
        let mut wait = Duration::from_millis(500);
        for attempt in 1..=REPORT_TRIES {
            match self.write(&fields, result.fill.as_ref()).await {
                Ok(()) => return Ok(()),
                Err(WriteError::Superseded) => return Err(Outcome::Superseded),
                Err(error) => {
                    warn!(attempt, %error, "the run's report was not taken");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(30));
                }
            }
        }
        Ok(())
    }

    /// `fill` is written where it tells more than what is there.
    async fn write(&self, fields: &[(&'static str, Value)], fill: Option<&FillRates>) -> Result<(), WriteError> {
        // The place in the list is read first; the tests in the patch hold even if the list changes in between.
        loop {
            let pipeline = self.api.get_status(&self.pipeline).await?;
            let streams = pipeline.status.map(|status| status.streams).unwrap_or_default();
            let place = streams
                .iter()
                .position(|stream| stream.name == self.stream)
                .filter(|&place| {
                    streams[place]
                        .active_run
                        .as_ref()
                        .is_some_and(|run| run.name == self.run)
                })
                .ok_or(WriteError::Superseded)?;
            let fill = fill.filter(|fill| fill.replace(streams[place].fill.as_ref()));
            let fill = fill.map(|fill| ("fill", json!(fill)));
            let fields: Vec<_> = fields.iter().cloned().chain(fill).collect();
            let patch = Patch::Json::<SyncPipeline>(self.patch(place, &fields));
            match self
                .api
                .patch_status(&self.pipeline, &PatchParams::default(), &patch)
                .await
            {
                Ok(_) => return Ok(()),
                // A test failed: the list was changed between the read and the write, so look again.
                Err(kube::Error::Api(status)) if status.code == 422 || status.code == 409 => continue,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn patch(&self, place: usize, fields: &[(&str, Value)]) -> json_patch::Patch {
        let test = |path: &str, value: &str| json!({"op": "test", "path": format!("/status/streams/{place}/{path}"), "value": value});
        let mut operations = vec![test("name", &self.stream), test("activeRun/name", &self.run)];
        operations.extend(fields.iter().map(
            |(path, value)| json!({"op": "add", "path": format!("/status/streams/{place}/{path}"), "value": value}),
        ));
        serde_json::from_value(Value::Array(operations)).expect("the operations are of the form that RFC 6902 gives")
    }
}

impl Publish for StreamStatusWriter {
    async fn publish(&self, progress: &Progress) -> Result<(), Outcome> {
        match self.write(&progress_fields(progress), None).await {
            Ok(()) => Ok(()),
            Err(WriteError::Superseded) => Err(Outcome::Superseded),
            // The store holds the truth; the status is told again at the next checkpoint.
            Err(error) => {
                warn!(%error, "the run's progress was not published");
                Ok(())
            }
        }
    }
}

/// The fields of a stream's status that a run writes; what is not known yet is left as it is.
fn progress_fields(progress: &Progress) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("counts", json!(progress.counts)),
        ("deadLetters", json!(progress.dead_letters)),
    ];
    if let Some(watermark) = &progress.watermark {
        fields.push(("watermark", json!(watermark)));
    }
    if let Some(instant) = progress.complete_as_of {
        fields.push(("completeAsOf", json!(instant.to_string())));
    }
    if let Some(erasures) = progress.erasures {
        fields.push(("erasures", json!(erasures)));
    }
    if let Some(reconciliation) = &progress.reconciliation {
        fields.push(("reconciliation", json!(reconciliation)));
    }
    fields
}
