//! An API server in this process, for tests.
//!
//! It holds any objects as JSON and has the API's semantics where the controller rests on them: one growing
//! `resourceVersion`, optimistic concurrency, the status subresource, merge and JSON patches, owned objects that go with their
//! owner, lists by pages and watches. It knows no schemas: it neither validates nor sets defaults. It has no wall clock
//! ([`FakeApi::set_time`]), and can be told to fail.
//!
//! [`request`] understands a request; [`read`], [`write`] and [`watch`] answer it from the [`store`]; [`refusal`] has the
//! words.

mod read;
mod refusal;
mod request;
mod selector;
mod store;
mod tests;
mod watch;
mod write;

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{Request, Response};
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch::Sender;
use tower::{BoxError, Service};

use refusal::Refusal;
pub use request::Verb;
use request::{Call, ResourceType};
use store::{Key, Store};
use watch::Watcher;

/// How the API server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call has no effect, and an error comes back. Watches that are open break.
    Refused,
    /// The call has its effect, but an error comes back. Watches that are open break.
    AnswerLost,
    /// The call has no effect, and nothing comes back, ever. Watches that are open fall silent.
    Hangs,
}

/// A call that was to change something.
#[derive(Clone, Debug)]
pub struct Write {
    /// What was asked.
    pub verb: Verb,
    /// Of which resource: `jobs.batch`, `syncpipelines.ferrygate.io/status`.
    pub resource: String,
    /// Where.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// What was sent: the object, the patch, or the options of the deletion.
    pub body: Value,
    /// The answer's HTTP status code; the sender may never have seen it.
    pub code: u16,
}

/// The API server. Clones are the same one.
#[derive(Clone)]
pub struct FakeApi {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the watches.
    changed: Sender<()>,
}

struct State {
    store: Store,
    calls: usize,
    writes: Vec<Write>,
    fault: Option<(usize, Fault)>,
    forbidden: BTreeSet<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics while it holds the lock has failed anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is wrong with the server after the calls that were made.
    fn fault_now(&self) -> Option<Fault> {
        self.fault
            .filter(|(first, _)| self.calls >= *first)
            .map(|(_, fault)| fault)
    }
}

