//! Erasing and looking for profiles, before an API that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::PATIENCE;
use crate::api::common::{Outcome, SecretKeySelector};
use crate::secrets::Secrets;
use crate::sink::segment::Segment;
use crate::sink::{Asked, Sought, Standing, subjects_hash};

/// A request: its method, path and query, its credentials and media types, its body.
type Seen = (String, String, [String; 3], Value);

#[derive(Clone, Default)]
struct Api {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

async fn start(answers: impl IntoIterator<Item = (u16, Value)>, privacy: Value) -> (Segment, Api) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let api = Api::default();
    *api.answers.lock().unwrap() = answers.into_iter().collect();
    let router = Router::new().fallback(answer).with_state(api.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let key = |key: &str| json!({"secretKeyRef": {"name": "cdp", "key": key}});
    let mut spec = json!({
        "segment": {
            "endpoint": "https://api.segment.io/v1",
            "allowPlaintext": true,
            "writeKey": key("writeKey"),
            "privacyApi": {"endpoint": format!("{url}/base/"), "token": key("token")},
            "readBack": {"profileApi": {"endpoint": url, "spaceId": "spa_1", "token": key("token")}},
        },
        "identity": {"userId": "crm_id"},
    });
    let members = privacy.as_object().unwrap().clone();
    spec["segment"]["privacyApi"].as_object_mut().unwrap().extend(members);
    let secrets = ["writeKey", "token"].map(|key| {
        let selector = SecretKeySelector {
            name: "cdp".into(),
            key: key.into(),
        };
        (selector, SecretString::from(format!("the-{key}")))
    });
    let secrets = Secrets::Manifests(BTreeMap::from(secrets));
    let segment = Segment::with_patience(&serde_json::from_value(spec).unwrap(), &secrets, PATIENCE).unwrap();
    (segment, api)
}

async fn answer(State(api): State<Api>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let header = |name: &str| {
        let value = headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    api.seen.lock().unwrap().push((
        method.to_string(),
        uri.to_string(),
        ["authorization", "accept", "content-type"].map(header),
        serde_json::from_slice(&body).unwrap_or_default(),
    ));
    let (status, body) = api
        .answers
        .lock()
        .unwrap()
        .pop_front()
        .expect("a request that was not expected");
    Response::builder()
        .status(status)
        .body(Body::from(body.to_string()))
        .unwrap()
}

impl Api {
    fn paths(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .map(|(method, path, ..)| format!("{method} {path}"))
            .collect()
    }
}

fn people() -> Vec<String> {
    vec!["003b".into(), "003a".into()]
}

fn created(id: &str) -> (u16, Value) {
    (200, json!({"data": {"regulateId": id}}))
}

/// A page of the list, with one regulation.
fn listed(id: &str, kind: &str, subjects: &[&str], created_at: Timestamp, next: Option<&str>) -> (u16, Value) {
    let regulation = json!({
        "id": id, "subjectType": "USER_ID", "subjects": subjects, "status": "RUNNING", "regulationType": kind,
        "createdAt": created_at.to_string(),
    });
    (
        200,
        json!({"data": {"regulations": [regulation], "pagination": {"current": "MA==", "next": next}}}),
    )
}

const MEDIA: &str = "application/vnd.segment.v1+json";

#[tokio::test]
async fn a_request_has_the_published_form_and_is_of_the_workspace_or_of_one_source() {
    let (segment, api) = start([created("reg_1")], json!({})).await;
    assert_eq!(
        segment.erase(&people(), Vec::new()).await,
        Ok(Asked::Taken("reg_1".into()))
    );
    let body = json!({"regulationType": "DELETE_ONLY", "subjectType": "USER_ID", "subjectIds": ["003b", "003a"]});
    let headers = ["Bearer the-token", MEDIA, MEDIA].map(str::to_owned);
    assert_eq!(
        *api.seen.lock().unwrap(),
        [("POST".to_owned(), "/base/regulations".to_owned(), headers, body)]
    );
    let settings = json!({"sourceId": "src1", "regulation": "DeleteInternal"});
    let (segment, api) = start([created("reg_2")], settings).await;
    assert_eq!(
        segment.erase(&people(), Vec::new()).await,
        Ok(Asked::Taken("reg_2".into()))
    );
    assert_eq!(api.paths(), ["POST /base/regulations/sources/src1"]);
    assert_eq!(api.seen.lock().unwrap()[0].3["regulationType"], "DELETE_INTERNAL");
}

#[tokio::test]
async fn a_try_that_may_have_arrived_is_looked_for_before_the_next_one_is_made() {
    let now = Timestamp::now();
    let day_ago = now - jiff::SignedDuration::from_hours(24);
    let mine = ["003a", "003b"];
    // None of these is it: of another kind, of other people, from before, known.
    let others = [
        listed("other_1", "DELETE_INTERNAL", &mine, now, Some("a=")),
        listed("other_2", "DELETE_ONLY", &["003a"], now, Some("b=")),
        listed("other_3", "DELETE_ONLY", &mine, day_ago, Some("c=")),
        listed("known", "DELETE_ONLY", &mine, now, None),
    ];
    let answers = [(502, Value::Null)].into_iter().chain(others).chain([
        (200, json!({"data": {}})),
        listed("reg_9", "DELETE_ONLY", &mine, now, Some("a=")),
    ]);
    let (segment, api) = start(answers, json!({})).await;
    assert_eq!(
        segment.erase(&people(), vec!["known".into()]).await,
        Ok(Asked::Taken("reg_9".into()))
    );
    assert_eq!(
        api.paths(),
        [
            "POST /base/regulations",
            "GET /base/regulations?pagination.count=10",
            "GET /base/regulations?pagination.count=10&pagination.cursor=a%3D",
            "GET /base/regulations?pagination.count=10&pagination.cursor=b%3D",
            "GET /base/regulations?pagination.count=10&pagination.cursor=c%3D",
            "POST /base/regulations",
            "GET /base/regulations?pagination.count=10",
        ]
    );
    let sought = Sought {
        since: now,
        subjects: subjects_hash(mine),
        known: Vec::new(),
    };
    let (segment, _) = start([listed("reg_3", "DELETE_ONLY", &mine, now, None)], json!({})).await;
    assert_eq!(segment.find_erasure(&sought).await, Ok(Some("reg_3".into())));
}

#[tokio::test]
async fn what_no_repetition_mends_is_told_with_the_field_and_without_what_was_sent() {
    let cases = [
        (422, Ok("refuses to erase the user id (422)")),
        (413, Ok("refuses to erase the user id (413)")),
        (401, Err("refuses the token of spec.segment.privacyApi (401)")),
        (403, Err("refuses the token of spec.segment.privacyApi (403)")),
        (
            404,
            Err("has no regulations (404); correct privacyApi.endpoint or privacyApi.sourceId"),
        ),
        (
            302,
            Err("refuses the request (302); check spec.segment.privacyApi.endpoint"),
        ),
    ];
    for (status, expected) in cases {
        let (segment, _) = start([(status, json!({"errors": [{"message": "003a is wrong"}]}))], json!({})).await;
        let (words, expected) = match (segment.erase(&people(), Vec::new()).await, expected) {
            (Ok(Asked::Refused(reason)), Ok(expected)) => (reason, expected),
            (Err(error), Err(expected)) if error.outcome == Outcome::SinkRefused => (error.message, expected),
            (other, _) => panic!("{status}: {other:?}"),
        };
        assert!(words.contains(expected) && !words.contains("003a"), "{status}: {words}");
    }
}

#[tokio::test]
async fn a_regulation_stands_as_its_overall_status_says() {
    let advised = |word: &str| format!("ended the erasure as {word} (regulation reg/1)");
    let cases = [
        ("INITIALIZED", None),
        ("RUNNING", None),
        ("SOMETHING_NEW", None),
        ("FINISHED", Some(Ok(()))),
        ("FAILED", Some(Err(advised("FAILED")))),
        ("INVALID", Some(Err(advised("INVALID")))),
        ("NOT_SUPPORTED", Some(Err(advised("NOT_SUPPORTED")))),
        ("PARTIAL_SUCCESS", Some(Err(advised("PARTIAL_SUCCESS")))),
    ];
    for (status, expected) in cases {
        let regulation = json!({"id": "reg/1", "workspaceId": "w", "overallStatus": status, "streamStatus": []});
        let (segment, api) = start([(200, json!({"data": {"regulation": regulation}}))], json!({})).await;
        match (segment.standing("reg/1").await.unwrap(), expected) {
            (Standing::Running, None) => {}
            (Standing::Finished(word), Some(Ok(()))) => assert_eq!(word, status),
            (Standing::Failed { status: word, advice }, Some(Err(expected))) => {
                assert!(word == status && advice.contains(&expected), "{advice}");
            }
            (other, _) => panic!("{status}: {other:?}"),
        }
        assert_eq!(api.paths(), ["GET /base/regulations/reg%2F1"]);
    }
    let (segment, _) = start([(404, Value::Null)], json!({})).await;
    let forgotten = segment.standing("reg_1").await.unwrap();
    assert!(
        matches!(&forgotten, Standing::Failed { status, .. } if status == "NOT_FOUND"),
        "{forgotten:?}"
    );
}

#[tokio::test]
async fn a_profile_is_looked_for_by_its_id_as_it_is_and_in_lower_case() {
    let (found, missing) = (
        (200, json!({"metadata": {}})),
        (404, json!({"error": {"code": "not_found"}})),
    );
    let cases = [
        ("003aB", vec![missing.clone(), missing.clone()], false),
        ("003aB", vec![missing.clone(), found.clone()], true),
        ("003aB", vec![(503, Value::Null), found.clone()], true),
        ("003ab", vec![missing], false),
    ];
    for (user, answers, expected) in cases {
        let (count, (segment, api)) = (answers.len(), start(answers, json!({})).await);
        assert_eq!(segment.has_profile(user).await, Ok(expected), "{user}");
        let paths = api.paths();
        let path = |user: &str| format!("GET /v1/spaces/spa_1/collections/users/profiles/user_id:{user}/metadata");
        assert_eq!((paths.len(), paths[0].as_str()), (count, path(user).as_str()));
        // `the-token:` in base 64.
        assert_eq!(api.seen.lock().unwrap()[0].2[0], "Basic dGhlLXRva2VuOg==");
    }
}

#[tokio::test]
async fn a_probe_asks_each_api_that_the_sink_names() {
    let (none, missing) = (
        (
            200,
            json!({"data": {"regulations": [], "pagination": {"current": "MA=="}}}),
        ),
        (404, json!({"error": {"code": "not_found"}})),
    );
    let (segment, api) = start([none.clone(), missing], json!({})).await;
    assert_eq!(segment.probe_beside().await, Ok(()));
    assert_eq!(api.paths()[0], "GET /base/regulations?pagination.count=1");
    let (segment, _) = start([none, (401, Value::Null)], json!({})).await;
    let refused = segment.probe_beside().await.unwrap_err();
    assert!(
        refused.outcome == Outcome::SinkRefused && refused.message.contains("spec.segment.readBack.profileApi (401)"),
        "{refused}"
    );
}
