//! `CrmSource`: probed for its login and its schema; its places are shared by the runs of its pipelines.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};

use super::act::{ActError, Context, create_job, notify, write_status};
use super::admission::Claimant;
use super::cache::Index;
use super::inquire::inquire;
use super::jobs::{SOURCE_LABEL, probe_job, source_secrets};
use super::key::{Key, Kind, Name};
use super::names;
use super::observe::Made;
use super::probe::{Question, decide, verdicts};
use crate::api::common::Outcome;
use crate::api::conditions::{AUTHENTICATED, Reason, SCHEMA_OBSERVED, Status, Verdict, WITHIN_BUDGET, conditions};
use crate::api::crm_source::Budget;
use crate::api::{CrmSource, CrmSourceStatus, SyncPipeline};

/// How many of those who hold a place are named.
const NAMED: usize = 10;

/// Reconciles one source at an instant, and returns when to do so again, at the latest.
///
/// # Errors
/// When something that was decided could not be done.
pub async fn reconcile(name: &Name, context: &Context, now: Timestamp) -> Result<Option<Timestamp>, ActError> {
    let Some((source, made, objects, holders)) = observe(name, &mut context.cache.lock(), now) else {
        return Ok(None);
    };
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
        name: &|due| names::probe("CrmSource", &uid, &name.name, generation, due),
        now,
    };
    let decision = decide(&question);
    let mut said = verdicts(&decision, &question, &name.namespace);
    let outcome = decision
        .result
        .as_ref()
        .map(|result| (result.outcome, result.message.clone()));
    said.extend(about_the_org(outcome));
    said.push(within_budget(before.budget.as_ref(), &holders));
    let after = CrmSourceStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, said, generation, now),
        crm: source.spec.salesforce.as_ref().map(|_| "Salesforce".to_owned()),
        active_probe: decision.active.clone(),
        probe: decision.result.clone(),
        ..before.clone()
    };
    if let Some(written) = write_status(context, source.as_ref(), source.status.as_ref(), &after).await? {
        context.cache.put(DeserializeGuard(Ok(written)));
    }
    if let Some(notice) = &decision.notice {
        notify(context, &source.object_ref(&()), notice).await;
    }
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
        create_job(context, &job, source.uid().as_deref()).await?;
    }
    if let Some(job) = decision.look_into
        && inquire(context, &name.beside(&job)).await?
    {
        return Ok(Some(now));
    }
    Ok(decision.wake.into_iter().chain(holders.told_until).min())
}

/// Who holds the places of a source.
#[derive(Debug, PartialEq, Eq)]
struct Holders {
    capacity: u32,
    /// Pipeline and stream of each run that is told.
    running: Vec<String>,
    /// Where others wait: until when the same ones are told.
    told_until: Option<Timestamp>,
}

type Observed = (std::sync::Arc<CrmSource>, Made, BTreeSet<String>, Holders);

fn observe(name: &Name, index: &mut Index, now: Timestamp) -> Option<Observed> {
    let source = index.sources().get(name)?.clone();
    let owner = Key::new(Kind::CrmSource, name.clone());
    let active = source.status.as_ref().and_then(|status| status.active_probe.clone());
    let template = source.spec.job_template.as_ref();
    let made = Made::of(index, &owner, source.meta().uid.as_deref(), template, active);
    let objects = mapped_objects(index.pipelines_of(name).map(AsRef::as_ref));
    let mut holders = Holders {
        capacity: source.spec.max_concurrent_runs,
        running: Vec::new(),
        told_until: None,
    };
    if let Some(queue) = index.queue(name).filter(|queue| queue.waiting() > 0) {
        let (told, until) = queue.holders(now);
        let named = |claimant: Claimant| format!("{}/{}", claimant.pipeline, claimant.stream);
        holders.running = told.into_iter().map(named).collect();
        holders.told_until = Some(until);
    }
    Some((source, made, objects, holders))
}

/// `WithinBudget`: whether the org has requests left, and, where runs wait, who holds the places. Where none waits it does not
/// say who runs, or every run would be a write of the source's status.
fn within_budget(budget: Option<&Budget>, holders: &Holders) -> Verdict {
    let capacity = holders.capacity;
    if let Some(budget) = budget.filter(|budget| budget.remaining == 0) {
        let message = format!(
            "the org has used all of its {} daily API requests; runs are parked until some of them return. See Setup, Company \
             Information, \"API Requests, Last 24 Hours\"",
            budget.max
        );
        return Verdict::new(WITHIN_BUDGET, Status::False, Reason::BudgetExhausted, message);
    }
    if holders.told_until.is_some() {
        let mut named = holders
            .running
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if holders.running.len() > NAMED {
            named += &format!(" and {} more", holders.running.len() - NAMED);
        }
        let message = format!(
            "runs wait for one of the {capacity} places (maxConcurrentRuns), the suppression lane first, then whoever is nearest \
             to missing its objective; the places are held by: {named}"
        );
        return Verdict::new(WITHIN_BUDGET, Status::True, Reason::PlacesTaken, message);
    }
    let message = format!("runs start as soon as they are due, {capacity} at once at the most (maxConcurrentRuns)");
    Verdict::new(WITHIN_BUDGET, Status::True, Reason::PlacesFree, message)
}

/// The CRM objects that pipelines name.
fn mapped_objects<'a>(pipelines: impl Iterator<Item = &'a SyncPipeline>) -> BTreeSet<String> {
    let streams = pipelines.flat_map(|pipeline| &pipeline.spec.streams);
    streams.map(|stream| stream.object.clone()).collect()
}

/// `Authenticated` and `SchemaObserved`: what the last probe learned of the org.
fn about_the_org(outcome: Option<(Outcome, String)>) -> Vec<Verdict> {
    let (authenticated, schema, reason, message) = match outcome {
        None => (
            Status::Unknown,
            Status::Unknown,
            Reason::Probing,
            "no probe has ended yet".to_owned(),
        ),
        Some((Outcome::Succeeded, message)) => (Status::True, Status::True, Reason::Succeeded, message),
        Some((Outcome::SchemaDrifted, message)) => (Status::True, Status::False, Reason::SchemaDrifted, message),
        Some((Outcome::AuthenticationFailed, message)) => {
            (Status::False, Status::Unknown, Reason::AuthenticationFailed, message)
        }
        Some((outcome, message)) => (Status::Unknown, Status::Unknown, outcome.reason(), message),
    };
    vec![
        Verdict::new(AUTHENTICATED, authenticated, reason, message.clone()),
        Verdict::new(SCHEMA_OBSERVED, schema, reason, message),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_s_condition_names_the_holders_only_where_others_wait() {
        let budget = |remaining| Budget {
            used: "1%".into(),
            remaining,
            max: 100,
        };
        let holders = |waits: bool| Holders {
            capacity: 2,
            running: vec!["people/contacts".into(), "people/opt-outs".into()],
            told_until: waits.then_some(Timestamp::UNIX_EPOCH),
        };
        let told = |remaining, waits| {
            let verdict = within_budget(Some(&budget(remaining)), &holders(waits));
            let names_them = verdict.message.contains("people/contacts, people/opt-outs");
            (verdict.status, verdict.reason, names_them)
        };
        assert_eq!(told(9, false), (Status::True, Reason::PlacesFree, false));
        assert_eq!(told(9, true), (Status::True, Reason::PlacesTaken, true));
        assert_eq!(told(0, true), (Status::False, Reason::BudgetExhausted, false));
    }
}
