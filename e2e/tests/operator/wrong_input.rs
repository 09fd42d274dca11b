//! What only the controller and the workers can see to be wrong, and what the conditions then say.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::tenant::{Simulated, Tenant};
use serde_json::{Value, json};

use crate::{manifests, tenant};

/// How long a condition may take on a machine that runs all tests at once, one of which kills the controller.
const PATIENCE: Duration = Duration::from_secs(300);

/// A resource's condition, waited for.
struct Expected {
    resource: &'static str,
    condition: &'static str,
    status: &'static str,
    words: &'static [&'static str],
}

#[tokio::test]
async fn what_is_wrong_is_said_in_a_condition_that_tells_what_to_do() -> Result<()> {
    let tenant = tenant("wrong-input").await?;
    tenant
        .tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": 50}))
        .await?;

    let mut keyless = manifests::source("keyless");
    keyless["spec"]["salesforce"]["auth"]["jwtBearer"]["privateKey"]["secretKeyRef"]["key"] = json!("absent");
    let mut stranger = manifests::source("stranger");
    stranger["spec"]["salesforce"]["auth"]["jwtBearer"]["username"] = json!("nobody@acme.example");
    let mut nowhere = manifests::sink("nowhere");
    nowhere["spec"]["segment"]["endpoint"] = json!("http://nowhere:8080/v1");
    let mut misspelt = manifests::mapping("misspelt");
    misspelt["spec"]["objects"][0]["traits"][0]["from"] = json!("Emial");
    let mut tableless = manifests::mapping("tableless");
    tableless["spec"]["objects"][0]["traits"][1]["transforms"][0]["enum"]["table"] = json!("lifecyle");
    let mut never = manifests::pipeline("never", "org", "workspace", "contact", "5m");
    never["spec"]["streams"][0]["schedule"] = json!({"cron": "0 0 30 2 *"});
    tenant
        .apply(&manifests::list(vec![
            manifests::source("org"),
            keyless,
            stranger,
            manifests::sink("workspace"),
            nowhere,
            manifests::mapping("contact"),
            misspelt,
            tableless,
            never,
            manifests::pipeline("orphan", "absent", "workspace", "contact", "5m"),
            manifests::pipeline("spelling", "org", "workspace", "misspelt", "5m"),
        ]))
        .await?;

    let expected = [
        Expected {
            resource: "crmsource/keyless",
            condition: "Ready",
            status: "False",
            words: &["sales-cloud", "absent"],
        },
        Expected {
            resource: "crmsource/stranger",
            condition: "Authenticated",
            status: "False",
            words: &["invalid_grant"],
        },
        Expected {
            resource: "cdpsink/nowhere",
            condition: "Ready",
            status: "False",
            words: &["nowhere"],
        },
        Expected {
            resource: "mappingversion/tableless-1.0.0",
            condition: "Compiled",
            status: "False",
            words: &["lifecyle", "did you mean", "lifecycle"],
        },
        Expected {
            resource: "syncpipeline/never",
            condition: "Stalled",
            status: "True",
            words: &["0 0 30 2 *"],
        },
        Expected {
            resource: "syncpipeline/orphan",
            condition: "Stalled",
            status: "True",
            words: &["absent", "org"],
        },
        Expected {
            resource: "syncpipeline/spelling",
            condition: "Ready",
            status: "False",
            words: &["Contact", "Emial", "did you mean", "Email"],
        },
    ];
    for Expected {
        resource,
        condition,
        status,
        words,
    } in expected
    {
        let what = format!("{resource} to have {condition}={status} with {words:?}");
        until(PATIENCE, &what, async || {
            let text = tenant
                .kubectl(&["get", resource, "-n", tenant.namespace(), "-o", "json"])
                .await?;
            let found: Value = serde_json::from_str(&text)?;
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            match conditions.iter().find(|found| found["type"] == condition) {
                Some(found)
                    if found["status"] == status
                        && words
                            .iter()
                            .all(|word| found["message"].as_str().is_some_and(|said| said.contains(word))) =>
                {
                    Ok(Some(()))
                }
                other => bail!("it says {other:?}"),
            }
        })
        .await?;
    }

    tenant
        .apply(&manifests::pipeline("people", "org", "workspace", "contact", "5s").to_string())
        .await?;
    tenant
        .until_pipeline("people", PATIENCE, "the first run", |pipeline| {
            pipeline
                .status
                .iter()
                .flat_map(|status| &status.streams)
                .any(|stream| stream.last_success_time.is_some())
        })
        .await?;

    // A record that the mapping rejects is told with its cause and without its value.
    let users = tenant.get(Simulated::Segment, "users").await?;
    let change = json!({"op": "update", "id": users[0], "fields": {"Lifecycle__c": "Promoted"}});
    tenant
        .tell(Simulated::Salesforce, "POST", "changes", &json!({"changes": [change]}))
        .await?;
    let what = "the rejected record to be told";
    let pipeline = tenant
        .until_pipeline("people", PATIENCE, what, |pipeline| {
            pipeline
                .status
                .iter()
                .any(|status| status.dead_letters == Some(1) && status.streams[0].active_run.is_none())
        })
        .await?;
    let status = serde_json::to_string(&pipeline.status)?;
    assert!(
        status.contains("1 at traits[lifecycle_stage]") && !status.contains("Promoted"),
        "{status}"
    );
    rejections_are_told(&tenant, &users).await?;

    // A field that vanishes from the CRM stops the pipeline and names itself; nothing is dropped.
    tenant
        .tell(
            Simulated::Salesforce,
            "DELETE",
            "fields/Contact/Lifecycle__c",
            &Value::Null,
        )
        .await?;
    tenant
        .until_pipeline("people", PATIENCE, "the drift to be said", |pipeline| {
            let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| {
                condition.type_ == "Ready" && condition.status == "False" && condition.message.contains("Lifecycle__c")
            })
        })
        .await?;
    tenant.remove().await
}

/// Waits for an Event that tells of rejected records. One is lost where the controller is killed just before it, which another
/// test does; the next rejection tells it then.
async fn rejections_are_told(tenant: &Tenant, users: &Value) -> Result<()> {
    let mut others = users.as_array().into_iter().flatten().skip(1);
    let mut rejected_at = Instant::now();
    until(PATIENCE, "an Event of rejected records", async || {
        let events = tenant
            .kubectl(&["events", "-n", tenant.namespace(), "--for", "syncpipeline/people"])
            .await?;
        assert!(!events.contains("Promoted"), "{events}");
        if events.contains("RecordsRejected") {
            return Ok(Some(()));
        }
        if rejected_at.elapsed() > Duration::from_secs(60) {
            rejected_at = Instant::now();
            let change = json!({"op": "update", "id": others.next(), "fields": {"Lifecycle__c": "Promoted"}});
            tenant
                .tell(Simulated::Salesforce, "POST", "changes", &json!({"changes": [change]}))
                .await?;
        }
        bail!("the Events were {events}")
    })
    .await
}
