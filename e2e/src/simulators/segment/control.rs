//! The control interface, under `/_control/`: what the workspace received.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /_control/counts` | `{"requests", "received", "accepted", "distinct", "duplicates", "rejected", "byType": {"identify": 3}, "byReason": {"no_user_anon_id": 1}}` |
//! | `GET /_control/events?userId=&type=&messageId=&offset=0&limit=100` | `{"matching": n, "events": […]}`: distinct events, oldest first, with `receivedAt`, `sentAt`, `originalTimestamp` and the corrected `timestamp` |
//! | `GET /_control/profiles/{userId}` | `{"userId", "anonymousIds", "traits", "consent": {"categoryPreferences": {…}}, "externalIds", "groups": {"001…": {…}}, "events": {"identify": 2}, "lastMessageId"}`, or 404 |
//! | `GET /_control/users` | the user ids of all events |
//! | `GET /_control/rejected` | `[{"reason", "messageId", "userId"}]` |
//! | `GET /_control/regulations` | the regulations as the API lists them, oldest first |
//! | `PUT /_control/regulations/{id}` | `"FINISHED"`: a regulation that is finished has erased or suppressed its people |
//! | `POST /_control/regulations/finish` | finishes all that run; `{"finished": n}` |
//! | `PUT /_control/config` | `{"writeKeys": ["k"], "requestsPerSecond": 10}`: an empty list takes every key; `null` lifts the limit |
//! | `POST /_control/reset` | forgets events, ids, refusals and requests |
//! | `/_control/faults`, `/_control/requests` | see [`faults`](super::super::faults), [`received`](super::super::received) |

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Workspace;
use super::regulations::Status;
use super::store::Filter;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Setting {
    write_keys: Option<Vec<String>>,
    requests_per_second: Option<u32>,
}

pub fn routes(workspace: &Arc<Workspace>) -> Router {
    type Shared = State<Arc<Workspace>>;
    Router::new()
        .route(
            "/_control/counts",
            get(async |State(workspace): Shared| Json(workspace.store.counts())),
        )
        .route(
            "/_control/rejected",
            get(async |State(workspace): Shared| Json(workspace.store.refused())),
        )
        .route(
            "/_control/users",
            get(async |State(workspace): Shared| Json(workspace.store.users())),
        )
        .route(
            "/_control/events",
            get(async |State(workspace): Shared, Query(filter): Query<Filter>| Json(workspace.store.events(&filter))),
        )
        .route("/_control/profiles/{user}", get(profile))
        .route(
            "/_control/regulations",
            get(async |State(workspace): Shared| Json(workspace.regulations.list())),
        )
        .route("/_control/regulations/{id}", put(regulate))
        .route(
            "/_control/regulations/finish",
            post(async |State(workspace): Shared| Json(json!({"finished": workspace.finish_all()}))),
        )
        .route("/_control/config", put(configure))
        .route(
            "/_control/reset",
            post(async |State(workspace): Shared| workspace.reset()),
        )
        .with_state(workspace.clone())
}

async fn profile(State(workspace): State<Arc<Workspace>>, Path(user): Path<String>) -> Result<Json<Value>, StatusCode> {
    workspace.store.profile(&user).map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn regulate(
    State(workspace): State<Arc<Workspace>>,
    Path(id): Path<String>,
    Json(status): Json<Status>,
) -> StatusCode {
    if workspace.set_status(&id, status) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn configure(State(workspace): State<Arc<Workspace>>, Json(setting): Json<Setting>) {
    if let Some(keys) = setting.write_keys {
        workspace.take_keys(keys);
    }
    workspace.rate.allow(setting.requests_per_second);
}
