//! What a simulator received: kept for tests to ask (`GET /_control/requests?path=/services/data/&limit=100`), and
//! written to the access log without query strings and bodies, which hold values.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::server::ConnectionDropped;

/// How many requests are remembered one by one; the counts know them all.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedRequest {
    pub number: u64,
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    /// None when the connection was dropped without an answer.
    pub status: Option<u16>,
    pub milliseconds: u64,
}

#[derive(Debug, Default)]
struct Log {
    total: u64,
    by_status: BTreeMap<String, u64>,
    requests: VecDeque<ReceivedRequest>,
}

#[derive(Debug, Default)]
pub struct Received(Mutex<Log>);

#[derive(Debug, Deserialize)]
struct Filter {
    path: Option<String>,
    method: Option<String>,
    limit: Option<usize>,
}

/// `total` and `byStatus` count all requests since the last reset; `matching` those of the filter that are remembered, of
/// which `requests` holds the newest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub total: u64,
    pub by_status: BTreeMap<String, u64>,
    pub matching: usize,
    pub requests: Vec<ReceivedRequest>,
}

impl Received {
    pub fn total(&self) -> u64 {
        self.log().total
    }

    pub fn clear(&self) {
        *self.log() = Log::default();
    }

    /// The remembered requests whose path starts with `path`.
    pub fn requests(&self, path: &str) -> Vec<ReceivedRequest> {
        self.log()
            .requests
            .iter()
            .filter(|request| request.path.starts_with(path))
            .cloned()
            .collect()
    }

    fn report(&self, filter: &Filter) -> Report {
        let log = self.log();
        let matching: Vec<&ReceivedRequest> = log
            .requests
            .iter()
            .filter(|request| {
                filter
                    .path
                    .as_ref()
                    .is_none_or(|path| request.path.starts_with(path.as_str()))
            })
            .filter(|request| {
                filter
                    .method
                    .as_ref()
                    .is_none_or(|method| method.eq_ignore_ascii_case(&request.method))
            })
            .collect();
        let newest = matching.len().saturating_sub(filter.limit.unwrap_or(1000));
        Report {
            total: log.total,
            by_status: log.by_status.clone(),
            matching: matching.len(),
            requests: matching[newest..].iter().map(|request| (*request).clone()).collect(),
        }
    }

    fn add(&self, method: &str, path: &str, query: Option<String>, status: Option<u16>, milliseconds: u64) {
        let mut log = self.log();
        log.total += 1;
        let outcome = status.map_or_else(|| "dropped".to_owned(), |status| status.to_string());
        *log.by_status.entry(outcome).or_default() += 1;
        let number = log.total;
        if log.requests.len() == REMEMBERED {
            log.requests.pop_front();
        }
        log.requests.push_back(ReceivedRequest {
            number,
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            status,
            milliseconds,
        });
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The route `/_control/requests`: `GET` reports, `DELETE` forgets.
    pub fn control(self: &Arc<Self>) -> Router {
        let routes =
            get(async |State(received): State<Arc<Self>>, Query(filter): Query<Filter>| Json(received.report(&filter)))
                .delete(async |State(received): State<Arc<Self>>| received.clear());
        Router::new()
            .route("/_control/requests", routes)
            .with_state(self.clone())
    }
}

/// The middleware that remembers and logs each request.
pub async fn remember(State(received): State<Arc<Received>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().map(str::to_owned);
    let response = next.run(request).await;
    let dropped = response.extensions().get::<ConnectionDropped>().is_some();
    let status = (!dropped).then(|| response.status().as_u16());
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Further segments can be values: `/sobjects/Contact/External_Id__c/{value}`.
    let shown = path.split('/').take(7).collect::<Vec<_>>().join("/");
    tracing::debug!(%method, path = shown, status, milliseconds, "request");
    received.add(method.as_str(), &path, query, status, milliseconds);
    response
}
