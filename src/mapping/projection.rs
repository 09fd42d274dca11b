//! What a CDP calls an entity's parts: checked with the mapping, and settled when a plan is compiled for a sink, so that no name
//! is looked up for a record.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::error::{Errors, did_you_mean};
use super::value::Value;
use crate::api::CdpSinkSpec;
use crate::api::mapping_version::{Entity, MappingVersionSpec, ObjectMapping, ProjectedName, Projection};

/// Where a CDP gets a trait or a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The nested objects that it is in, the outermost first. Mostly none.
    parents: Vec<String>,
    name: String,
}

impl Target {
    /// A name that stands alone, whatever characters it has.
    fn flat(name: &str) -> Target {
        Target {
            parents: Vec::new(),
            name: name.to_owned(),
        }
    }

    fn of_path(path: &str) -> Target {
        let mut parents: Vec<String> = path.split('.').map(str::to_owned).collect();
        let name = parents.pop().unwrap_or_default();
        Target { parents, name }
    }

    /// The nested objects' names, the outermost first, and its own.
    fn path(&self) -> Vec<String> {
        let own = std::iter::once(&self.name);
        self.parents.iter().chain(own).cloned().collect()
    }

    /// Adds a value. Targets within one object must come one after the other, as [`gather`] puts them.
    pub fn put<'m>(&'m self, members: &mut Vec<(&'m str, Value<'m>)>, value: Value<'m>) {
        let Some((first, rest)) = self.parents.split_first() else {
            members.push((&self.name, value));
            return;
        };
        if members.last().is_none_or(|(name, _)| name != first) {
            members.push((first, Value::Object(Vec::new())));
        }
        if let Some((_, Value::Object(members))) = members.last_mut() {
            self.put_within(rest, members, value);
        }
    }

    fn put_within<'m>(&'m self, parents: &'m [String], members: &mut Vec<(Cow<'m, str>, Value<'m>)>, value: Value<'m>) {
        let Some((first, rest)) = parents.split_first() else {
            members.push((Cow::Borrowed(&self.name), value));
            return;
        };
        if members.last().is_none_or(|(name, _)| name != first) {
            members.push((Cow::Borrowed(first), Value::Object(Vec::new())));
        }
        if let Some((_, Value::Object(members))) = members.last_mut() {
            self.put_within(rest, members, value);
        }
    }

    /// The value that was put here.
    pub fn find<'v, 'm>(&self, members: &'v [(&str, Value<'m>)]) -> Option<&'v Value<'m>> {
        let mut path = self.parents.iter().chain([&self.name]);
        let first = path.next()?;
        let mut value = members.iter().find(|(name, _)| name == first).map(|(_, value)| value)?;
        for part in path {
            let Value::Object(members) = value else { return None };
            value = members.iter().find(|(name, _)| name == part).map(|(_, value)| value)?;
        }
        Some(value)
    }
}

/// Puts what goes into one object together, where the first of it stands.
pub(super) fn gather<T>(all: &mut [T], target: impl Fn(&T) -> &Target) {
    if all.iter().all(|one| target(one).parents.is_empty()) {
        return;
    }
    let mut first: HashMap<Vec<String>, usize> = HashMap::new();
    for (position, one) in all.iter().enumerate() {
        let path = target(one).path();
        for depth in 1..=path.len() {
            first.entry(path[..depth].to_vec()).or_insert(position);
        }
    }
    all.sort_by_cached_key(|one| {
        let path = target(one).path();
        let places = (1..=path.len()).map(|depth| first.get(&path[..depth]).copied().unwrap_or_default());
        places.collect::<Vec<usize>>()
    });
}

/// What one CDP calls the parts of one entity; without a projection, what the mapping does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names<'c>(Option<&'c Projection>);

