//! Segment's privacy API and its Profile API, as far as these tests go: regulations by their published form, and whether a user
//! has a profile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fakes::Fakes;

/// What the privacy API does with a request to erase.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It answers so, and does nothing.
    Status(u16),
    /// It answers so with a header, and does nothing.
    Header(u16, &'static str, String),
    /// It takes the request, and answers so.
    TakenThen(u16),
    /// It takes the request, and its answer is cut off.
    Truncated,
}

/// The regulations of a workspace.
#[derive(Default)]
pub struct Regulations {
    list: Mutex<Vec<Value>>,
    faults: Mutex<VecDeque<Fault>>,
    /// Requests with one of these people are refused.
    refused: Mutex<BTreeSet<String>>,
    profiles: Mutex<BTreeSet<String>>,
}

impl Regulations {
    /// What becomes of the next requests to erase.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.faults.lock().expect("not poisoned") = faults.into_iter().collect();
    }

    /// Refuses requests with one of these people.
    pub fn refuse(&self, people: impl IntoIterator<Item = String>) {
        *self.refused.lock().expect("not poisoned") = people.into_iter().collect();
    }

    /// Who has a profile.
    pub fn profiles(&self, people: impl IntoIterator<Item = String>) {
        *self.profiles.lock().expect("not poisoned") = people.into_iter().collect();
    }

    /// The people of each regulation, in the order in which they came.
    pub fn subjects(&self) -> Vec<Vec<String>> {
        let list = self.list.lock().expect("not poisoned");
        list.iter().map(people).collect()
    }

    /// Ends all regulations that run; returns whom that erases.
    pub fn end(&self, status: &str) -> Vec<String> {
        let mut list = self.list.lock().expect("not poisoned");
        let running = list.iter_mut().filter(|one| one["status"] == "INITIALIZED");
        running
            .flat_map(|one| {
                one["status"] = json!(status);
                people(one)
            })
            .collect()
    }
}

pub fn people(regulation: &Value) -> Vec<String> {
    regulation["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn routes(fakes: &Fakes) -> Router {
    Router::new()
        .route("/regulations", get(list).post(create))
        .route("/regulations/{id}", get(one))
        .route(
            "/v1/spaces/{space}/collections/users/profiles/{identifier}/metadata",
            get(profile),
        )
        .with_state(fakes.clone())
}

fn authorized(headers: &HeaderMap) -> bool {
    headers
        .get("authorization")
        .is_some_and(|value| value == "Bearer public-token")
}

async fn create(State(fakes): State<Fakes>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !authorized(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let hangs = fakes.heard().await;
    let regulations = fakes.regulations();
    let subjects: Vec<String> = body["subjectIds"].as_array().into_iter().flatten().map(text).collect();
    assert_eq!(body["subjectType"], "USER_ID");
    assert!(!subjects.is_empty() && subjects.len() <= 5_000);
    let fault = regulations.faults.lock().expect("not poisoned").pop_front();
    match &fault {
        Some(Fault::Status(status)) => return answer(*status),
        Some(Fault::Header(status, name, value)) => {
            return (answer(*status).status(), [(*name, value.clone())]).into_response();
        }
        _ => {}
    }
    let refused = regulations.refused.lock().expect("not poisoned").clone();
    if subjects.iter().any(|subject| refused.contains(subject)) {
        return answer(422);
    }
    let id = {
        let mut list = regulations.list.lock().expect("not poisoned");
        let id = format!("reg_{}", list.len() + 1);
        list.push(json!({
            "id": id, "subjectType": "USER_ID", "subjects": subjects, "status": "INITIALIZED",
            "createdAt": Timestamp::now().to_string(), "regulationType": body["regulationType"],
        }));
        id
    };
    let living = fakes.living(&subjects);
    fakes.note(json!({"type": "regulation", "subjects": subjects, "living": living}));
    if hangs {
        fakes.hang::<()>().await;
    }
    match fault {
        Some(Fault::TakenThen(status)) => answer(status),
        Some(Fault::Truncated) => "{\"data\": {\"regul".into_response(),
        _ => Json(json!({"data": {"regulateId": id}})).into_response(),
    }
}

fn answer(status: u16) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let body = json!({"errors": [{"type": "simulated", "message": "simulated"}]});
    (status, Json(body)).into_response()
}

/// Three to a page, so that there are pages.
const PAGE: usize = 3;

async fn list(State(fakes): State<Fakes>, Query(parameters): Query<BTreeMap<String, String>>) -> Response {
    let regulations = fakes.regulations().list.lock().expect("not poisoned");
    let from: usize = parameters
        .get("pagination.cursor")
        .map_or(0, |cursor| cursor.parse().expect("a number"));
    assert!(parameters.contains_key("pagination.count"));
    let page: Vec<&Value> = regulations.iter().skip(from).take(PAGE).collect();
    let next = (from + PAGE < regulations.len()).then(|| (from + PAGE).to_string());
    Json(json!({"data": {"regulations": page, "pagination": {"current": from.to_string(), "next": next}}}))
        .into_response()
}

async fn one(State(fakes): State<Fakes>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !authorized(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let regulations = fakes.regulations().list.lock().expect("not poisoned");
    match regulations.iter().find(|one| one["id"] == json!(id)) {
        None => answer(404),
        Some(one) => Json(json!({"data": {"regulation": {
            "id": id, "workspaceId": "w", "overallStatus": one["status"], "createdAt": one["createdAt"], "streamStatus": [],
        }}}))
        .into_response(),
    }
}

async fn profile(
    State(fakes): State<Fakes>,
    headers: HeaderMap,
    Path((space, identifier)): Path<(String, String)>,
) -> Response {
    // `profile-token:` in base 64.
    let authorized = headers
        .get("authorization")
        .is_some_and(|value| value == "Basic cHJvZmlsZS10b2tlbjo=");
    if !authorized || space != "spa_1" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let user = identifier.strip_prefix("user_id:").unwrap_or_default();
    if fakes
        .regulations()
        .profiles
        .lock()
        .expect("not poisoned")
        .contains(user)
    {
        Json(json!({"metadata": {"created_at": "2026-01-01T00:00:00Z"}})).into_response()
    } else {
        (
            StatusCode::NOT_FOUND,
            Json(json!({"error": {"code": "not_found", "message": "Profile was not found."}})),
        )
            .into_response()
    }
}
