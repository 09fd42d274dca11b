//! The Tracking API: what it takes, what it loses, and what it says of either.

use std::io::Write as _;

use anyhow::Result;
use ferrygate_e2e::simulators::segment::{Config, Segment};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::control;

struct Source {
    simulator: Segment,
    http: reqwest::Client,
}

impl Source {
    async fn start(config: Config) -> Result<Self> {
        Ok(Self {
            simulator: Segment::start(config).await?,
            http: reqwest::Client::new(),
        })
    }

    async fn post(&self, method: &str, body: &Value) -> Result<Response> {
        let url = format!("{}/{method}", self.simulator.endpoint());
        Ok(self
            .http
            .post(url)
            .basic_auth("write-key", Some(""))
            .json(body)
            .send()
            .await?)
    }

    async fn ask(&self, path: &str) -> Result<Value> {
        control(&self.http, &self.simulator.url(), Method::GET, path, Value::Null).await
    }

    /// `(accepted, distinct, duplicates, rejected)`
    fn counts(&self) -> (u64, u64, u64, u64) {
        let counts = self.simulator.workspace.store.counts();
        (counts.accepted, counts.distinct, counts.duplicates, counts.rejected)
    }
}

#[tokio::test]
async fn every_readable_request_is_answered_200_and_its_events_are_taken_or_lost() -> Result<()> {
    let source = Source::start(Config {
        write_keys: vec!["write-key".into()],
        ..Config::default()
    })
    .await?;
    let batch = json!({"batch": [
        {"type": "identify", "userId": "1", "messageId": "a"},
        {"type": "identify", "userId": "1", "messageId": "a"},
        {"type": "identify", "messageId": "b"},
        {"type": "track", "userId": "1", "messageId": "c"},
        {"type": "nonsense", "userId": "1"},
        {"type": "track", "userId": "1", "event": "Ordered", "messageId": "x".repeat(100)},
        7,
    ]});
    let response = source.post("batch", &batch).await?;
    assert_eq!(
        (response.status().as_u16(), response.json::<Value>().await?),
        (200, json!({"success": true}))
    );
    let counts = source.ask("/_control/counts").await?;
    let reasons = json!({"no_user_anon_id": 1, "missing_event_name": 1, "unknown_type": 1, "message_id_too_long": 1, "not_an_object": 1});
    assert_eq!(
        counts,
        json!({"requests": 1, "received": 7, "accepted": 2, "distinct": 1, "duplicates": 1, "rejected": 5,
            "byType": {"identify": 1}, "byReason": reasons})
    );
    Ok(())
}