impl<'c> Names<'c> {
    /// Those of a sink's CDP.
    pub fn of(spec: &'c MappingVersionSpec, entity: Entity, sink: &CdpSinkSpec) -> Names<'c> {
        let cdp = sink.cdp();
        let mut projections = spec.projections.iter();
        Names(projections.find(|projection| Some(projection.cdp) == cdp && projection.entity == entity))
    }

    /// Where a trait goes; nothing where the CDP does not get it.
    pub fn of_trait(self, name: &str) -> Option<Target> {
        target(self.0.and_then(|projection| projection.traits.get(name)), name)
    }

    /// What an event is called; nothing where the CDP does not get it.
    pub fn of_event(self, name: &str) -> Option<String> {
        flat(self.0.and_then(|projection| projection.events.get(name)), name)
    }

    /// Where a property of an event goes; nothing where the CDP does not get it.
    pub fn of_property(self, event: &str, name: &str) -> Option<Target> {
        let given = self
            .0
            .and_then(|projection| projection.properties.get(event)?.get(name));
        target(given, name)
    }

    /// What an identity's kind is called; nothing where the CDP does not get it.
    pub fn of_identity(self, kind: &str) -> Option<String> {
        flat(self.0.and_then(|projection| projection.identity.get(kind)), kind)
    }

    /// What a purpose is called. It is never left out.
    pub fn of_purpose(self, name: &str) -> String {
        let given = self.0.and_then(|projection| projection.consent.get(name));
        flat(given, name).unwrap_or_else(|| name.to_owned())
    }
}

fn target(given: Option<&ProjectedName>, name: &str) -> Option<Target> {
    match given {
        None => Some(Target::flat(name)),
        Some(ProjectedName(path)) => path.as_deref().map(Target::of_path),
    }
}

fn flat(given: Option<&ProjectedName>, name: &str) -> Option<String> {
    match given {
        None => Some(name.to_owned()),
        Some(ProjectedName(given)) => given.clone(),
    }
}

/// Everything that is wrong with a mapping's projections.
pub(super) fn check(spec: &MappingVersionSpec, errors: &mut Errors) {
    for (position, projection) in spec.projections.iter().enumerate() {
        let path = format!("spec.projections[{position}]");
        let is_same = |other: &Projection| (other.cdp, other.entity) == (projection.cdp, projection.entity);
        if let Some(earlier) = spec.projections[..position].iter().position(is_same) {
            errors.add(
                &path,
                format!(
                    "{} has a projection of {:?} already, projections[{earlier}]; put both into one",
                    projection.cdp.as_str(),
                    projection.entity
                ),
            );
        }
        let of_entity = |object: &&ObjectMapping| object.entity == projection.entity;
        let objects: Vec<&ObjectMapping> = spec.objects.iter().filter(of_entity).collect();
        if objects.is_empty() {
            errors.add(
                format_args!("{path}.entity"),
                format!("no object of the mapping becomes {}", with_article(projection.entity)),
            );
            continue;
        }
        of_one(projection, &objects, &path, errors);
    }
}

/// What is wrong with a projection of the entity that these objects become.
fn of_one(projection: &Projection, objects: &[&ObjectMapping], path: &str, errors: &mut Errors) {
    let entity = with_article(projection.entity);
    let events = || objects.iter().flat_map(|object| &object.events);
    let traits = objects.iter().flat_map(|object| &object.traits);
    let kinds = objects.iter().flat_map(|object| &object.identity);
    let purposes = objects.iter().flat_map(|object| &object.consent);
    let of_entity = |list, what, given, canonical| Checked {
        path: format!("{path}.{list}"),
        what,
        whole: entity,
        given,
        canonical,
        nests: false,
    };
    Checked {
        nests: true,
        ..of_entity(
            "traits",
            "trait",
            &projection.traits,
            distinct(traits.map(|rule| rule.name.as_str())),
        )
    }
    .check(errors);
    of_entity(
        "events",
        "event",
        &projection.events,
        distinct(events().map(|event| event.name.as_str())),
    )
    .check(errors);
    of_entity(
        "identity",
        "identity",
        &projection.identity,
        distinct(kinds.map(|key| key.kind.as_str())),
    )
    .check(errors);
    of_entity(
        "consent",
        "purpose",
        &projection.consent,
        distinct(purposes.map(|consent| consent.purpose.as_str())),
    )
    .check(errors);
    for name in projection
        .consent
        .iter()
        .filter(|(_, name)| name.0.is_none())
        .map(|(name, _)| name)
    {
        errors.add(
            format_args!("{path}.consent.{name}"),
            "a purpose can't be left out: the CDP must hear what was not agreed to",
        );
    }
    for (name, given) in &projection.properties {
        let path = format!("{path}.properties.{name}");
        let named = events().filter(|event| event.name == *name);
        let properties = distinct(
            named
                .flat_map(|event| &event.properties)
                .map(|one| one.property.as_str()),
        );
        if !events().any(|event| event.name == *name) {
            let hint = did_you_mean(name, events().map(|event| event.name.as_str()));
            errors.add(&path, format!("no event {name:?} of {entity}{hint}"));
            continue;
        }
        if projection.events.get(name) == Some(&ProjectedName(None)) {
            errors.add(
                &path,
                format!("the event {name:?} is left out; leave its properties out as well"),
            );
        }
        Checked {
            path,
            what: "property",
            whole: &format!("the event {name:?}"),
            given,
            canonical: properties,
            nests: true,
        }
        .check(errors);
    }
}

/// The names that one CDP has for the parts of one whole.
struct Checked<'c> {
    path: String,
    what: &'c str,
    whole: &'c str,
    given: &'c BTreeMap<String, ProjectedName>,
    /// The mapping's own names, each once.
    canonical: Vec<&'c str>,
    /// Whether dots in a name make nested objects.
    nests: bool,
}

