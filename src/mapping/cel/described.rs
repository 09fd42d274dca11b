//! An expression against the CRM's own types of the fields that it reads: what can never work, whatever a record holds.

use super::analysis::{Analysis, gives};
use super::environment::ENVIRONMENT;
use super::types::Types;
use super::{Fault, Gives};
use crate::api::mapping_version::TraitType;

/// What the CRM's description tells of an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::mapping) struct Described {
    /// Operations on types that don't go together.
    pub faults: Vec<Fault>,
    /// What it gives, where that is known.
    gives: Option<Gives>,
}

impl Described {
    /// Why what it gives can be no value of a type, and what to write instead.
    pub fn misfit(&self, kind: TraitType) -> Option<String> {
        self.gives
            .filter(|gives| !gives.fits(kind))
            .map(|gives| gives.misfit(kind))
    }
}

/// Holds an expression against the types of an object's fields, by their names in the CRM's description; `value` is the type of the
/// field that a consent rule is about. Nothing is told of an expression that does not compile: that is told elsewhere.
pub(in crate::mapping) fn described(
    source: &str,
    value: Option<&str>,
    kind: impl Fn(&str) -> Option<String>,
) -> Described {
    let field = |name: &str| given(&kind(name)?);
    let types = Types {
        field: Some(&field),
        value: value.and_then(given),
    };
    let Ok(program) = ENVIRONMENT.compile(source) else {
        return Described::default();
    };
    let analysed = |types| {
        let mut root = program.expression().clone();
        let mut analysis = Analysis::new(source, program.source_info(), value.is_some(), types);
        analysis.resolve(&mut root);
        (root, analysis.finish().err().unwrap_or_default())
    };
    let (_, known) = analysed(Types::default());
    if !known.is_empty() {
        return Described::default();
    }
    let (root, faults) = analysed(types);
    Described {
        faults,
        gives: gives(&root, &types),
    }
}

/// What a field of a type in the CRM's description holds for CEL, where it is not null.
/// <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/field_types.htm>
fn given(kind: &str) -> Option<Gives> {
    match kind {
        "boolean" => Some(Gives::Boolean),
        "int" | "long" | "double" | "currency" | "percent" => Some(Gives::Number),
        "string" | "textarea" | "id" | "reference" | "picklist" | "multipicklist" | "combobox" | "email" | "phone"
        | "url" | "date" | "datetime" | "time" | "encryptedstring" => Some(Gives::Text),
        _ => None,
    }
}
