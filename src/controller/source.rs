//! `CrmSource`: probed for its login and its schema.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ListParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use super::act::{ActError, Context, create_job, notify, write_status};
use super::jobs::{SOURCE_LABEL, probe_job, source_secrets};
use super::observe::Made;
use super::probe::{Question, decide, verdicts};
use super::{names, start};
use crate::api::common::Outcome;
use crate::api::conditions::{AUTHENTICATED, SCHEMA_OBSERVED, Status, Verdict, conditions};
use crate::api::{CrmSource, CrmSourceStatus, SyncPipeline};

/// Reconciles one source.
pub async fn reconcile(source: Arc<CrmSource>, context: Arc<Context>) -> Result<Action, ActError> {
    let (name, namespace) = (source.name_any(), source.namespace().unwrap_or_default());
    let made = Made::observe(&context.client, &namespace, SOURCE_LABEL, &names::label(&name)).await?;
    let pipelines: Api<SyncPipeline> = Api::namespaced(context.client.clone(), &namespace);
    let objects = mapped_objects(&name, &pipelines.list(&ListParams::default()).await?.items);
    let now = Timestamp::now();
    let before = source.status.clone().unwrap_or_default();
    let generation = source.meta().generation.unwrap_or_default();
    let uid = source.uid().unwrap_or_default();
    let described: BTreeSet<_> = before.schema.iter().map(|object| object.object.clone()).collect();
    let question = Question {
        active: before.active_probe.as_deref(),
        result: before.probe.as_ref(),
        generation,
        complete: described == objects,
        every: SignedDuration::try_from(std::time::Duration::from(source.spec.schema_check.every))
            .unwrap_or(SignedDuration::MAX),
        suspended: source.spec.suspend,
        made: &made,
        name: &|due| names::probe("CrmSource", &uid, &name, generation, due),
        now,
    };
    let decision = decide(&question);
    let mut said = verdicts(&decision, &question, &namespace);
    let outcome = decision
        .result
        .as_ref()
        .map(|result| (result.outcome, result.message.clone()));
    said.extend(about_the_org(outcome));
    let after = CrmSourceStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, said, generation, now),
        crm: source.spec.salesforce.as_ref().map(|_| "Salesforce".to_owned()),
        active_probe: decision.active.clone(),
        probe: decision.result.clone(),
        ..before.clone()
    };
    write_status(&context, source.as_ref(), source.status.as_ref(), &after).await?;
    // If the process ends here, the status names a probe without a Job, and the next reconcile creates it.
    if let Some(run) = decision.active.filter(|_| decision.create) {
        let objects: Vec<_> = objects.into_iter().collect();
        let secrets = source_secrets(&source.spec);
        let job = probe_job(
            source.as_ref(),
            ("--source", SOURCE_LABEL),
            &run,
            &objects,
            secrets,
            source.spec.job_template.as_ref(),
            &context.worker,
        );
        create_job(&context, &job, source.uid().as_deref()).await?;
    }
    if let Some(notice) = decision.notice {
        notify(&context, &source.object_ref(&()), &notice).await;
    }
    Ok(start::wake_at(decision.wake, now))
}

/// The CRM objects that pipelines of this source name.
fn mapped_objects(source: &str, pipelines: &[SyncPipeline]) -> BTreeSet<String> {
    let ours = pipelines
        .iter()
        .filter(|pipeline| pipeline.spec.source_ref.name == source);
    ours.flat_map(|pipeline| &pipeline.spec.streams)
        .map(|stream| stream.object.clone())
        .collect()
}

/// `Authenticated` and `SchemaObserved`: what the last probe learned of the org.
fn about_the_org(outcome: Option<(Outcome, String)>) -> Vec<Verdict> {
    let (authenticated, schema, reason, message) = match outcome {
        None => (
            Status::Unknown,
            Status::Unknown,
            "Probing",
            "no probe has ended yet".to_owned(),
        ),
        Some((Outcome::Succeeded, message)) => (Status::True, Status::True, "Succeeded", message),
        Some((Outcome::SchemaDrifted, message)) => (Status::True, Status::False, "SchemaDrifted", message),
        Some((Outcome::AuthenticationFailed, message)) => {
            (Status::False, Status::Unknown, "AuthenticationFailed", message)
        }
        Some((outcome, message)) => (Status::Unknown, Status::Unknown, outcome.reason(), message),
    };
    vec![
        Verdict::new(AUTHENTICATED, authenticated, reason, message.clone()),
        Verdict::new(SCHEMA_OBSERVED, schema, reason, message),
    ]
}
