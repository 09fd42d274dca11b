//! What the API server refuses, in words that name the field and the rule.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{manifests, tenant};

#[tokio::test]
async fn invalid_resources_are_refused_with_the_field_and_the_rule() -> Result<()> {
    let tenant = tenant("refused").await?;
    let with = |mut resource: Value, path: &str, value: Value| {
        if let Some(place) = resource.pointer_mut(path) {
            *place = value;
        }
        resource
    };
    let cases = [
        (
            with(manifests::source("a"), "/spec/salesforce/allowPlaintext", json!(false)),
            "instanceUrl must begin with https://; http:// needs allowPlaintext: true",
        ),
        (
            with(manifests::source("b"), "/spec/salesforce/auth", json!({})),
            "exactly one of jwtBearer, clientCredentials",
        ),
        (
            with(manifests::source("c"), "/spec", json!({})),
            "spec must name exactly one CRM: salesforce",
        ),
        (
            with(manifests::sink("d"), "/spec/segment/endpoint", json!("ftp://segment")),
            "spec.segment.endpoint",
        ),
        (
            with(
                manifests::mapping("e"),
                "/spec/objects/0/traits/0",
                json!({"trait": "email", "type": "String"}),
            ),
            "a trait has exactly one of from, cel",
        ),
        (
            with(manifests::mapping("f"), "/spec/version", json!("1.x")),
            "spec.version",
        ),
        (
            with(
                manifests::pipeline("g", "s", "s", "m", "5m"),
                "/spec/streams/0/schedule",
                json!({"every": "5m", "cron": "* * * * *"}),
            ),
            "schedule must name exactly one of every, cron",
        ),
        (
            with(
                manifests::pipeline("h", "s", "s", "m", "5m"),
                "/spec/streams/0/deletes",
                json!("Vanish"),
            ),
            "spec.streams[0].deletes",
        ),
    ];
    for (resource, words) in cases {
        let refusal = tenant.apply(&resource.to_string()).await.expect_err(words).to_string();
        assert!(refusal.contains(words), "{words:?} is not in: {refusal}");
    }

    tenant.apply(&manifests::mapping("contract").to_string()).await?;
    let changed = with(
        manifests::mapping("contract"),
        "/spec/objects/0/traits/0/trait",
        json!("mail"),
    );
    let refusal = tenant
        .apply(&changed.to_string())
        .await
        .expect_err("a contract can't change")
        .to_string();
    assert!(refusal.contains("spec is immutable"), "{refusal}");
    tenant.remove().await
}
