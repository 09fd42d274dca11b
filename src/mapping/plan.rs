//! The compiled mapping of one object for one sink, and what it does to a record.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use secrecy::ExposeSecret;

use super::cel::Expression;
use super::error::{CompileError, Errors, Rejection};
use super::fields::Fields;
use super::fill::Filled;
use super::identity::Succession;
use super::projection::Target;
use super::purpose::Purpose;
use super::transform::Step;
use super::typed::{Current, Rule, Type};
use super::value::{ExternalId, Mapped, MappedEvent, Trigger, Value};
use super::{compile, fingerprint, instant, schema};
use crate::api::mapping_version::{Entity, MappingVersionSpec, OnError, OnNull};
use crate::api::{CdpSinkSpec, SecretValue};
use crate::identity::{KeyRule, Refusal};
use crate::record::{Field, Record};
use crate::secrets::{SecretError, Secrets};
use crate::source::ObjectDescription;

/// One object's mapping, compiled for one sink. It is `Send` and `Sync`, and holds no record.
#[derive(Debug)]
pub struct Plan {
    pub(super) entity: Entity,
    pub(super) fields: Fields,
    pub(super) user: Option<Identity>,
    pub(super) group: Option<Identity>,
    pub(super) external: Vec<Identity>,
    pub(super) successions: Vec<Succession>,
    pub(super) traits: Vec<Trait>,
    /// How many traits the object has, whether this sink gets them or not.
    pub(super) all_traits: usize,
    pub(super) purposes: Vec<Purpose>,
    pub(super) events: Vec<Event>,
}

/// Where a value comes from and what is done to it.
#[derive(Debug)]
pub(super) struct Chain {
    pub source: Source,
    pub steps: Vec<Step>,
    pub to: Type,
}

#[derive(Debug)]
pub(super) enum Source {
    Field(usize),
    Cel(Expression),
}

#[derive(Debug)]
pub(super) struct Identity {
    pub kind: String,
    /// What the CDP calls the kind.
    pub sent_as: String,
    pub path: String,
    pub chain: Chain,
    /// Whether a record without it is nobody's, and rejected.
    pub required: bool,
    pub rule: KeyRule,
    /// What its value is made from, for the identity map to notice a change of it.
    pub definition: String,
}

#[derive(Debug)]
pub(super) struct Trait {
    pub name: String,
    /// Its place among the object's traits.
    pub position: usize,
    pub target: Target,
    pub chain: Chain,
    pub on_null: OnNull,
    /// The value for `onNull: Default`.
    pub default: Option<Value<'static>>,
    pub on_error: OnError,
}

#[derive(Debug)]
pub(super) struct Event {
    pub name: String,
    /// What the CDP calls it.
    pub sent_as: String,
    pub at: Option<usize>,
    /// The field whose change triggers it; none where the record's creation does.
    pub watched: Option<usize>,
    pub properties: Vec<Property>,
}

#[derive(Debug)]
pub(super) struct Property {
    pub name: String,
    pub target: Target,
    pub chain: Chain,
}

impl Plan {
    /// Compiles the mapping of `object` for `sink`.
    ///
    /// Traits and properties that the sink may not hold, and identities that it doesn't take, are no part of the plan:
    /// their fields are not even selected.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the mapping, with or without this sink, each with its path.
    pub fn compile(spec: &MappingVersionSpec, object: &str, sink: &CdpSinkSpec) -> Result<Plan, Vec<CompileError>> {
        compile::plan(spec, object, sink)
    }

    /// Everything that is wrong with a mapping as it stands, whatever sink and source it is used with.
    pub fn check_spec(spec: &MappingVersionSpec) -> Vec<CompileError> {
        let mut errors = Errors::default();
        compile::check(spec, &mut errors);
        errors.into_vec()
    }

    /// What the object's records become.
    pub fn entity(&self) -> Entity {
        self.entity
    }

    /// The CRM fields to select, in the order in which [`Record::fields`] must hold them.
    pub fn fields(&self) -> &[String] {
        &self.fields.names
    }

    /// Holds the plan against the object as the CRM describes it to the integration user.
    ///
    /// # Errors
    ///
    /// Each use of a field that the object lacks (or that the user may not see), with the names that come near.
    pub fn check_schema(&self, description: &ObjectDescription) -> Result<(), Vec<CompileError>> {
        schema::check(&self.fields.names, &self.fields.uses, description)
    }

