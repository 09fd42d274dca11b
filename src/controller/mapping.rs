//! `MappingVersion`: compiled, held against the version before, and counted by the pipelines that take it.

mod compatible;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};
use semver::Version;

use self::compatible::{Use, compatible};
use super::act::{ActError, Context, write_status};
use super::cache::Index;
use super::key::Name;
use crate::api::conditions::{
    COMPILED, IN_USE, REMOVAL_DUE, REVIEW_DUE, Reason, SEMVER_COMPLIANT, Standing, Status, Verdict, conditions,
};
use crate::api::mapping_version::MappingChanges;
use crate::api::{MappingVersion, MappingVersionStatus, SyncPipeline};
use crate::mapping::diff::{Comparison, Effect, compare, predecessor};
use crate::mapping::{CompileError, Plan, lifecycle};

/// How many errors, changes or names a status lists.
const LISTED: usize = 20;

/// Reconciles one mapping version at an instant, and returns when to do so again, at the latest.
///
/// # Errors
/// When its status could not be written.
pub async fn reconcile(name: &Name, context: &Context, now: Timestamp) -> Result<Option<Timestamp>, ActError> {
    let Some(observed) = observe(name, &context.cache.lock()) else {
        return Ok(None);
    };
    let mapping = observed.mapping.clone();
    let (after, wake) = decide(&observed, now);
    if let Some(written) = write_status(context, mapping.as_ref(), mapping.status.as_ref(), &after).await? {
        context.cache.put(DeserializeGuard(Ok(written)));
    }
    Ok(wake)
}

/// All that is said of a mapping version rests on this, and on the clock.
struct Observed {
    mapping: Arc<MappingVersion>,
    /// The version before it in the namespace.
    before: Option<Arc<MappingVersion>>,
    /// Other resources that claim to be the same version.
    twins: Vec<String>,
    /// The pipelines that take it.
    users: Vec<String>,
    /// What their runs report of their sources.
    uses: Vec<Use>,
    /// The pipelines that take another version of the mapping, each with that.
    others: Vec<String>,
}

