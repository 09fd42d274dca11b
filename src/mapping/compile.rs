//! From what a user wrote to a plan, with everything that is wrong with it at once.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::cel::Expression;
use super::error::{CompileError, Errors, did_you_mean};
use super::fields::Fields;
use super::identity::Succession;
use super::plan::{Chain, Event, Identity, Plan, Purpose, Source, Trait};
use super::transform::Step;
use super::typed::Kinds;
use crate::api::mapping_version::{
    Entity, EventTrigger, IdentityKey, IdentityReference, IdentityRole, MappingVersionSpec, ObjectMapping,
    TraitMapping, TraitType, Transform,
};
use crate::api::{CdpSinkSpec, Classification};
use crate::identity::{BlockedValues, KeyRule, Relation};

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
    for (position, object) in spec.objects.iter().enumerate() {
        ObjectCompiler::new(spec, object, position, errors).check();
    }
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
    pair(mapping, position, sink, &mut errors);
    let found = errors.into_vec();
    if !found.is_empty() {
        return Err(found);
    }
    let mut errors = Errors::default();
    let plan = ObjectCompiler::new(spec, mapping, position, &mut errors).plan(sink);
    let found = errors.into_vec();
    if found.is_empty() { Ok(plan) } else { Err(found) }
}

/// What is wrong with an object's mapping only because of the sink that it is delivered to.
fn pair(mapping: &ObjectMapping, position: usize, sink: &CdpSinkSpec, errors: &mut Errors) {
    let object = &mapping.object;
    let has = |kind: &str| mapping.identity.iter().any(|identity| identity.kind == kind);
    let hint = |kind: &str| {
        let kinds: Vec<&str> = mapping.identity.iter().map(|identity| identity.kind.as_str()).collect();
        match did_you_mean(kind, kinds.iter().copied()) {
            none if none.is_empty() => format!("; it has {}", kinds.join(", ")),
            near => near,
        }
    };
    let user = &sink.identity.user_id;
    match mapping.entity {
        Entity::Person if !has(user) => errors.add(
            "CdpSink spec.identity.userId",
            format!("object {object} of the mapping has no identity of kind {user:?}{}", hint(user)),
        ),
        Entity::Account => match &sink.identity.group_id {
            None => errors.add(
                "CdpSink spec.identity.groupId",
                format!("object {object} is an Account, which is delivered as a group; name the identity kind that becomes the group id"),
            ),
            Some(group) if !has(group) => errors.add(
                "CdpSink spec.identity.groupId",
                format!("object {object} of the mapping has no identity of kind {group:?}{}", hint(group)),
            ),
            Some(_) => {}
        },
        Entity::Person | Entity::Deal => {}
    }
    let taken = [Some(user), sink.identity.group_id.as_ref()].into_iter().flatten();
    for (place, identity) in mapping.identity.iter().enumerate() {
        if identity.role == IdentityRole::Informational && taken.clone().any(|kind| *kind == identity.kind) {
            errors.add(
                format_args!("spec.objects[{position}].identity[{place}].role"),
                format!(
                    "the sink takes {:?} as its user id or group id, by which it tells who a record is; an Informational key \
                     can be no more than one of the sink's externalIds",
                    identity.kind
                ),
            );
        }
    }
    for (field, successor) in successors(mapping) {
        if successor.kind != *user {
            errors.add(
                format_args!("spec.objects[{position}].{field}.kind"),
                format!(
                    "the sink's user id is {user:?}, so that it can't be told of a successor that is named by {:?}",
                    successor.kind
                ),
            );
        }
    }
    if let Some(subject) = mapping.subject.as_ref().filter(|subject| subject.kind != *user) {
        errors.add(
            format_args!("spec.objects[{position}].subject.kind"),
            format!(
                "the sink's user id is {user:?}, so events that name their person by {:?} would reach nobody",
                subject.kind
            ),
        );
    }
    if mapping.entity == Entity::Account {
        return;
    }
    for (place, purpose) in sink.consent.require.iter().enumerate() {
        if mapping.consent.iter().any(|consent| consent.purpose == *purpose) {
            continue;
        }
        let hint = did_you_mean(purpose, mapping.consent.iter().map(|consent| consent.purpose.as_str()));
        let consequence = match mapping.entity {
            Entity::Deal => "no event of it would ever be delivered",
            Entity::Person | Entity::Account => "every person of it would be suppressed",
        };
        errors.add(
            format_args!("CdpSink spec.consent.require[{place}]"),
            format!("object {object} of the mapping defines no purpose {purpose:?}, so {consequence}{hint}"),
        );
    }
}

