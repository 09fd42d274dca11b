//! Query jobs of the Bulk API 2.0 as the measured server has them: complete at once, with a result that was made beforehand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};

use super::contacts::field;

const JOB: &str = "750BENCH0000001AAA";

/// What every job's result is; the org has no Bulk API until it is made.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<Option<Made>>>);

#[derive(Clone)]
struct Made {
    names: Bytes,
    rows: Bytes,
    /// Where each row ends.
    ends: Arc<Vec<usize>>,
}

impl Jobs {
    /// Makes the result: contacts with these fields, in this order.
    pub fn make(&self, selected: &[String], contacts: usize) {
        let (mut rows, mut ends) = (Vec::new(), Vec::with_capacity(contacts));
        for number in 0..contacts {
            let cells: Vec<String> = selected.iter().map(|name| cell(&field(name, number))).collect();
            rows.extend_from_slice(cells.join(",").as_bytes());
            rows.push(b'\n');
            ends.push(rows.len());
        }
        *self.lock() = Some(Made {
            names: (selected.join(",") + "\n").into(),
            rows: rows.into(),
            ends: Arc::new(ends),
        });
    }

    /// How many contacts there are, where they were made.
    pub fn contacts(&self) -> Option<usize> {
        self.lock().as_ref().map(|made| made.ends.len())
    }

    /// The resources of jobs.
    pub fn routes(&self) -> Router {
        let path = "/services/data/v62.0/jobs/query";
        Router::new()
            .route(path, post(told))
            .route(
                &format!("{path}/{{job}}"),
                get(told).delete(async || StatusCode::NO_CONTENT),
            )
            .route(&format!("{path}/{{job}}/results"), get(results))
            .with_state(self.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each value in quotes, as the service writes it.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(".000+0000", ".000Z").replace('"', "\"\""),
        other => other.to_string(),
    };
    format!("\"{text}\"")
}

async fn told(State(jobs): State<Jobs>) -> Response {
    match jobs.contacts() {
        Some(_) => Json(json!({"id": JOB, "state": "JobComplete"})).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!([{"errorCode": "NOT_FOUND"}]))).into_response(),
    }
}

async fn results(State(jobs): State<Jobs>, Query(parameters): Query<HashMap<String, usize>>) -> Response {
    let Some(Made { names, rows, ends }) = jobs.lock().clone() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let start = parameters.get("locator").copied().unwrap_or_default();
    let records = parameters.get("maxRecords").copied().unwrap_or(50_000);
    let end = start.saturating_add(records).min(ends.len());
    let place = |row: usize| row.checked_sub(1).map_or(0, |row| ends[row]);
    let part = rows.slice(place(start)..place(end));
    let next = if end < ends.len() {
        end.to_string()
    } else {
        "null".to_owned()
    };
    let headers = [
        ("content-type", "text/csv".to_owned()),
        ("sforce-numberofrecords", (end - start).to_string()),
        ("sforce-locator", next),
        ("sforce-limit-info", "api-usage=18/1000000".to_owned()),
    ];
    let body = stream::iter([names, part].map(Ok::<_, std::convert::Infallible>));
    (headers, Body::from_stream(body)).into_response()
}
