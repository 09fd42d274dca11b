//! What became of traits from version to version.

use super::model::{Change, Definition, Trait, TraitHistory, Version, What};

/// What changed from a version to the next one, in the order of the next, what is gone last.
pub(super) fn changes(before: &Version, after: &Version) -> Vec<Change> {
    let mut changes = Vec::new();
    for entity in &after.entities {
        let old = before.entity(&entity.name);
        for found in &entity.traits {
            let what = match old.and_then(|old| old.find(&found.name)) {
                None => What::Added,
                Some(old) => match differences(old, found) {
                    none if none.is_empty() => continue,
                    some => What::Changed(some),
                },
            };
            changes.push(Change {
                entity: entity.name.clone(),
                name: found.name.clone(),
                what,
            });
        }
    }
    for entity in &before.entities {
        let new = after.entity(&entity.name);
        for found in &entity.traits {
            if new.and_then(|new| new.find(&found.name)).is_none() {
                changes.push(Change {
                    entity: entity.name.clone(),
                    name: found.name.clone(),
                    what: What::Removed,
                });
            }
        }
    }
    changes
}

/// Whether a part of two definitions is the same.
type Same = fn(&Definition, &Definition) -> bool;

/// The parts of a trait that differ, in words.
fn differences(before: &Trait, after: &Trait) -> Vec<&'static str> {
    let parts: [(&'static str, Same); 10] = [
        ("where it comes from", |one, other| one.origin == other.origin),
        ("type", |one, other| {
            (&one.kind, &one.items) == (&other.kind, &other.items)
        }),
        ("possible values", |one, other| one.values == other.values),
        ("how the value is prepared", |one, other| {
            (&one.steps, &one.tables) == (&other.steps, &other.tables)
        }),
        ("what happens without a value", |one, other| {
            (&one.on_null, &one.default) == (&other.on_null, &other.default)
        }),
        ("what happens with a value that can't be used", |one, other| {
            one.on_error == other.on_error
        }),
        ("classification", |one, other| {
            one.classification == other.classification
        }),
        ("meaning", |one, other| one.description == other.description),
        ("deprecation", |one, other| one.deprecated == other.deprecated),
        ("further rules", |one, other| one.further == other.further),
    ];
    let pairs: Vec<_> = after
        .definitions
        .iter()
        .filter_map(|other| {
            let same_object = |one: &&Definition| one.object == other.object;
            before.definitions.iter().find(same_object).map(|one| (one, other))
        })
        .collect();
    let other_objects = pairs.len() != before.definitions.len() || pairs.len() != after.definitions.len();
    let mut differing: Vec<_> = parts
        .into_iter()
        .enumerate()
        .filter(|(position, (_, same))| {
            (*position == 0 && other_objects) || pairs.iter().any(|(one, other)| !same(one, other))
        })
        .map(|(_, (words, _))| words)
        .collect();
    if before.critical() != after.critical() {
        differing.push("whether it is critical");
    }
    if before.names != after.names {
        differing.push("what destinations call it");
    }
    if before.dependents != after.dependents {
        differing.push("what rests on it");
    }
    differing
}

/// The history of each trait; `versions` oldest first, `current` one of them. `shown` is a position in `versions` as given.
pub(super) fn traits(versions: &[Version], current: usize) -> Vec<TraitHistory> {
    let mut histories: Vec<TraitHistory> = Vec::new();
    let newest_first = (0..versions.len()).rev().filter(|position| *position != current);
    for position in std::iter::once(current).chain(newest_first) {
        for entity in &versions[position].entities {
            for found in &entity.traits {
                let known = |history: &TraitHistory| history.entity == entity.name && history.name == found.name;
                if !histories.iter().any(known) {
                    histories.push(history(versions, current, position, &entity.name, found));
                }
            }
        }
    }
    for position in 0..histories.len() {
        histories[position].replaces = replaces(versions, &histories, position);
    }
    histories
}

fn history(versions: &[Version], current: usize, shown: usize, entity: &str, found: &Trait) -> TraitHistory {
    let in_version = |version: &Version| {
        version
            .entity(entity)
            .is_some_and(|entity| entity.find(&found.name).is_some())
    };
    let first = versions.iter().position(in_version).unwrap_or(shown);
    let number = |position: usize| versions[position].number.clone();
    let mut changes = vec![(number(first), What::Added)];
    for version in &versions[first + 1..] {
        let of_trait = version
            .changes
            .iter()
            .find(|change| change.entity == entity && change.name == found.name);
        changes.extend(of_trait.map(|change| (version.number.clone(), change.what.clone())));
    }
    TraitHistory {
        entity: entity.into(),
        name: found.name.clone(),
        page: String::new(),
        shown,
        since: number(first),
        until: (!in_version(&versions[current]))
            .then(|| versions[shown + 1..].iter().find(|version| !in_version(version)))
            .flatten()
            .map(|version| version.number.clone()),
        changes,
        recipients: Vec::new(),
        fill: Vec::new(),
        replaces: Vec::new(),
    }
}

fn replaces(versions: &[Version], histories: &[TraitHistory], position: usize) -> Vec<String> {
    let this = &histories[position];
    let points_here = |other: &&TraitHistory| {
        other.entity == this.entity
            && versions[other.shown]
                .entity(&other.entity)
                .and_then(|entity| entity.find(&other.name))
                .and_then(Trait::deprecated)
                .is_some_and(|deprecation| deprecation.use_instead.as_ref() == Some(&this.name))
    };
    histories
        .iter()
        .filter(points_here)
        .map(|other| other.name.clone())
        .collect()
}
