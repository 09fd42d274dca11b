//! `SyncPipeline`: runs on a schedule, one a stream at a time.
//!
//! [`observe`] gathers what a pipeline refers to and what was made for it, [`resolve`] turns that into what a run needs or
//! says what is missing, [`decide`] says what is to be done, and [`health`] what the conditions say of it.

mod decide;
mod health;
mod observe;
mod resolve;

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use self::decide::{Work, decide};
use self::observe::observe;
use super::act::{ActError, Context, create_claim, create_job, delete_job, is_current, notify, write_status};
use super::{claim, jobs, start};
use crate::api::SyncPipeline;

/// Reconciles one pipeline.
pub async fn reconcile(pipeline: Arc<SyncPipeline>, context: Arc<Context>) -> Result<Action, ActError> {
    if pipeline.meta().deletion_timestamp.is_some() {
        // Jobs and the claim go by their owner references.
        return Ok(Action::await_change());
    }
    let observed = observe(&context.client, &pipeline).await?;
    let now = Timestamp::now();
    let decision = decide(&pipeline, &observed, now);
    let written = write_status(&context, pipeline.as_ref(), pipeline.status.as_ref(), &decision.status).await?;
    // Told as soon as the status holds it: what follows may fail, and the next decision would not tell it again.
    for notice in &decision.notices {
        notify(&context, &pipeline.object_ref(&()), notice).await;
    }
    // Where nothing was written, Jobs are made and deleted only of the newest view: an older one may name a run that has ended, or
    // not know the one whose Job it would delete.
    if !decision.work.is_empty() && !written && !is_current(&context, pipeline.as_ref()).await? {
        return Ok(Action::await_change());
    }
    // If the process ends here, the status names runs without Jobs, and the next reconcile creates them under the same names.
    let namespace = pipeline.namespace().unwrap_or_default();
    for work in &decision.work {
        match work {
            Work::Create(run) => {
                create_claim(&context, &claim::state_claim(&pipeline)).await?;
                let job = jobs::sync_job(&pipeline, &run.borrowed(), &run.source, &run.sink, &context.worker);
                create_job(&context, &job, pipeline.uid().as_deref()).await?;
            }
            Work::Delete(job) => delete_job(&context, &namespace, job).await?,
        }
    }
    Ok(start::wake_at(decision.wake, now))
}
