//! A pipeline that goes from one mapping version to another says so, and what that breaks; and that it does not go to one.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::ResourceExt;

use super::super::act::Notice;
use crate::api::MappingVersion;
use crate::api::sync_pipeline::{MappingCandidate, ResolvedMapping};
use crate::mapping::diff::{Comparison, Effect, compare};

/// Runs take another mapping version from now on: what that breaks is told where it breaks something.
pub(super) fn moved(
    from: &ResolvedMapping,
    to: &MappingVersion,
    left: Option<&MappingVersion>,
    now: Timestamp,
) -> Notice {
    let mut message = format!(
        "runs take {} {} (MappingVersion {}) in place of {}",
        to.spec.mapping,
        to.spec.version,
        to.name_any(),
        from.version
    );
    let today = now.to_zoned(TimeZone::UTC).date();
    let compared = left.map(|left| compare(&left.spec, &to.spec, today));
    let breaking = compared.iter().flat_map(|compared| compared.of(Effect::Breaking));
    let breaking: Vec<_> = breaking.map(ToString::to_string).collect();
    if !breaking.is_empty() {
        message = format!("{message}; breaking: {}", breaking.join("; "));
    }
    let misnumbered = compared.as_ref().and_then(Comparison::misnumbered);
    if let Some(error) = &misnumbered {
        message = format!("{message}. {error}");
    }
    Notice {
        warning: !breaking.is_empty() || misnumbered.is_some(),
        reason: "MappingChanged",
        message,
    }
}

/// A higher version in range is not let in.
pub(super) fn held(candidate: &MappingCandidate) -> Notice {
    Notice {
        warning: true,
        reason: "MappingHeld",
        message: format!(
            "version {} (MappingVersion {}) is not taken: {}",
            candidate.version, candidate.name, candidate.message
        ),
    }
}