#[tokio::test]
async fn a_wrong_write_key_is_answered_200_and_loses_everything() -> Result<()> {
    let source = Source::start(Config {
        write_keys: vec!["other".into()],
        ..Config::default()
    })
    .await?;
    let event = json!({"userId": "1", "traits": {}});
    assert_eq!(source.post("identify", &event).await?.status().as_u16(), 200);
    assert_eq!(source.counts(), (0, 0, 0, 1));
    // The body's key serves where there is no header.
    let url = format!("{}/identify", source.simulator.endpoint());
    source
        .http
        .post(url)
        .json(&json!({"userId": "1", "writeKey": "other"}))
        .send()
        .await?;
    assert_eq!(source.counts(), (1, 1, 0, 1));
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_or_no_json_is_400() -> Result<()> {
    let source = Source::start(Config::default()).await?;
    let event = |bytes: usize| json!({"type": "identify", "userId": "1", "traits": {"x": "x".repeat(bytes)}});
    let refused = [
        ("batch", json!({"batch": [event(32 << 10)]})),
        ("batch", json!({"batch": vec![event(30_000); 18]})),
        ("identify", event(32 << 10)),
    ];
    for (method, body) in refused {
        let response = source.post(method, &body).await?;
        let expected = json!({"success": false, "message": "Exceed payload limit"});
        assert_eq!(
            (response.status().as_u16(), response.json::<Value>().await?),
            (400, expected)
        );
    }
    let url = format!("{}/batch", source.simulator.endpoint());
    assert_eq!(
        source
            .http
            .post(url)
            .body("{\"batch\": [")
            .send()
            .await?
            .status()
            .as_u16(),
        400
    );
    assert_eq!(source.counts(), (0, 0, 0, 0));
    assert_eq!(
        source
            .post("batch", &json!({"batch": vec![event(30_000); 16]}))
            .await?
            .status()
            .as_u16(),
        200
    );
    assert_eq!(source.counts(), (16, 16, 0, 0));
    Ok(())
}

#[tokio::test]
async fn the_2501st_event_of_a_batch_is_lost() -> Result<()> {
    let source = Source::start(Config::default()).await?;
    let events: Vec<Value> = (0..2501)
        .map(|n| json!({"type": "identify", "userId": "1", "messageId": n.to_string()}))
        .collect();
    assert_eq!(
        source.post("batch", &json!({"batch": events})).await?.status().as_u16(),
        200
    );
    assert_eq!(source.counts(), (2500, 2500, 0, 1));
    let rejected = source.ask("/_control/rejected").await?;
    assert_eq!(
        rejected,
        json!([{"reason": "too_many_events", "messageId": "2500", "userId": "1"}])
    );
    Ok(())
}

#[tokio::test]
async fn a_compressed_batch_is_unpacked() -> Result<()> {
    let source = Source::start(Config::default()).await?;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(
        json!({"batch": [{"type": "identify", "userId": "1"}]})
            .to_string()
            .as_bytes(),
    )?;
    let url = format!("{}/batch", source.simulator.endpoint());
    let request = source
        .http
        .post(url)
        .header("Content-Encoding", "gzip")
        .body(encoder.finish()?);
    assert_eq!(request.send().await?.status().as_u16(), 200);
    assert_eq!(source.counts(), (1, 1, 0, 0));
    Ok(())
}

#[tokio::test]
async fn a_profile_is_what_its_events_made_of_it() -> Result<()> {
    let source = Source::start(Config::default()).await?;
    let consent = |allowed: bool| json!({"consent": {"categoryPreferences": {"marketing_email": allowed}}});
    let batch = json!({"sentAt": "2026-05-04T10:00:00Z", "context": {"library": {"name": "ferrygate"}}, "batch": [
        {"type": "identify", "userId": "003", "messageId": "1", "traits": {"a": 1, "b": 1}, "context": consent(true)},
        {"type": "identify", "userId": "003", "messageId": "2", "traits": {"b": null, "c": 3}, "context": consent(false)},
        {"type": "identify", "userId": "003", "messageId": "1", "traits": {"a": 9}},
        {"type": "group", "userId": "003", "groupId": "001", "messageId": "3", "traits": {"name": "Acme"}},
        {"type": "track", "userId": "003", "event": "Ordered", "messageId": "4", "timestamp": "2026-05-04T09:00:00Z"},
    ]});
    source.post("batch", &batch).await?;
    let profile = source.ask("/_control/profiles/003").await?;
    let expected = json!({"userId": "003", "anonymousIds": [], "traits": {"a": 1, "b": null, "c": 3},
        "consent": {"categoryPreferences": {"marketing_email": false}}, "externalIds": [], "groups": {"001": {"name": "Acme"}},
        "events": {"identify": 2, "group": 1, "track": 1}, "lastMessageId": "4"});
    assert_eq!(profile, expected);

    let tracks = source.ask("/_control/events?type=track&userId=003").await?;
    let event = &tracks["events"][0];
    assert_eq!(
        (&tracks["matching"], &event["context"]["library"]["name"]),
        (&json!(1), &json!("ferrygate"))
    );
    let instant = |name: &str| event[name].as_str().unwrap_or_default().parse::<jiff::Timestamp>();
    let late = instant("receivedAt")?.duration_since(instant("timestamp")?);
    assert_eq!(late, jiff::SignedDuration::from_hours(1));
    assert!(source.ask("/_control/profiles/nobody").await.is_err());
    Ok(())
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() -> Result<()> {
    let source = Source::start(Config {
        requests_per_second: Some(0),
        ..Config::default()
    })
    .await?;
    let response = source.post("identify", &json!({"userId": "1"})).await?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(
        (
            response.status().as_u16(),
            header("retry-after"),
            header("x-ratelimit-reset")
        ),
        (429, Some("1"), Some("1"))
    );
    let url = source.simulator.url();
    control(
        &source.http,
        &url,
        Method::PUT,
        "/_control/config",
        json!({"requestsPerSecond": null}),
    )
    .await?;
    assert_eq!(
        source
            .post("identify", &json!({"userId": "1"}))
            .await?
            .status()
            .as_u16(),
        200
    );
    control(&source.http, &url, Method::POST, "/_control/reset", Value::Null).await?;
    assert_eq!(source.counts(), (0, 0, 0, 0));
    Ok(())
}
