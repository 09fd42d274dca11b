//! `MappingVersion`: compiled, and counted by the pipelines that take it.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use super::act::{ActError, Context, write_status};
use crate::api::conditions::{COMPILED, READY, STALLED, Status, Verdict, conditions};
use crate::api::{MappingVersion, MappingVersionStatus, SyncPipeline};
use crate::mapping::{CompileError, Plan};

/// Reconciles one mapping version.
pub async fn reconcile(mapping: Arc<MappingVersion>, context: Arc<Context>) -> Result<Action, ActError> {
    let (name, namespace) = (mapping.name_any(), mapping.namespace().unwrap_or_default());
    let pipelines: Api<SyncPipeline> = Api::namespaced(context.client.clone(), &namespace);
    let used_by = pipelines
        .list(&ListParams::default())
        .await?
        .items
        .iter()
        .filter(|one| takes(one, &name))
        .count();
    let generation = mapping.meta().generation.unwrap_or_default();
    let before = mapping.status.clone().unwrap_or_default();
    let said = verdicts(&Plan::check_spec(&mapping.spec));
    let after = MappingVersionStatus {
        observed_generation: Some(generation),
        conditions: conditions(&before.conditions, said, generation, Timestamp::now()),
        used_by: Some(i32::try_from(used_by).unwrap_or(i32::MAX)),
    };
    write_status(&context, mapping.as_ref(), mapping.status.as_ref(), &after).await?;
    Ok(Action::await_change())
}

fn takes(pipeline: &SyncPipeline, mapping: &str) -> bool {
    let resolved = pipeline.status.as_ref().and_then(|status| status.mapping.as_ref());
    resolved.is_some_and(|resolved| resolved.name == mapping)
}

fn verdicts(errors: &[CompileError]) -> Vec<Verdict> {
    if errors.is_empty() {
        let message = "the mapping compiles";
        return vec![
            Verdict::new(READY, Status::True, "Compiled", message),
            Verdict::new(STALLED, Status::False, "Compiled", message),
            Verdict::new(COMPILED, Status::True, "Compiled", message),
        ];
    }
    let listed: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let message = format!("{}. Write the corrected mapping as a new version.", listed.join("; "));
    vec![
        Verdict::new(READY, Status::False, "CompileFailed", message.clone()),
        Verdict::new(STALLED, Status::True, "CompileFailed", message.clone()),
        Verdict::new(COMPILED, Status::False, "CompileFailed", message),
    ]
}
