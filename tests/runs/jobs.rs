//! The CRM's query jobs. What a job selects is settled when it is made; its result comes in no order, in parts of 500 records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::fakes::{Contact, Fakes};

const PART: usize = 500;

/// The jobs that were made, and those that are still there.
#[derive(Default)]
pub struct Jobs {
    many: AtomicUsize,
    made: AtomicUsize,
    kept: Mutex<BTreeMap<String, Job>>,
}

struct Job {
    columns: Vec<String>,
    contacts: Vec<Contact>,
}

impl Jobs {
    /// From now on the CRM says, of everything, that it has so many records that they are worth a job.
    pub fn say_many(&self) {
        self.many.store(1_000_000, Ordering::Relaxed);
    }

    /// The number that a count of everything is answered with, where it is not the true one.
    pub fn counted(&self, soql: &str, deleted: bool) -> Option<usize> {
        // The count that compares both sides asks for those that are not deleted.
        let everything = deleted && !soql.contains(" WHERE ");
        Some(self.many.load(Ordering::Relaxed)).filter(|&many| everything && many > 0)
    }

    /// How many were made, and how many are there.
    pub fn made_and_kept(&self) -> (usize, usize) {
        (self.made.load(Ordering::Relaxed), self.kept().len())
    }

    /// Forgets all jobs, as the CRM does after seven days.
    pub fn lose(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.kept.lock().expect("not poisoned")
    }
}

pub fn routes(fakes: &Fakes) -> Router {
    Router::new()
        .route("/services/data/v62.0/limits", get(async || Json(json!({}))))
        .route("/services/data/v62.0/jobs/query", post(make))
        .route("/services/data/v62.0/jobs/query/{job}", get(look).delete(remove))
        .route("/services/data/v62.0/jobs/query/{job}/results", get(results))
        .with_state(fakes.clone())
}

async fn make(State(fakes): State<Fakes>, Json(asked): Json<Value>) -> Response {
    let soql = asked["query"].as_str().expect("a query");
    let columns = soql["SELECT ".len()..].split(" FROM ").next().unwrap_or_default();
    let mut contacts = fakes.selected(soql, asked["operation"] == "queryAll");
    contacts.sort_by_cached_key(|contact| contact.id.bytes().rev().collect::<Vec<u8>>());
    let number = fakes.jobs().made.fetch_add(1, Ordering::Relaxed) + 1;
    let name = format!("750{number}");
    let job = Job {
        columns: columns.split(',').map(str::to_owned).collect(),
        contacts,
    };
    fakes.jobs().kept().insert(name.clone(), job);
    Json(json!({"id": name, "state": "UploadComplete"})).into_response()
}

async fn look(State(fakes): State<Fakes>, Path(name): Path<String>) -> Response {
    if fakes.jobs().kept().contains_key(&name) {
        Json(json!({"id": name, "state": "JobComplete"})).into_response()
    } else {
        missing()
    }
}

async fn remove(State(fakes): State<Fakes>, Path(name): Path<String>) -> Response {
    match fakes.jobs().kept().remove(&name) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => missing(),
    }
}

fn missing() -> Response {
    let error = json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]);
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}

async fn results(
    State(fakes): State<Fakes>,
    Path(name): Path<String>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let kept = fakes.jobs().kept();
    let Some(job) = kept.get(&name) else {
        return missing();
    };
    let start: usize = parameters
        .get("locator")
        .map_or(0, |locator| locator.parse().expect("a number"));
    let end = job.contacts.len().min(start + PART);
    let mut text = job.columns.join(",") + "\n";
    for contact in &job.contacts[start..end] {
        let cells: Vec<String> = job.columns.iter().map(|column| cell(&contact.value(column))).collect();
        text += &(cells.join(",") + "\n");
    }
    let next = if end < job.contacts.len() {
        end.to_string()
    } else {
        "null".to_owned()
    };
    let headers = [
        ("sforce-numberofrecords", (end - start).to_string()),
        ("sforce-locator", next),
    ];
    (headers, text).into_response()
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace("+0000", "Z").replace('"', "\"\""),
        other => other.to_string(),
    };
    format!("\"{text}\"")
}
