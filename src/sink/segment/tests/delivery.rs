//! A batch on its way, before an API that answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use futures::stream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::connect;
use crate::api::common::Outcome;
use crate::sink::segment::{Batch, Segment};
use crate::sink::{Delivered, Refused};

/// What the API answers.
enum Answer {
    Status(u16, &'static str),
    Header(u16, &'static str, String),
    Dropped,
}

type Answers = Box<dyn FnMut(&[Value]) -> Answer + Send>;

/// A request: its path, its credentials, its calls, and how far `sentAt` is from the true time, in seconds.
type Seen = (String, String, Vec<Value>, i64);

#[derive(Clone)]
struct Api {
    answers: Arc<Mutex<Answers>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

async fn start(answers: impl FnMut(&[Value]) -> Answer + Send + 'static) -> (Segment, Arc<Mutex<Vec<Seen>>>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let api = Api {
        answers: Arc::new(Mutex::new(Box::new(answers))),
        seen: Arc::default(),
    };
    let seen = api.seen.clone();
    let router = Router::new().fallback(batch).with_state(api);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (connect(&format!("{url}/"), true, "writeKey").unwrap(), seen, url)
}

async fn batch(State(api): State<Api>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let calls = body["batch"].as_array().unwrap().clone();
    let sent: Timestamp = body["sentAt"].as_str().unwrap().parse().unwrap();
    let answer = (api.answers.lock().unwrap())(&calls);
    api.seen.lock().unwrap().push((
        uri.path().to_owned(),
        headers["authorization"].to_str().unwrap().to_owned(),
        calls,
        Timestamp::now().duration_since(sent).as_secs(),
    ));
    match answer {
        Answer::Status(status, body) => Response::builder().status(status).body(Body::from(body)).unwrap(),
        Answer::Header(status, name, value) => Response::builder()
            .status(status)
            .header(name, value)
            .body(Body::empty())
            .unwrap(),
        Answer::Dropped => {
            let chunks = [Ok(Bytes::from("{\"succ")), Err(std::io::Error::other("dropped"))];
            Response::new(Body::from_stream(stream::iter(chunks)))
        }
    }
}

fn of(items: std::ops::Range<usize>) -> Batch {
    let mut batch = Batch::default();
    for item in items {
        assert!(batch.push(json!({"item": item}).to_string().as_bytes(), 1, None));
    }
    batch
}

const TAKEN: Answer = Answer::Status(200, "{\"success\":true}");

#[tokio::test]
async fn a_batch_is_posted_with_the_write_key_as_user_and_the_true_time() {
    let (segment, seen, _) = start(|_| TAKEN).await;
    assert_eq!(segment.deliver(&of(0..2)).await, Ok(Delivered::default()));
    assert!(!format!("{segment:?}").contains("the-key"), "no credential is printed");
    let expected = (
        "/v1/batch".to_owned(),
        "Basic dGhlLWtleTo=".to_owned(),
        vec![json!({"item": 0}), json!({"item": 1})],
        0,
    );
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn passing_errors_are_got_over_and_the_same_calls_sent_again() {
    let past = "Mon, 04 May 2026 08:41:07 GMT";
    let cases: Vec<(&str, Answer)> = vec![
        ("503", Answer::Status(503, "")),
        ("429 with a wait", Answer::Header(429, "retry-after", "0.01".into())),
        (
            "429 with a reset",
            Answer::Header(429, "x-ratelimit-reset", past.into()),
        ),
        ("408", Answer::Status(408, "")),
        ("a dropped connection", Answer::Dropped),
    ];
    for (case, first) in cases {
        let mut answers = vec![TAKEN, first];
        let (segment, seen, _) = start(move |_| answers.pop().unwrap()).await;
        assert_eq!(segment.deliver(&of(0..3)).await, Ok(Delivered::default()), "{case}");
        let seen = seen.lock().unwrap();
        assert_eq!((seen.len(), &seen[0].2), (2, &seen[1].2), "{case}");
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_for_its_content_is_divided_until_the_culprits_stand_alone() {
    for status in [400, 413, 200] {
        let bad = |call: &Value| call["item"] == 3 || call["item"] == 97;
        let answer = move |calls: &[Value]| match calls.iter().any(bad) {
            true => Answer::Status(status, "{\"success\":false}"),
            false => TAKEN,
        };
        let (segment, seen, _) = start(answer).await;
        let refused = segment.deliver(&of(0..100)).await.unwrap().refused;
        let mut taken: Vec<i64> = Vec::new();
        for (_, _, calls, _) in seen
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, _, calls, _)| !calls.iter().any(bad))
        {
            taken.extend(calls.iter().map(|call| call["item"].as_i64().unwrap()));
        }
        taken.sort_unstable();
        let others: Vec<i64> = (0..100).filter(|item| ![3, 97].contains(item)).collect();
        assert_eq!(refused.iter().map(|refused| refused.item).collect::<Vec<_>>(), [3, 97]);
        assert_eq!(taken, others, "every other item is taken once");
    }
}

#[tokio::test]
async fn a_refused_item_says_why() {
    let (segment, ..) = start(|_| Answer::Status(400, "invalid: ada@acme.example")).await;
    let mut batch = Batch::default();
    assert!(batch.push(b"", 0, None) && batch.push(b"{}", 1, None) && batch.push(b"", 0, None));
    let reason = "the CDP refuses it as malformed or too large (400)".to_owned();
    assert_eq!(
        segment.deliver(&batch).await,
        Ok(Delivered {
            refused: vec![Refused { item: 1, reason }],
            withheld: vec![]
        })
    );
}

#[tokio::test]
async fn an_answer_that_no_retry_mends_says_what_to_do() {
    let cases = [
        (
            Answer::Status(401, ""),
            "URL refuses the write key (401); check the key in the Secret",
        ),
        (
            Answer::Status(403, ""),
            "URL refuses the write key (403); check the key in the Secret",
        ),
        (
            Answer::Status(404, ""),
            "URL has no /batch (404); correct endpoint: it ends in /v1 for Segment and RudderStack",
        ),
        (
            Answer::Header(308, "location", "http://elsewhere.example/v1/batch".into()),
            "URL answers with a redirect (308), and redirects are not followed; correct endpoint",
        ),
        (
            Answer::Status(402, ""),
            "URL refuses the request (402); check endpoint and the CDP's own settings",
        ),
    ];
    for (answer, message) in cases {
        let mut answers = vec![answer];
        let (segment, _, url) = start(move |_| answers.pop().unwrap()).await;
        let error = segment.deliver(&of(0..2)).await.unwrap_err();
        assert_eq!(
            (error.outcome, error.message),
            (Outcome::SinkRefused, message.replace("URL", &url))
        );
    }
}

#[tokio::test]
async fn an_api_that_refuses_everything_is_told_from_bad_items() {
    let (segment, _, url) = start(|_| Answer::Status(400, "")).await;
    let error = segment.deliver(&of(0..64)).await.unwrap_err();
    let expected =
        format!("{url} refuses every call, the first 8 one by one; check that endpoint speaks the Segment protocol");
    assert_eq!((error.outcome, error.message), (Outcome::SinkRefused, expected));
}

#[tokio::test]
async fn patience_ends_as_an_outage() {
    let (segment, seen, url) = start(|_| Answer::Status(503, "")).await;
    let error = segment.deliver(&of(0..1)).await.unwrap_err();
    let expected = format!("{url}: no good answer in 5 tries; the last: the CDP answered 503");
    assert_eq!(
        (error.outcome, error.message, seen.lock().unwrap().len()),
        (Outcome::SinkUnavailable, expected, 5)
    );

    let (segment, seen, url) = start(|_| Answer::Header(429, "retry-after", "600".into())).await;
    let error = segment.deliver(&of(0..1)).await.unwrap_err();
    let expected =
        format!("{url}: no good answer in 1 try; the last: the CDP answered 429, and asks to wait for 600 s");
    assert_eq!(
        (error.outcome, error.message, seen.lock().unwrap().len()),
        (Outcome::SinkUnavailable, expected, 1)
    );
}

#[tokio::test]
async fn a_probe_tells_an_endpoint_that_answers_from_one_that_does_not() {
    let cases = [
        (200, None),
        (400, None),
        (401, Some(Outcome::SinkRefused)),
        (500, Some(Outcome::SinkUnavailable)),
    ];
    for (status, expected) in cases {
        let (segment, seen, _) = start(move |_| Answer::Status(status, "")).await;
        assert_eq!(
            segment.probe().await.err().map(|error| error.outcome),
            expected,
            "{status}"
        );
        assert!(seen.lock().unwrap().iter().all(|(_, _, calls, _)| calls.is_empty()));
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = connect(&format!("http://{free}"), true, "writeKey")
        .unwrap()
        .probe()
        .await
        .unwrap_err();
    assert_eq!(error.outcome, Outcome::SinkUnavailable);
}

#[test]
fn a_wrong_resource_is_told_before_any_request() {
    let cases = [
        (
            "http://cdp.example",
            false,
            "writeKey",
            "endpoint must begin with https://; http:// needs allowPlaintext: true",
        ),
        (
            "https://cdp.example/v1?a=b",
            false,
            "writeKey",
            "endpoint must be the API's base, for example https://api.segment.io/v1",
        ),
        (
            "https://cdp.example/v1",
            false,
            "absent",
            "Secret \"cdp\" has no key \"absent\", or does not exist; create it in this namespace, for example with `kubectl create \
             secret generic cdp --from-file=absent=FILE`",
        ),
    ];
    for (endpoint, plaintext, key, message) in cases {
        let error = connect(endpoint, plaintext, key).unwrap_err();
        assert_eq!(
            (error.outcome, error.message.as_str()),
            (Outcome::ConfigurationInvalid, message)
        );
    }
}

#[tokio::test]
async fn what_waits_for_a_retry_is_not_sent_again_once_its_consent_has_ended() {
    let ends = Timestamp::now() + Duration::from_millis(300);
    let answer = move |_: &[Value]| {
        if Timestamp::now() < ends {
            Answer::Header(503, "retry-after", "0.4".into())
        } else {
            TAKEN
        }
    };
    let (segment, seen, _) = start(answer).await;
    let mut batch = Batch::default();
    let later = ends + Duration::from_secs(3_600);
    for (item, until) in [None, Some(ends), Some(later), Some(ends)].into_iter().enumerate() {
        assert!(batch.push(json!({"item": item}).to_string().as_bytes(), 1, until));
    }
    let delivered = segment.deliver(&batch).await.unwrap();
    assert_eq!(
        delivered,
        Delivered {
            refused: vec![],
            withheld: vec![1, 3]
        }
    );
    assert_eq!(
        seen.lock().unwrap().last().unwrap().2,
        [json!({"item": 0}), json!({"item": 2})]
    );

    // A batch of which nothing may be sent any more makes no request.
    let requests = seen.lock().unwrap().len();
    let mut batch = Batch::default();
    assert!(batch.push(b"{}", 1, Some(ends)));
    let delivered = segment.deliver(&batch).await.unwrap();
    assert_eq!((delivered.withheld, seen.lock().unwrap().len()), (vec![0], requests));
}
