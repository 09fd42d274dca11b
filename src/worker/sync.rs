//! A run of one stream, from its beginning to its report.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::checkpoint::{self, Told};
use super::erase::{self, Erasing};
use super::extract::{self, Extracted, Reads, Whole};
use super::prepare::{self, Connected, Opened};
use super::readings::{Ended, Readings};
use super::stop::Stop;
use super::transform::{self, Channels, Rules};
use super::{Progress, Publish, RunResult, RunSpec, deliver, schema};
use crate::api::common::Outcome;
use crate::api::sync_pipeline::{Counts, FillRates, Reconciliation, StreamSchema};
use crate::secrets::Secrets;
use crate::source::{Source, SourceError};
use crate::state::{Cause, Store};

/// How often progress is published at most.
const PUBLISH_EVERY: Duration = Duration::from_secs(2);

/// How long one publication may take.
const PUBLISH_WITHIN: Duration = Duration::from_secs(10);

/// How long, after SIGTERM, what is under way may take to be acknowledged. A pod has 30 seconds by default.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// How many causes of dead letters a run's report names: the message has to be readable in `kubectl describe`.
const CAUSES_SHOWN: usize = 3;

/// Pages between extracting and transforming, parcels between transforming and delivering, acknowledgements before the store.
/// A page may have some megabytes, a parcel half of one.
const PAGES: usize = 1;
const PARCELS: usize = 2;
const ACKNOWLEDGED: usize = 8;

/// Runs one stream until its end, an error, or `shutdown`; what was acknowledged by then is in the state store.
pub async fn sync(
    spec: RunSpec,
    secrets: &Secrets,
    publisher: &impl Publish,
    shutdown: CancellationToken,
) -> RunResult {
    tracing::info!(
        run = spec.run,
        stream = spec.stream.name,
        epoch = spec.epoch,
        "run begins"
    );
    let mut report = Report::default();
    let stopped = run(&spec, secrets, publisher, &shutdown, &mut report).await.err();
    let progress = report.progress;
    let counts = progress.counts;
    let summary = (counts.read > 0 || stopped.is_none()).then(|| summary(&counts));
    let message = stopped
        .iter()
        .map(|stop| stop.message.clone())
        .chain(summary)
        .chain(report.notes);
    let result = RunResult {
        outcome: stopped.as_ref().map_or(Outcome::Succeeded, |stop| stop.outcome),
        message: message.collect::<Vec<_>>().join("; "),
        counts,
        watermark: progress.watermark,
        complete_as_of: progress.complete_as_of,
        dead_letters: progress.dead_letters,
        erasures: progress.erasures,
        reconciliation: progress.reconciliation,
        schema: report.schema,
        fill: report.fill,
        parked_until: stopped.and_then(|stop| stop.parked_until),
    };
    tracing::info!(
        run = spec.run,
        outcome = result.outcome.reason().as_str(),
        read = counts.read,
        delivered = counts.delivered,
        unchanged = counts.unchanged,
        suppressed = counts.suppressed,
        rejected = counts.rejected,
        "run ended"
    );
    result
}

/// What is known of the run so far, whatever happens next.
#[derive(Default)]
pub(super) struct Report {
    pub(super) progress: Progress,
    schema: Option<StreamSchema>,
    pub(super) fill: Option<FillRates>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn note(&mut self, note: String) {
        tracing::warn!("{note}");
        self.notes.push(note);
    }
}

