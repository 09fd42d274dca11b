//! The doors of the REST API: versions, authentication, limits, and which resource a path names.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_list.htm>

use std::io::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::super::faults::ServiceFault;
use super::error::{ApiError, Result};
use super::org::Org;
use super::sessions::Caller;
use super::{bulk, composite, describe, oauth, query, records, replication};

/// The longest URI, and URI with headers.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
const LONGEST_URI: usize = 16_384;
const OLDEST: u32 = 31;
const NEWEST: u32 = 66;

/// A request for a resource of an API version, from someone known.
pub struct Call<'a> {
    pub org: &'a Org,
    pub caller: Caller,
    pub method: Method,
    /// `v62.0`
    pub version: &'a str,
    pub parameters: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A resource's answer.
pub struct Reply {
    pub status: StatusCode,
    pub body: Vec<u8>,
    pub location: Option<String>,
    /// Of a part of a bulk query's result, which is CSV.
    pub part: Option<bulk::Part>,
}

impl Call<'_> {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body, which must be a JSON object.
    pub fn object(&self) -> Result<serde_json::Map<String, Json>> {
        match serde_json::from_slice(&self.body) {
            Ok(Json::Object(object)) => Ok(object),
            Ok(_) => Err(ApiError::unparsable_json(
                "Unexpected type: the body must be a JSON object",
            )),
            Err(error) => Err(ApiError::unparsable_json(format!("{error}"))),
        }
    }

    fn only(&self, method: Method) -> Result<()> {
        let read = method == Method::GET && self.method == Method::HEAD;
        if self.method == method || read {
            Ok(())
        } else {
            let allowed = if method == Method::GET {
                "GET,HEAD"
            } else {
                method.as_str()
            };
            Err(ApiError::method_not_allowed(self.method.as_str(), allowed))
        }
    }
}

impl Reply {
    pub fn json(json: &Json) -> Self {
        Self {
            status: StatusCode::OK,
            body: json.to_string().into_bytes(),
            location: None,
            part: None,
        }
    }

    pub fn empty() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: Vec::new(),
            location: None,
            part: None,
        }
    }
}

pub async fn handle(State(org): State<Arc<Org>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let uri = parts
        .uri
        .path_and_query()
        .map(|uri| uri.as_str().to_owned())
        .unwrap_or_default();
    if uri.len() > LONGEST_URI {
        return too_long(StatusCode::URI_TOO_LONG, "URI Too Long");
    }
    let headers: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if uri.len() + headers > LONGEST_URI {
        return too_long(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Request Header Fields Too Large",
        );
    }
    let Ok(body) = axum::body::to_bytes(body, 64 << 20).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let path: Vec<String> = parts
        .uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .map(decoded)
        .collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", "oauth2", "token"] if parts.method == Method::POST => oauth::token(&org, &parts.headers, &body),
        ["services", "oauth2", "userinfo"] | ["id", _, _] => identity(&org, &parts.headers),
        ["services", "data"] => respond(&org, &parts.headers, Ok(Reply::json(&versions())), false),
        ["services", "data", version, resource @ ..] if is_version(version) => {
            let fault = parts.extensions.get::<ServiceFault>().copied();
            let caller = match authenticate(&org, &parts.headers, fault) {
                Ok(caller) => caller,
                Err(error) => return error.into_response(),
            };
            if fault == Some(ServiceFault::QuotaExhausted) || !org.quota.take() {
                return respond(&org, &parts.headers, Err(ApiError::quota_exhausted()), true);
            }
            let parameters = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned();
            let call = Call {
                org: &org,
                caller,
                method: parts.method,
                version,
                parameters: parameters.collect(),
                headers: parts.headers,
                body,
            };
            let reply = resource_of(&call, resource);
            respond(&org, &call.headers, reply, true)
        }
        _ => ApiError::not_found().into_response(),
    }
}