fn observe(name: &Name, index: &Index) -> Option<Observed> {
    let mapping = index.mappings().get(name)?.clone();
    let siblings: Vec<_> = index
        .mappings()
        .of(&name.namespace)
        .filter(|(other, version)| **other != name.name && version.spec.mapping == mapping.spec.mapping)
        .filter_map(|(_, version)| Some((Version::parse(&version.spec.version).ok()?, version.clone())))
        .collect();
    let own = Version::parse(&mapping.spec.version).ok();
    let twins = siblings.iter().filter(|(version, _)| Some(version) == own.as_ref());
    let twins = twins.map(|(_, twin)| twin.name_any()).collect();
    let (mut users, mut uses, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (pipeline, one) in index.pipelines().of(&name.namespace) {
        match taken(one) {
            Some(resolved) if resolved.name == name.name => {
                users.push(pipeline.clone());
                uses.push(Use::of(one, &mapping.spec.version));
            }
            Some(resolved) if one.spec.mapping_ref.name == mapping.spec.mapping => {
                others.push(format!("{pipeline} ({})", resolved.version));
            }
            _ => {}
        }
    }
    Some(Observed {
        before: own.and_then(|own| predecessor(&own, siblings)),
        mapping,
        twins,
        users,
        uses,
        others,
    })
}

fn taken(pipeline: &SyncPipeline) -> Option<&crate::api::sync_pipeline::ResolvedMapping> {
    pipeline.status.as_ref()?.mapping.as_ref()
}

/// What the status says, and the instant at which that changes by the clock alone.
fn decide(observed: &Observed, now: Timestamp) -> (MappingVersionStatus, Option<Timestamp>) {
    let mapping = &observed.mapping;
    let today = now.to_zoned(TimeZone::UTC).date();
    let changes = observed
        .before
        .as_ref()
        .map(|before| compare(&before.spec, &mapping.spec, today));
    let mut said = compiled(&Plan::check_spec(&mapping.spec));
    let before = mapping.status.as_ref();
    let before = before.map(|status| &status.conditions[..]).unwrap_or_default();
    said.extend([
        compatible(&observed.uses, before),
        semver_compliant(changes.as_ref(), &observed.twins),
        review_due(mapping, today),
        removal_due(mapping, today),
        in_use(observed),
    ]);
    let generation = mapping.meta().generation.unwrap_or_default();
    let status = MappingVersionStatus {
        observed_generation: Some(generation),
        conditions: conditions(before, said, generation, now),
        used_by: Some(i32::try_from(observed.users.len()).unwrap_or(i32::MAX)),
        changes: changes.as_ref().map(in_short),
    };
    let next = lifecycle::next_day(&mapping.spec, today);
    let until = changes.and_then(|changes| changes.until);
    let next = next.into_iter().chain(until).filter(|day| *day > today).min();
    (status, next.and_then(beginning))
}

/// The first instant of a day, in UTC.
fn beginning(day: Date) -> Option<Timestamp> {
    day.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn in_short(comparison: &Comparison) -> MappingChanges {
    let count = |effect| i32::try_from(comparison.of(effect).count()).unwrap_or(i32::MAX);
    let worst_first = Effect::WORST_FIRST.into_iter().flat_map(|effect| {
        comparison
            .of(effect)
            .map(move |change| format!("{change} ({})", effect.as_adjective()))
    });
    MappingChanges {
        since: comparison.from.clone(),
        breaking: count(Effect::Breaking),
        compatible: count(Effect::Compatible),
        editorial: count(Effect::Editorial),
        least_version: comparison
            .numbering()
            .map_or_else(String::new, |numbering| numbering.least.to_string()),
        first: worst_first.take(LISTED).collect(),
    }
}

fn compiled(errors: &[CompileError]) -> Vec<Verdict> {
    let (standing, reason, message) = if errors.is_empty() {
        (Standing::Ready, Reason::Compiled, "the mapping compiles".to_owned())
    } else {
        let message = format!("{}. Write the corrected mapping as a new version.", listed(errors));
        (Standing::Stalled, Reason::CompileFailed, message)
    };
    let mut said = standing.verdicts(reason, message.clone());
    said.push(Verdict::new(COMPILED, Status::of(errors.is_empty()), reason, message));
    said
}

/// The first of them in full, and how many more there are.
fn listed(all: &[CompileError]) -> String {
    let first: Vec<_> = all.iter().take(LISTED).map(ToString::to_string).collect();
    let first = first.join("; ");
    match all.len().checked_sub(LISTED) {
        None | Some(0) => first,
        Some(more) => format!("{first}; and {more} more, which `ferrygate validate --files` lists"),
    }
}

/// `SemverCompliant`: the version number says what changed since the version before.
fn semver_compliant(changes: Option<&Comparison>, twins: &[String]) -> Verdict {
    let verdict = |status, reason, message| Verdict::new(SEMVER_COMPLIANT, status, reason, message);
    if !twins.is_empty() {
        let message = format!(
            "spec.version: the same version of the mapping is in {} as well; delete all but one",
            twins.join(", ")
        );
        return verdict(Status::False, Reason::VersionTwice, message);
    }
    let Some(changes) = changes else {
        let message = "there is no version of the mapping before this one in its namespace".to_owned();
        return verdict(Status::True, Reason::FirstVersion, message);
    };
    match changes.misnumbered() {
        Some(error) => verdict(Status::False, Reason::NumberTooLow, error.to_string()),
        None => {
            let message = match changes.effect() {
                None => format!("nothing changed since {}", changes.from),
                Some(effect) => format!(
                    "the number fits what changed since {}, which is {}",
                    changes.from,
                    effect.as_adjective()
                ),
            };
            verdict(Status::True, Reason::NumberFits, message)
        }
    }
}

/// `ReviewDue`: the day of `reviewBy` has passed.
fn review_due(mapping: &MappingVersion, today: Date) -> Verdict {
    let verdict = |status, reason, message| Verdict::new(REVIEW_DUE, status, reason, message);
    match (lifecycle::review_due(&mapping.spec, today), mapping.spec.review_by) {
        (Some(due), _) => verdict(Status::True, Reason::ReviewOverdue, due.to_string()),
        (None, Some(day)) => verdict(
            Status::False,
            Reason::ReviewNotDue,
            format!("a review is due after {day}"),
        ),
        (None, None) => verdict(
            Status::False,
            Reason::NoReviewDate,
            "spec.reviewBy names no day".to_owned(),
        ),
    }
}

/// `RemovalDue`: the day of a deprecated trait's `removeAfter` has come.
fn removal_due(mapping: &MappingVersion, today: Date) -> Verdict {
    match lifecycle::removals_due(&mapping.spec, today).as_slice() {
        [] => Verdict::new(
            REMOVAL_DUE,
            Status::False,
            Reason::NothingToRemove,
            "no deprecated trait has a removeAfter that has come",
        ),
        due => Verdict::new(REMOVAL_DUE, Status::True, Reason::RemovalOverdue, listed(due)),
    }
}

/// `InUse`: a pipeline takes this version.
fn in_use(observed: &Observed) -> Verdict {
    let first = |names: &[String]| {
        let shown = names[..names.len().min(LISTED)].join(", ");
        match names.len().checked_sub(LISTED) {
            None | Some(0) => shown,
            Some(more) => format!("{shown} and {more} more"),
        }
    };
    if !observed.users.is_empty() {
        let message = format!("taken by the pipelines: {}", first(&observed.users));
        return Verdict::new(IN_USE, Status::True, Reason::InUse, message);
    }
    let message = if observed.others.is_empty() {
        "no pipeline takes this mapping".to_owned()
    } else {
        format!(
            "no pipeline takes this version; other versions are taken by: {}",
            first(&observed.others)
        )
    };
    Verdict::new(IN_USE, Status::False, Reason::Unused, message)
}

#[cfg(test)]
mod tests;