async fn run(
    spec: &RunSpec,
    secrets: &Secrets,
    publisher: &impl Publish,
    shutdown: &CancellationToken,
    report: &mut Report,
) -> Result<(), Stop> {
    let begun = Timestamp::now();
    let plan = prepare::compile(spec, secrets)?;
    let tracked = prepare::tracked(&plan);
    let opened = {
        let spec = spec.clone();
        blocking("state", move || prepare::open(&spec, tracked)).await?
    };
    let Opened {
        mut store,
        empty,
        in_doubt,
        knows_keys,
        tracked,
        secret,
        notes,
    } = opened?;
    notes.into_iter().for_each(|note| report.note(note));
    report.progress = checkpoint::progress(store.checkpoint());

    let connected = shutdown.run_until_cancelled(prepare::connect(spec, secrets)).await;
    let Connected {
        source,
        sink,
        description,
    } = connected.ok_or_else(interrupted)??;
    let looked = {
        let spec = spec.clone();
        let lacking = plan.check_schema(&description).err().unwrap_or_default();
        blocking("state", move || {
            schema::look(&spec, &description, &lacking, &mut store).map(|look| (store, look))
        })
    };
    let (store, look) = looked.await??;
    report.schema = Some(look.schema);
    if let Some(stop) = look.stop {
        return Err(stop);
    }
    let readings = Readings {
        spec,
        secrets,
        source: &source,
        sink: &sink,
        publisher,
        shutdown,
        begun,
        empty,
        in_doubt,
        knows_keys,
        tracked: &tracked,
        secret: &secret,
    };
    let (mut store, ended) = readings.all(store, plan, report).await?;
    let ended = match ended {
        Ok(Extracted::All(whole)) => {
            let finished = blocking("state", move || {
                finish(&mut store, whole, begun).map(|finished| (store, finished))
            });
            let (store, causes) = finished.await??;
            report.progress = checkpoint::progress(store.checkpoint());
            if report.progress.dead_letters > 0 {
                report.note(dead_letters(&causes));
            }
            if store.checkpoint().partial {
                tracing::info!("counts are not compared: the store was lost once, and does not know every record");
            } else {
                reconcile(&source, spec, store.checkpoint().standing, report).await;
            }
            let erasing = Erasing {
                spec,
                source: &source,
                sink: &sink,
                shutdown,
            };
            erase::run(&erasing, store, report).await
        }
        Ok(Extracted::Cut) => Err(interrupted()),
        Err(stop) => Err(stop),
    };
    if ended.as_ref().is_err_and(|stop| stop.outcome == Outcome::Superseded) {
        return ended;
    }
    match publish(publisher, &report.progress).await {
        Ok(()) => ended,
        Err(Outcome::Superseded) => Err(superseded()),
        Err(outcome) => ended.and(Err(Stop::new(
            outcome,
            "everything is delivered and checkpointed, but the pipeline's status could not be written; \
             the run is repeated and finds nothing to send",
        ))),
    }
}

