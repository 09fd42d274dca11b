//! The endpoints of the Tracking API.
//!
//! A body that is too large, or no JSON, is answered with 400; everything else with 200, whether its events are taken or
//! not. <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>

use std::io::Read as _;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Workspace;
use super::event::{Head, Kind, Refusal, accept, instant};
use super::store::Delivery;

const LARGEST_EVENT: usize = 32 << 10;
const LARGEST_BATCH: usize = 500 << 10;
const MOST_EVENTS: usize = 2500;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow, default)]
    batch: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    write_key: Option<String>,
    #[serde(default)]
    sent_at: Option<String>,
    #[serde(default)]
    context: Option<Map<String, Value>>,
    #[serde(default)]
    integrations: Option<Map<String, Value>>,
}

enum Bad {
    TooLarge,
    NoJson,
}

impl IntoResponse for Bad {
    fn into_response(self) -> Response {
        let message = match self {
            Self::TooLarge => "Exceed payload limit",
            Self::NoJson => "Malformed JSON",
        };
        (
            StatusCode::BAD_REQUEST,
            Json(json!({"success": false, "message": message})),
        )
            .into_response()
    }
}

/// `POST /v1/{identify,track,group,alias,page,screen,batch}`
pub async fn receive(
    State(workspace): State<Arc<Workspace>>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let kind = Kind::named(&method);
    if kind.is_none() && method != "batch" {
        return StatusCode::NOT_FOUND.into_response();
    }
    if let Some(seconds) = workspace.rate.over() {
        let headers = [
            ("Retry-After", seconds.to_string()),
            ("X-RateLimit-Reset", seconds.to_string()),
        ];
        return (StatusCode::TOO_MANY_REQUESTS, headers, "Too Many Requests").into_response();
    }
    workspace.store.count_request();
    let (parts, body) = request.into_parts();
    let largest = if kind.is_some() { LARGEST_EVENT } else { LARGEST_BATCH };
    let taken = match axum::body::to_bytes(body, largest).await {
        Err(_) => Err(Bad::TooLarge),
        Ok(body) => unzipped(&parts.headers, body, largest).and_then(|body| match kind {
            Some(kind) => one(&workspace, &parts.headers, kind, &body),
            None => batch(&workspace, &parts.headers, &body),
        }),
    };
    match taken {
        Ok(()) => Json(json!({"success": true})).into_response(),
        Err(bad) => bad.into_response(),
    }
}

/// The limit holds for what is sent and for what it unpacks to.
fn unzipped(headers: &HeaderMap, body: Bytes, largest: usize) -> Result<Bytes, Bad> {
    if headers
        .get(header::CONTENT_ENCODING)
        .is_none_or(|encoding| encoding != "gzip")
    {
        return Ok(body);
    }
    let mut unpacked = Vec::new();
    let limit = u64::try_from(largest + 1).unwrap_or(u64::MAX);
    flate2::read::MultiGzDecoder::new(body.as_ref())
        .take(limit)
        .read_to_end(&mut unpacked)
        .map_err(|_| Bad::NoJson)?;
    if unpacked.len() > largest {
        Err(Bad::TooLarge)
    } else {
        Ok(unpacked.into())
    }
}

fn one(workspace: &Workspace, headers: &HeaderMap, kind: Kind, body: &Bytes) -> Result<(), Bad> {
    let text = std::str::from_utf8(body).map_err(|_| Bad::NoJson)?;
    let Ok(head) = serde_json::from_str::<Head<'_>>(text) else {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Bad::NoJson)?;
        workspace.store.refuse(Refusal::NotAnObject, None);
        return Ok(());
    };
    let delivery = Delivery {
        received: Timestamp::now(),
        sent: None,
        shared: None,
    };
    if workspace.knows(write_key(headers, head.write_key.as_deref()).as_deref()) {
        take(workspace, &head, Some(kind), text, &delivery);
    } else {
        workspace.store.refuse(Refusal::InvalidWriteKey, Some(&head));
    }
    Ok(())
}

fn batch(workspace: &Workspace, headers: &HeaderMap, body: &Bytes) -> Result<(), Bad> {
    let text = std::str::from_utf8(body).map_err(|_| Bad::NoJson)?;
    let Ok(batch) = serde_json::from_str::<Batch<'_>>(text) else {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Bad::NoJson)?;
        workspace.store.refuse(Refusal::NotAnObject, None);
        return Ok(());
    };
    let events = batch.batch.unwrap_or_default();
    if events.iter().any(|event| event.get().len() > LARGEST_EVENT) {
        return Err(Bad::TooLarge);
    }
    let known = workspace.knows(write_key(headers, batch.write_key.as_deref()).as_deref());
    let shared: Map<String, Value> = [("context", batch.context), ("integrations", batch.integrations)]
        .into_iter()
        .filter_map(|(name, shared)| Some((name.to_owned(), Value::Object(shared?))))
        .collect();
    let delivery = Delivery {
        received: Timestamp::now(),
        sent: instant(batch.sent_at.as_deref()),
        shared: (!shared.is_empty()).then(|| Arc::new(shared)),
    };
    for (place, event) in events.into_iter().enumerate() {
        match serde_json::from_str::<Head<'_>>(event.get()) {
            Err(_) => workspace.store.refuse(Refusal::NotAnObject, None),
            Ok(head) if !known => workspace.store.refuse(Refusal::InvalidWriteKey, Some(&head)),
            Ok(head) if place >= MOST_EVENTS => workspace.store.refuse(Refusal::TooManyEvents, Some(&head)),
            Ok(head) => take(workspace, &head, None, event.get(), &delivery),
        }
    }
    Ok(())
}

fn take(workspace: &Workspace, head: &Head<'_>, endpoint: Option<Kind>, body: &str, delivery: &Delivery) {
    let user = head.user_id.as_deref();
    if user.is_some_and(|user| workspace.store.is_suppressed(user)) {
        workspace.store.refuse(Refusal::SuppressedUser, Some(head));
        return;
    }
    match accept(head, endpoint) {
        Ok(kind) => workspace.store.accept(kind, head, body, delivery),
        Err(reason) => workspace.store.refuse(reason, Some(head)),
    }
}

/// The user name of Basic authentication, or the body's. The colon may be missing, for old clients' sake.
fn write_key(headers: &HeaderMap, in_body: Option<&str>) -> Option<String> {
    user_name(headers)
        .or_else(|| in_body.map(str::to_owned))
        .filter(|key| !key.is_empty())
}

/// The user name of Basic authentication.
pub fn user_name(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let pair = String::from_utf8(STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?).ok()?;
    Some(pair.split_once(':').map_or(pair.clone(), |(key, _)| key.to_owned()))
}
