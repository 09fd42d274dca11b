//! Which version of a mapping a pipeline takes.

use std::borrow::Borrow;

use jiff::civil::Date;
use semver::{Version, VersionReq};

use crate::api::MappingVersion;
use crate::api::sync_pipeline::MappingReference;
use crate::mapping::CompileError;
use crate::mapping::diff::compare;

/// Why a mapping reference comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnresolvedMapping {
    /// `version` is neither a version nor a range.
    #[error("spec.mappingRef.version {version:?} is neither an exact version (2.1.0) nor a range (~2.1): {cause}")]
    Malformed {
        /// What was written.
        version: String,
        /// Why it is not a range.
        cause: String,
    },
    /// No version of the mapping exists.
    #[error(
        "spec.mappingRef.name: there is no MappingVersion of mapping {name:?} in this namespace; mappings: {mappings}"
    )]
    NoMapping {
        /// The mapping's name.
        name: String,
        /// The mappings that exist.
        mappings: String,
    },
    /// The mapping has versions, and none fits.
    #[error("spec.mappingRef.version: mapping {name:?} has no version that fits {version:?}; versions: {versions}")]
    NoVersion {
        /// The mapping's name.
        name: String,
        /// What was asked for.
        version: String,
        /// The versions that exist.
        versions: String,
    },
    /// The versions that fit are all held back.
    #[error(
        "spec.mappingRef.version: no version of mapping {name:?} that fits {range:?} is taken by a range: {why}. To take it all the same, \
         name it exactly"
    )]
    HeldBack {
        /// The mapping's name.
        name: String,
        /// The range that was asked for.
        range: String,
        /// Why the highest of them is held back.
        why: String,
    },
    /// Two resources claim to be the same version.
    #[error(
        "mapping {name:?} has version {version} twice: in the MappingVersions {first:?} and {second:?}; delete one"
    )]
    Ambiguous {
        /// The mapping's name.
        name: String,
        /// The version.
        version: String,
        /// One resource's name.
        first: String,
        /// The other's.
        second: String,
    },
}

/// What a reference may come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitting<V> {
    /// The exact version or, of a range, the highest that a range may take.
    pub highest: V,
    /// The lower ones of the range, highest first.
    pub lower: Vec<V>,
    /// A higher one in the range that is held back, since its number is too low for what it changes.
    pub held: Option<(V, CompileError)>,
}

/// The version that a reference names: the exact one or, of a range, the highest that exists, whether a pipeline takes it or not.
///
/// # Errors
/// As [`fitting_mappings`].
pub fn resolve_mapping<V: Borrow<MappingVersion>>(
    reference: &MappingReference,
    versions: impl IntoIterator<Item = V>,
) -> Result<V, UnresolvedMapping> {
    fitting_mappings(reference, versions, None, |_, _| None).map(|fitting| fitting.highest)
}

/// The versions that a pipeline may take on a day, by [`fitting_mappings`]; `taken` is the resource's name of the one that it has
/// taken so far.
///
/// # Errors
/// As `fitting_mappings`.
pub fn takeable_mappings<V: Borrow<MappingVersion>>(
    reference: &MappingReference,
    versions: impl IntoIterator<Item = V>,
    taken: Option<&str>,
    today: Date,
) -> Result<Fitting<V>, UnresolvedMapping> {
    fitting_mappings(reference, versions, taken, |before, after| {
        compare(&before.spec, &after.spec, today).misnumbered()
    })
}

