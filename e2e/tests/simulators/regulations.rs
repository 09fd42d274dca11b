//! The Public API's regulations and the Profile API: their published form, and what they do to a person's data.

use anyhow::Result;
use ferrygate_e2e::simulators::segment::regulations::Status;
use ferrygate_e2e::simulators::segment::{Config, Segment};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::control;

struct Privacy {
    simulator: Segment,
    http: reqwest::Client,
}

impl Privacy {
    async fn start() -> Result<Self> {
        let simulator = Segment::start(Config {
            tokens: vec!["token".into()],
            ..Config::default()
        })
        .await?;
        let http = reqwest::Client::new();
        Ok(Self { simulator, http })
    }

    async fn identify(&self, user: &str) -> Result<()> {
        let url = format!("{}/identify", self.simulator.endpoint());
        let event = json!({"userId": user, "traits": {"email": "ada@example.com"}});
        let request = self.http.post(url).basic_auth("key", Some("")).json(&event);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        let url = format!("{}{path}", self.simulator.url());
        let mut request = self.http.request(method, url).bearer_auth("token");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn create(&self, path: &str, kind: &str, subjects: &[&str]) -> Result<String> {
        let body = json!({"regulationType": kind, "subjectType": "USER_ID", "subjectIds": subjects});
        let (status, answer) = self.send(Method::POST, path, Some(body)).await?;
        anyhow::ensure!(status == 200, "{answer}");
        Ok(answer["data"]["regulateId"].as_str().unwrap_or_default().to_owned())
    }

    async fn profile(&self, user: &str, part: &str) -> Result<(u16, Value)> {
        let path = format!("/v1/spaces/spa_1/collections/users/profiles/user_id:{user}/{part}");
        let url = format!("{}{path}", self.simulator.url());
        let response = self.http.get(url).basic_auth("token", Some("")).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }
}

#[tokio::test]
async fn a_regulation_erases_its_people_once_it_is_finished_and_no_one_else() -> Result<()> {
    let privacy = Privacy::start().await?;
    for user in ["003aA", "003b"] {
        privacy.identify(user).await?;
    }
    let id = privacy
        .create("/regulations", "DELETE_ONLY", &["003aA", "unknown"])
        .await?;
    let path = format!("/regulations/{id}");
    let (status, before) = privacy.send(Method::GET, &path, None).await?;
    assert_eq!(
        (status, &before["data"]["regulation"]["overallStatus"]),
        (200, &json!("INITIALIZED"))
    );
    assert_eq!(
        privacy.profile("003aa", "traits").await?.1["traits"]["email"],
        "ada@example.com"
    );
    assert_eq!(
        privacy.profile("003aA", "metadata").await?.0,
        404,
        "an id is found in lower case only"
    );

    let url = privacy.simulator.url();
    let finished = control(
        &privacy.http,
        &url,
        Method::POST,
        "/_control/regulations/finish",
        Value::Null,
    )
    .await?;
    assert_eq!(finished, json!({"finished": 1}));
    let (_, after) = privacy.send(Method::GET, &path, None).await?;
    let after = &after["data"]["regulation"];
    assert_eq!(after["overallStatus"], "FINISHED");
    assert!(
        after["finishedAt"].is_string() && after["createdAt"].is_string(),
        "{after}"
    );
    let not_found = json!({"error": {"code": "not_found", "message": "Profile was not found."}});
    assert_eq!(privacy.profile("003aa", "metadata").await?, (404, not_found));
    assert_eq!(privacy.profile("003b", "metadata").await?.0, 200);
    let events = privacy.simulator.workspace.store.events(&Default::default());
    assert_eq!(events.to_string().matches("ada@example.com").count(), 1, "{events}");
    // Who was only deleted is taken again.
    privacy.identify("003aA").await?;
    assert_eq!(privacy.profile("003aa", "metadata").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_suppressed_user_s_events_are_lost_until_the_suppression_is_lifted() -> Result<()> {
    let privacy = Privacy::start().await?;
    let workspace = privacy.simulator.workspace.clone();
    for (kind, taken) in [("SUPPRESS_WITH_DELETE", false), ("UNSUPPRESS", true)] {
        let id = privacy.create("/regulations", kind, &["a"]).await?;
        assert!(workspace.set_status(&id, Status::Finished));
        privacy.identify("a").await?;
        assert_eq!(workspace.store.profile("a").is_some(), taken, "{kind}");
    }
    assert_eq!(workspace.store.counts().by_reason["suppressed_user"], 1);
    Ok(())
}

#[tokio::test]
async fn regulations_are_listed_in_pages_apart_for_the_workspace_and_for_each_source() -> Result<()> {
    let privacy = Privacy::start().await?;
    let mut ids = Vec::new();
    for user in ["a", "b", "c"] {
        ids.push(privacy.create("/regulations", "DELETE_INTERNAL", &[user]).await?);
    }
    let of_source = privacy
        .create("/regulations/sources/src1", "DELETE_ONLY", &["d"])
        .await?;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/regulations?pagination.count=2{cursor}");
        let (_, page) = privacy.send(Method::GET, &path, None).await?;
        let listed = page["data"]["regulations"].as_array().cloned().unwrap_or_default();
        seen.extend(
            listed
                .iter()
                .map(|one| one["id"].as_str().unwrap_or_default().to_owned()),
        );
        match page["data"]["pagination"]["next"].as_str() {
            Some(next) => cursor = format!("&pagination.cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    let (_, page) = privacy
        .send(Method::GET, "/regulations/sources/src1?pagination.count=5", None)
        .await?;
    let listed = &page["data"]["regulations"];
    assert_eq!(
        (listed.as_array().map(Vec::len), &listed[0]["id"]),
        (Some(1), &json!(of_source))
    );
    assert_eq!(
        (&listed[0]["subjects"], &listed[0]["status"]),
        (&json!(["d"]), &json!("INITIALIZED"))
    );
    assert_eq!(
        (&listed[0]["subjectType"], &listed[0]["regulationType"]),
        (&json!("USER_ID"), &json!("DELETE_ONLY"))
    );
    Ok(())
}

#[tokio::test]
async fn what_the_api_does_not_take_is_refused_in_its_envelope() -> Result<()> {
    let privacy = Privacy::start().await?;
    let request = |kind: &str, subject: &str, ids: Value| json!({"regulationType": kind, "subjectType": subject, "subjectIds": ids});
    let many: Vec<String> = (0..5_001).map(|number| number.to_string()).collect();
    let cases = [
        (request("DELETE", "USER_ID", json!(["a"])), 422),
        (request("DELETE_ONLY", "EMAIL", json!(["a"])), 422),
        (request("DELETE_ONLY", "USER_ID", json!([])), 422),
        (request("DELETE_ONLY", "USER_ID", json!(many)), 422),
        (
            request("DELETE_ONLY", "USER_ID", json!(["x".repeat(4_000_000 - 50)])),
            413,
        ),
        (request("DELETE_ONLY", "USER_ID", json!(many[1..])), 200),
    ];
    for (body, expected) in cases {
        let shown = body.to_string().chars().take(80).collect::<String>();
        let (status, answer) = privacy.send(Method::POST, "/regulations", Some(body)).await?;
        assert_eq!(
            (status, answer["errors"][0]["type"].is_string()),
            (expected, expected != 200),
            "{shown}"
        );
    }
    assert_eq!(privacy.send(Method::GET, "/regulations/unknown", None).await?.0, 404);
    let url = format!("{}/regulations", privacy.simulator.url());
    let stranger = privacy.http.get(url).bearer_auth("other").send().await?;
    assert_eq!(stranger.status(), StatusCode::FORBIDDEN);
    privacy.simulator.workspace.public_rate.allow(Some(1));
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(privacy.send(Method::GET, "/regulations", None).await?.0);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_cut_off_leaves_a_regulation_that_the_list_shows() -> Result<()> {
    let privacy = Privacy::start().await?;
    let faults = json!([
        {"match": {"method": "POST", "path": "/regulations"}, "times": 1, "kind": {"truncateBody": {"atBytes": 5}}},
        {"match": {"method": "POST", "path": "/regulations"}, "after": 1, "times": 1, "kind": {"status": {"code": 503}}},
    ]);
    let url = privacy.simulator.url();
    control(&privacy.http, &url, Method::PUT, "/_control/faults", faults).await?;
    assert!(privacy.create("/regulations", "DELETE_ONLY", &["a"]).await.is_err());
    assert!(privacy.create("/regulations", "DELETE_ONLY", &["b"]).await.is_err());
    let (_, page) = privacy.send(Method::GET, "/regulations", None).await?;
    let listed = page["data"]["regulations"].as_array().cloned().unwrap_or_default();
    let subjects: Vec<&Value> = listed.iter().map(|one| &one["subjects"]).collect();
    assert_eq!(subjects, [&json!(["a"])]);
    Ok(())
}