fn resource_of(call: &Call<'_>, resource: &[&str]) -> Result<Reply> {
    match resource {
        [] => call
            .only(Method::GET)
            .map(|()| Reply::json(&describe::resources(call.version))),
        ["limits"] => call.only(Method::GET).map(|()| {
            let mut limits = call.org.quota.limits();
            call.org.jobs.add_to(&mut limits);
            Reply::json(&limits)
        }),
        ["jobs", "query", rest @ ..] => bulk::handle(call, rest),
        ["query"] => call.only(Method::GET).and_then(|()| query::first_page(call, false)),
        ["queryAll"] => call.only(Method::GET).and_then(|()| query::first_page(call, true)),
        ["query" | "queryAll", locator] => call.only(Method::GET).and_then(|()| query::next_page(call, locator)),
        ["sobjects"] => call.only(Method::GET).map(|()| describe::all(call)),
        ["sobjects", object] => match call.method {
            Method::POST => records::create(call, object),
            _ => call.only(Method::GET).and_then(|()| describe::basic(call, object)),
        },
        ["sobjects", object, "describe"] => call.only(Method::GET).and_then(|()| describe::object(call, object)),
        ["sobjects", object, "updated"] => call.only(Method::GET).and_then(|()| replication::updated(call, object)),
        ["sobjects", object, "deleted"] => call.only(Method::GET).and_then(|()| replication::deleted(call, object)),
        ["sobjects", object, id] => match call.method {
            Method::GET | Method::HEAD => records::get(call, object, id),
            Method::PATCH => records::update(call, object, id),
            Method::DELETE => records::delete(call, object, id),
            _ => Err(ApiError::method_not_allowed(
                call.method.as_str(),
                "DELETE,GET,HEAD,PATCH",
            )),
        },
        ["sobjects", object, field, value] => match call.method {
            Method::GET | Method::HEAD => records::get_by_external_id(call, object, field, value),
            Method::PATCH => records::upsert(call, object, field, value),
            Method::DELETE => records::delete_by_external_id(call, object, field, value),
            _ => Err(ApiError::method_not_allowed(
                call.method.as_str(),
                "DELETE,GET,HEAD,PATCH",
            )),
        },
        ["composite", "sobjects", rest @ ..] => composite::collection(call, rest),
        _ => Err(ApiError::not_found()),
    }
}

/// `Authorization: Bearer` with the token of a session.
fn authenticate(org: &Org, headers: &HeaderMap, fault: Option<ServiceFault>) -> Result<Caller> {
    let Some(authorization) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return Err(ApiError::invalid_session());
    };
    let token = authorization
        .strip_prefix("Bearer ")
        .or_else(|| authorization.strip_prefix("OAuth "));
    let token =
        token.ok_or_else(|| ApiError::new(StatusCode::UNAUTHORIZED, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"))?;
    if fault == Some(ServiceFault::ExpireSession) {
        org.sessions.end(token);
    }
    org.sessions.caller(token).ok_or_else(ApiError::invalid_session)
}

/// Who the session's user is. <https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_using_openid.htm>
fn identity(org: &Org, headers: &HeaderMap) -> Response {
    match authenticate(org, headers, None) {
        Ok(caller) => {
            let user = org.read().user.to_string();
            let identity = json!({
                "id": format!("/id/{}/{user}", oauth::ORG_ID),
                "user_id": user,
                "organization_id": oauth::ORG_ID,
                "username": caller.user,
                "email": caller.user,
                "active": true,
            });
            respond(org, headers, Ok(Reply::json(&identity)), false)
        }
        Err(error) => error.into_response(),
    }
}

/// Three releases a year: v66 is Spring '26.
fn versions() -> Json {
    let version = |number: u32| {
        let release = number - OLDEST;
        let (season, year) = match release % 3 {
            0 => ("Summer", 14 + release / 3),
            1 => ("Winter", 15 + release / 3),
            _ => ("Spring", 15 + release / 3),
        };
        json!({
            "label": format!("{season} '{year}"),
            "url": format!("/services/data/v{number}.0"),
            "version": format!("{number}.0"),
        })
    };
    Json::Array((OLDEST..=NEWEST).map(version).collect())
}

fn is_version(version: &str) -> bool {
    let number = version.strip_prefix('v').and_then(|version| version.strip_suffix(".0"));
    number
        .and_then(|number| number.parse().ok())
        .is_some_and(|number| (OLDEST..=NEWEST).contains(&number))
}

fn respond(org: &Org, request: &HeaderMap, reply: Result<Reply>, counted: bool) -> Response {
    let mut response = match reply {
        Ok(reply) => answer(org, request, reply),
        Err(error) => error.into_response(),
    };
    if counted && let Some(usage) = org.quota.header() {
        response.headers_mut().insert("sforce-limit-info", usage);
    }
    response
}

fn answer(org: &Org, request: &HeaderMap, reply: Reply) -> Response {
    let zip = org.config.compress && !reply.body.is_empty() && accepts_gzip(request);
    let body = if zip { gzip(&reply.body) } else { reply.body };
    let empty = body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    if !empty {
        let kind = if reply.part.is_some() {
            "text/csv"
        } else {
            "application/json;charset=UTF-8"
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Some(part) = &reply.part {
        let named = [
            ("sforce-locator", part.next.as_str()),
            ("sforce-numberofrecords", &part.records.to_string()),
        ];
        for (name, value) in named {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
    if zip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if let Some(location) = reply.location.and_then(|location| HeaderValue::try_from(location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to a Vec does not fail.
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

/// The web server's own page: not JSON.
fn too_long(status: StatusCode, reason: &str) -> Response {
    let page = format!("<h1>Bad Message {}</h1><pre>reason: {reason}</pre>", status.as_u16());
    (status, [(header::CONTENT_TYPE, "text/html;charset=iso-8859-1")], page).into_response()
}

/// A path segment with its percent escapes read; a plus sign is a plus sign.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex
            .filter(|_| byte == b'%')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
