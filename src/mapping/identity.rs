//! A record's identity keys, by the plan.

use super::plan::{Chain, Identity, Plan, Source};
use super::value::{Mapped, Value};
use super::{CompileError, Rejection, compile};
use crate::api::CdpSinkSpec;
use crate::api::mapping_version::{Entity, MappingVersionSpec};
use crate::identity::{Key, Place, Refusal, Relation, Resolved, Successor, Verdict};
use crate::record::{Field, Record};

/// Which field names the record that a person goes on as.
#[derive(Debug)]
pub(super) struct Succession {
    pub relation: Relation,
    pub field: usize,
}

impl Plan {
    /// Compiles what the first of two readings needs: the identities, and the purposes that a suppression denies.
    ///
    /// # Errors
    /// As [`Plan::compile`].
    pub fn compile_keys(
        spec: &MappingVersionSpec,
        object: &str,
        sink: &CdpSinkSpec,
    ) -> Result<Plan, Vec<CompileError>> {
        let mut spec = spec.clone();
        for mapping in &mut spec.objects {
            mapping.traits.clear();
            mapping.events.clear();
        }
        for projection in &mut spec.projections {
            projection.traits.clear();
            projection.events.clear();
            projection.properties.clear();
        }
        compile::plan(&spec, object, sink)
    }

    /// Whether a stream's keys must be read before its records: a key's value may be shared or change hands, or a merge must
    /// be told before what became of the one that stays.
    pub fn reads_keys_first(&self) -> bool {
        self.tracks() || self.successions.iter().any(|one| one.relation == Relation::Merged)
    }

    /// Whether the identity map tracks who has the values of one of the keys.
    pub fn tracks(&self) -> bool {
        self.tracked_keys().next().is_some()
    }

    /// The tracked keys: the kind, how many records may not share a value, and what the value is made from. Where that
    /// changes, the values that the map knows say nothing any more.
    pub fn tracked_keys(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        let identities = self.user.iter().chain(&self.group).chain(&self.external);
        identities.filter_map(|identity| Some((&*identity.kind, identity.rule.shared_by?, &*identity.definition)))
    }

    /// The record that this one goes on as. It was merged, or converted; what is left of it is suppressed.
    pub fn successor<'m>(&self, record: &'m Record<'m>) -> Option<Successor<'m>> {
        self.successions
            .iter()
            .find_map(|one| match record.fields.get(one.field) {
                Some(Field::Text(id)) if !id.is_empty() && *id != record.id => Some(Successor {
                    relation: one.relation,
                    id,
                }),
                _ => None,
            })
    }

    /// What the transforms of a key leave of a value, where they need no other field for that. Kinds that the sink doesn't take
    /// leave nothing.
    pub fn key_value(&self, kind: &str, text: &str) -> Option<String> {
        let identities = self.user.iter().chain(&self.group).chain(&self.external);
        let identity = { identities }.find(|identity| identity.kind == kind)?;
        identity.chain.leaves(text, self.fields.names.len())
    }

    /// The record's keys that this sink takes, in the mapping's order of precedence.
    pub fn keys<'m>(&'m self, record: &'m Record<'m>) -> impl Iterator<Item = Key<'m>> {
        let own = |place| {
            (
                place,
                if place == Place::UserId {
                    &self.user
                } else {
                    &self.group
                },
            )
        };
        let single = [own(Place::UserId), own(Place::GroupId)].into_iter();
        let single = single.filter_map(|(place, identity)| identity.as_ref().map(|identity| (place, identity)));
        let external = self.external.iter().map(|identity| (Place::ExternalId, identity));
        single
            .chain(external)
            .map(|(place, identity)| identity.key(place, record.fields))
    }
}

impl Chain {
    /// What the transforms leave of a field's text, where they need none of the record's other `fields` for that.
    pub(super) fn leaves(&self, text: &str, fields: usize) -> Option<String> {
        let Source::Field(source) = self.source else {
            return None;
        };
        let field = |place| {
            if place == source {
                Field::Text(text.into())
            } else {
                Field::Null
            }
        };
        let record: Vec<Field<'_>> = (0..fields).map(field).collect();
        match self.value(&record) {
            Ok(Value::String(text)) => Some(text.into_owned()),
            _ => None,
        }
    }
}

impl Identity {
    fn key<'m>(&'m self, place: Place, fields: &'m [Field<'m>]) -> Key<'m> {
        let (value, barred) = match self.chain.value(fields) {
            Ok(Value::String(id)) if id.is_empty() => (None, Some(Refusal::Absent)),
            Ok(Value::String(id)) => {
                let blocked = self.rule.blocked.hold(&id);
                (Some(id), blocked.then_some(Refusal::BlockedValue))
            }
            Ok(_) => (None, Some(Refusal::Absent)),
            Err(_) => (None, Some(Refusal::Unreadable)),
        };
        Key {
            kind: &self.kind,
            place,
            informational: self.rule.informational,
            shared_by: self.rule.shared_by,
            value,
            barred,
        }
    }
}

impl Mapped<'_> {
    /// Leaves out what the identity map refuses.
    ///
    /// # Errors
    /// Where that is the id without which the sink can't tell whose record this is.
    pub fn withhold(&mut self, resolved: &[Resolved<'_>]) -> Result<(), Rejection> {
        for Resolved { key, verdict } in resolved {
            let Verdict::Refused(refusal) = *verdict else { continue };
            if matches!(refusal, Refusal::Absent | Refusal::Unreadable) {
                continue;
            }
            let required = match (key.place, self.entity) {
                (Place::UserId, _) => true,
                (Place::GroupId, entity) => matches!(entity, Entity::Account | Entity::Membership),
                (Place::ExternalId, _) => false,
            };
            if required {
                return Err(Rejection {
                    path: format!("identity[{}]", key.kind),
                    rule: format!("{refusal}; without it the sink can't tell whose record this is"),
                });
            }
            match key.place {
                Place::GroupId => self.group_id = None,
                _ => self.external_ids.retain(|external| external.kind != key.kind),
            }
        }
        Ok(())
    }
}
