//! The CRM fields that a plan reads: each selected once, in the order of first use, and only if something reads it.

use super::error::Errors;

/// Where a field is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldUse {
    /// The field's place in the selection.
    pub field: usize,
    /// Where the user wrote its name.
    pub path: String,
}

/// Collects the fields while a plan is compiled.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub names: Vec<String>,
    pub uses: Vec<FieldUse>,
}

impl Fields {
    /// The place of a field in the selection. A name that can be none is an error, and its place is not used.
    pub fn index(&mut self, name: &str, path: &str, errors: &mut Errors) -> usize {
        if name.contains('.') {
            errors.add(
                path,
                format!(
                    "{name:?}: only the object's own fields, as they are now, can be read; no dot can be in their names"
                ),
            );
        } else if !is_name(name) {
            errors.add(
                path,
                format!("{name:?} can't be a field's API name: letters, digits and _ after a letter"),
            );
        }
        let field = match self.names.iter().position(|known| known == name) {
            Some(field) => field,
            None => {
                self.names.push(name.to_owned());
                self.names.len() - 1
            }
        };
        self.uses.push(FieldUse {
            field,
            path: path.to_owned(),
        });
        field
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