/// The versions that a reference may come to: the exact one or, of a range, the highest that exists and the lower ones. `versions`
/// are those of the pipeline's namespace. A version of three numbers is exact, not a range of what is compatible with it.
///
/// A range does not take a version whose number is too low for what it changes; `misnumbered` tells of two versions, the lower one
/// first. Each is held against the highest release below it that is not held back itself: a correction of such a version still has
/// its changes. What the pipeline has taken (`taken`, the resource's name), it keeps, and later versions are held against that.
///
/// # Errors
/// Where none fits, all that fit are held back, or the highest is there twice.
pub fn fitting_mappings<V: Borrow<MappingVersion>>(
    reference: &MappingReference,
    versions: impl IntoIterator<Item = V>,
    taken: Option<&str>,
    misnumbered: impl FnMut(&MappingVersion, &MappingVersion) -> Option<CompileError>,
) -> Result<Fitting<V>, UnresolvedMapping> {
    let exact = Version::parse(reference.version.trim_start_matches(['=', ' '])).ok();
    let fits: Box<dyn Fn(&Version) -> bool> = match exact.clone() {
        Some(exact) => Box::new(move |version| *version == exact),
        None => {
            let range = VersionReq::parse(&reference.version).map_err(|cause| UnresolvedMapping::Malformed {
                version: reference.version.clone(),
                cause: cause.to_string(),
            })?;
            Box::new(move |version| range.matches(version))
        }
    };
    let (mut of_mapping, mut others) = (Vec::new(), Vec::new());
    for candidate in versions {
        let spec = &candidate.borrow().spec;
        match Version::parse(&spec.version) {
            Ok(version) if spec.mapping == reference.name => of_mapping.push((version, candidate)),
            _ => others.push(spec.mapping.clone()),
        }
    }
    if of_mapping.is_empty() {
        return Err(UnresolvedMapping::NoMapping {
            name: reference.name.clone(),
            mappings: listed(others.into_iter()),
        });
    }
    of_mapping.sort_by(|(left, _), (right, _)| left.cmp(right));
    let errors = match exact {
        Some(_) => of_mapping.iter().map(|_| None).collect(),
        None => held_back(&of_mapping, taken, misnumbered),
    };
    let all: Vec<_> = of_mapping.iter().map(|(version, _)| version.to_string()).collect();
    let (mut fitting, mut held) = (Vec::new(), None);
    for ((version, candidate), error) in of_mapping.into_iter().zip(errors).rev() {
        match error {
            _ if !fits(&version) => {}
            None => fitting.push((version, candidate)),
            Some(error) if fitting.is_empty() && held.is_none() => held = Some((candidate, error)),
            Some(_) => {}
        }
    }
    let name = |version: &V| version.borrow().metadata.name.clone().unwrap_or_default();
    let mut fitting = fitting.into_iter();
    let Some((version, highest)) = fitting.next() else {
        return Err(match held {
            Some((_, error)) => UnresolvedMapping::HeldBack {
                name: reference.name.clone(),
                range: reference.version.clone(),
                why: error.message,
            },
            None => UnresolvedMapping::NoVersion {
                name: reference.name.clone(),
                version: reference.version.clone(),
                versions: listed(all.into_iter()),
            },
        });
    };
    let lower: Vec<_> = fitting.collect();
    match lower.first() {
        Some((same, other)) if *same == version => Err(UnresolvedMapping::Ambiguous {
            name: reference.name.clone(),
            version: version.to_string(),
            first: name(other),
            second: name(&highest),
        }),
        _ => Ok(Fitting {
            highest,
            lower: lower.into_iter().map(|(_, version)| version).collect(),
            held,
        }),
    }
}

