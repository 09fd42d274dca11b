//! `CdpSink`: probed for whether it answers.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use super::act::{ActError, Context, create_job, notify, write_status};
use super::jobs::{SINK_LABEL, probe_job, sink_secrets};
use super::observe::Made;
use super::probe::{Question, decide, verdicts};
use super::{names, start};
use crate::api::conditions::conditions;
use crate::api::{CdpSink, CdpSinkStatus};

/// The time between two probes that succeed.
const EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Reconciles one sink.
pub async fn reconcile(sink: Arc<CdpSink>, context: Arc<Context>) -> Result<Action, ActError> {
    let (name, namespace) = (sink.name_any(), sink.namespace().unwrap_or_default());
    let made = Made::observe(&context.client, &namespace, SINK_LABEL, &names::label(&name)).await?;
    let now = Timestamp::now();
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
        name: &|due| names::probe("CdpSink", &uid, &name, generation, due),
        now,
    };
    let decision = decide(&question);
    let said = verdicts(&decision, &question, &namespace);
    let after = CdpSinkStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, said, generation, now),
        cdp: sink.spec.segment.as_ref().map(|_| "Segment".to_owned()),
        active_probe: decision.active.clone(),
        probe: decision.result.clone(),
    };
    write_status(&context, sink.as_ref(), sink.status.as_ref(), &after).await?;
    // If the process ends here, the status names a probe without a Job, and the next reconcile creates it.
    if let Some(run) = decision.active.filter(|_| decision.create) {
        let job = probe_job(
            sink.as_ref(),
            ("--sink", SINK_LABEL),
            &run,
            &[],
            sink_secrets(&sink.spec),
            sink.spec.job_template.as_ref(),
            &context.worker,
        );
        create_job(&context, &job, sink.uid().as_deref()).await?;
    }
    if let Some(notice) = decision.notice {
        notify(&context, &sink.object_ref(&()), &notice).await;
    }
    Ok(start::wake_at(decision.wake, now))
}