    /// Reads the keys that the plan's hashes need, once and before the first record. The key's bytes are those of the Secret's
    /// value without white space at its end.
    ///
    /// # Errors
    ///
    /// Where a Secret or a key of it is not there, or is empty.
    pub fn read_keys(&mut self, secrets: &Secrets) -> Result<(), SecretError> {
        let chains = self.traits.iter_mut().map(|rule| &mut rule.chain);
        let identities = self.user.iter_mut().chain(&mut self.group).chain(&mut self.external);
        let properties = self.events.iter_mut().flat_map(|event| &mut event.properties);
        let chains = chains
            .chain(identities.map(|identity| &mut identity.chain))
            .chain(properties.map(|property| &mut property.chain));
        for step in chains.flat_map(|chain| &mut chain.steps) {
            if let Step::Hmac(key) = step {
                let value = secrets.read(&SecretValue {
                    secret_key_ref: key.selector.clone(),
                })?;
                if value.expose_secret().is_empty() {
                    return Err(SecretError::Missing {
                        secret: key.selector.name.clone(),
                        key: key.selector.key.clone(),
                    });
                }
                key.read(value.expose_secret().as_bytes());
            }
        }
        Ok(())
    }

    /// Maps a record.
    ///
    /// # Errors
    ///
    /// The first rule that rejects the record. Its consent may still say that it must be suppressed:
    /// [`Plan::map_suppression`] tells.
    pub fn map<'m>(&'m self, record: &'m Record<'m>) -> Result<Mapped<'m>, Rejection> {
        self.mapping(record, |_| {})
    }

    /// Maps a record as [`Plan::map`] does, and counts for which traits it has a value.
    ///
    /// # Errors
    /// As [`Plan::map`]. A record that is rejected is not counted.
    pub fn map_counting<'m>(&'m self, record: &'m Record<'m>, filled: &mut Filled) -> Result<Mapped<'m>, Rejection> {
        filled.begin();
        let mapped = self.mapping(record, |place| filled.note(place))?;
        filled.count(self.traits.len());
        Ok(mapped)
    }

    /// `filled` hears the places of the traits for which the record has a value of its own.
    fn mapping<'m>(&'m self, record: &'m Record<'m>, mut filled: impl FnMut(usize)) -> Result<Mapped<'m>, Rejection> {
        let mut mapped = self.identified(record, External::Required)?;
        mapped.consent = self
            .purposes
            .iter()
            .map(|purpose| purpose.state(record.fields))
            .collect();
        mapped.traits.reserve_exact(self.traits.len());
        for (place, rule) in self.traits.iter().enumerate() {
            if let Some(value) = rule.value(record.fields, || filled(place))? {
                rule.target.put(&mut mapped.traits, value);
            }
        }
        for event in &self.events {
            mapped.events.push(event.of(record)?);
        }
        Ok(mapped)
    }

    /// The value of a trait among those of a record, wherever the CDP gets it; `name` is the mapping's.
    pub fn find<'v, 'm>(&self, mapped: &'v Mapped<'m>, name: &str) -> Option<&'v Value<'m>> {
        let rule = self.traits.iter().find(|rule| rule.name == name)?;
        rule.target.find(&mapped.traits)
    }

    /// Maps what a suppression needs of a record: its identities and its consent, without traits and events.
    ///
    /// A trait that rejects the record must not keep an opt-out from the CDP. Where [`Plan::map`] fails, the gate decides
    /// by this one's consent, and a suppression is delivered beside the dead letter.
    ///
    /// # Errors
    ///
    /// Only where the record has no user id (a deal no subject, an account no group id). Other identities that can't be
    /// mapped are left out.
    pub fn map_suppression<'m>(&'m self, record: &'m Record<'m>) -> Result<Mapped<'m>, Rejection> {
        let mut mapped = self.identified(record, External::WherePossible)?;
        mapped.consent = self
            .purposes
            .iter()
            .map(|purpose| purpose.state(record.fields))
            .collect();
        Ok(mapped)
    }

    /// Maps a record that was deleted in the CRM: its identities, and every purpose denied.
    ///
    /// # Errors
    ///
    /// As [`Plan::map_suppression`].
    pub fn map_deleted<'m>(&'m self, record: &'m Record<'m>) -> Result<Mapped<'m>, Rejection> {
        let mut mapped = self.identified(record, External::WherePossible)?;
        mapped.consent = self.purposes.iter().map(Purpose::deleted).collect();
        Ok(mapped)
    }

    fn identified<'m>(&'m self, record: &'m Record<'m>, external: External) -> Result<Mapped<'m>, Rejection> {
        let fields = record.fields;
        let one = |identity: &'m Option<Identity>| match identity {
            None => Ok(None),
            Some(identity) if identity.required || external == External::Required => identity.id(fields),
            Some(identity) => Ok(identity.id(fields).unwrap_or_default()),
        };
        let mut external_ids = Vec::with_capacity(self.external.len());
        for identity in &self.external {
            match identity.id(fields) {
                Ok(Some(id)) => external_ids.push(ExternalId {
                    kind: &identity.kind,
                    sent_as: &identity.sent_as,
                    id,
                }),
                Ok(None) => {}
                Err(rejection) if external == External::Required => return Err(rejection),
                Err(_) => {}
            }
        }
        Ok(Mapped {
            entity: self.entity,
            user_id: one(&self.user)?,
            group_id: one(&self.group)?,
            external_ids,
            traits: Vec::new(),
            consent: Vec::new(),
            events: Vec::new(),
        })
    }
}

