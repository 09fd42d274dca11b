//! From what a user wrote to a plan, with everything that is wrong with it at once.
//!
//! An object is compiled part by part: `identity`, `traits`, `events`, each value by `chain`; `sink` holds it against the sink that it
//! is delivered to.

mod chain;
mod events;
mod identity;
mod sink;
mod traits;

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{CompileError, Errors, did_you_mean};
use super::fields::Fields;
use super::money::Rates;
use super::plan::Plan;
use super::projection::{self, Names};
use super::purpose::Purpose;
use crate::api::mapping_version::{
    ConsentMapping, Entity, IdentityKey, IdentityRole, MappingVersionSpec, ObjectMapping,
};
use crate::api::{CdpSinkSpec, Classification};

/// Everything that is wrong with a mapping as it stands.
pub(super) fn check(spec: &MappingVersionSpec, errors: &mut Errors) {
    if let Err(error) = semver::Version::parse(&spec.version) {
        errors.add(
            "spec.version",
            format!("{:?} is no semantic version like 2.1.0: {error}", spec.version),
        );
    }
    unique(
        "spec.objects",
        "object",
        spec.objects.iter().map(|object| &object.object),
        errors,
    );
    let rates = rates(spec, errors);
    for (position, object) in spec.objects.iter().enumerate() {
        ObjectCompiler::new(spec, rates.as_ref(), object, position, errors).check();
    }
    projection::check(spec, errors);
}

fn rates(spec: &MappingVersionSpec, errors: &mut Errors) -> Option<Arc<Rates>> {
    spec.rates.as_ref().map(|rates| Arc::new(Rates::compile(rates, errors)))
}

/// The plan of one object for one sink.
pub(super) fn plan(spec: &MappingVersionSpec, object: &str, sink: &CdpSinkSpec) -> Result<Plan, Vec<CompileError>> {
    let mut errors = Errors::default();
    check(spec, &mut errors);
    let found = spec
        .objects
        .iter()
        .enumerate()
        .find(|(_, mapping)| mapping.object == object);
    let Some((position, mapping)) = found else {
        let hint = did_you_mean(object, spec.objects.iter().map(|mapping| mapping.object.as_str()));
        errors.add(
            "spec.objects",
            format!(
                "mapping {} {} has no object {object:?}{hint}",
                spec.mapping, spec.version
            ),
        );
        return Err(errors.into_vec());
    };
    sink::pair(mapping, position, sink, &mut errors);
    let found = errors.into_vec();
    if !found.is_empty() {
        return Err(found);
    }
    let mut errors = Errors::default();
    let rates = rates(spec, &mut errors);
    let plan = ObjectCompiler::new(spec, rates.as_ref(), mapping, position, &mut errors).plan(sink);
    let found = errors.into_vec();
    if found.is_empty() { Ok(plan) } else { Err(found) }
}

/// Compiles one object.
struct ObjectCompiler<'c> {
    spec: &'c MappingVersionSpec,
    rates: Option<&'c Arc<Rates>>,
    object: &'c ObjectMapping,
    path: String,
    /// What the sink's CDP calls things.
    names: Names<'c>,
    fields: Fields,
    errors: &'c mut Errors,
}

