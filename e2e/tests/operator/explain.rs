//! `ferrygate explain` and `ferrygate dead-letters` on the cluster: a Job beside the state answers, and nothing of it stays.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser as _;
use ferrygate::cli::in_cluster::Answer;
use ferrygate::cli::{Cli, Command, dead_letters, explain};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::tenant::{Simulated, Tenant};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{manifests, tenant};

const PATIENCE: Duration = Duration::from_secs(180);

/// What the command line answers to these words.
async fn ask(tenant: &Tenant, words: &[&str]) -> Result<Answer> {
    let begin = [
        "ferrygate",
        "explain",
        "--namespace",
        tenant.namespace(),
        "--pipeline",
        "people",
        "--output",
        "json",
    ];
    let Command::Explain(args) = Cli::try_parse_from([&begin, words].concat())?.command else {
        bail!("another command");
    };
    Ok(explain::ask(tenant.client(), &args, "people", &CancellationToken::new()).await?)
}

#[tokio::test]
async fn a_job_beside_the_state_explains_a_record_and_goes() -> Result<()> {
    let tenant = tenant("explain").await?;
    let seed = json!({"contacts": 5});
    tenant.tell(Simulated::Salesforce, "POST", "seed", &seed).await?;
    let mut mapping = manifests::mapping("contact");
    let address = json!({"kind": "email", "from": "Email", "transforms": [{"lower": {}}], "blockWhenSharedBy": 3});
    mapping["spec"]["objects"][0]["identity"]
        .as_array_mut()
        .context("keys")?
        .push(address);
    let pipeline = manifests::pipeline("people", "org", "workspace", "contact", "6h");
    let mut sink = manifests::sink("workspace");
    sink["spec"]["identity"]["externalIds"] = json!(["email"]);
    let all = vec![manifests::source("org"), sink, mapping, pipeline];
    tenant.apply(&manifests::list(all)).await?;
    let ended = |pipeline: &ferrygate::api::SyncPipeline| {
        let mut streams = pipeline.status.iter().flat_map(|status| &status.streams);
        streams.any(|stream| stream.last_success_time.is_some())
    };
    tenant
        .until_pipeline("people", PATIENCE, "the first run", ended)
        .await?;
    let users = tenant.get(Simulated::Segment, "users").await?;
    let id = users[0].as_str().context("a user id")?;

    let answer = ask(&tenant, &["--record", &format!("Contact/{id}"), "--trait", "email"]).await?;
    ensure!(answer.exit_code == 0, "{}", answer.text);
    let told: Value = serde_json::from_str(&answer.text)?;
    let explained = &told["explanations"][0];
    assert_eq!(
        (
            &explained["record"],
            &explained["keys"][0]["verdict"],
            &explained["trait"]["source"]
        ),
        (&json!(id), &json!("UserId"), &json!("Contact.Email")),
        "{told}"
    );

    let record = tenant.get(Simulated::Salesforce, &format!("records/{id}")).await?;
    let address = record["Email"].as_str().context("an address")?.to_lowercase();
    let found = ask(&tenant, &["--identity", &format!("email={address}")]).await?;
    assert!(
        found.text.contains(id) && !found.text.contains(&address),
        "{}",
        found.text
    );
    let nobody = ask(&tenant, &["--record", "Contact/003000000000000AAA"]).await?;
    assert_eq!(nobody.exit_code, 1, "{}", nobody.text);

    let begin = [
        "ferrygate",
        "dead-letters",
        "list",
        "--namespace",
        tenant.namespace(),
        "--pipeline",
        "people",
    ];
    let Command::DeadLetters(list) = Cli::try_parse_from(begin.into_iter().chain(["--output", "json"]))?.command else {
        bail!("another command");
    };
    let letters = dead_letters::ask(tenant.client(), &list, &CancellationToken::new()).await?;
    assert_eq!(
        (letters.exit_code, letters.text.as_str()),
        (0, "{\"deadLetters\":[]}\n")
    );

    until(PATIENCE, "its Jobs and Secrets to go", async || {
        let everything = ListParams::default();
        let jobs = Api::<Job>::namespaced(tenant.client().clone(), tenant.namespace())
            .list(&everything)
            .await?;
        let secrets = Api::<Secret>::namespaced(tenant.client().clone(), tenant.namespace())
            .list(&everything)
            .await?;
        let mut names = jobs
            .items
            .iter()
            .map(ResourceExt::name_any)
            .chain(secrets.items.iter().map(ResourceExt::name_any));
        Ok((!names.any(|name| name.starts_with("explain-") || name.starts_with("dead-letters-"))).then_some(()))
    })
    .await?;
    tenant.remove().await
}