/// The stages from the first page to the last commit. Returns the store, and how the extraction or the first failure ended.
pub(super) async fn stages(
    reads: Reads,
    rules: Arc<Rules>,
    mut store: Store,
    publisher: &impl Publish,
    shutdown: &CancellationToken,
    report: &mut Report,
) -> Result<Ended, Stop> {
    let (page_sender, pages) = mpsc::channel(PAGES);
    let (parcel_sender, parcels) = mpsc::channel(PARCELS);
    let (acknowledged_sender, acknowledged) = mpsc::channel(ACKNOWLEDGED);
    let (spare_batch_sender, spare_batches) = mpsc::unbounded_channel();
    let (spare_entries_sender, spare_entries) = mpsc::unbounded_channel();
    let (committed_sender, committed) = watch::channel(0);
    let (progress_sender, mut progress) = watch::channel(report.progress.clone());
    let told = Told {
        committed: committed_sender,
        progress: progress_sender,
    };
    let channels = Channels {
        parcels: parcel_sender,
        spare_batches,
        spare_entries,
        committed,
    };
    let (reader, runtime) = (store.reader()?, Handle::current());

    // `abandon` drops what is under way; `stop` only ends the extraction, and so in time the run. A later stage that ends, even
    // by a panic, stops it: there is nothing to read pages for any more.
    let abandon = CancellationToken::new();
    let stop = shutdown.child_token();
    let (stop_after_delivering, stop_after_checkpointing) = (stop.clone().drop_guard(), stop.clone().drop_guard());
    let extracting = AbortOnDropHandle::new(tokio::spawn(extract::run(reads, page_sender, stop)));
    let transforming = {
        let (rules, runtime) = (Arc::clone(&rules), runtime.clone());
        spawn_blocking(move || transform::run(&rules, pages, channels, &reader, runtime))
    };
    let delivering = AbortOnDropHandle::new(tokio::spawn({
        let abandon = abandon.clone();
        async move {
            let _stop = stop_after_delivering;
            let deliver = deliver::run(&rules.sink, parcels, acknowledged_sender, spare_batch_sender);
            abandon.run_until_cancelled(deliver).await.unwrap_or(Ok(()))
        }
    }));
    let checkpointing = spawn_blocking(move || {
        let _stop = stop_after_checkpointing;
        let result = checkpoint::run(&mut store, acknowledged, &spare_entries_sender, &told, &runtime);
        (store, result)
    });

    let all = async { tokio::join!(extracting, transforming, delivering, checkpointing) };
    tokio::pin!(all);
    let mut published = report.progress.clone();
    let mut due = tokio::time::interval(PUBLISH_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cut: Option<Stop> = None;
    let mut drained_by: Option<Instant> = None;
    let (extracted, transformed, delivered, checkpointed) = loop {
        let deadline = drained_by.unwrap_or_else(|| Instant::now() + DRAIN_WITHIN);
        tokio::select! {
            biased;
            ended = &mut all => break ended,
            () = shutdown.cancelled(), if drained_by.is_none() => {
                tracing::info!("told to stop: what is under way is let end");
                drained_by = Some(Instant::now() + DRAIN_WITHIN);
            }
            () = tokio::time::sleep_until(deadline), if drained_by.is_some() && !abandon.is_cancelled() => {
                cut = cut.or_else(|| Some(interrupted()));
                abandon.cancel();
            }
            _ = due.tick(), if !abandon.is_cancelled() => {
                let now = progress.borrow_and_update().clone();
                if now == published {
                    continue;
                }
                match publish(publisher, &now).await {
                    Ok(()) => published = now,
                    Err(Outcome::Superseded) => {
                        cut = Some(superseded());
                        abandon.cancel();
                    }
                    Err(outcome) => tracing::warn!(reason = outcome.reason().as_str(), "progress could not be published"),
                }
            }
        }
    };
    report.progress = progress.borrow().clone();
    let (store, committed) = checkpointed.map_err(|error| defect("checkpoint", &error))?;
    // The last stage that failed is why the ones before it ended; a defect goes before all of them.
    let delivered = delivered.map_err(|error| defect("deliver", &error));
    let transformed = transformed.map_err(|error| defect("transform", &error));
    let extracted = extracted.map_err(|error| defect("extract", &error));
    let ended = match (extracted, transformed, delivered) {
        (Err(defect), _, _) | (_, Err(defect), _) | (_, _, Err(defect)) => Err(defect),
        (Ok(extracted), Ok(transformed), Ok(delivered)) => match cut {
            Some(cut) => Err(cut),
            None => committed
                .map_err(Stop::from)
                .and(delivered)
                .and(transformed)
                .and(extracted),
        },
    };
    Ok((store, ended))
}

/// The last checkpoint of a run that came to its end. Tells why there are dead letters, the most frequent causes first.
fn finish(store: &mut Store, whole: Whole, begun: Timestamp) -> Result<Vec<Cause>, Stop> {
    if let Some(instant) = whole.complete_as_of {
        store.complete_as_of(instant);
    }
    // Records that come in no order say only together how far they go.
    if let Some(reached) = whole.end.and_then(|end| end.reached) {
        store.advance(reached);
    }
    store.forget_resume_points()?;
    store.end_replays(begun)?;
    store.end_delivering()?;
    store.commit()?;
    Ok(store.causes(CAUSES_SHOWN)?)
}

/// Counts both sides. A run whose records are delivered does not fail because they could not be counted.
async fn reconcile(source: &Source, spec: &RunSpec, standing: i64, report: &mut Report) {
    match count(source, spec, standing, report.progress.complete_as_of).await {
        Ok(reconciliation) => report.progress.reconciliation = Some(reconciliation),
        Err(error) => report.note(format!("the CRM's records could not be counted: {error}")),
    }
}

async fn count(
    source: &Source,
    spec: &RunSpec,
    standing: i64,
    complete_as_of: Option<Timestamp>,
) -> Result<Reconciliation, SourceError> {
    let object = &spec.stream.object;
    let source_count = source.count(object, None, false).await?;
    let changed_meanwhile = match complete_as_of {
        Some(instant) => source.count(object, Some(instant), true).await?,
        None => 0,
    };
    Ok(Reconciliation {
        source_count,
        delivered_count: standing,
        changed_meanwhile,
        time: Time(Timestamp::now()),
    })
}

async fn publish(publisher: &impl Publish, progress: &Progress) -> Result<(), Outcome> {
    match tokio::time::timeout(PUBLISH_WITHIN, publisher.publish(progress)).await {
        Ok(result) => result,
        Err(_) => Err(Outcome::StateUnavailable),
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    stage: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stop> {
    spawn_blocking(work).await.map_err(|error| defect(stage, &error))
}

fn defect(stage: &str, error: &JoinError) -> Stop {
    if error.is_cancelled() {
        return interrupted();
    }
    Stop::defect(stage)
}

pub(super) fn interrupted() -> Stop {
    Stop::new(
        Outcome::Interrupted,
        "told to stop before the end; the next run goes on from the watermark",
    )
}

fn superseded() -> Stop {
    Stop::new(
        Outcome::Superseded,
        "the pipeline's status names another run: this one has written nothing more",
    )
}

fn summary(counts: &Counts) -> String {
    let Counts {
        read,
        delivered,
        unchanged,
        suppressed,
        rejected,
    } = counts;
    format!(
        "{read} records read: {delivered} delivered, {unchanged} unchanged, {suppressed} suppressed, {rejected} to the dead letters"
    )
}

fn dead_letters(causes: &[Cause]) -> String {
    let causes = causes
        .iter()
        .map(|Cause { path, rule, records }| format!("{records} at {path}: {rule}"));
    let causes = causes.collect::<Vec<_>>().join(", ");
    format!("dead letters held, by cause: {causes} (ferrygate dead-letters list shows them)")
}
