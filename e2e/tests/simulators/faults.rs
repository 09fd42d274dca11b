//! Faults really break what they say.

use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Org, query_path};

const LIMITS: &str = "/services/data/v62.0/limits";

async fn order(org: &Org, faults: Value) -> Result<()> {
    org.control(Method::PUT, "/_control/faults", faults).await.map(drop)
}

#[tokio::test]
async fn a_status_strikes_the_requests_it_was_ordered_for() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    let status = json!({"status": {"code": 503, "headers": {"Retry-After": "7"}, "body": [{"errorCode": "SERVER_UNAVAILABLE"}]}});
    let fault = json!([{"match": {"method": "GET", "path": "/services/data/v62.0/lim"}, "after": 1, "times": 2, "kind": status}]);
    order(&org, fault).await?;
    let mut seen = Vec::new();
    for path in [LIMITS, "/services/data/v62.0/sobjects", LIMITS, LIMITS, LIMITS] {
        let response = org.send(Method::GET, path, None).await?;
        seen.push((
            response.status().as_u16(),
            response.headers().contains_key("retry-after"),
        ));
    }
    assert_eq!(
        seen,
        [(200, false), (200, false), (503, true), (503, true), (200, false)]
    );
    let ordered = org.control(Method::GET, "/_control/faults", Value::Null).await?;
    assert_eq!((&ordered[0]["seen"], &ordered[0]["struck"]), (&json!(4), &json!(2)));
    let report = org
        .control(Method::GET, "/_control/requests?path=/services/data", Value::Null)
        .await?;
    assert_eq!(report["byStatus"]["503"], json!(2));
    Ok(())
}

#[tokio::test]
async fn latency_delays() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    order(&org, json!([{"times": 1, "kind": {"latency": {"ms": 150}}}])).await?;
    let begun = Instant::now();
    org.get(LIMITS).await?;
    assert!(begun.elapsed() >= Duration::from_millis(150));
    Ok(())
}

/// What a bare connection receives until it is closed.
async fn received(org: &Org, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(org.simulator.addr()).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: simulator\r\nAuthorization: Bearer {}\r\n\r\n",
        org.token
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    // Without a fault the connection would stay open, and this would never end.
    let end = stream.read_to_end(&mut bytes).await;
    assert!(end.is_ok() || !bytes.is_empty(), "{end:?}");
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn a_dropped_connection_is_closed_before_or_in_the_middle_of_its_answer() -> Result<()> {
    let org = Org::with_contacts(20).await?;
    let path = query_path("SELECT Id, LastName FROM Contact");
    order(&org, json!([{"times": 1, "kind": {"dropConnection": {}}}])).await?;
    assert_eq!(received(&org, &path).await?, "");

    order(&org, json!([{"times": 1, "kind": {"dropConnection": {"atBytes": 64}}}])).await?;
    let answer = received(&org, &path).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(
        body.starts_with("40\r\n{\"totalSize\":20") && !body.ends_with("0\r\n\r\n"),
        "{body}"
    );
    Ok(())
}

#[tokio::test]
async fn a_dropped_request_was_handled_or_was_not_as_ordered() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    for (before, expected) in [(true, 0), (false, 1)] {
        order(
            &org,
            json!([{"times": 1, "kind": {"dropConnection": {"before": before}}}]),
        )
        .await?;
        let body = Some(json!({"LastName": "Kim"}));
        assert!(
            org.send(Method::POST, "/services/data/v62.0/sobjects/Contact", body)
                .await
                .is_err()
        );
        assert_eq!(
            org.query("SELECT COUNT() FROM Contact").await?["totalSize"],
            json!(expected)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_truncated_body_ends_before_its_length() -> Result<()> {
    let org = Org::with_contacts(20).await?;
    let path = query_path("SELECT Id, LastName FROM Contact");
    order(&org, json!([{"times": 2, "kind": {"truncateBody": {"atBytes": 100}}}])).await?;
    let answer = received(&org, &path).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    assert_eq!(
        (body.len(), length.is_some_and(|length| length > 100)),
        (100, true),
        "{head}"
    );
    let response = org.send(Method::GET, &path, None).await?;
    assert!(response.bytes().await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_session_expires_and_a_quota_ends_between_two_pages() -> Result<()> {
    let mut org = Org::with_contacts(2_001).await?;
    let page = org.query("SELECT Id FROM Contact").await?;
    let next = page["nextRecordsUrl"].as_str().unwrap_or_default().to_owned();
    let locators = json!({"path": "/services/data/v62.0/query/"});
    order(&org, json!([{"match": locators, "times": 1, "kind": "expireSession"}])).await?;
    let status = async |org: &Org| -> Result<u16> { Ok(org.send(Method::GET, &next, None).await?.status().as_u16()) };
    assert_eq!((status(&org).await?, status(&org).await?), (401, 401));
    org.log_in().await?;
    order(&org, json!([{"match": locators, "times": 1, "kind": "quotaExhausted"}])).await?;
    assert_eq!((status(&org).await?, status(&org).await?), (403, 200));
    Ok(())
}
