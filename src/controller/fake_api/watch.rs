//! The stream of a watch.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::read::shown;
use super::refusal::Refusal;
use super::request::Call;
use super::selector::Selection;
use super::store::Store;
use super::{FakeApi, Fault, refusal};

/// How often the API server says how far it is.
const BOOKMARK: Duration = Duration::from_secs(60);
/// How long a watch lasts that names no time.
const LONGEST: Duration = Duration::from_secs(1800);

/// One watch.
pub struct Watcher {
    api: FakeApi,
    call: Call,
    selection: Selection,
    changed: Receiver<()>,
    compactions: usize,
    /// What it was told of.
    version: u64,
    lines: VecDeque<Bytes>,
    bookmark: Option<Instant>,
    end: Instant,
    ended: bool,
}

impl Watcher {
    /// Begins where the call says.
    ///
    /// # Errors
    /// When its selectors or its version can't be read.
    pub fn new(api: FakeApi, call: Call, store: &Store) -> Result<Self, Refusal> {
        let selection = Selection::of(&call)?;
        let (bookmarks, initial) = (
            call.parameter("allowWatchBookmarks") == "true",
            call.parameter("sendInitialEvents") == "true",
        );
        if initial && call.parameter("resourceVersionMatch") != "NotOlderThan" {
            let why = "sendInitialEvents: Forbidden: resourceVersionMatch must be NotOlderThan";
            return Err(refusal::bad_request(why));
        }
        let seconds = call.parameter("timeoutSeconds").parse().ok().map(Duration::from_secs);
        let start = match call.parameter("resourceVersion") {
            "" | "0" => None,
            version => {
                let version: u64 = version
                    .parse()
                    .map_err(|_| refusal::bad_request(&format!("invalid resource version: {version}")))?;
                Some(version).filter(|_| !initial)
            }
        };
        let mut watcher = Watcher {
            changed: api.shared.changed.subscribe(),
            api,
            selection,
            compactions: store.compactions(),
            version: start.unwrap_or(store.version()),
            lines: VecDeque::new(),
            bookmark: bookmarks.then(|| Instant::now() + BOOKMARK),
            end: Instant::now() + seconds.unwrap_or(LONGEST),
            ended: false,
            call,
        };
        if start.is_none() {
            watcher.begin(store, initial);
        }
        Ok(watcher)
    }

    /// The lines of the stream.
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        futures::stream::unfold(self, async |mut watcher| {
            watcher.next().await.map(|line| (line, watcher))
        })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(Ok(line));
            }
            if self.ended {
                return None;
            }
            self.changed.mark_unchanged();
            match self.read() {
                None => {}
                Some(Fault::Hangs) => return pending().await,
                Some(Fault::Refused | Fault::AnswerLost) => {
                    self.ended = true;
                    return Some(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
            if !self.lines.is_empty() || self.ended {
                continue;
            }
            let bookmark = self.bookmark.unwrap_or(self.end).min(self.end);
            tokio::select! {
                // The sender lives in what this watcher holds.
                _ = self.changed.changed() => {}
                () = sleep_until(bookmark) => {
                    if self.bookmark.is_some() {
                        self.push_bookmark(json!({}));
                        self.bookmark = Some(bookmark + BOOKMARK);
                    }
                    self.ended = bookmark == self.end;
                }
            }
        }
    }

    /// Takes what happened since, or says what is wrong with the server.
    fn read(&mut self) -> Option<Fault> {
        let shared = self.api.shared.clone();
        let state = shared.lock();
        if let Some(fault) = state.fault_now() {
            return Some(fault);
        }
        let store = &state.store;
        match store.since(self.version) {
            Ok(changes) if store.compactions() == self.compactions => {
                for change in changes {
                    if !self.selection.covers(&change.key.resource, &change.key.namespace) {
                        continue;
                    }
                    let was = change
                        .before
                        .as_ref()
                        .is_some_and(|before| self.selection.selects(before));
                    let is = !change.deleted && self.selection.selects(&change.after);
                    let event = match (was, is) {
                        (false, false) => continue,
                        (false, true) => "ADDED",
                        (true, true) => "MODIFIED",
                        (true, false) => "DELETED",
                    };
                    self.push(event, &shown(&self.call, &change.after));
                }
                self.version = store.version();
            }
            Ok(_) => self.end_with(&refusal::gone(self.version, store.version())),
            Err(status) => self.end_with(&status),
        }
        None
    }

    /// Tells of all that is there.
    fn begin(&mut self, store: &Store, say_when_done: bool) {
        for (key, object) in store.objects() {
            if self.selection.covers(&key.resource, &key.namespace) && self.selection.selects(object) {
                self.push("ADDED", &shown(&self.call, object));
            }
        }
        if say_when_done {
            self.push_bookmark(json!({"k8s.io/initial-events-end": "true"}));
        }
    }

    fn end_with(&mut self, status: &Refusal) {
        self.push("ERROR", &json!(status));
        self.ended = true;
    }

    fn push_bookmark(&mut self, annotations: Value) {
        let (api_version, kind) = if self.call.metadata_only {
            ("meta.k8s.io/v1", "PartialObjectMetadata".to_owned())
        } else {
            (self.call.api_version.as_str(), "Bookmark".to_owned())
        };
        let object = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"resourceVersion": self.version.to_string(), "annotations": annotations},
        });
        self.push("BOOKMARK", &object);
    }

    fn push(&mut self, event: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": event, "object": object}));
        self.lines.push_back(line.into());
    }
}
