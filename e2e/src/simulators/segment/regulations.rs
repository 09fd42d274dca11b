//! Segment's Public API, as far as it deletes and suppresses: <https://docs.segmentapis.com/tag/Deletion-and-Suppression>.
//!
//! A regulation stays `INITIALIZED` until a test ends it; then its people are erased, suppressed, or taken again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Workspace;

/// <https://segment.com/docs/privacy/faq/#how-many-deletion-requests-can-i-send>
const MOST_SUBJECTS: usize = 5_000;
pub(super) const LARGEST: usize = 4_000_000;

/// A regulation is known for so long.
const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Type {
    DeleteInternal,
    DeleteOnly,
    SuppressOnly,
    SuppressWithDelete,
    SuppressWithDeleteInternal,
    Unsuppress,
}

impl Type {
    fn deletes(self) -> bool {
        !matches!(self, Self::SuppressOnly | Self::Unsuppress)
    }

    /// Whether its people are suppressed from then on, or no longer.
    fn suppresses(self) -> Option<bool> {
        match self {
            Self::DeleteInternal | Self::DeleteOnly => None,
            Self::SuppressOnly | Self::SuppressWithDelete | Self::SuppressWithDeleteInternal => Some(true),
            Self::Unsuppress => Some(false),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Failed,
    Finished,
    Initialized,
    Invalid,
    NotSupported,
    PartialSuccess,
    Running,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Regulation {
    pub id: String,
    pub subject_type: String,
    pub subjects: Vec<String>,
    pub status: Status,
    pub created_at: Timestamp,
    pub regulation_type: Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The source that it is limited to.
    #[serde(skip)]
    pub source: Option<String>,
}

#[derive(Debug, Default)]
pub struct Regulations(Mutex<Vec<Regulation>>);

impl Regulations {
    pub fn list(&self) -> Vec<Regulation> {
        self.kept().clone()
    }

    pub fn clear(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Regulation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workspace {
    /// Has a regulation stand so from now on. One that is finished has done what it says.
    pub fn set_status(&self, id: &str, status: Status) -> bool {
        let mut kept = self.regulations.kept();
        let Some(regulation) = kept.iter_mut().find(|regulation| regulation.id == id) else {
            return false;
        };
        regulation.status = status;
        if status == Status::Finished {
            regulation.finished_at = Some(Timestamp::now());
            for subject in &regulation.subjects {
                if regulation.regulation_type.deletes() {
                    self.store.erase(subject);
                }
                if let Some(suppressed) = regulation.regulation_type.suppresses() {
                    self.store.suppress(subject, suppressed);
                }
            }
        }
        true
    }

    /// Ends all regulations that have not ended; how many these are.
    pub fn finish_all(&self) -> usize {
        let running: Vec<String> = {
            let kept = self.regulations.kept();
            let running = kept
                .iter()
                .filter(|regulation| matches!(regulation.status, Status::Initialized | Status::Running));
            running.map(|regulation| regulation.id.clone()).collect()
        };
        running
            .iter()
            .filter(|id| self.set_status(id, Status::Finished))
            .count()
    }

    fn may_regulate(&self, headers: &HeaderMap) -> Result<(), Box<Response>> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|value| value.strip_prefix("Bearer "));
        if !self.knows_token(token) {
            return Err(Box::new(error(StatusCode::FORBIDDEN, "not-authorized", None)));
        }
        if let Some(seconds) = self.public_rate.over() {
            let seconds = SignedDuration::try_from(Duration::from_secs(seconds)).unwrap_or(SignedDuration::MAX);
            let reset = (Timestamp::now() + seconds).strftime("%a, %d %b %Y %H:%M:%S GMT");
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "rate-limit", None);
            if let Ok(reset) = reset.to_string().parse() {
                response.headers_mut().insert("x-ratelimit-reset", reset);
            }
            return Err(Box::new(response));
        }
        Ok(())
    }
}

/// The envelope of the API's errors.
fn error(status: StatusCode, kind: &str, field: Option<&str>) -> Response {
    let body = json!({"errors": [{"type": kind, "message": kind, "field": field, "status": status.as_u16()}]});
    (status, Json(body)).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    regulation_type: Type,
    subject_type: String,
    subject_ids: Vec<String>,
}

/// `POST /regulations`
pub async fn create(State(workspace): State<Arc<Workspace>>, headers: HeaderMap, body: Bytes) -> Response {
    add(&workspace, &headers, &body, None)
}

/// `POST /regulations/sources/{sourceId}`
pub async fn create_for_source(
    State(workspace): State<Arc<Workspace>>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    add(&workspace, &headers, &body, Some(source))
}

fn add(workspace: &Workspace, headers: &HeaderMap, body: &Bytes, source: Option<String>) -> Response {
    if let Err(refused) = workspace.may_regulate(headers) {
        return *refused;
    }
    if body.len() > LARGEST {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", None);
    }
    let Ok(input) = serde_json::from_slice::<Input>(body) else {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "validation", None);
    };
    let ids = &input.subject_ids;
    if ids.is_empty() || ids.len() > MOST_SUBJECTS || ids.iter().any(String::is_empty) {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "validation", Some("subjectIds"));
    }
    if input.subject_type != "USER_ID" {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "validation", Some("subjectType"));
    }
    let mut kept = workspace.regulations.kept();
    let id = format!("reg{:024}", kept.len() + 1);
    kept.push(Regulation {
        id: id.clone(),
        subject_type: input.subject_type,
        subjects: input.subject_ids,
        status: Status::Initialized,
        created_at: Timestamp::now(),
        regulation_type: input.regulation_type,
        finished_at: None,
        source,
    });
    Json(json!({"data": {"regulateId": id}})).into_response()
}