/// Whether an identity that can't be mapped rejects the record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum External {
    Required,
    WherePossible,
}

impl Chain {
    pub(super) fn value<'m>(&'m self, fields: &'m [Field<'m>]) -> Result<Value<'m>, Rule<'m>> {
        let mut value = match &self.source {
            Source::Field(field) => match fields.get(*field) {
                Some(field) => Current::of(field),
                None => return Err(Cow::Borrowed("was not read from the CRM")),
            },
            Source::Cel(expression) => expression.value(fields, self.to.kind, !self.steps.is_empty())?,
        };
        for step in &self.steps {
            value = step.apply(value, fields)?;
        }
        value.fit(&self.to)
    }
}

impl Identity {
    /// The id, or none where it is null or empty.
    fn id<'m>(&'m self, fields: &'m [Field<'m>]) -> Result<Option<Cow<'m, str>>, Rejection> {
        let reject = |rule: Rule| Rejection {
            path: self.path.clone(),
            rule: rule.into_owned(),
        };
        match self.chain.value(fields).map_err(reject)? {
            Value::String(id) if self.rule.blocked.hold(&id) => {
                if self.required {
                    Err(reject(Cow::Owned(Refusal::BlockedValue.to_string())))
                } else {
                    Ok(None)
                }
            }
            Value::String(id) if !id.is_empty() => Ok(Some(id)),
            _ if self.required => Err(reject(Cow::Borrowed(
                "is null or empty, and without it the sink can't tell whose record this is",
            ))),
            _ => Ok(None),
        }
    }
}

impl Trait {
    /// The trait's value; none where it is left out. `filled` is called where the record has one of its own.
    fn value<'m>(&'m self, fields: &'m [Field<'m>], filled: impl FnOnce()) -> Result<Option<Value<'m>>, Rejection> {
        let reject = |rule: Rule| Rejection {
            path: format!("traits[{}]", self.name),
            rule: rule.into_owned(),
        };
        let null_rule = match self.chain.value(fields) {
            Ok(Value::Null) => Cow::Borrowed("is null"),
            Ok(value) => {
                filled();
                return Ok(Some(value));
            }
            Err(rule) => match self.on_error {
                OnError::Reject => return Err(reject(rule)),
                OnError::Keep => return Ok(None),
                OnError::Null => rule,
            },
        };
        match self.on_null {
            OnNull::Keep => Ok(None),
            OnNull::Unset => Ok(Some(Value::Null)),
            OnNull::Default => Ok(self.default.as_ref().map(Value::borrowed)),
            OnNull::Reject => Err(reject(null_rule)),
        }
    }
}

impl Event {
    fn of<'m>(&'m self, record: &'m Record<'m>) -> Result<MappedEvent<'m>, Rejection> {
        let reject = |place: &str, rule: Rule| Rejection {
            path: format!("events[{}].{place}", self.name),
            rule: rule.into_owned(),
        };
        let at = match self.at.map(|field| record.fields.get(field)) {
            None | Some(Some(Field::Null)) => record.stamp,
            Some(Some(Field::Text(text))) => instant::instant_in(text, &TimeZone::UTC)
                .ok_or_else(|| reject("at", Cow::Borrowed(instant::NOT_A_LOCAL_TIME)))?,
            Some(_) => return Err(reject("at", Cow::Borrowed(instant::NOT_A_LOCAL_TIME))),
        };
        let mut properties = Vec::with_capacity(self.properties.len());
        for property in &self.properties {
            match property.chain.value(record.fields) {
                Ok(Value::Null) => {}
                Ok(value) => property.target.put(&mut properties, value),
                Err(rule) => return Err(reject(&format!("properties[{}]", property.name), rule)),
            }
        }
        Ok(MappedEvent {
            name: &self.name,
            sent_as: &self.sent_as,
            at,
            properties,
            trigger: match self.watched {
                None => Trigger::Created,
                Some(field) => Trigger::Changed {
                    watched: fingerprint::watched(record.fields.get(field)),
                },
            },
        })
    }
}
