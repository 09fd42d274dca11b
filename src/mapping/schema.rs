//! A plan against the object as the CRM describes it to the integration user.

use super::error::{CompileError, Errors, did_you_mean};
use super::fields::FieldUse;
use crate::source::ObjectDescription;

/// Every use of a field that the described object lacks. A name must be written in the CRM's own case: its answers carry
/// that, whatever case the query had.
pub(super) fn check(
    names: &[String],
    uses: &[FieldUse],
    description: &ObjectDescription,
) -> Result<(), Vec<CompileError>> {
    let mut errors = Errors::default();
    for FieldUse { field, path } in uses {
        let Some(name) = names.get(*field) else { continue };
        let described = || description.fields.iter().map(|field| field.name.as_str());
        if described().any(|known| known == name) {
            continue;
        }
        let hint = did_you_mean(name, described());
        let hint = if hint.is_empty() {
            "; it may exist and not be visible to the integration user: check its field-level security".to_owned()
        } else {
            hint
        };
        errors.add(
            path,
            format!("object {} has no field {name:?}{hint}", description.object),
        );
    }
    let errors = errors.into_vec();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
