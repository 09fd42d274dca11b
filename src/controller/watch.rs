//! Keeps the cache true to the API server: a watch a kind, and each on its own. One that fails delays no other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::utils::ResetTimerBackoff;
use kube::runtime::watcher::{Event, ExponentialBackoff};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::cache::{Cache, Watched};
use super::key::Name;
use super::metrics::Metrics;

/// How long a watch goes on before it is asked for anew, from where it was. An API server that is gone without a word is noticed
/// five seconds after that, since an idle connection tells nothing.
const WATCH: u32 = 25;
/// How many objects one page of a list has: more take more memory, fewer more requests.
const PAGE: u32 = 250;
/// The pause before a watch that failed is tried again: it doubles from the first to the last, and up to as much again is added.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// A watch that has not failed for so long is well, and the pauses begin anew.
const WELL: Duration = Duration::from_secs(60);

/// Watches kinds until it is dropped.
pub struct Watches {
    client: Client,
    cache: Cache,
    metrics: Arc<Metrics>,
    namespaces: Vec<Option<String>>,
    tasks: JoinSet<()>,
}

impl Watches {
    /// Watches over these namespaces, or over all where there is one that is `None`.
    pub fn new(client: Client, cache: Cache, metrics: Arc<Metrics>, namespaces: Vec<Option<String>>) -> Watches {
        Watches {
            client,
            cache,
            metrics,
            namespaces,
            tasks: JoinSet::new(),
        }
    }

    /// Watches a kind.
    pub fn watch<W: Watched>(&mut self) -> Synced {
        let synced = self.namespaces.clone().into_iter().map(|namespace| {
            let api = match &namespace {
                Some(namespace) => Api::<W>::namespaced(self.client.clone(), namespace),
                None => Api::all(self.client.clone()),
            };
            let (sender, receiver) = watch::channel(false);
            let (cache, metrics) = (self.cache.clone(), self.metrics.clone());
            self.tasks.spawn(keep::<W>(api, namespace, cache, metrics, sender));
            receiver
        });
        Synced(synced.collect())
    }
}

/// Whether the cache holds all of a kind.
#[derive(Clone)]
pub struct Synced(Vec<watch::Receiver<bool>>);

impl Synced {
    /// Waits until it does.
    pub async fn wait(&self) {
        for receiver in &self.0 {
            // The sender is gone only when the process ends.
            let _ = receiver.clone().wait_for(|synced| *synced).await;
        }
    }

    /// Whether it does.
    pub fn is_synced(&self) -> bool {
        self.0.iter().all(|receiver| *receiver.borrow())
    }
}

async fn keep<W: Watched>(
    api: Api<W>,
    namespace: Option<String>,
    cache: Cache,
    metrics: Arc<Metrics>,
    synced: watch::Sender<bool>,
) {
    let kind = W::kind(&()).into_owned();
    let (first, last) = PAUSES;
    let pauses = backon::ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(last)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times();
    let selection = W::selection().timeout(WATCH).page_size(PAGE);
    // What a watch says when it begins is no sign that it is well.
    let pauses = ResetTimerBackoff::new(ExponentialBackoff::from(pauses), WELL);
    let mut events = std::pin::pin!(watcher(api, selection).backoff(pauses));
    let mut feed = Feed::new(namespace);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if feed.take(event, &cache) {
                    synced.send_replace(true);
                }
            }
            Err(error) => {
                metrics.watch_failed(&kind);
                // The words of a refusal name the kind and the verb that are not permitted.
                warn!(kind, %error, "a watch failed, and is tried again");
            }
        }
    }
}

/// Brings the events of one watch into the cache.
struct Feed {
    namespace: Option<String>,
    /// While it is listed anew: what the cache held and the list has not shown yet.
    unseen: HashSet<Name>,
}

impl Feed {
    fn new(namespace: Option<String>) -> Feed {
        Feed {
            namespace,
            unseen: HashSet::new(),
        }
    }

    /// Takes an event, and tells whether the cache holds all of the kind now.
    fn take<W: Watched>(&mut self, event: Event<W>, cache: &Cache) -> bool {
        match event {
            Event::Init => {
                self.unseen = W::names(&cache.lock(), self.namespace.as_deref()).into_iter().collect();
                false
            }
            Event::InitApply(object) => {
                self.unseen.remove(&Name::of(&object));
                cache.put(object);
                false
            }
            Event::InitDone => {
                for name in std::mem::take(&mut self.unseen) {
                    cache.remove::<W>(&name);
                }
                true
            }
            Event::Apply(object) => {
                cache.put(object);
                true
            }
            Event::Delete(object) => {
                cache.remove::<W>(&Name::of(&object));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::key::{Key, Kind};
    use super::super::light::WatchedJob;
    use super::*;

    #[test]
    fn what_a_new_list_does_not_have_is_gone() {
        let job = |name: &str| -> WatchedJob {
            let owner = json!({"apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline", "name": "people", "uid": "u", "controller": true});
            let text = json!({"metadata": {"name": name, "namespace": "crm", "ownerReferences": [owner]}}).to_string();
            serde_json::from_str(&text).unwrap()
        };
        let (sender, mut touched) = futures::channel::mpsc::unbounded();
        let cache = Cache::new(sender);
        let mut feed = Feed::new(None);
        let list = |names: &[&str]| {
            let objects = names.iter().map(|name| Event::InitApply(job(name)));
            std::iter::once(Event::Init)
                .chain(objects)
                .chain([Event::InitDone])
                .collect::<Vec<_>>()
        };
        let told: Vec<_> = list(&["a", "b"])
            .into_iter()
            .map(|event| feed.take(event, &cache))
            .collect();
        assert_eq!(told, [false, false, false, true]);
        for event in list(&["b", "c"]) {
            feed.take(event, &cache);
        }
        let owner = Key::new(
            Kind::SyncPipeline,
            Name {
                namespace: "crm".into(),
                name: "people".into(),
            },
        );
        let names: Vec<_> = cache.lock().jobs_of(&owner).map(|job| job.name.clone()).collect();
        let mut count = 0;
        while let Ok(key) = touched.try_recv() {
            assert_eq!(key, owner);
            count += 1;
        }
        assert_eq!((names, count), (vec!["b".to_owned(), "c".to_owned()], 5));
    }
}
