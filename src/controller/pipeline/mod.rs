//! `SyncPipeline`: runs on a schedule, one a stream at a time.
//!
//! [`observe`] gathers what a pipeline refers to, by [`rollout`] which mapping version that is, and what was made for it, [`resolve`] turns that into what a run needs or
//! says what is missing, [`decide`] says what is to be done, and [`health`] what the conditions say of it.

mod decide;
mod health;
mod moved;
mod observe;
mod resolve;
mod rollout;

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use self::decide::{Decision, Work, decide};
use self::observe::observe;
use super::act::{
    ActError, Context, create_claim, create_job, delete_job, is_current, notify, patch_claim, write_status,
};
use super::inquire::inquire;
use super::key::Name;
use super::{claim, jobs};
use crate::api::SyncPipeline;

/// Reconciles one pipeline at an instant, and returns when to do so again, at the latest.
///
/// # Errors
/// When something that was decided could not be done.
pub async fn reconcile(name: &Name, context: &Context, now: Timestamp) -> Result<Option<Timestamp>, ActError> {
    let Some((pipeline, decision)) = look(name, context, now) else {
        return Ok(None);
    };
    let status = write_status(context, pipeline.as_ref(), pipeline.status.as_ref(), &decision.status).await;
    // What was taken for this decision is given back where it was not written.
    let (written, failed) = match status {
        Ok(written) => (written, None),
        Err(error) => (None, Some(error)),
    };
    let changed = written.is_some();
    context
        .cache
        .change(|index| index.settled(&pipeline, written, failed.is_some()));
    if let Some(error) = failed {
        return Err(error);
    }
    // Told as soon as the status holds it: what follows may fail, and the next decision would not tell it again.
    for notice in &decision.notices {
        notify(context, &pipeline.object_ref(&()), notice).await;
    }
    // Where nothing was written, Jobs are made and deleted only of the newest view: an older one may name a run that has ended, or
    // not know the one whose Job it would delete.
    if !decision.work.is_empty() && !changed && !is_current(context, pipeline.as_ref()).await? {
        return Ok(None);
    }
    // If the process ends here, the status names runs without Jobs, and the next reconcile creates them under the same names.
    for work in &decision.work {
        perform(work, &pipeline, context, now).await?;
    }
    let mut is_news = false;
    for job in &decision.look_into {
        is_news |= inquire(context, &name.beside(job)).await?;
    }
    Ok(if is_news { Some(now) } else { decision.wake })
}

/// Observes and decides, in one go: what is decided is taken before anyone else decides.
fn look(name: &Name, context: &Context, now: Timestamp) -> Option<(Arc<SyncPipeline>, Decision)> {
    let mut found = None;
    context.cache.change(|index| {
        let Some(pipeline) = index.pipelines().get(name).cloned() else {
            return Vec::new();
        };
        if pipeline.meta().deletion_timestamp.is_some() {
            // Jobs and the claim go by their owner references.
            return Vec::new();
        }
        let observed = observe(index, &pipeline, now);
        let decision = decide(&pipeline, &observed, now);
        let touched = index.decided(&pipeline, &decision.status.streams, &decision.waiting);
        found = Some((pipeline, decision));
        touched
    });
    found
}

async fn perform(work: &Work, pipeline: &SyncPipeline, context: &Context, now: Timestamp) -> Result<(), ActError> {
    match work {
        Work::CreateClaim => create_claim(context, &claim::state_claim(pipeline)).await,
        Work::PatchClaim(patch) => patch_claim(context, pipeline, patch).await,
        Work::Create(run) => {
            let mapping = Name::of(pipeline).beside(run.borrowed().mapping);
            let mapping = context.cache.lock().mappings().get(&mapping).cloned();
            let job = jobs::sync_job(
                pipeline,
                &run.borrowed(),
                &run.source.spec,
                &run.sink.spec,
                mapping.as_ref().map(|mapping| &mapping.spec),
                &context.worker,
            );
            create_job(context, &job, pipeline.uid().as_deref()).await?;
            context.metrics.started(now.duration_since(run.slot));
            Ok(())
        }
        Work::Delete(job) => delete_job(context, &pipeline.namespace().unwrap_or_default(), job).await,
    }
}
