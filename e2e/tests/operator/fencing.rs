//! A worker whose run was superseded moves nothing, even one that was frozen meanwhile; the API server itself refuses it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use ferrygate::api::SyncPipeline;
use ferrygate_e2e::cluster::Cluster;
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::tenant::{Simulated, Tenant};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::{manifests, operator, tenant};

const CONTACTS: i64 = 6_000;
const PATIENCE: Duration = Duration::from_secs(300);
/// Well below the 30 s that a pod is given to end, after which the frozen one would be killed: they began when its Job was deleted.
const BEFORE_ITS_END: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_frozen_worker_that_was_superseded_moves_nothing_when_it_wakes() -> Result<()> {
    let (cluster, _) = operator().await?;
    if cluster.local().is_none() {
        eprintln!("left out: only a local cluster's processes can be frozen from here");
        return Ok(());
    }
    let tenant = tenant("frozen").await?;
    tenant
        .tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": CONTACTS}))
        .await?;
    let slow = json!([{"match": {"path": "/services/data/v62.0/query"}, "kind": {"latency": {"ms": 2000}}}]);
    tenant.tell(Simulated::Salesforce, "PUT", "faults", &slow).await?;
    tenant
        .apply(&manifests::whole(manifests::pipeline(
            "people",
            "org",
            "workspace",
            "contact",
            "6h",
        )))
        .await?;
    until(PATIENCE, "the middle of the first run", async || {
        let counts = tenant.get(Simulated::Segment, "counts").await?;
        Ok((counts["distinct"].as_i64() >= Some(1)).then_some(()))
    })
    .await?;

    let status = tenant.pipeline("people").await?.status.context("a status")?;
    let frozen = status.streams[0].active_run.clone().context("a run under way")?;
    let process = worker_of(&frozen.name).context("the worker's process")?;
    kill(process, Signal::SIGSTOP)?;
    let successor = json!({
        "name": "people-successor", "epoch": frozen.epoch + 1, "slotTime": frozen.slot_time, "startTime": frozen.start_time,
    });
    let operations = json!([{"op": "replace", "path": "/status/streams/0/activeRun", "value": successor}]);
    pipelines(&tenant)
        .patch_status("people", &PatchParams::default(), &json_patch(&operations)?)
        .await?;
    let jobs: Api<Job> = Api::namespaced(tenant.client().clone(), tenant.namespace());
    until(PATIENCE, "the superseded Job to be deleted", async || {
        let there = jobs.get_opt(&frozen.name).await?;
        Ok(there
            .is_none_or(|job| job.metadata.deletion_timestamp.is_some())
            .then_some(()))
    })
    .await?;

    // Where it was frozen in the middle of a transaction, the successor waits for it; then it wakes beside it.
    let ended = tenant
        .until_pipeline("people", BEFORE_ITS_END, "the successor to end", succeeded)
        .await;
    kill(process, Signal::SIGCONT)?;
    until(PATIENCE, "the woken worker to end", async || {
        Ok(worker_of(&frozen.name).is_none().then_some(()))
    })
    .await?;
    let after = tenant
        .until_pipeline("people", PATIENCE, "the successor to end", succeeded)
        .await?;
    if let Ok(before) = ended {
        assert_eq!(
            json!(after.status),
            json!(before.status),
            "the woken worker moved something"
        );
    }
    let counts = tenant.get(Simulated::Segment, "counts").await?;
    assert_eq!(counts["distinct"].as_i64(), Some(CONTACTS), "{counts}");
    tenant.remove().await
}

fn succeeded(pipeline: &SyncPipeline) -> bool {
    let streams = pipeline.status.iter().flat_map(|status| &status.streams);
    let mut last = streams.filter_map(|stream| stream.last_run.as_ref());
    last.any(|run| run.name == "people-successor" && run.outcome == ferrygate::api::common::Outcome::Succeeded)
}

/// The process of a run's worker, as this machine sees it.
fn worker_of(run: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    processes.find_map(|process| {
        let line = fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
        let words: Vec<_> = line.split('\0').collect();
        (words.get(1) == Some(&"worker") && words.contains(&run)).then_some(Pid::from_raw(process))
    })
}

fn pipelines(tenant: &Tenant) -> Api<SyncPipeline> {
    Api::namespaced(tenant.client().clone(), tenant.namespace())
}

fn json_patch(operations: &Value) -> Result<Patch<SyncPipeline>> {
    Ok(Patch::Json(serde_json::from_value(operations.clone())?))
}

