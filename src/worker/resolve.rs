//! Which version of a mapping a pipeline takes.

use std::borrow::Borrow;

use semver::{Version, VersionReq};

use crate::api::MappingVersion;
use crate::api::sync_pipeline::MappingReference;

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

/// The version that a reference comes to: the first of [`fitting_mappings`].
///
/// # Errors
/// As `fitting_mappings`.
pub fn resolve_mapping<V: Borrow<MappingVersion>>(
    reference: &MappingReference,
    versions: impl IntoIterator<Item = V>,
) -> Result<V, UnresolvedMapping> {
    let (highest, _) = fitting_mappings(reference, versions)?;
    Ok(highest)
}

/// The versions that a reference may come to: the exact one or, of a range, the highest that exists and the lower ones, highest
/// first. `versions` are those of the pipeline's namespace. A version of three numbers is exact, not a range of what is compatible
/// with it.
///
/// # Errors
/// Where none fits, or the highest is there twice.
pub fn fitting_mappings<V: Borrow<MappingVersion>>(
    reference: &MappingReference,
    versions: impl IntoIterator<Item = V>,
) -> Result<(V, Vec<V>), UnresolvedMapping> {
    let fits: Box<dyn Fn(&Version) -> bool> = match Version::parse(&reference.version) {
        Ok(exact) => Box::new(move |version| *version == exact),
        Err(_) => {
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
    let all: Vec<_> = of_mapping.iter().map(|(version, _)| version.to_string()).collect();
    let mut fitting = of_mapping.into_iter().rev().filter(|(version, _)| fits(version));
    let Some((version, highest)) = fitting.next() else {
        return Err(UnresolvedMapping::NoVersion {
            name: reference.name.clone(),
            version: reference.version.clone(),
            versions: listed(all.into_iter()),
        });
    };
    let name = |version: &V| version.borrow().metadata.name.clone().unwrap_or_default();
    let lower: Vec<_> = fitting.collect();
    match lower.first() {
        Some((same, other)) if *same == version => Err(UnresolvedMapping::Ambiguous {
            name: reference.name.clone(),
            version: version.to_string(),
            first: name(other),
            second: name(&highest),
        }),
        _ => Ok((highest, lower.into_iter().map(|(_, version)| version).collect())),
    }
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
}
