//! When Jobs come into being, as a watch tells.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

/// The labels that name a Job's pipeline and stream.
const PIPELINE: &str = "ferrygate.io/pipeline";
const STREAM: &str = "ferrygate.io/stream";

/// Which stream of which pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// The pipeline's namespace.
    pub namespace: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The stream's name.
    pub stream: String,
}

/// When a Job was seen, by both clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The clock that measures.
    pub instant: Instant,
    /// The clock that schedules follow.
    pub time: Timestamp,
}

type Latest = HashMap<StreamKey, Seen>;

/// The Jobs that were created since the watch began: the newest of each stream.
pub struct Arrivals {
    latest: watch::Receiver<Latest>,
    task: JoinHandle<()>,
}

impl Arrivals {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the API server can't be asked.
    pub async fn watch(client: Client) -> Result<Self> {
        let jobs: Api<Job> = Api::all(client);
        let (told, latest) = watch::channel(Latest::new());
        let now = jobs.list_metadata(&ListParams::default().limit(1)).await?;
        let version = now.metadata.resource_version.context("a list without a version")?;
        let task = tokio::spawn(follow(jobs, version, told));
        Ok(Arrivals { latest, task })
    }

    /// Waits until something holds of what was seen.
    ///
    /// # Errors
    /// When it does not within `patience`: with `what`.
    pub async fn until<T>(&self, patience: Duration, what: &str, look: impl Fn(&Latest) -> Option<T>) -> Result<T> {
        let mut latest = self.latest.clone();
        let waited = tokio::time::timeout(patience, latest.wait_for(|latest| look(latest).is_some())).await;
        let latest = waited.with_context(|| format!("waited {patience:?} for {what}, in vain"))??;
        look(&latest).context("what was there is gone")
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(jobs: Api<Job>, mut version: String, told: watch::Sender<Latest>) {
    // Below the longest that the API server lets a watch be.
    let about = WatchParams::default().labels(PIPELINE).timeout(240);
    loop {
        let mut events = match jobs.watch_metadata(&about, &version).await {
            Ok(events) => events.boxed(),
            Err(error) => {
                warn!(%error, "the watch of Jobs goes on");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        while let Some(event) = events.next().await {
            let seen = Seen {
                instant: Instant::now(),
                time: Timestamp::now(),
            };
            match event {
                Ok(WatchEvent::Added(job)) => {
                    version = job.resource_version().unwrap_or(version);
                    let label = |name: &str| job.labels().get(name).cloned().unwrap_or_default();
                    let key = StreamKey {
                        namespace: job.namespace().unwrap_or_default(),
                        pipeline: label(PIPELINE),
                        stream: label(STREAM),
                    };
                    told.send_modify(|latest| {
                        latest.insert(key, seen);
                    });
                }
                Ok(WatchEvent::Modified(job) | WatchEvent::Deleted(job)) => {
                    version = job.resource_version().unwrap_or(version);
                }
                Ok(WatchEvent::Bookmark(mark)) => version = mark.metadata.resource_version,
                Ok(WatchEvent::Error(error)) => warn!(%error, "the watch of Jobs goes on"),
                Err(error) => warn!(%error, "the watch of Jobs goes on"),
            }
        }
    }
}