impl<'c> ObjectCompiler<'c> {
    fn new(
        spec: &'c MappingVersionSpec,
        rates: Option<&'c Arc<Rates>>,
        object: &'c ObjectMapping,
        position: usize,
        errors: &'c mut Errors,
    ) -> ObjectCompiler<'c> {
        ObjectCompiler {
            spec,
            rates,
            object,
            path: format!("spec.objects[{position}]"),
            names: Names::default(),
            fields: Fields::default(),
            errors,
        }
    }

    /// Compiles everything, for the errors.
    fn check(mut self) {
        let object = self.object;
        let path = self.path.clone();
        unique(
            &format!("{path}.identity"),
            "kind",
            object.identity.iter().map(|identity| &identity.kind),
            self.errors,
        );
        unique(
            &format!("{path}.traits"),
            "trait",
            object.traits.iter().map(|rule| &rule.name),
            self.errors,
        );
        unique(
            &format!("{path}.consent"),
            "purpose",
            object.consent.iter().map(|consent| &consent.purpose),
            self.errors,
        );
        unique(
            &format!("{path}.events"),
            "name",
            object.events.iter().map(|event| &event.name),
            self.errors,
        );
        match (object.entity, &object.subject) {
            (Entity::Deal, None) => {
                self.errors.add(
                    format_args!("{path}.subject"),
                    "an object of entity Deal needs subject: the person whom its events concern",
                );
            }
            (Entity::Membership, None) => {
                self.errors.add(
                    format_args!("{path}.subject"),
                    "an object of entity Membership needs subject: the person who belongs to the group",
                );
            }
            (Entity::Account, None) if !object.events.is_empty() => {
                self.errors.add(
                    format_args!("{path}.subject"),
                    "the events of an Account need subject: the person whom they concern",
                );
            }
            (Entity::Person, Some(_)) => {
                self.errors.add(
                    format_args!("{path}.subject"),
                    "a Person is the subject of its own events; leave subject out",
                );
            }
            _ => {}
        }
        if object.entity == Entity::Membership && object.group.is_none() {
            self.errors.add(
                format_args!("{path}.group"),
                "an object of entity Membership needs group: what the person belongs to",
            );
        }
        for position in 0..object.identity.len() {
            let identity = self.identity(position, false);
            self.key_rules(position, &identity);
        }
        let informational = |key: &IdentityKey| key.role == IdentityRole::Informational;
        if !object.identity.is_empty() && object.identity.iter().all(informational) {
            self.errors.add(
                format_args!("{path}.identity"),
                "every key is Informational, and none says who a record is; make one Identifying",
            );
        }
        self.group();
        self.subject();
        self.successions();
        self.traits(Classification::Sensitive);
        self.purposes();
        self.events(Classification::Sensitive);
    }

    /// Compiles what the sink takes.
    fn plan(mut self, sink: &CdpSinkSpec) -> Plan {
        let object = self.object;
        self.names = Names::of(self.spec, object.entity, sink);
        let of_kind = |kind: &String| object.identity.iter().position(|identity| identity.kind == *kind);
        let user = match object.entity {
            Entity::Person => of_kind(&sink.identity.user_id).map(|position| self.identity(position, true)),
            Entity::Account | Entity::Deal | Entity::Membership => self.subject(),
        };
        let group = match (object.entity, &sink.identity.group_id) {
            (Entity::Account, Some(kind)) => of_kind(kind).map(|position| self.identity(position, true)),
            (Entity::Person | Entity::Membership, Some(kind)) => self.group().filter(|group| group.kind == *kind),
            _ => None,
        };
        let mut external = Vec::new();
        if object.entity == Entity::Person {
            for (position, identity) in object.identity.iter().enumerate() {
                let sent = self.names.of_identity(&identity.kind).is_some();
                if sent && sink.identity.external_ids.contains(&identity.kind) {
                    external.push(self.identity(position, false));
                }
            }
        }
        let successions = self.successions();
        let traits = self.traits(sink.max_classification);
        let purposes = self.purposes();
        let events = self.events(sink.max_classification);
        Plan {
            entity: object.entity,
            fields: self.fields,
            user,
            group,
            external,
            successions,
            traits,
            all_traits: object.traits.len(),
            purposes,
            events,
        }
    }
    fn purposes(&mut self) -> Vec<Purpose> {
        let compile = |(position, consent): (usize, &ConsentMapping)| {
            let path = format!("{}.consent[{position}]", self.path);
            let sent_as = self.names.of_purpose(&consent.purpose);
            Purpose::compile(consent, sent_as, &path, &mut self.fields, self.errors)
        };
        self.object.consent.iter().enumerate().filter_map(compile).collect()
    }
}

/// Names that may stand only once in a list.
fn unique<'n>(path: &str, key: &str, names: impl Iterator<Item = &'n String>, errors: &mut Errors) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let list = path.rsplit('.').next().unwrap_or(path);
    for (position, name) in names.enumerate() {
        match first.get(name.as_str()) {
            Some(earlier) => errors.add(
                format_args!("{path}[{position}].{key}"),
                format!("{name:?} is already {list}[{earlier}]"),
            ),
            None => {
                first.insert(name, position);
            }
        }
    }
}