#[tokio::test]
async fn the_api_server_lets_a_worker_write_only_of_its_own_run() -> Result<()> {
    let (cluster, _) = operator().await?;
    let tenant = tenant("fencing").await?;
    // Its source is not there, so that the controller starts nothing and leaves the runs that the test names.
    let mut pipeline = manifests::pipeline("people", "absent", "absent", "absent", "6h");
    let mut other = pipeline["spec"]["streams"][0].clone();
    other["name"] = json!("others");
    pipeline["spec"]["streams"] = json!([pipeline["spec"]["streams"][0], other]);
    tenant.apply(&pipeline.to_string()).await?;
    tenant
        .until_pipeline("people", PATIENCE, "its streams", |pipeline| {
            pipeline.status.as_ref().is_some_and(|status| status.streams.len() == 2)
        })
        .await?;
    let run = |name: &str| json!({"name": name, "epoch": 7, "slotTime": "2026-05-04T08:00:00Z", "startTime": "2026-05-04T08:00:00Z"});
    let named = json!([
        {"op": "add", "path": "/status/streams/0/activeRun", "value": run("run-of-contacts")},
        {"op": "add", "path": "/status/streams/1/activeRun", "value": run("run-of-others")},
    ]);
    pipelines(&tenant)
        .patch_status("people", &PatchParams::default(), &json_patch(&named)?)
        .await?;

    let letters =
        |stream: usize| json!([{"op": "add", "path": format!("/status/streams/{stream}/deadLetters"), "value": 1}]);
    let active = json!([{"op": "replace", "path": "/status/streams/0/activeRun/name", "value": "run-of-mine"}]);
    let conditions = json!([{"op": "replace", "path": "/status/conditions/0/message", "value": "all is well"}]);
    // A pipeline's jobTemplate may name another ServiceAccount than the workers' usual one.
    const USUAL: &str = "ferrygate-worker";
    const OTHER: &str = "crm-reader";
    tenant.apply(&service_account(OTHER)).await?;
    let cases = [
        (USUAL, Some("run-of-contacts-abcde"), letters(0), None),
        (
            USUAL,
            Some("run-of-contacts-abcde"),
            letters(1),
            Some("only the status of its own stream"),
        ),
        (
            USUAL,
            Some("run-of-contacts-abcde"),
            active,
            Some("which run is active"),
        ),
        (
            USUAL,
            Some("run-of-contacts-abcde"),
            conditions,
            Some("does not write conditions"),
        ),
        (
            USUAL,
            Some("run-of-contacts-2-abcde"),
            letters(0),
            Some("run-of-contacts, run-of-others"),
        ),
        (
            USUAL,
            Some("run-of-yesterday-abcde"),
            letters(0),
            Some("is not of an active run"),
        ),
        (USUAL, None, letters(0), Some("is not of an active run")),
        (OTHER, Some("run-of-contacts-fghij"), letters(0), None),
        (
            OTHER,
            Some("run-of-yesterday-fghij"),
            letters(0),
            Some("is not of an active run"),
        ),
        (OTHER, None, letters(0), Some("is not of an active run")),
    ];
    for (account, pod, operations, refusal) in cases {
        let token = worker_token(&tenant, account, pod).await?;
        let answer = patched_by(cluster, &tenant, &token, &operations).await?;
        match (answer, refusal) {
            (Ok(()), None) => {}
            (Err(kube::Error::Api(status)), Some(words)) => assert!(
                status.code == 403 && status.message.contains(words),
                "{words:?} is not in: {status:?}"
            ),
            (answer, refusal) => panic!("{account}, pod {pod:?}: {answer:?} where {refusal:?} was expected"),
        }
    }
    tenant.remove().await
}

/// A ServiceAccount that may do what workers do.
fn service_account(name: &str) -> String {
    manifests::list(vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "ferrygate-worker"},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        }),
    ])
}

/// A token of a ServiceAccount, bound to a pod of that name or to none.
async fn worker_token(tenant: &Tenant, account: &str, pod: Option<&str>) -> Result<String> {
    let mut bound = Value::Null;
    if let Some(name) = pod {
        tenant.apply(&worker_pod(account, name).to_string()).await?;
        let pods: Api<Pod> = Api::namespaced(tenant.client().clone(), tenant.namespace());
        bound = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pods.get(name).await?.uid()});
    }
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": [], "boundObjectRef": bound}}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(tenant.client().clone(), tenant.namespace());
    let granted = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await?;
    Ok(granted.status.context("a token")?.token)
}

/// A pod that never runs: a token can be bound to it all the same.
fn worker_pod(account: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": account,
            "nodeSelector": {"ferrygate.io/no-such-node": "true"},
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "worker",
                "image": "none",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

async fn patched_by(
    cluster: &Cluster,
    tenant: &Tenant,
    token: &str,
    operations: &Value,
) -> Result<Result<(), kube::Error>> {
    let client = cluster.client_by_token(token).await?;
    let pipelines: Api<SyncPipeline> = Api::namespaced(client, tenant.namespace());
    let answer = pipelines
        .patch_status("people", &PatchParams::default(), &json_patch(operations)?)
        .await;
    Ok(answer.map(drop))
}
