//! What can be wrong with a mapping, and why a record is rejected by one.

use std::fmt;

/// One thing that is wrong with a mapping, or with the pair of a mapping and a sink or a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{path}: {message}")]
pub struct CompileError {
    /// Where, as the user wrote it: `spec.objects[0].traits[3].transforms[1].enum.table`; with the kind before it where the
    /// fault is not in the MappingVersion: `CdpSink spec.identity.userId`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Why a record was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {rule}")]
pub struct Rejection {
    /// Where in the mapping: `traits[lifecycle_stage]`, `identity[crm_id]`.
    pub path: String,
    /// Which rule, without the value: `enum table "lifecycle" has no such value`.
    pub rule: String,
}

/// Collects everything that is wrong, so that a user mends a mapping once and not error by error.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<CompileError>);

impl Errors {
    pub fn add(&mut self, path: impl fmt::Display, message: impl Into<String>) {
        self.0.push(CompileError {
            path: path.to_string(),
            message: message.into(),
        });
    }

    pub fn into_vec(self) -> Vec<CompileError> {
        self.0
    }
}

/// `; did you mean "Email"?`, or nothing where no candidate is near.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let near = near_misses(name, candidates);
    match near.split_last() {
        None => String::new(),
        Some((last, [])) => format!("; did you mean {last:?}?"),
        Some((last, rest)) => {
            let rest: Vec<String> = rest.iter().map(|candidate| format!("{candidate:?}")).collect();
            format!("; did you mean {} or {last:?}?", rest.join(", "))
        }
    }
}

/// At most three candidates, nearest first, by how many keystrokes they are away, whatever their case.
fn near_misses<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= (name.chars().count().max(candidate.chars().count()) / 4).clamp(1, 3)
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_listed_nearest_first() {
        let fields = ["Email", "Emails__c", "Phone", "HomePhone", "MailingCity", "Fax"];
        let cases = [
            ("Emial", "; did you mean \"Email\"?"),
            ("email", "; did you mean \"Email\"?"),
            ("Fux", "; did you mean \"Fax\"?"),
            ("Email__c", "; did you mean \"Emails__c\"?"),
            ("Phones", "; did you mean \"Phone\"?"),
            ("Birthdate", ""),
            ("", ""),
        ];
        let found = cases.map(|(name, _)| (name, did_you_mean(name, fields)));
        assert_eq!(found, cases.map(|(name, expected)| (name, expected.to_owned())));
    }

    #[test]
    fn several_near_misses_are_joined() {
        assert_eq!(
            did_you_mean("Phone", ["Phone1", "Phone2"]),
            "; did you mean \"Phone1\" or \"Phone2\"?"
        );
    }
}