/// `GET /regulations/{regulateId}`
pub async fn one(State(workspace): State<Arc<Workspace>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = workspace.may_regulate(&headers) {
        return *refused;
    }
    let found = known(&workspace).into_iter().find(|regulation| regulation.id == id);
    let Some(regulation) = found else {
        return error(StatusCode::NOT_FOUND, "not-found", None);
    };
    let mut shown = json!({
        "id": regulation.id,
        "workspaceId": "workspace",
        "overallStatus": regulation.status,
        "createdAt": regulation.created_at,
        "streamStatus": [{"id": "stream", "destinationStatus": []}],
    });
    if let Some(finished) = regulation.finished_at {
        shown["finishedAt"] = json!(finished);
    }
    Json(json!({"data": {"regulation": shown}})).into_response()
}

#[derive(Debug, Deserialize)]
pub struct Pages {
    #[serde(rename = "pagination.count")]
    count: Option<usize>,
    #[serde(rename = "pagination.cursor")]
    cursor: Option<String>,
    status: Option<Status>,
}

/// `GET /regulations`
pub async fn list(State(workspace): State<Arc<Workspace>>, Query(pages): Query<Pages>, headers: HeaderMap) -> Response {
    listed(&workspace, &headers, &pages, None)
}

/// `GET /regulations/sources/{sourceId}`
pub async fn list_of_source(
    State(workspace): State<Arc<Workspace>>,
    Path(source): Path<String>,
    Query(pages): Query<Pages>,
    headers: HeaderMap,
) -> Response {
    listed(&workspace, &headers, &pages, Some(&source))
}

fn listed(workspace: &Workspace, headers: &HeaderMap, pages: &Pages, source: Option<&str>) -> Response {
    if let Err(refused) = workspace.may_regulate(headers) {
        return *refused;
    }
    // <https://docs.segmentapis.com/tag/Pagination>
    let count = pages.count.unwrap_or(200);
    if !(1..=1000).contains(&count) {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "validation", Some("pagination.count"));
    }
    let from = pages.cursor.as_deref().map_or(Ok(0), str::parse::<usize>);
    let Ok(from) = from else {
        return error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation",
            Some("pagination.cursor"),
        );
    };
    let all: Vec<Regulation> = known(workspace)
        .into_iter()
        .filter(|regulation| regulation.source.as_deref() == source)
        .filter(|regulation| pages.status.is_none_or(|status| status == regulation.status))
        .collect();
    let page: Vec<&Regulation> = all.iter().skip(from).take(count).collect();
    let mut pagination = json!({"current": from.to_string(), "totalEntries": all.len()});
    if from + count < all.len() {
        pagination["next"] = Value::from((from + count).to_string());
    }
    Json(json!({"data": {"regulations": page, "pagination": pagination}})).into_response()
}

fn known(workspace: &Workspace) -> Vec<Regulation> {
    let since = Timestamp::now() - KNOWN_FOR;
    let mut known = workspace.regulations.list();
    known.retain(|regulation| regulation.created_at >= since);
    known
}
