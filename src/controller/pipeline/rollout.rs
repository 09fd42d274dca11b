//! Which version of a range runs take. A new version is a candidate until the rollout lets it in: at once, if it compiles for the
//! pipeline's sink and streams. One that does not must not stop runs that do well, nor does one whose number hides what it changes.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::MappingVersion;
use crate::api::sync_pipeline::MappingCandidate;
use crate::mapping::CompileError;
use crate::worker::Fitting;

/// How many errors of a candidate are told; its own status has all.
const TOLD: usize = 5;

/// The version that runs take.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen {
    /// The version.
    pub version: Arc<MappingVersion>,
    /// What is wrong with it.
    pub errors: Vec<CompileError>,
    /// A higher one that is not let in.
    pub held: Option<MappingCandidate>,
}

/// Chooses among the highest version in range and the lower ones. A pipeline never goes back below the version that it has taken,
/// whatever becomes of its sink: it stays with that, and its errors are told. Nor does a first run begin with a version that can't be
/// run where a lower one can.
pub(super) fn choose(
    fitting: Fitting<Arc<MappingVersion>>,
    taken: Option<&str>,
    mut errors_of: impl FnMut(&MappingVersion) -> Vec<CompileError>,
) -> Chosen {
    let Fitting { highest, lower, held } = fitting;
    let misnumbered = held.map(|(version, error)| misnumbered(&version, &error));
    let errors = errors_of(&highest);
    let is_taken = |version: &MappingVersion| taken == Some(version.name_any().as_str());
    if errors.is_empty() || is_taken(&highest) {
        return Chosen {
            version: highest,
            errors,
            held: misnumbered,
        };
    }
    let held = misnumbered.clone().or_else(|| Some(candidate(&highest, &errors)));
    for version in lower {
        let of_version = errors_of(&version);
        if of_version.is_empty() || is_taken(&version) {
            return Chosen {
                version,
                errors: of_version,
                held,
            };
        }
    }
    Chosen {
        version: highest,
        errors,
        held: misnumbered,
    }
}

fn misnumbered(version: &MappingVersion, error: &CompileError) -> MappingCandidate {
    MappingCandidate {
        name: version.name_any(),
        version: version.spec.version.clone(),
        message: format!(
            "its number hides what it changes, so that no range takes it: {error}; to take it all the same, let mappingRef.version \
             name it exactly"
        ),
    }
}

fn candidate(version: &MappingVersion, errors: &[CompileError]) -> MappingCandidate {
    let told: Vec<_> = errors.iter().take(TOLD).map(ToString::to_string).collect();
    let more = match errors.len().checked_sub(TOLD) {
        None | Some(0) => String::new(),
        Some(more) => format!("; and {more} more"),
    };
    MappingCandidate {
        name: version.name_any(),
        version: version.spec.version.clone(),
        message: format!("it does not serve this pipeline: {}{more}", told.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_highest_version_that_compiles_is_let_in_and_none_below_the_one_that_is_taken() {
        let version = |number: &str| -> Arc<MappingVersion> {
            let object = json!({
                "apiVersion": "ferrygate.io/v1alpha1", "kind": "MappingVersion", "metadata": {"name": number},
                "spec": {"mapping": "m", "version": number, "objects": []},
            });
            Arc::new(serde_json::from_value(object).unwrap())
        };
        // The versions with errors, the one that is taken; the one that is chosen, with or without errors, and what is held.
        type Case<'c> = (&'c [&'c str], Option<&'c str>, (&'c str, bool), Option<&'c str>);
        let cases: [Case<'_>; 8] = [
            (&[], None, ("3.0.0", false), None),
            (&[], Some("1.0.0"), ("3.0.0", false), None),
            (&["3.0.0"], None, ("2.0.0", false), Some("3.0.0")),
            (&["3.0.0"], Some("2.0.0"), ("2.0.0", false), Some("3.0.0")),
            (&["3.0.0"], Some("3.0.0"), ("3.0.0", true), None),
            (&["3.0.0", "2.0.0"], Some("2.0.0"), ("2.0.0", true), Some("3.0.0")),
            (&["3.0.0", "2.0.0", "1.0.0"], None, ("3.0.0", true), None),
            (
                &["3.0.0", "2.0.0"],
                Some("of another mapping"),
                ("1.0.0", false),
                Some("3.0.0"),
            ),
        ];
        for (broken, taken, expected, held) in cases {
            let errors_of = |version: &MappingVersion| {
                let is_broken = broken.contains(&version.spec.version.as_str());
                let error = CompileError {
                    path: "spec".to_owned(),
                    message: "no".to_owned(),
                };
                if is_broken { vec![error] } else { Vec::new() }
            };
            let fitting = Fitting {
                highest: version("3.0.0"),
                lower: vec![version("2.0.0"), version("1.0.0")],
                held: None,
            };
            let chosen = choose(fitting, taken, errors_of);
            let found = (chosen.version.spec.version.as_str(), !chosen.errors.is_empty());
            let found_held = chosen.held.as_ref().map(|held| held.version.as_str());
            assert_eq!((found, found_held), (expected, held), "{broken:?} {taken:?}");
        }
    }
    #[test]
    fn a_version_whose_number_hides_what_it_changes_is_told_before_one_that_does_not_compile() {
        let version = |number: &str| -> Arc<MappingVersion> {
            let object = json!({
                "apiVersion": "ferrygate.io/v1alpha1", "kind": "MappingVersion", "metadata": {"name": number},
                "spec": {"mapping": "m", "version": number, "objects": []},
            });
            Arc::new(serde_json::from_value(object).unwrap())
        };
        let error = || CompileError {
            path: "spec.version".to_owned(),
            message: "1.2.0 is too low".to_owned(),
        };
        let fitting = Fitting {
            highest: version("1.1.0"),
            lower: vec![version("1.0.0")],
            held: Some((version("1.2.0"), error())),
        };
        let chosen = choose(fitting, None, |version| match version.spec.version.as_str() {
            "1.1.0" => vec![error()],
            _ => Vec::new(),
        });
        assert_eq!(chosen.version.spec.version, "1.0.0");
        assert_eq!(
            chosen.held.map(|held| held.message).unwrap_or_default(),
            "its number hides what it changes, so that no range takes it: spec.version: 1.2.0 is too low; to take it all the same, \
             let mappingRef.version name it exactly"
        );
    }
}