/// The fields that name the record which a person goes on as, each with its name in the mapping.
fn successors(mapping: &ObjectMapping) -> impl Iterator<Item = (&'static str, &IdentityReference)> {
    let merged = mapping.merged_into.iter().map(|reference| ("mergedInto", reference));
    merged.chain(
        mapping
            .converted_into
            .iter()
            .map(|reference| ("convertedInto", reference)),
    )
}

/// Compiles one object.
struct ObjectCompiler<'c> {
    spec: &'c MappingVersionSpec,
    object: &'c ObjectMapping,
    path: String,
    fields: Fields,
    errors: &'c mut Errors,
}

impl<'c> ObjectCompiler<'c> {
    fn new(
        spec: &'c MappingVersionSpec,
        object: &'c ObjectMapping,
        position: usize,
        errors: &'c mut Errors,
    ) -> ObjectCompiler<'c> {
        ObjectCompiler {
            spec,
            object,
            path: format!("spec.objects[{position}]"),
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
        let of_kind = |kind: &String| object.identity.iter().position(|identity| identity.kind == *kind);
        let user = match object.entity {
            Entity::Person => of_kind(&sink.identity.user_id).map(|position| self.identity(position, true)),
            Entity::Account | Entity::Deal => self.subject(),
        };
        let group = match (object.entity, &sink.identity.group_id) {
            (Entity::Account, Some(kind)) => of_kind(kind).map(|position| self.identity(position, true)),
            (Entity::Person, Some(kind)) => self.group().filter(|group| group.kind == *kind),
            _ => None,
        };
        let mut external = Vec::new();
        if object.entity == Entity::Person {
            for (position, identity) in object.identity.iter().enumerate() {
                if sink.identity.external_ids.contains(&identity.kind) {
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
            purposes,
            events,
        }
    }

    fn identity(&mut self, position: usize, required: bool) -> Identity {
        let key = &self.object.identity[position];
        let path = format!("{}.identity[{position}]", self.path);
        let chain = self.chain(&key.from, &key.transforms, TraitType::String, &path);
        Identity {
            kind: key.kind.clone(),
            path: format!("identity[{}]", key.kind),
            chain,
            required,
            rule: KeyRule {
                informational: key.role == IdentityRole::Informational,
                shared_by: key.block_when_shared_by,
                blocked: BlockedValues::new(&key.block_values),
            },
            definition: definition(key, self.spec),
        }
    }

    /// What is wrong with the rules of a key, beyond its value's source.
    fn key_rules(&mut self, position: usize, identity: &Identity) {
        let key = &self.object.identity[position];
        let path = format!("{}.identity[{position}]", self.path);
        if let Some(threshold) = key
            .block_when_shared_by
            .filter(|threshold| !(2..=1000).contains(threshold))
        {
            self.errors.add(
                format_args!("{path}.blockWhenSharedBy"),
                format!("{threshold}: a value can be shared by 2 records or more, and is counted up to 1000"),
            );
        }
        let list = format!("{path}.blockValues");
        for (place, entry) in key.block_values.iter().enumerate() {
            let path = format!("{list}[{place}]");
            if let Some(earlier) = key.block_values[..place].iter().position(|earlier| earlier == entry) {
                self.errors
                    .add(path, format!("{entry:?} is already blockValues[{earlier}]"));
                continue;
            }
            if entry.is_empty() || entry == "@" {
                self.errors.add(
                    path,
                    format!("{entry:?} matches no value; give a whole value, or a local part like info@"),
                );
                continue;
            }
            let left = identity.chain.leaves(entry, self.fields.names.len());
            if left.as_ref().is_some_and(|left| left != entry) {
                self.errors.add(
                    path,
                    format!(
                        "{entry:?} never matches: the transforms leave {:?} of it, and entries are compared with what the \
                         transforms leave",
                        left.unwrap_or_default()
                    ),
                );
            }
        }
    }

    fn successions(&mut self) -> Vec<Succession> {
        let object = self.object;
        let mut successions = Vec::new();
        for (name, reference) in successors(object) {
            let path = format!("{}.{name}", self.path);
            if object.entity != Entity::Person {
                self.errors
                    .add(&path, "only a Person goes on as another record; leave it out");
            }
            successions.push(Succession {
                relation: match name {
                    "mergedInto" => Relation::Merged,
                    _ => Relation::Converted,
                },
                field: self.fields.index(&reference.from, &format!("{path}.from"), self.errors),
            });
        }
        successions
    }

    fn group(&mut self) -> Option<Identity> {
        let group = self.object.group.as_ref()?;
        Some(self.reference("group", &group.kind, &group.from, false))
    }

    fn subject(&mut self) -> Option<Identity> {
        let subject = self.object.subject.as_ref()?;
        let required = self.object.entity == Entity::Deal;
        Some(self.reference("subject", &subject.kind, &subject.from, required))
    }

    /// An identity of another entity.
    fn reference(&mut self, name: &str, kind: &str, from: &str, required: bool) -> Identity {
        let path = format!("{}.{name}", self.path);
        Identity {
            kind: kind.to_owned(),
            path: format!("{name}[{kind}]"),
            chain: self.chain(from, &[], TraitType::String, &path),
            required,
            rule: KeyRule::default(),
            definition: String::new(),
        }
    }

    fn traits(&mut self, highest: Classification) -> Vec<Trait> {
        let object = self.object;
        let kept = object
            .traits
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.classification <= highest);
        kept.map(|(position, rule)| self.rule(position, rule)).collect()
    }

    fn rule(&mut self, position: usize, rule: &TraitMapping) -> Trait {
        let path = format!("{}.traits[{position}]", self.path);
        let chain = match (&rule.from, &rule.cel) {
            (Some(from), None) => self.chain(from, &rule.transforms, rule.kind, &path),
            (None, Some(source)) => self.computed(source, &rule.transforms, rule.kind, &path),
            _ => {
                self.errors.add(&path, "a trait has exactly one of from, cel");
                self.chain("Id", &[], TraitType::String, &path)
            }
        };
        Trait {
            name: rule.name.clone(),
            chain,
            on_null: rule.on_null,
            on_error: rule.on_error,
        }
    }

    fn purposes(&mut self) -> Vec<Purpose> {
        let object = self.object;
        let mut purposes = Vec::with_capacity(object.consent.len());
        for (position, consent) in object.consent.iter().enumerate() {
            let path = format!("{}.consent[{position}]", self.path);
            let value = self.fields.index(&consent.from, &format!("{path}.from"), self.errors);
            let path = format!("{path}.granted");
            let Some(granted) = self.expression(&consent.granted, Some(value), &path) else {
                continue;
            };
            if let Err(message) = granted.check(TraitType::Boolean, false) {
                self.errors.add(&path, format!("{message}; only true grants"));
            }
            purposes.push(Purpose {
                name: consent.purpose.clone(),
                granted,
            });
        }
        purposes
    }

    fn events(&mut self, highest: Classification) -> Vec<Event> {
        let object = self.object;
        let mut events = Vec::with_capacity(object.events.len());
        for (position, event) in object.events.iter().enumerate() {
            let path = format!("{}.events[{position}]", self.path);
            unique(
                &format!("{path}.properties"),
                "property",
                event.properties.iter().map(|property| &property.property),
                self.errors,
            );
            let watched = match &event.when {
                EventTrigger::Created {} => None,
                EventTrigger::Changed(field) => {
                    Some(self.fields.index(field, &format!("{path}.when.changed"), self.errors))
                }
            };
            let at = event
                .at
                .as_ref()
                .map(|at| self.fields.index(at, &format!("{path}.at"), self.errors));
            let mut properties = Vec::with_capacity(event.properties.len());
            for (place, property) in event
                .properties
                .iter()
                .enumerate()
                .filter(|(_, property)| property.classification <= highest)
            {
                let path = format!("{path}.properties[{place}]");
                properties.push((
                    property.property.clone(),
                    self.chain(&property.from, &property.transforms, property.kind, &path),
                ));
            }
            events.push(Event {
                name: event.name.clone(),
                at,
                watched,
                properties,
            });
        }
        events
    }

    /// A field's value, transformed.
    fn chain(&mut self, from: &str, transforms: &[Transform], kind: TraitType, path: &str) -> Chain {
        let field = self.fields.index(from, &format!("{path}.from"), self.errors);
        Chain {
            source: Source::Field(field),
            steps: self.steps(transforms, Kinds::FIELD, kind, path),
            kind,
        }
    }

    /// An expression's value, transformed.
    fn computed(&mut self, source: &str, transforms: &[Transform], kind: TraitType, path: &str) -> Chain {
        let cel = format!("{path}.cel");
        let Some(expression) = self.expression(source, None, &cel) else {
            return self.chain("Id", &[], TraitType::String, path);
        };
        let kinds = expression
            .check(kind, !transforms.is_empty())
            .unwrap_or_else(|message| {
                self.errors.add(&cel, message);
                Kinds::FIELD
            });
        Chain {
            source: Source::Cel(expression),
            steps: if transforms.is_empty() {
                Vec::new()
            } else {
                self.steps(transforms, kinds, kind, path)
            },
            kind,
        }
    }

    fn expression(&mut self, source: &str, value: Option<usize>, path: &str) -> Option<Expression> {
        let (fields, errors) = (&mut self.fields, &mut *self.errors);
        match Expression::compile(source, value, |name| fields.index(name, path, errors)) {
            Ok(expression) => Some(expression),
            Err(faults) => {
                faults.iter().for_each(|fault| errors.add(path, fault.to_string()));
                None
            }
        }
    }

    fn steps(&mut self, transforms: &[Transform], mut kinds: Kinds, kind: TraitType, path: &str) -> Vec<Step> {
        let steps = transforms
            .iter()
            .enumerate()
            .map(|(position, transform)| {
                let path = format!("{path}.transforms[{position}]");
                Step::compile(
                    transform,
                    kind,
                    &self.spec.enums,
                    &path,
                    &mut kinds,
                    &mut self.fields,
                    self.errors,
                )
            })
            .collect();
        if let Some(stray) = kinds.outside(Kinds::fitting(kind)) {
            self.errors.add(
                format_args!("{path}.type"),
                format!("the transforms leave {stray}, which does not fit {kind:?}"),
            );
        }
        steps
    }
}

/// What a key's value is made from, in few characters that stay the same from version to version.
fn definition(key: &IdentityKey, spec: &MappingVersionSpec) -> String {
    let tabled = key
        .transforms
        .iter()
        .any(|transform| matches!(transform, Transform::Enum { .. }));
    let parts = (&key.from, &key.transforms, tabled.then_some(&spec.enums));
    // These types have nothing that JSON lacks.
    let text = serde_json::to_vec(&parts).unwrap_or_default();
    Sha256::digest(text)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
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
