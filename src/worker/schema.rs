//! The object as the CRM describes it today: against the mapping, and against what it was when this mapping version first ran.

use super::RunSpec;
use super::prepare::mapping_name;
use super::stop::Stop;
use crate::api::common::Outcome;
use crate::api::sync_pipeline::{OnSchemaChange, SchemaChange, StreamSchema};
use crate::mapping::{CompileError, Finding, findings, touched};
use crate::source::ObjectDescription;
use crate::state::Store;

/// How many changes and findings the status holds: it has to stay readable.
const TOLD: usize = 20;

/// What is to be told of the schema, and why the run ends here if it does.
pub(super) struct Look {
    pub(super) schema: StreamSchema,
    pub(super) stop: Option<Stop>,
}

/// Looks at a description, and keeps it where it is the first one under this mapping version, or was accepted. `lacking` is where
/// the plan reads a field that the object lacks: such a description is none to hold later ones against.
pub(super) fn look(
    spec: &RunSpec,
    description: &ObjectDescription,
    lacking: &[CompileError],
    store: &mut Store,
) -> Result<Look, Stop> {
    let mapping = mapping_name(spec);
    let hash = description.hash();
    let accepted = spec.accepted_schema.split(',').any(|accepted| accepted.trim() == hash);
    let known = store.described()?.filter(|(under, _)| *under == mapping && !accepted);
    let before = match known {
        Some((_, before)) => before,
        None => {
            if lacking.is_empty() {
                store.keep_described(&mapping, description)?;
            }
            description.clone()
        }
    };
    let changes: Vec<_> = before
        .changes_to(description)
        .into_iter()
        .map(|change| told(spec, &change))
        .collect();
    let lacking = lacking.iter().map(|error| Finding {
        fatal: true,
        path: error.path.clone(),
        message: error.message.clone(),
    });
    let found: Vec<_> = lacking
        .chain(findings(&spec.mapping, description, &spec.sink))
        .collect();
    let schema = StreamSchema {
        hash: hash.clone(),
        mapping_version: spec.mapping.version.clone(),
        accepted,
        changes: changes.iter().take(TOLD).cloned().collect(),
        findings: found
            .iter()
            .take(TOLD)
            .map(|found| format!("{}: {}", found.path, found.message))
            .collect(),
    };
    Ok(Look {
        stop: stop(
            spec,
            &mapping,
            &schema,
            found
                .iter()
                .filter(|found| found.fatal)
                .map(|found| format!("{}: {}", found.path, found.message))
                .collect(),
        ),
        schema,
    })
}

fn told(spec: &RunSpec, change: &crate::source::FieldChange) -> SchemaChange {
    let touched = touched(&spec.mapping, &spec.stream.object, &change.field);
    SchemaChange {
        matters: change.what.may_matter() && !touched.reads.is_empty(),
        field: change.field.clone(),
        change: change.what.to_string(),
        touches: touched.reads,
        dependents: touched.dependents,
    }
}

fn stop(spec: &RunSpec, mapping: &str, schema: &StreamSchema, fatal: Vec<String>) -> Option<Stop> {
    if !fatal.is_empty() {
        let message = format!("mapping {mapping} does not fit the CRM: {}", fatal.join("; "));
        return Some(Stop::new(Outcome::SchemaDrifted, message));
    }
    let holds = spec.on_schema_change == OnSchemaChange::Hold && schema.changes.iter().any(|change| change.matters);
    holds.then(|| {
        Stop::new(
            Outcome::SchemaDrifted,
            format!(
                "held, because the CRM's schema changed under the mapping (spec.schema.onChange): {}",
                schema.words()
            ),
        )
    })
}
