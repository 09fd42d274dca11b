//! `MappingVersion`: compiled, and counted by the pipelines that take it.

use jiff::Timestamp;
use kube::Resource;
use kube::core::DeserializeGuard;

use super::act::{ActError, Context, write_status};
use super::key::Name;
use crate::api::conditions::{COMPILED, Reason, Standing, Status, Verdict, conditions};
use crate::api::{MappingVersionStatus, SyncPipeline};
use crate::mapping::{CompileError, Plan};

/// Reconciles one mapping version at an instant.
///
/// # Errors
/// When its status could not be written.
pub async fn reconcile(name: &Name, context: &Context, now: Timestamp) -> Result<Option<Timestamp>, ActError> {
    let (mapping, used_by) = {
        let index = context.cache.lock();
        let Some(mapping) = index.mappings().get(name).cloned() else {
            return Ok(None);
        };
        let pipelines = index.pipelines().of(&name.namespace);
        (mapping, pipelines.filter(|(_, one)| takes(one, &name.name)).count())
    };
    let generation = mapping.meta().generation.unwrap_or_default();
    let before = mapping.status.clone().unwrap_or_default();
    let said = verdicts(&Plan::check_spec(&mapping.spec));
    let after = MappingVersionStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, said, generation, now),
        used_by: Some(i32::try_from(used_by).unwrap_or(i32::MAX)),
    };
    if let Some(written) = write_status(context, mapping.as_ref(), mapping.status.as_ref(), &after).await? {
        context.cache.put(DeserializeGuard(Ok(written)));
    }
    Ok(None)
}

fn takes(pipeline: &SyncPipeline, mapping: &str) -> bool {
    let resolved = pipeline.status.as_ref().and_then(|status| status.mapping.as_ref());
    resolved.is_some_and(|resolved| resolved.name == mapping)
}

fn verdicts(errors: &[CompileError]) -> Vec<Verdict> {
    let (standing, reason, message) = if errors.is_empty() {
        (Standing::Ready, Reason::Compiled, "the mapping compiles".to_owned())
    } else {
        let listed: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let message = format!("{}. Write the corrected mapping as a new version.", listed.join("; "));
        (Standing::Stalled, Reason::CompileFailed, message)
    };
    let mut said = standing.verdicts(reason, message.clone());
    said.push(Verdict::new(COMPILED, Status::of(errors.is_empty()), reason, message));
    said
}
