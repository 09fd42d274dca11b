//! An org with one object, which answers by the published protocol and fails as it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use futures::stream;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use super::jobs::{self, Jobs};

/// How one request for data fails.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// An error with this status, code and `Retry-After`.
    Error(u16, &'static str, Option<&'static str>),
    /// The connection ends in the middle of the answer.
    Dropped,
    /// The answer ends early, and says that it is whole.
    Truncated,
    /// A page of some proxy.
    Html,
    /// The session ends, and takes the query's cursor with it.
    SessionAndCursor,
    /// Another host.
    Redirect,
    /// The next page is said to be on another host.
    OtherHost,
    /// A record is modified before this page is read.
    Modify(&'static str),
}

#[derive(Default)]
pub struct Inner {
    /// Stamps and ids, and whether the record is deleted.
    records: Vec<(String, String, bool)>,
    cursors: HashMap<usize, Vec<String>>,
    sessions: usize,
    valid: String,
    seen: Vec<String>,
    faults: HashMap<usize, Fault>,
    requests: usize,
    describes: Vec<(&'static str, &'static str, bool)>,
    covered: Option<&'static str>,
    pub jobs: Jobs,
}

#[derive(Clone)]
pub struct Org {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

pub const PAGE: usize = 2;
const NOW: &str = "Mon, 04 May 2026 12:00:00 GMT";

impl Org {
    /// An org with these records, sorted: `stamp id` or `stamp id deleted`. The first request for data is number 1.
    pub async fn start(records: &[&str], faults: &[(usize, Fault)]) -> Org {
        let record = |text: &&str| {
            let mut parts = text.split(' ').map(str::to_owned);
            (
                format!("2026-05-04T{}.000Z", parts.next().unwrap()),
                parts.next().unwrap(),
                parts.next().is_some(),
            )
        };
        let inner = Inner {
            records: records.iter().map(record).collect(),
            faults: faults.iter().copied().collect(),
            describes: vec![
                ("Id", "id", true),
                ("LastName", "string", true),
                ("SystemModstamp", "datetime", true),
                ("IsDeleted", "boolean", true),
            ],
            ..Inner::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let org = Org {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::new(Mutex::new(inner)),
        };
        let router = Router::new().fallback(answer).with_state(org.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        org
    }

    pub fn describe_as(&self, fields: &[(&'static str, &'static str, bool)]) {
        self.lock().describes = fields.to_vec();
    }

    /// From now on the object is one that can be replicated, and this is when the oldest open transaction began.
    pub fn covers(&self, until: &'static str) {
        self.lock().covered = Some(until);
    }

    /// What was asked: the SOQL, the cursor's path, or any other path.
    pub fn seen(&self) -> Vec<String> {
        self.lock().seen.clone()
    }

    pub fn logins(&self) -> usize {
        self.lock().sessions
    }

    /// Arranges the org's Bulk API.
    pub fn jobs(&self, arrange: impl FnOnce(&mut Jobs)) {
        arrange(&mut self.lock().jobs);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

async fn answer(State(org): State<Org>, request: Request) -> Response<Body> {
    let url = Url::parse(&format!("{}{}", org.url, request.uri())).unwrap();
    let method = request.method().clone();
    let bearer = request
        .headers()
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
    let mut inner = org.lock();
    if url.path() == "/services/oauth2/token" {
        inner.sessions += 1;
        inner.valid = format!("Bearer token-{}", inner.sessions);
        let token = &inner.valid["Bearer ".len()..];
        return reply(
            200,
            json!({"access_token": token, "instance_url": org.url, "token_type": "Bearer"}),
        );
    }
    inner.requests += 1;
    let number = inner.requests;
    let query = url
        .query_pairs()
        .find(|(name, _)| name == "q")
        .map(|(_, soql)| soql.into_owned());
    inner.seen.push(match (&query, &method) {
        (Some(soql), _) => soql.clone(),
        (None, &Method::GET) => url.path().to_owned(),
        (None, method) => format!("{method} {} {}", url.path(), String::from_utf8_lossy(&body))
            .trim()
            .to_owned(),
    });
    let fault = inner.faults.get(&number).copied();
    match fault {
        Some(Fault::Error(401, ..)) => inner.valid.clear(),
        Some(Fault::SessionAndCursor) => {
            inner.valid.clear();
            inner.cursors.clear();
        }
        Some(Fault::Error(status, code, wait)) => {
            let mut response = reply(
                status,
                json!([{"errorCode": code, "message": "No such column 'Fax__c' on entity"}]),
            );
            if let Some(wait) = wait {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, wait.parse().unwrap());
            }
            return response;
        }
        Some(Fault::Redirect) => {
            let mut response = reply(302, Value::Null);
            response
                .headers_mut()
                .insert(header::LOCATION, "http://elsewhere.example/".parse().unwrap());
            return response;
        }
        Some(Fault::Html) => return Response::new(Body::from("<html>maintenance</html>")),
        Some(Fault::Modify(id)) => {
            let record = inner.records.iter_mut().find(|record| record.1 == id).unwrap();
            record.0 = "2026-05-04T13:00:00.000Z".into();
        }
        Some(Fault::Dropped | Fault::Truncated | Fault::OtherHost) | None => {}
    }
    if bearer.as_deref() != Some(&inner.valid) {
        return reply(
            401,
            json!([{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]),
        );
    }
    if url.path().contains("/jobs/query") {
        let (status, headers, text) = jobs::answer(&mut inner, &method, &url, &body);
        let mut response = match fault {
            Some(fault) => damaged(text, fault),
            None => Response::new(Body::from(text)),
        };
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert(header::DATE, NOW.parse().unwrap());
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        return response;
    }
    let mut response = data(&mut inner, &url, query.as_deref());
    if let Some(Fault::OtherHost) = fault {
        response["nextRecordsUrl"] = json!("//elsewhere.example/services/data/v62.0/query/0r8-2");
    }
    if response.is_null() {
        return reply(
            400,
            json!([{"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]),
        );
    }
    match fault {
        Some(fault @ (Fault::Truncated | Fault::Dropped)) => damaged(response.to_string(), fault),
        _ => reply(200, response),
    }
}

fn damaged(text: String, fault: Fault) -> Response<Body> {
    let half = text[..text.len() / 2].to_owned();
    match fault {
        Fault::Truncated => Response::new(Body::from(half)),
        Fault::Dropped => Response::new(Body::from_stream(stream::iter([
            Ok(Bytes::from(half)),
            Err(std::io::Error::other("dropped")),
        ]))),
        _ => Response::new(Body::from(text)),
    }
}

fn reply(status: u16, body: Value) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::DATE, NOW)
        .header("sforce-limit-info", "api-usage=18/15000")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn data(inner: &mut Inner, url: &Url, query: Option<&str>) -> Value {
    let path = url.path();
    if path.ends_with("/describe") {
        let field = |(name, kind, filterable): &(&str, &str, bool)| json!({"name": name, "type": kind, "length": 80, "filterable": filterable});
        return json!({
            "name": "Contact",
            "replicateable": inner.covered.is_some(),
            "fields": inner.describes.iter().map(field).collect::<Vec<_>>(),
        });
    }
    if path.ends_with("/updated/") {
        return json!({"ids": ["a"], "latestDateCovered": inner.covered});
    }
    if path.ends_with("/limits") {
        let left = inner.jobs.left;
        return json!({
            "DailyApiRequests": {"Max": 15000, "Remaining": 14000},
            "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": left},
            "DailyBulkV2QueryFileStorageMB": {"Max": 976562, "Remaining": 976562},
        });
    }
    let (cursor, start) = match query {
        Some(soql) => {
            let all = path.ends_with("/queryAll");
            let ids = inner.ids(soql, all);
            if soql.starts_with("SELECT COUNT()") {
                return json!({"totalSize": ids.len(), "done": true, "records": []});
            }
            let cursor = inner.requests;
            inner.cursors.insert(cursor, ids);
            (cursor, 0)
        }
        None => {
            let (cursor, start) = path.rsplit_once("/0r8-").unwrap().1.split_once('-').unwrap();
            (cursor.parse().unwrap(), start.parse().unwrap())
        }
    };
    let Some(ids) = inner.cursors.get(&cursor) else {
        return Value::Null;
    };
    let end = ids.len().min(start + PAGE);
    let record = |id: &String| {
        let (stamp, id, deleted) = inner.record(id);
        let stamp = format!("{}+0000", stamp.trim_end_matches('Z'));
        json!({
            "attributes": {"type": "Contact", "url": format!("/services/data/v62.0/sobjects/Contact/{id}")},
            "LastName": format!("name of {id}"), "Id": id, "SystemModstamp": stamp, "LastModifiedDate": stamp, "IsDeleted": deleted,
            "Since": stamp, "Score": 7.5,
        })
    };
    let mut page = json!({
        "totalSize": ids.len(),
        "done": end == ids.len(),
        "records": ids[start..end].iter().map(record).collect::<Vec<_>>(),
    });
    if end < ids.len() {
        page["nextRecordsUrl"] = json!(format!("/services/data/v62.0/query/0r8-{cursor}-{end}"));
    }
    page
}

impl Inner {
    pub fn record(&self, id: &str) -> &(String, String, bool) {
        self.records.iter().find(|record| record.1 == id).unwrap()
    }

    /// The ids that a query lets through, in keyset order.
    pub fn ids(&self, soql: &str, all: bool) -> Vec<String> {
        let rows = matching(self, soql, all).into_iter();
        rows.map(|row| self.records[row].1.clone()).collect()
    }
}

/// The rows that a query's condition lets through, in keyset order.
fn matching(inner: &Inner, soql: &str, all: bool) -> Vec<usize> {
    let condition = soql
        .split_once(" WHERE ")
        .map_or("", |(_, rest)| rest.split(" ORDER BY ").next().unwrap());
    let words: Vec<&str> = condition.split(' ').collect();
    let passes = |stamp: &str, id: &str| {
        let stamp: Timestamp = stamp.parse().unwrap();
        match words.as_slice() {
            [""] => true,
            [_, ">=", from] => stamp >= from.parse().unwrap(),
            [_, ">", from] => stamp > from.parse().unwrap(),
            [_, ">", after, "OR", _, "=", _, "AND", "Id", ">", last] => {
                let after: Timestamp = after.parse().unwrap();
                stamp > after || (stamp == after && id > last.trim_matches(['\'', ')']))
            }
            _ => panic!("no such condition: {condition}"),
        }
    };
    let rows = inner.records.iter().enumerate();
    let mut rows: Vec<usize> = rows
        .filter(|(_, (stamp, id, deleted))| (all || !deleted) && passes(stamp, id))
        .map(|(row, _)| row)
        .collect();
    rows.sort_by_key(|row| inner.records[*row].clone());
    rows
}