impl FakeApi {
    /// An API server without objects, at the Unix epoch.
    pub fn new() -> Self {
        let state = State {
            store: Store::new(),
            calls: 0,
            writes: Vec::new(),
            fault: None,
            forbidden: BTreeSet::new(),
        };
        FakeApi {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Sender::new(()),
            }),
        }
    }

    /// A client of it. To put something in between, wrap the [`Service`] that this is.
    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Writes an object as another would (a user, the kubelet, the Job controller): with its status, whatever is there, and
    /// counted as no call. What only the API server sets is kept or set.
    pub fn put<K: Object>(&self, object: &K) -> K {
        let written = write::put(&mut self.lock().store, resource::<K>(), json!(object));
        self.wake();
        typed(&written)
    }

    /// An object, as it is now. Counted as no call.
    pub fn get<K: Object>(&self, namespace: &str, name: &str) -> Option<K> {
        self.lock()
            .store
            .get(&key::<K>(namespace, name))
            .map(|object| typed(object))
    }

    /// The objects of a namespace by name, or of all where it is empty. Counted as no call.
    pub fn list<K: Object>(&self, namespace: &str) -> Vec<K> {
        let wanted = resource::<K>();
        self.lock()
            .store
            .objects()
            .filter(|(key, _)| key.resource == wanted && (namespace.is_empty() || key.namespace == namespace))
            .map(|(_, object)| typed(object))
            .collect()
    }

    /// Deletes an object and what it owns, as another would. One with finalizers waits for them.
    pub fn delete<K: Object>(&self, namespace: &str, name: &str) {
        write::remove_with_owned(&mut self.lock().store, key::<K>(namespace, name));
        self.wake();
    }

    /// Fails from the `call`th on (the first is 1), until [`Self::heal`].
    pub fn fail_at(&self, call: usize, fault: Fault) {
        self.lock().fault = Some((call, fault));
        self.wake();
    }

    /// Answers again. Calls that hang go on hanging.
    pub fn heal(&self) {
        self.lock().fault = None;
    }

    /// How many calls were made, reads and watches and failed ones included.
    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    /// The calls that were to change something and reached the server, in order. One that changed nothing is among them.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.clone()
    }

    /// Refuses every call on a resource: `jobs.batch`, `pods`, `syncpipelines.ferrygate.io/status`.
    pub fn forbid(&self, resource: &str) {
        self.lock().forbidden.insert(resource.to_owned());
    }

    /// Takes a [`Self::forbid`] back.
    pub fn allow(&self, resource: &str) {
        self.lock().forbidden.remove(resource);
    }

    /// Sets the server's clock, by which `creationTimestamp` is given.
    pub fn set_time(&self, now: Timestamp) {
        self.lock().store.set_time(now);
    }

    /// Compacts: open watches end with `410 Gone`, and what happened until now can't be watched or paged any more.
    pub fn gone(&self) {
        self.lock().store.compact();
        self.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    fn wake(&self) {
        self.shared.changed.send_replace(());
    }

    async fn answer(self, request: Request<kube::client::Body>) -> Result<Response<Body>, BoxError> {
        let call = Call::read(request).await;
        let (fault, failed_before) = {
            let mut state = self.lock();
            let before = state.fault_now();
            state.calls += 1;
            (state.fault_now(), before)
        };
        if fault != failed_before {
            self.wake();
        }
        match fault {
            Some(Fault::Refused) => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            Some(Fault::Hangs) => return pending().await,
            Some(Fault::AnswerLost) | None => {}
        }
        let answered = call.and_then(|call| self.perform(call));
        self.wake();
        if fault == Some(Fault::AnswerLost) {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
        }
        let (code, body) = answered.unwrap_or_else(|status| {
            let code = code_of(&status);
            (code, Body::from(json!(status).to_string()))
        });
        Ok(Response::builder()
            .status(code)
            .header("content-type", "application/json")
            .body(body)?)
    }

    fn perform(&self, call: Call) -> Result<(u16, Body), Refusal> {
        let state = &mut *self.lock();
        let place = if call.subresource.is_empty() {
            call.resource.to_string()
        } else {
            format!("{}/{}", call.resource, call.subresource)
        };
        let store = &mut state.store;
        let answered = if state.forbidden.contains(&place) {
            Err(refusal::forbidden(
                call.verb,
                &call.resource,
                &call.name,
                &call.namespace,
            ))
        } else {
            match call.verb {
                Verb::Watch => {
                    let watcher = Watcher::new(self.clone(), call, store)?;
                    return Ok((200, Body::from_stream(watcher.stream())));
                }
                Verb::List => return Ok((200, Body::from(read::list(store, &call)?.to_string()))),
                Verb::Get => read::get(store, &call),
                Verb::Create => write::create(store, &call),
                Verb::Update => write::update(store, &call),
                Verb::Patch => write::patch(store, &call),
                Verb::Delete => write::delete(store, &call),
            }
        };
        let code = match &answered {
            Ok(_) if call.verb == Verb::Create => 201,
            Ok(_) => 200,
            Err(status) => code_of(status),
        };
        if call.verb.writes() {
            let created = answered
                .as_ref()
                .ok()
                .and_then(|object| object["metadata"]["name"].as_str());
            let sent = || call.body["metadata"]["name"].as_str().unwrap_or_default();
            let name = if call.name.is_empty() {
                created.unwrap_or_else(sent)
            } else {
                &call.name
            };
            state.writes.push(Write {
                verb: call.verb,
                resource: place,
                namespace: call.namespace.clone(),
                name: name.to_owned(),
                body: call.body.clone(),
                code,
            });
        }
        Ok((code, Body::from(read::shown(&call, &answered?).to_string())))
    }
}

impl Service<Request<kube::client::Body>> for FakeApi {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// What can be put and got.
pub trait Object: Resource<DynamicType = ()> + Serialize + DeserializeOwned {}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Object for K {}

fn resource<K: Object>() -> ResourceType {
    ResourceType {
        group: K::group(&()).into_owned(),
        plural: K::plural(&()).into_owned(),
    }
}

fn key<K: Object>(namespace: &str, name: &str) -> Key {
    Key {
        resource: resource::<K>(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn typed<K: Object>(object: &Value) -> K {
    serde_json::from_value(object.clone()).expect("what is stored under a resource is of its type")
}

fn code_of(status: &Refusal) -> u16 {
    status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
}
