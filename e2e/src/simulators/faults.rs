//! Faults that a test orders, the same for every simulator.
//!
//! `PUT /_control/faults` replaces the list, `POST` appends to it, `DELETE` clears it, `GET` shows it with how often each
//! fault has seen a matching request (`seen`) and struck (`struck`):
//!
//! ```json
//! [
//!   {"match": {"method": "POST", "path": "/v1/batch"}, "after": 2, "times": 3,
//!    "kind": {"status": {"code": 429, "headers": {"Retry-After": "1"}}}},
//!   {"match": {"path": "/services/data/"}, "kind": {"latency": {"ms": 200}}},
//!   {"times": 1, "kind": {"dropConnection": {}}},
//!   {"times": 1, "kind": {"dropConnection": {"before": true}}},
//!   {"times": 1, "kind": {"dropConnection": {"atBytes": 100}}},
//!   {"times": 1, "kind": {"truncateBody": {"atBytes": 100}}},
//!   {"after": 1, "times": 1, "kind": "expireSession"},
//!   {"times": 2, "kind": "quotaExhausted"}
//! ]
//! ```
//!
//! `match.path` is a prefix of the path. The first `after` matching requests pass, the next `times` are struck; without
//! `times` all that follow are. Latencies add up; of the other kinds the first in the list strikes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use futures::stream;
use serde::{Deserialize, Serialize};

use super::server::ConnectionDropped;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// How many matching requests pass first.
    #[serde(default)]
    pub after: u64,
    /// How many are struck then; all of them when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    pub kind: Kind,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A prefix of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Kind {
    /// The request waits, then is handled.
    Latency { ms: u64 },
    /// The request is answered so, and not handled.
    #[serde(rename_all = "camelCase")]
    Status {
        code: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: Option<serde_json::Value>,
    },
    /// The connection is closed: before the request is handled, or (as by default) after it was, without an answer, or
    /// after that many bytes of a chunked answer.
    #[serde(rename_all = "camelCase")]
    DropConnection {
        #[serde(default)]
        before: bool,
        #[serde(default)]
        at_bytes: Option<usize>,
    },
    /// The answer has its true `Content-Length`, and ends before it.
    #[serde(rename_all = "camelCase")]
    TruncateBody { at_bytes: usize },
    /// The session of the request ends before the request is handled. Only a service that has sessions knows this.
    ExpireSession,
    /// The request meets an exhausted quota. Only a service that has a quota knows this.
    QuotaExhausted,
}

/// What a service itself must do to the request, found in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceFault {
    ExpireSession,
    QuotaExhausted,
}

/// A fault as ordered, with what it has done.
#[derive(Clone, Debug, Serialize)]
pub struct Ordered {
    #[serde(flatten)]
    pub fault: Fault,
    pub seen: u64,
    pub struck: u64,
}

/// The faults of one simulator.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Ordered>>);

impl Faults {
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        let ordered = faults.into_iter().map(|fault| Ordered {
            fault,
            seen: 0,
            struck: 0,
        });
        self.list().extend(ordered);
    }

    pub fn clear(&self) {
        self.list().clear();
    }

    pub fn ordered(&self) -> Vec<Ordered> {
        self.list().clone()
    }

    /// Counts the request for every fault that it matches, and returns those that strike it.
    fn strike(&self, method: &Method, path: &str) -> Vec<Kind> {
        let mut struck: Vec<Kind> = Vec::new();
        for ordered in self
            .list()
            .iter_mut()
            .filter(|ordered| ordered.fault.matches.is(method, path))
        {
            ordered.seen += 1;
            let Fault {
                after, times, ref kind, ..
            } = ordered.fault;
            let in_turn = ordered.seen > after && times.is_none_or(|times| ordered.seen - after <= times);
            let latency = matches!(kind, Kind::Latency { .. });
            if in_turn && (latency || struck.iter().all(|kind| matches!(kind, Kind::Latency { .. }))) {
                ordered.struck += 1;
                struck.push(kind.clone());
            }
        }
        struck
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Ordered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The routes under `/_control/faults`.
    pub fn control(self: &Arc<Self>) -> Router {
        let routes: MethodRouter<Arc<Self>> = get(async |State(faults): State<Arc<Self>>| Json(faults.ordered()))
            .put(async |State(faults): State<Arc<Self>>, Json(list): Json<Vec<Fault>>| {
                faults.clear();
                faults.order(list);
                Json(faults.ordered())
            })
            .post(async |State(faults): State<Arc<Self>>, Json(list): Json<Vec<Fault>>| {
                faults.order(list);
                Json(faults.ordered())
            })
            .delete(async |State(faults): State<Arc<Self>>| faults.clear());
        Router::new().route("/_control/faults", routes).with_state(self.clone())
    }
}

impl Match {
    fn is(&self, method: &Method, path: &str) -> bool {
        self.method
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method.as_str()))
            && self
                .path
                .as_ref()
                .is_none_or(|prefix| path.starts_with(prefix.as_str()))
    }
}

/// The middleware: what was ordered happens to the request and its answer.
pub async fn apply(State(faults): State<Arc<Faults>>, mut request: Request, next: Next) -> Response {
    let mut breaks = None;
    for kind in faults.strike(request.method(), request.uri().path()) {
        match kind {
            Kind::Latency { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Kind::Status { code, headers, body } => return answer(code, &headers, body),
            Kind::DropConnection { before: true, .. } => return dropped(),
            Kind::DropConnection { .. } | Kind::TruncateBody { .. } => breaks = Some(kind),
            Kind::ExpireSession => {
                request.extensions_mut().insert(ServiceFault::ExpireSession);
            }
            Kind::QuotaExhausted => {
                request.extensions_mut().insert(ServiceFault::QuotaExhausted);
            }
        }
    }
    let response = next.run(request).await;
    match breaks {
        Some(Kind::DropConnection { at_bytes: None, .. }) => dropped(),
        Some(Kind::DropConnection { at_bytes: Some(at), .. }) => break_off(response, at, false).await,
        Some(Kind::TruncateBody { at_bytes }) => break_off(response, at_bytes, true).await,
        _ => response,
    }
}

fn answer(code: u16, headers: &BTreeMap<String, String>, body: Option<serde_json::Value>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        Some(serde_json::Value::String(text)) => (status, text).into_response(),
        Some(json) => (status, Json(json)).into_response(),
        None => status.into_response(),
    };
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn dropped() -> Response {
    let mut response = StatusCode::IM_A_TEAPOT.into_response();
    response.extensions_mut().insert(ConnectionDropped);
    response
}

/// The same answer, whose connection closes after `at` bytes of the body, and in any case before its end.
async fn break_off(response: Response, at: usize, with_length: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    if with_length {
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    }
    let sent = whole.slice(..at.min(whole.len().saturating_sub(1)));
    // Between the bytes and the error the stream is pending once, which makes hyper flush what it has.
    let pieces = stream::unfold(0, move |step| {
        let sent = sent.clone();
        async move {
            let piece: Result<Bytes, io::Error> = if step == 0 {
                Ok(sent)
            } else {
                tokio::task::yield_now().await;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            };
            (step < 2).then_some((piece, step + 1))
        }
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}
