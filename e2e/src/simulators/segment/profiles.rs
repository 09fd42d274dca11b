//! Segment's Profile API, as far as it tells whether there is a profile and what its traits are:
//! <https://segment.com/docs/unify/profile-api/>. It shows no consent.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Workspace;
use super::tracking::user_name;

#[derive(Debug, Deserialize)]
pub struct Limit {
    limit: Option<usize>,
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

/// `GET /v1/spaces/{space}/collections/users/profiles/{idType:id}/{traits,metadata,external_ids}`
pub async fn read(
    State(workspace): State<Arc<Workspace>>,
    Path((_space, identifier, part)): Path<(String, String, String)>,
    Query(Limit { limit }): Query<Limit>,
    headers: HeaderMap,
) -> Response {
    if !workspace.knows_token(user_name(&headers).as_deref()) {
        return error(StatusCode::UNAUTHORIZED, "authentication_error", "Unauthorized");
    }
    if let Some(seconds) = workspace.public_rate.over() {
        let headers = [("Retry-After", seconds.to_string())];
        let body = error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "Too many requests");
        return (headers, body).into_response();
    }
    // "Queries with an external_id in other casing won't return any profiles."
    let user = identifier
        .strip_prefix("user_id:")
        .filter(|user| user.to_lowercase() == *user);
    let profile = user.and_then(|user| {
        let mut users = workspace.store.users().into_iter();
        let known = users.find(|known| known.to_lowercase() == user)?;
        workspace.store.profile(&known)
    });
    let Some(profile) = profile else {
        return error(StatusCode::NOT_FOUND, "not_found", "Profile was not found.");
    };
    let cursor = |more: bool| json!({"url": "", "has_more": more, "next": ""});
    match part.as_str() {
        "traits" => {
            let all = profile["traits"].as_object().cloned().unwrap_or_default();
            let limit = limit.unwrap_or(10).min(200);
            let more = all.len() > limit;
            let traits: Map<String, Value> = all.into_iter().take(limit).collect();
            Json(json!({"traits": traits, "cursor": cursor(more)})).into_response()
        }
        "external_ids" => {
            let own = json!({"type": "user_id", "id": profile["userId"], "collection": "users", "encoding": "none"});
            Json(json!({"data": [own], "cursor": cursor(false)})).into_response()
        }
        "metadata" => {
            let last = &profile["lastMessageId"];
            Json(json!({"metadata": {"expires_at": null, "last_message_id": last}})).into_response()
        }
        _ => error(
            StatusCode::NOT_FOUND,
            "not_found",
            "The requested resource doesn't exist.",
        ),
    }
}
