//! kstatus, Argo CD and Flux agree with `Ready` in every state, without a cluster.

use anyhow::{Context, Result};
use ferrygate::api::conditions::{READY, RECONCILING, Reason, STALLED, SUSPENDED, Status, Verdict, conditions};
use ferrygate::api::{GROUP, definitions};
use ferrygate_e2e::gitops::{ArgoCdHealth, Health, evaluate};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

const ALL: &[&str] = &["CrmSource", "CdpSink", "MappingVersion", "SyncPipeline"];
const PIPELINE: &[&str] = &["SyncPipeline"];
const SOURCE: &[&str] = &["CrmSource"];

/// The generation of every resource here.
const GENERATION: i64 = 3;
const WORDS: &str = "what a person should know";
const SUSPENDED_WORDS: &str = "no run is started";
const UNSEEN_WORDS: &str = "the controller has not seen this generation yet";

/// kstatus, Argo CD, Flux.
type Expected = (&'static str, &'static str, &'static str);

const WELL: Expected = ("Current", "Healthy", "Current");
const ON_ITS_WAY: Expected = ("InProgress", "Progressing", "InProgress");
const WAITS_FOR_A_PERSON: Expected = ("Failed", "Degraded", "Failed");

fn verdict(kind: &'static str, status: bool, reason: &str, words: &str) -> Verdict {
    let reason = Reason::ALL.iter().find(|known| known.as_str() == reason);
    Verdict::new(kind, Status::of(status), *reason.expect("a documented reason"), words)
}

/// What a controller says of a resource of which `holds` is the one of `Ready`, `Reconciling` and `Stalled` that is True.
fn said(holds: &'static str, reason: &'static str) -> Vec<Verdict> {
    [READY, RECONCILING, STALLED]
        .map(|kind| verdict(kind, kind == holds, reason, WORDS))
        .into()
}

fn with_suspended(mut verdicts: Vec<Verdict>, suspended: bool) -> Vec<Verdict> {
    let reason = if suspended { "Suspended" } else { "NotSuspended" };
    verdicts.push(verdict(SUSPENDED, suspended, reason, SUSPENDED_WORDS));
    verdicts
}

/// The status of a resource of which the controller has seen this generation.
fn status(generation: i64, verdicts: Vec<Verdict>) -> Value {
    json!({
        "observedGeneration": generation,
        "conditions": conditions(&[], verdicts, generation, Timestamp::UNIX_EPOCH),
    })
}

fn definition(kind: &str) -> Option<CustomResourceDefinition> {
    definitions()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
}

/// The status that the API server gives to a resource without one.
fn default_status(kind: &str) -> Result<Value> {
    let definition = json!(definition(kind));
    let default = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/default");
    default
        .cloned()
        .with_context(|| format!("the status of {kind} has no default"))
}

fn resource(kind: &str, name: &str, status: Option<&Value>) -> Value {
    let mut resource = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": kind,
        "metadata": {"name": name, "namespace": "crm-prod", "generation": GENERATION},
        "spec": {},
    });
    if let Some(status) = status {
        resource["status"] = status.clone();
    }
    resource
}

fn health(kind: &str, name: &str, (kstatus, argocd, flux): Expected, message: &str) -> Health {
    Health {
        kind: kind.into(),
        name: name.into(),
        kstatus: kstatus.into(),
        argocd: Some(ArgoCdHealth {
            status: argocd.into(),
            message: message.into(),
        }),
        flux: flux.into(),
    }
}