impl Checked<'_> {
    fn check(&self, errors: &mut Errors) {
        for (name, target) in self.given {
            let path = format!("{}.{name}", self.path);
            if !self.canonical.contains(&name.as_str()) {
                let hint = did_you_mean(name, self.canonical.iter().copied());
                errors.add(&path, format!("no {} {name:?} of {}{hint}", self.what, self.whole));
            }
            let target = target.0.as_deref();
            if let Some(target) = target.filter(|target| has_empty_part(&self.parts(target))) {
                errors.add(
                    &path,
                    format!("{target:?} has an empty part; a name stands before and after each dot"),
                );
            }
        }
        self.collisions(errors);
    }

    fn parts<'t>(&self, target: &'t str) -> Vec<&'t str> {
        if self.nests {
            target.split('.').collect()
        } else {
            vec![target]
        }
    }

    /// Two that would land in one place, or one where another has its object.
    fn collisions(&self, errors: &mut Errors) {
        let mut places: HashMap<Vec<&str>, &str> = HashMap::new();
        let mut landed: Vec<(&str, Vec<&str>)> = Vec::new();
        for name in &self.canonical {
            let place = match self.given.get(*name) {
                None => vec![*name],
                Some(ProjectedName(None)) => continue,
                Some(ProjectedName(Some(target))) => self.parts(target),
            };
            if has_empty_part(&place) {
                continue;
            }
            match places.get(&place) {
                Some(other) => {
                    let (told, other) = self.told(name, other);
                    let (place, what) = (place.join("."), self.what);
                    errors.add(told, format!("the {what} {other:?} lands at {place:?} as well"));
                }
                None => {
                    places.insert(place.clone(), name);
                    landed.push((name, place));
                }
            }
        }
        for (name, place) in &landed {
            for outer in (1..place.len()).map(|depth| &place[..depth]) {
                let Some(value) = places.get(outer) else { continue };
                let (told, _) = self.told(name, value);
                let (outer, what) = (outer.join("."), self.what);
                errors.add(
                    told,
                    format!(
                        "{outer:?} can't be both the {what} {value:?} and an object with the {what} {name:?} in it"
                    ),
                );
            }
        }
    }

    /// Of two that are in each other's way: the path of the one that is given here, and the other one. The mapping's own names
    /// never are, so that there is one.
    fn told<'n>(&self, name: &'n str, other: &'n str) -> (String, &'n str) {
        let (given, other) = if self.given.contains_key(name) {
            (name, other)
        } else {
            (other, name)
        };
        (format!("{}.{given}", self.path), other)
    }
}

fn has_empty_part(parts: &[&str]) -> bool {
    parts.iter().any(|part| part.is_empty())
}

fn distinct<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

fn with_article(entity: Entity) -> &'static str {
    match entity {
        Entity::Person => "a Person",
        Entity::Account => "an Account",
        Entity::Deal => "a Deal",
        Entity::Membership => "a Membership",
    }
}