/// Of each version of a mapping, in order from the lowest, why a range does not take it.
fn held_back<V: Borrow<MappingVersion>>(
    versions: &[(Version, V)],
    taken: Option<&str>,
    mut misnumbered: impl FnMut(&MappingVersion, &MappingVersion) -> Option<CompileError>,
) -> Vec<Option<CompileError>> {
    let mut before: Option<&(Version, V)> = None;
    let is_taken = |version: &V| taken.is_some() && version.borrow().metadata.name.as_deref() == taken;
    let mut held = Vec::with_capacity(versions.len());
    for version in versions {
        let lower = before.filter(|(number, _)| *number < version.0);
        let error = match lower {
            Some((_, before)) if !is_taken(&version.1) => misnumbered(before.borrow(), version.1.borrow()),
            _ => None,
        };
        if error.is_none() && version.0.pre.is_empty() {
            before = Some(version);
        }
        held.push(error);
    }
    held
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.dedup();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MappingVersionSpec;

    fn version(name: &str, mapping: &str, version: &str) -> MappingVersion {
        let spec = MappingVersionSpec {
            mapping: mapping.into(),
            version: version.into(),
            owners: Vec::new(),
            review_by: None,
            release_notes: None,
            enums: Default::default(),
            rates: None,
            objects: Vec::new(),
            projections: Vec::new(),
        };
        MappingVersion::new(name, spec)
    }

    #[test]
    fn an_exact_version_or_the_highest_of_a_range_is_taken() {
        let versions = [
            version("a", "customer", "2.1.0"),
            version("b", "customer", "2.1.10"),
            version("c", "customer", "2.1.9"),
            version("d", "customer", "2.2.0-beta.1"),
            version("e", "customer", "3.0.0"),
            version("f", "customer", "3.0.0"),
            version("g", "order", "1.0.0"),
        ];
        let cases = [
            ("customer", "2.1.0", Ok("a")),
            ("customer", "~2.1", Ok("b")),
            ("customer", "2.1", Ok("b")),
            ("customer", ">=2.1, <2.1.10", Ok("c")),
            ("customer", "2.2.0-beta.1", Ok("d")),
            (
                "customer",
                "*",
                Err("mapping \"customer\" has version 3.0.0 twice: in the MappingVersions \"e\" and \"f\"; delete one"),
            ),
            (
                "customer",
                "^4",
                Err(
                    "spec.mappingRef.version: mapping \"customer\" has no version that fits \"^4\"; versions: 2.1.0, 2.1.9, \
                     2.1.10, 2.2.0-beta.1, 3.0.0",
                ),
            ),
            (
                "contact",
                "1.0.0",
                Err(
                    "spec.mappingRef.name: there is no MappingVersion of mapping \"contact\" in this namespace; mappings: \
                     customer, order",
                ),
            ),
            (
                "customer",
                "latest",
                Err(
                    "spec.mappingRef.version \"latest\" is neither an exact version (2.1.0) nor a range (~2.1): unexpected \
                     character 'l' while parsing major version number",
                ),
            ),
        ];
        for (name, range, expected) in cases {
            let reference = MappingReference {
                name: name.into(),
                version: range.into(),
            };
            let resolved = resolve_mapping(&reference, &versions);
            let got = resolved
                .map(|found| found.metadata.name.clone().unwrap_or_default())
                .map_err(|error| error.to_string());
            assert_eq!(
                got,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{name} {range}"
            );
        }
    }
    #[test]
    fn a_range_takes_no_version_whose_number_hides_what_it_changes_and_an_exact_reference_does() {
        // The versions; those that break something against one that is named; the range; what is taken; what comes of it.
        type Case<'c> = (
            &'c [&'c str],
            &'c [(&'c str, &'c str)],
            &'c str,
            Option<&'c str>,
            &'c str,
        );
        let breaking = [("1.0.0", "1.1.0"), ("1.0.0", "1.1.1"), ("1.0.0", "1.2.0-rc.1")];
        let all = ["1.0.0", "1.1.0", "1.1.1", "1.2.0-rc.1"];
        let cases: [Case<'_>; 10] = [
            (&all, &[], "^1", None, "1.1.1"),
            (&all, &breaking, "^1", None, "1.0.0, held 1.1.1"),
            // A release that goes back to what 1.0.0 promised.
            (&["1.0.0", "1.1.0", "1.1.2"], &breaking, "^1", None, "1.1.2"),
            (&all, &breaking, "1.1.0", None, "1.1.0"),
            (&all, &breaking, "=1.1.1", None, "1.1.1"),
            (&all, &breaking, "^1.1", None, "none: 1.1.1 is too low"),
            // What is taken is kept, and its corrections are held against it.
            (&all, &breaking, "^1", Some("1.1.0"), "1.1.1"),
            (&["1.0.0", "1.1.0"], &breaking, "^1", Some("1.1.0"), "1.1.0"),
            (&["1.0.0", "1.1.0"], &breaking, "^1", Some("1.0.0"), "1.0.0, held 1.1.0"),
            // A pre-release is in no range that does not name one, and promises nothing to what comes after it.
            (&["1.0.0", "1.2.0-rc.1", "1.2.0"], &breaking, "^1", None, "1.2.0"),
        ];
        for (versions, breaking, asked, taken, expected) in cases {
            let versions: Vec<_> = versions.iter().map(|number| version(number, "m", number)).collect();
            let reference = MappingReference {
                name: "m".into(),
                version: asked.into(),
            };
            let found = fitting_mappings(&reference, &versions, taken, |before, after| {
                let pair = (before.spec.version.as_str(), after.spec.version.as_str());
                breaking.contains(&pair).then(|| CompileError {
                    path: "spec.version".to_owned(),
                    message: format!("{} is too low", after.spec.version),
                })
            });
            let told = match found {
                Ok(Fitting { highest, held, .. }) => {
                    let held = held.map_or(String::new(), |(held, _)| format!(", held {}", held.spec.version));
                    format!("{}{held}", highest.spec.version)
                }
                Err(UnresolvedMapping::HeldBack { why, .. }) => format!("none: {why}"),
                Err(error) => error.to_string(),
            };
            assert_eq!(told, expected, "{asked} {taken:?}");
        }
    }
}
