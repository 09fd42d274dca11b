//! `CdpSink`: probed for whether it answers.

use jiff::{SignedDuration, Timestamp};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};

use super::act::{ActError, Context, create_job, notify, write_status};
use super::inquire::inquire;
use super::jobs::{SINK_LABEL, probe_job, sink_secrets};
use super::key::{Key, Kind, Name};
use super::names;
use super::observe::Made;
use super::probe::{Question, decide, verdicts};
use crate::api::CdpSinkStatus;
use crate::api::conditions::conditions;

/// The time between two probes that succeed.
const EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Reconciles one sink at an instant, and returns when to do so again, at the latest.
///
/// # Errors
/// When something that was decided could not be done.
pub async fn reconcile(name: &Name, context: &Context, now: Timestamp) -> Result<Option<Timestamp>, ActError> {
    let owner = Key::new(Kind::CdpSink, name.clone());
    let (sink, made) = {
        let index = context.cache.lock();
        let Some(sink) = index.sinks().get(name).cloned() else {
            return Ok(None);
        };
        let active = sink.status.as_ref().and_then(|status| status.active_probe.clone());
        let made = Made::of(
            &index,
            &owner,
            sink.meta().uid.as_deref(),
            sink.spec.job_template.as_ref(),
            active,
        );
        (sink, made)
    };
    let before = sink.status.clone().unwrap_or_default();
    let generation = sink.meta().generation.unwrap_or_default();
    let uid = sink.uid().unwrap_or_default();
    let question = Question {
        active: before.active_probe.as_deref(),
        result: before.probe.as_ref(),
        generation,
        complete: true,
        every: EVERY,
        suspended: false,
        made: &made,
        name: &|due| names::probe("CdpSink", &uid, &name.name, generation, due),
        now,
    };
    let decision = decide(&question);
    let said = verdicts(&decision, &question, &name.namespace);
    let after = CdpSinkStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, said, generation, now),
        cdp: sink.spec.segment.as_ref().map(|_| "Segment".to_owned()),
        active_probe: decision.active.clone(),
        probe: decision.result.clone(),
    };
    if let Some(written) = write_status(context, sink.as_ref(), sink.status.as_ref(), &after).await? {
        context.cache.put(DeserializeGuard(Ok(written)));
    }
    if let Some(notice) = &decision.notice {
        notify(context, &sink.object_ref(&()), notice).await;
    }
    // If the process ends here, the status names a probe without a Job, and the next reconcile creates it.
    if let Some(run) = decision.active.filter(|_| decision.create) {
        let secrets = sink_secrets(&sink.spec);
        let job = probe_job(
            sink.as_ref(),
            ("--sink", SINK_LABEL),
            &run,
            &[],
            secrets,
            sink.spec.job_template.as_ref(),
            &context.worker,
        );
        create_job(context, &job, sink.uid().as_deref()).await?;
    }
    if let Some(job) = decision.look_into
        && inquire(context, &name.beside(&job)).await?
    {
        return Ok(Some(now));
    }
    Ok(decision.wake)
}