#[tokio::test]
async fn kstatus_argo_cd_and_flux_agree_with_ready_in_every_state() -> Result<()> {
    let seen = |verdicts| status(GENERATION, verdicts);
    let before = |verdicts| status(GENERATION - 1, verdicts);
    let suspended = |verdicts| with_suspended(verdicts, true);
    #[rustfmt::skip]
    let cases = [
        ("ready", ALL, seen(said(READY, "Succeeded")), WELL, WORDS),
        ("compiled", ALL, seen(said(READY, "Compiled")), WELL, WORDS),
        ("not-suspended", PIPELINE, seen(with_suspended(said(READY, "Succeeded"), false)), WELL, WORDS),
        ("probing", ALL, seen(said(RECONCILING, "Probing")), ON_ITS_WAY, WORDS),
        ("first-run", ALL, seen(said(RECONCILING, "FirstRun")), ON_ITS_WAY, WORDS),
        ("pod-not-starting", ALL, seen(said(RECONCILING, "PodNotStarting")), ON_ITS_WAY, WORDS),
        ("source-away", ALL, seen(said(RECONCILING, "SourceUnavailable")), ON_ITS_WAY, WORDS),
        ("refused", ALL, seen(said(STALLED, "AuthenticationFailed")), WAITS_FOR_A_PERSON, WORDS),
        ("misconfigured", ALL, seen(said(STALLED, "ConfigurationInvalid")), WAITS_FOR_A_PERSON, WORDS),
        ("not-compiled", ALL, seen(said(STALLED, "CompileFailed")), WAITS_FOR_A_PERSON, WORDS),
        ("source-missing", ALL, seen(said(STALLED, "SourceNotFound")), WAITS_FOR_A_PERSON, WORDS),

        ("suspended", PIPELINE, seen(suspended(said(READY, "Suspended"))),
         ("Current", "Suspended", "Current"), SUSPENDED_WORDS),
        ("suspended-in-an-outage", PIPELINE, seen(suspended(said(RECONCILING, "SinkUnavailable"))),
         ("InProgress", "Suspended", "InProgress"), SUSPENDED_WORDS),
        ("suspended-and-stalled", PIPELINE, seen(suspended(said(STALLED, "SinkRefused"))), WAITS_FOR_A_PERSON, WORDS),
        ("suspended-after-a-probe", SOURCE, seen(said(READY, "Suspended")), ("Current", "Suspended", "Current"), WORDS),
        ("suspended-before-a-probe", SOURCE, seen(said(RECONCILING, "Suspended")),
         ("InProgress", "Suspended", "InProgress"), WORDS),

        ("changed-since-ready", ALL, before(said(READY, "Succeeded")), ON_ITS_WAY, UNSEEN_WORDS),
        ("changed-since-reconciling", ALL, before(said(RECONCILING, "Probing")), ON_ITS_WAY, UNSEEN_WORDS),
        ("changed-since-stalled", ALL, before(said(STALLED, "SchemaDrifted")), ON_ITS_WAY, UNSEEN_WORDS),
        ("changed-since-suspended", PIPELINE, before(suspended(said(READY, "Suspended"))), ON_ITS_WAY, UNSEEN_WORDS),
    ];
    let (mut resources, mut expected) = (Vec::new(), Vec::new());
    for (name, kinds, status, verdict, words) in &cases {
        for kind in *kinds {
            resources.push(resource(kind, name, Some(status)));
            expected.push(health(kind, name, *verdict, words));
        }
    }
    assert_eq!(evaluate(&resources).await?, expected);
    Ok(())
}

#[tokio::test]
async fn a_resource_that_no_controller_has_seen_is_not_ready() -> Result<()> {
    let (mut resources, mut expected) = (Vec::new(), Vec::new());
    for kind in ALL {
        resources.push(resource(kind, "unseen", Some(&default_status(kind)?)));
        expected.push(health(kind, "unseen", ON_ITS_WAY, UNSEEN_WORDS));
    }
    assert_eq!(evaluate(&resources).await?, expected);
    Ok(())
}

/// Why the definitions have a default, and what stands in for it where somebody took it out.
#[tokio::test]
async fn without_the_default_status_kstatus_alone_would_take_an_unseen_resource_for_ready() -> Result<()> {
    let (mut resources, mut expected) = (Vec::new(), Vec::new());
    for kind in ALL {
        resources.push(resource(kind, "no-status", None));
        expected.push(health(
            kind,
            "no-status",
            ("Current", "Progressing", "Unknown"),
            UNSEEN_WORDS,
        ));
        resources.push(resource(kind, "empty-status", Some(&json!({}))));
        expected.push(health(
            kind,
            "empty-status",
            ("Current", "Progressing", "InProgress"),
            UNSEEN_WORDS,
        ));
    }
    assert_eq!(evaluate(&resources).await?, expected);
    Ok(())
}
