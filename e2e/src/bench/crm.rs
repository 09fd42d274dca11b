//! A server that speaks as much of the Salesforce protocol as one sync needs, from pages that were made beforehand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::bulk::Jobs;
use super::contacts::{FIELDS, PAGE, pages};

/// The server; it ends with the process.
pub struct Crm {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    selected: Mutex<Vec<String>>,
    pages: Mutex<Arc<Vec<Bytes>>>,
    jobs: Jobs,
}

#[derive(Deserialize)]
struct Soql {
    q: String,
}

impl Crm {
    /// Starts it on a free port, with one page until there are more.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let url = format!("http://{address}");
        let token = json!({
            "access_token": "bench", "instance_url": url, "id": format!("{url}/id/00D/005"), "token_type": "Bearer",
        });
        let routes = Router::new()
            .route("/services/oauth2/token", post(async move || Json(token)))
            .route("/services/data/v62.0/limits", get(async || Json(limits())))
            .route(
                "/services/data/v62.0/sobjects/Contact/describe",
                get(async || Json(describe())),
            )
            .route("/services/data/v62.0/query", get(query))
            .route("/services/data/v62.0/queryAll", get(query))
            .route("/services/data/v62.0/query/{locator}", get(next))
            .with_state(shared.clone())
            .merge(shared.jobs.routes());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Crm { address, shared })
    }

    /// The instance URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes the pages that the next queries are answered from.
    pub fn make_pages(&self, contacts: usize) -> Result<()> {
        let selected = lock(&self.shared.selected).clone();
        selected.first().context("no query has been seen yet")?;
        *lock(&self.shared.pages) = Arc::new(pages(&selected, contacts));
        Ok(())
    }

    /// Makes what the jobs have from now on.
    pub fn make_results(&self, contacts: usize) -> Result<()> {
        let selected = lock(&self.shared.selected).clone();
        selected.first().context("no query has been seen yet")?;
        self.shared.jobs.make(&selected, contacts);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn query(State(shared): State<Arc<Shared>>, Query(Soql { q }): Query<Soql>) -> impl IntoResponse {
    let selected = q
        .trim_start_matches("SELECT ")
        .split(" FROM ")
        .next()
        .unwrap_or_default();
    let made = lock(&shared.pages).clone();
    if selected.starts_with("COUNT(") {
        let total = if q.contains("SystemModstamp >") {
            0
        } else {
            shared.jobs.contacts().unwrap_or(made.len() * PAGE)
        };
        return answer(
            json!({"totalSize": total, "done": true, "records": []})
                .to_string()
                .into(),
        );
    }
    let selected: Vec<String> = selected.split(',').map(|name| name.trim().to_owned()).collect();
    match made.first() {
        Some(first) => answer(first.clone()),
        None => {
            let first = pages(&selected, 1).swap_remove(0);
            *lock(&shared.selected) = selected;
            answer(first)
        }
    }
}

async fn next(State(shared): State<Arc<Shared>>, Path(locator): Path<String>) -> impl IntoResponse {
    let start: usize = locator
        .rsplit('-')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default();
    let made = lock(&shared.pages).clone();
    answer(made.get(start / PAGE).cloned().unwrap_or_default())
}

fn answer(body: Bytes) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json;charset=UTF-8"),
    );
    headers.insert(
        "sforce-limit-info",
        header::HeaderValue::from_static("api-usage=18/1000000"),
    );
    (headers, body)
}

fn limits() -> Value {
    json!({"DailyApiRequests": {"Max": 1_000_000, "Remaining": 999_982}})
}

fn describe() -> Value {
    let field = |name: &str, kind: &str| json!({"name": name, "type": kind, "length": 255, "filterable": true, "sortable": true, "calculated": false});
    let own = [
        ("Id", "id"),
        ("IsDeleted", "boolean"),
        ("SystemModstamp", "datetime"),
        ("LastModifiedDate", "datetime"),
    ];
    let fields: Vec<_> = own
        .iter()
        .chain(&FIELDS)
        .map(|(name, kind)| field(name, kind))
        .collect();
    json!({"name": "Contact", "queryable": true, "fields": fields})
}
