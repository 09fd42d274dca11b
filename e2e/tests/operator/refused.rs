//! What the API server refuses, in words that name the field and the rule.

use anyhow::Result;
use ferrygate::api::MappingVersion;
use ferrygate::api::mapping_version::OnError;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
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
                manifests::pipeline("i", "s", "s", "m", "5m"),
                "/spec/streams/0/schedule",
                json!({"every": "5m", "startingDeadline": "1s"}),
            ),
            "startingDeadline must be at least 10s",
        ),
        (
            with(
                manifests::pipeline("j", "s", "s", "m", "5m"),
                "/spec/streams/0/schedule",
                json!({"every": "1500ms"}),
            ),
            "every must be in whole seconds",
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
    let templates = [
        (
            json!({"labels": {"ferrygate.io/pipeline": "others"}}),
            "labels must not set what Ferrygate",
        ),
        (
            json!({"annotations": {"batch.kubernetes.io/job-tracking": ""}}),
            "annotations must not set what Ferrygate",
        ),
        (
            json!({"activeDeadlineSeconds": 59}),
            "activeDeadlineSeconds must be at least 60",
        ),
        (
            json!({"serviceAccountName": "ferrygate-controller"}),
            "serviceAccountName must not be ferrygate-controller",
        ),
        (
            json!({"securityContext": {"runAsUser": 0}}),
            "workers never run as root",
        ),
        (
            json!({"securityContext": {"runAsNonRoot": false}}),
            "workers never run as root",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "must be RuntimeDefault or Localhost",
        ),
        (json!({"securityContext": {"privileged": true}}), "privileged"),
        (
            json!({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}),
            "hostPath",
        ),
        (
            json!({"volumes": [{"name": "state", "emptyDir": {}}]}),
            "must not be named state or secret-",
        ),
        (
            json!({
                "volumes": [{"name": "mine", "emptyDir": {}}],
                "volumeMounts": [{"name": "mine", "mountPath": "/var/lib"}],
            }),
            "mountPath must not be at, below or above",
        ),
        (
            json!({"volumeMounts": [{"name": "mine", "mountPath": "/data"}]}),
            "each of volumeMounts must name one of volumes",
        ),
        (
            json!({"env": [{"name": "KUBERNETES_SERVICE_HOST", "value": "elsewhere"}]}),
            "env must not set KUBECONFIG",
        ),
        (json!({"resources": {"requests": {"cpu": "much"}}}), "requests.cpu"),
        (json!({"affinity": {"nodeAfinity": {}}}), "nodeAfinity"),
        (json!({"containers": []}), "containers"),
    ];
    let templates = templates.into_iter().map(|(template, words)| {
        let mut pipeline = manifests::pipeline("k", "s", "s", "m", "5m");
        pipeline["spec"]["jobTemplate"] = template;
        (pipeline, words)
    });
    for (resource, words) in cases.into_iter().chain(templates) {
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

#[tokio::test]
async fn a_plain_null_reaches_the_mapping_as_null_and_is_not_made_the_default() -> Result<()> {
    let tenant = tenant("plain-null").await?;
    let mut resource = manifests::mapping("contract");
    resource["spec"]["objects"][0]["traits"][0]["onError"] = Value::Null;
    let post: DynamicObject = serde_json::from_value(resource)?;
    let kind = ApiResource::erase::<MappingVersion>(&());
    let answered = Api::<DynamicObject>::namespaced_with(tenant.client().clone(), tenant.namespace(), &kind)
        .create(&PostParams::default(), &post)
        .await?;
    assert_eq!(
        answered.data["status"]["observedGeneration"],
        json!(-1),
        "what no controller has seen counts as ready"
    );
    let created = Api::<MappingVersion>::namespaced(tenant.client().clone(), tenant.namespace())
        .get("contract-1.0.0")
        .await?;
    assert_eq!(created.spec.objects[0].traits[0].on_error, OnError::Null);
    tenant.remove().await
}
